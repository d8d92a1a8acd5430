"""Deliveries in a database, from the moment they are acknowledged until they are done.

A delivery is `pending` until a handler succeeded (`done`), nobody wants it (`ignored`), or its attempts are used up
(`dead`). The rules of a lease:

- A lease counts the attempt before the handler runs, so that a delivery that kills the process each time comes to an
  end too; and it ends by itself, unless it is extended. The delivery is then due again for whoever claims next.
- Each lease on a delivery has a higher token than the one before: whatever an earlier holder says is void.
- A delivery that is claimed when its attempts are used up becomes dead instead.
- Of deliveries with the same order key only the first that is pending may be claimed.

Times are seconds since 1970 by the database's clock: they have to mean the same to every process. Every verb but `put`
and `aput` returns a concurrent future, for the event loop to wrap; each raises `StoreDown` while the database cannot be
used.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from launchkit.pipeline.effects import NewDelivery, StoreDown
from launchkit.webhooks.delivery import Delivery, Lease
from launchkit.webhooks.inbox.database import Session
from launchkit.webhooks.inbox.insertion import Insertion
from launchkit.webhooks.inbox.room import Room
from launchkit.webhooks.inbox.writer import Writer

State = Literal["pending", "done", "dead", "ignored"]
HELD: Final = 1
"""Who has the lease handles the delivery."""
SENT: Final = 2
"""Who has the lease has sent the delivery on, and the attempt counts from when it is resumed."""
NEVER: Final = -1.0
"""A time by which no lease has ended."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim found due: leases on deliveries to handle, and those that are `dead` now, their attempts used up."""

    leased: tuple[Lease, ...]
    dead: tuple[Delivery, ...] = ()
    left: bool = False
    """Whether something was left alone because its lease has ended, and nothing was to be taken over."""


class Inbox:
    """The verbs of those who store deliveries and of those who handle them.

    Args:
        writer: runs operations on the database.
        room: says whether there is room for another delivery.
    """

    WAIT: Final = 5.0
    """Seconds that `put` waits for the commit."""

    def __init__(self, writer: Writer, room: Room) -> None:
        self._writer = writer
        self._room = room

    # --- intake ------------------------------------------------------------------------------------------------------

    def put(self, delivery: NewDelivery) -> bool:
        """Store a delivery and return, after the commit, whether it is new. Raises `StoreDown`, `StoreFull`."""
        future = self._writer.submit(Insertion(delivery, self._room))
        try:
            return future.result(self.WAIT)
        except TimeoutError:
            future.cancel()
            raise self._too_slow() from None

    async def aput(self, delivery: NewDelivery) -> bool:
        """Store a delivery and return, after the commit, whether it is new. Raises `StoreDown`, `StoreFull`."""
        future = self._writer.asubmit(Insertion(delivery, self._room))
        deadline = future.get_loop().call_later(self.WAIT, self._give_up, future)
        try:
            return await future
        finally:
            deadline.cancel()

    # --- handling ----------------------------------------------------------------------------------------------------

    def claim(
        self,
        limit: int,
        *,
        sources: Collection[str],
        lease: float,
        attempts: int,
        take_over: bool = True,
        as_of: float = math.inf,
    ) -> Future[Claim]:
        """Take up to `limit` due deliveries, longest due first.

        Args:
            limit: how many at most, the dead ones included.
            sources: whose; those of others wait for a process that has handlers for them.
            lease: seconds until others may claim them.
            attempts: how many a delivery may have in all.
            take_over: whether deliveries whose lease has ended are taken too.
            as_of: when that was decided: a lease has to have ended by then, lest the clock was set in between.
        """

        def operation(session: Session) -> Claim:
            if not sources:
                return _claim_of([])
            now = session.now
            statement = _SELECT_DUE.format(
                by_due=session.by_due,
                sources=", ".join("?" * len(sources)),
                is_next=IS_NEXT,
                locked=session.locked,
            )
            ended_by = min(now, as_of) if take_over else NEVER
            rows = session.query(statement, (now, ended_by, *sources, now, limit))
            return _claim_of(
                [_lease_out(session, row[:-1], now + lease, lease, attempts, leased=row[-1]) for row in rows]
            )

        return self._writer.submit(operation)

    def take(self, row: int, *, lease: float, attempts: int, take_over: bool = True) -> Future[Claim]:
        """Take one delivery whose row somebody else has found, if it is due.

        Args:
            row: its number.
            lease: seconds until others may take it.
            attempts: how many it may have in all.
            take_over: whether it is taken too if its lease has ended.

        What is not due yet is announced again for when it is; what waits for an earlier delivery of its order key is
        announced when that is over.
        """

        def operation(session: Session) -> Claim:
            now = session.now
            for *found, due_at, leased in session.query(_SELECT_ROW.format(locked=session.locked), (row,)):
                if due_at > now:
                    session.announce(row, due_at)
                elif leased == HELD and not take_over:
                    return Claim((), left=True)
                elif not _is_held_back(session, row, found[9], now):
                    return _claim_of([_lease_out(session, found, now + lease, lease, attempts, leased=leased)])
            return _claim_of([])

        return self._writer.submit(operation)

    def resume(self, row: int, token: int, *, lease: float) -> Future[Lease | None]:
        """Go on with a lease that was handed over, under the next token; None if nobody may.

        As long as nobody has, what was handed over earlier is as good as what was handed over last: a queue may be
        slower than the patience of `hand_over`.
        """

        def operation(session: Session) -> Lease | None:
            until = session.now + lease
            for *found, _, leased in session.query(_SELECT_ROW.format(locked=session.locked), (row,)):
                if leased == SENT and token <= found[8]:
                    session.execute(_RESUME, (until, lease, 1, row))
                    return _lease(found, attempt=found[6] + 1)
                if leased == HELD and token == found[8]:  # it came before its hand-over was written down
                    session.execute(_RESUME, (until, lease, 0, row))
                    return _lease(found, attempt=found[6])
            return None

        return self._writer.submit(operation)

    def overdue(self, seconds: float, *, sources: Collection[str], limit: int = 1000) -> Future[int]:
        """Announce again what has been due for `seconds` and could have been taken; return how many that were.

        Args:
            seconds: for how long.
            sources: whose.
            limit: how many at most, longest due first.
        """

        def operation(session: Session) -> int:
            if not sources:
                return 0
            now = session.now
            statement = _SELECT_OVERDUE.format(sources=", ".join("?" * len(sources)), is_next=IS_NEXT)
            rows = session.query(statement, (now - seconds, *sources, now, limit))
            for row, due_at in rows:
                session.announce(row, due_at)
            return len(rows)

        return self._writer.submit(operation)

    def done(self, lease: Lease) -> Future[bool]:
        """The handler succeeded. The answer is whether the lease was still held; if not, nothing changed."""
        return self._end(lease, "done", None)

    def ignored(self, lease: Lease, reason: str) -> Future[bool]:
        """Nobody wants it. The answer is whether the lease was still held; if not, nothing changed."""
        return self._end(lease, "ignored", reason)

    def dead(self, lease: Lease, error: str) -> Future[bool]:
        """It is not tried again. The answer is whether the lease was still held; if not, nothing changed."""
        return self._end(lease, "dead", error)

    def retry(self, lease: Lease, delay: float, error: str) -> Future[bool]:
        """Make it due again in `delay` seconds. The answer is whether the lease was still held."""

        def operation(session: Session) -> bool:
            due_at = session.now + delay
            return _give_back(session, lease, due_at, (due_at, delay, error, 0))

        return self._writer.submit(operation)

    def release(self, lease: Lease, delay: float = 0.0) -> Future[bool]:
        """Give it back unfinished, due in `delay` seconds, as if not claimed. The answer is whether it was held."""

        def operation(session: Session) -> bool:
            due_at = session.now + delay
            return _give_back(session, lease, due_at, (due_at, delay, None, 1))

        return self._writer.submit(operation)

    def extend(self, leases: Sequence[Lease], seconds: float) -> Future[frozenset[int]]:
        """Hold leases for `seconds` from now on. The answer is the rows of those that were still held."""

        def operation(session: Session) -> frozenset[int]:
            until = session.now + seconds
            return frozenset(
                lease.row for lease in leases if session.execute(_EXTEND, (until, seconds, *_held(lease))) == 1
            )

        return self._writer.submit(operation)

    def hand_over(self, lease: Lease, seconds: float, *, to_resume: bool) -> Future[bool]:
        """Somebody else goes on with this lease; if nothing is heard for `seconds`, the delivery is due again.

        Args:
            lease: the lease.
            seconds: how long to wait.
            to_resume: whether they call `resume`, so that the attempt counts from there only; otherwise it counts now,
                and they say that the delivery is complete.
        """

        def operation(session: Session) -> bool:
            until = session.now + seconds
            taken = (SENT, 1) if to_resume else (HELD, 0)
            held = session.execute(_HAND_OVER, (until, seconds, *taken, *_held(lease))) == 1
            if held:
                session.announce(lease.row, until)
            return held

        return self._writer.submit(operation)

    def complete(self, source: str, dedupe_key: str) -> Future[bool]:
        """A delivery that is pending or dead is done, whoever held it. The answer is whether it was."""

        def operation(session: Session) -> bool:
            rows = session.query(_SELECT_PENDING, (source, dedupe_key))
            for row, order_key in rows:
                session.execute(_FINISH, ("done", None, row))
                announce_next(session, order_key)
            return bool(rows)

        return self._writer.submit(operation)

    def set_right(self) -> Future[int]:
        """Make due again, after its delay at most, what a clock that was set back would delay; return how many."""

        def operation(session: Session) -> int:
            now = session.now
            return session.execute(_SET_RIGHT.format(by_due=session.by_due), (now, now, now))

        return self._writer.submit(operation)

    def close(self) -> None:
        """Finish what was asked for and close the connection; a later verb opens it again."""
        self._writer.close()

    def _end(self, lease: Lease, state: State, error: str | None) -> Future[bool]:
        def operation(session: Session) -> bool:
            if session.execute(_END, (state, error, *_held(lease))) != 1:
                return False
            announce_next(session, lease.order_key)
            return True

        return self._writer.submit(operation)

    def _give_up(self, future: asyncio.Future[bool]) -> None:
        if not future.done():
            future.set_exception(self._too_slow())

    def _too_slow(self) -> StoreDown:
        reason = f"no answer within {self.WAIT:g} s"
        self._writer.outage.failed(reason)
        return StoreDown(f"the inbox gave {reason}")


# --- what the verbs are made of --------------------------------------------------------------------------------------


def _lease_out(
    session: Session, row: Sequence[Any], until: float, seconds: float, attempts: int, *, leased: int
) -> Lease | Delivery:
    """Give out a lease, or bury a delivery whose attempts are used up and return it bare."""
    lease = replace(_lease(row, attempt=row[6] + 1), is_taken_over=leased == HELD)
    if row[6] < attempts:
        session.execute(_LEASE_OUT, (until, seconds, lease.row))
        return lease
    session.execute(_FINISH, ("dead", _NEVER_ENDED, lease.row))
    announce_next(session, lease.order_key)
    return _lease(row, attempt=row[6]).delivery


def _lease(row: Sequence[Any], *, attempt: int) -> Lease:
    number, source, dedupe_key, event, headers, body, _, received_at, token, order_key = row
    delivery = Delivery(dedupe_key, source, event, body, dict(json.loads(headers)), attempt, received_at)
    return Lease(number, token + 1, delivery, order_key)


def _claim_of(found: Iterable[Lease | Delivery]) -> Claim:
    found = tuple(found)
    return Claim(
        tuple(one for one in found if isinstance(one, Lease)), tuple(one for one in found if isinstance(one, Delivery))
    )


def _held(lease: Lease) -> tuple[int, int]:
    return lease.row, lease.token


def _give_back(session: Session, lease: Lease, due_at: float, values: tuple[object, ...]) -> bool:
    held = session.execute(_GIVE_BACK, (*values, *_held(lease))) == 1
    if held:
        session.announce(lease.row, due_at)
        announce_next(session, lease.order_key)  # of a replayed one it may be the turn
    return held


def _is_held_back(session: Session, row: int, order_key: str | None, now: float) -> bool:
    """Tell whether another delivery of the same order key comes first, or is in somebody's hands."""
    if order_key is None:
        return False
    session.be_alone_with(order_key)
    return bool(session.query(_SELECT_EARLIER, (order_key, row, now, row)))


def announce_next(session: Session, order_key: str | None) -> None:
    """One of an order key is over: the next one's turn has come."""
    if order_key is not None:
        for row, due_at in session.query(_SELECT_NEXT, (order_key,)):
            session.announce(row, due_at)


_NEVER_ENDED: Final = "no attempt came to an end"
IS_NEXT: Final = """
    (order_key IS NULL OR NOT EXISTS (
        SELECT 1 FROM delivery other WHERE other.state = 'pending' AND other.order_key = delivery.order_key
        AND (other.id < delivery.id OR (other.leased > 0 AND other.due_at > ? AND other.id <> delivery.id))
    ))
"""
"""A condition: no delivery of its order key comes first, or is in somebody's hands now."""
_SELECT_DUE: Final = """
    SELECT id, source, dedupe_key, event, headers, body, attempts, received_at, token, order_key, leased
    FROM delivery {by_due} WHERE state = 'pending' AND due_at <= ? AND (leased = 0 OR due_at <= ?)
    AND source IN ({sources}) AND {is_next} ORDER BY due_at, id LIMIT ? {locked}
"""
_SELECT_ROW: Final = """
    SELECT id, source, dedupe_key, event, headers, body, attempts, received_at, token, order_key, due_at, leased
    FROM delivery WHERE id = ? AND state = 'pending' {locked}
"""
_SELECT_EARLIER: Final = """
    SELECT 1 FROM delivery WHERE state = 'pending' AND order_key = ?
    AND (id < ? OR (leased > 0 AND due_at > ? AND id <> ?)) LIMIT 1
"""
_SELECT_NEXT: Final = "SELECT id, due_at FROM delivery WHERE state = 'pending' AND order_key = ? ORDER BY id LIMIT 1"
_SELECT_OVERDUE: Final = """
    SELECT id, due_at FROM delivery WHERE state = 'pending' AND due_at < ? AND source IN ({sources})
    AND {is_next} ORDER BY due_at LIMIT ?
"""
_SELECT_PENDING: Final = """
    SELECT id, order_key FROM delivery WHERE source = ? AND dedupe_key = ? AND state IN ('pending', 'dead')
"""
_LEASE_OUT: Final = """
    UPDATE delivery SET attempts = attempts + 1, token = token + 1, leased = 1, due_at = ?, delay = ? WHERE id = ?
"""
_RESUME: Final = """
    UPDATE delivery SET token = token + 1, leased = 1, due_at = ?, delay = ?, attempts = attempts + ? WHERE id = ?
"""
_HAND_OVER: Final = """
    UPDATE delivery SET due_at = ?, delay = ?, leased = ?, attempts = attempts - ?
    WHERE id = ? AND token = ? AND state = 'pending' AND leased = 1
"""
_FINISH: Final = "UPDATE delivery SET state = ?, error = COALESCE(error, ?), leased = 0 WHERE id = ?"
_END: Final = """
    UPDATE delivery SET state = ?, error = ?, leased = 0 WHERE id = ? AND token = ? AND state = 'pending' AND leased > 0
"""
_EXTEND: Final = (
    "UPDATE delivery SET due_at = ?, delay = ? WHERE id = ? AND token = ? AND state = 'pending' AND leased = 1"
)
_GIVE_BACK: Final = """
    UPDATE delivery SET due_at = ?, delay = ?, error = COALESCE(?, error), attempts = attempts - ?, leased = 0
    WHERE id = ? AND token = ? AND state = 'pending' AND leased = 1
"""
_SET_RIGHT: Final = """
    UPDATE delivery {by_due} SET due_at = ? + delay
    WHERE state = 'pending' AND due_at > ? AND delay IS NOT NULL AND due_at > ? + delay
    AND attempts <= token -- else the release before has leased it, which does not set the delay
"""
