"""What a check says of a path is what the framework does with it."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from fastapi import APIRouter, FastAPI
from flask import Blueprint, Flask
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, Router
from tests.support.clients import AsgiClient, WsgiClient
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from launchkit.adapters.facts import AppView
from launchkit.adapters.flask import FlaskView
from launchkit.adapters.starlette import StarletteView

PATHS = [
    f"{prefix}{path}{end}"
    for prefix in ("", "/v1", "/v1/deep", "/mounted", "/inner/7", "/plain", "/asgi", "//v1")
    for path in ("", "/", "/login", "/slash", "/items/1", "/items/x", "/items/a/b", "/LOGIN")
    for end in ("", "/", "%0A", ".json", ";x")
]


async def endpoint(request: Any) -> PlainTextResponse:
    return PlainTextResponse("")


async def opaque(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("")(scope, receive, send)


def routes() -> list[Route]:
    return [
        Route("/login", endpoint, methods=["POST"]),
        Route("/slash/", endpoint, methods=["GET", "POST"]),
        Route("/items/{id:int}", endpoint),
    ]


def starlette_app() -> Starlette:
    return Starlette(
        routes=[
            *routes(),
            Mount("/v1", routes=[Mount("/deep", routes=routes()), *routes()]),
            Mount("/mounted", app=Starlette(routes=routes())),
            Mount("/inner/{tenant}", app=Router(routes=routes(), redirect_slashes=False)),
            Mount("/asgi", app=opaque),
        ]
    )


def fastapi_app() -> FastAPI:
    router = APIRouter()
    router.post("/login")(lambda: 1)
    router.get("/slash/")(lambda: 1)
    router.get("/items/{id:int}")(lambda: 1)
    router.mount("/asgi", opaque)
    outer = APIRouter()
    outer.include_router(router, prefix="/deep")
    outer.include_router(router)
    app = FastAPI(openapi_url=None)
    app.include_router(router)
    app.include_router(outer, prefix="/v1")
    app.mount("/mounted", starlette_app())
    inner = FastAPI(openapi_url=None)
    inner.include_router(outer)
    app.mount("/inner/{tenant}", inner)
    return app


def flask_app() -> Flask:
    blueprint = Blueprint("one", __name__)
    blueprint.post("/login", strict_slashes=False)(lambda: "")
    blueprint.get("/slash/", endpoint="slash")(lambda: "")
    blueprint.get("/items/<int:id>", endpoint="items")(lambda id: "")  # noqa: A006
    app = Flask(__name__)
    app.register_blueprint(blueprint)
    app.register_blueprint(blueprint, url_prefix="/v1", name="two")
    app.register_blueprint(blueprint, url_prefix="/v1/deep", name="three")
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/asgi": answer})  # type: ignore[method-assign]
    return app


def answer(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("content-length", "0")])
    return []


@pytest.mark.parametrize("mount", ["", "/served"])
@pytest.mark.parametrize("make", [starlette_app, fastapi_app, flask_app])
def test_a_path_is_resolved_as_the_framework_does(request: pytest.FixtureRequest, make: Any, mount: str) -> None:
    """The status is the framework's own, for every spelling, method and nesting, with and without a prefix."""
    app = make()
    view: AppView = FlaskView(app) if isinstance(app, Flask) else StarletteView(app)
    client: Any = WsgiClient(app) if isinstance(app, Flask) else AsgiClient(app)
    request.addfinalizer(client.close)
    seen = set()
    for path in PATHS:
        for method in ("GET", "POST", "HEAD"):
            asked = path or "/"
            if isinstance(app, Flask):
                reply = client.request(method, asked, SCRIPT_NAME=mount)
            else:
                reply = client.request(method, mount + asked, root_path=mount)
            resolved = view.resolve(method, mount + asked.replace("%0A", "\n"), mount)
            assert resolved.status == reply.status, (method, path)
            seen.add(resolved.status)
            if resolved.location is not None:
                assert resolved.location == unquote(urlsplit(reply.header("location") or "").path), (method, path)
    assert {200, 404, 405} <= seen


def test_routes_of_the_same_handler_are_the_same_place() -> None:
    """And those of others are not; where an app cannot be looked into, the rest of the path tells."""
    app = starlette_app()
    view = StarletteView(app)
    assert view.resolve("POST", "/login") == view.resolve("POST", "/v1/deep/login")
    assert view.resolve("GET", "/asgi/a") == view.resolve("GET", "/asgi/a")
    assert view.resolve("GET", "/asgi/a") != view.resolve("GET", "/asgi/b")


def test_a_mount_of_an_app_in_itself_ends() -> None:
    """A view never recurses for ever."""
    app = Starlette()
    app.mount("", app)
    assert StarletteView(app).resolve("GET", "/x").status == 404
    assert StarletteView(app).facts().debug is False


def test_a_frontend_and_a_default_take_what_no_route_did(tmp_path: Any) -> None:
    """So a path below them is not mistyped."""
    app = FastAPI()
    (tmp_path / "index.html").write_text("x")
    app.frontend("/shop", directory=tmp_path)
    assert StarletteView(app).resolve("GET", "/shop/cart").status == 200
    assert StarletteView(app).resolve("GET", "/other").status == 404
    app.router.default = opaque
    assert StarletteView(app).resolve("GET", "/other").status == 200


def test_flask_rules_for_a_host_or_subdomain_are_found() -> None:
    """Whichever of them it is: the check has no host to ask for."""
    by_subdomain = Flask(__name__, subdomain_matching=True)
    by_subdomain.config["SERVER_NAME"] = "example.org"
    by_subdomain.post("/login", subdomain="api")(lambda: "")
    assert FlaskView(by_subdomain).resolve("POST", "/login").status == 200
    by_host = Flask(__name__, host_matching=True, static_host="static.example.org")
    by_host.post("/login", host="api.example.org")(lambda: "")
    assert FlaskView(by_host).resolve("POST", "/login").status == 200
    assert FlaskView(by_host).resolve("POST", "/nope").status == 404


def test_starlette_routes_for_a_host_are_found() -> None:
    """See above."""
    inner = Router(routes=[Route("/login", endpoint, methods=["POST"])])
    view = StarletteView(Starlette(routes=[Host("api.example.org", app=inner), Route("/other", endpoint)]))
    assert [view.resolve("POST", path).status for path in ("/login", "/other", "/nope")] == [200, 405, 404]
