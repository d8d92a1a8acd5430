"""Handlers and what they are given."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchkit import Discard, Retry
from launchkit.errors import LaunchKitError
from launchkit.webhooks.delivery import Delivery
from launchkit.webhooks.handlers import Handlers


def one(delivery: Delivery) -> None: ...


def two(delivery: Delivery) -> None: ...


def test_an_events_own_handler_goes_first() -> None:
    """The handler of a whole source gets what no other handler of that source is for."""
    handlers = Handlers()
    handlers.add("stripe", None, one)
    handlers.add("stripe", "invoice.paid", two)
    found = [handlers.find("stripe", "invoice.paid"), handlers.find("stripe", "x"), handlers.find("clerk", "x")]
    assert found == [two, one, None]
    assert handlers.sources == {"stripe"}


@pytest.mark.parametrize(("event", "named"), [("invoice.paid", "'invoice.paid'"), (None, "every event")])
def test_a_second_handler_for_the_same_event_is_an_error(event: str | None, named: str) -> None:
    """Nothing is replaced in silence."""
    handlers = Handlers()
    handlers.add("stripe", event, one)
    with pytest.raises(LaunchKitError, match=named):
        handlers.add("stripe", event, two)
    assert handlers.find("stripe", "invoice.paid") is one


def test_a_delivery_shows_neither_body_nor_headers() -> None:
    """A delivery that is logged gives no payload away."""
    delivery = Delivery("evt_1", "stripe", "invoice.paid", b'{"card": 42}', {"x-a": "42"}, 1, 5.0)
    assert "42" not in repr(delivery)
    assert delivery.json() == {"card": 42}


def test_the_idempotency_key_is_the_same_on_every_attempt() -> None:
    """It names the delivery, not the attempt."""
    keys = {Delivery("evt_1", "stripe", "", b"", {}, attempt, 5.0).idempotency_key for attempt in (1, 2)}
    assert keys == {"stripe:evt_1"}


def test_a_body_that_is_no_json_is_told_as_such() -> None:
    """`json` raises ValueError, as `json.loads` does."""
    with pytest.raises(ValueError, match="Expecting"):
        Delivery("evt_1", "stripe", "", b"<xml/>", {}, 1, 5.0).json()


def test_what_a_handler_may_raise_says_what_it_means() -> None:
    """In words that can be logged and shown."""
    assert [str(error) for error in (Retry(), Retry(after=90), Discard(), Discard("test mode"))] == [
        "again",
        "again in 90 s",
        "discarded by its handler",
        "test mode",
    ]
    assert (Retry().after, Retry(5).after, Discard("x").reason) == (None, 5, "x")
    assert Discard().reason == "discarded by its handler"


# --- order keys ----------------------------------------------------------------------------------------------------


def order_key(order_by: str | None, content: object, *, event: str = "invoice.paid") -> str | None:
    handlers = Handlers()
    handlers.add("stripe", "invoice.paid", one, order_by)
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return handlers.order_key("stripe", event, body)


@pytest.mark.parametrize(
    ("order_by", "content", "key"),
    [
        ("customer", {"customer": "cus_1"}, "stripe:cus_1"),
        ("data.object.customer", {"data": {"object": {"customer": "cus_1"}}}, "stripe:cus_1"),
        ("entry.0.id", {"entry": [{"id": 7}, {"id": 8}]}, "stripe:7"),
        ("entry.-1.id", {"entry": [{"id": 7}, {"id": 8}]}, "stripe:8"),
        ("customer", {"customer": "Müller"}, "stripe:Müller"),
        ("customer", {"customer": ""}, "stripe:"),
    ],
)
def test_the_order_key_is_read_off_the_body(order_by: str, content: object, key: str) -> None:
    """By a dotted path; within its source, so that two senders' ids never meet."""
    assert order_key(order_by, content) == key


@pytest.mark.parametrize(
    ("order_by", "content"),
    [
        (None, {"customer": "cus_1"}),
        ("customer", {}),
        ("customer", {"customer": None}),
        ("customer", {"customer": True}),
        ("customer", {"customer": 1.5}),
        ("customer", {"customer": {"id": 1}}),
        ("customer.id", {"customer": "cus_1"}),
        ("entry.x", {"entry": [1]}),
        ("entry.5", {"entry": [1]}),
        ("customer", [1]),
        ("customer", b"not json"),
        ("customer", b"\xff"),
        ("customer", b"[" * 100_000),
    ],
)
def test_without_an_order_key_a_delivery_waits_for_nobody(order_by: str | None, content: object) -> None:
    """Where nobody asked for it or the body does not say; whatever the body is, nothing is raised."""
    assert order_key(order_by, content) is None


def test_the_order_is_that_of_the_events_own_handler() -> None:
    """A handler of other events asks for nothing in this one's name."""
    assert order_key("customer", {"customer": "cus_1"}, event="other") is None


def test_an_order_key_that_no_database_takes_is_hashed() -> None:
    """Half a surrogate pair and NUL come through JSON: they are the same key each time, and another for each value."""
    odd = [b'{"customer": "%s"}' % escape for escape in (rb"\ud800", rb"a\u0000", rb"\ud800", rb"\ud801")]
    found = [order_key("customer", body) for body in odd]
    assert all(key is not None and key.isprintable() for key in found)
    assert (found[0] == found[2], len(set(found))) == (True, 3)


@given(st.text())
def test_every_order_key_fits_the_inbox(customer: str) -> None:
    """Printable, and at most 255 characters."""
    key = order_key("customer", {"customer": customer})
    assert key is not None
    assert key.isprintable()
    assert len(key) <= Handlers.LONGEST_ORDER_KEY
