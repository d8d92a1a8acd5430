"""What the webhook tests share: secrets made anew for each run, a request, an inbox, and a performer's backends."""

from __future__ import annotations

import base64
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from tests.support.exchanges import WrittenExchange

from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import Backends, Body, NewDelivery
from launchkit.pipeline.effects import Inbox as InboxBackend
from launchkit.webhooks.delivery import Lease
from launchkit.webhooks.inbox.archive import Archive, Entry, Filter, Retention
from launchkit.webhooks.inbox.database import Database
from launchkit.webhooks.inbox.inbox import Inbox
from launchkit.webhooks.inbox.leases import Claim
from launchkit.webhooks.inbox.room import Room
from launchkit.webhooks.inbox.sqlite import SqliteDatabase
from launchkit.webhooks.inbox.writer import Writer

T = TypeVar("T")

WAIT = 30
"""Seconds after which a test that hangs fails; nothing waits for them to pass."""

LEASE = 30.0
ATTEMPTS = 3

SOURCES = ("stripe", "standard", "clerk", "shop", "github", "b", "app")
"""The names that the tests give to sources."""


def stripe_secret() -> str:
    return "whsec_" + secrets.token_hex(16)


def standard_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


def new_delivery(
    key: str, *, source: str = "stripe", event: str = "invoice.paid", body: bytes = b"{}", **more: Any
) -> NewDelivery:
    return NewDelivery(source, key, event, (("content-type", "application/json"),), body, **more)


def posted(
    headers: dict[str, str] | None = None, method: str = "POST", path: str = "/webhooks/x", peer: str = "203.0.113.7"
) -> WrittenExchange:
    """Return a request as an adapter would describe it."""
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    return WrittenExchange(method, path, encoded, peer)


class Reader:
    """Reads a body that is already there, in either colour."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, limit: int) -> Body:
        return Body(self.data[:limit], too_large=len(self.data) > limit)

    async def aread(self, limit: int) -> Body:
        return self.read(limit)


def backends(inbox: InboxBackend) -> Backends:
    """Return backends of which only the inbox is asked."""
    unused = cast("Any", None)
    return Backends(limiter=unused, local_limiter=unused, responses=unused, inbox=inbox, prober=unused)


class Store:
    """An inbox with everything that belongs to it, over a file unless another database is given."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        most_pending: int = 100_000,
        least_free: int = 0,
        free_bytes: Callable[[], int | None] = lambda: None,
        retention: Retention | None = None,
        open_database: Callable[[], Database] | None = None,
    ) -> None:
        self.path = path
        self.clock = clock
        self.writer = Writer(str(path), open_database or (lambda: SqliteDatabase(path, clock)))
        self.room = Room(most_pending, least_free, free_bytes, clock.monotonic)
        self.inbox = Inbox(self.writer, self.room)
        self.archive = Archive(self.writer, retention or Retention())

    def close(self) -> None:
        self.writer.close()

    def put(self, *keys: str, **more: Any) -> list[bool]:
        return [self.inbox.put(new_delivery(key, **more)) for key in keys]

    def claim(self, limit: int = 100, *, take_over: bool = True) -> Claim:
        found = self.inbox.claim(limit, sources=SOURCES, lease=LEASE, attempts=ATTEMPTS, take_over=take_over)
        return done(found)

    def claim_one(self) -> Lease:
        (lease,) = self.claim().leased
        return lease

    def claimed(self, limit: int = 100) -> list[str]:
        """Claim and return the ids."""
        return [lease.delivery.id for lease in self.claim(limit).leased]

    def entries(self, wanted: Filter | None = None) -> tuple[Entry, ...]:
        return done(self.archive.list(wanted or Filter(), limit=10_000))

    def entry(self, key: str) -> Entry:
        (entry,) = self.entries(Filter(keys=(key,)))
        return entry

    def states(self) -> dict[str, str]:
        return {entry.id: entry.state for entry in self.entries()}

    def pending(self) -> int:
        return done(self.archive.backlog()).pending

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the writer busy with one group, so that what is submitted meanwhile waits for the next."""
        entered, go = threading.Event(), threading.Event()
        holding = self.writer.submit(lambda session: entered.set() or go.wait(WAIT))
        assert entered.wait(WAIT)
        try:
            yield
        finally:
            go.set()
        assert holding.result(WAIT)


def done(future: Future[T]) -> T:
    return future.result(WAIT)
