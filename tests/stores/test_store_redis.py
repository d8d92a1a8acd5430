"""The connection to Redis: a budget for everything, and one way of failing."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socketserver
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.stores.valkey_server import ValkeyServer

from launchkit.pipeline.effects import StoreDown
from launchkit.stores.redis import RedisConnections, Script
from launchkit.testing import FrozenClock

pytestmark = [pytest.mark.real_server, pytest.mark.real_time]

ECHO = Script("return ARGV[1]")
COUNT = Script("return tostring(redis.call('INCR', KEYS[1]))")
SLACK = 1.75
"""Seconds that a busy machine may add to a budget."""
PATIENCE = 30.0
"""Seconds of budget where the budget is not the point."""


class Store:
    """Connections of one colour."""

    def __init__(self, url: str, colour: str, budget: float = RedisConnections.BUDGET) -> None:
        self.clock = FrozenClock()
        self.connections = RedisConnections(url, self.clock, budget)
        self.colour = colour
        self.runner = asyncio.Runner()

    def run(self, script: Script = ECHO, keys: tuple[str, ...] = (), arguments: tuple[Any, ...] = (1,)) -> bytes:
        if self.colour == "sync":
            return self.connections.run(script, keys, arguments)
        return self.runner.run(self.connections.arun(script, keys, arguments))

    def many(self, count: int, script: Script) -> list[bytes]:
        """Run a script so many times at once."""
        if self.colour == "sync":
            with ThreadPoolExecutor(count) as pool:
                return list(pool.map(lambda number: self.connections.run(script, ("a",), (number,)), range(count)))
        return self.runner.run(self._amany(count, script))

    async def _amany(self, count: int, script: Script) -> list[bytes]:
        return list(await asyncio.gather(*(self.connections.arun(script, ("a",), (n,)) for n in range(count))))

    def is_down(self) -> bool:
        try:
            self.run()
        except StoreDown:
            return True
        return False

    def close(self) -> None:
        self.runner.run(self.connections.aclose())
        self.runner.close()
        self.connections.close()


@pytest.fixture(name="colour", params=["sync", "async"])
def _colour(request: pytest.FixtureRequest) -> str:
    colour: str = request.param
    return colour


@pytest.fixture
def store(colour: str, valkey: ValkeyServer) -> Iterator[Store]:
    store = Store(valkey.url, colour)
    yield store
    store.close()


@pytest.fixture(name="patient")
def _patient(colour: str, valkey: ValkeyServer) -> Iterator[Store]:
    store = Store(valkey.url, colour, PATIENCE)
    yield store
    store.close()


def block(seconds: float) -> None:
    """Do what an app must not do on its event loop."""
    threading.Event().wait(seconds)


def connected_clients(valkey: ValkeyServer) -> int:
    """How many clients the server has besides the one that asks."""
    with valkey.client() as client:
        return int(client.info("clients")["connected_clients"]) - 1


def test_a_script_runs_and_its_answer_comes_back(store: Store) -> None:
    """Keys and arguments reach the script."""
    script = Script("redis.call('SET', KEYS[1], ARGV[1]); return redis.call('GET', KEYS[1]) .. #KEYS .. #ARGV")
    assert store.run(script, ("a",), (42, "b", b"c")) == b"4213"


def test_a_server_that_forgot_a_script_is_told_it_again(patient: Store, valkey: ValkeyServer) -> None:
    """A new server, or one whose scripts were flushed, gets the source; then the name is enough again."""
    for forget in (lambda client: None, lambda client: client.script_flush(), lambda client: client.flushall()):
        with valkey.client() as client:
            forget(client)
        assert max(map(int, patient.many(20, COUNT))) % 20 == 0
        assert patient.run(arguments=(7,)) == b"7"
    with valkey.client() as client:
        assert client.script_exists(COUNT.name) == [True]
        before = client.info("commandstats")["cmdstat_eval"]["calls"]
        patient.run(COUNT, ("a",))
        assert client.info("commandstats")["cmdstat_eval"]["calls"] == before


def test_answers_go_to_those_who_asked(patient: Store) -> None:
    """However many ask at once, each gets the answer to its own question."""
    assert patient.many(100, ECHO) == [b"%d" % number for number in range(100)]


def test_nothing_is_connected_before_the_first_command(valkey: ValkeyServer) -> None:
    """Making connections opens none."""
    with valkey.client() as client:
        before = client.info("stats")["total_connections_received"]
        connections = RedisConnections(valkey.url, FrozenClock())
        assert client.info("stats")["total_connections_received"] == before
    connections.close()


def test_a_server_that_is_gone_is_down(store: Store, valkey: ValkeyServer) -> None:
    """A refused or torn connection is StoreDown, with what happened as its cause."""
    assert store.run() == b"1"
    valkey.kill()
    with pytest.raises(StoreDown) as caught:
        store.run()
    assert caught.value.__cause__ is not None


def test_a_server_that_is_frozen_is_down_within_the_budget(store: Store, valkey: ValkeyServer) -> None:
    """Neither a command on an open connection nor a new connection takes longer than its budget."""
    assert store.run() == b"1"
    valkey.freeze()
    for _ in range(3):
        started = time.monotonic()
        with pytest.raises(StoreDown):
            store.run()
        assert time.monotonic() - started < RedisConnections.BUDGET + SLACK
        store.clock.advance(1)


class SlowAnswers(socketserver.BaseRequestHandler):
    """Takes its time before every answer, and so for each step of opening a connection."""

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while data := self.request.recv(4096):
                threading.Event().wait(RedisConnections.BUDGET * 0.7)
                self.request.sendall(b"+OK\r\n" * data.count(b"*"))


@pytest.fixture(name="slow_url")
def _slow_url() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), SlowAnswers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"redis://127.0.0.1:{server.server_address[1]}/1"
        server.shutdown()
        thread.join()


def test_a_slow_server_gets_no_more_than_the_budget_in_all(colour: str, slow_url: str) -> None:
    """Many answers that each come in time are too late together: what counts is the time that a request waits."""
    store = Store(slow_url, colour)
    started = time.monotonic()
    with pytest.raises(StoreDown) as caught:
        store.run()
    elapsed = time.monotonic() - started
    store.close()
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert elapsed < RedisConnections.BUDGET * 2


def test_after_a_failure_the_store_is_left_alone(store: Store, valkey: ValkeyServer) -> None:
    """While the breaker is open nothing is sent at all, and nothing is waited for."""
    valkey.freeze()
    assert store.is_down()
    assert store.connections.breaker.is_down
    valkey.thaw()
    with valkey.client() as client:
        before = client.info("stats")["total_commands_processed"]
        for _ in range(10):
            assert store.is_down()
        assert client.info("stats")["total_commands_processed"] - before < 10


def test_it_comes_back_by_itself_and_says_so_once(
    store: Store, valkey: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Down, down, up: one line for each change, and the first try after the cool-down succeeds."""
    assert not store.is_down()
    valkey.kill()
    for _ in range(3):
        assert store.is_down()
        store.clock.advance(1)
    valkey.start()
    assert not store.is_down()
    assert not store.connections.breaker.is_down
    assert not store.is_down()
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]
    assert caplog.records[0].getMessage().startswith("Redis is down (")
    assert caplog.records[1].getMessage() == "Redis is back."


def test_a_thawed_server_never_answers_an_old_question(store: Store, valkey: ValkeyServer) -> None:
    """The reply to a command that timed out is never taken for the reply to a later one."""
    assert store.run(arguments=(1,)) == b"1"
    valkey.freeze()
    with pytest.raises(StoreDown):
        store.run(arguments=(2,))
    valkey.thaw()
    for number in range(3, 8):
        store.clock.advance(1)
        assert store.run(arguments=(number,)) == b"%d" % number


def test_a_refusal_is_down_too(patient: Store, valkey: ValkeyServer) -> None:
    """A server that answers with an error has counted nothing; the next try is on a new connection."""
    patient.run()
    with valkey.client() as client:
        before = client.info("stats")["total_connections_received"]
        with pytest.raises(StoreDown):
            patient.run(Script("return redis.error_reply('READONLY You cannot write against a read only replica.')"))
        patient.clock.advance(1)
        assert patient.run(arguments=(5,)) == b"5"
        assert client.info("stats")["total_connections_received"] == before + 1


def test_a_connection_that_the_server_closed_is_replaced(patient: Store, valkey: ValkeyServer) -> None:
    """Servers close idle connections; that is no outage."""
    patient.run()
    with valkey.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)
    assert patient.run(arguments=(2,)) == b"2"


def test_a_restarted_server_is_no_outage(patient: Store, valkey: ValkeyServer) -> None:
    """Between two commands a server may go and come again, with all connections and scripts lost."""
    patient.run()
    valkey.kill()
    valkey.start()
    assert patient.run(arguments=(2,)) == b"2"


def test_a_wrong_password_is_down(valkey: ValkeyServer, caplog: pytest.LogCaptureFixture) -> None:
    """The app goes on with a wrong password, and no log line shows it."""
    url = valkey.url.replace("redis://", "redis://user:never-to-be-shown@")
    for colour in ("sync", "async"):
        store = Store(url, colour)
        assert store.is_down()
        store.close()
    assert "never-to-be-shown" not in caplog.text
    assert len(caplog.records) == 2


def test_what_is_cancelled_harms_nobody(valkey: ValkeyServer) -> None:
    """Of calls under way together one is cancelled: the others get their answers, and so do those that follow."""

    async def use() -> list[bytes]:
        connections = RedisConnections(valkey.url, FrozenClock(), PATIENCE)
        await connections.arun(ECHO, (), (0,))
        valkey.freeze()
        tasks = [asyncio.create_task(connections.arun(ECHO, (), (number,))) for number in range(1, 6)]
        await asyncio.wait(tasks, timeout=0.05)
        later = [asyncio.create_task(connections.arun(ECHO, (), (number,))) for number in range(6, 9)]
        await asyncio.sleep(0)
        cancelled = [tasks.pop(2), later.pop(1)]
        for task in cancelled:
            task.cancel()
        done, _ = await asyncio.wait(cancelled)
        assert all(task.cancelled() for task in done)
        valkey.thaw()
        answers = await asyncio.gather(*tasks, *later)
        answers.append(await connections.arun(ECHO, (), (9,)))
        assert not connections.breaker.is_down
        await connections.aclose()
        connections.close()
        return answers

    assert asyncio.run(use()) == [b"1", b"2", b"4", b"5", b"6", b"8", b"9"]


def test_when_everybody_gave_up_nothing_is_sent(valkey: ValkeyServer) -> None:
    """A call that was cancelled before its pipeline left is not run, and says nothing about the server."""

    async def use() -> None:
        connections = RedisConnections(valkey.url, FrozenClock(), PATIENCE)
        await connections.arun(COUNT, ("a",), ())
        await asyncio.wait([connections._loops[asyncio.get_running_loop()]._pipeline])
        await asyncio.sleep(0)
        connections.breaker.failed(OSError())
        connections.breaker._try_again_at = 0
        task = asyncio.create_task(connections.arun(COUNT, ("a",), ()))
        await asyncio.sleep(0)
        pipeline = connections._loops[asyncio.get_running_loop()]._pipeline
        task.cancel()
        await asyncio.wait([task])
        await asyncio.wait([pipeline])
        assert connections.breaker.is_down
        connections.breaker._try_again_at = 0
        assert await connections.arun(COUNT, ("a",), ()) == b"2"
        await connections.aclose()
        connections.close()

    asyncio.run(use())


def test_calls_on_a_frozen_server_fail_together(valkey: ValkeyServer, caplog: pytest.LogCaptureFixture) -> None:
    """Those that wait for the next pipeline do not wait for a budget of their own, and one line tells of it."""

    async def use() -> float:
        connections = RedisConnections(valkey.url, FrozenClock())
        await connections.arun(ECHO, (), (0,))
        valkey.freeze()
        started = time.monotonic()
        tasks = [asyncio.create_task(connections.arun(ECHO, (), (number,))) for number in range(50)]
        await asyncio.wait(tasks, timeout=RedisConnections.BUDGET / 2)
        tasks += [asyncio.create_task(connections.arun(ECHO, (), (number,))) for number in range(50)]
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        elapsed = time.monotonic() - started
        assert {type(outcome) for outcome in outcomes} == {StoreDown}
        await connections.aclose()
        connections.close()
        return elapsed

    assert asyncio.run(use()) < RedisConnections.BUDGET + SLACK
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_caller_waits_for_its_own_budget(valkey: ValkeyServer) -> None:
    """A call that came late into a pipeline's time gets no less, one that came early no more."""

    async def use() -> None:
        connections = RedisConnections(valkey.url, FrozenClock(), 0.5)
        await connections.arun(ECHO, (), (0,))
        valkey.freeze()
        first = asyncio.create_task(connections.arun(ECHO, (), (1,)))
        await asyncio.wait([first], timeout=0.4)
        second = asyncio.create_task(connections.arun(ECHO, (), (2,)))
        await asyncio.sleep(0)
        valkey.thaw()
        assert await asyncio.gather(first, second) == [b"1", b"2"]
        await connections.aclose()
        connections.close()

    asyncio.run(use())


def test_a_busy_event_loop_is_not_taken_for_a_slow_server(valkey: ValkeyServer) -> None:
    """An answer that has come in counts as in time, though the app kept the loop from reading it."""

    async def use() -> bytes:
        connections = RedisConnections(valkey.url, FrozenClock())
        await connections.arun(ECHO, (), (0,))
        task = asyncio.create_task(connections.arun(ECHO, (), (1,)))
        while not connections._loops[asyncio.get_running_loop()]._sent:  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0)
        block(RedisConnections.BUDGET * 1.5)
        answer = await task
        assert not connections.breaker.is_down
        await connections.aclose()
        connections.close()
        return answer

    assert asyncio.run(use()) == b"1"


def test_closing_fails_what_is_under_way(valkey: ValkeyServer) -> None:
    """Nobody is left waiting, and it is no outage."""

    async def use() -> None:
        connections = RedisConnections(valkey.url, FrozenClock(), PATIENCE)
        await connections.arun(ECHO, (), (0,))
        valkey.freeze()
        task = asyncio.create_task(connections.arun(ECHO, (), (1,)))
        await asyncio.wait([task], timeout=0.05)
        await connections.aclose()
        with pytest.raises(StoreDown):
            await task
        assert not connections.breaker.is_down
        connections.close()

    asyncio.run(use())


def test_each_event_loop_has_a_connection_of_its_own(valkey: ValkeyServer) -> None:
    """One object serves one loop after another, and forgets a loop that is gone."""
    connections = RedisConnections(valkey.url, FrozenClock(), PATIENCE)

    async def use() -> bytes:
        answer = await connections.arun(ECHO, (), (1,))
        await connections.aclose()
        await connections.aclose()
        return answer

    for _ in range(2):
        assert asyncio.run(use()) == b"1"
    gc.collect()
    assert len(connections._loops) == 0
    connections.close()


def test_a_thousand_calls_at_once_are_answered_on_one_connection(valkey: ValkeyServer) -> None:
    """A burst takes neither a connection for each call nor the budget."""

    async def use() -> None:
        connections = RedisConnections(valkey.url, FrozenClock(), 2.0)
        answers = await asyncio.gather(*(connections.arun(COUNT, ("a",), ()) for _ in range(1000)))
        assert sorted(map(int, answers)) == list(range(1, 1001))
        assert connected_clients(valkey) == 1
        await connections.aclose()
        connections.close()

    asyncio.run(use())


def test_threads_share_a_bounded_number_of_connections(valkey: ValkeyServer) -> None:
    """However many threads there are, the server sees no more connections than the pool has; closing closes them."""
    store = Store(valkey.url, "sync", PATIENCE)
    store.many(100, ECHO)
    assert 1 <= connected_clients(valkey) <= RedisConnections.POOL_SIZE
    store.connections.close()
    while connected_clients(valkey):
        pass
    assert store.run(arguments=(3,)) == b"3"
    store.close()


def test_threads_that_find_no_connection_give_up_in_time(valkey: ValkeyServer) -> None:
    """The wait for a connection is a part of the budget."""
    store = Store(valkey.url, "sync")
    idle = store.connections._threads._idle
    while not idle.empty():
        idle.get()
    started = time.monotonic()
    assert store.is_down()
    assert time.monotonic() - started < RedisConnections.BUDGET + SLACK
    store.close()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # it warns of fork beside threads
def test_a_forked_process_opens_connections_of_its_own(valkey: ValkeyServer) -> None:
    """Parent and child never read each other's replies."""
    store = Store(valkey.url, "sync", PATIENCE)
    assert store.run(arguments=(1,)) == b"1"
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, b"%d %s" % (store.connections._threads._idle.qsize(), store.run(arguments=(2,))))
            os.write(writing, b" %d" % connected_clients(valkey))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100) == b"32 2 2"
    os.close(reading)
    os.close(writing)
    assert store.run(arguments=(3,)) == b"3"
    store.close()
