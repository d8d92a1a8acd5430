"""How many events per second the inbox takes in for good, and how soon each is acknowledged, beside SqliteHuey.

All are files on the same disk and take turns. Nothing is verified and nobody handles anything meanwhile: this is what
storing costs. Where PostgreSQL is installed, the inbox in it is measured too, without a promise.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from statistics import median

from benchmarks.in_process import profiled
from benchmarks.report import Finding, Target
from benchmarks.webhook_disk import Disk, disk_folder
from benchmarks.webhook_postgres import UnavailableError, postgres
from benchmarks.webhook_rates import Rates, named, take_turns
from benchmarks.webhook_senders import new_event, send_all
from benchmarks.webhook_stores import PLENTY, huey, one_by_one, open_inbox, under_asgi, under_wsgi
from launchkit.pipeline.clock import SystemClock
from launchkit.webhooks.inbox.insertion import Insertion
from launchkit.webhooks.inbox.room import Room
from launchkit.webhooks.inbox.sqlite import SqliteDatabase

ASGI, WSGI, HUEY, ONE_BY_ONE = "inbox, asyncio", "inbox, threads", "SqliteHuey", "one commit each"
SENDERS = (1, 32, 256)
MOST = max(SENDERS)
LEAST_TIMES = {1: 0.6, 32: 2.5, 256: 3.0}
"""Times SqliteHuey's events per second, by senders."""
MOST_MS = {ASGI: 30.0, WSGI: 50.0}
"""For the 99th percentile of the most senders while the disk is quiet; while it is not, none is promised."""
ROUNDS = 9
SECONDS = 0.4
"""For each turn."""


def compare() -> Finding:
    """Measure the files."""
    with disk_folder() as folder:
        inboxes = [open_inbox(folder / name) for name in ("asgi", "wsgi")]
        stores = {
            ASGI: under_asgi(inboxes[0]),
            WSGI: under_wsgi(inboxes[1]),
            HUEY: huey(folder),
            ONE_BY_ONE: one_by_one(folder),
        }
        rates = take_turns(stores, SENDERS, Disk(folder), ROUNDS, SECONDS)
        for store in stores.values():
            store.close()
    baselines = {named(name, count): named(HUEY, count) for name in (ASGI, WSGI, ONE_BY_ONE) for count in SENDERS}
    return Finding(
        f"Durable acknowledged events by senders, {rates.count} interleaved rounds of {SECONDS:g} s: medians",
        (*rates.lines(baselines), *[_quiet_line(rates, name) for name in MOST_MS]),
        rates.as_json(baselines),
        (*_rate_targets(rates), *_latency_targets(rates)),
        profile,
    )


def _rate_targets(rates: Rates) -> list[Target]:
    return [
        Target(
            f"events per second, {name}, {count}, over {HUEY}'s",
            rates.ratio(named(name, count), named(HUEY, count)),
            times,
            "times",
            named(name, count),
            "at least",
        )
        for name in (ASGI, WSGI)
        for count, times in LEAST_TIMES.items()
    ]


def _latency_targets(rates: Rates) -> list[Target]:
    return [
        Target(f"99th percentile on a quiet disk, {name}, {MOST}", median(quiet), bound, "ms", named(name, MOST))
        for name, bound in MOST_MS.items()
        if (quiet := rates.quiet_p99s(named(name, MOST)))
    ]


def _quiet_line(rates: Rates, name: str) -> str:
    quiet = ", ".join(f"{milliseconds:.1f}" for milliseconds in rates.quiet_p99s(named(name, MOST)))
    return f"  99th percentile in ms, {name}, {MOST}, while the disk was quiet: {quiet or 'it never was'}"


def compare_postgres() -> Finding:
    """Measure the inbox in PostgreSQL, if that is installed."""
    title = "Durable acknowledged events by senders, in PostgreSQL on the same disk"
    try:
        with disk_folder() as folder, postgres(folder) as url:
            inbox = open_inbox(folder, database_url=url)
            stores = {ASGI: under_asgi(inbox), WSGI: under_wsgi(inbox)}
            rates = take_turns(stores, SENDERS, Disk(folder), 2, SECONDS)
            inbox.close()
    except UnavailableError as error:
        return Finding(title, (f"  skipped: {error}",), {"skipped": str(error)}, (), profile)
    return Finding(title, tuple(rates.lines({})), rates.as_json({}), (), profile)


def profile(variant: str) -> str:
    """Return where the time of the event loop goes, and that of the inbox's own thread, with a variant's senders."""
    senders = int(variant.rpartition(", ")[2])
    with disk_folder() as folder:
        inbox = open_inbox(folder / "inbox")
        loop = asyncio.run(profiled(send_all(inbox.aput, senders, 2.0)))
        inbox.close()
        return f"The event loop\n{loop}\nThe inbox's thread\n{asyncio.run(profiled(_write(folder, senders)))}"


async def _write(folder: Path, together: int) -> None:
    """Store events as the inbox's thread does, so many in each transaction."""
    clock = SystemClock()
    database = SqliteDatabase(folder / "alone.sqlite3", clock)
    room = Room(PLENTY, 0, lambda: None, clock.monotonic)
    for _ in range(50):
        with database.transaction() as session:
            Insertion.together(session, [Insertion(new_event(), room) for _ in range(min(together, 64))])
    database.close()
