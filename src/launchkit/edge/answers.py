"""The edge's own answers: refusals as problem+json (RFC 9457) that nobody stores, and permanent redirects.

A redirect may be kept by the browser that got it for an hour, so that a mistake does not stay there for good, and by
nobody in between, because it may depend on how the visitor came. One that differs from what was asked for by its scheme
alone is kept by nobody: if it is wrong it leads to itself, and has to end with the mistake.
"""

from __future__ import annotations

import json
import re
from typing import Final

from launchkit.pipeline.exchange import EarlyResponse, Exchange, Header

_NO_STORE: Final[Header] = (b"cache-control", b"no-store")
_KEPT_BRIEFLY: Final[Header] = (b"cache-control", b"private, max-age=3600")
_unsafe = re.compile(rb"[^\x21-\x5b\x5d-\x7e]")


def problem(status: int, title: str, detail: str, *headers: Header, route: str | None = None) -> EarlyResponse:
    """Return a refusal. `detail` is a sentence for whoever reads the answer: it never holds what was sent."""
    body = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail})
    return EarlyResponse(
        status, body.encode(), ((b"content-type", b"application/problem+json"), _NO_STORE, *headers), route
    )


def moved(location: bytes, route: str | None = None, *, kept: bool = True) -> EarlyResponse:
    """Return a 308, under which method and body stay what they were (RFC 9110 section 15.4.9)."""
    return EarlyResponse(308, b"", ((b"location", location), _KEPT_BRIEFLY if kept else _NO_STORE), route)


def target_with_query(exchange: Exchange) -> bytes:
    """Return what was asked for, to be put behind a host: encoded as it came, and always beginning with a slash."""
    target = exchange.target
    path = target if target.startswith(b"/") else b"/" + target
    return visible(path + b"?" + exchange.query if exchange.query else path)


def visible(raw: bytes) -> bytes:
    """Return a path or query with everything percent-encoded that would break out of a header, or out of its host:
    browsers take a backslash for a slash.
    """
    return _unsafe.sub(lambda match: b"%%%02X" % match[0][0], raw)
