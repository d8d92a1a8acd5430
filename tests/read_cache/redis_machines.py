"""Machines that share a Redis: each has memory and marks of its own, as another process would."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from tests.support.exchanges import WrittenExchange

from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import CacheKey, Fetched, Names, StoredResponse
from launchkit.pipeline.exchange import Header
from launchkit.read_cache.memory import MemoryResponses
from launchkit.read_cache.redis import TieredResponses
from launchkit.stores.marks import Marks
from launchkit.stores.redis import RedisConnections
from launchkit.testing import FrozenClock

PATIENCE = 20.0
"""Seconds after which something that should happen by itself has not."""
LIFE = 100_000.0
"""Seconds for which stored responses are fresh unless a test says otherwise."""


def eventually(condition: Callable[[], object]) -> None:
    """Return as soon as the condition holds; fail if it never does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def key_of(path: str) -> CacheKey:
    return ("https", b"shop.example", "", path.encode(), b"")


def names_of(path: str, *tags: str) -> Names:
    return ("all:", f"path:{path}", "below:/", f"below:{path}", *(f"tag:{tag}" for tag in tags))


class Machine:
    """One process's cache, used in one colour."""

    def __init__(
        self,
        url: str,
        colour: str = "sync",
        clock: Clock | None = None,
        budget: float = PATIENCE,
        namespace: str = "shop",
    ) -> None:
        self.clock = clock or FrozenClock()
        self.colour = colour
        self.runner = asyncio.Runner()
        self.marks = Marks(self.clock, bytes(16))
        self.memory = MemoryResponses(10_000_000, self.clock, self.marks)
        self.connections = RedisConnections(url, self.clock, budget, "Redis for the read cache")
        self.store = TieredResponses(self.memory, self.marks, self.connections, self.clock, namespace)

    def listening(self) -> Machine:
        """Return this machine when it hears what others invalidate."""
        self.fetch("/")
        eventually(lambda: self.store.is_listening)
        return self

    def forgetful(self) -> Machine:
        """Return this machine, which listens and keeps nothing in memory, so that every answer is from Redis."""
        self.memory = self.store._first = MemoryResponses(0, self.clock, self.marks)
        return self.listening()

    def fetch(self, path: str, headers: Iterable[Header] = ()) -> Fetched:
        """Look up as the performer does."""
        key, request = key_of(path), WrittenExchange("GET", path, headers)
        found = self.store.fetch_now(key, request)
        return self.ask(path, headers) if found is None else found

    def ask(self, path: str, headers: Iterable[Header] = ()) -> Fetched:
        """Look up in Redis, whatever memory has."""
        key, request = key_of(path), WrittenExchange("GET", path, headers)
        if self.colour == "sync":
            return self.store.fetch(key, request)
        return self.runner.run(self.store.afetch(key, request))

    def body(self, path: str, headers: Iterable[Header] = ()) -> bytes | None:
        """Return what a look-up finds."""
        response = self.fetch(path, headers).response
        return None if response is None else response.body

    def in_memory(self, path: str) -> bytes | None:
        """Return what this machine answers without Redis."""
        found = self.store.fetch_now(key_of(path), WrittenExchange("GET", path))
        return None if found is None or found.response is None else found.response.body

    def response(self, body: bytes, fresh: float = LIFE, stale: float = 0.0, **fields: object) -> StoredResponse:
        now = self.clock.monotonic()
        times = {"stored": now, "fresh_until": now + fresh, "stale_until": now + fresh + stale}
        return StoredResponse(200, (), body, **{"error_until": now + fresh, **times, **fields})

    def keep(self, path: str, response: StoredResponse, moment: object, *tags: str) -> None:
        """Store, and return when Redis has the record or will not get it."""
        names = names_of(path, *tags)
        if self.colour == "sync":
            self.store.store(key_of(path), response, names, moment)
        else:
            self.runner.run(self.store.astore(key_of(path), response, names, moment))
        self.settle()

    def put(self, path: str, body: bytes, *tags: str) -> None:
        """Look up, run the app, store."""
        self.keep(path, self.response(body), self.fetch(path).moment, *tags)

    def settle(self) -> None:
        """Return when nothing waits to be sent."""
        outbox = self.store._outbox
        eventually(lambda: outbox.unconfirmed() or not outbox._bytes)

    def invalidate(self, *names: str) -> None:
        if self.colour == "sync":
            self.store.invalidate(names)
        else:
            self.runner.run(self.store.ainvalidate(names))

    def close(self) -> None:
        self.runner.run(self.store.aclose())
        self.runner.close()
        self.store.close()
