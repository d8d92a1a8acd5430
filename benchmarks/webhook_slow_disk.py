"""The same on a disk that is slow to flush, as those of clouds are: 2 ms are added to every fsync and fdatasync.

A library that is loaded before the C library's does that, in a process of its own; it is compiled when it is needed.
One commit per event can then do no more than 500 a second, however many wait.

Run as that process: `python -m benchmarks.webhook_slow_disk` prints the figures as JSON.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.report import Finding, Target
from benchmarks.webhook_disk import ROOT, Disk, disk_folder
from benchmarks.webhook_intake import ASGI, ONE_BY_ONE, WSGI, profile
from benchmarks.webhook_rates import named, take_turns
from benchmarks.webhook_stores import one_by_one, open_inbox, under_asgi, under_wsgi

ADDED_MS = 2
SENDERS = (32, 256)
LEAST_TIMES = 10.0
"""Times the events per second of one commit per event."""
ROUNDS = 3
SECONDS = 1.0
"""For each turn."""
SOURCE = """
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void wait_first(void) {
    struct timespec time = {0, ADDED_MS * 1000000L};
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


def compare() -> Finding:
    """Measure in a process of its own. Without a C compiler, or LD_PRELOAD, there is nothing to measure."""
    title = f"Durable acknowledged events by senders, with {ADDED_MS} ms added to every flush of the disk"
    missing = _missing()
    if missing:
        return Finding(title, (f"  skipped: {missing}",), {"skipped": missing}, (), profile)
    figures = _measure_apart()
    targets = [
        Target(
            f"events per second on a slow disk, {name}, {count}, over {ONE_BY_ONE}",
            figures["json"]["variants"][named(name, count)]["ratio"],
            LEAST_TIMES,
            "times",
            named(name, count),
            "at least",
        )
        for name in (ASGI, WSGI)
        for count in SENDERS
    ]
    return Finding(title, tuple(figures["lines"]), figures["json"], tuple(targets), profile)


def _missing() -> str | None:
    if platform.system() != "Linux":
        return "LD_PRELOAD and flushes as Linux has them"
    return None if shutil.which("cc") else "no C compiler: cc is not installed"


def _measure_apart() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        source, library = Path(name) / "slow.c", Path(name) / "slow.so"
        source.write_text(SOURCE)
        options = ["-shared", "-fPIC", f"-DADDED_MS={ADDED_MS}", "-o", str(library), str(source)]
        subprocess.run(["cc", *options], check=True, capture_output=True)
        return _run(os.environ | {"LD_PRELOAD": str(library)})


def _run(environment: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.webhook_slow_disk"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if ended.returncode != 0:
        raise RuntimeError(f"the measurement ended early: {ended.stderr}")
    figures: dict[str, Any] = json.loads(ended.stdout)
    return figures


def _measure_here() -> dict[str, Any]:
    with disk_folder() as folder:
        stores = {
            ASGI: under_asgi(open_inbox(folder / "asgi")),
            WSGI: under_wsgi(open_inbox(folder / "wsgi")),
            ONE_BY_ONE: one_by_one(folder),
        }
        rates = take_turns(stores, SENDERS, Disk(folder), ROUNDS, SECONDS)
        for store in stores.values():
            store.close()
    baselines = {named(name, count): named(ONE_BY_ONE, count) for name in (ASGI, WSGI) for count in SENDERS}
    return {"lines": list(rates.lines(baselines)), "json": rates.as_json(baselines)}


if __name__ == "__main__":
    print(json.dumps(_measure_here()))
