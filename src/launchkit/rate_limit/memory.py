"""Counts in this process: an exact sliding log for each bucket, bounded in number.

The rules:

- A bucket holds the times of the hits within its window: a limit of n in w seconds is never exceeded in any w seconds.
- A hit on several buckets takes from all or from none.
- At the cap a bucket that is at its limit outlives every one that is not: flooding the table with new keys does not
  wipe out what holds an attacker back. Among equals the one looked at longest ago goes first.
- Each new bucket pays for looking at two old ones, so that expired ones go without a sweep.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import cast

from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import Charge, Verdict


class _Bucket:
    __slots__ = ("limit", "times", "window")

    def __init__(self, charge: Charge) -> None:
        self.limit = charge.limit
        self.window = charge.window
        self.times: deque[float] = deque()

    def expire(self, now: float) -> None:
        times = self.times
        oldest = now - self.window
        while times and times[0] <= oldest:
            times.popleft()

    @property
    def is_full(self) -> bool:
        return len(self.times) >= self.limit


class MemoryLimiter:
    """A `Limiter` of at most `max_keys` buckets. Safe among threads; never blocks on anything but its own lock."""

    def __init__(self, clock: Clock, max_keys: int) -> None:
        self._now = clock.monotonic
        self._max_keys = max_keys
        self._lock = threading.Lock()
        self._cool: dict[str, _Bucket] = {}
        self._full: dict[str, _Bucket] = {}

    def __len__(self) -> int:
        return len(self._cool) + len(self._full)

    def hit(self, charges: tuple[Charge, ...]) -> Verdict:
        """Charge every bucket or none."""
        with self._lock:
            now = self._now()
            for charge in charges:
                bucket = self._find(charge.key, now)
                if bucket is not None and bucket.is_full:
                    return Verdict(False, charge.limit, 0, bucket.times[0] + charge.window - now)
            return self._take(charges, now)

    def _take(self, charges: tuple[Charge, ...], now: float) -> Verdict:
        buckets = [self._charge(charge, now) for charge in charges]
        tightest = min(buckets, key=lambda bucket: bucket.limit - len(bucket.times))
        remaining = tightest.limit - len(tightest.times)
        token = tuple((charge.key, now) for charge in charges)
        return Verdict(True, tightest.limit, remaining, tightest.times[0] + tightest.window - now, token)

    async def ahit(self, charges: tuple[Charge, ...]) -> Verdict:
        """Charge every bucket or none."""
        return self.hit(charges)

    def refund(self, token: tuple[object, ...]) -> None:
        """Take hits back; those that have expired or were evicted are gone already."""
        with self._lock:
            for key, time in cast("tuple[tuple[str, float], ...]", token):
                bucket = self._full.get(key) or self._cool.get(key)
                if bucket is not None and time in bucket.times:
                    bucket.times.remove(time)
                    self._cool_down(key, bucket)

    async def arefund(self, token: tuple[object, ...]) -> None:
        """Take hits back."""
        self.refund(token)

    def _charge(self, charge: Charge, now: float) -> _Bucket:
        bucket = self._find(charge.key, now) or self._new(charge, now)
        bucket.times.append(now)
        if bucket.is_full:
            self._full[charge.key] = self._cool.pop(charge.key)
        return bucket

    def _find(self, key: str, now: float) -> _Bucket | None:
        bucket = self._full.get(key) or self._cool.get(key)
        if bucket is not None:
            bucket.expire(now)
            self._cool_down(key, bucket)
        return bucket

    def _cool_down(self, key: str, bucket: _Bucket) -> None:
        if not bucket.is_full and key in self._full:
            self._cool[key] = self._full.pop(key)

    def _new(self, charge: Charge, now: float) -> _Bucket:
        for table in (self._cool, self._full):
            if table:
                self._look_at_oldest(table, now)
        while len(self) >= self._max_keys:
            table = self._cool or self._full
            del table[next(iter(table))]
        bucket = self._cool[charge.key] = _Bucket(charge)
        return bucket

    @staticmethod
    def _look_at_oldest(table: dict[str, _Bucket], now: float) -> None:
        key = next(iter(table))
        bucket = table.pop(key)
        bucket.expire(now)
        if bucket.times:
            table[key] = bucket
