"""What the features have counted, as Prometheus has it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from launchkit.deliveries import Deliveries
from launchkit.pipeline.pipeline import Failures
from launchkit.rate_limit.interceptor import RateLimit
from launchkit.read_cache.interceptor import ReadCache
from launchkit.read_cache.memory import MemoryResponses
from launchkit.timing.prometheus import Metric, MetricSource
from launchkit.webhooks.backlog import WatchedQueue
from launchkit.webhooks.figures import Counts
from launchkit.webhooks.inbox.archive import Backlog


def sources(
    rate_limit: RateLimit,
    cache: ReadCache,
    responses: MemoryResponses,
    deliveries: Deliveries,
    failures: Failures,
) -> tuple[MetricSource, ...]:
    """Return where `/metrics` asks for what is not a duration."""
    return (
        _process,
        lambda: _rate_limits(rate_limit),
        lambda: _read_cache(cache),
        lambda: _responses(responses),
        lambda: _webhooks(deliveries.intakes.counts),
        lambda: _inbox(deliveries.waiting()),
        lambda: _queues(deliveries.queues),
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


def _webhooks(counts: Counts) -> Iterator[Metric]:
    for (source, outcome), count in sorted(counts.read().items()):
        labels = {"source": source, "outcome": outcome}
        yield Metric("launchkit_webhooks_total", "counter", "Deliveries, and what became of them.", labels, count)
    text = "How long handlers took."
    for source, (seconds, _) in sorted(counts.read_seconds().items()):
        yield Metric("launchkit_webhook_handler_seconds_sum", "counter", text, {"source": source}, seconds)
    for source, (_, count) in sorted(counts.read_seconds().items()):
        yield Metric("launchkit_webhook_handler_seconds_count", "counter", text, {"source": source}, count)


def _inbox(waiting: tuple[Backlog, float] | None) -> Iterator[Metric]:
    """Of the whole inbox: every process and machine that uses it says the same."""
    if waiting is None:
        return
    backlog, age = waiting
    for state, count in (
        ("pending", backlog.pending),
        ("leased", backlog.leased),
        ("retrying", backlog.retrying),
        ("dead", backlog.dead),
    ):
        yield Metric("launchkit_webhooks_inbox", "gauge", "Deliveries in the inbox.", {"state": state}, count)
    yield Metric(
        "launchkit_webhooks_oldest_seconds", "gauge", "For how long the longest overdue delivery has waited.", {}, age
    )


def _queues(watched: Sequence[WatchedQueue]) -> Iterator[Metric]:
    known = [(queue.name, *queue.latest) for queue in watched if queue.latest is not None]
    for name, depth, _ in known:
        yield Metric(
            "launchkit_queue_depth", "gauge", "What waits in a queue of the app's own.", {"queue": name}, depth
        )
    for name, _, age in known:
        if age is not None:
            text = "For how long the oldest in a queue of the app's own has waited."
            yield Metric("launchkit_queue_oldest_seconds", "gauge", text, {"queue": name}, age)


def _failures(failures: Failures) -> Iterator[Metric]:
    for feature, count in sorted(failures.counts.items()):
        labels = {"feature": feature}
        yield Metric("launchkit_failures_total", "counter", "Errors inside LaunchKit.", labels, count)
