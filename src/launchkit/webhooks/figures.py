"""What came in and what became of it, counted since the process started; for metrics and health."""

from __future__ import annotations

import threading
from collections import Counter


class Counts:
    """How often each outcome happened at each source.

    The outcomes of intake: accepted, duplicate, handshake; refused as missing, malformed, mismatch or expired (see
    `Refused`); too_large, closed, full, store_down; failed (a bug of ours). Those of handling: done, retry, dead,
    ignored; released, where another process has the handler; lost, with its lease.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin anew, as a child of a fork has to: another thread of its parent may have held the lock."""
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._seconds: dict[str, tuple[float, int]] = {}

    def add(self, source: str, outcome: str) -> None:
        """Count one."""
        with self._lock:
            self._counts[source, outcome] += 1

    def read(self) -> dict[tuple[str, str], int]:
        """Return a copy: (source, outcome) to count."""
        with self._lock:
            return dict(self._counts)

    def add_seconds(self, source: str, seconds: float) -> None:
        """Add how long a handler took."""
        with self._lock:
            total, count = self._seconds.get(source, (0.0, 0))
            self._seconds[source] = (total + seconds, count + 1)

    def read_seconds(self) -> dict[str, tuple[float, int]]:
        """Return a copy: source to the seconds that its handlers took in all, and how often they ran."""
        with self._lock:
            return dict(self._seconds)
