"""The same handler, written as the users of each driver would: the record, then one effect, in one transaction.

Each takes an address, a delivery's key and whether it is to fail before its commit, and returns what the record said.
"""

from __future__ import annotations

import asyncio
import functools
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

import aiosqlite
import asyncpg  # type: ignore[import-untyped]  # it has no types for mypy
import psycopg
import sqlalchemy
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import NullPool

from launchkit.webhooks.record import arecord, record

Database = Literal["sqlite", "postgres"]


class HandlerFailed(Exception):
    """What a handler raises that is to fail."""


@dataclass(frozen=True)
class Way:
    """One way to write the handler."""

    name: str
    database: Database
    handle: Callable[[str, str, bool], bool]

    def __call__(self, address: str, key: str, *, fails: bool = False) -> bool:
        return self.handle(address, key, fails)


WAYS: list[Way] = []


def way(database: Database) -> Callable[[Callable[[str, str, bool], bool]], Callable[[str, str, bool], bool]]:
    def add(handle: Callable[[str, str, bool], bool]) -> Callable[[str, str, bool], bool]:
        WAYS.append(Way(handle.__name__, database, handle))
        return handle

    return add


def asynchronous(handle: Callable[[str, str, bool], Awaitable[bool]]) -> Callable[[str, str, bool], bool]:
    @functools.wraps(handle)
    def run(address: str, key: str, fails: bool) -> bool:
        async def main() -> bool:
            return await handle(address, key, fails)

        return asyncio.run(main())

    return run


def finish(fails: bool) -> None:
    if fails:
        raise HandlerFailed


def on_sqlite3(connection: sqlite3.Connection, key: str, fails: bool) -> bool:
    with closing(connection), connection:
        is_new = record(connection, key)
        if is_new:
            connection.execute("INSERT INTO effect VALUES (?)", (key,))
        finish(fails)
    return is_new


@way("sqlite")
def sqlite3_by_default(path: str, key: str, fails: bool) -> bool:
    return on_sqlite3(sqlite3.connect(path), key, fails)


@way("sqlite")
def sqlite3_immediate(path: str, key: str, fails: bool) -> bool:
    return on_sqlite3(sqlite3.connect(path, isolation_level="IMMEDIATE"), key, fails)


@way("sqlite")
def sqlite3_after_begin(path: str, key: str, fails: bool) -> bool:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN")
    return on_sqlite3(connection, key, fails)


if sys.version_info >= (3, 12):

    @way("sqlite")
    def sqlite3_without_autocommit(path: str, key: str, fails: bool) -> bool:
        return on_sqlite3(sqlite3.connect(path, autocommit=False), key, fails)


@way("sqlite")
def sqlite3_cursor(path: str, key: str, fails: bool) -> bool:
    with closing(sqlite3.connect(path)) as connection, connection:
        cursor = connection.cursor()
        is_new = record(cursor, key)
        if is_new:
            cursor.execute("INSERT INTO effect VALUES (?)", (key,))
        finish(fails)
    return is_new


class OwnConnection(sqlite3.Connection):
    """A connection of the app's own class."""


@way("sqlite")
def sqlite3_subclass(path: str, key: str, fails: bool) -> bool:
    return on_sqlite3(sqlite3.connect(path, factory=OwnConnection), key, fails)


@way("sqlite")
@asynchronous
async def aiosqlite_by_default(path: str, key: str, fails: bool) -> bool:
    async with aiosqlite.connect(path) as connection:
        is_new = await arecord(connection, key)
        if is_new:
            await connection.execute("INSERT INTO effect VALUES (?)", (key,))
        finish(fails)
        await connection.commit()
    return is_new


@way("postgres")
def psycopg_by_default(url: str, key: str, fails: bool) -> bool:
    with psycopg.connect(url) as connection:
        is_new = record(connection, key)
        if is_new:
            connection.execute("INSERT INTO effect VALUES (%s)", (key,))
        finish(fails)
    return is_new


@way("postgres")
def psycopg_transaction(url: str, key: str, fails: bool) -> bool:
    with psycopg.connect(url, autocommit=True) as connection, connection.transaction(), connection.cursor() as cursor:
        is_new = record(cursor, key)
        if is_new:
            cursor.execute("INSERT INTO effect VALUES (%s)", (key,))
        finish(fails)
    return is_new


@way("postgres")
@asynchronous
async def psycopg_async(url: str, key: str, fails: bool) -> bool:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        is_new = await arecord(connection, key)
        if is_new:
            await connection.execute("INSERT INTO effect VALUES (%s)", (key,))
        finish(fails)
    return is_new


@way("postgres")
@asynchronous
async def psycopg_async_cursor(url: str, key: str, fails: bool) -> bool:
    async with await psycopg.AsyncConnection.connect(url) as connection, connection.cursor() as cursor:
        is_new = await arecord(cursor, key)
        if is_new:
            await cursor.execute("INSERT INTO effect VALUES (%s)", (key,))
        finish(fails)
    return is_new


async def on_asyncpg(connection: Any, key: str, fails: bool) -> bool:
    async with connection.transaction():
        is_new = await arecord(connection, key)
        if is_new:
            await connection.execute("INSERT INTO effect VALUES ($1)", key)
        finish(fails)
    return is_new


@way("postgres")
@asynchronous
async def asyncpg_transaction(url: str, key: str, fails: bool) -> bool:
    connection = await asyncpg.connect(url)
    try:
        return await on_asyncpg(connection, key, fails)
    finally:
        await connection.close()


@way("postgres")
@asynchronous
async def asyncpg_pool(url: str, key: str, fails: bool) -> bool:
    async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool, pool.acquire() as connection:
        return await on_asyncpg(connection, key, fails)


DRIVERS: dict[Database, str] = {"sqlite": "sqlite+pysqlite:///", "postgres": "postgresql+psycopg://"}


def dialect_url(driver: str, address: str) -> str:
    return driver + address.removeprefix("postgresql://")


def engine_of(database: Database, address: str, **options: Any) -> sqlalchemy.Engine:
    return sqlalchemy.create_engine(dialect_url(DRIVERS[database], address), poolclass=NullPool, **options)


EFFECT = sqlalchemy.text("INSERT INTO effect VALUES (:key)")


def on_connection(connection: Any, key: str, fails: bool) -> bool:
    is_new = record(connection, key)
    if is_new:
        connection.execute(EFFECT, {"key": key})
    finish(fails)
    return is_new


async def on_async_connection(connection: Any, key: str, fails: bool) -> bool:
    is_new = await arecord(connection, key)
    if is_new:
        await connection.execute(EFFECT, {"key": key})
    finish(fails)
    return is_new


def add_sqlalchemy(database: Database) -> None:
    """Add the ways of SQLAlchemy, which are the same on each database."""

    @way(database)
    def sqlalchemy_begin(address: str, key: str, fails: bool) -> bool:
        with engine_of(database, address).begin() as connection:
            return on_connection(connection, key, fails)

    @way(database)
    def sqlalchemy_commit_as_you_go(address: str, key: str, fails: bool) -> bool:
        with engine_of(database, address).connect() as connection:
            is_new = on_connection(connection, key, fails)
            connection.commit()
        return is_new

    @way(database)
    def sqlalchemy_session(address: str, key: str, fails: bool) -> bool:
        with Session(engine_of(database, address)) as session, session.begin():
            return on_connection(session, key, fails)

    @way(database)
    def sqlalchemy_scoped_session(address: str, key: str, fails: bool) -> bool:
        session = scoped_session(sessionmaker(engine_of(database, address)))
        try:
            is_new = on_connection(session, key, fails)
            session.commit()
        finally:
            session.remove()
        return is_new


def add_async_sqlalchemy(database: Database, driver: str) -> None:
    """Add the ways of SQLAlchemy's asyncio extension on one driver."""
    suffix = driver.partition(":")[0].partition("+")[2]

    async def connection(address: str, key: str, fails: bool) -> bool:
        engine = create_async_engine(dialect_url(driver, address), poolclass=NullPool)
        async with engine.begin() as opened:
            return await on_async_connection(opened, key, fails)

    async def session(address: str, key: str, fails: bool) -> bool:
        engine = create_async_engine(dialect_url(driver, address), poolclass=NullPool)
        async with AsyncSession(engine) as opened, opened.begin():
            return await on_async_connection(opened, key, fails)

    async def scoped(address: str, key: str, fails: bool) -> bool:
        engine = create_async_engine(dialect_url(driver, address), poolclass=NullPool)
        shared = async_scoped_session(async_sessionmaker(engine), asyncio.current_task)
        try:
            is_new = await on_async_connection(shared, key, fails)
            await shared.commit()
        finally:
            await shared.remove()
        return is_new

    WAYS.append(Way(f"sqlalchemy_{suffix}_scoped_session", database, asynchronous(scoped)))
    WAYS.append(Way(f"sqlalchemy_{suffix}_connection", database, asynchronous(connection)))
    WAYS.append(Way(f"sqlalchemy_{suffix}_session", database, asynchronous(session)))


for name in DRIVERS:
    add_sqlalchemy(name)
add_async_sqlalchemy("sqlite", "sqlite+aiosqlite:///")
add_async_sqlalchemy("postgres", "postgresql+psycopg://")
add_async_sqlalchemy("postgres", "postgresql+asyncpg://")


@way("sqlite")
def sqlalchemy_that_begins_by_itself(address: str, key: str, fails: bool) -> bool:
    """SQLAlchemy's recipe for SQLite's transactions: the driver's are off, and BEGIN is sent at each beginning."""
    engine = engine_of("sqlite", address)
    event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    with engine.begin() as connection:
        return on_connection(connection, key, fails)
