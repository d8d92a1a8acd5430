"""The app's own way of signing, held to the same rules as ours: it never raises, and what it says fits the inbox."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence

from launchkit.webhooks.schemes.places import word
from launchkit.webhooks.schemes.scheme import Handshake, Message, Redelivery, Refused, Verified, WebhookScheme

logger = logging.getLogger(__name__)


class OwnScheme:
    """A scheme that the app has brought along."""

    signs_url = False
    redelivery: Redelivery = "retries"

    def __init__(self, scheme: WebhookScheme) -> None:
        self._scheme = scheme

    def parse_secret(self, text: str) -> bytes:
        """Return the secret as it is written."""
        return text.encode()

    def verify(self, message: Message, secrets: Sequence[bytes]) -> Verified | Refused | Handshake:
        """Ask the app's scheme. What raises there is refused, as what it cannot make sense of."""
        try:
            verdict = self._scheme.verify(message, secrets)
            if isinstance(verdict, Verified):
                return Verified(_fitting(verdict.dedupe_key), word(verdict.event), word(verdict.digest) or None)
        except Exception:
            logger.exception("%s raised: the delivery is refused", type(self._scheme).__name__)
            return Refused("malformed")
        return verdict if isinstance(verdict, Refused | Handshake) else Refused("malformed")

    def greet(self, message: Message, verify_token: bytes | None) -> None:
        """A scheme of the app's own has no greeting by GET."""

    def sign(self, secret: bytes, body: bytes, *, now: float, message_id: str, url: str = "") -> dict[str, str]:
        """Raise ValueError: only the app knows how."""
        raise ValueError("a scheme of the app's own cannot be signed with from here")


def _fitting(key: object) -> str:
    return word(key) or hashlib.sha256(str(key).encode("utf-8", "surrogatepass")).hexdigest()
