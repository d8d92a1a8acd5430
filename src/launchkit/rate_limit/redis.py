"""Counts in Redis or Valkey, shared by all processes and machines: the same exact log as in memory.

One script reserves in all buckets or in none. A bucket is a sorted set of hits by time; the server's clock is the only
one asked, so machines need not agree. A hit has a random name, by which it can be taken back.
"""

from __future__ import annotations

import secrets
from typing import Final, cast

from launchkit.pipeline.effects import Charge, Verdict
from launchkit.stores.redis import Argument, RedisConnections

PREFIX: Final = "launchkit:limit:"

RESERVE: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local name = ARGV[1]
local found = {}
for i, key in ipairs(KEYS) do
  local limit, window = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - window)
  local used = redis.call('ZCARD', key)
  if used >= limit then
    local oldest = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    return {0, i, 0, tonumber(oldest[2]) + window - now}
  end
  found[i] = limit - used - 1
end
local tightest = 1
for i, key in ipairs(KEYS) do
  redis.call('ZADD', key, now, name)
  redis.call('PEXPIRE', key, math.ceil(tonumber(ARGV[2 * i + 1]) / 1000))
  if found[i] < found[tightest] then tightest = i end
end
local oldest = redis.call('ZRANGE', KEYS[tightest], 0, 0, 'WITHSCORES')
return {1, tightest, found[tightest], tonumber(oldest[2]) + tonumber(ARGV[2 * tightest + 1]) - now}
"""

RELEASE: Final = """
for i, key in ipairs(KEYS) do redis.call('ZREM', key, ARGV[i]) end
return {}
"""


class RedisLimiter:
    """A `Limiter` on Redis."""

    def __init__(self, connections: RedisConnections) -> None:
        self._connections = connections

    def hit(self, charges: tuple[Charge, ...]) -> Verdict:
        """Charge every bucket or none.

        Raises:
            StoreDown: if Redis does not answer within its budget.
        """
        name = secrets.token_hex(8)
        return _verdict(charges, name, self._connections.run(RESERVE, *_request(charges, name)))

    async def ahit(self, charges: tuple[Charge, ...]) -> Verdict:
        """Charge every bucket or none; see `hit`."""
        name = secrets.token_hex(8)
        return _verdict(charges, name, await self._connections.arun(RESERVE, *_request(charges, name)))

    def refund(self, token: tuple[object, ...]) -> None:
        """Take hits back.

        Raises:
            StoreDown: if Redis does not answer within its budget.
        """
        self._connections.run(RELEASE, *_release(token))

    async def arefund(self, token: tuple[object, ...]) -> None:
        """Take hits back; see `refund`."""
        await self._connections.arun(RELEASE, *_release(token))


def _request(charges: tuple[Charge, ...], name: str) -> tuple[list[str], list[Argument]]:
    arguments: list[Argument] = [name]
    for charge in charges:
        arguments += (charge.limit, round(charge.window * 1_000_000))
    return [PREFIX + charge.key for charge in charges], arguments


def _verdict(charges: tuple[Charge, ...], name: str, answer: list[int]) -> Verdict:
    allowed, which, remaining, reset_after = answer
    token = tuple((charge.key, name) for charge in charges) if allowed else ()
    return Verdict(bool(allowed), charges[which - 1].limit, remaining, reset_after / 1_000_000, token)


def _release(token: tuple[object, ...]) -> tuple[list[str], list[Argument]]:
    entries = cast("tuple[tuple[str, str], ...]", token)
    return [PREFIX + key for key, _ in entries], [name for _, name in entries]
