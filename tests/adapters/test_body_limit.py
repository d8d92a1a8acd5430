"""Bodies that turn out too large while they are read, in both protocols."""

from __future__ import annotations

import asyncio
import gc
import io
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.pipeline_host import PipelineHost
from tests.support.clients import Reply

from launchkit.pipeline.effects import ReadBody, Steps
from launchkit.pipeline.exchange import EarlyResponse, Exchange
from launchkit.pipeline.interceptor import Interceptor

Host = Callable[..., PipelineHost]


class Limiting(Interceptor):
    """Lets ten bytes through, and writes down what becomes of the response."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.ends: list[tuple[int, BaseException | None]] = []

    def on_request(self, exchange: Exchange) -> None:
        exchange.limit_body(10, EarlyResponse(413, b"too large", ((b"x-limit", b"10"),)))

    def on_response_start(self, exchange: Exchange) -> None:
        self.statuses.append(exchange.status)

    def on_complete(self, exchange: Exchange) -> None:
        self.ends.append((exchange.status, exchange.error))


class Reading(Interceptor):
    """Reads more than that."""

    def on_request(self, exchange: Exchange) -> Steps[EarlyResponse | None]:
        yield from ReadBody(100)
        return None


@pytest.fixture(name="limiting")
def _limiting() -> Limiting:
    return Limiting()


@pytest.fixture(name="host")
def _host(tmp_path: Path, limiting: Limiting) -> Iterator[Host]:
    made: list[PipelineHost] = []

    def make(name: str, app: Any, *inner: Interceptor) -> PipelineHost:
        host = PipelineHost(name, [limiting, *inner], tmp_path)
        host.client.app.app = app
        made.append(host)
        return host

    yield make
    for host in made:
        assert host.failures.counts == {}
        host.close()


def chunked(host: PipelineHost, body: bytes = b"x" * 11, **items: Any) -> Reply:
    items = {"CONTENT_LENGTH": "", "wsgi.input_terminated": True} | items
    return host.request("POST", "/", [("transfer-encoding", "chunked")], body, **items)


def is_refusal(reply: Reply) -> bool:
    assert reply.error is None
    return (reply.status, reply.body, reply.header("x-limit"), reply.header("content-length")) == (
        413,
        b"too large",
        "10",
        "9",
    )


async def answer(send: Any, status: int = 200, body: bytes = b"fine") -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


# --- ASGI ----------------------------------------------------------------------------------------------------------


def test_the_app_finds_the_client_gone_and_what_it_sends_goes_nowhere(host: Host, limiting: Limiting) -> None:
    """However often it asks; hooks see the refusal, and nothing of what the app sends."""
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(3):
            seen.append((await receive())["type"])
        await answer(send)
        await answer(send)

    bare = host("asgi", app)
    reply = bare.request("POST", "/", [], [b"x" * 6, b"y" * 6, b"z"])
    assert is_refusal(reply)
    assert len(reply.messages) == 2
    assert seen == ["http.request", "http.disconnect", "http.disconnect"]
    assert (limiting.statuses, limiting.ends) == ([413], [(413, None)])


@pytest.mark.parametrize("error", [ValueError, OSError, RuntimeError])
def test_what_the_app_raises_is_not_raised_again(host: Host, error: type[Exception]) -> None:
    """It would only say that the client was gone."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise error

    assert is_refusal(host("asgi", app).request("POST", "/", [], b"x" * 11))


def test_a_cancellation_is_still_a_cancellation(host: Host) -> None:
    """It belongs to whoever cancelled."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise asyncio.CancelledError

    bare = host("asgi", app)

    async def call() -> None:
        with pytest.raises(asyncio.CancelledError):
            await bare.client.arequest("POST", "/", [], b"x" * 11)

    bare.client.runner.run(call())
    assert bare.client.reply.status == 413


def test_a_response_that_has_started_is_the_apps(host: Host) -> None:
    """It goes on as the app wishes; only the body ends."""
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        seen.append((await receive())["type"])
        await send({"type": "http.response.body", "body": b"so far"})
        raise ValueError

    reply = host("asgi", app).request("POST", "/", [], b"x" * 11)
    assert (reply.status, reply.body, type(reply.error)) == (200, b"so far", ValueError)
    assert seen == ["http.disconnect"]


def test_an_app_that_does_not_read_is_not_refused(host: Host) -> None:
    """Nobody knows how large the body would have been."""

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await answer(send)

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"fine"]

    assert host("asgi", asgi).request("POST", "/", [], b"x" * 11).body == b"fine"
    assert chunked(host("wsgi", wsgi)).body == b"fine"


@pytest.mark.parametrize("name", ["asgi", "wsgi"])
def test_a_hook_that_reads_too_much_ends_the_request(host: Host, limiting: Limiting, name: str) -> None:
    """The app is not asked, whatever the hook makes of it."""
    bare = host(name, None, Reading())
    assert is_refusal(chunked(bare) if name == "wsgi" else bare.request("POST", "/", [], [b"x" * 6, b"y" * 6]))
    assert limiting.ends == [(413, None)]


def test_a_limit_leaves_nothing_to_the_garbage_collector(host: Host) -> None:
    """Counting makes no cycle."""
    scopes: list[weakref.ref[Scope]] = []

    class Scope(dict[str, Any]):
        """A dictionary that can be watched."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await answer(send)

    bare = host("asgi", app)

    async def call() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"x"}

        async def send(message: dict[str, Any]) -> None:
            """Forget it."""

        scope = Scope(type="http", method="POST", path="/", headers=[], query_string=b"")
        scopes.append(weakref.ref(scope))
        await bare.client.app(scope, receive, send)

    bare.client.runner.run(call())
    gc.disable()
    try:
        bare.client.runner.run(call())
        assert scopes[-1]() is None
    finally:
        gc.enable()


# --- WSGI ----------------------------------------------------------------------------------------------------------


def test_reading_too_much_raises_and_the_response_is_the_refusal(host: Host) -> None:
    """Whether the app lets the error pass or answers in spite of it."""

    def raising(environ: Any, start_response: Any) -> list[bytes]:
        environ["wsgi.input"].read()
        raise AssertionError

    def answering(environ: Any, start_response: Any) -> list[bytes]:
        for _ in range(2):
            with pytest.raises(OSError, match="larger"):
                environ["wsgi.input"].read()
        write = start_response("200 OK", [("X-App", "yes")])
        write(b"fine")
        return [b"fine", b"really"]

    def changing(environ: Any, start_response: Any) -> list[bytes]:
        with pytest.raises(OSError, match="larger"):
            environ["wsgi.input"].read()
        start_response("200 OK", [])
        try:
            raise ValueError
        except ValueError as error:
            start_response("500 Oops", [], (ValueError, error, None))
        return []

    for app in (raising, answering, changing):
        assert is_refusal(chunked(host("wsgi", app)))


def test_an_app_that_reads_while_it_is_iterated_is_refused_as_well(host: Host, limiting: Limiting) -> None:
    """A generator reads when its first part is asked for, and what it raises is nobody's failure."""
    closed: list[str] = []

    def raising(environ: Any, start_response: Any) -> Iterator[bytes]:
        try:
            environ["wsgi.input"].read()
            start_response("200 OK", [])
            yield b"fine"
        finally:
            closed.append("raising")

    def answering(environ: Any, start_response: Any) -> Iterator[bytes]:
        try:
            environ["wsgi.input"].read()
        except OSError:
            start_response("200 OK", [])
        yield b"fine"
        yield b"really"

    for app in (raising, answering):
        assert is_refusal(chunked(host("wsgi", app)))
        assert chunked(host("wsgi", app), b"x" * 10).error is None or app is answering
    assert closed == ["raising", "raising"]
    assert limiting.ends[0] == (413, None)


def test_a_response_that_has_started_under_wsgi_is_the_apps(host: Host) -> None:
    """What it raises later goes to the server."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"so far"
        environ["wsgi.input"].read()

    bare = host("wsgi", app)
    reply = chunked(bare)
    assert (reply.status, reply.body, type(reply.error)) == (200, b"so far", OSError)


def test_a_body_of_known_length_is_not_counted(host: Host) -> None:
    """The server gives no more of it than was announced."""
    seen: list[Any] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        seen.append(environ["wsgi.input"])
        start_response("200 OK", [])
        return [environ["wsgi.input"].read(5)]

    bare = host("wsgi", app)
    stream = io.BytesIO(b"x" * 5)
    assert bare.request("POST", "/", [], b"x" * 5, **{"wsgi.input": stream}).body == b"xxxxx"
    assert seen == [stream]
    both = {"CONTENT_LENGTH": "5", "wsgi.input": io.BytesIO(b"y" * 5)}
    assert chunked(bare, **both).body == b"yyyyy"
    assert type(seen[-1]) is io.BufferedReader


def test_an_early_answer_is_not_taken_for_the_apps(tmp_path: Path) -> None:
    """A limit that was set before it is over with it."""

    class Answering(Limiting):
        def on_request(self, exchange: Exchange) -> EarlyResponse:  # type: ignore[override]
            super().on_request(exchange)
            return EarlyResponse(418, b"tea")

    for name in ("asgi", "wsgi"):
        bare = PipelineHost(name, [Answering()], tmp_path)
        reply = chunked(bare) if name == "wsgi" else bare.request("POST", "/", [], b"x" * 11)
        assert (reply.status, reply.body) == (418, b"tea")
        bare.close()
