"""At the start, what must not go live stops it in production; everything else is said once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from typing import Any

import pytest
from check_world import fastapi_plain, kit_in, login
from fastapi import FastAPI
from flask import Flask
from tests.support.clients import AsgiClient, WsgiClient

from launchkit import LaunchKit, Settings, StartError
from launchkit.errors import CheckFailed

PRODUCTION: dict[str, Any] = {"environment": "production", "trusted_proxies": "private"}
GOOD = secrets.token_urlsafe(32)


def started(app: FastAPI) -> list[dict[str, Any]]:
    """Return what an app answers to the start of its lifespan."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "lifespan.shutdown" if sent else "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    async def run() -> None:
        with contextlib.suppress(StartError):
            await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)

    asyncio.run(run())
    return sent


def test_settings_that_must_not_go_live_stop_the_making_of_a_kit() -> None:
    """All of them at once, each with its remedy and no value."""
    with pytest.raises(CheckFailed) as caught:
        LaunchKit(Settings(**PRODUCTION, token="tooshort", redis_url="redis://cache/0"))
    assert [finding.code for finding in caught.value.findings] == ["machines-without-secret-key", "weak-secret"]
    assert "LAUNCHKIT_SECRET_KEY" in str(caught.value)
    assert "tooshort" not in str(caught.value)
    assert isinstance(caught.value, StartError)


@pytest.mark.parametrize("environment", ["development", "test"])
def test_nothing_is_refused_outside_of_production(environment: str) -> None:
    """There they are mistakes of no consequence."""
    kit = kit_in(fastapi_plain(), environment=environment, token="tooshort", routes={"login": "/logn"})
    asyncio.run(kit.astart())
    kit.stop()


def test_warnings_refuse_nothing() -> None:
    """They may be meant."""
    kit = kit_in(fastapi_plain(), environment="production")
    assert [finding.severity for finding in kit.check()] == ["warning", "warning"]
    asyncio.run(kit.astart())
    kit.stop()


def test_a_mistyped_path_fails_the_startup_in_production() -> None:
    """The server is told by the lifespan protocol, and ends."""
    app = fastapi_plain()
    kit_in(app, **PRODUCTION, secret_key=GOOD, routes={"login": "/logn"})
    app.user_middleware.clear()
    (message,) = started(app)
    assert message["type"] == "lifespan.startup.failed"
    assert "Rate limit login names /logn" in message["message"]
    assert "(mistyped-path)" in message["message"]


def test_a_login_that_middleware_serves_stops_no_start() -> None:
    """No route is like it, and what middleware answers cannot be seen."""
    app = FastAPI()
    app.post("/orders")(login)
    kit_in(app, **PRODUCTION, secret_key=GOOD, routes={"login": "/auth/signin"})
    assert [message["type"] for message in started(app)] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_a_right_app_starts_in_production() -> None:
    """The same with the right path."""
    app = fastapi_plain()
    kit_in(app, **PRODUCTION, secret_key=GOOD, routes={"login": "/login"})
    app.user_middleware.clear()
    assert [message["type"] for message in started(app)] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_check_warn_only_logs(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever has to go live with a mistake can."""
    monkeypatch.setenv("LAUNCHKIT_CHECK", "warn")
    app = fastapi_plain()
    kit_in(app, **PRODUCTION, token="tooshort", secret_key=GOOD, routes={"login": "/logn"})
    app.user_middleware.clear()
    assert started(app)[0]["type"] == "lifespan.startup.complete"
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [message.rpartition("(")[2] for message in errors] == ["weak-secret)", "mistyped-path)"]


def test_under_wsgi_errors_are_logged_once_and_nothing_stops(caplog: pytest.LogCaptureFixture) -> None:
    """The kit starts with the first request there, which is too late to refuse."""
    app = Flask(__name__)
    app.post("/login")(lambda: "in")
    kit = kit_in(app, **PRODUCTION, secret_key=GOOD, routes={"login": "/logn"})
    client = WsgiClient(app)
    assert [client.request("POST", "/login").status for _ in range(3)] == [200] * 3
    kit.stop()
    (record,) = [record for record in caplog.records if "mistyped-path" in record.getMessage()]
    assert record.levelno == logging.ERROR
    assert "did you mean /login?" in record.getMessage()


def test_without_lifespan_errors_are_logged_and_nothing_stops(caplog: pytest.LogCaptureFixture) -> None:
    """As under WSGI."""
    app = FastAPI()
    app.post("/login")(lambda: "in")
    kit = kit_in(app, **PRODUCTION, secret_key=GOOD, routes={"login": "/logn"})
    client = AsgiClient(app)
    assert client.request("POST", "/login").status == 200
    client.close()
    kit.stop()
    assert "mistyped-path" in caplog.text


def test_warnings_are_logged_as_warnings(caplog: pytest.LogCaptureFixture) -> None:
    """But for routes without a limit, which the start-up report tells of."""
    app = FastAPI()
    app.post("/login")(login)
    kit = kit_in(app, environment="production")
    kit.start()
    kit.stop()
    (record,) = [record for record in caplog.records if record.getMessage().endswith("(unresolved-proxy)")]
    assert record.levelno == logging.WARNING
    assert "missing-limit" not in caplog.text


def test_a_start_survives_an_app_that_breaks_the_check(caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be checked must not stop an app."""
    app = FastAPI()
    kit = kit_in(app, **PRODUCTION, secret_key=GOOD, routes={"login": "/login"})
    app.router.routes.append(None)  # type: ignore[arg-type]
    asyncio.run(kit.astart())
    kit.stop()
    assert "The check broke off with" in caplog.text
