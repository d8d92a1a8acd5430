"""No request body larger than `edge.max_body`: 413, at once where the length is announced, else as soon as it shows.

Webhooks have a limit of their own.
"""

from __future__ import annotations

from collections.abc import Callable

from launchkit.edge.answers import problem
from launchkit.pipeline.exchange import EarlyResponse, Exchange
from launchkit.pipeline.interceptor import Interceptor
from launchkit.pipeline.paths import PathPattern


class BodyLimit(Interceptor):
    """Holds bodies to `limit` bytes. `webhooks` tells the paths of webhooks."""

    name = "body_limit"

    def __init__(self, limit: int, webhooks: Callable[[], tuple[PathPattern, ...]] = tuple) -> None:
        self._limit = limit
        self._digits = len(str(limit))
        self._webhooks = webhooks
        self._too_large = problem(413, "Content Too Large", f"A request body has at most {limit} bytes here.")

    def select(self, method: str, matched: frozenset[PathPattern]) -> Interceptor | None:
        """Take part in everything but webhooks."""
        return self if matched.isdisjoint(self._webhooks()) else None

    def on_request(self, exchange: Exchange) -> EarlyResponse | None:
        """Refuse a body that is announced as too large, and have any other counted."""
        announced = (exchange.header(b"content-length") or b"").lstrip(b"0")
        if announced.isdigit() and (len(announced) > self._digits or int(announced) > self._limit):
            return self._too_large
        exchange.limit_body(self._limit, self._too_large)
        return None
