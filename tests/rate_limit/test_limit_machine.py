"""Counts shared by the processes of a machine: equal to those in memory, and exact whatever happens to a process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, rule

from launchkit.pipeline.clock import SystemClock
from launchkit.pipeline.effects import MOST_EXACT, Charge, Quota, StoreDown, Verdict
from launchkit.rate_limit import machine
from launchkit.rate_limit.machine import MachineLimiter
from launchkit.rate_limit.memory import MemoryLimiter
from launchkit.stores.table import Table
from launchkit.testing import FrozenClock


def log(key: str, *windows: tuple[int, float]) -> Charge:
    return Charge(key, Quota(windows))


def counter(key: str, amount: int, seconds: float) -> Charge:
    return Charge(key, Quota(((amount, seconds),), exact=False))


CHARGES = (
    log("a", (1, 10)),
    log("b", (2, 5), (3, 60)),
    log("c", (3, 7)),
    log("d", (2, 1), (4, 30), (MOST_EXACT, 100_000)),
    counter("e", 3, 8),
    counter("f", 100, 16),
)


class LimiterMachine(RuleBasedStateMachine):
    """Hits, refunds and the passing of time in any order, by two processes' limiters, and by one in memory."""

    tokens = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = FrozenClock(monotonic_seconds=1024.0)
        places = (Path(self.folder.name, "table"),)
        self.limiters = [MachineLimiter(places, self.clock, 1000) for _ in range(2)]
        self.model = MemoryLimiter(self.clock, 1000)

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule(
        target=tokens,
        charges=st.lists(st.sampled_from(CHARGES), min_size=1, max_size=4, unique=True).map(tuple),
        which=st.integers(0, 1),
    )
    def hit(self, charges: tuple[Charge, ...], which: int) -> list[tuple[object, object]]:
        verdict = self.limiters[which].hit(charges)
        expected = self.model.hit(charges)
        assert (verdict.allowed, verdict.limit, verdict.remaining, verdict.reset_after, verdict.charge) == (
            expected.allowed,
            expected.limit,
            expected.remaining,
            expected.reset_after,
            expected.charge,
        )
        return list(zip(verdict.token, expected.token, strict=True))

    @rule(token=tokens, some=st.integers(1, 4), which=st.integers(0, 1))
    def refund(self, token: list[tuple[object, object]], some: int, which: int) -> None:
        given_back = [token.pop() for _ in range(min(some, len(token)))]
        self.limiters[which].refund(tuple(ours for ours, _ in given_back))
        self.model.refund(tuple(models for _, models in given_back))

    @rule(seconds=st.integers(0, 12).map(lambda halves: halves / 2) | st.sampled_from([60.0, 5000.0, 99_990.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)


TestEquality = LimiterMachine.TestCase
TestEquality.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "table"


@pytest.fixture
def limiter(place: Path, clock: FrozenClock) -> MachineLimiter:
    return MachineLimiter((place,), clock, 1000)


def allowed(limiter: MachineLimiter | MemoryLimiter, *charges: Charge) -> bool:
    return limiter.hit(charges).allowed


@settings(max_examples=60, deadline=None)
@given(
    amount=st.integers(1, 5),
    seconds=st.floats(1e-3, 4e7),
    start=st.floats(1, 1e7),
    steps=st.lists(st.floats(0, 0.6), min_size=5, max_size=60),
)
def test_rounding_lets_no_more_through(amount: int, seconds: float, start: float, steps: list[float]) -> None:
    """In no time shorter than a window are there more hits than its limit; nobody waits noticeably longer for it."""
    clock = FrozenClock(monotonic_seconds=start)
    charge = log("a", (amount, seconds))
    passed: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        limiter = MachineLimiter((Path(folder, "table"),), clock, 8)
        for step in steps:
            clock.advance(step * seconds)
            now = clock.monotonic()
            age = now - passed[-amount] if len(passed) >= amount else 2 * seconds
            verdict = limiter.hit((charge,))
            if verdict.allowed:
                assert age >= seconds
                passed.append(now)
            else:
                assert age < seconds * (1 + 2e-9) + 2e-6
                clock.advance(verdict.reset_after)
                assert limiter.hit((charge,)).allowed
                passed.append(clock.monotonic())


def test_a_bucket_that_is_never_empty_counts_on_for_days(limiter: MachineLimiter, clock: FrozenClock) -> None:
    """Hits are kept relative to a time that moves along with them."""
    model = MemoryLimiter(clock, 1000)
    charge = log("a", (2, 10), (MOST_EXACT, 1800))
    for _ in range(6000):
        clock.advance(28.5)
        expected = model.hit((charge,))
        verdict = limiter.hit((charge,))
        assert (verdict.allowed, verdict.remaining, verdict.reset_after) == (
            expected.allowed,
            expected.remaining,
            expected.reset_after,
        )
        assert verdict.allowed


def test_the_largest_log_fits(limiter: MachineLimiter) -> None:
    """A limit of 64 is exact, within a hit that names its bucket twice too."""
    charge = log("a", (MOST_EXACT, 60))
    assert [allowed(limiter, charge) for _ in range(MOST_EXACT - 1)] == [True] * (MOST_EXACT - 1)
    assert allowed(limiter, charge, charge)
    assert not allowed(limiter, charge)


def test_what_does_not_fit_is_refused(limiter: MachineLimiter) -> None:
    """An exact quota of more hits is a mistake of whoever compiled it; a counter may take any number."""
    with pytest.raises(ValueError, match="at most 64 hits, not 65"):
        limiter.hit((log("a", (3, 1), (65, 60)),))
    assert limiter.hit((counter("a", 10_000_000, 60),)).remaining == 9_999_999


def test_two_quotas_are_two_buckets(limiter: MachineLimiter) -> None:
    """What was written under one is never read under another, even if the key is the same after a new deployment."""
    assert allowed(limiter, log("a", (1, 60)))
    assert limiter.hit((log("a", (2, 60)),)).remaining == 1
    assert limiter.hit((counter("a", 2, 60),)).remaining == 1
    assert not allowed(limiter, log("a", (1, 60)))


def test_any_text_is_a_key(limiter: MachineLimiter) -> None:
    """Keys hold what clients send."""
    for key in ("", "ü" * 10_000, "\udcff"):
        assert allowed(limiter, log(key, (1, 60)))
        assert not allowed(limiter, log(key, (1, 60)))


def test_a_flood_of_new_clients_does_not_free_those_at_their_limit(place: Path, clock: FrozenClock) -> None:
    """They outlive every bucket that is not at its limit, and the file does not grow."""
    limiter = MachineLimiter((place,), clock, 800)
    attackers = [log(f"attacker {number}", (3, 60)) for number in range(20)]
    attackers += [counter(f"counted attacker {number}", 3, 60) for number in range(20)]
    for attacker in attackers:
        assert [allowed(limiter, attacker) for _ in range(3)] == [True, True, True]
    before = [(file.name, file.stat().st_size) for file in place.parent.iterdir()]
    for number in range(8000):
        limiter.hit((log(f"flood {number}", (100 - MOST_EXACT, 60)),))
    assert not any(allowed(limiter, attacker) for attacker in attackers)
    assert [(file.name, file.stat().st_size) for file in place.parent.iterdir()] == before


def test_a_refund_ends_the_protection(place: Path, clock: FrozenClock) -> None:
    """A bucket that is no longer at its limit is one of many again: a flood pushes it out."""
    limiter = MachineLimiter((place,), clock, 8)
    charge = log("refunded", (2, 60))
    limiter.hit((charge,))
    limiter.refund(limiter.hit((charge,)).token)
    for number in range(100):
        clock.advance(0.1)
        limiter.hit((log(f"flood {number}", (5, 60)),))
    assert limiter.hit((charge,)).remaining == 1


def test_buckets_of_one_hit_that_push_each_other_out_stay_whole(place: Path, clock: FrozenClock) -> None:
    """More charges than there are slots: every bucket that is left has its own hits."""
    limiter = MachineLimiter((place,), clock, 8)
    charges = tuple(log(f"{number}", (number + 2, 60)) for number in range(12))
    for _ in range(3):
        clock.advance(1)
        assert allowed(limiter, *charges)
        clock.advance(61)
    assert allowed(limiter, *charges)
    remaining = [limiter.hit((charge,)).remaining for charge in charges[-1:]]
    assert remaining == [11]


class TestTogether:
    def test_limiters_of_one_place_are_one(self, limiter: MachineLimiter, place: Path, clock: FrozenClock) -> None:
        """A hit and a refund count wherever they are made."""
        other = MachineLimiter((place,), clock, 1000)
        charge = log("a", (2, 60))
        first = limiter.hit((charge,))
        assert other.hit((charge,)).remaining == 0
        assert not allowed(limiter, charge)
        other.refund(first.token)
        assert allowed(limiter, charge)
        assert not allowed(other, charge)

    def test_limiters_of_two_places_are_two(self, limiter: MachineLimiter, tmp_path: Path, clock: FrozenClock) -> None:
        """Two apps on a machine do not count together."""
        charge = log("a", (1, 60))
        assert allowed(limiter, charge)
        assert allowed(MachineLimiter((tmp_path / "other",), clock, 1000), charge)

    def test_both_colours_count_in_the_same_buckets(self, limiter: MachineLimiter) -> None:
        """Threads and the event loop share one count."""
        charge = log("a", (2, 10))

        async def use() -> Verdict:
            await limiter.arefund((await limiter.ahit((charge,))).token)
            return await limiter.ahit((charge,))

        assert asyncio.run(use()).remaining == 1
        assert limiter.hit((charge,)).remaining == 0

    def test_without_contention_the_event_loop_is_not_returned_to(self, limiter: MachineLimiter) -> None:
        """A hit takes microseconds: other requests' turns would make them thousands."""
        steps = limiter.ahit((log("a", (1, 10)),))
        with pytest.raises(StopIteration) as done:
            steps.send(None)
        assert done.value.value.allowed
        again = limiter.arefund(done.value.value.token)
        with pytest.raises(StopIteration):
            again.send(None)

    def test_a_closed_limiter_is_down(self, limiter: MachineLimiter, place: Path, clock: FrozenClock) -> None:
        """It holds no file any more; the counts are there for others."""
        charge = log("a", (1, 60))
        limiter.hit((charge,))
        limiter.close()
        with pytest.raises(StoreDown):
            limiter.hit((charge,))
        assert not allowed(MachineLimiter((place,), clock, 1000), charge)


class TestDown:
    """The lock is held by somebody who does not give it back."""

    @pytest.fixture
    def holder(self, limiter: MachineLimiter, place: Path) -> Iterator[Table]:
        holder = Table(place, 1000)
        assert holder.try_lock()
        yield holder
        holder.close()

    def test_a_thread_gives_up(self, limiter: MachineLimiter, holder: Table, clock: FrozenClock) -> None:
        """The next one tries again: a moment's rush is no outage."""
        charge = log("a", (1, 10))
        with pytest.raises(StoreDown, match="locked"):
            limiter.hit((charge,))
        with pytest.raises(StoreDown, match="locked"):
            limiter.refund(())
        holder.unlock()
        assert allowed(limiter, charge)

    def test_it_is_said_once_a_minute(
        self, limiter: MachineLimiter, holder: Table, clock: FrozenClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """However many hits fail."""
        for seconds in (0, 1, 58, 1):
            clock.advance(seconds)
            with pytest.raises(StoreDown):
                limiter.hit((log("a", (1, 10)),))
        said = "The table of rate limits was locked for too long"
        assert [record.message.partition(";")[0] for record in caplog.records] == [said] * 2

    def test_the_event_loop_gives_up_and_runs_meanwhile(self, limiter: MachineLimiter, holder: Table) -> None:
        """Waiting is sleeping: other requests have their turns."""
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async def use() -> None:
            counting = asyncio.create_task(count())
            with pytest.raises(StoreDown, match="locked"):
                await limiter.ahit((log("a", (1, 10)),))
            counting.cancel()

        asyncio.run(use())
        assert turns > 50

    def test_the_event_loop_waits_for_a_moment(self, limiter: MachineLimiter, holder: Table) -> None:
        """A lock that is given back meanwhile is no outage."""

        async def use() -> bool:
            asyncio.get_running_loop().call_soon(holder.unlock)
            return (await limiter.ahit((log("a", (1, 10)),))).allowed

        assert asyncio.run(use())

    def test_a_cancelled_wait_leaves_nothing_behind(self, limiter: MachineLimiter, holder: Table) -> None:
        """A client that went away while its request waited holds no lock."""
        charge = log("a", (1, 10))

        async def use() -> None:
            waiting = asyncio.create_task(limiter.ahit((charge,)))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

        asyncio.run(use())
        holder.unlock()
        assert allowed(limiter, charge)

    def test_a_mistake_under_the_lock_gives_it_back(self, limiter: MachineLimiter, place: Path) -> None:
        """Whatever is raised in the midst of a hit."""
        with pytest.raises(ValueError, match="unpack"):
            limiter.refund((("no", "token"),))
        assert Table(place, 1000).try_lock()


class TestRemoved:
    """Somebody removes the file while it is in use."""

    def test_all_find_the_new_file_within_a_second(
        self, limiter: MachineLimiter, place: Path, clock: FrozenClock
    ) -> None:
        """Workers of before and after the removal count together."""
        charge = log("a", (2, 600))
        assert allowed(limiter, charge)
        for file in place.parent.iterdir():
            file.unlink()
        younger = MachineLimiter((place,), clock, 1000)
        assert younger.hit((charge,)).remaining == 1
        clock.advance(1)
        assert limiter.hit((charge,)).remaining == 0
        assert not allowed(younger, charge)

    def test_a_file_that_is_still_there_is_kept(self, limiter: MachineLimiter, clock: FrozenClock) -> None:
        """Looking changes nothing."""
        charge = log("a", (2, 600))
        table = limiter._table
        limiter.hit((charge,))
        clock.advance(1)
        assert limiter.hit((charge,)).remaining == 0
        assert limiter._table is table

    def test_a_refund_after_that_changes_nothing(
        self, limiter: MachineLimiter, place: Path, clock: FrozenClock
    ) -> None:
        """What it gives back is gone."""
        charge = log("a", (2, 600))
        token = limiter.hit((charge,)).token
        for file in place.parent.iterdir():
            file.unlink()
        clock.advance(1)
        limiter.refund(token)
        assert limiter.hit((charge,)).remaining == 1

    def test_where_there_can_be_no_new_one_the_limiter_is_down(
        self, limiter: MachineLimiter, place: Path, clock: FrozenClock
    ) -> None:
        """And comes back by itself."""
        charge = log("a", (2, 600))
        folder = place.parent.rename(place.parent.with_name("moved"))
        place.parent.write_bytes(b"")
        clock.advance(1)
        for _ in range(2):
            with pytest.raises(StoreDown):
                limiter.hit((charge,))
        place.parent.unlink()
        folder.rename(place.parent)
        clock.advance(1)
        assert allowed(limiter, charge)


@pytest.fixture(params=[None, 1e-6])
def _switching(request: pytest.FixtureRequest) -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(request.param or before)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tested then is exactness, however slow the machine is."""
    monkeypatch.setattr(machine, "PATIENCE", 30.0)


@pytest.mark.usefixtures("_switching", "_patient")
def test_threads_together_never_exceed_a_limit(limiter: MachineLimiter) -> None:
    """16 threads with 8 hits each against a limit of 50 get exactly 50 through, whenever they are interrupted."""
    rounds = 20
    wide = counter("wide", 100_000, 60)
    together = Barrier(16, timeout=20)

    def client() -> list[int]:
        passed = []
        for number in range(rounds):
            together.wait()
            charges = (log(f"shared {number}", (50, 60)), wide)
            passed.append(sum(limiter.hit(charges).allowed for _ in range(8)))
        return passed

    with ThreadPoolExecutor(16) as pool:
        counted = [future.result() for future in [pool.submit(client) for _ in range(16)]]
    assert [sum(column) for column in zip(*counted, strict=True)] == [50] * rounds
    assert limiter.hit((wide,)).remaining == 100_000 - 50 * rounds - 1


WORKER = """
import asyncio, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from launchkit.pipeline.clock import SystemClock
from launchkit.pipeline.effects import Charge, Quota
from launchkit.rate_limit import machine
from launchkit.rate_limit.machine import MachineLimiter

machine.PATIENCE = 30.0
limiter = MachineLimiter((Path(sys.argv[1]),), SystemClock(), 1000)
print("ready", flush=True)

async def together(charges):
    return await asyncio.gather(*[limiter.ahit(charges) for _ in range(50)])

for name in sys.stdin:
    charges = (Charge(name, Quota(((50, 600.0),))), Charge("all", Quota(((10_000, 600.0),), exact=False)))
    if sys.argv[2] == "async":
        verdicts = asyncio.run(together(charges))
    else:
        with ThreadPoolExecutor(8) as pool:
            verdicts = list(pool.map(lambda _: limiter.hit(charges), range(50)))
    print(sum(verdict.allowed for verdict in verdicts), flush=True)
"""

HAMMER = """
import os, sys
from pathlib import Path
from launchkit.pipeline.clock import SystemClock
from launchkit.pipeline.effects import Charge, Quota
from launchkit.rate_limit import machine
from launchkit.rate_limit.machine import MachineLimiter

machine.PATIENCE = 30.0
limiter = MachineLimiter((Path(sys.argv[1]),), SystemClock(), 1000)
few, many = Charge(sys.argv[2], Quota(((64, 600.0),))), Charge("many", Quota(((10**9, 600.0),), exact=False))
os.write(1, b"ready\\n")
while True:
    if limiter.hit((few,)).allowed:
        os.write(1, b"1")
    limiter.refund(limiter.hit((many,)).token)
    limiter.hit((Charge(f"{os.urandom(3)}", few.quota),))
"""

FORKER = """
import os, sys
from pathlib import Path
from launchkit.pipeline.clock import SystemClock
from launchkit.pipeline.effects import Charge, Quota
from launchkit.rate_limit.machine import MachineLimiter

limiter = MachineLimiter((Path(sys.argv[1]),), SystemClock(), 1000)
charge = Charge("a", Quota(((3, 600.0),)))
assert limiter.hit((charge,)).remaining == 2
child = os.fork()
if child == 0:
    os._exit(0 if limiter.hit((charge,)).remaining == 1 else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert limiter.hit((charge,)).remaining == 0
assert not limiter.hit((charge,)).allowed
"""


def start(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        bufsize=0,
    )


@pytest.mark.usefixtures("_patient")
class TestProcesses:
    @pytest.mark.parametrize("colours", [["sync"] * 4, ["async"] * 4, ["sync", "async"] * 2], ids="-".join)
    def test_together_they_never_exceed_a_limit(self, place: Path, colours: list[str]) -> None:
        """200 hits of four processes at once against a limit of 50 get exactly 50 through, in every trial."""
        workers = [start(WORKER, str(place), colour) for colour in colours]
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == b"ready\n"
        for number in range(30):
            for worker in workers:
                assert worker.stdin is not None
                worker.stdin.write(b"trial %d\n" % number)
            assert sum(int(worker.stdout.readline()) for worker in workers if worker.stdout is not None) == 50
        for worker in workers:
            worker.communicate(timeout=30)
            assert worker.returncode == 0
        limiter = MachineLimiter((place,), SystemClock(), 1000)
        assert limiter.hit((counter("all", 10_000, 600.0),)).remaining == 10_000 - 30 * 50 - 1

    def test_a_killed_one_leaves_the_others_counting(self, place: Path) -> None:
        """SIGKILL in the midst of hits, many times: the next hit of another passes, and no hit is forgotten."""
        limiter = MachineLimiter((place,), SystemClock(), 1000)
        for number in range(4):
            workers = [start(HAMMER, str(place), f"few {number}") for _ in range(2)]
            for worker in workers:
                assert worker.stdout is not None
                assert worker.stdout.readline() == b"ready\n"
            reported = 0
            for which, worker in enumerate(workers):
                worker.send_signal(signal.SIGKILL)
                reported += worker.communicate()[0].count(b"1")
                assert allowed(limiter, log(f"after {number} {which}", (1, 600.0)))
            while allowed(limiter, log(f"few {number}", (64, 600.0))):
                reported += 1
            assert 64 - len(workers) <= reported <= 64  # each was killed before it could report one hit at most

    def test_both_sides_of_a_fork_count_on(self, place: Path) -> None:
        """A limiter that was in use before a fork works on both sides of it."""
        process = start(FORKER, str(place))
        process.communicate(timeout=30)
        assert process.returncode == 0
