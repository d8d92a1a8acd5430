"""The file's layout: this release takes over what the first one wrote, and the first one can go on after a rollback.

The statements of the first release are written out here and never change: files that it wrote are out there.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from webhook_world import LEASE, Store, done

from launchkit.pipeline.effects import StoreDown
from launchkit.testing import FrozenClock
from launchkit.webhooks.inbox.archive import Retention
from launchkit.webhooks.inbox.layout import LAYOUT, OLDEST_READER, prepare

FIRST_LAYOUT = (
    """
    CREATE TABLE delivery (
        id INTEGER PRIMARY KEY,
        source TEXT NOT NULL,
        dedupe_key TEXT NOT NULL,
        event TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('pending', 'done', 'dead', 'ignored')),
        attempts INTEGER NOT NULL,
        due_at REAL NOT NULL, -- while pending: when it may be claimed, which for a leased one is when its lease ends
        received_at REAL NOT NULL,
        headers TEXT NOT NULL,
        body BLOB NOT NULL,
        UNIQUE (source, dedupe_key)
    )
    """,
    "CREATE INDEX delivery_due ON delivery (due_at) WHERE state = 'pending'",
    "CREATE INDEX delivery_state ON delivery (state, received_at)",
    "PRAGMA user_version = 1",
)
INSERT = """
    INSERT INTO delivery (source, dedupe_key, event, state, attempts, due_at, received_at, headers, body)
    VALUES (?, ?, ?, 'pending', 0, ?, ?, ?, ?) ON CONFLICT (source, dedupe_key) DO NOTHING
"""
SELECT_DUE = """
    SELECT id, source, dedupe_key, event, headers, body, attempts, received_at FROM delivery
    INDEXED BY delivery_due WHERE state = 'pending' AND due_at <= ?
    AND source IN (SELECT value FROM json_each(?)) ORDER BY due_at, id LIMIT ?
"""
LEASE_OUT = "UPDATE delivery SET attempts = attempts + 1, due_at = ? WHERE id = ?"
BURY = "UPDATE delivery SET state = 'dead' WHERE id = ?"
END = """
    UPDATE delivery SET state = ? WHERE source = ? AND dedupe_key = ? AND attempts = ? AND state = 'pending'
"""
MAKE_DUE = """
    UPDATE delivery SET due_at = ? WHERE source = ? AND dedupe_key = ? AND attempts = ? AND state = 'pending'
"""
PRUNE = """
    DELETE FROM delivery WHERE id IN (
        SELECT id FROM delivery WHERE state IN ('done', 'ignored') AND received_at < ? LIMIT ?
    )
"""


class FirstRelease:
    """The first release, as far as it uses the file."""

    def __init__(self, path: Path, clock: FrozenClock) -> None:
        self.clock = clock
        path.parent.mkdir(exist_ok=True)
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        (version,) = self.connection.execute("PRAGMA user_version").fetchone()
        assert version in (0, 1), "the first release refuses the file"
        for statement in FIRST_LAYOUT if version == 0 else ():
            self.connection.execute(statement)

    def put(self, key: str, body: bytes = b"{}") -> bool:
        now = self.clock.time()
        headers = json.dumps([["content-type", "application/json"]])
        return self.changes(INSERT, "stripe", key, "invoice.paid", now, now, headers, body) == 1

    def claim(self, limit: int = 100) -> dict[str, int]:
        """Return ids and attempts of what is leased now."""
        now = self.clock.time()
        rows = self.connection.execute(SELECT_DUE, (now, '["stripe"]', limit)).fetchall()
        for row in rows:
            self.changes(LEASE_OUT, now + LEASE, row[0])
        return {row[2]: row[6] + 1 for row in rows}

    def end(self, key: str, state: str, attempt: int = 1) -> bool:
        return self.changes(END, state, "stripe", key, attempt) == 1

    def retry(self, key: str, delay: float, attempt: int = 1) -> bool:
        return self.changes(MAKE_DUE, self.clock.time() + delay, "stripe", key, attempt) == 1

    def prune(self, age: float) -> int:
        return self.changes(PRUNE, self.clock.time() - age, 500)

    def changes(self, statement: str, *values: object) -> int:
        return self.connection.execute(statement, values).rowcount


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


@pytest.fixture(name="first")
def _first(path: Path, clock: FrozenClock) -> Iterator[Callable[[], FirstRelease]]:
    """Start the first release when it is called."""
    started: list[FirstRelease] = []

    def start() -> FirstRelease:
        started.append(FirstRelease(path, clock))
        return started[-1]

    yield start
    for release in started:
        release.connection.close()


def asked(path: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return [value for (value,) in connection.execute(statement)]


def user_version(path: Path) -> int:
    (version,) = asked(path, "PRAGMA user_version")
    return int(version)


def test_a_file_of_the_first_release_is_taken_over(
    first: Callable[[], FirstRelease], store: Store, clock: FrozenClock
) -> None:
    """Whatever state its deliveries are in: what was pending is handled, what was over stays so."""
    old = first()
    for key in ("done", "dead", "ignored", "leased", "retried", "fresh"):
        old.put(key, body=key.encode())
    assert len(old.claim(5)) == 5
    for state in ("done", "dead", "ignored"):
        assert old.end(state, state)
    assert old.retry("retried", 10)
    assert store.claimed() == ["fresh"]
    clock.advance(10)
    assert store.claimed() == ["retried"]
    clock.advance(LEASE - 10)
    (lease,) = [lease for lease in store.claim().leased if lease.delivery.id == "leased"]
    assert (lease.delivery.attempt, lease.delivery.body, lease.delivery.headers) == (
        2,
        b"leased",
        {"content-type": "application/json"},
    )
    assert done(store.inbox.done(lease))
    states = {"done": "done", "dead": "dead", "ignored": "ignored", "leased": "done"}
    assert store.states() == states | {"retried": "pending", "fresh": "pending"}
    assert store.put("done", "dead", "ignored", "leased", "retried", "fresh") == [False] * 6


def test_a_dead_letter_of_the_first_release_can_be_replayed(first: Callable[[], FirstRelease], store: Store) -> None:
    """Its body is there, as the columns' defaults say."""
    old = first()
    old.put("evt_1", body=b"old")
    old.claim()
    old.end("evt_1", "dead")
    entry = store.entry("stripe:evt_1")
    assert (entry.has_body, entry.is_leased, entry.error, entry.order_key) == (True, False, None, None)
    assert done(store.archive.replay([entry.row])) == 1
    assert store.claim_one().delivery.body == b"old"


def test_a_rollback_loses_nothing(
    first: Callable[[], FirstRelease], store: Store, clock: FrozenClock, path: Path
) -> None:
    """The first release goes on with the file of this one, and this one with what that has made of it."""
    keys = ("done", "leased", "retried", "fresh", "dead")
    store.put(*keys, digest=None)
    store.put("with digest", digest="d" * 64, order_key="stripe:cus_1")
    leases = {lease.delivery.id: lease for lease in store.claim(3).leased}
    assert done(store.inbox.done(leases["done"]))
    assert done(store.inbox.retry(leases["retried"], 10, "ValueError"))
    store.close()
    assert user_version(path) == OLDEST_READER == 1

    old = first()
    assert (old.put("done"), old.put("new")) == (False, True)
    assert old.claim() == {"fresh": 1, "dead": 1, "with digest": 1, "new": 1}
    assert old.end("fresh", "done")
    assert old.end("dead", "dead")
    assert old.retry("with digest", 5)
    clock.advance(10)
    assert old.claim() == {"retried": 2, "with digest": 2}
    clock.advance(LEASE)
    assert old.claim() == {"leased": 2, "new": 2, "retried": 3, "with digest": 3}
    assert old.end("leased", "done", 2)
    assert old.prune(1) == 3
    old.connection.close()

    assert user_version(path) == 1
    assert store.states() == {"dead": "dead", "new": "pending", "retried": "pending", "with digest": "pending"}
    clock.advance(LEASE)
    assert {lease.delivery.id: lease.delivery.attempt for lease in store.claim().leased} == {"new": 3}
    assert store.states() == dict.fromkeys(("dead", "retried", "with digest"), "dead") | {"new": "pending"}


def test_a_lease_of_the_first_release_is_respected(
    first: Callable[[], FirstRelease], store: Store, clock: FrozenClock
) -> None:
    """While both run side by side, as during a deploy, a delivery is in one pair of hands."""
    old = first()
    assert store.put("old's", "ours") == [True, True]
    assert old.claim(1) == {"old's": 1}
    assert store.claimed() == ["ours"]
    assert old.claim() == {}
    assert done(store.inbox.set_right()) == 0
    assert store.claimed() == []
    assert (old.end("old's", "done"), store.states()["old's"]) == (True, "done")


def test_a_word_from_before_a_rollback_is_void(
    first: Callable[[], FirstRelease], store: Store, clock: FrozenClock
) -> None:
    """Also for the first release: the attempt is its fencing token, and each of our leases counts one."""
    store.put("evt_1")
    old = first()
    assert old.claim() == {"evt_1": 1}
    clock.advance(LEASE)
    assert store.claim_one().delivery.attempt == 2
    assert not old.end("evt_1", "done", 1)


def test_what_the_first_release_deleted_is_forgotten(
    first: Callable[[], FirstRelease], store: Store, clock: FrozenClock
) -> None:
    """With its digest and all: the row is gone."""
    store.put("evt_1", digest="d" * 64)
    done(store.inbox.done(store.claim_one()))
    clock.advance(10)
    assert first().prune(5) == 1
    assert store.put("evt_2", digest="d" * 64) == [True]


def test_a_new_file_and_one_that_was_taken_over_are_alike(
    first: Callable[[], FirstRelease], store: Store, clock: FrozenClock, tmp_path: Path
) -> None:
    """One way leads to a layout, so that what is tested for one is true for the other."""
    first().put("evt_1")
    store.put("evt_2")
    other = Store(tmp_path / "new.sqlite3", clock)
    other.put("evt_1")
    other.close()
    schema = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
    assert [line.split() for line in asked(other.path, schema)] == [
        line.replace(", which for a leased one is when its lease ends", "; if leased, when the lease ends").split()
        for line in asked(store.path, schema)
    ]
    assert (
        asked(store.path, "SELECT version FROM layout") == asked(other.path, "SELECT version FROM layout") == [LAYOUT]
    )


def test_every_step_adds_what_older_code_does_not_have_to_know(path: Path, clock: FrozenClock) -> None:
    """New columns have defaults or may be empty."""
    FirstRelease(path, clock).connection.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        known = {name for _, name, *_ in connection.execute("PRAGMA table_info(delivery)")}
        prepare(connection)
        for _, name, _, not_null, default, _ in connection.execute("PRAGMA table_info(delivery)"):
            assert name in known or not not_null or default is not None


def test_preparing_again_changes_nothing(path: Path, store: Store) -> None:
    """The steps that were taken are known."""
    store.put("evt_1")
    store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        before = connection.execute("PRAGMA schema_version").fetchone()
        prepare(connection)
        assert connection.execute("PRAGMA schema_version").fetchone() == before


def test_a_later_layout_that_this_release_can_read_is_used(path: Path, store: Store) -> None:
    """What counts is the oldest reader, not how many steps a later release has added."""
    store.put("evt_1")
    store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"UPDATE layout SET version = {LAYOUT + 1}")
        connection.execute("ALTER TABLE delivery ADD COLUMN later TEXT")
    assert store.put("evt_1", "evt_2") == [False, True]
    store.close()
    assert asked(path, "SELECT version FROM layout") == [LAYOUT + 1]


def test_a_file_that_only_a_later_release_can_use_is_left_alone(path: Path, store: Store) -> None:
    """After a rollback too far the older code touches nothing, and senders come again."""
    store.put("evt_1")
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {LAYOUT + 1}")
    before = path.read_bytes()
    with pytest.raises(StoreDown, match="newer LaunchKit"):
        store.put("evt_2")
    store.close()
    assert path.read_bytes() == before


def test_an_upgrade_that_is_interrupted_is_taken_up_again(path: Path, clock: FrozenClock, store: Store) -> None:
    """All steps are one transaction: a process killed in the middle leaves the file as it was."""
    old = FirstRelease(path, clock)
    old.put("evt_1")
    # A name in the way lets the steps fail in the middle, after the first columns.
    old.connection.execute("CREATE TABLE delivery_digest (x)")
    with pytest.raises(StoreDown):
        store.put("evt_2")
    assert [name for _, name, *_ in old.connection.execute("PRAGMA table_info(delivery)")][-1] == "body"
    old.connection.execute("DROP TABLE delivery_digest")
    old.connection.close()
    assert store.put("evt_1", "evt_2") == [False, True]


UPGRADER = """
import sys
from pathlib import Path
from launchkit.pipeline.clock import SystemClock
from launchkit.pipeline.effects import NewDelivery
from launchkit.webhooks.inbox.inbox import Inbox
from launchkit.webhooks.inbox.room import Room
from launchkit.webhooks.inbox.sqlite import SqliteDatabase
from launchkit.webhooks.inbox.writer import Writer

path, clock = Path(sys.argv[1]), SystemClock()
inbox = Inbox(Writer(str(path), lambda: SqliteDatabase(path, clock)), Room(1000, 0, lambda: None, clock.monotonic))
print("ready", flush=True)
sys.stdin.readline()
assert inbox.put(NewDelivery("stripe", sys.argv[2], "", (), b""))
"""


def test_processes_that_upgrade_at_the_same_moment_do_it_once(path: Path, clock: FrozenClock, store: Store) -> None:
    """All workers of a server start at once after a deploy; none of them fails, nothing is lost."""
    old = FirstRelease(path, clock)
    for number in range(20):
        old.put(f"evt_{number}")
    old.connection.close()
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", UPGRADER, str(path), f"from {number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        for number in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert set(store.states()) == {f"evt_{number}" for number in range(20)} | {f"from {number}" for number in range(3)}
    assert asked(path, "SELECT version FROM layout") == [LAYOUT]


def test_bodies_that_were_pruned_do_not_trouble_the_first_release(
    first: Callable[[], FirstRelease], path: Path, clock: FrozenClock
) -> None:
    """It sees an empty body of a delivery that is over, and still knows repeats."""
    store = Store(path, clock, retention=Retention(bodies=5, dead=5, keys=100))
    store.put("evt_1")
    done(store.inbox.done(store.claim_one()))
    clock.advance(6)
    assert done(store.archive.prune()) == 1
    store.close()
    old = first()
    assert (old.put("evt_1"), old.claim()) == (False, {})
