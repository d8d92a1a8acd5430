"""One contract for everything that counts: in memory, on a machine and on a server, for threads and the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.stores.valkey_server import ValkeyServer

from launchkit.pipeline.effects import Charge, Limiter, Quota, StoreDown, Verdict
from launchkit.rate_limit import machine as machine_limits
from launchkit.rate_limit import redis as redis_limits
from launchkit.rate_limit.memory import MemoryLimiter
from launchkit.rate_limit.redis import RedisLimiter
from launchkit.stores.redis import RedisConnections, Script
from launchkit.testing import FrozenClock

MINUTE = 60.0
PATIENCE = 30.0
"""Seconds of budget: what is tested here is exactness, however slow the machine is."""
CLOCK = "test:clock"
about = partial(pytest.approx, abs=0.05)
"""Seconds to the resolution that is promised: a table in shared memory keeps time in ticks."""


def frozen_clock() -> FrozenClock:
    """A clock, both of whose times are at the start of a window of any usual length."""
    return FrozenClock(monotonic_seconds=3_600.0, unix_seconds=1_699_999_200.0)


def log(key: str, *windows: tuple[int, float]) -> Charge:
    return Charge(key, Quota(windows))


def counter(key: str, amount: int, seconds: float = MINUTE) -> Charge:
    return Charge(key, Quota(((amount, seconds),), exact=False))


class Counting:
    """A limiter of one kind and colour, and the time that it counts in."""

    def __init__(self, limiter: Limiter, colour: str, let_pass: Callable[[float], None]) -> None:
        self.limiter = limiter
        self.colour = colour
        self.let_pass = let_pass
        self.runner = asyncio.Runner()

    def hit(self, *charges: Charge) -> Verdict:
        if self.colour == "sync":
            return self.limiter.hit(charges)
        return self.runner.run(self.limiter.ahit(charges))

    def allowed(self, count: int, *charges: Charge) -> list[bool]:
        return [self.hit(*charges).allowed for _ in range(count)]

    def refund(self, *token: object) -> None:
        if self.colour == "sync":
            self.limiter.refund(token)
        else:
            self.runner.run(self.limiter.arefund(token))

    def many(self, count: int, *charges: Charge) -> list[Verdict]:
        """Hit so many times at once."""
        if self.colour == "sync":
            with ThreadPoolExecutor(16) as pool:
                return list(pool.map(lambda _: self.limiter.hit(charges), range(count)))
        return self.runner.run(self._amany(count, charges))

    async def _amany(self, count: int, charges: tuple[Charge, ...]) -> list[Verdict]:
        return list(await asyncio.gather(*(self.limiter.ahit(charges) for _ in range(count))))


def in_memory(colour: str) -> Iterator[Counting]:
    clock = frozen_clock()
    counting = Counting(MemoryLimiter(clock, 1000), colour, clock.advance)
    yield counting
    counting.runner.close()


def on_machine(colour: str, folder: Path) -> Iterator[Counting]:
    clock = frozen_clock()
    limiter = machine_limits.MachineLimiter((folder / "limits",), clock, 1000)
    counting = Counting(limiter, colour, clock.advance)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine_limits, "PATIENCE", PATIENCE)
        yield counting
    counting.runner.close()
    limiter.close()


def with_clock(script: Script) -> Script:
    """The same script, asking a list on the server for the time, as nobody can set the server's clock."""
    assert script.source.count("redis.call('TIME')") == 1
    return Script(script.source.replace("redis.call('TIME')", f"redis.call('LRANGE', '{CLOCK}', 0, 1)"))


class ServerClock:
    """The time that the script sees."""

    def __init__(self, valkey: ValkeyServer) -> None:
        self.seconds = frozen_clock().time()
        self._valkey = valkey
        self.advance(0)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        whole, fraction = divmod(round(self.seconds * 1_000_000), 1_000_000)
        with self._valkey.client() as client:
            client.delete(CLOCK)
            client.rpush(CLOCK, whole, fraction)


def on_server(colour: str, valkey: ValkeyServer) -> Iterator[Counting]:
    connections = RedisConnections(valkey.url, FrozenClock(), PATIENCE)
    counting = Counting(RedisLimiter(connections), colour, ServerClock(valkey).advance)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis_limits, "RESERVE", with_clock(redis_limits.RESERVE))
        yield counting
    counting.runner.run(connections.aclose())
    counting.runner.close()
    connections.close()


def make(kind: str, colour: str, request: pytest.FixtureRequest) -> Iterator[Counting]:
    if kind == "memory":
        return in_memory(colour)
    if kind == "machine":
        return on_machine(colour, request.getfixturevalue("tmp_path"))
    return on_server(colour, request.getfixturevalue("valkey"))


COLOURS = ("sync", "async")
ON_SERVER = [
    pytest.param(("redis", colour), marks=[pytest.mark.real_server, pytest.mark.real_time]) for colour in COLOURS
]
HERE = [(kind, colour) for kind in ("memory", "machine") for colour in COLOURS]


@pytest.fixture(params=[*HERE, *ON_SERVER], ids="-".join)
def counting(request: pytest.FixtureRequest) -> Iterator[Counting]:
    yield from make(*request.param, request)


@pytest.fixture(name="server", params=ON_SERVER, ids="-".join)
def _server(request: pytest.FixtureRequest) -> Iterator[Counting]:
    yield from make(*request.param, request)


class TestLimiter:
    """What `Hit` and `Refund` promise of buckets of either kind."""

    @pytest.mark.parametrize("charge", [log("a", (3, MINUTE)), counter("a", 3)], ids=["log", "counter"])
    def test_a_limit_lets_through_so_many_and_no_more(self, counting: Counting, charge: Charge) -> None:
        """Each hit takes one; at the limit the next is refused."""
        verdicts = [counting.hit(charge) for _ in range(5)]
        assert [verdict.allowed for verdict in verdicts] == [True, True, True, False, False]
        assert [verdict.remaining for verdict in verdicts] == [2, 1, 0, 0, 0]
        assert {verdict.limit for verdict in verdicts} == {3}
        assert [len(verdict.token) for verdict in verdicts] == [1, 1, 1, 0, 0]

    @pytest.mark.parametrize("kind", [lambda key: log(key, (1, MINUTE)), lambda key: counter(key, 1)])
    def test_buckets_are_apart(self, counting: Counting, kind: Callable[[str], Charge]) -> None:
        """One key's hits are nobody else's."""
        assert counting.hit(kind("a")).allowed
        assert counting.hit(kind("b")).allowed
        assert not counting.hit(kind("a")).allowed

    def test_all_are_charged_or_none(self, counting: Counting) -> None:
        """A hit that one bucket refuses consumes nothing in the others, whatever their kinds and order."""
        narrow, wide, wide_counter = log("narrow", (1, MINUTE)), log("wide", (10, MINUTE)), counter("counted", 10)
        assert counting.hit(wide_counter, narrow, wide).allowed
        for order in ((wide, narrow, wide_counter), (narrow, wide, wide_counter), (wide_counter, wide, narrow)):
            refused = counting.hit(*order)
            assert (refused.allowed, refused.limit, refused.remaining, refused.token) == (False, 1, 0, ())
            assert order[refused.charge] == narrow
        assert counting.hit(wide).remaining == 8
        assert counting.hit(wide_counter).remaining == 8

    def test_an_exhausted_counter_keeps_the_logs_uncharged(self, counting: Counting) -> None:
        """All or nothing holds the other way round too."""
        narrow, wide = counter("narrow", 1), log("wide", (10, MINUTE))
        assert counting.hit(narrow, wide).allowed
        for order in ((wide, narrow), (narrow, wide)):
            refused = counting.hit(*order)
            assert (refused.allowed, refused.limit, refused.token, order[refused.charge]) == (False, 1, (), narrow)
        assert counting.hit(wide).remaining == 8

    def test_the_tightest_bucket_is_told(self, counting: Counting) -> None:
        """Of several charges the verdict is that of the one with the least room."""
        wide, narrow = log("wide", (10, 3600)), log("narrow", (3, MINUTE))
        verdict = counting.hit(wide, narrow)
        assert (verdict.limit, verdict.remaining, verdict.charge) == (3, 2, 1)
        assert verdict.reset_after == about(60)
        for _ in range(8):
            counting.hit(wide)
        verdict = counting.hit(wide, narrow)
        assert (verdict.limit, verdict.remaining, verdict.charge) == (10, 0, 0)
        assert verdict.reset_after == about(3600)

    def test_the_first_of_equals_is_told(self, counting: Counting) -> None:
        """With as little room, or as long a wait, the charge that stands first is told."""
        charges = (log("a", (1, MINUTE)), counter("b", 1), log("c", (1, MINUTE)))
        assert counting.hit(*charges).charge == 0
        assert counting.hit(charges[0], charges[2]).charge == 0

    def test_a_refusal_tells_the_longest_wait(self, counting: Counting) -> None:
        """Of several exhausted buckets the one that opens last is told: to come back earlier would be in vain."""
        short, long = log("short", (1, MINUTE)), log("long", (1, 3600))
        counting.hit(short, long)
        counting.let_pass(10)
        for order in ((short, long), (long, short)):
            refused = counting.hit(*order)
            assert (refused.limit, order[refused.charge]) == (1, long)
            assert refused.reset_after == about(3590)

    def test_a_refund_gives_one_hit_back(self, counting: Counting) -> None:
        """What was refunded can be taken again, once, in buckets of both kinds."""
        charges = (log("a", (2, MINUTE)), counter("b", 2))
        counting.hit(*charges)
        token = counting.hit(*charges).token
        assert not counting.hit(*charges).allowed
        counting.refund(*token)
        assert counting.allowed(2, *charges) == [True, False]

    def test_a_part_of_a_token_refunds_that_part(self, counting: Counting) -> None:
        """A token has one entry for each charge, in order."""
        first, second, third = log("first", (1, MINUTE)), log("second", (1, MINUTE)), counter("third", 1)
        token = counting.hit(first, second, third).token
        assert len(token) == 3
        counting.refund(token[1])
        assert [counting.hit(charge).allowed for charge in (first, second, third)] == [False, True, False]
        counting.refund(token[2])
        assert counting.hit(third).allowed

    def test_hits_at_once_never_exceed_the_limit(self, counting: Counting) -> None:
        """200 concurrent hits against a limit of 50 get exactly 50 through, and charge the others 50 times."""
        wide = (log("b", (60, MINUTE)), counter("c", 60))
        verdicts = counting.many(200, log("a", (50, MINUTE)), *wide)
        assert sorted(verdict.remaining for verdict in verdicts if verdict.allowed) == list(range(50))
        assert [counting.hit(charge).remaining for charge in wide] == [9, 9]

    def test_hits_at_once_never_exceed_a_counter(self, counting: Counting) -> None:
        """The same for a counter."""
        verdicts = counting.many(200, counter("a", 50), log("b", (60, MINUTE)))
        assert sorted(verdict.remaining for verdict in verdicts if verdict.allowed) == list(range(50))
        assert counting.hit(log("b", (60, MINUTE))).remaining == 9


class TestLog:
    """Exact buckets."""

    def test_the_verdict_says_when_there_is_room_again(self, counting: Counting) -> None:
        """`reset_after` is the time until the oldest hit leaves the window."""
        charge = log("a", (1, MINUTE))
        assert counting.hit(charge).reset_after == about(60)
        counting.let_pass(20)
        refused = counting.hit(charge)
        assert not refused.allowed
        assert refused.reset_after == about(40)

    def test_hits_expire_one_by_one(self, counting: Counting) -> None:
        """A hit counts for the whole of its window and not longer; the window slides."""
        charge = log("a", (2, MINUTE))
        counting.hit(charge)
        counting.let_pass(40)
        assert counting.allowed(2, charge) == [True, False]
        counting.let_pass(19.5)
        assert not counting.hit(charge).allowed
        counting.let_pass(0.51)
        assert counting.allowed(2, charge) == [True, False]

    def test_hits_of_one_moment_are_several(self, counting: Counting) -> None:
        """Two hits at the same time count as two, and are given back one at a time."""
        charge = log("a", (3, MINUTE))
        tokens = [counting.hit(charge).token for _ in range(3)]
        counting.refund(*tokens[0])
        assert counting.allowed(2, charge) == [True, False]
        counting.refund(*tokens[1], *tokens[2])
        assert counting.allowed(3, charge) == [True, True, False]

    def test_every_window_holds(self, counting: Counting) -> None:
        """A bucket with two windows refuses when either is full, and tells which and for how long."""
        charge = log("a", (2, 10), (3, MINUTE))
        first = counting.hit(charge)
        assert (first.limit, first.remaining, first.reset_after) == (2, 1, about(10))
        counting.let_pass(2)
        assert counting.hit(charge).allowed
        refused = counting.hit(charge)
        assert (refused.allowed, refused.limit, refused.reset_after) == (False, 2, about(8))
        counting.let_pass(8.01)
        third = counting.hit(charge)
        assert (third.allowed, third.limit, third.remaining, third.reset_after) == (True, 3, 0, about(50))
        counting.let_pass(20)
        refused = counting.hit(charge)
        assert (refused.allowed, refused.limit, refused.reset_after) == (False, 3, about(30))

    def test_of_two_full_windows_the_longer_wait_is_told(self, counting: Counting) -> None:
        """Both are exhausted; the wait is for the one that opens last."""
        charge = log("a", (1, 10), (2, MINUTE), (3, 3600))
        assert counting.allowed(1, charge) == [True]
        counting.let_pass(55)
        assert counting.allowed(1, charge) == [True]
        refused = counting.hit(charge)
        assert (refused.limit, refused.reset_after) == (1, about(10))
        counting.let_pass(10.01)
        assert counting.allowed(1, charge) == [True]
        refused = counting.hit(charge)
        assert (refused.limit, refused.reset_after) == (3, about(3600 - 65))

    def test_a_window_counts_what_lies_within_it(self, counting: Counting) -> None:
        """The remaining hits of a short window do not suffer from hits that have left it."""
        charge = log("a", (4, 10), (9, 3600))
        counting.hit(charge)
        for _ in range(3):
            counting.let_pass(6)
            verdict = counting.hit(charge)
        assert (verdict.limit, verdict.remaining, verdict.reset_after) == (4, 2, about(4))

    def test_a_refund_of_what_has_expired_changes_nothing(self, counting: Counting) -> None:
        """A slow request may be refunded after its window."""
        charge = log("a", (1, MINUTE))
        token = counting.hit(charge).token
        counting.let_pass(61)
        assert counting.hit(charge).allowed
        counting.refund(*token)
        assert not counting.hit(charge).allowed


class TestCounter:
    """Sliding-window counters."""

    def test_the_window_before_weighs_as_much_as_of_it_still_counts(self, counting: Counting) -> None:
        """A quarter into a window, three quarters of the hits of the window before count."""
        charge = counter("a", 10)
        assert counting.allowed(11, charge) == [True] * 10 + [False]
        counting.let_pass(75)
        verdict = counting.hit(charge)
        assert (verdict.allowed, verdict.remaining, verdict.reset_after) == (True, 1, about(45))
        assert counting.allowed(2, charge) == [True, False]

    def test_a_refusal_tells_when_the_next_hit_fits(self, counting: Counting) -> None:
        """The wait ends when enough of the window before has gone by, or of this one when it alone is full."""
        charge = counter("a", 10)
        for _ in range(10):
            counting.hit(charge)
        refused = counting.hit(charge)
        assert (refused.limit, refused.reset_after) == (10, about(66))
        counting.let_pass(63)
        refused = counting.hit(charge)
        assert refused.reset_after == about(3)
        counting.let_pass(2.9)
        assert not counting.hit(charge).allowed
        counting.let_pass(0.2)
        assert counting.hit(charge).allowed

    def test_after_two_windows_nothing_counts(self, counting: Counting) -> None:
        """The window before the one before is forgotten."""
        charge = counter("a", 3)
        assert counting.allowed(4, charge) == [True, True, True, False]
        counting.let_pass(2 * MINUTE)
        assert counting.allowed(4, charge) == [True, True, True, False]

    def test_a_refund_goes_to_the_window_of_its_hit(self, counting: Counting) -> None:
        """A hit of the window before is given back there, where it weighs less than one of this window."""
        charge = counter("a", 10)
        tokens = [counting.hit(charge).token for _ in range(8)]
        counting.let_pass(90)
        assert counting.hit(charge).remaining == 5
        for token in tokens[:4]:
            counting.refund(*token)
        assert counting.hit(charge).remaining == 6

    def test_a_refund_of_what_has_expired_changes_nothing(self, counting: Counting) -> None:
        """Two windows later there is nothing left to give back."""
        charge = counter("a", 2)
        token = counting.hit(charge).token
        counting.let_pass(2 * MINUTE)
        counting.hit(charge)
        counting.refund(*token)
        assert counting.allowed(2, charge) == [True, False]

    def test_no_refund_makes_a_count_negative(self, counting: Counting) -> None:
        """A token that is given back too often does not raise the limit."""
        charge = counter("a", 2)
        token = counting.hit(charge).token
        for _ in range(3):
            counting.refund(*token)
        assert counting.allowed(3, charge) == [True, True, False]
        counting.let_pass(MINUTE)
        for _ in range(5):
            counting.refund(*token)
        assert counting.allowed(3, charge) == [True, True, False]


CHARGES = (
    log("a", (1, 10)),
    log("b", (2, 5), (3, 30)),
    log("c", (2, 1), (4, 8), (5, 60)),
    counter("d", 3, 16),
    counter("e", 5, 8),  # powers of two, in which quarters of seconds are exact
)
STEPS = st.lists(
    st.one_of(
        st.lists(st.sampled_from(CHARGES), min_size=1, max_size=4, unique=True).map(tuple),  # a hit
        st.integers(0, 40).map(lambda quarters: quarters / 4),  # seconds
        st.tuples(st.just("refund"), st.integers(0, 30)),
    ),
    max_size=25,
)


def plain(verdict: Verdict) -> tuple[object, ...]:
    return verdict.allowed, verdict.limit, verdict.remaining, verdict.charge, len(verdict.token)


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # the server is emptied for each example
)
@given(steps=STEPS)
def test_a_server_gives_the_verdicts_of_memory(server: Counting, valkey: ValkeyServer, steps: list[object]) -> None:
    """Whatever is hit, refunded and waited for: both give the same answers."""
    clock = frozen_clock()
    memory = MemoryLimiter(clock, 1000)
    with valkey.client() as client:
        client.flushdb()
    server_clock = ServerClock(valkey)
    tokens: list[tuple[tuple[object, ...], tuple[object, ...]]] = []
    for step in steps:
        match step:
            case float():
                clock.advance(step)
                server_clock.advance(step)
            case ("refund", int(number)):
                if number < len(tokens):
                    ours, theirs = tokens.pop(number)
                    memory.refund(ours)
                    server.refund(*theirs)
            case tuple(charges):
                expected, found = memory.hit(charges), server.hit(*charges)
                assert found.reset_after == pytest.approx(expected.reset_after, abs=0.000_01)
                assert plain(found) == plain(expected)
                tokens.append((expected.token, found.token))


class TestServer:
    """What a server adds: a clock that may be set back, keys that have to go, other apps."""

    def test_a_clock_set_back_gives_nobody_a_fresh_quota(self, server: Counting) -> None:
        """Hits of the future become hits of now: none is forgotten, and none counts longer than its window."""
        charge = log("a", (2, 10), (3, MINUTE))
        server.hit(charge)
        server.let_pass(4)
        server.hit(charge)
        server.let_pass(-3600)
        refused = server.hit(charge)
        assert (refused.allowed, refused.limit, refused.reset_after) == (False, 2, about(6))
        server.let_pass(6)
        assert server.allowed(2, charge) == [True, False]
        server.let_pass(50)
        assert server.allowed(2, charge) == [True, False]

    def test_a_clock_set_back_by_a_moment_keeps_hits_in_order(self, server: Counting) -> None:
        """As it happens when a replica with a slower clock takes over."""
        charge = log("a", (3, MINUTE))
        server.hit(charge)
        server.let_pass(-0.05)
        assert server.allowed(3, charge) == [True, True, False]
        assert server.hit(charge).reset_after == about(60)

    @pytest.mark.parametrize("seconds", [-1, -30, -60, -3600])
    def test_a_clock_set_back_leaves_a_counters_counts(self, server: Counting, seconds: float) -> None:
        """The counts stay; nobody waits longer than after a full window."""
        charge = counter("a", 10)
        server.let_pass(45)
        assert server.allowed(11, charge) == [True] * 10 + [False]
        server.let_pass(seconds)
        refused = server.hit(charge)
        assert not refused.allowed
        assert refused.reset_after <= MINUTE * 1.1 + 0.05
        server.let_pass(refused.reset_after + 0.001)
        assert server.allowed(2, charge) == [True, False]

    @pytest.mark.parametrize("charge", [log("a", (2, 10), (3, MINUTE)), counter("a", 3)], ids=["log", "counter"])
    def test_every_key_expires(self, server: Counting, valkey: ValkeyServer, charge: Charge) -> None:
        """Clients who never come back leave nothing behind; hits, refusals and refunds leave a key its end."""
        server.let_pass(20)
        tokens = [server.hit(charge).token for _ in range(2)]
        server.let_pass(-5)
        server.hit(charge)
        server.refund(*tokens[0])
        with valkey.client() as client:
            (key,) = set(client.keys("launchkit:*"))
            seconds = 60 if charge.quota.exact else 105
            assert seconds - 10 < client.pttl(key) / 1000 <= seconds

    def test_a_refund_of_a_key_that_is_gone_makes_none(self, server: Counting, valkey: ValkeyServer) -> None:
        """What has expired on the server is not brought back to life."""
        token = server.hit(log("a", (2, 10)), counter("b", 3)).token
        with valkey.client() as client:
            client.delete(*client.keys("launchkit:*"))
            server.refund(*token)
            assert client.keys("launchkit:*") == []

    def test_a_bucket_may_change_its_kind(self, server: Counting) -> None:
        """While a new version of the app is rolled out, the same key may be a log here and a counter there."""
        assert server.hit(log("a", (1, MINUTE))).allowed
        assert server.hit(counter("a", 1)).allowed
        assert not server.hit(log("a", (1, MINUTE))).allowed


@pytest.fixture(name="connections")
def _connections(valkey: ValkeyServer) -> Iterator[RedisConnections]:
    connections = RedisConnections(valkey.url, FrozenClock(), PATIENCE)
    yield connections
    connections.close()


@pytest.mark.real_server
def test_machines_share_one_count(valkey: ValkeyServer, connections: RedisConnections) -> None:
    """Two machines with connections of their own count in the same buckets."""
    other = RedisConnections(valkey.url, FrozenClock(), PATIENCE)
    machines = [RedisLimiter(connections), RedisLimiter(other)]
    charge = log("a", (3, MINUTE))
    assert [machines[turn % 2].hit((charge,)).allowed for turn in range(4)] == [True, True, True, False]
    other.close()


@pytest.mark.real_server
def test_apps_on_one_server_are_apart(valkey: ValkeyServer, connections: RedisConnections) -> None:
    """Each namespace has its own buckets, whatever characters it is made of."""
    charge = log("a", (1, MINUTE))
    for namespace in ("", "shop", "shop:limit"):
        limiter = RedisLimiter(connections, namespace)
        assert [limiter.hit((charge,)).allowed for _ in range(2)] == [True, False]
    with valkey.client() as client:
        assert set(client.keys()) == {
            b"launchkit::limit:log:a",
            b"launchkit:shop:limit:log:a",
            b"launchkit:shop%3Alimit:limit:log:a",
        }


@pytest.mark.real_server
def test_the_servers_own_clock_is_asked(connections: RedisConnections) -> None:
    """Hits follow one another in the server's time, whatever this machine's clock says."""
    limiter = RedisLimiter(connections)
    charge = log("a", (100, MINUTE))
    resets = [limiter.hit((charge,)).reset_after for _ in range(5)]
    assert resets[0] == 60
    assert resets == sorted(resets, reverse=True)
    assert resets[-1] > 30


@pytest.mark.real_server
@pytest.mark.parametrize("colour", COLOURS)
def test_without_its_server_a_limiter_says_so(valkey: ValkeyServer, colour: str) -> None:
    """What follows is the rule's policy: a hit and a refund raise StoreDown."""
    connections = RedisConnections(valkey.url, FrozenClock(), PATIENCE)
    counting = Counting(RedisLimiter(connections), colour, lambda seconds: None)
    token = counting.hit(log("a", (3, MINUTE))).token
    valkey.kill()
    with pytest.raises(StoreDown):
        counting.hit(log("a", (3, MINUTE)))
    with pytest.raises(StoreDown):
        counting.refund(*token)
    counting.runner.run(connections.aclose())
    counting.runner.close()
    connections.close()
