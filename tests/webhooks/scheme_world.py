"""What the tests of schemes share: for every scheme a secret made anew, an event of its kind, and a request."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

from webhook_world import standard_secret, stripe_secret

from launchkit.webhooks.schemes.providers import SCHEMES
from launchkit.webhooks.schemes.samples import sample
from launchkit.webhooks.schemes.scheme import Handshake, Message, Refused, Scheme, Verified

NOW = 1_700_000_000.0
URL = "https://example.com/webhooks/x?a=1"


@dataclass(frozen=True)
class Post:
    """A request as a sender would make it."""

    headers: dict[str, str]
    body: bytes
    url: str = URL
    now: float = NOW
    tolerance: float = 300
    method: str = "POST"

    @property
    def message(self) -> Message:
        headers = {name.encode(): value.encode("latin-1") for name, value in self.headers.items()}
        query = self.url.partition("?")[2].encode("latin-1", "replace")
        return Message(self.method, self.url, query, headers.get, self.body, self.now, self.tolerance)

    def but(self, header: str, value: str) -> Post:
        return replace(self, headers=self.headers | {header: value})

    def without(self, header: str) -> Post:
        return replace(self, headers={name: value for name, value in self.headers.items() if name != header})


def judge(scheme: Scheme | str, post: Post, *texts: str) -> Verified | Refused | Handshake:
    """Hold a request against secrets as their sender shows them."""
    chosen = SCHEMES[scheme] if isinstance(scheme, str) else scheme
    return chosen.verify(post.message, [chosen.parse_secret(text) for text in texts])


@dataclass(frozen=True)
class Kind:
    """A scheme in one of its forms, and what is peculiar to it."""

    scheme: str
    event: str
    make_secret: Callable[[], str] = secrets.token_hex
    signs_id: bool = False
    """Whether a header with the id is part of what is signed."""
    gives_id: bool = True
    """Whether the sender has an id at all."""
    id_header: str | None = None
    """The header with the id, where it is not part of what is signed."""
    signs_body: bool = True
    has_time: bool = False
    json_hash: bool = False

    def post(self, secret: str, *, event: str | None = None, message_id: str = "msg_1", now: float = NOW) -> Post:
        """Return a sample, signed."""
        body, extra = sample(self.scheme, event or self.event, message_id=message_id, now=now)
        url = URL
        if self.json_hash:
            body = b'{"EventType":"%s","n":"%s"}' % ((event or self.event).encode(), message_id.encode())
            url += "&bodySHA256=" + hashlib.sha256(body).hexdigest()
        scheme = SCHEMES[self.scheme]
        signature = scheme.sign(scheme.parse_secret(secret), body, now=now, message_id=message_id, url=url)
        return Post(extra | signature, body, url)

    def needed_headers(self, secret: str) -> set[str]:
        """Return the names of the headers without which nothing is signed."""
        scheme = SCHEMES[self.scheme]
        signature = scheme.sign(scheme.parse_secret(secret), b"", now=NOW, message_id="msg_1")
        return signature.keys() - {self.id_header, "idempotency-key"}

    def judge(self, post: Post, *texts: str) -> Verified | Refused | Handshake:
        return judge(self.scheme, post, *texts)


KINDS = {
    "stripe": Kind("stripe", "invoice.paid", stripe_secret, has_time=True),
    "standard": Kind("standard", "user.created", standard_secret, signs_id=True, has_time=True),
    "paddle": Kind("paddle", "transaction.completed", has_time=True),
    "slack": Kind("slack", "app_mention", has_time=True),
    "zoom": Kind("zoom", "meeting.started", gives_id=False, has_time=True),
    "github": Kind("github", "push", id_header="x-github-delivery"),
    "meta": Kind("meta", "whatsapp_business_account", gives_id=False),
    "shopify": Kind("shopify", "orders/create", id_header="x-shopify-webhook-id"),
    "linear": Kind("linear", "Issue", id_header="linear-delivery", has_time=True),
    "lemonsqueezy": Kind("lemonsqueezy", "order_created", gives_id=False),
    "square": Kind("square", "payment.created"),
    "gitlab, signing": Kind("gitlab", "merge_request", standard_secret, signs_id=True, has_time=True),
    "gitlab, token": Kind("gitlab", "push", id_header="idempotency-key", signs_body=False),
    "twilio, form": Kind("twilio", "delivered", id_header="i-twilio-idempotency-token"),
    "twilio, json": Kind("twilio", "onMessageAdded", id_header="i-twilio-idempotency-token", json_hash=True),
}
"""Every scheme in each of its forms."""
