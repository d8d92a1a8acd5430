"""One thread that owns the inbox's file and commits whatever is waiting as one group.

A commit costs a flush of the disk, however much is in it: while one group is being flushed the next gathers, which
under load is twenty to forty times as fast as a commit for each operation. The rules:

- An operation's future is settled after the commit, never before.
- Each operation has a savepoint: one that fails takes nothing of its group with it.
- When the file or the disk fails, everything in the group gets `StoreDown`, the file is closed, and the next group
  opens it anew: there is nothing to reset when the disk is well again.
- The thread starts with the first operation. Before a fork it ends and closes the file, because SQLite must not be
  carried into a child; parent and child each start their own with their next operation.
"""

from __future__ import annotations

import logging
import os
import queue
import sqlite3
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from launchkit.pipeline.effects import StoreDown
from launchkit.webhooks.database import Database

logger = logging.getLogger(__name__)

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], T]
"""What to do within a transaction. It neither begins nor commits one."""


class _Job(Generic[T]):
    """One operation on its way through a group."""

    def __init__(self, operation: Operation[T]) -> None:
        self._operation = operation
        self.future: Future[T] = Future()
        self._settle: Callable[[], object] = self.future.cancel
        self.error: Exception | None = None

    def run(self, connection: sqlite3.Connection) -> None:
        """Carry the operation out in a savepoint. Raises only when the whole transaction is lost."""
        connection.execute("SAVEPOINT job")
        try:
            result = self._operation(connection)
        except Exception as error:  # its future takes it
            if not connection.in_transaction:
                raise
            connection.execute("ROLLBACK TO job")
            self.fail(error)
        else:
            self._settle = lambda: self.future.set_result(result)
        connection.execute("RELEASE job")

    def fail(self, error: Exception) -> None:
        """Let the operation end with `error`, or with `StoreDown` where that is what it means."""
        down = isinstance(error, sqlite3.Error | OSError)
        told = StoreDown(f"the inbox cannot be used: {error}") if down else error
        self.error = error if down else None
        self._settle = lambda: self.future.set_exception(told)

    def settle(self) -> None:
        """Tell whoever waits."""
        self._settle()


class Outage:
    """Says once when the store goes down, and once when it is back."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._down = False

    def failed(self, reason: object) -> None:
        """Note a failure of the store."""
        if not self._down:
            logger.error("webhook inbox %s is down, deliveries are asked to come again: %s", self._path, reason)
        self._down = True

    def worked(self) -> None:
        """Note that something was written."""
        if self._down:
            logger.warning("webhook inbox %s is back", self._path)
        self._down = False


class Writer:
    """Runs operations on the inbox's file, in the order submitted."""

    LARGEST_GROUP: Final = 256
    """So that those who wait for a commit do not wait for many others' work."""
    END_SECONDS: Final = 5.0
    """How long to wait for the thread's last group."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self.outage = Outage(path)
        _writers.add(self)

    def submit(self, operation: Operation[T]) -> Future[T]:
        """Carry `operation` out in the next group. The future raises `StoreDown` when that was not possible."""
        job = _Job(operation)
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._serve, args=(self._jobs,), name="launchkit-inbox", daemon=True
                )
                self._thread.start()
            self._jobs.put(job)
        return job.future

    def close(self) -> None:
        """Finish what was submitted and close the file; a later operation opens it again."""
        with self._lock:
            thread = self._end()
        if thread is not None:
            thread.join(self.END_SECONDS)

    def before_fork(self) -> None:
        """End the thread and let nobody start another until after the fork."""
        self._lock.acquire()
        thread = self._end()
        if thread is not None:
            thread.join(self.END_SECONDS)

    def after_fork(self) -> None:
        """Go on, in the parent as in the child."""
        self._lock.release()

    def _end(self) -> threading.Thread | None:
        """Tell the thread to end after what was submitted; what is submitted from now on is another thread's."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            self._jobs = queue.SimpleQueue()
        return thread

    def _serve(self, jobs: queue.SimpleQueue[_Job[Any] | None]) -> None:
        database, more = Database(self._path), True
        while more:
            group, more = self._take(jobs)
            self._commit(database, group)
        database.close()

    def _take(self, jobs: queue.SimpleQueue[_Job[Any] | None]) -> tuple[list[_Job[Any]], bool]:
        """Return all that is waiting, at least one, and whether more may come."""
        group: list[_Job[Any]] = []
        while (job := jobs.get()) is not None:
            if job.future.set_running_or_notify_cancel():
                group.append(job)
            if jobs.empty() or len(group) == self.LARGEST_GROUP:
                return group, True
        return group, False

    def _commit(self, database: Database, group: Sequence[_Job[Any]]) -> None:
        if not group:
            return
        try:
            with database.transaction() as connection:
                before = connection.total_changes
                for job in group:
                    job.run(connection)
                wrote = connection.total_changes > before
        except (sqlite3.Error, OSError) as error:
            database.close()
            for job in group:
                job.fail(error)
        else:
            if wrote and not any(job.error for job in group):
                self.outage.worked()
        for job in group:
            if job.error is not None:
                self.outage.failed(job.error)
            job.settle()


_writers: weakref.WeakSet[Writer] = weakref.WeakSet()
_forking = threading.Lock()
_paused: list[Writer] = []


def _before_fork() -> None:
    _forking.acquire()
    _paused[:] = _writers
    for writer in _paused:
        writer.before_fork()


def _after_fork() -> None:
    for writer in _paused:
        writer.after_fork()
    _paused.clear()
    _forking.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
