"""Takes due deliveries out of the inbox and hands them to the app's handlers, again and again until they succeed.

The rules:

- At most `concurrency` deliveries are handled at a time, and a lease is extended while its handler lives.
- A handler that raises, or takes longer than `handler_timeout`, has failed: its delivery is tried again after the next
  of `retry_delays`, and never after the last.
- What a handler did is recorded before its place is given away, however long the store is down.
- Everything runs on one event loop, which is never blocked: SQLite has a thread of its own, and sync handlers run where
  `run_in_thread` puts them. A sync handler cannot be stopped; when its time is over it is left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import random
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Final

from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import StoreDown
from launchkit.settings import WebhookSettings
from launchkit.webhooks.delivery import Delivery, Handler, Handlers
from launchkit.webhooks.inbox import SqliteInbox

logger = logging.getLogger(__name__)


class Worker:
    """Handles the deliveries of one inbox, from `run` until `stop`; it does not run twice.

    Args:
        inbox: where the deliveries are.
        handlers: who handles them.
        settings: retry schedule, time-out, lease and concurrency.
        clock: the time.
        run_in_thread: runs a sync handler in some thread and returns its future.
        around_handler: entered around every handler, in the thread that the handler runs in.
        random_fraction: between 0 and 1, for jitter.
        poll: seconds between looks for deliveries that are due again or that other processes stored.
    """

    LONGEST_BACK_OFF: Final = 30.0
    """Seconds between tries, at most, while the store is down."""
    PRUNE_INTERVAL: Final = 60.0
    """Seconds between looks for finished deliveries that are old enough to delete."""
    RELEASE_SECONDS: Final = 2.0
    """How long `stop` waits for the store."""

    def __init__(
        self,
        inbox: SqliteInbox,
        handlers: Handlers,
        settings: WebhookSettings,
        clock: Clock,
        run_in_thread: Callable[[Callable[[], object]], Future[object]],
        around_handler: Callable[[], AbstractContextManager[object]] = nullcontext,
        random_fraction: Callable[[], float] = random.random,
        poll: float = 1.0,
    ) -> None:
        self._inbox = inbox
        self._handlers = handlers
        self._settings = settings
        self._clock = clock
        self._run_in_thread = run_in_thread
        self._around_handler = around_handler
        self._random_fraction = random_fraction
        self._poll = poll
        self._attempts = len(settings.retry_delays) + 1
        self._tasks: dict[asyncio.Task[None], Delivery] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()
        self._prune_at = clock.monotonic()

    async def run(self) -> None:
        """Handle deliveries until `stop`. A store that is down delays this and never ends it."""
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
        """Handle everything that is due now and return how many deliveries that was. Raises `StoreDown`."""
        count = 0
        while True:
            found = await self._start_due()
            count += found
            if self._tasks:
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            elif not found:
                return count

    def wake(self) -> None:
        """Look for due deliveries now; from any thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop was closed
                self._loop.call_soon_threadsafe(self._woken.set)

    async def stop(self, grace: float = 3.0) -> None:
        """Claim nothing more, give handlers `grace` seconds, then cancel them and release their leases at once."""
        self._stopping.set()
        self.wake()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        late = dict(self._tasks)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        async with _at_most(self.RELEASE_SECONDS):
            await self._release(*late.values())
            await self._ended.wait()

    async def _look(self) -> bool:
        try:
            await self._start_due()
            await self._prune()
        except StoreDown:  # the inbox has logged it
            return False
        except Exception:
            logger.exception("the webhook worker has a bug; it goes on")
            return False
        return True

    async def _sleep(self, failures: int) -> None:
        async with _at_most(self._back_off(failures)):
            await self._woken.wait()

    def _back_off(self, failures: int) -> float:
        return min(self._poll * 2.0 ** min(failures, 10), self.LONGEST_BACK_OFF)

    async def _start_due(self) -> int:
        free = self._settings.concurrency - len(self._tasks)
        if free <= 0 or self._stopping.is_set():
            return 0
        claim = await asyncio.wrap_future(
            self._inbox.claim(free, sources=self._handlers.sources, lease=self._settings.lease, attempts=self._attempts)
        )
        if self._stopping.is_set():
            await self._release(*claim.leased)
            return 0
        for delivery in claim.dead:
            logger.error("%s is dead: none of its %d attempts came to an end", _name(delivery), delivery.attempt)
        for delivery in claim.leased:
            task = asyncio.create_task(self._handle(delivery))
            self._tasks[task] = delivery
            task.add_done_callback(self._finished)
        if claim.dead:
            self.wake()  # they took the places of others that may be due
        return len(claim.leased) + len(claim.dead)

    def _finished(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        self.wake()

    async def _prune(self) -> None:
        now = self._clock.monotonic()
        if now >= self._prune_at:
            self._prune_at = now + self.PRUNE_INTERVAL
            await asyncio.wrap_future(self._inbox.prune())

    async def _release(self, *deliveries: Delivery) -> None:
        """Give leases back if the store is up; if not they end by themselves."""
        futures = [asyncio.wrap_future(self._inbox.release(delivery)) for delivery in deliveries]
        await asyncio.gather(*futures, return_exceptions=True)

    async def _handle(self, delivery: Delivery) -> None:
        handler = self._handlers.find(delivery.source, delivery.event)
        if handler is None:
            await self._record(delivery, self._inbox.ignored)
            return
        heartbeat = asyncio.create_task(self._keep(delivery))
        try:
            error = await self._attempt(handler, delivery)
        finally:
            heartbeat.cancel()  # before anything is recorded, so that it cannot undo a release
        await self._record(delivery, self._inbox.done if error is None else self._verdict_on(delivery, error))

    async def _keep(self, delivery: Delivery) -> None:
        while True:
            await asyncio.sleep(self._settings.lease / 3)
            with contextlib.suppress(StoreDown):
                await asyncio.wrap_future(self._inbox.extend(delivery, self._settings.lease))

    async def _attempt(self, handler: Handler, delivery: Delivery) -> BaseException | None:
        """Return what the handler failed with, or None."""
        call = asyncio.create_task(self._call(handler, delivery))
        try:
            await asyncio.wait({call}, timeout=self._settings.handler_timeout)
            if not call.done():
                return TimeoutError(f"the handler took longer than {self._settings.handler_timeout:g} s")
            return asyncio.CancelledError("the handler cancelled itself") if call.cancelled() else call.result()
        finally:
            call.cancel()

    async def _call(self, handler: Handler, delivery: Delivery) -> BaseException | None:
        try:
            if _is_async(handler):
                result = handler(delivery)
            else:
                result = await asyncio.wrap_future(self._run_in_thread(partial(self._invoke, handler, delivery)))
            if inspect.isawaitable(result):  # also from a sync function that wraps an async one
                with self._around_handler():
                    await result
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is the handler's
            return error
        return None

    def _invoke(self, handler: Handler, delivery: Delivery) -> object:
        with self._around_handler():
            return handler(delivery)

    def _verdict_on(self, delivery: Delivery, error: BaseException) -> Callable[[Delivery], Future[bool]]:
        """Log a failure, without the payload, and return what follows."""
        if delivery.attempt >= self._attempts:
            logger.error("%s is dead: attempt %d failed too", _name(delivery), delivery.attempt, exc_info=error)
            return self._inbox.dead
        delay = self._settings.retry_delays[delivery.attempt - 1] * (1 + self._random_fraction()) / 2
        logger.warning(
            "%s failed on attempt %d, next one in %.0f s", _name(delivery), delivery.attempt, delay, exc_info=error
        )
        return partial(self._inbox.retry, delay=delay)

    async def _record(self, delivery: Delivery, verb: Callable[[Delivery], Future[bool]]) -> None:
        """Write down what became of a delivery; while the store is down, try again."""
        failures = 0
        while True:
            try:
                held = await asyncio.wrap_future(verb(delivery))
            except StoreDown:
                failures += 1
                await asyncio.sleep(self._back_off(failures))
            else:
                break
        if not held:
            logger.warning("%s: attempt %d had lost its lease", _name(delivery), delivery.attempt)


@contextlib.asynccontextmanager
async def _at_most(seconds: float) -> AsyncIterator[None]:
    """Leave the block, without an error, after `seconds`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            yield


def _is_async(handler: Handler) -> bool:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(type(handler).__call__)


def _name(delivery: Delivery) -> str:
    return f"webhook {delivery.source} {delivery.id} ({delivery.event or 'no event name'})"
