"""The text for Prometheus, read back by a parser that accepts nothing but the format."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Iterator
from typing import Literal

import pytest
from tests.timing.exchanges import ended_exchange

from launchkit.settings import TimingSettings
from launchkit.testing import FrozenClock
from launchkit.timing.interceptor import Timing
from launchkit.timing.prometheus import Exposition, Metric, MetricSource

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (\S+)")
ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
DURATION = "http_server_request_duration_seconds"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse(text: str) -> tuple[dict[str, str], Samples]:
    """Return the kind of every family and every sample; raise AssertionError for anything that is out of place."""
    kinds: dict[str, str] = {}
    samples: Samples = {}
    family = ""
    assert text.endswith("\n")
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("# HELP "):
            family = line.split(" ", 3)[2]
            assert family not in kinds
        elif line.startswith("# TYPE "):
            _, _, name, kinds[family] = line.split(" ")
            assert name == family
        else:
            name, labels, value = read_sample(line)
            suffixes = ("_bucket", "_sum", "_count") if kinds[family] == "histogram" else ("",)
            assert name in {family + suffix for suffix in suffixes}
            assert (name, labels) not in samples
            samples[name, labels] = value
    return kinds, samples


def read_sample(line: str) -> tuple[str, frozenset[tuple[str, str]], float]:
    match = SAMPLE.fullmatch(line)
    assert match is not None, line
    labels = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or "")
    unescaped = ((name, re.sub(r"\\.", lambda found: ESCAPES[found[0]], text)) for name, text in labels)
    return match[1], frozenset(unescaped), float(match[3])


def exposition(timing: Timing, *sources: MetricSource, target: float = 0.5) -> str:
    return Exposition(TimingSettings(target=target, window=5), timing, sources).text()


def timing_with(*exchanges: ended_exchange, target: float = 0.5) -> Timing:
    timing = Timing(TimingSettings(target=target), FrozenClock())
    for exchange in exchanges:
        timing.on_complete(exchange)
    return timing


def buckets_of(samples: Samples) -> list[tuple[float, float]]:
    found = [
        (float(dict(labels)["le"]), value) for (name, labels), value in samples.items() if name.endswith("_bucket")
    ]
    return sorted(found)


def test_a_scrape_without_requests_is_valid() -> None:
    """A family may be empty."""
    assert parse(exposition(timing_with())) == ({DURATION: "histogram"}, {})


def test_durations_are_a_histogram_by_method_route_and_status_class() -> None:
    """Rate, errors and duration come from one family."""
    text = exposition(
        timing_with(ended_exchange(seconds=0.25), ended_exchange(seconds=2.0), ended_exchange(status=404))
    )

    kinds, samples = parse(text)

    assert kinds[DURATION] == "histogram"
    labels = {("method", "GET"), ("route", "/items/{id}")}
    assert samples[f"{DURATION}_count", frozenset({*labels, ("status", "2xx")})] == 2
    assert samples[f"{DURATION}_sum", frozenset({*labels, ("status", "2xx")})] == 2.25
    assert samples[f"{DURATION}_count", frozenset({*labels, ("status", "4xx")})] == 1


@pytest.mark.parametrize("target", [0.3, 0.5, 0.8, 200.0])
def test_buckets_are_cumulative_and_exact_at_the_target(target: float) -> None:
    """Every edge counts what was at most that long; the target is an edge wherever it lies."""
    durations = [0.0, 0.001, 0.02, 0.3, 0.30001, 0.5, 0.50001, 0.79, 0.8, 0.80001, 6.0, 200.0, 201.0]
    timing = timing_with(*(ended_exchange(started=0.0, seconds=seconds) for seconds in durations), target=target)

    _, samples = parse(exposition(timing, target=target))
    buckets = buckets_of(samples)

    assert dict(buckets)[target] == sum(seconds <= target for seconds in durations)
    assert buckets[-1] == (math.inf, len(durations))
    assert [count for _, count in buckets] == [sum(seconds <= le for seconds in durations) for le, _ in buckets]


def test_edges_lie_near_the_advised_bounds() -> None:
    """Each bound of the semantic convention has an edge within 3 %."""
    _, samples = parse(exposition(timing_with(ended_exchange())))
    edges = [le for le, _ in buckets_of(samples)]

    for bound in (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10):
        assert min(abs(edge / bound - 1) for edge in edges) < 0.03


def test_p95_of_the_window_is_a_gauge() -> None:
    """The figure that people ask for needs no query."""
    timing = timing_with(ended_exchange(seconds=0.25))

    kinds, samples = parse(exposition(timing))

    labels = frozenset({("method", "GET"), ("route", "/items/{id}"), ("window", "5m")})
    assert kinds["launchkit_http_p95_seconds"] == "gauge"
    assert samples["launchkit_http_p95_seconds", labels] == pytest.approx(0.25, rel=0.022)


@pytest.mark.parametrize("cache", ["hit", "miss"])
def test_what_the_cache_had_a_part_in_says_so(cache: Literal["hit", "miss"]) -> None:
    """Hits and misses can be told apart in both families."""
    _, samples = parse(exposition(timing_with(ended_exchange(cache=cache))))

    assert len(samples) > 3
    assert {dict(labels)["cache"] for _, labels in samples} == {cache}


def test_what_the_cache_had_no_part_in_has_no_label_for_it() -> None:
    """An app without a read cache has the same series as one whose kit knows none."""
    _, samples = parse(exposition(timing_with(ended_exchange())))

    assert {(name, frozenset(dict(labels))) for name, labels in samples} == {
        (f"{DURATION}_bucket", frozenset({"method", "route", "status", "le"})),
        (f"{DURATION}_sum", frozenset({"method", "route", "status"})),
        (f"{DURATION}_count", frozenset({"method", "route", "status"})),
        ("launchkit_http_p95_seconds", frozenset({"method", "route", "window"})),
    }


def test_labels_are_escaped() -> None:
    """A route may contain what the format uses itself."""
    route = 'a"b\\c\nd,e}="'

    _, samples = parse(exposition(timing_with(ended_exchange(route=route))))

    assert {dict(labels)["route"] for _, labels in samples} == {route}


def test_other_features_add_their_figures() -> None:
    """Metrics of one name stand together under one head, wherever they come from."""

    def first() -> Iterator[Metric]:
        yield Metric("launchkit_hits_total", "counter", "Hits\nand \\ more.", {"rule": "login"}, 3)
        yield Metric("launchkit_up", "gauge", "Up.", {}, 1.0)

    def second() -> Iterable[Metric]:
        return [Metric("launchkit_hits_total", "counter", "Hits.", {"rule": "signup"}, 4)]

    kinds, samples = parse(exposition(timing_with(), first, second))

    assert kinds == {DURATION: "histogram", "launchkit_hits_total": "counter", "launchkit_up": "gauge"}
    assert samples == {
        ("launchkit_hits_total", frozenset({("rule", "login")})): 3,
        ("launchkit_hits_total", frozenset({("rule", "signup")})): 4,
        ("launchkit_up", frozenset()): 1,
    }


@pytest.mark.parametrize(("value", "text"), [(math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN")])
def test_special_values_are_written_as_the_format_has_them(value: float, text: str) -> None:
    """Infinity and not-a-number have their own spelling."""
    metric = Metric("launchkit_odd", "gauge", "Odd.", {}, value)

    assert f"launchkit_odd {text}\n" in exposition(timing_with(), lambda: [metric])


def test_a_broken_source_hides_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    """The other figures are still there, and the log names the error's class only."""

    def broken() -> Iterator[Metric]:
        yield Metric("launchkit_half", "gauge", "Half.", {}, 1)
        raise RuntimeError("postgresql://owner@database")

    with caplog.at_level(logging.WARNING, "launchkit"):
        kinds, samples = parse(exposition(timing_with(ended_exchange()), broken))

    assert "launchkit_half" not in kinds
    assert samples
    assert "RuntimeError" in caplog.text
    assert "owner" not in caplog.text


def test_the_reference_parser_reads_it_too() -> None:
    """Prometheus's own client understands every family."""
    parser = pytest.importorskip("prometheus_client.parser")
    timing = timing_with(ended_exchange(), ended_exchange(route='"\\\n', status=500))

    families = {family.name: family.type for family in parser.text_string_to_metric_families(exposition(timing))}

    assert families == {DURATION: "histogram", "launchkit_http_p95_seconds": "gauge"}
