"""Verify and store under uvicorn: signed events posted to the kit's path, beside a route that stores nothing.

Both are of the same app, in one worker, and pass through the same kit; the route reads the body and answers. With one
connection what is told is how long a sender waits when nobody else sends.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks import server, webhook_app
from benchmarks.in_process import WrongAnswerError, profiled
from benchmarks.launched import new_secret
from benchmarks.protocols import Asgi, Call
from benchmarks.report import Finding, Target
from benchmarks.webhook_app import DATA_DIR, SECRET, STORED_PATH, UNSTORED_PATH
from benchmarks.webhook_disk import ROOT, Disk, disk_folder
from benchmarks.webhook_load import signed_body
from benchmarks.webhook_rates import named, take_turns
from benchmarks.webhook_senders import Turn
from benchmarks.webhook_stores import Store

STORED, UNSTORED = "verified and stored", "stores nothing"
CONNECTIONS = (1, 32)
ROUNDS = 4
SECONDS = 1.0
"""For each turn."""
LEAST_PERCENT = 40.0
"""Of the requests per second of the route that stores nothing."""


def compare() -> Finding:
    """Ask both paths in turns."""
    secret, stored = new_secret(), list[Turn]()
    with disk_folder() as folder, _serving(folder, secret) as port:
        stores = {
            UNSTORED: Store(partial(_post, port, UNSTORED_PATH, secret), lambda: None),
            STORED: Store(lambda *how: _kept(stored, _post(port, STORED_PATH, secret, *how)), lambda: None),
        }
        rates = take_turns(stores, CONNECTIONS, Disk(folder), ROUNDS, SECONDS)
        _check(folder, sum(turn.events for turn in stored))
    baselines = {named(STORED, count): named(UNSTORED, count) for count in CONNECTIONS}
    most = max(CONNECTIONS)
    target = Target(
        f"requests per second under uvicorn, {STORED}, {most} connections",
        rates.ratio(named(STORED, most), named(UNSTORED, most)) * 100,
        LEAST_PERCENT,
        "%",
        named(STORED, most),
        "at least",
    )
    title = f"Webhooks under uvicorn by connections, one worker, {rates.count} interleaved rounds: medians"
    return Finding(title, tuple(rates.lines(baselines)), rates.as_json(baselines), (target,), _profile)


def _kept(turns: list[Turn], turn: Turn) -> Turn:
    turns.append(turn)
    return turn


def _post(port: int, path: str, secret: str, connections: int, seconds: float) -> Turn:
    command = [sys.executable, "-m", "benchmarks.webhook_load", str(port), path, secret, str(connections), str(seconds)]
    load = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if load.returncode != 0:
        raise RuntimeError(f"the load generator ended early: {load.stderr}")
    return Turn.of(*json.loads(load.stdout))


def _check(folder: Path, acknowledged: int) -> None:
    with contextlib.closing(sqlite3.connect(folder / "inbox.sqlite3")) as connection:
        ((count,),) = connection.execute("SELECT COUNT(*) FROM delivery")
    if count != acknowledged:
        raise WrongAnswerError(f"{acknowledged} events were acknowledged and {count} are stored")


@contextlib.contextmanager
def _serving(folder: Path, secret: str) -> Iterator[int]:
    """Run the app and give its port."""
    port = server._free_port()
    options = f"--factory --port {port} --workers 1 --no-access-log --log-level warning".split()
    command = [sys.executable, "-m", "uvicorn", "benchmarks.webhook_app:app", *options]
    # Of the routes that the settings name, the app has none: nobody asks for them here.
    environment = os.environ | {DATA_DIR: str(folder), SECRET: secret, "LAUNCHKIT_CHECK": "warn"}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=errors, stderr=errors)
        try:
            if not server._answers(process, port, "/health/live"):
                errors.seek(0)
                raise RuntimeError(f"uvicorn did not start: {errors.read().decode('utf-8', 'replace')}")
            yield port
        finally:
            process.terminate()
            process.wait(server.START_SECONDS)


def _profile(_: str) -> str:
    """Return where the time of the event loop goes, driven without a server."""
    with disk_folder() as folder:
        secret = new_secret()
        os.environ.update({DATA_DIR: str(folder), SECRET: secret})
        app = webhook_app.app()
        try:
            return asyncio.run(profiled(_drive(app, secret)))
        finally:
            app.state.launchkit.stop()


async def _drive(app: object, secret: str) -> None:
    calls = (_call(secret) for _ in range(8_000))
    while crowd := list(itertools.islice(calls, max(CONNECTIONS))):
        await asyncio.gather(*[Asgi.ask(app, call) for call in crowd])


def _call(secret: str) -> Call:
    signature, body = signed_body(secret)
    return Call(STORED_PATH, "POST", body, (("content-type", "application/json"), ("stripe-signature", signature)))
