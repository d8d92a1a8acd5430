"""What is timed, under which label, on every framework."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from launchkit.timing.series import RouteStatistics
from tests.support.targets import Target

TEMPLATES = {
    "starlette": "/items/{id}",
    "fastapi": "/items/{id}",
    "flask": "/items/<id>",
    "asgi": "(unmatched)",
    "wsgi": "(unmatched)",
}


def only(target: Target) -> RouteStatistics:
    (figures,) = target.kit.timing.routes()
    return figures


def test_requests_are_labelled_by_route_template(target: Target) -> None:
    """Never by path: a thousand items are one route."""
    for number in range(3):
        target.request("GET", f"/items/{number}")
    assert (only(target).method, only(target).route, only(target).count) == ("GET", TEMPLATES[target.name], 3)


def test_a_stream_is_timed_to_its_last_byte(target: Target) -> None:
    """Three chunks 0.1 s apart take 0.3 s."""
    target.request("GET", "/stream")
    assert only(target).mean == pytest.approx(0.3)


@pytest.mark.parametrize("name", ["asgi", "starlette", "fastapi"])
def test_background_tasks_are_not_timed(make: Callable[..., Target], name: str) -> None:
    """What happens after the last byte is not part of the request."""
    target = make(name)
    target.request("GET", "/background")
    assert target.world.seen == ["background"]
    assert only(target).mean == 0


def test_trailers_delay_the_end(make: Callable[..., Target]) -> None:
    """A response that announced trailers ends with them."""
    target = make("asgi")
    reply = target.request("GET", "/trailers", extensions={"http.response.trailers": {}})
    assert [message["type"] for message in reply.messages][-1] == "http.response.trailers"
    assert only(target).mean == pytest.approx(0.5)


def test_a_path_sent_by_the_server_ends_the_response(make: Callable[..., Target]) -> None:
    """`http.response.pathsend` is the whole body."""
    target = make("asgi")
    reply = target.request("GET", "/pathsend", extensions={"http.response.pathsend": {}})
    assert reply.messages[-1]["path"] == target.world.file
    assert only(target).mean == pytest.approx(0.25)


def test_an_exception_counts_as_an_error(target: Target) -> None:
    """Whether or not a 500 was sent."""
    target.request("GET", "/boom")
    assert only(target).errors == 1


def test_a_client_that_goes_away_is_no_error(target: Target) -> None:
    """Neither an error nor a latency; the exchange is over all the same, and counted apart."""
    target.request("GET", "/stream", disconnect_after=1)
    assert target.kit.timing.routes() == []
    assert [outcome for series in target.kit.timing.series() for outcome in series.outcomes()] == ["client_closed"]


def test_health_and_metrics_are_not_in_the_figures(target: Target) -> None:
    """Probes are many and fast, and would hide what visitors see."""
    for path in ("/health", "/health/live", "/health/ready", "/metrics"):
        target.request("GET", path)
    assert target.kit.timing.routes() == []


def test_a_refused_request_is_labelled_by_the_rule(target: Target) -> None:
    """An early answer has no route of the app's, so the pattern of the rule stands for it."""
    for _ in range(21):
        reply = target.request("POST", "/login", body=b"{}")
    assert reply.status == 429
    assert sum(figures.count for figures in target.kit.timing.routes() if figures.route == "/login") >= 1


def test_hits_and_misses_have_figures_of_their_own(target: Target) -> None:
    """The first request to a cached route runs the app, the next two do not."""
    for _ in range(3):
        target.request("GET", "/counted")
    assert {figures.cache: figures.count for figures in target.kit.timing.routes()} == {"miss": 1, "hit": 2}


@pytest.mark.parametrize("name", ["starlette", "fastapi", "flask"])
def test_hits_have_the_label_of_the_route(make: Callable[..., Target], name: str) -> None:
    """Though the app, which knows its routes, is not asked."""
    target = make(name, read_cache={"rules": {"all": {"paths": "/*"}}})
    for _ in range(2):
        target.request("GET", "/counted")
    assert [(figures.cache, figures.route) for figures in target.kit.timing.routes()] == [
        ("miss", "/counted"),
        ("hit", "/counted"),
    ]


def test_metrics_are_served_as_prometheus_text(target: Target) -> None:
    """In development to this machine, without a token."""
    target.request("GET", "/items/1")
    reply = target.request("GET", "/metrics", peer="127.0.0.1")
    assert (reply.status, reply.header("content-type")) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert f'route="{TEMPLATES[target.name]}"'.encode() in reply.body
    assert target.request("GET", "/metrics").status == 404
