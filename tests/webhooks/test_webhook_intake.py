"""The intake: what is verified is stored and acknowledged, everything else gets a clear answer."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.exchanges import WrittenExchange
from tests.support.performing import acarried_out, carried_out
from webhook_world import Reader, Store, backends, done, posted, standard_secret, stripe_secret

from launchkit.errors import LaunchKitError, SettingsError
from launchkit.pipeline.effects import Body, Enqueue, NewDelivery, ReadBody, Steps, StoreDown, StoreFull
from launchkit.pipeline.exchange import EarlyResponse, Exchange
from launchkit.pipeline.interceptor import Planner
from launchkit.settings import WebhookSettings
from launchkit.testing import FrozenClock, sign
from launchkit.webhooks.handlers import Handlers
from launchkit.webhooks.intake import ALERT_INTERVAL, KEPT_HEADERS_SIZE, Intake, kept_headers
from launchkit.webhooks.interceptor import Intakes
from launchkit.webhooks.schemes.scheme import Message, Verified

BODY = b'{"id": "evt_1", "type": "invoice.paid"}'
SECRET = stripe_secret()
LIMITED = EarlyResponse(429, b"slow down")


class Door:
    """A kit's worth of wiring around the interceptor."""

    def __init__(self, clock: FrozenClock | None = None, public_url: str | None = None, **settings: object) -> None:
        self.clock = clock or FrozenClock()
        self.handlers = Handlers()
        self.limited: EarlyResponse | None = None
        self.charged: list[str] = []
        self.woken = 0
        given = {"sources": {"stripe": {"secrets": [SECRET]}}} | settings
        self.webhooks = Intakes(
            WebhookSettings.model_validate(given), self.clock, self.handlers, self.charge, self.wake, public_url
        )

    def charge(self, exchange: Exchange) -> Steps[EarlyResponse | None]:
        self.charged.append(exchange.path)
        return self.limited
        yield

    def wake(self) -> None:
        self.woken += 1

    def signed(self, body: bytes = BODY, **more: str) -> WrittenExchange:
        headers = sign("stripe", SECRET, body, now=self.clock.time(), message_id="")
        return posted(headers | {"content-type": "application/json"} | more, path="/webhooks/stripe")

    def intake(self, path: str = "/webhooks/stripe", method: str = "POST") -> Intake:
        plan = Planner([self.webhooks]).plan(method, path)
        (hook,) = plan.on_request
        return cast("Intake", hook.__self__)  # type: ignore[attr-defined]

    def steps(self, exchange: Exchange) -> Steps[EarlyResponse | None]:
        outcome = self.intake(exchange.path, exchange.method).on_request(exchange)
        assert not isinstance(outcome, EarlyResponse)
        return outcome

    def answer(self, exchange: Exchange, store: Store, body: bytes) -> EarlyResponse:
        """Carry a whole request out, in threads' colour."""
        outcome = self.intake(exchange.path, exchange.method).on_request(exchange)
        if isinstance(outcome, EarlyResponse):
            return outcome
        return cast("EarlyResponse", carried_out(outcome, backends(store.inbox), Reader(body)))


def returned(advance: Callable[[], object]) -> EarlyResponse:
    with pytest.raises(StopIteration) as stop:
        advance()
    return cast("EarlyResponse", stop.value.value)


def content(response: EarlyResponse | None) -> Any:
    assert response is not None
    return json.loads(response.body)


def header(response: EarlyResponse, name: bytes) -> bytes | None:
    return dict(response.headers).get(name)


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "inbox.sqlite3", FrozenClock())
    yield store
    store.close()


def carry_out(colour: str, steps: Steps[Any], store: Store, body: bytes) -> EarlyResponse | None:
    if colour == "sync":
        return cast("EarlyResponse", carried_out(steps, backends(store.inbox), Reader(body)))
    return cast("EarlyResponse", asyncio.run(acarried_out(steps, backends(store.inbox), Reader(body))))


def test_a_verified_delivery_is_stored_before_it_is_acknowledged() -> None:
    """Read, verify, store, and only then answer 200 and wake the worker."""
    door = Door()
    steps = door.steps(door.signed(**{"x-request-id": "r1"}))
    assert next(steps) == ReadBody(1_000_000)
    effect = steps.send(Body(BODY))
    kept = (("content-type", "application/json"), ("x-request-id", "r1"))
    assert effect == Enqueue(NewDelivery("stripe", "evt_1", "invoice.paid", kept, BODY))
    assert door.woken == 0
    response = returned(lambda: steps.send(True))
    assert (response.status, content(response), response.route) == (200, {"status": "accepted"}, "/webhooks/stripe")
    assert (door.woken, door.charged, door.webhooks.counts.read()) == (1, [], {("stripe", "accepted"): 1})


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_repeat_is_acknowledged_and_not_stored_again(colour: str, store: Store) -> None:
    """The sender is told that all is well, so that it stops."""
    door = Door()
    found = [carry_out(colour, door.steps(door.signed()), store, BODY) for _ in range(3)]
    assert [content(response)["status"] for response in found] == ["accepted", "duplicate", "duplicate"]
    assert (door.woken, store.pending()) == (1, 1)
    assert door.webhooks.counts.read() == {("stripe", "accepted"): 1, ("stripe", "duplicate"): 2}


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_what_is_not_verified_is_not_stored(colour: str, store: Store) -> None:
    """One byte of the body changed: 401, without a word more than needed."""
    door = Door()
    response = carry_out(colour, door.steps(door.signed()), store, BODY + b" ")
    assert response is not None
    assert (response.status, header(response, b"content-type")) == (401, b"application/problem+json")
    assert content(response)["status"] == 401
    assert store.pending() == 0
    assert (door.charged, door.webhooks.counts.read()) == (["/webhooks/stripe"], {("stripe", "mismatch"): 1})


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_store_that_is_down_asks_the_sender_to_come_again(colour: str, store: Store, tmp_path: Path) -> None:
    """503 and Retry-After, and the next delivery is taken when the store is back."""
    door = Door()
    (tmp_path / "inbox.sqlite3").mkdir()
    response = carry_out(colour, door.steps(door.signed()), store, BODY)
    assert response is not None
    assert (response.status, header(response, b"retry-after")) == (503, b"30")
    (tmp_path / "inbox.sqlite3").rmdir()
    assert content(carry_out(colour, door.steps(door.signed()), store, BODY)) == {"status": "accepted"}
    assert door.webhooks.counts.read() == {("stripe", "store_down"): 1, ("stripe", "accepted"): 1}


def test_a_refused_sender_may_be_limited() -> None:
    """What the rate limit says about bad signatures goes before the 401, under the source's route."""
    door = Door()
    door.limited = LIMITED
    steps = door.steps(posted(path="/webhooks/stripe"))
    next(steps)
    response = returned(lambda: steps.send(Body(BODY)))
    assert (response.status, response.route) == (429, "/webhooks/stripe")
    assert door.webhooks.counts.read() == {("stripe", "missing"): 1}


def test_refusals_are_logged_without_payload(caplog: pytest.LogCaptureFixture) -> None:
    """Source and reason: what whoever sets the wrong secret needs to know."""
    door = Door()
    steps = door.steps(posted({"stripe-signature": "t=1,v1=abcdef"}, path="/webhooks/stripe"))
    next(steps)
    returned(lambda: steps.send(Body(BODY)))
    assert caplog.messages == ["webhook source stripe: signature mismatch, refused"]


def test_a_body_that_is_too_large_is_refused() -> None:
    """413, and nothing is verified or stored."""
    door = Door(sources={"stripe": {"secrets": [SECRET], "max_body": 5}})
    steps = door.steps(door.signed())
    assert next(steps) == ReadBody(5)
    response = returned(lambda: steps.send(Body(BODY[:5], too_large=True)))
    assert (response.status, door.webhooks.counts.read()) == (413, {("stripe", "too_large"): 1})


def test_a_sender_that_went_away_is_let_go() -> None:
    """Half a body is not judged: nothing is charged and nothing counted."""
    door = Door()
    steps = door.steps(door.signed())
    next(steps)
    assert returned(lambda: steps.send(Body(b"", disconnected=True))).status == 400
    assert (door.charged, door.webhooks.counts.read()) == ([], {})


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS", "BREW"])
def test_webhooks_are_posted(method: str) -> None:
    """Every other method is refused here and never reaches the app."""
    door = Door()
    response = door.intake(method=method).on_request(posted(method=method, path="/webhooks/stripe"))
    assert isinstance(response, EarlyResponse)
    assert (response.status, header(response, b"allow")) == (405, b"POST")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"sources": {"stripe": {}}}, "no signing secret"),
        ({"sources": {"stripe": {"secrets": [SECRET]}}, "enabled": False}, "switched off"),
    ],
)
def test_a_source_that_is_closed_says_why(settings: dict[str, object], reason: str) -> None:
    """Without a secret nothing can be verified, so nothing is taken: the sender may come again."""
    door = Door(**settings)
    response = door.intake().on_request(door.signed())
    assert isinstance(response, EarlyResponse)
    assert (response.status, header(response, b"retry-after")) == (503, b"300")
    assert reason in content(response)["detail"]
    assert list(door.webhooks.closed) == ["stripe"]


def test_a_bug_of_ours_refuses() -> None:
    """The delivery neither reaches the app unverified nor is lost: its sender comes again."""
    door = Door()
    response = door.intake().on_failure(door.signed(), ZeroDivisionError())
    assert (response.status, door.webhooks.counts.read()) == (503, {("stripe", "failed"): 1})


def test_a_bug_in_the_inbox_is_not_taken_for_an_outage() -> None:
    """Only `StoreDown` is: everything else goes to the fence and is reported."""
    door = Door()
    steps = door.steps(door.signed())
    next(steps)
    steps.send(Body(BODY))
    with pytest.raises(ZeroDivisionError):
        steps.throw(ZeroDivisionError())
    again = door.steps(door.signed())
    next(again)
    again.send(Body(BODY))
    assert returned(lambda: again.throw(StoreDown())).status == 503


def test_a_compressed_body_is_verified_as_it_was_sent(store: Store) -> None:
    """The signature covers the bytes on the wire; the handler is told how they are coded."""
    door = Door()
    body = b"\x1f\x8b compressed"
    exchange = door.signed(body, **{"content-encoding": "gzip"})
    assert content(carry_out("sync", door.steps(exchange), store, body)) == {"status": "accepted"}
    delivery = store.claim_one().delivery
    assert (delivery.body, delivery.headers["content-encoding"]) == (body, "gzip")


@given(
    st.dictionaries(st.sampled_from(["stripe-signature", "webhook-id"]), st.text(st.characters(max_codepoint=255))),
    st.binary(),
)
def test_no_garbage_raises_or_is_stored(headers: dict[str, str], body: bytes) -> None:
    """Whatever a stranger sends ends in 401."""
    door = Door()
    steps = door.steps(posted(headers, path="/webhooks/stripe"))
    next(steps)
    assert returned(lambda: steps.send(Body(body))).status == 401


def test_credentials_and_signatures_are_not_kept() -> None:
    """Of the request's headers only those about the message stay, and of these none that proves anything."""
    headers = {
        "Content-Type": "application/json",
        "user-agent": "Stripe/1.0",
        "webhook-id": "msg_1",
        "svix-timestamp": "1",
        "x-shopify-topic": "orders/create",
        "accept": "*/*",
        "authorization": "no",
        "cookie": "no",
        "stripe-signature": "no",
        "webhook-signature": "no",
        "x-hub-signature-256": "no",
        "x-shopify-hmac-sha256": "no",
        "x-gitlab-token": "no",
        "x-api-key": "no",
    }
    kept = dict(kept_headers(posted(headers).request_headers()))
    assert list(kept) == ["content-type", "user-agent", "webhook-id", "svix-timestamp", "x-shopify-topic"]


@pytest.mark.parametrize(
    ("name", "is_kept"),
    [
        *((name, True) for name in ("x-github-event", "x-github-delivery", "x-gitlab-event", "x-shopify-topic")),
        *((name, True) for name in ("X-Request-Id", "linear-event", "content-encoding", "x-slack-retry-num")),
        *((name, False) for name in ("x-goog-iap-jwt-assertion", "x-amzn-oidc-data", "x-session-id", "x-real-ip")),
        *((name, False) for name in ("x-forwarded-client-cert", "x-forwarded-for", "forwarded", "cf-connecting-ip")),
        *((name, False) for name in ("x-ms-client-principal", "x-github-secret", "x-hub-signature", "x-id")),
    ],
)
def test_what_proxies_add_is_not_kept(name: str, is_kept: bool) -> None:
    """They put credentials and people's addresses into headers of many names; senders' names are known."""
    kept = kept_headers(posted({name: "value"}).request_headers())
    assert kept == (((name.lower(), "value"),) if is_kept else ())


def test_a_delivery_on_its_way_shows_neither_headers_nor_body() -> None:
    """Wherever it is logged."""
    shown = repr(NewDelivery("stripe", "evt_1", "invoice.paid", (("x-shop", "hidden"),), b"card 42"))
    assert "evt_1" in shown
    assert "hidden" not in shown
    assert "card" not in shown


@given(st.lists(st.tuples(st.sampled_from([b"x-a", b"user-agent"]), st.binary(max_size=1500))))
def test_what_is_kept_of_the_headers_is_small(headers: list[tuple[bytes, bytes]]) -> None:
    """A sender cannot fill the disk with headers."""
    kept = kept_headers(headers)
    assert sum(len(name) + len(value) for name, value in kept) <= KEPT_HEADERS_SIZE


def test_each_source_has_its_own_path_and_scheme(store: Store) -> None:
    """A source's settings say where it posts and how it signs."""
    secret = standard_secret()
    shop = {"path": "/hooks/{tenant}", "scheme": "standard", "secrets": [standard_secret(), secret]}
    door = Door(sources={"stripe": {"secrets": [SECRET]}, "shop": shop})
    exchange = posted(sign("standard", secret, b"{}", now=door.clock.time(), message_id="m1"), path="/hooks/a")
    outcome = door.intake("/hooks/a").on_request(exchange)
    response = carry_out("sync", cast("Steps[Any]", outcome), store, b"{}")
    assert response is not None
    assert (response.status, response.route) == (200, "/hooks/{tenant}")
    assert tuple(door.webhooks.sources) == ("stripe", "shop")
    assert Planner([door.webhooks]).plan("POST", "/other").on_request == ()


@pytest.mark.parametrize("reverse", [False, True])
def test_of_paths_that_overlap_the_narrowest_is_asked(reverse: bool) -> None:
    """In whatever order they are set: a source's secret is not asked of another's deliveries."""
    paths = {"wide": "/hooks/*", "tenants": "/hooks/{tenant}/in", "narrow": "/hooks/b/*", "exact": "/hooks/b/c"}
    sources = {name: {"path": path, "scheme": "stripe", "secrets": [stripe_secret()]} for name, path in paths.items()}
    door = Door(sources=dict(reversed(sources.items())) if reverse else sources)
    asked = [door.intake(path).source.name for path in ("/hooks/b/c", "/hooks/b/d", "/hooks/a", "/hooks/a/b")]
    assert asked == ["exact", "narrow", "wide", "wide"]


def test_the_tolerance_is_the_sources_own() -> None:
    """Seconds either way, at receipt."""
    door = Door(sources={"stripe": {"secrets": [SECRET], "tolerance": 10}})
    exchange = door.signed()
    door.clock.advance(11)
    steps = door.steps(exchange)
    next(steps)
    assert returned(lambda: steps.send(Body(BODY))).status == 401
    assert door.webhooks.counts.read() == {("stripe", "expired"): 1}


def test_a_handler_alone_makes_a_known_sender_a_source() -> None:
    """Before its secret is set its path exists, and says what is missing."""
    door = Door(sources={})
    door.handlers.add("clerk", None, lambda delivery: None)
    assert tuple(door.webhooks.sources) == ()
    door.webhooks.compile()
    assert tuple(door.webhooks.sources) == ("clerk",)
    response = door.intake("/webhooks/clerk").on_request(posted())
    assert isinstance(response, EarlyResponse)
    assert response.status == 503


def test_compiling_keeps_the_settings_of_a_source() -> None:
    """A handler for a source that is set changes nothing about it."""
    door = Door()
    door.handlers.add("stripe", None, lambda delivery: None)
    door.webhooks.compile()
    assert (tuple(door.webhooks.sources), door.webhooks.closed) == (("stripe",), {})


def test_a_handler_for_an_unknown_source_is_an_error() -> None:
    """A misspelt name does not make a handler that is never called."""
    door = Door()
    door.handlers.add("strpe", None, lambda delivery: None)
    with pytest.raises(LaunchKitError, match="LAUNCHKIT_WEBHOOKS__SOURCES__STRPE__SCHEME"):
        door.webhooks.compile()


def test_every_mistake_is_told_at_the_start_and_no_secret_is_shown() -> None:
    """All at once, by the variable's name."""
    with pytest.raises(SettingsError) as caught:
        Door(
            sources={
                "stripe": {"secrets": ["sk_live_" + SECRET]},
                "clerk": {"secrets": [SECRET + "!"]},
                "shop": {"secrets": [SECRET]},
                "one": {"scheme": "stripe", "path": "/same"},
                "two": {"scheme": "stripe", "path": "/same"},
                "curly{": {"scheme": "stripe"},
            }
        )
    names = [problem.variable.removeprefix("LAUNCHKIT_WEBHOOKS__SOURCES__") for problem in caught.value.problems]
    assert names == ["STRIPE__SECRETS", "CLERK__SECRETS", "SHOP__SCHEME", "TWO__PATH", "CURLY{__PATH"]
    assert SECRET not in str(caught.value)


def test_nothing_shows_a_sources_secrets() -> None:
    """Not even the repr that ends up in a traceback's locals."""
    assert SECRET not in repr(Door().intake().source)


# --- when there is no room ------------------------------------------------------------------------------------------


def test_an_inbox_without_room_asks_the_sender_to_come_again() -> None:
    """503 and Retry-After, as when it is down, but counted apart."""
    door = Door()
    steps = door.steps(door.signed())
    next(steps)
    steps.send(Body(BODY))
    response = returned(lambda: steps.throw(StoreFull("full")))
    assert (response.status, header(response, b"retry-after")) == (503, b"30")
    assert "no room" in content(response)["detail"]
    assert (door.woken, door.webhooks.counts.read()) == (0, {("stripe", "full"): 1})


def event(number: int) -> bytes:
    return json.dumps({"id": f"evt_{number}", "type": "invoice.paid"}).encode()


def test_a_full_inbox_still_knows_repeats_and_keeps_room_for_github(tmp_path: Path) -> None:
    """From end to end: Stripe comes again, a repeat is told that all is well, GitHub gets the last tenth."""
    store = Store(tmp_path / "inbox.sqlite3", FrozenClock(), most_pending=20)
    github = stripe_secret()
    door = Door(sources={"stripe": {"secrets": [SECRET]}, "github": {"secrets": [github]}})
    stripe = [door.answer(door.signed(event(number)), store, event(number)).status for number in range(20)]
    assert stripe == [200] * 18 + [503] * 2
    assert content(door.answer(door.signed(event(0)), store, event(0))) == {"status": "duplicate"}
    bodies = [b'{"n": %d}' % number for number in range(4)]
    found = [door.answer(pushed(github, body, door.clock), store, body).status for body in bodies]
    assert found == [200, 200, 503, 503]
    store.close()


def pushed(secret: str, body: bytes, clock: FrozenClock, message_id: str = "") -> WrittenExchange:
    """Return what GitHub posts."""
    headers = sign("github", secret, body, now=clock.time(), message_id=message_id or hashlib.sha256(body).hexdigest())
    return posted(headers | {"x-github-event": "push"}, path="/webhooks/github")


@pytest.mark.parametrize(
    ("source", "settings", "reserve"),
    [
        ("stripe", {}, False),
        ("github", {}, True),
        ("shopify", {}, True),
        ("github", {"redelivers": True}, False),
        ("stripe", {"redelivers": False}, True),
    ],
)
def test_the_reserve_is_for_senders_that_do_not_come_again(
    source: str, settings: dict[str, object], reserve: bool
) -> None:
    """As is known of the sender, unless its settings say otherwise."""
    secret = stripe_secret()
    door = Door(sources={source: {"secrets": [secret], **settings}})
    headers = sign(source, secret, BODY, now=door.clock.time(), message_id="1")
    steps = door.steps(posted(headers, path=f"/webhooks/{source}"))
    next(steps)
    effect = steps.send(Body(BODY))
    assert isinstance(effect, Enqueue)
    assert effect.delivery.may_use_reserve is reserve


# --- refusals that lose something -----------------------------------------------------------------------------------


def refuse(door: Door, source: str, secret: str, error: Exception) -> None:
    exchange = posted(sign(source, secret, BODY, now=door.clock.time(), message_id="1"), path=f"/webhooks/{source}")
    steps = door.steps(exchange)
    next(steps)
    steps.send(Body(BODY))
    assert returned(lambda: steps.throw(error)).status == 503


@pytest.mark.parametrize(
    ("source", "consequence"),
    [("github", "does not send it again"), ("shopify", "ends the subscription")],
)
def test_a_refusal_that_loses_something_is_an_error_once_a_minute(
    caplog: pytest.LogCaptureFixture, source: str, consequence: str
) -> None:
    """Somebody has to act, and is told what will happen; a flood of refusals is no flood of messages."""
    secret = stripe_secret()
    door = Door(sources={source: {"secrets": [secret]}})
    for _ in range(5):
        refuse(door, source, secret, StoreFull("full"))
    (record,) = caplog.records
    assert (record.levelname, source in record.message, consequence in record.message) == ("ERROR", True, True)
    door.clock.advance(ALERT_INTERVAL - 1)
    refuse(door, source, secret, StoreDown("down"))
    assert len(caplog.records) == 1
    door.clock.advance(1)
    refuse(door, source, secret, StoreDown("down"))
    assert len(caplog.records) == 2
    assert "store_down" in caplog.messages[1]


def test_a_refusal_that_the_sender_makes_good_is_none(caplog: pytest.LogCaptureFixture) -> None:
    """Stripe comes again for days."""
    door = Door()
    refuse(door, "stripe", SECRET, StoreFull("full"))
    assert caplog.records == []


# --- replays under a new id -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_captured_delivery_is_known_under_any_id(store: Store, colour: str) -> None:
    """GitHub's id is not signed: the digest of what is signed tells that the same comes again."""
    secret = stripe_secret()
    door = Door(sources={"github": {"secrets": [secret]}})
    found = [
        carry_out(colour, door.steps(pushed(secret, BODY, door.clock, message_id)), store, BODY)
        for message_id in ("first", "fresh", "first")
    ]
    assert [content(response)["status"] for response in found] == ["accepted", "duplicate", "duplicate"]
    assert store.states() == {"first": "pending"}


def test_a_replay_does_not_suppress_our_own_retry(store: Store) -> None:
    """A repeat of what is not done yet changes nothing about it, under whatever id it comes."""
    secret = stripe_secret()
    door = Door(sources={"github": {"secrets": [secret]}})
    door.answer(pushed(secret, BODY, door.clock, "first"), store, BODY)
    lease = store.claim_one()
    assert done(store.inbox.retry(lease, 10, "ValueError"))
    for message_id in ("first", "fresh"):
        response = door.answer(pushed(secret, BODY, door.clock, message_id), store, BODY)
        assert content(response) == {"status": "duplicate"}
    store.clock.advance(10)  # type: ignore[attr-defined]  # the tests' own
    again = store.claim_one().delivery
    assert (again.id, again.attempt) == ("first", 2)


def test_the_same_bytes_from_two_senders_are_two_deliveries(store: Store) -> None:
    """A digest is its source's."""
    secret = stripe_secret()
    sources = {"github": {"secrets": [secret]}, "other": {"secrets": [secret], "scheme": "github"}}
    door = Door(sources=sources)
    for path in ("/webhooks/github", "/webhooks/other"):
        exchange = posted(sign("github", secret, BODY, now=0, message_id="1"), path=path)
        assert content(door.answer(exchange, store, BODY)) == {"status": "accepted"}


# --- handshakes -----------------------------------------------------------------------------------------------------


def test_slack_is_answered_with_its_challenge_and_nothing_is_stored(store: Store) -> None:
    """It asks once, before anything is signed."""
    door = Door(sources={"slack": {"secrets": [stripe_secret()]}})
    body = json.dumps({"type": "url_verification", "challenge": "3eZbrw1aBm2rZgRNFdxV"}).encode()
    response = door.answer(posted(path="/webhooks/slack"), store, body)
    assert (response.status, response.body) == (200, b"3eZbrw1aBm2rZgRNFdxV")
    assert header(response, b"content-type") == b"text/plain; charset=utf-8"
    assert header(response, b"x-content-type-options") == b"nosniff"
    assert (store.states(), door.woken, door.charged) == ({}, 0, [])
    assert door.webhooks.counts.read() == {("slack", "handshake"): 1}


def test_zoom_is_answered_by_signing_its_token(store: Store) -> None:
    """With the source's secret, and only if its own signature is right."""
    secret = stripe_secret()
    door = Door(sources={"zoom": {"secrets": [secret]}})
    body = json.dumps(
        {"event": "endpoint.url_validation", "payload": {"plainToken": "qgg8vlvZRS6UYooatFL8Aw"}}
    ).encode()
    headers = sign("zoom", secret, body, now=door.clock.time(), message_id="")
    answer = content(door.answer(posted(headers, path="/webhooks/zoom"), store, body))
    expected = hmac.digest(secret.encode(), b"qgg8vlvZRS6UYooatFL8Aw", "sha256").hex()
    assert answer == {"plainToken": "qgg8vlvZRS6UYooatFL8Aw", "encryptedToken": expected}
    assert door.answer(posted(path="/webhooks/zoom"), store, body).status == 401
    assert store.states() == {}


def greeting(token: str) -> str:
    return f"/webhooks/meta?hub.mode=subscribe&hub.verify_token={token}&hub.challenge=1158201444"


def test_meta_is_answered_if_it_knows_our_token(store: Store) -> None:
    """By GET; whoever does not know it is refused and charged like a bad signature."""
    token = stripe_secret()
    door = Door(sources={"meta": {"secrets": [stripe_secret()], "verify_token": token}})
    response = door.answer(posted(method="GET", path=greeting(token)), store, b"")
    assert (response.status, response.body, response.route) == (200, b"1158201444", "/webhooks/meta")
    assert door.charged == []
    assert door.answer(posted(method="GET", path=greeting("guess")), store, b"").status == 401
    assert door.charged == ["/webhooks/meta"]
    door.limited = LIMITED
    assert door.answer(posted(method="GET", path=greeting("guess")), store, b"").status == 429
    assert door.answer(posted(method="GET", path="/webhooks/meta"), store, b"").status == 405
    assert door.webhooks.counts.read() == {("meta", "handshake"): 1, ("meta", "mismatch"): 2}


def test_a_source_that_is_switched_off_greets_nobody(store: Store) -> None:
    """Its sender would take the address for one that is listened to."""
    token = stripe_secret()
    meta = {"secrets": [stripe_secret()], "verify_token": token}
    door = Door(enabled=False, sources={"meta": meta})
    response = door.answer(posted(method="GET", path=greeting(token)), store, b"")
    assert (response.status, header(response, b"retry-after")) == (503, b"300")
    assert door.webhooks.counts.read() == {("meta", "closed"): 1}


def test_a_greeting_is_answered_by_get_alone(store: Store) -> None:
    """Other methods are refused on Meta's path too."""
    token = stripe_secret()
    door = Door(sources={"meta": {"secrets": [stripe_secret()], "verify_token": token}})
    for method in ("HEAD", "PUT"):
        assert door.answer(posted(method=method, path=greeting(token)), store, b"").status == 405


# --- the app's own scheme, and addresses that are signed ------------------------------------------------------------


class Raising:
    """A scheme of an app's, with a bug."""

    def verify(self, message: Message, secrets: object) -> Verified:
        raise ZeroDivisionError


class Naming:
    """A scheme of an app's that says the id is what stands in a header."""

    def verify(self, message: Message, secrets: object) -> Verified:
        return Verified((message.header(b"x-id") or b"").decode("latin-1"), "my event")


def test_an_own_scheme_that_raises_refuses(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """What it cannot make sense of is not let through, and is no 500 of ours; the log says which scheme it is."""
    door = Door(sources={"shop": {"scheme": Raising(), "secrets": [stripe_secret()]}})
    response = door.answer(posted(path="/webhooks/shop"), store, b"card 42")
    assert (response.status, store.states()) == (401, {})
    assert door.webhooks.counts.read() == {("shop", "malformed"): 1}
    assert caplog.messages[0].startswith("Raising raised")


@pytest.mark.parametrize("odd", ["", "with space", "ü", "x" * 256])
def test_an_own_schemes_odd_ids_are_hashed(store: Store, odd: str) -> None:
    """They fit the inbox, and are the same each time; an event that is no word is none."""
    door = Door(sources={"shop": {"scheme": Naming(), "secrets": [stripe_secret()]}})
    for status in ("accepted", "duplicate"):
        response = door.answer(posted({"x-id": odd}, path="/webhooks/shop"), store, b"{}")
        assert content(response) == {"status": status}
    (entry,) = store.entries()
    assert (entry.id, entry.event) == (hashlib.sha256(odd.encode()).hexdigest(), "")


def test_a_scheme_that_signs_the_address_needs_to_know_it() -> None:
    """Behind a proxy nothing in a request says it for sure; so the settings do, or the start fails by that name."""
    sources = {"twilio": {"secrets": [stripe_secret()]}, "square": {"secrets": [stripe_secret()]}}
    with pytest.raises(SettingsError) as caught:
        Door(sources=sources)
    assert {problem.variable for problem in caught.value.problems} == {"LAUNCHKIT_EDGE__URL"}
    Door(sources=sources, public_url="https://example.com")
    Door(sources={"twilio": {}})  # without a secret nothing is taken in anyway


def test_the_signed_address_is_the_public_one(store: Store) -> None:
    """Scheme and host from the settings, path and query as they came."""
    secret = stripe_secret()
    door = Door(sources={"square": {"secrets": [secret], "path": "/in"}}, public_url="https://example.com")
    body = b'{"event_id": "1", "type": "payment.created"}'

    def answer(signed: str, path: str) -> int:
        headers = sign("square", secret, body, now=0, message_id="", url=signed)
        return door.answer(posted(headers, path=path), store, body).status

    assert answer("https://example.com/in?shop=a%20b", "/in?shop=a%20b") == 200
    assert answer("https://example.com/in", "/in") == 200
    assert answer("http://10.0.0.1/in", "/in") == 401
    assert answer("https://example.com/in", "/in?x=1") == 401


# --- order ----------------------------------------------------------------------------------------------------------


def test_a_delivery_is_stored_with_what_it_is_serial_by(store: Store) -> None:
    """As its handler asks; deliveries of the same customer are handled one after the other from then on."""
    door = Door()
    door.handlers.add("stripe", "invoice.paid", lambda delivery: None, "data.object.customer")
    for number, customer in enumerate(["cus_1", "cus_2", "cus_1"]):
        body = json.dumps(
            {"id": f"evt_{number}", "type": "invoice.paid", "data": {"object": {"customer": customer}}}
        ).encode()
        assert door.answer(door.signed(body), store, body).status == 200
    assert [entry.order_key for entry in reversed(store.entries())] == ["stripe:cus_1", "stripe:cus_2", "stripe:cus_1"]
    first, second = store.claim().leased
    assert [first.delivery.id, second.delivery.id] == ["evt_0", "evt_1"]
    assert done(store.inbox.done(first))
    assert store.claimed() == ["evt_2"]
