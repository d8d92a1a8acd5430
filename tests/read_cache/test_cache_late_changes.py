"""What an app commits after its response is not hidden by what was read in between, whatever the framework calls it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from flask import Flask, request
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from tests.support.clients import AsgiClient, Reply, WsgiClient

from launchkit import LaunchKit, Settings
from launchkit.testing import FrozenClock


class Shop:
    """Data that a request changes only when its response has been sent, after somebody else has read it."""

    def __init__(self) -> None:
        self.price = b"old"
        self.between: list[Reply] = []
        self.reader: Any = None

    def read_in_between(self) -> None:
        for _ in range(2):
            self.between.append(self.reader.request("GET", "/price"))

    async def aread_in_between(self) -> None:
        for _ in range(2):
            self.between.append(await self.reader.arequest("GET", "/price"))

    async def acommit(self) -> None:
        await self.aread_in_between()
        self.price = b"new"

    def commit(self) -> None:
        self.read_in_between()
        self.price = b"new"


def fastapi_app(shop: Shop) -> FastAPI:
    """A session that is committed by the dependency that has opened it."""
    app = FastAPI()

    async def session() -> AsyncIterator[None]:
        yield
        await shop.acommit()

    @app.get("/price")
    async def price() -> Any:
        return PlainTextResponse(shop.price)

    @app.post("/price", dependencies=[Depends(session)])
    async def change() -> Any:
        return PlainTextResponse("done")

    return app


def starlette_app(shop: Shop) -> Starlette:
    """A background task."""

    async def price(request: Request) -> PlainTextResponse:
        return PlainTextResponse(shop.price)

    async def change(request: Request) -> PlainTextResponse:
        return PlainTextResponse("done", background=BackgroundTask(shop.acommit))

    return Starlette(routes=[Route("/price", price), Route("/price", change, methods=["POST"])])


def flask_app(shop: Shop) -> Flask:
    """A request's teardown, which extensions for databases commit in."""
    app = Flask(__name__)

    @app.get("/price")
    def price() -> bytes:
        return shop.price

    @app.post("/price")
    def change() -> str:
        return "done"

    @app.teardown_request
    def teardown(error: BaseException | None) -> None:
        if request.method == "POST":
            shop.commit()

    return app


class Closing:
    """A WSGI response that commits when the server closes it."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def __iter__(self) -> Iterator[bytes]:
        yield b"done"

    def close(self) -> None:
        self._shop.commit()


def wsgi_app(shop: Shop) -> Any:
    """A response's own `close` (PEP 3333)."""

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("content-type", "text/plain")])
        return [shop.price] if environ["REQUEST_METHOD"] == "GET" else Closing(shop)

    return app


@pytest.mark.parametrize("make", [fastapi_app, starlette_app, flask_app, wsgi_app])
def test_what_is_committed_after_the_response_is_not_hidden(make: Any, tmp_path: Path) -> None:
    """RFC 9111 section 4.4: a read between response and commit is stored, and not used when the app has returned."""
    kit = LaunchKit(
        Settings(data_dir=tmp_path, read_cache={"rules": {"price": {"paths": "/price"}}}), clock=FrozenClock()
    )
    shop = Shop()
    app = make(shop)
    if make is wsgi_app:
        app = kit.wsgi(app)
    else:
        kit.install(app)
    kind = WsgiClient if make in (wsgi_app, flask_app) else AsgiClient
    client, shop.reader = kind(app), kind(app)
    try:
        assert client.request("POST", "/price").body == b"done"
        assert [(reply.body, reply.header("age")) for reply in shop.between] == [(b"old", None), (b"old", "0")]
        assert client.request("GET", "/price").body == b"new"
    finally:
        if isinstance(client, AsgiClient):
            client.runner.run(kit.astop())
        kit.stop()
        client.close()
        shop.reader.close()
