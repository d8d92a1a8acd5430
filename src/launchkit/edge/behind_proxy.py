"""Shows the app what a trusted proxy has told: the visitor's address and scheme, and the host if it is the site's.

Frameworks make links, cookies and logs from these, and see the proxy otherwise. X-Forwarded-Host is passed on by many
proxies as the client wrote it, and a link in a mail that is made from it goes wherever the client wants: so only a host
that `edge.url` or `edge.hosts` declares takes the place of Host, and with the port that is declared.

What was found out is remembered by all that it was found out from, since most visitors ask more than once.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from launchkit.edge.client import FORWARDED, ClientResolver
from launchkit.edge.host_names import HostNames, host_name
from launchkit.networks import PROXIES
from launchkit.pipeline.exchange import Exchange, Header
from launchkit.pipeline.interceptor import Interceptor
from launchkit.settings import EdgeSettings

TELLING: Final = frozenset(
    {b"host", b"cf-visitor", *FORWARDED}
    | {name for proxies in PROXIES.values() for name in (proxies.header, proxies.header_ipv6) if name is not None}
)
"""Every header that the resolver reads."""

MOST_REMEMBERED: Final = 2048
MOST_BYTES: Final = 512
"""Of headers, beyond which what was found out is not remembered, so that nobody can fill memory."""


class _View(NamedTuple):
    client: str | None
    scheme: str
    host: bytes | None


class BehindProxy(Interceptor):
    """Changes what the app is given; for a kit with trusted proxies."""

    name = "behind_proxy"
    covers_handshakes = True

    def __init__(self, settings: EdgeSettings, client: ClientResolver) -> None:
        self._hosts = HostNames(settings)
        self._client = client
        self._views: dict[tuple[str | None, str, tuple[Header, ...]], _View] = {}

    def on_request(self, exchange: Exchange) -> None:
        """Pass on what the peer says, if it is a trusted proxy."""
        told = exchange.headers_named(TELLING)
        key = (exchange.peer, exchange.scheme, told)
        view = self._views.get(key)
        if view is None:
            view = self._view(exchange)
            if view is None:
                return
            if sum([len(value) for _, value in told]) <= MOST_BYTES:
                if len(self._views) >= MOST_REMEMBERED:
                    self._views.clear()
                self._views[key] = view
        exchange.present_to_app(*view)

    def _view(self, exchange: Exchange) -> _View | None:
        client = self._client.resolve(exchange)
        if not client.trusted:
            return None
        host = self._client.host(exchange)
        name = None if host == exchange.header(b"host") else host_name(host)
        ours = None if name is None else self._hosts.find(name)
        return _View(client.address, self._client.scheme(exchange), None if ours is None else ours.encode())
