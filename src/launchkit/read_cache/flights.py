"""Single-flight: of those who want the same thing at the same time one gets it, and the others wait for it.

The rules:

- Whoever joins a key that nobody leads leads it, until the flight is ended, which its leader does however it fares.
- A flight carries no value. Whoever has waited looks into the store, and joins again if nothing is there: one of them
  leads then, and the others follow that one. So a leader that fails or is cancelled takes nobody along, and what must
  not be shared never passes from one to the other.
- Whoever may not wait leads a flight of its own that nobody can follow: when too many are in flight, and in a thread
  when too many threads wait. If the flight that was followed has not ended after the wait, the follower has waited long
  enough and goes on without it.
- Coroutines wait in any number; on each event loop that they wait on, one call wakes them all.
- Threads are scarce. Of a server's pool at most half may wait, so that the others still answer what is not waited for.
  No server says how large its pool is, so the threads that have come here and still live are counted. One that comes
  for the first time may always wait: a server that makes a thread for each request has no pool to exhaust.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from asyncio import _get_running_loop  # get_running_loop() raises in every thread without a loop, which is slow
from collections.abc import Hashable, Iterable
from typing import Final, TypeAlias
from weakref import WeakSet

Waiter: TypeAlias = "threading.Lock | asyncio.Future[None]"
"""A lock that a thread wants to acquire, or what a coroutine awaits."""


class Flight:
    """Somebody's attempt to get what others wait for. `Flights` makes it. Safe from any thread and event loop."""

    __slots__ = ("_ended", "_flights", "_key", "_waiting")

    def __init__(self, flights: Flights, key: Hashable) -> None:
        self._flights = flights
        self._key = key
        self._ended = False
        self._waiting: set[Waiter] = set()

    @property
    def ended(self) -> bool:
        """Whether the leader has ended it."""
        return self._ended

    @property
    def followers(self) -> int:
        """How many wait for its end at this moment."""
        return len(self._waiting)

    def end(self) -> None:
        """Let the next one lead, and wake all who wait. Ending it again does nothing."""
        with self._flights.lock:
            if self._ended:
                return
            self._ended = True
            by_key = self._flights.by_key
            if by_key.get(self._key) is self:
                del by_key[self._key]
            if not self._waiting:
                return
            waiting = tuple(self._waiting)
        _wake(waiting)

    def wait(self, seconds: float) -> None:
        """Block this thread until the flight has ended, for `seconds` at most; not at all if too many threads do."""
        gate = threading.Lock()
        gate.acquire()
        threads = self._flights.threads
        with self._flights.lock:
            if self._ended or not threads.may_wait():
                return
            threads.waiting += 1
            self._waiting.add(gate)
        try:
            gate.acquire(timeout=max(seconds, 0.0))
        finally:
            with self._flights.lock:
                threads.waiting -= 1
                self._waiting.discard(gate)

    async def await_end(self, seconds: float) -> None:
        """Wait until the flight has ended, for `seconds` at most."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._flights.lock:
            if self._ended:
                return
            self._waiting.add(future)
        try:
            await asyncio.wait((future,), timeout=seconds)
        finally:
            with self._flights.lock:
                self._waiting.discard(future)


class Flights:
    """What is in flight, at most `max_flights` at once. Safe from any thread and event loop.

    `by_key`, `lock` and `threads` are for its flights. The lock is held for dictionary work only. Its own thread may
    take it again, because a leader that is garbage collected ends its flight wherever the collector happens to run.
    """

    def __init__(self, max_flights: int = 10_000) -> None:
        self._max_flights: Final = max_flights
        self.begin_process()

    def begin_process(self) -> None:
        """Start with no flights: those of a parent process end there, and its threads may hold the lock."""
        self.by_key: dict[Hashable, Flight] = {}
        self.lock = threading.RLock()
        self.threads = Threads()

    def __len__(self) -> int:
        return len(self.by_key)

    def begin(self, key: Hashable) -> Flight | None:
        """Lead the flight of `key`, or return None if somebody else does or too many are in flight.

        For those who would not wait, having something to make do with.
        """
        with self.lock:
            if key in self.by_key or len(self.by_key) >= self._max_flights:
                return None
            flight = self.by_key[key] = Flight(self, key)
            return flight

    def join(self, key: Hashable, *, again: bool = False) -> tuple[Flight, bool]:
        """Return a flight and whether the caller leads it: then it has to end it, otherwise it may follow it.

        Args:
            key: what the caller wants.
            again: whether the caller has followed a flight before, for the same request.
        """
        in_thread = _get_running_loop() is None
        with self.lock:
            if in_thread and not again:
                self.threads.arrive()
            followed = self.by_key.get(key)
            if followed is not None and not (in_thread and not self.threads.may_wait()):
                return followed, False
            flight = Flight(self, key)
            if followed is None and len(self.by_key) < self._max_flights:
                self.by_key[key] = flight
            return flight, True


class Threads:
    """The living threads that have come here, and how many of them wait. Called with the lock of `Flights` held."""

    def __init__(self) -> None:
        self._here = threading.local()  # what a thread keeps there dies with it, whoever has started the thread
        self._known: WeakSet[_Thread] = WeakSet()
        self.waiting = 0

    def arrive(self) -> None:
        """Take note that this thread has come for a request."""
        thread: _Thread | None = getattr(self._here, "thread", None)
        if thread is None:
            self._here.thread = thread = _Thread()
            self._known.add(thread)
        else:
            thread.is_new = False

    def may_wait(self) -> bool:
        """Whether this thread may wait, in addition to those that do."""
        thread: _Thread | None = getattr(self._here, "thread", None)
        return thread is None or thread.is_new or 2 * (self.waiting + 1) <= len(self._known)


class _Thread:
    """Stands for a thread for as long as that lives. New while it is at the first request that it has come for."""

    __slots__ = ("__weakref__", "is_new")

    def __init__(self) -> None:
        self.is_new = True


def _wake(waiting: Iterable[Waiter]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for waiter in waiting:
        if isinstance(waiter, asyncio.Future):
            by_loop.setdefault(waiter.get_loop(), []).append(waiter)
        else:
            waiter.release()
    for loop, futures in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop was closed, and nobody waits there any more
            loop.call_soon_threadsafe(_resolve, futures)


def _resolve(futures: Iterable[asyncio.Future[None]]) -> None:
    for future in futures:
        future.set_result(None)
