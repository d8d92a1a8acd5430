"""Without a rule: only what says itself how long it is fresh is stored, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cache_driver import CachedSite, Field, Gate, says, until
from tests.support.exchanges import WrittenExchange

from launchkit.settings import CacheRule

MakeSite = Callable[..., CachedSite]

PATH = "/elsewhere"
DATE = ("date", "Tue, 14 Nov 2023 22:13:20 GMT")
MODIFIED = ("last-modified", "Tue, 14 Nov 2023 20:33:20 GMT")
"""6000 seconds ago."""


@pytest.mark.parametrize(
    ("headers", "ttl"),
    [
        ([("cache-control", "max-age=60")], 60),
        ([("Cache-Control", "public, s-maxage=60, max-age=5")], 60),
        ([("expires", "Tue, 14 Nov 2023 22:14:20 GMT")], 60),
        ([DATE, ("Expires", "Tue, 14 Nov 2023 22:14:20 GMT")], 60),
        ([("cdn-cache-control", "max-age=60")], 60),
        ([("LaunchKit-Cache-Control", "max-age=60"), ("cdn-cache-control", "max-age=5")], 60),
        ([("cdn-cache-control", "max-age=60"), ("cache-control", "no-store")], 60),
        ([("cdn-cache-control", "max-age=60"), ("cache-control", "max-age=5"), ("expires", "0")], 60),
        ([("cdn-cache-control", "nonsense="), ("cache-control", "max-age=60")], 60),
    ],
)
def test_what_says_how_long_it_is_fresh_is_stored(site: MakeSite, headers: list[Field], ttl: int) -> None:
    """RFC 9111 section 4.2.1, and RFC 9213: the first targeted field that is valid replaces the others."""
    shop = site(app=says(b"stored", *headers))
    first = shop.get(PATH)
    assert (first.forwarded, first.is_stored, first.body) == ("miss", True, b"stored")
    second = shop.get(PATH)
    assert (second.is_hit, second.ttl, second.body) == (True, ttl, b"stored")
    assert len(shop.calls) == 1


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("etag", '"v1"')],
        [MODIFIED],
        [("vary", "accept")],
        [("content-type", "text/html")],
        [("surrogate-control", "max-age=60")],
    ],
)
def test_what_says_nothing_is_not_touched(site: MakeSite, headers: list[Field]) -> None:
    """No Cache-Status, nothing stored, nothing counted."""
    shop = site(app=says(b"plain", *headers))
    for _ in range(2):
        answer = shop.get(PATH)
        assert (answer.is_untouched, answer.reply.headers) == (True, headers)
    assert (len(shop.calls), shop.figures.misses, shop.figures.stored) == (2, 0, 0)


@pytest.mark.parametrize(
    ("headers", "is_watched"),
    [
        ([], False),
        ([("cache-control", "no-store")], False),
        ([("cache-control", "max-age=9")], True),
        ([("cache-control", "max-age=9"), ("content-length", "2000000")], True),
        ([("cache-control", "max-age=9"), ("content-length", "2000001")], False),
    ],
)
def test_only_what_is_stored_is_watched(headers: list[Field], is_watched: bool) -> None:
    """Streams and files pass as they are."""
    shop = CachedSite()
    explicit = shop.cache.select("GET", frozenset())
    assert explicit is not None
    exchange = WrittenExchange("GET", PATH, [(b"host", b"example.org")])
    assert explicit.on_request(exchange) is None
    exchange.answer(200, *[(name.encode(), value.encode()) for name, value in headers])
    explicit.on_response_start(exchange)
    assert bool(exchange.body_hooks) == is_watched


@pytest.mark.parametrize(
    "said", ["no-store", "private, max-age=60", "no-cache", "max-age=0", "public", "must-revalidate"]
)
def test_what_says_that_it_is_not_fresh_is_not_stored(site: MakeSite, said: str) -> None:
    """RFC 9111 section 3: `public` alone is no freshness, and heuristics are off."""
    shop = site(app=says(b"", ("cache-control", said)))
    for _ in range(2):
        answer = shop.get(PATH)
        assert (answer.is_hit, answer.is_stored, answer.header("cache-control")) == (False, False, said)
    assert len(shop.calls) == 2


def test_a_targeted_field_may_forbid_what_cache_control_allows(site: MakeSite) -> None:
    """RFC 9213 section 2.2: browsers may store it, this cache may not."""
    shop = site(app=says(b"", ("cdn-cache-control", "no-store"), ("cache-control", "max-age=60")))
    assert not any(shop.get(PATH).is_hit for _ in range(2))


def test_which_targeted_fields_are_obeyed_is_a_setting(site: MakeSite) -> None:
    """RFC 9213 section 2.1: a target list is configured."""
    shop = site(settings={"targets": ("my-cdn-cache-control",)}, app=says(b"", ("My-CDN-Cache-Control", "max-age=60")))
    shop.get(PATH)
    assert shop.get(PATH).is_hit
    shop.app = says(b"", ("cdn-cache-control", "max-age=60"))
    assert not any(shop.get("/other").is_hit for _ in range(2))


def test_targeted_fields_count_under_a_rule_too(site: MakeSite) -> None:
    """RFC 9213 section 2.2."""
    shop = site(app=says(b"", ("launchkit-cache-control", "max-age=500"), ("cache-control", "max-age=5")))
    shop.get()
    assert shop.get().ttl == 500


def test_heuristic_freshness_is_off_and_can_be_switched_on(site: MakeSite) -> None:
    """RFC 9111 section 4.2.2: a tenth of the time since it was last modified."""
    assert not any(site(app=says(b"", MODIFIED)).get(PATH).is_hit for _ in range(2))
    shop = site(settings={"heuristics": True}, app=says(b"", MODIFIED))
    shop.get(PATH)
    assert shop.get(PATH).ttl == 600
    shop.app = says(b"")
    assert shop.get("/plain").is_untouched


def test_heuristics_never_overrule_what_is_said(site: MakeSite) -> None:
    """RFC 9111 section 4.2.2: only where nothing is explicit."""
    shop = site(settings={"heuristics": True}, app=says(b"", MODIFIED, ("cache-control", "no-cache")))
    assert not any(shop.get(PATH).is_hit for _ in range(2))


def test_conditions_and_ranges_reach_the_app(site: MakeSite) -> None:
    """Before anything is stored of a path its requests are not changed."""
    shop = site(app=says([], ("etag", '"v1"'), ("cache-control", "max-age=60"), status=304))
    answer = shop.get(PATH, ("if-none-match", '"v1"'))
    assert (answer.status, shop.calls[0].header("if-none-match")) == (304, '"v1"')
    shop.app = says(b"ab", ("content-range", "bytes 0-1/9"), ("cache-control", "max-age=60"), status=206)
    assert shop.get(PATH, ("range", "bytes=0-1")).status == 206
    shop.app = says(b"whole", ("cache-control", "max-age=60"))
    assert shop.get(PATH).body == b"whole"
    assert shop.get(PATH, ("range", "bytes=0-1")).body == b"wh"


def test_the_first_readers_wait_for_nobody(site: MakeSite) -> None:
    """Nobody knows yet that there is something to wait for."""
    gate = Gate()
    shop = site(app=says(b"", ("cache-control", "max-age=60"), before=gate))
    visits = [shop.begin(PATH) for _ in range(5)]
    until(lambda: len(shop.calls) == 5)
    gate.open()
    for visit in visits:
        visit.end()
    assert shop.get(PATH).is_hit


def test_later_readers_share_one_revalidation(site: MakeSite) -> None:
    """RFC 9111 section 4.3, and single-flight where something is stored."""
    shop = site(app=says(b"old", ("cache-control", "max-age=60"), ("etag", '"v1"')))
    shop.get(PATH)
    shop.clock.advance(61)
    gate = Gate()
    shop.calls.clear()
    shop.app = says([], status=304, before=gate)
    visits = [shop.begin(PATH) for _ in range(5)]
    until(lambda: shop.followers == 4)
    gate.open()
    assert {visit.end().body for visit in visits} == {b"old"}
    assert (len(shop.calls), shop.calls[0].header("if-none-match")) == (1, '"v1"')


def test_cookies_are_shown_to_the_app(site: MakeSite) -> None:
    """Nobody has promised anything about these paths."""
    shop = site()
    shop.get(PATH, ("cookie", "session=x"))
    shop.get(PATH, ("cookie", "_ga=x"))
    assert [asked.header("cookie") for asked in shop.calls] == ["session=x", "_ga=x"]


def test_a_body_larger_than_two_megabytes_is_not_stored(site: MakeSite) -> None:
    """What is stored where no rule sets `max_body`."""
    shop = site(app=says([b"x" * 1_000_000] * 2 + [b"x"], ("cache-control", "max-age=60")))
    for _ in range(2):
        assert len(shop.get(PATH).body) == 2_000_001
    assert len(shop.calls) == 2
    shop.app = says([b"x" * 1_000_000] * 2, ("cache-control", "max-age=60"))
    shop.get(PATH)
    assert shop.get(PATH).is_hit


def test_rules_and_other_paths_do_not_mix(site: MakeSite) -> None:
    """A rule's lifetime is for its paths only."""
    shop = site(CacheRule(paths="/items/*"))
    for path, is_hit in [("/items", True), ("/items/", True), ("/item", False), ("/items.json", False)]:
        shop.get(path)
        assert shop.get(path).is_hit == is_hit


def test_what_the_app_does_to_its_request_changes_nothing_about_the_key() -> None:
    """Proxy middleware within the app rewrites scheme and host in the very object that the kit reads."""

    class Rewriting(CachedSite):
        def _wsgi(self, environ: dict, start_response: object) -> object:
            environ["wsgi.url_scheme"] = "https"
            return super()._wsgi(environ, start_response)

    shop = Rewriting(colour="wsgi", app=says(b"stored", ("cache-control", "max-age=60")))
    proxied = ("x-forwarded-proto", "https")
    shop.get(PATH, proxied, scheme="http")
    assert shop.get(PATH, proxied, scheme="http").is_hit


@pytest.mark.parametrize("path", ["/items/1", PATH])
@pytest.mark.parametrize("colour", ["asgi", "wsgi"])
def test_a_variant_is_that_of_the_request_as_received(colour: str, path: str) -> None:
    """RFC 9111 section 4.1: layers that compress take Accept-Encoding away from the request that the app is shown."""
    zipped = says(b"zipped", ("cache-control", "max-age=60"), ("content-encoding", "gzip"), ("vary", "accept-encoding"))
    shop = CachedSite((CacheRule(paths="/items/*"),), colour=colour, consumes="accept-encoding", app=zipped)
    shop.get(path, ("accept-encoding", "gzip"))
    shop.app = says(b"plain", ("cache-control", "max-age=60"), ("vary", "accept-encoding"))
    bodies = [shop.get(path, *headers).body for headers in ([("accept-encoding", "gzip")], [])]
    shop.close()
    assert bodies == [b"zipped", b"plain"]
