"""What a scheme is given, and what it may answer: the contract between intake and the ways of signing.

A scheme judges one request by its raw bytes and says who sent what. It never raises for anything that a client can
send; should one of the app's own do so, the request is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Message:
    """A request on a source's path, as it came over the wire."""

    method: str
    """`POST` for a delivery; other methods are shown to `greet` alone."""
    url: str
    """The public address that it was sent to, query included; what came is its path and query, the settings say the
    rest. Empty where no public address is set."""
    query: bytes
    """The query string, as received."""
    header: Callable[[bytes], bytes | None]
    """Gives the value of one request header by its lower-case name."""
    body: bytes = field(repr=False)
    """The raw bytes."""
    now: float
    """When it came, in seconds since 1970."""
    tolerance: float
    """Seconds by which a signed time may differ from `now`, either way."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The sender is who it says."""

    dedupe_key: str
    """The sender's id for the delivery, by which repeats are known: printable ASCII, at most 255 characters."""
    event: str = ""
    """The kind of event, empty where the sender does not name one."""
    digest: str | None = None
    """The SHA-256 of what was signed, in hex, where `dedupe_key` was not part of it: so that a captured delivery is
    known under any id. Where a sender posts the same bytes for different events, the event counts too."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a request cannot be trusted. `expired` is said only of those whose signature is right."""

    reason: Literal["missing", "malformed", "mismatch", "expired"]


@dataclass(frozen=True, slots=True)
class Handshake:
    """The sender asks whether this address is ours: answer with 200 and `body`, and store nothing."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"


@runtime_checkable
class WebhookScheme(Protocol):
    """A way of signing that an app brings along, as `scheme` of a source in the settings."""

    def verify(self, message: Message, secrets: Sequence[bytes]) -> Verified | Refused | Handshake:
        """Judge a request by its raw bytes; with `hmac.compare_digest`, and trying every secret."""
        ...


class Scheme(WebhookScheme, Protocol):
    """A way of signing that LaunchKit knows."""

    @property
    def signs_url(self) -> bool:
        """Whether `Message.url` is part of what is signed, so that a public address has to be set."""
        ...

    @property
    def redelivery(self) -> Redelivery:
        """What the sender does when it is answered with 503."""
        ...

    def parse_secret(self, text: str) -> bytes:
        """Return the key that a secret stands for, or raise ValueError with the remedy and without the secret."""
        ...

    def greet(self, message: Message, verify_token: bytes | None) -> Handshake | Refused | None:
        """Answer a GET by which the sender makes sure of the address; None if it is nothing of the kind."""
        ...

    def sign(self, secret: bytes, body: bytes, *, now: float, message_id: str, url: str = "") -> dict[str, str]:
        """Return the headers with which the sender would post `body` to `url`; for tests and samples."""
        ...


Redelivery = Literal["retries", "never", "ends"]
"""`never`: what is refused is lost; `ends`: after some refusals the sender gives up the subscription."""
