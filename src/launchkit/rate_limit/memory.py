"""Counts in this process: bounded in number, exact among threads, and indifferent to the time of day.

The rules:

- An exact bucket keeps the times of its hits: a limit of n in w seconds is never exceeded in any w seconds. It is
  exhausted when the n-th hit from the end is younger than w, which takes one look whatever n is.
- A hit on several buckets takes from all or from none.
- At the cap a bucket that is at its limit outlives every one that is not: flooding the table with new keys does not
  wipe out what holds an attacker back. Among equals the one looked at longest ago goes first.
- Each new bucket pays for looking at two old ones, so that expired ones go without a sweep.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_right
from collections import OrderedDict
from typing import Final, Protocol, cast

from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import Charge, Quota, Verdict


class Bucket(Protocol):
    """What is known under one key."""

    def wait(self, now: float) -> tuple[float, int]:
        """Return the seconds until another hit fits, 0.0 if one does now, and the amount of the window to wait for."""
        ...

    def take(self, now: float) -> tuple[int, int, float]:
        """Add a hit; return the remaining hits, amount and seconds to the reset of the tightest window."""
        ...

    def give_back(self, at: float) -> None:
        """Take away the hit of a time, if it is still known."""
        ...

    def is_empty(self, now: float) -> bool:
        """Tell whether nothing here matters any more."""
        ...


class Log:
    """The times of the last hits (a sliding log)."""

    __slots__ = ("quota", "times")

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self.times: array[float] = array("d")

    def wait(self, now: float) -> tuple[float, int]:
        """Look at the n-th hit from the end for each window of n."""
        times = self.times
        size = len(times)
        longest, exhausted = 0.0, 0
        for amount, seconds in self.quota.windows:
            if size < amount:
                break  # the further windows take more
            left = times[-amount] + seconds - now
            if left > longest:
                longest, exhausted = left, amount
        return longest, exhausted

    def take(self, now: float) -> tuple[int, int, float]:
        """Add a hit, and forget those that no window reaches."""
        times = self.times
        windows = self.quota.windows
        amount, seconds = windows[-1]
        oldest = now - seconds
        while times and times[0] <= oldest:
            del times[0]
        times.append(now)
        size = len(times)
        tightest = (amount - size, amount, times[0] + seconds - now)
        for amount, seconds in windows[:-1]:
            first = bisect_right(times, now - seconds)
            remaining = amount - size + first
            if remaining < tightest[0]:
                tightest = (remaining, amount, times[first] + seconds - now)
        return tightest

    def give_back(self, at: float) -> None:
        """Take one hit of that time away."""
        if at in self.times:
            self.times.remove(at)

    def is_empty(self, now: float) -> bool:
        """Tell whether the last hit has left the longest window."""
        return not self.times or self.times[-1] <= now - self.quota.longest


class Counter:
    """Hits in the current fixed window and in the one before (a sliding-window counter)."""

    __slots__ = ("before", "current", "index", "quota")

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self.index = 0
        self.before = self.current = 0

    def wait(self, now: float) -> tuple[float, int]:
        """Weigh the window before by how much of it still counts."""
        ((amount, seconds),) = self.quota.windows
        elapsed = self._move_to(now / seconds)
        if self.before * (1 - elapsed) + self.current + 1 <= amount:
            return 0.0, 0
        if self.current < amount:  # before long enough of the window before has gone by
            return (1 - (amount - 1 - self.current) / self.before - elapsed) * seconds, amount
        return (2 - (amount - 1) / self.current - elapsed) * seconds, amount

    def take(self, now: float) -> tuple[int, int, float]:
        """Count a hit in the current window."""
        ((amount, seconds),) = self.quota.windows
        elapsed = self._move_to(now / seconds)
        self.current += 1
        weighed = self.before * (1 - elapsed) + self.current
        return max(0, int(amount - weighed)), amount, (1 - elapsed) * seconds

    def give_back(self, at: float) -> None:
        """Take one hit away from the window of that time."""
        age = self.index - int(at / self.quota.longest)
        if age == 0:
            self.current = max(0, self.current - 1)
        elif age == 1:
            self.before = max(0, self.before - 1)

    def is_empty(self, now: float) -> bool:
        """Tell whether both windows are over."""
        self._move_to(now / self.quota.longest)
        return self.before == self.current == 0

    def _move_to(self, position: float) -> float:
        """Make the window at `position`, counted in windows, the current one; return how much of it has gone by."""
        index = int(position)
        if index != self.index:
            self.before = self.current if index == self.index + 1 else 0
            self.current = 0
            self.index = index
        return position - index


class MemoryLimiter:
    """A `Limiter` of at most `max_keys` buckets. Safe among threads; never blocks on anything but its own lock.

    Args:
        clock: only its monotonic time is asked.
        max_keys: how many buckets are kept.
    """

    def __init__(self, clock: Clock, max_keys: int) -> None:
        self._now: Final = clock.monotonic
        self._max_keys = max_keys
        self._lock = threading.Lock()
        self._cool: OrderedDict[str, Bucket] = OrderedDict()  # a dict would find its oldest only past all deleted ones
        self._full: OrderedDict[str, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._cool) + len(self._full)

    def hit(self, charges: tuple[Charge, ...]) -> Verdict:
        """Charge every bucket or none."""
        with self._lock:
            now = self._now()
            refused = None
            for index, charge in enumerate(charges):
                bucket = self._cool.get(charge.key) or self._full.get(charge.key)
                if bucket is not None:
                    wait, amount = bucket.wait(now)
                    if wait > 0 and (refused is None or wait > refused.reset_after):
                        refused = Verdict(False, amount, 0, wait, (), index)
            return refused or self._take(charges, now)

    def _take(self, charges: tuple[Charge, ...], now: float) -> Verdict:
        tightest = (-1, 0, 0.0)
        which = 0
        for index, charge in enumerate(charges):
            bucket = self._cool.get(charge.key) or self._full.get(charge.key) or self._new(charge, now)
            taken = bucket.take(now)
            if index == 0 or taken[0] < tightest[0]:
                tightest, which = taken, index
            self._sort(charge.key, bucket, full=taken[0] == 0)
        remaining, amount, reset_after = tightest
        return Verdict(True, amount, remaining, reset_after, tuple([(charge.key, now) for charge in charges]), which)

    hit_now = hit

    async def ahit(self, charges: tuple[Charge, ...]) -> Verdict:
        """Charge every bucket or none."""
        return self.hit(charges)

    def refund(self, token: tuple[object, ...]) -> None:
        """Take hits back; those that have expired or were evicted are gone already."""
        with self._lock:
            for key, at in cast("tuple[tuple[str, float], ...]", token):
                bucket = self._full.get(key) or self._cool.get(key)
                if bucket is not None:
                    bucket.give_back(at)
                    self._sort(key, bucket, full=False)

    async def arefund(self, token: tuple[object, ...]) -> None:
        """Take hits back."""
        self.refund(token)

    def refund_now(self, token: tuple[object, ...]) -> bool:
        """Take hits back."""
        self.refund(token)
        return True

    def _sort(self, key: str, bucket: Bucket, *, full: bool) -> None:
        table, other = (self._full, self._cool) if full else (self._cool, self._full)
        if key not in table:
            other.pop(key, None)
            table[key] = bucket

    def _new(self, charge: Charge, now: float) -> Bucket:
        self._make_room(now)
        bucket: Bucket = Log(charge.quota) if charge.quota.exact else Counter(charge.quota)
        self._cool[charge.key] = bucket
        return bucket

    def _make_room(self, now: float) -> None:
        if self._full:
            self._look_at_oldest(self._full, now)
        if self._cool and len(self) < self._max_keys:
            self._look_at_oldest(self._cool, now)
        while len(self) >= self._max_keys:
            (self._cool or self._full).popitem(last=False)

    def _look_at_oldest(self, table: OrderedDict[str, Bucket], now: float) -> None:
        key, bucket = table.popitem(last=False)
        if not bucket.is_empty(now):
            target = self._full if bucket.wait(now)[0] > 0 else self._cool
            target[key] = bucket
