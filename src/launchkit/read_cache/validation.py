"""How a stored response is confirmed by the app, and brought up to date by a 304 (RFC 9111 section 4.3).

The rules:

- The app is asked with the stored validators: If-None-Match and If-Modified-Since (section 4.3.1). Only for a stored
  200, as conditions do not apply to other answers (RFC 9110 section 13.2.1).
- The headers of a 304 replace stored ones of the same names (RFC 9111 section 3.2), but for those that are never stored
  and those that the stored bytes depend on: their coding, length, digest, and the entity tag that names them. The 304
  answers a condition that named the stored response alone, and so confirms it, even if it has another tag.
- The age is counted anew. The stored Date goes even if the 304 has none: it told when the old answer was made.
- What may not be stored with its new headers, or would be told apart by other request headers than before, is not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from launchkit.pipeline.effects import StoredResponse
from launchkit.pipeline.exchange import Header
from launchkit.read_cache.conditions import entity_tag, last_modified, only_value
from launchkit.read_cache.storing import Storage, Terms, storage_of
from launchkit.read_cache.tee import headers_to_store

_BOUND_TO_BODY: Final = frozenset(
    b"content-digest content-encoding content-length content-md5 content-range etag".split()
)
_OF_THIS_ANSWER: Final = frozenset({b"age", b"set-cookie"})
"""What is not stored, and yet bears on whether the answer may be."""


def validators_of(stored: StoredResponse) -> tuple[Header, ...]:
    """Return the request headers by which the app can tell whether the stored response is still right; () if none."""
    if stored.status != 200:
        return ()
    validators: list[Header] = []
    tag = entity_tag(stored)
    if tag is not None:
        validators.append((b"if-none-match", tag))
    modified = only_value(stored, b"last-modified")
    if modified is not None and last_modified(stored) is not None:
        validators.append((b"if-modified-since", modified))
    return tuple(validators)


def updated(
    stored: StoredResponse, headers: Iterable[Header], terms: Terms, unix_now: float, now: float, *, personal: bool
) -> StoredResponse | None:
    """Return the stored response as a 304 confirms it, or None if it may not be stored any more.

    Args:
        stored: what the app was asked about.
        headers: those of the 304; names may be in any case.
        terms: what holds for the path.
        unix_now: seconds since 1970.
        now: the same moment in seconds of the kit's monotonic clock.
        personal: whether the request said who is asking.
    """
    received = list(headers)
    merged = _merged(stored.headers, received)
    about = [header for header in received if header[0].lower() in _OF_THIS_ANSWER]
    storage = storage_of(stored.status, (*merged, *about), terms, unix_now, personal=personal)
    if not isinstance(storage, Storage) or storage.vary != stored.vary:
        return None
    begin = now - storage.age
    fresh_until = begin + storage.fresh
    return replace(
        stored,
        headers=merged,
        stored=begin,
        fresh_until=fresh_until,
        stale_until=fresh_until + storage.stale,
        error_until=fresh_until + storage.error,
        is_public=storage.is_public,
    )


def for_this_client(stored: StoredResponse, headers: Iterable[Header]) -> StoredResponse:
    """Return the stored response as a 304 confirms it to one client, where it may not be stored any more."""
    received = list(headers)
    cookies = [(name.lower(), value) for name, value in received if name.lower() == b"set-cookie"]
    return replace(stored, headers=(*_merged(stored.headers, received), *cookies))


def _merged(old: Iterable[Header], received: Iterable[Header]) -> tuple[Header, ...]:
    new = [header for header in headers_to_store(received) if header[0] not in _BOUND_TO_BODY]
    replaced = {b"date", *(name for name, _ in new)}
    return (*(header for header in old if header[0] not in replaced), *new)
