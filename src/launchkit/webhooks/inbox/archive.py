"""The inbox as operators use it: look, count, replay, discard; and forget what is old.

Everything that may touch many deliveries does so in steps, so that those who wait for a commit do not wait for it. What
is old goes in three ages: bodies and headers first, those of dead letters later, and last the keys by which repeats are
known, because a sender may repeat itself long after.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

from launchkit.webhooks.inbox.database import Session
from launchkit.webhooks.inbox.inbox import State
from launchkit.webhooks.inbox.leases import IS_NEXT, announce_next
from launchkit.webhooks.inbox.writer import Writer

DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Filter:
    """Which deliveries: those that meet every condition that is set."""

    keys: tuple[str, ...] = ()
    """Idempotency keys, `source:id`."""
    source: str | None = None
    event: str | None = None
    states: tuple[State, ...] = ()
    since: float | None = None
    """Received at or after, in seconds since 1970."""
    until: float | None = None
    """Received before, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A delivery as its inbox has it, without what was sent."""

    row: int
    """Its number, in the order of receipt."""
    id: str
    source: str
    event: str
    state: State
    attempts: int
    is_leased: bool
    """Whether somebody is handling it."""
    due_at: float
    """While pending: when it may be claimed, or its lease ends; in seconds since 1970."""
    received_at: float
    """In seconds since 1970."""
    error: str | None
    """What the last attempt failed with, or why it was discarded."""
    order_key: str | None
    has_body: bool
    """Whether body and headers are still there."""

    @property
    def key(self) -> str:
        """`source:id`, the delivery's idempotency key."""
        return f"{self.source}:{self.id}"


@dataclass(frozen=True, slots=True)
class Content:
    """What was sent."""

    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is to be done. Cheap enough to ask for every few seconds."""

    pending: int
    """How many are pending, those that wait for their next attempt and those in hands included."""
    leased: int
    """How many are in hands."""
    retrying: int
    """How many wait for a further attempt."""
    dead: int
    oldest_due: float | None
    """Since when the one that has waited longest could have been claimed, its lease over, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Seconds since receipt for which things are kept."""

    bodies: float = 7 * DAY
    """Bodies and headers of what is done or ignored."""
    dead: float = 30 * DAY
    """Those of dead letters."""
    keys: float = 90 * DAY
    """By which repeats are known."""


class Archive:
    """The verbs of operators. Every one returns a concurrent future and raises `StoreDown` as those of `Inbox` do."""

    STEP: Final = 500
    """How many deliveries are changed in one transaction."""

    def __init__(self, writer: Writer, retention: Retention) -> None:
        self._writer = writer
        self._retention = retention

    def list(self, wanted: Filter, *, limit: int = 50, before: int | None = None) -> Future[tuple[Entry, ...]]:
        """Return deliveries, the latest first; `before` is a row, to go on from."""

        def operation(session: Session) -> tuple[Entry, ...]:
            condition, values = _condition(wanted)
            if before is not None:
                condition, values = f"{condition} AND id < ?", [*values, before]
            statement = f"SELECT {_ENTRY} FROM delivery WHERE {condition} ORDER BY id DESC LIMIT ?"  # noqa: S608  # no values
            return tuple(_entry(row) for row in session.query(statement, (*values, limit)))

        return self._writer.submit(operation)

    def count(self, wanted: Filter) -> Future[int]:
        """Return how many deliveries there are."""

        def operation(session: Session) -> int:
            condition, values = _condition(wanted)
            statement = f"SELECT COUNT(*) FROM delivery WHERE {condition}"  # noqa: S608  # values are not part of it
            ((count,),) = session.query(statement, values)
            return int(count)

        return self._writer.submit(operation)

    def content(self, row: int) -> Future[Content | None]:
        """Return what was sent, or None if it is no longer kept."""

        def operation(session: Session) -> Content | None:
            rows = session.query("SELECT headers, body FROM delivery WHERE id = ? AND has_body = 1", (row,))
            return Content(dict(json.loads(rows[0][0])), bytes(rows[0][1])) if rows else None

        return self._writer.submit(operation)

    def replay(self, rows: Sequence[int]) -> Future[int]:
        """Make deliveries that are over pending again, with all their attempts; return how many that were.

        Those whose body is no longer kept stay as they are.
        """

        def operation(session: Session) -> int:
            now = session.now
            replayed = [row for row in rows if session.execute(_REPLAY, (now, row)) == 1]
            for row in replayed:
                session.announce(row, now)
            return len(replayed)

        return self._writer.submit(operation)

    def discard(self, rows: Sequence[int], reason: str) -> Future[int]:
        """Have deliveries that are pending or dead handled no more; return how many that were.

        A handler that is at it goes on, and what comes of it is void.
        """

        def operation(session: Session) -> int:
            marks = ", ".join("?" * len(rows))
            waited_for = session.query(_SELECT_ORDER_KEYS.format(rows=marks), rows) if rows else []
            discarded = sum(session.execute(_DISCARD, (reason, row)) for row in rows)
            for (order_key,) in waited_for:
                announce_next(session, order_key)
            return discarded

        return self._writer.submit(operation)

    def backlog(self) -> Future[Backlog]:
        """Count what is to be done."""

        def operation(session: Session) -> Backlog:
            statement = _BACKLOG.format(by_due=session.by_due, is_next=IS_NEXT)
            ((pending, leased, retrying, oldest),) = session.query(statement, (session.now, session.now))
            ((dead,),) = session.query("SELECT COUNT(*) FROM delivery WHERE state = 'dead' AND state <> 'pending'")
            return Backlog(pending, leased or 0, retrying or 0, dead, oldest)

        return self._writer.submit(operation)

    def counts(self) -> Future[dict[tuple[str, str, State], int]]:
        """Count everything: (source, event, state) to how many. Reads the whole inbox."""

        def operation(session: Session) -> dict[tuple[str, str, State], int]:
            rows = session.query("SELECT source, event, state, COUNT(*) FROM delivery GROUP BY source, event, state")
            return {(source, event, state): count for source, event, state, count in rows}

        return self._writer.submit(operation)

    def prune(self) -> Future[int]:
        """Forget up to `STEP` of each kind of what is old enough; return how many that were."""

        def operation(session: Session) -> int:
            now, kept = session.now, self._retention
            keys = now - max(kept.keys, kept.dead, kept.bodies)
            steps = (
                (
                    _PRUNE_BODIES.format(by_body=session.by_body, states="'done', 'ignored'"),
                    (b"", now - kept.bodies, self.STEP),
                ),
                (_PRUNE_BODIES.format(by_body=session.by_body, states="'dead'"), (b"", now - kept.dead, self.STEP)),
                (_PRUNE_KEYS, (keys, self.STEP)),
            )
            return sum(session.execute(statement, values) for statement, values in steps)

        return self._writer.submit(operation)


def _condition(wanted: Filter) -> tuple[str, list[object]]:
    """Return what to put after WHERE, and its values."""
    conditions, values = ["1 = 1"], list[object]()
    for condition, value in (
        ("source = ?", wanted.source),
        ("event = ?", wanted.event),
        ("received_at >= ?", wanted.since),
        ("received_at < ?", wanted.until),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    if wanted.states:
        conditions.append(f"state IN ({', '.join('?' * len(wanted.states))})")
        values.extend(wanted.states)
    if wanted.keys:
        conditions.append(f"(source, dedupe_key) IN (VALUES {', '.join(['(?, ?)'] * len(wanted.keys))})")
        values.extend(part for key in wanted.keys for part in _parts(key))
    return " AND ".join(conditions), values


def _parts(key: str) -> tuple[str, str]:
    source, _, dedupe_key = key.partition(":")
    return source, dedupe_key


def _entry(row: Sequence[Any]) -> Entry:
    number, id_, source, event, state, attempts, leased, due_at, received_at, error, order_key, has_body = row
    return Entry(
        number,
        id_,
        source,
        event,
        state,
        attempts,
        bool(leased),
        due_at,
        received_at,
        error,
        order_key,
        bool(has_body),
    )


_ENTRY: Final = """
    id, dedupe_key, source, event, state, attempts, leased, due_at, received_at, error, order_key, has_body
"""
_BACKLOG: Final = """
    SELECT COUNT(*), SUM(CASE WHEN leased > 0 THEN 1 ELSE 0 END),
        SUM(CASE WHEN leased = 0 AND attempts > 0 THEN 1 ELSE 0 END),
        MIN(CASE WHEN due_at <= ? AND {is_next} THEN due_at END)
    FROM delivery {by_due} WHERE state = 'pending'
"""
_REPLAY: Final = """
    UPDATE delivery SET state = 'pending', attempts = 0, leased = 0, due_at = ?, delay = 0, error = NULL
    WHERE id = ? AND state <> 'pending' AND has_body = 1
"""
_DISCARD: Final = """
    UPDATE delivery SET state = 'ignored', leased = 0, error = ? WHERE id = ? AND state IN ('pending', 'dead')
"""
_SELECT_ORDER_KEYS: Final = """
    SELECT DISTINCT order_key FROM delivery WHERE state = 'pending' AND order_key IS NOT NULL AND id IN ({rows})
"""
_PRUNE_BODIES: Final = """
    UPDATE delivery SET body = ?, headers = '{{}}', has_body = 0 WHERE id IN (
        SELECT id FROM delivery {by_body}
        WHERE has_body = 1 AND state <> 'pending' AND state IN ({states}) AND received_at < ? LIMIT ?
    )
"""
_PRUNE_KEYS: Final = """
    DELETE FROM delivery WHERE id IN (
        SELECT id FROM delivery
        WHERE state IN ('done', 'ignored', 'dead') AND state <> 'pending' AND received_at < ? LIMIT ?
    )
"""
