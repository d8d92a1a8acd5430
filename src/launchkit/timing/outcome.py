"""How a request ended, in a handful of classes.

The rules: a status below 500 stands for itself. An error means that the server failed, whatever status had been sent
before, unless the client had gone: then the request was cancelled, or sending to it raised an OSError. Clients that go
are nobody's failure and say nothing about how fast the app is.
"""

from __future__ import annotations

from asyncio import CancelledError
from typing import Final, Literal

Outcome = Literal["1xx", "2xx", "3xx", "4xx", "5xx", "client_closed", "no_response"]

ERRORS: Final[frozenset[Outcome]] = frozenset({"5xx", "no_response"})
"""The outcomes that count as errors of the server."""

_BY_FIRST_DIGIT: Final[dict[int, Outcome]] = {0: "no_response", 1: "1xx", 2: "2xx", 3: "3xx", 4: "4xx"}


def outcome_of(status: int, error: BaseException | None) -> Outcome:
    """Return the class of a response by its status, 0 if none was sent, and the error that ended it, if one did.

    A status outside of 100 to 599 is treated as a server error (RFC 9110 section 15).
    """
    if error is None:
        return _BY_FIRST_DIGIT.get(status // 100, "5xx")
    # A framework's own "client disconnected" is raised while it handles the server's OSError.
    if status < 500 and (_is_departure(error) or _is_departure(error.__context__)):
        return "client_closed"
    return "5xx"


def _is_departure(error: BaseException | None) -> bool:
    """Tell whether an error comes from the client's going; a time-out is an OSError too, but the app's own."""
    return isinstance(error, CancelledError | OSError) and not isinstance(error, TimeoutError)
