"""Counts shared by all processes of one machine: exact among them, bounded in number, and gone when it starts anew.

The buckets are those of `memory`, read from a table in shared memory and written back under its lock. The rules of
their own:

- A log keeps times as whole ticks of a length that depends on its longest window, between a microsecond (up to half an
  hour) and 16 ms (a year). A hit is written down at the tick after it and looked at from the tick before now, so that
  rounding never lets more through than the limit.
- The quota is a part of a bucket's name: a bucket is never read under another quota than it was written with.
- A hit that does not get the lock in time is not counted here, and its rule's `on_outage` decides. The next
  one tries again, because a moment's rush is no outage. The event loop is not blocked meanwhile.
- A table whose file was removed (systemd's RemoveIPC does that to `/dev/shm` when a user logs out) is found out within
  a second and opened anew, so that workers of different ages do not count apart. So is one that was closed by a fork.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import struct
from array import array
from pathlib import Path
from typing import Final, NoReturn, TypeAlias, cast

from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import MOST_EXACT, Charge, Quota, StoreDown, Verdict
from launchkit.rate_limit.memory import Counter, Log
from launchkit.stores.table import Address, Table, open_table

logger = logging.getLogger("launchkit")

PATIENCE: Final = 0.25
THREAD_PATIENCE: Final = 1.0
"""Seconds that a hit waits for the table's lock at most: on the event loop, asleep, and in a thread."""

_POLL_SECONDS: Final = 0.001
_LOOK_SECONDS: Final = 1.0
_WARN_SECONDS: Final = 60.0

_BASE: Final = struct.Struct("=Q")
_COUNTS: Final = struct.Struct("=QQQ")
_FURTHEST: Final = 2**32 - 2


class SharedCounter(Counter):
    """A `Counter` as three numbers."""

    __slots__ = ()

    def __init__(self, kind: Kind, payload: bytes, now: float) -> None:
        super().__init__(kind.quota)
        if payload:
            self.index, self.before, self.current = _COUNTS.unpack(payload)

    def dump(self) -> bytes:
        """Return the three numbers."""
        return _COUNTS.pack(self.index, self.before, self.current)


class SharedLog:
    """A `Log` in ticks, as the tick that it counts from and four bytes for each hit."""

    __slots__ = ("_base", "_log", "_tick")

    def __init__(self, kind: Kind, payload: bytes, now: float) -> None:
        self._tick = kind.tick
        self._log = Log(kind.in_ticks)
        times = array("I")
        if payload:
            (self._base,) = _BASE.unpack_from(payload)
            times.frombytes(payload[_BASE.size :])
        else:
            self._base = int(now / self._tick)
        self._log.times = cast("array[float]", times)

    def wait(self, now: float) -> tuple[float, int]:
        """Return the seconds until another hit fits, and the amount of the window to wait for."""
        left, amount = self._log.wait(int(now / self._tick) - self._base)
        return left * self._tick, amount

    def take(self, now: float) -> tuple[int, int, float]:
        """Add a hit; return the remaining hits, amount and seconds to the reset of the tightest window."""
        ticks = now / self._tick
        since_base = int(ticks) - self._base
        if since_base > _FURTHEST:
            since_base = self._move_base(since_base)
        remaining, amount, left = self._log.take(since_base)
        self._log.times[-1] = math.ceil(ticks) - self._base
        return remaining, amount, left * self._tick

    def _move_base(self, since_base: int) -> int:
        """Count from one longest window ago, forgetting what lies before; return how long that is in ticks."""
        longest = int(self._log.quota.longest)
        shift = since_base - longest
        kept = array("I", [int(time) - shift for time in self._log.times if time > shift])
        self._log.times = cast("array[float]", kept)
        self._base += shift
        return longest

    def give_back(self, at: float) -> None:
        """Take away the hit of a time, if it is still known."""
        self._log.give_back(math.ceil(at / self._tick) - self._base)

    def dump(self) -> bytes:
        """Return base and hits, the last ones if one hit named the same bucket more often than there is room for."""
        return _BASE.pack(self._base) + self._log.times[-MOST_EXACT:].tobytes()


SharedBucket: TypeAlias = SharedLog | SharedCounter
"""A bucket that can be written down."""


class Kind:
    """A quota, compiled.

    Raises:
        ValueError: if its hits do not fit into a slot.
    """

    def __init__(self, quota: Quota) -> None:
        if quota.exact and quota.most > MOST_EXACT:
            raise ValueError(f"an exact quota takes at most {MOST_EXACT} hits, not {quota.most}")
        self.quota = quota
        self.tick = 2.0 ** max(-20, math.frexp(quota.longest)[1] - 31)  # so that `longest` has less than 2**31
        windows = tuple((amount, math.ceil(seconds / self.tick)) for amount, seconds in quota.windows)
        self.in_ticks = Quota(windows)
        self.lifetime = quota.longest + self.tick if quota.exact else 2 * quota.longest
        self.bucket: Final[type[SharedBucket]] = SharedLog if quota.exact else SharedCounter
        self.name: Final = f"{quota.exact:d}{quota.windows} ".encode()


kind_of = functools.lru_cache(maxsize=1024)(Kind)


Named: TypeAlias = list[tuple[Address, Kind]]
"""Charges, by where their buckets are and what they are like."""


class MachineLimiter:
    """A `Limiter` for all processes of this machine that are given the same places and number of keys.

    After a fork both sides go on.

    Args:
        places: where the table may be, the best first; see `launchkit.stores.table.places`.
        clock: only its monotonic time is asked, which must be the machine's.
        max_keys: how many buckets are kept; each takes 312 bytes.

    Raises:
        OSError: if there can be no such table here.
    """

    def __init__(self, places: tuple[Path, ...], clock: Clock, max_keys: int) -> None:
        self._places = places
        self._now: Final = clock.monotonic
        self._max_keys = max_keys
        self._warn_at = -math.inf
        self._table: Table | None = open_table(places, max_keys)
        self._look_at = self._now() + _LOOK_SECONDS
        self._closed = False

    def close(self) -> None:
        """Let go of the table; from then on `StoreDown` is raised. The counts stay, for the other processes."""
        self._closed = True
        self._table = None

    def hit(self, charges: tuple[Charge, ...]) -> Verdict:
        """Charge every bucket or none.

        Raises:
            StoreDown: if the table's lock was not to be had in time.
            ValueError: for an exact quota of more than `MOST_EXACT` hits.
        """
        table = self._ready()
        named = _named(table, charges)
        self._lock(table)
        try:
            return self._charge(table, named)
        finally:
            table.unlock()

    def hit_now(self, charges: tuple[Charge, ...]) -> Verdict | None:
        """Charge every bucket or none, unless somebody else has the lock; see `hit`."""
        table = self._ready()
        named = _named(table, charges)
        if not table.try_lock():
            return None
        try:
            return self._charge(table, named)
        finally:
            table.unlock()

    async def ahit(self, charges: tuple[Charge, ...]) -> Verdict:
        """Charge every bucket or none; see `hit`."""
        table = self._ready()
        named = _named(table, charges)
        await self._alock(table)
        try:
            return self._charge(table, named)
        finally:
            table.unlock()

    def refund(self, token: tuple[object, ...]) -> None:
        """Take hits back; those that have expired or were evicted are gone already.

        Raises:
            StoreDown: as for `hit`.
        """
        table = self._ready()
        self._lock(table)
        try:
            self._give_back(table, token)
        finally:
            table.unlock()

    def refund_now(self, token: tuple[object, ...]) -> bool:
        """Take hits back, unless somebody else has the lock; see `refund`."""
        table = self._ready()
        if not table.try_lock():
            return False
        try:
            self._give_back(table, token)
        finally:
            table.unlock()
        return True

    async def arefund(self, token: tuple[object, ...]) -> None:
        """Take hits back; see `refund`."""
        table = self._ready()
        await self._alock(table)
        try:
            self._give_back(table, token)
        finally:
            table.unlock()

    # --- under the lock ----------------------------------------------------------------------------------------------

    def _charge(self, table: Table, named: Named) -> Verdict:
        now = self._now()  # not before the lock: hits must be in the order of their times
        buckets: dict[Address, SharedBucket] = {}
        refused = None
        for index, (address, kind) in enumerate(named):
            if address not in buckets:
                buckets[address] = kind.bucket(kind, table.fetch(address, now), now)
            wait, amount = buckets[address].wait(now)
            if wait > 0 and (refused is None or wait > refused.reset_after):
                refused = Verdict(False, amount, 0, wait, (), index)
        return refused or self._take(table, named, buckets, now)

    @staticmethod
    def _take(table: Table, named: Named, buckets: dict[Address, SharedBucket], now: float) -> Verdict:
        tightest = (-1, 0, 0.0)
        which = 0
        for index, (address, kind) in enumerate(named):
            bucket = buckets[address]
            taken = bucket.take(now)
            if index == 0 or taken[0] < tightest[0]:
                tightest, which = taken, index
            full_until = now + bucket.wait(now)[0] if taken[0] <= 0 else 0.0
            table.store(address, bucket.dump(), now, now + kind.lifetime, full_until)
        remaining, amount, reset_after = tightest
        token = tuple([(address, kind, now) for address, kind in named])
        return Verdict(True, amount, remaining, reset_after, token, which)

    def _give_back(self, table: Table, token: tuple[object, ...]) -> None:
        now = self._now()
        for address, kind, at in cast("tuple[tuple[Address, Kind, float], ...]", token):
            payload = table.fetch(address, now)
            if payload:
                bucket = kind.bucket(kind, payload, now)
                bucket.give_back(at)
                table.store(address, bucket.dump(), now, now + kind.lifetime, 0.0)

    # --- the table and its lock --------------------------------------------------------------------------------------

    def _ready(self) -> Table:
        """Return the table that everybody uses."""
        table = self._table
        now = self._now()
        if now >= self._look_at or (table is not None and table.closed):
            self._look_at = now + _LOOK_SECONDS
            table = self._look(table)
        if table is None:
            raise StoreDown("There is no table of rate limits")
        return table

    def _look(self, table: Table | None) -> Table | None:
        """Open the table anew if it was closed by a fork, or its file removed."""
        if self._closed or (table is not None and not table.closed and table.is_current()):
            if table is not None:
                table.touch()
            return table
        # The old one is not closed here: it goes when the last hit that uses it is done.
        try:
            table = open_table(self._places, self._max_keys, patience=0)
        except OSError as error:
            self._warn(f"cannot be opened ({error})")
            table = None
        self._table = table
        return table

    def _lock(self, table: Table) -> None:
        if not table.try_lock() and not table.lock(THREAD_PATIENCE):
            self._give_up()

    async def _alock(self, table: Table) -> None:
        sleeps = PATIENCE // _POLL_SECONDS
        while not table.try_lock():
            if sleeps <= 0:
                self._give_up()
            sleeps -= 1
            await asyncio.sleep(_POLL_SECONDS)

    def _give_up(self) -> NoReturn:
        self._warn("was locked for too long")
        raise StoreDown("The table of rate limits is locked")

    def _warn(self, what: str) -> None:
        now = self._now()
        if now >= self._warn_at:
            self._warn_at = now + _WARN_SECONDS
            logger.warning("The table of rate limits %s; such hits are counted as their rules' on_outage says.", what)


def _named(table: Table, charges: tuple[Charge, ...]) -> Named:
    named: Named = []
    for key, quota in charges:
        kind = kind_of(quota)
        named.append((table.address(kind.name + key.encode("utf-8", "surrogatepass")), kind))
    return named
