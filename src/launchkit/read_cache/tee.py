"""What is kept of a response while it passes to the client: never a byte is held back for it.

The rules:

- Headers for one connection only are not stored: those of RFC 9110 section 7.6.1 and any that Connection lists
  (RFC 9111 section 3.1).
- Headers about one request only are not stored: its ids, its timings, its rate limit, its cookies. Date is kept; Age is
  counted from then on by the cache, and Content-Length is set anew with each answer.
- A body that outgrows its limit, or finds no room beside all others under way, is forgotten at once; one that differs
  from its announced length is incomplete and not stored (RFC 9111 section 3.3).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from launchkit.pipeline.effects import StoredResponse
from launchkit.pipeline.exchange import Exchange, Header, RequestHeaders
from launchkit.read_cache.storing import Storage
from launchkit.read_cache.variants import varied_by

_NEVER_STORED: Final = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authentication-info proxy-authorization proxy-connection te "
    b"trailer transfer-encoding upgrade "
    b"request-id server-timing set-cookie traceparent traceresponse tracestate x-correlation-id x-process-time "
    b"x-request-id x-runtime x-trace-id "
    b"age content-length".split()
)
_RATE_LIMIT: Final = (b"ratelimit", b"x-ratelimit", b"x-rate-limit")


def headers_to_store(headers: Iterable[Header]) -> tuple[Header, ...]:
    """Return the headers that are the response's own, in order, with lower-case names."""
    named = [(name.lower(), value) for name, value in headers]
    listed = {token.strip().lower() for name, value in named if name == b"connection" for token in value.split(b",")}
    return tuple(
        (name, value)
        for name, value in named
        if name not in _NEVER_STORED and name not in listed and not name.startswith(_RATE_LIMIT)
    )


class Room:
    """What all responses that are being copied may take together, in bytes. Safe from any thread."""

    def __init__(self, size: int) -> None:
        self._lock = threading.Lock()
        self._left = size

    def take(self, size: int) -> bool:
        """Take so many bytes; False, and nothing is taken, if they are not there."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give_back(self, size: int) -> None:
        """Give back what was taken."""
        with self._lock:
            self._left += size


@dataclass(slots=True)
class Tee:
    """Collects one response that may be stored."""

    status: int
    headers: tuple[Header, ...]
    """As they are to be stored."""
    lengths: frozenset[bytes]
    """The Content-Length values that the response announces: none, or one if it is well formed."""
    storage: Storage
    varied: tuple[bytes | None, ...]
    now: float
    """When the response started, in seconds of the kit's monotonic clock."""
    limit: int
    """Bytes of body that are stored at most."""
    room: Room
    _chunks: list[bytes] = field(default_factory=list)
    _size: int = 0

    @staticmethod
    def of(exchange: Exchange, received: RequestHeaders, storage: Storage, now: float, limit: int, room: Room) -> Tee:
        """Return a tee for the response that starts now."""
        headers = exchange.response_headers
        return Tee(
            status=exchange.status,
            headers=headers_to_store(headers),
            lengths=frozenset(value.strip() for name, value in headers if name.lower() == b"content-length"),
            storage=storage,
            varied=varied_by(received, storage.vary),
            now=now,
            limit=limit,
            room=room,
        )

    @property
    def is_too_large(self) -> bool:
        """Whether the response announces more than may be stored."""
        return any(int(length) > self.limit for length in self.lengths if length.isdigit() and len(length) < 20)

    def add(self, chunk: bytes) -> bool:
        """Keep a chunk; False when the body has outgrown its limit, or there is no room for it."""
        chunk = bytes(chunk)  # a buffer that the app fills again and again is of some other type
        if self._size + len(chunk) > self.limit or not self.room.take(len(chunk)):
            return False
        self._chunks.append(chunk)
        self._size += len(chunk)
        return True

    def close(self) -> None:
        """Give the room back."""
        self.room.give_back(self._size)
        self._size = 0
        self._chunks.clear()

    def response(self) -> StoredResponse | None:
        """Return what to store after the last chunk; None if bytes are missing or surplus."""
        if self.lengths - {b"%d" % self._size}:
            return None
        stored = self.now - self.storage.age
        fresh_until = stored + self.storage.fresh
        return StoredResponse(
            status=self.status,
            headers=self.headers,
            body=b"".join(self._chunks),
            stored=stored,
            fresh_until=fresh_until,
            stale_until=fresh_until + self.storage.stale,
            error_until=fresh_until + self.storage.error,
            vary=self.storage.vary,
            varied=self.varied,
            is_public=self.storage.is_public,
        )
