"""One id for everything that belongs to a request: its response, its log records, and what the app makes of it.

An id that arrives as `X-Request-ID` is kept if it is well formed, so that a proxy's id goes through; it is a label and
nothing is ever trusted because of it.
"""

from __future__ import annotations

import os
import random
import re
from contextvars import ContextVar
from typing import Final

from launchkit.pipeline.exchange import Exchange
from launchkit.pipeline.interceptor import Interceptor

request_id: Final[ContextVar[str]] = ContextVar("launchkit.request_id", default="")
"""The id of the request being served, or an empty string outside of one."""

HEADER: Final = b"x-request-id"
_well_formed = re.compile(rb"[A-Za-z0-9._=+/-]{8,64}").fullmatch
_random = random.Random()  # noqa: S311  # ids are labels; nobody gains by guessing one
os.register_at_fork(after_in_child=_random.seed)


class RequestId(Interceptor):
    """Gives every request its id."""

    name = "request_id"

    def on_request(self, exchange: Exchange) -> None:
        """Accept or make the id."""
        given = exchange.header(HEADER)
        if given is not None and _well_formed(given):
            value = given.decode("ascii")
        else:
            value = "%032x" % _random.getrandbits(128)  # noqa: UP031  # half the cost of an f-string here
        exchange.request_id = value
        exchange.outer_request_id = request_id.get()
        request_id.set(value)

    def on_response_start(self, exchange: Exchange) -> None:
        """Tell the id to the client."""
        exchange.default_response_headers(((HEADER, exchange.request_id.encode("ascii")),))

    def on_exit(self, exchange: Exchange) -> None:
        """Take the id out of the server's context, which threads use again."""
        request_id.set(exchange.outer_request_id)
