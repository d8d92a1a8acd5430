"""The memory store: what a look-up finds, what is given up for what, and that the budget is kept."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import tracemalloc
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.support.exchanges import WrittenExchange

from launchkit.pipeline.clock import SystemClock
from launchkit.pipeline.effects import CacheKey, Fetched, StoredResponse
from launchkit.pipeline.exchange import Header
from launchkit.read_cache.memory import KEEP_SECONDS, MemoryResponses
from launchkit.read_cache.variants import MAX_VARIANTS, varied_by
from launchkit.stores.marks import Marks
from launchkit.stores.shared_marks import SharedMarks
from launchkit.testing import FrozenClock

LANGUAGE = b"accept-language"
PLAIN = WrittenExchange()


def key(path: str = "/a") -> CacheKey:
    return ("https", b"shop.example", "", path.encode(), b"")


def names(path: str = "/a") -> tuple[str, ...]:
    return (f"path:{path}", "below:/", f"below:{path}", "all:")


def speaking(*languages: bytes) -> WrittenExchange:
    return WrittenExchange(headers=[(LANGUAGE, language) for language in languages])


class Cache:
    """A memory store, its marks and its clock, and shorter words for what a request does with them."""

    def __init__(self, size: int = 100_000) -> None:
        self.clock = FrozenClock()
        self.marks = Marks(self.clock, bytes(16))
        self.memory = MemoryResponses(size, self.clock, self.marks)

    def response(self, body: bytes = b"hello", *headers: Header) -> StoredResponse:
        now = self.clock.monotonic()
        return StoredResponse(
            200, ((b"content-type", b"text/plain"), *headers), body, now, now + 30, now + 90, now + 60
        )

    def in_language(self, language: bytes | None, body: bytes = b"hello") -> StoredResponse:
        return replace(self.response(body), vary=(LANGUAGE,), varied=(language,))

    def store(self, response: StoredResponse, path: str = "/a") -> StoredResponse:
        moment = self.memory.fetch_now(key(path), PLAIN).moment
        assert self.memory.store_now(key(path), response, names(path), moment)
        return response

    def fetch(self, path: str = "/a", request: WrittenExchange = PLAIN) -> StoredResponse | None:
        return self.memory.fetch_now(key(path), request).response


@pytest.fixture
def cache() -> Cache:
    return Cache()


class TestLookUp:
    def test_what_was_stored_is_found(self, cache: Cache) -> None:
        """A key gives back what was stored under it, and nothing under another; each part of a key counts."""
        kept = cache.store(cache.response())
        assert cache.fetch() is kept
        for part in range(5):
            other = tuple(
                value + type(value)(b"x" if isinstance(value, bytes) else "x") if at == part else value
                for at, value in enumerate(key())
            )
            assert cache.memory.fetch_now(other, PLAIN).response is None

    def test_a_stale_response_is_found_until_its_last_use(self, cache: Cache) -> None:
        """RFC 5861: stale-while-revalidate and stale-if-error, whichever ends later; then it is forgotten."""
        for last in (60.0, 90.0, 120.0):
            now = cache.clock.monotonic()
            kept = cache.store(replace(cache.response(), error_until=now + last, stale_until=now + 60))
            cache.clock.advance(last - 0.1)
            assert cache.fetch() is kept
            cache.clock.advance(0.1)
            assert cache.fetch() is None
            assert cache.memory.figures().keys == cache.memory.figures().bytes == 0

    @pytest.mark.parametrize("validator", [(b"etag", b'"1"'), (b"Last-Modified", b"Sun, 06 Nov 1994 08:49:37 GMT")])
    def test_what_can_be_confirmed_is_kept_for_longer(self, cache: Cache, validator: Header) -> None:
        """RFC 9111 section 4.3: a response with a validator saves its body from being sent again."""
        kept = cache.store(cache.response(b"hello", validator))
        cache.clock.advance(90 + KEEP_SECONDS - 0.1)
        assert cache.fetch() is kept
        cache.clock.advance(0.1)
        assert cache.fetch() is None

    def test_both_colours_and_neither_share_one_memory(self, cache: Cache) -> None:
        """The verbs for the event loop and for threads do what those do that never wait."""
        memory, kept = cache.memory, cache.response()

        async def on_the_loop() -> None:
            moment = (await memory.afetch(key("/b"), PLAIN)).moment
            await memory.astore(key("/b"), kept, names("/b"), moment)
            assert (await memory.afetch(key("/b"), PLAIN)).response is kept
            await memory.ainvalidate(("path:/b",))

        memory.store(key(), kept, names(), memory.fetch(key(), PLAIN).moment)
        assert memory.fetch(key(), PLAIN).response is cache.fetch() is kept
        asyncio.run(on_the_loop())
        assert cache.fetch("/b") is None
        memory.invalidate(("path:/a",))
        assert cache.fetch() is None


class TestVariants:
    """RFC 9111 section 4.1."""

    def test_a_variant_answers_requests_with_the_same_values(self, cache: Cache) -> None:
        """Not sending a header is a value of its own, and an empty value another."""
        german, silent, empty = (cache.store(cache.in_language(one)) for one in (b"de", None, b""))
        assert cache.fetch(request=speaking(b"de")) is german
        assert cache.fetch() is silent
        assert cache.fetch(request=speaking(b"")) is empty
        assert cache.fetch(request=speaking(b"fr")) is None

    def test_several_lines_of_a_header_are_one_value(self, cache: Cache) -> None:
        """RFC 9110 section 5.2: they are joined by commas; whitespace around them means nothing (section 5.5)."""
        kept = cache.store(cache.in_language(b"de,en"))
        assert cache.fetch(request=speaking(b" de", b"en\t")) is kept
        assert cache.fetch(request=speaking(b"en", b"de")) is None

    @pytest.mark.parametrize("name", [b"authorization", b"cookie"])
    def test_credentials_never_tell_variants_apart(self, name: bytes) -> None:
        """What is stored is the same for everyone; otherwise every visitor would fill a place."""
        request = WrittenExchange(headers=[(name, os.urandom(8).hex().encode()), (b"accept", b"*/*")])
        assert varied_by(request, (name, b"accept")) == (None, b"*/*")

    def test_of_two_that_fit_the_newer_one_answers(self, cache: Cache) -> None:
        """The app has changed its Vary: what it said last counts."""
        cache.store(cache.response())
        german = cache.store(cache.in_language(b"de"))
        assert cache.fetch(request=speaking(b"de")) is german
        newest = cache.store(cache.response())
        assert cache.fetch(request=speaking(b"de")) is newest

    def test_a_new_variant_replaces_only_the_one_for_the_same_requests(self, cache: Cache) -> None:
        """The others stay."""
        german, english = (cache.store(cache.in_language(one)) for one in (b"de", b"en"))
        newer = cache.store(cache.in_language(b"de", b"hallo"))
        assert cache.fetch(request=speaking(b"de")) is newer is not german
        assert cache.fetch(request=speaking(b"en")) is english
        size = cache.memory.figures().bytes
        cache.store(cache.in_language(b"de", b"hallo"))
        assert cache.memory.figures().bytes == size

    def test_so_many_are_kept_and_the_oldest_goes(self, cache: Cache) -> None:
        """Whoever sends made-up languages fills no more than one key's places."""
        for number in range(100):
            cache.store(cache.in_language(b"%d" % number))
        found = [number for number in range(100) if cache.fetch(request=speaking(b"%d" % number))]
        assert found == list(range(100 - MAX_VARIANTS, 100))
        assert cache.memory.figures().keys == 1

    def test_variants_that_do_not_fit_together_make_room_for_the_newest(self) -> None:
        """A key with large variants still works: the oldest of them go."""
        cache = Cache(20_000)
        for language in (b"de", b"en", b"fr"):
            cache.store(cache.in_language(language, bytes(7_000)))
        assert [cache.fetch(request=speaking(one)) is not None for one in (b"de", b"en", b"fr")] == [False, True, True]

    def test_a_dead_variant_goes_with_the_next_one_that_is_stored(self, cache: Cache) -> None:
        """It takes no place that one in use could have."""
        cache.store(cache.in_language(b"de"))
        cache.clock.advance(90)
        cache.store(cache.in_language(b"en"))
        alone = Cache()
        alone.store(alone.in_language(b"en"))
        assert cache.memory.figures().bytes == alone.memory.figures().bytes

    def test_a_dead_variant_that_is_met_is_dropped_and_the_others_stay(self, cache: Cache) -> None:
        """What is behind it may still answer."""
        older = cache.store(cache.response())
        now = cache.clock.monotonic()
        cache.store(replace(cache.in_language(b"de"), fresh_until=now + 1, stale_until=now + 1, error_until=now + 1))
        size = cache.memory.figures().bytes
        cache.clock.advance(1)
        assert cache.fetch(request=speaking(b"de")) is older
        assert 0 < cache.memory.figures().bytes < size

    def test_dropping_a_dead_variant_loses_nothing_that_came_meanwhile(self, cache: Cache) -> None:
        """Another thread may store between the look-up and the drop."""
        now = cache.clock.monotonic()
        cache.store(replace(cache.in_language(b"de"), fresh_until=now, stale_until=now, error_until=now))
        meanwhile: list[StoredResponse] = []

        class Slow(WrittenExchange):
            def header_values(self, name: bytes) -> list[bytes]:
                meanwhile.append(cache.store(cache.response()))
                return [b"de"]

        assert cache.fetch(request=Slow()) is None
        assert [cache.fetch()] == meanwhile

    def test_the_same_values_of_other_headers_are_another_variant(self, cache: Cache) -> None:
        """`Accept-Language: de` and `Accept: de` have nothing in common."""
        german = cache.store(cache.in_language(b"de"))
        cache.store(replace(cache.in_language(b"de"), vary=(b"accept",)))
        assert cache.fetch(request=speaking(b"de")) is german


class TestInvalidation:
    @pytest.mark.parametrize("name", names())
    def test_each_name_invalidates(self, cache: Cache, name: str) -> None:
        """What was looked up before is not used again and takes no memory; what comes after is stored."""
        cache.store(cache.response())
        assert cache.memory.invalidate_now((name,))
        assert cache.fetch() is None
        assert cache.memory.figures().keys == 0
        kept = cache.store(cache.response())
        assert cache.fetch() is kept

    def test_a_slow_request_does_not_put_the_old_response_back(self, cache: Cache) -> None:
        """Between its look-up and its end, somebody has changed the resource."""
        moment = cache.memory.fetch_now(key(), PLAIN).moment
        cache.memory.invalidate_now(("path:/a",))
        assert cache.memory.store_now(key(), cache.response(), names(), moment)
        assert cache.memory.figures().keys == 0
        assert cache.fetch() is None

    @pytest.mark.parametrize("seconds", [0, 30])
    def test_the_moment_of_a_hit_is_good_for_storing(self, cache: Cache, seconds: float) -> None:
        """A response that was found, fresh or stale, may be replaced, unless a name was invalidated since."""
        cache.store(cache.response())
        cache.clock.advance(seconds)
        moment = cache.memory.fetch_now(key(), PLAIN).moment
        newer = cache.response(b"newer")
        cache.memory.store_now(key(), newer, names(), moment)
        assert cache.fetch() is newer
        cache.memory.invalidate_now(("path:/a",))
        cache.memory.store_now(key(), newer, names(), moment)
        assert cache.fetch() is None

    def test_who_has_no_look_up_can_take_a_moment_and_who_cannot_wait_can_invalidate(self, cache: Cache) -> None:
        """Both are as good as those of a request."""
        moment = cache.memory.moment()
        kept = cache.response()
        cache.memory.store_now(key(), kept, names(), moment)
        assert cache.fetch() is kept
        cache.memory.invalidate_soon(("path:/a",))
        assert cache.fetch() is None
        cache.memory.store_now(key(), kept, names(), moment)
        assert cache.fetch() is None

    def test_a_fresh_hit_has_the_moment_of_its_own_look_up(self, cache: Cache) -> None:
        """It is as good as one of now, and saves taking it; for a stale one the moment is that of the look-up."""
        moment = cache.memory.fetch_now(key(), PLAIN).moment
        cache.memory.store_now(key(), cache.response(), names(), moment)
        cache.clock.advance(29)
        assert cache.memory.fetch_now(key(), PLAIN).moment == moment
        cache.clock.advance(1)
        assert cache.memory.fetch_now(key(), PLAIN).moment == cache.marks.moment() != moment

    def test_an_invalidation_of_another_worker_is_known(self, tmp_path: Path) -> None:
        """Their marks are one table; when its file is removed, also a worker that only has hits finds out."""
        clock = FrozenClock()
        ours, theirs = (SharedMarks((tmp_path / "table",), clock) for _ in range(2))
        for marks in (ours, theirs):
            marks.share()
        cache = Cache()
        cache.clock = clock
        cache.memory = MemoryResponses(100_000, clock, ours)
        cache.store(cache.response())
        theirs.mark(["tag:other"])
        assert cache.fetch()
        theirs.mark(["path:/a"])
        assert cache.fetch() is None
        for _ in range(2):
            cache.store(cache.response())
            (file,) = tmp_path.iterdir()
            file.unlink()
            theirs.mark(["path:/a"])
            assert cache.fetch()
            clock.advance(1)
            assert cache.fetch() is None


class TestBudget:
    def test_the_least_recently_used_key_goes_first(self) -> None:
        """Reading a key keeps it."""
        cache = Cache(30_000)
        for path in ("/a", "/b"):
            cache.store(cache.response(bytes(10_000)), path)
        assert cache.fetch("/a")
        cache.store(cache.response(bytes(10_000)), "/c")
        assert [cache.fetch(path) is not None for path in ("/a", "/b", "/c")] == [True, False, True]
        assert cache.memory.figures().evictions == 1

    def test_a_response_larger_than_the_budget_is_ignored(self) -> None:
        """It neither fits nor drives out what does."""
        cache = Cache(10_000)
        kept = cache.store(cache.response())
        cache.store(cache.response(bytes(10_000)), "/b")
        cache.store(cache.response(bytes(10_000)))
        assert cache.fetch() is kept
        assert cache.fetch("/b") is None
        assert cache.memory.figures().evictions == 0

    def test_figures_tell_how_the_memory_is_used(self) -> None:
        """Counts for metrics are exact."""
        cache = Cache(30_000)
        cache.store(cache.in_language(b"de"))
        cache.fetch(request=speaking(b"de"))
        cache.fetch(request=speaking(b"en"))
        cache.store(cache.response(), "/b")
        cache.fetch("/b")
        figures = cache.memory.figures()
        assert (figures.hits, figures.misses, figures.evictions, figures.keys) == (2, 3, 0, 2)
        assert figures.budget == 30_000
        assert len(b"hello") < figures.bytes < 10_000

    def test_everything_can_be_forgotten(self, cache: Cache) -> None:
        """What was counted stays."""
        cache.store(cache.response())
        cache.memory.clear()
        assert cache.fetch() is None
        figures = cache.memory.figures()
        assert (figures.misses, figures.keys, figures.bytes) == (2, 0, 0)

    def test_a_change_that_breaks_off_leaves_the_accounts_right(self, cache: Cache) -> None:
        """Without memory for its dictionaries the cache is empty, and goes on."""
        cache.memory._entries._LRUCache__order = order = Order()  # type: ignore[attr-defined]  # of cachetools, which changes it last
        cache.store(cache.response())
        order.is_broken = True
        with pytest.raises(MemoryError):
            cache.store(cache.response(), "/b")
        assert cache.memory.figures().keys == cache.memory.figures().bytes == 0
        cache.memory._entries._LRUCache__order = order = Order()  # type: ignore[attr-defined]  # see above
        kept = cache.store(cache.response())
        assert cache.fetch() is kept
        order.is_broken = True
        cache.clock.advance(90)
        with pytest.raises(MemoryError):
            cache.fetch()
        assert cache.memory.figures().keys == cache.memory.figures().bytes == 0

    @pytest.mark.skipif(sys.implementation.name != "cpython", reason="counts CPython's objects")
    @pytest.mark.parametrize(("urls", "length", "variants"), [(8_000, 300, 1), (1_000, 20_000, 1), (200, 0, 16)])
    def test_many_urls_take_what_the_budget_says(self, urls: int, length: int, variants: int) -> None:
        """The budget holds within a tenth for what the process really allocates, not only for what is accounted."""
        budget = 2_000_000
        cache = Cache(budget)
        gc.collect()
        tracemalloc.start()
        try:
            for number in range(urls):
                for variant in range(variants):
                    store_as_from_a_server(cache, number, length, variant)
            allocated, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        figures = cache.memory.figures()
        assert 0.8 * budget < allocated <= peak < 1.1 * budget
        assert 0.95 * budget < figures.bytes <= budget
        assert figures.keys + figures.evictions == urls


def store_as_from_a_server(cache: Cache, number: int, length: int, variant: int) -> None:
    """Store a response of which everything is an object of its own, as when a server has read and an app made it."""
    clock, path = cache.clock, f"/items/{number}"
    clock.advance(0.001)
    now = clock.monotonic()
    fields = {"content-type": f"text/{number}", "etag": f'"{number}"', "cache-control": f"max-age={number}"}
    headers = tuple([(name.encode(), value.encode()) for name, value in fields.items()])
    varied = (b"%d" % variant,)
    response = StoredResponse(200, headers, bytes(length), now, now + 30, now + 60, now + 90, (LANGUAGE,), varied)
    parts = ("https", f"shop{number % 7}.example".encode(), "", path.encode(), f"page={number}".encode())
    moment = cache.memory.fetch_now(parts, PLAIN).moment
    cache.memory.store_now(parts, response, names(path), moment)


class Order(OrderedDict[CacheKey, None]):
    """A dictionary for which there may be no memory."""

    is_broken = False

    def __setitem__(self, key: CacheKey, value: None) -> None:
        if self.is_broken:
            raise MemoryError
        super().__setitem__(key, value)

    def __delitem__(self, key: CacheKey) -> None:
        if self.is_broken:
            raise MemoryError
        super().__delitem__(key)


def test_threads_do_not_disturb_each_other() -> None:
    """Look-ups, stores and invalidations from many threads lose no count, mix nothing up and break nothing."""
    clock = SystemClock()
    memory = MemoryResponses(50_000, clock, Marks(clock))

    def work(seed: int) -> None:
        for number in range(1_500):
            path = f"/{(seed * 7 + number) % 60}"
            request = speaking(b"de" if number % 3 else b"en")
            varied = varied_by(request, (LANGUAGE,))
            found, moment = memory.fetch_now(key(path), request)
            assert found is None or (found.body.startswith(path.encode() + b" ") and found.varied == varied)
            now = clock.monotonic()
            body = path.encode() + b" " + bytes(number % 900)
            new = StoredResponse(200, (), body, now, now + 5, now + 5, now + 5, (LANGUAGE,), varied)
            memory.store_now(key(path), new, names(path), moment)
            if number % 50 == 0:
                memory.invalidate_now((f"path:{path}",))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    figures = memory.figures()
    assert figures.hits + figures.misses == 12_000
    assert min(figures.hits, figures.evictions) > 0
    assert figures.bytes == sum(entry.size for entry in memory._entries.values()) <= 50_000


class MemoryAgainstModel(RuleBasedStateMachine):
    """A model that remembers every store, and what must not be found any more."""

    BUDGET: ClassVar[int] = 12_000
    PATHS = st.sampled_from(["/a", "/b", "/b/c"])
    LANGUAGES = st.sampled_from([None, b"de", b"en"])

    def __init__(self) -> None:
        super().__init__()
        self.cache = Cache(self.BUDGET)
        self.steps = 0
        self.marked: dict[str, int] = {}
        self.look_ups: dict[str, list[tuple[Fetched, int]]] = {"/a": [], "/b": [], "/b/c": []}
        self.stored: dict[int, tuple[int, str, tuple[str, ...]]] = {}
        self.kept: list[StoredResponse] = []

    def next_step(self) -> int:
        self.steps += 1
        return self.steps

    def names(self, path: str) -> tuple[str, ...]:
        return ("all:", "below:/", *(("below:/b",) if path.startswith("/b") else ()), f"path:{path}")

    @rule(path=PATHS, language=LANGUAGES)
    def look_up(self, path: str, language: bytes | None) -> None:
        request = PLAIN if language is None else speaking(language)
        fetched = self.cache.memory.fetch_now(key(path), request)
        found = fetched.response
        looked_up = self.next_step()
        if found is not None:
            step, of, its_names = self.stored[id(found)]
            assert of == path
            assert found.varied == varied_by(request, found.vary)
            assert all(self.marked.get(name, -1) < step for name in its_names)
            assert self.cache.clock.monotonic() < max(found.fresh_until, found.stale_until, found.error_until)
        self.look_ups[path].append((fetched, looked_up))

    @rule(path=PATHS, language=LANGUAGES, varies=st.booleans(), size=st.integers(0, 6_000), which=st.integers(0, 3))
    def store(self, path: str, language: bytes | None, varies: bool, size: int, which: int) -> None:
        if not self.look_ups[path]:
            return
        fetched, looked_up = self.look_ups[path][-1 - which % len(self.look_ups[path])]
        body = bytes(size)
        new = self.cache.in_language(language, body) if varies else self.cache.response(body)
        self.kept.append(new)
        self.stored[id(new)] = looked_up, path, self.names(path)
        self.cache.memory.store_now(key(path), new, self.names(path), fetched.moment)
        is_current = all(self.marked.get(name, -1) < looked_up for name in self.names(path))
        request = PLAIN if language is None else speaking(language)
        found = self.cache.fetch(path, request)
        assert found is not new or is_current
        if is_current and fetched.response is None:
            assert found is new

    @rule(name=st.sampled_from(["all:", "below:/", "below:/b", "path:/a", "path:/b", "path:/b/c"]))
    def invalidate(self, name: str) -> None:
        self.cache.memory.invalidate_now((name,))
        self.marked[name] = self.next_step()

    @rule(seconds=st.sampled_from([1.0, 29.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.cache.clock.advance(seconds)

    @invariant()
    def the_budget_is_never_exceeded(self) -> None:
        figures = self.cache.memory.figures()
        entries = self.cache.memory._entries
        assert figures.bytes == sum(entries[one].size for one in list(entries)) <= self.BUDGET


TestMemoryAgainstModel = MemoryAgainstModel.TestCase
TestMemoryAgainstModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
