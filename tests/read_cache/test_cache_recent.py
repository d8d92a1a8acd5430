"""What is remembered of keys for some seconds, and what is counted of requests."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from cache_driver import CachedSite, Field, Gate, says, until

from launchkit.read_cache.bypass import Bypass
from launchkit.read_cache.recent import MAX_KEYS, MAX_NAMES, KnownVary, RecentKeys
from launchkit.read_cache.storing import Unstorable

MakeSite = Callable[..., CachedSite]


def test_a_key_is_remembered_until_its_time_is_over() -> None:
    """Up to, and not at, that time."""
    keys = RecentKeys()
    keys.add("a", 10.0)
    assert [keys.has("a", now) for now in (0.0, 9.99, 10.0)] == [True, True, False]
    assert not keys.has("b", 0.0)


def test_the_latest_time_counts() -> None:
    """A key that is added again is remembered anew."""
    keys = RecentKeys()
    keys.add("a", 10.0)
    keys.add("a", 5.0)
    assert not keys.has("a", 7.0)
    assert len(keys) == 1


def test_a_key_can_be_forgotten() -> None:
    """And one that is not known as well."""
    keys = RecentKeys()
    keys.add("a", 10.0)
    keys.discard("a")
    keys.discard("b")
    assert (keys.has("a", 0.0), len(keys)) == (False, 0)


def test_the_oldest_keys_are_given_up() -> None:
    """Made-up URLs do not fill memory."""
    keys = RecentKeys()
    for number in range(MAX_KEYS):
        keys.add(number, 10.0)
    keys.add(0, 10.0)
    for number in range(2):
        keys.add(f"new {number}", 10.0)
    assert len(keys) == MAX_KEYS
    assert [keys.has(key, 0.0) for key in (0, 1, 2, 3, "new 1")] == [True, False, False, True, True]


def test_threads_lose_nothing() -> None:
    """Whatever they do at the same time, the bound holds and nobody fails."""
    keys = RecentKeys()

    def work(seed: int) -> None:
        chosen = random.Random(seed)
        for number in range(3_000):
            key = chosen.randrange(2 * MAX_KEYS)
            keys.add(key, 10.0)
            keys.has(key, 0.0)
            if number % 3 == 0:
                keys.discard(key)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert 0 < len(keys) <= MAX_KEYS


def test_what_a_key_varies_by_is_what_was_seen_last() -> None:
    """RFC 9111 section 4.1; nothing is known of other keys."""
    known = KnownVary()
    known.learn("a", (b"accept",))
    assert (known.of("a"), known.of("b")) == ((b"accept",), ())
    known.learn("a", ())
    assert known.of("a") == ()


def test_what_the_oldest_keys_vary_by_is_given_up() -> None:
    """Made-up URLs do not fill memory here either."""
    known = KnownVary()
    for number in range(MAX_KEYS + 1):
        known.learn(number, (b"accept",))
    assert [known.of(key) for key in (0, 1, MAX_KEYS)] == [(), (b"accept",), (b"accept",)]


@pytest.mark.parametrize("what", [RecentKeys, KnownVary])
def test_long_keys_do_not_fill_memory_either(what: type[RecentKeys | KnownVary]) -> None:
    """A URL may have tens of kilobytes, and anybody may make up thousands of them."""
    remembered = what()

    def remember(number: int) -> None:
        key = ("https", b"example.org", "/items", b"/items", b"%50000d" % number)
        if isinstance(remembered, RecentKeys):
            remembered.add(key, 10.0)
            assert remembered.has(key, 0.0)
        else:
            remembered.learn(key, (b"accept",))
            assert remembered.of(key)

    tracemalloc.start()
    try:
        for number in range(2_000):
            remember(number)
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_long_list_of_names_is_not_remembered() -> None:
    """Such responses are fetched one after the other."""
    known = KnownVary()
    known.learn("a", tuple(b"x-%d" % number for number in range(MAX_NAMES)))
    known.learn("b", tuple(b"x-%d" % number for number in range(MAX_NAMES + 1)))
    assert (len(known.of("a")), known.of("b")) == (MAX_NAMES, ())


# --- figures --------------------------------------------------------------------------------------------------------


def counted(shop: CachedSite) -> dict[str, int]:
    """Return how many requests were counted under each outcome."""
    figures = shop.figures
    outcomes = {name: getattr(figures, name) for name in ("hits", "stale", "failed", "collapsed", "misses")}
    return {name: count for name, count in {**outcomes, **figures.bypasses}.items() if count}


def test_misses_and_hits(site: MakeSite) -> None:
    """A miss that is stored, and hits of every shape."""
    shop = site(app=says(b"hello", ("etag", '"v1"')))
    shop.get()
    for method, headers in [
        ("GET", []),
        ("HEAD", []),
        ("GET", [("if-none-match", '"v1"')]),
        ("GET", [("range", "bytes=0-1")]),
        ("GET", [("range", "bytes=9-")]),
    ]:
        shop.send(method, "/items/1", *headers)
    assert counted(shop) == {"misses": 1, "hits": 5}
    assert shop.figures.stored == 1


def test_bypasses_by_reason(site: MakeSite) -> None:
    """Each under one reason."""
    shop = site()
    for headers in [("cookie", "a=b")], [("cookie", "a=b"), ("x-host", "x")], [("x-api-key", "x")], [("x-host", "x")]:
        shop.get("/items/1", *headers)
    assert counted(shop) == {Bypass.COOKIE: 2, Bypass.CREDENTIAL: 1, Bypass.HOST_OVERRIDE: 1}


def test_a_public_response_for_one_who_is_known_is_a_hit(site: MakeSite) -> None:
    """And the first one went past the cache."""
    shop = site(app=says(b"", ("cache-control", "public")))
    for _ in range(3):
        shop.get("/items/1", ("cookie", "a=b"))
    assert counted(shop) == {Bypass.COOKIE: 1, "hits": 2}
    assert shop.figures.stored == 1


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (("set-cookie", "a=b"), Unstorable.SET_COOKIE),
        (("cache-control", "no-store"), Unstorable.NO_STORE),
        (("cache-control", "private"), Unstorable.PRIVATE),
        (("vary", "*"), Unstorable.VARY),
    ],
)
def test_what_could_not_be_stored_by_reason(site: MakeSite, said: Field, reason: Unstorable) -> None:
    """Responses to misses only."""
    shop = site(app=says(b"", said))
    shop.get()
    shop.get("/items/1", ("cookie", "a=b"))
    assert shop.figures.unstorable == {reason: 1}
    assert counted(shop) == {"misses": 1, Bypass.COOKIE: 1}


def test_too_large_is_counted_once(site: MakeSite) -> None:
    """However many chunks follow."""
    shop = site(app=says([b"x" * 1_500_000] * 3))
    shop.get()
    assert shop.figures.unstorable == {Unstorable.TOO_LARGE: 1}


def test_those_who_waited_are_collapsed(site: MakeSite) -> None:
    """One miss, and each follower once."""
    gate = Gate()
    shop = site(app=says(b"", before=gate))
    visits = [shop.begin() for _ in range(4)]
    until(lambda: shop.followers == 3)
    gate.open()
    for visit in visits:
        visit.end()
    assert counted(shop) == {"misses": 1, "collapsed": 3}


def test_followers_who_go_to_the_app_themselves_are_misses(site: MakeSite) -> None:
    """Each once, whatever it has waited for."""
    gate = Gate()
    shop = site(app=says(b"", ("set-cookie", "a=b"), before=gate))
    visits = [shop.begin() for _ in range(4)]
    until(lambda: shop.followers == 3)
    gate.open()
    for visit in visits:
        visit.end()
    assert counted(shop) == {"misses": 4}


def test_stale_and_confirmed(site: MakeSite) -> None:
    """The one who asks the app is a miss, the others were given a stale response."""
    shop = site(app=says(b"", ("etag", '"v1"')))
    shop.get()
    shop.clock.advance(31)
    gate = Gate()
    shop.app = says([], status=304, before=gate)
    visit = shop.begin()
    until(lambda: len(shop.calls) == 2)
    shop.get()
    gate.open()
    visit.end()
    assert counted(shop) == {"misses": 2, "stale": 1}
    assert (shop.figures.revalidated, shop.figures.stored) == (1, 2)


def test_a_failure_that_is_hidden_is_counted_once() -> None:
    """The sum of all outcomes is the number of requests."""
    shop = CachedSite(colour="wsgi", settings={"stale_if_error": 60})
    shop.get()
    shop.clock.advance(31)
    shop.app = says(b"", status=503)
    for _ in range(3):
        shop.get()
    assert sum(counted(shop).values()) == 4


def test_a_first_response_without_a_rule_is_a_miss() -> None:
    """Cache-Status says so, too."""
    shop = CachedSite(colour="wsgi", app=says(b"", ("cache-control", "max-age=60")))
    for _ in range(2):
        shop.get("/elsewhere")
    assert counted(shop) == {"misses": 1, "hits": 1}


def test_paths_without_a_rule_are_not_counted(site: MakeSite) -> None:
    """Nor are never paths, nor other methods, but for what they invalidate."""
    shop = site(never=("/mine",))
    for path in ("/elsewhere", "/mine"):
        shop.get(path, ("cookie", "a=b"))
        shop.get(path)
    shop.send("OPTIONS", "/items/1")
    assert (counted(shop), shop.figures.invalidations) == ({}, 0)
    shop.send("POST", "/items/1")
    shop.cache.invalidate(tag="x")
    assert (counted(shop), shop.figures.invalidations) == ({}, 2)


def test_threads_lose_no_count() -> None:
    """The cache serves all threads of a process, and every one of them sees whole responses."""
    shop = CachedSite(colour="wsgi", app=lambda asked: says(asked.path.encode()))

    def work(seed: int) -> None:
        for number in range(200):
            path = f"/items/{(seed + number) % 20}"
            assert shop.get(path).body == path.encode()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    figures = shop.figures
    assert figures.hits + figures.misses + figures.collapsed == 1_600
    assert figures.stored == figures.misses
    assert 20 <= figures.misses <= 28  # who looked just before another one had stored it fetches it once more
