"""What one reader is shown must never reach another, whatever the app forgets to say."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cache_driver import COLOURS, Asked, CachedSite, Field, Gate, Said, says, until
from hypothesis import given
from hypothesis import strategies as st
from tests.stores.valkey_server import ValkeyServer, _valkey, _valkey_process
from tests.support.clients import AsgiClient, WsgiClient

from launchkit import LaunchKit, Settings
from launchkit.settings import CacheRule

__all__ = ["_valkey", "_valkey_process"]  # fixtures

MakeSite = Callable[..., CachedSite]

CREDENTIALS = [
    *("authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "apikey", "x-auth-token", "x-token"),
    *("x-goog-api-key", "x-access-token", "x-session-id", "x-user-id", "x-forwarded-user", "x-auth-request-email"),
    *("cf-access-jwt-assertion", "x-ms-client-principal", "x-amzn-oidc-identity", "x-forwarded-client-cert"),
    *("remote-user", "x-csrf-token", "x-shop-token", "x_api_key", "x-tenant", "x-customer-key", "x-signature"),
]
FRESH: list[list[Field]] = [
    [],
    [("cache-control", "max-age=60")],
    [("expires", "Tue, 14 Nov 2023 23:13:20 GMT")],
    [("cache-control", "max-age=60, must-revalidate"), ("etag", '"v1"')],
    [("cdn-cache-control", "max-age=60")],
]
PATHS = ["/items/1", "/elsewhere"]
"""Under a rule, and not."""


def profile(*headers: Field) -> Callable[[Asked], Said]:
    """Return an app that knows its readers and says the same about caching to all."""

    def app(asked: Asked) -> Said:
        seen = [value for name, value in asked.headers.items() if name.replace("_", "-") in KNOWN]
        return says(f"for {' '.join(seen)}{asked.user}.".encode(), *headers)

    return app


KNOWN = {name.replace("_", "-") for name in CREDENTIALS}


def somebody(name: str) -> Field:
    value = secrets.token_hex(8)
    return (name, f"session={value}" if name == "cookie" else value)


# --- one after another ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", FRESH, ids=str)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", CREDENTIALS)
def test_two_users_and_a_stranger_each_get_their_own(name: str, path: str, said: list[Field]) -> None:
    """RFC 9111 section 3.5, extended to every credential: nothing is stored of them and nothing is given to them."""
    for colour in COLOURS[:2]:
        shop = CachedSite(colour=colour, app=profile(*said))
        alice, bob = somebody(name), somebody(name)
        for visitor in (alice, bob, None, alice, None, bob):
            headers = [] if visitor is None else [visitor]
            expected = "" if visitor is None else visitor[1]
            assert shop.get(path, *headers).body.decode() == f"for {expected}."
        shop.close()


@pytest.mark.parametrize("path", PATHS)
def test_a_user_whom_an_outer_layer_knows_gets_their_own(site: MakeSite, path: str) -> None:
    """REMOTE_USER (RFC 3875 section 4.1.11), and what authentication middleware leaves in a scope."""
    shop = site(app=profile(("cache-control", "max-age=60")))
    for user in ("alice", "bob", "", "alice", ""):
        answer = shop.get(path, user=user)
        assert answer.body.decode() == f"for {user}."
        assert answer.detail == ("identified" if user and path == "/items/1" else answer.detail)


def test_a_session_that_an_outer_layer_holds_is_personal() -> None:
    """What session middleware outside of the kit has put into the scope is somebody's."""
    shop = CachedSite(app=profile(("cache-control", "max-age=60")))
    assert shop.get(session={"user": 1}).detail == "identified"
    assert shop.get(session={}).forwarded == "miss"
    assert shop.get(session={"user": 1}).detail == "identified"
    shop.close()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["cookie", "authorization", "x-api-key"])
def test_head_and_parts_are_personal_too(site: MakeSite, name: str, path: str) -> None:
    """RFC 9111 section 3.5 is about requests of every kind."""
    shop = site(app=profile(("cache-control", "max-age=60")))
    shop.get(path)
    before = len(shop.calls)
    for method, headers in [("HEAD", []), ("GET", [("range", "bytes=0-1")]), ("GET", [("if-none-match", "*")])]:
        answer = shop.send(method, path, somebody(name), *headers)
        assert (answer.is_hit, answer.status) == (False, 200)
    assert len(shop.calls) == before + 3


@pytest.mark.parametrize("path", PATHS)
def test_a_cookie_that_is_set_reaches_one_reader(site: MakeSite, path: str) -> None:
    """Set-Cookie is never stored, which RFC 9111 section 7.3 leaves to the cache; nor is the page that came with it."""
    shop = site()
    shop.app = lambda asked: says(
        b"csrf %d" % len(shop.calls),
        ("Set-Cookie", f"session={secrets.token_hex(8)}"),
        ("cache-control", "public, max-age=60, s-maxage=60"),
    )
    answers = [shop.get(path) for _ in range(3)]
    assert len({answer.header("set-cookie") for answer in answers}) == 3
    assert len({answer.body for answer in answers}) == 3


# --- what may be shared after all ----------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["public", "public, max-age=60", "s-maxage=60", "max-age=0, s-maxage=60"])
@pytest.mark.parametrize("name", ["cookie", "authorization", "x-api-key"])
def test_under_a_rule_a_response_may_say_that_it_is_for_everyone(site: MakeSite, name: str, said: str) -> None:
    """RFC 9111 section 3.5: public or s-maxage allow to store the answer to a request that says who is asking."""
    shop = site(app=says(b"everyone's", ("cache-control", said)))
    assert not shop.get("/items/1", somebody(name)).is_hit
    for headers in ([somebody(name)], [], [somebody("authorization")]):
        answer = shop.get("/items/1", *headers)
        assert (answer.is_hit, answer.body, answer.header("cache-control")) == (True, b"everyone's", said)
    assert len(shop.calls) == 1


def test_what_a_stranger_was_given_is_not_for_those_who_say_who_they_are(site: MakeSite) -> None:
    """RFC 9111 section 3.5: unless it says so."""
    shop = site(app=profile())
    shop.get()
    alice = somebody("cookie")
    assert alice[1].encode() in shop.get("/items/1", alice).body


@pytest.mark.parametrize("said", ["public, max-age=60", "s-maxage=60", "public, s-maxage=60"])
@pytest.mark.parametrize("name", ["cookie", "authorization", "x-api-key"])
def test_without_a_rule_not_even_public_makes_a_personal_response_everyones(
    site: MakeSite, name: str, said: str
) -> None:
    """Frameworks say `public` of files by themselves: only a rule is a promise."""
    shop = site(app=profile(("cache-control", said)))
    alice, bob = somebody(name), somebody(name)
    for visitor in (alice, bob):
        assert visitor[1].encode() in shop.get("/elsewhere", visitor).body
    assert shop.get("/elsewhere").body == b"for ."
    assert alice[1].encode() in shop.get("/elsewhere", alice).body


@pytest.mark.parametrize("vary", ["Cookie", "Accept, cookie", "Authorization"])
def test_public_is_not_for_everyone_where_it_varies_by_who_is_asking(vary: str) -> None:
    """RFC 9111 section 4.1: Flask says Vary: Cookie of what it has made from a session, and `public` of a file."""
    name = "authorization" if vary == "Authorization" else "cookie"
    for colour in COLOURS:
        shop = CachedSite(colour=colour, app=profile(("cache-control", "public, max-age=60"), ("Vary", vary)))
        bodies = [shop.get("/items/1", *headers).body for headers in ([somebody(name)], [somebody(name)], [])]
        shop.close()
        assert len(set(bodies)) == 3


# --- a public rule -------------------------------------------------------------------------------------------------

PUBLIC = CacheRule(paths="/items/*", public=True)


def test_a_public_rule_hides_who_is_asking(site: MakeSite) -> None:
    """Cookie and Authorization never reach the app there, so one answer is everyone's."""
    shop = site(PUBLIC, app=profile())
    for name in ("cookie", "authorization", "cookie"):
        answer = shop.get("/items/1", somebody(name))
        assert (answer.body, answer.header("cache-control")) == (b"for .", None)
    assert len(shop.calls) == 1


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("HEAD", []),
        ("GET", [("range", "bytes=0-")]),
        ("GET", [("x-host", "evil.example")]),
        ("GET", [("x-api-key", "x")]),
        ("GET", [("content-length", "1")]),
    ],
)
def test_a_public_rule_hides_it_past_the_cache_too(site: MakeSite, method: str, headers: list[Field]) -> None:
    """A path answers alike whether the cache was asked or not."""
    shop = site(PUBLIC, app=profile())
    shop.send(method, "/items/1", somebody("cookie"), somebody("authorization"), *headers, body=b"")
    assert shop.calls[0].headers.keys().isdisjoint({"cookie", "authorization"})


def test_a_public_rule_does_not_hide_it_from_what_changes_things(site: MakeSite) -> None:
    """A POST needs its session."""
    shop = site(PUBLIC)
    cookie = somebody("cookie")
    shop.send("POST", "/items/1", cookie)
    assert shop.calls[0].header("cookie") == cookie[1]


def test_a_public_rule_does_not_hide_api_keys(site: MakeSite) -> None:
    """Other credentials still reach the app, past the cache."""
    shop = site(PUBLIC, app=profile())
    key = somebody("x-api-key")
    assert key[1].encode() in shop.get("/items/1", key).body
    assert shop.get().body == b"for ."


# --- at once -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_fifty_users_at_once_each_get_their_own(site: MakeSite, path: str) -> None:
    """Whoever says who is asking waits for nobody, and is given nobody else's answer."""
    gate = Gate()
    personal = profile(("cache-control", "max-age=60"))

    def app(asked: Asked) -> Said:
        said = personal(asked)
        said.before = gate
        return said

    shop = site(app=app)
    users = [somebody(CREDENTIALS[number % len(CREDENTIALS)]) for number in range(50)]
    visits = [shop.begin(path, user) for user in users]
    until(lambda: len(shop.calls) == 50)
    strangers = [shop.begin(path) for _ in range(5)]
    gate.open()
    assert [visit.end().body.decode() for visit in visits] == [f"for {value}." for _, value in users]
    assert {visit.end().body for visit in strangers} == {b"for ."}


@pytest.mark.parametrize(
    "said",
    [("set-cookie", "s=1"), ("cache-control", "private"), ("cache-control", "no-store"), ("cache-control", "no-cache")],
)
def test_fifty_who_wait_for_what_may_not_be_shared_each_get_their_own(site: MakeSite, said: Field) -> None:
    """The first answer turns out to be its reader's alone: those who waited for it go to the app themselves."""
    gate = Gate()
    shop = site()
    shop.app = lambda asked: says(b"%d" % len(shop.calls), said, before=gate)
    visits = [shop.begin() for _ in range(50)]
    until(lambda: len(shop.calls) == 1 and shop.followers == 49)
    gate.open()
    assert len({visit.end().body for visit in visits}) == 50


# --- paths ---------------------------------------------------------------------------------------------------------

TRICKS = [
    *("/account", "/account/", "//account", "/account//", "/account/x.css", "/account;x.css", "/account/;x.css"),
    *("/account%2fx.css", "/account%2Fx.css", "/%61ccount", "/static/../account", "/static/%2e%2e/account"),
    *(
        "/static/..%2faccount",
        "/account%00.css",
        "/account%0a",
        "/account?x.css",
        "/account%3fx.css",
        "/account%23.css",
    ),
    *("/./account", "/account/.", "/account/%2e%2e/account", "/account/..;/account", "//x/../account", "/account%20"),
]


@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize("path", TRICKS)
def test_nobody_is_deceived_into_storing_their_account(site: MakeSite, path: str, public: bool) -> None:
    """A rule for everything and `/account/*` never: however the path is spelt, what one reader got no other gets."""
    shop = site(CacheRule(paths="/*", public=public), never=("/account/*",), app=profile())
    for user in [somebody("cookie"), somebody("cookie"), somebody("authorization")]:
        assert user[1].encode() in shop.get(path, user).body or public
        assert shop.get(path).body == b"for ."


@pytest.mark.parametrize(
    "path",
    [
        *("/account", "/account/", "//account", "/account/x.css", "/account%2fx.css", "/%61ccount", "/account%0a"),
        *("/static/../account", "/static/%2e%2e/account", "/account?x.css", "/account/.", "/./account"),
    ],
)
def test_a_path_that_is_never_cached_wins_over_every_rule(site: MakeSite, path: str) -> None:
    """In every spelling that a router may take for it; nothing of it is stored, hidden or shared further out."""
    shop = site(CacheRule(paths="/*", public=True), never=("/account/*",), app=profile())
    alice = somebody("cookie")
    answers = [shop.get(path, alice), shop.get(path), shop.get(path)]
    assert alice[1].encode() in answers[0].body
    assert all(answer.is_untouched and answer.is_unshared for answer in answers)
    assert len(shop.calls) == 3


def test_what_says_public_is_not_stored_on_a_never_path(site: MakeSite) -> None:
    """`never` wins over what the response says, too."""
    shop = site(never=("/items/mine",), app=says(b"", ("cache-control", "public, max-age=60")))
    for _ in range(2):
        assert shop.get("/items/mine").is_untouched
    assert len(shop.calls) == 2


def test_a_never_path_holds_under_a_mount_prefix(site: MakeSite) -> None:
    """Whether it was written as the app or as the browser sees it."""
    for written in ("/account", "/shop/account"):
        shop = site(CacheRule(paths="/*"), never=(written,), app=profile())
        for _ in range(2):
            assert shop.get("/shop/account", mount="/shop").is_untouched
        assert len(shop.calls) == 2


# --- what breaks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", COLOURS[:2])
def test_a_store_that_is_down_logs_nobody_out(colour: str) -> None:
    """A store that is down is a miss, for those whom the app has to know as well."""
    shop = CachedSite(colour=colour, is_down=True, app=profile())
    alice = somebody("cookie")
    answer = shop.get("/items/1", alice)
    shop.close()
    assert (answer.body.decode(), answer.is_unshared) == (f"for {alice[1]}.", True)


@pytest.mark.parametrize("colour", COLOURS)
def test_an_app_that_takes_credentials_out_of_the_request_is_no_stranger(colour: str) -> None:
    """Authentication layers take the header away once they have read it, in the object that the kit reads too."""
    shop = CachedSite(colour=colour, consumes="authorization", app=profile(("cache-control", "max-age=60")))
    alice, bob = somebody("authorization"), somebody("authorization")
    bodies = [shop.get(path, *headers).body for path in PATHS for headers in ([alice], [bob], [])]
    shop.close()
    assert len(set(bodies)) == 3
    assert bodies[:3] == bodies[3:]


# --- on two machines ------------------------------------------------------------------------------------------------


@pytest.fixture(name="machines", params=["asgi", "wsgi"])
def _machines(request: pytest.FixtureRequest, tmp_path: Path, valkey: ValkeyServer) -> Iterator[list[Any]]:
    """Return clients of two kits that share a Valkey, around apps that know their readers."""
    secret = secrets.token_hex(32)
    rules = {"items": {"paths": "/items/*"}}
    kits = [
        LaunchKit(
            Settings(data_dir=tmp_path / name, secret_key=secret, redis_url=valkey.url, read_cache={"rules": rules})
        )
        for name in "ab"
    ]
    apps = [CachedSite(colour=request.param, app=profile(("cache-control", "max-age=60"))) for _ in kits]
    wrap: list[Any] = [
        kit.asgi(app._asgi) if app.is_async else kit.wsgi(app._wsgi) for kit, app in zip(kits, apps, strict=True)
    ]
    clients: list[Any] = [AsgiClient(app) if request.param == "asgi" else WsgiClient(app) for app in wrap]
    yield clients
    for kit, client in zip(kits, clients, strict=True):
        if isinstance(client, AsgiClient):
            client.runner.run(kit.astop())
        kit.stop()
        client.close()


@pytest.mark.real_server
@pytest.mark.real_time
def test_readers_of_two_machines_that_share_a_valkey_each_get_their_own(machines: list[Any]) -> None:
    """What one machine has stored the other gives to strangers; of those who say who they are it has nothing."""
    first, second = machines
    until(lambda: second.request("GET", "/items/shared").header("age"))
    first.request("GET", "/items/other")
    until(lambda: second.request("GET", "/items/other").header("age"))
    for name in CREDENTIALS:
        alice, bob = somebody(name), somebody(name)
        for path in (f"/items/{name}", f"/elsewhere/{name}"):
            for reader in (alice, bob, None):
                for machine in (first, second, first):
                    expected = b"for ." if reader is None else b"for %b." % reader[1].encode()
                    assert machine.request("GET", path, [] if reader is None else [reader]).body == expected


# --- in any order --------------------------------------------------------------------------------------------------

sent = st.sampled_from(
    [*CREDENTIALS[:4], "x-api-key", "accept", "range", "x-forwarded-host", "origin", "if-none-match"]
)
visits = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["GET", "HEAD"]), st.lists(sent, max_size=3, unique=True)),
    max_size=10,
)


@given(visits, st.booleans(), st.sampled_from(FRESH), st.sampled_from(PATHS), st.sampled_from([0, 40]))
def test_no_sequence_of_readers_leaks(
    sequence: list[tuple[str, str, list[str]]], public: bool, said: list[Any], path: str, seconds: float
) -> None:
    """Whoever visits in whatever order with whatever credentials, nobody sees a value that another one sent."""
    shop = CachedSite((CacheRule(paths="/items/*", public=public),), colour="wsgi", app=profile(*said))
    for reader, method, names in sequence:
        headers = [(name, f"{name}=secret-of-{reader}") for name in names]
        answer = shop.send(method, path, *headers)
        shop.clock.advance(seconds)
        shown = answer.body + repr(answer.reply.headers).encode()
        assert not [other for other in "abc" if other != reader and b"secret-of-" + other.encode() in shown]
    assert not shop.failures.counts
