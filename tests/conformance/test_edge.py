"""The edge behaves alike on every framework."""

from __future__ import annotations

import base64
import io
import json
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.exceptions import RequestEntityTooLarge

from launchkit.adapters.flask import QuietReading
from launchkit.adapters.wsgi_input import LimitedInput, RejoinedInput
from launchkit.pipeline.exchange import EarlyResponse
from launchkit.testing import sign
from tests.support.clients import Reply
from tests.support.targets import NAMES, Target

Make = Callable[..., Target]

PROXY = "10.0.0.9"
APP = "https://app.example"
TOKEN = secrets.token_urlsafe(16)
TOLD = [
    ("x-forwarded-for", "6.6.6.6, 198.51.100.1"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "shop.example"),
]


@pytest.fixture(name="name", params=NAMES)
def _name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def upload(target: Target, parts: list[bytes], path: str = "/echo", headers: Any = ()) -> Reply:
    """Send a body whose length is not announced."""
    if target.is_async:
        return target.request("POST", path, list(headers), parts)
    chunked = [*headers, ("transfer-encoding", "chunked")]
    return target.request("POST", path, chunked, parts, CONTENT_LENGTH="", **{"wsgi.input_terminated": True})


def nothing_failed(target: Target) -> bool:
    return dict(target.kit._failures.counts) == {}


# --- body limit ----------------------------------------------------------------------------------------------------


def test_an_announced_body_that_is_too_large_is_refused(make: Make, name: str) -> None:
    """413 at once, with everything that every response carries; one that fits passes."""
    target = make(name, edge={"max_body": 100})
    reply = target.request("POST", "/echo", [("content-length", "101")], b"x" * 101)
    assert (reply.status, reply.header("content-type")) == (413, "application/problem+json")
    assert reply.header("x-request-id")
    assert target.request("POST", "/echo", [("content-length", "100")], b"x" * 100).body == b"x" * 100
    assert nothing_failed(target)


@pytest.mark.parametrize("name", ["asgi", "starlette", "fastapi", "flask"])
def test_a_body_that_turns_out_too_large_is_refused(make: Make, name: str) -> None:
    """413 whatever the app makes of it, and nothing is raised; one that fits passes in all its parts."""
    target = make(name, edge={"max_body": 100}, environment="production")
    for parts in ([b"x" * 101], [b"x" * 60, b"y" * 60], [b"x" * 100, b"", b"y"], [b"x" * 50] * 2_000):
        reply = upload(target, parts)
        assert (reply.status, json.loads(reply.body)["status"], reply.error) == (413, 413, None)
        assert reply.header("x-request-id")
        assert reply.header("content-length") == str(len(reply.body))
        assert len([message for message in reply.messages if message["type"] == "http.response.start"]) <= 1
    assert upload(target, [b"x" * 60, b"", b"y" * 40]).body == b"x" * 60 + b"y" * 40
    assert nothing_failed(target)


def test_a_refused_body_is_no_failure_of_a_flask_app(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is logged, also where a hook has read the beginning; the answer is the kit's, not Flask's."""
    target = make("flask", routes={"login": "/login"}, edge={"max_body": 80_000})
    for path, size in (("/echo", 80_001), ("/login", 80_001), ("/login", 200_000)):
        reply = upload(target, [b"x" * size], path)
        assert (reply.status, reply.header("content-type"), reply.error) == (413, "application/problem+json", None)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
    assert nothing_failed(target)


def test_what_a_flask_app_reads_too_much_of_is_a_413_to_it() -> None:
    """Werkzeug's exception, under what a hook has read already too; a body without a limit is left as it is."""
    raised: list[str] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        try:
            environ["wsgi.input"].read()
        except RequestEntityTooLarge as error:
            raised.append(str(error.description))
        return []

    limited = io.BufferedReader(LimitedInput(io.BytesIO(b"x" * 11), 10, EarlyResponse(413)))
    begun = io.BufferedReader(LimitedInput(io.BytesIO(b"x" * 11), 10, EarlyResponse(413)))
    for stream in (limited, io.BufferedReader(RejoinedInput(b"y" * 5, begun)), io.BytesIO(b"x" * 11)):
        assert QuietReading(app)({"wsgi.input": stream}, None) == []  # type: ignore[arg-type]  # nothing is started
    assert raised == ["the request body is larger than it may be"] * 2


def test_a_refused_body_is_counted_as_the_413_it_is(make: Make) -> None:
    """In the figures of the route that the app had found, and not as a client that went away."""
    for name in ("starlette", "flask"):
        target = make(name, edge={"max_body": 10})
        upload(target, [b"x" * 11])
        series = [one for one in target.kit.timing.series() if one.route == "/echo"]
        assert [list(one.outcomes()) for one in series] == [["4xx"]]


def test_a_body_that_is_read_by_a_limit_first_is_counted_once(make: Make, name: str) -> None:
    """The limit on logins reads it for the account, and the app reads it again."""
    body = json.dumps({"email": "a@example.com", "password": "right"}).encode()
    fits = make(name, routes={"login": "/login"}, edge={"max_body": len(body)})
    split = [body[:10], body[10:]]
    assert fits.request("POST", "/login", body=split).status == 200
    if name != "wsgi":
        assert upload(fits, split, "/login").status == 200
    tight = make(name, routes={"login": "/login"}, edge={"max_body": len(body) - 1})
    reply = upload(tight, split, "/login")
    assert (reply.status, reply.error, tight.world.calls) == (413, None, 0)
    assert nothing_failed(fits)
    assert nothing_failed(tight)


@pytest.mark.parametrize(("sender", "forged"), [("stripe", 200), ("github", 401), ("gitlab", 401), ("standard", 401)])
def test_a_signature_that_is_sent_twice_is_judged_the_same_everywhere(
    make: Make, name: str, sender: str, forged: int
) -> None:
    """Both count, joined by a comma: who lists its signatures may list a wrong one too, and nobody gets in by two."""
    secret, other = (f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}" for _ in range(2))
    if sender == "gitlab":
        secret, other = secrets.token_hex(16), secrets.token_hex(16)
    target = make(name, webhooks={"sources": {sender: {"secrets": [secret]}}})
    body = json.dumps({"id": "evt_1", "type": "invoice.paid"}).encode()
    now = target.world.clock.time()
    right = sign(sender, secret, body, now=now, message_id="m1")
    wrong = sign(sender, other, body, now=now, message_id="m1")
    (header,) = (key for key in right if right[key] != wrong[key])
    beside = [(key, value) for key, value in right.items() if key != header]

    def status(*values: str) -> int:
        return target.request(
            "POST", f"/webhooks/{sender}", [*beside, *((header, value) for value in values)], body
        ).status

    assert status(wrong[header], wrong[header]) == 401
    assert status("", wrong[header]) == 401
    assert [status(right[header], wrong[header]), status(wrong[header], right[header])] == [forged, forged]
    assert status(right[header]) == 200


def test_webhooks_have_their_own_limit(make: Make, name: str) -> None:
    """A general limit does not refuse what a sender will send again and again."""
    secret = f"whsec_{secrets.token_hex(16)}"
    target = make(
        name,
        edge={
            "max_body": 10,
            "url": "https://shop.example",
            "cors": {"origins": APP},
            "redirects": {"/webhooks/*": "/x"},
        },
        webhooks={"sources": {"stripe": {"secrets": secret}}},
        environment="production",
    )
    body = json.dumps({"id": "evt_1", "type": "invoice.paid"}).encode()
    signature = sign("stripe", secret, body, now=target.world.clock.time(), message_id="")
    reply = target.request("POST", "/webhooks/stripe", [*signature.items(), ("origin", APP)], body)
    assert reply.status == 200
    assert reply.header("access-control-allow-origin") is None


# --- redirects and hosts -------------------------------------------------------------------------------------------


def test_moved_paths_are_answered_with_308(make: Make, name: str) -> None:
    """With query and security headers; what is not in the table passes."""
    target = make(name, edge={"redirects": {"/old/*": "/new/*", "/gone": "https://other.example/"}})
    reply = target.request("POST", "/old/a%2Fb?c=%20", body=b"x")
    assert (reply.status, reply.header("location")) == (308, "/new/a%2Fb?c=%20")
    assert reply.header("x-content-type-options") == "nosniff"
    assert target.request("GET", "/gone").header("location") == "https://other.example/"
    assert target.request("GET", "/hello").status == 200
    assert target.world.calls == 0


def test_other_hosts_and_http_are_sent_home_in_production(make: Make, name: str) -> None:
    """Health checks, webhooks and certificate challenges are not; elsewhere nobody is."""
    target = make(name, edge={"url": "https://shop.example"}, environment="production")
    reply = target.request("POST", "/login?next=%2F", body=b"x")
    assert (reply.status, reply.header("location")) == (308, "https://shop.example/login?next=%2F")
    assert target.request("GET", "//evil.example").header("location") == "https://shop.example//evil.example"
    for path, status in (("/health/live", 200), ("/health/ready", 200), ("/.well-known/acme-challenge/x", 404)):
        assert target.request("GET", path).status == status
    for environment in ("development", "test"):
        assert (
            make(name, edge={"url": "https://shop.example"}, environment=environment).request("GET", "/hello").status
            == 200
        )


def test_a_host_that_is_not_served_is_refused(make: Make, name: str) -> None:
    """400 where hosts are declared and none of them is home."""
    target = make(name, edge={"hosts": "example.org"}, environment="production")
    assert target.request("GET", "/hello").status == 200
    other = make(name, edge={"hosts": "shop.example"}, environment="production")
    reply = other.request("GET", "/hello")
    assert (reply.status, reply.header("content-type")) == (400, "application/problem+json")


# --- CORS ----------------------------------------------------------------------------------------------------------


def test_a_429_can_be_read_across_origins(make: Make, name: str) -> None:
    """The page learns when to come back; what the app answers can be read as well."""
    target = make(
        name, edge={"cors": {"origins": APP}}, rate_limit={"rules": {"all": {"paths": "/login", "limit": "1/minute"}}}
    )
    replies = [target.request("POST", "/login", [("origin", APP)], b"{}") for _ in range(2)]
    assert [reply.status for reply in replies] == [401, 429]
    for reply in replies:
        assert reply.header_values("access-control-allow-origin") == [APP]
        assert "Retry-After" in (reply.header("access-control-expose-headers") or "")
        assert "origin" in (reply.header("vary") or "").lower()
    stranger = target.request("POST", "/login", [("origin", "https://evil.example")], b"{}")
    assert stranger.header("access-control-allow-origin") is None


def test_preflights_never_count(make: Make, name: str) -> None:
    """They are answered before any limit, redirect or password."""
    target = make(
        name,
        edge={
            "cors": {"origins": APP},
            "protected": {"all": {"paths": "/*", "token": TOKEN}},
            "url": "https://shop.example",
        },
        rate_limit={"rules": {"all": {"paths": "/*", "methods": "", "limit": "1/minute"}}},
        environment="production",
    )
    asked = [("origin", APP), ("access-control-request-method", "POST")]
    replies = [target.request("OPTIONS", "/login", asked) for _ in range(5)]
    assert {reply.status for reply in replies} == {204}
    assert {reply.header("content-length") for reply in replies} == {None}
    assert {tuple(reply.header_values("access-control-allow-origin")) for reply in replies} == {(APP,)}


def test_an_error_can_be_read_across_origins(make: Make, name: str) -> None:
    """A 500 too, so that a page can tell it from a network that is down."""
    target = make(name, edge={"cors": {"origins": APP}})
    reply = target.request("GET", "/boom", [("origin", APP)])
    assert (reply.status, reply.header("access-control-allow-origin")) == (500, APP)


def test_the_apps_vary_is_merged(make: Make) -> None:
    """In the spelling that the app gave it, and once."""

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Vary", b"Accept")]})
        await send({"type": "http.response.body"})

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Vary", "Accept"), ("X-App", "yes")])
        return [b""]

    for name, app in (("asgi", asgi), ("wsgi", wsgi)):
        target = make(name, edge={"cors": {"origins": APP}})
        target.client.app.app = app
        reply = target.request("GET", "/")
        assert [pair for pair in reply.headers if pair[0].lower() == "vary"] == [("Vary", "Accept, Origin")]


# --- protected -----------------------------------------------------------------------------------------------------


def test_protected_paths_ask_for_the_token(make: Make, name: str) -> None:
    """In every spelling that reaches the app, and before the app, the cache or a limit is asked."""
    target = make(
        name,
        edge={"protected": {"team": {"paths": "/counted", "token": TOKEN}}},
        read_cache={"rules": {"counted": {"paths": "/counted", "public": True}}},
    )
    good = [("authorization", "Basic " + base64.b64encode(f"me:{TOKEN}".encode()).decode())]
    for path in ("/counted", "/%63ounted", "//counted", "/counted/", "/x/../counted"):
        reply = target.request("GET", path)
        assert (reply.status, reply.header("www-authenticate")) == (401, 'Basic realm="team", charset="UTF-8"')
        assert reply.header("x-request-id")
    assert target.world.calls == 0
    assert target.request("GET", "/counted", good).status == 200
    assert target.request("GET", "/counted").status == 401


def test_a_condition_that_breaks_keeps_the_door_closed(make: Make, name: str) -> None:
    """403, and the error is reported."""

    def broken(exchange: object) -> bool:
        raise ZeroDivisionError

    target = make(name, edge={"protected": {"team": {"paths": "/hello", "allow": broken}}})
    assert target.request("GET", "/hello").status == 403
    assert dict(target.kit._failures.counts) == {"protected": 1}


def test_protected_networks_know_the_client_behind_the_proxy(make: Make, name: str) -> None:
    """The one that the trusted proxy names, never what the client says of itself."""
    protected = {"office": {"paths": "/hello", "networks": "198.51.100.0/24"}}
    target = make(name, edge={"protected": protected}, trusted_proxies="10.0.0.0/8")
    assert target.request("GET", "/hello", [("x-forwarded-for", "198.51.100.1")], peer=PROXY).status == 200
    assert target.request("GET", "/hello", [("x-forwarded-for", "198.51.100.1, 203.0.113.9")], peer=PROXY).status == 403
    assert target.request("GET", "/hello", [("x-forwarded-for", "198.51.100.1")]).status == 403


# --- what the app is shown -----------------------------------------------------------------------------------------


def probe(target: Target) -> list[Any]:
    """Put an app in place that writes down what it is shown."""
    seen: list[Any] = []

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        host = [value.decode() for key, value in scope["headers"] if key == b"host"]
        seen.append((scope["client"][0] if scope["client"] else None, scope["scheme"], *host))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        assert (environ["wsgi.url_scheme"] == "https") == (environ.get("HTTPS") == "on")
        seen.append((environ["REMOTE_ADDR"], environ["wsgi.url_scheme"], environ["HTTP_HOST"]))
        start_response("200 OK", [])
        return [b""]

    target.client.app.app = asgi if target.is_async else wsgi
    return seen


@pytest.mark.parametrize("name", ["asgi", "wsgi"])
def test_the_app_sees_the_visitor_behind_a_trusted_proxy(make: Make, name: str) -> None:
    """Address, scheme and host; from anybody else it sees the connection."""
    target = make(name, trusted_proxies="10.0.0.0/8", edge={"url": "https://shop.example"})
    seen = probe(target)
    target.request("GET", "/", TOLD, peer=PROXY)
    target.request("GET", "/", TOLD)
    assert seen == [("198.51.100.1", "https", "shop.example"), ("203.0.113.7", "http", "example.org")]


def visit(target: Target, host: str, headers: list[tuple[str, str]], peer: str) -> Reply:
    """Ask for a host's front page."""
    if target.is_async:
        return target.request("GET", "/", [("host", host), *headers], peer=peer)
    return target.request("GET", "/", headers, peer=peer, HTTP_HOST=host)


@pytest.mark.parametrize("name", ["asgi", "wsgi"])
def test_the_app_never_sees_a_host_that_the_visitor_chose(make: Make, name: str) -> None:
    """In production, neither in the place of the site's, behind the proxy, nor with a port of their own."""
    target = make(name, trusted_proxies="10.0.0.0/8", edge={"url": "https://shop.example"}, environment="production")
    seen = probe(target)
    for host in ("10.0.0.7:8000", "intranet", "shop.example:666"):
        assert visit(target, host, TOLD[:2], PROXY).status == 200
    assert seen == [("198.51.100.1", "https", "shop.example")] * 3


@pytest.mark.parametrize("name", ["asgi", "wsgi"])
def test_https_behind_a_proxy_that_the_server_hides_does_not_loop(make: Make, name: str) -> None:
    """The server has put the visitor's address in the proxy's place, and the proxy does not tell the scheme."""
    target = make(name, trusted_proxies="private", edge={"url": "https://shop.example"}, environment="production")
    probe(target)
    assert visit(target, "shop.example", [("x-forwarded-for", "203.0.113.7")], "203.0.113.7").status == 200
    assert visit(target, "shop.example", [], "203.0.113.7").header("location") == "https://shop.example/"


@pytest.mark.parametrize("name", ["asgi", "wsgi"])
def test_without_trusted_proxies_nothing_is_changed(make: Make, name: str) -> None:
    """And nothing is looked at."""
    target = make(name, edge={"url": "https://shop.example"})
    seen = probe(target)
    target.request("GET", "/", TOLD, peer=PROXY)
    assert seen == [(PROXY, "http", "example.org")]


def test_features_go_on_seeing_the_proxy(make: Make, name: str) -> None:
    """What the app is shown is not taken for the connection: HSTS is sent, and limits count the visitor."""
    target = make(
        name,
        trusted_proxies="10.0.0.0/8",
        environment="production",
        rate_limit={"rules": {"all": {"paths": "/login", "limit": "1/minute"}}},
    )
    replies = [target.request("POST", "/login", TOLD, b"{}", peer=PROXY) for _ in range(2)]
    assert [reply.status for reply in replies] == [401, 429]
    assert replies[0].header("strict-transport-security")
    other = [("x-forwarded-for", "198.51.100.2"), ("x-forwarded-proto", "https")]
    assert target.request("POST", "/login", other, b"{}", peer=PROXY).status == 401


def test_whoami_says_what_was_made_of_what(make: Make, name: str) -> None:
    """To who has the token; to others it does not exist."""
    target = make(name, trusted_proxies="10.0.0.0/8", token=TOKEN)
    bearer = ("authorization", f"Bearer {TOKEN}")
    document = json.loads(target.request("GET", "/launchkit/whoami", [*TOLD, bearer], peer=PROXY).body)
    assert document["client"] == "198.51.100.1"
    assert (document["peer"], document["trusted"], document["scheme"]) == (PROXY, True, "https")
    assert target.request("GET", "/launchkit/whoami", TOLD, peer=PROXY).status == 404


# --- static files --------------------------------------------------------------------------------------------------


def test_files_with_a_hash_in_their_names_are_kept(make: Make, name: str) -> None:
    """Those under the named paths; Flask's own `no-cache` gives way."""
    if name != "flask":
        target = make(name, edge={"immutable": "/items/*"})
        assert target.request("GET", "/items/app.3f4b2c1a.js").header("cache-control") == "max-age=31536000, immutable"
        assert target.request("GET", "/items/app.js").header("cache-control") is None
        return
    from flask import send_file

    target = make(name, edge={"immutable": "/assets/*"})
    app: Any = target.client.app
    app.add_url_rule("/assets/<name>", view_func=lambda name: send_file(target.world.file))
    assert target.request("GET", "/assets/app.js").header("cache-control") == "no-cache"
    reply = target.request("GET", "/assets/app.3f4b2c1a.js")
    assert reply.header_values("cache-control") == ["max-age=31536000, immutable"]
