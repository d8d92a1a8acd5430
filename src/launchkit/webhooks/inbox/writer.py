"""One thread that owns the connection to the inbox and commits whatever is waiting as one group.

A commit costs a flush of the disk, however much is in it: while one group is being flushed the next gathers, which
under load is twenty to forty times as fast as a commit for each operation. The rules:

- A group waits, for a fraction of a commit's time, for as many as were in the one before.
- An operation's future is settled after the commit, never before.
- Each operation has a savepoint: one that fails takes nothing of its group with it.
- When the database or its disk fails, everything in the group gets `StoreDown`, the connection is closed, and the next
  group opens it anew: there is nothing to reset when the disk is well again.
- The thread starts with the first operation. Before a fork it ends and closes the connection, because neither SQLite
  nor a socket may be carried into a child; parent and child each start their own with their next operation.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from launchkit.pipeline.effects import StoreDown
from launchkit.webhooks.inbox.database import Database
from launchkit.webhooks.inbox.jobs import Job, Operation, batches, done_together, settle_all

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Outage:
    """Says once when the store goes down, and once when it is back."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.down = False

    def failed(self, reason: object) -> None:
        """Note a failure of the store."""
        if not self.down:
            logger.error("webhook inbox %s is down, deliveries are asked to come again: %s", self._name, reason)
        self.down = True

    def worked(self) -> None:
        """Note that something was written."""
        if self.down:
            logger.warning("webhook inbox %s is back", self._name)
        self.down = False


class Writer:
    """Runs operations on a database, in the order submitted.

    Args:
        name: of the database, for logs.
        open_database: makes a connection for one thread; it is opened when it is needed.
    """

    MOST_WAITING: Final = 2_000
    """Operations that may wait; further ones are refused, so that a database which hangs does not fill the memory."""
    LARGEST_GROUP: Final = 256
    """So that those who wait for a commit do not wait for many others' work."""
    PATIENCE: Final = 0.25
    """The part of a commit's time that a group is waited for: so that few commits are made without those whose turn it
    is, and a lone sender waits for nobody."""
    END_SECONDS: Final = 5.0
    """How long to wait for the thread's last group."""

    def __init__(self, name: str, open_database: Callable[[], Database]) -> None:
        self._open_database = open_database
        self._begin()
        self.outage = Outage(name)
        _writers.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_forking = False

    def submit(self, operation: Operation[T]) -> Future[T]:
        """Carry `operation` out in the next group. The future raises `StoreDown` when that was not possible."""
        future: Future[T] = Future()
        self._put(Job(operation, future))
        return future

    def asubmit(self, operation: Operation[T]) -> asyncio.Future[T]:
        """Do `submit` with a future of the running loop, which costs a fraction of wrapping one."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        job = Job(operation, future)
        job.loop = loop
        self._put(job)
        return future

    def _put(self, job: Job[Any]) -> None:
        with self._lock:
            if self._jobs.qsize() >= self.MOST_WAITING:  # the database does not answer
                job.refuse(StoreDown(f"{self.MOST_WAITING} operations wait for the inbox already"))
                return
            self._jobs.put(job)
            if not self._is_forking:
                self._start_thread()

    def _start_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            work = (self._open_database(), self._jobs)
            self._thread = threading.Thread(target=self._serve, args=work, name="launchkit-inbox", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Finish what was submitted and close the file; a later operation opens it again."""
        with self._lock:
            thread = self._end()
        if thread is not None:
            thread.join(self.END_SECONDS)

    def before_fork(self) -> None:
        """End the thread; what is submitted from now on waits until after the fork."""
        with self._lock:
            self._is_forking = True
            thread = self._end()
        if thread is not None:
            thread.join(self.END_SECONDS)

    def after_fork_in_parent(self) -> None:
        """Go on with what was submitted meanwhile."""
        with self._lock:
            self._is_forking = False
            if not self._jobs.empty():
                self._start_thread()

    def after_fork_in_child(self) -> None:
        """Begin anew: what waits is the parent's, and a thread that is not there may have held the lock."""
        self._begin()

    def _end(self) -> threading.Thread | None:
        """Tell the thread to end after what was submitted; what is submitted from now on is another thread's."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            self._jobs = queue.SimpleQueue()
        return thread

    def _serve(self, database: Database, jobs: queue.SimpleQueue[Job[Any] | None]) -> None:
        more, size, seconds = True, 0, 0.0
        while more:
            group, more = self._take(jobs, size, seconds * self.PATIENCE)
            began = time.monotonic()
            self._commit(database, group)
            size, seconds = len(group), time.monotonic() - began
        database.close()

    def _take(
        self, jobs: queue.SimpleQueue[Job[Any] | None], expected: int, patience: float
    ) -> tuple[list[Job[Any]], bool]:
        """Return all that is waiting, at least one, and whether more may come.

        Threads that were woken by a commit come back one after the other: after the first, up to `patience` seconds are
        given to the others, until there are as many as `expected`.
        """
        group: list[Job[Any]] = []
        deadline: float | None = None
        while len(group) < self.LARGEST_GROUP and not (group and jobs.empty() and len(group) >= expected):
            try:
                job = jobs.get(timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if job is None:
                return group, False
            if deadline is None:
                deadline = time.monotonic() + patience
            if job.begins():
                group.append(job)
        return group, True

    def _commit(self, database: Database, group: Sequence[Job[Any]]) -> None:
        if not group:
            return
        wrote = False
        try:
            with database.transaction() as session:
                for jobs in batches(group):
                    if not done_together(jobs, session):
                        for job in jobs:
                            job.run(session, database)
                wrote = session.wrote
        except Exception as error:  # noqa: BLE001  # also a bug of ours: whoever waits is told, and the thread goes on
            database.close()
            for job in group:
                job.fail(error, database)
        failed = next((job.error for job in group if job.error is not None), None)
        if failed is not None:
            self.outage.failed(failed)
        elif wrote:  # a full disk can still be read
            self.outage.worked()
        settle_all(group)


_writers: weakref.WeakSet[Writer] = weakref.WeakSet()
_forking = threading.Lock()
_paused: list[Writer] = []


def _before_fork() -> None:
    _forking.acquire()
    _paused[:] = _writers
    for writer in _paused:
        writer.before_fork()


def _after_fork_in_parent() -> None:
    for writer in _paused:
        writer.after_fork_in_parent()
    _paused.clear()
    _forking.release()


def _after_fork_in_child() -> None:
    for writer in _paused:
        writer.after_fork_in_child()
    _paused.clear()
    _forking.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
