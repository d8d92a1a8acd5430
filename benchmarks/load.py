"""Sends requests to one server over a few connections that stay open, each as soon as it has the last answer.

Run as a process of its own: `python -m benchmarks.load PORT PATH CONNECTIONS SECONDS` asks for one page and prints how
many answers came in how many seconds. It speaks just enough HTTP/1.1 to need less time than the server, which is what
is measured: answers with a Content-Length, and nothing but 200.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.browser import BROWSER, VISITOR

_HEADERS = [*(f"{name}: {value}" for name, value in BROWSER), f"x-forwarded-for: {VISITOR}"]
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Load:
    """What came back: the seconds that each answer took, and all of them."""

    latencies: list[float]
    seconds: float


class Connection(asyncio.Protocol):
    """One connection; times the answers."""

    def __init__(self, requests: Iterator[bytes], deadline: float) -> None:
        self._requests = requests
        self.latencies: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._deadline = deadline
        self._received = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP gives these
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = _LENGTH.search(head)
        if not head.startswith(b"HTTP/1.1 200 ") or length is None:
            self._end(ConnectionError(head.decode("latin-1")))
        elif len(body) >= int(length[1]):
            self.latencies.append(time.monotonic() - self._sent_at)
            self._received = b""
            if time.monotonic() < self._deadline:
                self._send()
            else:
                self._end(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error or ConnectionError("the server has closed the connection"))

    def _send(self) -> None:
        request = next(self._requests)
        self._sent_at = time.monotonic()
        self._transport.write(request)

    def _end(self, error: Exception | None) -> None:
        if not self.done.done():
            if error is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(error)
        self._transport.close()


def page(path: str) -> bytes:
    """Return the request for a page, as a browser sends it and a proxy passes it on."""
    return "\r\n".join([f"GET {path} HTTP/1.1", *_HEADERS, "", ""]).encode()


async def drive(port: int, requests: Iterator[bytes], connections: int, seconds: float) -> Load:
    """Send one request after another over each connection for so many seconds."""
    loop = asyncio.get_running_loop()
    started = time.monotonic()
    opened = [
        (await loop.create_connection(lambda: Connection(requests, started + seconds), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*[one.done for one in opened])
    return Load([latency for one in opened for latency in one.latencies], time.monotonic() - started)


if __name__ == "__main__":
    load = asyncio.run(
        drive(int(sys.argv[1]), itertools.repeat(page(sys.argv[2])), int(sys.argv[3]), float(sys.argv[4]))
    )
    print(len(load.latencies), load.seconds)
