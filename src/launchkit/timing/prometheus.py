"""The figures as Prometheus text, version 0.0.4
(https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format).

The `le` edges are edges of our own buckets, those nearest to the bounds that OTel's semantic convention advises, and
the target: so no count is interpolated. Quantiles of several processes cannot be averaged; the buckets can be added up.
Only series that the read cache had a part in have the label `cache`, which is `hit` or `miss`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from launchkit.settings import TimingSettings
from launchkit.timing.histogram import Histogram, bucket_of, edge
from launchkit.timing.interceptor import Timing
from launchkit.timing.series import RouteStatistics, Series

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"

_ADVISED: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Bounds in seconds that the semantic convention advises."""

logger = logging.getLogger("launchkit")


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of another feature, as Prometheus has it. A counter's name ends in `_total`, times are in seconds."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    labels: Mapping[str, str]
    value: float


MetricSource = Callable[[], Iterable[Metric]]


def _nearest_bucket(seconds: float) -> int:
    above = bucket_of(seconds)
    return min(above - 1, above, key=lambda bucket: abs(math.log2(edge(bucket) / seconds)))


_BUCKETS: Final = tuple(_nearest_bucket(seconds) for seconds in _ADVISED)
_EDGES: Final = tuple(edge(bucket) for bucket in _BUCKETS)


class Exposition:
    """Writes what `timing` knows, and what `sources` add, as one text."""

    def __init__(self, settings: TimingSettings, timing: Timing, sources: Sequence[MetricSource] = ()) -> None:
        self._timing = timing
        self._sources = (self._p95, *sources)
        self._window = f"{settings.window}m"

    def text(self) -> str:
        """Return every metric family."""
        lines = [*_duration_lines(self._timing.series()), *_family_lines(self._collect())]
        return "\n".join(lines) + "\n"

    def _p95(self) -> Iterator[Metric]:
        for figures in self._timing.routes():
            labels = {"method": figures.method, "route": figures.route, "window": self._window, **_cache(figures)}
            yield Metric("launchkit_http_p95_seconds", "gauge", "95th percentile of durations.", labels, figures.p95)

    def _collect(self) -> dict[str, list[Metric]]:
        """Return the metrics by name: those of one name have to stand together."""
        families: dict[str, list[Metric]] = {}
        for source in self._sources:
            try:
                metrics = list(source())
            except Exception as error:  # noqa: BLE001  # one broken source must not hide all other figures
                logger.warning("A source of metrics failed with %s; its figures are left out.", type(error).__name__)
                continue
            for metric in metrics:
                families.setdefault(metric.name, []).append(metric)
        return families


def _duration_lines(all_series: Iterable[Series]) -> Iterator[str]:
    name = "http_server_request_duration_seconds"
    yield from _head(name, "histogram", "Time from a request's arrival to the last byte of its response.")
    for series in all_series:
        for outcome, histogram in series.outcomes().items():
            labels = _labels({"method": series.method, "route": series.route, "status": outcome, **_cache(series)})
            for le, count in _cumulative(histogram):
                yield f'{name}_bucket{{{labels},le="{le}"}} {count}'
            yield f"{name}_sum{{{labels}}} {histogram.sum!r}"
            yield f"{name}_count{{{labels}}} {histogram.count}"


def _cache(described: Series | RouteStatistics) -> dict[str, str]:
    return {} if described.cache is None else {"cache": described.cache}


def _cumulative(histogram: Histogram) -> Iterator[tuple[str, int]]:
    counts = dict(zip(_EDGES, histogram.at_most(_BUCKETS), strict=True))
    counts[histogram.threshold] = histogram.count - histogram.above
    for seconds, count in sorted(counts.items()):
        yield repr(seconds), count
    yield "+Inf", histogram.count


def _family_lines(families: Mapping[str, Sequence[Metric]]) -> Iterator[str]:
    for name, metrics in families.items():
        yield from _head(name, metrics[0].kind, metrics[0].help)
        for metric in metrics:
            braces = f"{{{_labels(metric.labels)}}}" if metric.labels else ""
            yield f"{name}{braces} {_number(metric.value)}"


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    escaped = text.replace("\\", r"\\").replace("\n", r"\n")
    yield f"# HELP {name} {escaped}"
    yield f"# TYPE {name} {kind}"


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escape(text)}"' for name, text in labels.items())


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf")
