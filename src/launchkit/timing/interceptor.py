"""Times every request from its arrival to its last byte (OTel semantic convention `http.server.request.duration`).

Requests are told apart by method and route template, never by raw path, and by what the read cache did. Probes are
counted since the start but stay out of the window: they are many and fast, and would hide what visitors see. So do
requests whose client went away.
"""

from __future__ import annotations

from typing import Final

from launchkit.pipeline.clock import Clock
from launchkit.pipeline.exchange import Exchange
from launchkit.pipeline.interceptor import METHODS, Interceptor
from launchkit.settings import TimingSettings
from launchkit.timing.outcome import outcome_of
from launchkit.timing.series import OTHER_METHOD, RouteStatistics, Series, SeriesTable

UNMATCHED: Final = "(unmatched)"
"""The route label of requests that no route of the app took."""


class Timing(Interceptor):
    """Records each exchange when it is complete, and tells how long the routes take.

    `probe_routes` are the route labels of health checks and the like. Safe to use from several threads at once.
    """

    name = "timing"

    def __init__(self, settings: TimingSettings, clock: Clock, probe_routes: frozenset[str] = frozenset()) -> None:
        self._clock = clock
        self._probe_routes = probe_routes
        self._table = SeriesTable(settings)

    def on_complete(self, exchange: Exchange) -> None:
        """Record the exchange."""
        method = exchange.method
        route = exchange.route or UNMATCHED
        outcome = outcome_of(exchange.status, exchange.error)
        self._table.find(method if method in METHODS else OTHER_METHOD, route, exchange.cache).record(
            outcome,
            exchange.ended - exchange.started,
            exchange.ended,
            in_window=outcome != "client_closed" and route not in self._probe_routes,
        )

    def routes(self) -> list[RouteStatistics]:
        """Return the figures of every series with requests in the last `settings.window` minutes, slowest p95 first."""
        now = self._clock.monotonic()
        found = [figures for series in self._table.all() if (figures := series.statistics(now)) is not None]
        return sorted(found, key=lambda figures: figures.p95, reverse=True)

    def series(self) -> list[Series]:
        """Return everything recorded since the start."""
        return self._table.all()
