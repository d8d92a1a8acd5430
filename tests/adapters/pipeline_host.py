"""The bare apps with interceptors of a test's own, in both colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.clients import AsgiClient, Reply, WsgiClient
from tests.support.targets import World, raw_asgi, raw_wsgi

from launchkit.adapters.asgi import AsgiAdapter
from launchkit.adapters.wsgi import WsgiAdapter
from launchkit.health.monitor import HealthMonitor
from launchkit.pipeline.effects import Backends
from launchkit.pipeline.interceptor import Interceptor, Planner
from launchkit.pipeline.pipeline import Failures, Pipeline
from launchkit.rate_limit.memory import MemoryLimiter
from launchkit.settings import HealthSettings
from launchkit.webhooks.inbox.inbox import Inbox
from launchkit.webhooks.inbox.room import Room
from launchkit.webhooks.inbox.sqlite import SqliteDatabase
from launchkit.webhooks.inbox.writer import Writer


def _nowhere(*_: object) -> Any:
    raise AssertionError("there are no checks to run")


class PipelineHost:
    """A `Host` whose pipeline has just these interceptors."""

    def __init__(self, name: str, interceptors: Sequence[Interceptor], folder: Path) -> None:
        self.world = World()
        self.failures = Failures()
        limiter = MemoryLimiter(self.world.clock, 1_000)
        path = folder / "inbox.sqlite3"
        self.inbox = Inbox(
            Writer(str(path), lambda: SqliteDatabase(path, self.world.clock)),
            Room(1_000, 0, lambda: None, self.world.clock.monotonic),
        )
        backends = Backends(
            limiter=limiter,
            local_limiter=limiter,
            responses=_nowhere,  # type: ignore[arg-type]  # nobody asks for any
            inbox=self.inbox,
            prober=HealthMonitor(HealthSettings(), self.world.clock, _nowhere, _nowhere),
        )
        self.pipeline: Pipeline | None = Pipeline(Planner(interceptors), backends, self.failures, self.world.clock)
        self.is_async = name == "asgi"
        self.client: Any = (
            AsgiClient(AsgiAdapter(raw_asgi(self.world), self))
            if self.is_async
            else WsgiClient(WsgiAdapter(raw_wsgi(self.world), self))
        )
        self.world.reply = lambda: self.client.reply

    def start(self) -> Pipeline:
        assert self.pipeline is not None
        return self.pipeline

    async def astart(self) -> None:
        self.world.seen.append("started")

    async def astop(self) -> None:
        self.world.seen.append("stopped")

    def request(self, *args: Any, **kwargs: Any) -> Reply:
        reply: Reply = self.client.request(*args, **kwargs)
        return reply

    def close(self) -> None:
        self.inbox.close()
        self.client.close()
