"""Canonical host and HTTPS: requests that came elsewhere are sent to where the site lives, in production.

The rules:

- A redirect goes to a declared host, never to one that the request has chosen, and is a 308: a POST stays a POST.
- With `url` every host that is not the site's is sent there; without it such a host is refused with 400. A Host that is
  missing or is none is always refused.
- The host is the one that a trusted proxy names, else Host.
- Whoever comes by HTTP is sent to HTTPS only where it is certain that they did (see `by_http`): else they may be sent
  around for ever. What is not certain is logged once, with its remedy.
- For the same reason a host is not sent elsewhere that a proxy has put in the place of the visitor's: a name that means
  something only behind the proxy (`app:8000`, 10.0.0.5), or any where Host and X-Forwarded-Host differ and one is the
  site's.
- Whatever is let pass, the app is shown a host and port as they were declared, since it makes links from them.
- Health checks, webhooks and certificate challenges are exempt.
"""

from __future__ import annotations

import logging

from launchkit.edge.answers import moved, problem, target_with_query
from launchkit.edge.by_http import doubt
from launchkit.edge.client import ClientResolver, nearest
from launchkit.edge.exempt import Exempt
from launchkit.edge.host_names import HostNames, host_name, is_internal
from launchkit.pipeline.exchange import EarlyResponse, Exchange
from launchkit.pipeline.interceptor import Interceptor
from launchkit.pipeline.paths import PathPattern
from launchkit.settings import EdgeSettings

logger = logging.getLogger("launchkit")


class Hosts(Interceptor):
    """Sends home what came elsewhere."""

    name = "hosts"
    covers_handshakes = True

    def __init__(self, settings: EdgeSettings, client: ClientResolver, exempt: Exempt) -> None:
        self.patterns = exempt.patterns
        self._exempt = exempt
        self._client = client
        self._home = None if settings.url is None else settings.url.encode()
        self._home_host = (settings.url or "").partition("://")[2]
        self._by_https = settings.url is not None and settings.url.startswith("https:")
        self._hosts = HostNames(settings)
        self._said: set[str] = set()

    def select(self, method: str, matched: frozenset[PathPattern]) -> Interceptor | None:
        """Take part in everything that is not exempt."""
        return None if self._exempt.covers(matched) else self

    def on_request(self, exchange: Exchange) -> EarlyResponse | None:
        """Let pass what is at home; send the rest there, or refuse it."""
        name = host_name(self._client.host(exchange))
        if name is None or len(exchange.header_values(b"host")) > 1:  # of two, apps may read the other one
            return problem(400, "Bad Request", "The Host header is missing, sent twice, or names no host.")
        host = self._hosts.find(name)
        if host is None:
            if self._home is None:
                return problem(400, "Bad Request", "This host is not served here.")
            host = self._replaced(exchange, name)
            if host is None:
                return moved(self._home + target_with_query(exchange))
        elif self._by_https and self._came_by_http(exchange):
            return moved(b"https://" + host.encode() + target_with_query(exchange), kept=False)
        self._show(exchange, host.encode())
        return None

    def _came_by_http(self, exchange: Exchange) -> bool:
        """Tell whether the visitor certainly came by HTTP."""
        if self._client.is_https(exchange):
            return False
        reason = doubt(exchange, self._client)
        if reason is not None:
            self._say(reason)
        return reason is None

    def _replaced(self, exchange: Exchange, name: str) -> str | None:
        """Return the site's host that the visitor asked for, where a proxy has put another in its place."""
        forwarded = nearest(exchange, b"x-forwarded-host", "host").encode("latin-1")
        for named in map(host_name, (forwarded, exchange.header(b"host"))):
            host = None if named is None else self._hosts.find(named)
            if host is not None:
                self._say(
                    "Host and X-Forwarded-Host of requests differ, and one is the site's: let the proxies in front "
                    "send what the visitor asked for in both, and name them in LAUNCHKIT_TRUSTED_PROXIES."
                )
                return host
        client = self._client.resolve(exchange)
        if not is_internal(name) or not (client.trusted or client.address is None):
            return None
        self._say("The Host header of requests is an internal name: let the proxy in front pass on the visitor's.")
        return self._home_host

    def _show(self, exchange: Exchange, host: bytes) -> None:
        if exchange.header(b"host") != host:
            exchange.present_to_app(None, self._client.scheme(exchange), host)

    def _say(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            logger.error("%s Until then some redirects of edge.url are left out.", message)
