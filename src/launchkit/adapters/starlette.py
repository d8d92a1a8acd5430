"""Put the kit around a Starlette or FastAPI app, outside of everything that the framework itself puts around it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Final, cast

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Host, Match, Mount, Router
from starlette.types import ASGIApp, Scope

from launchkit.adapters.asgi import AsgiAdapter
from launchkit.adapters.facts import STRANGERS, AppFacts, Cors, Resolved, SessionCookie
from launchkit.adapters.host import Host as KitHost
from launchkit.adapters.routes import AppRoute, app_routes
from launchkit.errors import InstallError

DEEPEST: Final = 20
"""Apps within apps, or layers around one, that are followed: a mount may lead back to itself."""


def install(app: Starlette, host: KitHost) -> None:
    """Make the kit the outermost layer of `app`, so that a 500 passes through it as well.

    Raises:
        InstallError: if a kit is installed already.
    """
    if hasattr(app.state, "launchkit"):
        raise InstallError("LaunchKit is installed in this app already: call kit.install(app) once")
    app.state.launchkit = host
    build = app.build_middleware_stack

    def build_with_kit() -> ASGIApp:
        return AsgiAdapter(build(), host, routes_of=app)

    app.build_middleware_stack = build_with_kit  # type: ignore[method-assign]  # the seam that FastAPI keeps too
    if app.middleware_stack is not None:
        app.middleware_stack = app.build_middleware_stack()


class StarletteView:
    """An `AppView` of a Starlette or FastAPI app and of those mounted in it."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    def routes(self) -> Iterator[AppRoute]:
        """Return the routes, those in routers and mounts included."""
        return app_routes(self._app)

    def resolve(self, method: str, path: str, mount: str = "") -> Resolved:
        """Walk the routers as a request does."""
        mount = mount or getattr(self._app, "root_path", "")
        scope: Scope = {
            "type": "http",
            "method": method,
            "path": path,
            "root_path": mount,
            "headers": [],
            "path_params": {},
        }
        return _resolve(self._app.router, scope, DEEPEST)

    def facts(self) -> AppFacts:
        """Read the middleware."""
        apps = list(_apps(self._app, DEEPEST))
        found = list(chain.from_iterable(app.user_middleware for app in apps))
        trusted = [options.get("allowed_hosts") or "*" for options in _options(found, "TrustedHostMiddleware")]
        return AppFacts(
            debug=any(app.debug for app in apps),
            cors=tuple(map(_cors, _options(found, "CORSMiddleware"))),
            hosts=next((tuple(hosts) for hosts in trusted if "*" not in hosts), None),
            session_cookies=tuple(map(_cookie, _options(found, "SessionMiddleware"))),
            redirects_to_https=bool(_options(found, "HTTPSRedirectMiddleware")),
        )


# --- routes ----------------------------------------------------------------------------------------------------------


def _resolve(router: Router, scope: Scope, depth: int) -> Resolved:
    if depth == 0:
        return Resolved(404)
    partial = False
    for route in _candidates(router):
        if isinstance(route, Host):  # which of them it is depends on the host: any may be meant
            found = _enter(route.app, scope, depth)
            if found.status == 200:
                return found
            continue
        match, further = route.matches(dict(scope))
        if match is Match.FULL:
            return _arrive(route, {**scope, **further}, depth)
        partial = partial or match is Match.PARTIAL
    if partial:
        return Resolved(405)
    return _redirect(router, scope) or _remaining(router, scope)


def _candidates(router: Router) -> Iterator[Any]:
    """Return the routes in their order; FastAPI keeps those of an included router behind one that only it can match."""
    for route in router.routes:
        contexts: Any = getattr(route, "effective_route_contexts", None)
        for one in (route,) if contexts is None else contexts():
            yield getattr(one, "starlette_route", None) or one


def _arrive(route: Any, scope: Scope, depth: int) -> Resolved:
    if isinstance(route, Mount):
        return _enter(route.app, scope, depth)
    return Resolved(200, id(route.endpoint))


def _enter(app: ASGIApp, scope: Scope, depth: int) -> Resolved:
    """Go on in a mounted app; one that has no router is where the request ends."""
    router = _router_of(app)
    if router is None:
        return Resolved(200, (id(app), _route_path(scope)))
    return _resolve(router, scope, depth - 1)


def _redirect(router: Router, scope: Scope) -> Resolved | None:
    path: str = scope["path"]
    if not router.redirect_slashes or _route_path(scope) == "/":
        return None
    other = path.rstrip("/") if path.endswith("/") else path + "/"
    redirected = {**scope, "path": other}
    if any(route.matches(dict(redirected))[0] is not Match.NONE for route in _candidates(router)):
        return Resolved(307, location=other)
    return None


def _remaining(router: Router, scope: Scope) -> Resolved:
    """Look at what takes the requests that no route did: FastAPI's frontends, or a default of the app's own."""
    late: Iterable[Any] = getattr(router, "_iter_low_priority_routes", tuple)()
    if any(route.matches(dict(scope))[0] is Match.FULL for route in late):
        return Resolved(200, (id(router), _route_path(scope)))
    if getattr(router.default, "__name__", "") != "not_found":
        return Resolved(200, (id(router.default), _route_path(scope)))
    return Resolved(404)


def _route_path(scope: Scope) -> str:
    """Return the path below the mount, as Starlette's routes match it."""
    path: str = scope["path"]
    root: str = scope["root_path"]
    return path[len(root) :] if root and (path == root or path.startswith(root + "/")) else path


def _layers(app: object) -> Iterator[object]:
    """Return an app and what it is wrapped around, from outside in."""
    for _ in range(DEEPEST):
        if app is None:
            return
        yield app
        app = getattr(app, "app", None) if not isinstance(app, (Starlette, Router)) else None


def _router_of(app: object) -> Router | None:
    for layer in _layers(app):
        if isinstance(layer, Starlette):
            return layer.router
        if isinstance(layer, Router):
            return layer
    return None


# --- middleware ------------------------------------------------------------------------------------------------------


def _apps(app: Starlette, depth: int) -> Iterator[Starlette]:
    """Return an app and those mounted in it."""
    yield app
    for route in _candidates(app.router) if depth else ():
        if isinstance(route, (Mount, Host)):
            inner = next((layer for layer in _layers(route.app) if isinstance(layer, Starlette)), None)
            if inner is not None and inner is not app:
                yield from _apps(inner, depth - 1)


def _options(found: Iterable[Middleware], name: str) -> list[dict[str, Any]]:
    """Return the arguments of every middleware of one of Starlette's classes, known by name so as not to import it."""
    return [
        inspect.signature(middleware.cls).bind_partial(None, *middleware.args, **middleware.kwargs).arguments
        for middleware in found
        if any(
            kind.__name__ == name and kind.__module__.startswith("starlette.")
            for kind in getattr(middleware.cls, "__mro__", ())
        )
    ]


def _cors(options: dict[str, Any]) -> Cors:
    expression = options.get("allow_origin_regex")
    pattern = re.compile(expression) if expression is not None else None
    any_origin = "*" in options.get("allow_origins", ()) or (
        pattern is not None and any(pattern.fullmatch(origin) for origin in STRANGERS)
    )
    return Cors(any_origin, bool(options.get("allow_credentials")))


def _cookie(options: dict[str, Any]) -> SessionCookie:
    return SessionCookie(
        name=options.get("session_cookie", "session"),
        secret=str(options.get("secret_key", "")),
        secure=bool(options.get("https_only")),
        same_site=cast("str | None", options.get("same_site", "lax")),
    )
