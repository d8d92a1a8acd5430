"""A delivery's record: one effect, whatever driver the handler uses and however often it runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from tests.webhooks.postgres_server import _postgres
from tests.webhooks.record_handlers import WAYS, HandlerFailed, Way

__all__ = ["_postgres"]  # a fixture is found by its name here

KEY = "stripe:evt_1"

Count = Callable[[], int]


@pytest.fixture(
    name="way",
    params=[pytest.param(way, marks=[pytest.mark.real_server] * (way.database == "postgres")) for way in WAYS],
    ids=[f"{way.database}-{way.name}" for way in WAYS],
)
def _way(request: pytest.FixtureRequest) -> Way:
    way: Way = request.param
    return way


@pytest.fixture(name="address")
def _address(way: Way, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An app's database with one table for effects."""
    if way.database == "postgres":
        url: str = request.getfixturevalue("postgres").url  # tables are dropped quicker than databases are made
        with psycopg.connect(url) as connection:
            connection.execute("DROP TABLE IF EXISTS effect, launchkit_deliveries")
            connection.execute("CREATE TABLE effect (delivery TEXT)")
        return url
    path = str(tmp_path / "app.sqlite3")
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE effect (delivery TEXT)")
    return path


@pytest.fixture(name="effects")
def _effects(way: Way, address: str) -> Count:
    """How many effects are committed."""

    def count() -> int:
        query = "SELECT count(*) FROM effect"
        if way.database == "postgres":
            with psycopg.connect(address) as connection:
                return int((connection.execute(query).fetchone() or [0])[0])
        with closing(sqlite3.connect(address)) as database:
            return int(database.execute(query).fetchone()[0])

    return count


def test_a_repeat_finds_the_effect_done(way: Way, address: str, effects: Count) -> None:
    """The first run is told True and the second False, and the transaction of each commits."""
    assert [way(address, KEY), way(address, KEY), way(address, KEY)] == [True, False, False]
    assert effects() == 1


def test_after_a_rollback_the_repeat_has_its_effect(way: Way, address: str, effects: Count) -> None:
    """A record goes with the transaction it is in, also if the table was made in that."""
    with pytest.raises(HandlerFailed):
        way(address, KEY, fails=True)
    assert effects() == 0
    assert way(address, KEY) is True
    with pytest.raises(HandlerFailed):
        way(address, KEY, fails=True)
    assert effects() == 1


def test_each_delivery_has_an_effect_of_its_own(way: Way, address: str, effects: Count) -> None:
    """Keys are compared byte by byte, and are values, never a part of the statement."""
    keys = [
        KEY,
        "stripe:evt_2",
        "github:evt_1",
        "stripe:EVT_1",
        "app:' OR ''='",
        "app:%s%(key)s:key?$1",
        "x:" + "i" * 518,
    ]
    assert [way(address, key) for key in keys] == [True] * len(keys)
    assert [way(address, key) for key in keys] == [False] * len(keys)
    assert effects() == len(keys)
