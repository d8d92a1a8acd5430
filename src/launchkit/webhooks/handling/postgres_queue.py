"""pgqueuer's jobs as one worker sees them: over one connection that it asks on, and listens on while it does not ask.

The connection belongs to one task. Between two questions its socket is watched by the event loop alone, so that a
worker with nothing to do does not run at all until the server tells of a job, or closes the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import timedelta
from typing import Any, Final

import psycopg
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder, QuerySchedulerBuilder
from pgqueuer.db import PsycopgDriver
from pgqueuer.models import Job
from pgqueuer.queries import EntrypointExecutionParameter, Queries
from pgqueuer.types import QueueEntrypoint, QueueManagerId

from launchkit.webhooks.inbox.postgres import entrypoint
from launchkit.webhooks.inbox.postgres_layout import QUEUE_NAMES

_UNLIMITED: Final = EntrypointExecutionParameter(concurrency_limit=0)
_LOG_STEP: Final = 10_000


@contextlib.asynccontextmanager
async def connected(conninfo: str, worker: uuid.UUID, woken: asyncio.Event) -> AsyncIterator[JobQueue]:
    """Connect for the block. Raises psycopg.Error or OSError.

    Args:
        conninfo: how.
        worker: who asks.
        woken: is set when there may be something to ask for.
    """
    connection = await psycopg.AsyncConnection.connect(conninfo, autocommit=True)
    try:
        connection.add_notify_handler(lambda _: woken.set())  # of those that come with an answer
        await connection.execute(f"LISTEN {QUEUE_NAMES.channel}".encode())
        yield JobQueue(connection, worker, woken)
    finally:
        await connection.close()


class JobQueue:
    """Jobs, each with the number of a delivery as its payload."""

    def __init__(
        self, connection: psycopg.AsyncConnection[tuple[Any, ...]], worker: uuid.UUID, woken: asyncio.Event
    ) -> None:
        self._connection = connection
        self._worker = QueueManagerId(worker)
        self._woken = woken
        self._queries = Queries(
            PsycopgDriver(connection),
            QueryBuilderEnvironment(QUEUE_NAMES),
            QueryQueueBuilder(QUEUE_NAMES),
            QuerySchedulerBuilder(QUEUE_NAMES),
        )

    async def take(self, limit: int, sources: Collection[str], stale_after: float) -> Sequence[Job]:
        """Take up to `limit` jobs that are due, or whose worker has given no sign of life for `stale_after` seconds."""
        return await self._queries.dequeue(
            limit, dict.fromkeys(_entrypoints(sources), _UNLIMITED), self._worker, None, timedelta(seconds=stale_after)
        )

    async def next_due(self, sources: Collection[str]) -> float | None:
        """Return in how many seconds the next job is due; None if no job is for a later time.

        To be asked before `take`: what becomes due in between is then seen by one of them.
        """
        delay = await self._queries.next_deferred_eta(_entrypoints(sources))
        return None if delay is None else delay.total_seconds()

    async def keep(self, jobs: Collection[Job]) -> None:
        """Give a sign of life for jobs."""
        if jobs:
            await self._queries.update_heartbeat([job.id for job in jobs])

    async def finish(self, jobs: Sequence[Job]) -> None:
        """Jobs are over."""
        if jobs:
            await self._queries.log_jobs([(job, "successful", None) for job in jobs])

    async def give_back(self, jobs: Sequence[Job]) -> None:
        """Let another worker take jobs at once."""
        for job in jobs:
            await self._queries.retry_job(job, timedelta(0), None)

    async def forget_log(self) -> None:
        """Delete what pgqueuer has noted about jobs, which it does not do itself, and which nobody asks for."""
        deleted = _LOG_STEP
        while deleted == _LOG_STEP:
            deleted = (await self._connection.execute(_FORGET.encode())).rowcount

    async def wait(self, seconds: float, *, listening: bool) -> None:
        """Return when woken, when the server has something to say and that is listened to, or after `seconds`."""
        loop = asyncio.get_running_loop()
        socket = self._connection.fileno()
        if listening:
            loop.add_reader(socket, self._woken.set)
        try:
            await wait_for(self._woken, seconds)
        finally:
            if listening:
                loop.remove_reader(socket)


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Return when the event is set, clearing it, or after `seconds`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    event.clear()


def _entrypoints(sources: Collection[str]) -> list[QueueEntrypoint]:
    return [QueueEntrypoint(entrypoint(source)) for source in sources]


_LOG: Final = QUEUE_NAMES.qualified.queue_table_log
_FORGET: Final = f"""
    DELETE FROM {_LOG} WHERE id IN (
        SELECT id FROM {_LOG} WHERE created < now() - interval '10 minutes' LIMIT {_LOG_STEP} FOR UPDATE SKIP LOCKED
    )
"""  # noqa: S608  # no values
