"""What a handler gets, and which handler gets it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from launchkit.errors import LaunchKitError


@dataclass(frozen=True, slots=True)
class Delivery:
    """One verified webhook on one of its attempts. Body and headers stay out of its repr, and so out of logs."""

    id: str
    """The sender's id for it, such as `evt_...`; the body's SHA-256 where there is none."""
    source: str
    """The source's name in the settings."""
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
        """The same on every attempt: hand it to services that take one, so that a repeated handler acts once."""
        return f"{self.source}:{self.id}"


Handler = Callable[[Delivery], object]
"""A function of the app, sync or async."""


class Handlers:
    """The app's handlers, by source and event."""

    def __init__(self) -> None:
        self._handlers: dict[tuple[str, str | None], Handler] = {}

    def add(self, source: str, event: str | None, function: Handler) -> None:
        """Register a handler for one event of a source, or with None for all that have no handler of their own.

        Raises:
            LaunchKitError: if there is one already: a second would silently replace it.
        """
        if (source, event) in self._handlers:
            what = "every event" if event is None else f"event {event!r}"
            raise LaunchKitError(f"{what} of webhook source {source!r} has a handler already: call both from one")
        self._handlers[source, event] = function

    def find(self, source: str, event: str) -> Handler | None:
        """Return the handler for an event, or None."""
        return self._handlers.get((source, event), self._handlers.get((source, None)))

    @property
    def sources(self) -> frozenset[str]:
        """The sources that have a handler."""
        return frozenset(source for source, _ in self._handlers)
