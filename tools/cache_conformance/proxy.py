"""A reverse proxy as an ASGI app that changes as little as ASGI lets it, so that what is tested is the cache around it.

Every request is a connection of its own to the origin. Method, raw path, query, header fields (duplicates and odd
values too), statuses and bodies go through as they are. What it keeps to itself is what speaks of the connection to
the origin: `Transfer-Encoding`, which ASGI forbids an app to send, `Connection: close`, and interim responses, which
ASGI cannot express. A `Connection` that names other fields goes through: not to store those is the cache's duty
(RFC 9111 section 3.1). The parser is its own because a client library's would refuse what the suite sends on purpose,
such as a `Transfer-Encoding` that no one knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

OWN = frozenset({b"connection", b"content-length", b"transfer-encoding"})
"""Request header fields that the proxy writes itself."""
BODILESS = frozenset({204, 304})
CHUNK = 65_536


class OriginError(Exception):
    """The origin closed the connection before its answer was complete."""


@dataclass(frozen=True)
class Head:
    """Status and header fields of a response, names in lower case."""

    status: int
    headers: Headers

    def value(self, name: bytes) -> bytes | None:
        """Return the first value of a field."""
        return next((value for field, value in self.headers if field == name), None)

    @property
    def for_asgi(self) -> Headers:
        """The fields without those of the connection to the origin."""
        return [
            (name, value)
            for name, value in self.headers
            if name != b"transfer-encoding" and (name, value.lower()) != (b"connection", b"close")
        ]


class ReverseProxy:
    """Passes every request on to one origin.

    Args:
        host: the origin's address.
        port: its port.
        raises: let an origin that closes the connection without an answer be an exception in the app, instead of the
            502 by which a gateway says so.
    """

    def __init__(self, host: str, port: int, *, raises: bool = False) -> None:
        self._host, self._port, self._raises = host, port, raises

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request; nothing has to be done at start and end."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        request = _request(scope, await _body(receive))
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(request)
            await self._answer(scope["method"], reader, send)
        finally:
            writer.close()

    async def _answer(self, method: str, reader: asyncio.StreamReader, send: Send) -> None:
        try:
            head = await _final_head(reader)
        except OriginError:
            if self._raises:
                raise
            await _bad_gateway(send)
            return
        await send({"type": "http.response.start", "status": head.status, "headers": head.for_asgi})
        async for chunk in _chunks(method, head, reader):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _lifespan(receive: Receive, send: Send) -> None:
    for phase in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{phase}.complete"})


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _request(scope: dict[str, Any], body: bytes) -> bytes:
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    headers = [(name, value) for name, value in scope["headers"] if name not in OWN]
    headers.append((b"connection", b"close"))
    if body:
        headers.append((b"content-length", b"%d" % len(body)))
    lines = [b"%s %s HTTP/1.1" % (scope["method"].encode("ascii"), target)]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join([*lines, b"", body])


async def _final_head(reader: asyncio.StreamReader) -> Head:
    while True:
        head = await _head(reader)
        if head.status >= 200:
            return head


async def _head(reader: asyncio.StreamReader) -> Head:
    try:
        status_line, *fields = (await reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise OriginError("no answer") from error
    headers = [(name.lower(), value.strip(b" \t")) for name, _, value in (field.partition(b":") for field in fields)]
    return Head(int(status_line.split(b" ", 2)[1]), headers)


async def _bad_gateway(send: Send) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 502, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _chunks(method: str, head: Head, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Return the body as it comes; where it ends is RFC 9112 section 6.3."""
    length = head.value(b"content-length")
    if method == "HEAD" or head.status in BODILESS:
        return _counted(reader, 0)
    if (head.value(b"transfer-encoding") or b"").lower() == b"chunked":
        return _chunked(reader)
    return _counted(reader, int(length)) if length is not None else _until_closed(reader)


async def _counted(reader: asyncio.StreamReader, left: int) -> AsyncIterator[bytes]:
    while left:
        chunk = await reader.read(min(left, CHUNK))
        if not chunk:
            raise OriginError("the body is shorter than its Content-Length")
        left -= len(chunk)
        yield chunk


async def _chunked(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)


async def _until_closed(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while chunk := await reader.read(CHUNK):
        yield chunk
