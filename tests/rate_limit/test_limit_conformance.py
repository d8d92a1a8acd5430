"""One contract for everything that counts: in memory and on a real server, for threads and for the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.stores.valkey_server import ValkeyServer

from launchkit.pipeline.effects import Charge, Limiter, StoreDown, Verdict
from launchkit.rate_limit.memory import MemoryLimiter
from launchkit.rate_limit.redis import PREFIX, RedisLimiter
from launchkit.stores.redis import RedisConnections
from launchkit.testing import FrozenClock

MINUTE = 60.0


class PatientConnections(RedisConnections):
    """What is tested here is exactness, however slow the machine is."""

    BUDGET = 30.0  # type: ignore[misc]


class Counting:
    """A limiter of one kind and colour, and a way to let time pass for its buckets."""

    def __init__(self, limiter: Limiter, colour: str, let_pass: Callable[[str, float], None]) -> None:
        self.limiter = limiter
        self.colour = colour
        self.let_pass = let_pass
        self.runner = asyncio.Runner()

    def hit(self, *charges: Charge) -> Verdict:
        if self.colour == "sync":
            return self.limiter.hit(charges)
        return self.runner.run(self.limiter.ahit(charges))

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
    clock = FrozenClock()
    counting = Counting(MemoryLimiter(clock, 1000), colour, lambda key, seconds: clock.advance(seconds))
    yield counting
    counting.runner.close()


def on_server(colour: str, valkey: ValkeyServer) -> Iterator[Counting]:
    connections = PatientConnections(valkey.url, FrozenClock())

    def age(key: str, seconds: float) -> None:
        """Make the hits older: the server's clock is the only one, and nobody can set it."""
        with valkey.client() as client:
            for member, score in client.zrange(PREFIX + key, 0, -1, withscores=True):
                client.zadd(PREFIX + key, {member: score - seconds * 1_000_000})

    counting = Counting(RedisLimiter(connections), colour, age)
    yield counting
    counting.runner.run(connections.aclose())
    counting.runner.close()
    connections.close()


@pytest.fixture(
    params=[
        ("memory", "sync"),
        ("memory", "async"),
        pytest.param(("redis", "sync"), marks=pytest.mark.real_server),
        pytest.param(("redis", "async"), marks=pytest.mark.real_server),
    ],
    ids="-".join,
)
def counting(request: pytest.FixtureRequest) -> Iterator[Counting]:
    kind, colour = request.param
    if kind == "memory":
        yield from in_memory(colour)
    else:
        yield from on_server(colour, request.getfixturevalue("valkey"))


class TestLimiter:
    """What `Hit` and `Refund` promise."""

    def test_a_limit_lets_through_so_many_and_no_more(self, counting: Counting) -> None:
        """Each hit takes one; at the limit the next is refused."""
        charge = Charge("a", 3, MINUTE)
        verdicts = [counting.hit(charge) for _ in range(5)]
        assert [verdict.allowed for verdict in verdicts] == [True, True, True, False, False]
        assert [verdict.remaining for verdict in verdicts] == [2, 1, 0, 0, 0]
        assert {verdict.limit for verdict in verdicts} == {3}

    def test_the_verdict_says_when_there_is_room_again(self, counting: Counting) -> None:
        """`reset_after` is the time until the oldest hit leaves the window."""
        charge = Charge("a", 1, MINUTE)
        assert counting.hit(charge).reset_after == pytest.approx(60, abs=1)
        counting.let_pass("a", 20)
        refused = counting.hit(charge)
        assert not refused.allowed
        assert refused.reset_after == pytest.approx(40, abs=5)

    def test_buckets_are_apart(self, counting: Counting) -> None:
        """One key's hits are nobody else's."""
        assert counting.hit(Charge("a", 1, MINUTE)).allowed
        assert counting.hit(Charge("b", 1, MINUTE)).allowed
        assert not counting.hit(Charge("a", 1, MINUTE)).allowed

    def test_all_are_charged_or_none(self, counting: Counting) -> None:
        """A hit that one bucket refuses consumes nothing in the others, whatever their order."""
        wide, narrow = Charge("wide", 10, MINUTE), Charge("narrow", 1, MINUTE)
        assert counting.hit(narrow, wide).allowed
        for order in ((wide, narrow), (narrow, wide)):
            refused = counting.hit(*order)
            assert (refused.allowed, refused.limit, refused.remaining, refused.token) == (False, 1, 0, ())
        assert counting.hit(wide).remaining == 8

    def test_the_tightest_bucket_is_told(self, counting: Counting) -> None:
        """Of several windows the verdict is that of the one with the least room."""
        wide, narrow = Charge("wide", 10, 3600), Charge("narrow", 3, MINUTE)
        verdict = counting.hit(wide, narrow)
        assert (verdict.limit, verdict.remaining) == (3, 2)
        assert verdict.reset_after == pytest.approx(60, abs=1)
        for _ in range(8):
            counting.hit(wide)
        verdict = counting.hit(narrow, wide)
        assert (verdict.limit, verdict.remaining) == (10, 0)
        assert verdict.reset_after == pytest.approx(3600, abs=5)

    def test_hits_expire_one_by_one(self, counting: Counting) -> None:
        """A hit counts for the whole of its window and not longer; the window slides."""
        charge = Charge("a", 2, MINUTE)
        counting.hit(charge)
        counting.let_pass("a", 40)
        counting.hit(charge)
        assert not counting.hit(charge).allowed
        counting.let_pass("a", 21)
        assert counting.hit(charge).allowed
        assert not counting.hit(charge).allowed

    def test_a_refund_gives_one_hit_back(self, counting: Counting) -> None:
        """What was refunded can be taken again, once."""
        charge = Charge("a", 2, MINUTE)
        counting.hit(charge)
        token = counting.hit(charge).token
        assert not counting.hit(charge).allowed
        counting.refund(*token)
        assert counting.hit(charge).allowed
        assert not counting.hit(charge).allowed

    def test_a_part_of_a_token_refunds_that_part(self, counting: Counting) -> None:
        """A token has one entry for each charge, in order."""
        first, second = Charge("first", 1, MINUTE), Charge("second", 1, MINUTE)
        token = counting.hit(first, second).token
        assert len(token) == 2
        counting.refund(token[1])
        assert not counting.hit(first).allowed
        assert counting.hit(second).allowed

    def test_a_refund_of_what_has_expired_changes_nothing(self, counting: Counting) -> None:
        """A slow request may be refunded after its window."""
        charge = Charge("a", 1, MINUTE)
        token = counting.hit(charge).token
        counting.let_pass("a", 61)
        assert counting.hit(charge).allowed
        counting.refund(*token)
        assert not counting.hit(charge).allowed

    def test_hits_at_once_never_exceed_the_limit(self, counting: Counting) -> None:
        """200 concurrent hits against a limit of 50 get exactly 50 through."""
        verdicts = counting.many(200, Charge("a", 50, MINUTE), Charge("b", 1000, MINUTE))
        assert sum(verdict.allowed for verdict in verdicts) == 50
        assert sorted(verdict.remaining for verdict in verdicts if verdict.allowed) == list(range(50))
        assert counting.hit(Charge("b", 1000, MINUTE)).remaining == 949


@pytest.mark.real_server
def test_machines_share_one_count(valkey: ValkeyServer) -> None:
    """Two machines with connections of their own count in the same buckets."""
    machines = [RedisLimiter(PatientConnections(valkey.url, FrozenClock())) for _ in range(2)]
    charge = Charge("a", 3, MINUTE)
    assert [machines[turn % 2].hit((charge,)).allowed for turn in range(4)] == [True, True, True, False]
    for machine in machines:
        machine._connections.close()


@pytest.mark.real_server
def test_a_bucket_leaves_the_server_with_its_window(valkey: ValkeyServer) -> None:
    """Every key expires, so that clients who never come back leave nothing behind."""
    connections = PatientConnections(valkey.url, FrozenClock())
    RedisLimiter(connections).hit((Charge("a", 3, 0.02), Charge("b", 3, MINUTE)))
    with valkey.client() as client:
        assert 59_000 < client.pttl(PREFIX + "b") <= 60_000
        assert client.pttl(PREFIX + "a") <= 20
    connections.close()


@pytest.mark.real_server
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_without_its_server_a_limiter_says_so(valkey: ValkeyServer, colour: str) -> None:
    """What follows is the rule's policy: a hit and a refund raise StoreDown."""
    connections = RedisConnections(valkey.url, FrozenClock())
    counting = Counting(RedisLimiter(connections), colour, lambda key, seconds: None)
    token = counting.hit(Charge("a", 3, MINUTE)).token
    valkey.kill()
    with pytest.raises(StoreDown):
        counting.hit(Charge("a", 3, MINUTE))
    with pytest.raises(StoreDown):
        counting.refund(*token)
    counting.runner.run(connections.aclose())
    counting.runner.close()
    connections.close()
