"""How soon events are acknowledged when several worker processes store them in one file.

SQLite's own waiting for a lock is a series of sleeps, in which some processes starve for seconds; what is promised is
that none does. Each process has an event loop and its senders, and all begin together.
"""

from __future__ import annotations

import multiprocessing
import statistics
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from benchmarks.report import Finding, Target
from benchmarks.webhook_disk import Disk, disk_folder
from benchmarks.webhook_intake import ASGI, profile
from benchmarks.webhook_rates import named
from benchmarks.webhook_senders import Turn, by_asyncio, new_event
from benchmarks.webhook_stores import open_inbox

PROCESSES, SENDERS = 4, 64
ROUNDS = 3
SECONDS = 2.0
"""For each round."""
MOST_MS = 100.0
"""For the 99th percentile in each process."""

_all_there: Barrier


def compare() -> Finding:
    """Let the processes store events in several rounds."""
    with disk_folder() as folder:
        disk = Disk(folder)
        rounds = _measure(folder, disk)
    worst = statistics.median(max(turn.p99 for turn in turns) for turns in rounds)
    slowest = max(turn.p99 for turns in rounds for turn in turns)
    total = statistics.median(sum(turn.per_second for turn in turns) for turns in rounds)
    unfair = statistics.median(
        max(turn.events for turn in turns) / min(turn.events for turn in turns) for turns in rounds
    )
    text = (
        f"  {total:,.0f} events per second in all; the busiest process stored {unfair:.2f} times the idlest one's",
        f"  99th percentile in the slowest process {worst:.1f} ms (worst of all rounds {slowest:.1f})",
        str(disk),
    )
    figures: dict[str, Any] = {
        "disk": disk.as_json(),
        "per_second": total,
        "p99_ms": [[turn.p99 for turn in turns] for turns in rounds],
        "events": [[turn.events for turn in turns] for turns in rounds],
    }
    target = Target(
        f"99th percentile in the slowest of {PROCESSES} processes", worst, MOST_MS, "ms", named(ASGI, SENDERS)
    )
    title = f"One file, {PROCESSES} processes with {SENDERS} senders each: median of {ROUNDS} rounds"
    return Finding(title, text, figures, (target,), profile)


def _measure(folder: Path, disk: Disk) -> list[list[Turn]]:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(PROCESSES)
    rounds = []
    with ProcessPoolExecutor(PROCESSES, context, _begin, (barrier,)) as processes:
        for seconds in (0.2, *[SECONDS] * ROUNDS):
            disk.sample()
            turns = [processes.submit(_store, folder, seconds) for _ in range(PROCESSES)]
            rounds.append([turn.result() for turn in turns])
    return rounds[1:]  # the first one makes the file and warms up


def _begin(barrier: Barrier) -> None:
    global _all_there  # a barrier can only be inherited
    _all_there = barrier


def _store(folder: Path, seconds: float) -> Turn:
    inbox = open_inbox(folder)
    try:
        inbox.put(new_event())  # opens the file
        _all_there.wait()  # so that each process has one turn
        return by_asyncio(inbox.aput, SENDERS, seconds)
    finally:
        inbox.close()
