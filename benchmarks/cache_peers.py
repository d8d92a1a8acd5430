"""One route of FastAPI and of Flask, out of LaunchKit's cache and out of those that people use for it today.

Each is set up as its own documentation begins, with what it keeps in memory; hishel, which has no such store, with an
SQLite database in memory. The answers counted are hits: the route runs at most once for each turn, before it, when the
cache may fill. What else they do differs. The decorators (fastapi-cache2, cashews, aiocache, Flask-Caching) keep what
the function returns, so that routing, dependencies and mostly JSON are paid for at every hit; the others keep
responses. The route declares that it returns a dict, which FastAPI serialises faster than anything else.

asgi-caches asks for a Starlette of 2019 and is left out unless somebody has installed it without its dependencies:
`pip install --no-deps asgi-caches==0.3.1 async-caches==0.3.0`.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import aiocache
import anysqlite
import cashews
import fastapi_cache
import fastapi_cache.decorator
import flask_caching
import hishel
import hishel.asgi
from fastapi import Depends, Response
from fastapi_cache.backends.inmemory import InMemoryBackend
from flask import Flask

from benchmarks.browser import FETCH, VISITOR
from benchmarks.in_process import Rounds, profiled, take_turns
from benchmarks.launched import data_folder
from benchmarks.protocols import Answer, Asgi, Call, Wsgi
from benchmarks.report import Comparison, Target
from benchmarks.things import HOUR, PATHS, Things, alone, everything
from benchmarks.variants import Variant, repeated
from launchkit import LaunchKit

BARE, ALONE, EVERYTHING = "bare", "LaunchKit, cache alone", "LaunchKit, everything on"
PER_ROUND = {"300 B": 60, "20 kB": 20}
"""Few: some take a thousand times as long as others."""

Builder = Callable[[Things, Path, AsyncExitStack], Awaitable[Any]]
"""Puts a cache around a route; the folder is for a kit, the stack for what has to be stopped afterwards."""


# --- LaunchKit -----------------------------------------------------------------------------------------------------


def _fastapi_with(make_kit: Callable[[Path], LaunchKit]) -> Builder:
    async def build(things: Things, folder: Path, closing: AsyncExitStack) -> Any:
        app, kit = things.fastapi(), make_kit(folder)
        kit.install(app)
        closing.push_async_callback(Asgi.stop, kit)
        return app

    return build


def _flask_with(make_kit: Callable[[Path], LaunchKit]) -> Builder:
    async def build(things: Things, folder: Path, closing: AsyncExitStack) -> Any:
        app, kit = things.flask(Flask(__name__)), make_kit(folder)
        kit.install(app)
        closing.push_async_callback(Wsgi.stop, kit)
        return app

    return build


# --- FastAPI -------------------------------------------------------------------------------------------------------


async def _bare_fastapi(things: Things, _folder: Path, _closing: AsyncExitStack) -> Any:
    return things.fastapi()


async def _fastapi_cache2(things: Things, _folder: Path, _closing: AsyncExitStack) -> Any:
    fastapi_cache.FastAPICache.init(InMemoryBackend(), prefix="fastapi-cache")
    return things.fastapi(fastapi_cache.decorator.cache(expire=HOUR))


async def _cashews(things: Things, _folder: Path, _closing: AsyncExitStack) -> Any:
    cashews.cache.setup("mem://")
    return things.fastapi(cashews.cache(ttl="1h"))


async def _aiocache(things: Things, _folder: Path, _closing: AsyncExitStack) -> Any:
    return things.fastapi(aiocache.cached(ttl=HOUR))


async def _hishel(things: Things, _folder: Path, closing: AsyncExitStack) -> Any:
    def say_how_long(response: Response) -> None:
        response.headers["cache-control"] = f"max-age={HOUR}"

    storage = hishel.AsyncSqliteStorage(connection=await anysqlite.connect(":memory:"))
    closing.push_async_callback(storage.close)
    app = things.fastapi(dependencies=[Depends(say_how_long)])
    return hishel.asgi.ASGICacheMiddleware(app, storage=storage)


async def _asgi_caches(things: Things, _folder: Path, _closing: AsyncExitStack) -> Any:
    from asgi_caches.middleware import CacheMiddleware
    from caches import Cache

    cache = Cache("locmem://null", ttl=HOUR)
    await cache.connect()
    return CacheMiddleware(things.fastapi(), cache=cache)


# --- Flask ---------------------------------------------------------------------------------------------------------


async def _bare_flask(things: Things, _folder: Path, _closing: AsyncExitStack) -> Any:
    return things.flask(Flask(__name__))


def _flask_caching(*, query_string: bool) -> Builder:
    async def build(things: Things, _folder: Path, _closing: AsyncExitStack) -> Any:
        app = Flask(__name__)
        cache = flask_caching.Cache(app, config={"CACHE_TYPE": "SimpleCache"})
        return things.flask(app, cache.cached(timeout=HOUR, query_string=query_string))

    return build


# --- the run -------------------------------------------------------------------------------------------------------

HAS_ASGI_CACHES = importlib.util.find_spec("asgi_caches") is not None
REMARKS = () if HAS_ASGI_CACHES else ("  asgi-caches 0.3.1 is left out: it does not install beside this Starlette",)

FRAMEWORKS: dict[str, tuple[Any, dict[str, Builder], tuple[str, ...]]] = {
    "FastAPI": (
        Asgi,
        {
            BARE: _bare_fastapi,
            ALONE: _fastapi_with(alone),
            EVERYTHING: _fastapi_with(everything),
            "fastapi-cache2": _fastapi_cache2,
            "cashews": _cashews,
            "aiocache": _aiocache,
            "hishel": _hishel,
            **({"asgi-caches": _asgi_caches} if HAS_ASGI_CACHES else {}),
        },
        REMARKS,
    ),
    "Flask": (
        Wsgi,
        {
            BARE: _bare_flask,
            ALONE: _flask_with(alone),
            EVERYTHING: _flask_with(everything),
            "Flask-Caching": _flask_caching(query_string=False),
            "Flask-Caching, query_string": _flask_caching(query_string=True),
        },
        (),
    ),
}


def compare(framework: str, size: str, rounds: int, seconds: float) -> Comparison:
    """Measure every cache on one framework. LaunchKit is expected to be faster than the best of the others."""
    measured = _run(framework, size, lambda protocol, variants: take_turns(protocol, variants, rounds, seconds))
    _, _, remarks = FRAMEWORKS[framework]
    others = [name for name in measured.microseconds if name not in (BARE, ALONE, EVERYTHING)]
    best = min(others, key=measured.median)
    return Comparison(
        f"A cached route of {framework}, {size}",
        measured,
        {name: BARE for name in measured.microseconds if name != BARE},
        tuple(_target(f"{framework} hit, {size}", measured, name, best) for name in (ALONE, EVERYTHING)),
        partial(_profile, framework, size),
        remarks,
    )


def _target(what: str, measured: Rounds, name: str, best: str) -> Target:
    return Target(f"{what}, {name}, against {best}", measured.ratio(name, best), 1.0, "times", name)


def _profile(framework: str, size: str, name: str) -> str:
    async def driven(protocol: Any, variants: list[Variant]) -> str:
        (variant,) = [one for one in variants if one.name == name]
        await protocol.ask(variant.app, *variant.calls(1))
        return await profiled(protocol.run(variant.app, protocol.prepare(variant.calls(5_000))))

    return _run(framework, size, driven)


def _run(framework: str, size: str, use: Callable[[Any, list[Variant]], Awaitable[Any]]) -> Any:
    protocol, builders, _ = FRAMEWORKS[framework]

    async def run(folder: Path) -> Any:
        async with AsyncExitStack() as closing:
            variants = [await _variant(name, build, size, folder, closing) for name, build in builders.items()]
            return await use(protocol, variants)

    with data_folder() as folder:
        return asyncio.run(run(folder))


async def _variant(name: str, build: Builder, size: str, folder: Path, closing: AsyncExitStack) -> Variant:
    things = Things()
    app = await build(things, folder, closing)
    call = Call(PATHS[size], visitor=VISITOR, peer=VISITOR, sent=FETCH)

    checks = itertools.count(1)

    def is_right(answer: Answer) -> bool:
        (runs,) = things.runs.values()
        return answer.status == 200 and (name == BARE or runs <= next(checks))

    return Variant(name, app, PER_ROUND[size], repeated(call), is_right)
