"""Whether a client already holds what is stored (RFC 9110 section 13), and what it is told then.

The rules:

- If-None-Match decides alone where it is there (section 13.2.2). Tags are compared weakly (section 8.8.3.2), byte for
  byte; one without quotes or otherwise malformed matches nothing.
- Else If-Modified-Since is compared with Last-Modified or, where there is none, with Date (RFC 9111 section 4.3.2). It
  is ignored if it is no date, or several (RFC 9110 section 13.1.3).
- Only a stored 200 is held by anyone: conditions do not apply to other answers (section 13.2.1).
- A 304 carries the stored headers but those that describe a body (section 15.4.5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from launchkit.pipeline.effects import StoredResponse
from launchkit.pipeline.exchange import Exchange, Header
from launchkit.read_cache.dates import unix_time

_DESCRIBES_BODY: Final = frozenset(
    b"content-digest content-encoding content-language content-length content-md5 content-range content-type".split()
)
_OPAQUE = rb'("[!#-~\x80-\xff]*")'
_ENTITY_TAG = re.compile(rb"(?:W/)?" + _OPAQUE)
_LISTED_TAG = re.compile(rb"(?:^|,)[ \t]*(?:W/)?" + _OPAQUE + rb"[ \t]*(?=,|$)")


def is_held(stored: StoredResponse, request: Exchange) -> bool:
    """Tell whether the client of a GET or HEAD request holds the stored response, by what its conditions say."""
    if stored.status != 200:
        return False
    conditions = request.header_values(b"if-none-match")
    if conditions:
        return _is_among(entity_tag(stored), conditions)
    since = request.header_values(b"if-modified-since")
    return len(since) == 1 and _is_unmodified(stored, since[0])


def not_modified(headers: Iterable[Header]) -> tuple[Header, ...]:
    """Return the headers of a 304, given those of the whole response with their names in lower case."""
    return tuple([header for header in headers if header[0] not in _DESCRIBES_BODY])


def entity_tag(stored: StoredResponse) -> bytes | None:
    """Return the entity tag of a stored response (RFC 9110 section 8.8.3); None if it has no valid one."""
    tag = only_value(stored, b"etag")
    return tag if tag is not None and _ENTITY_TAG.fullmatch(tag) else None


def last_modified(stored: StoredResponse) -> int | None:
    """Return when a stored response was last modified, in seconds since 1970; None if it does not say."""
    return _time(stored, b"last-modified")


def only_value(stored: StoredResponse, name: bytes) -> bytes | None:
    """Return the value of a stored header, its name in lower case; None if it is not there exactly once."""
    values = [value for key, value in stored.headers if key == name]
    return values[0].strip() if len(values) == 1 else None


def _is_among(tag: bytes | None, conditions: list[bytes]) -> bool:
    if any(condition.strip() == b"*" for condition in conditions):
        return True
    if tag is None:
        return False
    opaque = tag.removeprefix(b"W/")
    return any(opaque in _LISTED_TAG.findall(condition) for condition in conditions)


def _is_unmodified(stored: StoredResponse, condition: bytes) -> bool:
    since = unix_time(condition)
    if since is None:
        return False
    modified = last_modified(stored)
    if modified is None:
        modified = _time(stored, b"date")
    return modified is not None and modified <= since


def _time(stored: StoredResponse, name: bytes) -> int | None:
    value = only_value(stored, name)
    return None if value is None else unix_time(value)
