"""Hands deliveries to the queue that the app already has.

The rules:

- A ticket stands for one lease. Whoever brings it goes on with it; a second one who brings it is passed over.
- After `handler_timeout` in which nobody has brought the ticket or said that the delivery is done, it is due again, and
  is sent again. Where tickets are brought an attempt counts from then on, so that a queue which stands still uses up
  none; otherwise it counts when it is sent.
- A queue that takes nothing is no handler's fault, so the attempt does not count. The lease is given back after a pause
  that keeps a place of the worker occupied: a queue that is down is not asked without end.
- A delivery that the queue does not take while it takes others has failed, and its attempt counts.
- Cancelled, it gives the lease back at once.
- Sending and pausing take a third of the lease each at most, because nobody extends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Final

from launchkit.pipeline.effects import StoreDown
from launchkit.settings import WebhookSettings
from launchkit.webhooks.delivery import Delivery, Lease
from launchkit.webhooks.inbox.inbox import Inbox
from launchkit.webhooks.queue import Queue

logger = logging.getLogger(__name__)

_TICKET: Final = re.compile(r"([0-9]{1,18})\.([0-9]{1,18})")


def ticket_for(lease: Lease) -> str:
    """Return what stands for a lease on its way through a queue."""
    return f"{lease.row}.{lease.token}"


def parse_ticket(ticket: str) -> tuple[int, int] | None:
    """Return the row and the token that a ticket names, or None if it is none."""
    match = _TICKET.fullmatch(ticket)
    return None if match is None else (int(match[1]), int(match[2]))


class Relay:
    """Handles deliveries by sending them on.

    Args:
        inbox: where they are.
        queue: where they go.
        settings: time-outs.
        run_in_thread: runs a function in some thread and returns its future.
    """

    LONGEST_SEND: Final = 10.0
    """Seconds that the queue has to take a delivery, at most."""
    FIRST_PAUSE: Final = 0.5
    """Seconds of pause after a queue that worked has failed; twice as many after each further failure."""

    def __init__(
        self,
        inbox: Inbox,
        queue: Queue,
        settings: WebhookSettings,
        run_in_thread: Callable[[Callable[[], object]], Future[object]],
    ) -> None:
        self._inbox = inbox
        self._queue = queue
        self._run_in_thread = run_in_thread
        self._patience = settings.handler_timeout
        self._longest_send = min(self.LONGEST_SEND, settings.lease / 3)
        self._longest_pause = settings.lease / 3
        self._taken = 0
        self._failures = 0

    async def handle(self, lease: Lease) -> None:
        """Send a delivery on, or give it back. Raises nothing but its own cancellation."""
        try:
            change = await self._hand_on(lease)
        except asyncio.CancelledError:
            self._inbox.release(lease)  # closing the inbox waits for that
            raise
        with contextlib.suppress(StoreDown):  # the lease ends by itself
            # False if it is not held any more: whoever got the ticket was faster, and there is nothing to change.
            await asyncio.shield(asyncio.wrap_future(change()))

    async def _hand_on(self, lease: Lease) -> Callable[[], Future[bool]]:
        """Send a delivery on; return what is to be written down."""
        error = await self._send(lease)
        if error is None:
            self._note_taken()
            return partial(self._inbox.hand_over, lease, self._patience, to_resume=self._queue.runs_tickets)
        self._note_failure(error)
        taken = self._taken
        await asyncio.sleep(min(self.FIRST_PAUSE * 2.0 ** min(self._failures - 1, 10), self._longest_pause))
        if self._taken == taken:
            return partial(self._inbox.release, lease)
        reason = f"the queue did not take it: {type(error).__name__}"
        return partial(self._inbox.retry, lease, self._patience, reason)

    async def _send(self, lease: Lease) -> BaseException | None:
        """Return what kept the queue from taking a delivery, or None."""
        send = partial(self._try_to_send, lease.delivery, ticket_for(lease))
        try:
            async with asyncio.timeout(self._longest_send):
                error = await asyncio.wrap_future(self._run_in_thread(send))
        except TimeoutError:
            return TimeoutError(f"no answer within {self._longest_send:g} s")
        except Exception as failure:  # noqa: BLE001  # there is no thread to be had
            return failure
        return error if isinstance(error, BaseException) else None

    def _try_to_send(self, delivery: Delivery, ticket: str) -> BaseException | None:
        try:
            self._queue.send(delivery, ticket)
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is the queue's, and may mean something to asyncio
            return error
        return None

    def _note_taken(self) -> None:
        if self._failures > 0:
            logger.warning("the queue takes webhook deliveries again")
        self._taken += 1
        self._failures = 0

    def _note_failure(self, error: BaseException) -> None:
        if self._failures == 0:
            logger.error("the queue does not take webhook deliveries: they wait in the inbox", exc_info=error)
        self._failures += 1
