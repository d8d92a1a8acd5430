"""What the kit is compared with: a middleware that does nothing, and one that a good engineer would write by hand.

The hand-written one does what the kit's timing and request ids do, fused into one layer, and nothing else: it accepts a
well-formed `X-Request-ID` or makes one, keeps it in a context variable while the request is served, adds it to the
response unless the app has set it, and records the duration to the last byte, under a lock, in a histogram of powers of
two for each method and class of status. It knows no routes, has no window, no settings and no fence around its own
bugs: it is the floor, not a rival.
"""

from __future__ import annotations

import math
import random
import re
import threading
import time
from collections import Counter
from contextvars import ContextVar

current_id: ContextVar[str] = ContextVar("current_id", default="")
_well_formed = re.compile(r"[A-Za-z0-9._=+/-]{8,64}").fullmatch


class Durations:
    """A histogram of powers of two seconds for each method and class of status."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, int], Counter[int]] = {}

    def record(self, method: str, status: int, seconds: float) -> None:
        bucket = math.frexp(seconds)[1]
        key = (method, status // 100)
        with self._lock:
            counts = self._counts.get(key)
            if counts is None:
                counts = self._counts[key] = Counter()
            counts[bucket] += 1


def accepted_or_new(given: str | None) -> str:
    if given is not None and _well_formed(given):
        return given
    return "%032x" % random.getrandbits(128)  # noqa: UP031  # the faster of the two


class AsgiNothing:
    """Passes everything on."""

    def __init__(self, app) -> None:
        self.app = app

    async def __call__(self, scope, receive, send) -> None:
        await self.app(scope, receive, send)


class AsgiByHand:
    """Times requests and gives them ids."""

    def __init__(self, app) -> None:
        self.app = app
        self.durations = Durations()

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
        request_id = accepted_or_new(None if given is None else given.decode("latin-1"))
        token = current_id.set(request_id)
        status = 500

        async def send_with_id(message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message.get("headers", ()))
                if not any(name.lower() == b"x-request-id" for name, _ in headers):
                    headers.append((b"x-request-id", request_id.encode("ascii")))
                message = {**message, "headers": headers}
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            self.durations.record(scope["method"], status, time.perf_counter() - started)
            current_id.reset(token)


class WsgiNothing:
    """Passes everything on."""

    def __init__(self, app) -> None:
        self.app = app

    def __call__(self, environ, start_response):
        return self.app(environ, start_response)


class WsgiByHand:
    """Times requests and gives them ids."""

    def __init__(self, app) -> None:
        self.app = app
        self.durations = Durations()

    def __call__(self, environ, start_response):
        started = time.perf_counter()
        request_id = accepted_or_new(environ.get("HTTP_X_REQUEST_ID"))
        token = current_id.set(request_id)
        status = 500

        def start_with_id(line, headers, exc_info=None):
            nonlocal status
            status = int(line[:3])
            if not any(name.lower() == "x-request-id" for name, _ in headers):
                headers = [*headers, ("x-request-id", request_id)]
            return start_response(line, headers, exc_info) if exc_info else start_response(line, headers)

        def leave() -> None:
            self.durations.record(environ["REQUEST_METHOD"], status, time.perf_counter() - started)
            current_id.reset(token)

        try:
            return _Closing(self.app(environ, start_with_id), leave)
        except BaseException:
            leave()
            raise


class _Closing:
    """A response iterable that tells when the server has closed it."""

    def __init__(self, body, leave) -> None:
        self._body = body
        self._leave = leave

    def __iter__(self):
        return iter(self._body)

    def close(self) -> None:
        try:
            if hasattr(self._body, "close"):
                self._body.close()
        finally:
            self._leave()
