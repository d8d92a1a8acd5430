"""Whether a shared cache may store a response, and on what terms (RFC 9111 section 3): a pure decision.

A response may be stored when all of this holds:

- Its status is final, understood, and the same answer for everyone: 200, 203, 301, 308, 404 or 410.
- It sets no cookie. RFC 9111 section 7.3 leaves that to the cache; here it is absolute.
- It is not marked `no-store`, `private` or `no-cache`, whether or not these name fields; `must-understand` lifts
  `no-store`, because each status above is understood (section 5.2.2.3).
- It does not vary by everything (section 4.1), and is neither a part of a resource nor a stream without end.
- Where its request said who is asking, it says `public` or `s-maxage` (section 3.5, without must-revalidate, which apps
  send to mean "private"), and does not vary by who is asking.
- Time is left: `s-maxage`, `max-age`, Expires minus Date (section 4.2.1), where it says nothing the rule's ttl, and
  where there is none a tenth of the time since it was last modified, if that is allowed (section 4.2.2). A window in
  which it may be given stale counts as time only if the response itself asks for it (RFC 5861 section 3).

A targeted field stands in for Cache-Control and Expires (RFC 9213). A response's age on arrival is what its Age or its
Date says, whichever is more (RFC 9111 section 4.2.3). Of an Age that is a list the first member counts, and one that is
no whole number is ignored (section 5.1). `Pragma` means nothing in a response (section 5.4).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from launchkit.pipeline.exchange import Header
from launchkit.read_cache.dates import unix_time
from launchkit.read_cache.directives import Directives, parse_cache_control, whole_seconds
from launchkit.read_cache.targeted import targeted_directives

_STORABLE_STATUSES: Final = frozenset({200, 203, 301, 308, 404, 410})
_STREAMS: Final = (b"text/event-stream", b"multipart/x-mixed-replace", b"application/grpc")
_PERSONAL: Final = frozenset({b"authorization", b"cookie"})
_HEURISTIC_SHARE: Final = 0.1
_LONGEST_HEURISTIC: Final = 86_400.0

_Fields = dict[bytes, list[bytes]]


class Unstorable(StrEnum):
    """Why a response is not stored; the value is the `detail` in Cache-Status (RFC 9211 section 2.8)."""

    STATUS = "status"
    SET_COOKIE = "set-cookie"
    PARTIAL = "partial"
    STREAM = "stream"
    NO_STORE = "no-store"
    PRIVATE = "private"
    NO_CACHE = "no-cache"
    VARY = "vary"
    PERSONAL = "personal"
    NO_FRESHNESS = "no-freshness"
    STALE = "stale"
    TOO_LARGE = "too-large"
    """Its body has outgrown the limit: found out by whoever sees the body, not by `storage_of`."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How the responses of some paths may be stored, where they do not say so themselves. Times are seconds."""

    ttl: float | None
    """How long they are fresh; None where only responses that say it themselves are stored."""
    stale_while_revalidate: float
    stale_if_error: float
    vary: tuple[bytes, ...]
    """Names, in lower case, of request headers that select them besides those in their Vary."""
    tags: tuple[str, ...]
    """What they can be invalidated by besides their own tags."""
    heuristics: bool
    """Whether freshness may be guessed from Last-Modified."""
    targets: tuple[bytes, ...]
    """Names, in lower case, of the targeted fields that are obeyed, the best first."""


@dataclass(frozen=True, slots=True)
class Storage:
    """On what terms a response may be stored. Times are seconds."""

    age: float
    """Its age on arrival."""
    fresh: float
    """Age up to which it is fresh."""
    stale: float
    """How much longer it may be given while one request fetches anew (RFC 5861 section 3)."""
    error: float
    """How much longer than `fresh` it may be given when that fails (RFC 5861 section 4)."""
    vary: tuple[bytes, ...]
    """Names of the request headers that select it (RFC 9111 section 4.1): in lower case, sorted."""
    is_public: bool
    """Whether it may be given to requests that say who is asking."""
    tags: tuple[str, ...]
    """What it can be invalidated by."""


def storage_of(
    status: int, headers: Iterable[Header], terms: Terms, unix_now: float, *, personal: bool
) -> Storage | Unstorable:
    """Decide whether a response may be stored, and on what terms.

    Args:
        status: its status code.
        headers: its headers; names may be in any case.
        terms: what holds for its path.
        unix_now: seconds since 1970.
        personal: whether its request said who is asking.
    """
    fields = _by_name(headers)
    targeted = targeted_directives(fields, terms.targets)
    directives = parse_cache_control(fields.get(b"cache-control", ())) if targeted is None else targeted
    vary = _vary(fields, terms)
    is_public = (directives.public or directives.s_maxage is not None) and _PERSONAL.isdisjoint(vary)
    reason = _objection(status, fields, directives, vary)
    if reason is not None:
        return reason
    if personal and not is_public:
        return Unstorable.PERSONAL
    date = _date(fields, b"date")
    made = unix_now if date is None else date
    fresh = _explicit_lifetime(directives, fields.get(b"expires") if targeted is None else None, made)
    if fresh is None:
        fresh = _assumed_lifetime(fields, terms, made)
    if fresh is None:
        return Unstorable.NO_FRESHNESS
    age = max(unix_now - made, _age(fields))
    stale, error = _stale_windows(directives, terms)
    if age >= fresh + (stale if directives.stale_while_revalidate is not None else 0.0):
        return Unstorable.STALE
    return Storage(age, fresh, stale, error, vary, is_public, _tags(fields, terms))


def tags_of(headers: Iterable[Header], terms: Terms) -> tuple[str, ...]:
    """Return what a response can be invalidated by: the tags of its path and those of its `Cache-Tag` headers."""
    return _tags(_by_name(headers), terms)


def _by_name(headers: Iterable[Header]) -> _Fields:
    fields: _Fields = {}
    for name, value in headers:
        fields.setdefault(name.lower(), []).append(value)
    return fields


def _objection(status: int, fields: _Fields, directives: Directives, vary: tuple[bytes, ...]) -> Unstorable | None:
    """Return why nobody may store the response, however fresh it is."""
    if status not in _STORABLE_STATUSES:
        return Unstorable.STATUS
    if b"set-cookie" in fields:
        return Unstorable.SET_COOKIE
    if b"content-range" in fields:
        return Unstorable.PARTIAL
    if any(value.strip().lower().startswith(_STREAMS) for value in fields.get(b"content-type", ())):
        return Unstorable.STREAM
    if directives.no_store and not directives.must_understand:
        return Unstorable.NO_STORE
    if directives.private:
        return Unstorable.PRIVATE
    if directives.no_cache:
        return Unstorable.NO_CACHE
    return Unstorable.VARY if b"*" in vary else None


def _vary(fields: _Fields, terms: Terms) -> tuple[bytes, ...]:
    if b"vary" not in fields and b"content-encoding" not in fields and not terms.vary:
        return ()
    names = set(terms.vary)
    for value in fields.get(b"vary", ()):
        names.update(name for part in value.split(b",") if (name := part.strip().lower()))
    if b"content-encoding" in fields:  # not every compressing app says so
        names.add(b"accept-encoding")
    return tuple(sorted(names))


def _date(fields: _Fields, name: bytes) -> int | None:
    values = fields.get(name)
    return None if values is None or len(values) > 1 else unix_time(values[0])


def _explicit_lifetime(directives: Directives, expires: list[bytes] | None, made: float) -> float | None:
    """RFC 9111 section 4.2.1; None where the response says nothing. An invalid Expires is in the past (section 5.3)."""
    if directives.s_maxage is not None:
        return directives.s_maxage
    if directives.max_age is not None:
        return directives.max_age
    if expires is None:
        return None
    end = unix_time(expires[0]) if len(set(expires)) == 1 else None
    return 0.0 if end is None else end - made


def _assumed_lifetime(fields: _Fields, terms: Terms, made: float) -> float | None:
    if terms.ttl is not None:
        return terms.ttl
    modified = _date(fields, b"last-modified") if terms.heuristics else None
    return None if modified is None else min(_HEURISTIC_SHARE * (made - modified), _LONGEST_HEURISTIC)


def _age(fields: _Fields) -> float:
    """Return what the Age header says (section 5.1)."""
    if b"age" not in fields:
        return 0.0
    first, _, _ = fields[b"age"][0].partition(b",")
    return whole_seconds(first.strip()) or 0.0


def _stale_windows(directives: Directives, terms: Terms) -> tuple[float, float]:
    """Return how long the response may be given stale: while it is fetched anew, and when that fails.

    RFC 9111 section 4.2.4: never after must-revalidate, proxy-revalidate or s-maxage (section 5.2.2.10).
    """
    if directives.must_revalidate or directives.s_maxage is not None:
        return 0.0, 0.0
    revalidate, error = directives.stale_while_revalidate, directives.stale_if_error
    return (
        terms.stale_while_revalidate if revalidate is None else revalidate,
        terms.stale_if_error if error is None else error,
    )


def _tags(fields: _Fields, terms: Terms) -> tuple[str, ...]:
    if b"cache-tag" not in fields:
        return terms.tags
    named = b",".join(fields[b"cache-tag"]).decode("latin-1").split(",")
    return tuple(dict.fromkeys((*terms.tags, *(tag for part in named if (tag := part.strip())))))
