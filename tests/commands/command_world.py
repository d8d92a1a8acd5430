"""What the tests of the command share: an inbox with deliveries in every state, and the command as it was installed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from launchkit.pipeline.effects import NewDelivery
from launchkit.testing import FrozenClock
from launchkit.webhooks.inbox.archive import Archive, Retention
from launchkit.webhooks.inbox.inbox import Inbox
from launchkit.webhooks.inbox.room import Room
from launchkit.webhooks.inbox.sqlite import SqliteDatabase
from launchkit.webhooks.inbox.writer import Writer

LAUNCHKIT = str(Path(sys.executable).with_name("launchkit"))
HOUR = 3_600.0
DAY = 24 * HOUR
STATES = ("done", "dead", "ignored", "retrying", "leased")


def delivery(key: str, *, source: str = "stripe", event: str = "invoice.paid", body: bytes = b"{}") -> NewDelivery:
    return NewDelivery(source, key, event, (("content-type", "application/json"), ("x-shop", "hidden")), body)


def opened(clock: FrozenClock) -> tuple[Inbox, Archive]:
    """Return the inbox that the command finds with settings that say nothing."""
    path = Path(".launchkit/inbox.sqlite3").absolute()
    writer = Writer(str(path), lambda: SqliteDatabase(path, clock))
    return Inbox(writer, Room(10_000, 0, lambda: None, clock.monotonic)), Archive(writer, Retention())


def fill(*states: str, age: float = 2 * HOUR, body: bytes = b'{"who": "ann"}', error: str = "ValueError in on") -> None:
    """Put `stripe:evt_<state>` for each state into the working directory's inbox, `age` seconds ago."""
    clock = FrozenClock(unix_seconds=time.time() - age)
    inbox, _ = opened(clock)
    for state in states:
        assert inbox.put(delivery(f"evt_{state}", event=f"{state}.event", body=body))
        (lease,) = inbox.claim(1, sources=("stripe",), lease=age + 60, attempts=9).result(10).leased
        if state == "done":
            inbox.done(lease)
        elif state == "dead":
            inbox.dead(lease, error)
        elif state == "ignored":
            inbox.ignored(lease, "not for us")
        elif state == "retrying":
            inbox.retry(lease, age + 270, error)
    inbox.close()


def put(*deliveries: NewDelivery, age: float = 0.0) -> None:
    """Put deliveries into the working directory's inbox that nobody has taken up."""
    inbox, _ = opened(FrozenClock(unix_seconds=time.time() - age))
    with ThreadPoolExecutor(32) as threads:  # many share a commit
        assert all(threads.map(inbox.put, deliveries) if len(deliveries) > 9 else map(inbox.put, deliveries))
    inbox.close()


def forget_bodies() -> None:
    """Do what a worker does once bodies are old enough."""
    inbox, archive = opened(FrozenClock(unix_seconds=time.time() + 8 * DAY))
    archive.prune().result(10)
    inbox.close()


def run(*arguments: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command in the working directory."""
    return subprocess.run(
        [LAUNCHKIT, *arguments],
        env=os.environ | environ,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
