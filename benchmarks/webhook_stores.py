"""What stores events so that they survive a power cut, each in a file of its own, with SQLite's `synchronous` at FULL.

The kit's inbox takes them from coroutines and from threads. SqliteHuey, with `fsync=True`, is asked from threads for
one task an event, as its users do; it has one connection, which threads take turns at, and it pickles what a task is
called with. One commit per event is the least that code written by hand would do: a connection, a lock, and an index
that refuses repeats.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from huey import SqliteHuey  # type: ignore[import-untyped]  # it has no types

from benchmarks.launched import FEATURES, new_secret
from benchmarks.webhook_events import SOURCE
from benchmarks.webhook_senders import Turn, by_asyncio, by_threads
from launchkit import Settings
from launchkit.deliveries import webhook_inbox
from launchkit.pipeline.clock import SystemClock
from launchkit.pipeline.effects import NewDelivery
from launchkit.webhooks.inbox.inbox import Inbox

PLENTY = 10**8
"""Deliveries that may be pending: nobody handles them while they are stored."""


@dataclass(frozen=True, slots=True)
class Store:
    """`send` has so many senders store events for so many seconds."""

    send: Callable[[int, float], Turn]
    close: Callable[[], None]


def inbox_settings(folder: Path, **more: object) -> Settings:
    """Return the settings of a kit that has nothing but webhooks."""
    off = {name: {"enabled": False} for name in FEATURES if name != "webhooks"}
    webhooks = {"sources": {SOURCE: {"secrets": [new_secret()]}}, "max_pending": PLENTY}
    return Settings(environment="production", data_dir=folder, webhooks=webhooks, **off, **more)


def open_inbox(folder: Path, **more: object) -> Inbox:
    """Return the inbox of such a kit."""
    return webhook_inbox(inbox_settings(folder, **more), SystemClock())[0]


def under_asgi(inbox: Inbox) -> Store:
    """The kit's inbox, asked from coroutines."""
    return Store(partial(by_asyncio, inbox.aput), inbox.close)


def under_wsgi(inbox: Inbox) -> Store:
    """The kit's inbox, asked from threads."""
    return Store(partial(by_threads, inbox.put), inbox.close)


def huey(folder: Path) -> Store:
    """SqliteHuey."""
    queue = SqliteHuey(filename=str(folder / "huey.sqlite3"), fsync=True)

    @queue.task()  # type: ignore[untyped-decorator]  # it has no types
    def handle(source: str, id_: str, event: str, headers: dict[str, str], body: bytes) -> None:
        pass

    def put(new: NewDelivery) -> bool:
        handle(new.source, new.dedupe_key, new.event, dict(new.headers), new.body)
        return True

    return Store(partial(by_threads, put), queue.storage.close)


def one_by_one(folder: Path) -> Store:
    """One commit per event."""
    connection = sqlite3.connect(folder / "one.sqlite3", isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE event (source, id, event, headers, body, received_at, UNIQUE (source, id))")
    lock = threading.Lock()

    def put(new: NewDelivery) -> bool:
        row = (new.source, new.dedupe_key, new.event, json.dumps(new.headers), new.body, time.time())
        with lock:
            return connection.execute("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?)", row).rowcount == 1

    return Store(partial(by_threads, put), connection.close)
