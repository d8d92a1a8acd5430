"""What a successful unsafe request has changed is not to be used again (RFC 9111 section 4.4).

The rules: a response of 2xx or 3xx to a method that is not safe, or not known, invalidates its own path with any query,
and what Location and Content-Location name on the same host. That happens before the client hears of the success, so
that whatever it asks for next is new, and it also covers what is being made for another client at this moment.
"""

from __future__ import annotations

from launchkit.pipeline.effects import Invalidate, Steps, StoreDown
from launchkit.pipeline.exchange import Exchange
from launchkit.pipeline.interceptor import Interceptor
from launchkit.read_cache.figures import Tally
from launchkit.read_cache.key import names_changed_by


class UnsafeRequests(Interceptor):
    """Invalidates what has been changed."""

    name = "read_cache"

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def on_response_start(self, exchange: Exchange) -> Steps[None] | None:
        """Invalidate, if the request has succeeded."""
        return self._invalidate(exchange) if 200 <= exchange.status < 400 else None

    def _invalidate(self, exchange: Exchange) -> Steps[None]:
        self._tally.count("invalidations")
        try:
            yield from Invalidate(names_changed_by(exchange))
        except StoreDown:
            return
