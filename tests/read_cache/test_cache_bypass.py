"""Requests that could poison what others read, or that ask for more than the plain resource, go past the cache."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest
from cache_driver import Asked, CachedSite, Field, Said, says

from launchkit.settings import CacheRule

MakeSite = Callable[..., CachedSite]


def echo(asked: Asked) -> Said:
    """Answer with everything that the app was shown, as a careless one might in links and pages."""
    return says(repr((asked.method, asked.path, asked.scheme, sorted(asked.headers.items()), asked.body)).encode())


@pytest.mark.parametrize(
    ("header", "detail"),
    [
        (("authorization", "x"), "authorization"),
        (("proxy-authorization", "x"), "authorization"),
        (("cookie", "session=x"), "cookie"),
        (("cookie", "_ga=1; session=x"), "cookie"),
        (("x-api-key", "x"), "credential"),
        (("x-http-method-override", "DELETE"), "method-override"),
        (("x-http-method", "DELETE"), "method-override"),
        (("x-method-override", "DELETE"), "method-override"),
        (("x-forwarded-host", "evil.example"), "host-override"),
        (("x-host", "evil.example"), "host-override"),
        (("x-original-host", "evil.example"), "host-override"),
        (("forwarded", "for=1.2.3.4;host=evil.example"), "host-override"),
        (("x-original-url", "/evil"), "target-override"),
        (("x-rewrite-url", "/evil"), "target-override"),
        (("x-forwarded-uri", "/items/1?evil"), "target-override"),
    ],
)
def test_the_reason_is_told(site: MakeSite, header: Field, detail: str) -> None:
    """RFC 9211 sections 2.2 and 2.8: fwd=bypass, with the reason as detail; nothing stored, nothing given."""
    shop = site()
    shop.get()
    shop.app = says(b"other")
    answer = shop.get("/items/1", header)
    assert (answer.body, answer.forwarded, answer.detail, answer.is_stored) == (b"other", "bypass", detail, False)
    assert shop.get().body == b"hello"


@pytest.mark.parametrize(
    "header",
    [
        ("x-forwarded-host", "example.org"),
        ("x-forwarded-host", "EXAMPLE.org"),
        ("forwarded", "for=1.2.3.4;proto=https"),
        ("x-original-url", "/items/1"),
        ("content-length", "0"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-for", "1.2.3.4"),
        ("cookie", "_ga=GA1.2; _ga_X=1; _fbp=fb.1; __cf_bm=x"),
        ("accept-language", "de"),
        ("if-none-match", '"v1"'),
    ],
)
def test_what_only_repeats_the_request_does_no_harm(site: MakeSite, header: Field) -> None:
    """Proxies and platforms send these with every request: they would switch the cache off."""
    shop = site()
    shop.get()
    assert shop.get("/items/1", header).is_hit


def test_the_name_of_a_proxy_does_not_switch_the_cache_off(site: MakeSite) -> None:
    """Traefik and Apache's mod_proxy send X-Forwarded-Server, their own name, with every request."""
    shop = site()
    for _ in range(2):
        answer = shop.get("/items/1", ("x-forwarded-server", "proxy-1"), ("x-forwarded-host", "example.org"))
    assert answer.is_hit


PLATFORMS = {
    "AWS": "x-amzn-trace-id x-amz-cf-id",
    "Azure": "x-arr-log-id client-ip x-azure-ref",
    "Cloudflare": "cf-ray cf-connecting-ip cf-ipcountry true-client-ip",
    "DigitalOcean": "do-connecting-ip",
    "Fly": "fly-request-id fly-client-ip",
    "Google": "x-cloud-trace-context x-appengine-request-log-id x-appengine-user-ip x-appengine-city",
    "Heroku": "x-request-id x-request-start connect-time total-route-time",
    "nginx": "x-real-ip x-original-forwarded-for x-request-id",
    "Railway": "x-railway-request-id x-real-ip x-request-start",
    "Render": "rndr-id cf-ray true-client-ip",
    "Vercel": "x-vercel-id x-vercel-ip-city x-vercel-forwarded-for",
    "tracing": "b3 x-b3-traceid x-b3-spanid sentry-trace baggage x-datadog-trace-id newrelic uber-trace-id",
    "CDNs": "x-varnish fastly-client-ip x-sucuri-clientip incap-client-ip",
}
"""Headers that these send to an origin with a value for each request or client."""


@pytest.mark.parametrize("platform", PLATFORMS)
def test_what_a_platform_says_of_each_request_does_not_switch_the_cache_off(site: MakeSite, platform: str) -> None:
    """Load balancers and tracers give each request an id: as a part of the key it would make each request a miss."""
    shop = site()
    for _ in range(2):
        answer = shop.get("/items/1", *[(name, secrets.token_hex(4)) for name in PLATFORMS[platform].split()])
    assert answer.is_hit


OVERRIDES: list[list[Field]] = [
    [("x-forwarded-host", "evil.example")],
    [("x-forwarded-server", "evil.example")],
    [("x-original-host", "evil.example")],
    [("x-http-host-override", "evil.example")],
    [("x-host", "evil.example")],
    [("forwarded", "host=evil.example")],
    [("forwarded", "for=x; Host = evil.example")],
    [("x-original-url", "/evil")],
    [("x-original-uri", "/evil")],
    [("x-rewrite-url", "/evil")],
    [("x-forwarded-uri", "/evil")],
    [("x-http-method-override", "evil")],
    [("x-http-method", "evil")],
    [("x-method-override", "evil")],
    [("origin", "https://evil.example")],
    [("x-forwarded-proto", "evil")],
    [("x-forwarded-port", "evil")],
    [("x-forwarded-prefix", "/evil")],
    [("x-script-name", "/evil")],
    [("x-requested-with", "evil")],
    [("hx-request", "evil")],
    [("turbo-frame", "evil")],
    [("host", "evil.example")],
]


@pytest.mark.parametrize("headers", OVERRIDES, ids=lambda headers: headers[0][0])
@pytest.mark.parametrize("path", ["/items/1", "/elsewhere"])
def test_nobody_poisons_what_others_read(site: MakeSite, headers: list[Field], path: str) -> None:
    """What an app may echo is either part of the key or keeps the request out of the cache, with a rule or without."""
    shop = site()

    def fresh_echo(asked: Asked) -> Said:
        said = echo(asked)
        said.headers.append(("cache-control", "max-age=60"))
        return said

    shop.app = fresh_echo
    for _ in range(2):
        assert b"evil" in shop.get(path, *headers).body
    clean = [shop.get(path) for _ in range(2)]
    assert not any(b"evil" in answer.body for answer in clean)
    assert [answer.is_hit for answer in clean] == [False, True]


def test_nobody_poisons_with_a_body(site: MakeSite) -> None:
    """RFC 9110 section 9.3.1: the content of a GET has no meaning, but an app may read it, and it is not in the key."""
    shop = site()
    shop.app = echo
    fat = shop.get("/items/1", ("content-length", "4"), body=b"evil")
    assert b"evil" in fat.body
    assert (fat.forwarded, fat.detail) == ("bypass", "body")
    assert shop.get("/items/1", ("transfer-encoding", "chunked"), body=b"evil").detail == "body"
    assert b"evil" not in shop.get().body


def test_a_personal_reason_is_told_before_others(site: MakeSite) -> None:
    """Whoever says who is asking gets a personal answer, whatever else the request says."""
    answer = site().get("/items/1", ("x-host", "evil.example"), ("cookie", "a=b"), ("content-length", "0"))
    assert (answer.detail, answer.is_unshared) == ("cookie", True)


def test_a_bypass_that_is_not_personal_may_be_shared_further_out(site: MakeSite) -> None:
    """Nothing is said about caching that the app has not said."""
    assert site().get("/items/1", ("x-host", "evil.example")).header("cache-control") is None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_neither_answered_nor_stored(site: MakeSite, method: str) -> None:
    """RFC 9111 section 4: a stored GET answers GET and HEAD only."""
    shop = site()
    shop.get()
    shop.app = says(b"done", status=400)
    answer = shop.send(method)
    assert (answer.is_untouched, answer.body) == (True, b"done")
    shop.app = says(b"never")
    assert shop.get().body == b"hello"


def test_a_method_in_lower_case_is_no_get(site: MakeSite) -> None:
    """RFC 9110 section 9.1: methods are case-sensitive; what an app makes of `get` is not stored for GET."""
    shop = site()
    shop.app = says(b"odd", ("cache-control", "max-age=60"))
    shop.send("get")
    shop.app = says(b"hello")
    assert shop.get().body == b"hello"


def test_paths_without_a_rule_are_not_touched(site: MakeSite) -> None:
    """The cache is asked for by a rule or by the response."""
    shop = site()
    for path in ("/other", "/itemsandmore", "/"):
        for _ in range(2):
            answer = shop.get(path)
            assert (answer.is_untouched, answer.header("cache-control")) == (True, None)
    assert len(shop.calls) == 6


def test_cookies_of_analytics_are_not_shown_to_the_app(site: MakeSite) -> None:
    """What may be stored was made without any cookie."""
    shop = site()
    shop.app = echo
    tracking = secrets.token_hex(8)
    answer = shop.get("/items/1", ("cookie", f"_ga={tracking}"))
    assert (answer.is_stored, shop.calls[0].header("cookie")) == (True, None)
    assert tracking.encode() not in shop.get().body


def test_a_request_without_a_host_is_a_site_of_its_own(site: MakeSite) -> None:
    """RFC 9112 section 3.2: HTTP/1.0 clients may send an empty one."""
    shop = site(CacheRule(paths="/*"))
    shop.get("/", ("host", ""))
    assert not shop.get("/").is_hit
