"""Handlers and what they are given."""

from __future__ import annotations

import pytest

from launchkit.errors import LaunchKitError
from launchkit.webhooks.delivery import Delivery, Handlers


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
