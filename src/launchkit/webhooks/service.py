"""`kit.webhooks`: what an app and its operators can ask of the inbox.

The verbs block until the inbox has answered. On an event loop that would stop everything else, so there they refuse,
and say what to call instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from launchkit.errors import InboxUnavailable, LaunchKitError
from launchkit.pipeline.effects import NewDelivery, StoreDown
from launchkit.settings import WebhookSettings
from launchkit.webhooks.delivery import SUBMITTED, Lease
from launchkit.webhooks.figures import Counts
from launchkit.webhooks.handlers import Handlers
from launchkit.webhooks.handling.relay import parse_ticket
from launchkit.webhooks.inbox.archive import Archive, Backlog, Content, Entry, Filter
from launchkit.webhooks.inbox.inbox import Inbox, State

logger = logging.getLogger(__name__)

T = TypeVar("T")

EVERY: Final = Filter()
"""Every delivery."""

Progress = Callable[[int, int], None]
"""Is told how many are done, and how many there are in all."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One delivery; without content once its body is no longer kept."""

    entry: Entry
    content: Content | None


class Webhooks:
    """The deliveries of one inbox.

    Args:
        inbox: where they are.
        archive: the same, as operators use it.
        handlers: who handles them.
        settings: attempts and leases.
        counts: what came in and what became of it, in this process.
        handle: runs the handler of a leased delivery and records the outcome.
        on_submitted: called after something was submitted; must return at once.
        sources: those that have a handler and a secret.
    """

    WAIT: Final = 30.0
    """Seconds that a verb waits for the inbox."""

    def __init__(
        self,
        inbox: Inbox,
        archive: Archive,
        handlers: Handlers,
        settings: WebhookSettings,
        counts: Counts,
        handle: Callable[[Lease], Future[None]],
        on_submitted: Callable[[], None],
        sources: Callable[[], frozenset[str]],
    ) -> None:
        self._inbox = inbox
        self._archive = archive
        self._handlers = handlers
        self._settings = settings
        self.counts: Final = counts
        self._handle = handle
        self._on_submitted = on_submitted
        self._sources = sources

    @property
    def sources(self) -> frozenset[str]:
        """The sources that have a handler and a secret: those whose deliveries are handled."""
        return self._sources()

    # --- work of the app's own ---------------------------------------------------------------------------------------

    def submit(self, name: str, payload: object = None, *, key: str | None = None, delay: float = 0.0) -> str:
        """Store slow work of the app's own, such as a model call or a mail; it is handled like a webhook.

        Its handler is registered with `@kit.webhook("app", name)`, and gets what was submitted as `delivery.json()`.

        Args:
            name: what kind of work: the event of its handler.
            payload: whatever JSON can hold, or bytes as they are.
            key: what tells repeats: of several with the same key only the first is stored. By default each is its own.
            delay: seconds before it may be handled.

        Returns:
            Its idempotency key, by which `launchkit webhooks show` finds it.

        Raises:
            LaunchKitError: without a handler for the name, for a payload that JSON cannot hold, or on an event loop,
                where `asubmit` is to be used.
            InboxUnavailable: if it could not be stored.
        """
        _refuse_event_loop("await kit.webhooks.asubmit(...)")
        work = self._work(name, payload, key, delay)
        try:
            new = self._inbox.put(work)
        except StoreDown as error:
            raise InboxUnavailable(str(error)) from error
        return self._submitted(work, new=new)

    async def asubmit(self, name: str, payload: object = None, *, key: str | None = None, delay: float = 0.0) -> str:
        """Do `submit` on an event loop."""
        work = self._work(name, payload, key, delay)
        try:
            new = await self._inbox.aput(work)
        except StoreDown as error:
            raise InboxUnavailable(str(error)) from error
        return self._submitted(work, new=new)

    # --- operating ---------------------------------------------------------------------------------------------------

    def list(self, wanted: Filter = EVERY, *, limit: int = 50, before: int | None = None) -> tuple[Entry, ...]:
        """Return deliveries, the latest first; `before` is the row of an entry, to go on from there."""
        return self._wait(self._archive.list(wanted, limit=limit, before=before))

    def show(self, key: str) -> Shown | None:
        """Return the delivery with an idempotency key, or None."""
        found = self.list(Filter(keys=(key,)), limit=1)
        return Shown(found[0], self._wait(self._archive.content(found[0].row))) if found else None

    def count(self, wanted: Filter) -> int:
        """Return how many deliveries there are."""
        return self._wait(self._archive.count(wanted))

    def replay(
        self,
        wanted: Filter = EVERY,
        *,
        limit: int | None = None,
        on_progress: Progress | None = None,
    ) -> int:
        """Have deliveries handled again, with all their attempts: dead letters, unless keys or states say otherwise.

        One that is done runs its handler again, and one whose body is no longer kept stays as it is.

        Args:
            wanted: which ones; those that are pending are left alone.
            limit: how many at most, the latest first.
            on_progress: is told how many have been looked at, and how many there are.

        Returns:
            How many that were.
        """
        if not (wanted.states or wanted.keys):
            wanted = replace(wanted, states=("dead",))
        replayed = self._in_steps(wanted, limit, on_progress, self._archive.replay)
        self._on_submitted()
        return replayed

    def discard(
        self, wanted: Filter, *, reason: str = "", limit: int | None = None, on_progress: Progress | None = None
    ) -> int:
        """Have deliveries that are pending or dead handled no more; return how many that were."""
        text = reason or "discarded by hand"
        return self._in_steps(wanted, limit, on_progress, lambda rows: self._archive.discard(rows, text))

    def backlog(self) -> Backlog:
        """Return what is to be done."""
        return self._wait(self._archive.backlog())

    def totals(self) -> dict[tuple[str, str, State], int]:
        """Return how many deliveries there are by (source, event, state)."""
        return self._wait(self._archive.counts())

    # --- queues of the app's own -------------------------------------------------------------------------------------

    def run(self, ticket: str) -> None:
        """Handle what a queue has carried here, and record the outcome; blocks, and never raises for a handler.

        A ticket that is not valid any more, because another attempt has begun or all is done, is passed over.
        """
        _refuse_event_loop("await asyncio.to_thread(kit.webhooks.run, ticket)")
        parts = parse_ticket(ticket)
        if parts is None:
            logger.warning("a ticket that is none was passed over")
            return
        row, token = parts
        lease = self._wait(self._inbox.resume(row, token, lease=self._settings.lease))
        if lease is not None:
            with contextlib.suppress(CancelledError):  # the kit was stopped, and has given the lease back
                self._handle(lease).result()

    def complete(self, key: str) -> bool:
        """A delivery is done, whoever has done it; return whether it was pending, or dead.

        Args:
            key: its idempotency key.

        Raises:
            LaunchKitError: for what is no such key, or on an event loop, where `acomplete` is to be used.
            InboxUnavailable: if that could not be written down.
        """
        return self._wait(self._inbox.complete(*_parts(key)))

    async def acomplete(self, key: str) -> bool:
        """Do `complete` on an event loop."""
        try:
            return await asyncio.wrap_future(self._inbox.complete(*_parts(key)))
        except StoreDown as error:
            raise InboxUnavailable(str(error)) from error

    # --- what the verbs are made of ----------------------------------------------------------------------------------

    def _work(self, name: str, payload: object, key: str | None, delay: float) -> NewDelivery:
        if self._handlers.find(SUBMITTED, name) is None:
            raise LaunchKitError(f'nobody handles {name!r}: register a function with @kit.webhook("app", {name!r})')
        try:
            body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        except (TypeError, ValueError) as error:
            raise LaunchKitError(f"the payload of {name!r} cannot be written as JSON: {error}") from error
        if not 0 <= delay < math.inf:
            raise LaunchKitError(f"the delay of {name!r} should be a number of seconds, from 0 up")
        if not self._settings.enabled:
            raise InboxUnavailable("webhooks are switched off: nothing is stored, because nothing would handle it")
        if re.fullmatch(r"[\x21-\x7e]{1,255}", name) is None:
            raise LaunchKitError("the name of work should be 1 to 255 printable ASCII characters without spaces")
        if key is not None and re.fullmatch(r"[\x21-\x7e]{1,255}", key) is None:
            raise LaunchKitError(f"the key of {name!r} should be 1 to 255 printable ASCII characters without spaces")
        content_type = "application/octet-stream" if isinstance(payload, bytes) else "application/json"
        return NewDelivery(
            SUBMITTED,
            key or uuid.uuid4().hex,
            name,
            (("content-type", content_type),),
            body,
            order_key=self._handlers.order_key(SUBMITTED, name, body),
            delay=delay,
            may_use_reserve=True,  # nobody sends it again
        )

    def _submitted(self, work: NewDelivery, *, new: bool) -> str:
        self.counts.add(SUBMITTED, "accepted" if new else "duplicate")
        if new:
            self._on_submitted()
        return f"{SUBMITTED}:{work.dedupe_key}"

    def _in_steps(
        self,
        wanted: Filter,
        limit: int | None,
        on_progress: Progress | None,
        change: Callable[[Sequence[int]], Future[int]],
    ) -> int:
        total = self.count(wanted) if limit is None else min(limit, self.count(wanted))
        changed = seen = 0
        for rows in self._steps(wanted, total):
            changed += self._wait(change(rows))
            seen += len(rows)
            if on_progress is not None:
                on_progress(seen, total)
        return changed

    def _steps(self, wanted: Filter, total: int) -> Iterator[tuple[int, ...]]:
        """Go through the rows of what is wanted, the latest first; what changes on the way is not met twice."""
        before: int | None = None
        while total > 0:
            entries = self.list(wanted, limit=min(total, self._archive.STEP), before=before)
            if not entries:
                return
            total -= len(entries)
            before = entries[-1].row
            yield tuple(entry.row for entry in entries)

    def _wait(self, future: Future[T]) -> T:
        _refuse_event_loop("await asyncio.to_thread(...)")
        try:
            return future.result(self.WAIT)
        except (StoreDown, TimeoutError) as error:
            raise InboxUnavailable(str(error) or f"the inbox gave no answer within {self.WAIT:g} s") from error


def _parts(key: str) -> tuple[str, str]:
    source, colon, dedupe_key = key.partition(":")
    if not colon:
        raise LaunchKitError(f"{key!r} is no idempotency key, which is like stripe:evt_1: see delivery.idempotency_key")
    return source, dedupe_key


def _refuse_event_loop(instead: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise LaunchKitError(f"this waits for the inbox and would block the event loop: {instead}")
