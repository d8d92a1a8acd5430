"""Security headers for every response, where the app has not set its own.

The defaults are those that break no page: FastAPI's `/docs` keeps working because nothing restricts scripts. HSTS is
sent only in production, over HTTPS, and to hosts other than this machine (RFC 6797 section 7.2).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from launchkit.edge.client import ClientResolver
from launchkit.pipeline.exchange import Exchange, Header
from launchkit.pipeline.interceptor import Interceptor
from launchkit.settings import EdgeSettings

DEFAULTS: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "strict-origin-when-cross-origin",
}
OVER_HTTPS: Final = {"content-security-policy": "upgrade-insecure-requests"}
_names_this_machine = re.compile(rb"(?:localhost|127\.0\.0\.1|\[::1\])(?::\d*)?", re.IGNORECASE).fullmatch


class SecurityHeaders(Interceptor):
    """Adds the headers."""

    name = "edge"

    def __init__(self, settings: EdgeSettings, client: ClientResolver, *, production: bool) -> None:
        given = {name.lower(): value for name, value in settings.headers.items()}
        over_https = dict(OVER_HTTPS)
        if production and settings.hsts_seconds:
            over_https["strict-transport-security"] = f"max-age={settings.hsts_seconds}"
        self._plain = _encoded(DEFAULTS | given)
        self._over_https = _encoded(DEFAULTS | over_https | given)
        self._client = client

    def on_response_start(self, exchange: Exchange) -> None:
        """Add what is missing."""
        over_https = self._client.is_https(exchange) and not _is_local_host(exchange.header(b"host") or b"")
        exchange.default_response_headers(self._over_https if over_https else self._plain)


def _encoded(headers: dict[str, str]) -> tuple[Header, ...]:
    return tuple((name.encode(), value.encode()) for name, value in headers.items())


@lru_cache(maxsize=1024)
def _is_local_host(host: bytes) -> bool:
    return _names_this_machine(host) is not None
