"""The bounded storage for the `limits` package, used as its strategies use it."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import limits
import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import RateLimitItemPerMinute
from limits.aio import strategies as aio_strategies
from limits.errors import ConfigurationError
from limits.storage import storage_from_string
from limits.strategies import (
    STRATEGIES,
    FixedWindowRateLimiter,
    MovingWindowRateLimiter,
    RateLimiter,
    SlidingWindowCounterRateLimiter,
)

from launchkit.rate_limit.storage import AsyncBoundedMemoryStorage, BoundedMemoryStorage
from launchkit.testing import FrozenClock

FIVE = RateLimitItemPerMinute(5)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def storage(clock: FrozenClock) -> BoundedMemoryStorage:
    return BoundedMemoryStorage(max_keys=1000, clock=clock)


@pytest.fixture(params=STRATEGIES.values(), ids=STRATEGIES)
def strategy(request: pytest.FixtureRequest, storage: BoundedMemoryStorage) -> RateLimiter:
    return request.param(storage)


def passes(strategy: RateLimiter, key: str = "visitor", times: int = 10) -> int:
    return sum(strategy.hit(FIVE, key) for _ in range(times))


# --- how it is had -------------------------------------------------------------------------------------------------


def test_limits_makes_it_from_its_uri() -> None:
    """Importing the module registers both schemes."""
    assert isinstance(storage_from_string("launchkit+memory://"), BoundedMemoryStorage)
    assert isinstance(storage_from_string("async+launchkit+memory://"), AsyncBoundedMemoryStorage)


@pytest.mark.parametrize(
    ("uri", "options"),
    [
        ("launchkit+memory://?max_keys=3", {}),
        ("launchkit+memory://", {"max_keys": 3}),
        ("launchkit+memory://", {"max_keys": "3"}),
        ("launchkit+memory://?max_keys=500", {"max_keys": 3}),
    ],
)
def test_the_cap_is_an_option_of_the_uri_or_the_call(uri: str, options: dict[str, int | str]) -> None:
    """Both ways to say `max_keys` work, and the keyword wins."""
    storage = storage_from_string(uri, **options)
    for number in range(10):
        storage.incr(f"key {number}", 60)
    assert storage.reset() == 3


@pytest.mark.parametrize(
    ("uri", "options"),
    [
        ("launchkit+memory://?max_keys=0", {}),
        ("launchkit+memory://?max_keys=", {}),
        ("launchkit+memory://?max_kyes=3", {}),
        ("launchkit+memory://", {"max_keys": -1}),
        ("launchkit+memory://", {"max_keys": "many"}),
    ],
)
def test_a_wrong_option_says_what_is_right(uri: str, options: dict[str, int | str]) -> None:
    """A mistake ends the start with an error of `limits` that names the option."""
    with pytest.raises(ConfigurationError, match="takes max_keys, a whole number above 0, and no more"):
        storage_from_string(uri, **options)


def test_it_starts_no_thread() -> None:
    """Neither making a storage nor using it runs anything beside the caller."""
    before = threading.active_count()
    storage = BoundedMemoryStorage()
    for strategy in STRATEGIES.values():
        strategy(storage).hit(FIVE, "visitor")
    assert threading.active_count() == before


# --- what every strategy keeps to ----------------------------------------------------------------------------------


def test_a_limit_lets_its_amount_through(strategy: RateLimiter, clock: FrozenClock) -> None:
    """Five a minute are five, and five again when two windows have gone by."""
    assert passes(strategy) == 5
    clock.advance(120)
    assert passes(strategy) == 5


def test_keys_are_counted_apart(strategy: RateLimiter) -> None:
    """One visitor's hits are not another's."""
    assert passes(strategy, "one") == 5
    assert passes(strategy, "other") == 5


def test_hits_that_cost_more_pass_as_a_whole_or_not_at_all(storage: BoundedMemoryStorage) -> None:
    """Of windows that refuse, what does not fit takes nothing."""
    for strategy in (MovingWindowRateLimiter(storage), SlidingWindowCounterRateLimiter(storage)):
        assert not strategy.hit(FIVE, "visitor", cost=6)
        assert storage.reset() == 0
        assert strategy.hit(FIVE, "visitor", cost=3)
        assert not strategy.hit(FIVE, "visitor", cost=3)
        assert strategy.hit(FIVE, "visitor", cost=2)
        assert not strategy.hit(FIVE, "visitor")
        assert storage.reset() == 1


def test_hits_that_cost_nothing_change_nothing(strategy: RateLimiter, storage: BoundedMemoryStorage) -> None:
    """A cost of 0 passes, and nothing is kept for it."""
    assert strategy.hit(FIVE, "visitor", cost=0)
    assert storage.reset() == 0


@pytest.mark.parametrize("hits", range(6))
def test_testing_and_the_remaining_hits_agree_with_hitting(strategy: RateLimiter, hits: int) -> None:
    """What `test` and `get_window_stats` say is what the next hits find."""
    passes(strategy, times=hits)
    remaining = strategy.get_window_stats(FIVE, "visitor").remaining
    assert remaining == 5 - hits
    assert strategy.test(FIVE, "visitor") == (remaining > 0)
    assert strategy.test(FIVE, "visitor", cost=remaining)
    assert not strategy.test(FIVE, "visitor", cost=remaining + 1)
    assert passes(strategy) == remaining


def test_a_key_that_is_cleared_starts_anew(strategy: RateLimiter) -> None:
    """Clearing forgets one key and leaves the others."""
    assert passes(strategy, "one") == passes(strategy, "other") == 5
    strategy.clear(FIVE, "one")
    assert passes(strategy, "one", times=3) == 3
    strategy.clear(FIVE, "one")
    assert passes(strategy, "one") == 5
    assert passes(strategy, "other") == 0


def test_clearing_a_key_forgets_it_for_every_strategy(storage: BoundedMemoryStorage) -> None:
    """`Storage.clear` has no strategy; the sliding counters' own leaves the other two alone."""
    strategies = [make(storage) for make in STRATEGIES.values()]
    assert [passes(strategy) for strategy in strategies] == [5, 5, 5]
    storage.clear_sliding_window(FIVE.key_for("visitor"), 60)
    assert [strategy.test(FIVE, "visitor") for strategy in strategies] == [
        isinstance(strategy, SlidingWindowCounterRateLimiter) for strategy in strategies
    ]
    assert [passes(strategy) for strategy in strategies] == [
        5 * isinstance(strategy, SlidingWindowCounterRateLimiter) for strategy in strategies
    ]
    storage.clear(FIVE.key_for("visitor"))
    assert storage.reset() == 0


def test_a_reset_forgets_everything(strategy: RateLimiter, storage: BoundedMemoryStorage) -> None:
    """It tells how many keys there were."""
    assert passes(strategy, "at its limit") == 5
    assert strategy.hit(FIVE, "cool")
    assert storage.reset() == 2
    assert storage.reset() == 0
    assert passes(strategy, "at its limit") == 5


def test_setting_the_time_back_neither_frees_nor_locks_out(strategy: RateLimiter, clock: FrozenClock) -> None:
    """The time of day is not what counts."""
    assert passes(strategy) == 5
    clock.unix_seconds -= 3600
    assert passes(strategy) == 0
    clock.monotonic_seconds += 120
    assert passes(strategy) == 5


def test_a_flood_neither_frees_a_key_at_its_limit_nor_fills_the_memory(
    strategy: RateLimiter, storage: BoundedMemoryStorage
) -> None:
    """At the cap a key at its limit outlives every one that is not."""
    attackers = [f"attacker {number}" for number in range(300)]
    for number in range(5000):
        strategy.hit(FIVE, f"made up {number}")
        if number % 3 == 0:
            assert passes(strategy, attackers[number // 3 % 300]) == (5 if number < 900 else 0)
    assert all(passes(strategy, attacker) == 0 for attacker in attackers)
    assert storage.reset() == 1000


@pytest.mark.parametrize("made_up", ["made up {}", "made/up/{}"])
def test_a_key_that_no_strategy_has_made_counts_as_below_its_limit(storage: BoundedMemoryStorage, made_up: str) -> None:
    """The fixed window's limit cannot be told from such a key, and however much it counts, it makes room for others."""
    strategy = FixedWindowRateLimiter(storage)
    for number in range(1500):
        storage.incr(made_up.format(number), 60, 100)
        if number % 3 == 0:
            assert passes(strategy, f"attacker {number}") == 5
    assert all(passes(strategy, f"attacker {number}") == 0 for number in range(0, 1500, 3))


def test_the_storage_is_always_in_order(storage: BoundedMemoryStorage) -> None:
    """Memory is never down, so there is nothing to wrap either."""
    assert storage.check()
    assert storage.base_exceptions == ()


# --- what one strategy keeps to ------------------------------------------------------------------------------------


def test_a_moving_window_tells_when_its_oldest_hit_leaves(storage: BoundedMemoryStorage, clock: FrozenClock) -> None:
    """The reset time is Unix time: the oldest hit's plus the window."""
    strategy = MovingWindowRateLimiter(storage)
    assert strategy.get_window_stats(FIVE, "visitor") == (clock.time() + 60, 5)
    for _ in range(2):
        strategy.hit(FIVE, "visitor")
        clock.advance(10)
    assert strategy.get_window_stats(FIVE, "visitor") == (clock.time() + 40, 3)
    clock.advance(40)
    assert strategy.get_window_stats(FIVE, "visitor") == (clock.time() + 10, 4)
    clock.advance(10)
    assert strategy.get_window_stats(FIVE, "visitor") == (clock.time() + 60, 5)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 6)), max_size=60))
def test_no_moving_window_ever_holds_more_than_its_limit(steps: list[tuple[int, int]]) -> None:
    """Every decision is that of a list of all hits, whatever hits cost and whenever they come."""
    clock = FrozenClock()
    strategy = MovingWindowRateLimiter(BoundedMemoryStorage(clock=clock))
    hits: list[float] = []
    for seconds, cost in steps:
        clock.advance(seconds)
        within = [time for time in hits if time > clock.monotonic() - 60]
        assert strategy.get_window_stats(FIVE, "visitor").remaining == 5 - len(within)
        expected = len(within) + cost <= 5
        assert strategy.test(FIVE, "visitor", cost=cost) == expected
        assert strategy.hit(FIVE, "visitor", cost=cost) == expected
        hits += [clock.monotonic()] * cost * expected


@given(st.lists(st.tuples(st.integers(0, 45), st.integers(1, 6)), max_size=60))
def test_a_sliding_counter_hits_what_it_tests(steps: list[tuple[int, int]]) -> None:
    """Testing, statistics and hitting round the weighed count the same way."""
    clock = FrozenClock()
    strategy = SlidingWindowCounterRateLimiter(BoundedMemoryStorage(clock=clock))
    for seconds, cost in steps:
        clock.advance(seconds)
        expected = strategy.test(FIVE, "visitor", cost=cost)
        assert (strategy.get_window_stats(FIVE, "visitor").remaining >= cost) == expected
        assert strategy.hit(FIVE, "visitor", cost=cost) == expected


def test_a_sliding_counter_weighs_the_window_before(storage: BoundedMemoryStorage, clock: FrozenClock) -> None:
    """Its counts come with the seconds for which they matter still."""
    assert storage.get_sliding_window("key", 60) == (0, 0.0, 0, 0.0)
    clock.monotonic_seconds = 600.0
    assert storage.acquire_sliding_window_entry("key", 5, 60, 4)
    clock.advance(15)
    assert storage.get_sliding_window("key", 60) == (0, 0.0, 4, 105.0)
    clock.advance(60)
    assert storage.acquire_sliding_window_entry("key", 5, 60, 2)
    assert storage.get_sliding_window("key", 60) == (4, 45.0, 2, 105.0)
    assert not storage.acquire_sliding_window_entry("key", 5, 60)
    clock.advance(60)
    assert storage.get_sliding_window("key", 60) == (2, 45.0, 0, 105.0)


def test_a_fixed_window_begins_with_its_first_hit(storage: BoundedMemoryStorage, clock: FrozenClock) -> None:
    """It counts what is over the limit too, and ends all at once."""
    assert storage.get_expiry("key") == clock.time()
    assert [storage.incr("key", 60), storage.incr("key", 60, 4)] == [1, 5]
    clock.advance(59)
    assert storage.incr("key", 60) == storage.get("key") == storage.incr("key", 60, 0) == 6
    assert storage.get_expiry("key") == clock.time() + 1
    clock.advance(1)
    assert storage.get("key") == 0
    assert storage.get_expiry("key") == clock.time()
    assert storage.incr("key", 60) == 1


def test_windows_that_ended_go_as_new_ones_come(strategy: RateLimiter, clock: FrozenClock) -> None:
    """Each new key pays for looking at old ones, so that memory follows the traffic of one window."""
    for number in range(50):
        passes(strategy, f"old {number}")
    clock.advance(121)
    for number in range(60):
        strategy.hit(FIVE, f"new {number}")
    assert strategy.storage.reset() == 60


# --- threads and the event loop ------------------------------------------------------------------------------------


@pytest.fixture(params=[None, 1e-6])
def _switching(request: pytest.FixtureRequest) -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(request.param or before)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_switching")
def test_threads_together_use_exactly_the_limit(strategy: RateLimiter) -> None:
    """16 threads with 8 hits each against a limit of 50 get exactly 50 through, whenever they are interrupted."""
    rounds = 15
    fifty = limits.parse("50/minute")
    together = Barrier(16, timeout=20)

    def client() -> list[int]:
        passed = []
        for number in range(rounds):
            together.wait()
            passed.append(sum(strategy.hit(fifty, f"shared {number}") for _ in range(8)))
        return passed

    with ThreadPoolExecutor(16) as pool:
        futures = [pool.submit(client) for _ in range(16)]
        counted = [future.result() for future in futures]
    assert [sum(column) for column in zip(*counted, strict=True)] == [50] * rounds


@pytest.mark.parametrize("make", aio_strategies.STRATEGIES.values(), ids=aio_strategies.STRATEGIES)
def test_the_event_loop_has_the_same(make: type[aio_strategies.RateLimiter], clock: FrozenClock) -> None:
    """Every asyncio strategy lets exactly its amount through, and tests, tells, clears and resets."""
    storage = AsyncBoundedMemoryStorage(max_keys=100, clock=clock)
    strategy = make(storage)

    async def use() -> None:
        hits = await asyncio.gather(*[strategy.hit(FIVE, "visitor") for _ in range(20)])
        assert sum(hits) == 5
        assert not await strategy.test(FIVE, "visitor")
        assert (await strategy.get_window_stats(FIVE, "visitor")).remaining == 0
        await strategy.clear(FIVE, "visitor")
        assert await strategy.hit(FIVE, "visitor")
        assert await storage.check()
        assert storage.base_exceptions == ()
        for number in range(200):
            await strategy.hit(FIVE, str(number))
        assert await storage.reset() == 100

    asyncio.run(use())


def test_the_event_loop_clears_one_sliding_counter(clock: FrozenClock) -> None:
    """What `limits` calls for a sliding counter in newer versions."""
    storage = AsyncBoundedMemoryStorage(clock=clock)

    async def use() -> None:
        assert await storage.acquire_sliding_window_entry("key", 1, 60)
        assert not await storage.acquire_sliding_window_entry("key", 1, 60)
        await storage.clear_sliding_window("key", 60)
        assert await storage.acquire_sliding_window_entry("key", 1, 60)

    asyncio.run(use())


def test_a_fixed_window_keeps_its_place_in_a_mixed_crowd(storage: BoundedMemoryStorage) -> None:
    """The limit of a fixed window is read off its key, so that it is known when it is at its limit."""
    strategy = FixedWindowRateLimiter(storage)
    once = limits.parse("1/day")
    assert strategy.hit(once, "attacker")
    for number in range(2000):
        strategy.hit(FIVE, "made", "up", str(number))
    assert not strategy.hit(once, "attacker")
