"""Exchanges that are over."""

from __future__ import annotations

from tests.support.exchanges import WrittenExchange

from launchkit.timing.series import CacheUse


def ended_exchange(
    method: str = "GET",
    route: str | None = "/items/{id}",
    status: int = 200,
    error: BaseException | None = None,
    started: float = 1000.0,
    seconds: float = 0.1,
    cache: CacheUse = None,
) -> WrittenExchange:
    """Return an exchange that took so many seconds."""
    exchange = WrittenExchange(method).answer(status)
    exchange.route = route
    exchange.error = error
    exchange.cache = cache
    exchange.started = started
    exchange.ended = started + seconds
    return exchange
