"""What the kit costs under uvicorn: the same app bare, with the middleware written by hand, and with the kit.

Each has one worker, access log off. The three servers run all the time and are asked in turns, so that those at rest
wait while one works; a round is one turn of each, and ratios are taken within rounds. The load comes from another
process over connections that stay open.

Requests per second are what a user would see, but they also tell how the load generator and everything else on the
machine fared. The server's own CPU time per request, read from /proc where there is one, is the steadier figure; its
ticks are a hundredth of a second. Expect more microseconds than in the process: between two requests of a server the
processor has done much else and finds little of the code where it left it, which the hand-written middleware pays for
too. TLS, a proxy, a network and a database are no part of this: each would make the kit's share smaller.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import in_process, server_app
from benchmarks.launched import data_folder
from benchmarks.protocols import Asgi, Call
from benchmarks.server_app import DATA_DIR

ROOT = Path(__file__).resolve().parent.parent
PATHS = {"example": "/orders/42", "fastapi": "/items/42", "starlette": "/items/42"}
"""What each app is asked for: a plain route, on which no rule of the kit's acts."""
SERVERS = {"bare": "", "by hand": "_by_hand", "kit": "_with_kit"}
"""How each is called, and what its factory's name ends in."""
CONNECTIONS = 8
START_SECONDS = 30.0


@dataclass
class ServerRounds:
    """Requests per second and CPU microseconds per request, by server and then by round."""

    framework: str
    per_second: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(self.per_second["bare"])

    @staticmethod
    def middle(figures: list[float]) -> float:
        return statistics.median(figures)

    def share_of_requests(self, name: str) -> float:
        """Return how many requests per second a server answers for each one of the bare one, the median over rounds."""
        return _ratio(self.per_second[name], self.per_second["bare"])

    def cpu_ratio(self, name: str) -> float | None:
        """Return a server's CPU time per request over the bare one's, the median over rounds; None without /proc."""
        return _ratio(self.cpu[name], self.cpu["bare"]) if self.cpu["bare"] else None


def _ratio(figures: list[float], bare: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(figures, bare, strict=True))


def measure(framework: str, rounds: int, seconds: float) -> ServerRounds:
    """Measure a framework's app in so many rounds, in which each server is asked for so many seconds."""
    factories = {name: framework + suffix for name, suffix in SERVERS.items()}
    return take_turns(framework, factories, PATHS[framework], rounds, seconds)


def take_turns(title: str, factories: dict[str, str], path: str, rounds: int, seconds: float) -> ServerRounds:
    """Ask each server for the path for so many seconds, in each of so many rounds. The one called `bare` is needed."""
    result = ServerRounds(title, {name: [] for name in factories}, {name: [] for name in factories})
    with contextlib.ExitStack() as running:
        servers = {name: running.enter_context(_serving(factory, path)) for name, factory in factories.items()}
        for server in servers.values():
            _ask(server, 0.5)
        names = list(servers)
        for number in range(rounds):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                per_second, cpu = _ask(servers[name], seconds)
                result.per_second[name].append(per_second)
                if cpu is not None:
                    result.cpu[name].append(cpu)
    return result


def profile(framework: str) -> str:
    """Return where the time of a framework's app with the kit goes."""
    return profile_app(f"{framework}_with_kit", PATHS[framework])


def profile_app(factory: str, path: str, count: int = 10_000) -> str:
    """Return where the time of an app with a kit goes, driven without a server."""
    with data_folder() as folder:
        os.environ[DATA_DIR] = str(folder)
        app = getattr(server_app, factory)()
        try:
            return asyncio.run(in_process.profiled(Asgi.run(app, Asgi.prepare([Call(path)] * count))))
        finally:
            app.state.launchkit.stop()


@dataclass(frozen=True)
class _Server:
    pid: int
    port: int
    path: str


def _ask(server: _Server, seconds: float) -> tuple[float, float | None]:
    before = _cpu_seconds(server.pid)
    command = [sys.executable, "-m", "benchmarks.load", str(server.port), server.path, str(CONNECTIONS), str(seconds)]
    load = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if load.returncode != 0:
        raise RuntimeError(f"the load generator ended early: {load.stderr}")
    answers, taken = load.stdout.split()
    after = _cpu_seconds(server.pid)
    cpu = None if before is None or after is None else (after - before) / int(answers) * 1e6
    return int(answers) / float(taken), cpu


def _cpu_seconds(pid: int) -> float | None:
    if platform.system() != "Linux":
        return None
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime, proc(5)


@contextlib.contextmanager
def _serving(factory: str, path: str) -> Iterator[_Server]:
    port = _free_port()
    options = f"--factory --port {port} --workers 1 --no-access-log --log-level warning".split()
    command = [sys.executable, "-m", "uvicorn", f"benchmarks.server_app:{factory}", *options]
    with data_folder() as folder, tempfile.TemporaryFile() as errors:
        # Of the routes that the settings name, the app has none: nobody asks for them here.
        environment = os.environ | {DATA_DIR: str(folder), "LAUNCHKIT_CHECK": "warn"}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=errors, stderr=errors)
        try:
            if not _answers(process, port, path):
                errors.seek(0)
                raise RuntimeError(f"uvicorn did not start: {errors.read().decode('utf-8', 'replace')}")
            yield _Server(process.pid, port, path)
        finally:
            process.terminate()
            process.wait(START_SECONDS)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
    return port


def _answers(process: subprocess.Popen[bytes], port: int, path: str) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        with contextlib.suppress(OSError), contextlib.closing(connection):
            connection.request("GET", path)
            return connection.getresponse().status == 200
        time.sleep(0.1)
    return False
