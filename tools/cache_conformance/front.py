"""The server that is tested: uvicorn with the reverse proxy, and LaunchKit around it, on a free port of loopback."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http import h11_impl, httptools_impl

START_SECONDS = 20
STOP_SECONDS = 10

for status in range(600, 1000):
    # The suite's origin says 999 where it missed a conditional request; uvicorn knows no status from 600 on.
    h11_impl.STATUS_PHRASES[status] = b""
    httptools_impl.STATUS_LINE[status] = b"HTTP/1.1 %d \r\n" % status


class FrontError(Exception):
    """The server that is to be tested does not start."""


def launched(app: Any, settings: dict[str, Any], folder: Path) -> Any:
    """Return an app with LaunchKit around it: its defaults, and what the settings say.

    Args:
        app: the ASGI app.
        settings: keyword arguments of `Settings`.
        folder: where it may keep files.
    """
    from launchkit import LaunchKit, Settings  # not at the top: a bare proxy runs without

    return LaunchKit(Settings(**({"environment": "test", "data_dir": folder} | settings))).asgi(app)


@contextlib.contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve an ASGI app from a thread; yield its base URL; end it in any case.

    Raises:
        FrontError: it does not start.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, date_header=False, server_header=False, access_log=False, log_level="error")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            _wait(server, thread)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(STOP_SECONDS)


def _wait(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise FrontError("the server with the app under test does not start")
        time.sleep(0.02)
