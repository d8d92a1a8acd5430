"""Takes secrets out of everything that the Sentry SDK sends, by whatever client and transport, Spotlight included.

The SDK's hooks see too little: `before_send` no transactions, logs, metrics, sessions or attachments, and each belongs
to one client and to the app. But all that leaves is an item of an envelope
(https://develop.sentry.dev/sdk/data-model/envelopes/). So the constructors of both are wrapped, which holds for clients
made before and after, and takes effect after the app's own hooks.

A payload is redacted when it is first read. The SDK's transports read it in a thread or task of their own, so the
request that met the error does not pay for it. A payload without secrets stays the same object.

Attachments are redacted as text, unless they contain a zero byte: a picture or an archive would be destroyed.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any, Final

from sentry_sdk.envelope import Envelope, Item, PayloadRef

from launchkit.redaction.attributes import Wrapping
from launchkit.redaction.engine import Redactor
from launchkit.redaction.sentry_payloads import HIDDEN, redacted_headers, redacted_payload

Make = Callable[..., None]
"""The constructor of an envelope or of an item."""

Newest = Callable[[], Redactor | None]
"""Returns the redactor that is at work, if any is."""

_READ: Final = ("json", "bytes", "path")


def install(redactor: Redactor) -> Callable[[], None]:
    """Redact all that the Sentry SDK sends from this process, and return what ends that.

    Of several installations the newest is at work. Each may be ended at any time and more than once.
    """
    ends = (_ENVELOPES.add(redactor), _ITEMS.add(redactor))

    def remove() -> None:
        for end in ends:
            end()

    return remove


def _around_envelopes(make: Make, newest: Newest) -> Make:
    @functools.wraps(make)
    def make_envelope(envelope: Envelope, *args: Any, **kwargs: Any) -> None:
        make(envelope, *args, **kwargs)
        redactor = newest()
        if redactor is not None:
            envelope.headers = redacted_headers(envelope.headers, redactor)

    return make_envelope


def _around_items(make: Make, newest: Newest) -> Make:
    @functools.wraps(make)
    def make_item(item: Item, *args: Any, **kwargs: Any) -> None:
        make(item, *args, **kwargs)
        redactor = newest()
        if redactor is not None:
            item.payload = _RedactedPayload(item.payload, item.type, redactor)
            if item.headers.get("filename"):
                item.headers["filename"] = redactor.redact(str(item.headers["filename"]))

    return make_item


_ENVELOPES: Final[Wrapping[Make, Redactor]] = Wrapping(Envelope, "__init__", _around_envelopes)
_ITEMS: Final[Wrapping[Make, Redactor]] = Wrapping(Item, "__init__", _around_items)


class _RedactedPayload(PayloadRef):
    """A payload that has none of its attributes until one is read: then all of them are there, redacted."""

    def __init__(self, payload: PayloadRef, kind: str | None, redactor: Redactor) -> None:
        self._unread = (payload, kind, redactor)

    def __getattr__(self, name: str) -> Any:
        if name not in _READ:
            raise AttributeError(name)
        payload = _redacted(*self._unread)
        for attribute in _READ:
            self.__dict__.setdefault(attribute, getattr(payload, attribute))
        return self.__dict__[name]


def _redacted(payload: PayloadRef, kind: str | None, redactor: Redactor) -> PayloadRef:
    if payload.json is not None:
        return PayloadRef(json=redacted_payload(payload.json, kind, redactor))
    try:
        content = payload.get_bytes()
        document = None if kind == "attachment" else _document(content)
        if document is None:
            return PayloadRef(bytes=_redacted_text(content, redactor))
        redacted = redacted_payload(document, kind, redactor)
        return PayloadRef(bytes=content) if redacted is document else PayloadRef(json=redacted)
    except Exception:  # noqa: BLE001  # it may be anything; what could not be redacted is not shown
        return PayloadRef(bytes=HIDDEN.encode())


def _document(content: bytes) -> object:
    """Return the JSON object of an item that somebody has serialised already, None if it is no such thing."""
    try:
        return json.loads(content) if content.startswith(b"{") else None
    except ValueError:
        return None


def _redacted_text(content: bytes, redactor: Redactor) -> bytes:
    redacted = content if b"\0" in content else redactor.redact_data(content)
    return redacted if isinstance(redacted, bytes) else HIDDEN.encode()
