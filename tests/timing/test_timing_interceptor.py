"""What is recorded of a request, and what can be read."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator

import pytest
from tests.timing.exchanges import ended_exchange

from launchkit.pipeline.interceptor import Plan
from launchkit.settings import TimingSettings
from launchkit.testing import FrozenClock
from launchkit.timing.interceptor import UNMATCHED, Timing
from launchkit.timing.series import OVERFLOW, RouteStatistics


def timing_of(**settings: object) -> Timing:
    return Timing(TimingSettings.model_validate(settings), FrozenClock(), frozenset({"/health/live"}))


def counts(timing: Timing) -> dict[tuple[str, str, str], int]:
    return {
        (series.method, series.route, outcome): histogram.count
        for series in timing.series()
        for outcome, histogram in series.outcomes().items()
    }


@pytest.fixture(name="short_switches")
def _short_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_only_the_end_of_a_request_is_watched() -> None:
    """The hot path has one hook of ours."""
    plan = Plan([timing_of()])

    assert plan.on_request == plan.on_response_start == plan.on_exit == ()
    assert len(plan.on_complete) == 1


def test_a_route_tells_its_figures() -> None:
    """Count, errors, quantiles, mean and the exact share above the target, in seconds."""
    timing = timing_of(target=0.5)
    for seconds in [0.1] * 90 + [0.5] * 4 + [2.0] * 6:
        timing.on_complete(ended_exchange(seconds=seconds, status=500 if seconds == 2.0 else 200))

    (figures,) = timing.routes()

    assert (figures.method, figures.route, figures.count, figures.errors) == ("GET", "/items/{id}", 100, 6)
    assert figures.p50 == pytest.approx(0.1, rel=0.022)
    assert figures.p95 == pytest.approx(2.0, rel=0.022)
    assert figures.mean == pytest.approx(0.23)
    assert figures.share_above_target == 0.06


def test_the_slowest_route_comes_first() -> None:
    """Routes are sorted by p95."""
    timing = timing_of()
    for route, seconds in [("/a", 0.1), ("/b", 3.0), ("/c", 0.7)]:
        timing.on_complete(ended_exchange(route=route, seconds=seconds))

    assert [figures.route for figures in timing.routes()] == ["/b", "/c", "/a"]


def test_figures_are_those_of_the_last_minutes() -> None:
    """What happened before the window is no longer told, but stays counted since the start."""
    clock = FrozenClock()
    timing = Timing(TimingSettings(window=5), clock)
    timing.on_complete(ended_exchange(started=clock.monotonic(), seconds=9.0))
    clock.advance(310)

    assert timing.routes() == []

    timing.on_complete(ended_exchange(started=clock.monotonic(), seconds=0.1))

    (figures,) = timing.routes()
    assert (figures.count, figures.mean) == (1, pytest.approx(0.1))
    assert counts(timing) == {("GET", "/items/{id}", "2xx"): 2}


def test_methods_and_routes_nobody_knows_share_a_label() -> None:
    """Made-up methods and paths cannot make new series."""
    timing = timing_of()
    timing.on_complete(ended_exchange(method="BREW", route=None))
    timing.on_complete(ended_exchange(method="brew", route=None))

    assert counts(timing) == {("_OTHER", UNMATCHED, "2xx"): 2}


@pytest.mark.parametrize("error", [asyncio.CancelledError(), BrokenPipeError()], ids=repr)
def test_clients_that_went_away_do_not_change_p95_or_errors(error: BaseException) -> None:
    """A departed client says nothing about the app; it is counted since the start only."""
    timing = timing_of()
    timing.on_complete(ended_exchange(seconds=0.1))
    timing.on_complete(ended_exchange(seconds=60.0, error=error))

    (figures,) = timing.routes()

    assert (figures.count, figures.errors) == (1, 0)
    assert figures.p95 == pytest.approx(0.1, rel=0.022)
    assert counts(timing)["GET", "/items/{id}", "client_closed"] == 1


@pytest.mark.parametrize(("status", "error"), [(0, None), (500, OSError()), (503, None), (200, ValueError())])
def test_failures_of_the_server_are_errors(status: int, error: BaseException | None) -> None:
    """No answer, a 5xx and a body that broke off all count."""
    timing = timing_of()
    timing.on_complete(ended_exchange(status=status, error=error))

    assert [figures.errors for figures in timing.routes()] == [1]


def test_probes_are_counted_but_not_among_the_routes() -> None:
    """Probes are many and fast, and a failing one is no visitor's error."""
    timing = timing_of()
    timing.on_complete(ended_exchange(route="/health/live", status=503))

    assert timing.routes() == []
    assert counts(timing) == {("GET", "/health/live", "5xx"): 1}


def test_ten_thousand_routes_stay_bounded() -> None:
    """Beyond `max_series` everything shares one series, and nothing is lost."""
    timing = timing_of(max_series=8)
    for number in range(10_000):
        timing.on_complete(ended_exchange(route=f"/r{number}"))

    found = counts(timing)

    assert len(found) == 9
    assert found["_OTHER", OVERFLOW, "2xx"] == 9_992
    assert sum(found.values()) == 10_000


@pytest.mark.usefixtures("short_switches")
def test_no_request_is_lost_between_threads() -> None:
    """Eight threads that record at once, into new series and old, are all counted, while others read."""
    timing = timing_of(max_series=8)
    barrier = threading.Barrier(9)

    def work() -> None:
        barrier.wait()
        for number in range(2_000):
            timing.on_complete(ended_exchange(route=f"/r{number % 12}", seconds=0.25))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    barrier.wait()
    while any(thread.is_alive() for thread in threads):
        assert all(figures.mean == 0.25 for figures in timing.routes())

    found = counts(timing)
    assert sum(found.values()) == 16_000
    assert len(found) == 9
    assert sum(figures.count for figures in timing.routes()) == 16_000


def test_hits_do_not_hide_slow_misses() -> None:
    """Hits, misses and what went past the read cache each have figures of their own."""
    timing = timing_of()
    for _ in range(1000):
        timing.on_complete(ended_exchange(seconds=0.0001, cache="hit"))
    timing.on_complete(ended_exchange(seconds=3.0, cache="miss"))
    timing.on_complete(ended_exchange(seconds=0.5))

    found = [(figures.cache, figures.count, figures.p95) for figures in timing.routes()]

    assert found == [
        ("miss", 1, pytest.approx(3.0, rel=0.022)),
        (None, 1, pytest.approx(0.5, rel=0.022)),
        ("hit", 1000, pytest.approx(0.0001, rel=0.022)),
    ]


def test_hits_and_misses_count_towards_the_bound() -> None:
    """A route that the read cache serves takes a place for each of its series."""
    timing = timing_of(max_series=8)
    for number in range(3):
        for cache in ("hit", "miss", None):
            timing.on_complete(ended_exchange(route=f"/r{number}", cache=cache))

    found = [(series.route, series.cache) for series in timing.series()]

    assert len(found) == 9
    assert ("/r2", "miss") in found
    assert ("/r2", None) not in found
    assert counts(timing)["_OTHER", OVERFLOW, "2xx"] == 1


def test_figures_are_plain_values() -> None:
    """What is read does not change under the reader."""
    timing = timing_of()
    timing.on_complete(ended_exchange(seconds=0.24))
    (before,) = timing.routes()
    timing.on_complete(ended_exchange(seconds=0.24))

    assert before == RouteStatistics(
        method="GET",
        route="/items/{id}",
        cache=None,
        count=1,
        errors=0,
        p50=pytest.approx(0.24, rel=0.022),
        p95=pytest.approx(0.24, rel=0.022),
        mean=pytest.approx(0.24),
        share_above_target=0.0,
    )
