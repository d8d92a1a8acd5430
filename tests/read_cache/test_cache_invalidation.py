"""What was changed is not used again, and neither is what was being made from what was there before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cache_driver import CachedSite, Field, Gate, says, until
from tests.support.clients import AsgiClient, WsgiClient

from launchkit import LaunchKit, Settings
from launchkit.settings import CacheRule
from launchkit.testing import FrozenClock

MakeSite = Callable[..., CachedSite]

FRESH = ("cache-control", "max-age=600")
PATHS = ["/items/1", "/elsewhere/1"]
"""Under a rule, and not."""


def filled(site: MakeSite, *paths: str, headers: tuple[Field, ...] = (FRESH,), **options: Any) -> CachedSite:
    """Return a site that has stored these paths."""
    shop = site(**options)
    shop.app = says(b"old", *headers)
    for path in paths:
        shop.get(path)
        assert shop.get(path).is_hit
    shop.app = says(b"new", *headers)
    return shop


def is_stored(shop: CachedSite, path: str, *headers: Field) -> bool:
    """Tell without storing anything."""
    app, shop.app = shop.app, says(b"none", status=503)
    answer = shop.get(path, *headers)
    shop.app = app
    return answer.is_hit


# --- unsafe requests ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "BREW", "post", "PROPPATCH"])
@pytest.mark.parametrize("status", [200, 201, 204, 303])
def test_a_change_invalidates_its_path_with_every_query(site: MakeSite, path: str, method: str, status: int) -> None:
    """RFC 9111 section 4.4: after a non-error response to a method that is not safe, or not known."""
    shop = filled(site, path, f"{path}?a=1", f"{path}?a=2", f"{path}2")
    shop.app = says(b"" if status == 204 else b"done", status=status)
    assert shop.send(method, path).status == status
    shop.app = says(b"new", FRESH)
    assert [shop.get(one).body for one in (path, f"{path}?a=1", f"{path}?a=2")] == [b"new"] * 3
    assert shop.get(f"{path}2").body == b"old"


def test_every_spelling_of_the_path_is_meant(site: MakeSite) -> None:
    """Those that routers take for one."""
    spellings = ["/items/1", "/items/1/", "//items/1", "/items/%31", "/items//1"]
    shop = filled(site, *spellings)
    shop.send("POST", "/items/1/?x=y")
    assert not any(is_stored(shop, path) for path in spellings)


def test_every_host_scheme_and_variant_is_meant(site: MakeSite) -> None:
    """One app serves them all from the same data."""
    kinds: list[tuple[list[Field], str]] = [
        ([], "https"),
        ([("host", "other.example")], "https"),
        ([], "http"),
        ([("accept", "text/html")], "https"),
        ([("origin", "https://a.example")], "https"),
    ]
    shop = site(app=says(b"old", FRESH, ("vary", "accept")))
    for headers, scheme in kinds:
        shop.get("/items/1", *headers, scheme=scheme)
        assert shop.get("/items/1", *headers, scheme=scheme).is_hit
    shop.send("DELETE", "/items/1")
    shop.app = says(b"new", FRESH, ("vary", "accept"))
    assert {shop.get("/items/1", *headers, scheme=scheme).body for headers, scheme in kinds} == {b"new"}


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 500, 503])
@pytest.mark.parametrize("path", PATHS)
def test_what_failed_has_changed_nothing(site: MakeSite, path: str, status: int) -> None:
    """RFC 9111 section 4.4: otherwise anybody could empty the cache."""
    shop = filled(site, path)
    shop.app = says(b"", status=status)
    shop.send("POST", path)
    assert is_stored(shop, path)


def test_what_raised_has_changed_nothing(site: MakeSite) -> None:
    """The kit's own 500 is an error as well."""
    shop = filled(site, "/items/1")
    shop.app = says(before=ValueError())
    assert shop.send("POST").status == 500
    assert is_stored(shop, "/items/1")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
def test_safe_methods_change_nothing(site: MakeSite, method: str) -> None:
    """RFC 9110 section 9.2.1."""
    shop = filled(site, *PATHS)
    shop.app = says(b"")
    for path in PATHS:
        shop.send(method, path)
        assert is_stored(shop, path)


@pytest.mark.parametrize("name", ["Location", "Content-Location"])
@pytest.mark.parametrize(
    ("value", "is_meant"),
    [
        ("/items/1", True),
        ("https://example.org/items/1?created", True),
        ("https://EXAMPLE.org/items/1", True),
        ("items/1", True),
        ("https://other.example/items/1", False),
        ("//other.example/items/1", False),
        ("https://example.org:444/items/1", False),
        ("/items/2", False),
    ],
)
def test_where_the_answer_points_to_is_invalidated(site: MakeSite, name: str, value: str, is_meant: bool) -> None:
    """RFC 9111 section 4.4: Location and Content-Location, on the same host only."""
    shop = filled(site, "/items/1")
    shop.app = says(b"", (name, value), status=201)
    shop.send("POST", "/items")
    assert is_stored(shop, "/items/1") != is_meant


def test_the_change_is_seen_before_the_client_hears_of_it(site: MakeSite) -> None:
    """Whatever the client asks for next is new, though the answer still streams."""
    shop = filled(site, "/items/1")
    gate = Gate()
    shop.app = says([b"done;", gate, b"end"])
    change = shop.begin(method="POST")
    until(lambda: shop.client.reply.chunks == [b"done;"])
    assert not is_stored(shop, "/items/1")
    gate.open()
    change.end()


def test_a_change_under_a_mount_prefix(site: MakeSite) -> None:
    """Scope and environ tell the path in different ways; the names are the same."""
    shop = site(CacheRule(paths="/items/*"), app=says(b"old"))
    shop.get("/shop/items/1", mount="/shop")
    assert shop.get("/shop/items/1", mount="/shop").is_hit
    shop.send("POST", "/shop/items/1", mount="/shop")
    assert not shop.get("/shop/items/1", mount="/shop").is_hit


def stripped(site: MakeSite) -> CachedSite:
    """Return a site that has stored a page that visitors know as `/api/items/1`, behind a proxy that strips `/api`."""
    shop = site(app=says(b"old", FRESH))
    shop.get("/items/1", mount="/api")
    assert shop.get("/items/1", mount="/api").is_hit
    return shop


@pytest.mark.parametrize(
    "location", ["/api/items/1", "/items/1", "https://example.org/api/items/1", "https://example.org/items/1?created"]
)
def test_where_the_answer_points_to_under_a_prefix_that_a_proxy_strips(site: MakeSite, location: str) -> None:
    """RFC 9111 section 4.4: apps write Location as visitors know it, or as they know it themselves."""
    shop = stripped(site)
    shop.app = says(b"", ("location", location), status=201)
    shop.send("POST", "/items", mount="/api")
    assert not shop.get("/items/1", mount="/api").is_hit


def test_a_change_under_a_prefix_that_a_proxy_strips(site: MakeSite) -> None:
    """A change to the page itself, whether the proxy has stripped the prefix of that request or not."""
    for path in ("/items/1", "/api/items/1"):
        shop = stripped(site)
        shop.app = says(b"done")
        shop.send("PUT", path, mount="/api")
        assert not shop.get("/items/1", mount="/api").is_hit


@pytest.mark.parametrize(
    "said",
    [
        *({"path": "/api/items/1"}, {"path": "/items/1"}),
        *({"prefix": "/api"}, {"prefix": "/api/items"}, {"prefix": "/items"}),
    ],
    ids=str,
)
def test_an_app_behind_a_proxy_that_strips_its_prefix_may_say_either(site: MakeSite, said: dict[str, str]) -> None:
    """It knows itself by its own routes, and its links by what visitors see."""
    shop = stripped(site)
    shop.cache.invalidate(**said)
    assert not shop.get("/items/1", mount="/api").is_hit


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("status", [200, 303])
def test_a_change_that_is_committed_while_the_answer_streams_is_not_hidden(
    site: MakeSite, path: str, status: int
) -> None:
    """What was read in between is from before the commit: it is not used once the app has returned."""
    shop = site()
    gate = Gate()
    shop.app = says([b"working;", gate, b"committed"], status=status)
    change = shop.begin(path, method="POST")
    until(lambda: shop.client.reply.chunks == [b"working;"])
    shop.app = says(b"old", FRESH)
    shop.get(path)
    assert shop.get(path).is_hit
    gate.open()
    change.end()
    shop.app = says(b"new", FRESH)
    assert shop.get(path).body == b"new"


def test_what_failed_invalidates_nothing_at_its_end_either(site: MakeSite) -> None:
    """RFC 9111 section 4.4: otherwise anybody could empty the cache."""
    shop = site()
    gate = Gate()
    shop.app = says([b"no;", gate, b"no"], status=400)
    change = shop.begin(method="POST")
    until(lambda: shop.client.reply.chunks == [b"no;"])
    shop.app = says(b"old", FRESH)
    shop.get()
    gate.open()
    change.end()
    assert is_stored(shop, "/items/1")


# --- by the app -----------------------------------------------------------------------------------------------------

TREE = ["/", "/items", "/items/1", "/items/1?a=1", "/items/1/parts", "/items/10", "/itemsandmore", "/elsewhere/1"]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({"path": "/items/1"}, {"/items/1", "/items/1?a=1"}),
        ({"path": "/items/1/"}, {"/items/1", "/items/1?a=1"}),
        ({"prefix": "/items/1"}, {"/items/1", "/items/1?a=1", "/items/1/parts"}),
        ({"prefix": "/items"}, {"/items", "/items/1", "/items/1?a=1", "/items/1/parts", "/items/10"}),
        ({"prefix": "/items/*"}, {"/items", "/items/1", "/items/1?a=1", "/items/1/parts", "/items/10"}),
        ({"prefix": "/"}, set(TREE)),
        ({"tag": "red"}, {"/items", "/items/1", "/items/1?a=1", "/items/1/parts", "/items/10"}),
        ({"tag": "blue"}, set(TREE)),
        ({"tag": "green"}, set()),
        (
            {"path": "/", "tag": "red"},
            {path for path in TREE if path == "/" or path.startswith("/items")} - {"/itemsandmore"},
        ),
        ({}, set(TREE)),
    ],
    ids=str,
)
def test_an_app_says_what_it_has_changed(site: MakeSite, said: dict[str, str], meant: set[str]) -> None:
    """By path, by prefix, by the tags of a rule or a response, or everything."""
    rule = CacheRule(paths="/items/*", tags=("red",))
    shop = site(rule, app=says(b"old", FRESH, ("Cache-Tag", "blue, yellow")))
    for path in TREE:
        shop.get(path)
        assert shop.get(path).is_hit
    shop.cache.invalidate(**said)
    assert {path for path in TREE if not is_stored(shop, path)} == meant


def test_a_mounted_app_may_leave_its_prefix_away(site: MakeSite) -> None:
    """It knows its resources by the paths that its own routes have."""
    for said in ({"path": "/shop/items/1"}, {"path": "/items/1"}, {"prefix": "/items"}, {"prefix": "/shop"}):
        shop = site(app=says(b"old"))
        shop.get("/shop/items/1", mount="/shop")
        assert shop.get("/shop/items/1", mount="/shop").is_hit
        shop.cache.invalidate(**said)
        assert not shop.get("/shop/items/1", mount="/shop").is_hit


def test_what_is_stored_after_that_is_used(site: MakeSite) -> None:
    """An invalidation is about what was before it."""
    shop = filled(site, *PATHS)
    shop.cache.invalidate()
    for path in PATHS:
        assert shop.get(path).body == b"new"
        assert shop.get(path).is_hit


def test_an_app_may_invalidate_while_it_answers(site: MakeSite) -> None:
    """From a handler of either colour: it never waits."""
    shop = filled(site, "/items/1")

    def app(_: object) -> Any:
        shop.cache.invalidate("/items/1")
        return says(b"", status=404)

    shop.app = app
    shop.send("POST", "/admin")
    assert not is_stored(shop, "/items/1")


def test_what_is_stale_is_invalidated_as_well(site: MakeSite) -> None:
    """Neither given nor confirmed: it is gone."""
    shop = site(app=says(b"old", ("etag", '"v1"')))
    shop.get()
    shop.clock.advance(31)
    shop.cache.invalidate("/items/1")
    shop.app = says(b"new")
    answer = shop.get()
    assert (answer.body, answer.forwarded) == (b"new", "miss")
    assert shop.calls[-1].header("if-none-match") is None


# --- the race -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("how", ["POST", "path", "prefix", "everything"])
@pytest.mark.parametrize("is_streaming", [False, True])
def test_a_slow_read_does_not_put_the_old_response_back(
    site: MakeSite, path: str, how: str, is_streaming: bool
) -> None:
    """What was looked up before the change was made from what was there then, however late it is finished."""
    shop = site()
    gate = Gate()
    shop.app = says([b"old;", gate, b"end"], FRESH) if is_streaming else says(b"old", FRESH, before=gate)
    slow = shop.begin(path)
    until(lambda: len(shop.calls) == 1 and (not is_streaming or shop.client.reply.chunks))
    shop.app = says(b"changed")
    if how == "POST":
        shop.send("POST", path)
    else:
        shop.cache.invalidate(**{"path": {"path": path}, "prefix": {"prefix": "/"}, "everything": {}}[how])
    gate.open()
    assert slow.end().body.startswith(b"old")
    shop.app = says(b"new", FRESH)
    assert shop.get(path).body == b"new"
    assert shop.get(path).is_hit


def test_a_slow_confirmation_does_not_put_the_old_response_back(site: MakeSite) -> None:
    """A 304 that was decided before the change confirms what has changed since."""
    shop = site(app=says(b"old", ("etag", '"v1"')))
    shop.get()
    shop.clock.advance(31)
    gate = Gate()
    shop.app = says([], status=304, before=gate)
    slow = shop.begin()
    until(lambda: len(shop.calls) == 2)
    shop.app = says(b"changed")
    shop.send("POST")
    gate.open()
    slow.end()
    shop.app = says(b"new")
    assert shop.get().body == b"new"


def test_those_who_waited_for_a_read_that_was_overtaken_read_anew(site: MakeSite) -> None:
    """They came after the change, or might have: nothing that was made before it is given to them."""
    shop = site()
    gate = Gate()
    shop.app = says(b"old", before=gate)
    slow = shop.begin()
    until(lambda: len(shop.calls) == 1)
    shop.app = says(b"changed")
    shop.send("POST")
    shop.app = says(b"new")
    waiting = [shop.begin() for _ in range(5)]
    until(lambda: shop.followers == 5)
    gate.open()
    assert slow.end().body == b"old"
    assert {visit.end().body for visit in waiting} == {b"new"}


def test_a_read_that_began_after_the_change_is_stored(site: MakeSite) -> None:
    """Though an older one is still under way."""
    shop = site()
    gate = Gate()
    shop.app = says(b"old", FRESH, before=gate)
    slow = shop.begin("/elsewhere/1")
    until(lambda: len(shop.calls) == 1)
    shop.app = says(b"changed")
    shop.send("POST", "/elsewhere/1")
    shop.app = says(b"new", FRESH)
    assert shop.get("/elsewhere/1").is_stored
    gate.open()
    slow.end()
    after = shop.get("/elsewhere/1")
    assert (after.is_hit, after.body) == (True, b"new")


# --- with a whole kit -----------------------------------------------------------------------------------------------


@pytest.fixture(name="client", params=["asgi", "wsgi"])
def _client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Return a client of an app that answers with its number of calls, with every feature on."""
    settings = Settings(
        data_dir=tmp_path,
        routes={"account": "/account/*"},
        read_cache={"rules": {"all": {"paths": "/*", "tags": "all"}}},
    )
    kit = LaunchKit(settings, clock=FrozenClock())
    calls: list[str] = []

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        calls.append(environ["PATH_INFO"])
        if environ["REQUEST_METHOD"] == "PUT":
            kit.cache.invalidate(tag="all")
        start_response("200 OK", [])
        return [b"%d" % len(calls)]

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        calls.append(scope["path"])
        if scope["method"] == "PUT":
            kit.cache.invalidate(tag="all")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % len(calls)})

    client: Any = WsgiClient(kit.wsgi(wsgi)) if request.param == "wsgi" else AsgiClient(kit.asgi(asgi))
    client.kit = kit
    yield client
    kit.stop()
    client.close()


def test_a_kit_caches_and_invalidates(client: Any) -> None:
    """Every answer has an id of its own; what a handler changes anywhere is new everywhere."""
    first, second = client.request("GET", "/items/1"), client.request("GET", "/items/1")
    assert (first.body, second.body) == (b"1", b"1")
    assert first.header("x-request-id") != second.header("x-request-id")
    assert len(second.header_values("x-request-id")) == 1
    client.request("PUT", "/elsewhere")
    assert client.request("GET", "/items/1").body == b"3"
    client.kit.cache.invalidate(prefix="/items")
    assert client.request("GET", "/items/1").body == b"4"


def test_what_routes_name_as_personal_is_never_cached(client: Any) -> None:
    """`routes.account` and its like are on the `never` list, whatever the rules cover."""
    bodies = [client.request("GET", "/account/orders").body for _ in range(2)]
    assert bodies == [b"1", b"2"]
    assert client.reply.header("cache-control") == "private, no-store"
