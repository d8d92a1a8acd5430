"""The public API as type checkers see it in an app; checked, never run."""

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, assert_type

from fastapi import FastAPI
from flask import Flask
from pydantic import BaseModel
from starlette.applications import Starlette

from launchkit import (
    Delivery,
    Discard,
    Exchange,
    Finding,
    InboxUnavailable,
    LaunchKit,
    Problem,
    Retry,
    Settings,
    SettingsError,
    load_settings,
    request_id,
)
from launchkit.adapters.asgi import AsgiAdapter
from launchkit.adapters.wsgi import WsgiAdapter
from launchkit.schemes import Handshake, Message, Refused, Verified, WebhookScheme
from launchkit.testing import FrozenClock, sign
from launchkit.webhooks import Filter


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


@kit.webhook("stripe", order_by="data.object.customer")
def serial(delivery: Delivery) -> None:
    if not delivery.body:
        raise Discard("empty")
    raise Retry(after=60)


@kit.webhook("app", "mail")
async def mail(delivery: Delivery) -> None:
    assert_type(await kit.webhooks.asubmit("mail", {"to": 1}, key="welcome", delay=5), str)
    assert_type(await kit.work(), None)


@kit.queue_depth("images")
def images() -> tuple[int, float | None]:
    return 3, None


class OwnScheme:
    def verify(self, message: Message, secrets: Sequence[bytes]) -> Verified | Refused | Handshake:
        return Verified("1") if message.body else Refused("missing")


own: WebhookScheme = OwnScheme()
Settings(webhooks={"sources": {"partner": {"scheme": own, "secrets": ["x"]}}})

try:
    assert_type(kit.webhooks.submit("mail", {"to": 1}), str)
except InboxUnavailable:
    assert_type(kit.complete("app:1"), bool)

assert_type(kit.webhooks.replay(Filter(states=("dead",), source="stripe"), limit=5), int)
assert_type(kit.webhooks.discard(Filter(keys=("stripe:evt_1",)), reason="test"), int)
for entry in kit.webhooks.list(Filter(event="invoice.paid")):
    assert_type(entry.key, str)
shown = kit.webhooks.show("stripe:evt_1")
if shown is not None and shown.content is not None:
    assert_type(shown.content.body, bytes)
assert_type(images(), tuple[int, float | None])


@kit.health_check("database", required=False)
async def database() -> bool:
    return True


assert_type(changed(Delivery("id", "clerk", "", b"", {}, 1, 0.0)), None)
assert_type(load_settings(AppSettings), tuple[Settings, AppSettings])
assert_type(request_id, ContextVar[str])
assert_type(sign("stripe", "whsec_x", b"{}", now=0.0, message_id="1"), dict[str, str])

try:
    Settings()
except SettingsError as error:
    assert_type(error.problems, tuple[Problem, ...])
