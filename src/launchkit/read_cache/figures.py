"""What the cache has done so far, counted for metrics."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from launchkit.read_cache.policy import Bypass


@dataclass(frozen=True, slots=True)
class CacheFigures:
    """Requests on the paths of rules since the start, by outcome, and the responses that were stored."""

    hits: int
    """Answered from the cache, fresh or stale."""
    misses: int
    """Sent to the app although the cache might have answered."""
    bypasses: Mapping[Bypass, int]
    """Sent to the app without asking the cache, by reason."""
    stored: int


class Tally:
    """Counts outcomes. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hits = self._misses = self._stored = 0
        self._bypasses: Counter[Bypass] = Counter()

    def hit(self) -> None:
        """A stored response was given."""
        with self._lock:
            self._hits += 1

    def miss(self) -> None:
        """The app has to answer."""
        with self._lock:
            self._misses += 1

    def bypass(self, reason: Bypass) -> None:
        """The cache was not asked."""
        with self._lock:
            self._bypasses[reason] += 1

    def stored(self) -> None:
        """The store has taken a response."""
        with self._lock:
            self._stored += 1

    def figures(self) -> CacheFigures:
        """Return all counts as of one moment."""
        with self._lock:
            return CacheFigures(self._hits, self._misses, dict(self._bypasses), self._stored)
