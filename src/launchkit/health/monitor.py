"""Runs the checks that are due, each at most once at a time, and waits for them no longer than a probe can.

A check that outlives the time-out is not cancelled: a database whose first connection takes longer than the time-out
would otherwise never be reached. It goes on in the background and its outcome is taken when it comes. Synchronous
checks run in the kit's threads, so that they cannot hold up the event loop.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from launchkit.health.checks import CheckFunction, HealthCheck, HealthChecks
from launchkit.health.history import TIMED_OUT, CheckHistory, Status
from launchkit.pipeline.clock import Clock
from launchkit.settings import HealthSettings

RunInThread = Callable[[Callable[[], object]], concurrent.futures.Future[object]]
RunOnLoop = Callable[[Coroutine[object, object, None]], concurrent.futures.Future[None]]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The latest outcome of one check."""

    name: str
    status: Status
    error: str | None
    """What the failure is called, or None after a success."""
    seconds: float
    """How long the check took."""
    observed_at: float | None
    """When that was, in seconds since 1970; None before the first run."""


@dataclass(slots=True, eq=False)
class _Watched:
    """A check, what is remembered of it, and its run if one is under way."""

    check: HealthCheck
    history: CheckHistory = field(default_factory=CheckHistory)
    run: concurrent.futures.Future[None] | None = None
    started: float = 0.0
    given_up: bool = False


class HealthMonitor:
    """Knows how the app's checks are doing. Safe to use from several threads and loops at once.

    `run_in_thread` and `run_on_loop` are where checks run; the loop has to be one that goes on between requests. After
    `start` everything remembered is forgotten and the grace period begins anew.
    """

    def __init__(
        self, settings: HealthSettings, clock: Clock, run_in_thread: RunInThread, run_on_loop: RunOnLoop
    ) -> None:
        self.checks = HealthChecks()
        self._settings = settings
        self._clock = clock
        self._run_in_thread = run_in_thread
        self._run_on_loop = run_on_loop
        self._lock = threading.Lock()
        self.start()

    def start(self) -> None:
        """Begin anew, as after a restart."""
        with self._lock:
            self._started = self._clock.monotonic()
            self._watched: dict[str, _Watched] = {}

    def probe(self) -> None:
        """Run what is due and wait for it, at most `settings.timeout` seconds."""
        runs, patience = self._launch()
        concurrent.futures.wait(runs.values(), patience)
        self._give_up(runs)

    async def aprobe(self) -> None:
        """Run what is due and wait for it, at most `settings.timeout` seconds."""
        runs, patience = self._launch()
        if runs:
            await asyncio.wait([asyncio.wrap_future(run) for run in runs.values()], timeout=patience)
        self._give_up(runs)

    def results(self) -> list[CheckResult]:
        """Return the latest outcome of every check, without running any."""
        now = self._clock.monotonic()
        with self._lock:
            return [self._result(watched, now) for watched in self._watch()]

    def _launch(self) -> tuple[dict[_Watched, concurrent.futures.Future[None]], float]:
        """Start what is due; return the runs worth waiting for, and for how many seconds they are."""
        now = self._clock.monotonic()
        with self._lock:
            for watched in self._watch():
                if watched.history.is_due(now, self._settings.interval):
                    self._begin(watched, now)
            runs = {
                watched: watched.run
                for watched in self._watched.values()
                if watched.run is not None and not watched.given_up
            }
        latest = max((watched.started for watched in runs), default=now)
        return runs, max(0.0, latest + self._settings.timeout - now)

    def _watch(self) -> list[_Watched]:
        return [self._watched.setdefault(check.name, _Watched(check)) for check in self.checks]

    def _begin(self, watched: _Watched, now: float) -> None:
        if watched.run is None:
            watched.started = now
            watched.given_up = False
            watched.run = self._submit(watched)
        elif watched.given_up:
            watched.history.observe(TIMED_OUT, now, now - watched.started)

    def _submit(self, watched: _Watched) -> concurrent.futures.Future[None] | None:
        work = self._work(watched)
        try:
            return self._run_on_loop(work)
        except RuntimeError as error:  # the loop has been closed: the app is stopping
            work.close()
            watched.history.observe(type(error).__name__, watched.started, 0.0)
            return None

    async def _work(self, watched: _Watched) -> None:
        error = await self._error_of(watched.check.function)
        now = self._clock.monotonic()
        with self._lock:
            watched.history.observe(error, now, now - watched.started, counted=watched.given_up)
            watched.run = None

    async def _error_of(self, function: CheckFunction) -> str | None:
        """Run a check; return what its failure is called, or None."""
        result: object
        try:
            if inspect.iscoroutinefunction(function):
                result = await function()
            else:
                result = await asyncio.wrap_future(self._run_in_thread(lambda: _call(function)))
                if inspect.isawaitable(result):
                    result = await result
        except BaseException as error:  # noqa: BLE001  # each means that it failed, and none may end the loop
            return type(error).__name__
        if isinstance(result, BaseException):
            return type(result).__name__
        return "returned False" if result is False else None

    def _give_up(self, runs: dict[_Watched, concurrent.futures.Future[None]]) -> None:
        """Count what is still running as failed."""
        now = self._clock.monotonic()
        with self._lock:
            for watched, run in runs.items():
                if watched.run is run and not watched.given_up:
                    watched.given_up = True
                    watched.history.observe(TIMED_OUT, now, now - watched.started)

    def _result(self, watched: _Watched, now: float) -> CheckResult:
        history = watched.history
        in_grace = now - self._started < self._settings.grace
        return CheckResult(
            name=watched.check.name,
            status=history.status(self._settings, required=watched.check.required, in_grace=in_grace),
            error=history.error,
            seconds=history.seconds,
            observed_at=None if history.observed is None else self._clock.time() - (now - history.observed),
        )


def _call(function: CheckFunction) -> object:
    """Return what a check returns or raises: not every exception survives the way through a future."""
    try:
        return function()
    except BaseException as error:  # noqa: BLE001  # a check that exits must not end the thread or the loop
        return error
