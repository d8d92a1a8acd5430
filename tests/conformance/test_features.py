"""Limits, cache, health and request ids behave alike on every framework."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable

import pytest

from launchkit import request_id
from tests.support.clients import AsgiClient
from tests.support.targets import Target

GOOD = json.dumps({"password": "right"}).encode()
BAD = json.dumps({"password": "wrong"}).encode()


def test_failed_logins_are_refused_after_twenty(target: Target) -> None:
    """The launch default: 20 failures in 5 minutes from one address."""
    statuses = [target.request("POST", "/login", body=BAD).status for _ in range(30)]
    assert statuses == [401] * 20 + [429] * 10
    assert target.world.calls == 20


def test_a_refusal_says_when_to_come_back(target: Target) -> None:
    """429 with Retry-After in whole seconds, stored by nobody (RFC 6585 section 4)."""
    for _ in range(20):
        target.request("POST", "/login", body=BAD)
        target.world.clock.advance(1)
    reply = target.request("POST", "/login", body=BAD)
    assert (reply.status, reply.header("retry-after"), reply.header("cache-control")) == (429, "280", "no-store")
    assert json.loads(reply.body)["status"] == 429
    target.world.clock.advance(280)
    assert target.request("POST", "/login", body=BAD).status == 401


def test_successes_do_not_use_up_failures(target: Target) -> None:
    """A success gives back what was reserved; only the limit on all tries holds it back."""
    statuses = [target.request("POST", "/login", body=GOOD).status for _ in range(60)]
    assert statuses == [200] * 60
    assert target.request("POST", "/login", body=GOOD).status == 429
    target.world.clock.advance(60)
    assert [target.request("POST", "/login", body=BAD).status for _ in range(21)] == [401] * 20 + [429]


def test_addresses_are_counted_apart(target: Target) -> None:
    """One attacker does not lock others out; IPv6 clients count by /64."""
    for _ in range(20):
        target.request("POST", "/login", body=BAD, peer="2001:db8::1")
    assert target.request("POST", "/login", body=BAD, peer="2001:db8::2").status == 429
    assert target.request("POST", "/login", body=BAD, peer="2001:db8:0:1::1").status == 401
    assert target.request("POST", "/login", body=BAD).status == 401


def test_spellings_of_a_path_share_its_limit(target: Target) -> None:
    """Slashes and percent-encoding are no way around."""
    for _ in range(20):
        target.request("POST", "/login", body=BAD)
    for path in ("/%6Cogin", "//login", "/login/", "/login%0A"):
        assert target.request("POST", path, body=BAD).status == 429


def test_an_undeclared_proxy_makes_limits_observe(
    make: Callable[..., Target], caplog: pytest.LogCaptureFixture
) -> None:
    """Everybody would share the proxy's bucket; one error says how to mend it."""
    target = make("asgi", routes={"login": "/login"})
    forwarded = [("x-forwarded-for", "198.51.100.1")]
    statuses = {target.request("POST", "/login", forwarded, BAD, peer="10.0.0.9").status for _ in range(40)}
    assert statuses == {401}
    assert caplog.text.count("LAUNCHKIT_TRUSTED_PROXIES") == 1


def test_a_declared_proxy_tells_the_client(make: Callable[..., Target]) -> None:
    """The rightmost address that is no proxy counts; what stands left of it is the client's own invention."""
    target = make("asgi", routes={"login": "/login"}, trusted_proxies="private")
    for number in range(20):
        forged = [("x-forwarded-for", f"203.0.113.{number}, 198.51.100.1")]
        assert target.request("POST", "/login", forged, BAD, peer="10.0.0.9").status == 401
    assert target.request("POST", "/login", forged, BAD, peer="10.0.0.9").status == 429


def test_a_unix_socket_is_a_proxy_that_has_to_be_declared(
    make: Callable[..., Target], caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody's address is known at its other end; declared, the proxy tells it."""
    undeclared = make("wsgi", routes={"login": "/login"})
    assert {undeclared.request("POST", "/login", body=BAD, peer=None).status for _ in range(30)} == {401}
    assert "set LAUNCHKIT_TRUSTED_PROXIES to unix" in caplog.text
    declared = make("wsgi", routes={"login": "/login"}, trusted_proxies="unix")
    for client in ("198.51.100.1", "198.51.100.2"):
        told = [("x-forwarded-for", client)]
        statuses = [declared.request("POST", "/login", told, BAD, peer=None).status for _ in range(21)]
        assert statuses == [401] * 20 + [429]


def test_a_login_body_reaches_the_app_after_the_limit(target: Target) -> None:
    """Limiting by address does not touch the body."""
    assert target.request("POST", "/login", body=[GOOD[:5], GOOD[5:]]).status == 200


def test_reads_are_cached(target: Target) -> None:
    """The second read does not reach the app, and says so."""
    first, second = target.request("GET", "/counted"), target.request("GET", "/counted")
    assert (first.body, second.body, target.world.calls) == (b"call 1", b"call 1", 1)
    assert (first.header("cache-status"), second.header("cache-status")) == (
        "LaunchKit; fwd=miss; stored",
        "LaunchKit; hit; ttl=30",
    )
    assert second.header("age") == "0"


def test_cached_responses_get_their_own_request_id(target: Target) -> None:
    """What belongs to one request is never stored."""
    first, second = target.request("GET", "/counted"), target.request("GET", "/counted")
    assert first.header("x-request-id") != second.header("x-request-id")
    assert len(second.header_values("x-request-id")) == 1


@pytest.mark.parametrize("name", ["authorization", "cookie", "x-api-key"])
def test_credentials_bypass_the_cache(target: Target, name: str) -> None:
    """Who is somebody gets their own page, and nobody else gets it."""
    target.request("GET", "/counted", [(name, "alice=1")])
    assert target.request("GET", "/counted", [(name, "bob=1")]).body == b"call 2"
    assert target.request("GET", "/counted").body == b"call 3"


def test_stale_entries_are_fetched_anew(target: Target) -> None:
    """After 30 s one request goes to the app; after 90 s nothing stored is used."""
    target.request("GET", "/counted")
    target.world.clock.advance(31)
    assert target.request("GET", "/counted").header("cache-status") == "LaunchKit; fwd=stale; stored"
    assert target.world.calls == 2


def test_health_says_pass(target: Target) -> None:
    """GET and HEAD, nothing but the status to strangers, stored by nobody."""
    for path in ("/health", "/health/live", "/health/ready", "/health/ready/"):
        reply = target.request("GET", path)
        assert (reply.status, json.loads(reply.body)) == (200, {"status": "pass"})
        assert reply.header("cache-control") == "no-store"
        assert target.request("HEAD", path).status == 200
        assert target.request("POST", path).status == 405


def test_readiness_follows_the_apps_checks(target: Target) -> None:
    """Sync and async checks alike; three failures an interval apart after the grace make it fail, one success heals."""
    healthy = {"database": False}

    @target.kit.health_check("database")
    async def database() -> bool:
        return healthy["database"]

    @target.kit.health_check("disk")
    def disk() -> None:
        return None

    target.request("GET", "/health/ready")
    target.world.clock.advance(61)
    statuses = []
    for _ in range(3):
        statuses.append(target.request("GET", "/health/ready").status)
        target.world.clock.advance(11)
    assert statuses[-1] == 503
    assert target.request("GET", "/health/live").status == 200
    healthy["database"] = True
    target.world.clock.advance(11)
    assert target.request("GET", "/health/ready").status == 200


def test_a_check_that_raises_what_is_no_exception_has_failed(target: Target) -> None:
    """It takes down neither the answer nor the server."""

    @target.kit.health_check("odd")
    async def odd() -> None:
        raise KeyboardInterrupt

    reply = target.request("GET", "/health/ready")
    assert (reply.status, json.loads(reply.body), reply.error) == (200, {"status": "warn"}, None)


def test_a_request_id_is_made(target: Target) -> None:
    """It is the same in the app and in the response, and gone afterwards."""
    reply = target.request("GET", "/identity")
    assert reply.body.decode() == reply.header("x-request-id")
    assert len(reply.body) == 32
    assert request_id.get() == ""


@pytest.mark.parametrize(("given", "kept"), [("0af7651916cd43dd", True), ("bad id\r\n", False), ("x" * 65, False)])
def test_a_well_formed_request_id_is_kept(target: Target, given: str, kept: bool) -> None:
    """8 to 64 letters, digits and a few signs; anything else is replaced."""
    reply = target.request("GET", "/identity", [("x-request-id", given)])
    assert (reply.header("x-request-id") == given) is kept
    assert reply.body.decode() == reply.header("x-request-id")


def test_concurrent_requests_do_not_share_state(target: Target) -> None:
    """Each of 50 simultaneous requests sees its own id."""
    ids = [f"request-{number:04}" for number in range(50)]
    if isinstance(target.client, AsgiClient):

        async def together() -> list[bytes]:
            client = target.client
            replies = await asyncio.gather(
                *(client.arequest("GET", "/identity", [("x-request-id", one)]) for one in ids)
            )
            return [reply.body for reply in replies]

        bodies = target.client.runner.run(together())
    else:
        found: dict[str, bytes] = {}

        def call(one: str) -> None:
            client = type(target.client)(target.client.app)
            found[one] = client.request("GET", "/identity", [("x-request-id", one)]).body

        threads = [threading.Thread(target=call, args=(one,)) for one in ids]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        bodies = [found[one] for one in ids]
    assert bodies == [one.encode() for one in ids]


def test_made_up_paths_do_not_fill_memory(target: Target) -> None:
    """100,000 different paths leave a table of bounded size, and one plan."""
    target.request("GET", "/hello")
    pipeline = target.kit.start()
    plans = {id(pipeline.planner.plan("GET", f"/made-up/{number}")) for number in range(100_000)}
    assert len(pipeline.planner.table) <= pipeline.planner.TABLE_SIZE
    assert len(plans) == 1


def test_features_can_be_switched_off(make: Callable[..., Target], target: Target) -> None:
    """Then their paths and headers are the app's again."""
    off = make(
        target.name,
        timing={"enabled": False},
        health={"enabled": False},
        edge={"enabled": False},
        rate_limit={"enabled": False},
        read_cache={"enabled": False, "rules": {"counted": {"paths": "/counted"}}},
        routes={"login": "/login"},
    )
    assert off.request("GET", "/health/live").status == 404
    assert off.request("GET", "/metrics", peer="127.0.0.1").status == 404
    assert off.request("GET", "/hello").header("x-frame-options") is None
    assert {off.request("POST", "/login", body=BAD).status for _ in range(70)} == {401}
    assert off.request("GET", "/counted").header("cache-status") is None


@pytest.mark.parametrize("name", ["starlette", "flask"])
def test_head_counts_as_get(make: Callable[..., Target], name: str) -> None:
    """Frameworks call the same handler for it."""
    target = make(name, rate_limit={"rules": {"all": {"paths": "/counted", "methods": "GET", "limit": "3/minute"}}})
    assert [target.request("HEAD", "/counted").status for _ in range(5)] == [200] * 3 + [429] * 2
    assert target.request("GET", "/counted").status == 429


def test_a_proxy_that_does_not_name_the_client_is_no_client(
    make: Callable[..., Target], caplog: pytest.LogCaptureFixture
) -> None:
    """Declared or not: its visitors are not one visitor."""
    for proxies, headers, peer in (
        ("private", [("x-real-ip", "198.51.100.1")], "10.0.0.9"),
        ("", [("x-forwarded-proto", "https")], "10.0.0.9"),
        ("", [("via", "1.1 proxy")], "127.0.0.1"),
    ):
        target = make("asgi", routes={"login": "/login"}, trusted_proxies=proxies)
        assert {target.request("POST", "/login", headers, BAD, peer=peer).status for _ in range(30)} == {401}
    assert "It is trusted, but no client is named in X-Forwarded-For" in caplog.text


def test_a_private_peer_is_a_proxy_in_production(make: Callable[..., Target]) -> None:
    """Visitors come from the internet; in development they come from the next desk."""
    production = make("wsgi", routes={"login": "/login"}, environment="production")
    assert {production.request("POST", "/login", body=BAD, peer="10.0.0.9").status for _ in range(30)} == {401}
    development = make("wsgi", routes={"login": "/login"})
    assert [development.request("POST", "/login", body=BAD, peer="10.0.0.9").status for _ in range(21)][-1] == 429


@pytest.mark.parametrize("name", ["x-accesstoken", "eppn", "x-org-id", "x-script-name", "x-anything"])
def test_headers_that_nobody_thought_of_tell_cached_pages_apart(target: Target, name: str) -> None:
    """An app may make its page from any of them."""
    alice, bob = [(name, "alice")], [(name, "bob")]
    pages = [target.request("GET", "/counted", headers).body for headers in (alice, bob, alice)]
    assert pages[0] != pages[1]
    assert pages[2] != pages[1]


def test_a_user_known_to_the_server_bypasses_the_cache(make: Callable[..., Target]) -> None:
    """Whoever authenticated them: a password, Kerberos, a certificate, or middleware around the kit."""
    rules = {"read_cache": {"rules": {"counted": {"paths": "/counted", "public": True}}}}
    flask, starlette = make("flask", **rules), make("starlette", **rules)
    for identity in ({"REMOTE_USER": "alice"}, {"SSL_CLIENT_S_DN": "CN=alice"}):
        pages = {flask.request("GET", "/counted", **identity).body for _ in range(2)}
        assert len(pages) == 2
    certificate = {"extensions": {"tls": {"client_cert_name": "CN=alice"}}}
    for identity in ({"session": {"user": "alice"}}, {"user": object()}, certificate):
        reply = [starlette.request("GET", "/counted", **identity) for _ in range(2)]
        assert len({one.body for one in reply}) == 2
        assert reply[0].header("cache-status") == "LaunchKit; fwd=bypass; detail=identified"
        assert reply[0].header("cache-control") == "private, no-store"
    assert starlette.request("GET", "/counted", session={}).header("cache-status") == "LaunchKit; fwd=miss; stored"
