"""One source's path: a request comes in, a stored delivery or a clear answer goes out.

The rules: only what was verified is stored, and only what was stored is acknowledged; a repeat is acknowledged too, so
that its sender stops. What we cannot do now (no secret, a store that is down, a bug of ours) is answered with 503 and
Retry-After, so that the sender comes again; nothing on this path ever reaches the app.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import Enqueue, NewDelivery, ReadBody, Steps, StoreDown
from launchkit.pipeline.exchange import EarlyResponse, Exchange, Header
from launchkit.pipeline.interceptor import Interceptor
from launchkit.webhooks.signatures import Refused, Verified
from launchkit.webhooks.sources import IntakeSource

logger = logging.getLogger(__name__)

RETRY_STORE: Final = 30
RETRY_CLOSED: Final = 300
"""Retry-After, in seconds: a store may be back soon, a missing secret takes somebody to set it."""

KEPT_HEADERS_SIZE: Final = 2_000
"""Bytes of request headers that are kept with a delivery."""

_KEPT_NAMES: Final = (b"content-type", b"content-encoding", b"user-agent")
_KEPT_PREFIXES: Final = (b"webhook-", b"svix-", b"x-")
_CREDENTIALS: Final = (b"auth", b"cookie", b"signature", b"hmac", b"token", b"secret", b"password", b"key")


class Counts:
    """How often each outcome happened at each source, since the process started; for metrics.

    The outcomes: accepted, duplicate; refused as missing, malformed, mismatch or expired (see `Refused`); too_large,
    closed, store_down; failed (a bug of ours).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, source: str, outcome: str) -> None:
        """Count one."""
        with self._lock:
            self._counts[source, outcome] += 1

    def read(self) -> dict[tuple[str, str], int]:
        """Return a copy: (source, outcome) to count."""
        with self._lock:
            return dict(self._counts)


class Intake(Interceptor):
    """Answers everything on one source's path."""

    name = "webhooks"

    def __init__(
        self,
        source: IntakeSource,
        clock: Clock,
        counts: Counts,
        charge_refused: Callable[[Exchange], Steps[EarlyResponse | None]],
        on_accepted: Callable[[], None],
    ) -> None:
        self.source = source
        self._clock = clock
        self._counts = counts
        self._charge_refused = charge_refused
        self._on_accepted = on_accepted

    def on_request(self, exchange: Exchange) -> EarlyResponse | Steps[EarlyResponse | None]:
        """Take a delivery in; every way out is a response."""
        if exchange.method != "POST":
            return self._problem(405, "Method Not Allowed", "Webhooks are posted.", (b"allow", b"POST"))
        if self.source.closed is not None:
            self._counts.add(self.source.name, "closed")
            return self._unavailable(self.source.closed, RETRY_CLOSED)
        return self._take_in(exchange)

    def on_failure(self, exchange: Exchange, error: Exception) -> EarlyResponse:
        """A bug of ours must neither lose a delivery nor let an unverified one through to the app."""
        self._counts.add(self.source.name, "failed")
        return self._unavailable("This delivery could not be taken in now.", RETRY_STORE)

    def _take_in(self, exchange: Exchange) -> Steps[EarlyResponse]:
        body = yield from ReadBody(self.source.max_body)
        if body.disconnected:
            return self._problem(400, "Bad Request", "The request ended early.")
        if body.too_large:
            self._counts.add(self.source.name, "too_large")
            return self._problem(413, "Content Too Large", f"At most {self.source.max_body} bytes are taken in.")
        source = self.source
        verdict = source.scheme.verify(exchange.header, body.data, source.secrets, self._clock.time(), source.tolerance)
        if isinstance(verdict, Refused):
            return (yield from self._refuse(exchange, verdict))
        return (yield from self._store(exchange, verdict, body.data))

    def _refuse(self, exchange: Exchange, refused: Refused) -> Steps[EarlyResponse]:
        self._counts.add(self.source.name, refused.reason)
        limited = yield from self._charge_refused(exchange)
        if limited is not None:
            return replace(limited, route=limited.route or self.source.pattern.text)
        logger.warning("webhook source %s: signature %s, refused", self.source.name, refused.reason)
        return self._problem(401, "Unauthorized", "The signature is missing or not valid.")

    def _store(self, exchange: Exchange, verified: Verified, body: bytes) -> Steps[EarlyResponse]:
        name = self.source.name
        headers = kept_headers(exchange.request_headers())
        try:
            new = yield from Enqueue(NewDelivery(name, verified.dedupe_key, verified.event, headers, body))
        except StoreDown:
            self._counts.add(name, "store_down")
            return self._unavailable("Deliveries cannot be stored now.", RETRY_STORE)
        self._counts.add(name, "accepted" if new else "duplicate")
        if new:
            self._on_accepted()
        answer = b'{"status":"accepted"}' if new else b'{"status":"duplicate"}'
        return EarlyResponse(200, answer, ((b"content-type", b"application/json"), _NO_STORE), self.source.pattern.text)

    def _unavailable(self, detail: str, retry_after: int) -> EarlyResponse:
        return self._problem(503, "Service Unavailable", detail, (b"retry-after", b"%d" % retry_after))

    def _problem(self, status: int, title: str, detail: str, *headers: Header) -> EarlyResponse:
        """Return problem details (RFC 9457)."""
        body = json.dumps({"title": title, "status": status, "detail": detail}).encode()
        content_type = (b"content-type", b"application/problem+json")
        return EarlyResponse(status, body, (content_type, _NO_STORE, *headers), self.source.pattern.text)


_NO_STORE: Final[Header] = (b"cache-control", b"no-store")


def kept_headers(headers: Iterable[Header]) -> tuple[tuple[str, str], ...]:
    """Return the request headers worth keeping with a delivery: about the message, small, and never credentials."""
    kept: list[tuple[str, str]] = []
    left = KEPT_HEADERS_SIZE
    for name, value in headers:
        size = len(name) + len(value)
        if size <= left and _is_kept(name.lower()):
            left -= size
            kept.append((name.lower().decode("latin-1"), value.decode("latin-1")))
    return tuple(kept)


def _is_kept(name: bytes) -> bool:
    if any(word in name for word in _CREDENTIALS):
        return False
    return name in _KEPT_NAMES or name.startswith(_KEPT_PREFIXES)
