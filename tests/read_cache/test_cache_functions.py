"""Results of functions are kept, shared by those who may share them, and by nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import inspect
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from fastapi import Depends, FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.clients import AsgiClient

from launchkit.errors import LaunchKitError
from launchkit.read_cache import functions
from launchkit.read_cache.flights import Flights
from launchkit.read_cache.functions import FunctionCaches
from launchkit.stores.marks import Marks
from launchkit.testing import FrozenClock

LONG = 30.0


class World:
    """The function caches of one worker, and what they stand on."""

    def __init__(self, marks: Marks | None = None, clock: FrozenClock | None = None) -> None:
        self.clock = clock or FrozenClock()
        self.flights = Flights()
        self.marks = marks or Marks(self.clock, bytes(16))
        self.cached = FunctionCaches(self.clock, self.flights, self.marks).cached

    @property
    def followers(self) -> int:
        return sum(flight.followers for flight in list(self.flights.by_key.values()))

    def until(self, condition: Callable[[], bool]) -> None:
        """Return when something that another thread brings about is so."""
        deadline = time.monotonic() + LONG
        while not condition():
            assert time.monotonic() < deadline, "never happened"
            time.sleep(0.001)

    async def auntil(self, condition: Callable[[], bool]) -> None:
        """Do `until` on the event loop."""
        deadline = time.monotonic() + LONG
        while not condition():
            assert time.monotonic() < deadline, "never happened"
            await asyncio.sleep(0)


@pytest.fixture(name="world")
def _world() -> World:
    return World()


@pytest.fixture(name="pool")
def _pool() -> Iterator[ThreadPoolExecutor]:
    """More threads than tasks: each task gets a new one."""
    with ThreadPoolExecutor(200) as pool:
        yield pool


Colour = Callable[..., Any]


def plain(world: World, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Cache a plain function."""
    return world.cached(*arguments, **options)(function)


def coloured(world: World, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Cache the same as an async function, and call that from here."""

    @functools.wraps(function)
    async def afunction(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    cached = world.cached(*arguments, **options)(afunction)

    @functools.wraps(cached)
    def call(*args: Any, **kwargs: Any) -> Any:
        return asyncio.run(cached(*args, **kwargs))

    return call


colours = pytest.mark.parametrize("colour", [plain, coloured])


# --- one caller after the other ------------------------------------------------------------------------------------


@colours
def test_a_result_is_used_for_its_time(world: World, colour: Colour) -> None:
    """Until `ttl` seconds after it was computed, and no longer."""
    calls: list[int] = []
    read = colour(world, lambda page: calls.append(page), ttl=30)
    read(1)
    world.clock.advance(29.9)
    read(1)
    assert calls == [1]
    world.clock.advance(0.1)
    read(1)
    read(1)
    assert calls == [1, 1]


@colours
def test_callers_share_the_very_object_and_none_is_one(world: World, colour: Colour) -> None:
    """Nothing is copied, and a function that finds nothing is not asked again."""
    results: list[Any] = [{"a": 1}, None]
    read = colour(world, lambda page: results[page], ttl=30)
    assert read(0) is results[0]
    assert read(0) is results[0]
    assert read(1) is None
    results[1] = "changed"
    assert read(1) is None


@colours
def test_an_exception_is_its_callers_and_not_kept(world: World, colour: Colour) -> None:
    """The next one tries again."""
    outcomes: Iterator[Any] = iter([ConnectionError("down"), "value"])

    def load(page: int) -> object:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    read = colour(world, load, ttl=30)
    with pytest.raises(ConnectionError, match="down"):
        read(1)
    assert read(1) == read(1) == "value"
    assert len(world.flights) == 0


@colours
def test_what_is_held_is_bounded(world: World, colour: Colour) -> None:
    """The least recently used result makes room."""
    calls: list[int] = []
    read = colour(world, lambda page: calls.append(page), ttl=30, max_entries=2)
    for page in (1, 2, 1, 3, 1, 2):
        read(page)
    assert calls == [1, 2, 3, 2]
    assert read.figures() == functions.FunctionFigures(hits=2, misses=4, collapsed=0, evictions=2, entries=2)


def test_an_expired_result_is_dropped_when_it_is_met(world: World) -> None:
    """It does not wait to be given up, and a failure does not bring it back."""

    @world.cached(ttl=30)
    def read(page: int) -> int:
        if world.clock.monotonic() > 1_010:
            raise ConnectionError
        return page

    read(1)
    assert read.figures().entries == 1
    world.clock.advance(30)
    with pytest.raises(ConnectionError):
        read(1)
    assert read.figures().entries == 0


@colours
def test_a_call_that_the_function_does_not_take_fails_as_without_a_cache(
    world: World, colour: Colour, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is Python's own, and nothing is reported."""
    read = colour(world, lambda page: page, ttl=30)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        read()
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        read(page=1, size=2)
    assert not caplog.records


# --- calls past the cache ------------------------------------------------------------------------------------------


@colours
def test_an_argument_that_makes_no_key_goes_past_the_cache(
    world: World, colour: Colour, caplog: pytest.LogCaptureFixture
) -> None:
    """Each such call is made, the first is reported, and the value, which may be a secret, is not."""
    secret = uuid4().hex
    calls: list[object] = []
    read = colour(world, lambda page: calls.append(page), ttl=30)
    for _ in range(3):
        read([secret])
    assert len(calls) == 3
    assert read.figures() == functions.FunctionFigures(0, 0, 0, 0, 0)
    [record] = caplog.records
    assert "builtins.list" in record.getMessage()
    assert secret not in caplog.text


def test_a_key_that_fails_keeps_the_call_from_the_cache_only(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The app gets its result, and the log the kind of the error."""
    secret = uuid4().hex

    nobody: dict[str, str] = {}

    @world.cached(ttl=30, key=lambda user: nobody[secret])
    def read(user: object) -> str:
        return "value"

    assert [read(1), read(2)] == ["value", "value"]
    [record] = caplog.records
    assert "KeyError" in record.getMessage()
    assert secret not in caplog.text


def test_a_log_that_fails_is_not_the_callers_business(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What reports may itself be broken."""

    def broken(record: logging.LogRecord) -> bool:
        raise RuntimeError

    monkeypatch.setattr(functions.logger, "filters", [broken])

    @world.cached(ttl=30)
    def read(page: object) -> str:
        return "value"

    assert read([]) == "value"


def test_a_key_of_none_says_not_to_cache(world: World) -> None:
    """Such a call is made each time, and nothing is reported."""
    calls = []

    @world.cached(ttl=30, key=lambda user: user)
    def read(user: int | None) -> None:
        calls.append(user)

    for user in (None, None, 1, 1):
        read(user)
    assert calls == [None, None, 1]


class Streaming:
    """As frameworks have it."""

    def __init__(self) -> None:
        self.body_iterator = iter([b"body"])


class Proxy:
    """Nothing can be told of it."""

    @property
    def __class__(self) -> type:
        raise RuntimeError

    @__class__.setter
    def __class__(self, kind: type) -> None: ...


async def nothing() -> None: ...


async def numbers() -> Any:
    yield 1


@pytest.mark.parametrize("make", [lambda: iter([1]), lambda: (one for one in "a"), nothing, numbers, Streaming, Proxy])
def test_what_can_be_read_only_once_is_not_kept(
    world: World, make: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The second caller would find it empty; each gets its own, and that is reported once."""
    read = world.cached(ttl=30)(lambda page: make())
    results = [read(1), read(1), read(1)]
    assert len({id(result) for result in results}) == 3
    assert len(caplog.records) == 1
    for result in results:
        if make is nothing:
            result.close()


def generator(page: int) -> Iterator[int]:
    yield page


class Shop:
    @classmethod
    def page(cls) -> None: ...


@pytest.mark.parametrize("function", [generator, numbers, staticmethod(generator), Shop.__dict__["page"]])
def test_what_cannot_be_cached_is_refused_when_it_is_decorated(world: World, function: Any) -> None:
    """Generators have nothing to keep, and other decorators have to come first."""
    with pytest.raises(LaunchKitError, match=r"cannot be cached"):
        world.cached(ttl=30, key=lambda *args: 1)(function)


def test_a_parameter_that_looks_like_a_user_needs_a_key(world: World) -> None:
    """The mistake is found when the app is started."""
    with pytest.raises(LaunchKitError, match="'current_user' looks as if it were one user's"):

        @world.cached(ttl=30)
        def read(current_user: object) -> None: ...


@pytest.mark.parametrize(
    ("options", "remedy"),
    [({"ttl": ttl}, "ttl must be") for ttl in (0, -1, float("nan"), True, "30", None, generator)]
    + [({"ttl": 1, "tags": tags}, "tags must be") for tags in ("products", ("",), (1,), {"a"})]
    + [({"ttl": 1, "max_entries": size}, "max_entries must be") for size in (0, -1, 1.5, True)],
)
def test_a_mistake_in_the_options_says_how_to_mend_it(world: World, options: dict[str, Any], remedy: str) -> None:
    """Also when the brackets are forgotten, and the function is taken for the time."""
    with pytest.raises(LaunchKitError, match=remedy):
        world.cached(**options)


# --- many callers at once ------------------------------------------------------------------------------------------


def test_five_hundred_coroutines_call_the_function_once(world: World) -> None:
    """All get the leader's result."""
    go, calls = asyncio.Event(), []

    @world.cached(ttl=30)
    async def read(page: int) -> object:
        calls.append(page)
        await go.wait()
        return object()

    async def burst() -> list[object]:
        tasks = [asyncio.create_task(read(1)) for _ in range(500)]
        await world.auntil(lambda: world.followers == 499)
        go.set()
        return await asyncio.gather(*tasks)

    assert len(set(asyncio.run(burst()))) == 1
    assert calls == [1]
    assert read.figures() == functions.FunctionFigures(hits=499, misses=1, collapsed=499, evictions=0, entries=1)


def test_a_hundred_threads_call_the_function_once(world: World, pool: ThreadPoolExecutor) -> None:
    """Those that miss before the leader has a result wait, and those that miss just after it find one."""
    go, calls = threading.Event(), []

    @world.cached(ttl=30)
    def read(page: int) -> object:
        calls.append(page)
        assert go.wait(LONG)
        return object()

    requests = [pool.submit(read, 1) for _ in range(100)]
    world.until(lambda: world.followers == 99)
    go.set()
    assert len({request.result(LONG) for request in requests}) == 1
    assert calls == [1]


def test_a_burst_that_nothing_holds_up_calls_the_function_once(world: World, pool: ThreadPoolExecutor) -> None:
    """A thread that has missed may be overtaken before it leads: it looks again."""
    calls = []

    @world.cached(ttl=30, max_entries=10_000)
    def read(page: int) -> int:
        calls.append(page)
        return page

    for page in range(200):
        start = threading.Barrier(4)
        for request in [pool.submit(lambda page, start: (start.wait(LONG), read(page)), page, start) for _ in range(4)]:
            assert request.result(LONG)[1] == page
    assert calls == list(range(200))


def test_a_thread_that_was_overtaken_finds_what_the_other_left(world: World) -> None:
    """Between the look-up and the lead another may have led: here, while the clock is asked."""

    class Overtaking(FrozenClock):
        overtake: Callable[[], object] | None = None

        def monotonic(self) -> float:
            overtake, self.overtake = self.overtake, None
            if overtake is not None:
                overtake()
            return super().monotonic()

    clock = Overtaking()
    world = World(clock=clock)
    calls = []

    @world.cached(ttl=30)
    def read(page: int) -> None:
        calls.append(page)

    clock.overtake = lambda: read(1)
    read(1)
    assert calls == [1]
    assert read.figures().hits == 1

    @world.cached(ttl=30)
    async def aread(page: int) -> None:
        calls.append(page)

    clock.overtake = lambda: asyncio_step(aread(2))
    asyncio_step(aread(2))
    assert calls == [1, 2]


def asyncio_step(coroutine: Any) -> Any:
    """Run a coroutine that does not wait."""
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    return stop.value.value


def test_an_async_leader_that_fails_or_is_cancelled_hands_over(world: World) -> None:
    """The exception is the leader's alone; the others try in turn."""
    outcomes: list[str] = ["cancelled", "fails", "value"]
    calls: list[str] = []

    @world.cached(ttl=30)
    async def read(page: int) -> str:
        calls.append(outcome := outcomes[len(calls)])
        await asyncio.sleep(0)
        if outcome == "cancelled":
            await asyncio.Event().wait()
        if outcome == "fails":
            raise ConnectionError
        return outcome

    async def scene() -> list[Any]:
        tasks = [asyncio.create_task(read(1)) for _ in range(50)]
        await world.auntil(lambda: world.followers == 49)
        tasks[0].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(scene())
    assert [type(result) for result in results].count(asyncio.CancelledError) == 1
    assert [type(result) for result in results].count(ConnectionError) == 1
    assert results.count("value") == 48
    assert calls == outcomes


def test_a_leader_in_a_thread_that_fails_hands_over(world: World, pool: ThreadPoolExecutor) -> None:
    """Not one of its followers sees its exception, and all of them follow the next one."""
    calls = []

    @world.cached(ttl=30)
    def read(page: int) -> str:
        calls.append(page)
        number = len(calls)
        world.until(lambda: world.followers == 30 - number)
        if number == 1:
            raise ConnectionError
        return "value"

    requests = [pool.submit(read, 1) for _ in range(30)]
    errors = [request.exception(LONG) for request in requests]
    assert [type(error) for error in errors if error] == [ConnectionError]
    assert calls == [1, 1]


def test_whoever_has_waited_long_enough_calls_the_function_itself(
    world: World, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leader that hangs holds nobody up for longer than that, and what the others find is used meanwhile."""
    monkeypatch.setattr(functions, "LONGEST_WAIT", 0.02)
    hang, calls = threading.Event(), []

    @world.cached(ttl=30)
    def read(page: int) -> str:
        calls.append(page)
        if len(calls) == 1:
            assert hang.wait(LONG)
        return f"value {len(calls)}"

    leader = pool.submit(read, 1)
    world.until(lambda: len(calls) == 1)
    assert pool.submit(read, 1).result(LONG) == "value 2"
    assert read(1) == "value 2"
    hang.set()
    leader.result(LONG)


def test_a_coroutine_that_has_waited_long_enough_calls_the_function_itself(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same on the event loop."""
    monkeypatch.setattr(functions, "LONGEST_WAIT", 0.02)
    calls: list[int] = []

    @world.cached(ttl=30)
    async def read(page: int) -> str:
        calls.append(page)
        if len(calls) == 1:
            await asyncio.Event().wait()
        return f"value {len(calls)}"

    async def scene() -> str:
        leader = asyncio.create_task(read(1))
        await world.auntil(lambda: len(calls) == 1)
        value = await read(1)
        leader.cancel()
        return value

    assert asyncio.run(scene()) == "value 2"


def test_the_time_is_for_all_leaders_together(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has followed one failing leader for as long as it may follows no other."""
    monkeypatch.setattr(functions, "LONGEST_WAIT", 10 * LONG)
    calls = []

    @world.cached(ttl=30)
    async def read(page: int) -> None:
        calls.append(page)
        await world.auntil(lambda: world.followers == 9 or len(calls) == 10)
        world.clock.advance(functions.LONGEST_WAIT)
        raise ConnectionError

    async def scene() -> None:
        await asyncio.gather(*[read(1) for _ in range(10)], return_exceptions=True)

    asyncio.run(asyncio.wait_for(scene(), LONG))
    assert len(calls) == 10
    assert len(world.flights) == 0


def test_a_plain_function_on_an_event_loop_never_waits(
    world: World, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To wait would block the loop for everybody, its own leader among them."""
    monkeypatch.setattr(functions, "LONGEST_WAIT", 10 * LONG)
    go, calls = threading.Event(), []

    @world.cached(ttl=30)
    def read(page: int) -> str:
        calls.append(page)
        if len(calls) == 1:
            assert go.wait(LONG)
        return "value"

    leader = pool.submit(read, 1)
    world.until(lambda: len(calls) == 1)

    async def scene() -> str:
        return read(1)

    try:
        assert pool.submit(asyncio.run, scene()).result(LONG) == "value"
        assert calls == [1, 1]
    finally:
        go.set()
    leader.result(LONG)


def test_two_functions_do_not_wait_for_each_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in flight is one function's, though another is called with the same arguments."""
    monkeypatch.setattr(functions, "LONGEST_WAIT", 10 * LONG)

    @world.cached(ttl=30)
    async def hang(page: int) -> None:
        await asyncio.Event().wait()

    @world.cached(ttl=30)
    async def read(page: int) -> int:
        return page

    async def scene() -> int:
        hanging = asyncio.create_task(hang(1))
        await world.auntil(lambda: len(world.flights) == 1)
        found = await asyncio.wait_for(read(1), LONG)
        hanging.cancel()
        return found

    assert asyncio.run(scene()) == 1


def test_a_function_that_proves_to_have_no_result_to_keep_is_called_by_each(world: World) -> None:
    """Its followers are not given the leader's stream."""

    @world.cached(ttl=30)
    async def read(page: int) -> object:
        await asyncio.sleep(0)
        return iter([page])

    async def scene() -> list[object]:
        return await asyncio.gather(*[read(1) for _ in range(20)])

    assert len(set(map(id, asyncio.run(scene())))) == 20


USER = contextvars.ContextVar[str]("user", default="nobody")


def test_the_function_runs_in_its_leaders_own_context(world: World) -> None:
    """Also when it was a follower before: no task runs what another has asked for."""
    seen = []

    @world.cached(ttl=30)
    async def read(page: int) -> str:
        seen.append((USER.get(), asyncio.current_task()))
        await asyncio.sleep(0)
        if len(seen) == 1:
            raise ConnectionError
        return USER.get()

    async def request(user: str) -> tuple[str, object]:
        USER.set(user)
        with contextlib.suppress(ConnectionError):
            await read(1)
        return USER.get(), asyncio.current_task()

    async def scene() -> list[tuple[str, object]]:
        return await asyncio.gather(*[asyncio.create_task(request(user)) for user in ("anna", "ben", "cleo")])

    requests = asyncio.run(scene())
    assert seen[0] == requests[0]
    assert seen[1] in requests[1:]
    assert len(seen) == 2


# --- invalidation --------------------------------------------------------------------------------------------------


@colours
@pytest.mark.parametrize("names", [("tag:products",), ("all:",), ("tag:other", "tag:prices")])
def test_an_invalidated_result_is_not_used_again(world: World, colour: Colour, names: tuple[str, ...]) -> None:
    """By any of its tags, or with everything else."""
    calls: list[int] = []
    read = colour(world, lambda page: calls.append(page), ttl=30, tags=("products", "prices"))
    read(1)
    world.marks.mark(names)
    read(1)
    read(1)
    assert calls == [1, 1]


def test_other_names_leave_a_result_alone(world: World) -> None:
    """A path or a tag that it does not have says nothing about it."""
    calls: list[int] = []
    read = plain(world, lambda page: calls.append(page), ttl=30, tags=["products"])
    read(1)
    world.marks.mark(("tag:prices", "path:/products", "function:elsewhere"))
    read(1)
    assert calls == [1]


def test_a_function_forgets_its_own_results_everywhere(world: World) -> None:
    """In all processes that share the marks, and no other function's."""

    def load(page: int) -> object:
        return object()

    def other(page: int) -> object:
        return object()

    here, there, others = (
        world.cached(ttl=30)(load),
        World(world.marks).cached(ttl=30)(load),
        world.cached(ttl=30)(other),
    )
    before = here(1), there(1), others(1)
    here.invalidate()
    after = here(1), there(1), others(1)
    assert [one is two for one, two in zip(before, after, strict=True)] == [False, False, True]


def test_a_result_computed_while_it_was_invalidated_is_its_callers_only(world: World) -> None:
    """The call may have read what was before the change."""
    calls = []

    @world.cached(ttl=30, tags=("products",))
    def read(page: int) -> int:
        calls.append(page)
        if len(calls) == 1:
            world.marks.mark(("tag:products",))
        return len(calls)

    assert [read(1), read(1), read(1)] == [1, 2, 2]


def test_a_follower_is_not_given_what_was_invalidated_while_it_waited(world: World) -> None:
    """It may have come after the change, and leads a call of its own."""
    go, calls = asyncio.Event(), []

    @world.cached(ttl=30, tags=("products",))
    async def read(page: int) -> int:
        calls.append(page)
        await go.wait()
        return len(calls)

    async def scene() -> list[int]:
        leader = asyncio.create_task(read(1))
        await world.auntil(lambda: len(calls) == 1)
        world.marks.mark(("tag:products",))
        followers = [asyncio.create_task(read(1)) for _ in range(10)]
        await world.auntil(lambda: world.followers == 10)
        go.set()
        return await asyncio.gather(leader, *followers)

    assert asyncio.run(scene()) == [1, *[2] * 10]


# --- tenants -------------------------------------------------------------------------------------------------------

TENANTS = st.sampled_from(["a", "b", "a:b", "b:a", "a}", "", "1"]) | st.text(max_size=3)
REQUESTS = st.lists(st.tuples(TENANTS, st.sampled_from(["a", "b:a", 1, 1.0, True, None])), min_size=2, max_size=12)


@settings(max_examples=60, deadline=None)
@given(REQUESTS)
def test_a_tenant_never_sees_anothers_result(requests: list[tuple[str, Any]]) -> None:
    """However the names are chosen, at once or one after the other, in threads or on a loop."""
    world = World()

    def load(tenant: str, page: Any) -> tuple[str, type, Any]:
        return tenant, type(page), page

    async def aload(tenant: str, page: Any) -> tuple[str, type, Any]:
        await asyncio.sleep(0)
        return load(tenant, page)

    def by(tenant: str, page: Any) -> tuple[str, Any]:
        return tenant, page

    async def burst(read: Callable[..., Awaitable[object]]) -> list[object]:
        return [
            *await asyncio.gather(*[read(*request) for request in requests]),
            *[await read(*one) for one in requests],
        ]

    expected = [load(*request) for request in requests]
    for key in (None, "{tenant}:{page}", by):
        read, aread = world.cached(30, key)(load), world.cached(30, key)(aload)
        assert [read(*request) for request in requests * 2] == expected * 2
        assert asyncio.run(burst(aread)) == expected * 2


def test_two_tenants_in_many_threads_get_their_own(world: World, pool: ThreadPoolExecutor) -> None:
    """Under concurrency, with results that end and are invalidated all the time."""

    @world.cached(ttl=30, key="{tenant.id}", tags=("all pages",), max_entries=3)
    def read(tenant: Tenant) -> int:
        return tenant.id

    def requests(number: int) -> None:
        for step in range(200):
            tenant = Tenant((number + step) % 5)
            assert read(tenant) == tenant.id
            if step % 20 == 0:
                world.marks.mark(("tag:all pages",))
                world.clock.advance(7)

    for request in [pool.submit(requests, number) for number in range(8)]:
        request.result(LONG)
    figures = read.figures()
    assert figures.hits + figures.misses == 1600
    assert figures.entries <= 3


class Tenant:
    """Somebody who pays."""

    def __init__(self, id: int) -> None:  # noqa: A002  # as models have it
        self.id = id

    def plain_page(self, page: int) -> list[int]:
        return [self.id, page]

    async def page(self, page: int) -> list[int]:
        return [self.id, page]


# --- as part of an app ---------------------------------------------------------------------------------------------


def test_a_method_is_cached_by_what_its_key_names(world: World) -> None:
    """It is bound as before, and two objects of one id share."""

    class CachedTenant(Tenant):
        plain_page = world.cached(ttl=30, key="{self.id}:{page}")(Tenant.plain_page)
        page = world.cached(ttl=30, key=lambda self, page: (self.id, page))(Tenant.page)

    assert CachedTenant(1).plain_page(2) is CachedTenant(1).plain_page(page=2)
    assert CachedTenant(2).plain_page(2) == [2, 2]
    assert asyncio.run(CachedTenant(1).page(2)) is asyncio.run(CachedTenant(1).page(2))
    assert asyncio.run(CachedTenant(2).page(2)) == [2, 2]
    assert CachedTenant.page.figures().hits == 1
    with pytest.raises(LaunchKitError, match="'self'"):
        world.cached(ttl=30)(Tenant.page)


def test_a_cached_function_looks_like_the_one_it_wraps(world: World) -> None:
    """Name, documentation, signature and colour are kept."""

    def read(page: int, *, size: int = 10) -> str:
        """Read a page."""
        return ""

    async def aread(page: int) -> str:
        return ""

    cached, acached = world.cached(ttl=30)(read), world.cached(ttl=30)(aread)
    assert inspect.signature(cached) == inspect.signature(read)
    assert (cached.__name__, cached.__doc__) == ("read", "Read a page.")  # type: ignore[attr-defined]
    assert not inspect.iscoroutinefunction(cached)
    assert inspect.iscoroutinefunction(acached)


def test_fastapi_sees_the_parameters_of_a_cached_handler_and_dependency(world: World) -> None:
    """Queries are validated, and both are computed once."""
    app, calls = FastAPI(), []

    @world.cached(ttl=30)
    async def prices(currency: str = "EUR") -> dict[str, str]:
        calls.append(currency)
        return {"currency": currency}

    wanted = Depends(prices)

    @app.get("/pages/{page}")
    @world.cached(ttl=30, key=lambda page, found: (page, found["currency"]))
    async def show(page: int, found: dict[str, str] = wanted) -> dict[str, object]:
        calls.append(str(page))
        return {"page": page, **found}

    with contextlib.closing(AsgiClient(app)) as client:
        for _ in range(2):
            assert client.request("GET", "/pages/1?currency=USD").body == b'{"page":1,"currency":"USD"}'
            assert client.request("GET", "/pages/1").body == b'{"page":1,"currency":"EUR"}'
        assert client.request("GET", "/pages/none").status == 422
    assert calls == ["USD", "1", "EUR", "1"]


def test_a_cache_that_is_switched_off_keeps_nothing() -> None:
    """Functions are called every time, and refused as they would be otherwise."""
    world = World()
    cached = FunctionCaches(world.clock, world.flights, world.marks, enabled=False).cached
    calls: list[int] = []

    @cached(ttl=30)
    def double(number: int) -> int:
        calls.append(number)
        return 2 * number

    assert [double(2), double(2)] == [4, 4]
    assert calls == [2, 2]
    assert double.figures().entries == 0
    with pytest.raises(LaunchKitError):
        cached(ttl=30)(lambda user: user)


def test_an_invalidation_is_told_to_whoever_tells_others() -> None:
    """Other machines hear of it only through the store that pages are in."""
    world, told = World(), []
    cached = FunctionCaches(world.clock, world.flights, world.marks, invalidate=told.append).cached

    @cached(ttl=30)
    def answer() -> int:
        return 42

    answer.invalidate()
    assert [name for names in told for name in names] == [f"function:{__name__}.{answer.__qualname__}"]


def test_a_child_of_a_fork_starts_with_nothing() -> None:
    """What it inherits may be locked by a thread that it does not have."""
    world = World()
    caches = FunctionCaches(world.clock, world.flights, world.marks)
    calls: list[None] = []

    @caches.cached(ttl=30)
    def answer() -> int:
        calls.append(None)
        return 42

    answer()
    caches.begin_process()
    assert (answer(), len(calls)) == (42, 2)
