"""Counts in this process, checked against the plainest model there is."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter as Tally
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from launchkit.pipeline.effects import Charge, Quota, Verdict
from launchkit.rate_limit.memory import MemoryLimiter
from launchkit.testing import FrozenClock


def log(key: str, *windows: tuple[int, float]) -> Charge:
    return Charge(key, Quota(windows))


def counter(key: str, amount: int, seconds: float) -> Charge:
    return Charge(key, Quota(((amount, seconds),), exact=False))


CHARGES = (
    log("a", (1, 10)),
    log("b", (2, 5)),
    log("c", (3, 60)),
    log("d", (1, 2), (3, 7), (4, 30)),
    log("e", (2, 3), (5, 4)),
    counter("f", 3, 8),
    counter("g", 7, 4),
)
"""Lengths of counters' windows are powers of two, so that both sides reckon without rounding."""

Window = tuple[int, int, float]
"""The index of a charge, the amount of one of its windows, and what is asked about that."""


class NaiveLimiter:
    """Every hit ever charged, and a look at all of them for each question."""

    def __init__(self) -> None:
        self.hits: list[tuple[str, float]] = []

    def times(self, key: str) -> list[float]:
        return [time for hit, time in self.hits if hit == key]

    def within(self, key: str, seconds: float, now: float) -> list[float]:
        return [time for time in self.times(key) if time > now - seconds]

    def weighed(self, charge: Charge, now: float) -> float:
        """Weigh what the window before has left in the last `seconds`."""
        ((_, seconds),) = charge.quota.windows
        index, into = divmod(now, seconds)
        found = Tally(time // seconds for time in self.times(charge.key))
        return found[index - 1] * (1 - into / seconds) + found[index]

    def fits(self, charge: Charge, now: float) -> bool:
        if charge.quota.exact:
            return all(len(self.within(charge.key, seconds, now)) < amount for amount, seconds in charge.quota.windows)
        return self.weighed(charge, now) + 1 <= charge.quota.most

    def waits(self, charges: tuple[Charge, ...], now: float) -> list[Window]:
        """Return the exhausted windows of logs, and how long each has to be waited for."""
        return [
            (index, amount, times[-amount] + seconds - now)
            for index, charge in enumerate(charges)
            if charge.quota.exact
            for amount, seconds in charge.quota.windows
            if len(times := self.within(charge.key, seconds, now)) >= amount
        ]

    def left(self, charges: tuple[Charge, ...], now: float) -> list[tuple[int, int, int, float | None]]:
        """Return index, amount and remaining hits of each window, and of logs when the next hit leaves it."""
        found: list[tuple[int, int, int, float | None]] = []
        for index, charge in enumerate(charges):
            if charge.quota.exact:
                for amount, seconds in charge.quota.windows:
                    times = self.within(charge.key, seconds, now)
                    found.append((index, amount, amount - len(times), times[0] + seconds - now))
            else:
                found.append((index, charge.quota.most, int(charge.quota.most - self.weighed(charge, now)), None))
        return found


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
        now = self.clock.monotonic()
        expected = all(self.naive.fits(charge, now) for charge in charges)
        verdict = self.limiter.hit(charges)
        assert verdict.allowed is expected
        if expected:
            self.naive.hits += [(charge.key, now) for charge in charges]
            self.check_tightest(charges, verdict, now)
        else:
            self.check_longest_wait(charges, verdict, now)
        return list(verdict.token)  # type: ignore[arg-type]

    def check_tightest(self, charges: tuple[Charge, ...], verdict: Verdict, now: float) -> None:
        left = self.naive.left(charges, now)
        assert verdict.remaining == min(remaining for _, _, remaining, _ in left)
        assert [key for key, _ in verdict.token] == [charge.key for charge in charges]  # type: ignore[misc]
        found = (verdict.charge, verdict.limit, verdict.remaining)
        if charges[verdict.charge].quota.exact:
            assert (*found, verdict.reset_after) in left
        else:
            assert (*found, None) in left
            assert 0 < verdict.reset_after <= charges[verdict.charge].quota.longest

    def check_longest_wait(self, charges: tuple[Charge, ...], verdict: Verdict, now: float) -> None:
        assert verdict.token == ()
        assert verdict.remaining == 0
        charge, later = charges[verdict.charge], now + verdict.reset_after
        assert verdict.limit in {amount for amount, _ in charge.quota.windows}
        if charge.quota.exact:
            assert (verdict.charge, verdict.limit, verdict.reset_after) in self.naive.waits(charges, now)
        assert not self.naive.fits(charge, later - 1e-6)
        assert all(self.naive.fits(one, later + 1e-6) for one in charges)

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
    def no_window_of_a_log_holds_more_than_its_amount(self) -> None:
        now = self.clock.monotonic()
        for charge in CHARGES:
            for amount, seconds in charge.quota.windows if charge.quota.exact else ():
                assert len(self.naive.within(charge.key, seconds, now)) <= amount


TestExactness = LimiterMachine.TestCase
TestExactness.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@given(st.integers(1, 9), st.lists(st.sampled_from([0.0, 0.25, 1.0, 3.75, 4.0, 9.5]), max_size=80))
def test_a_counter_is_exact_for_clock_windows_and_within_twice_for_sliding_ones(
    amount: int, waits: list[float]
) -> None:
    """At most `amount` in a window that begins at a multiple of its length, less than twice that in any other."""
    clock = FrozenClock(monotonic_seconds=0.0)
    limiter, charge = MemoryLimiter(clock, 1000), counter("a", amount, 4)
    admitted = []
    for wait in waits:
        clock.advance(wait)
        if limiter.hit((charge,)).allowed:
            admitted.append(clock.monotonic())
    assert all(count <= amount for count in Tally(time // 4 for time in admitted).values())
    assert all(sum(start <= time < start + 4 for time in admitted) <= 2 * amount for start in admitted)
    assert not waits or admitted


def flood(limiter: MemoryLimiter, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        limiter.hit((log(f"flood {number}", (60, 60)),))


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


@pytest.mark.parametrize(
    "attacker", [log("attacker", (3, 60)), log("attacker", (3, 60), (9, 600)), counter("attacker", 3, 60)]
)
def test_a_flood_of_new_clients_does_not_free_those_at_their_limit(clock: FrozenClock, attacker: Charge) -> None:
    """At the cap a bucket at its limit outlives every one that is not."""
    limiter = MemoryLimiter(clock, 1000)
    assert [allowed(limiter, attacker) for _ in range(4)] == [True, True, True, False]
    flood(limiter, 5000)
    assert not allowed(limiter, attacker)
    assert len(limiter) == 1000


def test_a_flood_in_one_hit_does_not_free_those_at_their_limit(clock: FrozenClock) -> None:
    """Buckets that one hit makes count towards the bound as others do."""
    limiter = MemoryLimiter(clock, 1000)
    attacker = log("attacker", (1, 60))
    assert allowed(limiter, attacker)
    limiter.hit(tuple(log(f"flood {number}", (2, 60)) for number in range(3000)))
    assert not allowed(limiter, attacker)
    assert len(limiter) == 1000


def test_a_refund_makes_a_bucket_one_of_many_again(clock: FrozenClock) -> None:
    """A bucket that is no longer at its limit is no longer preferred: a flood pushes such buckets out."""
    limiter = MemoryLimiter(clock, 10)
    refunded = [log(f"refunded {number}", (2, 60)) for number in range(8)]
    for charge in refunded:
        limiter.hit((charge,))
        limiter.refund(limiter.hit((charge,)).token)
    flood(limiter, 100)
    assert len(limiter) == 10
    assert any(limiter.hit((charge,)).remaining == 1 for charge in refunded)


def test_a_bucket_whose_wait_is_over_is_one_of_many_again(clock: FrozenClock) -> None:
    """What was exhausted in a short window and has room again does not stay preferred while its long one lasts."""
    limiter = MemoryLimiter(clock, 10)
    waited = [log(f"waited {number}", (1, 5), (9, 6000)) for number in range(8)]
    for charge in waited:
        assert limiter.hit((charge,)).remaining == 0
    clock.advance(6)
    flood(limiter, 100)
    assert {limiter.hit((charge,)).limit for charge in waited} == {1}
    clock.advance(6)
    assert all(limiter.hit((log(charge.key, (1, 5), (2, 6000)),)).allowed for charge in waited)


def test_when_every_bucket_is_at_its_limit_the_bound_still_holds(clock: FrozenClock) -> None:
    """Then one of them has to go, and it is not the newest."""
    limiter = MemoryLimiter(clock, 10)
    for number in range(30):
        newest = log(f"single {number}", (1, 60))
        assert allowed(limiter, newest)
        assert not allowed(limiter, newest)
        assert len(limiter) == min(number + 1, 10)


@pytest.mark.parametrize("full", [log("full", (1, 60)), counter("full", 1, 30)])
def test_buckets_that_expired_go_as_new_ones_come(clock: FrozenClock, full: Charge) -> None:
    """Each new bucket pays for looking at old ones, so that memory follows the traffic of one window."""
    limiter = MemoryLimiter(clock, 100_000)
    flood(limiter, 50)
    for number in range(50):
        limiter.hit((full._replace(key=f"full {number}"),))
    clock.advance(61)
    flood(limiter, 60, start=1000)
    assert len(limiter) == 60


def test_a_log_keeps_no_more_than_its_longest_window_takes() -> None:
    """However long a client comes, its bucket does not grow."""
    clock = FrozenClock()
    limiter, charge = MemoryLimiter(clock, 1000), log("a", (2, 1), (5, 10))
    for _ in range(500):
        limiter.hit((charge,))
        clock.advance(0.7)
    (bucket,) = [*limiter._cool.values(), *limiter._full.values()]
    assert len(bucket.times) <= 5  # type: ignore[attr-defined]


@pytest.mark.parametrize("charge", [log("a", (2, 10)), counter("a", 2, 8)])
def test_a_refund_of_what_is_gone_changes_nothing(clock: FrozenClock, charge: Charge) -> None:
    """A token whose bucket has expired or was evicted is no mistake."""
    limiter = MemoryLimiter(clock, 1000)
    old = limiter.hit((charge,)).token
    clock.advance(20)
    assert allowed(limiter, charge)
    limiter.refund(old)
    limiter.refund((("never seen", 5.0),))
    assert limiter.hit((charge,)).remaining == 0


def test_a_refund_reaches_the_window_before(clock: FrozenClock) -> None:
    """A request that began in one window of a counter and succeeded in the next is given back where it counted."""
    limiter, charge = MemoryLimiter(clock, 1000), counter("a", 2, 8)
    tokens = [limiter.hit((charge,)).token for _ in range(2)]
    clock.advance(8)
    assert not allowed(limiter, charge)
    for token in tokens:
        limiter.refund(token)
    assert [allowed(limiter, charge) for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("charge", [log("a", (2, 10)), counter("a", 2, 8)])
def test_a_refund_that_is_made_twice_gives_nothing_more(clock: FrozenClock, charge: Charge) -> None:
    """Never more than was taken, and never less than nothing."""
    limiter = MemoryLimiter(clock, 1000)
    token = limiter.hit((charge,)).token
    for _ in range(3):
        limiter.refund(token)
    assert [allowed(limiter, charge) for _ in range(3)] == [True, True, False]


def test_an_exhausted_bucket_keeps_the_others_uncharged(clock: FrozenClock) -> None:
    """A refused hit consumes nothing, wherever in the row the exhausted bucket stands."""
    limiter = MemoryLimiter(clock, 1000)
    wide, narrow = log("wide", (10, 60)), log("narrow", (1, 60))
    assert allowed(limiter, narrow)
    for index, order in enumerate([(narrow, wide), (wide, narrow)]):
        assert limiter.hit(order) == Verdict(False, 1, 0, 60.0, (), index)
    assert limiter.hit((wide,)).remaining == 9


def test_of_several_exhausted_windows_the_longest_wait_is_told(clock: FrozenClock) -> None:
    """Whoever comes back when told is not refused by another window."""
    limiter = MemoryLimiter(clock, 1000)
    charges = (log("short", (1, 5)), log("long", (1, 600)), counter("middle", 1, 64))
    assert allowed(limiter, *charges)
    verdict = limiter.hit(charges)
    assert (verdict.allowed, verdict.limit, verdict.reset_after, verdict.charge) == (False, 1, 600.0, 1)


@pytest.mark.parametrize("charge", [log("a", (3, 10)), counter("a", 3, 8)])
def test_a_clock_that_stands_still_changes_no_count(clock: FrozenClock, charge: Charge) -> None:
    """Hits at one and the same time are different hits, and refunds of them too."""
    limiter = MemoryLimiter(clock, 1000)
    tokens = [limiter.hit((charge,)).token for _ in range(3)]
    assert not allowed(limiter, charge)
    limiter.refund(tokens[1])
    assert [allowed(limiter, charge) for _ in range(2)] == [True, False]


def test_both_colours_count_in_the_same_buckets(clock: FrozenClock) -> None:
    """Threads and the event loop share one count."""
    limiter = MemoryLimiter(clock, 1000)
    charge = log("a", (2, 10))

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
@pytest.mark.parametrize("exact", [True, False])
def test_threads_together_never_exceed_a_limit(clock: FrozenClock, exact: bool) -> None:
    """32 threads with 8 hits each against a limit of 50 get exactly 50 through, whenever they are interrupted."""
    rounds = 30
    limiter = MemoryLimiter(clock, 1000)
    wide = counter("wide", 100_000, 60)
    together = Barrier(32, timeout=20)

    def client() -> list[int]:
        passed = []
        for number in range(rounds):
            together.wait()
            charges = (Charge(f"shared {number}", Quota(((50, 60),), exact=exact)), wide)
            passed.append(sum(limiter.hit(charges).allowed for _ in range(8)))
        return passed

    with ThreadPoolExecutor(32) as pool:
        futures = [pool.submit(client) for _ in range(32)]
        counted = [future.result() for future in futures]
    assert [sum(column) for column in zip(*counted, strict=True)] == [50] * rounds
    assert limiter.hit((wide,)).remaining == 100_000 - 50 * rounds - 1


@pytest.mark.usefixtures("_switching")
def test_threads_that_give_back_all_they_took_leave_nothing(clock: FrozenClock) -> None:
    """No refund is lost or made twice, whenever threads are interrupted."""
    limiter = MemoryLimiter(clock, 1000)
    charges = (log("exact", (40, 60)), counter("counted", 400, 60))

    def client() -> None:
        for _ in range(50):
            limiter.refund(limiter.hit(charges).token)

    with ThreadPoolExecutor(16) as pool:
        for future in [pool.submit(client) for _ in range(16)]:
            future.result()
    verdict = limiter.hit(charges[:1])
    assert verdict.remaining == 39
    assert limiter.hit(charges[1:]).remaining == 399
