"""Synthetic requests through the kit's own limits and webhook intakes, on counters made for the purpose.

The rules:

- What is driven are a `RateLimit` and a `Webhooks` compiled from the kit's own settings, behind the same planner and
  the same performer as real requests. Of the real ones nothing is touched: no counter, metric, key file or inbox.
- In the handler's place stands an answer: a failure (401), or a success (200 with JSON) where successes count too.
- Addresses are from the network for documentation (RFC 3849), accounts from a domain that cannot exist (RFC 2606).
- Time stands still, so that a limit is what its first window takes.
- Rules that only observe are left out: they refuse nothing.
- Functions of the app's that a rule counts by are not called: a header of ours stands for what they return.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import (
    Backends,
    Body,
    CacheKey,
    Charge,
    Fetched,
    Limiter,
    Names,
    NewDelivery,
    Steps,
    StoreDown,
    StoredResponse,
    Verdict,
    Waiting,
)
from launchkit.pipeline.exchange import EarlyResponse, Exchange, Header
from launchkit.pipeline.interceptor import Planner
from launchkit.pipeline.perform import perform, perform_now
from launchkit.rate_limit.interceptor import RateLimit
from launchkit.rate_limit.memory import MemoryLimiter
from launchkit.settings import Preset, RateLimitRule, RateLimitSettings, Routes, Settings
from launchkit.webhooks.handlers import Handlers
from launchkit.webhooks.interceptor import Intakes

FUNCTION: Final = "launchkit-check-function"
"""The header that stands for what a rule's own function returns."""

_JSON: Final[Header] = (b"content-type", b"application/json")


class Standstill:
    """A clock that has stopped at the time it was made."""

    def __init__(self, clock: Clock) -> None:
        self._monotonic = clock.monotonic()
        self._time = clock.time()

    def monotonic(self) -> float:
        """Return the time it was made."""
        return self._monotonic

    def time(self) -> float:
        """Return the time it was made."""
        return self._time


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request: everything that a limit can tell callers apart by."""

    address: str
    account: str
    headers: tuple[Header, ...] = ()


class Probe(Exchange):
    """One synthetic request; it is its own body reader."""

    __slots__ = ("_body", "_headers")

    def __init__(self, method: str, path: str, mount: str, caller: Caller, account_field: str, now: float) -> None:
        self.method = method
        self.path = path
        self.mount = mount
        self.scheme = "https"
        self.peer = caller.address
        self._headers = (_JSON, *caller.headers)
        self._body = json.dumps({account_field: caller.account}).encode()
        self.request_id = self.outer_request_id = ""
        self.started = now
        self.ended = 0.0
        self.status = 0
        self.response_headers = []
        self.body_hooks = ()
        self.may_be_replaced = False
        self.route = self.error = self.notes = self.cache = self.replacement = self._response_names = None

    @property
    def is_identified(self) -> bool:
        """No: a stranger sends it."""
        return False

    @property
    def query(self) -> bytes:
        """None."""
        return b""

    @property
    def target(self) -> bytes:
        """The path, which was never encoded."""
        return self.path.encode()

    def header(self, name: bytes) -> bytes | None:
        """Return one request header."""
        return dict(self._headers).get(name)

    def header_values(self, name: bytes) -> list[bytes]:
        """Return every value of one request header."""
        return [value for key, value in self._headers if key == name]

    def request_headers(self) -> Iterable[Header]:
        """Return all request headers."""
        return self._headers

    def hide_request_headers(self, names: frozenset[bytes]) -> None:
        """Do nothing: no app sees it."""

    def set_request_headers(self, headers: Iterable[Header]) -> None:
        """Do nothing: no app sees them."""

    def present_to_app(self, client: str | None, scheme: str, host: bytes | None) -> None:
        """Do nothing: no app sees it."""

    def limit_body(self, limit: int, too_large: EarlyResponse) -> None:
        """Do nothing: the body is the rehearsal's own."""

    def read(self, limit: int) -> Body:
        """Return the body."""
        return Body(self._body, too_large=len(self._body) > limit)


class Rehearsal:
    """The limits and intakes of some settings, on counters of their own."""

    def __init__(self, settings: Settings, handlers: Handlers, clock: Clock) -> None:
        self._clock = clock = Standstill(clock)
        limits, routes = _driven(settings)
        self._account_field = next(iter(limits.account_fields), "email")
        self._limits = RateLimit(
            limits,
            routes,
            clock=clock,
            client_of=lambda exchange: exchange.peer,
            is_https=lambda _: True,
            key_for=lambda _: bytes(32),
            report=lambda _, __: None,
            exempt=lambda: webhooks.patterns,
        )
        webhooks = Intakes(settings.webhooks, clock, handlers, _refuse_delivery, lambda: None, settings.edge.url)
        webhooks.compile()
        self.rules = self._limits.rules
        self._planner = Planner((self._limits, webhooks))
        self.forget()

    def forget(self) -> None:
        """Begin to count anew."""
        self._counters = MemoryLimiter(self._clock, 10_000)

    def send(self, method: str, path: str, mount: str, caller: Caller, *, succeeds: bool) -> int:
        """Return the status of a request to a handler that would answer 200 or 401."""
        return self._run(self._probe(method, path, mount, caller), self._counters, succeeds=succeeds)

    def keys(self, method: str, path: str, mount: str, caller: Caller) -> list[str]:
        """Return the keys of all buckets that a request is charged to, whatever they hold."""
        recorder = Recorder()
        self._run(self._probe(method, path, mount, caller), recorder, succeeds=False)
        return recorder.keys

    def refuses_unsigned(self, path: str) -> int:
        """Return the status of a delivery without signature."""
        return self.send("POST", path, "", Caller("2001:db8::1", "check@launchkit.invalid"), succeeds=True)

    def _probe(self, method: str, path: str, mount: str, caller: Caller) -> Probe:
        return Probe(method, path, mount, caller, self._account_field, self._clock.monotonic())

    def _run(self, probe: Probe, limiter: Limiter, *, succeeds: bool) -> int:
        backends = Backends(limiter, limiter, _NOTHING, _NOTHING, _NOTHING)
        plan = self._planner.plan(probe.method, probe.path, probe.mount)
        for hook in plan.on_request:
            early = hook(probe)
            if early is not None and not isinstance(early, EarlyResponse):
                waiting = perform_now(early, backends)
                early = perform(waiting, backends, probe) if isinstance(waiting, Waiting) else waiting
            if early is not None:
                return early.status
        probe.status = 200 if succeeds else 401
        probe.response_headers = [_JSON]
        for responding in plan.on_response_start:
            steps = responding(probe)
            if steps is not None:
                answering = perform_now(steps, backends)
                if answering is not None:
                    perform(answering, backends, probe)
        return probe.status


class Recorder:
    """A `Limiter` that lets everything pass and notes what it was asked to count."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def hit(self, charges: tuple[Charge, ...]) -> Verdict:
        """Note the keys."""
        self.keys += [charge.key for charge in charges]
        return Verdict(True, 1, 0, 0.0, tuple([charge.key for charge in charges]))

    async def ahit(self, charges: tuple[Charge, ...]) -> Verdict:
        """Note the keys."""
        return self.hit(charges)

    def refund(self, token: tuple[object, ...]) -> None:
        """Do nothing."""

    async def arefund(self, token: tuple[object, ...]) -> None:
        """Do nothing."""


class _Nothing:
    """The backends that a probe must never reach: each refuses as a store that is down does."""

    def fetch(self, key: CacheKey, request: Exchange) -> Fetched:
        raise StoreDown

    async def afetch(self, key: CacheKey, request: Exchange) -> Fetched:
        raise StoreDown

    def store(self, key: CacheKey, response: StoredResponse, names: Names, moment: object) -> None:
        raise StoreDown

    async def astore(self, key: CacheKey, response: StoredResponse, names: Names, moment: object) -> None:
        raise StoreDown

    def invalidate(self, names: Names) -> None:
        raise StoreDown

    async def ainvalidate(self, names: Names) -> None:
        raise StoreDown

    def put(self, delivery: NewDelivery) -> bool:
        raise StoreDown

    async def aput(self, delivery: NewDelivery) -> bool:
        raise StoreDown

    def probe(self) -> None:
        raise StoreDown

    async def aprobe(self) -> None:
        raise StoreDown


_NOTHING: Final = _Nothing()


def _refuse_delivery(_: Exchange) -> Steps[EarlyResponse | None]:
    """Answer a delivery whose signature was refused, before the intake logs it and anybody is charged."""
    yield from ()
    return EarlyResponse(401)


def _driven(settings: Settings) -> tuple[RateLimitSettings, Routes]:
    """Return the limits that refuse, and the routes that they are for."""
    limits, routes = settings.rate_limit, settings.routes
    for name in ("login", "signup", "password_reset", "webhook"):
        preset: Preset = getattr(limits, name)
        if preset.mode == "observe":
            limits = limits.model_copy(update={name: preset.model_copy(update={"paths": ()})})
            routes = routes.model_copy(update={name: ()})
    login = limits.login.model_copy(update={"success": _succeeds})
    rules = {name: _without_functions(rule) for name, rule in limits.rules.items() if rule.mode == "enforce"}
    return limits.model_copy(update={"login": login, "rules": rules}), routes


def _without_functions(rule: RateLimitRule) -> RateLimitRule:
    by = tuple(_function if callable(key) else key for key in rule.by)
    return rule.model_copy(update={"by": by, "success": _succeeds})


def _succeeds(exchange: Exchange) -> bool:
    """Stand in for the app's own function, which is not to run: the rehearsal answers 200 or 401."""
    return exchange.status == 200


def _function(exchange: Exchange) -> str | None:
    value = exchange.header(FUNCTION.encode())
    return None if value is None else value.decode()
