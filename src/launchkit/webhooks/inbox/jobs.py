"""One operation on its way through a group of the writer's, alone or by one statement with its like."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Final, Generic, TypeVar, cast

from launchkit.pipeline.effects import StoreDown
from launchkit.webhooks.inbox.database import Database, Session

LARGEST_BATCH: Final = 64
"""Operations in one statement: SQLite had room for 999 values in one before 3.32."""

T = TypeVar("T")
Operation = Callable[[Session], T]
"""What to do within a transaction. It neither begins nor commits one."""


class Batched(ABC, Generic[T]):
    """An operation that many of which go faster by one statement than one after the other."""

    @abstractmethod
    def __call__(self, session: Session) -> T:
        """Do it alone, changing something by one statement at most: where it fails nothing was changed."""

    @classmethod
    @abstractmethod
    def together(cls, session: Session, operations: Sequence[Batched[T]]) -> Sequence[T] | None:
        """Do them all and return what each returns; None, and none of them was done, if that is not possible."""


class Job(Generic[T]):
    """One operation on its way through a group."""

    loop: asyncio.AbstractEventLoop | None = None
    """The event loop that the future belongs to, if it does to one."""

    def __init__(self, operation: Operation[T], future: Future[T] | asyncio.Future[T]) -> None:
        self.operation = operation
        self._future = future
        self._result: T | None = None
        self._failure: Exception | None = None
        self.error: Exception | None = None

    def begins(self) -> bool:
        """Tell whether anybody still waits for it."""
        if isinstance(self._future, Future):
            return self._future.set_running_or_notify_cancel()
        return not self._future.done()

    def run(self, session: Session, database: Database) -> None:
        """Carry the operation out so that it changes all or nothing. Raises only when the whole transaction is lost."""
        if isinstance(self.operation, Batched) and session.undoes_statements:
            self._run_bare(session, database)
            return
        session.execute("SAVEPOINT job")
        try:
            self.succeed(self.operation(session))
        except Exception as error:  # noqa: BLE001  # its future takes it
            try:
                session.execute("ROLLBACK TO SAVEPOINT job")
            except database.errors:  # the transaction is lost
                raise error from None
            self.fail(error, database)
        session.execute("RELEASE SAVEPOINT job")

    def _run_bare(self, session: Session, database: Database) -> None:
        try:
            self.succeed(self.operation(session))
        except database.errors:  # of the statement or of the whole database: the group is told
            raise
        except Exception as error:  # noqa: BLE001  # its future takes it
            self.fail(error, database)

    def succeed(self, result: T) -> None:
        """Let the operation end with `result`."""
        self._result = result

    def fail(self, error: Exception, database: Database) -> None:
        """Let the operation end with `error`, or with `StoreDown` where that is what it means."""
        down = isinstance(error, database.errors)
        self._failure = StoreDown(f"the inbox cannot be used: {error}") if down else error
        self.error = error if down else None

    def refuse(self, error: Exception) -> None:
        """Let the operation end with `error` before it has begun, where it was submitted."""
        self._failure = error
        self.settle()

    def settle(self) -> None:
        """Tell whoever waits; on the loop, if the future belongs to one."""
        if self._future.done():  # whoever waited has given up
            return
        if self._failure is not None:
            self._future.set_exception(self._failure)
        else:
            self._future.set_result(cast("T", self._result))


def batches(group: Sequence[Job[Any]]) -> Iterator[Sequence[Job[Any]]]:
    """Split a group into runs of jobs that may be done together."""
    for kind, jobs in itertools.groupby(group, lambda job: type(job.operation)):
        run = list(jobs)
        size = LARGEST_BATCH if issubclass(kind, Batched) else 1
        yield from (run[start : start + size] for start in range(0, len(run), size))


def done_together(jobs: Sequence[Job[Any]], session: Session) -> bool:
    """Do jobs by one statement, if that is possible; return whether it was."""
    operations = [job.operation for job in jobs if isinstance(job.operation, Batched)]
    if len(operations) < 2:
        return False
    results = operations[0].together(session, operations)
    for job, result in zip(jobs, results or (), strict=False):
        job.succeed(result)
    return results is not None


def settle_all(jobs: Iterable[Job[Any]]) -> None:
    """Tell everybody who waits, waking each loop once: it is what a commit of many takes most of its time for."""
    of_loops: dict[asyncio.AbstractEventLoop, list[Job[Any]]] = {}
    for job in jobs:
        if job.loop is None:
            job.settle()
        else:
            of_loops.setdefault(job.loop, []).append(job)
    for loop, waiting in of_loops.items():
        with contextlib.suppress(RuntimeError):  # the loop was closed
            loop.call_soon_threadsafe(_settle_here, waiting)


def _settle_here(jobs: Iterable[Job[Any]]) -> None:
    for job in jobs:
        job.settle()
