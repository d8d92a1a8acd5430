"""Canonical host and HTTPS: requests that came elsewhere are sent to where the site lives, in production.

The rules:

- A redirect goes to a declared host, never to one that the request has chosen, and is a 308: a POST stays a POST.
- With `url` every host that is not the site's is sent there; without it such a host is refused with 400. A Host that is
  missing or is none is always refused.
- The host is the one that a trusted proxy names, else Host.
- Whoever comes by HTTP is sent to HTTPS only where it is certain that they did. Behind a proxy that does not say, or
  whose word does not count, the visitor may have come by HTTPS already and would be sent around for ever. That is
  logged once, with its remedy.
- For the same reason a name that means something only behind the proxy (`app:8000`, 10.0.0.5) is never sent elsewhere:
  it is what a proxy puts in the place of the visitor's Host.
- Health checks, webhooks and certificate challenges are exempt.
"""

from __future__ import annotations

import logging
from typing import Final

from launchkit.edge.answers import moved, problem, target_with_query
from launchkit.edge.client import Client, ClientResolver
from launchkit.edge.exempt import Exempt
from launchkit.edge.host_names import HostNames, host_name, is_internal
from launchkit.pipeline.exchange import EarlyResponse, Exchange
from launchkit.pipeline.interceptor import Interceptor
from launchkit.pipeline.paths import PathPattern
from launchkit.settings import EdgeSettings

logger = logging.getLogger("launchkit")

SCHEME_HEADERS: Final = {
    b"x-forwarded-proto": b"https",
    b"forwarded": b"proto=https",
    b"x-forwarded-ssl": b"on",
    b"cf-visitor": b"scheme:https",
}
"""Headers by which proxies tell the visitor's scheme, and what they hold, without quotes and blanks, if it is HTTPS."""


class Hosts(Interceptor):
    """Sends home what came elsewhere."""

    name = "hosts"
    covers_handshakes = True

    def __init__(self, settings: EdgeSettings, client: ClientResolver, exempt: Exempt) -> None:
        self.patterns = exempt.patterns
        self._exempt = exempt
        self._client = client
        self._home = None if settings.url is None else settings.url.encode()
        self._by_https = settings.url is not None and settings.url.startswith("https:")
        self._hosts = HostNames(settings)
        self._said: set[str] = set()

    def select(self, method: str, matched: frozenset[PathPattern]) -> Interceptor | None:
        """Take part in everything that is not exempt."""
        return None if self._exempt.covers(matched) else self

    def on_request(self, exchange: Exchange) -> EarlyResponse | None:
        """Let pass what is at home; send the rest there, or refuse it."""
        name = host_name(self._client.host(exchange))
        if name is None:
            return problem(400, "Bad Request", "The Host header is missing or names no host.")
        host = self._hosts.find(name)
        if host is not None:
            if self._by_https and self._came_by_http(exchange):
                return moved(b"https://" + host.encode() + target_with_query(exchange))
            return None
        if self._home is None:
            return problem(400, "Bad Request", "This host is not served here.")
        if is_internal(name) and self._is_behind_proxy(self._client.resolve(exchange)):
            self._say("The Host header of requests is an internal name: let the proxy in front pass on the visitor's.")
            return None
        return moved(self._home + target_with_query(exchange))

    def _came_by_http(self, exchange: Exchange) -> bool:
        """Tell whether the visitor certainly came by HTTP."""
        if self._client.is_https(exchange):
            return False
        client = self._client.resolve(exchange)
        told = {name: value for name in SCHEME_HEADERS if (value := exchange.header(name)) is not None}
        if any(SCHEME_HEADERS[name] in value.translate(None, b'" ').lower() for name, value in told.items()):
            self._say(
                "A proxy says that visitors come by HTTPS, but is not trusted or does not say it of all the way: set "
                "LAUNCHKIT_TRUSTED_PROXIES to the proxies in front, and Cloudflare's encryption mode to Full."
            )
            return False
        if self._is_behind_proxy(client) and not (client.trusted and told):
            self._say(
                "Requests come through a proxy that does not tell how visitors came to it: let it send "
                "X-Forwarded-Proto, and name it in LAUNCHKIT_TRUSTED_PROXIES."
            )
            return False
        return True

    @staticmethod
    def _is_behind_proxy(client: Client) -> bool:
        return client.trusted or client.address is None

    def _say(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            logger.error("%s Until then some redirects of edge.url are left out.", message)
