"""The webhooks of one app, put together: where deliveries are kept, and what handles them in each process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from launchkit.background import ThreadPool
from launchkit.errors import LaunchKitError, SettingsError, StartError
from launchkit.health.checks import HealthCheck
from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import Steps
from launchkit.pipeline.exchange import EarlyResponse, Exchange
from launchkit.place import under_gevent
from launchkit.settings import Settings
from launchkit.webhooks.backlog import Depth, InboxBacklog, WatchedQueue
from launchkit.webhooks.delivery import Delivery, Lease
from launchkit.webhooks.handlers import Handler, Handlers
from launchkit.webhooks.handling.attempts import Attempts, Handling
from launchkit.webhooks.handling.heartbeat import Heartbeat
from launchkit.webhooks.handling.relay import Relay
from launchkit.webhooks.handling.worker import Worker
from launchkit.webhooks.inbox.archive import DAY, Archive, Backlog, Retention
from launchkit.webhooks.inbox.inbox import Inbox
from launchkit.webhooks.inbox.room import Room, disk_free
from launchkit.webhooks.inbox.sqlite import SqliteDatabase
from launchkit.webhooks.inbox.writer import Writer
from launchkit.webhooks.interceptor import Intakes
from launchkit.webhooks.queue import Queue
from launchkit.webhooks.service import Webhooks

logger = logging.getLogger("launchkit")


@dataclass(frozen=True, slots=True)
class Host:
    """What is asked of the kit."""

    charge_refused: Callable[[Exchange], Steps[EarlyResponse | None]]
    """Charges whoever sent a bad signature and returns the answer if that was one too many."""
    run_on_loop: Callable[[Coroutine[Any, Any, None]], Future[None]]
    """Runs a coroutine on the loop for async handlers."""
    around_handler: Callable[[], AbstractContextManager[object]]
    """Returns what is entered around every handler."""
    add_check: Callable[[HealthCheck], None]
    """Has health ask for something more."""


class WebhookWorker(Protocol):
    """Takes due deliveries and has them handled."""

    async def run(self) -> None:
        """Work until `stop`; nothing that goes wrong ends it."""
        ...

    async def stop(self, grace: float = 3.0) -> None:
        """Take nothing more, give handlers `grace` seconds, then give their deliveries back at once."""
        ...

    def wake(self) -> None:
        """Look for due deliveries now; from any thread."""
        ...


def webhook_inbox(settings: Settings, clock: Clock) -> tuple[Inbox, Archive]:
    """Return where deliveries are kept, as the request path and operators use it. Nothing is opened yet.

    Raises:
        StartError: if the settings ask for PostgreSQL and a package is missing.
    """
    webhooks = settings.webhooks
    folder = settings.data_dir
    retention = Retention(webhooks.keep_bodies * DAY, webhooks.keep_dead * DAY, webhooks.keep_keys * DAY)
    if settings.database_url is None:
        path = folder / "inbox.sqlite3"
        writer = Writer(str(path), lambda: SqliteDatabase(path, clock))
        room = Room(webhooks.max_pending, webhooks.min_free, lambda: disk_free(folder), clock.monotonic)
    else:
        url = settings.database_url.get_secret_value()
        try:
            from launchkit.webhooks.inbox.postgres import PostgresDatabase  # only when the settings ask for it
        except ImportError as error:
            raise StartError("database_url is set but a package is missing: install launchkit[postgres]") from error
        writer = Writer(PostgresDatabase(url).name, lambda: PostgresDatabase(url))
        room = Room(webhooks.max_pending, 0, lambda: None, clock.monotonic)
    return Inbox(writer, room), Archive(writer, retention)


def webhook_worker(
    settings: Settings,
    inbox: Inbox,
    archive: Archive,
    handling: Handling,
    sources: Callable[[], frozenset[str]],
    clock: Clock,
    on_dead: Callable[[Delivery], None],
) -> WebhookWorker:
    """Return what has due deliveries handled, in the process that is to do it."""
    if settings.database_url is None:
        return Worker(inbox, archive, handling, sources, settings.webhooks, clock, on_dead=on_dead)
    from launchkit.webhooks.handling.postgres_worker import PostgresWorker  # only when the settings ask for it

    url = settings.database_url.get_secret_value()
    return PostgresWorker(url, inbox, archive, handling, sources, settings.webhooks, clock, on_dead=on_dead)


class Deliveries:
    """What the kit has for webhooks. `begin_process` comes before anything is handled, in each process anew.

    Raises:
        SettingsError: for sources that cannot be right.
        StartError: if the settings ask for PostgreSQL and a package is missing.
    """

    def __init__(self, settings: Settings, clock: Clock, host: Host) -> None:
        self._settings = settings
        self._clock = clock
        self._host = host
        self.handlers = Handlers()
        self.intakes = Intakes(
            settings.webhooks, clock, self.handlers, host.charge_refused, self._wake, settings.edge.url
        )
        self.inbox, self._archive = webhook_inbox(settings, clock)
        self.service = Webhooks(
            self.inbox,
            self._archive,
            self.handlers,
            settings.webhooks,
            self.intakes.counts,
            self._handle,
            self._wake,
            self.open_sources,
        )
        self._backlog = InboxBacklog(self._archive, settings.webhooks.alert_age, clock)
        self._is_watched = False
        self.queues: list[WatchedQueue] = []
        queue = settings.webhooks.queue
        self._queue = queue if isinstance(queue, Queue) else None
        if self._queue is not None:
            self._queue.bind(self.service.run)

    def begin_process(self, threads: ThreadPool) -> None:
        """Set what belongs to one process. Sync handlers run in `threads`."""
        self._worker: WebhookWorker | None = None
        self._threads = threads
        self.intakes.counts.clear()
        self._attempts = Attempts(
            self.inbox,
            self.handlers,
            self._settings.webhooks,
            threads.submit,
            threads.abandon,
            self._host.around_handler,
            Heartbeat(self.inbox, self._settings.webhooks.lease, self._clock.monotonic),
            on_outcome=self._count,
            shows_messages=self._settings.in_development,
        )

    def add_handler(self, source: str, event: str | None, function: Handler, order_by: str | None) -> None:
        """Register a handler. Raises what `Handlers.add` and `Intakes.compile` raise."""
        self.handlers.add(source, event, function, order_by)
        try:
            self.intakes.compile()
        except SettingsError:
            self.handlers.remove(source, event)
            raise
        self._watch()

    def add_queue(self, name: str, depth: Callable[[], Depth]) -> None:
        """Watch a queue of the app's own. Raises LaunchKitError if there is a health check of that name."""
        watched = WatchedQueue(name, depth, self._settings.webhooks.alert_age)
        self._host.add_check(HealthCheck(name, watched.check, required=False))
        self.queues.append(watched)

    def waiting(self) -> tuple[Backlog, float] | None:
        """Return the inbox's backlog and its age in seconds, once somebody has asked for it."""
        latest = self._backlog.latest() if self._is_watched else None
        return None if latest is None else (latest, self._backlog.age(latest))

    def details(self) -> dict[str, object]:
        """Return what health shows: figures of the inbox, and what this process has counted by source."""
        waiting = self.waiting()
        if waiting is None:
            return {}
        backlog, age = waiting
        counted: dict[str, dict[str, int]] = {}
        for (source, outcome), count in sorted(self.intakes.counts.read().items()):
            counted.setdefault(source, {})[outcome] = count
        return {
            "pending": backlog.pending,
            "leased": backlog.leased,
            "retrying": backlog.retrying,
            "dead": backlog.dead,
            "oldest_seconds": age,
            "counted": counted,
        }

    # --- handling ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Handle deliveries in this process, if that is to be and has not begun."""
        in_app = self._settings.webhooks.in_app and not under_gevent()
        if self._worker is None and in_app and self.open_sources():
            self._worker = self._new_worker()
            self._host.run_on_loop(self._worker.run())

    def stop(self) -> Future[None] | None:
        """Stop handling; return when that will be done, or None if nothing was."""
        worker, self._worker = self._worker, None
        return None if worker is None else self._host.run_on_loop(worker.stop())

    def forget(self) -> None:
        """The loop that handled deliveries has ended without a stop."""
        self._worker = None

    async def work(self) -> None:
        """Handle deliveries on this loop until cancelled. Raises LaunchKitError if there is nothing to handle."""
        if not self.open_sources():
            raise LaunchKitError("there is no handler for a source with a secret: register one with @kit.webhook(...)")
        worker = self._worker = self._new_worker()
        running = asyncio.create_task(worker.run())
        try:
            await asyncio.shield(running)
        finally:
            self._worker = None
            await worker.stop()
            await running

    def close(self) -> None:
        """Close the inbox; it is opened again when it is needed."""
        self.inbox.close()

    def open_sources(self) -> frozenset[str]:
        """Return the sources that are handled: those with a secret, and a handler here or behind a queue."""
        if not self._settings.webhooks.enabled:
            return frozenset()
        wanted = self.handlers.sources
        if self._queue is not None and not self._queue.runs_tickets:
            wanted = wanted.union(self.intakes.sources)
        return wanted - self.intakes.closed.keys()

    def _new_worker(self) -> WebhookWorker:
        handling: Handling = self._attempts
        if self._queue is not None:
            handling = Relay(self.inbox, self._queue, self._settings.webhooks, self._threads.submit)
            self._threads.submit(partial(_log_warnings, self._queue))
        return webhook_worker(
            self._settings, self.inbox, self._archive, handling, self.open_sources, self._clock, self._count_dead
        )

    def _handle(self, lease: Lease) -> Future[None]:
        return self._host.run_on_loop(self._attempts.handle(lease))

    def _wake(self) -> None:
        worker = self._worker
        if worker is not None:
            worker.wake()

    def _watch(self) -> None:
        if not self._is_watched and self.open_sources():
            self._is_watched = True
            self._host.add_check(HealthCheck("webhook inbox", self._backlog.check, required=False))

    def _count(self, delivery: Delivery, outcome: str, seconds: float) -> None:
        self.intakes.counts.add(delivery.source, outcome)
        self.intakes.counts.add_seconds(delivery.source, seconds)

    def _count_dead(self, delivery: Delivery) -> None:
        self.intakes.counts.add(delivery.source, "dead")


def _log_warnings(queue: Queue) -> None:
    """Log what a queue has to say against how it is kept; it may ask its broker."""
    for text in queue.warnings():
        logger.warning("%s", text)
