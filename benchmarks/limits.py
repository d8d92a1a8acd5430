"""What a limit costs: one hit on the counts, and a route with a limit against the same route without one.

A thousand visitors come in turn, each within 60 a minute, so that a log holds what it does in an app's everyday life.

- Hits are calls in this process: ours, ours behind a strategy of `limits`, the memory storage that comes with `limits`
  behind the same strategies, and throttled-py with its default store and algorithm.
- Routes are under one kit with every feature on, in production, behind a proxy, once with counts in this process and
  once in the table that the machine's workers share. The answers carry what is left of the limit. What a limit costs is
  the difference to the same request on a route without one. Logins bring address and account in a JSON body; each that
  fails is another try of some attacker's, so that its buckets are young.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import limits
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter, RateLimiter, SlidingWindowCounterRateLimiter
from throttled import RateLimiterType, Throttled

from benchmarks.in_process import Rounds, profiled, take_turns
from benchmarks.launched import data_folder, launch_settings, new_secret
from benchmarks.protocols import Answer, Asgi, Call
from benchmarks.report import Comparison, Target
from benchmarks.variants import NOTHING, Variant, addresses, is_plain, is_refused
from launchkit import LaunchKit
from launchkit.pipeline.clock import SystemClock
from launchkit.pipeline.effects import Charge, Quota
from launchkit.rate_limit.memory import MemoryLimiter
from launchkit.rate_limit.storage import BoundedMemoryStorage

VISITORS = list(itertools.islice(addresses(), 1000))
ATTACKER = "198.51.100.66"

OURS, OURS_LIMITS = "ours", "ours, moving window of limits"
MOST_HIT = 4.0
"""Microseconds."""


# --- hits ----------------------------------------------------------------------------------------------------------


class Hits:
    """Drives a function that takes a key and tells whether it is let through."""

    name = "Hits"

    @staticmethod
    def prepare(keys: Iterable[str]) -> list[str]:
        return list(keys)

    @staticmethod
    async def run(hit: Callable[[str], bool], keys: list[str]) -> float:
        started = time.process_time()
        while keys:
            hit(keys.pop())
        return time.process_time() - started

    @staticmethod
    async def ask(hit: Callable[[str], bool], key: str) -> bool:
        return hit(key)


def _hits() -> list[Variant]:
    item = limits.parse("60/minute")
    memory = MemoryLimiter(SystemClock(), 100_000)
    quota = Quota(((60, 60.0),))
    counter = Quota(((60, 60.0),), exact=False)
    throttled = Throttled(quota="60/m")
    sliding = Throttled(quota="60/m", using=RateLimiterType.SLIDING_WINDOW.value)

    def through(strategy: RateLimiter) -> Callable[[str], bool]:
        return lambda key: strategy.hit(item, key)

    functions: dict[str, Callable[[str], bool]] = {
        NOTHING: lambda _: True,
        OURS: lambda key: memory.hit((Charge(key, quota),)).allowed,
        "ours, sliding counter": lambda key: memory.hit((Charge("c" + key, counter),)).allowed,
        OURS_LIMITS: through(MovingWindowRateLimiter(BoundedMemoryStorage())),
        "ours, sliding counter of limits": through(SlidingWindowCounterRateLimiter(BoundedMemoryStorage())),
        "limits, moving window": through(MovingWindowRateLimiter(MemoryStorage())),
        "limits, sliding counter": through(SlidingWindowCounterRateLimiter(MemoryStorage())),
        "throttled-py, token bucket": lambda key: not throttled.limit(key).limited,
        "throttled-py, sliding window": lambda key: not sliding.limit(key).limited,
    }
    return [Variant(name, function, 1000, _keys, bool) for name, function in functions.items()]


def _keys(count: int) -> Iterable[str]:
    return itertools.islice(itertools.cycle(VISITORS), count)


# --- routes --------------------------------------------------------------------------------------------------------

PLAIN, LIMITED, REFUSED = "GET, no limit", "GET, limit", "GET, limit, refused"
POST, POST_401 = "POST of a login, no limit", "the same, 401"
LOGIN, FAILED_LOGIN = "login succeeds", "login fails"


@dataclass(frozen=True, slots=True)
class Promise:
    """What a route may cost: microseconds above another."""

    what: str
    name: str
    above: str
    at_most: float

    def judge(self, store: str, rounds: Rounds) -> Target:
        above = rounds.above(self.name, self.above)
        return Target(f"{self.what}, counts in {store}", above, self.at_most, "us", self.name)


PROMISES = (
    Promise("a route with one limit", LIMITED, PLAIN, 12.0),
    Promise("login by address and account, succeeding", LOGIN, POST, 30.0),
    Promise("login by address and account, failing", FAILED_LOGIN, POST_401, 30.0),
    Promise("refusing instead of serving", REFUSED, LIMITED, 0.0),
)


class Routes:
    """Limited and unlimited routes of one kit."""

    def __init__(self, store: str, data_dir: Path) -> None:
        settings = launch_settings(data_dir, new_secret())
        rules = {
            "limited": {"paths": ["/limited"], "methods": ["GET"], "limit": "60/minute"},
            "strict": {"paths": ["/strict"], "methods": ["GET"], "limit": "5/hour"},
        }
        given = settings.model_dump(exclude_unset=True)
        self._kit = LaunchKit(type(settings)(**{**given, "rate_limit": {"store": store, "rules": rules}}))
        self._tries = itertools.count()

    async def start(self) -> list[Variant]:
        await Asgi.start(self._kit)
        body = b'{"id": 42, "name": "A thing"}'
        served, denied = self._kit.asgi(Asgi.app(body)), self._kit.asgi(Asgi.app(body, 401))
        for _ in range(5):
            await Asgi.ask(served, Call("/strict", visitor=ATTACKER))
        return [
            Variant(PLAIN, served, 1000, _from_everybody(Call("/plain")), is_plain),
            Variant(LIMITED, served, 1000, _from_everybody(Call("/limited")), has_limit),
            Variant(
                REFUSED, served, 1000, lambda n: itertools.repeat(Call("/strict", visitor=ATTACKER), n), is_refused
            ),
            Variant(POST, served, 500, lambda n: _logins("/not-a-login", n), is_plain),
            Variant(LOGIN, served, 500, lambda n: _logins("/login", n), has_limit),
            Variant(POST_401, denied, 500, lambda n: self._failures("/not-a-login", n), is_denied),
            Variant(FAILED_LOGIN, denied, 500, lambda n: self._failures("/login", n), is_denied),
        ]

    async def stop(self) -> None:
        await Asgi.stop(self._kit)

    def _failures(self, path: str, count: int) -> Iterator[Call]:
        for number in itertools.islice(self._tries, count):
            visitor = f"{20 + (number >> 20)}.{number >> 12 & 255}.{number >> 4 & 255}.7"
            yield _login(path, visitor, f"victim-{number // 3}@example.org")


def _from_everybody(call: Call) -> Callable[[int], Iterable[Call]]:
    calls = [Call(call.path, call.method, visitor=visitor) for visitor in VISITORS]
    return lambda count: itertools.islice(itertools.cycle(calls), count)


def _login(path: str, visitor: str, email: str) -> Call:
    body = json.dumps({"email": email, "password": "correct horse battery staple"}).encode()
    headers = (("content-type", "application/json"), ("content-length", str(len(body))))
    return Call(path, "POST", body, headers, visitor)


def _logins(path: str, count: int) -> Iterable[Call]:
    pairs = itertools.cycle(enumerate(VISITORS))
    return (_login(path, visitor, f"user-{number}@example.org") for number, visitor in itertools.islice(pairs, count))


def has_limit(answer: Answer) -> bool:
    return answer.status == 200 and any(name.startswith("ratelimit") for name in answer.headers)


def is_denied(answer: Answer) -> bool:
    return answer.status == 401


# --- figures -------------------------------------------------------------------------------------------------------

STORES = ("memory", "machine")


def compare_hits(rounds: int, seconds: float) -> Comparison:
    """Measure one hit on each."""
    measured = asyncio.run(take_turns(Hits, _hits(), rounds, seconds))
    return Comparison(
        "One hit in memory, 60/minute, 1000 keys in turn",
        measured,
        dict.fromkeys(list(measured.microseconds)[1:], NOTHING),
        tuple(Target(f"one hit, {name}", measured.above(name), MOST_HIT, "us", name) for name in (OURS, OURS_LIMITS)),
        _profile_hits,
    )


def _profile_hits(name: str) -> str:
    (variant,) = [one for one in _hits() if one.name == name]
    return asyncio.run(profiled(Hits.run(variant.app, Hits.prepare(variant.calls(50_000)))))


def compare_routes(store: str, rounds: int, seconds: float) -> Comparison:
    """Measure requests to limited routes, with counts in one of `STORES`."""
    with data_folder() as folder:
        measured = asyncio.run(_measure_routes(Routes(store, folder), rounds, seconds))
    return Comparison(
        f"Limited routes, every feature on, counts in {store}",
        measured,
        {promise.name: promise.above for promise in PROMISES},
        tuple(promise.judge(store, measured) for promise in PROMISES),
        partial(_profile_routes, store),
    )


async def _measure_routes(routes: Routes, rounds: int, seconds: float) -> Rounds:
    try:
        return await take_turns(Asgi, await routes.start(), rounds, seconds)
    finally:
        await routes.stop()


def _profile_routes(store: str, name: str) -> str:
    with data_folder() as folder:
        return asyncio.run(_profile_route(Routes(store, folder), name))


async def _profile_route(routes: Routes, name: str) -> str:
    try:
        (variant,) = [one for one in await routes.start() if one.name == name]
        return await profiled(Asgi.run(variant.app, Asgi.prepare(variant.calls(10_000))))
    finally:
        await routes.stop()
