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
import math
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from typing import Final, Literal

from launchkit.pipeline.effects import NewDelivery, StoreDown
from launchkit.webhooks.delivery import Lease
from launchkit.webhooks.inbox.database import Session
from launchkit.webhooks.inbox.insertion import Insertion
from launchkit.webhooks.inbox.leases import (
    END,
    EXTEND,
    FINISH,
    HAND_OVER,
    HELD,
    IS_NEXT,
    NEVER,
    RESUME,
    SELECT_DUE,
    SELECT_OVERDUE,
    SELECT_PENDING,
    SELECT_ROW,
    SENT,
    SET_RIGHT,
    Claim,
    announce_next,
    claim_of,
    give_back,
    identity,
    is_held_back,
    lease_of,
    lease_out,
)
from launchkit.webhooks.inbox.room import Room
from launchkit.webhooks.inbox.writer import Writer

State = Literal["pending", "done", "dead", "ignored"]


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
                return claim_of([])
            now = session.now
            statement = SELECT_DUE.format(
                by_due=session.by_due,
                sources=", ".join("?" * len(sources)),
                is_next=IS_NEXT,
                locked=session.locked,
            )
            ended_by = min(now, as_of) if take_over else NEVER
            rows = session.query(statement, (now, ended_by, *sources, now, limit))
            return claim_of(
                [lease_out(session, row[:-1], now + lease, lease, attempts, leased=row[-1]) for row in rows]
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
            for *found, due_at, leased in session.query(SELECT_ROW.format(locked=session.locked), (row,)):
                if due_at > now:
                    session.announce(row, due_at)
                elif leased == HELD and not take_over:
                    return Claim((), left=True)
                elif not is_held_back(session, row, found[9], now):
                    return claim_of([lease_out(session, found, now + lease, lease, attempts, leased=leased)])
            return claim_of([])

        return self._writer.submit(operation)

    def resume(self, row: int, token: int, *, lease: float) -> Future[Lease | None]:
        """Go on with a lease that was handed over, under the next token; None if nobody may.

        As long as nobody has, what was handed over earlier is as good as what was handed over last: a queue may be
        slower than the patience of `hand_over`.
        """

        def operation(session: Session) -> Lease | None:
            until = session.now + lease
            for *found, _, leased in session.query(SELECT_ROW.format(locked=session.locked), (row,)):
                if leased == SENT and token <= found[8]:
                    session.execute(RESUME, (until, lease, 1, row))
                    return lease_of(found, attempt=found[6] + 1)
                if leased == HELD and token == found[8]:  # it came before its hand-over was written down
                    session.execute(RESUME, (until, lease, 0, row))
                    return lease_of(found, attempt=found[6])
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
            statement = SELECT_OVERDUE.format(sources=", ".join("?" * len(sources)), is_next=IS_NEXT)
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
            return give_back(session, lease, due_at, (due_at, delay, error, 0))

        return self._writer.submit(operation)

    def release(self, lease: Lease, delay: float = 0.0) -> Future[bool]:
        """Give it back unfinished, due in `delay` seconds, as if not claimed. The answer is whether it was held."""

        def operation(session: Session) -> bool:
            due_at = session.now + delay
            return give_back(session, lease, due_at, (due_at, delay, None, 1))

        return self._writer.submit(operation)

    def extend(self, leases: Sequence[Lease], seconds: float) -> Future[frozenset[int]]:
        """Hold leases for `seconds` from now on. The answer is the rows of those that were still held."""

        def operation(session: Session) -> frozenset[int]:
            until = session.now + seconds
            return frozenset(
                lease.row for lease in leases if session.execute(EXTEND, (until, seconds, *identity(lease))) == 1
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
            held = session.execute(HAND_OVER, (until, seconds, *taken, *identity(lease))) == 1
            if held:
                session.announce(lease.row, until)
            return held

        return self._writer.submit(operation)

    def complete(self, source: str, dedupe_key: str) -> Future[bool]:
        """A delivery that is pending or dead is done, whoever held it. The answer is whether it was."""

        def operation(session: Session) -> bool:
            rows = session.query(SELECT_PENDING, (source, dedupe_key))
            for row, order_key in rows:
                session.execute(FINISH, ("done", None, row))
                announce_next(session, order_key)
            return bool(rows)

        return self._writer.submit(operation)

    def set_right(self) -> Future[int]:
        """Make due again, after its delay at most, what a clock that was set back would delay; return how many."""

        def operation(session: Session) -> int:
            now = session.now
            return session.execute(SET_RIGHT.format(by_due=session.by_due), (now, now, now))

        return self._writer.submit(operation)

    def close(self) -> None:
        """Finish what was asked for and close the connection; a later verb opens it again."""
        self._writer.close()

    def _end(self, lease: Lease, state: State, error: str | None) -> Future[bool]:
        def operation(session: Session) -> bool:
            if session.execute(END, (state, error, *identity(lease))) != 1:
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
