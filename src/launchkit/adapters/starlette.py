"""Put the kit around a Starlette or FastAPI app, outside of everything that the framework itself puts around it."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.types import ASGIApp

from launchkit.adapters.asgi import AsgiAdapter
from launchkit.adapters.host import Host
from launchkit.errors import InstallError


def install(app: Starlette, host: Host) -> None:
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
