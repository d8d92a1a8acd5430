"""Limits spoken to as the performer speaks to them: what they ask, and what comes of each answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.exchanges import WrittenExchange

from launchkit.pipeline.effects import Body, Charge, Effect, Hit, ReadBody, Refund, Steps
from launchkit.pipeline.exchange import EarlyResponse, Exchange, Header
from launchkit.pipeline.interceptor import Planner
from launchkit.pipeline.paths import PathPattern
from launchkit.rate_limit.interceptor import LimitedRoute, RateLimit
from launchkit.rate_limit.memory import MemoryLimiter
from launchkit.settings import RateLimitSettings, Routes
from launchkit.testing import FrozenClock

ADDRESS = "203.0.113.7"
JSON: Header = (b"content-type", b"application/json")
FORM: Header = (b"content-type", b"application/x-www-form-urlencoded")
HTML: Header = (b"content-type", b"text/html; charset=utf-8")


class Conversation:
    """One request's steps. `asked` is the effect that waits for an answer; `result` is there in the end."""

    def __init__(self, steps: Steps[Any]) -> None:
        self.steps = steps
        self.asked: Effect | None = None
        self.result: Any = None
        self._advance(lambda: next(steps))

    def answer(self, answer: object) -> Conversation:
        if isinstance(answer, Exception):
            self._advance(lambda: self.steps.throw(answer))
        else:
            self._advance(lambda: self.steps.send(answer))
        return self

    def _advance(self, step: Any) -> None:
        try:
            self.asked = step()
        except StopIteration as stop:
            self.asked, self.result = None, stop.value


class Site:
    """A site under limits, with a count of its own. `address` is what every client comes from."""

    def __init__(
        self,
        settings: dict[str, Any] | None = None,
        *,
        address: str | None = ADDRESS,
        https: bool = False,
        key: bytes = b"k",
        exempt: Callable[[], tuple[PathPattern, ...]] = tuple,
        **routes: str,
    ) -> None:
        self.clock = FrozenClock()
        self.address = address
        self.broken: list[tuple[str, Exception]] = []
        self.limits = RateLimit(
            RateLimitSettings.model_validate(settings or {}),
            Routes.model_validate(routes),
            clock=self.clock,
            client_of=lambda exchange: self.address,
            is_https=lambda exchange: https,
            key_for=lambda purpose: (key + purpose.encode()).ljust(32, b"\0"),
            report=lambda name, error: self.broken.append((name, error)),
            exempt=exempt,
        )
        self.limiter = MemoryLimiter(self.clock, 100_000)
        self.planner = Planner([self.limits])
        self.effects: list[Effect] = []

    def route(self, exchange: Exchange) -> LimitedRoute | None:
        """Return the limits that the request is under."""
        hooks = self.planner.plan(exchange.method, exchange.path).on_request
        return hooks[0].__self__ if hooks else None  # type: ignore[attr-defined, no-any-return]

    def begin(self, exchange: Exchange) -> Conversation:
        """Begin a request that has limits; the test answers what they ask."""
        route = self.route(exchange)
        assert route is not None
        steps = route.on_request(exchange)
        assert steps is not None
        return Conversation(steps)

    def enter(self, exchange: Exchange, body: bytes = b"") -> EarlyResponse | None:
        """Carry out a request's way in; return the answer that refuses it, if any."""
        route = self.route(exchange)
        steps = None if route is None else route.on_request(exchange)
        result: EarlyResponse | None = None if steps is None else self.perform(steps, body)
        return result

    def respond(self, exchange: WrittenExchange, status: int, *headers: Header) -> WrittenExchange:
        """Carry out the way out of a request that was let through, with that response."""
        route = self.route(exchange)
        steps = None if route is None else route.on_response_start(exchange.answer(status, *headers))
        if steps is not None:
            self.perform(steps)
        return exchange

    def perform(self, steps: Steps[Any], body: bytes = b"") -> Any:
        """Carry effects out on the site's own count, and keep them."""
        talk = Conversation(steps)
        while talk.asked is not None:
            self.effects.append(talk.asked)
            talk.answer(self._carry_out(talk.asked, body))
        return talk.result

    def _carry_out(self, effect: Effect, body: bytes) -> object:
        if isinstance(effect, Hit):
            return self.limiter.hit(effect.charges)
        if isinstance(effect, Refund):
            return self.limiter.refund(effect.token)
        assert isinstance(effect, ReadBody)
        return Body(b"", too_large=True) if len(body) > effect.limit else Body(body)

    @property
    def charges(self) -> list[Charge]:
        """Everything that was ever asked to be charged."""
        return [charge for effect in self.effects if isinstance(effect, Hit) for charge in effect.charges]


def post(target: str = "/login", *headers: Header, **options: Any) -> WrittenExchange:
    """Return a POST."""
    return WrittenExchange("POST", target, headers, **options)


def keys(hit: Effect | None) -> list[str]:
    """Return the buckets that a hit is for."""
    assert isinstance(hit, Hit)
    return [charge.key for charge in hit.charges]


def header_of(early: EarlyResponse, name: bytes) -> bytes | None:
    """Return a header of the limits' own answer."""
    return dict(early.headers).get(name)
