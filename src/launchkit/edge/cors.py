"""Cross-origin access for declared origins (https://fetch.spec.whatwg.org/#http-cors-protocol).

The rules:

- A preflight is answered here and nowhere else: 204 with what is allowed, or 400 that says which part is not.
- Every other response tells a declared origin that it may read it, refusals and errors too, and names the headers that
  scripts may see. Where the app has allowed an origin itself, nothing is added.
- An origin is echoed, so every response varies by Origin, those without one too: a cache must not hand out the answer
  to another. Only `*` is the same for everybody.
- `null`, the origin of sandboxed frames and local files, is nobody's and never declared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from launchkit.edge.answers import problem
from launchkit.pipeline.exchange import EarlyResponse, Exchange, Header
from launchkit.pipeline.interceptor import Interceptor
from launchkit.pipeline.paths import PathPattern
from launchkit.settings import CorsSettings

EXPOSED: Final = b"RateLimit, RateLimit-Policy, Retry-After, X-Request-ID"
SAFELISTED: Final = frozenset({"accept", "accept-language", "content-language", "range"})
"""Request headers that scripts may set anyway, to harmless values (Fetch, section 2.2.2)."""

_ALLOW_ORIGIN: Final = b"access-control-allow-origin"
_VARY: Final[Header] = (b"vary", b"Origin")


class Cors(Interceptor):
    """Adds the headers to responses.

    Args:
        settings: who may do what.
        webhooks: tells the paths of webhooks, which no browser calls.
    """

    name = "cors"

    def __init__(self, settings: CorsSettings, webhooks: Callable[[], tuple[PathPattern, ...]] = tuple) -> None:
        self._webhooks = webhooks
        self._preflight = Preflight(settings, self)
        self._for_all = "*" in settings.origins
        self._origins = frozenset(_serialised(origin).encode() for origin in settings.origins)
        self._credentials: tuple[Header, ...] = (
            ((b"access-control-allow-credentials", b"true"),) if settings.credentials else ()
        )

    def select(self, method: str, matched: frozenset[PathPattern]) -> Interceptor | None:
        """Take part in everything but webhooks; OPTIONS may be a preflight."""
        if not matched.isdisjoint(self._webhooks()):
            return None
        return self._preflight if method == "OPTIONS" else self

    def granted(self, exchange: Exchange) -> tuple[Header, ...]:
        """Return the headers that allow the origin of a request, none if it is not declared."""
        origin = b"*" if self._for_all else exchange.header(b"origin")
        if origin is None or origin not in self._origins:
            return ()
        return ((_ALLOW_ORIGIN, origin), *self._credentials)

    def on_response_start(self, exchange: Exchange) -> None:
        """Allow the origin, unless the app has done so."""
        if exchange.response_header(_ALLOW_ORIGIN) is not None:
            return
        if not self._for_all:
            _vary_by_origin(exchange)
        granted = self.granted(exchange)
        if granted:
            exchange.default_response_headers((*granted, (b"access-control-expose-headers", EXPOSED)))


class Preflight(Interceptor):
    """Answers preflights; what else is asked with OPTIONS goes on to the app."""

    name = "cors"

    def __init__(self, settings: CorsSettings, cors: Cors) -> None:
        self._cors = cors
        self._methods = frozenset(method.upper() for method in settings.methods)
        self._headers = SAFELISTED.union(settings.headers)
        self._answer: tuple[Header, ...] = (
            (b"access-control-allow-methods", ", ".join(settings.methods).upper().encode()),
            (b"access-control-allow-headers", ", ".join(settings.headers).encode()),
            (b"access-control-max-age", b"%d" % settings.max_age),
        )

    def on_request(self, exchange: Exchange) -> EarlyResponse | None:
        """Answer a preflight."""
        method = exchange.header(b"access-control-request-method")
        if method is None or exchange.header(b"origin") is None:
            return None
        granted = self._cors.granted(exchange)
        refused = self._refused(exchange, method, is_declared=bool(granted))
        if refused is not None:
            return problem(400, "Bad Request", f"Cross-origin requests with this {refused} are not allowed.", _VARY)
        return EarlyResponse(204, b"", (*granted, *self._answer, _VARY))

    def _refused(self, exchange: Exchange, method: bytes, *, is_declared: bool) -> str | None:
        if not is_declared:
            return "origin"
        if method.decode("latin-1") not in self._methods:
            return "method"
        asked = b",".join(exchange.header_values(b"access-control-request-headers")).decode("latin-1").lower()
        names = {name.strip() for name in asked.split(",")} - {""}
        return None if names <= self._headers else "header"

    def on_response_start(self, exchange: Exchange) -> None:
        """Add what every response gets; the answer to a preflight has it already."""
        self._cors.on_response_start(exchange)


def _serialised(origin: str) -> str:
    """Return an origin as browsers write it: without the port that its scheme has anyway."""
    return origin.removesuffix(":443" if origin.startswith("https:") else ":80")


def _vary_by_origin(exchange: Exchange) -> None:
    present = [value for name, value in exchange.response_headers if name.lower() == b"vary"]
    if not present:
        exchange.default_response_headers((_VARY,))
    elif not {b"origin", b"*"}.intersection(item.strip().lower() for value in present for item in value.split(b",")):
        exchange.replace_response_header(b"vary", present[0] + b", Origin")
