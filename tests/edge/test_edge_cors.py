"""Cross-origin access."""

from __future__ import annotations

import json

import pytest
from tests.support.exchanges import WrittenExchange

from launchkit.edge.cors import Cors
from launchkit.pipeline.exchange import EarlyResponse, Header
from launchkit.pipeline.paths import PathPattern
from launchkit.settings import CorsSettings

APP = b"https://app.example"
SOME = CorsSettings(origins=("https://app.example", "http://localhost:3000"))
ALLOW = b"access-control-allow-origin"


def answered(origin: bytes | None, *own: Header, settings: CorsSettings = SOME, method: str = "GET") -> list[Header]:
    interceptor = Cors(settings).select(method, frozenset())
    assert interceptor is not None
    headers = [] if origin is None else [(b"origin", origin)]
    exchange = WrittenExchange(method, headers=headers).answer(200, *own)
    assert interceptor.on_response_start(exchange) is None
    return exchange.response_headers


def preflight(
    origin: bytes = APP, method: bytes | None = b"PUT", asked: bytes | None = None, settings: CorsSettings = SOME
) -> EarlyResponse | None:
    interceptor = Cors(settings).select("OPTIONS", frozenset())
    assert interceptor is not None
    headers = [(b"origin", origin)]
    if method is not None:
        headers.append((b"access-control-request-method", method))
    if asked is not None:
        headers.append((b"access-control-request-headers", asked))
    answer = interceptor.on_request(WrittenExchange("OPTIONS", headers=headers))
    assert answer is None or isinstance(answer, EarlyResponse)
    return answer


def test_a_declared_origin_may_read_the_response() -> None:
    """It is echoed, with the headers that scripts may see, and caches are told."""
    assert dict(answered(APP)) == {
        ALLOW: APP,
        b"access-control-expose-headers": b"RateLimit, RateLimit-Policy, Retry-After, X-Request-ID",
        b"vary": b"Origin",
    }


@pytest.mark.parametrize(
    "origin", [None, b"https://evil.example", b"null", b"", b"https://app.example.evil.example", b"http://app.example"]
)
def test_nobody_else_may(origin: bytes | None) -> None:
    """The response says only that it would differ for others."""
    assert answered(origin) == [(b"vary", b"Origin")]


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ([(b"Vary", b"Accept")], [b"Accept, Origin"]),
        ([(b"vary", b"Accept, origin")], [b"Accept, origin"]),
        ([(b"vary", b"Accept"), (b"vary", b"Cookie")], [b"Accept, Origin", b"Cookie"]),
        ([(b"vary", b"Accept"), (b"vary", b"Origin")], [b"Accept", b"Origin"]),
        ([(b"vary", b"*")], [b"*"]),
    ],
)
@pytest.mark.parametrize("origin", [None, APP])
def test_the_apps_own_vary_is_kept(own: list[Header], expected: list[bytes], origin: bytes | None) -> None:
    """Origin is added to it, once."""
    assert [value for name, value in answered(origin, *own) if name.lower() == b"vary"] == expected


def test_where_the_app_allows_an_origin_nothing_is_added() -> None:
    """Half of its policy and half of ours would be neither."""
    own = (b"Access-Control-Allow-Origin", b"*")
    assert answered(APP, own, settings=SOME.model_copy(update={"credentials": True})) == [own]


def test_everybody_means_everybody() -> None:
    """`*` is the same answer for all, so that caches may keep one."""
    for origin in (None, APP, b"https://other.example"):
        headers = dict(answered(origin, settings=CorsSettings(origins="*")))
        assert headers[ALLOW] == b"*"
        assert b"vary" not in headers


def test_credentials_are_allowed_where_they_are() -> None:
    """To declared origins only."""
    settings = CorsSettings(origins=("https://app.example",), credentials=True)
    assert dict(answered(APP, settings=settings))[b"access-control-allow-credentials"] == b"true"
    assert answered(b"https://evil.example", settings=settings) == [(b"vary", b"Origin")]
    assert b"access-control-allow-credentials" not in dict(answered(APP))


def test_a_port_that_goes_without_saying_is_not_said() -> None:
    """As browsers write origins."""
    settings = CorsSettings(origins=("https://app.example:443", "http://app.example:80", "https://app.example:80"))
    for origin in (APP, b"http://app.example", b"https://app.example:80"):
        assert dict(answered(origin, settings=settings))[ALLOW] == origin


def test_a_preflight_is_answered() -> None:
    """204 with all that is allowed, for as long as the settings say."""
    answer = preflight(asked=b"content-type, X-Request-ID")
    assert answer is not None
    assert (answer.status, answer.body) == (204, b"")
    assert dict(answer.headers) == {
        ALLOW: APP,
        b"access-control-allow-methods": b"GET, HEAD, POST, PUT, PATCH, DELETE",
        b"access-control-allow-headers": b"authorization, content-type, x-request-id",
        b"access-control-max-age": b"600",
        b"vary": b"Origin",
    }


def test_a_preflight_for_credentials_allows_them() -> None:
    """Else the browser sends none."""
    answer = preflight(settings=CorsSettings(origins=("https://app.example",), credentials=True))
    assert answer is not None
    assert dict(answer.headers)[b"access-control-allow-credentials"] == b"true"


@pytest.mark.parametrize(
    ("origin", "method", "asked", "named"),
    [
        (b"https://evil.example", b"GET", None, "origin"),
        (b"null", b"GET", None, "origin"),
        (APP, b"PROPFIND", None, "method"),
        (APP, b"put", None, "method"),
        (APP, b"GET", b"x-admin", "header"),
        (APP, b"GET", b"content-type,x-admin", "header"),
    ],
)
def test_a_preflight_for_what_is_not_allowed_is_refused(
    origin: bytes, method: bytes, asked: bytes | None, named: str
) -> None:
    """400, naming the part that is not, with no permission in it."""
    answer = preflight(origin, method, asked)
    assert answer is not None
    assert answer.status == 400
    assert f"this {named} " in json.loads(answer.body)["detail"]
    assert not [name for name, _ in answer.headers if name.startswith(b"access-control")]


def test_any_other_options_request_is_the_apps() -> None:
    """Only a preflight names a method."""
    assert preflight(method=None) is None
    assert dict(answered(APP, method="OPTIONS"))[ALLOW] == APP


def test_the_answer_to_a_preflight_has_nothing_twice() -> None:
    """It leaves through the same hook as every response."""
    cors = Cors(SOME).select("OPTIONS", frozenset())
    answer = preflight()
    assert cors is not None
    assert answer is not None
    request = [(b"origin", APP), (b"access-control-request-method", b"PUT")]
    exchange = WrittenExchange("OPTIONS", headers=request).answer(204, *answer.headers)
    cors.on_response_start(exchange)
    assert exchange.response_headers == list(answer.headers)


def test_webhooks_are_left_alone() -> None:
    """No browser calls them."""
    hook = PathPattern("/webhooks/stripe")
    cors = Cors(SOME, lambda: (hook,))
    assert cors.select("OPTIONS", frozenset({hook})) is None
    assert cors.select("POST", frozenset()) is cors
