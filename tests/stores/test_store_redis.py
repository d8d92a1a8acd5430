"""The connection to Redis: a budget for everything, and one way of failing."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from tests.stores.valkey_server import ValkeyServer

from launchkit.pipeline.effects import StoreDown
from launchkit.stores.redis import RedisConnections
from launchkit.testing import FrozenClock

pytestmark = pytest.mark.real_server

ECHO = "return {tonumber(ARGV[1])}"
SLACK = 0.75
"""Seconds that a busy machine may add to a budget."""


class Store:
    """Connections of one colour."""

    def __init__(self, url: str, colour: str) -> None:
        self.clock = FrozenClock()
        self.connections = RedisConnections(url, self.clock)
        self.colour = colour
        self.runner = asyncio.Runner()

    def run(self, script: str = ECHO, keys: tuple[str, ...] = (), arguments: tuple[Any, ...] = (1,)) -> list[int]:
        if self.colour == "sync":
            return self.connections.run(script, keys, arguments)
        return self.runner.run(self.connections.arun(script, keys, arguments))

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


@pytest.fixture(params=["sync", "async"])
def store(request: pytest.FixtureRequest, valkey: ValkeyServer) -> Iterator[Store]:
    store = Store(valkey.url, request.param)
    yield store
    store.close()


def test_a_script_runs_and_its_numbers_come_back(store: Store) -> None:
    """Keys and arguments reach the script."""
    script = "redis.call('SET', KEYS[1], ARGV[1]); return {tonumber(redis.call('GET', KEYS[1])), #KEYS, #ARGV}"
    assert store.run(script, ("a",), (42, "b", b"c")) == [42, 1, 3]


def test_nothing_is_connected_before_the_first_command(valkey: ValkeyServer) -> None:
    """Making connections opens none."""
    with valkey.client() as client:
        before = client.info("stats")["total_connections_received"]
        connections = RedisConnections(valkey.url, FrozenClock())
        assert client.info("stats")["total_connections_received"] == before
    connections.close()


def test_a_server_that_is_gone_is_down(store: Store, valkey: ValkeyServer) -> None:
    """A refused or torn connection is StoreDown, with what happened as its cause."""
    assert store.run() == [1]
    valkey.kill()
    with pytest.raises(StoreDown) as caught:
        store.run()
    assert caught.value.__cause__ is not None


def test_a_server_that_is_frozen_is_down_within_the_budget(store: Store, valkey: ValkeyServer) -> None:
    """Neither a command on an open connection nor a new connection takes longer than its budget."""
    assert store.run() == [1]
    valkey.freeze()
    for _ in range(3):
        started = time.monotonic()
        with pytest.raises(StoreDown):
            store.run()
        assert time.monotonic() - started < RedisConnections.BUDGET + SLACK
        store.clock.advance(1)


def test_a_slow_server_gets_no_more_than_the_budget_in_all() -> None:
    """Many answers that each come in time are too late together: what counts is the time that a request waits."""
    gone = asyncio.Event()

    async def answer_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            asyncio.get_running_loop().call_later(RedisConnections.BUDGET * 0.6, writer.write, b"+OK\r\n")
        writer.close()
        gone.set()

    async def use() -> float:
        server = await asyncio.start_server(answer_slowly, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        connections = RedisConnections(f"redis://127.0.0.1:{port}/0", FrozenClock())
        started = time.monotonic()
        with pytest.raises(StoreDown):
            await connections.arun(ECHO, (), (1,))
        elapsed = time.monotonic() - started
        await connections.aclose()
        connections.close()
        await gone.wait()
        server.close()
        await server.wait_closed()
        return elapsed

    assert asyncio.run(use()) < RedisConnections.BUDGET + 0.1


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
    assert store.run(arguments=(1,)) == [1]
    valkey.freeze()
    with pytest.raises(StoreDown):
        store.run(arguments=(2,))
    valkey.thaw()
    for number in range(3, 8):
        store.clock.advance(1)
        assert store.run(arguments=(number,)) == [number]


def test_a_refusal_is_down_too(store: Store) -> None:
    """A server that answers with an error, as one without memory does, has not counted anything."""
    with pytest.raises(StoreDown):
        store.run("return redis.error_reply('OOM command not allowed')")


def test_a_wrong_password_is_down(valkey: ValkeyServer, caplog: pytest.LogCaptureFixture) -> None:
    """The app goes on with a wrong password, and no log line shows it."""
    url = valkey.url.replace("redis://", "redis://user:never-to-be-shown@")
    for colour in ("sync", "async"):
        store = Store(url, colour)
        assert store.is_down()
        store.close()
    assert "never-to-be-shown" not in caplog.text
    assert len(caplog.records) == 2


def test_a_cancelled_command_leaves_no_reply_behind(valkey: ValkeyServer) -> None:
    """The connection of a request that was cancelled in the middle of a command is not used again."""

    async def use() -> list[int]:
        connections = RedisConnections(valkey.url, FrozenClock())
        await connections.arun(ECHO, (), (1,))
        valkey.freeze()
        task = asyncio.create_task(connections.arun(ECHO, (), (2,)))
        done, _ = await asyncio.wait([task], timeout=0.05)
        assert not done
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        valkey.thaw()
        assert not connections.breaker.is_down
        found = [(await connections.arun(ECHO, (), (number,)))[0] for number in range(3, 8)]
        await connections.aclose()
        connections.close()
        return found

    assert asyncio.run(use()) == [3, 4, 5, 6, 7]


def test_each_event_loop_has_connections_of_its_own(valkey: ValkeyServer) -> None:
    """One object serves one loop after another, and forgets a loop that is gone."""
    connections = RedisConnections(valkey.url, FrozenClock())

    async def use() -> list[int]:
        answer = await connections.arun(ECHO, (), (1,))
        await connections.aclose()
        await connections.aclose()
        return answer

    for _ in range(2):
        assert asyncio.run(use()) == [1]
    gc.collect()
    assert len(connections._clients) == 0
    connections.close()


def test_commands_at_once_share_a_bounded_number_of_connections(valkey: ValkeyServer) -> None:
    """However many requests come at once, the server sees no more connections than the pool has."""

    class Patient(RedisConnections):
        BUDGET = 20.0  # type: ignore[misc]

    connections = Patient(valkey.url, FrozenClock())

    async def use(call: Callable[[int], Awaitable[list[int]]]) -> list[list[int]]:
        answers = await asyncio.gather(*map(call, range(100)))
        with valkey.client() as client:
            assert client.info("clients")["connected_clients"] <= RedisConnections.POOL_SIZE + 1
        await connections.aclose()
        return list(answers)

    assert asyncio.run(use(lambda number: connections.arun(ECHO, (), (number,)))) == [[n] for n in range(100)]
    connections.close()
