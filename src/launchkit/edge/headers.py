"""Security headers for every response, where the app has not set its own.

The defaults are those that break no page: FastAPI's `/docs` keeps working because nothing restricts scripts. HSTS is
sent only in production, over HTTPS, and to hosts other than this machine (RFC 6797 section 7.2).
"""

from __future__ import annotations

import re
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
_UPGRADE: Final[Header] = (b"content-security-policy", b"upgrade-insecure-requests")
_names_this_machine = re.compile(rb"(?:localhost|127\.0\.0\.1|\[::1\])(?::\d*)?", re.IGNORECASE).fullmatch


class SecurityHeaders(Interceptor):
    """Adds the headers."""

    name = "edge"

    def __init__(self, settings: EdgeSettings, client: ClientResolver, *, production: bool) -> None:
        given = {name.lower(): value for name, value in settings.headers.items()}
        self._always = tuple((name.encode(), value.encode()) for name, value in (DEFAULTS | given).items())
        hsts = (b"strict-transport-security", b"max-age=%d" % settings.hsts_seconds)
        self._over_https = (_UPGRADE, hsts) if production and settings.hsts_seconds else (_UPGRADE,)
        self._client = client

    def on_response_start(self, exchange: Exchange) -> None:
        """Add what is missing."""
        exchange.default_response_headers(self._always)
        if self._client.is_https(exchange) and not _is_local_host(exchange):
            exchange.default_response_headers(self._over_https)


def _is_local_host(exchange: Exchange) -> bool:
    return _names_this_machine(exchange.header(b"host") or b"") is not None
