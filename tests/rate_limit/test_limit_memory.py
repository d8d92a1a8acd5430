"""Counts in this process, checked against the plainest model there is."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from launchkit.pipeline.effects import Charge, Verdict
from launchkit.rate_limit.memory import MemoryLimiter
from launchkit.testing import FrozenClock

CHARGES = (
    Charge("a", 1, 10),
    Charge("b", 2, 5),
    Charge("c", 3, 60),
    Charge("d", 3, 7),
    Charge("e", 5, 2),
)


class NaiveLimiter:
    """Every hit ever charged, and a look at all of them for each question."""

    def __init__(self) -> None:
        self.hits: list[tuple[str, float]] = []

    def within(self, charge: Charge, now: float) -> list[float]:
        return [time for key, time in self.hits if key == charge.key and time > now - charge.window]

    def hit(self, charges: tuple[Charge, ...], now: float) -> tuple[bool, int, int, float]:
        for charge in charges:
            times = self.within(charge, now)
            if len(times) >= charge.limit:
                return False, charge.limit, 0, times[0] + charge.window - now
        self.hits += [(charge.key, now) for charge in charges]
        left = {charge: charge.limit - len(self.within(charge, now)) for charge in charges}
        tightest = min(charges, key=lambda charge: left[charge])
        return True, tightest.limit, left[tightest], self.within(tightest, now)[0] + tightest.window - now


class LimiterMachine(RuleBasedStateMachine):
    """Hits, refunds and the passing of time in any order."""

    tokens = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FrozenClock(monotonic_seconds=1000.0)
        self.limiter = MemoryLimiter(self.clock, 1000)
        self.naive = NaiveLimiter()

    @rule(target=tokens, charges=st.lists(st.sampled_from(CHARGES), min_size=1, max_size=4, unique=True).map(tuple))
    def hit(self, charges: tuple[Charge, ...]) -> list[tuple[str, float]]:
        verdict = self.limiter.hit(charges)
        expected = self.naive.hit(charges, self.clock.monotonic())
        assert (verdict.allowed, verdict.limit, verdict.remaining, verdict.reset_after) == expected
        assert len(verdict.token) == (len(charges) if verdict.allowed else 0)
        return list(verdict.token)  # type: ignore[arg-type]

    @rule(token=tokens, some=st.integers(1, 4))
    def refund(self, token: list[tuple[str, float]], some: int) -> None:
        given_back = [token.pop() for _ in range(min(some, len(token)))]
        self.limiter.refund(tuple(given_back))
        for entry in given_back:
            self.naive.hits.remove(entry)

    @rule(seconds=st.integers(0, 12).map(lambda halves: halves / 2))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def no_window_holds_more_than_its_limit(self) -> None:
        for charge in CHARGES:
            assert len(self.naive.within(charge, self.clock.monotonic())) <= charge.limit


TestExactness = LimiterMachine.TestCase
TestExactness.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def flood(limiter: MemoryLimiter, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        limiter.hit((Charge(f"flood {number}", 100, 60),))


def allowed(limiter: MemoryLimiter, *charges: Charge) -> bool:
    return limiter.hit(charges).allowed


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


def test_the_table_never_grows_past_its_bound(clock: FrozenClock) -> None:
    """At most `max_keys` buckets are remembered, however many clients there are."""
    limiter = MemoryLimiter(clock, 1000)
    for start in range(0, 3000, 100):
        flood(limiter, 100, start)
        assert len(limiter) == min(start + 100, 1000)


def test_a_flood_of_new_clients_does_not_free_those_at_their_limit(clock: FrozenClock) -> None:
    """At the cap a bucket at its limit outlives every one that is not."""
    limiter = MemoryLimiter(clock, 1000)
    attacker = Charge("attacker", 3, 60)
    assert [allowed(limiter, attacker) for _ in range(4)] == [True, True, True, False]
    flood(limiter, 5000)
    assert not allowed(limiter, attacker)
    assert len(limiter) == 1000


def test_a_refund_makes_a_bucket_one_of_many_again(clock: FrozenClock) -> None:
    """A bucket that is no longer at its limit is no longer preferred: a flood pushes such buckets out."""
    limiter = MemoryLimiter(clock, 10)
    refunded = [Charge(f"refunded {number}", 2, 60) for number in range(8)]
    for charge in refunded:
        limiter.hit((charge,))
        limiter.refund(limiter.hit((charge,)).token)
    flood(limiter, 100)
    assert len(limiter) == 10
    assert any(limiter.hit((charge,)).remaining == 1 for charge in refunded)


def test_when_every_bucket_is_at_its_limit_the_bound_still_holds(clock: FrozenClock) -> None:
    """Then one of them has to go, and it is not the newest."""
    limiter = MemoryLimiter(clock, 10)
    for number in range(30):
        newest = Charge(f"single {number}", 1, 60)
        assert allowed(limiter, newest)
        assert not allowed(limiter, newest)
        assert len(limiter) == min(number + 1, 10)


def test_buckets_that_expired_go_as_new_ones_come(clock: FrozenClock) -> None:
    """Each new bucket pays for looking at old ones, so that memory follows the traffic of one window."""
    limiter = MemoryLimiter(clock, 100_000)
    flood(limiter, 50)
    for number in range(50):
        limiter.hit((Charge(f"full {number}", 1, 60),))
    clock.advance(61)
    flood(limiter, 60, start=1000)
    assert len(limiter) == 60


def test_a_refund_of_what_is_gone_changes_nothing(clock: FrozenClock) -> None:
    """A token whose bucket has expired or was evicted is no mistake."""
    limiter = MemoryLimiter(clock, 1000)
    charge = Charge("a", 2, 10)
    old = limiter.hit((charge,)).token
    clock.advance(11)
    assert allowed(limiter, charge)
    limiter.refund(old)
    limiter.refund((("never seen", 5.0),))
    assert limiter.hit((charge,)).remaining == 0


def test_an_exhausted_bucket_keeps_the_others_uncharged(clock: FrozenClock) -> None:
    """A refused hit consumes nothing, wherever in the row the exhausted bucket stands."""
    limiter = MemoryLimiter(clock, 1000)
    wide, narrow = Charge("wide", 10, 60), Charge("narrow", 1, 60)
    assert allowed(limiter, narrow)
    for order in ((wide, narrow), (narrow, wide)):
        assert limiter.hit(order) == Verdict(False, 1, 0, 60.0)
    assert limiter.hit((wide,)).remaining == 9


def test_both_colours_count_in_the_same_buckets(clock: FrozenClock) -> None:
    """Threads and the event loop share one count."""
    limiter = MemoryLimiter(clock, 1000)
    charge = Charge("a", 2, 10)

    async def use() -> Verdict:
        await limiter.arefund((await limiter.ahit((charge,))).token)
        return await limiter.ahit((charge,))

    assert asyncio.run(use()).remaining == 1
    assert limiter.hit((charge,)).remaining == 0


@pytest.fixture(params=[None, 1e-6])
def _switching(request: pytest.FixtureRequest) -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(request.param or before)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_switching")
def test_threads_together_never_exceed_a_limit(clock: FrozenClock) -> None:
    """32 threads with 8 hits each against a limit of 50 get exactly 50 through, whenever they are interrupted."""
    rounds = 30
    limiter = MemoryLimiter(clock, 1000)
    wide = Charge("wide", 100_000, 60)
    together = Barrier(32, timeout=20)

    def client() -> list[int]:
        passed = []
        for number in range(rounds):
            together.wait()
            charges = (Charge(f"shared {number}", 50, 60), wide)
            passed.append(sum(limiter.hit(charges).allowed for _ in range(8)))
        return passed

    with ThreadPoolExecutor(32) as pool:
        futures = [pool.submit(client) for _ in range(32)]
        counted = [future.result() for future in futures]
    assert [sum(column) for column in zip(*counted, strict=True)] == [50] * rounds
    assert limiter.hit((wide,)).remaining == 100_000 - 50 * rounds - 1
