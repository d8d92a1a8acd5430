"""The store is down: everybody is told at once, and when it is back nothing has to be reset."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from webhook_world import Store, done, new_delivery

from launchkit.pipeline.effects import StoreDown
from launchkit.testing import FrozenClock
from launchkit.webhooks.inbox.inbox import Inbox
from launchkit.webhooks.inbox.layout import LAYOUT
from launchkit.webhooks.inbox.sqlite import SqliteDatabase, SqliteSession


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "inbox.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = Store(path, FrozenClock())
    yield store
    store.close()


@pytest.fixture
def inbox(store: Store) -> Inbox:
    return store.inbox


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [("down" if "is down" in message else "back") for message in caplog.messages]


@contextmanager
def turn_taken(path: Path) -> Iterator[None]:
    """Stand for another process that hangs in the middle of its turn."""
    turns = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT)
    fcntl.flock(turns, fcntl.LOCK_EX)
    yield
    os.close(turns)


def test_a_folder_that_cannot_be_made_is_a_store_that_is_down(
    store: Store, inbox: Inbox, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each verb says so; the log says it once, and once when it is over; no payload is in it."""
    path.parent.write_text("in the way")
    for _ in range(3):
        with pytest.raises(StoreDown):
            inbox.put(new_delivery("evt_1", body=b"payload"))
    with pytest.raises(StoreDown):
        asyncio.run(inbox.aput(new_delivery("evt_1")))
    with pytest.raises(StoreDown):
        done(store.archive.backlog())
    path.parent.unlink()
    assert inbox.put(new_delivery("evt_1"))
    assert inbox.put(new_delivery("evt_2"))
    assert lines(caplog) == ["down", "back"]
    assert "payload" not in caplog.text


def test_reading_alone_does_not_prove_that_the_store_is_back(
    store: Store, inbox: Inbox, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """On a full disk reads go on: only something written ends the outage."""
    path.parent.write_text("in the way")
    with pytest.raises(StoreDown):
        inbox.put(new_delivery("evt_1"))
    path.parent.unlink()
    done(store.archive.backlog())
    assert lines(caplog) == ["down"]


def test_a_full_disk_refuses_and_keeps_what_it_has(
    store: Store, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is acknowledged that is not stored; when there is room again the same delivery is taken."""

    def pragma(statement: str) -> int:
        ((value,),) = done(store.writer.submit(lambda session: session.query(f"PRAGMA {statement}")))
        return int(value)

    inbox.put(new_delivery("evt_1"))
    pragma(f"max_page_count = {pragma('page_count')}")
    large = new_delivery("evt_2", body=b"x" * 100_000)
    with pytest.raises(StoreDown, match="full"):
        inbox.put(large)
    assert store.pending() == 1
    pragma("max_page_count = 1000000")
    assert inbox.put(large)
    assert lines(caplog) == ["down", "back"]


def test_a_damaged_file_is_a_store_that_is_down(inbox: Inbox, path: Path) -> None:
    """Whatever SQLite says is wrong means one thing to the sender: come again."""
    path.parent.mkdir()
    path.write_bytes(b"this is no database, and long enough for SQLite to see it" * 20)
    with pytest.raises(StoreDown):
        inbox.put(new_delivery("evt_1"))
    path.unlink()
    assert inbox.put(new_delivery("evt_1"))


def test_a_file_of_a_newer_layout_is_left_alone(inbox: Inbox, path: Path) -> None:
    """After a roll-back the older code does not touch what it does not know."""
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {LAYOUT + 1}")
    connection.close()
    with pytest.raises(StoreDown, match="newer"):
        inbox.put(new_delivery("evt_1"))


@pytest.mark.parametrize("whole_folder", [True, False])
def test_a_file_that_was_deleted_is_noticed(store: Store, inbox: Inbox, path: Path, whole_folder: bool) -> None:
    """What is acknowledged after that is in the file that the next process finds."""
    inbox.put(new_delivery("evt_1"))
    if whole_folder:
        shutil.rmtree(path.parent)
    else:
        path.unlink()
    assert inbox.put(new_delivery("evt_2"))
    inbox.close()
    assert store.states() == {"evt_2": "pending"}


def test_a_locked_file_is_a_store_that_is_down(inbox: Inbox, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that holds SQLite's lock is waited for, but not for ever."""
    monkeypatch.setattr(SqliteDatabase, "BUSY_SECONDS", 0.01)
    inbox.put(new_delivery("evt_1"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreDown, match="locked"):
        inbox.put(new_delivery("evt_2"))
    other.execute("COMMIT")
    other.close()
    assert inbox.put(new_delivery("evt_2"))


def test_a_put_that_takes_too_long_is_given_up(
    inbox: Inbox, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where another process hangs in its turn nobody waits longer than the limit, in either colour."""
    inbox.put(new_delivery("evt_1"))
    monkeypatch.setattr(Inbox, "WAIT", 0.02)
    with turn_taken(path):
        with pytest.raises(StoreDown):
            inbox.put(new_delivery("evt_2"))
        with pytest.raises(StoreDown):
            asyncio.run(inbox.aput(new_delivery("evt_3")))
        assert lines(caplog) == ["down"]
    monkeypatch.undo()
    assert inbox.put(new_delivery("evt_4"))
    assert lines(caplog) == ["down", "back"]


def test_the_error_is_logged_as_an_error(inbox: Inbox, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever watches the log for errors learns that deliveries are refused."""
    path.parent.write_text("in the way")
    with pytest.raises(StoreDown):
        inbox.put(new_delivery("evt_1"))
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_file_that_was_replaced_is_noticed(store: Store, path: Path) -> None:
    """As by somebody who restores a backup: what comes then is in the file that is there."""
    store.put("evt_1")
    store.close()
    shutil.copy(path, path.with_name("backup"))
    store.put("evt_2")
    path.with_name("backup").replace(path)
    for name in ("-wal", "-shm"):
        path.with_name(path.name + name).unlink()
    store.put("evt_3")
    store.close()
    assert set(store.states()) == {"evt_1", "evt_3"}


def test_a_slow_disk_delays_and_loses_nothing(path: Path) -> None:
    """Whatever gathers while a flush takes its time is committed together with the next."""
    slow = SlowDatabase(path, FrozenClock())
    store = Store(path, FrozenClock(), open_database=lambda: slow)

    async def main() -> list[bool]:
        first = asyncio.ensure_future(store.inbox.aput(new_delivery("first")))
        assert await asyncio.to_thread(slow.flushing.wait, 10)
        others = [asyncio.ensure_future(store.inbox.aput(new_delivery(f"evt_{number}"))) for number in range(50)]
        await asyncio.sleep(0)
        assert not first.done()
        slow.flushed.set()
        return await asyncio.gather(first, *others)

    assert asyncio.run(main()) == [True] * 51
    store.close()
    assert slow.commits == 2
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT COUNT(*) FROM delivery").fetchone() == (51,)
    connection.close()


class SlowDatabase(SqliteDatabase):
    """Its first flush takes as long as the test wants."""

    def __init__(self, path: Path, clock: FrozenClock) -> None:
        super().__init__(path, clock)
        self.flushing, self.flushed = threading.Event(), threading.Event()
        self.commits = 0

    @contextmanager
    def transaction(self) -> Iterator[SqliteSession]:
        with super().transaction() as session:
            yield session
            self.flushing.set()
            assert self.flushed.wait(10)
        self.commits += 1
