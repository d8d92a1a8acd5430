"""What the tests of webhooks in PostgreSQL share: an inbox in an empty database, and what can be done to it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from tests.webhooks.postgres_server import PostgresServer, _children

from launchkit.webhooks.inbox.archive import Archive, Retention
from launchkit.webhooks.inbox.inbox import Inbox
from launchkit.webhooks.inbox.postgres import PostgresDatabase
from launchkit.webhooks.inbox.room import Room
from launchkit.webhooks.inbox.writer import Writer

T = TypeVar("T")


def now(future: Future[T]) -> T:
    return future.result(20)


def make_writer(url: str) -> Writer:
    return Writer(PostgresDatabase(url).name, lambda: PostgresDatabase(url))


def make_room(most_pending: int = 100_000) -> Room:
    return Room(most_pending, 0, lambda: None, time.monotonic)


@contextmanager
def inbox_at(url: str) -> Iterator[Inbox]:
    inbox = Inbox(make_writer(url), make_room())
    try:
        yield inbox
    finally:
        inbox.close()


def ask(url: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Carry a statement out on a connection of its own, and return its rows."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []


def archive_of(inbox: Inbox) -> Archive:
    """Return what operators would use of an inbox."""
    return Archive(inbox._writer, Retention())


_shared: dict[PostgresServer, str] = {}


def clean_database(server: PostgresServer) -> str:
    """Return the address of a database with an empty inbox: the same each time, because to make one takes a second."""
    if server not in _shared:
        _shared[server] = server.fresh_database()
        now(make_writer(_shared[server]).submit(lambda session: session.now))
    url = _shared[server]
    ask(url, "TRUNCATE launchkit.delivery, launchkit.pgqueuer, launchkit.pgqueuer_log RESTART IDENTITY")
    return url


@contextmanager
def frozen(server: PostgresServer) -> Iterator[None]:
    """Stop the server's processes for the block: connections stay open, and nothing is answered."""
    assert server._process is not None
    processes = [server._process.pid, *_children(server._process.pid)]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in reversed(processes):
            os.kill(process, signal.SIGCONT)
