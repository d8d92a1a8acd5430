"""A feature that gives another response in place of the app's, and one further out that sees what becomes of it."""

from __future__ import annotations

from typing import Any

from launchkit.pipeline.effects import Charge, Hit, Quota, Steps
from launchkit.pipeline.exchange import EarlyResponse, Exchange
from launchkit.pipeline.interceptor import Interceptor

STORED = EarlyResponse(200, b"stored", ((b"content-type", b"text/plain"), (b"x-stored", b"yes")), "/stored")


class Replacing(Interceptor):
    """Gives `response` where the app fails; with `asks` only after it has asked the world."""

    name = "replacing"

    def __init__(self, response: EarlyResponse = STORED, *, asks: bool = False) -> None:
        self.response = response
        self.asks = asks

    def on_request(self, exchange: Exchange) -> None:
        exchange.may_be_replaced = True

    def on_response_start(self, exchange: Exchange) -> Steps[None] | None:
        if exchange.status < 500:
            return None
        if self.asks:
            return self._ask(exchange)
        exchange.replace_response(self.response)
        return None

    def _ask(self, exchange: Exchange) -> Steps[None]:
        yield from Hit((Charge("key", Quota(((100, 60.0),))),))
        exchange.replace_response(self.response)


class Outer(Interceptor):
    """Writes down what it sees, in `seen` of the world that the app writes to as well."""

    name = "outer"

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_response_start(self, exchange: Exchange) -> None:
        self.seen.append(exchange.status)
        exchange.default_response_headers(((b"x-outer", b"1"), (b"x-stored", b"no")))
        exchange.replace_response_header(b"content-type", b"text/html")
        exchange.watch_body(self.watch)

    def watch(self, exchange: Exchange, chunk: bytes, last: bool) -> None:
        self.seen.append(chunk)

    def on_complete(self, exchange: Exchange) -> None:
        self.seen.append(("complete", exchange.status, exchange.route, type(exchange.error).__name__))

    def on_exit(self, exchange: Exchange) -> None:
        self.seen.append("exit")
