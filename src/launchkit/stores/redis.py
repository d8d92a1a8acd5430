"""Connections to Redis or Valkey for both colours, with a budget for every call.

The rules:

- A call takes `BUDGET` seconds at most, and that is the whole of it: waiting for a connection, opening one, asking and
  reading. Whatever goes wrong is `StoreDown`, and the breaker then spares the next calls the wait.
- A connection is used again only after every reply that it owed was read, so that replies cannot cross; after an error
  reply it is closed as well, because the address may lead to another server by then.
- Threads take blocking connections from a bounded pool.
- An event loop has one connection. Calls that come while others are under way go out together in the next pipeline,
  which costs far less per call than a connection for each. A caller that gives up leaves its reply to be dropped.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextvars import Context
from queue import LifoQueue
from typing import Final, NamedTuple, cast
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import NoScriptError

from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import StoreDown
from launchkit.stores.breaker import Breaker

Argument = str | int | bytes
Command = tuple[Argument, ...]


class Script:
    """A Lua script that answers with one text, and the name under which a server remembers it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.name = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    def by_name(self, arguments: Command) -> Command:
        """Return the command for a server that has run the script before."""
        return ("EVALSHA", self.name, *arguments)

    def by_source(self, arguments: Command) -> Command:
        """Return the command for a server that has not, or has forgotten it."""
        return ("EVAL", self.source, *arguments)


class RedisConnections:
    """Runs Lua scripts on one Redis database.

    Args:
        url: like redis://host:6379/0, rediss://... or unix://...
        clock: for the breaker; its monotonic time is asked.
        budget: seconds that a call may take.
        name: what the log lines about an outage call the server.

    Raises:
        ValueError: if the URL is none.
    """

    BUDGET: Final = 0.25
    POOL_SIZE: Final = 32

    def __init__(self, url: str, clock: Clock, budget: float = BUDGET, name: str = "Redis") -> None:
        self.breaker = Breaker(name, clock)
        self._url = url
        self._budget = budget
        self._threads = ThreadConnections(url, budget, self.POOL_SIZE)
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, LoopConnection] = WeakKeyDictionary()

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> bytes:
        """Run a script in this thread and return its answer.

        Raises:
            StoreDown: if there is no answer within the budget.
        """
        self.breaker.before()
        try:
            answer = self._threads.call(script, (len(keys), *keys, *arguments))
        except Exception as error:
            self.breaker.failed(error)
            raise StoreDown("Redis") from error
        self.breaker.succeeded()
        return answer

    async def arun(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> bytes:
        """Run a script on the event loop and return its answer.

        Raises:
            StoreDown: if there is no answer within the budget.
        """
        self.breaker.before()
        loop = asyncio.get_running_loop()
        connection = self._loops.get(loop)
        if connection is None:
            connection = self._loops[loop] = LoopConnection(self._url, self._budget, self.breaker)
        try:
            return await connection.call(script, (len(keys), *keys, *arguments))
        except Exception as error:
            raise StoreDown("Redis") from error

    def open(self) -> redis.Connection:
        """Open a connection for the caller's own use, whether or not the breaker lets calls pass.

        Raises:
            StoreDown: if that takes longer than the budget.
        """
        try:
            return self._threads.open(time.monotonic() + self._budget)
        except Exception as error:
            self.breaker.failed(error)
            raise StoreDown("Redis") from error

    async def aclose(self) -> None:
        """Close this event loop's connection."""
        connection = self._loops.pop(asyncio.get_running_loop(), None)
        if connection is not None:
            await connection.close()

    def close(self) -> None:
        """Close the threads' connections."""
        self._threads.close()


class ThreadConnections:
    """At most `size` blocking connections. The one used last is used first, so that no more are opened than needed."""

    def __init__(self, url: str, budget: float, size: int) -> None:
        self._options = redis.ConnectionPool.from_url(
            url, socket_timeout=budget, socket_connect_timeout=budget, protocol=2
        )
        self._budget = budget
        self._size = size
        self._forget()

    def call(self, script: Script, arguments: Command) -> bytes:
        """Run a script on a connection of the pool."""
        deadline = time.monotonic() + self._budget
        if self._process != os.getpid():
            self._forget()  # after a fork: these are the parent's
        idle = self._idle
        connection = idle.get(timeout=self._budget)
        try:
            if connection is None or not _is_ready(connection):
                connection = self.open(deadline)
            try:
                answer = _ask(connection, script.by_name(arguments), deadline)
            except NoScriptError:
                answer = _ask(connection, script.by_source(arguments), deadline)
        except BaseException:
            if connection is not None:
                connection.disconnect()  # type: ignore[no-untyped-call]  # redis-py's gap
                connection = None
            raise
        finally:
            idle.put(connection)
        return answer

    def close(self) -> None:
        """Close what is idle; a connection in use is closed when it is collected."""
        idle = self._idle
        self._forget()
        while not idle.empty():
            connection = idle.get_nowait()
            if connection is not None:
                connection.disconnect()  # type: ignore[no-untyped-call]  # redis-py's gap

    def _forget(self) -> None:
        self._idle: LifoQueue[redis.Connection | None] = LifoQueue()
        for _ in range(self._size):
            self._idle.put(None)
        self._process = os.getpid()

    def open(self, deadline: float) -> redis.Connection:
        """Open a connection in a thread of its own, as nothing else bounds looking a name up and shaking hands."""
        connection = self._options.connection_class(**self._options.connection_kwargs)
        opened: Future[None] = Future()
        threading.Thread(target=_fulfil, args=(opened, connection.connect), daemon=True).start()
        try:
            opened.result(timeout=deadline - time.monotonic())
        except BaseException:
            opened.add_done_callback(lambda _: connection.disconnect())  # at once, or as soon as it is open
            raise
        return cast("redis.Connection", connection)


def _fulfil(future: Future[None], work: Callable[[], None]) -> None:
    try:
        work()
    except BaseException as error:  # noqa: BLE001  # it is raised where the future is waited for
        future.set_exception(error)
    else:
        future.set_result(None)


def _is_ready(connection: redis.Connection) -> bool:
    """Tell whether an idle connection is still open, and nothing unasked has come in on it."""
    try:
        return not connection.can_read(timeout=0)
    except (redis.RedisError, OSError):
        return False


def _ask(connection: redis.Connection, command: Command, deadline: float) -> bytes:
    packed = connection.pack_command(*command)  # type: ignore[no-untyped-call]  # redis-py's gap
    connection.send_packed_command(packed, check_health=False)  # type: ignore[no-untyped-call]  # redis-py's gap
    if not connection.can_read(timeout=max(0.0, deadline - time.monotonic())):
        raise TimeoutError
    return cast("bytes", connection.read_response())


class _Call(NamedTuple):
    script: Script
    arguments: Command
    answer: asyncio.Future[bytes]


class LoopConnection:
    """The connection of one event loop.

    What has come in already counts as in time, however busy the loop was: time is up one turn of the loop after a timer
    says so, when everything that could be read has been.
    """

    PIPELINE_SIZE: Final = 250
    """Calls that go out together at most, so that of very many the first are answered before the last are sent."""

    def __init__(self, url: str, budget: float, breaker: Breaker) -> None:
        self._pool = redis.asyncio.ConnectionPool.from_url(
            url, socket_timeout=None, socket_connect_timeout=None, protocol=2
        )
        self._budget = budget
        self._breaker = breaker
        self._waiting: list[_Call] = []
        self._sent: list[_Call] = []
        self._pipeline: asyncio.Task[None] | None = None

    async def call(self, script: Script, arguments: Command) -> bytes:
        """Run a script in the next pipeline."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes] = loop.create_future()
        self._waiting.append(_Call(script, arguments, answer))
        if self._pipeline is None:
            self._start(loop)
        timer = loop.call_later(self._budget, loop.call_soon, _fail, answer, TimeoutError())
        try:
            return await answer
        finally:
            timer.cancel()

    async def close(self) -> None:
        """Close the connection; calls under way fail."""
        if self._pipeline is not None:
            self._pipeline.cancel()
            await asyncio.wait([self._pipeline])
        await self._pool.disconnect()

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        # no context, as the pipeline is no single request's: log lines must not carry a request's id
        self._pipeline = loop.create_task(self._run_pipeline(), context=Context())
        self._timer = loop.call_later(self._budget, loop.call_soon, self._time_out, self._pipeline)
        self._pipeline.add_done_callback(self._end)

    def _time_out(self, pipeline: asyncio.Task[None]) -> None:
        if not pipeline.done():
            self._breaker.failed(TimeoutError())
            pipeline.cancel()

    def _end(self, pipeline: asyncio.Task[None]) -> None:
        self._timer.cancel()
        self._pipeline = None
        error = TimeoutError() if pipeline.cancelled() else pipeline.exception()
        if error is None and self._sent:
            self._breaker.succeeded()
        elif error is not None:
            if not pipeline.cancelled():
                self._breaker.failed(error)
            for call in (*self._sent, *self._waiting):
                _fail(call.answer, error)
            self._waiting.clear()
        self._sent = []
        if self._waiting:
            self._start(pipeline.get_loop())

    async def _run_pipeline(self) -> None:
        connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py's gap
        try:
            wanted = [call for call in self._waiting if not call.answer.done()]
            self._sent, self._waiting = wanted[: self.PIPELINE_SIZE], wanted[self.PIPELINE_SIZE :]
            unknown = await _exchange(connection, self._sent, Script.by_name)
            await _exchange(connection, unknown, Script.by_source)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        finally:
            await self._pool.release(connection)


async def _exchange(
    connection: AbstractConnection, calls: list[_Call], form: Callable[[Script, Command], Command]
) -> list[_Call]:
    """Send all calls, give each its reply, and return those whose script the server does not know."""
    if not calls:
        return []
    commands = [form(call.script, call.arguments) for call in calls]
    await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
    unknown = []
    for call in calls:
        try:
            reply = cast("bytes", await connection.read_response())
        except NoScriptError:
            unknown.append(call)
        else:
            if not call.answer.done():
                call.answer.set_result(reply)
    return unknown


def _fail(answer: asyncio.Future[bytes], error: BaseException) -> None:
    if not answer.done():
        answer.set_exception(error)
