"""Deliveries in SQLite, from the moment they are acknowledged until they are done.

A delivery is `pending` until a handler succeeded (`done`), none is registered for it (`ignored`), or its attempts are
used up (`dead`). The rules of a lease:

- A claim counts the attempt and leases the delivery for a while; a lease that is not extended ends, and the delivery is
  due again for whoever claims next.
- The number of the attempt is the lease's fencing token: once another claim has counted a further one, whatever the
  earlier holder says is void.
- A delivery that is claimed when its attempts are used up becomes dead instead. Because attempts are counted before the
  handler runs, this also ends a delivery that kills the process each time.

Times are seconds since 1970: they have to mean the same to the next process. Every verb but `put` returns a
concurrent future, for the event loop to wrap; each raises `StoreDown` while the file cannot be used.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import NewDelivery, StoreDown
from launchkit.webhooks.delivery import Delivery
from launchkit.webhooks.writer import Writer

_Row = tuple[int, str, str, str, str, bytes, int, float]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim found due: `leased` ones to handle, and `dead` ones whose attempts were used up."""

    leased: tuple[Delivery, ...]
    dead: tuple[Delivery, ...]


@dataclass(frozen=True, slots=True)
class InboxStats:
    """How many deliveries are in each state, and when the oldest pending one came, in seconds since 1970."""

    pending: int
    done: int
    dead: int
    ignored: int
    oldest_pending: float | None


class SqliteInbox:
    """The inbox in one file, shared by all processes of a machine."""

    WAIT: Final = 5.0
    """Seconds that `put` waits for the commit."""

    RETENTION: Final = 30 * 86_400.0
    """Seconds for which finished deliveries are kept: longer than senders repeat theirs, so that repeats are known."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        self._writer = Writer(path)

    def put(self, delivery: NewDelivery) -> bool:
        """Store a delivery and return, after the commit, whether it is new. Raises `StoreDown`."""
        future = self._store(delivery)
        try:
            return future.result(self.WAIT)
        except TimeoutError:
            future.cancel()
            raise self._too_slow() from None

    async def aput(self, delivery: NewDelivery) -> bool:
        """Store a delivery and return, after the commit, whether it is new. Raises `StoreDown`."""
        try:
            async with asyncio.timeout(self.WAIT):
                return await asyncio.wrap_future(self._store(delivery))
        except TimeoutError:
            raise self._too_slow() from None

    def claim(self, limit: int, *, sources: Iterable[str], lease: float, attempts: int) -> Future[Claim]:
        """Take up to `limit` due deliveries, longest due first.

        Args:
            limit: how many at most, the dead ones included.
            sources: whose; those of others wait for a process that has handlers for them.
            lease: seconds until others may claim them.
            attempts: how many a delivery may have in all.
        """
        values = (self._clock.time(), json.dumps(list(sources)), limit)

        def operation(connection: sqlite3.Connection) -> Claim:
            rows: list[_Row] = connection.execute(_SELECT_DUE, values).fetchall()
            leased = [row for row in rows if row[6] < attempts]
            dead = [row for row in rows if row[6] >= attempts]
            connection.executemany(_LEASE, [(values[0] + lease, row[0]) for row in leased])
            connection.executemany(_BURY, [(row[0],) for row in dead])
            return Claim(
                tuple(_delivery(row, attempt=row[6] + 1) for row in leased),
                tuple(_delivery(row, attempt=row[6]) for row in dead),
            )

        return self._writer.submit(operation)

    def done(self, delivery: Delivery) -> Future[bool]:
        """The handler succeeded. The answer is whether the lease was still held; if not, nothing changed."""
        return self._end(delivery, "done")

    def ignored(self, delivery: Delivery) -> Future[bool]:
        """No handler wants it. The answer is whether the lease was still held; if not, nothing changed."""
        return self._end(delivery, "ignored")

    def dead(self, delivery: Delivery) -> Future[bool]:
        """It is not tried again. The answer is whether the lease was still held; if not, nothing changed."""
        return self._end(delivery, "dead")

    def retry(self, delivery: Delivery, delay: float) -> Future[bool]:
        """Make it due again in `delay` seconds. The answer is whether the lease was still held."""
        return self._make_due(delivery, delay)

    def extend(self, delivery: Delivery, seconds: float) -> Future[bool]:
        """Hold it for `seconds` from now on. The answer is whether the lease was still held."""
        return self._make_due(delivery, seconds)

    def release(self, delivery: Delivery) -> Future[bool]:
        """Give it back unfinished, due at once. The answer is whether the lease was still held."""
        return self._make_due(delivery, 0)

    def stats(self) -> Future[InboxStats]:
        """Count the deliveries."""

        def operation(connection: sqlite3.Connection) -> InboxStats:
            counts = dict.fromkeys(("pending", "done", "dead", "ignored"), 0)
            counts.update(connection.execute("SELECT state, COUNT(*) FROM delivery GROUP BY state"))
            (oldest,) = connection.execute("SELECT MIN(received_at) FROM delivery WHERE state = 'pending'").fetchone()
            return InboxStats(**counts, oldest_pending=oldest)

        return self._writer.submit(operation)

    def prune(self, limit: int = 500) -> Future[int]:
        """Delete up to `limit` finished deliveries older than `RETENTION` and return how many; dead ones stay."""
        before = self._clock.time() - self.RETENTION
        return self._writer.submit(lambda connection: connection.execute(_PRUNE, (before, limit)).rowcount)

    def close(self) -> None:
        """Finish what was asked for and close the file; a later verb opens it again."""
        self._writer.close()

    def _store(self, delivery: NewDelivery) -> Future[bool]:
        now = self._clock.time()
        headers = json.dumps(delivery.headers)
        row = (delivery.source, delivery.dedupe_key, delivery.event, now, now, headers, delivery.body)
        return self._writer.submit(lambda connection: connection.execute(_INSERT, row).rowcount == 1)

    def _end(self, delivery: Delivery, state: Literal["done", "ignored", "dead"]) -> Future[bool]:
        values = (state, delivery.source, delivery.id, delivery.attempt)
        return self._writer.submit(lambda connection: connection.execute(_END, values).rowcount == 1)

    def _make_due(self, delivery: Delivery, delay: float) -> Future[bool]:
        values = (self._clock.time() + delay, delivery.source, delivery.id, delivery.attempt)
        return self._writer.submit(lambda connection: connection.execute(_MAKE_DUE, values).rowcount == 1)

    def _too_slow(self) -> StoreDown:
        reason = f"no answer within {self.WAIT:g} s"
        self._writer.outage.failed(reason)
        return StoreDown(f"the inbox gave {reason}")


def _delivery(row: _Row, *, attempt: int) -> Delivery:
    _, source, dedupe_key, event, headers, body, _, received_at = row
    return Delivery(dedupe_key, source, event, body, dict(json.loads(headers)), attempt, received_at)


_INSERT: Final = """
    INSERT INTO delivery (source, dedupe_key, event, state, attempts, due_at, received_at, headers, body)
    VALUES (?, ?, ?, 'pending', 0, ?, ?, ?, ?) ON CONFLICT (source, dedupe_key) DO NOTHING
"""
# The planner alone would take the other index and sort the whole backlog.
_SELECT_DUE: Final = """
    SELECT id, source, dedupe_key, event, headers, body, attempts, received_at FROM delivery
    INDEXED BY delivery_due WHERE state = 'pending' AND due_at <= ?
    AND source IN (SELECT value FROM json_each(?)) ORDER BY due_at, id LIMIT ?
"""
_LEASE: Final = "UPDATE delivery SET attempts = attempts + 1, due_at = ? WHERE id = ?"
_BURY: Final = "UPDATE delivery SET state = 'dead' WHERE id = ?"
_END: Final = """
    UPDATE delivery SET state = ? WHERE source = ? AND dedupe_key = ? AND attempts = ? AND state = 'pending'
"""
_MAKE_DUE: Final = """
    UPDATE delivery SET due_at = ? WHERE source = ? AND dedupe_key = ? AND attempts = ? AND state = 'pending'
"""
_PRUNE: Final = """
    DELETE FROM delivery WHERE id IN (
        SELECT id FROM delivery WHERE state IN ('done', 'ignored') AND received_at < ? LIMIT ?
    )
"""
