"""The cache when Redis is away, slow, full or full of nonsense: misses, soon, and back to normal by itself."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import pytest
from tests.read_cache.redis_machines import PATIENCE, Machine, eventually, key_of, names_of
from tests.stores.valkey_server import ValkeyServer, _valkey, _valkey_process
from tests.support.exchanges import WrittenExchange

from launchkit.pipeline.clock import SystemClock
from launchkit.read_cache.redis import TieredResponses

__all__ = ["_valkey", "_valkey_process"]  # fixtures

pytestmark = [pytest.mark.real_server, pytest.mark.real_time]

MakeMachine = Callable[..., Machine]
Trouble = Callable[[ValkeyServer], AbstractContextManager[None]]
SLACK = 1.75
"""Seconds that a busy machine may add to a budget."""
BUDGET = 3 * TieredResponses.BUDGET
"""Seconds: what a user has would be over at times on a machine that does much else."""


@pytest.fixture(params=["sync", "async"])
def machine(request: pytest.FixtureRequest, valkey: ValkeyServer) -> Iterator[MakeMachine]:
    """Make machines that share a server, in both colours, with the budget that they have in real life."""
    made: list[Machine] = []

    def make(url: str = valkey.url, **options: object) -> Machine:
        made.append(Machine(url, request.param, **{"budget": BUDGET, **options}))
        return made[-1]

    yield make
    for one in made:
        one.close()


@contextmanager
def killed(valkey: ValkeyServer) -> Iterator[None]:
    valkey.kill()
    yield
    valkey.start()


@contextmanager
def frozen(valkey: ValkeyServer) -> Iterator[None]:
    valkey.freeze()
    yield
    valkey.thaw()


@contextmanager
def read_only(valkey: ValkeyServer) -> Iterator[None]:
    with valkey.client() as client:
        client.replicaof("127.0.0.1", "1")
        try:
            yield
        finally:
            client.replicaof("NO", "ONE")


@contextmanager
def full(valkey: ValkeyServer) -> Iterator[None]:
    with valkey.client() as client:
        client.config_set("maxmemory", 1)
        try:
            yield
        finally:
            client.config_set("maxmemory", 0)


everything_broken = pytest.mark.parametrize("trouble", [killed, frozen, read_only, full])
away = pytest.mark.parametrize("trouble", [killed, frozen, read_only])


def in_time(call: Callable[[], object]) -> object:
    """Return what a call returns; fail if it takes longer than the budget."""
    started = time.monotonic()
    outcome = call()
    assert time.monotonic() - started < BUDGET + SLACK
    return outcome


def works_again(one: Machine, other: Machine, path: str) -> bool:
    """Whether what one machine stores is found by the other, one second after the last attempt."""
    for machine in (one, other):
        machine.clock.advance(1)
    one.put(path, b"new")
    return one.store.is_listening and other.store.is_listening and other.body(path) == b"new"


@everything_broken
def test_whatever_happens_to_the_server_nothing_raises_and_nothing_waits(
    machine: MakeMachine, valkey: ValkeyServer, trouble: Trouble
) -> None:
    """Look-ups, stores and invalidations take their budget at most; what they lose comes back by itself."""
    one, other = machine().listening(), machine().listening()
    one.put("/a", b"page")
    with trouble(valkey):
        for _ in range(3):
            assert in_time(partial(one.body, "/new")) is None
            found = in_time(partial(one.fetch, "/a"))
            in_time(partial(one.keep, "/a", one.response(b"other"), found.moment))
            in_time(partial(one.invalidate, "path:/a"))
            assert in_time(partial(one.body, "/a")) is None
            one.clock.advance(1)
    eventually(lambda: works_again(one, other, "/b"))
    eventually(lambda: one.clock.advance(1) or not one.store._outbox.unconfirmed())
    assert one.body("/a") is None
    eventually(lambda: other.body("/a") is None)


@away
def test_an_outage_is_told_once_and_so_is_its_end(
    machine: MakeMachine, valkey: ValkeyServer, trouble: Trouble, caplog: pytest.LogCaptureFixture
) -> None:
    """One line when the server goes, one when it is back, however many requests, retries and reconnections it takes."""
    one = machine().listening()
    one.put("/a", b"page")
    with trouble(valkey):
        for _ in range(5):
            one.body("/new")
            one.store.invalidate_soon(("path:/b",))
            one.clock.advance(1)
        eventually(lambda: one.store._outbox.unconfirmed() == {"path:/b"})
    eventually(lambda: works_again(one, one, "/c"))
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]
    assert caplog.records[0].getMessage().startswith("Redis for the read cache is down (")
    assert caplog.records[1].getMessage() == "Redis for the read cache is back."


@pytest.mark.parametrize("trouble", [killed, frozen])
def test_while_the_server_is_away_memory_does_not_answer(
    machine: MakeMachine, valkey: ValkeyServer, trouble: Trouble
) -> None:
    """Another machine may change what nobody here would hear of."""
    one = machine().listening()
    one.put("/a", b"page")
    assert one.in_memory("/a") == b"page"
    with trouble(valkey):
        eventually(lambda: one.in_memory("/a") is None)
        assert one.body("/a") is None
        one.store.store_now(key_of("/a"), one.response(b"new"), names_of("/a"), one.store.moment())
        assert one.in_memory("/a") is None
    eventually(lambda: one.store.is_listening)
    assert one.in_memory("/a") is None


def test_a_server_that_is_away_is_not_waited_for_again_and_again(machine: MakeMachine, valkey: ValkeyServer) -> None:
    """One look-up finds out; those of the next second are misses at once."""
    one = machine().listening()
    valkey.freeze()
    assert in_time(partial(one.body, "/a")) is None
    started = time.monotonic()
    for _ in range(200):
        assert one.fetch("/a") == (None, (one.marks.moment(), None))
    assert time.monotonic() - started < BUDGET * 5


def test_what_waits_to_be_written_is_dropped_with_the_server(machine: MakeMachine, valkey: ValkeyServer) -> None:
    """A record is not worth a wait, and nothing piles up."""
    one = machine().listening()
    moments = [one.fetch(f"/{number}").moment for number in range(5)]
    valkey.kill()
    for number, moment in enumerate(moments):
        one.keep(f"/{number}", one.response(b"page"), moment)
    assert one.store.dropped == 5


def test_a_full_server_goes_on_answering(
    machine: MakeMachine, valkey: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What is there is found, what is new is dropped, what is invalidated is invalid; that is no outage."""
    one, other = machine().forgetful(), machine().forgetful()
    one.put("/a", b"page")
    with full(valkey):
        one.put("/b", b"page")
        assert one.store.dropped == 1
        assert other.body("/a") == b"page"
        assert other.body("/b") is None
        one.invalidate("path:/a")
        assert other.body("/a") is None
        assert one.body("/a") is None
    assert caplog.records == []
    one.put("/a", b"new")
    assert other.body("/a") == b"new"


def test_an_invalidation_during_an_outage_comes_about_after_it(machine: MakeMachine, valkey: ValkeyServer) -> None:
    """Neither this process nor another finds what was invalidated, although Redis still has it when it is back."""
    one, other = machine().listening(), machine().listening()
    one.put("/a", b"page")
    assert other.body("/a") == b"page"
    with read_only(valkey):
        one.invalidate("path:/a")
        assert one.store._outbox.unconfirmed() == {"path:/a"}
        assert one.body("/a") is None
    eventually(lambda: one.clock.advance(1) or not one.store._outbox.unconfirmed())
    other.clock.advance(1)
    eventually(lambda: other.body("/a") is None)
    assert one.body("/a") is None


def test_a_wrong_password_is_an_outage_and_in_no_log(
    machine: MakeMachine, valkey: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Every look-up is a miss; one line says that the server is down, none says the password."""
    password = secrets.token_urlsafe(16)
    one = machine(valkey.url.replace("redis://", f"redis://user:{password}@"))
    for _ in range(3):
        assert in_time(partial(one.body, "/a")) is None
        one.invalidate("path:/a")
        one.clock.advance(1)
    assert len(caplog.records) == 1
    assert password not in caplog.text


# --- a server that has lost something, or holds something else ------------------------------------------------------


def test_a_flushed_server_begins_a_new_epoch(machine: MakeMachine, valkey: ValkeyServer) -> None:
    """What was looked up before is not stored after: nobody knows what was invalidated in between."""
    one, other = machine().forgetful(), machine().forgetful()
    found = one.fetch("/a")
    with valkey.client() as client:
        client.flushall()
    one.keep("/a", one.response(b"old"), found.moment)
    assert other.body("/a") is None
    one.keep("/a", one.response(b"old"), found.moment)
    assert other.body("/a") is None
    one.put("/a", b"new")
    assert other.body("/a") == b"new"


def test_records_of_another_epoch_do_not_count(machine: MakeMachine, valkey: ValkeyServer) -> None:
    """When only the book is gone, evicted or lost, so is what it knew of invalidations."""
    one = machine().forgetful()
    one.put("/a", b"page")
    one.put("/b", b"page")
    one.invalidate("path:/b")
    with valkey.client() as client:
        client.delete(one.store._book)
        assert len(client.keys("launchkit:*")) == 2
    assert one.body("/a") is None
    assert one.body("/b") is None
    one.put("/a", b"new")
    with valkey.client() as client:
        client.delete(one.store._book)
    one.invalidate("path:/c")
    assert one.body("/a") is None


def test_another_run_of_the_server_begins_a_new_epoch(machine: MakeMachine, valkey: ValkeyServer) -> None:
    """A snapshot or a replica may hold what was invalidated since, and nothing of the invalidation."""
    one, other = machine().forgetful(), machine().forgetful()
    one.put("/a", b"page")
    with valkey.client() as client:
        client.hset(one.store._book, "server", "another run's id")
        machine().listening()
        epochs = client.hget(one.store._book, "epoch")
        assert other.body("/a") is None
        one.put("/a", b"new")
        machine().listening()
        assert client.hget(one.store._book, "epoch") == epochs
    assert other.body("/a") == b"new"


def test_a_server_that_does_not_say_who_it_is_is_used_all_the_same(machine: MakeMachine, valkey: ValkeyServer) -> None:
    """Some hosts keep INFO to themselves."""
    with valkey.client() as client:
        client.acl_setuser("default", enabled=True, nopass=True, keys="*", commands=["+@all", "-info"])
        try:
            one, other = machine().forgetful(), machine().forgetful()
            one.put("/a", b"page")
            assert other.body("/a") == b"page"
        finally:
            client.acl_setuser("default", enabled=True, nopass=True, keys="*", commands=["+@all"])


def test_a_server_that_forgot_the_scripts_is_told_them_again(machine: MakeMachine, valkey: ValkeyServer) -> None:
    """As after a restart."""
    one = machine(budget=PATIENCE).forgetful()
    one.put("/a", b"page")
    with valkey.client() as client:
        client.script_flush()
    assert one.body("/a") == b"page"


def plant(valkey: ValkeyServer, one: Machine, value: bytes) -> None:
    """Put something in place of the one variant of the one URL."""
    with valkey.client() as client:
        (key,) = (key for key in client.keys("launchkit:*") if not key.endswith(b":book"))
        client.hset(key, "", value)


GARBAGE = [b"", b"\n", b"0 0 \n", b"%b %d \n", b"%b %d 1 2 3\nR", b"%b %d 1\n" + bytes(200), b"%b %d\n", b"%b x 1\n"]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_in_place_of_a_record_is_a_miss(machine: MakeMachine, valkey: ValkeyServer, garbage: bytes) -> None:
    """Even with an epoch and a sequence that count."""
    one = machine().forgetful()
    one.put("/a", b"page")
    epoch, sequence = one.fetch("/a").moment[1].split()
    plant(
        valkey, one, garbage % (epoch, int(sequence)) if b"%" in garbage[:2] and garbage.count(b"%") == 2 else garbage
    )
    assert one.body("/a") is None
    assert not one.connections.breaker.is_down
    one.put("/a", b"new")
    assert one.body("/a") == b"new"


@pytest.mark.parametrize("value", [b"page", b"", b"\x80\x02]q\x00."])
def test_something_else_under_the_key_of_a_url_is_a_miss(
    machine: MakeMachine, valkey: ValkeyServer, value: bytes
) -> None:
    """It is replaced by the next response."""
    one = machine().forgetful()
    one.put("/a", b"page")
    with valkey.client() as client:
        (key,) = (key for key in client.keys("launchkit:*") if not key.endswith(b":book"))
        client.set(key, value)
    assert one.body("/a") is None
    assert not one.connections.breaker.is_down
    one.put("/a", b"new")
    assert one.body("/a") == b"new"


@pytest.mark.parametrize(
    "book",
    [b"text", {"epoch": "a"}, {"sequence": "1"}, {"epoch": "a", "sequence": "x"}, {"epoch": "a", "sequence": "1.5"}],
)
def test_something_else_in_place_of_the_book_is_mended(
    machine: MakeMachine, valkey: ValkeyServer, book: bytes | dict[str, str]
) -> None:
    """By the next look-up or invalidation; until then nothing counts."""
    one = machine().forgetful()
    one.put("/a", b"page")
    with valkey.client() as client:
        client.delete(one.store._book)
        if isinstance(book, bytes):
            client.set(one.store._book, book)
        else:
            client.hset(one.store._book, mapping=book)
    assert one.body("/a") is None
    one.invalidate("path:/b")
    one.put("/a", b"new")
    assert one.body("/a") == b"new"
    assert not one.store._outbox.unconfirmed()


def test_a_note_that_is_no_number_invalidates(machine: MakeMachine, valkey: ValkeyServer) -> None:
    """What cannot be told to be older is taken for newer."""
    one = machine().forgetful()
    one.put("/a", b"page")
    one.invalidate("path:/a")
    one.put("/a", b"new")
    with valkey.client() as client:
        notes = [field for field in client.hgetall(one.store._book) if field.isdigit()]
        client.hset(one.store._book, notes[0], "x")
    assert one.body("/a") is None


def test_hits_go_on_through_an_outage_in_real_time(valkey: ValkeyServer) -> None:
    """Four coroutines that never stop asking: each gets a hit or a miss in time, and in the end hits again."""
    one = Machine(valkey.url, "async", SystemClock(), BUDGET).forgetful()
    one.put("/a", b"page")
    seen: list[bytes | None] = []
    longest = 0.0

    async def ask() -> None:
        nonlocal longest
        while not stopped.is_set():
            started = time.monotonic()
            found = await one.store.afetch(key_of("/a"), WrittenExchange("GET", "/a"))
            longest = max(longest, time.monotonic() - started)
            seen.append(None if found.response is None else found.response.body)
            await asyncio.sleep(0.002)

    async def until(outcome: bytes | None) -> None:
        seen.clear()
        async with asyncio.timeout(PATIENCE):
            while seen.count(outcome) < 20:  # noqa: ASYNC110  # the requests themselves tell of nothing
                await asyncio.sleep(0.01)

    async def use() -> None:
        clients = [asyncio.create_task(ask()) for _ in range(4)]
        await until(b"page")
        valkey.freeze()
        await until(None)
        valkey.thaw()
        await until(b"page")
        stopped.set()
        await asyncio.gather(*clients)

    stopped = asyncio.Event()
    one.runner.run(use())
    one.close()
    assert longest < BUDGET + SLACK
