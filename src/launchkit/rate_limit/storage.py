"""The bounded counts of `memory` for apps that use the `limits` package: slowapi, Flask-Limiter, code of their own.

Once this module is imported, `limits` knows `launchkit+memory://`, and `async+launchkit+memory://` for its asyncio
strategies. All three strategies run on either. What that gives beyond the memory storage that comes with `limits`:

- At most `max_keys` keys are kept, and a key at its limit outlives every one that is not, so that a flood of made-up
  keys neither fills the memory nor frees whom a limit holds back.
- A limit is exact among threads, and what counts is a monotonic clock: setting the time neither frees anybody nor locks
  anybody out. The time of day is asked only for the reset times that `limits` tells.
- No timer, thread or sweep: each new key pays for looking at two old ones.

A key belongs to one limit, as the strategies' keys do. The fixed window's hits come without their limit; it is read
off the key's end, where `RateLimitItem.key_for` has put it. A key that ends otherwise counts as below its limit.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache
from typing import Final, Protocol, TypeVar
from urllib.parse import parse_qsl, urlsplit

from limits.aio import storage as aio
from limits.errors import ConfigurationError
from limits.storage import MovingWindowSupport, SlidingWindowCounterSupport, Storage

from launchkit.pipeline.clock import Clock, SystemClock
from launchkit.pipeline.effects import Quota
from launchkit.rate_limit.memory import Bucket, Counter, Log, MemoryLimiter

MAX_KEYS: Final = 100_000

_MOVING, _SLIDING, _FIXED = "moving:", "sliding:", "fixed:"  # one limit may be used with several strategies


class _Window(Bucket, Protocol):
    """A bucket for hits that cost more than one."""

    def __init__(self, quota: Quota) -> None: ...

    def fits(self, cost: int, now: float) -> bool:
        """Tell whether a hit of that cost is within the limit."""
        ...


WindowT = TypeVar("WindowT", bound=_Window)
T = TypeVar("T")


class _MovingWindow(Log):
    __slots__ = ()

    def fits(self, cost: int, now: float) -> bool:
        """Look at the hit that must have left the window by now."""
        ((amount, seconds),) = self.quota.windows
        last = amount - cost + 1
        return last > 0 and (len(self.times) < last or self.times[-last] + seconds <= now)

    def used(self, now: float) -> tuple[float, int]:
        """Return the age of the oldest hit in the window, and how many there are."""
        first = bisect_right(self.times, now - self.quota.longest)
        count = len(self.times) - first
        return (now - self.times[first] if count else 0.0), count


class _SlidingWindow(Counter):
    __slots__ = ()

    def fits(self, cost: int, now: float) -> bool:
        """Round the weighed count down, as the strategy's `test` and `get_window_stats` do."""
        ((amount, seconds),) = self.quota.windows
        elapsed = self._move_to(now / seconds)
        return int(self.before * (1 - elapsed) + self.current) + cost <= amount

    def counts(self, now: float) -> tuple[int, float, int, float]:
        """Return the count of the window before and the seconds for which it matters, then those of the current one."""
        seconds = self.quota.longest
        left = (1 - self._move_to(now / seconds)) * seconds
        return self.before, left if self.before else 0.0, self.current, left + seconds


class _FixedWindow(Bucket):
    """Begins with its first hit. Counts what is over the limit too, which the strategy compares."""

    __slots__ = ("count", "ends", "quota")

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self.count = 0
        self.ends = 0.0

    def fits(self, cost: int, now: float) -> bool:
        return True

    def wait(self, now: float) -> tuple[float, int]:
        return (self.ends - now if self.count >= self.quota.most else 0.0), self.quota.most

    def take(self, now: float) -> tuple[int, int, float]:
        if now >= self.ends:
            self.count, self.ends = 0, now + self.quota.longest
        self.count += 1
        return self.quota.most - self.count, self.quota.most, self.ends - now

    def give_back(self, at: float) -> None:
        """Do nothing: times of hits are not known here."""

    def is_empty(self, now: float) -> bool:
        return now >= self.ends

    def used(self, now: float) -> tuple[float, int]:
        """Return the seconds to the window's end, and how many hits there are."""
        return (0.0, 0) if now >= self.ends else (self.ends - now, self.count)


class _Windows(MemoryLimiter):
    def acquire(self, key: str, kind: type[WindowT], quota: Quota, cost: int) -> tuple[int, int, float] | None:
        """Charge all of the cost and return what the last hit did, or charge nothing and return None."""
        with self._lock:
            now = self._now()
            known = self._cool.get(key) or self._full.get(key)
            window = known if isinstance(known, kind) else kind(quota)
            if not window.fits(cost, now):
                return None
            if window is not known:
                self._make_room(now)
                self._cool[key] = window
            taken = window.take(now)
            for _ in range(cost - 1):
                taken = window.take(now)
            self._sort(key, window, full=taken[0] <= 0)
            return taken

    def look(self, key: str, kind: type[WindowT], ask: Callable[[WindowT, float], T]) -> T | None:
        """Ask a window something, None if there is none."""
        with self._lock:
            window = self._cool.get(key) or self._full.get(key)
            return ask(window, self._now()) if isinstance(window, kind) else None

    def forget(self, key: str) -> None:
        """Drop a window."""
        with self._lock:
            self._cool.pop(key, None)
            self._full.pop(key, None)

    def forget_all(self) -> int:
        """Drop every window and return how many there were."""
        with self._lock:
            count = len(self)
            self._cool.clear()
            self._full.clear()
            return count


class BoundedMemoryStorage(Storage, MovingWindowSupport, SlidingWindowCounterSupport):
    """A storage of `limits` in this process. Safe among threads.

    Args:
        uri: `launchkit+memory://`, or `launchkit+memory://?max_keys=10000`.
        wrap_exceptions: of no effect: nothing here fails.
        max_keys: how many keys are kept; goes before the URI's.
        clock: another clock than the machine's.

    Raises:
        ConfigurationError: if `max_keys` is not a whole number above 0, or the URI has anything else.
    """

    STORAGE_SCHEME = ["launchkit+memory"]  # noqa: RUF012  # as the class that it overrides has it

    def __init__(
        self,
        uri: str | None = None,
        wrap_exceptions: bool = False,
        *,
        max_keys: int | str | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(uri, wrap_exceptions)
        self._clock = clock or SystemClock()
        self._windows = _Windows(self._clock, _max_keys(uri, max_keys))

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """None: memory is never down."""
        return ()

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Charge `amount` hits to a moving window of `expiry` seconds, all or none; tell whether they fit."""
        if amount < 1:
            return True
        return self._windows.acquire(_MOVING + key, _MovingWindow, _quota(limit, expiry), amount) is not None

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Return the Unix time of the oldest hit in the window, and how many hits there are."""
        age, count = self._windows.look(_MOVING + key, _MovingWindow, _MovingWindow.used) or (0.0, 0)
        return self._clock.time() - age, count

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Charge `amount` hits to a sliding-window counter of `expiry` seconds, all or none; tell whether they fit."""
        if amount < 1:
            return True
        return self._windows.acquire(_SLIDING + key, _SlidingWindow, _quota(limit, expiry), amount) is not None

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Return the count of the window before and the seconds for which it matters, then those of the current one."""
        return self._windows.look(_SLIDING + key, _SlidingWindow, _SlidingWindow.counts) or (0, 0.0, 0, 0.0)

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Forget a key's sliding-window counter."""
        self._windows.forget(_SLIDING + key)

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count `amount` hits in a fixed window of `expiry` seconds and return how many it has then."""
        if amount < 1:
            return self.get(key)
        taken = self._windows.acquire(_FIXED + key, _FixedWindow, _quota(_limit_in(key), expiry), amount)
        return 0 if taken is None else taken[1] - taken[0]

    def get(self, key: str) -> int:
        """Return how many hits the key's fixed window has."""
        return self._fixed(key)[1]

    def get_expiry(self, key: str) -> float:
        """Return the Unix time at which the key's fixed window ends; now if there is none."""
        return self._clock.time() + self._fixed(key)[0]

    def _fixed(self, key: str) -> tuple[float, int]:
        return self._windows.look(_FIXED + key, _FixedWindow, _FixedWindow.used) or (0.0, 0)

    def check(self) -> bool:
        """Tell that the storage is in order."""
        return True

    def reset(self) -> int:
        """Forget everything and return how many keys there were."""
        return self._windows.forget_all()

    def clear(self, key: str) -> None:
        """Forget a key, whichever strategy has counted it."""
        for kind in (_MOVING, _SLIDING, _FIXED):
            self._windows.forget(kind + key)


class AsyncBoundedMemoryStorage(aio.Storage, aio.MovingWindowSupport, aio.SlidingWindowCounterSupport):
    """The same for the strategies in `limits.aio`. A call takes microseconds and never waits.

    Arguments are those of `BoundedMemoryStorage`.
    """

    STORAGE_SCHEME = ["async+launchkit+memory"]  # noqa: RUF012  # as the class that it overrides has it

    def __init__(
        self,
        uri: str | None = None,
        wrap_exceptions: bool = False,
        *,
        max_keys: int | str | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(uri, wrap_exceptions)
        self._storage = BoundedMemoryStorage(uri, max_keys=max_keys, clock=clock)

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """None: memory is never down."""
        return ()

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """See `BoundedMemoryStorage.acquire_entry`."""
        return self._storage.acquire_entry(key, limit, expiry, amount)

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """See `BoundedMemoryStorage.get_moving_window`."""
        return self._storage.get_moving_window(key, limit, expiry)

    async def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """See `BoundedMemoryStorage.acquire_sliding_window_entry`."""
        return self._storage.acquire_sliding_window_entry(key, limit, expiry, amount)

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """See `BoundedMemoryStorage.get_sliding_window`."""
        return self._storage.get_sliding_window(key, expiry)

    async def clear_sliding_window(self, key: str, expiry: int) -> None:
        """See `BoundedMemoryStorage.clear_sliding_window`."""
        self._storage.clear_sliding_window(key, expiry)

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """See `BoundedMemoryStorage.incr`."""
        return self._storage.incr(key, expiry, amount)

    async def get(self, key: str) -> int:
        """See `BoundedMemoryStorage.get`."""
        return self._storage.get(key)

    async def get_expiry(self, key: str) -> float:
        """See `BoundedMemoryStorage.get_expiry`."""
        return self._storage.get_expiry(key)

    async def check(self) -> bool:
        """See `BoundedMemoryStorage.check`."""
        return self._storage.check()

    async def reset(self) -> int:
        """See `BoundedMemoryStorage.reset`."""
        return self._storage.reset()

    async def clear(self, key: str) -> None:
        """See `BoundedMemoryStorage.clear`."""
        self._storage.clear(key)


@lru_cache(maxsize=1024)
def _quota(limit: int, expiry: int) -> Quota:
    return Quota(((limit, expiry),))


def _limit_in(key: str) -> int:
    """Return the amount in a key that ends with amount, multiples and granularity."""
    try:
        return int(key.rsplit("/", 3)[1])
    except (IndexError, ValueError):
        return sys.maxsize


def _max_keys(uri: str | None, given: int | str | None) -> int:
    options = dict(parse_qsl(urlsplit(uri or "").query, keep_blank_values=True))
    found = str(options.pop("max_keys", MAX_KEYS) if given is None else given)
    if options.keys() - {"max_keys"} or not (found.isdecimal() and int(found) > 0):
        raise ConfigurationError(f"{uri or 'launchkit+memory://'} takes max_keys, a whole number above 0, and no more")
    return int(found)
