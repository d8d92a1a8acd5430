"""WebSocket handshakes through the hooks that cover them."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.pipeline_host import PipelineHost
from tests.support.targets import Target

from launchkit.pipeline.effects import ReadBody, Steps
from launchkit.pipeline.exchange import EarlyResponse, Exchange
from launchkit.pipeline.interceptor import Interceptor, Planner

TOKEN = secrets.token_urlsafe(16)
DENIALS = {"websocket.http.response": {}}


class Covering(Interceptor):
    """Writes down what it sees of handshakes and of requests."""

    covers_handshakes = True

    def __init__(self, answer: EarlyResponse | None = None) -> None:
        self.answer = answer
        self.seen: list[Any] = []

    def on_request(self, exchange: Exchange) -> EarlyResponse | None:
        self.seen.append((exchange.method, exchange.path, exchange.scheme, exchange.peer, exchange.header(b"origin")))
        return self.answer


class CoveringSlowly(Covering):
    """The same, after it has asked the world."""

    def on_request(self, exchange: Exchange) -> Steps[EarlyResponse | None]:  # type: ignore[override]
        exchange.limit_body(1, EarlyResponse(413))
        body = yield from ReadBody(10)
        self.seen.append(body.data)
        return self.answer


class NotCovering(Covering):
    covers_handshakes = False


def connect(app: Any, runner: Any, path: str = "/live", **items: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Open a WebSocket, and return what was sent to it and its scope."""
    sent: list[dict[str, Any]] = []
    received: list[str] = []
    scope = {
        "type": "websocket",
        "scheme": "ws",
        "path": path,
        "headers": [(b"host", b"example.org"), (b"origin", b"https://app.example")],
        "query_string": b"",
        "client": ("203.0.113.7", 50_000),
        **items,
    }

    async def receive() -> dict[str, Any]:
        received.append("connect")
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        if scope["type"] == "websocket" and message["type"].startswith("websocket.http"):
            assert received, "nothing may be sent before the connection was received"
        sent.append(message)

    runner.run(app(scope, receive, send))
    return sent, scope


@pytest.fixture(name="host_with")
def _host_with(tmp_path: Path) -> Any:
    made: list[PipelineHost] = []

    def make(*interceptors: Interceptor) -> PipelineHost:
        made.append(PipelineHost("asgi", interceptors, tmp_path))
        return made[-1]

    yield make
    for host in made:
        host.close()


def test_only_hooks_that_cover_handshakes_see_them(host_with: Callable[..., PipelineHost]) -> None:
    """As a GET by http or https, wherever it comes from."""
    covering, other = Covering(), NotCovering()
    host = host_with(covering, other)
    connect(host.client.app, host.client.runner)
    connect(host.client.app, host.client.runner, scheme="wss", client=None)
    assert covering.seen == [
        ("GET", "/live", "http", "203.0.113.7", b"https://app.example"),
        ("GET", "/live", "https", None, b"https://app.example"),
    ]
    assert other.seen == []
    assert len(host.world.seen) == 2


def test_a_handshake_is_refused_with_the_whole_answer(host_with: Callable[..., PipelineHost]) -> None:
    """Where the server takes one; the app never hears of it."""
    answer = EarlyResponse(401, b"token, please", ((b"www-authenticate", b"Basic"),))
    host = host_with(Covering(answer))
    sent, _ = connect(host.client.app, host.client.runner, extensions=DENIALS)
    assert sent == [
        {
            "type": "websocket.http.response.start",
            "status": 401,
            "headers": [(b"www-authenticate", b"Basic"), (b"content-length", b"13")],
        },
        {"type": "websocket.http.response.body", "body": b"token, please"},
    ]
    assert host.world.seen == []


@pytest.mark.parametrize("items", [{}, {"extensions": None}, {"extensions": {"other": {}}}])
def test_else_it_is_closed(host_with: Callable[..., PipelineHost], items: dict[str, Any]) -> None:
    """Which servers turn into a 403."""
    host = host_with(Covering(EarlyResponse(403)))
    sent, _ = connect(host.client.app, host.client.runner, **items)
    assert sent == [{"type": "websocket.close", "code": 1008}]
    assert host.world.seen == []


@pytest.mark.parametrize(("answer", "calls"), [(None, 1), (EarlyResponse(403), 0)])
def test_a_hook_may_ask_the_world(
    host_with: Callable[..., PipelineHost], answer: EarlyResponse | None, calls: int
) -> None:
    """A handshake has no body to read."""
    slow, next_one = CoveringSlowly(answer), Covering()
    host = host_with(slow, next_one)
    connect(host.client.app, host.client.runner)
    assert slow.seen == [b""]
    assert len(next_one.seen) == len(host.world.seen) == calls
    assert host.failures.counts == {}


def test_selection_is_told_of_a_get() -> None:
    """Plans for handshakes are their own all the same, and are interned."""
    planner = Planner([Covering(), NotCovering()])
    plan = planner.plan_handshake("/live")
    assert (len(plan.on_request), len(planner.plan("GET", "/live").on_request)) == (1, 2)
    assert planner.plan_handshake("/other") is plan
    assert len(planner.plan("_HANDSHAKE", "/live").on_request) == 2


def test_protected_paths_and_hosts_cover_handshakes(make: Callable[..., Target]) -> None:
    """The same conditions as for requests; who meets them reaches the app."""
    target = make(
        "asgi",
        edge={"protected": {"live": {"paths": "/live", "token": TOKEN}}, "hosts": "example.org"},
        environment="production",
    )
    app, runner = target.client.app, target.client.runner
    assert connect(app, runner, extensions=DENIALS)[0][0]["status"] == 401
    elsewhere = [(b"host", b"evil.example")]
    assert connect(app, runner, "/open", headers=elsewhere, extensions=DENIALS)[0][0]["status"] == 400
    assert target.world.seen == []
    good = [(b"host", b"example.org"), (b"authorization", f"Bearer {TOKEN}".encode())]
    assert connect(app, runner, headers=good)[0] == [{"type": "websocket.close", "code": 1000}]
    assert len(target.world.seen) == 1


def test_the_app_sees_the_visitor_of_a_websocket(make: Callable[..., Target]) -> None:
    """As the trusted proxy names it."""
    target = make("asgi", trusted_proxies="10.0.0.0/8", edge={"url": "https://shop.example"})
    told = [
        (b"host", b"backend"),
        (b"x-forwarded-for", b"198.51.100.1"),
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-host", b"shop.example"),
    ]
    _, scope = connect(target.client.app, target.client.runner, headers=told, client=("10.0.0.9", 1))
    assert (scope["client"], scope["scheme"], scope["headers"][0]) == (
        ("198.51.100.1", 0),
        "wss",
        (b"host", b"shop.example"),
    )
    assert [name for name, _ in scope["headers"]].count(b"host") == 1


def test_an_inner_kit_leaves_handshakes_to_the_outer_one(host_with: Callable[..., PipelineHost]) -> None:
    """Like requests."""
    covering = Covering()
    host = host_with(covering)
    connect(host.client.app, host.client.runner, **{"launchkit.kit": True})
    assert covering.seen == []
    assert len(host.world.seen) == 1


def test_a_connection_of_another_kind_passes(host_with: Callable[..., PipelineHost]) -> None:
    """Whatever the server invents next is between it and the app."""
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    host = host_with(Covering(EarlyResponse(403)))
    host.client.app.app = app
    assert connect(host.client.app, host.client.runner, type="webtransport")[0] == []
    assert seen == ["webtransport"]
