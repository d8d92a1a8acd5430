"""Connections to Redis or Valkey for both colours, with a budget for every command.

The rules: a command and the wait for a connection take `BUDGET` seconds at most, in a thread also each step of opening
a connection; whatever goes wrong is `StoreDown`, and the breaker then spares the next requests the wait. A connection
whose command timed out or was cancelled is closed by the client library and never used again, so that replies cannot
cross. Async connections belong to the event loop that opened them, so each loop has its own pool.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, cast
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import StoreDown
from launchkit.stores.breaker import Breaker

Argument = str | int | bytes


class RedisConnections:
    """Runs Lua scripts on one Redis database."""

    BUDGET: Final = 0.25
    POOL_SIZE: Final = 32

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self.breaker = Breaker("Redis", clock)
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=self.POOL_SIZE,
            timeout=self.BUDGET,
            socket_timeout=self.BUDGET,
            socket_connect_timeout=self.BUDGET,
            retry=Retry(NoBackoff(), 0),
        )
        self._client = redis.Redis(connection_pool=pool)
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, redis.asyncio.Redis] = WeakKeyDictionary()

    def run(self, script: str, keys: Sequence[str], arguments: Sequence[Argument]) -> list[int]:
        """Run a script in this thread and return its numbers.

        Raises:
            StoreDown: if there is no answer within the budget.
        """
        self.breaker.before()
        try:
            answer = self._client.eval(script, len(keys), *keys, *arguments)
        except (redis.RedisError, OSError) as error:
            self.breaker.failed(error)
            raise StoreDown("Redis") from error
        self.breaker.succeeded()
        return cast("list[int]", answer)

    async def arun(self, script: str, keys: Sequence[str], arguments: Sequence[Argument]) -> list[int]:
        """Run a script on the event loop and return its numbers.

        Raises:
            StoreDown: if there is no answer within the budget.
        """
        self.breaker.before()
        try:
            async with asyncio.timeout(self.BUDGET):
                answer = await self._async_client().eval(script, len(keys), *keys, *arguments)
        except (redis.RedisError, OSError, TimeoutError) as error:
            self.breaker.failed(error)
            raise StoreDown("Redis") from error
        self.breaker.succeeded()
        return cast("list[int]", answer)

    def _async_client(self) -> redis.asyncio.Redis:
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            pool = redis.asyncio.BlockingConnectionPool.from_url(
                self._url,
                max_connections=self.POOL_SIZE,
                timeout=self.BUDGET,
                socket_timeout=self.BUDGET,
                socket_connect_timeout=self.BUDGET,
                retry=AsyncRetry(NoBackoff(), 0),
            )
            client = self._clients[loop] = redis.asyncio.Redis(connection_pool=pool)
        return client

    async def aclose(self) -> None:
        """Close this event loop's connections."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()
            await client.connection_pool.disconnect()

    def close(self) -> None:
        """Close the threads' connections."""
        self._client.close()
        self._client.connection_pool.disconnect()
