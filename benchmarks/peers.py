"""One limited route of FastAPI and of Flask, under LaunchKit and under the packages that people use for it today.

Each is set up as its own documentation does for counts in memory: 60 a minute for each address. A thousand visitors
come in turn, each over a connection of its own, so that nobody has to know about proxies. What is told is the
difference to the same app without a limit. Before that, each has to refuse somebody's 61st request. What else they do
differs: LaunchKit counts exactly and tells clients what is left; slowapi, Flask-Limiter and fastapi-limiter tell them
nothing unless asked to, and count in fixed windows or, the last one, in one bucket for everybody, for which reason its
limit is higher here and goes unproved.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import flask_limiter
import flask_limiter.util
import slowapi
import slowapi.errors
import slowapi.middleware
import slowapi.util
from fastapi import Depends, FastAPI, Request
from fastapi_limiter.depends import RateLimiter
from flask import Flask
from pyrate_limiter import Duration, Limiter, Rate
from throttled.asyncio.contrib import fastapi as throttled_fastapi
from throttled.contrib import flask as throttled_flask

from benchmarks.in_process import Rounds, WrongAnswerError, profiled, take_turns
from benchmarks.launched import data_folder, launched, new_secret, with_only
from benchmarks.limits import VISITORS
from benchmarks.protocols import Answer, Asgi, Call, Wsgi
from benchmarks.report import Comparison, Target
from benchmarks.variants import Variant
from launchkit import LaunchKit

PER_MINUTE = 60
LIMIT = f"{PER_MINUTE}/minute"
PATH = "/items/42"

BARE, ALONE, EVERYTHING = "bare", "LaunchKit, limit alone", "LaunchKit, everything on"
UNPROVED = "fastapi-limiter"

Decorator = Callable[[Any], Any]
Builder = Callable[[Path], Any]


def _as_is(endpoint: Any) -> Any:
    return endpoint


# --- LaunchKit -----------------------------------------------------------------------------------------------------


def _alone(folder: Path) -> LaunchKit:
    return with_only(folder / "alone", rate_limit=_limited())


def _everything(folder: Path) -> LaunchKit:
    return launched(folder / "everything", new_secret(), lambda _: None, rate_limit=_limited())


def _limited() -> dict[str, object]:
    rule = {"paths": ["/items/{number}"], "methods": ["GET"], "limit": LIMIT}
    return {"store": "memory", "rules": {"items": rule}}


# --- FastAPI -------------------------------------------------------------------------------------------------------


def _fastapi(decorate: Decorator = _as_is, **options: Any) -> FastAPI:
    app = FastAPI()

    @app.get("/items/{number}", **options)
    @decorate
    async def item(request: Request, number: int) -> dict[str, object]:  # noqa: ARG001  # slowapi asks for the request
        return {"id": number, "name": "A thing"}

    return app


def _fastapi_with(kit: LaunchKit) -> FastAPI:
    app = _fastapi()
    kit.install(app)
    return app


def _slowapi(app: FastAPI, limiter: slowapi.Limiter) -> FastAPI:
    app.state.limiter = limiter
    app.add_exception_handler(slowapi.errors.RateLimitExceeded, slowapi._rate_limit_exceeded_handler)
    return app


def _slowapi_decorator(_: Path) -> FastAPI:
    limiter = slowapi.Limiter(key_func=slowapi.util.get_remote_address)
    return _slowapi(_fastapi(limiter.limit(LIMIT)), limiter)


def _slowapi_middleware(middleware: Any) -> Builder:
    def build(_: Path) -> FastAPI:
        limiter = slowapi.Limiter(key_func=slowapi.util.get_remote_address, default_limits=[LIMIT])
        app = _slowapi(_fastapi(), limiter)
        app.add_middleware(middleware)
        return app

    return build


def _fastapi_limiter(_: Path) -> FastAPI:
    limiter = Limiter(Rate(10_000_000, Duration.MINUTE))
    return _fastapi(dependencies=[Depends(RateLimiter(limiter=limiter))])


def _throttled_fastapi(*, headers: bool) -> Builder:
    def build(_: Path) -> FastAPI:
        limiter = throttled_fastapi.Limiter(f"{PER_MINUTE}/m", key_func=throttled_fastapi.get_remote_address)
        app = _fastapi(limiter.limit())
        app.add_exception_handler(
            throttled_fastapi.RateLimitExceededError, throttled_fastapi.rate_limit_exceeded_handler
        )
        if headers:
            app.add_middleware(throttled_fastapi.RateLimitMiddleware)
        return app

    return build


# --- Flask ---------------------------------------------------------------------------------------------------------


def _flask(decorate: Decorator = _as_is) -> Flask:
    app = Flask(__name__)

    @app.get("/items/<int:number>")
    @decorate
    def item(number: int) -> dict[str, object]:
        return {"id": number, "name": "A thing"}

    return app


def _flask_with(kit: LaunchKit) -> Flask:
    app = _flask()
    kit.install(app)
    return app


def _flask_limiter(strategy: str) -> Builder:
    def build(_: Path) -> Flask:
        limiter = flask_limiter.Limiter(
            flask_limiter.util.get_remote_address, storage_uri="memory://", strategy=strategy
        )
        app = _flask(limiter.limit(LIMIT))
        limiter.init_app(app)
        return app

    return build


def _throttled_flask(_: Path) -> Flask:
    limiter = throttled_flask.Limiter(f"{PER_MINUTE}/m", key_func=throttled_flask.get_remote_address)
    app = _flask(limiter.limit())
    limiter.init_app(app)
    return app


# --- the run -------------------------------------------------------------------------------------------------------

FRAMEWORKS: dict[str, tuple[Any, dict[str, Builder]]] = {
    "FastAPI": (
        Asgi,
        {
            BARE: lambda _: _fastapi(),
            ALONE: lambda folder: _fastapi_with(_alone(folder)),
            EVERYTHING: lambda folder: _fastapi_with(_everything(folder)),
            "slowapi, decorator": _slowapi_decorator,
            "slowapi, SlowAPIMiddleware": _slowapi_middleware(slowapi.middleware.SlowAPIMiddleware),
            "slowapi, SlowAPIASGIMiddleware": _slowapi_middleware(slowapi.middleware.SlowAPIASGIMiddleware),
            UNPROVED: _fastapi_limiter,
            "throttled-py": _throttled_fastapi(headers=False),
            "throttled-py with its middleware": _throttled_fastapi(headers=True),
        },
    ),
    "Flask": (
        Wsgi,
        {
            BARE: lambda _: _flask(),
            ALONE: lambda folder: _flask_with(_alone(folder)),
            EVERYTHING: lambda folder: _flask_with(_everything(folder)),
            "Flask-Limiter, fixed window": _flask_limiter("fixed-window"),
            "Flask-Limiter, moving window": _flask_limiter("moving-window"),
            "throttled-py": _throttled_flask,
        },
    ),
}


def compare(framework: str, rounds: int, seconds: float) -> Comparison:
    """Measure every package on one framework. LaunchKit is expected to add no more than the best of the others."""
    with data_folder() as folder:
        measured = asyncio.run(_measure(framework, folder, rounds, seconds))
    added = {name: measured.above(name, BARE) for name in measured.microseconds if name != BARE}
    ours = {name: added.pop(name) for name in (ALONE, EVERYTHING)}
    best = min(added, key=lambda name: added[name])
    return Comparison(
        f"One limited route of {framework}, counts in memory",
        measured,
        dict.fromkeys([*ours, *added], BARE),
        tuple(
            Target(f"{framework}, {name}, against {best}", figure, round(added[best], 1), "us", name)
            for name, figure in ours.items()
        ),
        partial(_profile, framework),
    )


async def _measure(framework: str, folder: Path, rounds: int, seconds: float) -> Rounds:
    protocol, builders = FRAMEWORKS[framework]
    variants = [_variant(name, build(folder)) for name, build in builders.items()]
    for variant in variants:
        if variant.name not in (BARE, UNPROVED):
            await _check_limit(protocol, variant)
    return await take_turns(protocol, variants, rounds, seconds)


def _variant(name: str, app: Any) -> Variant:
    return Variant(name, app, 500, _calls, lambda answer: answer.status == 200)


def _calls(count: int) -> Iterable[Call]:
    return itertools.islice(_EVERYBODY, count)


_EVERYBODY = itertools.cycle([Call(PATH, visitor=visitor, peer=visitor) for visitor in VISITORS])


async def _check_limit(protocol: Any, variant: Variant) -> None:
    call = Call(PATH, visitor="192.0.2.99", peer="192.0.2.99")
    answers: list[Answer] = [await protocol.ask(variant.app, call) for _ in range(PER_MINUTE + 1)]
    if [answer.status for answer in answers] != [200] * PER_MINUTE + [429]:
        raise WrongAnswerError(f"{variant.name}: {[answer.status for answer in answers]}")


def _profile(framework: str, name: str) -> str:
    with data_folder() as folder:
        protocol, builders = FRAMEWORKS[framework]
        variant = _variant(name, builders[name](folder))
        return asyncio.run(profiled(protocol.run(variant.app, protocol.prepare(variant.calls(10_000)))))
