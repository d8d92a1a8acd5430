"""GitLab: since 2026 a signing token (`whsec_...`, Standard Webhooks), before that a secret token that is sent along.

Which of them a secret is, its form tells; both may be set while one replaces the other. With a sent token nothing is
signed: whoever has seen one request can make others, so a digest would catch nobody, and lose what happens twice with
the same words. The id is `Idempotency-Key`, the same for every repeat; the event
UUID is not one, for it is shared by events that cause one another
(docs.gitlab.com/user/project/integrations/webhooks).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from launchkit.webhooks.schemes.hmac_format import HmacFormat
from launchkit.webhooks.schemes.keys import text_key
from launchkit.webhooks.schemes.places import Field, Header, parse, word
from launchkit.webhooks.schemes.scheme import Handshake, Message, Redelivery, Refused, Verified

_SIGNING: Final = b"whsec_"
"""Begins the keys that are signed with, as it begins their secrets."""

_TOKEN: Final = Header("x-gitlab-token")
_ID: Final = Header("idempotency-key", "webhook-id")


@dataclass(frozen=True, slots=True)
class GitLab:
    """Signed deliveries, and such as carry a token."""

    standard: HmacFormat
    """How signed ones are signed."""
    event: Field
    """Where both kinds name their event."""
    redelivery: Redelivery
    """What GitLab does when it is answered with 503."""

    @property
    def signs_url(self) -> bool:
        """No address is signed."""
        return False

    def parse_secret(self, text: str) -> bytes:
        """Return the key, marked if it is one to sign with. Raises ValueError for what can only be a mistake."""
        if text.startswith(_SIGNING.decode()):
            return _SIGNING + self.standard.parse_secret(text)
        return text_key(text)

    def verify(self, message: Message, secrets: Sequence[bytes]) -> Verified | Refused | Handshake:
        """Judge a request."""
        signing = [key.removeprefix(_SIGNING) for key in secrets if key.startswith(_SIGNING)]
        tokens = [key for key in secrets if key and not key.startswith(_SIGNING)]
        judged = self.standard.verify(message, signing) if signing else Refused("missing")
        sent = _TOKEN.read(message)
        if isinstance(judged, Verified) or not tokens or not sent:
            return judged
        if not any(hmac.compare_digest(token, sent) for token in tokens):
            return Refused("mismatch")
        key = word(_ID.read(message)) or hashlib.sha256(message.body).hexdigest()
        return Verified(key, word(self.event.read(parse(message.body))))

    def greet(self, message: Message, verify_token: bytes | None) -> Handshake | Refused | None:
        """GitLab does not ask."""
        return None

    def sign(self, secret: bytes, body: bytes, *, now: float, message_id: str, url: str = "") -> dict[str, str]:
        """Return the headers, as the form of the secret asks."""
        headers = {"idempotency-key": message_id}
        if not secret.startswith(_SIGNING):
            return headers | {str(_TOKEN): secret.decode()}
        return headers | self.standard.sign(secret.removeprefix(_SIGNING), body, now=now, message_id=message_id)
