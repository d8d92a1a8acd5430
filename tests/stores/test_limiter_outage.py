"""The server goes and comes while hits are under way: each gets a verdict or `StoreDown`, soon, and counts go on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.stores.valkey_server import ValkeyServer

from launchkit.pipeline.clock import SystemClock
from launchkit.pipeline.effects import Charge, Quota, StoreDown, Verdict
from launchkit.rate_limit.redis import RedisLimiter
from launchkit.stores.redis import RedisConnections

pytestmark = [pytest.mark.real_server, pytest.mark.real_time]

CHARGE = Charge("a", Quota(((1_000_000, 3600.0),)))
CEILING = 2.0
"""Seconds that no hit may take, on however busy a machine."""
PATIENCE = 20.0
PAUSE = 0.005
"""Seconds that a refused client rests, as one that tried again at once would leave no time for the others."""

Outcome = tuple[float, Verdict | StoreDown]


class Run:
    """Four clients of one limiter that hit it until told to stop."""

    def __init__(self, limiter: RedisLimiter) -> None:
        self.limiter = limiter
        self.outcomes: list[Outcome] = []
        self.stopped = False

    def note(self, started: float, outcome: Verdict | StoreDown) -> None:
        self.outcomes.append((time.monotonic() - started, outcome))

    def hit(self) -> None:
        while not self.stopped:
            started = time.monotonic()
            try:
                self.note(started, self.limiter.hit((CHARGE,)))
            except StoreDown as error:
                self.note(started, error)
                time.sleep(PAUSE)

    async def ahit(self) -> None:
        while not self.stopped:
            started = time.monotonic()
            try:
                self.note(started, await self.limiter.ahit((CHARGE,)))
            except StoreDown as error:
                self.note(started, error)
                await asyncio.sleep(PAUSE)

    async def ahit_by_four(self) -> None:
        await asyncio.gather(*(self.ahit() for _ in range(4)))
        await self.limiter._connections.aclose()

    def wait_for(self, kind: type, count: int = 20) -> None:
        """Wait until so many more hits came out like this."""
        deadline = time.monotonic() + PATIENCE
        before = len(self.outcomes)
        while sum(isinstance(outcome, kind) for _, outcome in self.outcomes[before:]) < count:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def kill(valkey: ValkeyServer) -> None:
    valkey.kill()


def freeze(valkey: ValkeyServer) -> None:
    valkey.freeze()


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize(
    ("stop", "start"), [(kill, ValkeyServer.start), (freeze, ValkeyServer.thaw)], ids=["killed", "frozen"]
)
def test_hits_go_on_through_an_outage(
    valkey: ValkeyServer,
    colour: str,
    stop: Callable[[ValkeyServer], None],
    start: Callable[[ValkeyServer], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No hit raises anything else or waits for long; one line tells of each change; afterwards the server counts."""
    connections = RedisConnections(valkey.url, SystemClock())
    run = Run(RedisLimiter(connections))
    with ThreadPoolExecutor(4) as pool:
        if colour == "sync":
            futures = [pool.submit(run.hit) for _ in range(4)]
        else:
            futures = [pool.submit(asyncio.run, run.ahit_by_four())]
        try:
            run.wait_for(Verdict)
            stop(valkey)
            run.wait_for(StoreDown)
            assert connections.breaker.is_down
            start(valkey)
            run.wait_for(Verdict)
            assert not connections.breaker.is_down
        finally:
            run.stopped = True
        for future in futures:
            future.result(PATIENCE)
    connections.close()
    assert max(seconds for seconds, _ in run.outcomes) < CEILING
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]
    remaining = [outcome.remaining for _, outcome in run.outcomes if isinstance(outcome, Verdict)]
    if stop is freeze:  # what was counted stays counted; a hit whose answer came too late may have been, too
        assert len(remaining) == len(set(remaining))
