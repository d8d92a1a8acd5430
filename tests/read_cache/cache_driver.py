"""Drives the read cache as an adapter does, in either colour, around an app that the test writes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.support.exchanges import WrittenExchange
from tests.support.performing import acarried_out, carried_out

from launchkit.pipeline.effects import Backends, ResponseStore, Steps
from launchkit.pipeline.exchange import EarlyResponse, Header
from launchkit.pipeline.interceptor import Plan, Planner
from launchkit.read_cache.interceptor import ReadCache
from launchkit.read_cache.memory import MemoryResponses
from launchkit.settings import CacheRule, ReadCacheSettings
from launchkit.testing import FrozenClock

HOST: Header = (b"host", b"shop.example")


def plain_exchange(
    target: bytes = b"/", headers: Iterable[Header] = (HOST,), method: str = "GET", scheme: str = "https"
) -> WrittenExchange:
    """Return a request as an adapter would describe it."""
    return WrittenExchange(method, target.decode("latin-1"), headers, scheme=scheme)


@dataclass
class Reply:
    """What the app answers. With `aborted` it fails after its chunks, before the last one was marked as such."""

    body: bytes | list[bytes] = b"hello"
    headers: list[Header] = field(default_factory=list)
    status: int = 200
    aborted: bool = False


@dataclass
class Answer:
    """What the client receives."""

    status: int
    headers: list[Header]
    body: bytes
    route: str | None

    def header(self, name: bytes) -> bytes | None:
        """Return the only value of a header; fail if there are several."""
        values = [value for key, value in self.headers if key.lower() == name]
        assert len(values) < 2, (name, values)
        return values[0] if values else None

    @property
    def outcome(self) -> bytes | None:
        """What Cache-Status says after the cache's name."""
        said = self.header(b"cache-status")
        return None if said is None else said.removeprefix(b"LaunchKit; ")


App = Callable[[WrittenExchange], Reply]


class Visit:
    """One request on its way, step by step, so that a test can let several overlap."""

    def __init__(self, site: CachedSite, exchange: WrittenExchange) -> None:
        self._site = site
        self.exchange = exchange
        self._plan: Plan = site.planner.plan(exchange.method, exchange.path)
        exchange.started = site.clock.monotonic()
        self.early: EarlyResponse | None = None
        for hook in self._plan.on_request:
            outcome = hook(exchange)
            self.early = outcome if outcome is None or isinstance(outcome, EarlyResponse) else site.run(outcome)
            if self.early is not None:
                self._response_hooks = self._plan.responses_from[hook]
                break
        else:
            self._response_hooks = self._plan.on_response_start

    def respond(self, reply: Reply) -> Answer:
        """Send what the app answered, or the stored response, and end the exchange."""
        early = self.early
        self.start(early.status if early else reply.status, early.headers if early else reply.headers)
        chunks = [early.body] if early else [reply.body] if isinstance(reply.body, bytes) else reply.body
        if early is None:
            self.stream(chunks, aborted=reply.aborted)
        self.complete()
        exchange = self.exchange
        route = early.route if early else None
        return Answer(exchange.status, exchange.response_headers, b"".join(chunks), route)

    def start(self, status: int, headers: Iterable[Header]) -> None:
        """Start the response."""
        self.exchange.status = status
        self.exchange.response_headers = list(headers)
        for hook in self._response_hooks:
            self._site.run(hook(self.exchange))

    def stream(self, chunks: list[bytes], *, aborted: bool = False) -> None:
        """Send the body."""
        for number, chunk in enumerate(chunks, 1):
            for hook in self._plan.on_body:
                self._site.run(hook(self.exchange, chunk, number == len(chunks) and not aborted))

    def complete(self) -> None:
        """End the exchange."""
        for hook in self._plan.on_complete:
            hook(self.exchange)


class CachedSite:
    """An app with nothing but the read cache around it."""

    def __init__(
        self,
        *rules: CacheRule,
        colour: str = "sync",
        never: tuple[str, ...] = (),
        store: ResponseStore | None = None,
    ) -> None:
        self.clock = FrozenClock()
        self.colour = colour
        self.calls = 0
        self.seen: WrittenExchange | None = None
        named = {f"rule{number}": rule for number, rule in enumerate(rules or (CacheRule(paths="/items/*"),))}
        self.cache = ReadCache(ReadCacheSettings(rules=named), never, self.clock)
        self.planner = Planner([self.cache])
        self.store = store or MemoryResponses(1_000_000, self.clock)
        unused = object()
        self._backends = Backends(unused, unused, self.store, unused, unused)

    def run(self, steps: Steps | None) -> object:
        """Perform a hook's steps in this site's colour."""
        if steps is None:
            return None
        if self.colour == "sync":
            return carried_out(steps, self._backends, None)
        return asyncio.run(acarried_out(steps, self._backends, None))

    def open(self, target: bytes = b"/items/1", *headers: Header, method: str = "GET", scheme: str = "https") -> Visit:
        """Let a request reach the app, or be answered."""
        return Visit(self, plain_exchange(target, (HOST, *headers), method, scheme))

    def visit(
        self,
        app: App | Reply,
        target: bytes = b"/items/1",
        *headers: Header,
        method: str = "GET",
        scheme: str = "https",
    ) -> Answer:
        """Make one whole request."""
        visit = self.open(target, *headers, method=method, scheme=scheme)
        reply = Reply()
        if visit.early is None:
            self.calls += 1
            self.seen = visit.exchange
            reply = app if isinstance(app, Reply) else app(visit.exchange)
        return visit.respond(reply)
