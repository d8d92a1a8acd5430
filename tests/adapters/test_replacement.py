"""A response that is sent in place of the app's, however the app comes by its own.

The apps write down when they have come to their end, among what the feature that stands outside has seen.
"""

from __future__ import annotations

import asyncio
import http.client
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.pipeline_host import PipelineHost
from tests.adapters.replacing import STORED, Outer, Replacing
from tests.support.clients import Reply
from tests.support.servers import serving
from tests.support.targets import Boom, World, fastapi_app, flask_app, starlette_app

from launchkit.pipeline.exchange import EarlyResponse, Exchange
from launchkit.pipeline.interceptor import Interceptor

App = Callable[..., Any]
Host = Callable[..., PipelineHost]

START = {"type": "http.response.start", "status": 503, "headers": [(b"content-type", b"text/plain")]}
PLAIN = [("Content-Type", "text/plain")]
COMPLETE = ("complete", 200, "/stored", "NoneType")


@pytest.fixture(name="outer")
def _outer() -> Outer:
    return Outer()


@pytest.fixture(name="host")
def _host(tmp_path: Path, outer: Outer) -> Iterator[Host]:
    made: list[PipelineHost] = []

    def make(name: str, app: Any, replacing: Interceptor | None = None) -> PipelineHost:
        host = PipelineHost(name, [outer, replacing or Replacing()], tmp_path)
        host.client.app.app = app
        made.append(host)
        return host

    yield make
    for host in made:
        assert host.failures.counts == {}
        host.close()


def is_stored(reply: Reply) -> bool:
    """Whether the client has received the stored response, whole and with what hooks further out have added."""
    expected = {"content-type": "text/html", "x-stored": "yes", "content-length": "6", "x-outer": "1"}
    return (reply.status, dict(reply.headers), reply.body) == (200, expected, b"stored")


# --- ASGI ----------------------------------------------------------------------------------------------------------


def asgi_apps(seen: list[Any]) -> Iterator[tuple[str, App]]:
    async def whole(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"down"})
        seen.append("end")

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"down", "more_body": True})
        await send({"type": "http.response.body"})
        seen.append("end")

    async def trailers(scope: Any, receive: Any, send: Any) -> None:
        await send({**START, "trailers": True})
        await send({"type": "http.response.body", "body": b"down"})
        await send({"type": "http.response.trailers", "headers": []})
        seen.append("end")

    async def file(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.zerocopysend", "file": 3, "more_body": True})
        await send({"type": "http.response.pathsend", "path": "/dev/null"})
        seen.append("end")

    async def twice(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send({**START, "status": 200})
        await send({"type": "http.response.body", "body": b"down"})
        seen.append("end")

    async def raising(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"down", "more_body": True})
        seen.append("end")
        raise Boom

    for app in (whole, stream, trailers, file, twice, raising):
        yield app.__name__, app


ASGI_APPS = [name for name, _ in asgi_apps([])]


@pytest.mark.parametrize("asks", [False, True])
@pytest.mark.parametrize("name", ASGI_APPS)
def test_what_an_asgi_app_sends_goes_nowhere(host: Host, outer: Outer, name: str, asks: bool) -> None:
    """The client has the whole stored response while the app goes on to its end, and what it raises is raised."""
    app = dict(asgi_apps(outer.seen))[name]
    reply = host("asgi", app, Replacing(asks=asks)).request("GET", "/")
    assert is_stored(reply)
    assert [set(message) for message in reply.messages] == [{"type", "status", "headers"}, {"type", "body"}]
    assert type(reply.error) is (Boom if name == "raising" else type(None))
    assert outer.seen == [200, COMPLETE, "end", "exit"]


def test_the_start_message_of_an_app_stays_its_own(host: Host) -> None:
    """An app may send one object many times."""
    before = {**START, "headers": list(START["headers"])}  # type: ignore[call-overload]
    bare = host("asgi", dict(asgi_apps([]))["whole"])
    assert is_stored(bare.request("GET", "/"))
    assert is_stored(bare.request("GET", "/"))
    assert before == START


def test_a_client_that_leaves_meanwhile_ends_the_exchange_once(host: Host, outer: Outer) -> None:
    """The app is told where it starts its response, as it would be by the server."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(OSError, match="gone"):
            await send(START)
        await send({"type": "http.response.body", "body": b"down"})
        outer.seen.append("end")

    reply = host("asgi", app).request("GET", "/", disconnect_after=0)
    assert (len(reply.messages), reply.error) == (1, None)
    assert outer.seen == [200, COMPLETE, "end", "exit"]


def test_an_app_that_is_cancelled_afterwards_is_cancelled(host: Host, outer: Outer) -> None:
    """It belongs to whoever cancelled; the client has its response."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        raise asyncio.CancelledError

    bare = host("asgi", app)

    async def call() -> None:
        with pytest.raises(asyncio.CancelledError):
            await bare.client.arequest("GET", "/")

    bare.client.runner.run(call())
    assert is_stored(bare.client.reply)
    assert outer.seen == [200, COMPLETE, "exit"]


def test_a_refusal_comes_too_late_for_a_response_that_was_sent(host: Host, outer: Outer) -> None:
    """Reading too much of the request afterwards takes nothing back, and what the app raises is raised."""

    class Limiting(Replacing):
        def on_request(self, exchange: Exchange) -> None:
            super().on_request(exchange)
            exchange.limit_body(10, EarlyResponse(413, b"too large"))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        assert (await receive())["type"] == "http.disconnect"
        raise Boom

    def wsgi_app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("503 Down", PLAIN)
        with pytest.raises(OSError, match="larger"):
            environ["wsgi.input"].read()
        yield b"down"
        raise Boom

    for name, one in (("asgi", app), ("wsgi", wsgi_app)):
        more = {} if name == "asgi" else {"CONTENT_LENGTH": "", "wsgi.input_terminated": True}
        reply = host(name, one, Limiting()).request("POST", "/", [], b"x" * 11, **more)
        assert is_stored(reply)
        assert isinstance(reply.error, Boom)


# --- WSGI ----------------------------------------------------------------------------------------------------------


class Closing:
    """A body that tells how often it was closed."""

    def __init__(self, chunks: Iterator[bytes], seen: list[Any]) -> None:
        self.chunks = chunks
        self.seen = seen

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks

    def __len__(self) -> int:
        return 3

    def close(self) -> None:
        self.seen.append("closed")


def wsgi_apps(seen: list[Any]) -> Iterator[tuple[str, App]]:
    def chunks(*parts: bytes, error: Exception | None = None) -> Iterator[bytes]:
        yield from parts
        seen.append("end")
        if error is not None:
            raise error

    def changed_mind(start_response: Any, status: str = "503 Down") -> None:
        start_response(status, PLAIN, (Boom, Boom(), None))

    def at_once(environ: Any, start_response: Any) -> Any:
        start_response("503 Down", PLAIN)
        return Closing(chunks(b"do", b"", b"wn"), seen)

    def late(environ: Any, start_response: Any) -> Any:
        def generate() -> Iterator[bytes]:
            start_response("503 Down", PLAIN)
            yield from chunks(b"do", b"wn")

        return Closing(generate(), seen)

    def late_and_empty(environ: Any, start_response: Any) -> Any:
        def generate() -> Iterator[bytes]:
            start_response("503 Down", PLAIN)
            yield from chunks()

        return Closing(generate(), seen)

    def written(environ: Any, start_response: Any) -> Any:
        start_response("503 Down", PLAIN)(b"do")
        return Closing(chunks(b"wn"), seen)

    def written_late(environ: Any, start_response: Any) -> Any:
        def generate() -> Iterator[bytes]:
            start_response("503 Down", PLAIN)(b"do")
            yield from chunks(b"wn")

        return Closing(generate(), seen)

    def changed(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [*PLAIN, ("Content-Length", "2")])
        changed_mind(start_response)
        return Closing(chunks(b"down"), seen)

    def changed_late(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", PLAIN)

        def generate() -> Iterator[bytes]:
            yield b""
            changed_mind(start_response)
            yield from chunks(b"down")

        return Closing(generate(), seen)

    def changed_again(environ: Any, start_response: Any) -> Any:
        start_response("503 Down", PLAIN)
        changed_mind(start_response, "200 OK")
        return Closing(chunks(b"down"), seen)

    def raising_late(environ: Any, start_response: Any) -> Any:
        start_response("503 Down", PLAIN)
        return Closing(chunks(b"do", error=Boom()), seen)

    def raising_at_first(environ: Any, start_response: Any) -> Any:
        def generate() -> Iterator[bytes]:
            start_response("503 Down", PLAIN)
            yield from chunks(error=Boom())

        return Closing(generate(), seen)

    apps = (at_once, late, late_and_empty, written, written_late, changed, changed_late, changed_again)
    for app in (*apps, raising_late, raising_at_first):
        yield app.__name__, app


WSGI_APPS = [name for name, _ in wsgi_apps([])]


@pytest.mark.parametrize("asks", [False, True])
@pytest.mark.parametrize("name", WSGI_APPS)
def test_what_a_wsgi_app_sends_goes_nowhere(host: Host, outer: Outer, name: str, asks: bool) -> None:
    """The client has the whole stored response, the app is iterated to its end and closed once."""
    app = dict(wsgi_apps(outer.seen))[name]
    reply = host("wsgi", app, Replacing(asks=asks)).request("GET", "/")
    assert is_stored(reply)
    assert type(reply.error) is (Boom if name.startswith("raising") else type(None))
    before = {"changed": [200], "changed_late": [200, b""]}.get(name, [])
    assert [event for event in outer.seen if event != "end"] == [*before, 200, COMPLETE, "closed", "exit"]
    assert outer.seen.count("end") == 1


def test_the_client_does_not_wait_for_the_rest_of_a_wsgi_app(host: Host, outer: Outer) -> None:
    """The stored response is handed over, and the exchange over, before the app is asked for more."""

    def chunks() -> Iterator[bytes]:
        outer.seen.append("asked")
        yield b"down"

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("503 Down", PLAIN)
        return chunks()

    bare = host("wsgi", app)
    body = bare.client.app(environ_of(bare), lambda *_: None)
    assert next(body) == b"stored"
    assert outer.seen == [200, COMPLETE]
    with pytest.raises(StopIteration):
        next(body)
    body.close()
    assert outer.seen == [200, COMPLETE, "asked", "exit"]


def test_a_replaced_body_is_not_measured_by_the_apps(host: Host) -> None:
    """Servers derive a Content-Length from `len`: a body that may be another's has none."""
    for name in ("at_once", "late", "changed_late"):
        bare = host("wsgi", dict(wsgi_apps([]))[name])
        assert not hasattr(bare.client.app(environ_of(bare), lambda *_: None), "__len__")


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("at_once", [200, "closed", ("complete", 200, "/stored", "ConnectionAbortedError"), "exit"]),
        ("late", ["closed", ("complete", 0, None, "ConnectionAbortedError"), "exit"]),
    ],
)
def test_a_server_that_closes_at_once_closes_the_app(host: Host, outer: Outer, name: str, seen: list[Any]) -> None:
    """The client is gone before anything was handed over."""
    bare = host("wsgi", dict(wsgi_apps(outer.seen))[name])
    bare.client.app(environ_of(bare), lambda *_: None).close()
    assert outer.seen == seen


def test_what_the_server_has_begun_to_send_is_not_replaced(host: Host, outer: Outer) -> None:
    """It says so when the app calls start_response again, and its exception is what comes out (PEP 3333)."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", PLAIN)
        yield b"begun;"
        try:
            raise Boom
        except Boom as error:
            start_response("503 Down", PLAIN, (Boom, error, error.__traceback__))
        yield b"never"

    reply = host("wsgi", app).request("GET", "/")
    assert (reply.status, reply.body, type(reply.error)) == (200, b"begun;", Boom)
    assert outer.seen.count("exit") == 1


def test_a_file_stays_a_file_unless_it_is_replaced(host: Host, tmp_path: Path) -> None:
    """Nothing that the app does later can take it back, so the server gets it as it made it."""

    class File(io.BytesIO):
        """A server's own class for files."""

        def __init__(self, content: io.BytesIO) -> None:
            super().__init__(content.read())

    class Unwatched(Replacing):
        def on_response_start(self, exchange: Exchange) -> Any:
            steps = super().on_response_start(exchange)
            exchange.body_hooks = ()
            return steps

    def app(environ: Any, start_response: Any) -> Any:
        start_response(environ["QUERY_STRING"], PLAIN)
        return environ["wsgi.file_wrapper"](io.BytesIO(b"content"))

    bare = PipelineHost("wsgi", [Unwatched()], tmp_path)
    bare.client.app.app = app
    items = {"wsgi.file_wrapper": File}
    body = bare.client.app(environ_of(bare) | items | {"QUERY_STRING": "200 OK"}, lambda *_: None)
    assert type(body) is File
    reply = bare.request("GET", "/?503 Down", **items)
    assert (reply.status, reply.body) == (200, b"stored")
    bare.close()


def environ_of(host: PipelineHost) -> dict[str, Any]:
    environ: dict[str, Any] = host.client.environ("GET", "/", [], b"", None)
    return environ


# --- both ----------------------------------------------------------------------------------------------------------


def raising_app(name: str) -> App:
    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        raise Boom

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        raise Boom

    def generator(environ: Any, start_response: Any) -> Iterator[bytes]:
        raise Boom
        yield b""

    return {"asgi": asgi, "wsgi": wsgi, "wsgi generator": generator}[name]


COLOURS = ["asgi", "wsgi", "wsgi generator"]


@pytest.mark.parametrize("asks", [False, True])
@pytest.mark.parametrize("name", COLOURS)
def test_the_kits_own_500_may_be_replaced(host: Host, outer: Outer, name: str, asks: bool) -> None:
    """Where the app raised before it answered: the client gets the stored response, the server the exception."""
    reply = host(name.split()[0], raising_app(name), Replacing(asks=asks)).request("GET", "/")
    assert is_stored(reply)
    assert isinstance(reply.error, Boom)
    assert outer.seen == [200, ("complete", 200, "/stored", "Boom"), "exit"]


@pytest.mark.parametrize("name", COLOURS)
def test_a_500_that_nobody_replaces_is_sent(host: Host, outer: Outer, name: str) -> None:
    """Though somebody might have."""
    reply = host(name.split()[0], raising_app(name), Hesitating()).request("GET", "/")
    assert (reply.status, reply.body, type(reply.error)) == (500, b"Internal Server Error", Boom)
    assert outer.seen == [500, ("complete", 500, None, "Boom"), "exit"]


class Hesitating(Replacing):
    """Might replace the response, and does not."""

    def on_response_start(self, exchange: Exchange) -> None:
        """Leave it."""


def answering_app(name: str) -> App:
    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"do", "more_body": True})
        await send({"type": "http.response.body", "body": b"wn"})

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        start_response("503 Down", PLAIN)
        return [b"do", b"wn"]

    def generator(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("503 Down", PLAIN)
        yield b"do"
        yield b"wn"

    return {"asgi": asgi, "wsgi": wsgi, "wsgi generator": generator}[name]


@pytest.mark.parametrize("name", COLOURS)
def test_a_response_that_nobody_replaces_is_the_apps(host: Host, outer: Outer, name: str) -> None:
    """In the chunks in which it came, which those who asked for them see."""
    reply = host(name.split()[0], answering_app(name), Hesitating()).request("GET", "/")
    assert (reply.status, reply.chunks, reply.error) == (503, [b"do", b"wn"], None)
    assert [event for event in outer.seen if event and isinstance(event, bytes)] == [b"do", b"wn"]
    assert outer.seen[-2:] == [("complete", 503, None, "NoneType"), "exit"]


@pytest.mark.parametrize("name", COLOURS)
def test_head_is_told_the_length_and_given_nothing(host: Host, name: str) -> None:
    """Content-Length is what a GET would have brought (RFC 9110 section 9.3.2)."""
    for app in (answering_app(name), raising_app(name)):
        reply = host(name.split()[0], app).request("HEAD", "/")
        assert (reply.status, reply.header("content-length"), reply.chunks) == (200, "6", [])
        assert not any(message.get("body") for message in reply.messages)


@pytest.mark.parametrize("name", COLOURS)
def test_a_304_has_no_length(host: Host, name: str) -> None:
    """It has no content to be long (RFC 9110 section 8.6)."""
    not_modified = EarlyResponse(304, headers=((b"content-type", b"text/plain"), (b"etag", b'"1"')))
    reply = host(name.split()[0], answering_app(name), Replacing(not_modified)).request("GET", "/")
    assert (reply.status, reply.header("content-length"), reply.header("etag")) == (304, None, '"1"')
    assert reply.chunks == []


@pytest.mark.parametrize("name", ["starlette", "fastapi", "flask"])
@pytest.mark.parametrize("path", ["/boom", "/missing"])
def test_frameworks_are_replaced_like_any_app(host: Host, outer: Outer, name: str, path: str) -> None:
    """A framework's own error page goes nowhere; what it raises is raised. It is timed under its route."""

    class Always(Replacing):
        def on_response_start(self, exchange: Exchange) -> None:
            exchange.replace_response(STORED)

    make = {"starlette": starlette_app, "fastapi": fastapi_app, "flask": flask_app}[name]
    colour = "wsgi" if name == "flask" else "asgi"
    reply = host(colour, make(World()), Always()).request("GET", path)
    assert is_stored(reply)
    raises = path == "/boom" and name != "flask"  # Flask answers for itself and raises only when it is testing
    assert type(reply.error) is (Boom if raises else type(None))
    route = "/boom" if path == "/boom" else "/stored"
    assert ("complete", 200, route, "NoneType") in outer.seen


# --- real servers --------------------------------------------------------------------------------------------------

COMMANDS = {
    "uvicorn": ["uvicorn", "tests.adapters.replacing_site:asgi_app", "--port", "{port}"],
    "gunicorn": [
        "gunicorn",
        "tests.adapters.replacing_site:wsgi_app",
        "-b",
        "127.0.0.1:{port}",
        "--threads",
        "4",
    ],
}


@pytest.mark.real_server
@pytest.mark.real_time
@pytest.mark.parametrize("name", COMMANDS)
def test_a_real_server_sends_the_stored_response(tmp_path: Path, name: str) -> None:
    """Whole, on a connection that stays open, while the app goes on; also where the app raises."""
    with serving(COMMANDS[name], tmp_path, {}) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        for method, path in (("GET", "/"), ("HEAD", "/"), ("GET", "/last"), ("GET", "/boom")):
            connection.request(method, path)
            response = connection.getresponse()
            body = response.read()
            assert (response.status, response.headers.get_all("content-length")) == (200, ["6"])
            assert body == (b"" if method == "HEAD" else b"stored")
            assert (response.headers["x-stored"], response.headers["x-outer"]) == ("yes", "1")
        connection.close()
        assert (tmp_path / "ended").read_text() == "/last"
    assert "ValueError: the app's own" in server.log.read_text()
