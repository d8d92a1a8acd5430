"""The inbox in a file: whose it is, how it is kept, and that any order of events keeps the rules of a lease.

What holds for every database is in the inbox's contract.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from webhook_world import ATTEMPTS, LEASE, Store, done, new_delivery

from launchkit.testing import FrozenClock
from launchkit.webhooks import Filter
from launchkit.webhooks.delivery import Lease
from launchkit.webhooks.inbox import leases as statements
from launchkit.webhooks.inbox.leases import Claim
from launchkit.webhooks.inbox.sqlite import SqliteDatabase, SqliteSession


@pytest.fixture(name="clock")
def _clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "inbox.sqlite3"


@pytest.fixture(name="store")
def _store(path: Path, clock: FrozenClock) -> Iterator[Store]:
    store = Store(path, clock)
    yield store
    store.close()


@contextmanager
def turn_of_another(path: Path) -> Iterator[None]:
    """Stand for another process in the middle of its turn."""
    turns = os.open(path.with_name(path.name + ".lock"), os.O_RDWR)
    fcntl.flock(turns, fcntl.LOCK_EX)
    yield
    os.close(turns)


# --- the file ------------------------------------------------------------------------------------------------------


def test_making_an_inbox_touches_nothing(path: Path, clock: FrozenClock) -> None:
    """Importing and assembling open no file and start no thread."""
    before = threading.active_count()
    Store(path, clock)
    assert (path.parent.exists(), threading.active_count()) == (False, before)


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_file_and_folder_are_their_owners_alone(store: Store, path: Path, umask: int) -> None:
    """Payloads are personal data: nobody else on the machine may read them, write-ahead log included."""
    before = os.umask(umask)
    try:
        store.put("evt_1")
    finally:
        os.umask(before)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert set(modes.values()) == {0o600}
    assert {"inbox.sqlite3", "inbox.sqlite3-wal", "inbox.sqlite3.lock"} <= set(modes)


def test_what_was_committed_survives_a_power_cut(store: Store) -> None:
    """Every commit is flushed: write-ahead log, `synchronous=FULL` (sqlite.org/pragma.html#pragma_synchronous)."""

    def pragma(name: str) -> object:
        ((value,),) = done(store.writer.submit(lambda session: session.query(f"PRAGMA {name}")))
        return value

    assert (pragma("journal_mode"), pragma("synchronous")) == ("wal", 2)


def test_everything_committed_survives_a_restart(store: Store, path: Path, clock: FrozenClock) -> None:
    """A delivery that was leased but not ended is due again for the next process when its lease is over."""
    store.put("evt_0", "evt_1", "evt_2")
    assert done(store.inbox.done(store.claim(1).leased[0]))
    store.claim(1)
    store.close()
    other = Store(path, clock)
    assert other.claimed() == ["evt_2"]
    clock.advance(LEASE)
    assert other.claimed() == ["evt_1", "evt_2"]
    other.close()


def test_processes_take_turns_by_a_lock_of_their_own(store: Store, path: Path) -> None:
    """SQLite's waiting is a series of sleeps; whoever has the turn is alone, and the next gets it at once."""
    store.put("evt_1")
    with turn_of_another(path):
        waiting = store.writer.submit(lambda session: session.query("SELECT 1"))
        with pytest.raises(TimeoutError):
            waiting.result(0.05)
    assert done(waiting) == [(1,)]


def test_a_turn_ends_with_its_transaction(store: Store, path: Path) -> None:
    """Also with one that fails: nobody waits for a process that has nothing to do."""
    store.put("evt_1")
    bad = store.writer.submit(lambda session: session.query("SELECT absent"))
    assert bad.exception(10) is not None
    with turn_of_another(path):
        pass
    turns = os.open(path.with_name(path.name + ".lock"), os.O_RDWR)
    fcntl.flock(turns, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(turns)


def test_closing_leaves_no_descriptor_open(store: Store) -> None:
    """Opening and closing many times costs nothing that lasts."""
    store.put("evt_1")
    store.close()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(5):
        store.put(f"more_{number}")
        store.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# --- many at once --------------------------------------------------------------------------------------------------


def test_concurrent_threads_store_each_key_once(store: Store) -> None:
    """Of all the threads that bring the same delivery, one is told that it is new."""
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda number: store.inbox.put(new_delivery(f"evt_{number % 50}")), range(400)))
    assert (found.count(True), found.count(False)) == (50, 350)


def test_concurrent_tasks_and_threads_store_each_key_once(store: Store) -> None:
    """The event loop's colour and the threads' share one inbox."""

    async def main() -> list[bool]:
        there = [asyncio.to_thread(store.inbox.put, new_delivery(f"evt_{number}")) for number in range(20)]
        here = [store.inbox.aput(new_delivery(f"evt_{number % 20}")) for number in range(100)]
        return await asyncio.gather(*here, *there)

    found = asyncio.run(main())
    assert (found.count(True), store.pending()) == (20, 20)


# --- statements ----------------------------------------------------------------------------------------------------


def test_claims_use_the_index_whatever_the_backlog(store: Store, path: Path) -> None:
    """A claim's cost does not grow with what waits: nothing is sorted, and order keys are looked up."""
    store.put("evt_1")
    store.close()
    statement = statements.SELECT_DUE.format(
        by_due=SqliteSession.by_due,
        sources="?, ?",
        is_next=statements.IS_NEXT,
        locked=SqliteSession.locked,
    )
    with closing(sqlite3.connect(path)) as connection:
        plan = str(connection.execute("EXPLAIN QUERY PLAN " + statement, (0, 0, "a", "b", 0, 1)).fetchall())
    assert "SEARCH delivery USING INDEX delivery_due (due_at<?)" in plan
    assert "SEARCH other USING INDEX delivery_order (order_key=?)" in plan
    assert "TEMP B-TREE" not in plan
    assert "SCAN" not in plan


def test_setting_right_looks_at_what_is_due_later_alone(store: Store, path: Path) -> None:
    """Its cost does not grow with what waits: every worker asks once a minute, and everybody waits for the answer."""
    store.put("evt_1")
    store.close()
    statement = statements.SET_RIGHT.format(by_due=SqliteSession.by_due)
    with closing(sqlite3.connect(path)) as connection:
        plan = str(connection.execute("EXPLAIN QUERY PLAN " + statement, (0, 0, 0)).fetchall())
    assert "SEARCH delivery USING INDEX delivery_due (due_at>?)" in plan
    assert "SCAN" not in plan


def test_times_are_the_machines(store: Store, clock: FrozenClock) -> None:
    """All processes of a machine go by the same clock."""
    assert done(store.writer.submit(lambda session: session.now)) == clock.time()


def test_a_file_announces_nothing(store: Store) -> None:
    """Workers look into it; there is no carrier to tell."""
    store.put("evt_1")
    assert done(store.writer.submit(lambda session: session.announce(1, 0.0))) is None
    assert SqliteDatabase(store.path, store.clock).name == str(store.path)


# --- any order of events -------------------------------------------------------------------------------------------

ORDERS = {"evt_0": None, "evt_1": "a", "evt_2": "a", "evt_3": "b"}
"""What each delivery of the machine is serial by."""


class Leases(RuleBasedStateMachine):
    """Two workers, one inbox, any order of events: a delivery has one holder, and ends once."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FrozenClock()
        self.store = Store(next(_folders) / "inbox.sqlite3", self.clock)
        self.stored: list[str] = []
        self.ended: set[str] = set()
        self.dead: set[str] = set()
        self.given: list[Lease] = []
        self.held: dict[int, int] = {}
        self.sent: set[int] = set()

    @initialize(keys=st.permutations(sorted(ORDERS)), count=st.integers(1, len(ORDERS)))
    def begin(self, keys: list[str], count: int) -> None:
        for key in keys[:count]:
            self.put(key)
        self.claim(take_over=True)

    @rule(key=st.sampled_from(sorted(ORDERS)))
    def put(self, key: str) -> None:
        assert self.store.put(key, order_key=ORDERS[key]) == [key not in self.stored]
        self.stored += [key] if key not in self.stored else []

    @rule(take_over=st.booleans())
    def claim(self, take_over: bool) -> None:
        found = self.store.claim(3, take_over=take_over)
        assert take_over or not any(lease.row in self.held for lease in found.leased)
        self.claimed(found)

    @precondition(lambda self: self.stored)
    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        row = self.store.entry("stripe:" + data.draw(st.sampled_from(self.stored))).row
        self.claimed(done(self.store.inbox.take(row, lease=LEASE, attempts=ATTEMPTS)))

    def claimed(self, found: Claim) -> None:
        self.dead |= {delivery.id for delivery in found.dead}
        self.ended |= self.dead
        for lease in found.leased:
            key = lease.delivery.id
            assert key not in self.ended
            assert lease.delivery.attempt <= ATTEMPTS
            earlier = self.stored[: self.stored.index(key)]
            assert self.ended.issuperset(other for other in earlier if ORDERS[other] and ORDERS[other] == ORDERS[key])
            self.holds(lease)

    def holds(self, lease: Lease) -> None:
        assert all(lease.token > other.token for other in self.given if other.row == lease.row)
        self.given.append(lease)
        self.held[lease.row] = lease.token
        self.sent.discard(lease.row)

    def is_held(self, lease: Lease) -> bool:
        return self.held.get(lease.row) == lease.token and lease.delivery.id not in self.ended

    @rule(seconds=st.sampled_from([LEASE, LEASE / 2, 1.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def let_leases_end(self) -> None:
        self.clock.advance(LEASE)
        self.claim(take_over=True)

    @rule(seconds=st.sampled_from([LEASE, 86_400.0]))
    def set_the_clock_back(self, seconds: float) -> None:
        self.clock.unix_seconds -= seconds
        done(self.store.inbox.set_right())
        for entry in self.store.entries(Filter(states=("pending",))):
            assert entry.due_at <= self.clock.time() + LEASE

    @precondition(lambda self: self.given)
    @rule(data=st.data(), verb=st.sampled_from(["done", "dead", "ignored", "retry", "release"]))
    def give_up(self, data: st.DataObject, verb: str) -> None:
        lease = data.draw(st.sampled_from(self.given))
        valid = self.is_held(lease)
        if verb in ("release", "retry") and lease.row in self.sent:
            valid = False  # whoever has it now says so with another token
        arguments = {"dead": ("x",), "ignored": ("x",), "retry": (5, "x")}.get(verb, ())
        assert done(getattr(self.store.inbox, verb)(lease, *arguments)) == valid
        if valid:
            del self.held[lease.row]
            self.sent.discard(lease.row)
            self.ended |= {lease.delivery.id} if verb in ("done", "dead", "ignored") else set()
            self.dead |= {lease.delivery.id} if verb == "dead" else set()

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def extend(self, data: st.DataObject) -> None:
        leases = data.draw(st.lists(st.sampled_from(self.given), unique_by=lambda lease: lease.row))
        expected = {lease.row for lease in leases if self.is_held(lease) and lease.row not in self.sent}
        assert done(self.store.inbox.extend(leases, LEASE)) == expected

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def hand_over(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(self.given))
        if lease.row not in self.sent:
            assert done(self.store.inbox.hand_over(lease, LEASE, to_resume=True)) == self.is_held(lease)
            self.sent |= {lease.row} if self.is_held(lease) else set()

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(self.given))
        valid = self.is_held(lease) or (lease.row in self.sent and lease.delivery.id not in self.ended)
        resumed = done(self.store.inbox.resume(lease.row, lease.token, lease=LEASE))
        assert (resumed is not None) == valid
        if resumed is not None:
            self.holds(resumed)

    @precondition(lambda self: self.stored)
    @rule(data=st.data())
    def complete(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(self.stored))
        assert done(self.store.inbox.complete("stripe", key)) == (key not in self.ended - self.dead)
        self.ended.add(key)
        self.dead.discard(key)

    @rule()
    def restart(self) -> None:
        self.store.close()

    @invariant()
    def nothing_is_lost(self) -> None:
        entries = self.store.entries()
        assert {entry.id for entry in entries} == set(self.stored)
        assert {entry.id for entry in entries if entry.state != "pending"} == self.ended
        assert all(0 <= entry.attempts <= ATTEMPTS for entry in entries)

    def teardown(self) -> None:
        self.store.close()


_folders: Iterator[Path] = iter(())


def test_any_order_of_events_keeps_the_lease_rules(tmp_path: Path) -> None:
    """Hypothesis looks for an order of puts, claims, words, waits and restarts that breaks a rule of the lease."""
    global _folders
    _folders = (tmp_path / str(number) for number in range(100_000))
    options = settings(
        max_examples=80, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    run_state_machine_as_test(Leases, settings=options)
