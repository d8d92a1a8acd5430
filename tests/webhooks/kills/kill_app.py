"""The kit whose processes are killed, as told by environment variables beside LaunchKit's own.

`KILL_FOLDER` is where `log` and `effects.sqlite3` are, and `clock`, by which the kit's clock is off; `KILL_QUEUE` is
nothing, `celery` or `dramatiq`, with the broker at `KILL_BROKER`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from launchkit import Delivery, LaunchKit, Settings
from launchkit.queues import Queue, celery_queue, dramatiq_queue

FOLDER = Path(os.environ["KILL_FOLDER"])
SHORT = 0.003
"""Seconds that a handler takes when nothing else is asked for."""


class MovedClock:
    """The machine's clock, moved by the seconds that a file holds: of the wall clock, then of the monotonic one."""

    def time(self) -> float:
        return time.time() + self._moved()[0]

    def monotonic(self) -> float:
        return time.perf_counter() + self._moved()[1]

    @staticmethod
    def _moved() -> tuple[float, float]:
        wall, monotonic = (FOLDER / "clock").read_text().split()
        return float(wall), float(monotonic)


queue: Queue | None = None
if os.environ.get("KILL_QUEUE") == "celery":
    from celery import Celery  # type: ignore[import-untyped]  # it has none

    celery = Celery("kill_app", broker=os.environ["KILL_BROKER"])
    queue = celery_queue(celery)
elif os.environ.get("KILL_QUEUE") == "dramatiq":
    from dramatiq.brokers.redis import RedisBroker

    broker = RedisBroker(url=os.environ["KILL_BROKER"])  # type: ignore[no-untyped-call]  # it has none
    queue = dramatiq_queue(broker)

kit = LaunchKit(
    Settings(check="warn", webhooks={} if queue is None else {"queue": queue}),
    clock=MovedClock() if (FOLDER / "clock").exists() else None,
)


def log(what: str, delivery: Delivery) -> None:
    """Add a line, by a single write: it is there whole, whatever happens to this process afterwards."""
    line = f"{what} {delivery.id} {delivery.attempt} {os.getsid(0)} {time.monotonic()}\n"
    file = os.open(FOLDER / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, line.encode())
    os.close(file)


@kit.webhook("stripe")
async def on_any(delivery: Delivery) -> None:
    """Take a moment."""
    await asyncio.sleep(SHORT)
    log("completed", delivery)


@kit.webhook("stripe", "recorded")
def on_recorded(delivery: Delivery) -> None:
    """Have one effect in a database, whatever happens."""
    with closing(sqlite3.connect(FOLDER / "effects.sqlite3", timeout=10)) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")  # the machine outlives every crash here
        if delivery.record(connection):
            connection.execute("INSERT INTO effect VALUES (?)", (delivery.id,))
    log("completed", delivery)


@kit.webhook("stripe", "poison")
def on_poison(delivery: Delivery) -> None:
    """Kill the process."""
    log("began", delivery)
    os.kill(os.getpid(), signal.SIGKILL)


@kit.webhook("stripe", "long")
async def on_long(delivery: Delivery) -> None:
    """Take as long as the body says, in the way it says."""
    log("began", delivery)
    await asyncio.sleep(float(delivery.json()["seconds"]))
    log("completed", delivery)


@kit.webhook("stripe", "long.blocking")
async def on_blocking(delivery: Delivery) -> None:
    """Do the same without letting anything else run on the loop."""
    log("began", delivery)
    time.sleep(float(delivery.json()["seconds"]))  # noqa: ASYNC251  # what an app should not do, and does
    log("completed", delivery)


@kit.webhook("stripe", "long.sync")
def on_long_sync(delivery: Delivery) -> None:
    """Do the same in a thread."""
    log("began", delivery)
    time.sleep(float(delivery.json()["seconds"]))
    log("completed", delivery)
