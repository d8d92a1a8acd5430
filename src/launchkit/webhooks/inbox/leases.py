"""What the inbox's verbs have in common: how a lease is given out, handed on and taken back, in rows and statements."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from launchkit.webhooks.delivery import Delivery, Lease
from launchkit.webhooks.inbox.database import Session

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


def lease_out(
    session: Session, row: Sequence[Any], until: float, seconds: float, attempts: int, *, leased: int
) -> Lease | Delivery:
    """Give out a lease, or bury a delivery whose attempts are used up and return it bare."""
    lease = replace(lease_of(row, attempt=row[6] + 1), is_taken_over=leased == HELD)
    if row[6] < attempts:
        session.execute(LEASE_OUT, (until, seconds, lease.row))
        return lease
    session.execute(FINISH, ("dead", NEVER_ENDED, lease.row))
    announce_next(session, lease.order_key)
    return lease_of(row, attempt=row[6]).delivery


def lease_of(row: Sequence[Any], *, attempt: int) -> Lease:
    """Return the lease that is given out next on a row."""
    number, source, dedupe_key, event, headers, body, _, received_at, token, order_key = row
    delivery = Delivery(dedupe_key, source, event, body, dict(json.loads(headers)), attempt, received_at)
    return Lease(number, token + 1, delivery, order_key)


def claim_of(found: Iterable[Lease | Delivery]) -> Claim:
    """Return what was found, sorted."""
    found = tuple(found)
    return Claim(
        tuple(one for one in found if isinstance(one, Lease)), tuple(one for one in found if isinstance(one, Delivery))
    )


def identity(lease: Lease) -> tuple[int, int]:
    """Return what a statement knows a lease by."""
    return lease.row, lease.token


def give_back(session: Session, lease: Lease, due_at: float, values: tuple[object, ...]) -> bool:
    """End a lease by making its delivery due again; return whether it was held."""
    held = session.execute(GIVE_BACK, (*values, *identity(lease))) == 1
    if held:
        session.announce(lease.row, due_at)
        announce_next(session, lease.order_key)  # of a replayed one it may be the turn
    return held


def is_held_back(session: Session, row: int, order_key: str | None, now: float) -> bool:
    """Tell whether another delivery of the same order key comes first, or is in somebody's hands."""
    if order_key is None:
        return False
    session.be_alone_with(order_key)
    return bool(session.query(SELECT_EARLIER, (order_key, row, now, row)))


def announce_next(session: Session, order_key: str | None) -> None:
    """One of an order key is over: the next one's turn has come."""
    if order_key is not None:
        for row, due_at in session.query(SELECT_NEXT, (order_key,)):
            session.announce(row, due_at)


NEVER_ENDED: Final = "no attempt came to an end"
IS_NEXT: Final = """
    (order_key IS NULL OR NOT EXISTS (
        SELECT 1 FROM delivery other WHERE other.state = 'pending' AND other.order_key = delivery.order_key
        AND (other.id < delivery.id OR (other.leased > 0 AND other.due_at > ? AND other.id <> delivery.id))
    ))
"""
"""A condition: no delivery of its order key comes first, or is in somebody's hands now."""
SELECT_DUE: Final = """
    SELECT id, source, dedupe_key, event, headers, body, attempts, received_at, token, order_key, leased
    FROM delivery {by_due} WHERE state = 'pending' AND due_at <= ? AND (leased = 0 OR due_at <= ?)
    AND source IN ({sources}) AND {is_next} ORDER BY due_at, id LIMIT ? {locked}
"""
SELECT_ROW: Final = """
    SELECT id, source, dedupe_key, event, headers, body, attempts, received_at, token, order_key, due_at, leased
    FROM delivery WHERE id = ? AND state = 'pending' {locked}
"""
SELECT_EARLIER: Final = """
    SELECT 1 FROM delivery WHERE state = 'pending' AND order_key = ?
    AND (id < ? OR (leased > 0 AND due_at > ? AND id <> ?)) LIMIT 1
"""
SELECT_NEXT: Final = "SELECT id, due_at FROM delivery WHERE state = 'pending' AND order_key = ? ORDER BY id LIMIT 1"
SELECT_OVERDUE: Final = """
    SELECT id, due_at FROM delivery WHERE state = 'pending' AND due_at < ? AND source IN ({sources})
    AND {is_next} ORDER BY due_at LIMIT ?
"""
SELECT_PENDING: Final = """
    SELECT id, order_key FROM delivery WHERE source = ? AND dedupe_key = ? AND state IN ('pending', 'dead')
"""
LEASE_OUT: Final = """
    UPDATE delivery SET attempts = attempts + 1, token = token + 1, leased = 1, due_at = ?, delay = ? WHERE id = ?
"""
RESUME: Final = """
    UPDATE delivery SET token = token + 1, leased = 1, due_at = ?, delay = ?, attempts = attempts + ? WHERE id = ?
"""
HAND_OVER: Final = """
    UPDATE delivery SET due_at = ?, delay = ?, leased = ?, attempts = attempts - ?
    WHERE id = ? AND token = ? AND state = 'pending' AND leased = 1
"""
FINISH: Final = "UPDATE delivery SET state = ?, error = COALESCE(error, ?), leased = 0 WHERE id = ?"
END: Final = """
    UPDATE delivery SET state = ?, error = ?, leased = 0 WHERE id = ? AND token = ? AND state = 'pending' AND leased > 0
"""
EXTEND: Final = (
    "UPDATE delivery SET due_at = ?, delay = ? WHERE id = ? AND token = ? AND state = 'pending' AND leased = 1"
)
GIVE_BACK: Final = """
    UPDATE delivery SET due_at = ?, delay = ?, error = COALESCE(?, error), attempts = attempts - ?, leased = 0
    WHERE id = ? AND token = ? AND state = 'pending' AND leased = 1
"""
SET_RIGHT: Final = """
    UPDATE delivery {by_due} SET due_at = ? + delay
    WHERE state = 'pending' AND due_at > ? AND delay IS NOT NULL AND due_at > ? + delay
    AND attempts <= token -- else the release before has leased it, which does not set the delay
"""
