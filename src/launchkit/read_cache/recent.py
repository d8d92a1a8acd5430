"""What was found out lately about keys: that nothing can be stored under them, that the app fails, what they vary by.

The rules: of each kind at most `MAX_KEYS` are remembered, the oldest given up first. Nothing depends on it that has to
be right: it only keeps requests from waiting, or from trying, in vain.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import Final

MAX_KEYS: Final = 10_000


class RecentKeys:
    """Times are seconds of the kit's monotonic clock. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[Hashable, float] = {}

    def __len__(self) -> int:
        return len(self._until)

    def has(self, key: Hashable, now: float) -> bool:
        """Tell whether a key was added and its time is not over."""
        return self._until.get(key, 0.0) > now

    def add(self, key: Hashable, until: float) -> None:
        """Remember a key up to a time."""
        with self._lock:
            self._until.pop(key, None)
            self._until[key] = until
            if len(self._until) > MAX_KEYS:
                del self._until[next(iter(self._until))]

    def discard(self, key: Hashable) -> None:
        """Forget a key."""
        if key in self._until:
            with self._lock:
                self._until.pop(key, None)


class KnownVary:
    """Names of the request headers that the responses under a key vary by. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: dict[Hashable, tuple[bytes, ...]] = {}

    def of(self, key: Hashable) -> tuple[bytes, ...]:
        """Return the names that were seen last, or none."""
        return self._names.get(key, ())

    def learn(self, key: Hashable, names: tuple[bytes, ...]) -> None:
        """Remember what a response varies by."""
        if self._names.get(key, ()) != names:
            with self._lock:
                self._names.pop(key, None)
                self._names[key] = names
                if len(self._names) > MAX_KEYS:
                    del self._names[next(iter(self._names))]
