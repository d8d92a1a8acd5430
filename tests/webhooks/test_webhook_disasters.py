"""What else happens: poison, long work, a clock that jumps, a slow disk, a full one, and an orderly stop."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from kill_senders import Senders, event_body, latencies, percentile
from kill_world import WORKER, World, _make_world, _secret, uvicorn
from webhook_world import Store

from launchkit.pipeline.clock import Clock, SystemClock

__all__ = ["_make_world", "_secret"]  # fixtures are found by their names here

pytestmark = pytest.mark.real_server

HOUR = 3_600.0


@contextlib.contextmanager
def inbox_of(world: World, clock: Clock | None = None) -> Iterator[Callable[..., None]]:
    """Give what stores events: so many of a kind, with more in their bodies."""
    store = Store(world.folder / "data" / "inbox.sqlite3", clock or SystemClock())

    def put(kind: str, count: int, prefix: str | None = None, **more: object) -> None:
        for number in range(count):
            key = f"{prefix or kind}_{number}"
            assert store.put(key, event=kind, body=event_body(key, kind, **more)) == [True]

    try:
        yield put
    finally:
        store.close()


def test_a_delivery_that_kills_the_process_stops_at_its_limit(make_world: Callable[..., World]) -> None:
    """Each time the process is started again. Those that were beside it get through."""
    world = make_world(retry_delays="0.1,0.1")
    with inbox_of(world) as put:
        put("plain", 10, "before")
        put("poison", 1)
        put("plain", 10, "after")
    world.start("worker", WORKER)

    def are_all_over() -> bool:
        if world.processes["worker"].poll() is not None:
            world.start("worker")
        return world.states() == {"done": 20, "dead": 1}

    world.wait_until(are_all_over)
    assert [line.attempt for line in world.lines("began")] == [1, 2, 3]
    assert world.query("SELECT attempts, error FROM delivery WHERE state = 'dead'") == [
        (3, "no attempt came to an end")
    ]
    assert len({line.id for line in world.lines("completed")}) == 20


def test_a_handler_that_outlives_its_lease_runs_once(make_world: Callable[..., World]) -> None:
    """A lease of a second is kept for four by the process that handles, whatever its loop does, beside an idle one."""
    world = make_world()
    with inbox_of(world) as put:
        for kind in ("long", "long.sync", "long.blocking"):
            put(kind, 1, seconds=4)
    for name in ("one", "two"):
        world.start(name, WORKER)
    world.wait_until(lambda: world.states() == {"done": 3})
    assert sorted(line.id for line in world.lines("began")) == ["long.blocking_0", "long.sync_0", "long_0"]
    assert len(world.lines("completed")) == 3
    assert world.query("SELECT MAX(attempts) FROM delivery") == [(1,)]


class MovedClock:
    """The clock of this world's processes: the machine's, off by what a file says."""

    def __init__(self, world: World) -> None:
        self._file = world.folder / "clock"
        self.move(0, 0)

    def move(self, wall: float, monotonic: float) -> None:
        """Have the wall clock and the monotonic one off by so many seconds, from one moment to the next."""
        new = self._file.with_name("clock.new")
        new.write_text(f"{wall} {monotonic}")
        new.replace(self._file)

    def time(self) -> float:
        return time.time() + float(self._file.read_text().split()[0])

    def monotonic(self) -> float:
        return time.perf_counter() + float(self._file.read_text().split()[1])


def test_a_clock_that_is_set_forward_and_back_loses_and_doubles_nothing(make_world: Callable[..., World]) -> None:
    """By an hour, with deliveries in hand and others waiting, in two workers that have both seen the inbox before.

    Those that were stored in the hour that is taken back are handled when a worker looks after such, as each minute.
    """
    world = make_world()
    clock = MovedClock(world)
    numbers = count(1)
    with inbox_of(world, clock) as put:
        both = {world.start(name, WORKER).pid for name in ("one", "two")}

        def are_both_at_work() -> bool:
            put("long", 1, f"first{next(numbers)}", seconds=0.2)
            return {line.session for line in world.lines("began")} == both

        world.wait_until(are_both_at_work)
        put("long", 6, "before", seconds=1)
        world.wait_until(lambda: world.began("before") >= 4)
        clock.move(HOUR, 0)
        put("plain", 10)
        put("long", 20, "within", seconds=1)
        world.wait_until(lambda: world.began("within") >= 8)
        clock.move(0, 0)
        put("recorded", 10)
        world.wait_until(lambda: world.effects().total() == 10)
        clock.move(0, 61)
        world.wait_until(lambda: set(world.states()) == {"done"})
    assert world.doubled() == {}
    assert len(world.lines("began")) == world.began("") == next(numbers) - 1 + 6 + 20
    assert world.query("SELECT MAX(attempts) FROM delivery") == [(1,)]


SLOW = """
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void wait_first(void) {
    struct timespec time = {0, 20 * 1000000L};
    nanosleep(&time, 0);
}

int fsync(int file) {
    wait_first();
    return syscall(SYS_fsync, file);
}

int fdatasync(int file) {
    wait_first();
    return syscall(SYS_fdatasync, file);
}
"""


def test_a_slow_disk_neither_loses_anything_nor_blocks_the_loop(
    make_world: Callable[..., World], secret: str, tmp_path: Path
) -> None:
    """Each flush takes 20 ms longer, and the process is killed in the midst; other routes answer as ever."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler to make a slow disk with: cc is not installed")
    (tmp_path / "slow.c").write_text(SLOW)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "slow.so", "slow.c"], cwd=tmp_path, check=True)
    world = make_world()
    world.environment["LD_PRELOAD"] = str(tmp_path / "slow.so")
    world.start("web", uvicorn(world.port))
    events = {f"evt_{number}": "plain" for number in range(200)}
    with Senders(world.port, secret, events) as senders:
        senders.let(100)
        world.wait_until(lambda: len(senders.acknowledged) > 50)
        world.restart("web")
        world.wait_until(lambda: len(senders.acknowledged) == 100)
        measured: list[float] = []
        measuring = threading.Thread(
            target=lambda: measured.extend(latencies(world.port, "/plain", lambda: not senders.are_done()))
        )
        measuring.start()
        senders.let(200)
        world.wait_until(senders.are_done)
        measuring.join()
    world.wait_until(lambda: world.states() == {"done": 200})
    assert senders.acknowledged <= {line.id for line in world.lines("completed")}
    assert world.unexplained() == {}
    assert len(measured) >= 10
    assert percentile(measured, 0.95) < 0.1


class SmallDisk:
    """A disk of 16 MB with the inbox on it, four times what SQLite lets its log grow to; needs root."""

    def __init__(self, world: World) -> None:
        self._folder = world.folder / "data"
        self._folder.mkdir()
        options = ["mount", "-t", "tmpfs", "-o", "size=16m", "launchkit", str(self._folder)]
        if os.geteuid() != 0 or subprocess.run(options, capture_output=True, check=False).returncode != 0:
            pytest.skip("a small disk needs the right to mount one")

    def fill(self) -> None:
        """Leave no room; to be repeated, because databases give up room when they fail."""
        with contextlib.suppress(OSError), (self._folder / "filler").open("ab", buffering=0) as filler:
            while True:
                filler.write(bytes(4_096))

    def free(self) -> None:
        (self._folder / "filler").unlink()

    def remove(self) -> None:
        subprocess.run(["umount", "--lazy", str(self._folder)], check=True)


class SmallFiles:
    """A limit to the size of the files that a process writes: the same for it as a full disk, and no room is needed."""

    def __init__(self, world: World) -> None:
        self._world = world

    def fill(self) -> None:
        self._limit(128 * 1024)

    def free(self) -> None:
        self._limit(resource.RLIM_INFINITY)

    def _limit(self, size: int) -> None:
        process = self._world.processes["web"].pid
        resource.prlimit(process, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def remove(self) -> None:
        """Nothing stays."""


@pytest.mark.parametrize("kind", [SmallDisk, SmallFiles])
def test_a_full_disk_is_said_and_lived_through(
    kind: type[SmallDisk | SmallFiles], make_world: Callable[..., World], secret: str
) -> None:
    """Senders are asked to come again while there is no room; nothing that was acknowledged before or after is lost."""
    world = make_world(min_free=0)
    disk = kind(world)
    try:
        world.start("web", uvicorn(world.port))
        events = {f"evt_{number}": "recorded" for number in range(120)}
        with Senders(world.port, secret, events) as senders:
            senders.let(40)
            world.wait_until(lambda: len(senders.acknowledged) == 40)
            senders.let(120)
            world.wait_until(lambda: disk.fill() or senders.answers["503"] >= 10)
            assert not senders.are_done()
            disk.free()
            world.wait_until(senders.are_done)
        world.wait_until(lambda: world.states() == {"done": 120})
        assert senders.acknowledged == {line.id for line in world.lines("completed")}
        assert world.effects() == dict.fromkeys(events, 1)
        assert senders.retry_after == {"30"}
        assert world.processes["web"].poll() is None
        assert world.query("PRAGMA integrity_check") == [("ok",)]
    finally:
        world.close()
        disk.remove()


def test_an_orderly_stop_gives_leases_back_at_once(make_world: Callable[..., World]) -> None:
    """What a worker had in hand is another's within a second, although its lease had half a minute to go."""
    world = make_world(lease=30)
    with inbox_of(world) as put:
        put("long", 4, "held", seconds=600)
        stopped = world.start("one", WORKER)
        world.wait_until(lambda: len(world.lines("began")) == 4)
        other = world.start("two", WORKER, LAUNCHKIT_WEBHOOKS__CONCURRENCY="50")
        for number in range(40):  # one ends every tenth of a second, and has the worker look for more
            put("long", 1, f"load{number}", seconds=number / 10)
        world.wait_until(lambda: len(world.lines("began")) == 4 + 40)
    stopped.send_signal(signal.SIGTERM)
    assert stopped.wait(10) == 0
    ended = time.monotonic()
    world.wait_until(lambda: len(world.lines("began")) == 4 + 40 + 4)
    taken_up = [line for line in world.lines("began") if line.id.startswith("held") and line.session == other.pid]
    assert sorted(line.id for line in taken_up) == [f"held_{number}" for number in range(4)]
    assert max(line.at for line in taken_up) < ended + 1
    assert {line.attempt for line in taken_up} == {1}  # what was given back does not count


@pytest.mark.parametrize("kind", ["worker", "web"])
def test_a_handler_that_is_nearly_done_may_finish(kind: str, make_world: Callable[..., World]) -> None:
    """A process that is told to stop gives what it has in hand a moment."""
    world = make_world(lease=30)
    with inbox_of(world) as put:
        put("long", 1, seconds=1)
        put("long.sync", 1, seconds=1)
    process = world.start(kind, WORKER if kind == "worker" else uvicorn(world.port))
    world.wait_until(lambda: len(world.lines("began")) == 2)
    process.send_signal(signal.SIGTERM)
    process.wait(10)
    assert sorted(line.id for line in world.lines("completed")) == ["long.sync_0", "long_0"]
    assert world.states() == {"done": 2}
