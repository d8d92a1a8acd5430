"""The metrics endpoint."""

from __future__ import annotations

import pytest
from tests.timing.exchanges import ended_exchange

from launchkit.pipeline.interceptor import Planner
from launchkit.settings import TimingSettings
from launchkit.testing import FrozenClock
from launchkit.timing.endpoint import MetricsEndpoint
from launchkit.timing.interceptor import Timing
from launchkit.timing.prometheus import Metric


def endpoint(*, allowed: bool = True, path: str = "/metrics") -> MetricsEndpoint:
    settings = TimingSettings(metrics_path=path)
    up = Metric("launchkit_up", "gauge", "Up.", {}, 1)
    return MetricsEndpoint(settings, Timing(settings, FrozenClock()), lambda exchange: allowed, [lambda: [up]])


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_figures_are_served(method: str) -> None:
    """GET and HEAD get the text with its version; the adapter leaves out the body of the latter."""
    response = endpoint().on_request(ended_exchange(method))

    assert response.status == 200
    assert dict(response.headers) == {
        b"content-type": b"text/plain; version=0.0.4; charset=utf-8",
        b"cache-control": b"no-store",
    }
    assert b"\nlaunchkit_up 1\n" in response.body
    assert response.route == "/metrics"


@pytest.mark.parametrize("method", ["POST", "OPTIONS", "DELETE", "BREW"])
def test_other_methods_are_refused(method: str) -> None:
    """405 names the methods that are allowed (RFC 9110 section 15.5.6)."""
    response = endpoint().on_request(ended_exchange(method))

    assert (response.status, dict(response.headers)[b"allow"]) == (405, b"GET, HEAD")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_callers_who_may_not_see_it_find_nothing(method: str) -> None:
    """Without permission the path does not exist, whatever the method, and the answer is not stored either."""
    response = endpoint(allowed=False).on_request(ended_exchange(method))

    assert (response.status, response.body, response.route) == (404, b"Not Found", "/metrics")
    assert dict(response.headers)[b"cache-control"] == b"no-store"


@pytest.mark.parametrize(("path", "hooks"), [("/internal/metrics", 1), ("/internal/metrics/", 1), ("/metrics", 0)])
def test_only_the_path_of_the_settings_is_answered(path: str, hooks: int) -> None:
    """All other requests never meet the endpoint."""
    planner = Planner([endpoint(path="/internal/metrics")])

    assert len(planner.plan("GET", path).on_request) == hooks


def test_a_label_that_is_no_text_does_not_break_the_scrape() -> None:
    """A route with half a surrogate pair is replaced, not raised."""
    settings = TimingSettings()
    timing = Timing(settings, FrozenClock())
    timing.on_complete(ended_exchange(route="/\udc80"))

    assert MetricsEndpoint(settings, timing, lambda exchange: True).on_request(ended_exchange()).status == 200
