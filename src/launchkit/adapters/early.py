"""Responses of the kit's own, as both protocols send them."""

from __future__ import annotations

from typing import Final

from launchkit.pipeline.exchange import EarlyResponse, Header

SERVER_ERROR: Final = EarlyResponse(500, b"Internal Server Error", ((b"content-type", b"text/plain; charset=utf-8"),))
"""What a client is told where the app raised before it answered."""

NO_LENGTH: Final = frozenset({204, 304})
"""Statuses whose responses have no Content-Length of their own (RFC 9110 section 8.6)."""


def headers_of(response: EarlyResponse) -> list[Header]:
    """Return its headers as they are sent: with the length of its body, also where a HEAD asks for no more."""
    if response.status in NO_LENGTH:
        return [*response.headers]
    return [*response.headers, (b"content-length", b"%d" % len(response.body))]
