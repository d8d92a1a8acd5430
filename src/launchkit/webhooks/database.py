"""The inbox's file: how it is opened, who may read it, and its transactions.

The rules: write-ahead log and `synchronous=FULL`, so that what was committed survives a power cut; the folder and the
file are readable by their owner alone; a file that was moved or deleted is noticed before the next transaction, because
a commit to it would be lost. Processes take turns by a lock on a file of its own: SQLite's waiting is a series of
sleeps, which starves some processes for seconds. One thread uses a `Database`, the one that opened it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SCHEMA_VERSION: Final = 1

_SCHEMA: Final = (
    """
    CREATE TABLE delivery (
        id INTEGER PRIMARY KEY,
        source TEXT NOT NULL,
        dedupe_key TEXT NOT NULL,
        event TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('pending', 'done', 'dead', 'ignored')),
        attempts INTEGER NOT NULL,
        due_at REAL NOT NULL, -- while pending: when it may be claimed, which for a leased one is when its lease ends
        received_at REAL NOT NULL,
        headers TEXT NOT NULL,
        body BLOB NOT NULL,
        UNIQUE (source, dedupe_key)
    )
    """,
    "CREATE INDEX delivery_due ON delivery (due_at) WHERE state = 'pending'",
    "CREATE INDEX delivery_state ON delivery (state, received_at)",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


class Database:
    """One connection to the file, opened when it is needed."""

    BUSY_SECONDS: Final = 4.0
    """How long a transaction waits for a program that locks the file without taking its turn."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._turns = -1
        self._opened: tuple[int, int] | None = None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit what the block does. Raises sqlite3.Error or OSError; `close` must follow then."""
        connection = self._current()
        with self._turn():
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file, giving up a transaction under way; the next one opens it anew."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()
        if self._turns >= 0:
            os.close(self._turns)
            self._turns = -1

    def _current(self) -> sqlite3.Connection:
        if self._connection is None or self._opened != self._identity():
            self.close()
            self._connection = self._open()
            self._opened = self._identity()
        return self._connection

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._turns = os.open(self._path.with_name(self._path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        if not self._path.exists():
            # Before SQLite would create it readable for all. Never when it exists: closing a second descriptor of a
            # database drops the process's locks on it.
            self._path.touch(mode=0o600)
        connection = sqlite3.connect(self._path, timeout=self.BUSY_SECONDS, isolation_level=None)
        try:
            with self._turn():
                self._prepare(connection)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    @staticmethod
    def _prepare(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"written by a newer LaunchKit (layout {version}, not {SCHEMA_VERSION})")
        if version == 0:
            connection.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute("COMMIT")

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        fcntl.flock(self._turns, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._turns, fcntl.LOCK_UN)
