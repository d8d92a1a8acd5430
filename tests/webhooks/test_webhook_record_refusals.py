"""What a record is refused for: no transaction, the wrong colour, something that is no connection."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import aiosqlite
import asyncpg  # type: ignore[import-untyped]  # it has no types for mypy
import psycopg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool
from tests.webhooks.postgres_server import PostgresServer, _postgres

from launchkit.errors import LaunchKitError
from launchkit.webhooks.record import arecord, record

__all__ = ["_postgres"]  # a fixture is found by its name here

KEY = "stripe:evt_1"


def rows(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        return int(database.execute("SELECT count(*) FROM launchkit_deliveries").fetchone()[0])


def rows_on(url: str) -> int:
    with psycopg.connect(url) as connection:
        return len(connection.execute("SELECT delivery FROM launchkit_deliveries").fetchall())


def sqlite_modes() -> list[dict[str, Any]]:
    modes: list[dict[str, Any]] = [{"isolation_level": None}]
    if sys.version_info >= (3, 12):
        modes.append({"autocommit": True})
    return modes


@pytest.mark.parametrize("mode", sqlite_modes(), ids=str)
def test_sqlite_without_a_transaction_is_refused(mode: dict[str, Any], tmp_path: Path) -> None:
    """The record would be there before the effect, so nothing is written at all."""
    with closing(sqlite3.connect(tmp_path / "app", **mode)) as connection:
        with pytest.raises(LaunchKitError, match="No transaction is open"):
            record(connection, KEY)
        connection.execute("BEGIN")
        assert record(connection, KEY) is True
        connection.rollback()
    assert rows(tmp_path / "app") == 0


@pytest.mark.parametrize("mode", sqlite_modes(), ids=str)
def test_aiosqlite_without_a_transaction_is_refused(mode: dict[str, Any], tmp_path: Path) -> None:
    """Also where the connection does not show its mode: that none has begun is seen."""

    async def main() -> None:
        async with aiosqlite.connect(tmp_path / "app", **mode) as connection:
            with pytest.raises(LaunchKitError, match="No transaction is open"):
                await arecord(connection, KEY)

    asyncio.run(main())
    assert rows(tmp_path / "app") == 0


def test_sqlalchemy_in_autocommit_is_refused(tmp_path: Path) -> None:
    """Its connection and session show the driver's, which has begun nothing."""
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'app'}", isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.begin() as connection, pytest.raises(LaunchKitError, match="No transaction is open"):
        record(connection, KEY)
    with Session(engine) as session, pytest.raises(LaunchKitError, match="No transaction is open"):
        record(session, KEY)
    assert rows(tmp_path / "app") == 0


@pytest.mark.real_server
def test_psycopg_in_autocommit_is_refused(postgres: PostgresServer) -> None:
    """Both colours, and through SQLAlchemy."""
    url = postgres.fresh_database()
    with psycopg.connect(url, autocommit=True) as connection:
        with pytest.raises(LaunchKitError, match="No transaction is open"):
            record(connection, KEY)
        with pytest.raises(LaunchKitError, match="No transaction is open"):
            record(connection.cursor(), KEY)

    async def main() -> None:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as opened:
            with pytest.raises(LaunchKitError, match="No transaction is open"):
                await arecord(opened, KEY)

    asyncio.run(main())
    engine = sqlalchemy.create_engine(
        url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT", poolclass=NullPool
    )
    with engine.begin() as begun, pytest.raises(LaunchKitError, match="No transaction is open"):
        record(begun, KEY)
    assert rows_on(url) == 0


@pytest.mark.real_server
def test_asyncpg_without_a_transaction_is_refused(postgres: PostgresServer) -> None:
    """It opens none by itself; through SQLAlchemy it does, but in autocommit."""
    url = postgres.fresh_database()

    async def main() -> None:
        connection = await asyncpg.connect(url)
        with pytest.raises(LaunchKitError, match="No transaction is open"):
            await arecord(connection, KEY)
        await connection.close()
        engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"), poolclass=NullPool)
        autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
        async with autocommit.begin() as begun, AsyncSession(autocommit) as session:
            for given in (begun, session):
                with pytest.raises(LaunchKitError, match="No transaction is open"):
                    await arecord(given, KEY)

    asyncio.run(main())
    assert rows_on(url) == 0


@pytest.mark.real_server
def test_a_pipeline_that_hides_the_count_is_refused(postgres: PostgresServer) -> None:
    """In psycopg's pipeline mode the answer comes later: a guess would lose or double the effect."""
    with psycopg.connect(postgres.fresh_database()) as connection:
        with connection.pipeline(), pytest.raises(LaunchKitError, match="does not tell"):
            record(connection, KEY)
        connection.rollback()
        assert record(connection, KEY) is True


Open = Callable[[str], Awaitable[Any]]


async def open_aiosqlite(path: str) -> Any:
    return await aiosqlite.connect(path)


async def open_connection(path: str) -> Any:
    return await create_async_engine(f"sqlite+aiosqlite:///{path}", poolclass=NullPool).connect()


async def open_session(path: str) -> Any:
    return AsyncSession(create_async_engine(f"sqlite+aiosqlite:///{path}", poolclass=NullPool))


@pytest.mark.parametrize("opened", [open_aiosqlite, open_connection, open_session])
def test_an_async_connection_is_sent_to_arecord(opened: Open, tmp_path: Path) -> None:
    """The error names the method to use instead."""

    async def main() -> None:
        connection = await opened(str(tmp_path / "app"))
        try:
            with pytest.raises(LaunchKitError, match=r"is async: write `await delivery\.arecord\(connection\)`"):
                record(connection, KEY)
        finally:
            await connection.close()

    asyncio.run(main())


@pytest.mark.real_server
def test_async_connections_to_postgres_are_sent_to_arecord(postgres: PostgresServer) -> None:
    """Those of a pool and cursors too."""

    async def main() -> None:
        url = postgres.url
        async with await psycopg.AsyncConnection.connect(url) as one, asyncpg.create_pool(url, min_size=1) as pool:
            async with pool.acquire() as two:
                for given in (one, one.cursor(), two):
                    with pytest.raises(LaunchKitError, match="arecord"):
                        record(given, KEY)
            with pytest.raises(LaunchKitError, match="cannot be recorded on"):
                await arecord(pool, KEY)

    asyncio.run(main())


def test_a_sync_connection_is_sent_to_record(tmp_path: Path) -> None:
    """The error names the method to use instead."""
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'app'}", poolclass=NullPool)
    with (
        closing(sqlite3.connect(tmp_path / "app")) as plain,
        engine.connect() as connection,
        Session(engine) as session,
    ):
        for given in (plain, plain.cursor(), connection, session):
            with pytest.raises(LaunchKitError, match=r"is not an async connection: write `delivery\.record"):
                asyncio.run(arecord(given, KEY))


def test_what_is_no_connection_is_named(tmp_path: Path) -> None:
    """An engine is a likely mistake: it has connections, but no transaction."""
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'app'}")
    with pytest.raises(LaunchKitError, match=r"sqlalchemy\.engine\.base\.Engine cannot be recorded on"):
        record(engine, KEY)
    with pytest.raises(LaunchKitError, match=r"builtins\.str cannot be recorded on"):
        record("postgresql://", KEY)
