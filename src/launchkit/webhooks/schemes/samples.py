"""Events as senders post them, small but of their shape: to try a handler with, before the sender does.

What `sample` makes and `sign` signs verifies, as the event that was asked for. Everything in them is made up.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple
from urllib.parse import urlencode

from launchkit.webhooks.schemes.providers import SENDERS

Headers = dict[str, str]


def sample(scheme_name: str, event: str, *, message_id: str, now: float) -> tuple[bytes, Headers]:
    """Return a body and the headers that belong to it, but for those of the signature.

    Args:
        scheme_name: a scheme's or a known sender's name; any other gets `{"id": ..., "type": ..., "data": {}}`.
        event: the kind of event.
        message_id: the delivery's id, for senders that have it in the body.
        now: the time of the event, in seconds since 1970.
    """
    make = _MAKERS.get(SENDERS.get(scheme_name.lower().replace("-", "_"), ""), _other)
    content, headers = make(_Asked(event, message_id, now))
    body = content if isinstance(content, bytes) else json.dumps(content, separators=(",", ":")).encode()
    return body, {"content-type": "application/json"} | headers


class _Asked(NamedTuple):
    event: str
    id: str
    now: float


_Made = tuple[Mapping[str, object] | bytes, Headers]


def _other(asked: _Asked) -> _Made:
    return {"id": asked.id, "type": asked.event, "data": {}}, {}


def _standard(asked: _Asked) -> _Made:
    return {"type": asked.event, "timestamp": _iso(asked.now), "data": {"id": _hex(asked.id, 24)}}, {}


def _stripe(asked: _Asked) -> _Made:
    kind = asked.event.rpartition(".")[0] or asked.event
    content = {
        "id": asked.id,
        "object": "event",
        "created": int(asked.now),
        "livemode": False,
        "type": asked.event,
        "data": {"object": {"id": f"obj_{_hex(asked.id, 24)}", "object": kind} | _STRIPE_OBJECTS.get(asked.event, {})},
    }
    return content, {}


_STRIPE_OBJECTS: Final[dict[str, dict[str, object]]] = {
    "invoice.paid": {
        "customer": "cus_sample",
        "currency": "eur",
        "amount_paid": 1900,
        "status": "paid",
        "subscription": "sub_sample",
    },
    "checkout.session.completed": {
        "customer": "cus_sample",
        "currency": "eur",
        "amount_total": 1900,
        "mode": "subscription",
        "payment_status": "paid",
        "client_reference_id": "user-1",
    },
    "customer.subscription.deleted": {"object": "subscription", "customer": "cus_sample", "status": "canceled"},
}


def _github(asked: _Asked) -> _Made:
    commit = _hex(asked.id, 40)
    content: dict[str, object] = {
        "repository": {"id": 1, "full_name": "octocat/hello-world", "pushed_at": int(asked.now)},
        "sender": {"login": "octocat"},
    }
    if asked.event == "push":
        content |= {"ref": "refs/heads/main", "after": commit, "commits": [{"id": commit, "message": "Say hello"}]}
    else:
        content |= {"action": "created", "id": commit}
    return content, {"x-github-event": asked.event}


def _gitlab(asked: _Asked) -> _Made:
    project = {"id": 1, "path_with_namespace": "group/project"}
    content = {"object_kind": asked.event, "project": project, "checkout_sha": _hex(asked.id, 40)}
    return content, {"x-gitlab-event": f"{asked.event.replace('_', ' ').title()} Hook"}


def _slack(asked: _Asked) -> _Made:
    content = {
        "type": "event_callback",
        "team_id": "T00000000",
        "event_id": asked.id,
        "event_time": int(asked.now),
        "event": {
            "type": asked.event,
            "user": "U00000000",
            "channel": "C00000000",
            "text": "hello",
            "ts": f"{asked.now:.6f}",
        },
    }
    return content, {}


def _shopify(asked: _Asked) -> _Made:
    number = int(_hex(asked.id, 12), 16)
    content: dict[str, object] = {"id": number, "updated_at": _iso(asked.now)}
    if asked.event.startswith("orders/"):
        items = [{"title": "Sample", "quantity": 1, "price": "19.00"}]
        content |= {"email": "buyer@example.com", "currency": "EUR", "total_price": "19.00", "line_items": items}
    return content, {"x-shopify-topic": asked.event, "x-shopify-shop-domain": "sample.myshopify.com"}


def _paddle(asked: _Asked) -> _Made:
    content = {
        "event_id": asked.id,
        "event_type": asked.event,
        "occurred_at": _iso(asked.now),
        "notification_id": f"ntf_{_hex(asked.id, 26)}",
        "data": {"id": f"obj_{_hex(asked.id, 26)}", "status": "completed", "currency_code": "EUR"},
    }
    return content, {}


def _lemonsqueezy(asked: _Asked) -> _Made:
    kind = asked.event.rpartition("_")[0] or asked.event
    data = {
        "type": f"{kind}s",
        "id": _hex(asked.id, 12),
        "attributes": {"status": "paid", "total": 1900, "currency": "EUR", "updated_at": _iso(asked.now)},
    }
    return {"meta": {"event_name": asked.event, "test_mode": True}, "data": data}, {"x-event-name": asked.event}


def _linear(asked: _Asked) -> _Made:
    content = {
        "action": "create",
        "type": asked.event,
        "createdAt": _iso(asked.now),
        "data": {"id": _hex(asked.id, 32), "title": "Sample"},
        "webhookTimestamp": int(asked.now * 1000),
    }
    return content, {"linear-event": asked.event}


def _square(asked: _Asked) -> _Made:
    kind = asked.event.partition(".")[0]
    content = {
        "merchant_id": "SAMPLE",
        "event_id": asked.id,
        "type": asked.event,
        "created_at": _iso(asked.now),
        "data": {"type": kind, "id": _hex(asked.id, 24), "object": {kind: {"status": "COMPLETED"}}},
    }
    return content, {}


def _zoom(asked: _Asked) -> _Made:
    payload = {"account_id": "sample", "object": {"id": _hex(asked.id, 11), "topic": "Sample"}}
    return {"event": asked.event, "event_ts": int(asked.now * 1000), "payload": payload}, {}


def _meta(asked: _Asked) -> _Made:
    message = {"id": f"wamid.{_hex(asked.id, 24)}", "type": "text", "text": {"body": "hello"}}
    change = {"field": "messages", "value": {"messages": [message]}}
    return {"object": asked.event, "entry": [{"id": "1", "time": int(asked.now), "changes": [change]}]}, {}


def _twilio(asked: _Asked) -> _Made:
    message = {
        "MessageSid": f"SM{_hex(asked.id, 32)}",
        "MessageStatus": asked.event,
        "From": "+15005550006",
        "Body": "hello",
    }
    return urlencode(message).encode(), {"content-type": "application/x-www-form-urlencoded"}


_MAKERS: Final[dict[str, Callable[[_Asked], _Made]]] = {
    "standard": _standard,
    "stripe": _stripe,
    "github": _github,
    "gitlab": _gitlab,
    "slack": _slack,
    "shopify": _shopify,
    "paddle": _paddle,
    "lemonsqueezy": _lemonsqueezy,
    "linear": _linear,
    "square": _square,
    "zoom": _zoom,
    "meta": _meta,
    "twilio": _twilio,
}


def _iso(now: float) -> str:
    return datetime.fromtimestamp(now, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _hex(message_id: str, length: int) -> str:
    """Return an id of the usual form that differs from delivery to delivery."""
    return hashlib.sha256(message_id.encode()).hexdigest()[:length]
