"""Which requests go past the cache: decisions about one request, before anybody looks for a stored response.

A request may use the cache unless something in it asks for more than the plain resource (`Bypass` lists what):

- Only GET and HEAD are answered from the cache, and only without a body, since a body is not part of the key.
- A request that may say who is asking goes to the app (see `credentials`), and so does one of whom a layer outside of
  the kit knows who is asking. Where a rule is public, Cookie and Authorization do not count, because the interceptor
  hides them from the app.
- A header by which some apps let a request be another one (method, host or target overrides) is input that the key does
  not cover: such a request goes to the app, unless the header only repeats what the request says anyway.
- What the client thinks of stored responses (Cache-Control, Pragma) is ignored, as RFC 9111 section 5.2.1 allows to an
  origin: otherwise every reload would reach the database.

Of a header that browsers and platforms send with every request not even the value is looked at: this is the hottest
loop of the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final, NamedTuple

from launchkit.pipeline.exchange import Exchange, Header
from launchkit.read_cache.credentials import is_analytics, is_credential

HIDEABLE: Final = frozenset({b"authorization", b"cookie"})
"""Request headers that a public rule hides from the app."""


class Bypass(StrEnum):
    """Why a request goes past the cache; the value is the `detail` in Cache-Status."""

    BODY = "body"
    METHOD_OVERRIDE = "method-override"
    HOST_OVERRIDE = "host-override"
    SEVERAL_HOSTS = "several-hosts"
    TARGET_OVERRIDE = "target-override"
    AUTHORIZATION = "authorization"
    COOKIE = "cookie"
    CREDENTIAL = "credential"
    IDENTIFIED = "identified"

    @property
    def is_personal(self) -> bool:
        """Whether the request may say who is asking."""
        return self in _PERSONAL


_PERSONAL: Final = frozenset({Bypass.AUTHORIZATION, Bypass.COOKIE, Bypass.CREDENTIAL, Bypass.IDENTIFIED})

HARMLESS: Final = frozenset(
    b"accept accept-encoding accept-language b3 baggage cache-control cdn-loop client-ip cloudfront-viewer-address "
    b"connect-time connection device-memory dnt do-connecting-ip downlink dpr ect if-match if-unmodified-since "
    b"incap-client-ip newrelic pragma priority referer rndr-id rtt save-data sec-ch-ua sec-ch-ua-mobile "
    b"sec-ch-ua-platform sec-fetch-dest sec-fetch-mode sec-fetch-site sec-fetch-storage-access sec-fetch-user "
    b"sec-gpc sec-purpose sentry-trace te total-route-time traceparent tracestate true-client-ip uber-trace-id "
    b"upgrade-insecure-requests user-agent via viewport-width x-appengine-user-ip x-client-ip x-client-port "
    b"x-cloud-trace-context x-cluster-client-ip x-correlation-id x-forwarded-by x-forwarded-for "
    b"x-original-forwarded-for x-ot-span-context x-real-ip x-real-port x-request-id x-request-start "
    b"x-sucuri-clientip x-trace-id x-varnish x-vercel-oidc-token x-vercel-proxy-signature "
    b"x-vercel-proxy-signature-ts".split()
)
"""What browsers, hosting platforms, load balancers and tracers send with every request, and no page is made of.

Preconditions for changes (If-Match) are among them: caches do not heed these (RFC 9111 section 4.3.2).
"""

_OF_PLATFORMS: Final = tuple(
    b"cf- fastly- fly- sec-ch- x-amz-cf- x-amzn- x-appengine- x-arr- x-azure- x-b3- x-datadog- x-envoy- x-heroku- "
    b"x-kong- x-newrelic- x-railway- x-vercel- x-waws-".split()
)
"""How more such headers begin.

In the key they would make every request a miss. Those among them that tell who is asking are known by their words.
"""

_CONDITIONS: Final = frozenset({b"if-none-match", b"if-modified-since", b"range", b"if-range"})
_KEYED: Final = frozenset(
    b"cf-ipcountry cloudfront-viewer-country x-appengine-country x-vercel-ip-country "
    b"front-end-https origin x-forwarded-port x-forwarded-prefix x-forwarded-proto x-forwarded-scheme "
    b"x-forwarded-server x-forwarded-ssl x-scheme x-script-name x-url-scheme "
    b"hx-boosted hx-request hx-target turbo-frame x-inertia x-inertia-partial-data x-pjax x-requested-with".split()
)
"""The visitor's country, what CORS layers echo, what absolute links are made from, and what asks for a part of a page.

Apps heed these without an entry in Vary.
"""


class Asked(NamedTuple):
    """What the cache has to know of a request's headers."""

    bypass: Bypass | None
    host: bytes
    keyed: tuple[Header, ...]
    """Headers that belong to the key besides the host."""
    is_conditional: bool
    """Whether less than the whole stored response may be the answer."""


_asked: Final = tuple.__new__  # a third of what the class itself costs, on every hit


def examine(exchange: Exchange, *, public: bool, by_rule: bool) -> Asked:
    """Read a request's headers once. Of several reasons to bypass, a personal one is told before others.

    Args:
        exchange: the request, before anything was hidden from it.
        public: whether Cookie and Authorization will be hidden from the app.
        by_rule: whether a response may be stored that does not say so itself. Then a header that nobody knows belongs
            to the key: the app may heed it, and has not been asked to say by what its responses vary.
    """
    host: bytes | None = None
    bypass = Bypass.IDENTIFIED if exchange.is_identified else None
    keyed: tuple[Header, ...] = ()
    is_conditional = False
    for sent_name, value in exchange.request_headers_besides(HARMLESS):
        name = sent_name.replace(b"_", b"-") if b"_" in sent_name else sent_name  # as WSGI does
        if name == b"host":
            bypass = bypass if host is None else bypass or Bypass.SEVERAL_HOSTS
            host = value.lower()
        elif name in _CONDITIONS:
            is_conditional = True
        elif name in _KEYED:
            keyed += ((name, value),)
        elif not (public and name in HIDEABLE):
            found = _bypass_of(name, value, exchange)
            if found is not None and (bypass is None or (found.is_personal and not bypass.is_personal)):
                bypass = found
            elif by_rule and found is None and not name.startswith(_OF_PLATFORMS) and name not in _SUSPECTS:
                keyed += ((name, value),)
    return _asked(Asked, (bypass, host or b"", keyed, is_conditional))


def _bypass_of(name: bytes, value: bytes, exchange: Exchange) -> Bypass | None:
    suspect = _SUSPECTS.get(name)
    if suspect is None:
        return _bypass_by_name(name)
    reason, is_guilty = suspect
    return reason if is_guilty(value, exchange) else None


def _bypass_by_name(name: bytes) -> Bypass | None:
    is_known = _BY_NAME.get(name)
    if is_known is None:
        if len(_BY_NAME) >= _MAX_NAMES:
            _BY_NAME.clear()
        is_known = _BY_NAME[name] = is_credential(name)
    return Bypass.CREDENTIAL if is_known else None


_MAX_NAMES: Final = 1_000
_BY_NAME: Final[dict[bytes, bool]] = {}
"""Header names that were judged before; made-up ones cannot fill memory."""


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
