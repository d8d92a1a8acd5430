"""A delivery on its way into the inbox: alone, or by one statement with all that came at the same time."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Final

from launchkit.pipeline.effects import NewDelivery, StoreFull
from launchkit.webhooks.inbox.database import Session
from launchkit.webhooks.inbox.jobs import Batched
from launchkit.webhooks.inbox.room import Room


class Insertion(Batched[bool]):
    """Stores one delivery; the answer is whether it is new. Raises `StoreFull` when there is no room for it."""

    def __init__(self, delivery: NewDelivery, room: Room) -> None:
        self.delivery = delivery
        self._headers = json.dumps(delivery.headers)
        self._room = room

    def __call__(self, session: Session) -> bool:
        """Store it alone."""
        now = session.now
        if not self.take_room(session):
            return self._refuse_unless_known(session)
        row = session.insert(f"{_INSERT} {_ROW} ON CONFLICT DO NOTHING", self.values(now))
        if row is None:
            self.give_room_back()
            return False
        session.announce(row, now + self.delivery.delay)
        return True

    @classmethod
    def together(cls, session: Session, operations: Sequence[Batched[bool]]) -> Sequence[bool] | None:
        """Store all of them, if all are new and there is room."""
        now = session.now
        insertions = [one for one in operations if isinstance(one, Insertion)]
        counted = list(itertools.takewhile(lambda one: one.take_room(session), insertions))
        rows = None
        if len(counted) == len(insertions):
            rows = session.insert_all(_INSERT, _ROW, [one.values(now) for one in insertions])
        if rows is None:
            for one in counted:
                one.give_room_back()
            return None
        for row, one in zip(rows, insertions, strict=True):
            session.announce(row, now + one.delivery.delay)
        return [True] * len(rows)

    def _refuse_unless_known(self, session: Session) -> bool:
        new = self.delivery
        if session.query(_SELECT_KNOWN, (new.source, new.dedupe_key, new.source, new.digest)):
            return False
        raise StoreFull("there is no room for more deliveries")

    def take_room(self, session: Session) -> bool:
        """Count it in, if there is room."""
        return self._room.take(session, may_use_reserve=self.delivery.may_use_reserve)

    def give_room_back(self) -> None:
        """Count it out again."""
        self._room.give_back()

    def values(self, now: float) -> tuple[object, ...]:
        """Return the values of its row."""
        new = self.delivery
        return (
            new.source,
            new.dedupe_key,
            new.event,
            now + new.delay,
            new.delay,
            now,
            self._headers,
            new.body,
            new.digest,
            new.order_key,
        )


_SELECT_KNOWN: Final = """
    SELECT 1 FROM delivery WHERE (source = ? AND dedupe_key = ?) OR (source = ? AND digest = ?) LIMIT 1
"""
_INSERT: Final = """
    INSERT INTO delivery
    (source, dedupe_key, event, state, attempts, due_at, delay, received_at, headers, body, digest, order_key) VALUES
"""
_ROW: Final = "(?, ?, ?, 'pending', 0, ?, ?, ?, ?, ?, ?, ?)"
