"""Stored responses in this process's memory, least recently used ones given up first.

The rules:

- The budget is bytes, not entries, and counts what CPython spends on the objects around the bytes too. All variants of
  a key are one entry, given up together; of too many or too large ones the oldest go; what would not fit even alone is
  ignored.
- A variant whose names were invalidated since its look-up is not given (see `launchkit.stores.marks`). It is dropped
  when it is met, and so is one past its last use. One with a validator is kept for some time after that, because the
  app may confirm it (RFC 9111 section 4.3).
- A fresh response that answers every request for its key is given together with the moment of the look-up that it came
  from: had one of its names been invalidated since, it would not be given. So most hits take no moment, which makes
  them a third cheaper.
- cachetools is not safe from several threads, hence the lock. Nothing is done under it but to read and write memory, so
  that it never keeps the event loop waiting. Whatever breaks in the midst of a change (no memory, a signal) empties the
  cache: its accounts would be wrong from then on.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, NamedTuple, cast

from cachetools import LRUCache

from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import CacheKey, Fetched, InstantResponseStore, Names, StoredResponse
from launchkit.pipeline.exchange import Exchange
from launchkit.read_cache.variants import MAX_VARIANTS, answers, is_replaced_by
from launchkit.stores.marks import Marks

KEEP_SECONDS: Final = 600.0
"""For which a variant with a validator is kept after its last use."""

_VALIDATORS: Final = frozenset({b"etag", b"last-modified"})
_LOOK_SECONDS: Final = 1.0

# What CPython 3.11 spends on the objects themselves, so that the process grows by what is accounted, within 5 %.
_ENTRY_BYTES: Final = 660
_VARIANT_BYTES: Final = 680
_FIELD_BYTES: Final = 160
_ITEM_BYTES: Final = 48


@dataclass(frozen=True, slots=True)
class MemoryFigures:
    """How the memory is used. Counts are since the start."""

    hits: int
    """Look-ups that found a variant, fresh or not."""
    misses: int
    evictions: int
    """Keys given up to make room."""
    keys: int
    bytes: int
    """Bytes in use, overhead included; never more than the budget."""
    budget: int


class _Variant(NamedTuple):
    fetched: Fetched
    """The response, and the moment of its look-up."""
    indexes: tuple[int, ...]
    """Of its names among the marks."""
    moment: int
    answers_all_until: float
    """While it is fresh, if it does not vary."""
    kept_until: float
    size: int


class _Entry(NamedTuple):
    variants: tuple[_Variant, ...]
    """The newest first."""
    size: int


class MemoryResponses(InstantResponseStore):
    """Keeps responses up to a budget. Safe from any thread.

    Args:
        size: the budget in bytes.
        clock: the kit's.
        marks: when names were invalidated.
    """

    def __init__(self, size: int, clock: Clock, marks: Marks) -> None:
        self._now: Final = clock.monotonic
        self._marks: Final = marks
        self._is_current: Final = marks.is_current
        self._look_at = clock.monotonic() + _LOOK_SECONDS
        self._budget: Final = size
        self._lock: Final = threading.Lock()
        self._acquire: Final = self._lock.acquire
        self._release: Final = self._lock.release
        self._entries = _no_entries(size)
        self._hits = self._misses = self._evictions = 0

    def fetch_now(self, key: CacheKey, request: Exchange) -> Fetched:
        """Return the newest variant under a key that answers a request and was not invalidated. Never waits."""
        now = self._now()
        if now >= self._look_at:  # which the marks do when they are asked for a moment, and hits do not ask
            self._look_at = now + _LOOK_SECONDS
            self._marks.moment()
        variants: tuple[_Variant, ...] = ()
        self._acquire()  # takes half as long as `with`
        try:
            variants = self._entries[key].variants
            fetched, indexes, moment, answers_all_until, _, _ = variants[0]
            if now < answers_all_until and self._is_current(indexes, moment):
                self._hits += 1
                return fetched
        except KeyError:
            pass
        finally:
            self._release()
        return self._select(key, variants, request, now)

    def _select(self, key: CacheKey, variants: tuple[_Variant, ...], request: Exchange, now: float) -> Fetched:
        moment = self._marks.moment()
        found = None
        for variant in variants:
            response = _response(variant)
            if answers(response, request):
                if self._is_alive(variant, now):
                    found = response
                    break
                self._drop_dead(key, variants, now)
        with self._lock:
            if found is None:
                self._misses += 1
            else:
                self._hits += 1
        return Fetched(found, moment)

    def store_now(self, key: CacheKey, response: StoredResponse, names: Names, moment: object) -> bool:
        """Keep one variant under a key, unless one of its names was invalidated since the look-up. Never waits."""
        looked_up = cast("int", moment)  # as `fetch_now` gave it
        indexes = tuple([self._marks.index(name) for name in names])
        if self._is_current(indexes, looked_up):
            new = _variant(response, indexes, looked_up)
            now = self._now()
            with self._lock:
                others = [
                    one
                    for one in self._variants(key)
                    if self._is_alive(one, now) and not is_replaced_by(_response(one), response)
                ]
                self._put(key, (new, *others))
        return True

    def invalidate_now(self, names: Names) -> bool:
        """Let nothing of these names be used again that was looked up before now. Never waits."""
        self._marks.mark(names)
        return True

    def invalidate_soon(self, names: Names) -> None:
        """Do `invalidate_now`."""
        self._marks.mark(names)

    def moment(self) -> int:
        """Return the moment of a look-up that is not made."""
        return self._marks.moment()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries = _no_entries(self._budget)

    def figures(self) -> MemoryFigures:
        """Return the counts and the use of memory as of one moment."""
        with self._lock:
            return MemoryFigures(
                hits=self._hits,
                misses=self._misses,
                evictions=self._evictions,
                keys=len(self._entries),
                bytes=int(self._entries.currsize),
                budget=self._budget,
            )

    # --- the verbs of both colours -----------------------------------------------------------------------------------

    def fetch(self, key: CacheKey, request: Exchange) -> Fetched:
        """Do `fetch_now`."""
        return self.fetch_now(key, request)

    async def afetch(self, key: CacheKey, request: Exchange) -> Fetched:
        """Do `fetch_now`."""
        return self.fetch_now(key, request)

    def store(self, key: CacheKey, response: StoredResponse, names: Names, moment: object) -> None:
        """Do `store_now`."""
        self.store_now(key, response, names, moment)

    async def astore(self, key: CacheKey, response: StoredResponse, names: Names, moment: object) -> None:
        """Do `store_now`."""
        self.store_now(key, response, names, moment)

    def invalidate(self, names: Names) -> None:
        """Do `invalidate_now`."""
        self.invalidate_now(names)

    async def ainvalidate(self, names: Names) -> None:
        """Do `invalidate_now`."""
        self.invalidate_now(names)

    # --- variants, and under the lock, entries -----------------------------------------------------------------------

    def _is_alive(self, variant: _Variant, now: float) -> bool:
        return now < variant.kept_until and self._is_current(variant.indexes, variant.moment)

    def _drop_dead(self, key: CacheKey, variants: tuple[_Variant, ...], now: float) -> None:
        with self._lock:
            if self._variants(key) is variants:
                self._put(key, tuple([one for one in variants if self._is_alive(one, now)]))

    def _variants(self, key: CacheKey) -> tuple[_Variant, ...]:
        try:
            return self._entries[key].variants
        except KeyError:
            return ()

    def _put(self, key: CacheKey, variants: tuple[_Variant, ...]) -> None:
        entries = self._entries
        try:
            if not variants:
                del entries[key]
                return
            entry = _entry(key, variants, self._budget)
            if entry.size <= self._budget:
                before = len(entries) + (key not in entries)
                entries[key] = entry
                self._evictions += before - len(entries)
        except BaseException:
            self._entries = _no_entries(self._budget)
            raise


def _response(variant: _Variant) -> StoredResponse:
    return cast("StoredResponse", variant.fetched.response)


def _variant(response: StoredResponse, indexes: tuple[int, ...], moment: int) -> _Variant:
    kept_until = max(response.fresh_until, response.stale_until, response.error_until)
    if any(name.lower() in _VALIDATORS for name, _ in response.headers):
        kept_until += KEEP_SECONDS
    fields = sum([len(name) + len(value) + _FIELD_BYTES for name, value in response.headers])
    varied = sum([len(value or b"") + _ITEM_BYTES for value in (*response.vary, *response.varied)])
    return _Variant(
        fetched=Fetched(response, moment),
        indexes=indexes,
        moment=moment,
        answers_all_until=-math.inf if response.vary else response.fresh_until,
        kept_until=kept_until,
        size=_VARIANT_BYTES + len(response.body) + fields + varied + len(indexes) * _ITEM_BYTES,
    )


def _no_entries(budget: int) -> LRUCache[CacheKey, _Entry]:
    return LRUCache(budget, getsizeof=attrgetter("size"))


def _entry(key: CacheKey, variants: tuple[_Variant, ...], budget: int) -> _Entry:
    """Return the entry of the newest variants that fit into the budget together; of one, if it does not fit at all."""
    size = _ENTRY_BYTES + sum(map(len, key)) + variants[0].size
    kept = 1
    for variant in variants[1:MAX_VARIANTS]:
        if size + variant.size > budget:
            break
        size += variant.size
        kept += 1
    return _Entry(variants[:kept], size)
