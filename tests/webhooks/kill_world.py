"""An app's processes, which are killed and started again, and what they have left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest
from kill_senders import new_secret
from tests.support.servers import ROOT, free_port

APPS = Path(__file__).parent / "kills"
SECONDS = 40.0
"""After which a test that makes no progress fails; nothing waits for them to pass."""
LEASE = 1.0
CONCURRENCY = 4
"""Deliveries that one process handles at a time: the default."""
TICK = 0.01
"""Seconds between looks at what other processes do."""
WORKER = ("launchkit.command", "worker", "kill_app:kit")


def uvicorn(port: int) -> Sequence[str]:
    return ("uvicorn", "kill_fastapi:app", "--port", str(port), "--log-level", "warning", "--no-access-log")


def gunicorn(port: int) -> Sequence[str]:
    return ("gunicorn", "kill_flask:app", "-b", f"127.0.0.1:{port}", "-w", "2", "--threads", "4", "--no-control-socket")


@dataclass(frozen=True)
class Kill:
    """One or all processes were killed at some moment between these two."""

    began: float
    ended: float
    session: int | None
    """Whose; None if all that handlers did at the time may be lost, because the database was killed."""


@dataclass(frozen=True)
class Line:
    """One line of the handlers' log."""

    what: str
    id: str
    attempt: int
    session: int
    at: float


class World:
    """The processes of one app, each by a name, with a session and so a process group of its own."""

    def __init__(self, folder: Path, secret: str, **settings: object) -> None:
        self.folder = folder
        self.port = free_port()
        self.kills: list[Kill] = []
        self._output = (folder / "output").open("ab")
        named = {"lease": LEASE, "retry_delays": ",".join(["0.1"] * 30), **settings}
        # Coverage would take up half of each start, and gets nothing from what is killed.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
        self.environment = inherited | {
            "PYTHONPATH": os.pathsep.join([str(APPS), str(ROOT)]),
            "KILL_FOLDER": str(folder),
            "LAUNCHKIT_ENVIRONMENT": "development",
            "LAUNCHKIT_DATA_DIR": str(folder / "data"),
            "LAUNCHKIT_WEBHOOKS__SOURCES__STRIPE__SECRETS": secret,
            **{f"LAUNCHKIT_WEBHOOKS__{name.upper()}": str(value) for name, value in named.items()},
        }
        self._commands: dict[str, Sequence[str]] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        with closing(sqlite3.connect(folder / "effects.sqlite3")) as effects, effects:
            effects.execute("PRAGMA journal_mode = WAL")
            effects.execute("CREATE TABLE effect (id TEXT)")

    # --- processes ---------------------------------------------------------------------------------------------------

    def start(self, name: str, command: Sequence[str] | None = None, **environment: str) -> subprocess.Popen[bytes]:
        """Start a Python module with arguments, by default what was started under that name before."""
        if command is not None:
            self._commands[name] = command
        process = self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", *self._commands[name]],
            cwd=self.folder,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            start_new_session=True,
        )
        return process

    def kill(self, name: str) -> None:
        """End a process and all that it has started, without warning."""
        process = self.processes.pop(name)
        began = time.monotonic()
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.wait_until(lambda: not _group(process.pid))
        self.kills.append(Kill(began, time.monotonic(), process.pid))

    def restart(self, name: str) -> None:
        self.kill(name)
        self.start(name)

    def close(self) -> None:
        """End everything."""
        for name in list(self.processes):
            self.kill(name)
        self._output.close()

    def wait_until(self, condition: Callable[[], object], seconds: float = SECONDS) -> None:
        """Return when the condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"nothing happened in time: {self.states()}\n{self.output()[-5000:]}")
            time.sleep(TICK)

    # --- what they leave behind --------------------------------------------------------------------------------------

    def output(self) -> str:
        return (self.folder / "output").read_text(errors="replace")

    def lines(self, what: str) -> list[Line]:
        """Return the lines of the handlers' log that begin with a word."""
        log = self.folder / "log"
        words = (line.split() for line in log.read_text().splitlines()) if log.exists() else ()
        return [
            Line(found, id_, int(n), int(session), float(at)) for found, id_, n, session, at in words if found == what
        ]

    def completed(self) -> int:
        """Return how often a handler has come to its end, without reading all."""
        log = self.folder / "log"
        return log.read_bytes().count(b"completed ") if log.exists() else 0

    def began(self, prefix: str) -> int:
        """Return how many deliveries, whose ids begin so, have begun to be handled."""
        return len({line.id for line in self.lines("began") if line.id.startswith(prefix)})

    def query(self, statement: str) -> list[tuple[object, ...]]:
        """Ask the inbox, as somebody who only reads."""
        url = self.environment.get("LAUNCHKIT_DATABASE_URL")
        if url is not None:
            with psycopg.connect(url, options="-c search_path=launchkit") as server:
                return server.execute(statement.encode()).fetchall()
        with closing(sqlite3.connect(f"file:{self.folder}/data/inbox.sqlite3?mode=ro", uri=True)) as file:
            return file.execute(statement).fetchall()

    def states(self) -> dict[str, int]:
        """Return how many deliveries there are in each state."""
        try:
            rows = self.query("SELECT state, COUNT(*) FROM delivery GROUP BY state")
        except (sqlite3.OperationalError, psycopg.Error):  # not there yet, or down
            return {}
        return {str(state): int(str(count)) for state, count in rows}

    def effects(self) -> Counter[str]:
        """Return how often each delivery had the effect that is to be had once."""
        with closing(sqlite3.connect(self.folder / "effects.sqlite3")) as connection:
            return Counter(id_ for (id_,) in connection.execute("SELECT id FROM effect"))

    def doubled(self) -> dict[str, list[Line]]:
        """Return what came to an end more than once."""
        found: dict[str, list[Line]] = {}
        for line in self.lines("completed"):
            found.setdefault(line.id, []).append(line)
        return {id_: lines for id_, lines in found.items() if len(lines) > 1}

    def unexplained(self) -> dict[str, list[Line]]:
        """Return what came to an end again although nobody was killed in between who had not recorded the first."""
        return {
            id_: lines
            for id_, lines in self.doubled().items()
            if not all(self._was_killed_between(first, second) for first, second in pairwise(lines))
        }

    def _was_killed_between(self, first: Line, second: Line) -> bool:
        return any(
            kill.session in (first.session, None) and first.at <= kill.ended and kill.began <= second.at
            for kill in self.kills
        )


@pytest.fixture(name="secret")
def _secret() -> str:
    """What Stripe would sign with."""
    return new_secret()


@pytest.fixture(name="make_world")
def _make_world(tmp_path: Path, secret: str) -> Iterator[Callable[..., World]]:
    """Make a world with webhook settings; its processes end with the test."""
    made: list[World] = []

    def make(**settings: object) -> World:
        made.append(World(tmp_path, secret, **settings))
        return made[-1]

    yield make
    for world in made:
        world.close()


def _group(leader: int) -> list[int]:
    """Return the processes of a group that still run (proc(5), `stat`)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[2]) == leader and fields[0] not in "ZX":
                found.append(int(entry.name))
    return found
