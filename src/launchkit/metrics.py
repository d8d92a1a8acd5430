"""What the features have counted, as Prometheus has it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from launchkit.pipeline.pipeline import Failures
from launchkit.rate_limit.interceptor import RateLimit
from launchkit.read_cache.interceptor import ReadCache
from launchkit.read_cache.memory import MemoryResponses
from launchkit.timing.prometheus import Metric, MetricSource
from launchkit.webhooks.interceptor import Webhooks


def sources(
    rate_limit: RateLimit, cache: ReadCache, responses: MemoryResponses, webhooks: Webhooks, failures: Failures
) -> tuple[MetricSource, ...]:
    """Return where `/metrics` asks for what is not a duration."""
    return (
        _process,
        lambda: _rate_limits(rate_limit),
        lambda: _read_cache(cache),
        lambda: _responses(responses),
        lambda: _webhooks(webhooks),
        lambda: _failures(failures),
    )


def _process() -> Iterable[Metric]:
    """All figures are those of one process: whoever adds them up needs to know which."""
    yield Metric("launchkit_process_info", "gauge", "The process that answers.", {"pid": str(os.getpid())}, 1)


def _rate_limits(rate_limit: RateLimit) -> Iterator[Metric]:
    for (rule, outcome), count in sorted(rate_limit.counts.items()):
        labels = {"rule": rule, "outcome": outcome}
        yield Metric("launchkit_rate_limit_total", "counter", "Requests under a limit.", labels, count)


def _read_cache(cache: ReadCache) -> Iterator[Metric]:
    figures = cache.figures()
    outcomes = {
        "hit": figures.hits,
        "stale": figures.stale,
        "collapsed": figures.collapsed,
        "stale_if_error": figures.failed,
        "miss": figures.misses,
        "bypass": sum(figures.bypasses.values()),
    }
    for outcome, count in outcomes.items():
        labels = {"outcome": outcome}
        yield Metric("launchkit_cache_requests_total", "counter", "Requests that the cache looked at.", labels, count)
    for name, text, reasons in (
        ("launchkit_cache_bypasses_total", "Requests that could not use the cache.", figures.bypasses),
        ("launchkit_cache_unstorable_total", "Responses that could not be stored.", figures.unstorable),
    ):
        for reason, count in sorted(reasons.items()):
            yield Metric(name, "counter", text, {"reason": str(reason)}, count)
    for name, text, count in (
        ("launchkit_cache_stored_total", "Responses that were stored.", figures.stored),
        ("launchkit_cache_revalidated_total", "Stored responses that the app has confirmed.", figures.revalidated),
        ("launchkit_cache_invalidations_total", "Changes that made stored responses invalid.", figures.invalidations),
    ):
        yield Metric(name, "counter", text, {}, count)


def _responses(responses: MemoryResponses) -> Iterator[Metric]:
    figures = responses.figures()
    yield Metric("launchkit_cache_bytes", "gauge", "Size of what the cache holds.", {}, figures.bytes)
    yield Metric("launchkit_cache_budget_bytes", "gauge", "What it may hold.", {}, figures.budget)
    yield Metric("launchkit_cache_urls", "gauge", "URLs of which the cache holds a response.", {}, figures.keys)
    yield Metric("launchkit_cache_evictions_total", "counter", "Responses put out for others.", {}, figures.evictions)


def _webhooks(webhooks: Webhooks) -> Iterator[Metric]:
    for (source, outcome), count in sorted(webhooks.counts.read().items()):
        labels = {"source": source, "outcome": outcome}
        yield Metric("launchkit_webhooks_total", "counter", "Deliveries that came in.", labels, count)


def _failures(failures: Failures) -> Iterator[Metric]:
    for feature, count in sorted(failures.counts.items()):
        labels = {"feature": feature}
        yield Metric("launchkit_failures_total", "counter", "Errors inside LaunchKit.", labels, count)
