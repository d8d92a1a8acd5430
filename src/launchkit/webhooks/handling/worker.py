"""Takes due deliveries out of the inbox and has them handled, again and again until they succeed.

The rules:

- At most `concurrency` deliveries are handled at a time.
- Several workers, in several processes, share an inbox: each takes what its free places allow.
- A worker that has not seen the store for half a lease takes over no lease until one more lease's time has passed: the
  store was down, the process was frozen or the clock was set forward, so that leases seem to have ended whose holders
  live and are about to extend them.
- A delivery whose lease has ended may have killed the process that held it. Of such only one is handled at a time, so
  that a poison message does not use up the attempts of those beside it.
- Neither a store that is down nor a bug of ours ends the worker.
- Everything runs on one event loop, which is never blocked: the inbox has a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import Future
from typing import Final

from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import StoreDown
from launchkit.settings import WebhookSettings
from launchkit.webhooks.delivery import Delivery, Lease
from launchkit.webhooks.handling.attempts import Handling, ignore, name
from launchkit.webhooks.handling.verdict import reason_of
from launchkit.webhooks.inbox.archive import Archive
from launchkit.webhooks.inbox.inbox import Inbox
from launchkit.webhooks.inbox.leases import Claim

logger = logging.getLogger(__name__)


class Worker:
    """Has the deliveries of one inbox handled, from `run` until `stop`; it does not run twice.

    Args:
        inbox: where the deliveries are.
        archive: the same, for forgetting what is old.
        handling: what is done with each.
        sources: tells whose deliveries have handlers here.
        settings: retry schedule, lease and concurrency.
        clock: the time.
        poll: seconds between looks for deliveries that are due again or that other processes stored; while there is
            nothing to do, half as often.
        on_dead: is told of what was found with its attempts used up.
    """

    LONGEST_BACK_OFF: Final = 30.0
    """Seconds between tries, at most, while the store is down."""
    HOUSEKEEPING_INTERVAL: Final = 60.0
    """Seconds between looks for what is old enough to forget, and for what a clock that was set back would delay."""
    PRUNE_PAUSE: Final = 0.1
    """Seconds between two steps of forgetting, for those who wait for a commit."""
    RELEASE_SECONDS: Final = 2.0
    """How long `stop` waits for the store."""

    def __init__(
        self,
        inbox: Inbox,
        archive: Archive,
        handling: Handling,
        sources: Callable[[], Collection[str]],
        settings: WebhookSettings,
        clock: Clock,
        poll: float = 1.0,
        on_dead: Callable[[Delivery], None] = ignore,
    ) -> None:
        self._inbox = inbox
        self._on_dead = on_dead
        self._archive = archive
        self._handling = handling
        self._sources = sources
        self._concurrency = settings.concurrency
        self._lease = settings.lease
        self._attempts = len(settings.retry_delays) + 1
        self._clock = clock
        self._poll = poll
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()
        self._prune_at = self._set_right_at = clock.monotonic()
        self._look_again_at = self._take_over_at = self._prune_at
        self._seen_at: float | None = None
        self._is_idle = False
        self._suspect: asyncio.Task[None] | None = None
        self._reported: set[str] = set()

    async def run(self) -> None:
        """Have deliveries handled until `stop`. A store that is down delays this and never ends it."""
        self._loop = asyncio.get_running_loop()
        self._ended.clear()
        failures = 0
        try:
            while not self._stopping.is_set():
                self._woken.clear()
                failures = 0 if await self._look() else failures + 1
                await self._sleep(failures)
        except asyncio.CancelledError:
            self._ended.set()
            await self.stop(grace=0)
            raise
        finally:
            self._ended.set()

    async def run_due(self) -> int:
        """Have everything handled that is due now; return how many deliveries that was. Raises `StoreDown`."""
        count = 0
        while True:
            was_busy = bool(self._tasks)
            found = await self._start_due()
            count += found
            if self._tasks:
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            elif not found and not was_busy:  # else those that have ended may have been in the way of others
                return count

    def wake(self) -> None:
        """Look for due deliveries now; from any thread."""
        if self._loop is not None and not self._woken.is_set():
            with contextlib.suppress(RuntimeError):  # the loop was closed
                self._loop.call_soon_threadsafe(self._woken.set)

    async def stop(self, grace: float = 3.0) -> None:
        """Claim nothing more, give handlers `grace` seconds, then cancel them, which gives their leases back."""
        self._stopping.set()
        self._woken.set()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        for task in self._tasks:
            task.cancel()
        async with _at_most(self.RELEASE_SECONDS):
            if self._tasks:
                await asyncio.wait(self._tasks)
            await self._ended.wait()

    # --- one look ----------------------------------------------------------------------------------------------------

    async def _look(self) -> bool:
        """Do what is to be done now, and return whether that was possible."""
        try:
            self._is_idle = await self._start_due() == 0 and not self._tasks
            await self._keep_house()
        except StoreDown:  # the inbox has logged it
            return False
        except Exception as error:  # noqa: BLE001  # it is logged
            self._report(error)
            return False
        return True

    async def _sleep(self, failures: int) -> None:
        if failures:
            seconds = min(self._poll * 2.0 ** min(failures, 10), self.LONGEST_BACK_OFF)
        else:
            until_prune = max(0.0, self._prune_at - self._clock.monotonic())
            seconds = min(self._poll * (2 if self._is_idle else 1), until_prune)
        async with _at_most(seconds):
            await self._woken.wait()

    async def _start_due(self) -> int:
        """Start what is due as far as places are free; return how many were found, the dead included.

        If none is, it asks for nothing now and then, to know that the store is up.
        """
        sources, free = self._sources(), self._concurrency - len(self._tasks)
        if not sources or (free <= 0 and self._clock.monotonic() < self._look_again_at):
            return 0
        found = 0
        as_of = self._clock.time()  # before it is decided: the clock may be set at any moment
        if self._suspect is None and self._may_take_over(as_of):
            found = await self._take(min(free, 1), sources, as_of=as_of)
            if not found or found == free:  # nothing else is due, or has a place
                return found
        return found + await self._take(free - found, sources)

    async def _take(self, limit: int, sources: Collection[str], *, as_of: float | None = None) -> int:
        """Start up to `limit` of what is due; return how many were found, the dead included."""
        if self._stopping.is_set():
            return 0
        claim = await self._claim(limit, sources, as_of)
        if self._stopping.is_set():
            self._give_back(claim)
            return 0
        for delivery in claim.dead:
            logger.error("%s is dead: none of its %d attempts came to an end", name(delivery), delivery.attempt)
            self._on_dead(delivery)
        if claim.dead:
            self._woken.set()  # they took the places of others that may be due
        for lease in claim.leased:
            self._start(lease, is_suspect=lease.is_taken_over)
        return len(claim.leased) + len(claim.dead)

    async def _claim(self, limit: int, sources: Collection[str], as_of: float | None) -> Claim:
        claiming = self._inbox.claim(
            limit,
            sources=sources,
            lease=self._lease,
            attempts=self._attempts,
            take_over=as_of is not None,
            as_of=math.inf if as_of is None else as_of,
        )
        try:
            claim = await asyncio.wrap_future(claiming)
        except asyncio.CancelledError:
            claiming.add_done_callback(self._give_back_late)
            raise
        self._seen_at = self._clock.time()
        self._look_again_at = self._clock.monotonic() + self._poll
        return claim

    def _may_take_over(self, as_of: float) -> bool:
        """Whether a lease that seems to have ended at a time was given up by its holder."""
        now, unseen = self._clock.monotonic(), 0.0
        if self._seen_at is not None:
            unseen = as_of - self._seen_at  # by the clock that leases end by
        if unseen > max(self._lease / 2, 4 * self._poll):
            self._take_over_at = now + self._lease
        return now >= self._take_over_at

    def _start(self, lease: Lease, *, is_suspect: bool) -> None:
        task = asyncio.create_task(self._handling.handle(lease))
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        if is_suspect:
            self._suspect = task
            asyncio.get_running_loop().call_later(self._lease, self._trust, task)

    def _trust(self, task: asyncio.Task[None]) -> None:
        """A suspect that has lived for a lease's time holds up the others no longer."""
        if task is self._suspect:
            self._suspect = None
            self._woken.set()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.remove(task)
        if task is self._suspect:
            self._suspect = None
        self._woken.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._report(error)

    def _give_back(self, claim: Claim) -> None:
        """Release what nobody will handle; closing the inbox waits for that."""
        for lease in claim.leased:
            self._inbox.release(lease)

    def _give_back_late(self, claiming: Future[Claim]) -> None:
        if not claiming.cancelled() and claiming.exception() is None:
            self._give_back(claiming.result())

    # --- housekeeping ------------------------------------------------------------------------------------------------

    async def _keep_house(self) -> None:
        now = self._clock.monotonic()
        if now >= self._set_right_at:
            await asyncio.wrap_future(self._inbox.set_right())
            self._set_right_at = now + self.HOUSEKEEPING_INTERVAL
        if now >= self._prune_at:
            pruned = await asyncio.wrap_future(self._archive.prune())
            more = pruned >= self._archive.STEP
            self._prune_at = now + (self.PRUNE_PAUSE if more else self.HOUSEKEEPING_INTERVAL)

    def _report(self, error: BaseException) -> None:
        """Log a bug of ours, once."""
        reason = reason_of(error)
        if reason not in self._reported:
            self._reported.add(reason)
            logger.error("the webhook worker has a bug; it goes on", exc_info=error)


@contextlib.asynccontextmanager
async def _at_most(seconds: float) -> AsyncIterator[None]:
    """Leave the block, without an error, after `seconds`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            yield
