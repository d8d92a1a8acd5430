"""The inbox in PostgreSQL: one transaction for a delivery and its job, a layout made once, and a server that fails."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from postgres_world import archive_of, ask, clean_database, frozen, inbox_at, make_room, make_writer, now
from tests.support.servers import wait_until
from tests.webhooks.postgres_server import PostgresServer, _postgres  # noqa: F401  # a fixture
from webhook_world import new_delivery

from launchkit.errors import SettingsError
from launchkit.pipeline.effects import StoreDown
from launchkit.webhooks.inbox.database import Session
from launchkit.webhooks.inbox.inbox import Inbox
from launchkit.webhooks.inbox.insertion import Insertion
from launchkit.webhooks.inbox.postgres import PostgresDatabase
from launchkit.webhooks.inbox.postgres_layout import LAYOUT, QUEUE_NAMES, _QueueNames

pytestmark = pytest.mark.real_server

JOBS = "SELECT entrypoint, convert_from(payload, 'utf8'), status::text FROM launchkit.pgqueuer ORDER BY id"


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return clean_database(postgres)


@pytest.fixture
def inbox(url: str) -> Iterator[Inbox]:
    with inbox_at(url) as inbox:
        yield inbox


# --- the address -----------------------------------------------------------------------------------------------------


def test_the_name_shows_neither_user_nor_password() -> None:
    """It is for logs."""
    password = secrets.token_hex(8)
    assert PostgresDatabase(f"postgresql://someone:{password}@db.example:5433/shop").name == "db.example/shop"


def test_a_bad_address_is_a_mistake_in_the_settings_and_is_not_shown() -> None:
    """What cannot be read may be a password with a character that had to be escaped."""
    password = secrets.token_hex(8)
    with pytest.raises(SettingsError, match="LAUNCHKIT_DATABASE_URL") as caught:
        PostgresDatabase(f"postgresql://someone:{password}@[half/shop")
    assert password not in str(caught.value)
    assert caught.value.__suppress_context__


def test_making_a_database_opens_nothing() -> None:
    """Only its first transaction does; and closing what was never opened is nothing."""
    before = threading.active_count()
    PostgresDatabase("postgresql://nobody@192.0.2.1/nowhere").close()
    assert threading.active_count() == before


# --- the layout ------------------------------------------------------------------------------------------------------


OPENER = """
import sys
from launchkit.webhooks.inbox.postgres import PostgresDatabase

print("ready", flush=True)
sys.stdin.readline()
with PostgresDatabase(sys.argv[1]).transaction() as session:
    assert session.query("SELECT COUNT(*) FROM delivery") == [(0,)]
"""


def test_whoever_comes_first_makes_the_layout_and_the_others_find_it(postgres: PostgresServer, tmp_path: Path) -> None:
    """All machines of a deploy start at the same time; and the app's own schema stays as it was."""
    url = postgres.fresh_database()
    command = [sys.executable, "-c", OPENER, url]
    pipe = subprocess.PIPE
    processes = [subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    ended = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, ended
    assert ask(url, "SELECT version, oldest_reader FROM launchkit.layout") == [(LAYOUT, 1)]
    assert ask(url, "SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_a_layout_that_asks_for_a_later_release_is_refused(postgres: PostgresServer) -> None:
    """One that is only newer is not: a rollback must find its deliveries."""
    url = postgres.fresh_database()
    with inbox_at(url) as inbox:
        assert inbox.put(new_delivery("evt_1"))
    ask(url, "UPDATE launchkit.layout SET version = %s", LAYOUT + 5)
    with inbox_at(url) as inbox:
        assert inbox.put(new_delivery("evt_2"))
    ask(url, "UPDATE launchkit.layout SET oldest_reader = %s", LAYOUT + 1)
    with inbox_at(url) as inbox, pytest.raises(StoreDown, match="written by a newer LaunchKit"):
        inbox.put(new_delivery("evt_3"))


def test_a_role_that_may_not_make_schemas_finds_the_one_made_for_it(postgres: PostgresServer) -> None:
    """An administrator makes it beforehand."""
    url = postgres.fresh_database()
    role = f"app_{secrets.token_hex(4)}"
    ask(url, f"CREATE ROLE {role} LOGIN")
    with inbox_at(url.replace("postgres@", f"{role}@")) as inbox:
        with pytest.raises(StoreDown, match="permission denied"):
            inbox.put(new_delivery("evt_1"))
        ask(url, f"CREATE SCHEMA launchkit AUTHORIZATION {role}")
        assert inbox.put(new_delivery("evt_1"))


def test_the_names_of_tables_do_not_depend_on_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Left alone pgqueuer reads `CHANNEL` and `PREFIX` there, which may well mean something else to the app."""
    for name in ("CHANNEL", "PGQUEUER_PREFIX", "PGQUEUER_SCHEMA", "QUEUE_TABLE"):
        monkeypatch.setenv(name, "theirs")
    again = _QueueNames(db_schema="launchkit", channel=QUEUE_NAMES.channel, durability=QUEUE_NAMES.durability)
    assert again.model_dump() == QUEUE_NAMES.model_dump()
    assert (QUEUE_NAMES.queue_table, QUEUE_NAMES.channel) == ("pgqueuer", "launchkit_webhooks")


# --- transactions ----------------------------------------------------------------------------------------------------


def test_a_delivery_comes_with_a_job_for_its_source(url: str, inbox: Inbox) -> None:
    """Due when the delivery is; a duplicate has none."""
    inbox.put(new_delivery("evt_1"))
    inbox.put(dataclasses.replace(new_delivery("evt_2", source="b"), delay=1_000))
    inbox.put(new_delivery("evt_1"))
    assert ask(url, JOBS) == [
        ("launchkit.webhooks.stripe", "1", "queued"),
        ("launchkit.webhooks.b", "2", "queued"),
    ]
    ((difference,),) = ask(
        url,
        "SELECT MAX(ABS(EXTRACT(epoch FROM execute_after) - due_at))::float8 FROM launchkit.pgqueuer"
        " JOIN launchkit.delivery ON delivery.id::text = convert_from(payload, 'utf8')",
    )
    assert difference < 1e-3


def test_many_that_come_at_once_have_a_job_each(url: str, inbox: Inbox) -> None:
    """Also when some of them are duplicates, of others or of one another."""

    async def main(numbers: range) -> list[bool]:
        return await asyncio.gather(*[inbox.aput(new_delivery(f"evt_{number}")) for number in numbers])

    assert asyncio.run(main(range(100))).count(True) == 100
    assert asyncio.run(main(range(50, 150))).count(True) == 50
    rows = ask(url, "SELECT id::text, dedupe_key FROM launchkit.delivery ORDER BY delivery.id")
    assert sorted(payload for _, payload, _ in ask(url, JOBS)) == sorted(row for row, _ in rows)
    assert [key for _, key in rows[:100]] == [f"evt_{number}" for number in range(100)]


def test_row_and_job_are_stored_together_or_not_at_all(url: str) -> None:
    """A transaction that fails at its end leaves neither, an operation that fails takes its own job along."""

    def store(key: str, session: Session) -> None:
        statement = (
            "INSERT INTO delivery (source, dedupe_key, event, state, attempts, due_at, received_at, headers, body)"
            " VALUES ('stripe', ?, 'x', 'pending', 0, 0, 0, '{}', '')"
        )
        row = session.insert(statement, (key,))
        assert row is not None
        session.announce(row, session.now)

    def fail(session: Session) -> None:
        store("undone", session)
        raise ZeroDivisionError

    writer, database = make_writer(url), PostgresDatabase(url)
    with pytest.raises(psycopg.errors.DivisionByZero):
        _in_transaction(database, lambda session: (store("lost", session), session.query("SELECT 1 / 0")))
    database.close()
    failing, kept = writer.submit(fail), writer.submit(lambda session: store("kept", session))
    assert isinstance(failing.exception(20), ZeroDivisionError)
    now(kept)
    writer.close()
    rows = ask(url, "SELECT id::text, dedupe_key FROM launchkit.delivery")
    assert [key for _, key in rows] == ["kept"]
    assert [payload for _, payload, _ in ask(url, JOBS)] == [rows[0][0]]


def _in_transaction(database: PostgresDatabase, operation: Callable[[Session], object]) -> None:
    with database.transaction() as session:
        operation(session)


def test_what_is_discarded_has_the_next_of_its_order_key_announced(url: str, inbox: Inbox) -> None:
    """No worker would hear of it otherwise before it is overdue."""
    for key in ("a1", "a2"):
        inbox.put(dataclasses.replace(new_delivery(key), order_key="a"))
    ask(url, "TRUNCATE launchkit.pgqueuer")
    assert now(archive_of(inbox).discard([1], "not ours")) == 1
    assert ask(url, JOBS) == [("launchkit.webhooks.stripe", "2", "queued")]


def test_what_is_overdue_has_one_more_job_at_most(url: str, inbox: Inbox) -> None:
    """However often and by however many it is announced again."""
    inbox.put(new_delivery("evt_1"))
    ask(url, "UPDATE launchkit.delivery SET due_at = due_at - 100")
    for _ in range(3):
        assert now(inbox.overdue(60, sources=["stripe"])) == 1
    assert [payload for _, payload, _ in ask(url, JOBS)] == ["1", "1"]


def test_text_that_postgresql_cannot_store_is_stored_without_what_it_cannot(url: str, inbox: Inbox) -> None:
    """NUL may be in an exception's message and in an order key from a body; equal keys stay equal."""
    for number in range(2):
        inbox.put(dataclasses.replace(new_delivery(f"evt_{number}"), order_key="a\0b"))
    (lease,) = now(inbox.claim(10, sources=["stripe"], lease=30, attempts=3)).leased
    assert now(inbox.dead(lease, "broken\0"))
    assert ask(url, "SELECT error FROM launchkit.delivery WHERE state = 'dead'") == [
        ("broken\N{REPLACEMENT CHARACTER}",)
    ]


def test_acknowledged_is_on_disk_whatever_the_database_defaults_to(postgres: PostgresServer) -> None:
    """Some turn `synchronous_commit` off for the rest of their work."""
    url = postgres.fresh_database()
    name = url.rpartition("/test_")[2].partition("?")[0]
    ask(url, f"ALTER DATABASE test_{name} SET synchronous_commit = off")
    assert ask(url, "SHOW synchronous_commit") == [("off",)]
    database = PostgresDatabase(url)
    with database.transaction() as session:
        assert session.query("SHOW synchronous_commit") == [("on",)]
    database.close()


def test_groups_that_wait_for_each_other_come_to_an_end(url: str, inbox: Inbox) -> None:
    """Two machines that get the same deliveries in another order: PostgreSQL breaks the deadlock, and no group is lost.

    Ours are tried one by one then; one of them may lose once more, and its sender is asked to come again.
    """
    others = ("second", "first")
    with psycopg.connect(url) as other, ThreadPoolExecutor(3) as pool:
        other.execute("SET deadlock_timeout = '60s'")  # ours is the one to be broken off
        other.execute(_STORE, (others[0],))
        entered, go = threading.Event(), threading.Event()
        held = inbox._writer.submit(lambda session: entered.set() or go.wait(10))
        assert entered.wait(10)
        ours = [inbox._writer.submit(Insertion(new_delivery(key), make_room())) for key in ("first", "second")]
        go.set()
        assert now(held)
        wait_until(lambda: ask(url, "SELECT 1 FROM pg_locks WHERE NOT granted"))
        theirs = pool.submit(other.execute, _STORE, (others[1],))
        if theirs.exception(20) is None:
            other.commit()
        else:
            other.rollback()
        failed = [error for future in ours if (error := future.exception(20)) is not None]
    assert [type(error) for error in failed] in ([], [StoreDown])
    for key in ("first", "second"):
        inbox.put(new_delivery(key))
    assert sorted(ask(url, "SELECT dedupe_key FROM launchkit.delivery")) == [("first",), ("second",)]


_STORE = (
    "INSERT INTO launchkit.delivery (source, dedupe_key, event, state, attempts, due_at, received_at, headers, body)"
    " VALUES ('stripe', %s, 'x', 'done', 0, 0, 0, '{}', '')"
)


# --- a server that fails ---------------------------------------------------------------------------------------------


def test_a_restart_between_two_deliveries_is_not_noticed(postgres: PostgresServer, url: str, inbox: Inbox) -> None:
    """A connection that broke while nobody used it is made anew."""
    assert inbox.put(new_delivery("evt_1"))
    postgres.kill()
    postgres.start()
    assert [inbox.put(new_delivery(key)) for key in ("evt_1", "evt_2")] == [False, True]


def test_a_server_that_is_down_is_said_once_and_used_again_when_it_is_back(
    postgres: PostgresServer, url: str, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Senders are told to come again meanwhile."""
    assert inbox.put(new_delivery("evt_1"))
    postgres.kill()
    for _ in range(2):
        with pytest.raises(StoreDown):
            inbox.put(new_delivery("evt_2"))
    postgres.start()
    assert inbox.put(new_delivery("evt_2"))
    messages = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [("is down" in message, "is back" in message) for message in messages] == [(True, False), (False, True)]


@pytest.mark.real_time
def test_a_server_that_has_stopped_without_a_word_is_down(postgres: PostgresServer, url: str, inbox: Inbox) -> None:
    """Within the time that a sender waits; also for verbs that nobody but the server could end; and then it goes on."""
    assert inbox.put(new_delivery("evt_1"))
    (lease,) = now(inbox.claim(1, sources=["stripe"], lease=100, attempts=3)).leased
    with frozen(postgres):
        began = time.monotonic()
        with pytest.raises(StoreDown, match="no answer within 3 s"):
            inbox.put(new_delivery("evt_2"))
        assert time.monotonic() - began < inbox.WAIT
        assert isinstance(inbox.done(lease).exception(20), StoreDown)
    assert inbox.put(new_delivery("evt_3"))
    assert now(inbox.done(lease))


def test_a_group_that_cannot_be_committed_is_told_to_all_of_it(postgres: PostgresServer, url: str) -> None:
    """A server that dies in the middle of a transaction takes the whole of it along, and nobody is told otherwise."""
    writer = make_writer(url)
    entered, go = threading.Event(), threading.Event()

    def hold(session: Session) -> bool:
        entered.set()
        return go.wait(20)

    held, others = writer.submit(hold), [writer.submit(lambda session: session.now) for _ in range(2)]
    assert entered.wait(10)
    postgres.kill()
    go.set()
    assert [type(future.exception(20)) for future in (held, *others)] == [StoreDown] * 3
    writer.close()
