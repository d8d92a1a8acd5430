"""Two workers with one delivery, and a database that ends in between."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from tests.support.servers import wait_until
from tests.webhooks.postgres_server import PostgresServer, _postgres

from launchkit.webhooks.record import CREATE_TABLE, record

__all__ = ["_postgres"]  # a fixture is found by its name here

KEY = "stripe:evt_1"


def handle(url: str, key: str) -> bool:
    with psycopg.connect(url) as connection:
        return record(connection, key)


def waits(url: str) -> bool:
    """Whether a connection to this database waits for a lock."""
    query = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchone() is not None


@contextmanager
def second_worker(url: str, key: str) -> Iterator[Future[bool]]:
    """Run the handler in another worker, up to where it waits for the first."""
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(handle, url, key)
        wait_until(lambda: waits(url))
        yield answer


def database_with_table(postgres: PostgresServer) -> str:
    url = postgres.fresh_database()
    with psycopg.connect(url) as connection:
        connection.execute(CREATE_TABLE["postgresql"].encode())
    return url


@pytest.mark.real_server
def test_the_second_worker_waits_for_the_firsts_commit(postgres: PostgresServer) -> None:
    """It then knows that the effect is there, and its own transaction is usable."""
    url = database_with_table(postgres)
    with psycopg.connect(url) as first:
        assert record(first, KEY) is True
        with second_worker(url, KEY) as answer:
            first.commit()
            assert answer.result(20) is False


@pytest.mark.real_server
def test_the_second_worker_takes_over_after_the_firsts_rollback(postgres: PostgresServer) -> None:
    """The effect of the first is gone, so the second has to make it."""
    url = database_with_table(postgres)
    with psycopg.connect(url) as first:
        assert record(first, KEY) is True
        with second_worker(url, KEY) as answer:
            first.rollback()
            assert answer.result(20) is True


@pytest.mark.real_server
@pytest.mark.parametrize("ending", ["commit", "rollback"])
def test_two_first_deliveries_make_the_table_once(postgres: PostgresServer, ending: str) -> None:
    """Whoever comes second waits for the table, or makes it if the first has not kept it."""
    url = postgres.fresh_database()
    with psycopg.connect(url) as first:
        assert record(first, KEY) is True
        with second_worker(url, "stripe:evt_2") as answer:
            getattr(first, ending)()
            assert answer.result(20) is True
    assert handle(url, KEY) is (ending == "rollback")
    assert handle(url, "stripe:evt_2") is False


@pytest.mark.real_server
def test_a_database_that_crashes_before_the_commit_has_no_record(postgres: PostgresServer) -> None:
    """What was committed stays recorded; what was open when the server was killed is run again."""
    url = postgres.fresh_database()
    assert handle(url, "stripe:done") is True
    with closing(psycopg.connect(url)) as connection:
        assert record(connection, KEY) is True
        postgres.kill()
    postgres.start()
    assert handle(url, "stripe:done") is False
    assert handle(url, KEY) is True


@pytest.mark.real_server
def test_a_table_that_a_migration_made_is_used(postgres: PostgresServer) -> None:
    """The app's role may then be without the right to make tables."""
    url = database_with_table(postgres)
    with psycopg.connect(url) as connection:
        connection.execute("CREATE ROLE app")
        connection.execute("GRANT INSERT, SELECT ON launchkit_deliveries TO app")
        connection.execute("SET ROLE app")
        assert record(connection, KEY) is True
        assert record(connection, KEY) is False
        connection.rollback()


def test_on_sqlite_a_second_worker_fails_while_the_first_is_at_work(tmp_path: Path) -> None:
    """The database's own error reaches the handler, so that the delivery is retried; then it finds the record."""
    path = tmp_path / "app"
    with closing(sqlite3.connect(path)) as first, closing(sqlite3.connect(path, timeout=0)) as second:
        assert record(first, KEY) is True
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            record(second, KEY)
        first.commit()
        assert record(second, KEY) is False


def test_on_sqlite_a_second_worker_that_waits_sees_the_firsts_record(tmp_path: Path) -> None:
    """A transaction that had begun with a read would fail for good, as what it reads is out of date by then."""
    path = tmp_path / "app"
    with closing(sqlite3.connect(path)) as first, closing(sqlite3.connect(path, isolation_level=None)) as second:
        first.execute("PRAGMA journal_mode=WAL")
        first.execute(CREATE_TABLE["sqlite"])
        second.execute("BEGIN")
        assert record(first, KEY) is True

        def commit_first(statement: str) -> None:
            if statement.startswith(("DELETE", "INSERT")):  # the second's first write, which would have to wait
                first.commit()

        second.set_trace_callback(commit_first)
        assert record(second, KEY) is False


def test_on_sqlite_the_table_goes_with_the_transaction_that_made_it(tmp_path: Path) -> None:
    """What the app has written before is neither committed by making the table nor lost."""
    path = tmp_path / "app"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE effect (delivery TEXT)")
        connection.execute("INSERT INTO effect VALUES ('before')")
        assert record(connection, KEY) is True
        connection.rollback()
        assert connection.execute("SELECT count(*) FROM effect").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)
        connection.execute("INSERT INTO effect VALUES ('before')")
        assert record(connection, KEY) is True
        connection.commit()
        assert connection.execute("SELECT count(*) FROM effect").fetchone() == (1,)
