"""What a handler gets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from launchkit.webhooks.record import arecord, record

SUBMITTED = "app"
"""The source of what the app itself has submitted."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One verified webhook on one of its attempts. Body and headers stay out of its repr, and so out of logs."""

    id: str
    """The sender's id for it, such as `evt_...`; the body's SHA-256 where there is none."""
    source: str
    """The source's name in the settings; `app` for what the app itself has submitted."""
    event: str
    """The kind of event, such as `invoice.paid`; empty where the sender does not name one."""
    body: bytes = field(repr=False)
    """The bytes that were signed."""
    headers: Mapping[str, str] = field(repr=False)
    """The request headers that were kept, by lower-case name; never credentials."""
    attempt: int
    """1 for the first."""
    received_at: float
    """When it was stored, in seconds since 1970."""

    def json(self) -> Any:  # what json.loads gives: `object` would make every handler cast
        """Return the parsed body. Raises ValueError when it is not JSON."""
        return json.loads(self.body)

    @property
    def idempotency_key(self) -> str:
        """`source:id`, the same on every attempt: hand it to services that take one, so that a repeat acts once.

        It is also the delivery's name on the command line and for `kit.complete`.
        """
        return f"{self.source}:{self.id}"

    def record(self, connection: object) -> bool:
        """Write down, in the transaction that is open on `connection`, that this delivery's effect is done.

        Call it first, and change things only if it returns True: False says that a repeat finds the effect done. The
        record is committed or rolled back with what the handler changes, so that there is exactly one effect.

        Args:
            connection: of any DB-API driver, or SQLAlchemy's Connection or Session. For async ones see `arecord`.

        Raises:
            LaunchKitError: without a transaction, or where the table `launchkit_deliveries` has to be made first.
        """
        return record(connection, self.idempotency_key)

    async def arecord(self, connection: object) -> bool:
        """Do `record` on an async connection: SQLAlchemy's, psycopg's, asyncpg's or aiosqlite's."""
        return await arecord(connection, self.idempotency_key)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to handle a delivery, for as long as it is extended.

    Whatever is recorded about a delivery names its lease; once another was given out, with a higher `token`, this one
    is void.
    """

    row: int
    """The delivery's number in the inbox."""
    token: int
    """How often a lease on it was given out: the fencing token."""
    delivery: Delivery
    order_key: str | None = None
    """What it is serial by."""
    is_taken_over: bool = False
    """Whether somebody else's lease on it had ended."""
