"""Stored responses in this process's memory, least recently used ones given up first.

The rules: the budget is bytes, not entries, and counts the Python objects around the bytes too; all variants of a key
are one entry, given up together; what would not fit even alone is ignored; a variant past its last use is dropped when
it is met. cachetools is not safe from several threads, hence the lock, which is held for dictionary work only and so
never keeps the event loop waiting.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

from cachetools import LRUCache

from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import ResponseStore, StoredResponse
from launchkit.read_cache.key import with_variant

# What CPython spends on the objects themselves, measured with tracemalloc on 3.11 and rounded up.
_ENTRY_BYTES: Final = 450
_VARIANT_BYTES: Final = 300
_FIELD_BYTES: Final = 150


@dataclass(frozen=True, slots=True)
class MemoryFigures:
    """How the memory is used. Counts are since the start."""

    hits: int
    """Look-ups that found a key."""
    misses: int
    evictions: int
    """Keys given up to make room."""
    keys: int
    bytes: int
    """Bytes in use, overhead included; never more than the budget."""


@dataclass(frozen=True, slots=True)
class _Entry:
    variants: tuple[StoredResponse, ...]
    size: int


class MemoryResponses(ResponseStore):
    """Keeps responses up to a budget of `size` bytes. Safe from any thread."""

    def __init__(self, size: int, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: LRUCache[bytes, _Entry] = LRUCache(size, getsizeof=lambda entry: entry.size)
        self._hits = self._misses = self._evictions = 0

    def fetch(self, key: bytes) -> tuple[StoredResponse, ...]:
        """Return the variants under `key` that may still be used, newest first."""
        with self._lock:
            variants = self._usable(key)
            if variants:
                self._hits += 1
            else:
                self._misses += 1
            return variants

    async def afetch(self, key: bytes) -> tuple[StoredResponse, ...]:
        """Do `fetch`, which never waits."""
        return self.fetch(key)

    def store(self, key: bytes, response: StoredResponse) -> None:
        """Keep one variant under `key`."""
        with self._lock:
            entry = _entry(key, with_variant(self._usable(key), response), self._entries.maxsize)
            if entry.size <= self._entries.maxsize:
                before = len(self._entries) + (key not in self._entries)
                self._entries[key] = entry
                self._evictions += before - len(self._entries)

    async def astore(self, key: bytes, response: StoredResponse) -> None:
        """Do `store`, which never waits."""
        self.store(key, response)

    def figures(self) -> MemoryFigures:
        """Return the counts and the use of memory as of one moment."""
        with self._lock:
            return MemoryFigures(
                hits=self._hits,
                misses=self._misses,
                evictions=self._evictions,
                keys=len(self._entries),
                bytes=int(self._entries.currsize),
            )

    def _usable(self, key: bytes) -> tuple[StoredResponse, ...]:
        try:
            variants = self._entries[key].variants
        except KeyError:
            return ()
        now = self._clock.monotonic()
        usable = tuple(variant for variant in variants if variant.stale_until > now)
        if not usable:
            del self._entries[key]
        return usable


def _entry(key: bytes, variants: tuple[StoredResponse, ...], limit: float) -> _Entry:
    """Return the entry, without its oldest variants where all together would be over the limit."""
    size = _ENTRY_BYTES + len(key) + sum(_size_of(variant) for variant in variants)
    while size > limit and len(variants) > 1:
        size -= _size_of(variants[-1])
        variants = variants[:-1]
    return _Entry(variants, size)


def _size_of(response: StoredResponse) -> int:
    fields = sum(len(name) + len(value) + _FIELD_BYTES for name, value in response.headers)
    varied = sum(len(value or b"") + _FIELD_BYTES for value in (*response.vary, *response.varied))
    return _VARIANT_BYTES + len(response.body) + fields + varied
