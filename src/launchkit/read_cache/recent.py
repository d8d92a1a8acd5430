"""What was found out lately about keys: that nothing can be stored under them, that the app fails, what they vary by.

The rules: of each kind at most `MAX_KEYS` are remembered, the oldest given up first, and of each key only its hash, so
that long ones cannot fill memory. Nothing depends on it that has to be right: it only keeps requests from waiting, or
from trying, in vain.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import Final

MAX_KEYS: Final = 10_000
MAX_NAMES: Final = 16
"""Header names of one response that are remembered; what varies by more is fetched one after the other."""


class RecentKeys:
    """Times are seconds of the kit's monotonic clock. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._until)

    def has(self, key: Hashable, now: float) -> bool:
        """Tell whether a key was added and its time is not over."""
        return self._until.get(hash(key), 0.0) > now

    def add(self, key: Hashable, until: float) -> None:
        """Remember a key up to a time."""
        hashed = hash(key)
        with self._lock:
            self._until.pop(hashed, None)
            self._until[hashed] = until
            if len(self._until) > MAX_KEYS:
                del self._until[next(iter(self._until))]

    def discard(self, key: Hashable) -> None:
        """Forget a key."""
        hashed = hash(key)
        if hashed in self._until:
            with self._lock:
                self._until.pop(hashed, None)


class KnownVary:
    """Names of the request headers that the responses under a key vary by. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: dict[int, tuple[bytes, ...]] = {}

    def of(self, key: Hashable) -> tuple[bytes, ...]:
        """Return the names that were seen last, or none."""
        return self._names.get(hash(key), ())

    def learn(self, key: Hashable, names: tuple[bytes, ...]) -> None:
        """Remember what a response varies by."""
        hashed = hash(key)
        if self._names.get(hashed, ()) != names and len(names) <= MAX_NAMES:
            with self._lock:
                self._names.pop(hashed, None)
                self._names[hashed] = names
                if len(self._names) > MAX_KEYS:
                    del self._names[next(iter(self._names))]
