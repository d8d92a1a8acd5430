"""Signing with a shared secret, as a table has it: what the senders differ in is the fields of `HmacFormat`.

The rules: the signature covers the bytes exactly as received; comparisons take constant time and are made on bytes;
several secrets (rotation) and several signatures are tried; a signature of an unknown version or of the wrong form is
skipped; the body is parsed and the signed time looked at only when a signature is right; the time may differ from ours
by the tolerance, either way. Where the sender's id is not part of what is signed, the digest of what is signed goes
with it, so that a captured delivery is known under any id. Nothing a client sends makes `verify` raise.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, NamedTuple

from launchkit.webhooks.schemes.handshakes import LONGEST_UNSIGNED
from launchkit.webhooks.schemes.keys import text_key
from launchkit.webhooks.schemes.places import Field, Header, Item, parse, word
from launchkit.webhooks.schemes.scheme import Handshake, Message, Redelivery, Refused, Verified

Answer = Callable[[Mapping[str, object], bytes], Handshake | Refused | None]
"""Answers a posted handshake, given the body's fields and the key that signed it; None if it is none."""


class Part(Enum):
    """What a signature can cover, besides fixed bytes."""

    BODY = "body"
    TIMESTAMP = "timestamp"
    ID = "id"
    URL = "url"


BODY, TIMESTAMP, ID, URL = Part


@dataclass(frozen=True, slots=True, kw_only=True)
class HmacFormat:
    """One way of signing with HMAC (RFC 2104)."""

    signature: Header
    """Where the signatures are."""
    separator: bytes | None = None
    """What separates the items of that header; without one it is a single item."""
    prefix: bytes = b""
    """What an item begins with that is a signature of the version we know, such as `sha256=`; others are skipped."""
    algorithm: str = "sha256"
    """The hash, by its name in `hashlib`."""
    encoding: Literal["hex", "base64"] = "hex"
    """How a signature is written."""
    key: Callable[[str], bytes] = text_key
    """How a secret becomes a key; raises ValueError with the remedy."""
    signed: tuple[Part | bytes, ...] = (BODY,)
    """What is signed, one after the other."""
    timestamp: Header | Item | Field | None = None
    """The signed time: seconds since 1970 in a header or an item, milliseconds in a field of the body."""
    id: Header | Field | None = None
    """The sender's id for the delivery; by default, and where it is missing, the SHA-256 of the body."""
    event: Header | Field | None = None
    """The kind of event."""
    same_body_for_events: bool = False
    """Whether the sender posts the same bytes for different events, so that the digest has to tell those apart."""
    redelivery: Redelivery = "retries"
    """What the sender does when it is answered with 503."""
    answer: Answer | None = None
    """Answers posted handshakes."""
    answers_unsigned: bool = False
    """Whether handshakes are answered without a signature; only for answers that tell nothing of the key."""
    greeting: Callable[[Message, bytes | None], Handshake | Refused | None] | None = None
    """Answers handshakes by GET, given the source's verify token."""

    @property
    def signs_url(self) -> bool:
        """Whether the public address has to be known."""
        return URL in self.signed

    def parse_secret(self, text: str) -> bytes:
        """Return the key. Raises ValueError for what can only be a mistake."""
        return self.key(text)

    def verify(self, message: Message, secrets: Sequence[bytes]) -> Verified | Refused | Handshake:
        """Judge a request."""
        claim = self._read(message)
        if isinstance(claim, Refused):
            return self._answer_unsigned(message) or claim
        signed = self._join(message.body, claim.timestamp, claim.id, message.url)
        key = self._signer(secrets, signed, claim.signatures)
        if key is None:
            return Refused("mismatch")
        content = parse(message.body) if self._reads_body else {}
        refused = self._judge_time(claim.timestamp, content, message)
        if refused is not None:
            return refused
        answer = self.answer(content, key) if self.answer else None
        return answer or self._verified(message, claim, signed, content)

    def greet(self, message: Message, verify_token: bytes | None) -> Handshake | Refused | None:
        """Answer a GET."""
        return self.greeting(message, verify_token) if self.greeting else None

    def sign(self, secret: bytes, body: bytes, *, now: float, message_id: str, url: str = "") -> dict[str, str]:
        """Return the headers; without `message_id` where the id is in the body, or nowhere."""
        timestamp = b"%d" % now
        signature = self._encode(secret, self._join(body, timestamp, message_id.encode(), url))
        items = [self.prefix + signature]
        headers: dict[str, str] = {}
        if isinstance(self.id, Header):
            headers[str(self.id)] = message_id
        if isinstance(self.timestamp, Header):
            headers[str(self.timestamp)] = timestamp.decode()
        elif isinstance(self.timestamp, Item):
            items.insert(0, self.timestamp.prefix + timestamp)
        return headers | {str(self.signature): (self.separator or b"").join(items).decode()}

    def _read(self, message: Message) -> _Claim | Refused:
        """Return what the headers claim, or what is wrong with them."""
        sent = self.signature.read(message)
        items = [item.strip() for item in sent.split(self.separator)] if self.separator else [sent]
        timestamp = self.timestamp.read(message) if isinstance(self.timestamp, Header) else b""
        message_id = self.id.read(message) if isinstance(self.id, Header) else b""
        if not sent or (isinstance(self.timestamp, Header) and not timestamp) or (ID in self.signed and not message_id):
            return Refused("missing")
        if isinstance(self.timestamp, Item):
            timestamp = next(_starting(self.timestamp.prefix, items), b"")
        signatures = list(_starting(self.prefix, items))
        timely = not isinstance(self.timestamp, Header | Item) or _is_time(timestamp)
        named = ID not in self.signed or word(message_id)
        return _Claim(signatures, timestamp, message_id) if signatures and timely and named else Refused("malformed")

    def _join(self, body: bytes, timestamp: bytes, message_id: bytes, url: str) -> bytes:
        """Return what is signed."""
        values = {BODY: body, TIMESTAMP: timestamp, ID: message_id, URL: url.encode("utf-8", "replace")}
        return b"".join(values[part] if isinstance(part, Part) else part for part in self.signed)

    def _encode(self, key: bytes, signed: bytes) -> bytes:
        digest = hmac.digest(key, signed, self.algorithm)
        return base64.b64encode(digest) if self.encoding == "base64" else digest.hex().encode()

    def _signer(self, secrets: Sequence[bytes], signed: bytes, signatures: Sequence[bytes]) -> bytes | None:
        """Return the key that has made one of the signatures."""
        for key in filter(None, secrets):
            expected = self._encode(key, signed)
            if any(hmac.compare_digest(expected, signature) for signature in signatures):
                return key
        return None

    @property
    def _reads_body(self) -> bool:
        return any(isinstance(place, Field) for place in (self.timestamp, self.id, self.event))

    def _judge_time(self, timestamp: bytes, content: Mapping[str, object], message: Message) -> Refused | None:
        if self.timestamp is None:
            return None
        if isinstance(self.timestamp, Field):
            milliseconds = word(self.timestamp.read(content)).encode()
            if not _is_time(milliseconds):
                return Refused("malformed")
            return _judge_age(int(milliseconds) / 1000, message)
        return _judge_age(int(timestamp), message)

    def _answer_unsigned(self, message: Message) -> Handshake | Refused | None:
        if self.answer is None or not self.answers_unsigned or self.signature.read(message):
            return None
        return self.answer(parse(message.body), b"") if len(message.body) <= LONGEST_UNSIGNED else None

    def _verified(self, message: Message, claim: _Claim, signed: bytes, content: Mapping[str, object]) -> Verified:
        sent = self.id.read(content) if isinstance(self.id, Field) else claim.id
        event = self.event.read(message) if isinstance(self.event, Header) else self.event and self.event.read(content)
        kind = word(event)
        digest = None
        if isinstance(self.id, Header) and ID not in self.signed:
            digest = hashlib.sha256(signed + kind.encode() if self.same_body_for_events else signed).hexdigest()
        return Verified(word(sent) or hashlib.sha256(message.body).hexdigest(), kind, digest)


class _Claim(NamedTuple):
    """What a request's headers say; nothing of it is true before a signature is right."""

    signatures: list[bytes]
    timestamp: bytes
    id: bytes


def _starting(prefix: bytes, items: list[bytes]) -> Iterator[bytes]:
    return (item[len(prefix) :] for item in items if item.startswith(prefix))


def _is_time(text: bytes) -> bool:
    return text.isdigit() and len(text) <= _LONGEST_TIME


def _judge_age(seconds: float, message: Message) -> Refused | None:
    return Refused("expired") if abs(message.now - seconds) > message.tolerance else None


_LONGEST_TIME: Final = 15
