"""The intake: what is verified is stored and acknowledged, everything else gets a clear answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.exchanges import WrittenExchange
from tests.support.performing import acarried_out, carried_out
from webhook_world import SOURCES, Reader, backends, posted, standard_secret, stripe_secret

from launchkit.errors import LaunchKitError, SettingsError
from launchkit.pipeline.effects import Body, Enqueue, NewDelivery, ReadBody, Steps, StoreDown
from launchkit.pipeline.exchange import EarlyResponse, Exchange
from launchkit.pipeline.interceptor import Planner
from launchkit.settings import WebhookSettings
from launchkit.testing import FrozenClock
from launchkit.webhooks.delivery import Handlers
from launchkit.webhooks.inbox import SqliteInbox
from launchkit.webhooks.intake import KEPT_HEADERS_SIZE, Intake, kept_headers
from launchkit.webhooks.interceptor import Webhooks
from launchkit.webhooks.signatures import sign

BODY = b'{"id": "evt_1", "type": "invoice.paid"}'
SECRET = stripe_secret()
LIMITED = EarlyResponse(429, b"slow down")


class Door:
    """A kit's worth of wiring around the interceptor."""

    def __init__(self, clock: FrozenClock | None = None, **settings: object) -> None:
        self.clock = clock or FrozenClock()
        self.handlers = Handlers()
        self.limited: EarlyResponse | None = None
        self.charged: list[str] = []
        self.woken = 0
        given = {"sources": {"stripe": {"secrets": [SECRET]}}} | settings
        self.webhooks = Webhooks(
            WebhookSettings.model_validate(given), self.clock, self.handlers, self.charge, self.wake
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
        outcome = self.intake().on_request(exchange)
        assert not isinstance(outcome, EarlyResponse)
        return outcome


def returned(advance: Callable[[], object]) -> EarlyResponse:
    with pytest.raises(StopIteration) as stop:
        advance()
    return cast("EarlyResponse", stop.value.value)


def content(response: EarlyResponse | None) -> Any:
    assert response is not None
    return json.loads(response.body)


def header(response: EarlyResponse, name: bytes) -> bytes | None:
    return dict(response.headers).get(name)


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[SqliteInbox]:
    inbox = SqliteInbox(tmp_path / "inbox.sqlite3", FrozenClock())
    yield inbox
    inbox.close()


def carry_out(colour: str, steps: Steps[Any], inbox: Any, body: bytes) -> EarlyResponse | None:
    if colour == "sync":
        return carried_out(steps, backends(inbox), Reader(body))
    return asyncio.run(acarried_out(steps, backends(inbox), Reader(body)))


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
def test_a_repeat_is_acknowledged_and_not_stored_again(colour: str, inbox: SqliteInbox) -> None:
    """The sender is told that all is well, so that it stops."""
    door = Door()
    found = [carry_out(colour, door.steps(door.signed()), inbox, BODY) for _ in range(3)]
    assert [content(response)["status"] for response in found] == ["accepted", "duplicate", "duplicate"]
    assert (door.woken, inbox.stats().result(10).pending) == (1, 1)
    assert door.webhooks.counts.read() == {("stripe", "accepted"): 1, ("stripe", "duplicate"): 2}


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_what_is_not_verified_is_not_stored(colour: str, inbox: SqliteInbox) -> None:
    """One byte of the body changed: 401, without a word more than needed."""
    door = Door()
    response = carry_out(colour, door.steps(door.signed()), inbox, BODY + b" ")
    assert response is not None
    assert (response.status, header(response, b"content-type")) == (401, b"application/problem+json")
    assert content(response)["status"] == 401
    assert inbox.stats().result(10).pending == 0
    assert (door.charged, door.webhooks.counts.read()) == (["/webhooks/stripe"], {("stripe", "mismatch"): 1})


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_store_that_is_down_asks_the_sender_to_come_again(colour: str, inbox: SqliteInbox, tmp_path: Path) -> None:
    """503 and Retry-After, and the next delivery is taken when the store is back."""
    door = Door()
    (tmp_path / "inbox.sqlite3").mkdir()
    response = carry_out(colour, door.steps(door.signed()), inbox, BODY)
    assert response is not None
    assert (response.status, header(response, b"retry-after")) == (503, b"30")
    (tmp_path / "inbox.sqlite3").rmdir()
    assert content(carry_out(colour, door.steps(door.signed()), inbox, BODY)) == {"status": "accepted"}
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


def test_a_compressed_body_is_verified_as_it_was_sent(inbox: SqliteInbox) -> None:
    """The signature covers the bytes on the wire; the handler is told how they are coded."""
    door = Door()
    body = b"\x1f\x8b compressed"
    exchange = door.signed(body, **{"content-encoding": "gzip"})
    assert content(carry_out("sync", door.steps(exchange), inbox, body)) == {"status": "accepted"}
    (lease,) = inbox.claim(1, sources=SOURCES, lease=1, attempts=1).result(10).leased
    assert (lease.body, lease.headers["content-encoding"]) == (body, "gzip")


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


@given(st.lists(st.tuples(st.sampled_from([b"x-a", b"user-agent"]), st.binary(max_size=1500))))
def test_what_is_kept_of_the_headers_is_small(headers: list[tuple[bytes, bytes]]) -> None:
    """A sender cannot fill the disk with headers."""
    kept = kept_headers(headers)
    assert sum(len(name) + len(value) for name, value in kept) <= KEPT_HEADERS_SIZE


def test_each_source_has_its_own_path_and_scheme(inbox: SqliteInbox) -> None:
    """A source's settings say where it posts and how it signs."""
    secret = standard_secret()
    shop = {"path": "/hooks/{tenant}", "scheme": "standard", "secrets": [standard_secret(), secret]}
    door = Door(sources={"stripe": {"secrets": [SECRET]}, "shop": shop})
    exchange = posted(sign("standard", secret, b"{}", now=door.clock.time(), message_id="m1"), path="/hooks/a")
    outcome = door.intake("/hooks/a").on_request(exchange)
    response = carry_out("sync", cast("Steps[Any]", outcome), inbox, b"{}")
    assert response is not None
    assert (response.status, response.route) == (200, "/hooks/{tenant}")
    assert tuple(door.webhooks.sources) == ("stripe", "shop")
    assert Planner([door.webhooks]).plan("POST", "/other").on_request == ()


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
