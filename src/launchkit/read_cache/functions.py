"""A cache for the results of functions: `@kit.cached(ttl=30)` in front of an expensive read.

The rules:

- All callers with the same key are given the very same object: it is to be read, not to be changed. None is a value.
- Of those who miss the same key at the same time one calls the function, in its own context, and the others wait. An
  exception reaches that one only, and a cancelled call nobody else: the others try in turn. Whoever has waited for
  `LONGEST_WAIT` calls the function itself. A plain function on an event loop never waits, as that would block the loop.
- A call that began before an invalidation is not used after it, in whatever process it was: what is kept carries the
  moment before its call, and is good only as long as none of its names was marked since.
- What can be consumed only once, such as a generator, a coroutine or a streaming response, is not kept.
- Nothing here raises into the app: a call whose arguments make no key goes past the cache, and is reported once.
- What a function reads besides its arguments is not in the key: a context variable, a global, the request at hand. A
  result that depends on who is asking needs that in its arguments.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import threading
from asyncio import _get_running_loop  # get_running_loop() raises in every thread without a loop, which is slow
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Concatenate, Final, NamedTuple, ParamSpec, Protocol, TypeAlias, TypeVar, cast, overload

from cachetools import LRUCache

from launchkit.errors import LaunchKitError
from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import Follow, Names
from launchkit.read_cache.flights import Flight, Flights
from launchkit.read_cache.function_keys import Arguments, KeyMaker, NamedArguments, NotPlain, key_maker, name_of
from launchkit.read_cache.key import EVERYTHING
from launchkit.stores.marks import Marks

logger = logging.getLogger("launchkit")

LONGEST_WAIT: Final = 5.0
"""Seconds that a caller waits for others in all."""

P = ParamSpec("P")
Q = ParamSpec("Q")
R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class FunctionFigures:
    """How the cache of one function is used. Counts are since the start, in this process."""

    hits: int
    """Calls that were answered without calling the function."""
    misses: int
    """Calls of the function whose result could be kept."""
    collapsed: int
    """Hits that have waited for another caller's call."""
    evictions: int
    """Results given up to make room."""
    entries: int
    """Results that are held."""


class CachedFunction(Protocol[P, R_co]):
    """A function whose results are kept. It is called, awaited and bound as the one it wraps."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Return a kept result, or call the function."""
        ...

    @overload
    def __get__(self, instance: None, owner: type) -> CachedFunction[P, R_co]: ...

    @overload
    def __get__(
        self: CachedFunction[Concatenate[S, Q], R], instance: S, owner: type | None = None
    ) -> Callable[Q, R]: ...

    def invalidate(self) -> None:
        """Let no result of this function be used again that was computed from before now."""
        ...

    def figures(self) -> FunctionFigures:
        """Return how the cache is used."""
        ...


class FunctionCaches:
    """Makes the caches of an app's functions.

    Args:
        clock: the kit's clock.
        flights: what is in flight.
        marks: what has been invalidated.
        enabled: whether results are kept; otherwise functions are checked, and called every time.
        invalidate: tells all processes what is not to be used any more; by default this one is all there are.
    """

    def __init__(
        self,
        clock: Clock,
        flights: Flights,
        marks: Marks,
        *,
        enabled: bool = True,
        invalidate: Callable[[Names], None] | None = None,
    ) -> None:
        self._clock = clock
        self._flights = flights
        self._marks = marks
        self._enabled = enabled
        self._invalidate = invalidate or marks.mark
        self._all: list[_Results] = []

    def __len__(self) -> int:
        return len(self._all)

    def begin_process(self) -> None:
        """Start over in the child of a fork, whose locks may be held by threads that it does not have."""
        for results in self._all:
            results.begin_process()

    def cached(
        self,
        ttl: float,
        key: str | Callable[..., object] | None = None,
        tags: Sequence[str] = (),
        max_entries: int = 1000,
    ) -> Callable[[Callable[P, R]], CachedFunction[P, R]]:
        """Keep the results of a function, plain or async, for `ttl` seconds.

        Args:
            ttl: seconds that a result is used for.
            key: what tells one call from another: None for all arguments; a text that names those that count, with
                attributes if need be, `"{user.id}:{page}"`; or a function of the same arguments that returns a plain
                value, or None for a call that is not to be cached. Needed where a parameter looks like one user's or
                takes more than plain values.
            tags: names by which results can be invalidated together with others.
            max_entries: how many results are held in this process; the least recently used ones are given up first.

        Raises:
            LaunchKitError: when decorating a function whose calls cannot be told apart or whose results cannot be kept,
                or if an argument is out of range.
        """
        _check(ttl, tags, max_entries)

        def decorate(function: Callable[P, R]) -> CachedFunction[P, R]:
            name = name_of(function)
            _check_function(name, function)
            make_key = key_maker(function, key)
            if not self._enabled:
                make_key = _no_key
            results = _Results(name, tags, ttl, max_entries, self._clock, self._marks)
            self._all.append(results)
            calls = _Calls(results, make_key, self._flights, self._clock)
            wrapper: object = calls.awrap(function) if inspect.iscoroutinefunction(function) else calls.wrap(function)

            def invalidate() -> None:
                self._invalidate((results.own_name,))

            vars(wrapper).update(invalidate=invalidate, figures=results.figures)
            return cast("CachedFunction[P, R]", wrapper)

        return decorate


def _no_key(args: Arguments, kwargs: NamedArguments) -> None:
    """Keep a call from the cache."""


def _check(ttl: object, tags: object, max_entries: object) -> None:
    if isinstance(ttl, bool) or not isinstance(ttl, (int, float)) or not ttl > 0:
        raise LaunchKitError("ttl must be a number of seconds above 0, as in @kit.cached(ttl=30).")
    if isinstance(tags, str) or not isinstance(tags, Sequence) or not all(isinstance(tag, str) and tag for tag in tags):
        raise LaunchKitError('tags must be a tuple of names, as in @kit.cached(ttl=30, tags=("products",)).')
    if isinstance(max_entries, bool) or not isinstance(max_entries, int) or max_entries < 1:
        raise LaunchKitError("max_entries must be a whole number above 0.")


def _check_function(name: str, function: object) -> None:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise LaunchKitError(f"{name} cannot be cached: what a generator yields is there only once.")
    if isinstance(function, (staticmethod, classmethod)):
        raise LaunchKitError(f"{name} cannot be cached as it is: write @kit.cached below @{type(function).__name__}.")


class _Result(NamedTuple):
    """What a function returned, the time until which it is used, and what tells whether it was invalidated since."""

    value: object
    until: float
    indexes: tuple[int, ...]
    moment: int


_Turn: TypeAlias = _Result | Flight | None
"""How waiting has ended: with a result; with the caller leading a flight; or with neither, so that it goes on alone."""


class _Results:
    """The results of one function, and its figures. Safe from any thread.

    cachetools is not, hence the lock, which its own thread may take again: a finaliser of the app's that calls the
    function may run wherever the collector does.
    """

    def __init__(
        self, name: str, tags: Sequence[str], ttl: float, max_entries: int, clock: Clock, marks: Marks
    ) -> None:
        self._name = name
        self.own_name = f"function:{name}"
        self._names = (EVERYTHING, self.own_name, *(f"tag:{tag}" for tag in tags))
        self._marks = marks
        self._is_current = marks.is_current
        self._ttl = ttl
        self._now = clock.monotonic
        self._max_entries = max_entries
        self.begin_process()
        self._reported: set[str] = set()
        self._hits = self._misses = self._collapsed = self._evictions = 0

    def begin_process(self) -> None:
        """Start with nothing, in this process."""
        self._lock = threading.RLock()
        self._by_key: LRUCache[Hashable, _Result] = LRUCache(self._max_entries)

    def find(self, key: Hashable) -> _Result | None:
        """Return what may be used, and count that as a hit."""
        with self._lock:
            try:
                found = self._by_key[key]
            except KeyError:
                return None
            if self._now() < found.until and self._is_current(found.indexes, found.moment):
                self._hits += 1
                return found
            del self._by_key[key]
            return None

    def collapsed(self) -> None:
        """Count a hit that has waited."""
        with self._lock:
            self._collapsed += 1

    def missed(self) -> int:
        """Count a call of the function, and return the moment before it."""
        with self._lock:
            self._misses += 1
        return self._marks.moment()

    def keep(self, key: Hashable, value: object, moment: int) -> None:
        """Keep a result that was computed from `moment` on, if it can be used more than once."""
        if _is_used_up(value):
            self.report("returned what can be used only once, which is not kept", type(value).__name__)
            return
        indexes = tuple(map(self._marks.index, self._names))
        result = _Result(value, self._now() + self._ttl, indexes, moment)
        with self._lock:
            full = len(self._by_key) >= self._by_key.maxsize and key not in self._by_key
            given_up = self._by_key.popitem() if full else None  # destroyed when the lock is free again
            self._evictions += full
            self._by_key[key] = result
        del given_up

    def report(self, what: str, kind: str) -> None:
        """Say once that calls are not cached. `kind` names a type: a value might be a secret."""
        with self._lock:
            if what in self._reported:
                return
            self._reported.add(what)
        with contextlib.suppress(Exception):  # an app's logging may be what is broken
            logger.warning(
                "The cached function %s %s (%s). Further such calls are not reported.", self._name, what, kind
            )

    def figures(self) -> FunctionFigures:
        """Return the counts as of one moment."""
        with self._lock:
            return FunctionFigures(self._hits, self._misses, self._collapsed, self._evictions, len(self._by_key))


def _is_used_up(value: object) -> bool:
    """Whether a value is gone once it was read. Streaming responses have their body as an iterator."""
    try:
        return isinstance(value, _READ_ONCE) or "body_iterator" in getattr(value, "__dict__", ())
    except Exception:  # noqa: BLE001  # a proxy that cannot be looked at had better not be kept
        return True


_READ_ONCE: Final = (Awaitable, Iterator, AsyncIterator)


class _Calls:
    """Calls one function for those who miss, one at a time for each key."""

    def __init__(self, results: _Results, make_key: KeyMaker, flights: Flights, clock: Clock) -> None:
        self._results = results
        self._make_key = make_key
        self._flights = flights
        self._now = clock.monotonic

    def wrap(self, function: Callable[P, R]) -> Callable[P, R]:
        """Put the cache in front of a plain function."""
        key_of, find = self._key_of, self._results.find

        @functools.wraps(function)
        def cached(*args: P.args, **kwargs: P.kwargs) -> R:
            key = key_of(args, kwargs)
            if key is None:
                return function(*args, **kwargs)
            found = find(key)
            if found is None:
                return cast("R", self._call(key, functools.partial(function, *args, **kwargs)))
            return cast("R", found.value)

        return cached

    def awrap(self, function: Callable[P, Awaitable[object]]) -> Callable[P, Awaitable[object]]:
        """Put the cache in front of an async function."""
        key_of, find = self._key_of, self._results.find

        @functools.wraps(function)
        async def cached(*args: P.args, **kwargs: P.kwargs) -> object:
            key = key_of(args, kwargs)
            if key is None:
                return await function(*args, **kwargs)
            found = find(key)
            if found is None:
                return await self._acall(key, functools.partial(function, *args, **kwargs))
            return found.value

        return cached

    def _key_of(self, args: Arguments, kwargs: NamedArguments) -> Hashable:
        try:
            return self._make_key(args, kwargs)
        except NotPlain as error:
            self._results.report("was called with what makes no key, and so past its cache: give it a key", str(error))
        except Exception as error:  # noqa: BLE001  # whatever the app's own key raises
            self._results.report("was called past its cache, as its key failed", type(error).__name__)
        return None

    def _call(self, key: Hashable, function: Callable[[], object]) -> object:
        turn = self._turn(key)
        if isinstance(turn, _Result):
            return turn.value
        try:
            found = self._results.find(key)  # somebody may have led between the look-up and the turn
            if found is not None:
                return found.value
            moment = self._results.missed()
            value = function()
            self._results.keep(key, value, moment)
            return value
        finally:
            if turn is not None:
                turn.end()

    async def _acall(self, key: Hashable, function: Callable[[], Awaitable[object]]) -> object:
        turn = await self._aturn(key)
        if isinstance(turn, _Result):
            return turn.value
        try:
            found = self._results.find(key)  # somebody may have led between the look-up and the turn
            if found is not None:
                return found.value
            moment = self._results.missed()
            value = await function()
            self._results.keep(key, value, moment)
            return value
        finally:
            if turn is not None:
                turn.end()

    def _turn(self, key: Hashable) -> _Turn:
        steps = self._await_turn(key)
        try:
            while True:
                follow = next(steps)
                if _get_running_loop() is not None:
                    return None
                follow.flight.wait(follow.seconds)
        except StopIteration as stop:
            return cast("_Turn", stop.value)

    async def _aturn(self, key: Hashable) -> _Turn:
        steps = self._await_turn(key)
        try:
            while True:
                follow = next(steps)
                await follow.flight.await_end(follow.seconds)
        except StopIteration as stop:
            return cast("_Turn", stop.value)

    def _await_turn(self, key: Hashable) -> Generator[Follow, None, _Turn]:
        """Follow whoever leads, until there is a result or it is the caller's turn."""
        until = self._now() + LONGEST_WAIT
        wanted = (self, key)
        flight, leads = self._flights.join(wanted)
        while not leads:
            yield Follow(flight, until - self._now())
            found = self._results.find(key)
            if found is not None:
                self._results.collapsed()
                return found
            if not flight.ended:
                return None
            flight, leads = self._flights.join(wanted, again=True)
        return flight
