"""Stored responses in Redis or Valkey behind those in memory, shared by all processes and machines.

The rules:

- A fresh response in memory is the answer. Otherwise Redis is asked, once a look-up and within the connections' budget.
  What it has goes into memory; when it has nothing, or is down, a stale response in memory still counts.
- Before this process hears what others invalidate, and while it does not, every look-up is a miss at once.
- What is invalidated is told by a sequence of Redis's own, never by clocks. Each invalidation is the next number, noted
  for each of its names (for one of 65,536 places that a name hashes to: it costs a miss when two share one). A record
  carries the number of the look-up before it was made. It is stored, and it is given out, only if none of its names has
  a later note: so a slow GET on one machine never brings back what a POST on another has changed.
- Sequence and notes are one hash, the book. When it is gone (flushed, evicted) or another run of a server began it, it
  begins anew with a random epoch, and records of another epoch do not count. A server that refuses writes is down.
- All variants of a URL are one hash: a field for each, named by digests of the request headers that it varies by, and
  `vary` for the names of these. They have the same `vary`, at most `MAX_VARIANTS` are kept, and they expire together.
- Only digests of header values go to Redis, and only of headers that a response was seen to vary by in this process:
  the first look-up that meets a new one is a miss.
- Invalidations mark memory at once. Until Redis has confirmed one, this process takes no record of these names from it.
- Records are written in the background, after the response.
"""

from __future__ import annotations

import hashlib
import math
import os
import struct
import weakref
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple, TypeAlias, cast
from urllib.parse import quote

from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import CacheKey, Fetched, InstantResponseStore, Names, StoreDown, StoredResponse
from launchkit.pipeline.exchange import Exchange
from launchkit.read_cache.memory import MemoryResponses
from launchkit.read_cache.outbox import Outbox
from launchkit.read_cache.records import Record, decode, encode
from launchkit.read_cache.scripts import FETCH, INVALIDATE, RECOGNISE, STORE
from launchkit.read_cache.subscription import Subscription
from launchkit.read_cache.variants import MAX_VARIANTS, varied_by
from launchkit.stores.marks import Marks
from launchkit.stores.redis import Argument, Command, RedisConnections

MAX_VARY_NAMES: Final = 16
"""Header names that are remembered because responses vary by them."""

_RECORD_OVERHEAD: Final = 1_000
"""Bytes that a record which waits to be written takes besides its body, about."""

Moment: TypeAlias = tuple[object, bytes | None]
"""The moment in memory, and Redis's epoch and sequence, or None if it was not asked or did not answer."""


class _LookUp(NamedTuple):
    key: CacheKey
    response: StoredResponse | None
    moment: object
    unconfirmed: frozenset[str]
    keys: tuple[str, str]
    arguments: list[Argument]


class TieredResponses(InstantResponseStore):
    """Keeps responses in Redis 6 or later, or Valkey, behind memory.

    Args:
        first: the store in memory.
        marks: those of `first`.
        connections: to the server, for this store alone; `BUDGET` is how long their calls should take at most.
        clock: the kit's clock.
        namespace: sets apart the responses of several apps on one server.
    """

    BUDGET: Final = 0.1

    def __init__(
        self, first: MemoryResponses, marks: Marks, connections: RedisConnections, clock: Clock, namespace: str = ""
    ) -> None:
        self._first = first
        self._marks = marks
        self._connections = connections
        self._clock = clock
        self._prefix = f"launchkit:{quote(namespace, safe='')}:cache:"
        self._book = f"{self._prefix}book"
        self._subscription = Subscription(connections, f"{self._prefix}invalidated", self._greeting, marks.mark)
        self._outbox = Outbox(self._send_invalidation)
        self._vary_names: tuple[bytes, ...] = ()
        _stores.add(self)

    @property
    def is_listening(self) -> bool:
        """Whether this process hears what others invalidate; while it does not, nothing is cached."""
        return self._subscription.is_confirmed

    @property
    def dropped(self) -> int:
        """How many records Redis did not get because it was full, down or too slow."""
        return self._outbox.dropped

    def start(self) -> None:
        """Begin to listen to what others invalidate; the first look-up does so too."""
        self._subscription.start()

    def moment(self) -> Moment:
        """Return the moment of a look-up in memory alone: what is stored with it does not go to Redis."""
        return self._marks.moment(), None

    def fetch_now(self, key: CacheKey, request: Exchange) -> Fetched | None:
        """Return a fresh response from memory, or a miss while nothing is heard, or None: Redis has to be asked."""
        if not self._subscription.is_confirmed:
            return self._miss()
        response, moment = self._first.fetch_now(key, request)
        if response is None or response.fresh_until <= self._clock.monotonic():
            return None
        return Fetched(response, (moment, None))

    def fetch(self, key: CacheKey, request: Exchange) -> Fetched:
        """Ask Redis, and return whichever is fresh for longer: what it has, or what memory has. Never raises."""
        if not self._subscription.is_confirmed:
            return self._miss()
        look_up = self._look_up(key, request)
        answer = b""
        with suppress(StoreDown):
            answer = self._connections.run(FETCH, look_up.keys, look_up.arguments)
        return self._found(look_up, answer)

    async def afetch(self, key: CacheKey, request: Exchange) -> Fetched:
        """Do `fetch` on the event loop."""
        if not self._subscription.is_confirmed:
            return self._miss()
        look_up = self._look_up(key, request)
        answer = b""
        with suppress(StoreDown):
            answer = await self._connections.arun(FETCH, look_up.keys, look_up.arguments)
        return self._found(look_up, answer)

    def _miss(self) -> Fetched:
        self._subscription.start()
        return Fetched(None, self.moment())

    def _look_up(self, key: CacheKey, request: Exchange) -> _LookUp:
        response, moment = self._first.fetch_now(key, request)
        unconfirmed = self._outbox.unconfirmed()  # after the moment, so that each invalidation is seen by one of them
        names = self._vary_names
        arguments: list[Argument] = [_new_epoch()]
        for name, value in zip(names, varied_by(request, names), strict=True):
            arguments += name, _digest(value)
        keys = (self._book, self._prefix + _digest_of_key(key))
        return _LookUp(key, response, moment, unconfirmed, keys, arguments)

    def _found(self, look_up: _LookUp, answer: bytes) -> Fetched:
        sequence, _, found = answer.partition(b"\n")
        response = look_up.response
        record = self._read(found)
        if record is not None and self._is_better(record, look_up):
            response = record.response
            self._first.store_now(look_up.key, response, record.names, look_up.moment)
        return Fetched(response, (look_up.moment, sequence or None))

    def _read(self, found: bytes) -> Record | None:
        if found.startswith(b"V"):
            self._remember(found[1:].split(b","))
        return decode(found[1:], self._clock) if found.startswith(b"R") else None

    def _is_better(self, record: Record, look_up: _LookUp) -> bool:
        """Tell whether a record of Redis is of use, and fresh for longer than what memory has."""
        response, known = record.response, look_up.response
        return (
            _last_use(response) > self._clock.monotonic()
            and look_up.unconfirmed.isdisjoint(record.names)
            and (known is None or response.fresh_until > known.fresh_until)
        )

    def _remember(self, names: Iterable[bytes]) -> None:
        known = tuple(dict.fromkeys((*self._vary_names, *names)))
        if len(known) <= MAX_VARY_NAMES:
            self._vary_names = known

    def store_now(self, key: CacheKey, response: StoredResponse, names: Names, moment: object) -> bool:
        """Keep a variant in memory, and have it written to Redis in the background."""
        first, sequence = cast("Moment", moment)
        if self._subscription.is_confirmed:
            self._first.store_now(key, response, names, first)
        if sequence is not None:
            self._remember(response.vary)
            size = len(response.body) + _RECORD_OVERHEAD
            self._outbox.put(size, partial(self._write, key, Record(response, names), sequence))
        return True

    def store(self, key: CacheKey, response: StoredResponse, names: Names, moment: object) -> None:
        """Do `store_now`."""
        self.store_now(key, response, names, moment)

    async def astore(self, key: CacheKey, response: StoredResponse, names: Names, moment: object) -> None:
        """Do `store_now`."""
        self.store_now(key, response, names, moment)

    def _write(self, key: CacheKey, record: Record, sequence: bytes) -> None:
        response, names = record
        life = math.ceil((_last_use(response) - self._clock.monotonic()) * 1000)
        places = " ".join(map(str, map(_place, names))).encode()
        data = b"%b %b\n%b" % (sequence, places, encode(record, self._clock))
        field = b"".join(map(_digest, response.varied))
        keys = (self._book, self._prefix + _digest_of_key(key))
        if life <= 0:
            return
        answer = self._connections.run(STORE, keys, (b",".join(response.vary), field, data, life, MAX_VARIANTS))
        if answer == b"full":
            raise StoreDown("Redis is full")

    def invalidate_now(self, names: Names) -> bool:
        """Return False: invalidating takes waiting for Redis."""
        return False

    def invalidate(self, names: Names) -> None:
        """Let nothing of these names be used again. Returns when Redis knows, or after the budget; never raises."""
        with suppress(StoreDown), self._outbox.sending(names):
            self._marks.mark(names)
            self._send_invalidation(names)

    async def ainvalidate(self, names: Names) -> None:
        """Do `invalidate` on the event loop."""
        with suppress(StoreDown), self._outbox.sending(names):
            self._marks.mark(names)
            await self._connections.arun(INVALIDATE, (self._book,), self._invalidation(names))

    def invalidate_soon(self, names: Names) -> None:
        """Do `invalidate` without waiting: Redis is told in the background."""
        self._outbox.owe(names)
        self._marks.mark(names)

    def _send_invalidation(self, names: Names) -> None:
        self._connections.run(INVALIDATE, (self._book,), self._invalidation(names))

    def _invalidation(self, names: Names) -> list[Argument]:
        message = self._subscription.message(names)
        return [_new_epoch(), self._subscription.channel, message, *map(_place, names)]

    def _greeting(self) -> Command:
        return RECOGNISE.by_source((1, self._book, _new_epoch()))

    async def aclose(self) -> None:
        """Close this event loop's connection."""
        await self._connections.aclose()

    def close(self) -> None:
        """Send what can be sent at once, then end the threads and close their connections. May take two seconds."""
        self._outbox.close()
        self._subscription.close()
        self._connections.close()

    def begin_process(self) -> None:
        """Start over in the child of a fork."""
        self._outbox.begin_process()
        self._subscription.begin_process()


def _last_use(response: StoredResponse) -> float:
    return max(response.fresh_until, response.stale_until, response.error_until)


def _new_epoch() -> str:
    return os.urandom(8).hex()


def _place(name: str) -> int:
    """Return where an invalidation of this name is noted: the same on all machines."""
    return int.from_bytes(hashlib.blake2b(_encoded(name), digest_size=2).digest(), "big")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # a decoded path may hold what is no character


def _digest(value: bytes | None) -> bytes:
    """Return what stands for a header value; all are of one length, so that several run together are told apart."""
    return bytes(16) if value is None else hashlib.blake2b(value, digest_size=16).digest()


def _digest_of_key(key: CacheKey) -> str:
    scheme, host, mount, path, query = key
    parts = (_encoded(scheme), host, _encoded(mount), path, query)
    whole = b"".join((struct.pack("!5I", *map(len, parts)), *parts))
    return hashlib.blake2b(whole, digest_size=16).hexdigest()


_stores: Final[weakref.WeakSet[TieredResponses]] = weakref.WeakSet()


def _begin_in_child() -> None:
    for store in tuple(_stores):
        store.begin_process()


os.register_at_fork(after_in_child=_begin_in_child)
