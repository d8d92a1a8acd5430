"""The policy of limits, spoken to as the performer does: what it asks, and what it makes of each answer."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from tests.support.exchanges import WrittenExchange

from launchkit.pipeline.effects import Charge, Effect, Hit, Refund, Steps, StoreDown, Verdict
from launchkit.pipeline.exchange import EarlyResponse
from launchkit.pipeline.interceptor import Planner
from launchkit.rate_limit.interceptor import LimitedRoute, RateLimit
from launchkit.settings import RateLimitSettings, Routes

ADDRESS = "203.0.113.7"
JSON = (b"content-type", b"application/json")
DOWN = StoreDown("Redis")


def feature(address: str | None = ADDRESS, **rules: dict[str, object]) -> RateLimit:
    rules = {name: {"paths": "/form", "limit": "5/minute"} | rule for name, rule in rules.items()}
    return RateLimit(RateLimitSettings.model_validate({"rules": rules}), Routes(), lambda exchange: address)


def route_of(limits: RateLimit, method: str = "POST", path: str = "/form") -> LimitedRoute:
    planner = Planner([limits])
    (hook,) = planner.plan(method, path).on_request
    route = hook.__self__  # type: ignore[attr-defined]
    assert isinstance(route, LimitedRoute)
    return route


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


def passed(remaining: int = 4, *token: object) -> Verdict:
    return Verdict(True, 5, remaining, 60.0, token)


REFUSED = Verdict(False, 5, 0, 12.3)


def keys(hit: Effect | None) -> list[str]:
    assert isinstance(hit, Hit)
    return [charge.key for charge in hit.charges]


def begin(limits: RateLimit, exchange: WrittenExchange | None = None) -> Conversation:
    return Conversation(route_of(limits).on_request(exchange or WrittenExchange("POST", "/form")))


def test_paths_without_a_rule_have_no_interceptor() -> None:
    """A request that no rule is for costs nothing."""
    planner = Planner([feature(a={})])
    assert planner.plan("POST", "/elsewhere").on_request == ()
    assert planner.plan("GET", "/form").on_request == ()


def test_all_enforced_windows_are_charged_together() -> None:
    """One hit carries every window of every rule, so that a refused request consumes nothing."""
    talk = begin(feature(a={"limit": "5/minute; 9/hour"}, b={"limit": "7/minute"}))
    assert talk.asked == Hit(
        (
            Charge(f"rules.a:5:60:0:{ADDRESS}", 5, 60),
            Charge(f"rules.a:9:3600:0:{ADDRESS}", 9, 3600),
            Charge(f"rules.b:7:60:0:{ADDRESS}", 7, 60),
        )
    )


def test_an_allowed_request_goes_on() -> None:
    """With room in every window, nothing is answered."""
    limits = feature(a={})
    talk = begin(limits).answer(passed())
    assert (talk.asked, talk.result) == (None, None)
    assert limits.counts == {("rules.a", "allowed"): 1}


@pytest.mark.parametrize(("reset_after", "seconds"), [(12.3, 13), (12.0, 12), (0.001, 1), (0.0, 1)])
def test_a_refused_request_is_answered_with_429(reset_after: float, seconds: int) -> None:
    """The 429 says in whole seconds when to come back, may not be stored, and is labelled by the rule's pattern."""
    limits = feature(a={"paths": "/{form}"})
    early = begin(limits).answer(Verdict(False, 5, 0, reset_after)).result
    assert isinstance(early, EarlyResponse)
    assert (early.status, early.route) == (429, "/{form}")
    assert dict(early.headers) == {
        b"content-type": b"application/problem+json",
        b"retry-after": b"%d" % seconds,
        b"cache-control": b"no-store",
    }
    assert json.loads(early.body) == {
        "type": "about:blank",
        "title": "Too many requests",
        "status": 429,
        "detail": f"Try again in {seconds} s.",
    }
    assert limits.counts == {("rules.a", "refused"): 1}


def test_observed_rules_refuse_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """An observed rule is charged by itself; what it would have refused is counted, and logged once."""
    limits = feature(a={"mode": "observe"}, b={"mode": "observe"})
    for _ in range(3):
        talk = begin(limits)
        assert keys(talk.asked) == [f"rules.a:5:60:0:{ADDRESS}"]
        talk.answer(REFUSED)
        assert keys(talk.asked) == [f"rules.b:5:60:0:{ADDRESS}"]
        talk.answer(passed())
        assert (talk.asked, talk.result) == (None, None)
    assert limits.counts == {("rules.a", "observed"): 3}
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, "Rate limit rules.a would have refused a request and only observes.")
    ]


def test_enforced_rules_are_charged_after_observed_ones() -> None:
    """An observed rule that is exhausted does not keep an enforced one from counting."""
    limits = feature(a={}, b={"mode": "observe"})
    talk = begin(limits)
    assert keys(talk.asked) == [f"rules.b:5:60:0:{ADDRESS}"]
    talk.answer(REFUSED)
    assert keys(talk.asked) == [f"rules.a:5:60:0:{ADDRESS}"]
    assert talk.answer(REFUSED).result.status == 429
    assert limits.counts == {("rules.b", "observed"): 1, ("rules.a", "refused"): 1}


def test_a_client_without_an_address_is_never_refused() -> None:
    """Requests whose address is unknown are counted together, rule by rule, and only observed."""
    limits = feature(None, a={}, b={})
    talk = begin(limits)
    assert keys(talk.asked) == ["rules.a:5:60:0:unknown"]
    talk.answer(REFUSED)
    assert keys(talk.asked) == ["rules.b:5:60:0:unknown"]
    talk.answer(REFUSED)
    assert (talk.asked, talk.result) == (None, None)
    assert limits.counts == {("rules.a", "observed"): 1, ("rules.b", "observed"): 1}


def test_a_client_without_an_address_passes_during_an_outage() -> None:
    """Not even a rule that is closed during outages refuses an unknown address."""
    talk = begin(feature(None, a={"on_outage": "closed"})).answer(DOWN)
    assert (talk.asked, talk.result) == (None, None)


def test_during_an_outage_a_local_rule_counts_in_this_process() -> None:
    """The same charges are made locally, and their verdict holds."""
    talk = begin(feature(a={"on_outage": "local"}))
    asked = talk.asked
    assert isinstance(asked, Hit)
    talk.answer(DOWN)
    assert talk.asked == Hit(asked.charges, local=True)
    assert talk.answer(REFUSED).result.status == 429


def test_during_an_outage_an_open_rule_lets_pass() -> None:
    """Open means that the app matters more than the limit."""
    limits = feature(a={"on_outage": "open"})
    talk = begin(limits).answer(DOWN)
    assert (talk.asked, talk.result) == (None, None)
    assert limits.counts == {("rules.a", "allowed"): 1}


def test_during_an_outage_a_closed_rule_answers_503() -> None:
    """Closed means that the limit matters more than the app."""
    early = begin(feature(a={"on_outage": "closed"})).answer(DOWN).result
    assert early.status == 503
    assert dict(early.headers)[b"retry-after"] == b"5"
    assert dict(early.headers)[b"cache-control"] == b"no-store"
    assert early.route is None


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (("open", "local"), "local"),
        (("local", "closed"), "closed"),
        (("open", "closed"), "closed"),
        (("open", "open"), "open"),
    ],
)
def test_of_several_rules_the_strictest_decides(rules: tuple[str, str], expected: str) -> None:
    """Closed is stricter than local, local than open."""
    for first, second in (rules, rules[::-1]):
        talk = begin(feature(a={"on_outage": first}, b={"on_outage": second})).answer(DOWN)
        asks_locally = isinstance(talk.asked, Hit) and talk.asked.local
        found = "local" if asks_locally else "open" if talk.result is None else "closed"
        assert found == expected


def test_an_observed_rule_does_not_close_during_an_outage() -> None:
    """What only observes refuses nothing, whatever its `on_outage`."""
    talk = begin(feature(a={"mode": "observe", "on_outage": "closed"})).answer(DOWN)
    assert (talk.asked, talk.result) == (None, None)


def charged(limits: RateLimit, *answers: object) -> WrittenExchange:
    exchange = WrittenExchange("POST", "/form")
    talk = begin(limits, exchange)
    for answer in answers:
        talk.answer(answer)
    assert (talk.asked, talk.result) == (None, None)
    return exchange


def refunds(limits: RateLimit, exchange: WrittenExchange) -> list[Effect]:
    steps = route_of(limits).on_response_start(exchange)
    if steps is None:
        return []
    talk, found = Conversation(steps), []
    while talk.asked is not None:
        found.append(talk.asked)
        talk.answer(None)
    return found


MIXED = {"a": {"limit": "5/minute"}, "b": {"limit": "2/minute; 9/hour", "count": "failures"}}


def test_a_success_gives_back_what_counts_failures() -> None:
    """Of all that was charged, the windows that count failures are refunded; the others are not."""
    limits = feature(**MIXED)
    exchange = charged(limits, passed(1, "a", "b1", "b2")).answer(200, JSON)
    assert refunds(limits, exchange) == [Refund(("b1",)), Refund(("b2",))]


def test_a_failure_stays_counted() -> None:
    """What was charged before the request ran is kept when it failed."""
    limits = feature(**MIXED)
    exchange = charged(limits, passed(1, "a", "b1", "b2"))
    assert refunds(limits, exchange.answer(401, JSON)) == []


def test_a_success_is_refunded_once() -> None:
    """A response that starts again, as WSGI allows, gives nothing back twice."""
    limits = feature(**MIXED)
    exchange = charged(limits, passed(1, "a", "b1", "b2")).answer(200, JSON)
    assert len(refunds(limits, exchange)) == 2
    assert refunds(limits, exchange) == []


def test_a_rule_that_counts_everything_gives_nothing_back() -> None:
    """Without a window that counts failures there is nothing to do when the response starts."""
    limits = feature(a={})
    exchange = charged(limits, passed(4, "a")).answer(200, JSON)
    assert route_of(limits).on_response_start(exchange) is None


def test_a_request_that_was_never_charged_gives_nothing_back() -> None:
    """A response of an outer feature comes before any charge."""
    exchange = WrittenExchange("POST", "/form").answer(200, JSON)
    assert route_of(feature(**MIXED)).on_response_start(exchange) is None


def test_a_refused_request_gives_nothing_back() -> None:
    """A refused hit has taken nothing; what an observed rule took stays, because a 429 is no success."""
    limits = feature(a={"count": "failures"}, b={"count": "failures", "mode": "observe"})
    exchange = WrittenExchange("POST", "/form")
    talk = begin(limits, exchange).answer(passed(1, "b"))
    early = talk.answer(REFUSED).result
    assert refunds(limits, exchange.answer(early.status, *early.headers)) == []


def test_observed_charges_are_refunded_too() -> None:
    """What an observed rule would refuse is only true if it counts as an enforced one does."""
    limits = feature(a={"count": "failures", "mode": "observe"})
    exchange = charged(limits, passed(1, "a")).answer(200, JSON)
    assert refunds(limits, exchange) == [Refund(("a",))]


def test_what_was_charged_locally_is_refunded_locally() -> None:
    """A refund goes to where the charge was made."""
    limits = feature(a={"count": "failures"})
    exchange = charged(limits, DOWN, passed(1, "a")).answer(200, JSON)
    assert refunds(limits, exchange) == [Refund(("a",), local=True)]


def test_a_store_that_goes_down_between_charge_and_refund_harms_nobody() -> None:
    """A refund that cannot be made is left; the ones after it are tried, because they may be local."""
    limits = feature(a={"count": "failures", "mode": "observe"}, b={"count": "failures"})
    exchange = charged(limits, passed(1, "a"), DOWN, passed(1, "b")).answer(200, JSON)
    steps = route_of(limits).on_response_start(exchange)
    assert steps is not None
    talk = Conversation(steps)
    assert talk.asked == Refund(("a",))
    assert talk.answer(DOWN).asked == Refund(("b",), local=True)
    assert talk.answer(DOWN).asked is None


@pytest.mark.parametrize(("on_outage", "expected"), [("closed", 503), ("local", None), ("open", None)])
def test_a_bug_counts_as_an_outage(on_outage: str, expected: int | None) -> None:
    """When LaunchKit itself breaks, rules that are closed during outages refuse, and others let pass."""
    route = route_of(feature(a={"on_outage": on_outage}, b={"on_outage": "open"}))
    early = route.on_failure(WrittenExchange(), RuntimeError())
    assert (early and early.status) == expected


def test_a_bug_in_an_observed_rule_refuses_nothing() -> None:
    """What only observes refuses nothing, even broken."""
    route = route_of(feature(a={"on_outage": "closed", "mode": "observe"}))
    assert route.on_failure(WrittenExchange(), RuntimeError()) is None


def webhooks(**preset: str) -> RateLimit:
    settings = RateLimitSettings.model_validate({"webhook": {"failures_per_address": "2/minute", **preset}})
    return RateLimit(settings, Routes(), lambda exchange: ADDRESS)


def test_a_refused_webhook_is_charged() -> None:
    """The intake has refused a signature: the sender is charged, and may try again as long as there is room."""
    limits = webhooks()
    talk = Conversation(limits.charge_refused_webhook(WrittenExchange("POST", "/webhooks/stripe")))
    assert talk.asked == Hit((Charge(f"webhook:2:60:1:{ADDRESS}", 2, 60),))
    talk.answer(passed(0, "w"))
    assert (talk.asked, talk.result) == (None, None)


def test_too_many_refused_webhooks_are_answered_with_429() -> None:
    """Once an address has sent too many bad signatures, the answer is a 429 without a label of its own."""
    talk = Conversation(webhooks().charge_refused_webhook(WrittenExchange("POST", "/webhooks/stripe")))
    early = talk.answer(REFUSED).result
    assert (early.status, early.route) == (429, None)


def test_refused_webhooks_are_observed_where_the_preset_says_so() -> None:
    """The preset's mode holds for the intake as well."""
    limits = webhooks(mode="observe")
    talk = Conversation(limits.charge_refused_webhook(WrittenExchange("POST", "/webhooks/stripe")))
    talk.answer(REFUSED)
    assert (talk.asked, talk.result) == (None, None)
    assert limits.counts == {("webhook", "observed"): 1}


def test_an_own_rule_named_webhook_is_not_charged_by_the_intake() -> None:
    """The preset alone is for refused deliveries."""
    limits = feature(webhook={})
    talk = Conversation(limits.charge_refused_webhook(WrittenExchange("POST", "/webhooks/stripe")))
    assert keys(talk.asked) == [f"webhook:60:60:1:{ADDRESS}"]
