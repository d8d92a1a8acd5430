"""Put the kit around a Flask app."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import chain
from typing import Any

from flask import Flask
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.routing import MapAdapter, RequestRedirect

from launchkit.adapters.environ import Environ
from launchkit.adapters.facts import STRANGERS, AppFacts, Cors, Resolved, SessionCookie
from launchkit.adapters.host import Host
from launchkit.adapters.routes import AppRoute
from launchkit.adapters.wsgi import App, StartResponse, WsgiAdapter
from launchkit.adapters.wsgi_input import limited_within
from launchkit.errors import InstallError


def install(app: Flask, host: Host) -> Callable[[], AbstractContextManager[object]]:
    """Make the kit the outermost layer of `app`, and return the context that webhook handlers of the app run in.

    Raises:
        InstallError: if a kit is installed already.
    """
    if "launchkit" in app.extensions:
        raise InstallError("LaunchKit is installed in this app already: call kit.install(app) once")
    app.extensions["launchkit"] = host
    app.wsgi_app = WsgiAdapter(QuietReading(app.wsgi_app), host)  # type: ignore[method-assign]  # the seam Flask documents for this
    return app.app_context


class QuietReading:
    """A Flask app for which a body that goes over its limit while it is read is a 413, as one that Flask limits is.

    Any other exception would be logged as a failure of the app's, with a traceback.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        limited = limited_within(environ["wsgi.input"])
        if limited is not None:
            limited.error = RequestEntityTooLarge
        return self.app(environ, start_response)


def app_routes(app: Flask) -> Iterator[AppRoute]:
    """Return the app's routes."""
    for rule in app.url_map.iter_rules():
        yield frozenset(rule.methods or ()), rule.rule


class FlaskView:
    """An `AppView` of a Flask app."""

    def __init__(self, app: Flask) -> None:
        self._app = app

    def routes(self) -> Iterator[AppRoute]:
        """Return the routes, those of blueprints included."""
        return app_routes(self._app)

    def resolve(self, method: str, path: str, mount: str = "") -> Resolved:
        """Ask the URL map; where rules are for one host or subdomain, any may be meant."""
        below = path[len(mount) :] if mount and path.startswith(mount) else path
        for prefix, inner in _dispatched(self._app.wsgi_app):
            if below == prefix or below.startswith(prefix + "/"):
                return Resolved(200, (id(inner), below))
        found = [self._match(adapter, method, below, mount) for adapter in self._adapters()]
        return min(found, key=lambda resolved: resolved.status, default=Resolved(404))

    def _match(self, adapter: MapAdapter, method: str, path: str, mount: str) -> Resolved:
        try:
            endpoint, _ = adapter.match(path, method)
        except RequestRedirect as redirect:
            target = adapter.server_name + "/"
            return Resolved(redirect.code or 308, location=f"{mount}/{redirect.new_url.partition(target)[2]}")
        except HTTPException as error:
            return Resolved(error.code or 404)
        return Resolved(
            200, id(self._app.view_functions[endpoint]) if endpoint in self._app.view_functions else endpoint
        )

    def _adapters(self) -> Iterator[MapAdapter]:
        url_map = self._app.url_map
        for host, subdomain in dict.fromkeys((rule.host, rule.subdomain) for rule in url_map.iter_rules()):
            if url_map.host_matching:
                yield url_map.bind(host or "launchkit.invalid")
            else:
                yield url_map.bind("launchkit.invalid", subdomain=subdomain or "")

    def facts(self) -> AppFacts:
        """Read the configuration."""
        config = self._app.config
        secret = self._app.secret_key
        cookie = SessionCookie(
            name=config["SESSION_COOKIE_NAME"],
            secret=secret.decode("latin-1") if isinstance(secret, bytes) else secret,
            secure=bool(config["SESSION_COOKIE_SECURE"]),
            same_site=config["SESSION_COOKIE_SAMESITE"],
        )
        return AppFacts(
            debug=self._app.debug,
            cors=tuple(_cors(self._app)),
            hosts=_hosts(config.get("TRUSTED_HOSTS")),
            session_cookies=(cookie,) if secret else (),
        )


def _dispatched(layer: object) -> Iterator[tuple[str, object]]:
    """Return the prefixes that Werkzeug's `DispatcherMiddleware` sends to other apps, and those."""
    while layer is not None:
        yield from getattr(layer, "mounts", {}).items()
        layer = getattr(layer, "app", None)


def _hosts(trusted: Iterable[str] | None) -> tuple[str, ...] | None:
    """Return Flask's TRUSTED_HOSTS, where a leading dot means a host and all below it."""
    if trusted is None:
        return None
    return tuple(host for name in trusted for host in ((name[1:], f"*{name}") if name.startswith(".") else (name,)))


def _cors(app: Flask) -> Iterator[Cors]:
    """Read the rules of Flask-CORS, which keeps them in the closure of its after-request function."""
    for function in chain.from_iterable(app.after_request_funcs.values()):
        if function.__module__.partition(".")[0] == "flask_cors":
            resources = inspect.getclosurevars(function).nonlocals.get("resources", ())
            for _, options in resources:
                yield Cors(
                    _lets_strangers_in(_option(options, "origins")), bool(_option(options, "supports_credentials"))
                )


def _option(options: Any, name: str) -> Any:
    return options.get(name) if isinstance(options, dict) else getattr(options, name, None)


def _lets_strangers_in(origins: Iterable[str | re.Pattern[str]] | None) -> bool:
    patterns = [re.compile(origin) if isinstance(origin, str) else origin for origin in origins or ()]
    return any(pattern.match(stranger) for pattern in patterns for stranger in STRANGERS)
