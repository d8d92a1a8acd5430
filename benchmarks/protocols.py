"""Calls an app as its server would, with as little as possible around it.

What is timed is the app's call, the loop around it and, for WSGI, iterating and closing the answer. Requests are made
before that: a fresh scope or environ each, as a server makes one, let go as soon as the app has returned, so that
whatever garbage an app leaves it leaves at once. No socket is read and nothing is parsed or written: what a
server costs is measured elsewhere.

Time is `time.process_time`: the CPU time of all threads of this process, so that waiting costs nothing and the work of
the kit's own threads counts.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from benchmarks.browser import BROWSER, PROXY, VISITOR
from benchmarks.by_hand import AsgiByHand, AsgiNothing, WsgiByHand, WsgiNothing
from launchkit import LaunchKit


@dataclass(frozen=True, slots=True)
class Call:
    """One request, for either protocol."""

    path: str
    method: str = "GET"
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    visitor: str = VISITOR
    peer: str = PROXY
    """Who has opened the connection: a proxy, or the visitor, who sends none of its headers."""
    sent: tuple[tuple[str, str], ...] | None = None
    """Headers that are sent in place of the browser's and the proxy's."""

    @property
    def is_direct(self) -> bool:
        return self.peer == self.visitor


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    size: int


class Asgi:
    """Drives an ASGI app within one event loop."""

    name = "ASGI"
    nothing = AsgiNothing
    by_hand = AsgiByHand

    @staticmethod
    def around(kit: LaunchKit, app: Any) -> Any:
        return kit.asgi(app)

    @staticmethod
    async def start(kit: LaunchKit) -> None:
        await kit.astart()

    @staticmethod
    async def stop(kit: LaunchKit) -> None:
        await kit.astop()

    @staticmethod
    def app(body: bytes, status: int = 200) -> Any:
        """Return an app that does the least: it answers, and leaves its route in the scope as frameworks do."""
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        route = SimpleNamespace(path_format="/items/{id}")

        async def app(scope, receive, send) -> None:  # noqa: ARG001  # as ASGI has it
            scope["route"] = route
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

        return app

    @staticmethod
    def prepare(calls: Iterable[Call]) -> list[Any]:
        """Make the scopes and receivers of some requests."""
        return [_asgi_request(call) for call in calls]

    @staticmethod
    async def run(app: Any, requests: list[Any]) -> float:
        """Serve the requests and return the CPU seconds that it took."""
        started = time.process_time()
        while requests:
            scope, receive = requests.pop()
            await app(scope, receive, _drop)
        return time.process_time() - started

    @staticmethod
    async def ask(app: Any, call: Call) -> Answer:
        """Serve one request and return the answer."""
        messages: list[dict[str, Any]] = []

        async def send(message) -> None:
            messages.append(message)

        await app(*_asgi_request(call), send)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in messages[0]["headers"]}
        return Answer(messages[0]["status"], headers, sum(len(message.get("body", b"")) for message in messages))


def _asgi_request(call: Call) -> tuple[dict[str, Any], Any]:
    scope = {
        "type": "http",
        "asgi": _VERSIONS,
        "http_version": "1.1",
        "method": call.method,
        "scheme": "http",
        "path": call.path,
        "raw_path": call.path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [
            *_asgi_headers(call),
            *[(name.encode(), value.encode()) for name, value in call.headers],
        ],
        "client": (call.peer, 50_000),
        "server": ("10.0.0.5", 8000),
        "state": {},
    }
    if not call.body:
        return scope, _receive_nothing
    message = {"type": "http.request", "body": call.body, "more_body": False}

    async def receive() -> dict[str, Any]:
        return message

    return scope, receive


def _asgi_headers(call: Call) -> list[tuple[bytes, bytes]]:
    if call.sent is not None:
        return [(name.encode(), value.encode()) for name, value in call.sent]
    return _ASGI_DIRECT if call.is_direct else [*_ASGI_BROWSER, (b"x-forwarded-for", call.visitor.encode())]


_VERSIONS = {"version": "3.0", "spec_version": "2.4"}
_ASGI_BROWSER = [(name.encode(), value.encode()) for name, value in BROWSER]
_ASGI_DIRECT = [(name, value) for name, value in _ASGI_BROWSER if not name.startswith(b"x-forwarded")]


async def _receive_nothing() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _drop(message: dict[str, Any]) -> None:
    pass


class Wsgi:
    """Drives a WSGI app in this thread."""

    name = "WSGI"
    nothing = WsgiNothing
    by_hand = WsgiByHand

    @staticmethod
    def around(kit: LaunchKit, app: Any) -> Any:
        return kit.wsgi(app)

    @staticmethod
    async def start(kit: LaunchKit) -> None:
        kit.start()

    @staticmethod
    async def stop(kit: LaunchKit) -> None:
        kit.stop()

    @staticmethod
    def app(body: bytes, status: int = 200) -> Any:
        """Return an app that does the least: it answers, and leaves its route in the environ as Flask does."""
        line = f"{status} Status"
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        request = SimpleNamespace(url_rule=SimpleNamespace(rule="/items/<id>"))

        def app(environ, start_response):
            environ["werkzeug.request"] = request
            start_response(line, headers)
            return [body]

        return app

    @staticmethod
    def prepare(calls: Iterable[Call]) -> list[Any]:
        """Make the environs of some requests."""
        return [_environ(call) for call in calls]

    @staticmethod
    async def run(app: Any, requests: list[Any]) -> float:
        """Serve the requests and return the CPU seconds that it took."""
        started = time.process_time()
        while requests:
            answer = app(requests.pop(), _start_response)
            for _ in answer:
                pass
            if hasattr(answer, "close"):
                answer.close()
        return time.process_time() - started

    @staticmethod
    async def ask(app: Any, call: Call) -> Answer:
        """Serve one request and return the answer."""
        started: list[Any] = []

        def start_response(status, headers, exc_info=None):  # noqa: ARG001  # as WSGI has it
            started[:] = (status, headers)
            return _write

        answer = app(_environ(call), start_response)
        size = sum(len(chunk) for chunk in answer)
        if hasattr(answer, "close"):
            answer.close()
        return Answer(int(started[0][:3]), {name.lower(): value for name, value in started[1]}, size)


class _FileWrapper:
    """Stands for what servers offer for files."""


def _environ(call: Call) -> dict[str, Any]:
    return {
        "wsgi.errors": _ERRORS,
        "wsgi.version": (1, 0),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": _FileWrapper,
        "wsgi.input_terminated": True,
        "wsgi.input": io.BytesIO(call.body),
        "wsgi.url_scheme": "http",
        "SERVER_SOFTWARE": "benchmarks",
        "SERVER_NAME": "10.0.0.5",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": call.peer,
        "REMOTE_PORT": "50000",
        "REQUEST_METHOD": call.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": call.path,
        "RAW_URI": call.path,
        "QUERY_STRING": "",
        **({"CONTENT_LENGTH": str(len(call.body))} if call.body else {}),
        **_wsgi_headers(call),
        **_variables(call.headers),
    }


def _wsgi_headers(call: Call) -> dict[str, str]:
    if call.sent is not None:
        return _variables(call.sent)
    return _WSGI_DIRECT if call.is_direct else {**_WSGI_BROWSER, "HTTP_X_FORWARDED_FOR": call.visitor}


def _variables(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers}


_ERRORS = io.StringIO()
_WSGI_BROWSER = _variables(BROWSER)
_WSGI_DIRECT = {name: value for name, value in _WSGI_BROWSER.items() if not name.startswith("HTTP_X_FORWARDED")}


def _start_response(status, headers, exc_info=None):  # noqa: ARG001  # as WSGI has it
    return _write


def _write(data: bytes) -> None:
    pass


PROTOCOLS = (Asgi, Wsgi)
