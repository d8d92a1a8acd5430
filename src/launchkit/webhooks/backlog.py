"""How much is waiting, for health and metrics: in the inbox, and in queues of the app's own.

A backlog that grows old is the first sign that work is not done, long before anybody complains; so it is its age that
makes a check fail, not its size. A dead letter makes one fail until it is replayed or discarded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from launchkit.pipeline.clock import Clock
from launchkit.webhooks.inbox.archive import Archive, Backlog

logger = logging.getLogger(__name__)

Depth = tuple[int, float | None]
"""How many wait, and for how many seconds the oldest has; None if nobody knows or none waits."""


class BacklogTooOld(Exception):
    """Something has been waiting for longer than it should."""


class DeadLetters(Exception):
    """Some deliveries have used up their attempts."""


class InboxBacklog:
    """What waits in the inbox.

    Args:
        archive: says.
        alert_age: seconds that a delivery may be overdue.
        clock: the time.
    """

    REFRESH: Final = 10.0
    """Seconds for which what is known is good enough for metrics."""

    def __init__(self, archive: Archive, alert_age: float, clock: Clock) -> None:
        self._archive = archive
        self._alert_age = alert_age
        self._clock = clock
        self._asked_at = -self.REFRESH
        self._latest: Backlog | None = None

    def latest(self) -> Backlog | None:
        """Return what was last known, and ask anew if that is a while ago; never waits."""
        now = self._clock.monotonic()
        if now - self._asked_at >= self.REFRESH:
            self._asked_at = now
            self._archive.backlog().add_done_callback(
                lambda future: None if future.exception() else self._keep(future.result())
            )
        return self._latest

    def age(self, backlog: Backlog) -> float:
        """Return for how many seconds the longest overdue delivery has waited."""
        return 0.0 if backlog.oldest_due is None else max(0.0, self._clock.time() - backlog.oldest_due)

    async def check(self) -> None:
        """Be a health check. Raises `StoreDown` too."""
        backlog = await asyncio.wrap_future(self._archive.backlog())
        self._keep(backlog)
        if self.age(backlog) > self._alert_age:
            raise BacklogTooOld
        if backlog.dead:
            raise DeadLetters

    def _keep(self, backlog: Backlog) -> None:
        self._latest = backlog


@dataclass(slots=True)
class WatchedQueue:
    """A queue of the app's own.

    Args:
        name: what it is called in health and metrics.
        depth: asks it; may block, and may raise.
        alert_age: seconds that something may wait in it.
    """

    name: str
    depth: Callable[[], Depth]
    alert_age: float
    latest: Depth | None = None
    """What it said last."""

    def check(self) -> None:
        """Be a health check. Raises what asking raises."""
        depth, age = self.depth()
        self.latest = depth, age
        if age is not None and age > self.alert_age:
            raise BacklogTooOld
