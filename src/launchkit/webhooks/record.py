"""One effect for each delivery, although its handler may run more than once.

A delivery's key is written into a table of the app's database, in the transaction that holds the effect. Both are
committed or neither is, so a later attempt that finds the key knows that the effect is there. The rules:

- The transaction is the app's: nothing here begins, commits or rolls back, and a repeat leaves it usable.
- No transaction, no record: a key that is committed by itself loses the effect for ever if the process ends in
  between. Whether one is open is observed after a statement that changes nothing, as drivers begin at the first one;
  only where the driver does not show it, its autocommit setting is asked.
- SQLite is first sent a write: a transaction that began by reading could not wait for another worker's lock, and would
  fail where it should see what the other has recorded (https://www.sqlite.org/rescode.html#busy_snapshot).
- The table is made where a transaction can hold that. On MySQL it would commit what the app has done so far.
- Packages are recognised by name, never imported: what an app does not use is not loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import iscoroutinefunction
from types import ModuleType
from typing import Any, Final

from launchkit.errors import LaunchKitError

CREATE_TABLE: Final[Mapping[str, str]] = {
    "sqlite": (
        "CREATE TABLE IF NOT EXISTS launchkit_deliveries"
        " (delivery TEXT NOT NULL PRIMARY KEY, recorded_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
    ),
    "postgresql": (
        "CREATE TABLE IF NOT EXISTS launchkit_deliveries"
        " (delivery TEXT NOT NULL PRIMARY KEY, recorded_at TIMESTAMPTZ NOT NULL DEFAULT now())"
    ),
    # Bytes are compared, not letters: `evt_a` and `evt_A` are two deliveries.
    "mysql": (
        "CREATE TABLE IF NOT EXISTS launchkit_deliveries"
        " (delivery VARCHAR(700) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,"
        " recorded_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP) ENGINE=InnoDB"
    ),
}
"""The table, for an app that makes its tables in migrations. On MySQL and MariaDB it has to; elsewhere it may."""

_POSTGRES_TABLE: Final = f"""DO $$ BEGIN
IF to_regclass('launchkit_deliveries') IS NULL THEN
PERFORM pg_advisory_xact_lock(7310868735422309);
{CREATE_TABLE["postgresql"]};
END IF; END $$"""
"""Two that create it at once would fail each other in spite of IF NOT EXISTS; the lock's number is only ours."""

_CHANGE_NOTHING: Final = "DELETE FROM launchkit_deliveries WHERE 0"

_INSERT: Final[Mapping[str, str]] = {
    "sqlite": "INSERT INTO launchkit_deliveries (delivery) VALUES (?) ON CONFLICT DO NOTHING",
    "postgresql": "INSERT INTO launchkit_deliveries (delivery) VALUES (?) ON CONFLICT DO NOTHING",
    "mysql": "INSERT IGNORE INTO launchkit_deliveries (delivery) VALUES (?)",
}
_INSERT_ELSEWHERE: Final = (
    "INSERT INTO launchkit_deliveries (delivery)"
    " SELECT ? WHERE NOT EXISTS (SELECT 1 FROM launchkit_deliveries WHERE delivery = ?)"
)

_DIALECTS: Final[Mapping[str, str]] = {
    "sqlite3": "sqlite",
    "aiosqlite": "sqlite",
    "psycopg": "postgresql",
    "psycopg2": "postgresql",
    "asyncpg": "postgresql",
    "pg8000": "postgresql",
    "pymysql": "mysql",
    "MySQLdb": "mysql",
    "mysql": "mysql",
    "mariadb": "mysql",
}
"""The dialects by a driver's package, and by SQLAlchemy's names for them."""

_MARKS: Final[Mapping[str, str]] = {
    "qmark": "?",
    "format": "%s",
    "pyformat": "%(key)s",
    "named": ":key",
    "numeric": ":1",
    "numeric_dollar": "$1",
}
"""PEP 249's `paramstyle`, and the one that SQLAlchemy adds for asyncpg."""

_NO_SUCH_TABLE: Final = 1146
"""ER_NO_SUCH_TABLE of MySQL and MariaDB."""

_IN_TRANSACTION: Final = 1
"""SERVER_STATUS_IN_TRANS in what MySQL and MariaDB send with each answer."""

_NOT_OPEN: Final = (
    "No transaction is open: the delivery's record would be committed without the effect, and a crash in between would"
    " lose that for ever. Open one around both, such as `with engine.begin() as connection:` (SQLAlchemy),"
    " `with connection.transaction():` (psycopg, asyncpg) or `BEGIN` (sqlite3 without an isolation level)."
)
_NOT_KNOWN: Final = (
    "cannot be recorded on: hand over an open connection of a DB-API 2 driver or of asyncpg, or SQLAlchemy's"
    " connection or session."
)
_NO_TABLE: Final = (
    "The table launchkit_deliveries is missing. To make it here would commit what the app has done so far, so let a"
    f" migration run: {CREATE_TABLE['mysql']}"
)
_NO_COUNT: Final = (
    "The driver does not tell whether the delivery's record was written: leave its pipeline or batch first."
)

_Steps = Generator[str, int, bool]
"""Gives statements, in which each `?` is the key, and takes the number of rows that each has written."""


def record(connection: object, key: str) -> bool:
    """Write a delivery's key in the transaction on a connection, and return whether it was not there yet.

    Call it before anything else in the handler's transaction, and leave the effect out on False. A second transaction
    with the same key waits for the first: it gets False once that has committed, True once that was rolled back. On
    SQLite the wait is the connection's own time-out; the driver's error after it lets the delivery be retried.

    Rows stay until the app deletes them. It may delete those whose `recorded_at` is longer ago than the retry schedule
    and the inbox's retention together: no repeat comes after that.

    Args:
        connection: a DB-API 2 connection (PEP 249) or a cursor of one, or SQLAlchemy's Connection, Session or
            scoped_session, such as Flask-SQLAlchemy's `db.session`.
        key: `delivery.idempotency_key`.

    Raises:
        LaunchKitError: no transaction is open and the driver opens none; the connection is async, or of a kind that is
            not known; on MySQL and MariaDB, the table is missing (`CREATE_TABLE["mysql"]` makes it).
    """
    given = _without_cursor(connection)
    if _is_async(given):
        raise LaunchKitError(f"{_kind(given)} is async: write `await delivery.arecord(connection)`.")
    target = _sqlalchemy_target(given) if _is_of("sqlalchemy", given) else _driver_target(given, _execute)
    steps = _steps(target)
    try:
        statement = next(steps)
        while True:
            try:
                count = target.execute(*target.written(statement, key))
            except Exception as error:  # noqa: BLE001 -- the steps raise what they do not expect
                statement = steps.throw(error)
            else:
                statement = steps.send(count)
    except StopIteration as done:
        return bool(done.value)


async def arecord(connection: object, key: str) -> bool:
    """Do what `record` does, on an async connection.

    Args:
        connection: SQLAlchemy's AsyncConnection, AsyncSession or async_scoped_session, a connection of asyncpg or of
            aiosqlite, psycopg's AsyncConnection or a cursor of one.
        key: `delivery.idempotency_key`.

    Raises:
        LaunchKitError: as `record`; the connection is not async.
    """
    given = _without_cursor(connection)
    if not _is_async(given):
        raise LaunchKitError(f"{_kind(given)} is not an async connection: write `delivery.record(connection)`.")
    if _is_of("sqlalchemy", given):
        opened = given if hasattr(given, "run_sync") else await given.connection()  # async_scoped_session has none
        return bool(await opened.run_sync(record, key))
    target = _asyncpg_target(given) if _is_of("asyncpg", given) else _driver_target(given, _aexecute)
    steps = _steps(target)
    try:
        statement = next(steps)
        while True:
            try:
                count = await target.execute(*target.written(statement, key))
            except Exception as error:  # noqa: BLE001 -- the steps raise what they do not expect
                statement = steps.throw(error)
            else:
                statement = steps.send(count)
    except StopIteration as done:
        return bool(done.value)


@dataclass(frozen=True, slots=True)
class _Target:
    """What the steps have to know of a connection, and how it runs a statement."""

    dialect: str
    paramstyle: str
    driver: Any  # the driver's own connection, which knows whether a transaction is open
    execute: Callable[..., Any]  # with a statement and, if it has any, its parameters: the number of rows, or a promise

    def written(self, statement: str, key: str) -> tuple[object, ...]:
        """Return a statement as the driver takes it, and its parameters if it has any."""
        count = statement.count("?")
        if count == 0:
            return (statement,)
        mark = _MARKS[self.paramstyle]
        parameters = {"key": key} if "key" in mark else (key,) * (1 if "1" in mark else count)
        return statement.replace("?", mark), parameters


def _steps(target: _Target) -> _Steps:
    if target.dialect == "sqlite":
        yield from _begin_on_sqlite()
    elif target.dialect == "postgresql":
        yield _POSTGRES_TABLE
    if not _is_open(target):
        raise LaunchKitError(_NOT_OPEN)
    try:
        count = yield _INSERT.get(target.dialect, _INSERT_ELSEWHERE)
    except Exception as error:
        if target.dialect == "mysql" and _number(error) == _NO_SUCH_TABLE:
            raise LaunchKitError(_NO_TABLE) from error
        raise
    if count < 0:
        raise LaunchKitError(_NO_COUNT)
    return count > 0


def _begin_on_sqlite() -> Generator[str, int, None]:
    try:
        yield _CHANGE_NOTHING
    except Exception as error:
        if "no such table" not in str(_cause(error)):
            raise
        yield CREATE_TABLE["sqlite"]
        yield _CHANGE_NOTHING


def _is_open(target: _Target) -> bool:
    """Whether a transaction is open, or the driver opens one for the next statement."""
    driver = target.driver
    if target.dialect == "sqlite":
        return bool(driver.in_transaction)
    if hasattr(driver, "is_in_transaction"):  # asyncpg
        return bool(driver.is_in_transaction())
    status = getattr(getattr(driver, "info", None), "transaction_status", None)  # psycopg and psycopg2
    if status is not None:
        return bool(status)  # 0 is idle
    return not _has_autocommit(driver) or _has_begun(driver)


def _has_autocommit(driver: Any) -> bool:
    ask = getattr(driver, "get_autocommit", None)  # pymysql and mysqlclient
    return (ask() if callable(ask) else getattr(driver, "autocommit", False)) is True


def _has_begun(driver: Any) -> bool:
    """Whether a transaction was opened by hand in spite of autocommit: pymysql, MariaDB's and MySQL's own drivers."""
    status = getattr(driver, "server_status", 0)
    return bool(status & _IN_TRANSACTION) or getattr(driver, "in_transaction", False) is True


def _cause(error: Exception) -> Exception:
    """Return the driver's error, which SQLAlchemy wraps together with the statement."""
    original = getattr(error, "orig", None)
    return original if isinstance(original, Exception) else error


def _number(error: Exception) -> object:
    cause = _cause(error)
    return getattr(cause, "errno", next(iter(cause.args), None))


def _kind(given: object) -> str:
    kind = type(given)
    return f"{kind.__module__}.{kind.__qualname__}"


def _modules(given: Any) -> list[str]:
    """Return the modules of a connection's classes. Tracers put a proxy around it, which says `__class__` truly."""
    return [kind.__module__ for kind in given.__class__.__mro__]


def _is_of(package: str, given: object) -> bool:
    return any(module.partition(".")[0] == package for module in _modules(given))


def _is_async(given: object) -> bool:
    # The wrappers that asyncpg's pool gives out hide that their methods are async.
    verbs = [getattr(given, name, None) for name in ("commit", "execute")]
    return _is_of("asyncpg", given) or any(map(iscoroutinefunction, verbs))


def _without_cursor(given: Any) -> Any:
    """Return a cursor's connection, which most drivers give it (PEP 249, optional extensions); else what was given."""
    is_cursor = hasattr(given, "fetchone") and hasattr(given, "connection")
    return given.connection if is_cursor else given


def _dialect(name: str) -> str:
    return _DIALECTS.get(name, name)


def _sqlalchemy_target(given: Any) -> _Target:
    if not hasattr(given, "exec_driver_sql") and not hasattr(given, "connection"):
        raise LaunchKitError(f"{_kind(given)} {_NOT_KNOWN}")
    connection = given if hasattr(given, "exec_driver_sql") else given.connection()
    return _Target(
        _dialect(connection.dialect.name),
        connection.dialect.paramstyle,
        connection.connection.driver_connection,
        lambda *statement: connection.exec_driver_sql(*statement).rowcount,
    )


def _driver_target(given: Any, execute: Callable[..., Any]) -> _Target:
    module = _driver_module(given)
    if module is None or not hasattr(given, "cursor"):
        raise LaunchKitError(f"{_kind(given)} {_NOT_KNOWN}")
    package = module.__name__.partition(".")[0]
    return _Target(_dialect(package), str(module.paramstyle), given, partial(execute, given))


def _driver_module(given: object) -> ModuleType | None:
    """Return the module of a DB-API driver: the one that names its `paramstyle`, itself or around the connection's."""
    for name in _modules(given):
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            module = sys.modules.get(".".join(parts[:length]))
            if hasattr(module, "paramstyle"):
                return module
    return None


def _asyncpg_target(given: Any) -> _Target:
    if not hasattr(given, "is_in_transaction"):  # a pool
        raise LaunchKitError(f"{_kind(given)} {_NOT_KNOWN}")
    return _Target("postgresql", "numeric_dollar", given, partial(_execute_asyncpg, given))


def _execute(connection: Any, *statement: object) -> int:
    cursor = connection.cursor()
    try:
        cursor.execute(*statement)
        return int(cursor.rowcount)
    finally:
        cursor.close()


async def _aexecute(connection: Any, *statement: object) -> int:
    async with await connection.execute(*statement) as cursor:
        return int(cursor.rowcount)


async def _execute_asyncpg(connection: Any, statement: str, parameters: tuple[object, ...] = ()) -> int:
    status: str = await connection.execute(statement, *parameters)
    count = status.rpartition(" ")[2]  # `INSERT 0 1`
    return int(count) if count.isdecimal() else -1
