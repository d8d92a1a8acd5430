"""How senders make sure that an address is ours, before they deliver to it.

What is given back is a short word without markup, as plain text or in JSON of our own, so that nobody can make these
answers say anything in a browser.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from launchkit.webhooks.schemes.scheme import Handshake, Message, Refused

LONGEST_UNSIGNED: Final = 2_000
"""Bytes of a body that is looked at although nothing vouches for it."""


def answer_slack(
    content: Mapping[str, object],
    key: bytes,  # noqa: ARG001  every answer is given the key
) -> Handshake | Refused | None:
    """Answer `url_verification` (docs.slack.dev/reference/events/url_verification) with its challenge."""
    if content.get("type") != "url_verification":
        return None
    challenge = _challenge(content.get("challenge"))
    return Handshake(challenge.encode()) if challenge else Refused("malformed")


def answer_zoom(content: Mapping[str, object], key: bytes) -> Handshake | Refused | None:
    """Answer `endpoint.url_validation` (developers.zoom.us/docs/api/webhooks) by signing its token with our secret.

    A token never holds the colons that separate what a signature covers: else this answer could be a forged one.
    """
    if content.get("event") != "endpoint.url_validation":
        return None
    payload = content.get("payload")
    token = _challenge(payload.get("plainToken") if isinstance(payload, dict) else None)
    if not token:
        return Refused("malformed")
    answer = {"plainToken": token, "encryptedToken": hmac.digest(key, token.encode(), "sha256").hex()}
    return Handshake(json.dumps(answer).encode(), "application/json")


def greet_meta(message: Message, verify_token: bytes | None) -> Handshake | Refused | None:
    """Answer Meta's GET (developers.facebook.com/docs/graph-api/webhooks/getting-started) if it knows our token."""
    try:
        query = dict(parse_qsl(message.query.decode("latin-1"), max_num_fields=20))
    except ValueError:
        return None
    if query.get("hub.mode") != "subscribe":
        return None
    sent = query.get("hub.verify_token", "").encode()
    if not verify_token or not hmac.compare_digest(sent, verify_token):
        return Refused("mismatch" if sent else "missing")
    challenge = _challenge(query.get("hub.challenge"))
    return Handshake(challenge.encode()) if challenge else Refused("malformed")


def _challenge(value: object) -> str:
    return value if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9._~+/=-]{1,255}", value) else ""
