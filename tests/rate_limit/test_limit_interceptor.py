"""The policy of limits, spoken to as the performer does: what it asks, and what it makes of each answer."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from tests.rate_limit.limited_site import ADDRESS, FORM, HTML, JSON, Conversation, Site, header_of, keys, post
from tests.support.exchanges import WrittenExchange

from launchkit.pipeline.effects import Body, Charge, Effect, Hit, Quota, ReadBody, Refund, StoreDown, Verdict
from launchkit.pipeline.exchange import EarlyResponse
from launchkit.pipeline.paths import PathPattern
from launchkit.rate_limit.accounts import UNREADABLE
from launchkit.rate_limit.outcomes import OBSERVED_EVERY

DOWN = StoreDown("Redis")
REFUSED = Verdict(False, 5, 0, 12.3)
ANN = b'{"email": "ann@example.com"}'


def site(address: str | None = ADDRESS, **rules: dict[str, Any]) -> Site:
    rules = {name: {"paths": "/form", "limit": "5/minute"} | rule for name, rule in rules.items()}
    return Site({"rules": rules}, address=address)


def login(address: str | None = ADDRESS, **preset: Any) -> Site:
    return Site({"login": preset}, address=address, login="/login")


def passed(remaining: int, *token: object, charge: int = 0) -> Verdict:
    return Verdict(True, 5, remaining, 60.0, token, charge)


def form() -> WrittenExchange:
    return post("/form")


def refusal(limited: Site, exchange: WrittenExchange | None = None, body: bytes = b"") -> EarlyResponse:
    early = limited.enter(exchange or form(), body)
    assert early is not None
    return early


# --- which requests --------------------------------------------------------------------------------------------------


def test_paths_without_a_rule_have_no_interceptor() -> None:
    """A request that no rule is for costs nothing."""
    limited = site(a={})
    assert limited.planner.plan("POST", "/elsewhere").on_request == ()
    assert limited.planner.plan("GET", "/form").on_request == ()


def test_exempt_paths_have_no_interceptor() -> None:
    """Not even under a rule for everything: a webhook's sender is charged only for what is refused."""
    rules = {"rules": {"all": {"paths": "/*", "methods": [], "limit": "1/minute"}}}
    limited = Site(rules, exempt=lambda: (PathPattern("/form"),))
    limited.planner._paths = type(limited.planner._paths)([PathPattern("/*"), PathPattern("/form")])
    assert limited.planner.plan("POST", "/form").on_request == ()
    assert limited.planner.plan("POST", "/other").on_request != ()


def test_a_preflight_is_never_counted() -> None:
    """It is the browser's own (https://fetch.spec.whatwg.org/#cors-preflight-request); a plain OPTIONS is not."""
    limited = site(a={"methods": "OPTIONS"})
    preflight = WrittenExchange("OPTIONS", "/form", [(b"access-control-request-method", b"POST")])
    for _ in range(9):
        assert limited.enter(preflight) is None
    assert limited.effects == []
    assert [limited.enter(WrittenExchange("OPTIONS", "/form")) is None for _ in range(6)] == [True] * 5 + [False]


# --- charging --------------------------------------------------------------------------------------------------------


def test_all_enforced_limits_by_what_comes_first_are_charged_together() -> None:
    """One hit carries every limit of every rule, so that a refused request consumes nothing."""
    limited = site(a={"limit": "5/minute; 9/hour; 100/hour; 200/day"}, b={"limit": "7/minute", "by": "ip, header:x-a"})
    talk = limited.begin(form())
    assert isinstance(talk.asked, Hit)
    assert [charge.quota for charge in talk.asked.charges] == [
        Quota(((5, 60), (9, 3600))),
        Quota(((200, 86_400),), exact=False),
        Quota(((7, 60),)),
        Quota(((7, 60),)),
    ]
    assert len(set(keys(talk.asked))) == 4
    assert all(key.endswith(ADDRESS) for key in keys(talk.asked))


def test_an_allowed_request_goes_on() -> None:
    """With room in every window, nothing is answered."""
    limited = site(a={})
    talk = limited.begin(form()).answer(passed(4, "a"))
    assert (talk.asked, talk.result) == (None, None)
    assert limited.limits.counts == {("rules.a", "allowed"): 1}


def test_a_refused_request_is_answered_with_429() -> None:
    """Labelled by the rule's pattern, and counted for the rule that refused."""
    limited = site(a={"paths": "/{form}"}, b={"limit": "9/minute"})
    early = limited.begin(form()).answer(REFUSED).result
    assert (early.status, early.route) == (429, "/{form}")
    assert header_of(early, b"retry-after") == b"13"
    assert limited.limits.counts == {("rules.a", "refused"): 1}


def test_the_rule_that_refused_is_the_one_that_is_named() -> None:
    """The store says which charge was one too many."""
    limited = site(a={}, b={"limit": "9/minute"})
    early = limited.begin(form()).answer(Verdict(False, 9, 0, 1.0, (), 1)).result
    assert json.loads(early.body)["violated-policies"] == ["b"]
    assert limited.limits.counts == {("rules.b", "refused"): 1}


def test_the_address_is_checked_before_the_body_is_read() -> None:
    """Whoever is refused by address does not get to send a body."""
    limited = login(per_address="1/minute")
    exchange = post("/login", JSON)
    assert limited.enter(exchange, ANN) is None
    limited.effects.clear()
    assert refusal(limited, post("/login", JSON), ANN).status == 429
    assert [type(effect) for effect in limited.effects] == [Hit]


def test_a_refusal_by_account_gives_the_address_back() -> None:
    """A refused request consumes nothing: however often it is tried, the address has what it had."""
    limited = login(per_address="10/minute", failures_per_account="1/hour")
    assert limited.enter(post("/login", JSON), ANN) is None
    for _ in range(20):
        early = refusal(limited, post("/login", JSON), ANN)
        assert header_of(early, b"ratelimit") is None
    answers = [limited.enter(post("/login", JSON), b'{"email": "user%d"}' % number) for number in range(10)]
    assert [answer is None for answer in answers] == [True] * 9 + [False]


@pytest.mark.parametrize("body", [Body(b"", too_large=True), Body(b"", disconnected=True)])
def test_a_body_that_is_no_login_gives_the_address_back(body: Body) -> None:
    """Too much padding is 413, an early end is 400, and neither is charged."""
    limited = login()
    talk = limited.begin(post("/login", JSON)).answer(passed(4, "a", "b"))
    assert talk.asked == ReadBody(65_536)
    talk.answer(body)
    assert talk.asked == Refund(("a", "b"))
    early = talk.answer(None).result
    assert early.status == (413 if body.too_large else 400)
    assert header_of(early, b"cache-control") == b"no-store"


def test_padding_beyond_the_cap_is_refused() -> None:
    """One byte more than is looked at; with exactly as much the account is found."""
    limited = Site({"max_body": 100}, login="/login")
    assert limited.enter(post("/login", JSON), ANN.ljust(100)) is None
    assert refusal(limited, post("/login", JSON), ANN.ljust(101)).status == 413


def test_every_account_in_a_request_is_charged_together() -> None:
    """One hit carries them all, in every window of the preset."""
    limited = login()
    talk = limited.begin(post("/login?username=bob", JSON)).answer(passed(4, "a", "b")).answer(Body(ANN))
    assert isinstance(talk.asked, Hit)
    assert [charge.quota for charge in talk.asked.charges] == [Quota(((5, 900), (10, 3600), (20, 21_600)))] * 2
    assert len(set(keys(talk.asked))) == 2
    assert not any(ADDRESS in key for key in keys(talk.asked))


def test_unreadable_bodies_share_one_bucket() -> None:
    """Garbage does not dodge the limit, wherever it comes from."""
    limited = login()
    bodies = [b"\xff%d" % number for number in range(7)]
    answers = []
    for number, body in enumerate(bodies):
        limited.address = f"192.0.2.{number}"
        answers.append(limited.enter(post("/login", JSON), body) is None)
    assert answers == [True] * 5 + [False] * 2
    assert any(UNREADABLE in charge.key for charge in limited.charges)


def test_a_request_that_names_no_account_is_limited_by_address_alone() -> None:
    """And whoever runs the app is told once for each route that its field may have another name."""
    limited = login()
    assert [limited.enter(post("/login", FORM), b"a=1") is None for _ in range(61)] == [True] * 20 + [False] * 41
    assert not any("account" in charge.key for charge in limited.charges)


@pytest.mark.parametrize(("body", "words"), [(b"\xff", "cannot be read"), (b"{}", "ACCOUNT_FIELDS")])
def test_what_an_account_cannot_be_found_in_is_said_once(
    caplog: pytest.LogCaptureFixture, body: bytes, words: str
) -> None:
    """A line for each route, however many requests."""
    limited = Site({"login": {"paths": "/login, /other"}})
    for path in ("/login", "/other"):
        for _ in range(3):
            limited.enter(post(path, JSON), body)
    assert [(record.levelno, words in record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, True)
    ] * 2
    assert [path in record.getMessage() for record, path in zip(caplog.records, ("/login", "/other"), strict=True)]


def test_a_reset_counts_whatever_its_outcome() -> None:
    """Three mails an hour for one account, successful or not."""
    limited = Site(password_reset="/reset")
    for _ in range(3):
        exchange = post("/reset", JSON)
        assert limited.enter(exchange, ANN) is None
        limited.respond(exchange, 200, JSON)
    assert refusal(limited, post("/reset", JSON), ANN).status == 429


# --- observing -------------------------------------------------------------------------------------------------------


def test_observed_rules_refuse_nothing() -> None:
    """Each of their limits is charged by itself, after what is enforced; what they would have refused is counted."""
    limited = site(a={"mode": "observe", "by": "ip, path"}, b={})
    talk = limited.begin(form())
    assert keys(talk.asked)[0].startswith("rules.b:")
    for answer in (passed(4, "b"), REFUSED, REFUSED):
        assert len(keys(talk.asked)) == 1
        talk.answer(answer)
    assert (talk.asked, talk.result) == (None, None)
    assert limited.limits.counts == {("rules.a", "observed"): 2, ("rules.b", "allowed"): 1}


def test_what_is_refused_is_not_observed() -> None:
    """It has not happened."""
    limited = site(a={"mode": "observe"}, b={})
    talk = limited.begin(form()).answer(REFUSED)
    assert talk.asked is None
    assert limited.limits.counts == {("rules.b", "refused"): 1}


def test_observed_limits_by_account_read_the_body_and_refuse_nothing() -> None:
    """Not even for its size, or for its early end."""
    for body in (Body(ANN), Body(b"", too_large=True), Body(b"", disconnected=True)):
        talk = site(a={"mode": "observe", "by": "account"}).begin(post("/form", JSON))
        assert isinstance(talk.asked, ReadBody)
        talk.answer(body)
        while talk.asked is not None:
            talk.answer(REFUSED)
        assert talk.result is None


def test_an_observing_rule_speaks_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """Each line says how many it would have refused so far."""
    limited = site(a={"mode": "observe", "limit": "1/day"}, b={"mode": "observe", "limit": "1/day"})
    for _ in range(int(2 * OBSERVED_EVERY) + 1):
        assert limited.enter(form()) is None
        limited.clock.advance(1)
    lines = [record.getMessage() for record in caplog.records if "rules.a" in record.getMessage()]
    assert len(lines) == 2
    assert "would have refused 1 requests" in lines[0]
    assert "would have refused 61 requests" in lines[1]
    assert len(caplog.records) == 4


# --- unknown addresses -----------------------------------------------------------------------------------------------


def test_a_client_without_an_address_is_never_refused_by_address() -> None:
    """Such requests are counted together, limit by limit, and only observed."""
    limited = site(None, a={}, b={"by": "ip+path"})
    talk = limited.begin(form())
    assert keys(talk.asked)[0].endswith(":unknown")
    talk.answer(REFUSED)
    assert ":unknown|" in keys(talk.asked)[0]
    talk.answer(REFUSED)
    assert (talk.asked, talk.result) == (None, None)
    assert limited.limits.counts[("rules.a", "observed")] == 1
    assert limited.limits.counts[("rules.b", "observed")] == 1


def test_a_client_without_an_address_is_still_refused_by_account() -> None:
    """Behind a proxy that nobody declared, accounts are what is left to protect."""
    limited = login(None)
    statuses = [limited.enter(post("/login", JSON), ANN) is None for _ in range(7)]
    assert statuses == [True] * 5 + [False] * 2
    other = [limited.enter(post("/login", JSON), b'{"email": "u%d"}' % number) for number in range(100)]
    assert set(other) == {None}


def test_a_client_without_an_address_is_still_refused_by_its_key() -> None:
    """What a header tells needs no address."""
    limited = site(None, a={"by": "header:x-api-key", "limit": "2/minute"})
    statuses = [limited.enter(post("/form", (b"x-api-key", b"k"))) is None for _ in range(3)]
    assert statuses == [True, True, False]


def test_a_client_without_an_address_passes_during_an_outage() -> None:
    """Not even a rule that is closed during outages refuses an unknown address."""
    talk = site(None, a={"on_outage": "closed"}).begin(form()).answer(DOWN)
    assert (talk.asked, talk.result) == (None, None)


# --- outages ---------------------------------------------------------------------------------------------------------


def test_during_an_outage_a_local_rule_counts_in_this_process() -> None:
    """The same charges are made locally, and their verdict holds."""
    talk = site(a={"on_outage": "local"}).begin(form())
    asked = talk.asked
    assert isinstance(asked, Hit)
    talk.answer(DOWN)
    assert talk.asked == Hit(asked.charges, local=True)
    assert talk.answer(REFUSED).result.status == 429


def test_during_an_outage_an_open_rule_lets_pass() -> None:
    """Open means that the app matters more than the limit."""
    limited = site(a={"on_outage": "open"})
    talk = limited.begin(form()).answer(DOWN)
    assert (talk.asked, talk.result) == (None, None)
    assert limited.limits.counts == {("rules.a", "allowed"): 1}


def test_during_an_outage_a_closed_rule_answers_503() -> None:
    """Closed means that the limit matters more than the app."""
    early = site(a={"on_outage": "closed"}).begin(form()).answer(DOWN).result
    assert (early.status, early.route) == (503, "/form")
    assert header_of(early, b"retry-after") == b"5"
    assert header_of(early, b"cache-control") == b"no-store"


def test_a_store_that_goes_down_between_address_and_account_gives_the_address_back() -> None:
    """A closed rule's 503 consumes nothing, as far as the store can be told."""
    limited = login(on_outage="closed")
    talk = limited.begin(post("/login", JSON)).answer(passed(4, "a", "b")).answer(Body(ANN)).answer(DOWN)
    assert talk.asked == Refund(("a", "b"))
    assert talk.answer(DOWN).result.status == 503


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
        talk = site(a={"on_outage": first}, b={"on_outage": second}).begin(form()).answer(DOWN)
        asks_locally = isinstance(talk.asked, Hit) and talk.asked.local
        found = "local" if asks_locally else "open" if talk.result is None else "closed"
        assert found == expected


def test_an_observed_rule_does_not_close_during_an_outage() -> None:
    """What only observes refuses nothing, whatever its `on_outage`."""
    talk = site(a={"mode": "observe", "on_outage": "closed"}).begin(form()).answer(DOWN)
    assert (talk.asked, talk.result) == (None, None)


# --- outcomes --------------------------------------------------------------------------------------------------------


def charged(limited: Site, *answers: object) -> WrittenExchange:
    exchange = form()
    talk = limited.begin(exchange)
    for answer in answers:
        talk.answer(answer)
    assert (talk.asked, talk.result) == (None, None)
    return exchange


def refunds(limited: Site, exchange: WrittenExchange) -> list[Effect]:
    route = limited.route(exchange)
    assert route is not None
    steps = route.on_response_start(exchange)
    if steps is None:
        return []
    talk, found = Conversation(steps), []
    while talk.asked is not None:
        found.append(talk.asked)
        talk.answer(None)
    return found


MIXED = {"a": {"limit": "5/minute"}, "b": {"limit": "2/minute; 90/hour", "count": "failures"}}


def test_a_success_gives_back_what_counts_failures() -> None:
    """Of all that was charged, the limits that count failures are refunded; the others are not."""
    limited = site(**MIXED)
    exchange = charged(limited, passed(1, "a", "b1", "b2")).answer(200, JSON)
    assert refunds(limited, exchange) == [Refund(("b1", "b2"))]


@pytest.mark.parametrize(
    ("status", "headers", "is_success"),
    [
        (401, [JSON], False),
        (200, [HTML], False),
        (303, [(b"location", b"/form?again")], False),
        (303, [(b"location", b"/home")], True),
        (422, [JSON], False),
        (500, [], True),
        (503, [JSON], True),
    ],
)
def test_a_failure_stays_counted(status: int, headers: list[tuple[bytes, bytes]], is_success: bool) -> None:
    """What was charged is kept when the try failed, however that looks; an app that broke has judged nothing."""
    limited = site(**MIXED)
    exchange = charged(limited, passed(1, "a", "b1", "b2"))
    assert bool(refunds(limited, exchange.answer(status, *headers))) is is_success


def test_a_success_is_refunded_once() -> None:
    """A response that starts again, as WSGI allows, gives nothing back twice."""
    limited = site(**MIXED)
    exchange = charged(limited, passed(1, "a", "b1", "b2")).answer(200, JSON)
    assert len(refunds(limited, exchange)) == 1
    assert refunds(limited, exchange) == []


def test_a_rule_that_counts_everything_gives_nothing_back() -> None:
    """Without a limit that counts failures there is nothing to do when the response starts."""
    limited = site(a={})
    assert refunds(limited, charged(limited, passed(4, "a")).answer(200, JSON)) == []


def test_a_request_that_was_never_charged_gives_nothing_back() -> None:
    """A response of an outer feature comes before any charge."""
    limited = site(**MIXED)
    assert refunds(limited, form().answer(200, JSON)) == []


def test_a_refused_request_gives_nothing_back() -> None:
    """A refused hit has taken nothing."""
    limited = site(a={"count": "failures"}, b={"count": "failures", "mode": "observe"})
    exchange = form()
    early = limited.begin(exchange).answer(REFUSED).result
    assert refunds(limited, exchange.answer(early.status, *early.headers)) == []


def test_observed_charges_are_refunded_too() -> None:
    """What an observed rule would refuse is only true if it counts as an enforced one does."""
    limited = site(a={"count": "failures", "mode": "observe"})
    exchange = charged(limited, passed(1, "a")).answer(200, JSON)
    assert refunds(limited, exchange) == [Refund(("a",))]


def test_what_was_charged_locally_is_refunded_locally() -> None:
    """A refund goes to where the charge was made."""
    limited = site(a={"count": "failures"})
    exchange = charged(limited, DOWN, passed(1, "a")).answer(200, JSON)
    assert refunds(limited, exchange) == [Refund(("a",), local=True)]


def test_a_store_that_goes_down_between_charge_and_refund_harms_nobody() -> None:
    """A refund that cannot be made is left; the ones after it are tried, because they may be local."""
    limited = site(a={"count": "failures", "mode": "observe"}, b={"count": "failures"})
    exchange = charged(limited, DOWN, passed(1, "b"), passed(1, "a")).answer(200, JSON)
    route = limited.route(exchange)
    assert route is not None
    steps = route.on_response_start(exchange)
    assert steps is not None
    talk = Conversation(steps)
    assert talk.asked == Refund(("b",), local=True)
    assert talk.answer(DOWN).asked == Refund(("a",))
    assert talk.answer(DOWN).asked is None


def test_a_hundred_successes_use_up_nothing() -> None:
    """Only failures do, and they do for good."""
    limited = login(per_address="1000/minute")
    for _ in range(100):
        exchange = post("/login", JSON)
        assert limited.enter(exchange, ANN) is None
        limited.respond(exchange, 200, JSON)
    outcomes = []
    for _ in range(6):
        exchange = post("/login", JSON)
        refused = limited.enter(exchange, ANN)
        outcomes.append(refused is None)
        if refused is None:
            limited.respond(exchange, 200, HTML)
    assert outcomes == [True] * 5 + [False]


@pytest.mark.parametrize(("on_outage", "expected"), [("closed", 503), ("local", None), ("open", None)])
def test_a_bug_counts_as_an_outage(on_outage: str, expected: int | None) -> None:
    """When LaunchKit itself breaks, rules that are closed during outages refuse, and others let pass."""
    route = site(a={"on_outage": on_outage}, b={"on_outage": "open"}).route(form())
    assert route is not None
    early = route.on_failure(form(), RuntimeError())
    assert (early and early.status) == expected


def test_a_bug_in_an_observed_rule_refuses_nothing() -> None:
    """What only observes refuses nothing, even broken."""
    route = site(a={"on_outage": "closed", "mode": "observe"}).route(form())
    assert route is not None
    assert route.on_failure(form(), RuntimeError()) is None


# --- webhooks --------------------------------------------------------------------------------------------------------


def refused_webhook(limited: Site) -> Conversation:
    return Conversation(limited.limits.charge_refused_webhook(post("/webhooks/stripe")))


def webhooks(**preset: str) -> Site:
    return Site({"webhook": {"failures_per_address": "2/minute", **preset}})


def test_a_refused_webhook_is_charged() -> None:
    """The intake has refused a signature: the sender is charged, and may try again as long as there is room."""
    talk = refused_webhook(webhooks())
    assert isinstance(talk.asked, Hit)
    ((key, quota),) = talk.asked.charges
    assert quota == Quota(((2, 60),))
    assert key.startswith("webhook:")
    assert key.endswith(ADDRESS)
    talk.answer(passed(0, "w"))
    assert (talk.asked, talk.result) == (None, None)


def test_too_many_refused_webhooks_are_answered_with_429() -> None:
    """Once an address has sent too many bad signatures, it is told to wait."""
    assert refused_webhook(webhooks()).answer(REFUSED).result.status == 429


def test_refused_webhooks_are_observed_where_the_preset_says_so() -> None:
    """The preset's mode holds for the intake as well."""
    limited = webhooks(mode="observe")
    talk = refused_webhook(limited).answer(REFUSED)
    assert (talk.asked, talk.result) == (None, None)
    assert limited.limits.counts == {("webhook", "observed"): 1}


def test_an_own_rule_named_webhook_is_not_charged_by_the_intake() -> None:
    """The preset alone is for refused deliveries."""
    talk = refused_webhook(site(webhook={}))
    assert [key.partition(":")[0] for key in keys(talk.asked)] == ["webhook"]


def test_charges_are_what_a_store_can_carry_out() -> None:
    """A key is plain text without spaces or control characters, and short, whatever the rule is called."""
    limited = Site({"rules": {"a b\n\u00e9:" * 9: {"paths": "/form", "limit": "5/minute", "by": "ip+path+header:x"}}})
    limited.enter(post("/form", (b"x", b"\x00 \xff" * 999)))
    (charge,) = limited.charges
    assert isinstance(charge, Charge)
    assert charge.key.isascii()
    assert charge.key.isprintable()
    assert " " not in charge.key
    assert len(charge.key) < 500


def test_an_app_whose_successes_are_not_seen_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """An app that answers each login with a page locks its users out: the log says so before they do."""
    limited = Site(login="/login")
    for number in range(12):
        exchange = post("/login", JSON)
        limited.address = f"198.51.100.{number}"
        limited.enter(exchange, b'{"email": "user%d@example.com"}' % number)
        limited.respond(exchange, 200, (b"content-type", b"text/html"))
    (said,) = [record.getMessage() for record in caplog.records]
    assert "/login" in said
    assert "`success` of the rate limit login" in said


def test_an_app_with_a_success_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """Ten wrong passwords in a row are no mistake of the app's."""
    limited = Site(login="/login")
    for number, media_type in enumerate([b"application/json", *[b"text/html"] * 15]):
        exchange = post("/login", JSON)
        limited.address = f"198.51.100.{number}"
        limited.enter(exchange, b'{"email": "user%d@example.com"}' % number)
        limited.respond(exchange, 200, (b"content-type", media_type))
    assert not caplog.records
