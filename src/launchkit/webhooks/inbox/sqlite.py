"""The inbox's file: how it is opened, who may read it, and its transactions.

The rules: write-ahead log and `synchronous=FULL`, so that what was committed survives a power cut; the folder and the
file are readable by their owner alone; a file that was moved or deleted is noticed before the next transaction, because
a commit to it would be lost. Processes take turns by a lock on a file of its own: SQLite's waiting is a series of
sleeps, which starves some processes for seconds. One thread uses a `SqliteDatabase`, the one that opened it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from launchkit.pipeline.clock import Clock
from launchkit.webhooks.inbox.layout import prepare


class SqliteSession:
    """One transaction on the file."""

    by_due = "INDEXED BY delivery_due"  # the planner alone would take another index and sort the whole backlog
    by_body = "INDEXED BY delivery_body"  # nor would it know that most have none
    locked = ""  # whoever has begun a transaction is alone
    undoes_statements = True

    def __init__(self, connection: sqlite3.Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self.wrote = False

    @property
    def now(self) -> float:
        """The time by this machine's clock."""
        return self._clock.time()

    def execute(self, statement: str, values: Sequence[object] = ()) -> int:
        """Carry a statement out and return how many rows it changed."""
        changed = self._connection.execute(statement, values).rowcount
        self.wrote = self.wrote or changed > 0
        return changed

    def query(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a SELECT."""
        return self._connection.execute(statement, values).fetchall()

    def insert(self, statement: str, values: Sequence[object]) -> int | None:
        """Carry out an INSERT of one row; return its id, or None if it conflicts."""
        cursor = self._connection.execute(statement, values)
        if cursor.rowcount != 1:
            return None
        self.wrote = True
        return cursor.lastrowid

    def insert_all(self, head: str, row: str, rows: Sequence[Sequence[object]]) -> Sequence[int] | None:
        """Insert rows by one statement; return their ids, or None if any conflicts."""
        values = [value for one in rows for value in one]
        try:
            cursor = self._connection.execute(f"{head} {', '.join([row] * len(rows))}", values)
        except sqlite3.IntegrityError:  # the statement alone is undone
            return None
        self.wrote = True
        last = cursor.lastrowid or 0
        return range(last - len(rows) + 1, last + 1)  # nobody else inserts meanwhile

    def be_alone_with(self, order_key: str) -> None:
        """Do nothing: whoever has begun a transaction is alone."""

    def announce(self, row: int, due_at: float) -> None:
        """Do nothing: workers look into the file."""


class SqliteDatabase:
    """One connection to the file, opened when it is needed."""

    BUSY_SECONDS: Final = 4.0
    """How long a transaction waits for a program that locks the file without taking its turn."""

    errors: tuple[type[Exception], ...] = (sqlite3.Error, OSError)

    def __init__(self, path: Path, clock: Clock) -> None:
        self.name = str(path)
        self._path = path
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._turns = -1
        self._opened: tuple[int, int] | None = None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[SqliteSession]:
        """Commit what the block does. Raises sqlite3.Error or OSError; `close` must follow then."""
        connection = self._current()
        with self._turn():
            connection.execute("BEGIN IMMEDIATE")
            yield SqliteSession(connection, self._clock)
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
        with self._turn():
            return self._open_in_turn()

    def _open_in_turn(self) -> sqlite3.Connection:
        if not self._path.exists():
            # Before SQLite would create it readable for all. Never when it exists: closing a second descriptor of a
            # database drops the process's locks on it.
            self._path.touch(mode=0o600)
        connection = sqlite3.connect(self._path, timeout=self.BUSY_SECONDS, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            prepare(connection)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

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
