"""What a webhook scheme of the app's own is written with.

class Acme:
    def verify(self, message: Message, secrets: Sequence[bytes]) -> Verified | Refused: ...

Settings(webhooks={"sources": {"acme": {"scheme": Acme(), "secrets": [...]}}})
"""

from launchkit.webhooks.schemes.scheme import Handshake, Message, Refused, Verified, WebhookScheme

__all__ = ["Handshake", "Message", "Refused", "Verified", "WebhookScheme"]
