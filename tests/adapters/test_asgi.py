"""What only ASGI has."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.pipeline_host import PipelineHost
from tests.adapters.test_hooks import BodyWatching
from tests.support.clients import AsgiClient
from tests.support.targets import Target

from launchkit.pipeline.effects import ReadBody, Steps
from launchkit.pipeline.exchange import EarlyResponse, Exchange
from launchkit.pipeline.interceptor import Interceptor


@pytest.fixture(name="host")
def _host(tmp_path: Path) -> Iterator[PipelineHost]:
    host = PipelineHost("asgi", [], tmp_path)
    yield host
    host.close()


def test_websockets_pass_untouched(host: PipelineHost) -> None:
    """The kit adds nothing to their scope and stands between no messages."""
    sent: list[dict[str, Any]] = []

    async def connect() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await host.client.app({"type": "websocket", "path": "/", "headers": []}, receive, send)

    host.client.runner.run(connect())
    assert host.world.seen == [{"type", "path", "headers"}]
    assert sent == [{"type": "websocket.close", "code": 1000}]


def test_lifespan_starts_and_stops_the_kit(host: PipelineHost) -> None:
    """It starts when the app is up, and stops before the app goes down."""
    with host.client.lifespan():
        assert host.world.seen == ["started"]
    assert host.world.seen == ["started", "stopped"]


def test_an_app_without_lifespan_says_so_itself(tmp_path: Path) -> None:
    """What the app raises at lifespan reaches the server, which then goes on without."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        assert scope["type"] == "http"

    host = PipelineHost("asgi", [], tmp_path)
    host.client.app.app = app

    async def start() -> None:
        async def nothing(*_: object) -> dict[str, str]:
            return {"type": "lifespan.startup"}

        await host.client.app({"type": "lifespan"}, nothing, nothing)

    with pytest.raises(AssertionError):
        host.client.runner.run(start())
    host.close()


def test_an_inner_kit_passes_through(make: Callable[..., Target]) -> None:
    """Two kits around each other are one: the outer one's."""
    target = make("asgi")
    inner = target.client.app
    outer = AsgiClient(target.kit.asgi(inner))
    reply = outer.request("GET", "/hello")
    assert reply.header_values("x-request-id") == [reply.header("x-request-id")]
    assert [figures.count for figures in target.kit.timing.routes()] == [1]
    with outer.lifespan():
        pass
    outer.close()


def test_messages_are_not_changed_for_others(host: PipelineHost) -> None:
    """An app may send one response object many times; headers must not pile up on it."""
    start = {"type": "http.response.start", "status": 200, "headers": [(b"x", b"1")], "extra": 1}

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send(start)
        await send({"type": "http.response.body", "body": b""})

    host.client.app.app = app
    reply = host.request("GET", "/")
    assert start["headers"] == [(b"x", b"1")]
    assert reply.messages[0]["extra"] == 1


def test_a_start_without_headers_is_understood(host: PipelineHost) -> None:
    """`headers` is optional in the specification."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    host.client.app.app = app
    assert host.request("GET", "/").status == 204


def test_cancellation_passes_and_ends_the_exchange(make: Callable[..., Target]) -> None:
    """A cancelled request is over for the kit too, with no 500 made up for it."""
    target = make("asgi")

    async def cancelled() -> int:
        async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
            await asyncio.Event().wait()

        target.client.app.app = app
        task = asyncio.ensure_future(target.client.arequest("GET", "/slow"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return len(target.client.reply.messages)

    assert target.client.runner.run(cancelled()) == 0
    assert [outcome for series in target.kit.timing.series() for outcome in series.outcomes()] == ["client_closed"]


def test_a_client_that_leaves_while_its_body_is_read_is_told_to_the_feature(tmp_path: Path) -> None:
    """`disconnected` instead of a body."""
    seen: list[bool] = []

    class Reading(Interceptor):
        def on_request(self, exchange: Exchange) -> Steps[EarlyResponse | None]:
            body = yield from ReadBody(1_000)
            seen.append(body.disconnected)
            return EarlyResponse(400)

    host = PipelineHost("asgi", [Reading()], tmp_path)

    async def leave() -> None:
        messages = [{"type": "http.request", "body": b"half", "more_body": True}, {"type": "http.disconnect"}]

        async def receive() -> dict[str, Any]:
            return messages.pop(0)

        async def send(message: dict[str, Any]) -> None:
            raise OSError("the client is gone")

        scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
        await host.client.app(scope, receive, send)

    with pytest.raises(OSError, match="gone"):
        host.client.runner.run(leave())
    assert seen == [True]
    host.close()


def test_a_500_that_cannot_be_sent_does_not_hide_the_error(host: PipelineHost) -> None:
    """The app's exception is the one that the server gets."""
    reply = host.request("GET", "/boom", disconnect_after=0)
    assert type(reply.error).__name__ == "Boom"
    assert host.failures.counts["sending a 500"] == 1


def test_the_exchange_tells_what_the_scope_says(tmp_path: Path) -> None:
    """Target, query, peer and headers as received."""
    seen: list[Any] = []

    class Looking(Interceptor):
        def on_request(self, exchange: Exchange) -> None:
            seen.extend([exchange.target, exchange.query, exchange.peer, exchange.scheme, exchange.path])
            seen.append(exchange.header_values(b"x-two"))
            seen.append(dict(exchange.request_headers())[b"x-two"])
            exchange.hide_request_headers(frozenset({b"x-two"}))
            seen.append(exchange.header(b"x-two"))

    host = PipelineHost("asgi", [Looking()], tmp_path)
    host.request("GET", "/a%20b?c=%20", [("x-two", "1"), ("x-two", "2")], scheme="https", root_path="/a")
    assert seen == [b"/a%20b", b"c=%20", "203.0.113.7", "https", "/a b", [b"1", b"2"], b"2", None]
    seen.clear()
    host.request("GET", "/é%25", peer=None, raw_path=None)
    assert seen[:3] == [b"/%C3%A9%25", b"", None]
    host.close()


def test_a_request_leaves_nothing_to_the_garbage_collector(make: Callable[..., Target]) -> None:
    """What a request needed is gone with it: no cycle keeps scopes and headers until the next collection."""
    target = make("asgi")
    target.request("GET", "/hello")
    scopes: list[weakref.ref[Scope]] = []

    class Scope(dict[str, Any]):
        """A dictionary that can be watched."""

    async def call() -> None:
        async def nothing(*_: object) -> dict[str, Any]:
            return {"type": "http.request"}

        scope = Scope(type="http", method="GET", path="/hello", headers=[], query_string=b"")
        scopes.append(weakref.ref(scope))
        await target.client.app(scope, nothing, nothing)

    gc.disable()
    try:
        target.client.runner.run(call())
        assert [scope() for scope in scopes] == [None]
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "message",
    [
        {"type": "http.response.zerocopysend", "file": 3, "more_body": True},
        {"type": "http.response.pathsend", "path": "/dev/null"},
    ],
)
def test_a_body_that_hooks_cannot_see_is_not_taken_for_whole(tmp_path: Path, message: dict[str, Any]) -> None:
    """The server is handed a file; what is left is not to be shown as if it were all."""
    watching = BodyWatching()
    host = PipelineHost("asgi", [watching], tmp_path)

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send(message)
        if message.get("more_body"):
            await send({"type": "http.response.body", "body": b""})

    host.client.app.app = app
    assert host.request("GET", "/").messages[1] is message
    assert watching.chunks == []
    host.close()


def test_a_body_that_nobody_watches_passes_as_it_is(host: PipelineHost) -> None:
    """The very messages of the app."""
    body = {"type": "http.response.body", "body": b"hello", "extra": 1}

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send(body)

    host.client.app.app = app
    assert host.request("GET", "/").messages[1] is body


def test_what_an_app_sends_after_its_last_chunk_is_not_shown(tmp_path: Path) -> None:
    """There is one last chunk, even where the app goes on against the rules."""
    watching = BodyWatching()
    host = PipelineHost("asgi", [watching], tmp_path)

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"whole"})
        await send({"type": "http.response.body", "body": b"surplus"})

    host.client.app.app = app
    host.request("GET", "/")
    assert watching.chunks == [(b"whole", True)]
    host.close()


def test_an_app_is_shown_other_headers(tmp_path: Path) -> None:
    """In place of those of the same names; what the server holds stays as it was."""
    seen: list[Any] = []

    class Setting(Interceptor):
        def on_request(self, exchange: Exchange) -> None:
            seen.append(exchange.header(b"x-two"))
            exchange.set_request_headers(iter([(b"x-two", b"new"), (b"x-three", b"3")]))
            seen.extend([exchange.header(b"x-two"), exchange.header_values(b"x-two"), exchange.header(b"x-three")])
            seen.append(exchange.resource[0])

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        seen.append(scope["headers"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    host = PipelineHost("asgi", [Setting()], tmp_path)
    host.client.app.app = app
    own = [(b"x-two", b"1"), (b"host", b"example.org"), (b"x-two", b"2")]

    async def nothing(*_: object) -> dict[str, Any]:
        return {"type": "http.request"}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": own, "query_string": b""}
    host.client.runner.run(host.client.app(scope, nothing, nothing))
    assert own == [(b"x-two", b"1"), (b"host", b"example.org"), (b"x-two", b"2")]
    new = [(b"host", b"example.org"), (b"x-two", b"new"), (b"x-three", b"3")]
    assert seen == [b"2", b"new", [b"new"], b"3", "http", new]
    host.close()
