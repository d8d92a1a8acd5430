"""Apps that fail, in both protocols, behind a feature that gives a stored response in their place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.adapters.pipeline_host import PipelineHost
from tests.adapters.replacing import Outer, Replacing

FOLDER = Path(os.environ["SITE_FOLDER"])


async def failing(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        raise NotImplementedError
    if scope["path"] == "/boom":
        raise ValueError("the app's own")
    status = 200 if scope["path"] == "/health/live" else 503
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"the app's", "more_body": True})
    await send({"type": "http.response.body", "body": b" own"})
    (FOLDER / "ended").write_text(scope["path"])


def failing_wsgi(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    path = environ["PATH_INFO"]
    if path == "/boom":
        raise ValueError("the app's own")
    start_response("200 OK" if path == "/health/live" else "503 Down", [("content-type", "text/plain")])
    yield b"the app's"
    yield b" own"
    (FOLDER / "ended").write_text(path)


def served(name: str, app: Any) -> Any:
    host = PipelineHost(name, [Outer(), Replacing()], FOLDER)
    host.client.app.app = app
    return host.client.app


asgi_app = served("asgi", failing)
wsgi_app = served("wsgi", failing_wsgi)
