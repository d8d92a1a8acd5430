"""What a successful unsafe request has changed is not to be used again (RFC 9111 section 4.4).

The rules: a response of 2xx or 3xx to a method that is not safe, or not known, invalidates its own path with any query,
and what Location and Content-Location name on the same host. That happens before the client hears of the success, so
that whatever it asks for next is new, and it also covers what is being made for another client at this moment. It
happens again when the app has returned, because some commit only then: FastAPI's dependencies with `yield`, Flask's
teardown, background tasks.
"""

from __future__ import annotations

from typing import Final

from launchkit.pipeline.effects import Invalidate, Names, Steps, StoreDown
from launchkit.pipeline.exchange import Exchange, Note
from launchkit.pipeline.interceptor import Interceptor
from launchkit.read_cache.key import names_changed_by
from launchkit.read_cache.passing import Shared

_CHANGED: Final[Note[Names]] = Note("read_cache_changed")


class UnsafeRequests(Interceptor):
    """Invalidates what has been changed."""

    name = "read_cache"

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def on_response_start(self, exchange: Exchange) -> Steps[None] | None:
        """Invalidate, if the request has succeeded."""
        return self._invalidate(exchange) if 200 <= exchange.status < 400 else None

    def _invalidate(self, exchange: Exchange) -> Steps[None]:
        self._shared.tally.count("invalidations")
        names = names_changed_by(exchange)
        _CHANGED.put(exchange, names)
        try:
            yield from Invalidate(names)
        except StoreDown:
            return

    def on_exit(self, exchange: Exchange) -> None:
        """Invalidate what the app has changed after its response."""
        names = _CHANGED.get(exchange)
        if names is not None:
            self._shared.store.invalidate_soon(names)
