"""How a request ended."""

from __future__ import annotations

import asyncio

import pytest

from launchkit.timing.outcome import outcome_of


class ServerSaysClientIsGone(OSError):
    """What an ASGI server raises from `send`."""


def framework_error() -> RuntimeError:
    """Return what a framework makes of a server's OSError."""
    error = RuntimeError("client disconnected")
    error.__context__ = ServerSaysClientIsGone()
    return error


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(101, "1xx"), (200, "2xx"), (304, "3xx"), (404, "4xx"), (429, "4xx"), (500, "5xx"), (599, "5xx"), (999, "5xx")],
)
def test_a_response_is_classed_by_its_first_digit(status: int, outcome: str) -> None:
    """Codes nobody knows count as server errors (RFC 9110 section 15)."""
    assert outcome_of(status, None) == outcome


def test_an_app_that_sends_nothing_has_no_response() -> None:
    """Returning without an answer is a class of its own."""
    assert outcome_of(0, None) == "no_response"


@pytest.mark.parametrize("status", [0, 200, 404])
@pytest.mark.parametrize("error", [asyncio.CancelledError(), ServerSaysClientIsGone(), framework_error()], ids=repr)
def test_a_client_that_went_away_is_no_failure(status: int, error: BaseException) -> None:
    """Cancelled or unable to send, before or while answering: the client closed."""
    assert outcome_of(status, error) == "client_closed"


@pytest.mark.parametrize("status", [0, 200, 500, 503])
@pytest.mark.parametrize("error", [ValueError(), TimeoutError(), SystemExit(1)], ids=repr)
def test_an_error_of_the_app_is_a_server_error_whatever_was_sent(status: int, error: BaseException) -> None:
    """A body that breaks off is a failure although its status was 200; a time-out is the app's own OSError."""
    assert outcome_of(status, error) == "5xx"


def test_an_oserror_of_the_app_that_was_answered_with_500_is_a_server_error() -> None:
    """A missing file or a refused database connection is not a client that went away."""
    assert outcome_of(500, FileNotFoundError()) == "5xx"
