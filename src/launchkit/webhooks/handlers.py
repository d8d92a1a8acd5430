"""The app's handlers: which one gets a delivery, and which deliveries have to wait for one another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from launchkit.errors import LaunchKitError
from launchkit.webhooks.delivery import Delivery

Handler = Callable[[Delivery], object]
"""A function of the app, sync or async."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A handler, and where in the body to find what its deliveries are serial by."""

    function: Handler
    order_by: tuple[str, ...] = ()


class Handlers:
    """The app's handlers, by source and event."""

    LONGEST_ORDER_KEY: Final = 255

    def __init__(self) -> None:
        self._handlers: dict[tuple[str, str | None], Registered] = {}

    def add(self, source: str, event: str | None, function: Handler, order_by: str | None = None) -> None:
        """Register a handler for one event of a source, or with None for all that have no handler of their own.

        Args:
            source: the source's name.
            event: the kind of event.
            function: the handler.
            order_by: a dotted path into the JSON body, like `data.object.customer`: deliveries of the source with the
                same value there are handled one after the other, in the order in which they came.

        Raises:
            LaunchKitError: if there is one already: a second would silently replace it.
        """
        if (source, event) in self._handlers:
            what = "every event" if event is None else f"event {event!r}"
            raise LaunchKitError(f"{what} of webhook source {source!r} has a handler already: call both from one")
        self._handlers[source, event] = Registered(function, tuple(order_by.split(".")) if order_by else ())

    def remove(self, source: str, event: str | None) -> None:
        """Take a registration back."""
        del self._handlers[source, event]

    def find(self, source: str, event: str) -> Handler | None:
        """Return the handler for an event, or None."""
        registered = self._find(source, event)
        return None if registered is None else registered.function

    def order_key(self, source: str, event: str, body: bytes) -> str | None:
        """Return what a delivery is serial by; None if by nothing, or if its body does not say."""
        registered = self._find(source, event)
        if registered is None or not registered.order_by:
            return None
        try:
            found = json.loads(body)
            for name in registered.order_by:
                found = found[int(name)] if isinstance(found, list) else found[name]
        except (ValueError, LookupError, TypeError, RecursionError):
            return None
        if not isinstance(found, str | int) or isinstance(found, bool):
            return None
        text = str(found)
        if not text.isprintable():  # not every database takes every character
            text = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{source}:{text}"[: self.LONGEST_ORDER_KEY]

    @property
    def sources(self) -> frozenset[str]:
        """The sources that have a handler."""
        return frozenset(source for source, _ in self._handlers)

    def _find(self, source: str, event: str) -> Registered | None:
        return self._handlers.get((source, event), self._handlers.get((source, None)))
