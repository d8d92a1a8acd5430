"""A stored response as the answer to a request.

The rules: the answer says how old it is (Age, RFC 9111 section 5.1) and where it comes from (Cache-Status, RFC 9211); a
reader who already holds it gets a 304, and one who asks for a part gets a 206 (see `conditions` and `ranges`).
"""

from __future__ import annotations

from typing import Final

from launchkit.pipeline.effects import StoredResponse
from launchkit.pipeline.exchange import EarlyResponse, Exchange
from launchkit.read_cache.conditions import is_held, not_modified
from launchkit.read_cache.ranges import part_of

CACHE: Final = b"LaunchKit; "
"""How Cache-Status begins."""


def hit(stored: StoredResponse, now: float, label: str) -> EarlyResponse:
    """Return the whole stored response as a hit; the time left that it tells is negative when it is stale."""
    age = int(now - stored.stored)
    given = stored.given
    if given is None or given[0] != age:
        ttl = int(stored.fresh_until - stored.stored) - age
        given = stored.given = (age, whole(stored, now, b"hit; ttl=%d" % ttl, label))
    return given[1]


def whole(stored: StoredResponse, now: float, status: bytes, label: str) -> EarlyResponse:
    """Return the whole stored response; `status` is what Cache-Status says of it after the cache's name."""
    age = int(now - stored.stored)
    headers = (*stored.headers, (b"age", b"%d" % age), (b"cache-status", CACHE + status))
    names = frozenset({b"content-length", *[name for name, _ in headers]})
    return EarlyResponse(stored.status, stored.body, headers, stored.route or label, names)


def as_asked(
    answer: EarlyResponse, stored: StoredResponse, exchange: Exchange, *, holds: bool | None = None
) -> EarlyResponse:
    """Return as much of an answer with the whole stored response as a conditional request is to get.

    `holds` says whether the client has it already, where its conditions are not in the request any more.
    """
    if is_held(stored, exchange) if holds is None else holds:
        return EarlyResponse(304, b"", not_modified(answer.headers), answer.route)
    part = part_of(stored, exchange)
    if part is None:
        return answer
    headers = answer.headers if part.status == 206 else not_modified(answer.headers)  # a 416 has no such body
    return EarlyResponse(part.status, part.body, (*headers, *part.headers), answer.route)
