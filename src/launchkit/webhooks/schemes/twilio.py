"""Twilio: HMAC over the address and the form's sorted parameters, or over an address that holds a JSON body's hash.

The rules are those of www.twilio.com/docs/usage/webhooks/webhooks-security. The address may have been signed with or
without its port, as Twilio's own library knows. An account's token signs with SHA-1, a shared key with SHA-256: which,
the signature's length tells. An address with a hash vouches for no other body, not even an empty form.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import unquote_to_bytes

from launchkit.webhooks.schemes.keys import text_key
from launchkit.webhooks.schemes.places import Field, Header, parse, word
from launchkit.webhooks.schemes.scheme import Handshake, Message, Redelivery, Refused, Verified

MOST_PARAMETERS: Final = 1_000
"""Parameters of a form that are sorted for a stranger; Twilio sends some dozens."""

_SIGNATURE: Final = Header("x-twilio-signature")
_ID: Final = Header("i-twilio-idempotency-token")
_EVENT: Final = Field("EventType", "MessageStatus", "SmsStatus", "CallStatus", "type")
_ALGORITHMS: Final = {28: "sha1", 44: "sha256"}
_ADDRESS: Final = re.compile(r"(https?)://(\[[^]]*\]|[^/?#:]*)(:\d+)?(.*)", re.DOTALL)
_BODY_HASH: Final = re.compile(r"[?&]bodySHA256=([^&#]*)")


class Twilio:
    """Forms and JSON; the id is not part of what is signed."""

    signs_url: bool = True
    redelivery: Redelivery = "never"

    def parse_secret(self, text: str) -> bytes:
        """Return the key. Raises ValueError for what can only be a mistake."""
        if re.fullmatch(r"(AC|SK)[0-9a-f]{32}", text):
            raise ValueError("is an identifier (SID): the auth token is shown beside it")
        return text_key(text)

    def verify(self, message: Message, secrets: Sequence[bytes]) -> Verified | Refused | Handshake:
        """Judge a request."""
        sent = _SIGNATURE.read(message)
        if not sent:
            return Refused("missing")
        algorithm = _ALGORITHMS.get(len(sent))
        parameters = _signed_body(message.url, message.body)
        if algorithm is None or parameters is None:
            return Refused("malformed")
        signed = [address.encode("utf-8", "replace") + parameters for address in _spellings(message.url)]
        if not any(
            hmac.compare_digest(_encode(key, one, algorithm), sent) for key in filter(None, secrets) for one in signed
        ):
            return Refused("mismatch")
        digest = hashlib.sha256(signed[0]).hexdigest()
        return Verified(word(_ID.read(message)) or digest, word(_EVENT.read(_content(message))), digest)

    def greet(self, message: Message, verify_token: bytes | None) -> Handshake | Refused | None:
        """Twilio does not ask."""
        return None

    def sign(self, secret: bytes, body: bytes, *, now: float, message_id: str, url: str = "") -> dict[str, str]:
        """Return the headers. Raises ValueError if `url` holds the hash of another body, or `body` is no form."""
        parameters = _signed_body(url, body)
        if parameters is None:
            raise ValueError("body is neither a form nor the one whose hash is bodySHA256 in the address")
        signature = _encode(secret, url.encode() + parameters, "sha1").decode()
        return {str(_ID): message_id, str(_SIGNATURE): signature}


def _encode(key: bytes, signed: bytes, algorithm: str) -> bytes:
    return base64.b64encode(hmac.digest(key, signed, algorithm))


def _spellings(url: str) -> list[str]:
    """Return an address as it is, without its port, and with its scheme's port if it has none."""
    match = _ADDRESS.fullmatch(url)
    if match is None:
        return [url]
    scheme, host, port, rest = match.groups()
    port = port or (":443" if scheme == "https" else ":80")
    return list(dict.fromkeys((url, f"{scheme}://{host}{rest}", f"{scheme}://{host}{port}{rest}")))


def _signed_body(url: str, body: bytes) -> bytes | None:
    """Return what is signed of a body, after the address; None if nothing could be right with it."""
    body_hash = _BODY_HASH.search(url)
    if body_hash is not None:
        expected = hashlib.sha256(body).hexdigest().encode()
        return b"" if hmac.compare_digest(expected, body_hash[1].encode("utf-8", "replace")) else None
    if body.count(b"&") >= MOST_PARAMETERS:
        return None
    return b"".join(name + value for name, value in sorted(set(_parameters(body))))


def _parameters(form: bytes) -> Iterator[tuple[bytes, bytes]]:
    for item in filter(None, form.split(b"&")):
        name, _, value = item.replace(b"+", b" ").partition(b"=")
        yield unquote_to_bytes(name), unquote_to_bytes(value)


def _content(message: Message) -> Mapping[str, object]:
    if _BODY_HASH.search(message.url):
        return parse(message.body)
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in _parameters(message.body)}
