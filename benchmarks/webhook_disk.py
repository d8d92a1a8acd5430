"""The disk that the stores are measured on, and how long it takes to flush: what every durable commit waits for.

A file system in memory flushes in no time and would show nothing, so it is passed over. A disk that others use
has moments in which a flush takes ten times as long; what it did is told beside the figures.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.launched import data_folder

ROOT = Path(__file__).resolve().parent.parent
IN_MEMORY = ("tmpfs", "ramfs")
PAGE = b"x" * 4096
FLUSHES = 25
"""In each sample."""
QUIET_MS = 1.0
"""The slowest flush of a sample on a disk that is quiet enough for what is promised of latency."""

_flush = getattr(os, "fdatasync", os.fsync)  # as SQLite does; macOS has only the latter


@contextlib.contextmanager
def disk_folder() -> Iterator[Path]:
    """Give a folder on a real disk for the data of some kits, and remove what they leave."""
    before, tempfile.tempdir = tempfile.tempdir, str(_real_disk())
    try:
        with data_folder() as folder:
            yield folder
    finally:
        tempfile.tempdir = before


def _real_disk() -> Path:
    candidates = (Path(tempfile.gettempdir()), Path.cwd(), ROOT)
    for folder in candidates:
        if file_system(folder) not in IN_MEMORY:
            return folder
    raise RuntimeError(f"none of {', '.join(map(str, candidates))} is on a disk: set TMPDIR to a folder that is")


def file_system(folder: Path) -> str:
    """Return the type of the file system that a folder is on, or an empty string where nobody can tell (proc(5))."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return ""
    types = {Path(where): kind for _, where, kind, *_ in map(str.split, mounts.read_text().splitlines())}
    return next(types[parent] for parent in (folder.resolve(), *folder.resolve().parents) if parent in types)


@dataclass
class Disk:
    """Flushes of one page that is appended to a file."""

    folder: Path
    milliseconds: list[float] = field(default_factory=list)

    def sample(self) -> float:
        """Flush some times, with nothing else under way, and return the milliseconds of the slowest."""
        with (self.folder / "flushed").open("ab", buffering=0) as file:
            for _ in range(FLUSHES):
                file.write(PAGE)
                started = time.perf_counter()
                _flush(file.fileno())
                self.milliseconds.append((time.perf_counter() - started) * 1000)
        return max(self.milliseconds[-FLUSHES:])

    @property
    def p50(self) -> float:
        return statistics.median(self.milliseconds)

    @property
    def p99(self) -> float:
        return percentile(self.milliseconds, 99)

    def __str__(self) -> str:
        return f"  the disk ({file_system(self.folder)}) flushes a page in {self.p50:.2f} ms, p99 {self.p99:.2f}"

    def as_json(self) -> dict[str, object]:
        """Return every figure."""
        return {"file_system": file_system(self.folder), "p50_ms": self.p50, "p99_ms": self.p99}


def percentile(figures: list[float], percent: int) -> float:
    """Return a percentile by the nearest rank."""
    return sorted(figures)[min(len(figures) - 1, len(figures) * percent // 100)]
