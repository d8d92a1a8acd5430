"""Under which key a response is stored, and which of its variants answers a request.

The rules:

- The key is everything by which the app tells one resource from another: scheme, path and query as received, and Host
  (RFC 9111 section 2). Each part is prefixed with its length, so that no two requests share a key by running parts
  together.
- The key also holds every header from which an app may make content without an entry in Vary: all but those that every
  browser and platform sends. Of these it holds what CORS layers echo (Origin) and what absolute links and redirects to
  HTTPS are made from (X-Forwarded-Proto and -Port). A header that nobody thought of costs a hit, never a leak.
- Variants are told apart by the request headers that Vary names (section 4.1), several lines of one header joined.
  Cookie and Authorization never tell variants apart: the app is shown neither.
- A key holds at most `MAX_VARIANTS` variants, newest first; of two that fit, the newer one answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Final

from launchkit.pipeline.effects import StoredResponse
from launchkit.pipeline.exchange import Exchange
from launchkit.read_cache.policy import HARMLESS, HIDEABLE

MAX_VARIANTS: Final = 8
"""Variants that are kept under one key."""

_NAME: Final = itemgetter(0)
_UNKEYED: Final = (HARMLESS | HIDEABLE | {b"content-length"}) - {
    b"host",
    b"origin",
    b"x-forwarded-port",
    b"x-forwarded-proto",
}


def cache_key(exchange: Exchange) -> bytes:
    """Return the key of a GET request. Two requests have the same key only if the app cannot tell them apart by it."""
    parts = [exchange.scheme.encode(), exchange.target, exchange.query]
    for name, value in sorted([pair for pair in exchange.request_headers() if pair[0] not in _UNKEYED], key=_NAME):
        parts += (name, value.lower() if name == b"host" else value)
    return b"".join([b"%d:%b" % (len(part), part) for part in parts])


def varied_by(exchange: Exchange, vary: tuple[bytes, ...]) -> tuple[bytes | None, ...]:
    """Return the request's values of the headers in `vary`; None for one that was not sent."""
    return tuple(None if name in HIDEABLE else _joined(exchange.header_values(name)) for name in vary)


def _joined(values: list[bytes]) -> bytes | None:
    return b",".join(value.strip() for value in values) if values else None


def select_variant(variants: Iterable[StoredResponse], exchange: Exchange) -> StoredResponse | None:
    """Return the newest variant that answers this request (RFC 9111 section 4.1), or None."""
    for variant in variants:
        if not variant.vary or variant.varied == varied_by(exchange, variant.vary):
            return variant
    return None


def with_variant(variants: Iterable[StoredResponse], new: StoredResponse) -> tuple[StoredResponse, ...]:
    """Return the variants with `new` in front, in place of the one that answered the same requests."""
    others = (one for one in variants if one.vary != new.vary or one.varied != new.varied)
    return (new, *others)[:MAX_VARIANTS]
