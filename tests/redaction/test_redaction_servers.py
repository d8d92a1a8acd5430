"""Secrets that an app logs, raises and prints under a real server: none comes out, and every line arrives.

The apps are at the end of this file. Each place that says a secret says its own name with it, so that what was lost is
told from what was hidden; with redaction switched off, all of them come out, which shows that they had been there.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import http.client
import json
import logging
import os
import re
import secrets
import subprocess
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import sqlalchemy
from fastapi import BackgroundTasks, FastAPI
from flask import Flask, request
from tests.support.servers import serving

from launchkit import LaunchKit, Settings

pytestmark = [pytest.mark.real_server, pytest.mark.real_time]

LOGGED = {
    "message": "password={}",
    "argument": "password=%s",
    "header": "Authorization: Bearer {}",
    "dictionary": "{{'user': 'ada', 'password': '{}'}}",
    "json": '{{"client_secret": "{}", "count": 1}}',
    "url": "connecting to postgresql://shop:{}@db.example/shop",
    "command": "curl -u admin:{} https://api.example/",
    "sql": "INSERT INTO users (name, password) VALUES ('ada', '{}')",
    "yaml": "\n  database:\n    password: {}",
    "cookie": "Set-Cookie: sessionid={}; HttpOnly",
}
"""What is said where, with `{}` for the secret; %s stands where it is an argument of the record."""

RAISED = {
    "unhandled": "api_key={}",
    "cause": "redis://:{}@cache.example:6379/0",
    "group": "secret_key={}",
    "logged exception": "access_token={}",
    "thread": "password={}",
}
UVICORN = {
    **LOGGED,
    **RAISED,
    "task": "api_key={}",
    "callback": "password={}",
    "background": "token={}",
    "after the response": "client_secret={}",
    "finaliser": "password={}",
    "warning": "token={}",
    "print": "api_key={}",
    "print to stderr": "Authorization: Basic {}",
    "statement": "update users set password = '{}'",
    "outgoing user": "",
    "outgoing key": "",
    "query": "",
}
GUNICORN = {
    **LOGGED,
    **RAISED,
    "stream": "token={}",
    "warning": "token={}",
    "print": "api_key={}",
    "error stream": "Authorization: Basic {}",
    "server's logger": "api_key={}",
    "request headers": "{}",
    "one worker": "password={}",
    "other worker": "password={}",
    "query": "",
    "bearer": "",
    "key header": "",
    "session cookie": "",
    "referer": "",
}
SHAPES = UVICORN | GUNICORN

BARE = "key header"
"""What the access log shows without its name, so that it is the app alone that can tell what it is."""

Places = Mapping[str, str]
Run = Callable[..., tuple[Path, list[str]]]
MODULE = "tests.redaction.test_redaction_servers"

ACCESS_FORMAT = (
    '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s" '
    "%({{authorization}}i)s | %({{x-api-key}}i)s | %({{cookie}}i)s"
)
"""Of gunicorn's, with doubled braces for `serving`."""
UVICORN_ACCESS = re.compile(
    r'^INFO: {5}127\.0\.0\.1:\d+ - "GET (\S+) HTTP/1\.1" (\d{3}) [A-Z][A-Za-z ]+$', re.MULTILINE
)
GUNICORN_ACCESS = re.compile(
    r'^127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:[\d:]{8} \+0000\] "GET (\S+) HTTP/1\.1" (\d{3}) \d+ "(.*)" "-" (.*)$',
    re.MULTILINE,
)


def planted(places: Places) -> dict[str, str]:
    return {place: f"{secrets.token_hex(12)}x7" for place in places}


def secret(place: str) -> str:
    """Return the secret of a place, in the server's process."""
    found: str = json.loads(os.environ["PLANTED"])[place]
    return found


def said(place: str) -> str:
    """Return what is said there. The place is named here alone, so that lines of source in tracebacks do not count."""
    return f"<{place}> " + SHAPES[place].replace("%s", "{}").format(secret(place))


def places(text: str) -> Counter[str]:
    return Counter(re.findall(r"<([a-z' ]+)> ", text))


def shown(log: Path, secret_by_place: Places) -> list[str]:
    """Return the places whose secret can be read."""
    text = log.read_text()
    return [place for place, value in secret_by_place.items() if value in text]


def run_uvicorn(folder: Path, secret_by_place: Places, *, redaction: bool = True) -> tuple[Path, list[str]]:
    """Use every route of the FastAPI app, and return the log and the paths that were asked for."""
    command = ["uvicorn", f"{MODULE}:fastapi_app", "--factory", "--port", "{port}"]
    with serving(command, folder, _environment(secret_by_place, redaction=redaction)) as server:
        paths = ["/logged", "/logged", "/unhandled", "/cause", "/group", "/thread", "/task", "/callback"]
        paths += ["/background", "/finaliser", "/printed", "/statement", f"/outgoing?port={server.port}"]
        paths += [f"/ok?api_key={secret_by_place['query']}&page=2"]
        for path in paths:
            server.request("GET", path)
    return server.log, paths


def run_gunicorn(folder: Path, secret_by_place: Places, *, redaction: bool = True) -> tuple[Path, list[str]]:
    """Use every route of the Flask app in two workers, and return the log and the paths that were asked for."""
    os.mkfifo(folder / "meeting")
    command = ["gunicorn", f"{MODULE}:flask_app()", "-b", "127.0.0.1:{port}", "--workers", "2"]
    command += ["--access-logfile", "-", "--access-logformat", ACCESS_FORMAT]
    headers = {
        "Authorization": f"Bearer {secret_by_place['bearer']}",
        "X-Api-Key": secret_by_place["key header"],
        "Cookie": f"sessionid={secret_by_place['session cookie']}",
        "X-Auth-Token": secret_by_place["request headers"],
        "Referer": f"http://shop.example/reset?token={secret_by_place['referer']}",
    }
    with serving(command, folder, _environment(secret_by_place, redaction=redaction)) as server:
        paths = ["/logged", "/logged", "/unhandled", "/cause", "/group", "/thread", "/printed"]
        paths += ["/stream", f"/ok?api_key={secret_by_place['query']}&page=2"]
        for path in paths:
            with contextlib.suppress(http.client.IncompleteRead):  # of the stream that breaks off
                server.request("GET", path, headers=headers)
        meeting = ["/meet/one", "/meet/other"]  # neither returns before the other has come, so each has its worker
        with ThreadPoolExecutor(2) as pool:
            workers = list(pool.map(lambda path: server.request("GET", path, headers=headers)[1], meeting))
    assert workers[0] != workers[1]
    return server.log, paths + meeting


def _environment(secret_by_place: Places, *, redaction: bool) -> dict[str, str]:
    return {
        "PLANTED": json.dumps(secret_by_place),
        "PYTHONUNBUFFERED": "1",
        "LAUNCHKIT_REDACTION__PRINTS": "1",
        "LAUNCHKIT_REDACTION__ENABLED": str(int(redaction)),
    }


def test_no_secret_comes_out_of_a_fastapi_app_under_uvicorn(tmp_path: Path) -> None:
    """Whatever says it: logging, exceptions wherever they end, clients, SQL, warnings, prints, the access log."""
    secret_by_place = planted(UVICORN)
    log, paths = run_uvicorn(tmp_path, secret_by_place)
    text = log.read_text()
    assert shown(log, secret_by_place) == []
    found = places(text)
    assert found.keys() == {place for place, shape in UVICORN.items() if shape}
    assert {found[place] for place in LOGGED} == {2}
    assert {found[place] for place in RAISED if place != "logged exception"} == {1}
    access = UVICORN_ACCESS.findall(text)
    targets = [target for target, _ in access]
    assert "/ok?api_key=[redacted:api-key]&page=2" in targets
    assert [target for target in targets if target in paths] == paths[:-1]
    assert dict(access)["/unhandled"] == "500"
    assert "--- Logging error ---" not in text


def test_no_secret_comes_out_of_a_flask_app_under_gunicorn(tmp_path: Path) -> None:
    """Neither of a worker's own log, nor of an access log that shows request headers."""
    secret_by_place = planted(GUNICORN)
    log, paths = run_gunicorn(tmp_path, secret_by_place)
    text = log.read_text()
    assert shown(log, secret_by_place) == []
    found = places(text)
    assert found.keys() == {place for place, shape in GUNICORN.items() if shape}
    assert {found[place] for place in LOGGED} == {2}
    access = [line for line in GUNICORN_ACCESS.findall(text) if not line[0].startswith("/health")]
    assert Counter(target for target, *_ in access) == Counter(
        [*paths[:8], "/ok?api_key=[redacted:api-key]&page=2", *paths[9:]]
    )
    assert {(referer, headers) for _, _, referer, headers in access} == {
        (
            "http://shop.example/reset?token=[redacted:token]",
            "Bearer [redacted:authorization] | [redacted:api-key] | sessionid=[redacted:cookie]",
        )
    }
    assert "--- Logging error ---" not in text


@pytest.mark.parametrize(("run", "shapes"), [(run_uvicorn, UVICORN), (run_gunicorn, GUNICORN)])
def test_the_command_hides_what_an_app_without_redaction_has_logged(run: Run, shapes: Places, tmp_path: Path) -> None:
    """Each secret is in the log then, and none in what `launchkit redact` makes of it, line by line."""
    secret_by_place = planted(shapes)
    log, _ = run(tmp_path, secret_by_place, redaction=False)
    raw = log.read_bytes()
    assert shown(log, secret_by_place) == list(shapes)
    ended = subprocess.run(
        [sys.executable, "-m", "launchkit.command", "redact", "-"], input=raw, capture_output=True, check=True
    )
    log.write_bytes(ended.stdout)
    assert shown(log, secret_by_place) == [place for place in shapes if place == BARE]
    assert places(ended.stdout.decode()) == places(raw.decode())
    assert ended.stdout.count(b"\n") == raw.count(b"\n")
    assert ended.stderr == b""


# --- the apps --------------------------------------------------------------------------------------------------------

logger = logging.getLogger("shop.orders")


def log_everything() -> None:
    """Say everything that goes through a logger, and one exception."""
    for place, shape in LOGGED.items():
        if "%s" in shape:
            logger.warning(f"<{place}> {shape}", secret(place))  # noqa: G004  # what stays is the template
        else:
            logger.warning(said(place))
    try:
        raise ValueError(said("logged exception"))
    except ValueError:
        logger.exception("refused")


def die(place: str) -> None:
    """Raise with a secret in the message, and in a local variable."""
    password = secret(place)
    raise RuntimeError(said(place), len(password))


def die_with_cause() -> None:
    try:
        die("cause")
    except RuntimeError as error:
        raise ValueError("no answer") from error


def die_in_group() -> None:
    try:
        die("group")
    except RuntimeError as error:
        raise ExceptionGroup("several", [ExceptionGroup("inner", [error])]) from None


def die_in_thread() -> None:
    thread = threading.Thread(target=die, args=("thread",))
    thread.start()
    thread.join()


class Unfinished:
    """Fails when it is thrown away."""

    def __del__(self) -> None:
        die("finaliser")


def fastapi_app() -> FastAPI:
    """Return what `run_uvicorn` serves."""
    logging.basicConfig(level=logging.INFO)
    app = FastAPI()
    kit = LaunchKit(Settings())
    kit.install(app)
    engine = sqlalchemy.create_engine("sqlite://")
    logging.getLogger("sqlalchemy.engine").setLevel(logging.INFO)
    app.get("/logged")(log_everything)
    app.get("/thread")(die_in_thread)
    app.get("/cause")(die_with_cause)
    app.get("/group")(die_in_group)

    @app.get("/unhandled")
    async def unhandled() -> None:
        die("unhandled")

    @app.get("/task")
    async def task() -> None:
        async def work() -> None:
            die("task")

        forgotten = asyncio.ensure_future(work())
        await asyncio.wait([forgotten])
        del forgotten
        gc.collect()

    @app.get("/callback")
    async def callback() -> None:
        asyncio.get_running_loop().call_soon(die, "callback")
        await asyncio.sleep(0)

    @app.get("/background")
    async def background(tasks: BackgroundTasks) -> None:
        tasks.add_task(logger.info, said("background"))
        tasks.add_task(die, "after the response")

    @app.get("/finaliser")
    async def finaliser() -> None:
        Unfinished()
        gc.collect()

    @app.get("/printed")
    async def printed() -> None:
        print(said("print"))  # noqa: T201  # is what is tested
        print(said("print to stderr"), file=sys.stderr)  # noqa: T201  # what is tested
        warnings.warn(said("warning"), stacklevel=1)

    @app.get("/statement")
    def statement() -> None:
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("create table users (name text, password text)"))
            place, shape = said("statement").split(" ", 1)
            connection.execute(sqlalchemy.text(f"/* {place} */ {shape}"))

    @app.get("/outgoing")
    async def outgoing(port: int) -> None:
        async with httpx.AsyncClient() as client:
            user, key = secret("outgoing user"), secret("outgoing key")
            await client.get(f"http://shop:{user}@127.0.0.1:{port}/ok?api_key={key}")

    @app.get("/ok")
    async def answer() -> str:
        return "ok"

    return app


def flask_app() -> Flask:
    """Return what `run_gunicorn` serves."""
    logging.basicConfig(level=logging.INFO)
    app = Flask(__name__)
    kit = LaunchKit(Settings())
    kit.install(app)

    @app.get("/<name>")
    def page(name: str) -> str:
        pages = {
            "logged": log_everything,
            "unhandled": lambda: die("unhandled"),
            "cause": die_with_cause,
            "group": die_in_group,
            "thread": die_in_thread,
            "printed": print_everything,
            "ok": lambda: None,
        }
        pages[name]()
        return name

    def print_everything() -> None:
        print(said("print"))  # noqa: T201  # is what is tested
        print(said("error stream"), file=request.environ["wsgi.errors"])
        warnings.warn(said("warning"), stacklevel=1)
        logging.getLogger("gunicorn.error").info(said("server's logger"))
        app.logger.warning("<request headers> %s", request.headers)

    @app.get("/stream")
    def stream() -> Iterator[str]:
        yield "first"
        die("stream")

    @app.get("/meet/<worker>")
    def meet(worker: str) -> str:
        with (Path(os.environ["SITE_FOLDER"]) / "meeting").open("rb" if worker == "one" else "wb"):
            logger.warning(said(f"{worker} worker"))
        return str(os.getpid())

    return app
