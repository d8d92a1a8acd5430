"""What the cache has done so far, counted for metrics."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from launchkit.read_cache.bypass import Bypass
from launchkit.read_cache.storing import Unstorable


@dataclass(frozen=True, slots=True)
class CacheFigures:
    """Requests since the start by outcome, and what became of the responses that the app gave instead."""

    hits: int
    """Answered with a fresh stored response."""
    stale: int
    """Answered with a stale one, while another request fetched anew."""
    failed: int
    """Answered with a stale one, because the app failed."""
    collapsed: int
    """Answered with what another request had just fetched, after waiting for it."""
    misses: int
    """Sent to the app although the cache might have answered."""
    bypasses: Mapping[Bypass, int]
    """Sent to the app without use of the cache, by reason."""
    stored: int
    revalidated: int
    """Confirmed by a 304 of the app's."""
    unstorable: Mapping[Unstorable, int]
    """Responses to misses that could not be stored, by reason."""
    invalidations: int


_PLAIN: Final[tuple[str, ...]] = (
    "hits",
    "stale",
    "failed",
    "collapsed",
    "misses",
    "stored",
    "revalidated",
    "invalidations",
)


class Tally:
    """Counts outcomes. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = dict.fromkeys(_PLAIN, 0)
        self._bypasses: Counter[Bypass] = Counter()
        self._unstorable: Counter[Unstorable] = Counter()

    def begin_process(self) -> None:
        """Go on counting in the child of a fork, where nobody may be left to release the lock."""
        self._lock = threading.Lock()

    def count(self, what: str) -> None:
        """Count one of the plain figures, by its name."""
        with self._lock:
            self._counts[what] += 1  # a plain dictionary, which costs half of what a Counter does

    def bypass(self, reason: Bypass) -> None:
        """The cache was of no use to a request."""
        with self._lock:
            self._bypasses[reason] += 1

    def unstorable(self, reason: Unstorable) -> None:
        """A response could not be stored."""
        with self._lock:
            self._unstorable[reason] += 1

    def figures(self) -> CacheFigures:
        """Return all counts as of one moment."""
        with self._lock:
            return CacheFigures(
                **self._counts,
                bypasses=dict(self._bypasses),
                unstorable=dict(self._unstorable),
            )
