"""Paths that are not for everybody: every condition that is set must hold, WebSocket handshakes included.

The rules:

- A path under several entries has to satisfy them all.
- By network: the client's address, which fails where it is unknown (403).
- By token: `Authorization: Bearer`, or the password of Basic, so that a browser asks for it (401, RFC 9110 section
  11.6.1; RFC 7617).
- By function: nothing but True lets in (403).
- Whatever goes wrong refuses.
- What is answered is for whoever asked, and for no cache in between, unless the app says otherwise.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import inspect
import ipaddress
from collections.abc import Mapping
from typing import Final

from launchkit.edge.answers import problem
from launchkit.edge.client import ClientResolver
from launchkit.errors import Problem, SettingsError
from launchkit.networks import NETWORKS
from launchkit.pipeline.exchange import EarlyResponse, Exchange, Header
from launchkit.pipeline.interceptor import Interceptor
from launchkit.pipeline.paths import PathPattern
from launchkit.settings import Protected

_PRIVATE: Final[tuple[Header, ...]] = ((b"cache-control", b"private"),)


class Protection(Interceptor):
    """All entries.

    Raises:
        SettingsError: for a function that cannot be called here because it is async.
    """

    name = "protected"
    covers_handshakes = True

    def __init__(self, settings: Mapping[str, Protected], client: ClientResolver) -> None:
        self._doors = [Door(name, entry, client) for name, entry in settings.items()]
        self.patterns = tuple(pattern for door in self._doors for pattern in door.patterns)

    def select(self, method: str, matched: frozenset[PathPattern]) -> Interceptor | None:
        """Return what guards a path."""
        doors = tuple(door for door in self._doors if not matched.isdisjoint(door.patterns))
        return Guard(doors) if doors else None


class Guard(Interceptor):
    """Lets requests through that may pass every one of these doors."""

    name = "protected"
    covers_handshakes = True

    def __init__(self, doors: tuple[Door, ...]) -> None:
        self._doors = doors

    def on_request(self, exchange: Exchange) -> EarlyResponse | None:
        """Refuse at the first door that stays closed."""
        for door in self._doors:
            refusal = door.refusal(exchange)
            if refusal is not None:
                return refusal
        return None

    def on_response_start(self, exchange: Exchange) -> None:
        """Keep the response out of shared caches."""
        exchange.default_response_headers(_PRIVATE)

    def on_failure(self, exchange: Exchange, error: Exception) -> EarlyResponse:
        """Refuse: a condition that could not be checked does not hold."""
        return self._doors[0].forbidden


class Door:
    """One entry, compiled."""

    def __init__(self, name: str, settings: Protected, client: ClientResolver) -> None:
        if inspect.iscoroutinefunction(settings.allow):
            variable = f"LAUNCHKIT_EDGE__PROTECTED__{name.upper()}__ALLOW"
            raise SettingsError([Problem(variable, "is an async function: it has to answer at once")])
        self.patterns = tuple(map(PathPattern, settings.paths))
        self._networks = tuple(
            ipaddress.ip_network(text, strict=False)
            for word in settings.networks
            for text in NETWORKS.get(word, (word,))
        )
        self._needs_network = bool(settings.networks)
        self._token = None if settings.token is None else settings.token.get_secret_value().encode()
        self._allow = settings.allow
        self._client = client
        route = self.patterns[0].text
        self.forbidden = problem(403, "Forbidden", "This is not for everybody.", route=route)
        challenge = b'Basic realm="%s", charset="UTF-8"' % _quotable(name)
        self._unauthorized = problem(
            401, "Unauthorized", "A token is needed here.", (b"www-authenticate", challenge), route=route
        )

    def refusal(self, exchange: Exchange) -> EarlyResponse | None:
        """Return the answer to a request that may not pass, or None."""
        if self._needs_network and not self._is_near(exchange):
            return self.forbidden
        if self._token is not None and not hmac.compare_digest(_token_in(exchange), self._token):
            return self._unauthorized
        if self._allow is not None and self._allow(exchange) is not True:
            return self.forbidden
        return None

    def _is_near(self, exchange: Exchange) -> bool:
        text = self._client.resolve(exchange).address
        if text is None:
            return False
        address = ipaddress.ip_address(text)
        return any(address in network for network in self._networks)


def _token_in(exchange: Exchange) -> bytes:
    """Return the token in Authorization; empty if there is none, which no token is."""
    scheme, _, credentials = (exchange.header(b"authorization") or b"").partition(b" ")
    credentials = credentials.strip()
    if scheme.lower() == b"bearer":
        return credentials
    if scheme.lower() != b"basic":
        return b""
    try:
        return base64.b64decode(credentials, validate=True).partition(b":")[2]
    except binascii.Error:
        return b""


def _quotable(name: str) -> bytes:
    """Return a name as it may stand between quotes (RFC 9110 section 5.6.4)."""
    return "".join(character for character in name if character.isalnum() or character in " ._-").encode(
        "ascii", "ignore"
    )
