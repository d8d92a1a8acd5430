"""Every scheme that LaunchKit knows, one row each, and the names by which senders go.

A row says what its sender's documentation says. `redelivery` is `never` where a refusal loses the delivery, or all but:
GitHub and GitLab do not come again, Twilio as a rule neither, and Lemon Squeezy's three repeats are over in three
minutes. It is `ends` where refusals add up to the end of the subscription: at Shopify (eight), Linear and Slack.
"""

from __future__ import annotations

from typing import Final

from launchkit.webhooks.schemes.generic import generic as generic
from launchkit.webhooks.schemes.handshakes import answer_slack, answer_zoom, greet_meta
from launchkit.webhooks.schemes.hmac_format import BODY, ID, TIMESTAMP, URL, HmacFormat
from launchkit.webhooks.schemes.keys import slack_key, standard_key, stripe_key
from launchkit.webhooks.schemes.places import Field, Header, Item
from launchkit.webhooks.schemes.scheme import Scheme
from launchkit.webhooks.schemes.tokens import GitLab
from launchkit.webhooks.schemes.twilio import Twilio


def _standard(event: Field) -> HmacFormat:
    """Standard Webhooks 1.0, symmetric, in its own spelling and Svix's (www.standardwebhooks.com)."""
    return HmacFormat(
        signature=Header("webhook-signature", "svix-signature"),
        separator=b" ",
        prefix=b"v1,",
        encoding="base64",
        key=standard_key,
        signed=(ID, b".", TIMESTAMP, b".", BODY),
        timestamp=Header("webhook-timestamp", "svix-timestamp"),
        id=Header("webhook-id", "svix-id"),
        event=event,
    )


_GITLAB_EVENT: Final = Field("object_kind", "event_name")

SCHEMES: Final[dict[str, Scheme]] = {
    "standard": _standard(Field("type", "event_type")),
    "stripe": HmacFormat(  # docs.stripe.com/webhooks/signature
        signature=Header("stripe-signature"),
        separator=b",",
        prefix=b"v1=",
        key=stripe_key,
        signed=(TIMESTAMP, b".", BODY),
        timestamp=Item(b"t="),
        id=Field("id"),
        event=Field("type"),
    ),
    "paddle": HmacFormat(  # developer.paddle.com/webhooks/signature-verification
        signature=Header("paddle-signature"),
        separator=b";",
        prefix=b"h1=",
        signed=(TIMESTAMP, b":", BODY),
        timestamp=Item(b"ts="),
        id=Field("event_id"),
        event=Field("event_type"),
    ),
    "slack": HmacFormat(  # docs.slack.dev/authentication/verifying-requests-from-slack
        signature=Header("x-slack-signature"),
        prefix=b"v0=",
        key=slack_key,
        signed=(b"v0:", TIMESTAMP, b":", BODY),
        timestamp=Header("x-slack-request-timestamp"),
        id=Field("event_id"),
        event=Field("event.type", "type"),
        redelivery="ends",
        answer=answer_slack,
        answers_unsigned=True,
    ),
    "zoom": HmacFormat(  # developers.zoom.us/docs/api/webhooks
        signature=Header("x-zm-signature"),
        prefix=b"v0=",
        signed=(b"v0:", TIMESTAMP, b":", BODY),
        timestamp=Header("x-zm-request-timestamp"),
        event=Field("event"),
        answer=answer_zoom,
    ),
    "github": HmacFormat(  # docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
        signature=Header("x-hub-signature-256"),
        prefix=b"sha256=",
        id=Header("x-github-delivery"),
        event=Header("x-github-event"),
        redelivery="never",
    ),
    "meta": HmacFormat(  # developers.facebook.com/docs/graph-api/webhooks/getting-started
        signature=Header("x-hub-signature-256"),
        prefix=b"sha256=",
        event=Field("object"),
        greeting=greet_meta,
    ),
    "shopify": HmacFormat(  # shopify.dev/docs/apps/build/webhooks
        signature=Header("x-shopify-hmac-sha256", "shopify-hmac-sha256"),
        encoding="base64",
        id=Header("x-shopify-webhook-id", "shopify-webhook-id"),
        event=Header("x-shopify-topic", "shopify-topic"),
        same_body_for_events=True,  # a new order that is paid already: orders/create, orders/paid, orders/updated
        redelivery="ends",
    ),
    "linear": HmacFormat(  # linear.app/developers/webhooks
        signature=Header("linear-signature"),
        timestamp=Field("webhookTimestamp"),
        id=Header("linear-delivery"),
        event=Field("type"),
        redelivery="ends",
    ),
    "lemonsqueezy": HmacFormat(  # docs.lemonsqueezy.com/help/webhooks
        signature=Header("x-signature"),
        event=Field("meta.event_name"),
        redelivery="never",
    ),
    "square": HmacFormat(  # developer.squareup.com/docs/webhooks/step3validate
        signature=Header("x-square-hmacsha256-signature"),
        encoding="base64",
        signed=(URL, BODY),
        id=Field("event_id"),
        event=Field("type"),
    ),
    "gitlab": GitLab(_standard(_GITLAB_EVENT), _GITLAB_EVENT, redelivery="never"),
    "twilio": Twilio(),
}
"""Every scheme, by the name that settings use."""

SENDERS: Final = {name: name for name in SCHEMES} | {
    "standard_webhooks": "standard",
    "svix": "standard",
    "clerk": "standard",
    "openai": "standard",
    "render": "standard",
    "replicate": "standard",
    "resend": "standard",
    "lemon_squeezy": "lemonsqueezy",
    "whatsapp": "meta",
    "facebook": "meta",
    "instagram": "meta",
}
"""Which scheme a source of that name uses, unless its settings say otherwise."""


def scheme_named(source_name: str, choice: str | None = None) -> Scheme | None:
    """Return how a source signs: by its setting, else by its name; None when that names no scheme and no sender."""
    name = SENDERS.get((choice or source_name).lower().replace("-", "_"))
    return SCHEMES[name] if name is not None else None


def sign(scheme: str, secret: str, body: bytes, *, now: float, message_id: str, url: str = "") -> dict[str, str]:
    """Return the headers with which a sender would post `body`; for tests.

    Args:
        scheme: a scheme's or a known sender's name, like `stripe` or `clerk`.
        secret: as the sender shows it.
        body: the exact bytes that will be posted.
        now: the time to sign, in seconds since 1970.
        message_id: the delivery's id where the scheme has a header for it.
        url: the public address that it will be posted to, for schemes that sign it.

    Raises:
        ValueError: for an unknown scheme, a malformed secret, or an address that is missing.
    """
    chosen = scheme_named(scheme)
    if chosen is None:
        raise ValueError(f"no scheme is called {scheme!r}: there are {', '.join(sorted(SENDERS))}")
    if chosen.signs_url and not url:
        raise ValueError(f"{scheme} signs the address too: pass it as url")
    return chosen.sign(chosen.parse_secret(secret), body, now=now, message_id=message_id, url=url)
