"""One source's path: a request comes in, a stored delivery or a clear answer goes out.

The rules: only what was verified is stored, and only what was stored is acknowledged; a repeat is acknowledged too, so
that its sender stops. A sender that makes sure of the address gets its answer, and nothing is stored. What we cannot do
now (no secret, no room, a store that is down, a bug of ours) is answered with 503 and Retry-After, so that the sender
comes again; nothing on this path ever reaches the app.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Final

from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import Enqueue, NewDelivery, ReadBody, Steps, StoreDown, StoreFull
from launchkit.pipeline.exchange import EarlyResponse, Exchange, Header
from launchkit.pipeline.interceptor import Interceptor
from launchkit.webhooks.figures import Counts
from launchkit.webhooks.handlers import Handlers
from launchkit.webhooks.schemes.scheme import Handshake, Message, Redelivery, Refused, Verified
from launchkit.webhooks.sources import IntakeSource

logger = logging.getLogger(__name__)

RETRY_STORE: Final = 30
RETRY_CLOSED: Final = 300
"""Retry-After, in seconds: a store may be back soon, a missing secret takes somebody to set it."""

ALERT_INTERVAL: Final = 60.0
"""Seconds between alerts about refusals that lose something."""

KEPT_HEADERS_SIZE: Final = 2_000
"""Bytes of request headers that are kept with a delivery."""

_KEPT_NAMES: Final = (b"content-type", b"content-encoding", b"user-agent")
_KEPT_NAMES_BEGIN: Final = (
    *(b"webhook-", b"svix-", b"stripe-", b"paddle-", b"linear-", b"square-", b"shopify-", b"i-twilio-", b"x-github-"),
    *(b"x-gitlab-", b"x-hub-", b"x-shopify-", b"x-slack-", b"x-square", b"x-twilio-", b"x-zm-", b"x-event-"),
    *(b"x-webhook-", b"x-request-id"),
)
"""What senders of webhooks say about them; proxies and gateways put credentials into headers of many other names."""
_CREDENTIALS: Final = (b"auth", b"cookie", b"signature", b"hmac", b"token", b"secret", b"password", b"key")


class Intake(Interceptor):
    """Answers everything on one source's path.

    Args:
        source: whose path it is.
        clock: the time that signatures are held against.
        counts: where outcomes are counted.
        handlers: say which deliveries have to wait for one another.
        public_url: where the site lives, without a path; empty if nobody has said.
        charge_refused: charges whoever sent a bad signature and returns the answer if that was one too many.
        on_accepted: called after a new delivery was stored; must return at once.
    """

    name = "webhooks"

    def __init__(
        self,
        source: IntakeSource,
        clock: Clock,
        counts: Counts,
        handlers: Handlers,
        public_url: str,
        charge_refused: Callable[[Exchange], Steps[EarlyResponse | None]],
        on_accepted: Callable[[], None],
    ) -> None:
        self.source = source
        self._clock = clock
        self._counts = counts
        self._handlers = handlers
        self._public_url = public_url.encode()
        self._charge_refused = charge_refused
        self._on_accepted = on_accepted
        self._warned_at = -ALERT_INTERVAL

    def on_request(self, exchange: Exchange) -> EarlyResponse | Steps[EarlyResponse | None]:
        """Take a delivery in; every way out is a response."""
        if exchange.method not in ("GET", "POST"):
            return self._not_posted()
        if self.source.closed is not None:
            return self._unavailable("closed", self.source.closed, RETRY_CLOSED)
        if exchange.method == "GET":
            return self._greet(exchange)
        return self._take_in(exchange)

    def on_failure(self, exchange: Exchange, error: Exception) -> EarlyResponse:
        """A bug of ours must neither lose a delivery nor let an unverified one through to the app."""
        return self._unavailable("failed", "This delivery could not be taken in now.", RETRY_STORE)

    def _greet(self, exchange: Exchange) -> EarlyResponse | Steps[EarlyResponse | None]:
        answer = self.source.scheme.greet(self._message(exchange, b""), self.source.verify_token)
        if answer is None:
            return self._not_posted()
        return self._refuse(exchange, answer) if isinstance(answer, Refused) else self._shake(answer)

    def _take_in(self, exchange: Exchange) -> Steps[EarlyResponse]:
        body = yield from ReadBody(self.source.max_body)
        if body.disconnected:
            return self._problem(400, "Bad Request", "The request ended early.")
        if body.too_large:
            self._counts.add(self.source.name, "too_large")
            return self._problem(413, "Content Too Large", f"At most {self.source.max_body} bytes are taken in.")
        verdict = self.source.scheme.verify(self._message(exchange, body.data), self.source.secrets)
        if isinstance(verdict, Refused):
            return (yield from self._refuse(exchange, verdict))
        if isinstance(verdict, Handshake):
            return self._shake(verdict)
        return (yield from self._store(exchange, verdict, body.data))

    def _message(self, exchange: Exchange, body: bytes) -> Message:
        url = ""
        if self._public_url:
            query = exchange.query
            url = (self._public_url + exchange.target + (b"?" + query if query else b"")).decode("latin-1")
        return Message(
            exchange.method, url, exchange.query, header_of(exchange), body, self._clock.time(), self.source.tolerance
        )

    def _shake(self, handshake: Handshake) -> EarlyResponse:
        self._counts.add(self.source.name, "handshake")
        headers = ((b"content-type", handshake.content_type.encode()), _NO_STORE, _NO_SNIFF)
        return EarlyResponse(200, handshake.body, headers, self.source.pattern.text)

    def _refuse(self, exchange: Exchange, refused: Refused) -> Steps[EarlyResponse]:
        self._counts.add(self.source.name, refused.reason)
        limited = yield from self._charge_refused(exchange)
        if limited is not None:
            return replace(limited, route=limited.route or self.source.pattern.text)
        logger.warning("webhook source %s: signature %s, refused", self.source.name, refused.reason)
        return self._problem(401, "Unauthorized", "The signature is missing or not valid.")

    def _store(self, exchange: Exchange, verified: Verified, body: bytes) -> Steps[EarlyResponse]:
        name = self.source.name
        try:
            new = yield from Enqueue(
                NewDelivery(
                    name,
                    verified.dedupe_key,
                    verified.event,
                    kept_headers(exchange.request_headers()),
                    body,
                    verified.digest,
                    self._handlers.order_key(name, verified.event, body),
                    may_use_reserve=self.source.redelivery != "retries",
                )
            )
        except StoreFull:
            return self._unavailable("full", "There is no room for deliveries now.", RETRY_STORE)
        except StoreDown:
            return self._unavailable("store_down", "Deliveries cannot be stored now.", RETRY_STORE)
        self._counts.add(name, "accepted" if new else "duplicate")
        if new:
            self._on_accepted()
        return self._accepted if new else self._duplicate

    @cached_property
    def _accepted(self) -> EarlyResponse:
        return EarlyResponse(200, b'{"status":"accepted"}', (_JSON, _NO_STORE), self.source.pattern.text)

    @cached_property
    def _duplicate(self) -> EarlyResponse:
        return EarlyResponse(200, b'{"status":"duplicate"}', (_JSON, _NO_STORE), self.source.pattern.text)

    def _not_posted(self) -> EarlyResponse:
        return self._problem(405, "Method Not Allowed", "Webhooks are posted.", (b"allow", b"POST"))

    def _unavailable(self, outcome: str, detail: str, retry_after: int) -> EarlyResponse:
        self._counts.add(self.source.name, outcome)
        self._alert(outcome)
        return self._problem(503, "Service Unavailable", detail, (b"retry-after", b"%d" % retry_after))

    def _alert(self, outcome: str) -> None:
        """Say, now and then, what a refusal does that the sender does not make good."""
        what = _ALERTS.get(self.source.redelivery)
        now = self._clock.monotonic()
        if what is not None and now - self._warned_at >= ALERT_INTERVAL:
            self._warned_at = now
            logger.error("webhook source %s: a delivery was refused (%s), %s", self.source.name, outcome, what)

    def _problem(self, status: int, title: str, detail: str, *headers: Header) -> EarlyResponse:
        """Return problem details (RFC 9457)."""
        body = json.dumps({"title": title, "status": status, "detail": detail}).encode()
        content_type = (b"content-type", b"application/problem+json")
        return EarlyResponse(status, body, (content_type, _NO_STORE, *headers), self.source.pattern.text)


_NO_STORE: Final[Header] = (b"cache-control", b"no-store")
_NO_SNIFF: Final[Header] = (b"x-content-type-options", b"nosniff")
_JSON: Final[Header] = (b"content-type", b"application/json")
_ALERTS: Final[dict[Redelivery, str]] = {
    "never": "and its sender does not send it again: have it redelivered there",
    "ends": "and its sender ends the subscription after some more of these",
}


def header_of(exchange: Exchange) -> Callable[[bytes], bytes | None]:
    """Return what gives a request header's value, the same under every server: sent twice, both with a comma between.

    That is what it means (RFC 9110 section 5.3), and no signature of ours is right with another one beside it.
    """

    def header(name: bytes) -> bytes | None:
        values = exchange.header_values(name)
        return b",".join(values) if values else None

    return header


def kept_headers(headers: Iterable[Header]) -> tuple[tuple[str, str], ...]:
    """Return the request headers worth keeping with a delivery: about the message, small, and never credentials."""
    kept: list[tuple[str, str]] = []
    left = KEPT_HEADERS_SIZE
    for name, value in headers:
        size = len(name) + len(value)
        if size <= left and _is_kept(name):
            left -= size
            kept.append((name.lower().decode("latin-1"), value.decode("latin-1")))
    return tuple(kept)


@lru_cache(256)  # the same few names come again and again
def _is_kept(name: bytes) -> bool:
    name = name.lower()
    if any(word in name for word in _CREDENTIALS):
        return False
    return name in _KEPT_NAMES or name.startswith(_KEPT_NAMES_BEGIN)
