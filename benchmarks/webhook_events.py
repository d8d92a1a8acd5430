"""The events that are sent: invoices of about 2 KB as Stripe has them, each with an id that no other has."""

from __future__ import annotations

import itertools
import secrets

SOURCE, EVENT = "stripe", "invoice.paid"
HEADERS = (
    ("content-type", "application/json; charset=utf-8"),
    ("user-agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-for", "203.0.113.7"),
    ("x-request-id", "5b7c1f0e-7d0a-4b7e-9f53-0c1f3b1c4e11"),
)
_FIELDS = ", ".join(f'"field_{number}": "a value of some length"' for number in range(52))
_numbers = itertools.count()
_process = secrets.token_hex(4)


def new_id() -> str:
    """Return an id that no event has had, in no process."""
    return f"evt_{_process}{next(_numbers)}"


def body_of(id_: str) -> bytes:
    """Return an event."""
    return f'{{"id": "{id_}", "type": "{EVENT}", "data": {{"object": {{{_FIELDS}}}}}}}'.encode()
