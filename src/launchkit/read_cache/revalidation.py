"""Which stale entries are being fetched anew: one request each, while others are given the stale response.

The rules: a lease ends when its request does, and after `LEASE_SECONDS` whatever happened to that request; a request
that outlived its lease ends nobody else's; at most `MAX_LEASES` are held, and beyond that stale responses are given
without fetching anew.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

LEASE_SECONDS: Final = 5.0
"""Seconds after which another request may try."""
MAX_LEASES: Final = 10_000
"""Entries that are fetched anew at the same time."""


@dataclass(frozen=True, slots=True, eq=False)
class Lease:
    """The right to fetch one entry anew, up to a time in seconds of the kit's monotonic clock."""

    entry: Hashable
    until: float


class Revalidations:
    """The leases that are held. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._leases: dict[Hashable, Lease] = {}  # oldest first, so that those that ran out are in front

    def __len__(self) -> int:
        return len(self._leases)

    def begin(self, entry: Hashable, now: float) -> Lease | None:
        """Take the lease of `entry`; None if another request holds it or too many are held."""
        with self._lock:
            self._forget_until(now)
            if entry in self._leases or len(self._leases) >= MAX_LEASES:
                return None
            lease = self._leases[entry] = Lease(entry, now + LEASE_SECONDS)
            return lease

    def end(self, lease: Lease) -> None:
        """Give a lease back; it may have run out, and may be another's by now."""
        with self._lock:
            if self._leases.get(lease.entry) is lease:
                del self._leases[lease.entry]

    def _forget_until(self, now: float) -> None:
        while self._leases:
            oldest = next(iter(self._leases.values()))
            if oldest.until > now:
                return
            del self._leases[oldest.entry]
