"""The same small app on each framework, with the kit around it: what the conformance suite is run against.

Every app answers the same routes. `World` is what an app and its test share: the clock, which apps let pass by
themselves so that no test has to wait, and what they saw.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fastapi import BackgroundTasks, FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, StreamingResponse
from flask import Flask, jsonify, redirect, send_file
from flask import Response as FlaskResponse
from flask import request as flask_request
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request as StarletteRequest
from starlette.routing import Route

from launchkit import LaunchKit, Settings
from launchkit.testing import FrozenClock
from tests.support.clients import AsgiClient, Reply, WsgiClient

NAMES = ("asgi", "starlette", "fastapi", "wsgi", "flask")


class Boom(Exception):
    """What the apps raise."""


@dataclass
class World:
    """What an app and its test share."""

    clock: FrozenClock = field(default_factory=FrozenClock)
    reply: Callable[[], Reply] = Reply
    calls: int = 0
    seen: list[Any] = field(default_factory=list)
    file: str = ""

    def stream(self) -> Iterator[bytes]:
        """Three chunks, 0.1 s apart; `seen` tells how many had reached the client when the next was asked for."""
        for number in range(3):
            self.clock.advance(0.1)
            yield b"chunk %d;" % number
            self.seen.append(len(self.reply().chunks))

    async def astream(self) -> AsyncIterator[bytes]:
        for chunk in self.stream():
            yield chunk

    def broken_stream(self) -> Iterator[bytes]:
        yield b"begun;"
        raise Boom

    async def abroken_stream(self) -> AsyncIterator[bytes]:
        for chunk in self.broken_stream():
            yield chunk

    def background(self) -> None:
        self.clock.advance(5)
        self.seen.append("background")


@dataclass
class Target:
    """One app with its kit and a client."""

    name: str
    world: World
    kit: LaunchKit
    client: Any

    def request(self, method: str, path: str, *args: Any, **kwargs: Any) -> Reply:
        reply: Reply = self.client.request(method, path, *args, **kwargs)
        return reply

    @property
    def is_async(self) -> bool:
        return isinstance(self.client, AsgiClient)

    def close(self) -> None:
        if isinstance(self.client, AsgiClient):
            self.client.runner.run(self.kit.astop())
        else:
            self.kit.stop()
        self.client.close()


def build(name: str, settings: Settings, file: str = "") -> Target:
    """Return the app called `name` with a kit of these settings around it."""
    world = World(file=file)
    kit = LaunchKit(settings, clock=world.clock)
    app = {
        "asgi": raw_asgi,
        "starlette": starlette_app,
        "fastapi": fastapi_app,
        "wsgi": raw_wsgi,
        "flask": flask_app,
    }[name](world)
    if name == "asgi":
        app = kit.asgi(app)
    elif name == "wsgi":
        app = kit.wsgi(app)
    else:
        kit.install(app)
    client = WsgiClient(app) if name in ("wsgi", "flask") else AsgiClient(app)
    world.reply = lambda: client.reply
    return Target(name, world, kit, client)


def login_answer(body: bytes) -> tuple[int, dict[str, str]]:
    try:
        good = json.loads(body)["password"] == "right"
    except (ValueError, KeyError, TypeError):
        good = False
    return (200, {"status": "welcome"}) if good else (401, {"status": "wrong"})


# --- Starlette -----------------------------------------------------------------------------------------------------


def starlette_app(world: World) -> Starlette:
    async def hello(request: StarletteRequest) -> PlainTextResponse:
        return PlainTextResponse("hello", headers={"x-app": "yes"})

    async def item(request: StarletteRequest) -> JSONResponse:
        return JSONResponse({"id": request.path_params["id"]})

    async def stream(request: StarletteRequest) -> StreamingResponse:
        return StreamingResponse(world.astream(), media_type="text/plain")

    async def boom(request: StarletteRequest) -> PlainTextResponse:
        raise Boom

    async def boom_late(request: StarletteRequest) -> StreamingResponse:
        return StreamingResponse(world.abroken_stream(), media_type="text/plain")

    async def echo(request: StarletteRequest) -> PlainTextResponse:
        return PlainTextResponse(await request.body())

    async def login(request: StarletteRequest) -> JSONResponse:
        world.calls += 1
        status, content = login_answer(await request.body())
        return JSONResponse(content, status)

    async def counted(request: StarletteRequest) -> PlainTextResponse:
        world.calls += 1
        return PlainTextResponse(f"call {world.calls}")

    async def background(request: StarletteRequest) -> PlainTextResponse:
        return PlainTextResponse("later", background=BackgroundTask(world.background))

    async def file(request: StarletteRequest) -> FileResponse:
        return FileResponse(world.file)

    async def cookies(request: StarletteRequest) -> PlainTextResponse:
        response = PlainTextResponse("cookies", headers={"x-request-id": "the-apps-own", "x-frame-options": "DENY"})
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        return response

    async def moved(request: StarletteRequest) -> RedirectResponse:
        return RedirectResponse("/hello")

    async def identity(request: StarletteRequest) -> PlainTextResponse:
        from launchkit import request_id

        return PlainTextResponse(request_id.get())

    return Starlette(
        routes=[
            Route("/hello", hello),
            Route("/items/{id}", item),
            Route("/stream", stream),
            Route("/boom", boom),
            Route("/boom-late", boom_late),
            Route("/echo", echo, methods=["POST"]),
            Route("/login", login, methods=["POST"]),
            Route("/counted", counted),
            Route("/background", background),
            Route("/file", file),
            Route("/cookies", cookies),
            Route("/moved", moved),
            Route("/identity", identity),
        ]
    )


# --- FastAPI -------------------------------------------------------------------------------------------------------


def fastapi_app(world: World) -> FastAPI:
    app = FastAPI()

    @app.api_route("/hello", methods=["GET", "HEAD"])
    async def hello() -> PlainTextResponse:
        return PlainTextResponse("hello", headers={"x-app": "yes"})

    @app.get("/items/{id}")
    async def item(id: str) -> dict[str, str]:  # noqa: A002
        return {"id": id}

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(world.astream(), media_type="text/plain")

    @app.get("/boom")
    async def boom() -> None:
        raise Boom

    @app.get("/boom-late")
    async def boom_late() -> StreamingResponse:
        return StreamingResponse(world.abroken_stream(), media_type="text/plain")

    @app.post("/echo")
    async def echo(request: Request) -> PlainTextResponse:
        return PlainTextResponse(await request.body())

    @app.post("/login")
    async def login(request: Request) -> JSONResponse:
        world.calls += 1
        status, content = login_answer(await request.body())
        return JSONResponse(content, status)

    @app.get("/counted")
    async def counted() -> PlainTextResponse:
        world.calls += 1
        return PlainTextResponse(f"call {world.calls}")

    @app.get("/background")
    async def background(tasks: BackgroundTasks) -> PlainTextResponse:
        tasks.add_task(world.background)
        return PlainTextResponse("later", background=tasks)

    @app.get("/file")
    async def file() -> FileResponse:
        return FileResponse(world.file)

    @app.get("/cookies")
    async def cookies() -> PlainTextResponse:
        response = PlainTextResponse("cookies", headers={"x-request-id": "the-apps-own", "x-frame-options": "DENY"})
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        return response

    @app.get("/moved")
    async def moved() -> RedirectResponse:
        return RedirectResponse("/hello")

    @app.get("/identity")
    async def identity() -> PlainTextResponse:
        from launchkit import request_id

        return PlainTextResponse(request_id.get())

    return app


# --- Flask ---------------------------------------------------------------------------------------------------------


def flask_app(world: World) -> Flask:
    app = Flask(__name__)
    plain = {"content-type": "text/plain"}

    @app.get("/hello")
    def hello() -> Any:
        return "hello", 200, plain | {"x-app": "yes"}

    @app.get("/items/<id>")
    def item(id: str) -> Any:  # noqa: A002
        return jsonify(id=id)

    @app.get("/stream")
    def stream() -> Any:
        return FlaskResponse(world.stream(), mimetype="text/plain")

    @app.get("/boom")
    def boom() -> Any:
        raise Boom

    @app.get("/boom-late")
    def boom_late() -> Any:
        return FlaskResponse(world.broken_stream(), mimetype="text/plain")

    @app.post("/echo")
    def echo() -> Any:
        return flask_request.get_data(), 200, plain

    @app.post("/login")
    def login() -> Any:
        world.calls += 1
        status, content = login_answer(flask_request.get_data())
        return jsonify(content), status

    @app.get("/counted")
    def counted() -> Any:
        world.calls += 1
        return f"call {world.calls}", 200, plain

    @app.get("/file")
    def file() -> Any:
        return send_file(world.file)

    @app.get("/cookies")
    def cookies() -> Any:
        response = FlaskResponse("cookies", headers={"X-Request-ID": "the-apps-own", "X-Frame-Options": "DENY"})
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        return response

    @app.get("/moved")
    def moved() -> Any:
        return redirect("/hello", 307)

    @app.get("/identity")
    def identity() -> Any:
        from launchkit import request_id

        return request_id.get(), 200, plain

    return app


# --- no framework --------------------------------------------------------------------------------------------------


def simple_answer(world: World, method: str, path: str, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
    plain = [("content-type", "text/plain")]
    if path == "/hello":
        return 200, [*plain, ("x-app", "yes"), ("content-length", "5")], b"" if method == "HEAD" else b"hello"
    if path == "/echo" and method == "POST":
        return 200, plain, body
    if path == "/login" and method == "POST":
        world.calls += 1
        status, content = login_answer(body)
        return status, [("content-type", "application/json")], json.dumps(content).encode()
    if path == "/counted":
        world.calls += 1
        return 200, plain, b"call %d" % world.calls
    if path == "/boom":
        raise Boom
    if path == "/cookies":
        own = [("x-request-id", "the-apps-own"), ("x-frame-options", "DENY")]
        return 200, [*plain, *own, ("set-cookie", "a=1"), ("set-cookie", "b=2")], b"cookies"
    if path == "/moved":
        return 307, [("location", "/hello")], b""
    if path == "/identity":
        from launchkit import request_id

        return 200, plain, request_id.get().encode()
    if path.startswith("/items/"):
        return 200, [("content-type", "application/json")], json.dumps({"id": path[7:]}).encode()
    return 404, plain, b"Not Found"


def raw_asgi(world: World) -> Any:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        if scope["type"] == "websocket":
            world.seen.append(set(scope))
            await send({"type": "websocket.close", "code": 1000})
            return
        plain = [(b"content-type", b"text/plain")]
        if scope["path"] in ("/stream", "/boom-late"):
            await send({"type": "http.response.start", "status": 200, "headers": plain})
            chunks = world.stream() if scope["path"] == "/stream" else world.broken_stream()
            for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return
        if scope["path"] == "/trailers":
            await send({"type": "http.response.start", "status": 200, "headers": plain, "trailers": True})
            await send({"type": "http.response.body", "body": b"body"})
            world.clock.advance(0.5)
            await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")], "more_trailers": False})
            return
        if scope["path"] == "/pathsend":
            await send({"type": "http.response.start", "status": 200, "headers": plain})
            world.clock.advance(0.25)
            await send({"type": "http.response.pathsend", "path": world.file})
            world.clock.advance(9)
            return
        if scope["path"] == "/background":
            await send({"type": "http.response.start", "status": 200, "headers": plain})
            await send({"type": "http.response.body", "body": b"later"})
            world.background()
            return
        body = b""
        while scope["method"] == "POST":
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        status, headers, content = simple_answer(world, scope["method"], scope["path"], body)
        encoded = [(key.encode(), value.encode()) for key, value in headers]
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        await send({"type": "http.response.body", "body": content})

    return app


def raw_wsgi(world: World) -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
        if path in ("/stream", "/boom-late"):
            start_response("200 OK", [("content-type", "text/plain")])
            return world.stream() if path == "/stream" else world.broken_stream()
        if path == "/file":
            start_response("200 OK", [("content-type", "text/plain")])
            with open(world.file, "rb") as opened:  # noqa: PTH123
                content = opened.read()
            import io

            return environ["wsgi.file_wrapper"](io.BytesIO(content))
        if path == "/write":
            write = start_response("200 OK", [("content-type", "text/plain")])
            write(b"written;")
            return [b"returned"]
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"] or 0))
        status, headers, content = simple_answer(world, environ["REQUEST_METHOD"], path, body)
        start_response(f"{status} Status", headers)
        return [content]

    return app
