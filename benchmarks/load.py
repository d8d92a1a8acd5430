"""Asks one server for one page over a few connections that stay open, each as soon as it has the last answer.

Run as a process of its own: `python -m benchmarks.load PORT PATH CONNECTIONS SECONDS` prints how many answers came in
how many seconds. It speaks just enough HTTP/1.1 to need less time than the server, which is what is measured: answers
with a Content-Length, and nothing but 200.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time

from benchmarks.browser import BROWSER, VISITOR

_HEADERS = [*(f"{name}: {value}" for name, value in BROWSER), f"x-forwarded-for: {VISITOR}"]
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)


class Connection(asyncio.Protocol):
    """One connection; counts the answers."""

    def __init__(self, path: str, deadline: float) -> None:
        self._request = "\r\n".join([f"GET {path} HTTP/1.1", *_HEADERS, "", ""]).encode()
        self.answers = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._deadline = deadline
        self._received = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP gives these
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = _LENGTH.search(head)
        if not head.startswith(b"HTTP/1.1 200 ") or length is None:
            self._end(ConnectionError(head.decode("latin-1")))
        elif len(body) >= int(length[1]):
            self.answers += 1
            self._received = b""
            if time.monotonic() < self._deadline:
                self._transport.write(self._request)
            else:
                self._end(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error or ConnectionError("the server has closed the connection"))

    def _end(self, error: Exception | None) -> None:
        if not self.done.done():
            if error is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(error)
        self._transport.close()


async def drive(port: int, path: str, connections: int, seconds: float) -> tuple[int, float]:
    """Return the number of answers and the seconds that they took."""
    loop = asyncio.get_running_loop()
    started = time.monotonic()
    opened = [
        (await loop.create_connection(lambda: Connection(path, started + seconds), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*[one.done for one in opened])
    return sum(one.answers for one in opened), time.monotonic() - started


if __name__ == "__main__":
    answers, taken = asyncio.run(drive(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
    print(answers, taken)
