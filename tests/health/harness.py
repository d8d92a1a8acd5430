"""A monitor with real threads and a real loop, a clock that stands still, and endpoints asked in either colour."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from typing import Any, Literal, cast

from tests.support.exchanges import WrittenExchange
from tests.support.performing import acarried_out, carried_out

from launchkit.background import LoopThread, ThreadPool
from launchkit.health.checks import HealthCheck
from launchkit.health.interceptor import Health
from launchkit.health.monitor import CheckResult, HealthMonitor
from launchkit.pipeline.effects import AsyncBodyReader, Backends, BodyReader, Inbox, Limiter, ResponseStore
from launchkit.pipeline.exchange import EarlyResponse
from launchkit.pipeline.interceptor import Planner
from launchkit.settings import HealthSettings
from launchkit.testing import FrozenClock

Colour = Literal["sync", "async"]


class Harness:
    """Health, put together as the kit does."""

    def __init__(self, **settings: object) -> None:
        self.clock = FrozenClock()
        self.settings = HealthSettings.model_validate({"grace": 0, **settings})
        self.runs: list[Future[None]] = []
        self.loop_thread = LoopThread()
        self.monitor = HealthMonitor(self.settings, self.clock, ThreadPool(8).submit, self._run_on_loop)
        self.known = False
        self.release: str | None = None
        self.details: Callable[[], Mapping[str, object]] = dict

    def _run_on_loop(self, coroutine: Coroutine[Any, Any, None]) -> Future[None]:
        self.runs.append(self.loop_thread.run(coroutine))
        return self.runs[-1]

    def check(self, function: Callable[[], object], name: str = "database", *, required: bool = True) -> None:
        """Register a check."""
        self.monitor.checks.add(HealthCheck(name, function, required))

    def probe(self, colour: Colour = "sync") -> CheckResult:
        """Probe in one colour and return the first check's result."""
        if colour == "sync":
            self.monitor.probe()
        else:
            asyncio.run(self.monitor.aprobe())
        return self.monitor.results()[0]

    def settle(self) -> CheckResult:
        """Wait for every run to end, and return the first check's result."""
        for run in self.runs:
            run.result(10)
        return self.monitor.results()[0]

    def health(self) -> Health:
        """Return the interceptor for what is known and shown now."""
        return Health(self.settings, self.monitor, lambda exchange: self.known, self.release, self.details)

    def ask(self, path: str, method: str = "GET", colour: Colour = "sync") -> EarlyResponse:
        """Send a request through the plan of its path."""
        (hook,) = Planner([self.health()]).plan(method, path).on_request
        answer = hook(WrittenExchange(method, path))
        if not isinstance(answer, EarlyResponse) and answer is not None:
            backends = Backends(
                limiter=cast("Limiter", None),
                local_limiter=cast("Limiter", None),
                responses=cast("ResponseStore", None),
                inbox=cast("Inbox", None),
                prober=self.monitor,
            )
            if colour == "sync":
                answer = carried_out(answer, backends, cast("BodyReader", None))
            else:
                answer = asyncio.run(acarried_out(answer, backends, cast("AsyncBodyReader", None)))
        assert answer is not None
        return answer
