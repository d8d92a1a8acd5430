"""Limits by address, account, or whatever else tells callers apart.

The rules:

- Limits on what the request line and headers tell are charged first, together or not at all; only if they let the
  request pass is its body read for an account, whose limits are charged then. A refused request consumes nothing: what
  the first charge took is given back.
- Where only failures count, the request is charged before it runs and given back when it succeeds, so that a hundred
  simultaneous tries cannot all pass a test that comes before the count.
- A client whose address is unknown is never refused by address: its requests are counted together and observed.
- An app that breaks (5xx) has judged nothing: what was charged for a failure is given back then too.
- A device that logged in to an account before is counted by itself there, so that others cannot lock its user out.
- When the store is down, `on_outage` decides; of several rules on one request the strictest does.
- A preflight is the browser's own and is never counted.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import Charge, Hit, ReadBody, Refund, Steps, StoreDown, Verdict
from launchkit.pipeline.exchange import EarlyResponse, Exchange, Note
from launchkit.pipeline.interceptor import Interceptor
from launchkit.pipeline.paths import PathPattern
from launchkit.rate_limit.accounts import SPARE_FIELDS, UNREADABLE, UNREADABLE_ACCOUNTS, AccountReader
from launchkit.rate_limit.answers import limit_field, refused_body, too_many_requests, unavailable
from launchkit.rate_limit.device import DeviceCookie
from launchkit.rate_limit.keys import Discriminator, Function
from launchkit.rate_limit.meters import Meter, account_charges, charges_of, policies_of, strictest
from launchkit.rate_limit.outcomes import Outcomes
from launchkit.rate_limit.rules import Rule, compile_rules, matching
from launchkit.settings import RateLimitSettings, Routes

logger = logging.getLogger("launchkit")


class RateLimit(Interceptor):
    """All limits.

    Args:
        settings: presets and own rules.
        routes: where presets apply that name no paths.
        clock: the time.
        client_of: tells the address that limits count by, or None where it is unknown.
        is_https: tells whether the client came by HTTPS.
        key_for: returns 32 secret bytes for a purpose.
        report: told what a function of the app's has raised.
        exempt: tells the paths that no rule applies to: webhooks, of which only refused ones are charged.
    """

    name = "rate_limit"

    def __init__(
        self,
        settings: RateLimitSettings,
        routes: Routes,
        *,
        clock: Clock,
        client_of: Callable[[Exchange], str | None],
        is_https: Callable[[Exchange], bool],
        key_for: Callable[[str], bytes],
        report: Callable[[str, Exception], None],
        exempt: Callable[[], tuple[PathPattern, ...]] = tuple,
    ) -> None:
        spare = () if "account_fields" in settings.model_fields_set else SPARE_FIELDS
        self.accounts = AccountReader(settings.account_fields, lambda: key_for("accounts"), spare)
        self.devices = DeviceCookie(settings.login.device_days, lambda: key_for("devices"), clock.time)
        self.max_body = settings.max_body
        self.address_of = client_of
        self.is_https = is_https
        self._report = report
        self.rules = compile_rules(settings, routes, self._discriminator)
        self.patterns = tuple(pattern for rule in self.rules for pattern in rule.patterns)
        self._exempt = exempt
        self._webhook = LimitedRoute(tuple(rule for rule in self.rules if rule.name == "webhook"), self, "")
        self._outcomes = Outcomes(clock)

    def _discriminator(self, by: str | Function) -> Discriminator:
        return Discriminator(by, self.accounts.digest, self._report)

    def prepare(self) -> None:
        """Make the secret keys, if a rule needs them: there may be a file to write, and no request should wait."""
        if any(limit.by.text != "ip" for rule in self.rules if rule.patterns for limit in rule.limits):
            self.accounts.digest("")

    @property
    def counts(self) -> Counter[tuple[str, str]]:
        """How often each rule had each outcome: allowed, refused, observed."""
        return self._outcomes.counts

    def select(self, method: str, matched: frozenset[PathPattern]) -> Interceptor | None:
        """Return the interceptor for the rules that a method and path are under."""
        if not matched.isdisjoint(self._exempt()):
            return None
        rules = matching(self.rules, method, matched)
        if not rules:
            return None
        route = next(pattern.text for rule in rules for pattern in rule.patterns if pattern in matched)
        return LimitedRoute(rules, self, route)

    def charge_refused_webhook(self, exchange: Exchange) -> Steps[EarlyResponse | None]:
        """Charge a delivery that was refused; the answer is a 429 once too many were."""
        return self._webhook.charge(exchange)

    def count(self, rules: Iterable[Rule], outcome: str) -> None:
        """Count an outcome for the metrics."""
        self._outcomes.count(rules, outcome)

    def note_answer(self, rule: Rule, route: str, *, success: bool, status: int) -> None:
        """Say once for each route that nothing which its app answers looks like a success."""
        if status < 400:
            self._outcomes.note_answer(rule.name, route, success=success)

    def note_unread(self, route: str, *, unreadable: bool) -> None:
        """Say once for each route that limits by account cannot work on it."""
        self._outcomes.note_unread(route, unreadable=unreadable)


class _Passed:
    """What was charged to a request that passed."""

    __slots__ = ("accounts", "batches", "is_new_device", "meter", "verdict")

    def __init__(self) -> None:
        self.batches: list[tuple[list[Meter], tuple[object, ...], bool]] = []
        self.verdict: Verdict | None = None
        self.meter: Meter | None = None
        self.accounts: tuple[str, ...] = ()
        self.is_new_device = False


_PASSED: Final[Note[_Passed | None]] = Note("rate_limit.passed")


class LimitedRoute(Interceptor):
    """The limits on one kind of request, labelled `route`."""

    name = "rate_limit"

    def __init__(self, rules: tuple[Rule, ...], feature: RateLimit, route: str) -> None:
        meters = [Meter(rule, limit) for rule in rules for limit in rule.limits]
        enforced = [meter for meter in meters if not meter.rule.observe]
        self._observed = [meter for meter in meters if meter.rule.observe]
        self._early = [meter for meter in enforced if not meter.by_account]
        self._late = [meter for meter in enforced if meter.by_account]
        self._reads_accounts = any(meter.by_account for meter in meters)
        self._knows_devices = any(meter.rule.knows_devices for meter in self._late)
        self._judged = tuple(dict.fromkeys(meter.rule for meter in meters if meter.refunded))
        self._policies = policies_of(self._early)
        self._rules = tuple(dict.fromkeys(meter.rule for meter in enforced))
        self._feature = feature
        self._route = route

    def on_request(self, exchange: Exchange) -> Steps[EarlyResponse | None] | None:
        """Charge the request; refuse it where that fails."""
        if exchange.method == "OPTIONS" and exchange.header(b"access-control-request-method") is not None:
            return None
        return self.charge(exchange)

    def charge(self, exchange: Exchange) -> Steps[EarlyResponse | None]:
        """Charge what applies; return the answer to a request that is refused."""
        feature = self._feature
        address = feature.address_of(exchange)
        passed = _Passed()
        early, observed = self._early, self._observed
        if address is None:
            observed = observed + [meter for meter in early if meter.by_address]
            early = [meter for meter in early if not meter.by_address]
        refusal = yield from self._reserve(exchange, passed, early, charges_of(early, exchange, address))
        if refusal is not None:
            return refusal
        if self._reads_accounts:
            refusal = yield from self._charge_accounts(exchange, passed, address)
            if refusal is not None:
                yield from _give_back([Refund(token, local) for _, token, local in passed.batches])
                return refusal
        if observed:
            yield from self._observe(exchange, passed, observed, address)
        if self._rules:
            feature.count(self._rules, "allowed")
        _PASSED.put(exchange, passed)
        return None

    # --- charging ----------------------------------------------------------------------------------------------------

    def _reserve(
        self, exchange: Exchange, passed: _Passed, meters: list[Meter], charges: list[Charge | None]
    ) -> Steps[EarlyResponse | None]:
        if None in charges:
            meters = [meter for meter, charge in zip(meters, charges, strict=True) if charge is not None]
        wanted = tuple([charge for charge in charges if charge is not None])
        if not wanted:
            return None
        local = False
        try:
            verdict = yield from Hit(wanted)
        except StoreDown:
            on_outage = strictest(meters)
            if on_outage == "open":
                return None
            if on_outage == "closed":
                return unavailable(exchange, self._route)
            local = True
            verdict = yield from Hit(wanted, local=True)
        if not verdict.allowed:
            return self._refuse(exchange, meters[verdict.charge], verdict)
        passed.batches.append((meters, verdict.token, local))
        if passed.verdict is None:
            passed.verdict, passed.meter = verdict, meters[verdict.charge]
        return None

    def _refuse(self, exchange: Exchange, meter: Meter, verdict: Verdict) -> EarlyResponse:
        self._feature.count((meter.rule,), "refused")
        return too_many_requests(exchange, verdict, meter.told, self._policies, self._route)

    def _charge_accounts(self, exchange: Exchange, passed: _Passed, address: str | None) -> Steps[EarlyResponse | None]:
        body = yield from ReadBody(self._feature.max_body)
        if self._late and body.too_large:
            limit = f"At most {self._feature.max_body} bytes are taken here."
            return refused_body(exchange, 413, "Content Too Large", limit, self._route)
        if self._late and body.disconnected:
            return refused_body(exchange, 400, "Bad Request", "The request ended early.", self._route)
        found = UNREADABLE_ACCOUNTS if body.too_large else self._feature.accounts.look(exchange, body.data)
        passed.accounts = accounts = found.hashes
        if not accounts or accounts == (UNREADABLE,):
            self._feature.note_unread(self._route, unreadable=bool(accounts))
        devices = self._devices(exchange, accounts)
        passed.is_new_device = found.is_one and devices.get(accounts[0], "") is None
        meters, charges = account_charges(self._late, exchange, address, accounts, devices)
        return (yield from self._reserve(exchange, passed, meters, charges))

    def _devices(self, exchange: Exchange, accounts: tuple[str, ...]) -> dict[str, str | None]:
        """Return the device's name for each account that it may have logged in to; None where it has not."""
        if not self._knows_devices or accounts == (UNREADABLE,):
            return {}
        return {account: self._feature.devices.device(exchange, account) for account in accounts}

    def _observe(self, exchange: Exchange, passed: _Passed, observed: list[Meter], address: str | None) -> Steps[None]:
        """Charge each limit by itself, and note where it would have refused."""
        early = [meter for meter in observed if not meter.by_account]
        late = [meter for meter in observed if meter.by_account]
        meters, charges = account_charges(late, exchange, address, passed.accounts, {})
        for meter, charge in zip([*early, *meters], [*charges_of(early, exchange, address), *charges], strict=True):
            if charge is not None:
                with contextlib.suppress(StoreDown):
                    verdict = yield from Hit((charge,))
                    if verdict.allowed:
                        passed.batches.append(([meter], verdict.token, False))
                    else:
                        self._feature.count((meter.rule,), "observed")

    # --- the response ------------------------------------------------------------------------------------------------

    def on_response_start(self, exchange: Exchange) -> Steps[None] | None:
        """Give back what was charged for failures, if this is none, and tell the client what is left."""
        passed = _PASSED.get(exchange)
        if passed is None:
            return None
        _PASSED.put(exchange, None)
        refunds, given_back = self._judge(exchange, passed) if self._judged else _NOTHING
        self._tell(exchange, passed, given_back)
        return _give_back(refunds) if refunds else None

    def _judge(self, exchange: Exchange, passed: _Passed) -> tuple[list[Refund], set[Meter]]:
        """Tell success from failure. What the app could not judge, because it broke, is neither: it costs nothing."""
        if exchange.status >= 500:
            return _refunds(passed, lambda _: True)
        successful = {rule: rule.is_success(exchange) for rule in self._judged}
        for rule, success in successful.items():
            self._feature.note_answer(rule, self._route, success=success, status=exchange.status)
            if success and rule.knows_devices and passed.is_new_device:
                secure = self._feature.is_https(exchange)
                exchange.response_headers.append(self._feature.devices.issue(passed.accounts[0], secure=secure))
        return _refunds(passed, lambda rule: successful[rule])

    def _tell(self, exchange: Exchange, passed: _Passed, given_back: set[Meter]) -> None:
        verdict, meter = passed.verdict, passed.meter
        if verdict is None or meter is None or meter.told is None:
            return
        remaining = verdict.remaining + 1 if meter in given_back else verdict.remaining
        field = limit_field(meter.told, remaining, verdict.reset_after)
        exchange.default_response_headers(((b"ratelimit-policy", self._policies), (b"ratelimit", field)))

    def on_failure(self, exchange: Exchange, error: Exception) -> EarlyResponse | None:
        """A bug of ours counts as an outage."""
        return unavailable(exchange, self._route) if any(rule.on_outage == "closed" for rule in self._rules) else None


_NOTHING: Final[tuple[list[Refund], set[Meter]]] = ([], set())


def _refunds(passed: _Passed, is_given_back: Callable[[Rule], bool]) -> tuple[list[Refund], set[Meter]]:
    """Return what has to be given back, and to whom."""
    given_back: set[Meter] = set()
    entries: dict[bool, list[object]] = {}
    for meters, token, local in passed.batches:
        for meter, entry in zip(meters, token, strict=True):
            if meter.refunded and is_given_back(meter.rule):
                entries.setdefault(local, []).append(entry)
                given_back.add(meter)
    return [Refund(tuple(token), local) for local, token in entries.items()], given_back


def _give_back(refunds: list[Refund]) -> Steps[None]:
    for refund in refunds:
        with contextlib.suppress(StoreDown):  # the next may be a local one
            yield from refund
