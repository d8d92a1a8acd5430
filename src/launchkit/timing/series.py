"""What is kept of the requests to each method and route template, and how many such series there may be.

A route that the read cache serves has up to three series: its hits, its misses, and what went past the cache. Together
they would tell nothing: enough hits of microseconds hide any miss, however slow.

A series has two memories: everything since the start, by outcome, for `/metrics`; and the last minutes, for people and
alerts. Each series has its own lock, which a reader holds only while it copies.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from launchkit.settings import TimingSettings
from launchkit.timing.histogram import Histogram, bucket_of
from launchkit.timing.outcome import ERRORS, Outcome
from launchkit.timing.window import Window

CacheUse: TypeAlias = Literal["hit", "miss"] | None
"""Whether the read cache gave the response, let the app give it, or had no part in it."""

OVERFLOW: Final = "(overflow)"
"""The route label of the series that takes what finds no room."""

OTHER_METHOD: Final = "_OTHER"
"""The label of methods outside the known set (OTel semantic convention `http.request.method`)."""


@dataclass(frozen=True, slots=True)
class RouteStatistics:
    """The last minutes of one method, route template and use of the read cache; times in seconds."""

    method: str
    route: str
    cache: CacheUse
    count: int
    errors: int
    p50: float
    p95: float
    mean: float
    share_above_target: float
    """Share of requests above the target, from 0 to 1 and exact: above 0.05 the p95 is above the target."""


class Series:
    """The requests to one method and route template that made the same use of the read cache."""

    __slots__ = ("_lock", "_outcomes", "_target", "_window", "cache", "method", "route")

    def __init__(self, method: str, route: str, cache: CacheUse, settings: TimingSettings) -> None:
        self.method = method
        self.route = route
        self.cache: CacheUse = cache
        self._target = settings.target
        self._lock = threading.Lock()
        self._outcomes: dict[Outcome, Histogram] = {}
        self._window = Window(settings.window, settings.target)

    def record(self, outcome: Outcome, seconds: float, now: float, *, in_window: bool) -> None:
        """Count one request that took `seconds` and ended at `now`, seconds of the monotonic clock."""
        bucket = bucket_of(seconds)
        with self._lock:
            histogram = self._outcomes.get(outcome)
            if histogram is None:
                histogram = self._outcomes[outcome] = Histogram(self._target)
            histogram.record(seconds, bucket)
            if in_window:
                self._window.record(seconds, bucket, now, is_error=outcome in ERRORS)

    def outcomes(self) -> dict[Outcome, Histogram]:
        """Return a copy of the durations since the start, by outcome."""
        copies: dict[Outcome, Histogram] = {}
        with self._lock:
            for outcome, histogram in self._outcomes.items():
                copies[outcome] = copy = Histogram(self._target)
                copy.merge(histogram)
        return copies

    def statistics(self, now: float) -> RouteStatistics | None:
        """Return the figures of the window that ends at `now`, or None if it has no requests."""
        with self._lock:
            total = self._window.total(now)
        histogram = total.histogram
        p50, p95 = histogram.quantile(0.5), histogram.quantile(0.95)
        if p50 is None or p95 is None:
            return None
        return RouteStatistics(
            method=self.method,
            route=self.route,
            cache=self.cache,
            count=histogram.count,
            errors=total.errors,
            p50=p50,
            p95=p95,
            mean=histogram.sum / histogram.count,
            share_above_target=histogram.above / histogram.count,
        )


class SeriesTable:
    """At most `max_series` series, and one more that all further ones share."""

    __slots__ = ("_lock", "_overflow", "_series", "_settings")

    def __init__(self, settings: TimingSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._series: dict[tuple[str, str, CacheUse], Series] = {}
        self._overflow = Series(OTHER_METHOD, OVERFLOW, None, settings)

    def find(self, method: str, route: str, cache: CacheUse) -> Series:
        """Return the series of a method, route template and use of the read cache."""
        series = self._series.get((method, route, cache))
        return series if series is not None else self._add(method, route, cache)

    def _add(self, method: str, route: str, cache: CacheUse) -> Series:
        key = (method, route, cache)
        with self._lock:
            if key not in self._series and len(self._series) >= self._settings.max_series:
                return self._overflow
            return self._series.setdefault(key, Series(*key, self._settings))

    def all(self) -> list[Series]:
        """Return every series, in the order in which they were first seen."""
        with self._lock:
            return [*self._series.values(), self._overflow]
