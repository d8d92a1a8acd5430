from __future__ import annotations

import asyncio
import gc
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchkit.pipeline.effects import StoredResponse
from launchkit.read_cache.memory import MemoryResponses
from launchkit.testing import FrozenClock


def response(clock: FrozenClock, body: bytes = b"hello") -> StoredResponse:
    now = clock.monotonic()
    return StoredResponse(200, ((b"content-type", b"text/plain"),), body, now, now + 30, now + 90)


def test_what_was_stored_is_found() -> None:
    """A key gives back what was stored under it, and nothing under another."""
    clock = FrozenClock()
    memory, kept = MemoryResponses(10_000, clock), response(clock)
    memory.store(b"a", kept)
    assert memory.fetch(b"a") == (kept,)
    assert memory.fetch(b"b") == ()


def test_both_colours_share_one_memory() -> None:
    """The verbs for the event loop do what those for threads do."""
    clock = FrozenClock()
    memory, kept = MemoryResponses(10_000, clock), response(clock)
    asyncio.run(memory.astore(b"a", kept))
    assert asyncio.run(memory.afetch(b"a")) == memory.fetch(b"a") == (kept,)


def test_a_variant_past_its_last_use_is_dropped() -> None:
    """RFC 9111 section 4.2.4: what may not even be given stale is of no use."""
    clock = FrozenClock()
    memory = MemoryResponses(10_000, clock)
    memory.store(b"a", response(clock))
    clock.advance(89.9)
    assert memory.fetch(b"a")
    clock.advance(0.1)
    assert memory.fetch(b"a") == ()
    assert memory.figures().keys == memory.figures().bytes == 0


def test_a_new_variant_joins_those_still_in_use() -> None:
    """Variants of one key are kept together, without those past their last use."""
    clock = FrozenClock()
    memory = MemoryResponses(10_000, clock)
    german = replace(response(clock), vary=(b"accept-language",), varied=(b"de",))
    memory.store(b"a", replace(german, varied=(b"fr",), stale_until=clock.monotonic() + 1))
    memory.store(b"a", german)
    clock.advance(1)
    english = replace(german, varied=(b"en",))
    memory.store(b"a", english)
    assert memory.fetch(b"a") == (english, german)


def test_the_least_recently_used_key_goes_first() -> None:
    """Reading a key keeps it."""
    clock = FrozenClock()
    memory = MemoryResponses(20_000, clock)
    for key in (b"a", b"b"):
        memory.store(key, response(clock, bytes(8_000)))
    assert memory.fetch(b"a")
    memory.store(b"c", response(clock, bytes(8_000)))
    assert memory.fetch(b"b") == ()
    assert memory.fetch(b"a")
    assert memory.fetch(b"c")
    assert memory.figures().evictions == 1


def test_a_response_larger_than_the_budget_is_ignored() -> None:
    """It neither fits nor drives out what does."""
    clock = FrozenClock()
    memory = MemoryResponses(10_000, clock)
    memory.store(b"a", response(clock))
    memory.store(b"b", response(clock, bytes(10_000)))
    assert memory.fetch(b"a")
    assert memory.fetch(b"b") == ()
    assert memory.figures().evictions == 0


def test_variants_that_do_not_fit_together_make_room_for_the_newest() -> None:
    """A key with large variants still works: the oldest of them go."""
    clock = FrozenClock()
    memory = MemoryResponses(10_000, clock)
    for language in (b"de", b"en", b"fr"):
        large = response(clock, bytes(3_900))
        memory.store(b"a", replace(large, vary=(b"accept-language",), varied=(language,)))
    assert [one.varied for one in memory.fetch(b"a")] == [(b"fr",), (b"en",)]


def test_figures_tell_how_the_memory_is_used() -> None:
    """Counts for metrics are exact."""
    clock = FrozenClock()
    memory = MemoryResponses(10_000, clock)
    memory.fetch(b"a")
    memory.store(b"a", response(clock))
    memory.store(b"a", response(clock))
    memory.fetch(b"a")
    memory.fetch(b"a")
    figures = memory.figures()
    assert (figures.hits, figures.misses, figures.evictions, figures.keys) == (2, 1, 0, 1)
    assert figures.bytes > len(b"hello")


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="counts CPython's objects")
def test_100_000_keys_stay_within_the_budget() -> None:
    """The budget holds for what the process really allocates, not only for what is accounted."""
    clock, budget = FrozenClock(), 4_000_000
    memory = MemoryResponses(budget, clock)
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(100_000):
            memory.store(b"https12:shop.example/items/%d" % number, response(clock, bytes(100)))
        allocated, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    figures = memory.figures()
    assert allocated <= peak <= budget
    assert 0.9 * budget < figures.bytes <= budget
    assert figures.keys + figures.evictions == 100_000


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6_000), st.integers(0, 2)), max_size=40))
def test_whatever_is_stored_the_budget_holds(stores: list[tuple[int, int, int]]) -> None:
    """No order of keys, sizes and variants takes more than the budget, and the newest that fits is found."""
    clock = FrozenClock()
    memory = MemoryResponses(7_500, clock)
    for key, size, language in stores:
        new = replace(response(clock, bytes(size)), vary=(b"accept-language",), varied=(b"%d" % language,))
        memory.store(b"%d" % key, new)
        assert memory.figures().bytes <= 7_500
        assert memory.fetch(b"%d" % key)[0] is new


def test_threads_do_not_disturb_each_other() -> None:
    """Stores and look-ups from many threads lose no count and break nothing."""
    clock = FrozenClock()
    memory = MemoryResponses(50_000, clock)

    def work(seed: int) -> None:
        for number in range(2_000):
            key = b"%d" % ((seed * 7 + number) % 100)
            found = memory.fetch(key)
            assert not found or found[0].body.startswith(key + b":")
            memory.store(key, response(clock, key + b":" + bytes(number % 900)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    figures = memory.figures()
    assert figures.hits + figures.misses == 16_000
    assert figures.bytes <= 50_000
