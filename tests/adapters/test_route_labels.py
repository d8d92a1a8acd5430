"""Routes are labelled by their full template: prefixes of routers and mounts included, concrete values never."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from flask import Blueprint, Flask
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from tests.support.clients import AsgiClient, WsgiClient
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from launchkit import LaunchKit, Settings


async def page(request: Request) -> PlainTextResponse:
    return PlainTextResponse("page")


def fastapi_app(folder: Path) -> FastAPI:
    router = APIRouter()
    router.get("/items/{id}")(lambda id: id)  # noqa: A006
    inner = FastAPI()
    inner.include_router(router, prefix="/zone/{zone}")
    app = FastAPI()
    app.include_router(router, prefix="/v1/{org}")
    app.include_router(router, prefix="/v2")
    app.mount("/inner", inner)
    app.mount("/static", StaticFiles(directory=folder))
    return app


def starlette_app(folder: Path) -> Starlette:
    leaves = [Route("/leaf/{leaf}", page), Mount("/twig/{twig}", routes=[Route("/{bud}", page)])]
    return Starlette(
        routes=[
            Route("/", page),
            Mount("/tree/{tree}", app=Starlette(routes=leaves)),
            Mount("/file/{kind:str}", app=StaticFiles(directory=folder)),
        ]
    )


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("a")
    return tmp_path


class Labelled:
    """Tells the labels that requests to an app were given."""

    def __init__(self, app: Any) -> None:
        self.kit = LaunchKit(Settings())
        self.kit.install(app)
        self.client = WsgiClient(app) if isinstance(app, Flask) else AsgiClient(app)

    def labels(self, *paths: str, **scope: Any) -> set[str]:
        for path in paths:
            self.client.request("GET", path, **scope)
        return {figures.route for figures in self.kit.timing.routes()}


@pytest.fixture(name="fastapi")
def _fastapi(folder: Path) -> Iterator[Labelled]:
    labelled = Labelled(fastapi_app(folder))
    yield labelled
    labelled.client.close()


@pytest.fixture(name="starlette")
def _starlette(folder: Path) -> Iterator[Labelled]:
    labelled = Labelled(starlette_app(folder))
    yield labelled
    labelled.client.close()


def test_prefixes_of_included_routers_are_part_of_the_label(fastapi: Labelled) -> None:
    """Two versions of one router are two routes; ten organisations are one."""
    paths = [f"/v1/org{number}/items/{number}" for number in range(10)]
    assert fastapi.labels(*paths, "/v2/items/3") == {"/v1/{org}/items/{id}", "/v2/items/{id}"}


def test_mounted_apps_are_labelled_with_their_mount(fastapi: Labelled) -> None:
    """Both prefixes: that of the mount and that of the router in it."""
    assert fastapi.labels("/inner/zone/eu/items/3") == {"/inner/zone/{zone}/items/{id}"}


def test_mounted_files_are_one_route(fastapi: Labelled) -> None:
    """A thousand files are not a thousand series."""
    assert fastapi.labels("/static/a.txt", "/static/none.txt") == {"/static/*"}


def test_parameters_of_mounts_are_not_filled_in(starlette: Labelled) -> None:
    """A mount's parameter may be a customer's name."""
    paths = [f"/tree/oak{number}/leaf/{number}" for number in range(5)]
    assert starlette.labels(*paths) == {"/tree/{tree}/leaf/{leaf}"}


def test_mounts_within_mounts_are_all_named(starlette: Labelled) -> None:
    """However deep."""
    assert starlette.labels("/tree/oak/twig/3/4") == {"/tree/{tree}/twig/{twig}/{bud}"}


def test_a_path_that_a_mount_does_not_know_is_labelled_by_the_mount(starlette: Labelled) -> None:
    """It reached the mount, and nothing of what follows is known."""
    assert starlette.labels("/tree/oak/nothing/here", "/file/text/a.txt") == {"/tree/{tree}/*", "/file/{kind}/*"}


def test_unknown_paths_share_one_label(starlette: Labelled) -> None:
    """What scanners look for fills no table."""
    assert starlette.labels("/wp-login.php", "/.env", "/%ff") == {"(unmatched)"}


def test_the_root_path_of_the_server_is_part_of_the_label(starlette: Labelled) -> None:
    """As browsers see it."""
    assert starlette.labels("/app/tree/oak/leaf/1", root_path="/app") == {"/app/tree/{tree}/leaf/{leaf}"}


def test_the_table_of_prefixes_is_bounded(starlette: Labelled) -> None:
    """Made-up values of a mount's parameter cost memory only up to a point, and are labelled all the same."""
    paths = [f"/tree/{number}/leaf/1" for number in range(1_100)]
    assert starlette.labels(*paths) == {"/tree/{tree}/leaf/{leaf}"}


def test_a_route_without_a_template_has_no_label() -> None:
    """A framework of another make may leave something else under the same name."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        scope["route"] = object()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    kit = LaunchKit(Settings())
    client = AsgiClient(kit.asgi(app))
    client.request("GET", "/secret-path")
    assert {figures.route for figures in kit.timing.routes()} == {"(unmatched)"}
    client.close()


def test_a_mount_nobody_listed_has_no_label() -> None:
    """A concrete prefix is never shown for want of its template."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        scope["route"] = Route("/leaf", page)
        scope["root_path"] = "/customer-name"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    kit = LaunchKit(Settings())
    client = AsgiClient(kit.asgi(app))
    client.request("GET", "/customer-name/leaf")
    assert {figures.route for figures in kit.timing.routes()} == {"(unmatched)"}
    client.close()


def test_flask_blueprints_are_labelled_with_their_prefix() -> None:
    """And with the prefix of the dispatcher that the app is mounted by."""
    app = Flask(__name__)
    blueprint = Blueprint("items", __name__, url_prefix="/v1")
    blueprint.get("/items/<int:id>")(lambda id: str(id))  # noqa: A006
    app.register_blueprint(blueprint)
    labelled = Labelled(app)
    assert labelled.labels("/v1/items/1", "/v1/items/2", "/nothing") == {"/v1/items/<int:id>", "(unmatched)"}
    outer = Flask(__name__)
    mounted = Flask(__name__)
    mounted.get("/page/<name>")(lambda name: name)
    outer.wsgi_app = DispatcherMiddleware(outer.wsgi_app, {"/shop": mounted})  # type: ignore[method-assign]
    assert Labelled(outer).labels("/shop/page/a") == {"/shop/page/<name>"}


def test_an_app_that_is_mounted_in_itself_is_served() -> None:
    """Walking its mounts ends."""
    app = Starlette(routes=[Route("/x", page)])
    app.mount("/again", app)
    labelled = Labelled(app)
    assert labelled.labels("/x", "/again/x") <= {"/x", "/again/x", "(unmatched)"}
    assert labelled.kit._failures.counts == {}
    labelled.client.close()
