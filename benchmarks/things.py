"""The route that caches are put around, and the kits that cache it.

It lists things as JSON, as many as its path says, and counts its own runs, so that whoever asks can tell a hit from a
run of the route, whatever the cache says about itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from flask import Flask, jsonify
from flask import Response as FlaskResponse
from pydantic import BaseModel

from benchmarks.launched import launched, new_secret, with_only
from launchkit import LaunchKit

HOUR = 3600
CACHED = {"rules": {"things": {"paths": ["/things/{number}"], "ttl": HOUR}}}

FEW, MANY = 2, 134
PATHS = {"300 B": f"/things/{FEW}", "20 kB": f"/things/{MANY}"}
"""Sizes of the answer, give or take a tenth."""

Decorator = Callable[[Any], Any]


def as_is(endpoint: Any) -> Any:
    return endpoint


class Things:
    """What the route answers, with how often it ran for each number."""

    def __init__(self) -> None:
        self.runs: Counter[int] = Counter()

    def listing(self, number: int) -> dict[str, object]:
        """Return so many things of 150 bytes each."""
        self.runs[number] += 1
        return {"things": [_thing(position) for position in range(number)]}

    def fastapi(self, decorate: Decorator = as_is, **options: Any) -> FastAPI:
        """Return a FastAPI app with the route."""
        app = FastAPI()

        @app.get("/things/{number}", **options)
        @decorate
        async def things(number: int) -> dict[str, object]:
            return self.listing(number)

        return app

    def flask(self, app: Flask, decorate: Decorator = as_is) -> Flask:
        """Give a Flask app the route."""

        @app.get("/things/<int:number>")
        @decorate
        def things(number: int) -> FlaskResponse:
            return jsonify(self.listing(number))

        return app


class Price(BaseModel):
    amount: int
    currency: str


class Thing(BaseModel):
    id: int
    name: str
    price: Price
    tags: list[str]
    available: bool
    owner: str


class Listing(BaseModel):
    """What the route answers, for those who declare it. Undeclared, it takes FastAPI less time."""

    things: list[Thing]


def alone(folder: Path) -> LaunchKit:
    """Return a kit with nothing but a cache rule for the route."""
    return with_only(folder / "alone", read_cache=CACHED)


def everything(folder: Path) -> LaunchKit:
    """Return a kit with every feature and a cache rule for the route."""
    return launched(folder / "everything", new_secret(), lambda _: None, read_cache=CACHED)


def _thing(position: int) -> dict[str, object]:
    return {
        "id": position,
        "name": f"Cordless drill {position}",
        "price": {"amount": 1900 + position, "currency": "EUR"},
        "tags": ["tools", "battery", "18 V"],
        "available": True,
        "owner": "ada",
    }
