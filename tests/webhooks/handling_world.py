"""What the tests of handling share: an app with an inbox, and a heartbeat that beats when it is told to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from webhook_world import SOURCES, new_delivery

from launchkit.background import ThreadPool
from launchkit.settings import WebhookSettings
from launchkit.testing import FrozenClock
from launchkit.webhooks.delivery import Delivery, Lease
from launchkit.webhooks.handlers import Handlers
from launchkit.webhooks.handling.attempts import Attempts
from launchkit.webhooks.handling.heartbeat import Heartbeat
from launchkit.webhooks.handling.worker import Worker
from launchkit.webhooks.inbox.archive import Archive, Entry, Filter, Retention
from launchkit.webhooks.inbox.inbox import Inbox
from launchkit.webhooks.inbox.room import Room
from launchkit.webhooks.inbox.sqlite import SqliteDatabase
from launchkit.webhooks.inbox.writer import Writer

WAIT = 10
"""Seconds after which a test that hangs fails; nothing waits for them to pass."""
LEASE = 30.0


class Drum:
    """Stands for the pauses of a heartbeat: it beats when it is told to."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self.thread = threading.current_thread()
        self.is_over = False
        self._waiting = threading.Semaphore(0)
        self._go = threading.Semaphore(0)

    def pause(self, seconds: float) -> None:
        self.thread = threading.current_thread()
        self.pauses.append(seconds)
        self._waiting.release()
        assert self.is_over or self._go.acquire(timeout=60)

    def beat(self) -> None:
        """Let one pause be over, and wait until the next has begun."""
        self.start_beat()
        self.settle()

    def start_beat(self) -> None:
        assert self._waiting.acquire(timeout=WAIT)
        self._go.release()

    def settle(self) -> None:
        assert self._waiting.acquire(timeout=WAIT)
        self._waiting.release()

    def end(self) -> None:
        self.is_over = True
        self._go.release(100)  # however many threads there have been


class Shop:
    """An app with an inbox, its handlers, and what handles deliveries as it is needed."""

    def __init__(self, path: Path, inbox_type: type[Inbox] = Inbox, threads: int = 4) -> None:
        self.path = path
        self.clock = FrozenClock()
        self.writer = Writer(str(path), lambda: SqliteDatabase(path, self.clock))
        self.inbox = inbox_type(self.writer, Room(1_000, 0, lambda: None, self.clock.monotonic))
        self.archive = Archive(self.writer, Retention())
        self.handlers = Handlers()
        self.pool = ThreadPool(threads)
        self.drum = Drum()
        self.seen: list[tuple[str, int]] = []
        self.outcomes: list[tuple[str, str]] = []

    def close(self) -> None:
        self.drum.end()
        self.writer.close()

    def heartbeat(self, lease: float = LEASE) -> Heartbeat:
        return Heartbeat(self.inbox, lease, self.clock.monotonic, self.drum.pause)

    def attempts(
        self,
        around: Callable[[], Any] = nullcontext,
        fraction: float = 1.0,
        *,
        shows_messages: bool = False,
        **settings: object,
    ) -> Attempts:
        return Attempts(
            self.inbox,
            self.handlers,
            _settings(settings),
            self.pool.submit,
            self.pool.abandon,
            around,
            self.heartbeat(),
            lambda: fraction,
            lambda delivery, outcome, seconds: self.outcomes.append((delivery.id, outcome)),
            shows_messages=shows_messages,
        )

    def worker(self, poll: float = 60, **settings: object) -> Worker:
        return Worker(
            self.inbox,
            self.archive,
            self.attempts(**settings),
            lambda: self.handlers.sources,
            _settings(settings),
            self.clock,
            poll,
        )

    def on_all(self, handler: Callable[[Delivery], object], order_by: str | None = None) -> None:
        self.handlers.add("stripe", None, handler, order_by)

    def put(self, *keys: str, event: str = "invoice.paid") -> None:
        for key in keys:
            assert self.inbox.put(new_delivery(key, event=event, body=b'{"card": 42}'))

    def claim(self, limit: int = 100, *, attempts: int = 9) -> tuple[Lease, ...]:
        return self.inbox.claim(limit, sources=SOURCES, lease=LEASE, attempts=attempts).result(WAIT).leased

    def lease(self, key: str = "evt_1") -> Lease:
        """Put a delivery and claim it."""
        self.put(key)
        (lease,) = self.claim()
        return lease

    def entry(self, key: str = "evt_1") -> Entry:
        (entry,) = self.archive.list(Filter(keys=(f"stripe:{key}",))).result(WAIT)
        return entry

    def states(self) -> dict[str, str]:
        return {entry.id: entry.state for entry in self.archive.list(Filter()).result(WAIT)}

    def see(self, delivery: Delivery) -> None:
        self.seen.append((delivery.id, delivery.attempt))

    async def asee(self, delivery: Delivery) -> None:
        self.see(delivery)

    def fail(self, delivery: Delivery) -> None:
        self.see(delivery)
        raise ValueError("no such invoice")

    async def afail(self, delivery: Delivery) -> None:
        self.fail(delivery)

    @contextmanager
    def down(self) -> Iterator[None]:
        """Put something else where the file was."""
        self.writer.close()
        away = self.path.with_name("away")
        self.path.rename(away)
        self.path.mkdir()
        yield
        self.writer.close()
        self.path.rmdir()
        away.rename(self.path)


def _settings(changed: dict[str, object]) -> WebhookSettings:
    return WebhookSettings.model_validate({"retry_delays": (10, 100), "lease": LEASE, **changed})
