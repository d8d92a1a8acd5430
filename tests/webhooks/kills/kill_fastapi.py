"""The kit of `kill_app` around a FastAPI app."""

from __future__ import annotations

from fastapi import FastAPI
from kill_app import kit

app = FastAPI()
kit.install(app)


@app.get("/plain")
async def plain() -> str:
    """Answer at once, unless the loop is blocked."""
    return "plain"
