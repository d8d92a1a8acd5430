"""Serves the figures to Prometheus: GET and HEAD, only to callers who may see them, never stored by anyone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from launchkit.pipeline.exchange import EarlyResponse, Exchange, Header
from launchkit.pipeline.interceptor import Interceptor
from launchkit.pipeline.paths import PathPattern
from launchkit.settings import TimingSettings
from launchkit.timing.interceptor import Timing
from launchkit.timing.prometheus import CONTENT_TYPE, Exposition, MetricSource

_NO_STORE: Header = (b"cache-control", b"no-store")
_PLAIN: Header = (b"content-type", b"text/plain; charset=utf-8")


class MetricsEndpoint(Interceptor):
    """Answers `settings.metrics_path`.

    `allowed` tells whether a caller may see the figures; to others the path does not exist. `sources` are the metrics
    of other features, asked for at every scrape.
    """

    name = "metrics"

    def __init__(
        self,
        settings: TimingSettings,
        timing: Timing,
        allowed: Callable[[Exchange], bool],
        sources: Sequence[MetricSource] = (),
    ) -> None:
        self._route = settings.metrics_path
        self._allowed = allowed
        self._exposition = Exposition(settings, timing, sources)
        self.patterns = (PathPattern(settings.metrics_path),)

    def select(self, method: str, matched: frozenset[PathPattern]) -> Interceptor | None:
        """Take part in requests for the metrics only."""
        return self if matched.intersection(self.patterns) else None

    def on_request(self, exchange: Exchange) -> EarlyResponse:
        """Answer with the text, with 404 to callers who may not see it, and with 405 to other methods."""
        if not self._allowed(exchange):
            return EarlyResponse(404, b"Not Found", (_PLAIN, _NO_STORE), self._route)
        if exchange.method not in ("GET", "HEAD"):
            return EarlyResponse(405, b"Method Not Allowed", (_PLAIN, _NO_STORE, (b"allow", b"GET, HEAD")), self._route)
        body = self._exposition.text().encode("utf-8", "replace")
        return EarlyResponse(200, body, ((b"content-type", CONTENT_TYPE), _NO_STORE), self._route)
