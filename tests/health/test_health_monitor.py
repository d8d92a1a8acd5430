"""Running checks: in both colours, with checks that fail, hang and come late."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

import pytest
from tests.health.harness import Colour, Harness

from launchkit.background import ThreadPool
from launchkit.errors import LaunchKitError
from launchkit.health.checks import HealthCheck
from launchkit.health.monitor import HealthMonitor
from launchkit.settings import HealthSettings
from launchkit.testing import FrozenClock

both_colours = pytest.mark.parametrize("colour", ["sync", "async"])

HANG = 0.02
"""Seconds of time-out in tests where a check hangs."""


class Hanging:
    """A check that says that it has begun and goes on only when told how to end."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self._told = threading.Event()
        self._outcome: object = None
        self.calls = 0

    def __call__(self) -> object:
        self.calls += 1
        self.begun.set()
        assert self._told.wait(10)
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome

    def end(self, outcome: object = None) -> None:
        self._outcome = outcome
        self._told.set()


def answering(value: object) -> Callable[[], object]:
    return lambda: value


def raising(error: BaseException) -> Callable[[], object]:
    def check() -> object:
        raise error

    return check


def made_async(check: Callable[[], object]) -> Callable[[], Coroutine[Any, Any, object]]:
    async def async_check() -> object:
        return check()

    return async_check


class AsyncCallable:
    async def __call__(self) -> bool:
        return True


def in_thread(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function)
    thread.start()
    return thread


# --- outcomes -----------------------------------------------------------------------------------------------------


def test_two_checks_may_not_share_a_name() -> None:
    """The second one is refused with the name and the remedy."""
    harness = Harness()
    harness.check(answering(None), "database")

    with pytest.raises(LaunchKitError, match="'database' already: give this one another name"):
        harness.check(answering(None), "database")


@both_colours
@pytest.mark.parametrize("wrap", [answering, lambda value: made_async(answering(value))], ids=["sync", "async"])
@pytest.mark.parametrize("value", [None, True, (1,), "PONG"])
def test_a_check_passes_unless_it_says_false(colour: Colour, wrap: Callable[..., Any], value: object) -> None:
    """None, True and what a driver returns are all fine."""
    harness = Harness()
    harness.check(wrap(value))

    result = harness.probe(colour)

    assert (result.name, result.status, result.error) == ("database", "pass", None)


@both_colours
@pytest.mark.parametrize(
    "check",
    [AsyncCallable(), functools.partial(AsyncCallable()), lambda: AsyncCallable()(), functools.partial(bool, 1)],
    ids=["callable object", "partial", "lambda that returns a coroutine", "partial of a type"],
)
def test_whatever_can_be_called_can_be_a_check(colour: Colour, check: Callable[[], object]) -> None:
    """What turns out to be awaitable is awaited, on the loop."""
    harness = Harness()
    harness.check(check)

    assert harness.probe(colour).status == "pass"


@both_colours
@pytest.mark.parametrize("wrap", [lambda check: check, made_async], ids=["sync", "async"])
@pytest.mark.parametrize(
    ("check", "shown"),
    [
        (answering(False), "returned False"),
        (raising(ConnectionRefusedError("owner@host")), "ConnectionRefusedError"),
        (raising(asyncio.CancelledError()), "CancelledError"),
        (raising(SystemExit(1)), "SystemExit"),
    ],
    ids=["false", "error", "cancelled", "exit"],
)
def test_a_failure_is_shown_by_its_class(
    colour: Colour, wrap: Callable[..., Any], check: Callable[[], object], shown: str
) -> None:
    """No message, and no exception that ends a thread or the loop."""
    harness = Harness(failures=1)
    harness.check(wrap(check))

    result = harness.probe(colour)

    assert (result.status, result.error) == ("fail", shown)
    harness.clock.advance(10)
    assert harness.probe(colour).error == shown


def test_an_exhausted_iterator_is_a_failure_like_any_other() -> None:
    """StopIteration cannot travel in a future, and does not have to."""
    harness = Harness()
    harness.check(lambda: next(iter(())))

    assert harness.probe().error == "StopIteration"


def test_a_result_tells_when_it_was_seen() -> None:
    """The time is the wall clock's, whenever it is asked for."""
    harness = Harness()
    harness.check(answering(None))
    seen = harness.clock.time()

    assert harness.monitor.results()[0].observed_at is None
    harness.probe()
    harness.clock.advance(5)

    assert harness.monitor.results()[0].observed_at == seen


# --- where and when -----------------------------------------------------------------------------------------------


@both_colours
def test_sync_checks_run_in_the_threads_of_the_kit(colour: Colour) -> None:
    """Never on an event loop."""
    threads = []
    harness = Harness()
    harness.check(lambda: threads.append(threading.current_thread().name))

    harness.probe(colour)

    assert threads == ["launchkit-pool"]


@both_colours
def test_checks_run_at_the_same_time(colour: Colour) -> None:
    """Each of these waits for the others: one after another they would never end."""
    meeting = threading.Barrier(3)
    harness = Harness()
    for name in ("one", "two", "three"):
        harness.check(lambda: meeting.wait(10) and None, name)

    harness.probe(colour)

    assert [result.status for result in harness.monitor.results()] == ["pass"] * 3


@both_colours
def test_an_outcome_is_used_again_for_an_interval(colour: Colour) -> None:
    """However many probes come, a check runs once an interval, failed or not."""
    calls: list[None] = []
    harness = Harness(interval=10)
    harness.check(lambda: bool(calls.append(None)))

    for _ in range(5):
        harness.probe(colour)
    assert len(calls) == 1

    harness.clock.advance(9.9)
    assert harness.probe(colour).status == "warn"
    assert len(calls) == 1

    harness.clock.advance(0.1)
    harness.probe(colour)
    assert len(calls) == 2


def test_probes_at_the_same_time_share_one_run() -> None:
    """A crowd of probes asks the database once, and all of them wait for its answer."""
    check = Hanging()
    harness = Harness(timeout=30)
    harness.check(check)
    answers: list[str] = []

    async def async_crowd() -> None:
        await asyncio.gather(*(harness.monitor.aprobe() for _ in range(5)))
        answers.append(harness.monitor.results()[0].status)

    crowd = [in_thread(lambda: answers.append(harness.probe().status)) for _ in range(5)]
    crowd.append(in_thread(lambda: asyncio.run(async_crowd())))
    assert check.begun.wait(10)
    check.end()
    for thread in crowd:
        thread.join(10)

    assert check.calls == 1
    assert answers == ["pass"] * 6


def test_the_event_loop_goes_on_while_sync_checks_run() -> None:
    """On the loop that serves requests, where the check's end depends on that loop."""

    async def main() -> str:
        loop = asyncio.get_running_loop()
        check = Hanging()
        monitor = HealthMonitor(
            HealthSettings(timeout=30),
            FrozenClock(),
            ThreadPool(2).submit,
            lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop),
        )
        monitor.checks.add(HealthCheck("database", check))
        probe = asyncio.create_task(monitor.aprobe())
        await asyncio.to_thread(check.begun.wait, 10)
        check.end()
        await probe
        return monitor.results()[0].status

    assert asyncio.run(main()) == "pass"


def test_without_checks_there_is_nothing_to_wait_for() -> None:
    """A probe of nothing returns."""
    harness = Harness()

    harness.monitor.probe()
    asyncio.run(harness.monitor.aprobe())

    assert harness.monitor.results() == []


# --- time-outs ----------------------------------------------------------------------------------------------------


@both_colours
def test_a_check_that_hangs_is_a_failure_at_the_time_out(colour: Colour) -> None:
    """The probe is answered although the check is not."""
    check = Hanging()
    harness = Harness(timeout=HANG, failures=1)
    harness.check(check)

    result = harness.probe(colour)

    assert (result.status, result.error) == ("fail", "TimeoutError")
    check.end()
    harness.settle()


def test_a_late_success_heals() -> None:
    """A check that takes longer than the time-out goes on, and its success counts when it comes."""
    check = Hanging()
    harness = Harness(timeout=HANG, failures=1)
    harness.check(check)
    assert harness.probe().status == "fail"

    harness.clock.advance(2.3)
    check.end()
    result = harness.settle()

    assert (result.status, result.error, result.seconds) == ("pass", None, pytest.approx(2.3))


def test_a_late_success_is_used_for_an_interval() -> None:
    """The next run is due an interval after the late end, not after the beginning."""
    check = Hanging()
    harness = Harness(timeout=HANG, interval=10)
    harness.check(check)
    harness.probe()
    harness.clock.advance(9)
    check.end()
    harness.settle()

    harness.clock.advance(9)
    harness.probe()
    assert check.calls == 1
    harness.clock.advance(1)
    harness.probe()
    harness.settle()
    assert check.calls == 2


def test_a_late_failure_counts_once() -> None:
    """It was counted at the time-out; what changes is the reason."""
    check = Hanging()
    harness = Harness(timeout=HANG, failures=2)
    harness.check(check)
    harness.probe()

    check.end(ConnectionResetError())
    result = harness.settle()

    assert (result.status, result.error) == ("warn", "ConnectionResetError")


def test_a_check_that_goes_on_hanging_fails_once_an_interval_and_runs_once() -> None:
    """A check that never returns must not warn for ever, nor pile up."""
    check = Hanging()
    harness = Harness(timeout=HANG, failures=3, interval=10)
    harness.check(check)
    statuses = []
    for _ in range(3):
        statuses += [harness.probe().status, harness.probe().status]
        harness.clock.advance(10)

    assert statuses == ["warn", "warn", "warn", "warn", "fail", "fail"]
    assert check.calls == 1
    check.end()
    assert harness.settle().status == "pass"


def test_who_joins_a_run_waits_only_for_what_is_left_of_its_time() -> None:
    """The time-out is the check's, not the prober's."""
    check = Hanging()
    harness = Harness(timeout=60)
    harness.check(check)
    first = in_thread(harness.probe)
    assert check.begun.wait(10)

    harness.clock.advance(61)

    assert harness.probe().error == "TimeoutError"
    check.end()
    first.join(10)
    assert harness.settle().status == "pass"


def test_a_check_goes_on_when_its_prober_goes_away() -> None:
    """A cancelled probe cancels no check: the next one finds its outcome."""
    check = Hanging()
    harness = Harness(timeout=60)
    harness.check(check)

    async def main() -> None:
        probe = asyncio.create_task(harness.monitor.aprobe())
        await asyncio.to_thread(check.begun.wait, 10)
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        check.end()
        await harness.monitor.aprobe()

    asyncio.run(main())

    assert harness.settle().status == "pass"
    assert check.calls == 1


# --- starting and stopping ------------------------------------------------------------------------------------------


def test_the_grace_period_begins_with_the_start() -> None:
    """Failures count during it, and show when it is over."""
    harness = Harness(grace=60, failures=1)
    harness.check(answering(False))
    harness.clock.advance(100)
    harness.monitor.start()

    assert harness.probe().status == "warn"
    harness.clock.advance(59)
    assert harness.probe().status == "warn"
    harness.clock.advance(1)
    assert harness.probe().status == "fail"


def test_a_start_forgets_everything_before() -> None:
    """Also a run that still hangs: a new one begins, and the late end of the old one changes nothing."""
    old, new = Hanging(), Hanging()
    checks = iter([old, new])
    harness = Harness(timeout=HANG, failures=1)
    harness.check(lambda: next(checks)())
    assert harness.probe().status == "fail"

    harness.monitor.start()
    assert harness.monitor.results()[0].status == "warn"
    assert harness.probe().error == "TimeoutError"
    assert new.begun.wait(10)
    old.end()
    harness.runs[0].result(10)

    assert harness.monitor.results()[0].status == "fail"
    new.end()
    assert harness.settle().status == "pass"


def test_a_loop_that_is_gone_is_a_failure_and_no_error() -> None:
    """While the app stops, probes are still answered."""

    def run_on_closed_loop(coroutine: Coroutine[Any, Any, None]) -> Future[None]:
        raise RuntimeError("Event loop is closed")

    monitor = HealthMonitor(HealthSettings(grace=0), FrozenClock(), ThreadPool(1).submit, run_on_closed_loop)
    monitor.checks.add(HealthCheck("database", answering(None)))

    monitor.probe()

    assert [(result.status, result.error) for result in monitor.results()] == [("warn", "RuntimeError")]
