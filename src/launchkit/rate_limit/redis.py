"""Counts in Redis or Valkey, shared by all processes and machines: the same verdicts as in memory.

The rules:

- One script reserves in all buckets or in none. The server's clock is the only one asked, so machines need not agree.
- A log is a list of the times of its hits in microseconds, two of which may be the same. A counter is a text: the
  number of its current fixed window, the count of the window before and its own.
- When the server's clock is set back, or another server with a slower one takes over, hits of the future become hits of
  now: nobody gets a fresh quota, and nobody is locked out for longer than a window.
- Every key expires when nothing in it matters any more.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, cast
from urllib.parse import quote

from launchkit.pipeline.effects import Charge, Quota, Verdict
from launchkit.stores.redis import RedisConnections, Script

RESERVE: Final = Script("""
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

local function at(key, index) return tonumber(redis.call('LINDEX', key, index)) end

local function first_after(key, size, time)
  local low, high = 0, size
  while low < high do
    local middle = math.floor((low + high) / 2)
    if at(key, middle) <= time then low = middle + 1 else high = middle end
  end
  return low
end

local log = {}

function log.wait(key, windows)
  local last = at(key, -1)
  if last and last > now then
    for i, time in ipairs(redis.call('LRANGE', key, 0, -1)) do
      redis.call('LSET', key, i - 1, string.format('%.0f', time - last + now))
    end
  end
  local longest, exhausted = 0, 0
  for _, window in ipairs(windows) do
    local nth_from_end = at(key, -window.amount)
    if not nth_from_end then break end
    local left = nth_from_end + window.span - now
    if left > longest then longest, exhausted = left, window.amount end
  end
  return longest, exhausted
end

function log.take(key, windows)
  local last = windows[#windows]
  while (at(key, 0) or now) <= now - last.span do redis.call('LPOP', key) end
  local size = redis.call('RPUSH', key, string.format('%.0f', now))
  redis.call('PEXPIRE', key, math.ceil(last.span / 1000))
  local remaining, amount, reset = last.amount - size, last.amount, at(key, 0) + last.span - now
  for i = 1, #windows - 1 do
    local window = windows[i]
    local first = first_after(key, size, now - window.span)
    if window.amount - size + first < remaining then
      remaining, amount = window.amount - size + first, window.amount
      reset = at(key, first) + window.span - now
    end
  end
  return remaining, amount, reset
end

local counter = {}

function counter.counts(key, span)
  local index, elapsed = (now - now % span) / span, now % span / span
  local seen, before, current = string.match(redis.call('GET', key) or '', '(%d+) (%d+) (%d+)')
  seen, before, current = tonumber(seen), tonumber(before), tonumber(current)
  if not seen or seen < index - 1 then
    before, current = 0, 0
  elseif seen == index - 1 then
    before, current = current, 0
  elseif seen > index then
    redis.call('SET', key, string.format('%.0f %d %d', index, before, current), 'KEEPTTL')
  end
  return index, elapsed, before, current
end

function counter.wait(key, windows)
  local amount, span = windows[1].amount, windows[1].span
  local _, elapsed, before, current = counter.counts(key, span)
  if before * (1 - elapsed) + current + 1 <= amount then return 0, 0 end
  if current < amount then return (1 - (amount - 1 - current) / before - elapsed) * span, amount end
  return (2 - (amount - 1) / current - elapsed) * span, amount
end

function counter.take(key, windows)
  local amount, span = windows[1].amount, windows[1].span
  local index, elapsed, before, current = counter.counts(key, span)
  current = current + 1
  local text = string.format('%.0f %d %d', index, before, current)
  redis.call('SET', key, text, 'PX', math.ceil((2 - elapsed) * span / 1000))
  return math.max(0, math.floor(amount - before * (1 - elapsed) - current)), amount, (1 - elapsed) * span
end

local function answer(allowed, i, amount, remaining, reset)
  return string.format('%d %d %d %d %.0f %.0f', allowed, i - 1, amount, remaining, math.ceil(reset), now)
end

local buckets, refused = {}, nil
for i, key in ipairs(KEYS) do
  local windows = {}
  for amount, span in string.gmatch(ARGV[i], '(%d+)/(%d+)') do
    windows[#windows + 1] = {amount = tonumber(amount), span = tonumber(span)}
  end
  local kind = string.sub(ARGV[i], 1, 3) == 'log' and log or counter
  local wait, amount = kind.wait(key, windows)
  if wait > 0 and (not refused or wait > refused.wait) then refused = {i = i, amount = amount, wait = wait} end
  buckets[i] = {kind = kind, windows = windows}
end
if refused then return answer(0, refused.i, refused.amount, 0, refused.wait) end

local tightest
for i, key in ipairs(KEYS) do
  local remaining, amount, reset = buckets[i].kind.take(key, buckets[i].windows)
  if not tightest or remaining < tightest.remaining then
    tightest = {i = i, amount = amount, remaining = remaining, reset = reset}
  end
end
return answer(1, tightest.i, tightest.amount, tightest.remaining, tightest.reset)
""")
"""Keys: the buckets. Arguments: for each its kind and `amount/microseconds` of its windows, like `log 5/900000000`.

Answers with six numbers: whether the hit is allowed, the index of the charge, its amount, the remaining hits, the
microseconds to the reset, and the server's time in microseconds.
"""

RELEASE: Final = Script("""
for i, key in ipairs(KEYS) do
  local kind, number = string.match(ARGV[i], '(%a+) (%d+)')
  if kind == 'log' then
    redis.call('LREM', key, -1, number)
  else
    local index, before, current = string.match(redis.call('GET', key) or '', '(%d+) (%d+) (%d+)')
    if index == number then
      current = math.max(0, current - 1)
    elseif index and index - number == 1 then
      before = math.max(0, before - 1)
    end
    if index then redis.call('SET', key, string.format('%s %d %d', index, before, current), 'KEEPTTL') end
  end
end
return ''
""")
"""Keys: the buckets. Arguments: for each the kind, and the time of the hit (log) or the number of its window (counter).

`KEEPTTL` needs Redis 6.0.
"""


class RedisLimiter:
    """A `Limiter` on Redis 6 or later, or Valkey.

    Args:
        connections: to the server.
        namespace: sets apart the buckets of several apps on one server.
    """

    def __init__(self, connections: RedisConnections, namespace: str = "") -> None:
        self._connections = connections
        self._prefix = f"launchkit:{quote(namespace, safe='')}:limit:"

    def hit(self, charges: tuple[Charge, ...]) -> Verdict:
        """Charge every bucket or none.

        Raises:
            StoreDown: if Redis does not answer within its budget.
        """
        keys, arguments = self._request(charges)
        return _verdict(charges, keys, self._connections.run(RESERVE, keys, arguments))

    async def ahit(self, charges: tuple[Charge, ...]) -> Verdict:
        """Charge every bucket or none; see `hit`."""
        keys, arguments = self._request(charges)
        return _verdict(charges, keys, await self._connections.arun(RESERVE, keys, arguments))

    def refund(self, token: tuple[object, ...]) -> None:
        """Take hits back; those that have expired are gone already.

        Raises:
            StoreDown: if Redis does not answer within its budget.
        """
        self._connections.run(RELEASE, *_release(token))

    async def arefund(self, token: tuple[object, ...]) -> None:
        """Take hits back; see `refund`."""
        await self._connections.arun(RELEASE, *_release(token))

    def _request(self, charges: tuple[Charge, ...]) -> tuple[list[str], list[str]]:
        """Return keys and arguments for `RESERVE`. The kind is in the key, so that a bucket may change its kind."""
        keys = [f"{self._prefix}{_kind(charge.quota)}:{charge.key}" for charge in charges]
        return keys, [_argument(charge.quota) for charge in charges]


def _kind(quota: Quota) -> str:
    return "log" if quota.exact else "counter"


@lru_cache(maxsize=1024)
def _argument(quota: Quota) -> str:
    return " ".join([_kind(quota), *(f"{amount}/{_microseconds(seconds)}" for amount, seconds in quota.windows)])


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)


def _verdict(charges: tuple[Charge, ...], keys: list[str], answer: bytes) -> Verdict:
    allowed, index, amount, remaining, reset_after, now = map(int, answer.split())
    token = tuple([(key, _taken(charge.quota, now)) for key, charge in zip(keys, charges, strict=True)])
    return Verdict(allowed == 1, amount, remaining, reset_after / 1_000_000, token if allowed else (), index)


def _taken(quota: Quota, now: int) -> str:
    """Return by what `RELEASE` knows a hit again."""
    return f"log {now}" if quota.exact else f"counter {now // _microseconds(quota.longest)}"


def _release(token: tuple[object, ...]) -> tuple[list[str], list[str]]:
    entries = cast("tuple[tuple[str, str], ...]", token)
    return [key for key, _ in entries], [taken for _, taken in entries]
