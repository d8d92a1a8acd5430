"""A stored response as the answer to a request.

The rules: the answer says how old it is (Age, RFC 9111 section 5.1) and that it was a hit (Cache-Status, RFC 9211); a
reader who already holds it, by If-None-Match in the weak comparison (RFC 9110 sections 8.8.3.2 and 13.1.2), gets a 304
without the headers that describe a body (section 15.4.5).
"""

from __future__ import annotations

import math
import re
from typing import Final

from launchkit.pipeline.effects import StoredResponse
from launchkit.pipeline.exchange import EarlyResponse, Exchange

_DESCRIBES_BODY: Final = frozenset({b"content-encoding", b"content-language", b"content-type"})
_OPAQUE_TAG = re.compile(rb'"[^"]*"')


def answer_from(stored: StoredResponse, exchange: Exchange, now: float, route: str) -> EarlyResponse:
    """Return the answer that `stored` gives at the time `now`, in seconds of the kit's monotonic clock."""
    ttl = math.floor(stored.fresh_until - now)
    headers = (
        *stored.headers,
        (b"age", b"%d" % (now - stored.stored)),
        (b"cache-status", b"LaunchKit; hit; ttl=%d" % ttl),
    )
    if stored.status == 200 and _is_held(stored, exchange.header_values(b"if-none-match")):
        return EarlyResponse(304, b"", tuple(one for one in headers if one[0] not in _DESCRIBES_BODY), route)
    return EarlyResponse(stored.status, stored.body, headers, route)


def _is_held(stored: StoredResponse, conditions: list[bytes]) -> bool:
    if not conditions:
        return False
    if any(condition.strip() == b"*" for condition in conditions):
        return True
    tags = {tag for name, value in stored.headers if name == b"etag" for tag in _OPAQUE_TAG.findall(value)}
    return any(tag in tags for condition in conditions for tag in _OPAQUE_TAG.findall(condition))
