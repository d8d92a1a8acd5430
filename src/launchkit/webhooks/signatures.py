"""How senders sign webhooks, and how to tell.

The rules: the signature covers the bytes exactly as received; comparisons take constant time and are made on bytes;
several secrets (rotation) and several signatures are tried; a signature of an unknown version or of the wrong form is
skipped; the signed time may differ from ours by the tolerance, either way. The key by which repeats are recognised is
always part of what was signed, so that a captured delivery cannot be replayed under a new one. Nothing a client sends
makes a scheme raise.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from launchkit.settings import WebhookSource

Header = Callable[[bytes], bytes | None]
"""Gives the value of one request header by its lower-case name."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The sender is who it says. `event` is the kind of event, empty where the sender does not name one."""

    dedupe_key: str
    event: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a delivery cannot be trusted. `expired` is said only of deliveries whose signature is right."""

    reason: Literal["missing", "malformed", "mismatch", "expired"]


class Scheme(Protocol):
    """One way of signing."""

    def parse_secret(self, text: str) -> bytes:
        """Return the key that a secret stands for, or raise ValueError with the remedy and without the secret."""
        ...

    def verify(
        self, header: Header, body: bytes, secrets: Sequence[bytes], now: float, tolerance: float
    ) -> Verified | Refused:
        """Judge a request. `now` is in seconds since 1970, `tolerance` in seconds."""
        ...

    def sign(self, secret: bytes, body: bytes, now: float, message_id: str) -> dict[str, str]:
        """Return the headers with which a sender would post `body`."""
        ...


class Stripe:
    """`Stripe-Signature: t=SECONDS,v1=HEX`; HMAC-SHA256 over `t.body`, keyed with the secret as it is written.

    The event's own id and type, in the signed body, say which event it is; a body without an id is its own.
    """

    def parse_secret(self, text: str) -> bytes:
        """Return the key. Raises ValueError for what can only be a mistake."""
        if re.fullmatch(r"[\x21-\x7e]+", text) is None:
            raise ValueError("should be one word without spaces, like whsec_...")
        if text.startswith(("sk_", "rk_", "pk_")):
            raise ValueError("is a Stripe API key: the endpoint's signing secret starts with whsec_")
        return text.encode("ascii")

    def verify(
        self, header: Header, body: bytes, secrets: Sequence[bytes], now: float, tolerance: float
    ) -> Verified | Refused:
        """Judge a request."""
        sent = header(b"stripe-signature")
        if not sent:
            return Refused("missing")
        items = [item.strip().partition(b"=") for item in sent.split(b",")]
        timestamp = next((value for key, _, value in items if key == b"t"), b"")
        signatures = [value for key, _, value in items if key == b"v1"]
        digests = (_hex(secret, timestamp, body) for secret in secrets if secret)
        refused = _judge(digests, signatures, timestamp, now, tolerance)
        if refused is not None:
            return refused
        fields = _fields(body)
        return Verified(_word(fields.get("id")) or hashlib.sha256(body).hexdigest(), _word(fields.get("type")))

    def sign(self, secret: bytes, body: bytes, now: float, message_id: str) -> dict[str, str]:
        """Return the header. An event's id is in its body: `message_id` is not used."""
        timestamp = b"%d" % now
        return {"stripe-signature": f"t={timestamp.decode()},v1={_hex(secret, timestamp, body).decode()}"}


class StandardWebhooks:
    """Standard Webhooks 1.0, symmetric (v1), in its own spelling (`webhook-id`, ...) and Svix's (`svix-id`, ...).

    HMAC-SHA256 over `id.timestamp.body`, keyed with the base64-decoded secret. The id is signed and says which delivery
    it is.
    """

    def parse_secret(self, text: str) -> bytes:
        """Return the key. Raises ValueError for text that is not base64, with or without `whsec_` before it."""
        if text.startswith(("whpk_", "whsk_")):
            raise ValueError("is a key for asymmetric signatures (v1a): ask the sender for a whsec_ secret")
        encoded = text.removeprefix("whsec_")
        try:
            key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if not key:
            raise ValueError("should be whsec_ and base64, exactly as the sender shows it")
        return key

    def verify(
        self, header: Header, body: bytes, secrets: Sequence[bytes], now: float, tolerance: float
    ) -> Verified | Refused:
        """Judge a request."""
        for spelling in (b"webhook", b"svix"):
            message_id, timestamp, sent = (header(spelling + part) for part in (b"-id", b"-timestamp", b"-signature"))
            if message_id and timestamp and sent:
                break
        else:
            return Refused("missing")
        dedupe_key = _word(message_id.decode("latin-1"))
        signatures = [
            value for item in sent.split() for version, _, value in [item.partition(b",")] if version == b"v1"
        ]
        digests = (_base64(secret, message_id, timestamp, body) for secret in secrets if secret)
        refused = _judge(digests, signatures if dedupe_key else [], timestamp, now, tolerance)
        return refused or Verified(dedupe_key, _word(_fields(body).get("type")))

    def sign(self, secret: bytes, body: bytes, now: float, message_id: str) -> dict[str, str]:
        """Return the three headers."""
        timestamp = b"%d" % now
        return {
            "webhook-id": message_id,
            "webhook-timestamp": timestamp.decode(),
            "webhook-signature": f"v1,{_base64(secret, message_id.encode(), timestamp, body).decode()}",
        }


SCHEMES: Final[dict[str, Scheme]] = {"stripe": Stripe(), "standard": StandardWebhooks()}
"""Every scheme, by the name that settings use."""

SENDERS: Final = {
    "stripe": "stripe",
    "standard": "standard",
    "standard_webhooks": "standard",
    "svix": "standard",
    "clerk": "standard",
    "openai": "standard",
    "render": "standard",
    "replicate": "standard",
    "resend": "standard",
}
"""Which scheme a source of that name uses, unless its settings say otherwise."""


def scheme_for(source_name: str, source: WebhookSource) -> Scheme | None:
    """Return how a source signs: by its setting, else by its name; None when neither tells."""
    scheme = source.scheme or SENDERS.get(source_name.lower().replace("-", "_"))
    return SCHEMES[scheme] if scheme is not None else None


def sign(scheme: str, secret: str, body: bytes, *, now: float, message_id: str) -> dict[str, str]:
    """Return the headers with which a sender would post `body`; for tests.

    Args:
        scheme: a scheme's or a known sender's name, like `stripe` or `clerk`.
        secret: as the sender shows it.
        body: the exact bytes that will be posted.
        now: the time to sign, in seconds since 1970.
        message_id: the delivery's id where the scheme has a header for it.

    Raises:
        ValueError: for an unknown scheme or a malformed secret.
    """
    chosen = scheme_for(scheme, WebhookSource())
    if chosen is None:
        raise ValueError(f"no scheme is called {scheme!r}: there are {', '.join(sorted(SENDERS))}")
    return chosen.sign(chosen.parse_secret(secret), body, now, message_id)


def _hex(secret: bytes, timestamp: bytes, body: bytes) -> bytes:
    return hmac.digest(secret, timestamp + b"." + body, "sha256").hex().encode()


def _base64(secret: bytes, message_id: bytes, timestamp: bytes, body: bytes) -> bytes:
    return base64.b64encode(hmac.digest(secret, message_id + b"." + timestamp + b"." + body, "sha256"))


def _judge(
    digests: Iterable[bytes], signatures: Sequence[bytes], timestamp: bytes, now: float, tolerance: float
) -> Refused | None:
    if not signatures or not timestamp.isdigit() or len(timestamp) > _LONGEST_TIMESTAMP:
        return Refused("malformed")
    if not any(hmac.compare_digest(digest, signature) for digest in digests for signature in signatures):
        return Refused("mismatch")
    return Refused("expired") if abs(now - int(timestamp)) > tolerance else None


_LONGEST_TIMESTAMP: Final = 15


def _fields(body: bytes) -> dict[str, object]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _word(value: object) -> str:
    """Return `value` if it can be a name in a log line and a key in a table, else nothing."""
    return value if isinstance(value, str) and re.fullmatch(r"[\x21-\x7e]{1,255}", value) else ""
