"""One leased delivery: through its handler, to an outcome that is recorded.

The rules:

- An async handler runs on the running loop, a sync one in a thread. When its time is over or its lease is lost an async
  handler is cancelled; a sync one cannot be, so its thread is abandoned. What either says after that is not heard.
- Whatever a handler raises is its own failure, also what would end the process elsewhere.
- What a handler did is recorded however long the store is down, unless the lease was lost in the meantime: the delivery
  is another's then, and so is its outcome.
- If `handle` itself is cancelled, an async handler is too, and the lease is given back at once, as if it had not been
  taken; that of a sync one that still runs ends by itself.
- Neither log nor inbox is told what a handler was given: tracebacks are logged without the messages of exceptions, but
  for development.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import random
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Final, Protocol

from launchkit.pipeline.effects import StoreDown
from launchkit.settings import WebhookSettings
from launchkit.webhooks.delivery import SUBMITTED, Delivery, Lease
from launchkit.webhooks.handlers import Handler, Handlers
from launchkit.webhooks.handling.heartbeat import Heartbeat
from launchkit.webhooks.handling.verdict import (
    ELSEWHERE,
    NO_HANDLER,
    HandlerTimeout,
    Verdict,
    verdict_on,
    without_message,
)
from launchkit.webhooks.inbox.inbox import Inbox

logger = logging.getLogger(__name__)


class Handling(Protocol):
    """What is done with a leased delivery."""

    async def handle(self, lease: Lease) -> None:
        """Bring the lease to its end. When cancelled, give it back and end soon."""
        ...


class _LeaseLost(Exception):
    """Somebody else may have the delivery by now."""


def ignore(*_: object) -> None:
    """Tell nobody."""


class Attempts:
    """Runs the app's handlers, and records what came of it.

    Args:
        inbox: where the leases are from.
        handlers: the app's.
        settings: retry schedule and time-out.
        run_in_thread: runs a sync handler in some thread and returns its future.
        abandon: is told of the future of a sync handler that nobody waits for any more.
        around_handler: entered around every handler, in the thread that the handler runs in.
        heartbeat: keeps the lease while the handler lives.
        random_fraction: between 0 and 1, for jitter.
        on_outcome: is told what became of each attempt: `done`, `retry`, `dead`, `ignored`, or `lost` with its lease;
            and how many seconds its handler took. Released ones were none.
        shows_messages: whether what handlers raise is logged with its message, which may hold what was sent.
    """

    FIRST_BACK_OFF: Final = 0.1
    """Seconds before the second try to record an outcome; each further one waits twice as long."""
    END_SECONDS: Final = 1.0
    """How long an async handler that is cancelled has to end before its lease is given back."""
    RELEASE_SECONDS: Final = 2.0
    """How long to wait for the store to take a lease back."""

    def __init__(
        self,
        inbox: Inbox,
        handlers: Handlers,
        settings: WebhookSettings,
        run_in_thread: Callable[[Callable[[], object]], Future[object]],
        abandon: Callable[[Future[object]], None],
        around_handler: Callable[[], AbstractContextManager[object]],
        heartbeat: Heartbeat,
        random_fraction: Callable[[], float] = random.random,
        on_outcome: Callable[[Delivery, str, float], None] = ignore,
        *,
        shows_messages: bool = False,
    ) -> None:
        self._inbox = inbox
        self._handlers = handlers
        self._timeout = settings.handler_timeout
        self._delays = settings.retry_delays
        self._longest_back_off = settings.lease / 3
        self._run_in_thread = run_in_thread
        self._abandon = abandon
        self._around_handler = around_handler
        self._heartbeat = heartbeat
        self._random_fraction = random_fraction
        self._on_outcome = on_outcome
        self._shows_messages = shows_messages
        self._in_threads: set[tuple[int, int]] = set()

    async def handle(self, lease: Lease) -> None:
        """Run the handler, and return when the outcome is recorded or the lease lost."""
        began = self._heartbeat.monotonic()
        try:
            verdict = await self._try(lease, began)
        except asyncio.CancelledError:
            await self._release(lease)
            raise
        except _LeaseLost:
            verdict = None
        seconds = self._heartbeat.monotonic() - began
        if verdict is not None and await self._record(lease, verdict):
            self._on_outcome(lease.delivery, verdict.outcome, seconds)
        else:
            logger.warning("%s: attempt %d has lost its lease", name(lease.delivery), lease.delivery.attempt)
            self._on_outcome(lease.delivery, "lost", seconds)

    async def _try(self, lease: Lease, began: float) -> Verdict:
        """Return what is to become of the delivery. Raises `_LeaseLost`."""
        delivery = lease.delivery
        handler = self._handlers.find(delivery.source, delivery.event)
        if handler is None:
            verdict = ELSEWHERE if delivery.source == SUBMITTED else NO_HANDLER
            _log(delivery, verdict, None)
            return verdict
        async with self._kept(lease, began) as lost:
            error = await self._run(handler, lease, lost)
        verdict = verdict_on(error, delivery.attempt, self._delays, self._random_fraction())
        if error is not None and not self._shows_messages and not isinstance(error, HandlerTimeout):
            error = without_message(error)
        _log(delivery, verdict, error)
        return verdict

    @contextlib.asynccontextmanager
    async def _kept(self, lease: Lease, began: float) -> AsyncIterator[asyncio.Future[None]]:
        """Keep a lease during the block; the future is done when that was not possible."""
        loop = asyncio.get_running_loop()
        lost = loop.create_future()

        def on_lost() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed
                loop.call_soon_threadsafe(lost.cancel)

        self._heartbeat.add(lease, began + self._timeout, on_lost)
        try:
            yield lost
        finally:
            self._heartbeat.remove(lease)  # before anything is recorded

    async def _run(self, handler: Handler, lease: Lease, lost: asyncio.Future[None]) -> BaseException | None:
        """Return what the handler failed with, or None. Raises `_LeaseLost`."""
        call = asyncio.create_task(self._call(handler, lease))
        either: tuple[asyncio.Future[Any], ...] = (call, lost)
        try:
            await asyncio.wait(either, timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED)
            if lost.done():
                raise _LeaseLost
            if not call.done():
                return HandlerTimeout(self._timeout)
            return asyncio.CancelledError() if call.cancelled() else call.result()
        except asyncio.CancelledError:
            call.cancel()
            await asyncio.wait((call,), timeout=self.END_SECONDS)
            raise
        finally:
            call.cancel()  # one that ignores it is left behind

    async def _call(self, handler: Handler, lease: Lease) -> BaseException | None:
        try:
            result = handler(lease.delivery) if _is_async(handler) else await self._in_thread(handler, lease)
            if inspect.isawaitable(result):  # also from a sync function that wraps an async one
                with self._around_handler():
                    await result
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is the handler's
            return error
        return None

    async def _in_thread(self, handler: Handler, lease: Lease) -> object:
        held = (lease.row, lease.token)
        future = self._run_in_thread(partial(self._enter, handler, lease.delivery))
        self._in_threads.add(held)
        future.add_done_callback(lambda _: self._in_threads.discard(held))
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            self._abandon(future)
            raise

    def _enter(self, handler: Handler, delivery: Delivery) -> object:
        with self._around_handler():
            return handler(delivery)

    async def _record(self, lease: Lease, verdict: Verdict) -> bool:
        """Write a verdict down, when the store is back if it is down; return whether the lease was still held.

        What is already with the store is written also if this is cancelled.
        """
        back_off = self.FIRST_BACK_OFF
        while True:
            try:
                return await asyncio.shield(asyncio.wrap_future(self._write(lease, verdict)))
            except StoreDown:  # the inbox has logged it
                await asyncio.sleep(back_off)
                back_off = min(2 * back_off, self._longest_back_off)

    def _write(self, lease: Lease, verdict: Verdict) -> Future[bool]:
        match verdict.outcome:
            case "done":
                return self._inbox.done(lease)
            case "released":
                return self._inbox.release(lease, verdict.delay)
            case "retry":
                return self._inbox.retry(lease, verdict.delay, verdict.reason)
            case "dead":
                return self._inbox.dead(lease, verdict.reason)
            case "ignored":
                return self._inbox.ignored(lease, verdict.reason)

    async def _release(self, lease: Lease) -> None:
        """Give a lease back if the store is up; if not it ends by itself.

        So does that of a sync handler that still runs, because its thread cannot be stopped: nobody else is to begin
        the same while it is at it.
        """
        if (lease.row, lease.token) in self._in_threads:
            return
        with contextlib.suppress(StoreDown, TimeoutError):
            async with asyncio.timeout(self.RELEASE_SECONDS):
                await asyncio.shield(asyncio.wrap_future(self._inbox.release(lease)))


def name(delivery: Delivery) -> str:
    """Say which delivery, in a log."""
    return f"webhook {delivery.source} {delivery.id} ({delivery.event or 'no event name'})"


def _log(delivery: Delivery, verdict: Verdict, error: BaseException | None) -> None:
    """Log what was not a success: as the handler's wish where it was, else with traceback."""
    wished = verdict.is_wish
    trace = None if wished else error
    match verdict.outcome:
        case "dead":
            logger.error("%s is dead: attempt %d failed too", name(delivery), delivery.attempt, exc_info=trace)
        case "retry":
            message = "%s: attempt %d asked for another in %.0f s" if wished else _FAILED
            level = logging.INFO if wished else logging.WARNING
            logger.log(level, message, name(delivery), delivery.attempt, verdict.delay, exc_info=trace)
        case "ignored":
            logger.info("%s is not handled: %s", name(delivery), verdict.reason)
        case "released":
            logger.warning("%s has no handler in this process: it is left to another", name(delivery))
        case "done":
            pass


_FAILED: Final = "%s failed on attempt %d, next one in %.0f s"


def _is_async(handler: Handler) -> bool:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(type(handler).__call__)
