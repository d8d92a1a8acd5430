"""The apps that the server runs, each with nothing around it, with the hand-written middleware, and with the kit: the
marketplace of the examples, whose route reads one row of SQLite, and FastAPI and Starlette apps whose one route does
nothing at all. And a FastAPI app that lists things, bare and out of the read cache, alone or with every feature on.

Run by `uvicorn --factory`. The routes of the kit's own features are never asked for here, but all of them are on.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.by_hand import AsgiByHand
from benchmarks.launched import launched, new_secret
from benchmarks.things import Listing, Things, alone, everything
from launchkit import LaunchKit

DATA_DIR = "BENCHMARKS_DATA_DIR"


EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "fastapi_app" / "main.py"


def example() -> FastAPI:
    """The marketplace without its kit, with one order."""
    app = example_with_kit()
    del app.build_middleware_stack  # where the kit was installed
    return app


def example_by_hand() -> AsgiByHand:
    """The marketplace with the hand-written middleware in place of its kit."""
    return AsgiByHand(example())


def example_with_kit() -> FastAPI:
    """The marketplace as it is, with one order."""
    folder = os.environ[DATA_DIR]
    os.environ["TOOLSHED_DATABASE"] = f"{folder}/toolshed.sqlite3"
    os.environ["LAUNCHKIT_DATA_DIR"] = folder
    os.environ["LAUNCHKIT_WEBHOOKS__SOURCES__STRIPE__SECRETS"] = new_secret()
    specification = importlib.util.spec_from_file_location("marketplace", EXAMPLE)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    with module.database() as database:
        database.execute("INSERT INTO orders VALUES ('42', 'ada@example.org', 1, 'open')")
    return module.app


def fastapi() -> FastAPI:
    """A FastAPI app."""
    app = FastAPI()

    @app.get("/items/{number}")
    async def item(number: int) -> dict[str, object]:
        return {"id": number, "name": "A thing"}

    return app


def starlette() -> Starlette:
    """A Starlette app."""

    async def item(request: Request) -> JSONResponse:
        return JSONResponse({"id": int(request.path_params["number"]), "name": "A thing"})

    return Starlette(routes=[Route("/items/{number}", item)])


def fastapi_by_hand() -> AsgiByHand:
    """A FastAPI app with the hand-written middleware."""
    return AsgiByHand(fastapi())


def starlette_by_hand() -> AsgiByHand:
    """A Starlette app with the hand-written middleware."""
    return AsgiByHand(starlette())


def fastapi_with_kit() -> FastAPI:
    """A FastAPI app with the kit."""
    return _with_kit(fastapi())


def starlette_with_kit() -> Starlette:
    """A Starlette app with the kit."""
    return _with_kit(starlette())


def things() -> FastAPI:
    """A FastAPI app whose one route lists things, with a response model."""
    return Things().fastapi(response_model=Listing)


def things_alone() -> FastAPI:
    """The same with a kit that has nothing but a cache rule for the route."""
    return _installed(alone(Path(os.environ[DATA_DIR])), things())


def things_everything() -> FastAPI:
    """The same with a kit that has every feature, and a cache rule for the route."""
    return _installed(everything(Path(os.environ[DATA_DIR])), things())


def _installed(kit: LaunchKit, app: FastAPI) -> FastAPI:
    kit.install(app)
    return app


def _with_kit(app):
    launched(Path(os.environ[DATA_DIR]), new_secret(), lambda _: None).install(app)
    return app
