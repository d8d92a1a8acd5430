"""Hand-over to the workers of Celery and Dramatiq: real processes, a real broker, and kill -9 for both."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.stores.valkey_server import ValkeyServer, _valkey, _valkey_process
from webhook_world import new_delivery

from launchkit.pipeline.clock import SystemClock
from launchkit.webhooks.delivery import SUBMITTED
from launchkit.webhooks.inbox.archive import Archive, Filter, Retention
from launchkit.webhooks.inbox.inbox import Inbox
from launchkit.webhooks.inbox.room import Room
from launchkit.webhooks.inbox.sqlite import SqliteDatabase
from launchkit.webhooks.inbox.writer import Writer

__all__ = ["_valkey", "_valkey_process"]

pytestmark = pytest.mark.real_server

APPS = Path(__file__).parent / "handoff_apps"
SECONDS = 40.0

RELAY = """
import asyncio
from app import kit
asyncio.run(kit.work())
"""
WORKERS = {
    "celery": ("celery", ["-A", "app", "worker", "--pool", "prefork", "--concurrency", "2"]),
    "celery threads": ("celery", ["-A", "app", "worker", "--pool", "threads", "--concurrency", "2"]),
    "dramatiq": ("dramatiq", ["app:broker", "--processes", "2", "--threads", "2"]),
}


class World:
    """The processes of one app."""

    def __init__(self, kind: str, folder: Path, valkey: ValkeyServer) -> None:
        module, self._worker = WORKERS[kind]
        self._module = [sys.executable, "-m", module]
        self.valkey = valkey
        self._log = folder / "log"
        self._output = (folder / "output").open("w")
        self._environment = dict(
            os.environ,
            PYTHONPATH=os.pathsep.join([str(APPS), *sys.path]),
            HANDOFF_KIND=module,
            HANDOFF_BROKER=valkey.url,
            HANDOFF_LOG=str(self._log),
            LAUNCHKIT_DATA_DIR=str(folder / "data"),
            LAUNCHKIT_ENVIRONMENT="development",
        )
        self._processes: list[subprocess.Popen[bytes]] = []
        clock = SystemClock()
        writer = Writer("inbox", lambda: SqliteDatabase(folder / "data" / "inbox.sqlite3", clock))
        self._inbox = Inbox(writer, Room(1_000, 0, lambda: None, clock.monotonic))
        self._archive = Archive(writer, Retention())

    def start_relay(self) -> None:
        """Start the process that takes deliveries out of the inbox."""
        self._start([sys.executable, "-c", RELAY])

    def start_workers(self) -> subprocess.Popen[bytes]:
        """Start the queue's own workers, with all their processes in a group of their own."""
        return self._start([*self._module, *self._worker])

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            command, env=self._environment, stdout=self._output, stderr=self._output, start_new_session=True
        )
        self._processes.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a process and all that it has started, without warning."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._processes.remove(process)

    def put(self, event: str, *keys: str) -> None:
        """Store deliveries."""
        for key in keys:
            assert self._inbox.put(new_delivery(key, source=SUBMITTED, event=event))

    def states(self) -> dict[str, tuple[str, int]]:
        """Return state and attempts of every delivery."""
        entries = self._archive.list(Filter(), limit=1_000).result(10)
        return {entry.id: (entry.state, entry.attempts) for entry in entries}

    def logged(self, what: str) -> list[str]:
        """Return the keys of the deliveries whose handlers have written that, in order."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [line.split()[1] for line in lines if line.split()[0] == what]

    def queued(self) -> int:
        """Return how many messages wait in the broker."""
        with self.valkey.client() as client:
            return client.llen("celery") + client.llen("dramatiq:default")

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Return when it is so."""
        deadline = time.monotonic() + SECONDS
        while not condition():
            if time.monotonic() > deadline:
                self._output.flush()
                raise AssertionError(Path(self._output.name).read_text()[-5000:])
            time.sleep(0.05)  # between looks at what other processes do

    def close(self) -> None:
        """End everything."""
        self._inbox.close()
        for process in list(self._processes):
            self.kill(process)
        self._output.close()


@pytest.fixture(name="world")
def _world(request: pytest.FixtureRequest, tmp_path: Path, valkey: ValkeyServer) -> Iterator[World]:
    world = World(request.param, tmp_path, valkey)
    yield world
    world.close()


def all_done(world: World) -> bool:
    return all(state == "done" for state, _ in world.states().values())


@pytest.mark.parametrize("world", WORKERS, indirect=True)
def test_what_the_inbox_holds_is_handled_once_by_the_queues_workers(world: World) -> None:
    """Sync and async handlers run in the processes of the queue's worker, and the inbox knows that they are done."""
    keys = [f"evt_{number}" for number in range(20)]
    world.put("work", *keys)
    world.put("async_work", *(f"async_{key}" for key in keys))
    world.put("fails_at_first", "evt_twice")
    world.start_workers()
    world.start_relay()
    world.wait_until(lambda: len(world.logged("done")) >= 41)
    world.wait_until(lambda: all_done(world))
    assert sorted(world.logged("done")) == sorted([*keys, *(f"async_{key}" for key in keys), "evt_twice"])
    assert world.states()["evt_twice"][1] >= 2


@pytest.mark.parametrize("world", ["celery", "dramatiq"], indirect=True)
def test_a_worker_that_is_killed_loses_nothing(world: World) -> None:
    """What it was at is handled again by the next worker when its lease has ended, however late a broker notices."""
    keys = [f"evt_{number}" for number in range(10)]
    world.start_relay()
    workers = world.start_workers()
    world.put("hangs_at_first", "evt_hangs")
    world.wait_until(lambda: world.logged("began") == ["evt_hangs"])
    world.put("work", *keys)
    world.kill(workers)
    world.start_workers()
    world.wait_until(lambda: {"evt_hangs", *keys} <= set(world.logged("done")))
    world.wait_until(lambda: all_done(world))
    assert world.logged("began") == ["evt_hangs", "evt_hangs"]
    assert sorted(world.logged("done")) == sorted({"evt_hangs", *keys})


@pytest.mark.parametrize("world", ["celery", "dramatiq"], indirect=True)
def test_a_broker_that_forgets_loses_nothing(world: World) -> None:
    """What was queued when it was killed is sent again, and what comes while it is down waits in the inbox."""
    queued, waiting = ([f"{name}_{number}" for number in range(5)] for name in ("queued", "waiting"))
    world.start_relay()
    world.put("work", *queued)
    world.wait_until(lambda: world.queued() == len(queued))
    world.valkey.kill()
    world.put("work", *waiting)
    world.valkey.start()
    world.start_workers()
    world.wait_until(lambda: {*queued, *waiting} <= set(world.logged("done")))
    world.wait_until(lambda: all_done(world))
    assert sorted(world.logged("done")) == sorted([*queued, *waiting])
