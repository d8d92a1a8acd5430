"""Limits by account and by device behave alike on every framework, and hold when everybody comes at once."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, redirect, request
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from launchkit import LaunchKit, Settings
from launchkit.testing import FrozenClock
from tests.support.clients import AsgiClient, Reply, WsgiClient
from tests.support.targets import Target

ANN = "ann@example.com"
JSON = ("content-type", "application/json")
FORM = ("content-type", "application/x-www-form-urlencoded")


def credentials(account: str = ANN, password: str = "wrong") -> bytes:
    return json.dumps({"email": account, "password": password}).encode()


def anywhere() -> Iterator[str]:
    """Addresses, each another one."""
    return (f"198.51.{number // 250}.{number % 250 + 1}" for number in range(60_000))


def log_in(target: Target, peer: str, *headers: tuple[str, str], good: bool = False, account: str = ANN) -> Reply:
    body = credentials(account, "right" if good else "wrong")
    return target.request("POST", "/login", [JSON, *headers], body, peer=peer)


def device_of(reply: Reply) -> tuple[str, str] | None:
    """Return the device cookie that a response sets, as the browser sends it back."""
    found = [
        line.partition(";")[0] for line in reply.header_values("set-cookie") if line.startswith("launchkit_device_")
    ]
    return ("cookie", found[0]) if found else None


def test_an_account_is_closed_after_five_failures_from_anywhere(target: Target) -> None:
    """The launch default, whatever addresses the tries come from; other accounts are open."""
    peers = anywhere()
    assert [log_in(target, next(peers)).status for _ in range(8)] == [401] * 5 + [429] * 3
    assert target.world.calls == 5
    assert log_in(target, next(peers), good=True).status == 429
    assert log_in(target, next(peers), account="bob@example.com").status == 401


def test_whoever_goes_on_waits_longer_and_longer(target: Target) -> None:
    """5 in 15 minutes, 10 in an hour, 20 in 6 hours: each refusal says when it ends, and it does."""
    peers, waited = anywhere(), []
    for _ in range(5):
        while (reply := log_in(target, next(peers))).status == 401:
            pass
        waited.append(int(reply.header("retry-after") or 0))
        target.world.clock.advance(waited[-1] - 1)
        assert log_in(target, next(peers)).status == 429
        target.world.clock.advance(1)
    assert waited == [900, 2700, 900, 17_100, 900]


def test_successes_use_up_nothing(target: Target) -> None:
    """A hundred good logins of one account from everywhere pass, and failures count from nought after them."""
    peers = anywhere()
    assert {log_in(target, next(peers), good=True).status for _ in range(100)} == {200}
    assert [log_in(target, next(peers)).status for _ in range(6)] == [401] * 5 + [429]


def test_spellings_and_places_of_an_account_share_its_count(target: Target) -> None:
    """JSON, form, query, HTTP Basic and multipart; in capitals, with blanks, full width."""
    peers = anywhere()
    basic = ("authorization", "Basic " + base64.b64encode(f"{ANN}:x".encode()).decode())
    part = f'--b\r\nContent-Disposition: form-data; name="email"\r\n\r\n{ANN}\r\n--b--\r\n'.encode()
    tries: list[tuple[str, list[tuple[str, str]], bytes]] = [
        ("/login", [JSON], credentials(" ANN@Example.com ")),
        ("/login", [FORM], b"username=%EF%BD%81nn%40example.com&password=x"),
        ("/login?email=Ann@example.com", [], b""),
        ("/login", [basic], b""),
        ("/login", [("content-type", "multipart/form-data; boundary=b")], part),
        ("/login", [JSON], credentials()),
    ]
    statuses = [target.request("POST", path, headers, body, peer=next(peers)).status for path, headers, body in tries]
    assert statuses == [401] * 5 + [429]


def test_a_refusal_by_account_leaves_the_address_what_it_had(target: Target) -> None:
    """A refused request consumes nothing: somebody behind the same address still has all their tries."""
    peers = anywhere()
    for _ in range(5):
        log_in(target, next(peers))
    assert {log_in(target, "203.0.113.99").status for _ in range(100)} == {429}
    statuses = [log_in(target, "203.0.113.99", account=f"user{number}").status for number in range(21)]
    assert statuses == [401] * 20 + [429]


def test_a_refusal_tells_nothing_of_the_account(target: Target) -> None:
    """Who asks for an account that others have closed learns when to come back, and no more."""
    peers = anywhere()
    for _ in range(5):
        log_in(target, next(peers))
    reply = log_in(target, next(peers))
    assert reply.header("ratelimit") is None
    assert "account" not in (reply.header("ratelimit-policy") or "")
    assert set(json.loads(reply.body)) == {"type", "title", "status", "detail"}
    assert (reply.header("retry-after"), reply.header("cache-control")) == ("900", "no-store")
    page = log_in(target, next(peers), ("accept", "text/html"))
    assert page.header("content-type") == "text/html; charset=utf-8"


def test_too_much_padding_is_refused(target: Target) -> None:
    """More than is looked at for an account does not reach the login."""
    padded = credentials().ljust(70_000)
    for body in (padded, [padded[:100], padded[100:]]):
        assert target.request("POST", "/login", [JSON], body).status == 413
    assert target.world.calls == 0


def test_a_preflight_is_not_counted(target: Target) -> None:
    """Browsers send it by themselves."""
    headers = [("origin", "https://a.example"), ("access-control-request-method", "POST")]
    assert {target.request("OPTIONS", "/login", headers).status for _ in range(100)}.isdisjoint({429})
    assert log_in(target, "203.0.113.7").status == 401


def test_a_method_in_lower_case_is_counted_where_it_is_served(target: Target) -> None:
    """Some servers pass it on as it came, and some frameworks read it as POST."""
    peers = anywhere()
    for _ in range(20):
        target.request("post", "/login", [JSON], credentials(), peer=next(peers))
    assert target.world.calls <= 5


# --- the body --------------------------------------------------------------------------------------------------------


READ = {"rate_limit": {"rules": {"read": {"paths": "/echo", "limit": "100000/minute", "by": "account"}}}}


@pytest.mark.parametrize("name", ["asgi", "starlette", "fastapi", "wsgi", "flask"])
def test_the_app_gets_every_byte_that_was_looked_at(make: Callable[..., Target], name: str) -> None:
    """However the body comes: whole, in many small pieces, with empty ones between, just as long as the cap."""
    target = make(name, **READ)
    chance = random.Random(7)
    for size in (0, 1, 2, 1000, 65_535, 65_536):
        body = chance.randbytes(size)
        cuts = sorted(chance.randrange(size + 1) for _ in range(min(size, 300)))
        pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, size], strict=True)]
        for sent in (body, pieces, [body, b""], [b"", body]):
            assert target.request("POST", "/echo", [("content-type", "text/plain")], sent).body == body
    small = chance.randbytes(3000)
    assert target.request("POST", "/echo", body=[small[index : index + 1] for index in range(3000)]).body == small


@pytest.mark.parametrize("name", ["asgi", "starlette", "fastapi", "wsgi", "flask"])
def test_an_observing_rule_takes_nothing_from_a_large_body(make: Callable[..., Target], name: str) -> None:
    """It reads up to its cap, refuses nothing, and the app still gets all of it."""
    target = make(name, rate_limit={"rules": {"read": READ["rate_limit"]["rules"]["read"] | {"mode": "observe"}}})
    body = random.Random(7).randbytes(200_000)
    for sent in (body, [body[:40_000], body[40_000:70_000], body[70_000:]]):
        assert target.request("POST", "/echo", body=sent).body == body


# --- devices ---------------------------------------------------------------------------------------------------------


def close(target: Target, peers: Iterator[str], account: str = ANN) -> None:
    """Fail at an account from unknown devices until it is closed to them."""
    while log_in(target, next(peers), account=account).status != 429:
        pass


def test_a_known_device_logs_in_while_others_close_the_account(target: Target) -> None:
    """It got its cookie with its first success, once, and has a count of its own."""
    peers = anywhere()
    device = device_of(log_in(target, next(peers), good=True))
    assert device is not None
    close(target, peers)
    for _ in range(3):
        reply = log_in(target, next(peers), device, good=True)
        assert (reply.status, device_of(reply)) == (200, None)
    assert [log_in(target, next(peers), device).status for _ in range(6)] == [401] * 5 + [429]


def test_a_device_is_not_known_at_another_account(target: Target) -> None:
    """Nor is one that somebody has made up."""
    peers = anywhere()
    mallory = device_of(log_in(target, next(peers), good=True, account="mallory@example.com"))
    assert mallory is not None
    close(target, peers)
    forged = [
        mallory,
        ("cookie", mallory[1][:-1] + "0"),
        ("cookie", "launchkit_device=a.ffffffff.0"),
        ("cookie", "\xff;;"),
    ]
    assert {log_in(target, next(peers), cookie, good=True).status for cookie in forged} == {429}


def test_a_failure_sets_no_cookie(target: Target) -> None:
    """It is for who has shown the password."""
    assert device_of(log_in(target, "198.51.100.1")) is None


def test_a_device_is_known_to_the_next_process(make: Callable[..., Target], target: Target) -> None:
    """With the same folder for data; and to every framework, because the cookie is LaunchKit's."""
    peers = anywhere()
    device = device_of(log_in(target, next(peers), good=True))
    assert device is not None
    for name in ("flask", "starlette"):
        restarted = make(name, routes={"login": "/login"})
        close(restarted, peers)
        assert log_in(restarted, next(peers), device, good=True).status == 200


@pytest.mark.parametrize(("headers", "https"), [([], False), ([("x-forwarded-proto", "https")], True)])
def test_the_cookie_is_secure_over_https_only(
    make: Callable[..., Target], target: Target, headers: list[tuple[str, str]], https: bool
) -> None:
    """As the client came, to the proxy in front."""
    behind = make(target.name, routes={"login": "/login"}, trusted_proxies="private")
    forwarded = [("x-forwarded-for", "198.51.100.1"), *headers]
    reply = log_in(behind, "10.0.0.1", *forwarded, good=True)
    (line,) = [line for line in reply.header_values("set-cookie") if line.startswith("launchkit_device_")]
    assert ("; Secure" in line) is https
    assert "; HttpOnly" in line


# --- unknown addresses and observing ---------------------------------------------------------------------------------


def test_behind_an_undeclared_proxy_accounts_are_still_limited(
    target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    """Limits by address only observe there; those by account hold."""
    forwarded = ("x-forwarded-for", "198.51.100.1")
    statuses = [log_in(target, "10.0.0.9", forwarded, account=f"user{number}").status for number in range(70)]
    assert statuses == [401] * 70
    assert [log_in(target, "10.0.0.9", forwarded).status for _ in range(6)] == [401] * 5 + [429]
    lines = [record for record in caplog.records if "only observes" in record.getMessage()]
    assert len(lines) == 1


def test_a_preset_that_observes_refuses_nothing(
    make: Callable[..., Target], target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    """It says once a minute what it would have refused, without naming anybody."""
    observing = make(target.name, routes={"login": "/login"}, rate_limit={"login": {"mode": "observe"}})
    for _ in range(2):
        assert {log_in(observing, "203.0.113.7").status for _ in range(70)} == {401}
        observing.world.clock.advance(60)
    lines = [record.getMessage() for record in caplog.records if "would have refused" in record.getMessage()]
    assert len(lines) == 2
    assert "ann" not in "".join(lines)


def test_no_account_or_password_is_kept_or_logged(target: Target, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the keys of the buckets nor in a log line."""
    caplog.set_level(logging.DEBUG)
    for _ in range(7):
        log_in(target, "203.0.113.7", account="secret.name@example.com")
    target.request("POST", "/login", [JSON], b'{"email": "secret.name@example.com", "password": "secret.word"')
    limiter: Any = target.kit._local_limiter
    kept = [*limiter._cool, *limiter._full]
    assert len(kept) >= 4
    assert "secret" not in "".join(kept) + caplog.text


# --- all at once -----------------------------------------------------------------------------------------------------


class Crowd:
    """A login whose answers wait until it is told to go on: as many are inside together as are let in."""

    def __init__(self, folder: Path) -> None:
        self.clock = FrozenClock()
        self.inside = 0
        self.settings = Settings(data_dir=folder, routes={"login": "/login"})
        self.kit = LaunchKit(self.settings, clock=self.clock)


def test_of_a_hundred_simultaneous_failures_five_reach_the_handler_asgi(tmp_path: Path) -> None:
    """Each is counted before it runs: none passes because the others have not failed yet."""
    crowd = Crowd(tmp_path / "data")

    async def everybody() -> list[int]:
        go_on = asyncio.Event()

        async def login(request: Request) -> Response:
            crowd.inside += 1
            await go_on.wait()
            return JSONResponse({}, 401)

        app = Starlette(routes=[Route("/login", login, methods=["POST"])])
        crowd.kit.install(app)
        client, peers = AsgiClient(app), anywhere()
        tasks = [
            asyncio.create_task(client.arequest("POST", "/login", [JSON], credentials(), peer=next(peers)))
            for _ in range(100)
        ]
        refused = [
            (await first).status for _, first in zip(range(95), asyncio.as_completed(tasks, timeout=20), strict=False)
        ]
        go_on.set()
        assert refused == [429] * 95
        return sorted([(await task).status for task in tasks])

    try:
        assert asyncio.run(everybody()) == [401] * 5 + [429] * 95
        assert crowd.inside == 5
    finally:
        crowd.kit.stop()


def test_of_a_hundred_simultaneous_failures_five_reach_the_handler_wsgi(tmp_path: Path) -> None:
    """The same with a thread for each."""
    crowd = Crowd(tmp_path / "data")
    go_on, together, lock = threading.Event(), threading.Barrier(100, timeout=20), threading.Lock()
    app = Flask(__name__)

    @app.post("/login")
    def login() -> Any:
        with lock:
            crowd.inside += 1
        assert go_on.wait(20)
        return {}, 401

    crowd.kit.install(app)

    def visit(peer: str) -> int:
        together.wait()
        return WsgiClient(app).request("POST", "/login", [JSON], credentials(), peer=peer).status

    peers = anywhere()
    try:
        with ThreadPoolExecutor(100) as pool:
            futures = [pool.submit(visit, next(peers)) for _ in range(100)]
            try:
                statuses = [future.result() for _, future in zip(range(95), as_completed(futures, 20), strict=False)]
            finally:
                go_on.set()
            assert statuses == [429] * 95
            assert sorted(future.result() for future in futures) == [401] * 5 + [429] * 95
        assert crowd.inside == 5
    finally:
        crowd.kit.stop()


# --- what a success looks like ---------------------------------------------------------------------------------------


def form_app(kind: str, kit: LaunchKit) -> Any:
    """A login that answers as the password says."""
    if kind == "starlette":

        async def login(request: Request) -> Response:
            return {
                "page": HTMLResponse("<p>Wrong password"),
                "back": RedirectResponse("/login?again", 303),
                "away": RedirectResponse("/home", 303),
                "nothing": Response(status_code=204),
            }[str((await request.form())["password"])]

        starlette = Starlette(routes=[Route("/login", login, methods=["POST"])])
        kit.install(starlette)
        return AsgiClient(starlette)
    flask = Flask(__name__)

    @flask.post("/login")
    def answer() -> Any:
        return {
            "page": "<p>Wrong password",
            "back": redirect("/login?again", 303),
            "away": redirect("/home", 303),
            "nothing": ("", 204),
        }[request.form["password"]]

    kit.install(flask)
    return WsgiClient(flask)


@pytest.mark.parametrize("kind", ["starlette", "flask"])
@pytest.mark.parametrize(
    ("answer", "status", "is_success"),
    [("page", 200, False), ("back", 303, False), ("away", 303, True), ("nothing", 204, True)],
)
def test_what_a_form_answers_tells_whether_it_failed(
    tmp_path: Path, kind: str, answer: str, status: int, is_success: bool
) -> None:
    """A page, and a way back to the form, show errors; a way elsewhere, or nothing, does not."""
    kit = LaunchKit(Settings(data_dir=tmp_path / "data", routes={"login": "/login"}), clock=FrozenClock())
    client, peers = form_app(kind, kit), anywhere()
    body = f"email=ann%40example.com&password={answer}".encode()
    try:
        replies = [client.request("POST", "/login", [FORM], body, peer=next(peers)) for _ in range(8)]
        allowed = 8 if is_success else 5
        assert [reply.status for reply in replies] == [status] * allowed + [429] * (8 - allowed)
        assert [device_of(reply) is not None for reply in replies[:5]] == [is_success] * 5
    finally:
        kit.stop()
        client.close()
