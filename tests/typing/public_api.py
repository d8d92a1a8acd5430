"""The public API as type checkers see it in an app; checked, never run."""

from contextvars import ContextVar
from typing import Any, assert_type

from fastapi import FastAPI
from flask import Flask
from pydantic import BaseModel
from starlette.applications import Starlette

from launchkit import (
    Delivery,
    Exchange,
    Finding,
    LaunchKit,
    Problem,
    Settings,
    SettingsError,
    load_settings,
    request_id,
)
from launchkit.adapters.asgi import AsgiAdapter
from launchkit.adapters.wsgi import WsgiAdapter
from launchkit.testing import FrozenClock


class AppSettings(BaseModel):
    database_url: str


settings = Settings(routes={"login": "/login"}, environment="production")
kit = LaunchKit(settings, clock=FrozenClock())
LaunchKit()

kit.install(FastAPI())
kit.install(Starlette())
kit.install(Flask(__name__))
kit.install(object())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # of another kind


async def asgi(scope: Any, receive: Any, send: Any) -> None: ...


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    return []


def tenant(exchange: Exchange) -> str | None:
    assert_type(exchange.header(b"host"), bytes | None)
    return exchange.path


Settings(rate_limit={"rules": {"exports": {"paths": "/exports/*", "limit": "9/hour", "by": [tenant]}}})
assert_type(kit.check(), tuple[Finding, ...])
assert_type(kit.asgi(asgi), AsgiAdapter)
assert_type(kit.wsgi(wsgi), WsgiAdapter)


@kit.webhook("stripe", "invoice.paid")
async def paid(delivery: Delivery) -> None:
    assert_type(delivery.body, bytes)
    assert_type(delivery.idempotency_key, str)


@kit.webhook("clerk")
def changed(delivery: Delivery) -> None: ...


@kit.health_check("database", required=False)
async def database() -> bool:
    return True


assert_type(changed(Delivery("id", "clerk", "", b"", {}, 1, 0.0)), None)
assert_type(load_settings(AppSettings), tuple[Settings, AppSettings])
assert_type(request_id, ContextVar[str])

try:
    Settings()
except SettingsError as error:
    assert_type(error.problems, tuple[Problem, ...])
