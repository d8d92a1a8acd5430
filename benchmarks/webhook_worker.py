"""What `launchkit worker` costs and does: its CPU time with nothing to do, and how many deliveries it gets through.

The handler is async and does nothing, so what is told is what claiming, running and recording cost. The finished
deliveries of a week are in the file or not: they are not to make a difference.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import multiprocessing
import os
import sqlite3
import statistics
import time
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks.in_process import profiled
from benchmarks.launched import quiet
from benchmarks.report import Finding, Target
from benchmarks.webhook_disk import disk_folder
from benchmarks.webhook_events import EVENT, SOURCE, body_of, new_id
from benchmarks.webhook_senders import new_event
from benchmarks.webhook_stores import inbox_settings, open_inbox
from launchkit import Delivery, LaunchKit, Settings

IDLE_SECONDS, START_SECONDS = 15.0, 3.0
MOST_IDLE = 1.0
"""Milliseconds of CPU in a second."""
EVENTS, ROUNDS = 800, 3
CONCURRENCIES = (4, 32)
"""The default, and one for handlers that wait for others."""
FINISHED = 200_000


def compare_idle() -> Finding:
    """Let a worker wait in a process of its own."""
    with disk_folder() as folder, ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        milliseconds = process.submit(_wait_apart, folder).result()
    text = f"  {milliseconds:.2f} ms of CPU in a second, over {IDLE_SECONDS:g} seconds"
    target = Target("CPU of an idle worker", milliseconds, MOST_IDLE, "ms a second", "idle")
    return Finding("A worker with nothing to do", (text,), {"ms_per_second": milliseconds}, (target,), _profile_idle)


def _wait_apart(folder: Path) -> float:
    with quiet():
        return asyncio.run(_wait(folder, IDLE_SECONDS))


async def _wait(folder: Path, seconds: float) -> float:
    kit = LaunchKit(inbox_settings(folder))
    kit.webhook(SOURCE)(lambda _: None)
    async with _working(kit):
        await asyncio.sleep(START_SECONDS)
        used, started = time.process_time(), time.perf_counter()
        await asyncio.sleep(seconds)
        return (time.process_time() - used) / (time.perf_counter() - started) * 1000


def _profile_idle(_: str) -> str:
    with disk_folder() as folder:
        return asyncio.run(profiled(_wait(folder, IDLE_SECONDS)))


def compare_handling() -> Finding:
    """Store events, and have a worker handle them, in several rounds."""
    figures: dict[str, list[float]] = {}
    with disk_folder() as folder:
        folders = {"none finished": folder / "empty", f"{FINISHED:,} finished": folder / "full"}
        _fill(folder / "full")
        for _, (finished, kept), concurrency in itertools.product(range(ROUNDS), folders.items(), CONCURRENCIES):
            rate = asyncio.run(_handle_all(_settings(kept, concurrency)))
            figures.setdefault(f"{concurrency} at a time, {finished}", []).append(rate)
    text = [f"  {'':34}{'per second':>11}{'best':>9}"]
    text += [f"  {name:34}{statistics.median(rates):11,.0f}{max(rates):9,.0f}" for name, rates in figures.items()]
    title = f"Deliveries handled per second by one worker, {ROUNDS} interleaved rounds of {EVENTS:,}: medians"
    return Finding(title, tuple(text), {"per_second": figures}, (), _profile_idle)


def _settings(folder: Path, concurrency: int) -> Settings:
    given = inbox_settings(folder)
    return given.model_copy(update={"webhooks": given.webhooks.model_copy(update={"concurrency": concurrency})})


async def _handle_all(settings: Settings) -> float:
    inbox = open_inbox(settings.data_dir)
    await asyncio.gather(*[inbox.aput(new_event()) for _ in range(EVENTS)])
    await asyncio.to_thread(inbox.close)
    kit, handled, all_handled = LaunchKit(settings), 0, asyncio.Event()

    @kit.webhook(SOURCE)
    async def handle(_: Delivery) -> None:
        nonlocal handled
        handled += 1
        if handled == EVENTS:
            all_handled.set()

    started = time.perf_counter()
    async with _working(kit):
        await all_handled.wait()
        return EVENTS / (time.perf_counter() - started)


@contextlib.asynccontextmanager
async def _working(kit: LaunchKit) -> AsyncIterator[None]:
    working = asyncio.create_task(kit.work())
    try:
        yield
    finally:
        working.cancel()
        await asyncio.wait([working])


def _fill(folder: Path) -> None:
    """Put finished deliveries into an inbox's file, past its rules: one by one they would take too long."""
    inbox = open_inbox(folder)
    inbox.put(new_event())
    inbox.close()
    now = time.time()
    with contextlib.closing(sqlite3.connect(folder / "inbox.sqlite3", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        connection.execute("UPDATE delivery SET state = 'done'")
        connection.executemany(
            """
            INSERT INTO delivery (source, dedupe_key, event, state, attempts, due_at, received_at, headers, body)
            VALUES (?, ?, ?, 'done', 1, ?, ?, '[]', ?)
            """,
            ((SOURCE, id_, EVENT, now, now, body_of(id_)) for id_ in (new_id() for _ in range(FINISHED))),
        )
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
    os.sync()  # or flushes of the measured file would wait for this
