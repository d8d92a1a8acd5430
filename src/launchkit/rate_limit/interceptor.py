"""Limits by client address.

The rules:

- All limits on a request are charged together or not at all: a refused request consumes nothing.
- Where only failures count, the request is charged before it runs and given back when it succeeds, so that a hundred
  simultaneous tries cannot all pass a test that comes before the count.
- A client whose address is unknown is never refused by address: its requests are counted together and observed.
- When the store is down, `on_outage` decides; of several rules on one request the strictest does.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import threading
from collections import Counter
from collections.abc import Callable
from typing import Final

from launchkit.pipeline.effects import Charge, Hit, Refund, Steps, StoreDown, Verdict
from launchkit.pipeline.exchange import EarlyResponse, Exchange, Note
from launchkit.pipeline.interceptor import Interceptor
from launchkit.pipeline.paths import PathPattern
from launchkit.rate_limit.rules import Rule, Window, compile_rules, matching
from launchkit.settings import RateLimitSettings, Routes

logger = logging.getLogger("launchkit")

UNKNOWN: Final = "unknown"
_RESERVED: Final[Note[list[tuple[Rule, Refund]]]] = Note("rate_limit.reserved")


class RateLimit(Interceptor):
    """All limits.

    Args:
        settings: presets and own rules.
        routes: where presets apply that name no paths.
        client_of: tells the address that limits count by, or None where it is unknown.
        exempt: tells the paths that no rule applies to: webhooks, of which only refused ones are charged.
    """

    name = "rate_limit"

    def __init__(
        self,
        settings: RateLimitSettings,
        routes: Routes,
        client_of: Callable[[Exchange], str | None],
        exempt: Callable[[], tuple[PathPattern, ...]] = tuple,
    ) -> None:
        self.rules = compile_rules(settings, routes)
        self.patterns = tuple(pattern for rule in self.rules for pattern in rule.patterns)
        self._client_of = client_of
        self._exempt = exempt
        self._webhook = LimitedRoute(tuple(rule for rule in self.rules if rule.name == "webhook"), self)
        self._lock = threading.Lock()
        self._announced: set[str] = set()
        self.counts: Counter[tuple[str, str]] = Counter()

    def select(self, method: str, matched: frozenset[PathPattern]) -> Interceptor | None:
        """Return the interceptor for the rules that a method and path are under."""
        if not matched.isdisjoint(self._exempt()):
            return None
        rules = matching(self.rules, method, matched)
        return LimitedRoute(rules, self) if rules else None

    def charge_refused_webhook(self, exchange: Exchange) -> Steps[EarlyResponse | None]:
        """Charge a delivery that was refused; the answer is a 429 once too many were."""
        return self._webhook.charge(exchange)

    def address_of(self, exchange: Exchange) -> str | None:
        """Return the address that limits count by."""
        return self._client_of(exchange)

    def count(self, rule: Rule, outcome: str) -> None:
        """Count an outcome for the metrics, and say once when a rule only observes."""
        with self._lock:
            self.counts[rule.name, outcome] += 1
            first = outcome == "observed" and rule.name not in self._announced
            self._announced.add(rule.name)
        if first:
            logger.warning("Rate limit %s would have refused a request and only observes.", rule.name)


class LimitedRoute(Interceptor):
    """The limits on one kind of request."""

    name = "rate_limit"

    def __init__(self, rules: tuple[Rule, ...], feature: RateLimit) -> None:
        self._enforced = tuple(rule for rule in rules if not rule.observe)
        self._observed = tuple(rule for rule in rules if rule.observe)
        self._feature = feature

    def on_request(self, exchange: Exchange) -> Steps[EarlyResponse | None]:
        """Charge the request; refuse it where that fails."""
        return self.charge(exchange)

    def charge(self, exchange: Exchange) -> Steps[EarlyResponse | None]:
        """Charge observed rules one by one and enforced ones together."""
        address = self._feature.address_of(exchange)
        for rule in self._observed if address is not None else (*self._observed, *self._enforced):
            verdict = yield from self._reserve(exchange, (rule,), address or UNKNOWN)
            if not isinstance(verdict, EarlyResponse) and not verdict.allowed:
                self._feature.count(rule, "observed")
        if address is None or not self._enforced:
            return None
        verdict = yield from self._reserve(exchange, self._enforced, address)
        if isinstance(verdict, EarlyResponse):
            return verdict
        for rule in self._enforced:
            self._feature.count(rule, "allowed" if verdict.allowed else "refused")
        return None if verdict.allowed else too_many_requests(verdict, self._enforced[0].patterns)

    def _reserve(self, exchange: Exchange, rules: tuple[Rule, ...], address: str) -> Steps[Verdict | EarlyResponse]:
        pairs = [(rule, window) for rule in rules for window in rule.windows]
        charges = tuple(Charge(rule.key(window, address), window.amount, window.seconds) for rule, window in pairs)
        local = False
        try:
            verdict = yield from Hit(charges)
        except StoreDown:
            on_outage = _strictest(rules)
            if on_outage == "closed":
                return unavailable()
            if on_outage == "open":
                return Verdict(True, 0, 0, 0.0)
            local = True
            verdict = yield from Hit(charges, local=True)
        self._note_refunds(exchange, pairs, verdict, local=local)
        return verdict

    @staticmethod
    def _note_refunds(exchange: Exchange, pairs: list[tuple[Rule, Window]], verdict: Verdict, *, local: bool) -> None:
        refunds = [
            (rule, Refund((entry,), local))
            for (rule, window), entry in zip(pairs, verdict.token, strict=False)
            if window.refunded
        ]
        if refunds:
            _RESERVED.put(exchange, (_RESERVED.get(exchange) or []) + refunds)

    def on_response_start(self, exchange: Exchange) -> Steps[None] | None:
        """Give back what was charged for failures, if this is none."""
        reserved = _RESERVED.get(exchange)
        if not reserved:
            return None
        _RESERVED.put(exchange, [])
        refunds = [refund for rule, refund in reserved if rule.is_success(exchange)]
        return _give_back(refunds) if refunds else None

    def on_failure(self, exchange: Exchange, error: Exception) -> EarlyResponse | None:
        """A bug of ours counts as an outage."""
        return unavailable() if any(rule.on_outage == "closed" for rule in self._enforced) else None


def _give_back(refunds: list[Refund]) -> Steps[None]:
    for refund in refunds:
        with contextlib.suppress(StoreDown):  # the next may be a local one
            yield from refund


def _strictest(rules: tuple[Rule, ...]) -> str:
    found = {rule.on_outage for rule in rules}
    return "closed" if "closed" in found else "local" if "local" in found else "open"


def too_many_requests(verdict: Verdict, patterns: tuple[PathPattern, ...]) -> EarlyResponse:
    """Return the 429 (RFC 6585 section 4), with Retry-After in whole seconds (RFC 9110 section 10.2.3)."""
    seconds = max(1, math.ceil(verdict.reset_after))
    return _problem(429, "Too many requests", f"Try again in {seconds} s.", seconds, patterns)


def unavailable() -> EarlyResponse:
    """Return the 503 of a rule that refuses while it cannot count."""
    return _problem(503, "Temporarily unavailable", "Try again in 5 s.", 5, ())


def _problem(
    status: int, title: str, detail: str, retry_after: int, patterns: tuple[PathPattern, ...]
) -> EarlyResponse:
    body = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail})
    headers = (
        (b"content-type", b"application/problem+json"),
        (b"retry-after", b"%d" % retry_after),
        (b"cache-control", b"no-store"),
    )
    return EarlyResponse(status, body.encode(), headers, patterns[0].text if patterns else None)
