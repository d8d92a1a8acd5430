"""What a shared cache may do inside the app: pure decisions about one request and one response.

A request may use the cache unless something in it asks for more than the plain resource (`Bypass` lists what):

- Only GET is answered from the cache, and only as a whole: no Range, and no body, since a body is not part of the key.
- A request that may say who is asking goes to the app (see `credentials`), and so does one of whom a layer outside of
  the kit knows who is asking. Where a rule is public, Cookie and
  Authorization do not count, because the interceptor hides them from the app.
- A header by which some apps let a request be another one (method, host or target overrides) is input that the key does
  not cover: such a request goes to the app, unless the header only repeats what the request says anyway.

A response may be stored (RFC 9111 section 3) when all of this holds:

- Its status is final, understood, and the same answer for everyone: 200, 203, 301, 308, 404 or 410.
- It sets no cookie. RFC 9111 section 7.3 leaves that to the cache; here it is absolute.
- It is not marked `no-store`, `private` or `no-cache`; it does not vary by everything; it is no part of a resource and
  no event stream.
- Time is left: what the response says (`s-maxage`, `max-age`, `Expires`, in this order) wins over the rule's `ttl`, and
  the Age it arrived with counts. Nothing is guessed from Last-Modified (section 4.2.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final

from launchkit.pipeline.exchange import Exchange, Header
from launchkit.read_cache.credentials import is_analytics, is_credential
from launchkit.read_cache.directives import Directives, delta_seconds, parse_cache_control
from launchkit.settings import CacheRule

HIDEABLE: Final = frozenset({b"authorization", b"cookie"})
"""Request headers that a public rule hides from the app."""

_STORABLE_STATUSES: Final = frozenset({200, 203, 301, 308, 404, 410})
_STREAMS: Final = (b"text/event-stream", b"multipart/x-mixed-replace")


# --- the request ---------------------------------------------------------------------------------------------------


class Bypass(StrEnum):
    """Why a request goes past the cache; the value is the `detail` in Cache-Status."""

    METHOD = "method"
    RANGE = "range"
    BODY = "body"
    METHOD_OVERRIDE = "method-override"
    HOST_OVERRIDE = "host-override"
    TARGET_OVERRIDE = "target-override"
    AUTHORIZATION = "authorization"
    COOKIE = "cookie"
    CREDENTIAL = "credential"
    IDENTIFIED = "identified"

    @property
    def personal(self) -> bool:
        """Whether the request may say who is asking."""
        return self in _PERSONAL


_PERSONAL: Final = frozenset({Bypass.AUTHORIZATION, Bypass.COOKIE, Bypass.CREDENTIAL, Bypass.IDENTIFIED})

HARMLESS: Final = frozenset(
    b"accept accept-encoding accept-language cache-control cf-connecting-ip cf-ipcountry cf-ray cf-visitor connection "
    b"dnt host if-modified-since if-none-match origin pragma priority referer sec-ch-ua sec-ch-ua-mobile "
    b"sec-ch-ua-platform sec-fetch-dest sec-fetch-mode sec-fetch-site sec-fetch-user te traceparent tracestate "
    b"upgrade-insecure-requests user-agent via x-appengine-user-ip x-forwarded-for x-forwarded-port x-forwarded-proto "
    b"x-real-ip x-request-id x-request-start".split()
)
"""What browsers and hosting platforms send with every request: named here so that the common case is one look-up."""


def request_bypass(exchange: Exchange, *, public: bool) -> Bypass | None:
    """Tell why this request must not use the cache, or None if it may. A personal reason is told before others.

    Args:
        exchange: the request, before anything was hidden from it.
        public: whether Cookie and Authorization will be hidden from the app.
    """
    if exchange.is_identified:
        return Bypass.IDENTIFIED
    reason = None if exchange.method == "GET" else Bypass.METHOD
    for name, value in exchange.request_headers():
        if name in HARMLESS or (public and name in HIDEABLE):
            continue
        found = _header_bypass(name, value, exchange)
        if found is not None:
            if found.personal:
                return found
            reason = reason or found
    return reason


def _header_bypass(name: bytes, value: bytes, exchange: Exchange) -> Bypass | None:
    suspect = _SUSPECTS.get(name)
    if suspect is None:
        return Bypass.CREDENTIAL if is_credential(name) else None
    reason, is_guilty = suspect
    return reason if is_guilty(value, exchange) else None


def _always(value: bytes, exchange: Exchange) -> bool:  # noqa: ARG001  # one of several checks of this shape
    return True


def _is_personal_cookie(value: bytes, exchange: Exchange) -> bool:  # noqa: ARG001  # the same
    return not is_analytics(value)


def _announces_body(value: bytes, exchange: Exchange) -> bool:  # noqa: ARG001  # the same
    return value.strip() != b"0"


def _names_other_host(value: bytes, exchange: Exchange) -> bool:
    return value.lower() != (exchange.header(b"host") or b"").lower()


def _names_any_host(value: bytes, exchange: Exchange) -> bool:  # noqa: ARG001  # the same
    return b"host=" in value.lower().replace(b" ", b"")


def _names_other_target(value: bytes, exchange: Exchange) -> bool:
    path, _, query = value.partition(b"?")
    return path != exchange.target or query not in (b"", exchange.query)


_SUSPECTS: Final[dict[bytes, tuple[Bypass, Callable[[bytes, Exchange], bool]]]] = {
    b"authorization": (Bypass.AUTHORIZATION, _always),
    b"proxy-authorization": (Bypass.AUTHORIZATION, _always),
    b"cookie": (Bypass.COOKIE, _is_personal_cookie),
    b"range": (Bypass.RANGE, _always),
    b"transfer-encoding": (Bypass.BODY, _always),
    b"content-length": (Bypass.BODY, _announces_body),
    b"x-http-method-override": (Bypass.METHOD_OVERRIDE, _always),
    b"x-http-method": (Bypass.METHOD_OVERRIDE, _always),
    b"x-method-override": (Bypass.METHOD_OVERRIDE, _always),
    b"x-forwarded-host": (Bypass.HOST_OVERRIDE, _names_other_host),
    b"x-original-host": (Bypass.HOST_OVERRIDE, _names_other_host),
    b"x-http-host-override": (Bypass.HOST_OVERRIDE, _names_other_host),
    b"x-host": (Bypass.HOST_OVERRIDE, _names_other_host),
    b"forwarded": (Bypass.HOST_OVERRIDE, _names_any_host),
    b"x-original-url": (Bypass.TARGET_OVERRIDE, _names_other_target),
    b"x-original-uri": (Bypass.TARGET_OVERRIDE, _names_other_target),
    b"x-rewrite-url": (Bypass.TARGET_OVERRIDE, _names_other_target),
    b"x-forwarded-uri": (Bypass.TARGET_OVERRIDE, _names_other_target),
}


# --- the response --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Storage:
    """On what terms a response may be stored. Times are seconds."""

    age: float
    """Its age on arrival (RFC 9111 section 4.2.3): the Age header; inside the app there is no transit to add."""
    fresh: float
    """Age up to which it is fresh (section 4.2.1)."""
    stale: float
    """How much longer it may be given while one request fetches anew (RFC 5861 section 3)."""
    vary: tuple[bytes, ...]
    """Names of the request headers that select it (section 4.1), sorted."""


def storage_of(status: int, headers: Iterable[Header], rule: CacheRule, unix_now: float) -> Storage | None:
    """Decide whether a response may be stored, and on what terms; None if not.

    Args:
        status: the response's status code.
        headers: its headers; names may be in any case.
        rule: the rule that covers the request.
        unix_now: seconds since 1970, for a response with Expires but without Date.
    """
    fields = _by_name(headers)
    directives = parse_cache_control(fields.get(b"cache-control", ()))
    if not _may_store(status, fields, directives):
        return None
    vary = _vary(fields, rule)
    age = float(delta_seconds(fields.get(b"age", [b""])[0]))
    fresh = _freshness_lifetime(fields, directives, rule.ttl, unix_now)
    if b"*" in vary or fresh <= age:
        return None
    return Storage(age, fresh, _stale_window(directives, rule), vary)


def sets_cookie(headers: Iterable[Header]) -> bool:
    """Tell whether a response gives its reader a cookie."""
    return any(name.lower() == b"set-cookie" for name, _ in headers)


_Fields = dict[bytes, list[bytes]]


def _by_name(headers: Iterable[Header]) -> _Fields:
    fields: _Fields = {}
    for name, value in headers:
        fields.setdefault(name.lower(), []).append(value)
    return fields


def _may_store(status: int, fields: _Fields, directives: Directives) -> bool:
    if status not in _STORABLE_STATUSES or b"set-cookie" in fields or b"content-range" in fields:
        return False
    if directives.no_store or directives.private or directives.no_cache:
        return False
    return not any(value.strip().lower().startswith(_STREAMS) for value in fields.get(b"content-type", ()))


def _freshness_lifetime(fields: _Fields, directives: Directives, ttl: float, unix_now: float) -> float:
    if directives.s_maxage is not None:
        return directives.s_maxage
    if directives.max_age is not None:
        return directives.max_age
    if b"expires" in fields:
        date = _unix_time(fields.get(b"date", [b""])[0])
        return (_unix_time(fields[b"expires"][0]) or 0.0) - (unix_now if date is None else date)
    return ttl


def _unix_time(value: bytes) -> float | None:
    """Read an HTTP date (RFC 9110 section 5.6.7); None if it is none."""
    try:
        return parsedate_to_datetime(value.decode("latin-1")).timestamp()
    except (ValueError, OverflowError):
        return None


def _stale_window(directives: Directives, rule: CacheRule) -> float:
    """RFC 9111 section 4.2.4: nothing stale after must-revalidate, proxy-revalidate or s-maxage."""
    if directives.must_revalidate or directives.s_maxage is not None:
        return 0.0
    said = directives.stale_while_revalidate
    return rule.stale_while_revalidate if said is None else said


def _vary(fields: _Fields, rule: CacheRule) -> tuple[bytes, ...]:
    names = {name.encode("ascii") for name in rule.vary}
    for value in fields.get(b"vary", ()):
        names.update(name for part in value.split(b",") if (name := part.strip().lower()))
    if b"content-encoding" in fields:  # not every compressing app says so
        names.add(b"accept-encoding")
    return tuple(sorted(names))
