"""A sample as its sender would post it: what the settings say of the sender, and what it signs.

A secret that is set is never shown; for a source without one, a new one is offered.
"""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from launchkit.command.failure import MISUSED, Failed
from launchkit.place import secrets_variable
from launchkit.settings import Settings, WebhookSource
from launchkit.webhooks.schemes.providers import SENDERS, scheme_named
from launchkit.webhooks.schemes.samples import sample
from launchkit.webhooks.schemes.scheme import Handshake, Message, Refused, Scheme
from launchkit.webhooks.sources import compile_source

_USUAL_EVENTS: Final = {
    "stripe": "invoice.paid",
    "github": "push",
    "gitlab": "push",
    "slack": "app_mention",
    "shopify": "orders/create",
    "paddle": "transaction.completed",
    "lemonsqueezy": "order_created",
    "linear": "Issue",
    "square": "payment.updated",
    "zoom": "meeting.started",
    "meta": "whatsapp_business_account",
    "twilio": "delivered",
}


@dataclass(frozen=True, slots=True)
class Sender:
    """A source of the settings, as the one who posts to it."""

    name: str
    kind: str
    """The name that its scheme goes by."""
    scheme: Scheme
    path: str
    secrets: tuple[bytes, ...] = field(repr=False)

    @property
    def variable(self) -> str:
        """The environment variable of its secrets."""
        return secrets_variable(self.name)

    def secret(self, given: str | None) -> bytes:
        """Return the key to sign with: of the secret that is given, else the first of the settings.

        Raises:
            Failed: if there is none, or it cannot be one.
        """
        if given is not None:
            try:
                return self.scheme.parse_secret(given)
            except ValueError as error:
                raise Failed(f"the secret {error}", MISUSED) from error
        if not self.secrets:
            offer = _new_secret()
            raise Failed(
                f"{self.name} has no secret: set {self.variable}, for the app too; one for development: {offer}",
                MISUSED,
            )
        return self.secrets[0]

    def unknown_secret(self) -> bytes:
        """Return a key that nobody has."""
        return self.scheme.parse_secret(_new_secret())


@dataclass(frozen=True, slots=True)
class Signed:
    """What is posted."""

    body: bytes = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    seen_as: str
    """What the app will take it for: event and id."""


def sender_of(settings: Settings, name: str) -> Sender:
    """Return a source of the settings, or one that is known by its name alone.

    Raises:
        Failed: if it is neither.
        SettingsError: if what the settings say of it cannot be right.
    """
    source = settings.webhooks.sources.get(name)
    if source is None and scheme_named(name) is None:
        known = ", ".join(sorted({*settings.webhooks.sources, *SENDERS}))
        raise Failed(
            f"there is no source {name!r} in the settings, nor is it known by name as these are: {known}", MISUSED
        )
    source = source or WebhookSource()
    compiled = compile_source(name, source, enabled=True, public_url=settings.edge.url)
    kind = source.scheme if isinstance(source.scheme, str) else name
    return Sender(name, kind, compiled.scheme, compiled.pattern.text, tuple(compiled.secrets))


def sign(sender: Sender, key: bytes, event: str | None, body: bytes | None, *, url: str) -> Signed:
    """Return a signed sample.

    Args:
        sender: who posts it.
        key: what to sign with.
        event: the kind of event; by default one that is usual.
        body: in place of a sample's.
        url: the public address that the sender has been told.

    Raises:
        Failed: if only the app knows how to sign.
    """
    now, message_id = time.time(), f"evt_sample_{secrets.token_hex(8)}"
    usual = _USUAL_EVENTS.get(SENDERS.get(sender.kind.lower().replace("-", "_"), ""), "test")
    sampled, headers = sample(sender.kind, event or usual, message_id=message_id, now=now)
    body = sampled if body is None else body
    try:
        headers |= sender.scheme.sign(key, body, now=now, message_id=message_id, url=url)
    except ValueError as error:
        raise Failed(f"{sender.name}: {error}", MISUSED) from error
    return Signed(body, headers, _seen_as(sender.scheme, body, headers, key, url, now))


def _seen_as(scheme: Scheme, body: bytes, headers: Mapping[str, str], key: bytes, url: str, now: float) -> str:
    """Return what whoever has this key makes of it."""
    found = {name.lower().encode(): value.encode() for name, value in headers.items()}
    verdict = scheme.verify(Message("POST", url, b"", found.get, body, now, tolerance=300.0), [key])
    if isinstance(verdict, Refused):
        return f"what will be refused as {verdict.reason}"
    if isinstance(verdict, Handshake):
        return "a handshake"
    return f"{verdict.event or 'no event'}, id {verdict.dedupe_key}"


def _new_secret() -> str:
    """Return a secret in a form that every scheme takes."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}"
