"""A FastAPI app for tests with real servers."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, PlainTextResponse, StreamingResponse

from launchkit import Delivery, LaunchKit, Settings

FOLDER = Path(os.environ["SITE_FOLDER"])

app = FastAPI()
kit = LaunchKit(
    Settings(
        routes={"login": "/login"},
        read_cache={"rules": {"counted": {"paths": "/counted"}}},
        webhooks={"lease": 1},
    )
)
kit.install(app)
released = asyncio.Event()
calls = 0


@kit.webhook("stripe")
async def handle(delivery: Delivery) -> None:
    with (FOLDER / "started").open("a") as started:
        started.write(f"{delivery.id} {delivery.attempt}\n")
    if not (FOLDER / "go").exists():
        await asyncio.Event().wait()
    with (FOLDER / "handled").open("a") as handled:
        handled.write(f"{delivery.id} {delivery.attempt}\n")


@app.get("/hello")
async def hello() -> PlainTextResponse:
    return PlainTextResponse("hello")


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"first"
        await released.wait()
        released.clear()
        yield b"second"

    return StreamingResponse(chunks(), media_type="text/event-stream")


@app.get("/release")
async def release() -> None:
    released.set()


@app.post("/upload")
async def upload(request: Request) -> int:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
    return size


@app.get("/file")
async def file() -> FileResponse:
    return FileResponse(FOLDER / "file.bin")


@app.get("/boom")
async def boom() -> None:
    raise ValueError("boom")


@app.get("/counted")
async def counted() -> int:
    global calls
    calls += 1
    return calls


@app.post("/login", status_code=401)
async def login() -> None:
    return None
