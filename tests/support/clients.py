"""Clients for apps in this process: one for each protocol, with the same verbs."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

PEER = "203.0.113.7"


@dataclass
class Reply:
    """What came back. `chunks` are the non-empty body parts in the order in which they were sent."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    error: BaseException | None = None

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    def header(self, name: str) -> str | None:
        values = self.header_values(name)
        return values[0] if values else None

    def header_values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]


class AsgiClient:
    """Calls an ASGI app on one event loop, so that what it starts in the background lives on between requests.

    Like a server it keeps the body of an answer to HEAD to itself.
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        self.runner = asyncio.Runner()
        self.reply = Reply()

    def request(self, *arguments: Any, **options: Any) -> Reply:
        """Send one request and return when the app is done with it; see `arequest`."""
        return self.runner.run(self.arequest(*arguments, **options))

    async def arequest(
        self,
        method: str,
        path: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | list[bytes] = b"",
        *,
        peer: str | None = PEER,
        extensions: dict[str, Any] | None = None,
        disconnect_after: int | None = None,
        scheme: str = "http",
        **scope_items: Any,
    ) -> Reply:
        target, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "scheme": scheme,
            "path": unquote_to_bytes(target).decode("utf-8", "replace"),
            "raw_path": target.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [
                (key.lower().encode("latin-1"), value.encode("latin-1"))
                for key, value in (
                    headers if any(key.lower() == "host" for key, _ in headers) else [("host", "example.org"), *headers]
                )
            ],
            "client": None if peer is None else (peer, 50_000),
            "server": ("example.org", 80),
            "extensions": extensions or {},
            "state": {},
            **scope_items,
        }
        chunks = list(body) if isinstance(body, list) else [body]
        reply = self.reply = Reply()
        gone = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if chunks:
                return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            reply.messages.append(message)
            if message["type"] == "http.response.start":
                reply.status = message["status"]
                reply.headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in message["headers"]]
            elif message["type"] == "http.response.body" and message.get("body") and method != "HEAD":
                reply.chunks.append(message["body"])
            if disconnect_after is not None and len(reply.chunks) >= disconnect_after:
                gone.set()
                raise OSError("the client is gone")

        try:
            await self.app(scope, receive, send)
        except Exception as error:
            reply.error = error
        finally:
            gone.set()
        return reply

    def lifespan(self) -> Lifespan:
        return Lifespan(self)

    def close(self) -> None:
        self.runner.close()


class Lifespan:
    """Runs an app's lifespan around a block."""

    def __init__(self, client: AsgiClient) -> None:
        self.client = client
        self.events: asyncio.Queue[str] = asyncio.Queue()
        self.sent: asyncio.Queue[str] = asyncio.Queue()

    async def _receive(self) -> dict[str, str]:
        return {"type": await self.events.get()}

    async def _send(self, message: dict[str, str]) -> None:
        await self.sent.put(message["type"])

    async def _start(self) -> str:
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self.task = asyncio.ensure_future(self.client.app(scope, self._receive, self._send))
        await self.events.put("lifespan.startup")
        return await self.sent.get()

    async def _stop(self) -> str:
        await self.events.put("lifespan.shutdown")
        answer = await self.sent.get()
        await self.task
        return answer

    def __enter__(self) -> Lifespan:
        assert self.client.runner.run(self._start()) == "lifespan.startup.complete"
        return self

    def __exit__(self, *_: object) -> None:
        assert self.client.runner.run(self._stop()) == "lifespan.shutdown.complete"


class WsgiClient:
    """Calls a WSGI app as a server would: iterates its answer and closes it."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.reply = Reply()

    def environ(
        self, method: str, path: str, headers: Iterable[tuple[str, str]], body: bytes, peer: str | None
    ) -> dict[str, Any]:
        target, _, query = path.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(target).decode("latin-1"),
            "RAW_URI": path,
            "QUERY_STRING": query,
            "SERVER_NAME": "example.org",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": peer or "",
            "HTTP_HOST": "example.org",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for key, value in headers:
            name = key.upper().replace("-", "_")
            name = name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"
            environ[name] = f"{environ[name]},{value}" if name.startswith("HTTP_") and name in environ else value
        return environ

    def request(
        self,
        method: str,
        path: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | list[bytes] = b"",
        *,
        peer: str | None = PEER,
        disconnect_after: int | None = None,
        **environ_items: Any,
    ) -> Reply:
        body = b"".join(body) if isinstance(body, list) else body
        environ = self.environ(method, path, headers, body, peer) | environ_items
        reply = self.reply = Reply()

        def start_response(status: str, response_headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if exc_info and reply.chunks:
                raise exc_info[1]
            reply.status = int(status[:3])
            reply.headers = list(response_headers)
            return lambda data: reply.chunks.append(data) if data else None

        try:
            answer = self.app(environ, start_response)
            try:
                for chunk in answer:
                    if chunk:
                        reply.chunks.append(chunk)
                    if disconnect_after is not None and len(reply.chunks) >= disconnect_after:
                        break
            finally:
                if hasattr(answer, "close"):
                    answer.close()
        except Exception as error:
            reply.error = error
        return reply

    def close(self) -> None:
        """Nothing is open."""
