"""The inbox: stored once, leased to one, ended by its holder."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from webhook_world import SOURCES, new_delivery

from launchkit.testing import FrozenClock
from launchkit.webhooks.delivery import Delivery
from launchkit.webhooks.inbox import Claim, InboxStats, SqliteInbox
from launchkit.webhooks.writer import Writer

T = TypeVar("T")
LEASE = 30.0
ATTEMPTS = 3


def now(future: Future[T]) -> T:
    return future.result(10)


def claim(inbox: SqliteInbox, limit: int = 100) -> Claim:
    return now(inbox.claim(limit, sources=SOURCES, lease=LEASE, attempts=ATTEMPTS))


def claim_one(inbox: SqliteInbox) -> Delivery:
    (lease,) = claim(inbox).leased
    return lease


def keys(found: Claim) -> list[str]:
    return [lease.id for lease in found.leased]


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "inbox.sqlite3"


@pytest.fixture
def inbox(path: Path, clock: FrozenClock) -> Iterator[SqliteInbox]:
    inbox = SqliteInbox(path, clock)
    yield inbox
    inbox.close()


def test_making_an_inbox_touches_nothing(path: Path, clock: FrozenClock) -> None:
    """Importing and assembling open no file and start no thread."""
    before = threading.active_count()
    SqliteInbox(path, clock)
    assert (path.parent.exists(), threading.active_count()) == (False, before)


def test_the_first_is_new_and_the_second_a_duplicate(inbox: SqliteInbox) -> None:
    """A key is taken once within its source; another source may use the same one."""
    found = [
        inbox.put(new_delivery("evt_1")),
        inbox.put(new_delivery("evt_1")),
        inbox.put(new_delivery("evt_1", source="b")),
    ]
    assert found == [True, False, True]


def test_what_is_claimed_is_what_was_put(inbox: SqliteInbox, clock: FrozenClock) -> None:
    """Bytes, headers and times come out as they went in."""
    body = bytes(range(256))
    inbox.put(new_delivery("evt_1", body=body))
    delivery = claim_one(inbox)
    assert (delivery.id, delivery.source, delivery.event, delivery.body) == ("evt_1", "stripe", "invoice.paid", body)
    assert (delivery.headers, delivery.attempt) == ({"content-type": "application/json"}, 1)
    assert delivery.received_at == clock.time()


def test_file_and_folder_are_their_owners_alone(inbox: SqliteInbox, path: Path) -> None:
    """Payloads are personal data: nobody else on the machine may read them, write-ahead log included."""
    inbox.put(new_delivery("evt_1"))
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert set(modes.values()) == {0o600}
    assert {"inbox.sqlite3", "inbox.sqlite3-wal"} <= set(modes)


def test_concurrent_threads_store_each_key_once(inbox: SqliteInbox) -> None:
    """Of all the threads that bring the same delivery, one is told that it is new."""
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda number: inbox.put(new_delivery(f"evt_{number % 50}")), range(400)))
    assert (found.count(True), found.count(False)) == (50, 350)


def test_concurrent_tasks_and_threads_store_each_key_once(inbox: SqliteInbox) -> None:
    """The event loop's colour and the threads' share one inbox."""

    async def main() -> list[bool]:
        there = [asyncio.to_thread(inbox.put, new_delivery(f"evt_{number}")) for number in range(20)]
        here = [inbox.aput(new_delivery(f"evt_{number % 20}")) for number in range(100)]
        return await asyncio.gather(*here, *there)

    found = asyncio.run(main())
    assert (found.count(True), now(inbox.stats()).pending) == (20, 20)


def test_what_waits_is_committed_as_one_group(path: Path) -> None:
    """One flush of the disk serves everybody who waits."""
    writer, entered, go = Writer(path), threading.Event(), threading.Event()

    def hold(connection: sqlite3.Connection) -> int:
        entered.set()
        assert go.wait(10)
        return connection.total_changes

    first = writer.submit(hold)
    assert entered.wait(10)
    commits: list[str] = []
    futures = [writer.submit(lambda connection: connection.set_trace_callback(commits.append))]
    futures += [writer.submit(lambda connection: None) for _ in range(10)]
    go.set()
    for future in (first, *futures):
        future.result(10)
    writer.close()
    assert commits.count("COMMIT") == 1


def test_a_group_has_a_largest_size(path: Path) -> None:
    """However many wait, each group is short enough that its first member need not wait for long."""
    writer, entered, go = Writer(path), threading.Event(), threading.Event()
    waiting = writer.submit(lambda connection: entered.set() or go.wait(10))
    assert entered.wait(10)
    futures = [writer.submit(lambda connection: connection.in_transaction) for _ in range(writer.LARGEST_GROUP + 1)]
    go.set()
    assert (waiting.result(10), all(future.result(10) for future in futures)) == (True, True)
    writer.close()


def test_an_operation_that_fails_takes_nothing_of_its_group_with_it(path: Path) -> None:
    """What a failed operation had done is undone, what its neighbours did is kept."""
    writer, entered, go = Writer(path), threading.Event(), threading.Event()

    def insert(number: int, then: str) -> Future[int]:
        def operation(connection: sqlite3.Connection) -> int:
            connection.execute(
                "INSERT INTO delivery VALUES (?, 's', ?, 'e', 'pending', 0, 0, 0, '{}', x'')", (number, number)
            )
            connection.execute(then)
            return number

        return writer.submit(operation)

    held = writer.submit(lambda connection: entered.set() or go.wait(10))
    assert entered.wait(10)
    before, failing, after = insert(1, "SELECT 1"), insert(2, "SELECT absent"), insert(3, "SELECT 1")
    broken = writer.submit(lambda connection: 1 // 0)
    go.set()
    assert (held.result(10), before.result(10), after.result(10)) == (True, 1, 3)
    with pytest.raises(Exception, match="no such column"):
        failing.result(10)
    with pytest.raises(ZeroDivisionError):
        broken.result(10)
    rows = writer.submit(lambda connection: connection.execute("SELECT id FROM delivery").fetchall())
    assert rows.result(10) == [(1,), (3,)]
    writer.close()


def test_what_nobody_waits_for_any_more_is_left_out(path: Path) -> None:
    """A put that was given up before its turn is not carried out."""
    writer, entered, go, ran = Writer(path), threading.Event(), threading.Event(), threading.Event()
    held = writer.submit(lambda connection: entered.set() or go.wait(10))
    assert entered.wait(10)
    assert writer.submit(lambda connection: ran.set()).cancel()
    go.set()
    assert held.result(10)
    writer.close()
    assert not ran.is_set()


def test_everything_committed_survives_a_restart(inbox: SqliteInbox, path: Path, clock: FrozenClock) -> None:
    """A delivery that was leased but not ended is due again for the next process when its lease is over."""
    for number in range(3):
        inbox.put(new_delivery(f"evt_{number}"))
    now(inbox.done(claim(inbox, 1).leased[0]))
    claim(inbox, 1)
    inbox.close()
    other = SqliteInbox(path, clock)
    assert keys(claim(other)) == ["evt_2"]
    clock.advance(LEASE)
    assert keys(claim(other)) == ["evt_1", "evt_2"]
    other.close()


def test_closing_finishes_what_was_asked_for(inbox: SqliteInbox) -> None:
    """However soon it comes: a thread that has only just started still does its work."""
    for number in range(50):
        future = inbox._store(new_delivery(f"evt_{number}"))
        inbox.close()
        assert future.result(0)


def test_a_closed_inbox_opens_again_when_it_is_asked(inbox: SqliteInbox) -> None:
    """Closing ends a thread and a file, not the inbox."""
    inbox.put(new_delivery("evt_1"))
    inbox.close()
    assert (inbox.put(new_delivery("evt_1")), inbox.put(new_delivery("evt_2"))) == (False, True)


def test_claims_go_by_due_time_and_respect_the_limit(inbox: SqliteInbox, clock: FrozenClock) -> None:
    """What has waited longest goes first; what is leased is not given to another."""
    for number in range(5):
        inbox.put(new_delivery(f"evt_{number}"))
        clock.advance(1)
    assert [keys(claim(inbox, 2)), keys(claim(inbox, 2)), keys(claim(inbox, 2)), keys(claim(inbox, 2))] == [
        ["evt_0", "evt_1"],
        ["evt_2", "evt_3"],
        ["evt_4"],
        [],
    ]


def test_claims_use_the_index_whatever_the_backlog(inbox: SqliteInbox, path: Path) -> None:
    """A claim's cost does not grow with what waits: nothing is sorted."""
    from launchkit.webhooks import inbox as module

    inbox.put(new_delivery("evt_1"))
    inbox.close()
    connection = sqlite3.connect(path)
    plan = str(connection.execute("EXPLAIN QUERY PLAN " + module._SELECT_DUE, (0, "[]", 1)).fetchall())
    connection.close()
    assert "delivery_due" in plan
    assert "TEMP B-TREE" not in plan


def test_a_lease_that_is_not_extended_ends(inbox: SqliteInbox, clock: FrozenClock) -> None:
    """When a worker is gone, another takes its delivery up on the next attempt."""
    inbox.put(new_delivery("evt_1"))
    claim(inbox)
    clock.advance(LEASE - 1)
    assert keys(claim(inbox)) == []
    clock.advance(1)
    assert claim_one(inbox).attempt == 2


def test_an_extended_lease_holds(inbox: SqliteInbox, clock: FrozenClock) -> None:
    """A sign of life counts from when it is given."""
    inbox.put(new_delivery("evt_1"))
    lease = claim_one(inbox)
    clock.advance(LEASE - 1)
    assert now(inbox.extend(lease, LEASE))
    clock.advance(LEASE - 1)
    assert keys(claim(inbox)) == []


@pytest.mark.parametrize("verb", ["done", "ignored", "dead", "release"])
def test_whoever_lost_the_lease_changes_nothing(inbox: SqliteInbox, clock: FrozenClock, verb: str) -> None:
    """The attempt is the fencing token: a late word about an earlier attempt is void."""
    inbox.put(new_delivery("evt_1"))
    old = claim_one(inbox)
    clock.advance(LEASE)
    new = claim_one(inbox)
    assert not now(getattr(inbox, verb)(old))
    assert not now(inbox.retry(old, 5))
    assert not now(inbox.extend(old, 500))
    assert keys(claim(inbox)) == []
    assert now(inbox.done(new))
    assert not now(inbox.retry(new, 5))


def test_a_retry_is_due_after_its_delay(inbox: SqliteInbox, clock: FrozenClock) -> None:
    """Not before, and then with the attempt counted on."""
    inbox.put(new_delivery("evt_1"))
    now(inbox.retry(claim_one(inbox), 100))
    clock.advance(99)
    assert keys(claim(inbox)) == []
    clock.advance(1)
    assert claim_one(inbox).attempt == 2


def test_a_released_delivery_is_due_at_once(inbox: SqliteInbox) -> None:
    """A worker that stops leaves nothing waiting for its leases to end."""
    inbox.put(new_delivery("evt_1"))
    assert now(inbox.release(claim_one(inbox)))
    assert keys(claim(inbox)) == ["evt_1"]


def test_a_delivery_that_kills_its_worker_each_time_ends_as_dead(inbox: SqliteInbox, clock: FrozenClock) -> None:
    """Attempts are counted when they begin, so that a poison message ends although nobody lives to report it."""
    inbox.put(new_delivery("evt_poison"))
    for attempt in range(1, ATTEMPTS + 1):
        assert claim_one(inbox).attempt == attempt
        clock.advance(LEASE)
    found = claim(inbox)
    assert (found.leased, [delivery.id for delivery in found.dead]) == ((), ["evt_poison"])
    assert claim(inbox) == Claim((), ())


@pytest.mark.parametrize("verb", ["done", "ignored", "dead"])
def test_a_duplicate_of_an_ended_delivery_is_a_duplicate(inbox: SqliteInbox, verb: str) -> None:
    """What was ended is not begun again by its sender's repeats."""
    inbox.put(new_delivery("evt_1"))
    now(getattr(inbox, verb)(claim_one(inbox)))
    assert not inbox.put(new_delivery("evt_1"))
    assert keys(claim(inbox)) == []


def test_a_duplicate_does_not_delay_the_retry(inbox: SqliteInbox, clock: FrozenClock) -> None:
    """A repeat of a delivery that is still to be handled changes nothing about it."""
    inbox.put(new_delivery("evt_1"))
    now(inbox.retry(claim_one(inbox), 10))
    assert not inbox.put(new_delivery("evt_1"))
    clock.advance(10)
    assert keys(claim(inbox)) == ["evt_1"]


def test_stats_count_states_and_name_the_oldest(inbox: SqliteInbox, clock: FrozenClock) -> None:
    """What metrics and health need: how many of each, and how long the backlog has been waiting."""
    assert now(inbox.stats()) == InboxStats(0, 0, 0, 0, None)
    for number in range(5):
        inbox.put(new_delivery(f"evt_{number}"))
        clock.advance(1)
    first, second, third = claim(inbox, 3).leased
    for future in (inbox.done(first), inbox.dead(second), inbox.ignored(third)):
        assert now(future)
    assert now(inbox.stats()) == InboxStats(pending=2, done=1, dead=1, ignored=1, oldest_pending=clock.time() - 2)


def test_only_old_finished_deliveries_are_pruned(inbox: SqliteInbox, clock: FrozenClock) -> None:
    """Pending and dead ones stay until somebody has dealt with them; finished ones for as long as senders repeat."""
    for number in range(4):
        inbox.put(new_delivery(f"evt_{number}"))
    done, ignored, dead = claim(inbox, 3).leased
    for future in (inbox.done(done), inbox.ignored(ignored), inbox.dead(dead)):
        assert now(future)
    assert now(inbox.prune()) == 0
    clock.advance(SqliteInbox.RETENTION + 1)
    assert [now(inbox.prune(1)), now(inbox.prune(1)), now(inbox.prune(1))] == [1, 1, 0]
    assert now(inbox.stats()) == InboxStats(1, 0, 1, 0, clock.time() - SqliteInbox.RETENTION - 1)


class Leases(RuleBasedStateMachine):
    """Two workers, one inbox, any order of events: a delivery has one holder, and ends once."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FrozenClock()
        self.folder = next(_folders)
        self.inbox = SqliteInbox(self.folder / "inbox.sqlite3", self.clock)
        self.stored: set[str] = set()
        self.ended: set[str] = set()
        self.held: list[Delivery] = []

    @rule(number=st.integers(0, 5))
    def put(self, number: int) -> None:
        key = f"evt_{number}"
        assert self.inbox.put(new_delivery(key)) == (key not in self.stored)
        self.stored.add(key)

    @rule()
    def claim(self) -> None:
        found = claim(self.inbox, 2)
        for lease in found.leased:
            assert lease.id not in self.ended
            assert lease.attempt <= ATTEMPTS
        self.ended |= {delivery.id for delivery in found.dead}
        self.held += found.leased

    @rule(seconds=st.sampled_from([1.0, LEASE / 2, LEASE]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), verb=st.sampled_from(["done", "dead", "retry", "extend", "release", "ignored"]))
    def say(self, data: st.DataObject, verb: str) -> None:
        lease = data.draw(st.sampled_from(self.held))
        latest = max(other.attempt for other in self.held if other.id == lease.id)
        valid = lease.attempt == latest and lease.id not in self.ended
        arguments = {"retry": (5,), "extend": (LEASE,)}.get(verb, ())
        assert now(getattr(self.inbox, verb)(lease, *arguments)) == valid
        if valid and verb in ("done", "dead", "ignored"):
            self.ended.add(lease.id)

    @rule()
    def restart(self) -> None:
        self.inbox.close()
        self.inbox = SqliteInbox(self.folder / "inbox.sqlite3", self.clock)

    @invariant()
    def nothing_is_lost(self) -> None:
        stats = now(self.inbox.stats())
        assert stats.pending == len(self.stored - self.ended)
        assert stats.done + stats.dead + stats.ignored == len(self.ended)

    def teardown(self) -> None:
        self.inbox.close()


_folders: Iterator[Path] = iter(())


def test_any_order_of_events_keeps_the_lease_rules(tmp_path: Path) -> None:
    """Hypothesis looks for an order of puts, claims, words, waits and restarts that breaks a rule of the lease."""
    global _folders
    _folders = (tmp_path / str(number) for number in range(100_000))
    from hypothesis.stateful import run_state_machine_as_test

    options = settings(
        max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    run_state_machine_as_test(Leases, settings=options)
