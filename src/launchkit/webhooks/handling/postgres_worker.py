"""Takes deliveries out of an inbox in PostgreSQL, told by pgqueuer which one is due, whoever has stored it.

The rules:

- pgqueuer carries numbers and wakes up; the inbox decides. A job of pgqueuer's asks the inbox for its delivery, and is
  over when that was handled, whatever came of it: a further attempt is another job, announced by the inbox.
- A job that was not seen to its end is left alone. When it has had no sign of life for `lease` seconds, pgqueuer gives
  it to another worker, who finds in the inbox what there is to do.
- Nothing is lost with pgqueuer's tables: every `lease` seconds the inbox announces again what should have been taken.
- A worker takes deliveries of sources that it has handlers for, the others stay for one that has.
- A delivery whose lease has ended may have killed the process that held it. Of such only one is handled at a time, so
  that a poison message does not use up the attempts of those beside it; the others are announced again.
- When the connection breaks or no answer comes, another is made after a pause, and handlers that run meanwhile run on.

This is a loop of its own over pgqueuer's queries. `QueueManager` wakes ten times a second when there is nothing to do,
has every query wait behind its listening, and when its connection is lost it ends no sooner than the last handler.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import uuid
from collections.abc import Callable, Collection
from typing import Final

import psycopg
from pgqueuer.models import Job

from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import StoreDown
from launchkit.settings import WebhookSettings
from launchkit.webhooks.delivery import Delivery
from launchkit.webhooks.handling.attempts import Handling, ignore, name
from launchkit.webhooks.handling.postgres_queue import JobQueue, connected, wait_for
from launchkit.webhooks.inbox.archive import Archive
from launchkit.webhooks.inbox.inbox import Inbox
from launchkit.webhooks.inbox.leases import Claim
from launchkit.webhooks.inbox.postgres import conninfo

logger = logging.getLogger(__name__)


class PostgresWorker:
    """Handles the deliveries of one inbox, from `run` until `stop`; it does not run twice.

    Args:
        url: of the inbox's database.
        inbox: where the deliveries are.
        archive: the same, for forgetting what is old.
        handling: what is done with them.
        sources: those that there are handlers for now.
        settings: retry schedule, lease and concurrency.
        clock: the time.
        random_fraction: between 0 and 1, for jitter.
        on_dead: is told of what was found with its attempts used up.

    Raises:
        SettingsError: if `url` is no address.
    """

    ANSWER_SECONDS: Final = 10.0
    """How long the server may take for one round of questions."""
    FIRST_PAUSE: Final = 0.5
    """Seconds before it is tried again; each further time waits twice as long."""
    LONGEST_PAUSE: Final = 30.0
    HOUSEKEEPING_INTERVAL: Final = 60.0
    """Seconds between looks for what is old enough to forget, and for what a clock that was set back would delay."""
    PRUNE_PAUSE: Final = 0.1
    """Seconds between two steps of forgetting, for those who wait for a commit."""
    RELEASE_SECONDS: Final = 2.0
    """How long `stop` waits for the store."""

    def __init__(
        self,
        url: str,
        inbox: Inbox,
        archive: Archive,
        handling: Handling,
        sources: Callable[[], Collection[str]],
        settings: WebhookSettings,
        clock: Clock,
        random_fraction: Callable[[], float] = random.random,
        on_dead: Callable[[Delivery], None] = ignore,
    ) -> None:
        self._on_dead = on_dead
        self._conninfo = conninfo(url)
        self._inbox = inbox
        self._archive = archive
        self._handling = handling
        self._lease = settings.lease
        self._concurrency = settings.concurrency
        self._attempts = len(settings.retry_delays) + 1
        self._sources = sources
        self._clock = clock
        self._random_fraction = random_fraction
        self._id = uuid.uuid4()
        self._tasks: dict[asyncio.Task[None], Job] = {}
        self._handled: list[Job] = []
        self._failures = 0
        self._keep_at = self._sweep_at = self._house_at = clock.monotonic()
        self._has_suspect = False
        self._woken = asyncio.Event()
        self._stopping = False
        self._ended = asyncio.Event()
        self._ended.set()

    async def run(self) -> None:
        """Handle deliveries until `stop`. A database that is down delays this and never ends it."""
        self._ended.clear()
        try:
            while not await self._connect_and_serve() and not self._is_over():
                await wait_for(self._woken, self._pause())
        except asyncio.CancelledError:
            self._ended.set()
            await self.stop(grace=0)
            raise
        finally:
            self._ended.set()

    def wake(self) -> None:
        """Do nothing: the database tells of what is stored."""

    async def stop(self, grace: float = 3.0) -> None:
        """Take nothing more, give handlers `grace` seconds, then cancel them, which gives their leases back."""
        self._stopping = True
        self._woken.set()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        late = tuple(self._tasks)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.RELEASE_SECONDS):
                await self._ended.wait()

    # --- the connection ----------------------------------------------------------------------------------------------

    async def _connect_and_serve(self) -> bool:
        """Serve until `stop`, or return False when something fails."""
        try:
            async with connected(self._conninfo, self._id, self._woken) as queue:
                await self._serve(queue)
        except (psycopg.Error, OSError, TimeoutError, StoreDown) as error:
            if self._failures == 0:
                logger.warning("the webhook worker has lost its database, and tries again: %s", error)
        except Exception:
            logger.exception("the webhook worker has a bug; it goes on")
        else:
            return True
        return False

    def _pause(self) -> float:
        """Return how many seconds to wait before it is tried again."""
        longest = min(self.FIRST_PAUSE * 2.0 ** min(self._failures, 10), self.LONGEST_PAUSE)
        self._failures += 1
        return longest * (1 + self._random_fraction()) / 2

    async def _serve(self, queue: JobQueue) -> None:
        while True:
            async with asyncio.timeout(self.ANSWER_SECONDS):
                seconds = await self._round(queue)
            if self._failures:
                self._failures = 0
                logger.warning("the webhook worker has its database back")
            if self._is_over() and not self._handled:
                return
            await queue.wait(seconds, listening=self._free() > 0)

    # --- one round ---------------------------------------------------------------------------------------------------

    async def _round(self, queue: JobQueue) -> float:
        """Tell pgqueuer what is over, start what is due, and return for how many seconds there is nothing to do."""
        handled, self._handled = self._handled, []
        await queue.finish(handled)
        sources = self._sources()
        await self._upkeep(queue, sources)
        due_in = await self._start_due(queue, sources) if sources else None
        until = min(self._keep_at, self._sweep_at, self._house_at) - self._clock.monotonic()
        return max(0.0, until if due_in is None else min(until, due_in))

    async def _upkeep(self, queue: JobQueue, sources: Collection[str]) -> None:
        """Give signs of life, and announce again what should have been taken, when it is time to."""
        now = self._clock.monotonic()
        if now >= self._keep_at:
            self._keep_at = now + self._lease / 3
            await queue.keep(self._tasks.values())
        if now >= self._sweep_at and sources:
            await asyncio.wrap_future(self._inbox.overdue(self._lease, sources=sources))
            await queue.forget_log()
            self._sweep_at = now + self._lease
        if now >= self._house_at:
            forgotten = await asyncio.wrap_future(self._archive.prune())
            await asyncio.wrap_future(self._inbox.set_right())
            self._house_at = now + (self.PRUNE_PAUSE if forgotten else self.HOUSEKEEPING_INTERVAL)

    async def _start_due(self, queue: JobQueue, sources: Collection[str]) -> float | None:
        """Start what is due, as far as there is place; return in how many seconds more will be."""
        due_in = None
        while (free := self._free()) > 0:
            due_in = await queue.next_due(sources)
            jobs = await queue.take(free, sources, self._lease)
            if not jobs:
                break
            if self._stopping:
                await queue.give_back(jobs)
                break
            for job in jobs:
                self._start(job)
        return due_in

    def _free(self) -> int:
        return 0 if self._stopping else self._concurrency - len(self._tasks)

    def _is_over(self) -> bool:
        return self._stopping and not self._tasks

    # --- one job -----------------------------------------------------------------------------------------------------

    def _start(self, job: Job) -> None:
        if any(running.id == job.id for running in self._tasks.values()):
            return  # its sign of life came late
        task = asyncio.create_task(self._handle(job))
        self._tasks[task] = job
        task.add_done_callback(self._finished)

    async def _handle(self, job: Job) -> None:
        row = int(job.payload or 0)
        claim = await self._take(row, take_over=False)
        if not claim.left:
            await self._handle_claim(claim)
        elif not self._has_suspect:
            self._has_suspect = True
            try:
                await self._handle_claim(await self._take(row, take_over=True))
            finally:
                self._has_suspect = False

    async def _take(self, row: int, *, take_over: bool) -> Claim:
        taking = self._inbox.take(row, lease=self._lease, attempts=self._attempts, take_over=take_over)
        return await asyncio.wrap_future(taking)

    async def _handle_claim(self, claim: Claim) -> None:
        for delivery in claim.dead:
            logger.error("%s is dead: none of its %d attempts came to an end", name(delivery), delivery.attempt)
            self._on_dead(delivery)
        for lease in claim.leased:
            await self._handling.handle(lease)

    def _finished(self, task: asyncio.Task[None]) -> None:
        job = self._tasks.pop(task)
        self._woken.set()
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._handled.append(job)
        elif not isinstance(error, StoreDown):  # the inbox has logged that
            logger.error("the webhook worker has a bug; it goes on", exc_info=error)
