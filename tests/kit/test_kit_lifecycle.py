"""A kit starts once in each process, stops without losing anything, and says what it does."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
import stripe
from fastapi import APIRouter, FastAPI
from flask import Flask, current_app
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from tests.support.clients import AsgiClient, WsgiClient
from tests.support.targets import NAMES, Target

from launchkit import Delivery, InstallError, LaunchKit, LaunchKitError, Settings, SettingsError, StartError, request_id

SECRET = f"whsec_{secrets.token_hex(16)}"
SOURCES = {"sources": {"stripe": {"secrets": SECRET}}}


def event(number: int = 1, kind: str = "invoice.paid") -> bytes:
    return json.dumps({"id": f"evt_{number:08}", "object": "event", "type": kind}).encode()


def signed(target: Target, body: bytes, secret: str = SECRET) -> list[tuple[str, str]]:
    timestamp = int(target.world.clock.time())
    header = stripe.WebhookSignature.generate_signature_header(body.decode(), secret, timestamp)
    return [("stripe-signature", header)]


class Handled:
    """A handler that can be waited for."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.threads: list[threading.Thread] = []
        self._done = threading.Event()

    def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        self.threads.append(threading.current_thread())
        self._done.set()

    def wait(self) -> None:
        assert self._done.wait(10)

    def wait_on_loop_of(self, target: Target) -> None:
        """Wait where the worker shares the client's loop, which runs only while it is asked to."""
        deadline = time.monotonic() + 10
        while not self.deliveries and time.monotonic() < deadline:
            target.client.runner.run(asyncio.sleep(0))


# --- installing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("app", [FastAPI(), Starlette(), Flask(__name__)], ids=["fastapi", "starlette", "flask"])
def test_installing_twice_is_an_error_that_says_so(app: FastAPI | Starlette | Flask) -> None:
    """Also with another kit: requests would be counted twice."""
    LaunchKit(Settings()).install(app)
    with pytest.raises(InstallError, match="installed in this app already"):
        LaunchKit(Settings()).install(app)


def test_an_app_of_another_kind_is_an_error_that_says_what_to_do() -> None:
    """`asgi` and `wsgi` wrap what `install` does not know."""
    with pytest.raises(InstallError, match=r"kit\.asgi\(app\) or kit\.wsgi\(app\)"):
        LaunchKit(Settings()).install(object())  # type: ignore[arg-type]


def test_a_kit_may_be_installed_after_the_app_was_built() -> None:
    """A stack that exists already is wrapped."""
    app = Starlette()
    app.middleware_stack = app.build_middleware_stack()
    LaunchKit(Settings()).install(app)
    client = AsgiClient(app)
    assert client.request("GET", "/").header("x-request-id")
    client.close()


def test_importing_and_making_a_kit_opens_nothing(tmp_path: Path) -> None:
    """No file, thread or connection before the start."""
    before = threading.active_count()
    LaunchKit(Settings(webhooks=SOURCES, data_dir=tmp_path / "data"))
    assert threading.active_count() == before
    assert not (tmp_path / "data").exists()


# --- webhooks, from end to end -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_webhook_is_stored_answered_and_handled(make: Callable[..., Target], name: str) -> None:
    """On every framework, without lifespan: the first request starts the worker."""
    target = make(name, webhooks=SOURCES)
    handled = Handled()
    target.kit.webhook("stripe", "invoice.paid")(handled)
    body = event()
    first = target.request("POST", "/webhooks/stripe", signed(target, body), body)
    again = target.request("POST", "/webhooks/stripe", signed(target, body), body)
    assert (first.status, json.loads(first.body)) == (200, {"status": "accepted"})
    assert (again.status, json.loads(again.body)) == (200, {"status": "duplicate"})
    assert first.header("x-request-id")
    handled.wait()
    (delivery,) = handled.deliveries
    assert (delivery.id, delivery.event, delivery.attempt, delivery.json()["id"]) == (
        "evt_00000001",
        "invoice.paid",
        1,
        "evt_00000001",
    )


@pytest.mark.parametrize("name", NAMES)
def test_refused_deliveries_are_limited_and_good_ones_never(make: Callable[..., Target], name: str) -> None:
    """60 bad signatures a minute from one address, then 429; a valid one passes all the same."""
    target = make(name, webhooks=SOURCES)
    target.kit.webhook("stripe")(Handled())
    body = event()
    forged = signed(target, body, f"whsec_{secrets.token_hex(16)}")
    statuses = [target.request("POST", "/webhooks/stripe", forged, body).status for _ in range(62)]
    assert statuses == [401] * 60 + [429] * 2
    assert target.request("POST", "/webhooks/stripe", signed(target, body), body).status == 200


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ([], b"{}", 401),
        ([("stripe-signature", "garbage \xff")], b"\xff\xfe", 401),
        ([("stripe-signature", "t=1,v1=\xff")], b"{}", 401),
        ([], b"x" * 1_000_001, 413),
    ],
)
def test_garbage_deliveries_get_a_clear_4xx(
    make: Callable[..., Target], name: str, headers: list[tuple[str, str]], body: bytes, status: int
) -> None:
    """Never a 500, whatever an anonymous sender sends."""
    target = make(name, webhooks=SOURCES)
    target.kit.webhook("stripe")(Handled())
    assert target.request("POST", "/webhooks/stripe", headers, body).status == status
    assert target.request("GET", "/webhooks/stripe").status == 405


def test_webhooks_that_are_switched_off_ask_to_come_again(make: Callable[..., Target]) -> None:
    """503 with Retry-After: nothing is lost while it is off."""
    target = make("asgi", webhooks={"enabled": False, **SOURCES})
    target.kit.webhook("stripe")(Handled())
    body = event()
    reply = target.request("POST", "/webhooks/stripe", signed(target, body), body)
    assert (reply.status, bool(reply.header("retry-after"))) == (503, True)


def test_a_source_without_secret_answers_503_in_development(
    make: Callable[..., Target], capsys: pytest.CaptureFixture[str]
) -> None:
    """And the start-up report names the variable."""
    target = make("asgi")
    target.kit.webhook("stripe")(Handled())
    assert target.request("POST", "/webhooks/stripe", body=event()).status == 503
    assert "LAUNCHKIT_WEBHOOKS__SOURCES__STRIPE__SECRETS" in capsys.readouterr().err


def test_async_handlers_run_on_the_servers_loop(make: Callable[..., Target]) -> None:
    """Where the app's own connections live, when there is a lifespan."""
    target = make("starlette", webhooks=SOURCES)
    loops: list[asyncio.AbstractEventLoop] = []
    done = asyncio.Event()

    @target.kit.webhook("stripe")
    async def handle(delivery: Delivery) -> None:
        loops.append(asyncio.get_running_loop())
        done.set()

    body = event()
    with target.client.lifespan():
        target.request("POST", "/webhooks/stripe", signed(target, body), body)
        target.client.runner.run(asyncio.wait_for(done.wait(), 10))
    assert loops == [target.client.runner.get_loop()]


def test_flask_handlers_have_the_apps_context(make: Callable[..., Target]) -> None:
    """So that its extensions work in them, in a thread of the kit's."""
    target = make("flask", webhooks=SOURCES)
    names: list[str] = []
    handled = Handled()

    @target.kit.webhook("stripe")
    def handle(delivery: Delivery) -> None:
        names.append(current_app.name)
        handled(delivery)

    body = event()
    target.request("POST", "/webhooks/stripe", signed(target, body), body)
    handled.wait()
    assert names == ["tests.support.targets"]
    assert handled.threads[0].name.startswith("launchkit-pool")


def test_a_delivery_survives_a_stop(make: Callable[..., Target], tmp_path: Path) -> None:
    """What was acknowledged before is handled by whoever starts next."""
    first = make("wsgi", webhooks=SOURCES)
    body = event()
    assert first.request("POST", "/webhooks/stripe", signed(first, body), body).status == 200  # nobody handles it
    first.kit.stop()
    second = make("flask", webhooks=SOURCES)
    handled = Handled()
    second.kit.webhook("stripe")(handled)
    second.request("GET", "/hello")
    handled.wait()
    assert handled.deliveries[0].id == "evt_00000001"


def test_a_handler_that_comes_late_is_taken_up(make: Callable[..., Target]) -> None:
    """Modules may be imported after the first request."""
    target = make("wsgi", webhooks=SOURCES)
    target.request("GET", "/hello")
    handled = Handled()
    target.kit.webhook("stripe")(handled)
    body = event()
    target.request("POST", "/webhooks/stripe", signed(target, body), body)
    handled.wait()


def test_a_kit_that_was_stopped_starts_again(make: Callable[..., Target]) -> None:
    """A second lifespan is a second start."""
    target = make("starlette", webhooks=SOURCES)
    handled = Handled()
    target.kit.webhook("stripe")(handled)
    with target.client.lifespan():
        pass
    with target.client.lifespan():
        body = event()
        target.request("POST", "/webhooks/stripe", signed(target, body), body)
        handled.wait_on_loop_of(target)
    assert len(handled.deliveries) == 1
    target.kit.stop()


@pytest.mark.parametrize("mark", ["DYNO", "K_SERVICE"])
def test_webhooks_on_a_throw_away_disk_stop_a_production_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mark: str
) -> None:
    """Unless the folder was chosen, which says that it is a volume."""
    monkeypatch.setenv(mark, "1")
    with pytest.raises(StartError, match="LAUNCHKIT_DATA_DIR"):
        LaunchKit(Settings(webhooks=SOURCES))
    LaunchKit(Settings(webhooks=SOURCES, data_dir=tmp_path))


def test_a_source_without_secret_stops_a_production_start() -> None:
    """From the settings as from a handler."""
    with pytest.raises(StartError, match="LAUNCHKIT_WEBHOOKS__SOURCES__BILLING__SECRETS"):
        LaunchKit(Settings(environment="production", webhooks={"sources": {"billing": {"scheme": "standard"}}}))
    with pytest.raises(StartError, match="LAUNCHKIT_WEBHOOKS__SOURCES__STRIPE__SECRETS"):
        LaunchKit(Settings(environment="production")).webhook("stripe")


def test_a_handler_for_an_unknown_source_is_an_error() -> None:
    """A mistyped name would otherwise never be called."""
    with pytest.raises(SettingsError, match="STRIPPE"):
        LaunchKit(Settings()).webhook("strippe")(Handled())


def test_a_second_check_or_handler_of_the_same_name_is_an_error() -> None:
    """It would replace the first in silence."""
    kit = LaunchKit(Settings())
    kit.health_check("database")(lambda: None)
    with pytest.raises(LaunchKitError):
        kit.health_check("database")(lambda: None)
    kit.webhook("stripe")(Handled())
    with pytest.raises(LaunchKitError):
        kit.webhook("stripe")(Handled())


# --- processes -----------------------------------------------------------------------------------------------------

FORKING = """
import os, signal, threading
from launchkit import LaunchKit, Settings
from tests.support.clients import WsgiClient
kit = LaunchKit(Settings(webhooks={"sources": {"stripe": {"secrets": "whsec_" + "x" * 20}}}))
kit.webhook("stripe")(print)
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"x"]
client = WsgiClient(kit.wsgi(app))
client.request("GET", "/")
first = kit.pipeline
kit.webhooks.counts.add("stripe", "done")
kit.webhooks.counts.add_seconds("stripe", 1.0)
kit.webhooks.counts._lock.acquire()  # as another thread may have it
child = os.fork()
if child == 0:
    signal.alarm(20)
    assert kit.pipeline is None
    assert (kit.webhooks.counts.read(), kit.webhooks.counts.read_seconds()) == ({}, {})
    reply = client.request("GET", "/")
    assert kit.pipeline is not first and reply.status == 200
    names = sorted(thread.name for thread in threading.enumerate())
    assert "launchkit-loop" in names, names
    kit.stop()
    os._exit(0)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0
kit.webhooks.counts._lock.release()
assert kit.webhooks.counts.read() == {("stripe", "done"): 1}
assert client.request("GET", "/").status == 200 and kit.pipeline is first
"""


def test_a_fork_starts_anew(tmp_path: Path) -> None:
    """Threads and loops do not survive a fork, so the child makes its own, and counts from 0; the parent goes on."""
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", FORKING],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr.decode()


def test_only_what_the_settings_ask_for_is_imported() -> None:
    """Redis, Sentry, OpenTelemetry and the frameworks stay out of `import launchkit`."""
    code = (
        "import sys, launchkit; launchkit.LaunchKit(launchkit.Settings());"
        "print([name for name in sys.modules if name.split('.')[0] in "
        "('redis', 'sentry_sdk', 'opentelemetry', 'flask', 'fastapi', 'starlette')])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True)
    assert result.stdout.decode().strip() == "[]"


# --- what it says --------------------------------------------------------------------------------------------------


def test_the_report_has_at_most_twelve_lines(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """However much there is to say."""
    app = FastAPI()
    router = APIRouter()
    for number in range(30):
        router.add_api_route(f"/login/{number}", lambda: None, methods=["POST"])
    app.include_router(router, prefix="/v1")
    kit = LaunchKit(Settings(data_dir=tmp_path, timing={"enabled": False}, routes={"signup": "/signup"}))
    for source in ("stripe", "clerk", "resend"):
        kit.webhook(source)(Handled())
    kit.install(app)
    kit.start()
    kit.stop()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 12
    assert lines[0].startswith("LaunchKit ")
    assert "limits for" in lines[-1]


def login() -> str:
    return "in"


@pytest.mark.parametrize("kind", ["fastapi", "starlette", "flask"])
def test_the_report_names_forms_without_a_limit(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    """With the setting that gives them one; routes in routers and mounts are found too."""
    kit = LaunchKit(Settings())
    app: FastAPI | Starlette | Flask
    if kind == "fastapi":
        app = FastAPI()
        router = APIRouter()
        router.post("/login")(login)
        app.include_router(router, prefix="/v1")
    elif kind == "starlette":
        app = Starlette(routes=[Mount("/v1", routes=[Route("/login", login, methods=["POST"])])])
    else:
        app = Flask(__name__)
        app.post("/v1/login")(login)
    kit.install(app)
    kit.start()
    kit.stop()
    assert "POST /v1/login has no limit: set LAUNCHKIT_ROUTES__LOGIN=/v1/login" in capsys.readouterr().err


def test_the_report_gives_advice_that_can_be_followed(
    capsys: pytest.CaptureFixture[str], make: Callable[..., Target]
) -> None:
    """Flask's parameters are written as patterns have them."""
    app = Flask(__name__)
    app.post("/<string:tenant>/login")(login)
    kit = LaunchKit(Settings())
    kit.install(app)
    kit.start()
    kit.stop()
    advice = "POST /{tenant}/login has no limit: set LAUNCHKIT_ROUTES__LOGIN=/{tenant}/login"
    assert advice in capsys.readouterr().err
    limited = make("wsgi", routes={"login": "/{tenant}/login"})
    assert [limited.request("POST", "/acme/login").status for _ in range(21)] == [404] * 20 + [429]


def test_the_report_is_quiet_about_forms_that_have_one(capsys: pytest.CaptureFixture[str]) -> None:
    """By preset or by an own rule."""
    app = Flask(__name__)
    app.post("/login")(login)
    kit = LaunchKit(Settings(rate_limit={"rules": {"in": {"paths": "/log*n".replace("*", "i"), "limit": "5/minute"}}}))
    kit.install(app)
    kit.start()
    kit.stop()
    assert "has no limit" not in capsys.readouterr().err


def test_records_carry_the_request_id(caplog: pytest.LogCaptureFixture, make: Callable[..., Target]) -> None:
    """Every record that is logged while a request is served."""
    target = make("asgi")

    async def app(scope: object, receive: object, send: Callable[..., object]) -> None:
        logging.getLogger("app").warning("working")
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[misc]
        await send({"type": "http.response.body"})  # type: ignore[misc]

    target.client.app.app = app
    reply = target.request("GET", "/")
    (record,) = [record for record in caplog.records if record.message == "working"]
    assert record.request_id == reply.header("x-request-id")  # type: ignore[attr-defined]
    assert request_id.get() == ""


def test_the_settings_secrets_never_reach_a_log(caplog: pytest.LogCaptureFixture) -> None:
    """Opaque as they are, their values are known."""
    token, webhook_secret = secrets.token_urlsafe(24), f"whsec_{secrets.token_hex(16)}"
    LaunchKit(Settings(token=token, webhooks={"sources": {"stripe": {"secrets": webhook_secret}}}))
    logging.getLogger("app").warning("using %s and %s", token, webhook_secret)
    assert token not in caplog.text
    assert webhook_secret not in caplog.text


# --- what is not for everybody -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_figures_need_the_token_outside_of_development(make: Callable[..., Target], name: str) -> None:
    """Without it they do not exist, not even for this machine."""
    token = secrets.token_urlsafe()
    target = make(name, environment="production", token=token, release="v1")
    assert target.request("GET", "/metrics", peer="127.0.0.1").status == 404
    assert target.request("GET", "/metrics", [("authorization", "Bearer guess")]).status == 404
    assert target.request("GET", "/metrics", [("authorization", f"Bearer {token}")]).status == 200
    assert json.loads(target.request("GET", "/health").body) == {"status": "pass"}
    details = json.loads(target.request("GET", "/health", [("authorization", f"Bearer {token}")]).body)
    assert details["releaseId"] == "v1"


def test_metrics_tell_what_every_feature_counted(make: Callable[..., Target]) -> None:
    """Limits, cache, webhooks and our own failures, besides durations."""
    target = make(
        "wsgi",
        routes={"login": "/login"},
        webhooks=SOURCES,
        read_cache={"rules": {"counted": {"paths": "/counted"}}},
    )
    target.kit.webhook("stripe")(Handled())
    body = event()
    target.request("POST", "/webhooks/stripe", signed(target, body), body)
    target.request("POST", "/login", body=b"{}")
    target.request("GET", "/counted")
    target.request("GET", "/counted")
    text = target.request("GET", "/metrics", peer="127.0.0.1").body.decode()
    for line in (
        'launchkit_rate_limit_total{rule="login",outcome="allowed"} 1',
        'launchkit_cache_requests_total{outcome="hit"} 1',
        'launchkit_webhooks_total{source="stripe",outcome="accepted"} 1',
        "launchkit_cache_evictions_total 0",
        f'launchkit_process_info{{pid="{os.getpid()}"}} 1',
    ):
        assert line in text


def test_wsgi_apps_stop_at_exit(make: Callable[..., Target]) -> None:
    """Stopping twice is as good as once."""
    target = make("wsgi")
    target.request("GET", "/hello")
    target.kit.stop()
    target.kit.stop()
    assert WsgiClient(target.client.app).request("GET", "/hello").status == 200


@pytest.mark.parametrize("app", [FastAPI(), Flask(__name__)], ids=["fastapi", "flask"])
def test_the_report_names_pages_of_the_apps_that_the_kit_answers(
    capsys: pytest.CaptureFixture[str], app: FastAPI | Flask
) -> None:
    """Otherwise they would be gone without a word."""
    app.get("/health")(login)
    app.get("/metrics")(login)
    kit = LaunchKit(Settings(timing={"enabled": False}))
    kit.install(app)
    kit.start()
    kit.stop()
    report = capsys.readouterr().err
    assert "the app's own /health, which LaunchKit answers: set LAUNCHKIT_HEALTH__PATH" in report
    assert "/metrics, which" not in report


def test_no_file_is_made_for_webhooks_that_nobody_can_send(make: Callable[..., Target], tmp_path: Path) -> None:
    """A source without a secret takes nothing in."""
    target = make("wsgi")
    target.kit.webhook("stripe")(Handled())
    assert target.request("POST", "/webhooks/stripe", body=event()).status == 503
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", NAMES)
def test_no_spelling_of_a_webhooks_path_reaches_the_app(make: Callable[..., Target], name: str) -> None:
    """The app may have a handler there that believes in the kit's verification."""
    target = make(name, webhooks={"sources": {"stripe": {"secrets": SECRET, "path": "/echo"}}})
    for path in ("/echo", "/echo/", "//echo", "/%65cho", "/echo%0A"):
        assert target.request("POST", path, body=b"{}").status == 401


@pytest.mark.parametrize("name", NAMES)
def test_no_rule_refuses_a_good_delivery(make: Callable[..., Target], name: str) -> None:
    """Also not one that covers everything."""
    rules = {"rules": {"all": {"paths": "/*", "limit": "3/minute"}}}
    target = make(name, webhooks=SOURCES, rate_limit=rules)
    target.kit.webhook("stripe")(Handled())
    bodies = [event(number) for number in range(10)]
    statuses = [target.request("POST", "/webhooks/stripe", signed(target, body), body).status for body in bodies]
    assert statuses == [200] * 10


def test_deliveries_wait_for_a_process_with_their_handler(make: Callable[..., Target]) -> None:
    """One without, or whose handler is imported later, takes nothing away."""
    sources = {"sources": {"stripe": {"secrets": SECRET}, "other": {"secrets": SECRET, "scheme": "stripe"}}}
    target = make("wsgi", webhooks=sources)
    other, late = Handled(), Handled()
    target.kit.webhook("other")(other)
    body = event()
    target.request("POST", "/webhooks/stripe", signed(target, body), body)
    target.request("POST", "/webhooks/other", signed(target, body), body)
    other.wait()
    target.kit.webhook("stripe")(late)
    target.kit._deliveries._wake()
    late.wait()
    assert [delivery.source for delivery in (*other.deliveries, *late.deliveries)] == ["other", "stripe"]


class Odd(BaseException):
    """Something that is no Exception, as extensions in other languages raise."""


@pytest.mark.parametrize("error", [StopIteration, KeyboardInterrupt, SystemExit, Odd])
def test_whatever_a_handler_raises_is_a_failed_attempt(
    make: Callable[..., Target], error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """It ends neither the worker nor the server, and takes no place for longer than it ran."""
    target = make("wsgi", webhooks={**SOURCES, "concurrency": 1})
    handled = Handled()

    @target.kit.webhook("stripe", "bad")
    def bad(delivery: Delivery) -> None:
        raise error

    target.kit.webhook("stripe", "good")(handled)
    for body in (event(1, "bad"), event(2, "good")):
        assert target.request("POST", "/webhooks/stripe", signed(target, body), body).status == 200
    handled.wait()
    assert "failed on attempt 1" in caplog.text


def test_a_data_dir_that_cannot_be_used_does_not_stop_the_app(make: Callable[..., Target], tmp_path: Path) -> None:
    """Webhooks ask to come again; everything else is untouched."""
    (tmp_path / "data").write_text("not a folder")
    target = make("wsgi", webhooks=SOURCES)
    target.kit.webhook("stripe")(Handled())
    body = event()
    assert target.request("GET", "/hello").status == 200
    assert target.request("POST", "/webhooks/stripe", signed(target, body), body).status == 503


def test_a_loop_that_ended_without_a_shutdown_is_replaced(make: Callable[..., Target]) -> None:
    """The worker comes back with the next start."""
    target = make("starlette", webhooks=SOURCES)
    handled = Handled()
    target.kit.webhook("stripe")(handled)
    with asyncio.Runner() as first:
        first.run(target.kit.astart())
    with target.client.lifespan():
        body = event()
        target.request("POST", "/webhooks/stripe", signed(target, body), body)
        handled.wait_on_loop_of(target)
    assert len(handled.deliveries) == 1


def test_a_developer_still_sees_werkzeugs_debugger(make: Callable[..., Target]) -> None:
    """With it around, a 500 of the kit's would take the traceback's place."""
    target = make("wsgi")
    reply = target.request("GET", "/boom", **{"werkzeug.debug.preserve_context": list})
    assert (reply.status, type(reply.error).__name__) == (0, "Boom")


@pytest.mark.parametrize("url", ["redis://:{}@127.0.0.1:1/0", "redis://127.0.0.1:1/0?password={}"])
def test_the_password_of_a_redis_url_is_hidden_however_it_is_written(
    caplog: pytest.LogCaptureFixture, url: str
) -> None:
    """As it stands in the URL, and as it is meant."""
    secret = f"{secrets.token_hex(8)}/{secrets.token_hex(4)}&é"
    LaunchKit(Settings(redis_url=url.format(quote(secret, safe=""))))
    for text in (secret, quote(secret, safe=""), quote(secret), repr(secret), json.dumps(secret)):
        logging.getLogger("app").warning("it is %s", text)
    assert secret[:16] not in caplog.text


def test_a_kit_that_nobody_keeps_hides_until_another_one_does(caplog: pytest.LogCaptureFixture) -> None:
    """A script that only wants its logs redacted has no reason to hold on to it."""
    secret = secrets.token_urlsafe(16)
    LaunchKit(Settings(token=secret))
    gc.collect()
    logging.getLogger("app").warning("it is %s", secret)
    assert secret not in caplog.text
    other = LaunchKit(Settings(redaction={"enabled": False}))
    gc.collect()
    logging.getLogger("app").warning("it is %s", secret)
    assert (other.redaction, secret in caplog.text) == (None, True)
