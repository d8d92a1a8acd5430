"""One leads and the others follow, in threads and on event loops, and nobody is left waiting."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial

import pytest

from launchkit.read_cache.flights import Flight, Flights

LONG = 60.0
"""Seconds that no test gets to: whoever is woken only by its own time-out fails the test."""


def until(condition: Callable[[], bool]) -> None:
    """Return when something that another thread brings about is so."""
    deadline = time.monotonic() + LONG / 4
    while not condition():
        assert time.monotonic() < deadline, "never happened"
        time.sleep(0.001)


async def auntil(condition: Callable[[], bool]) -> None:
    """Do `until` on the event loop."""
    deadline = time.monotonic() + LONG / 4
    while not condition():
        assert time.monotonic() < deadline, "never happened"
        await asyncio.sleep(0)


@contextmanager
def threads(*works: Callable[[], object]) -> Iterator[None]:
    """Run each in a thread of its own, which nobody has seen before; they end with the block."""
    failures: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    started = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in started:
        thread.start()
    yield
    for thread in started:
        thread.join(LONG / 2)
    assert not any(thread.is_alive() for thread in started)
    assert not failures


class Source:
    """A value that is expensive to get, and the loop of a caller that wants it but once for all."""

    def __init__(self, flights: Flights) -> None:
        self.flights = flights
        self.value: str | None = None
        self.calls = 0

    def get(self, call: Callable[[], str]) -> str:
        again = False
        while True:
            flight, leads = self.flights.join("key", again=again)
            if not leads:
                flight.wait(LONG)
                again = True
                if self.value is not None:
                    return self.value
                continue
            try:
                self.calls += 1
                self.value = call()
                return self.value
            finally:
                flight.end()

    async def aget(self, call: Callable[[], Awaitable[str]]) -> str:
        again = False
        while True:
            flight, leads = self.flights.join("key", again=again)
            if not leads:
                await flight.await_end(LONG)
                again = True
                if self.value is not None:
                    return self.value
                continue
            try:
                self.calls += 1
                self.value = await call()
                return self.value
            finally:
                flight.end()


# --- who leads -----------------------------------------------------------------------------------------------------


def test_the_first_leads_and_the_next_follows_the_same_flight() -> None:
    """A flight is one key's, and its leader is told so."""
    flights = Flights()
    flight, leads = flights.join("key")
    assert leads

    def follow() -> None:
        assert flights.join("key") == (flight, False)

    with threads(follow):
        pass
    assert flights.join("other")[1]


def test_after_the_end_the_next_one_leads() -> None:
    """Ending a flight frees its key."""
    flights = Flights()
    first, _ = flights.join("key")
    first.end()
    assert first.ended
    second, leads = flights.join("key")
    assert leads
    assert second is not first
    assert not second.ended


def test_beginning_never_follows() -> None:
    """Whoever has something to make do with leads or lets it be."""
    flights = Flights()
    flight = flights.begin("key")
    assert flight is not None
    assert flights.begin("key") is None
    flight.end()
    assert flights.begin("key") is not None


def test_a_flight_that_ended_before_ends_nobody_elses() -> None:
    """Ending is idempotent: the second time it is another's flight that has the key."""
    flights = Flights()
    late = flights.begin("key")
    assert late is not None
    late.end()
    current = flights.begin("key")
    assert current is not None
    late.end()
    assert not current.ended
    assert flights.begin("key") is None


def test_when_too_many_are_in_flight_each_goes_on_alone() -> None:
    """What is held is bounded: further flights are led by everyone and followed by nobody."""
    flights = Flights(max_flights=2)
    for key in ("a", "b"):
        assert flights.begin(key) is not None
    assert flights.begin("c") is None
    alone, leads = flights.join("c")
    assert leads
    assert flights.join("c")[1]
    assert len(flights) == 2
    alone.end()
    assert len(flights) == 2
    assert flights.begin("a") is None


# --- waking --------------------------------------------------------------------------------------------------------


def test_waiting_for_what_has_ended_returns_at_once() -> None:
    """A follower that comes too late misses no wake-up: there is none to wait for."""
    flight = Flights().begin("key")
    assert flight is not None
    flight.end()
    flight.wait(LONG)
    asyncio.run(asyncio.wait_for(flight.await_end(LONG), LONG / 4))


def test_five_hundred_coroutines_call_once() -> None:
    """Concurrent misses are collapsed."""
    source = Source(Flights())
    go = asyncio.Event()

    async def slow() -> str:
        await go.wait()
        return "value"

    async def burst() -> list[str]:
        tasks = [asyncio.create_task(source.aget(slow)) for _ in range(500)]
        await auntil(lambda: _followers(source.flights) == 499)
        go.set()
        return await asyncio.gather(*tasks)

    assert asyncio.run(burst()) == ["value"] * 500
    assert source.calls == 1


def test_a_hundred_new_threads_call_once() -> None:
    """A server that makes a thread for each request has no pool to exhaust: all but the leader wait."""
    source = Source(Flights())
    go = threading.Event()

    def slow() -> str:
        assert go.wait(LONG)
        return "value"

    with threads(*[lambda: source.get(slow)] * 100):
        until(lambda: _followers(source.flights) == 99)
        go.set()
    assert source.calls == 1
    assert source.flights.threads.waiting == 0


def test_a_failed_leader_hands_over_to_one_of_its_followers() -> None:
    """An error is its leader's: the others try again, one of them first, new threads all following that one."""
    source = Source(Flights())
    go, go_again = threading.Event(), threading.Event()

    def failing() -> str:
        assert go.wait(LONG)
        raise ConnectionError

    def working() -> str:
        assert go_again.wait(LONG)
        return "value"

    def lead() -> None:
        with pytest.raises(ConnectionError):
            source.get(failing)

    with threads(lead):
        until(lambda: len(source.flights) == 1)
        with threads(*[lambda: source.get(working)] * 50):
            until(lambda: _followers(source.flights) == 50)
            go.set()
            until(lambda: source.calls == 2 and _followers(source.flights) == 49)
            go_again.set()
    assert source.calls == 2


def test_a_cancelled_leader_hands_over_to_one_of_its_followers() -> None:
    """Who gives up takes nobody along."""
    source = Source(Flights())

    async def never() -> str:
        await asyncio.Event().wait()
        raise AssertionError

    async def working() -> str:
        await asyncio.sleep(0)
        return "value"

    async def scene() -> list[str]:
        leader = asyncio.create_task(source.aget(never))
        await auntil(lambda: len(source.flights) == 1)
        followers = [asyncio.create_task(source.aget(working)) for _ in range(50)]
        await auntil(lambda: _followers(source.flights) == 50)
        leader.cancel()
        return await asyncio.gather(*followers)

    assert asyncio.run(scene()) == ["value"] * 50
    assert source.calls == 2


def test_one_flight_is_followed_from_threads_and_from_two_event_loops() -> None:
    """The end reaches every waiter, wherever it waits and wherever the flight is ended."""
    flight = Flights().begin("key")
    assert flight is not None

    def loop() -> None:
        async def follow_all() -> None:
            await asyncio.gather(*[flight.await_end(LONG) for _ in range(10)])

        asyncio.run(follow_all())

    with threads(loop, loop, lambda: flight.wait(LONG)):
        until(lambda: flight.followers == 21)
        flight.end()
    assert flight.followers == 0


def test_waiting_ends_with_its_time() -> None:
    """A follower waits as long as it says, and leaves nothing behind."""
    flight = Flights().begin("key")
    assert flight is not None
    for seconds in (0.01, 0.0, -1.0):
        flight.wait(seconds)
        asyncio.run(flight.await_end(seconds))
    assert not flight.ended
    assert flight.followers == 0
    flight.end()


def test_a_cancelled_waiter_leaves_nothing_behind() -> None:
    """Its client has gone: the flight forgets it, and goes on."""
    flight = Flights().begin("key")
    assert flight is not None

    async def scene() -> None:
        waiter = asyncio.create_task(flight.await_end(LONG))
        await auntil(lambda: flight.followers == 1)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert flight.followers == 0
        flight.end()

    asyncio.run(scene())


def test_a_waiter_cancelled_while_it_is_woken_is_left_alone() -> None:
    """Between the call that wakes and the waking itself a waiter may go."""
    flight = Flights().begin("key")
    assert flight is not None

    async def scene() -> None:
        waiter, other = (asyncio.create_task(flight.await_end(LONG)) for _ in range(2))
        await auntil(lambda: flight.followers == 2)
        flight.end()
        waiter.cancel()
        await asyncio.gather(waiter, other, return_exceptions=True)
        assert waiter.cancelled()
        assert other.exception() is None

    asyncio.run(scene())


def test_ending_twice_wakes_once() -> None:
    """The second end may come before anyone woken by the first has run."""
    flight = Flights().begin("key")
    assert flight is not None
    problems: list[dict[str, object]] = []

    async def scene() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, problem: problems.append(problem))
        waiter = asyncio.create_task(flight.await_end(LONG))
        await auntil(lambda: flight.followers == 1)
        flight.end()
        flight.end()
        await waiter

    asyncio.run(scene())
    assert not problems


def test_a_loop_that_was_closed_meanwhile_is_passed_over() -> None:
    """Who waited there is gone; those elsewhere are woken all the same."""
    flight = Flights().begin("key")
    assert flight is not None
    loop = asyncio.new_event_loop()
    waiter = flight.await_end(LONG)
    task = loop.create_task(waiter)
    loop.run_until_complete(asyncio.sleep(0))
    assert flight.followers == 1
    loop.close()
    with threads(lambda: flight.wait(LONG)):
        until(lambda: flight.followers == 2)
        flight.end()
    assert not task.done()
    waiter.close()


def test_a_leader_may_be_ended_where_the_lock_is_held() -> None:
    """The garbage collector may run a leader's `finally` inside of any call of this thread's."""
    flights = Flights()
    flight = flights.begin("key")
    assert flight is not None

    def collect() -> None:
        with flights.lock:
            flight.end()

    with threads(collect):
        pass
    assert flight.ended


# --- threads of a pool ---------------------------------------------------------------------------------------------


def test_at_most_half_of_a_pool_waits() -> None:
    """Eight threads that were seen before: while one leads, four wait and the rest go on alone."""
    source = Source(Flights())
    go, warm = threading.Event(), threading.Barrier(8)

    def warm_up() -> None:
        flight, _ = source.flights.join(object())
        flight.end()
        warm.wait(LONG)  # so that each of the eight threads takes one

    def slow() -> str:
        assert go.wait(LONG)
        return "value"

    with ThreadPoolExecutor(8) as pool:
        wait([pool.submit(warm_up) for _ in range(8)])
        requests = [pool.submit(source.get, slow) for _ in range(8)]
        until(lambda: source.calls + source.flights.threads.waiting == 8)
        waiting = source.flights.threads.waiting
        go.set()
        assert [request.result(LONG) for request in requests] == ["value"] * 8
    assert waiting == 4
    assert source.calls == 4


def test_a_thread_that_has_come_too_many_times_does_not_wait_at_all() -> None:
    """Where join has let too many pass at once, waiting itself refuses."""
    flights = Flights()
    for _ in range(2):
        flights.join(object())
    flight = flights.begin("key")
    assert flight is not None
    flight.wait(LONG)
    assert not flight.ended
    alone, leads = flights.join("key")
    assert leads
    alone.end()
    assert not flight.ended
    assert flights.begin("key") is None


def test_a_thread_stays_new_while_it_asks_again_for_the_same_request() -> None:
    """It is a second request that makes a thread one of a pool, not a second try."""
    flights = Flights()
    flight = flights.begin("key")
    outcomes = []

    def request() -> None:
        outcomes.append(flights.join("key") == (flight, False))
        outcomes.append(flights.join("key", again=True) == (flight, False))
        outcomes.append(flights.join("key") == (flight, False))

    with threads(request):
        pass
    assert outcomes == [True, True, False]


def test_dead_threads_no_longer_count() -> None:
    """A pool is as large as the threads of it that live."""
    flights = Flights()
    with threads(*[lambda: flights.join(object())] * 20):
        pass
    for _ in range(2):
        flights.join(object())
    flights.begin("key")
    assert flights.join("key")[1], "one living thread has no half that could wait"


def test_coroutines_are_not_counted() -> None:
    """Waiting on an event loop occupies no thread."""
    flights = Flights()
    for _ in range(2):
        flights.join(object())
    flight = flights.begin("key")
    assert flight is not None

    async def scene() -> None:
        followers = [asyncio.create_task(flight.await_end(LONG)) for _ in range(20)]
        assert flights.join("key") == (flight, False)
        await auntil(lambda: flight.followers == 20)
        assert flights.threads.waiting == 0
        flight.end()
        await asyncio.gather(*followers)

    asyncio.run(scene())


# --- everything at once --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_nobody_is_left_waiting_whoever_ends_fails_or_gives_up(seed: int) -> None:
    """Threads and two loops race for three keys; leaders end at random, twice, from elsewhere, or are cancelled."""
    flights = Flights(max_flights=2)
    ends = ThreadPoolExecutor(2)

    def end(flight: Flight, chance: random.Random) -> None:
        if chance.random() < 0.5:
            ends.submit(flight.end)
        else:
            flight.end()
            flight.end()

    def in_thread(number: int) -> None:
        chance = random.Random(f"{seed} {number}")
        for _ in range(60):
            flight, leads = flights.join(chance.randrange(3), again=chance.random() < 0.5)
            if leads:
                end(flight, chance)
            else:
                flight.wait(chance.choice([LONG, LONG, 0.0, 0.0005]))

    async def on_loop(number: int) -> None:
        chance = random.Random(f"{seed} {number} loop")
        for _ in range(60):
            flight, leads = flights.join(chance.randrange(3))
            if leads:
                await asyncio.sleep(0)
                end(flight, chance)
                continue
            waiter = asyncio.create_task(flight.await_end(chance.choice([LONG, LONG, 0.0, 0.0005])))
            await asyncio.sleep(0)
            if chance.random() < 0.3:
                waiter.cancel()
            await asyncio.wait({waiter})

    async def loop(first: int) -> None:
        await asyncio.gather(*[on_loop(first + number) for number in range(8)])

    with threads(
        *[partial(in_thread, number) for number in range(8)],
        lambda: asyncio.run(loop(0)),
        lambda: asyncio.run(loop(100)),
    ):
        pass
    ends.shutdown()
    assert len(flights) == 0
    assert flights.threads.waiting == 0


def _followers(flights: Flights) -> int:
    flight = flights.by_key.get("key")
    return 0 if flight is None else flight.followers


def test_a_child_of_a_fork_has_no_flights_of_its_parent() -> None:
    """They would never end there, and a thread that the child does not have may hold the lock."""
    flights = Flights()
    flights.join("page")
    with flights.lock:
        flights.begin_process()
    assert flights.join("page")[1]
