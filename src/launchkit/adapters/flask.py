"""Put the kit around a Flask app."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from flask import Flask

from launchkit.adapters.host import Host
from launchkit.adapters.routes import AppRoute
from launchkit.adapters.wsgi import WsgiAdapter
from launchkit.errors import InstallError


def install(app: Flask, host: Host) -> Callable[[], AbstractContextManager[object]]:
    """Make the kit the outermost layer of `app`, and return the context that webhook handlers of the app run in.

    Raises:
        InstallError: if a kit is installed already.
    """
    if "launchkit" in app.extensions:
        raise InstallError("LaunchKit is installed in this app already: call kit.install(app) once")
    app.extensions["launchkit"] = host
    app.wsgi_app = WsgiAdapter(app.wsgi_app, host)  # type: ignore[method-assign]  # the seam Flask documents for this
    return app.app_context


def app_routes(app: Flask) -> Iterator[AppRoute]:
    """Return the app's routes."""
    for rule in app.url_map.iter_rules():
        yield frozenset(rule.methods or ()), rule.rule
