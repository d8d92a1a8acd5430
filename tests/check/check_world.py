"""Apps whose handlers, dependencies and middleware must never run, and kits that are installed in them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from flask import Blueprint, Flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, Route

from launchkit import Finding, LaunchKit, Settings
from launchkit.check.selfcheck import Report
from launchkit.check.surroundings import Surroundings


def never(*arguments: Any, **options: Any) -> Any:
    """Stand in for everything of an app's that a check must leave alone."""
    raise AssertionError("the check has run something of the app's")


def login() -> Any:
    never()


class NeverMiddleware:
    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        never()


def fastapi_plain() -> FastAPI:
    app = FastAPI(dependencies=[Depends(never)], middleware=[Middleware(NeverMiddleware)])
    app.post("/login")(login)
    return app


def fastapi_nested() -> FastAPI:
    router = APIRouter(dependencies=[Depends(never)])
    router.post("/login")(login)
    outer = APIRouter()
    outer.include_router(router, prefix="/auth")
    app = FastAPI()
    app.include_router(outer, prefix="/v1")
    return app


def fastapi_mounted() -> FastAPI:
    app = FastAPI()
    app.mount("/v1/auth", fastapi_plain())
    return app


def starlette_mounted() -> Starlette:
    routes = [Mount("/auth", routes=[Route("/login", login, methods=["POST"])])]
    return Starlette(routes=[Mount("/v1", app=Starlette(routes=routes, middleware=[Middleware(NeverMiddleware)]))])


def flask_blueprint() -> Flask:
    app = Flask(__name__)
    blueprint = Blueprint("auth", __name__, url_prefix="/v1/auth")
    blueprint.post("/login", strict_slashes=False)(login)
    app.register_blueprint(blueprint)
    app.before_request(never)
    return app


NESTED = {
    "fastapi routers": fastapi_nested,
    "fastapi sub-app": fastapi_mounted,
    "starlette mounts": starlette_mounted,
    "flask blueprint": flask_blueprint,
}
"""Apps with a login at /v1/auth/login."""


def kit_in(app: Any, where: Surroundings | None = None, **settings: Any) -> LaunchKit:
    """Return a kit that is installed in an app, in surroundings that say nothing unless they are given."""
    kit = LaunchKit(Settings(**{"redaction": {"enabled": False}, **settings}))  # its proof has tests of its own
    kit.self_check._where = where or Surroundings({})
    kit.install(app)
    return kit


def report_of(app: Any, where: Surroundings | None = None, **settings: Any) -> Report:
    return kit_in(app, where, **settings).self_check.run()


def codes(findings: tuple[Finding, ...]) -> list[str]:
    return [finding.code for finding in findings]


def found(report: Report, code: str) -> Finding:
    """Return the one finding of a code."""
    (finding,) = [finding for finding in report.findings if finding.code == code]
    return finding
