"""The health endpoints as monitors see them."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from tests.health.harness import Colour, Harness, WrittenExchange

from launchkit.health.document import full_document
from launchkit.pipeline.exchange import EarlyResponse
from launchkit.pipeline.interceptor import Planner

both_colours = pytest.mark.parametrize("colour", ["sync", "async"])
probing_paths = pytest.mark.parametrize("path", ["/health", "/health/ready"])
all_paths = pytest.mark.parametrize("path", ["/health", "/health/ready", "/health/live"])


def failing() -> bool:
    return False


def refused() -> None:
    raise ConnectionRefusedError("postgresql://owner@database")


def passing() -> None:
    return None


def document(response: EarlyResponse) -> dict[str, object]:
    loaded: dict[str, object] = json.loads(response.body)
    return loaded


@both_colours
@all_paths
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_healthy_app_passes(path: str, method: str, colour: Colour) -> None:
    """200, one stable body for keyword monitors, never stored; the adapter leaves out the body for HEAD."""
    harness = Harness()
    harness.check(passing)

    response = harness.ask(path, method, colour)

    assert (response.status, response.body) == (200, b'{"status":"pass"}')
    assert response.headers == (
        (b"content-type", b"application/health+json"),
        (b"cache-control", b"no-store"),
    )


@all_paths
def test_answers_are_timed_under_their_path(path: str) -> None:
    """The label is the path of the settings, whatever spelling was asked for."""
    harness = Harness()

    assert harness.ask(path + "/").route == path
    assert harness.ask(path, "POST").route == path


@all_paths
def test_a_trailing_slash_is_no_redirect(path: str) -> None:
    """Monitors that do not follow redirects get their answer."""
    assert Harness().ask(path + "/").status == 200


@all_paths
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
def test_other_methods_are_refused_without_running_a_check(path: str, method: str) -> None:
    """405 with Allow (RFC 9110 section 15.5.6)."""
    harness = Harness()
    harness.check(passing)

    response = harness.ask(path, method)

    assert response.status == 405
    assert response.headers == ((b"allow", b"GET, HEAD"), (b"cache-control", b"no-store"))
    assert harness.runs == []


def test_liveness_never_runs_a_check() -> None:
    """A process that answers is alive, whatever it depends on."""
    harness = Harness(failures=1)
    harness.check(failing)
    harness.probe()
    harness.clock.advance(10)
    harness.known = True

    response = harness.ask("/health/live")

    assert (response.status, response.body) == (200, b'{"status":"pass"}')
    assert len(harness.runs) == 1


@both_colours
@probing_paths
def test_readiness_fails_after_three_failures_an_interval_apart(path: str, colour: Colour) -> None:
    """Until then it warns, with 200; then it is 503, and one success brings it back."""
    outcomes = iter([False, False, False, True])
    harness = Harness(failures=3, interval=10)
    harness.check(lambda: next(outcomes))
    answers = []
    for _ in range(4):
        harness.ask(path, colour=colour)
        response = harness.ask(path, colour=colour)
        answers.append((response.status, response.body))
        harness.clock.advance(10)

    assert answers == [
        (200, b'{"status":"warn"}'),
        (200, b'{"status":"warn"}'),
        (503, b'{"status":"fail"}'),
        (200, b'{"status":"pass"}'),
    ]


@probing_paths
def test_the_worst_check_decides(path: str) -> None:
    """One failing required check among others is a failure; an optional one is a warning."""
    harness = Harness(failures=1)
    harness.check(passing, "cache")
    harness.check(failing, "mail", required=False)
    assert harness.ask(path).body == b'{"status":"warn"}'

    harness.check(failing, "database")
    assert harness.ask(path).status == 503


@probing_paths
def test_failures_while_the_app_starts_are_warnings(path: str) -> None:
    """During the grace period readiness does not fail."""
    harness = Harness(failures=1, grace=60)
    harness.check(failing)

    assert harness.ask(path).status == 200
    harness.clock.advance(60)
    assert harness.ask(path).status == 503


@both_colours
@probing_paths
def test_a_known_caller_sees_everything(path: str, colour: Colour) -> None:
    """The release, every check with duration and time, the class of an error, and what the kit adds."""
    harness = Harness(failures=1)
    harness.known = True
    harness.release = "4f2a1c"
    harness.details = lambda: {"p95_seconds": 0.21}
    harness.check(passing, "cache")
    harness.check(refused, "database")

    response = harness.ask(path, colour=colour)

    assert response.status == 503
    assert document(response) == {
        "status": "fail",
        "releaseId": "4f2a1c",
        "checks": {
            "cache:responseTime": [
                {"status": "pass", "observedValue": 0.0, "observedUnit": "ms", "time": "2023-11-14T22:13:20+00:00"}
            ],
            "database:responseTime": [
                {
                    "status": "fail",
                    "observedValue": 0.0,
                    "observedUnit": "ms",
                    "time": "2023-11-14T22:13:20+00:00",
                    "output": "ConnectionRefusedError",
                }
            ],
        },
        "details": {"p95_seconds": 0.21},
    }


@probing_paths
def test_nothing_is_shown_that_is_not_there(path: str) -> None:
    """Without release, checks and details the document is small."""
    harness = Harness()
    harness.known = True

    assert document(harness.ask(path)) == {"status": "pass", "checks": {}}


@probing_paths
def test_an_anonymous_caller_sees_the_status_only(path: str) -> None:
    """Neither the release nor the name of a check nor an error."""
    harness = Harness(failures=1)
    harness.release = "4f2a1c"
    harness.details = lambda: {"p95_seconds": 0.21}
    harness.check(refused)

    assert harness.ask(path).body == b'{"status":"fail"}'


@probing_paths
def test_broken_details_do_not_hide_the_status(path: str) -> None:
    """What is extra is replaced by the class of its error; what is no JSON is written as text."""
    harness = Harness(failures=1)
    harness.known = True
    harness.check(failing)

    def broken() -> Mapping[str, object]:
        raise KeyError("a value")

    harness.details = broken
    response = harness.ask(path)
    assert (response.status, document(response)["details"]) == (503, {"error": "KeyError"})

    harness.details = lambda: {"when": harness}
    assert harness.ask(path).status == 503


def test_a_check_that_was_never_run_has_no_time() -> None:
    """The page can be written before the first outcome is there."""
    harness = Harness()
    harness.check(passing)

    assert full_document(harness.monitor.results(), None, {}) == {
        "status": "warn",
        "checks": {"database:responseTime": [{"status": "warn"}]},
    }


@pytest.mark.parametrize(("path", "status"), [("/health", "warn"), ("/health/ready", "warn"), ("/health/live", "pass")])
def test_a_bug_of_ours_never_takes_the_app_out_of_service(path: str, status: str) -> None:
    """When a hook breaks, liveness still passes and readiness warns."""
    harness = Harness()
    health = harness.health()
    (hook,) = Planner([health]).plan("GET", path).on_request

    response = hook.__self__.on_failure(WrittenExchange("GET", path), RuntimeError())  # type: ignore[union-attr]  # bound

    assert (response.status, document(response)) == (200, {"status": status})


def test_other_paths_never_meet_health() -> None:
    """The app's own routes below and beside are its own."""
    planner = Planner([Harness(path="/up").health()])

    assert planner.plan("GET", "/health").on_request == ()
    assert planner.plan("GET", "/up/more").on_request == ()
    assert len(planner.plan("GET", "/up").on_request) == 1
