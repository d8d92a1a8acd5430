"""A million clients that were never seen before, against the counts in memory as they are by default.

It runs in a process of its own, whose memory is then what the counts take. Every key is looked for in vain, pays for
looking at old ones and, once the table is full, pushes one out. Nothing expires meanwhile. One client has used up its
limit before and must still be refused afterwards. Run alone: `python -m benchmarks.flood`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.in_process import profiled
from benchmarks.report import Target
from launchkit.pipeline.clock import SystemClock
from launchkit.pipeline.effects import Charge, Quota
from launchkit.rate_limit.memory import MemoryLimiter
from launchkit.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
KEYS = 1_000_000
SLICE = 50_000
"""Hits that a percentile is taken of."""
QUOTA = Quota(((5, 3600.0),))
ATTACKER = (Charge("rules.login:5:198.51.100.66", QUOTA),)

MOST_MEGABYTES = 200.0
MOST_MICROSECONDS = 100.0


@dataclass(frozen=True, slots=True)
class Flood:
    """What it did. Times are microseconds per hit; `worst_p99` is that of the slice where it was highest."""

    keys: int
    kept: int
    megabytes: float
    median: float
    p99: float
    worst_p99: float
    longest: float
    still_limited: bool


def measure() -> Flood:
    """Flood a limiter in a child process."""
    command = [sys.executable, "-m", "benchmarks.flood"]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if child.returncode != 0:
        raise RuntimeError(f"the flood ended early: {child.stderr}")
    return Flood(**json.loads(child.stdout))


def lines(flood: Flood) -> Iterator[str]:
    """Return the figures."""
    yield f"A flood of {flood.keys:,} distinct keys against the counts in memory, {flood.kept:,} kept"
    yield f"  memory grew by {flood.megabytes:.0f} MB"
    yield (
        f"  a hit took {flood.median:.1f} us in the median, p99 {flood.p99:.1f}, "
        f"highest p99 of {SLICE:,} in a row {flood.worst_p99:.1f}, longest {flood.longest:.0f}"
    )


def targets(flood: Flood) -> Iterator[Target]:
    """Return what is promised of a flood."""
    yield Target("flood, memory", flood.megabytes, MOST_MEGABYTES, "MB", "")
    yield Target("flood, p99 of a hit in any part of it", flood.worst_p99, MOST_MICROSECONDS, "us", "")
    yield Target("flood, clients at their limit that it freed", float(not flood.still_limited), 0, "clients", "")


def run() -> Flood:
    """Flood a limiter in this process."""
    max_keys = Settings(environment="development").rate_limit.max_keys
    limiter = MemoryLimiter(SystemClock(), max_keys)
    took = array("q", [0]) * KEYS
    while limiter.hit(ATTACKER).allowed:
        pass
    gc.collect()
    before = _resident_bytes()
    for number in range(KEYS):
        charges = (Charge(f"rules.login:5:{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}.1", QUOTA),)
        started = time.perf_counter_ns()
        limiter.hit(charges)
        took[number] = time.perf_counter_ns() - started
    grown = _resident_bytes() - before
    slices = [sorted(took[start : start + SLICE]) for start in range(0, KEYS, SLICE)]
    total = sorted(took)
    return Flood(
        keys=KEYS,
        kept=len(limiter),
        megabytes=grown / 1e6,
        median=total[KEYS // 2] / 1e3,
        p99=total[KEYS * 99 // 100] / 1e3,
        worst_p99=max(one[SLICE * 99 // 100] for one in slices) / 1e3,
        longest=total[-1] / 1e3,
        still_limited=not limiter.hit(ATTACKER).allowed,
    )


def profile(_: str) -> str:
    """Return where the time of a flood goes that is a tenth as long."""

    async def flood() -> None:
        limiter = MemoryLimiter(SystemClock(), KEYS // 100)
        for number in range(KEYS // 10):
            limiter.hit((Charge(str(number), QUOTA),))

    return asyncio.run(profiled(flood()))


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")  # proc(5)


if __name__ == "__main__":
    print(json.dumps(asdict(run())))
