"""A Flask app for tests with real servers."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flask import Flask, Response, request, send_file

from launchkit import Delivery, LaunchKit, Settings

FOLDER = Path(os.environ["SITE_FOLDER"])

app = Flask(__name__)
kit = LaunchKit(
    Settings(
        routes={"login": "/login"},
        read_cache={"rules": {"counted": {"paths": "/counted"}}},
        webhooks={"lease": 1},
    )
)
kit.install(app)
released = threading.Event()
calls = 0


@kit.webhook("stripe")
def handle(delivery: Delivery) -> None:
    with (FOLDER / "started").open("a") as started:
        started.write(f"{delivery.id} {delivery.attempt}\n")
    if not (FOLDER / "go").exists():
        threading.Event().wait()
    with (FOLDER / "handled").open("a") as handled:
        handled.write(f"{delivery.id} {delivery.attempt}\n")


@app.get("/hello")
def hello() -> Any:
    return "hello", 200, {"content-type": "text/plain"}


@app.get("/stream")
def stream() -> Any:
    def chunks() -> Iterator[bytes]:
        yield b"first"
        released.wait()
        released.clear()
        yield b"second"

    return Response(chunks(), mimetype="text/event-stream")


@app.get("/release")
def release() -> Any:
    released.set()
    return "", 204


@app.post("/upload")
def upload() -> Any:
    size = 0
    while chunk := request.stream.read(65_536):
        size += len(chunk)
    return str(size)


@app.get("/file")
def file() -> Any:
    return send_file(FOLDER / "file.bin")


@app.get("/boom")
def boom() -> Any:
    raise ValueError("boom")


@app.get("/counted")
def counted() -> Any:
    global calls
    calls += 1
    return str(calls)


@app.post("/login")
def login() -> Any:
    return "", 401
