"""What the self-check wants to know of an app, in no framework's words.

A view reads the app when it is asked, because routes and middleware are added after the kit was installed. It never
runs any of them: routes are matched, not called, and middleware is looked at, not made.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from launchkit.adapters.routes import AppRoute

STRANGERS: Final = ("https://stranger.invalid", "http://localhost.stranger.invalid:8080")
"""Origins that no app can mean to name (RFC 2606 section 2): a CORS rule that lets one in lets everybody in."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What the app's router does with a request.

    Attributes:
        status: 200 where a handler would run, else what the framework answers: 307 or 308, 404, 405.
        handler: what would run; equal for two requests that end in the same place.
        location: where a redirect leads, as a path of the same kind as was asked for.
    """

    status: int
    handler: Hashable = None
    location: str | None = None


@dataclass(frozen=True, slots=True)
class Cors:
    """One CORS rule of the app's own: whether it lets any origin in, and with cookies."""

    any_origin: bool
    credentials: bool


@dataclass(frozen=True, slots=True)
class SessionCookie:
    """One session cookie of the app's own, and what it is signed with."""

    name: str
    secret: str | None = field(repr=False)
    secure: bool
    same_site: str | None


@dataclass(frozen=True, slots=True)
class AppFacts:
    """How the app is configured.

    Attributes:
        debug: whether it shows tracebacks to visitors.
        cors: its CORS rules.
        hosts: the hosts that it serves, `*.example.com` for all below one; None where it does not check.
        session_cookies: its session cookies.
        redirects_to_https: whether it sends requests by HTTP to HTTPS.
    """

    debug: bool = False
    cors: tuple[Cors, ...] = ()
    hosts: tuple[str, ...] | None = None
    session_cookies: tuple[SessionCookie, ...] = ()
    redirects_to_https: bool = False


class AppView(Protocol):
    """An app, as the self-check sees it."""

    def routes(self) -> Iterable[AppRoute]:
        """Return the methods and templates of its routes, as far as the framework lists them."""
        ...

    def resolve(self, method: str, path: str, mount: str = "") -> Resolved:
        """Tell what its router does with a request. `path` is decoded and begins with `mount`, where it is served."""
        ...

    def facts(self) -> AppFacts:
        """Return how it is configured."""
        ...
