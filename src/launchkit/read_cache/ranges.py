"""A part of a stored response, for a request with Range (RFC 9110 section 14).

The rules:

- One range of bytes of a stored 200 is given to a GET: `first-last`, `first-` or `-length`. Several ranges, other units
  and whatever is malformed are ignored, and the whole is given, which section 14.2 allows.
- White space is tolerated; the unit is compared without case (section 14.1).
- A range that begins after the end, and the last no bytes, cannot be satisfied: 416 (section 15.5.17).
- With If-Range a part is given only if it belongs to the same bytes (section 13.1.5): the same strong entity tag, or
  the very date of Last-Modified, where Date shows that nothing was modified again within that second (section 8.8.2.2).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from launchkit.pipeline.effects import StoredResponse
from launchkit.pipeline.exchange import Exchange, Header
from launchkit.read_cache.conditions import entity_tag, last_modified, only_value
from launchkit.read_cache.dates import unix_time

_RANGE = re.compile(rb"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE)


class Part(NamedTuple):
    """The answer to a request for a part: its status, its body, and its headers besides the stored ones."""

    status: int
    body: bytes
    headers: tuple[Header, ...]


def part_of(stored: StoredResponse, request: Exchange) -> Part | None:
    """Return the part that a request asks for, a 416 where there is none such, or None: give the whole."""
    asked = request.header_values(b"range")
    if not asked or stored.status != 200 or request.method != "GET" or len(asked) > 1:
        return None
    parsed = _RANGE.fullmatch(asked[0])
    if parsed is None or not _is_same(stored, request.header_values(b"if-range")):
        return None
    return _cut(stored.body, *parsed.groups())


def _cut(body: bytes, first: bytes, last: bytes) -> Part | None:
    size = len(body)
    if first:
        begin, end = int(first), int(last or size)
        if end < begin and last:
            return None
    elif last and (size or not int(last)):
        begin, end = max(0, size - int(last)), size
    else:  # no range at all, or the end of nothing, which is all there is
        return None
    if begin >= size:
        return Part(416, b"", ((b"content-range", b"bytes */%d" % size),))
    end = min(end, size - 1)
    return Part(206, body[begin : end + 1], ((b"content-range", b"bytes %d-%d/%d" % (begin, end, size)),))


def _is_same(stored: StoredResponse, conditions: list[bytes]) -> bool:
    """Tell whether If-Range allows to give a part."""
    if not conditions:
        return True
    if len(conditions) > 1:
        return False
    condition = conditions[0].strip()
    if condition.startswith(b'"'):
        return condition == entity_tag(stored)
    modified, date = last_modified(stored), unix_time(only_value(stored, b"date") or b"")
    return modified is not None and date is not None and modified < date and unix_time(condition) == modified
