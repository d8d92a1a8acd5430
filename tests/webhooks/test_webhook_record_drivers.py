"""Drivers that are not here: their modules' shape (PEP 249) over an SQLite database, which speaks for theirs."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from launchkit.errors import LaunchKitError
from launchkit.webhooks.record import CREATE_TABLE, record

KEY = "stripe:evt_1"

MARKS = {"qmark": "?", "format": "%s", "pyformat": "%(key)s", "named": ":key", "numeric": ":1"}


class ServerSaid(Exception):
    """An error of a MySQL driver: a number and a text."""


class Cursor:
    """Takes statements in the marks of its driver and in MySQL's words."""

    rowcount = -1

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._cursor = connection.database.cursor()

    def execute(self, statement: str, parameters: Any = ()) -> None:
        mark = MARKS[self.connection.paramstyle]
        assert mark in statement
        assert isinstance(parameters, dict) is (mark in ("%(key)s", ":key"))
        count = statement.count(mark)
        if isinstance(parameters, tuple):
            assert len(parameters) == (1 if mark == ":1" else count)
            parameters = parameters[:1] * count
        native = ":key" if isinstance(parameters, dict) else "?"
        words = statement.replace("INSERT IGNORE", "INSERT OR IGNORE").replace(mark, native)
        try:
            self._cursor.execute(words, parameters)
        except sqlite3.OperationalError as error:
            raise ServerSaid(1146 if "no such table" in str(error) else 1054, str(error)) from error
        self.rowcount = self._cursor.rowcount

    def fetchone(self) -> object:
        return self._cursor.fetchone()

    def close(self) -> None:
        self._cursor.close()


class Connection:
    """The connection of a driver's class: what it says about transactions is set by each test."""

    paramstyle = "qmark"

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database

    def cursor(self) -> Cursor:
        return Cursor(self)


@pytest.fixture(name="database")
def _database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "app")) as database:
        database.execute(CREATE_TABLE["sqlite"])
        yield database


def driver(monkeypatch: pytest.MonkeyPatch, name: str, paramstyle: str) -> type[Connection]:
    """Give Python a driver's module as if it were imported, and return its class of connections."""
    module = ModuleType(name)
    module.__dict__["paramstyle"] = paramstyle
    monkeypatch.setitem(sys.modules, name, module)
    return type("Connection", (Connection,), {"__module__": f"{name}.connections", "paramstyle": paramstyle})


@pytest.mark.parametrize("paramstyle", MARKS)
@pytest.mark.parametrize("name", ["pymysql", "MySQLdb", "mysql.connector", "mariadb", "oracledb"])
def test_any_driver_is_spoken_to_in_its_own_marks(
    monkeypatch: pytest.MonkeyPatch, database: sqlite3.Connection, name: str, paramstyle: str
) -> None:
    """The driver's module says how it marks parameters; a repeat leaves the transaction usable on every dialect."""
    connection = driver(monkeypatch, name, paramstyle)(database)
    assert [record(connection, KEY), record(connection, KEY), record(connection.cursor(), "a:2")] == [True, False, True]
    database.rollback()
    assert record(connection, KEY) is True


def test_a_traced_connection_is_known(database: sqlite3.Connection) -> None:
    """What a tracer puts around a connection passes for it in everything but its type."""
    kind = property(lambda _: sqlite3.Connection)
    traced = type("Traced", (), {"__class__": kind, "__getattr__": lambda _, name: getattr(database, name)})
    assert record(traced(), KEY) is True


def test_a_cursor_that_hides_its_connection_is_named(
    monkeypatch: pytest.MonkeyPatch, database: sqlite3.Connection
) -> None:
    """Such as those of MySQL's own driver: the connection itself is to be handed over."""
    cursor = driver(monkeypatch, "mysql.connector", "pyformat")(database).cursor()
    kind = type("MySQLCursor", (), {"__module__": "mysql.connector.cursor", "fetchone": cursor.fetchone})
    with pytest.raises(LaunchKitError, match=r"mysql\.connector\.cursor\.MySQLCursor cannot be recorded on"):
        record(kind(), KEY)


@pytest.mark.parametrize("name", ["pymysql", "MySQLdb"])
def test_on_mysql_a_missing_table_is_for_a_migration(
    monkeypatch: pytest.MonkeyPatch, database: sqlite3.Connection, name: str
) -> None:
    """Making it would commit the app's transaction: the error has the statement to run."""
    database.execute("DROP TABLE launchkit_deliveries")
    with pytest.raises(LaunchKitError) as caught:
        record(driver(monkeypatch, name, "format")(database), KEY)
    assert CREATE_TABLE["mysql"] in str(caught.value)


def test_other_errors_are_the_drivers(monkeypatch: pytest.MonkeyPatch, database: sqlite3.Connection) -> None:
    """A table of another shape is not called a missing one, nor is a missing one of another dialect guessed at."""
    database.execute("DROP TABLE launchkit_deliveries")
    with pytest.raises(ServerSaid, match="1146"):
        record(driver(monkeypatch, "oracledb", "named")(database), KEY)
    database.execute("CREATE TABLE launchkit_deliveries (other TEXT)")
    with pytest.raises(ServerSaid, match="1054"):
        record(driver(monkeypatch, "pymysql", "pyformat")(database), KEY)
    with pytest.raises(sqlite3.OperationalError, match="no column named delivery"):
        record(database, KEY)


@pytest.mark.parametrize(
    ("shown", "is_open"),
    [
        ({"get_autocommit": lambda _: True, "server_status": 2}, False),  # pymysql
        ({"get_autocommit": lambda _: True, "server_status": 3}, True),  # after its begin()
        ({"get_autocommit": lambda _: False, "server_status": 0}, True),
        ({"get_autocommit": lambda _: True}, False),  # mysqlclient
        ({"get_autocommit": lambda _: False, "autocommit": lambda _: None}, True),
        ({"autocommit": True, "in_transaction": False}, False),  # mysql.connector
        ({"autocommit": True, "in_transaction": True}, True),
        ({"autocommit": False, "in_transaction": False}, True),
        ({"autocommit": True}, False),  # pyodbc, oracledb
        ({"autocommit": False}, True),
        ({}, True),
    ],
)
def test_autocommit_is_refused_where_the_driver_shows_it(
    monkeypatch: pytest.MonkeyPatch, database: sqlite3.Connection, shown: dict[str, Any], is_open: bool
) -> None:
    """Such a driver begins with the first statement, unless it commits each; a transaction opened by hand counts."""
    connection = type("Connection", (driver(monkeypatch, "pymysql", "pyformat"),), shown)(database)
    if is_open:
        assert record(connection, KEY) is True
    else:
        with pytest.raises(LaunchKitError, match="No transaction is open"):
            record(connection, KEY)
        assert not database.in_transaction
