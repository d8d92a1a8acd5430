"""The app that is sent webhooks under uvicorn: a FastAPI app with the kit, and a route of its own that stores nothing.

Whoever handles the deliveries is elsewhere (`in_app` is off), as it is where an app is busy enough to be measured.
"""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import FastAPI, Request

from benchmarks.launched import WEBHOOK_PATH, launched
from benchmarks.webhook_events import SOURCE
from benchmarks.webhook_stores import PLENTY

DATA_DIR, SECRET = "BENCHMARKS_DATA_DIR", "BENCHMARKS_SECRET"
STORED_PATH, UNSTORED_PATH = WEBHOOK_PATH, "/hooks/stripe"


def app() -> FastAPI:
    """Return the app with its kit, every feature on."""
    bare = FastAPI()

    @bare.post(UNSTORED_PATH)
    async def hook(request: Request) -> dict[str, str]:
        await request.body()
        return {"status": "accepted"}

    secret = os.environ[SECRET]
    webhooks = {"sources": {SOURCE: {"secrets": [secret]}}, "in_app": False, "max_pending": PLENTY}
    launched(Path(os.environ[DATA_DIR]), secret, lambda _: None, webhooks=webhooks).install(bare)
    return bare
