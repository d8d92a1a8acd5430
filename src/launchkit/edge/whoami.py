"""`/launchkit/whoami`: what the kit knows of the caller and from what, to set up `trusted_proxies` by.

GET and HEAD, only for callers who may see it, never stored by anyone. Of the request's headers it shows those by which
proxies tell things, and no other.
"""

from __future__ import annotations

import json
from typing import Final

from launchkit.edge.access import Access
from launchkit.edge.client import ClientResolver
from launchkit.pipeline.exchange import EarlyResponse, Exchange, Header
from launchkit.pipeline.interceptor import Interceptor
from launchkit.pipeline.paths import PathPattern

PATH: Final = "/launchkit/whoami"
SHOWN: Final = frozenset(
    {
        b"cf-connecting-ip",
        b"cf-connecting-ipv6",
        b"cf-visitor",
        b"fastly-client-ip",
        b"fly-client-ip",
        b"forwarded",
        b"host",
        b"true-client-ip",
        b"via",
        b"x-client-ip",
        b"x-real-ip",
    }
)
"""Headers that are shown, besides those that begin with X-Forwarded-."""

_PLAIN: Final[Header] = (b"content-type", b"text/plain; charset=utf-8")
_NO_STORE: Final[Header] = (b"cache-control", b"no-store")


class WhoAmI(Interceptor):
    """Answers the path; to callers who may not see it, it does not exist."""

    name = "whoami"

    def __init__(self, client: ClientResolver, access: Access) -> None:
        self._client = client
        self._access = access
        self.patterns = (PathPattern(PATH),)

    def select(self, method: str, matched: frozenset[PathPattern]) -> Interceptor | None:
        """Take part in requests for the path only."""
        return self if matched.intersection(self.patterns) else None

    def on_request(self, exchange: Exchange) -> EarlyResponse:
        """Answer with what is known, with 404 to strangers, and with 405 to other methods."""
        if not self._access(exchange):
            return EarlyResponse(404, b"Not Found", (_PLAIN, _NO_STORE), PATH)
        if exchange.method not in ("GET", "HEAD"):
            return EarlyResponse(405, b"Method Not Allowed", (_PLAIN, _NO_STORE, (b"allow", b"GET, HEAD")), PATH)
        body = json.dumps(self._document(exchange), indent=2).encode()
        return EarlyResponse(200, body, ((b"content-type", b"application/json"), _NO_STORE), PATH)

    def _document(self, exchange: Exchange) -> dict[str, object]:
        client = self._client.resolve(exchange)
        host = self._client.host(exchange)
        return {
            "client": client.address,
            "source": client.source,
            "peer": client.peer,
            "trusted": client.trusted,
            "scheme": self._client.scheme(exchange),
            "host": None if host is None else host.decode("latin-1"),
            "headers": [
                f"{name.decode('latin-1')}: {value.decode('latin-1')}"
                for name, value in exchange.request_headers()
                if name in SHOWN or name.startswith(b"x-forwarded-")
            ],
        }
