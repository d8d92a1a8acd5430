"""Mistakes of every day, for their tracebacks and messages."""

from __future__ import annotations

import ast
import asyncio
import configparser
import csv
import ctypes
import datetime as dt
import decimal
import email.message
import enum
import fractions
import functools
import gzip
import importlib
import ipaddress
import json
import locale
import operator
import pathlib
import pickle
import queue
import re
import shutil
import socket
import sqlite3
import statistics
import string
import struct
import subprocess
import tomllib
import uuid
import xml.etree.ElementTree as ET
import zipfile
import zoneinfo
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import urlopen


@dataclass(frozen=True)
class Order:
    id: int
    state: str = "new"


class State(enum.Enum):
    NEW = "new"


def _pydantic(_folder: Path) -> None:
    from pydantic import BaseModel, Field

    class Address(BaseModel):
        city: str
        postcode: str = Field(pattern=r"^\d{5}$")

    class Customer(BaseModel):
        id: int
        name: str = Field(min_length=3)
        address: Address
        tags: list[int]

    Customer.model_validate({"id": "x", "name": "a", "address": {"postcode": "1234"}, "tags": ["new", None, 3]})


def _jinja(_folder: Path) -> None:
    from jinja2 import Environment, StrictUndefined

    Environment(undefined=StrictUndefined, autoescape=True).from_string("{{ order.total }}").render()


def _httpx(_folder: Path) -> None:
    import httpx

    httpx.get("http://127.0.0.1:9/items?page=2&sort=name", timeout=0.5)


def _sqlalchemy(_folder: Path) -> None:
    from sqlalchemy import create_engine, text

    with create_engine("sqlite://").connect() as connection:
        connection.execute(text("SELECT amount, state FROM missing WHERE id = :id"), {"id": 4})


def _redis(_folder: Path) -> None:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    redis.Redis(port=9, socket_connect_timeout=0.2, retry=Retry(NoBackoff(), 0)).get("orders:4")


def _psycopg(_folder: Path) -> None:
    import psycopg

    psycopg.connect("host=127.0.0.1 port=9 dbname=shop user=app connect_timeout=1")


def _flask(_folder: Path) -> None:
    import flask

    with flask.Flask("shop").test_request_context("/orders/4?page=2"):
        flask.url_for("order", number=4)


def _click(_folder: Path) -> None:
    import click

    click.Command("orders", params=[click.Option(["--page"], type=int)]).main(["--page", "x"], standalone_mode=False)


def _sum(_folder: Path) -> None:
    functools.reduce(operator.truediv, [0], 4)


def _thread(_folder: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: [].pop()).result()


def _nested(_folder: Path) -> None:
    try:
        json.loads('{"order": }')
    except ValueError as error:
        raise RuntimeError("the body of order 4 is not JSON") from error


def _group(_folder: Path) -> None:
    raise ExceptionGroup("two orders failed", [ValueError("order 4 has no items"), KeyError("order 5")])


def _timeout(_folder: Path) -> None:
    asyncio.run(asyncio.wait_for(asyncio.sleep(1), 0.01))


def _recursion(folder: Path) -> None:
    _recursion(folder)


def _write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


_any: Any = None

FAILURES: Final[tuple[Callable[[Path], object], ...]] = (
    _pydantic,
    _jinja,
    _httpx,
    _sqlalchemy,
    _redis,
    _psycopg,
    _flask,
    _click,
    _sum,
    _thread,
    _nested,
    _group,
    _timeout,
    _recursion,
    lambda _: dict[str, str]()["state"],
    lambda _: [1, 2, 3][7],
    lambda _: int("12 EUR"),
    lambda _: float("1,5"),
    lambda _: 100 / len(""),
    lambda _: _any.state,
    lambda _: _any(4),
    lambda _: "4" + _any,
    lambda _: getattr(Order(4), "total"),  # noqa: B009  # said as an app's mistake would be
    lambda _: replace(Order(4), total=3),  # type: ignore[call-arg]  # the mistake
    lambda _: setattr(Order(4), "state", "paid"),  # frozen, and mypy knows
    lambda _: Order(),  # type: ignore[call-arg]  # the mistake
    lambda _: State("lost"),
    lambda folder: (folder / "missing" / "orders.csv").read_text(),
    lambda folder: folder.read_text(),
    lambda folder: _write(folder, "latin.txt", b"caf\xe9 au lait").read_text("utf-8"),
    lambda _: "naïve".encode("ascii"),
    lambda _: json.loads('{"id": 4, "items": [1, 2}'),
    lambda _: json.dumps({"at": dt.datetime.now(dt.UTC)}),
    lambda _: tomllib.loads("[orders\nstate = 1"),
    lambda _: configparser.ConfigParser().read_string("state = new"),
    lambda _: list(csv.DictReader(["a,b"], strict=True, delimiter="ab")),
    lambda _: ET.fromstring("<order><id>4</order>"),
    lambda _: ast.parse("def order(:\n    pass"),
    lambda _: compile("order = = 4", "orders.py", "exec"),
    lambda _: re.compile("(order"),
    lambda _: struct.unpack("<IQ", b"\x00" * 5),
    lambda _: gzip.decompress(b"not gzip at all"),
    lambda folder: zipfile.ZipFile(_write(folder, "orders.zip", b"PK but no archive")),
    lambda _: pickle.loads(b"\x80\x04 nothing"),
    lambda _: dt.date(2026, 2, 30),
    lambda _: dt.datetime.fromisoformat("2026-13-01T10:00"),
    lambda _: dt.datetime.strptime("1 March", "%d.%m."),  # noqa: DTZ007  # it fails anyway
    lambda _: zoneinfo.ZoneInfo("Europe/Atlantis"),
    lambda _: decimal.Decimal("12 EUR"),
    lambda _: fractions.Fraction(1, 0),
    lambda _: statistics.mean([]),
    lambda _: ipaddress.ip_address("10.0.0.256"),
    lambda _: ipaddress.ip_network("10.0.0.1/24"),
    lambda _: uuid.UUID("4-5-6"),
    lambda _: urlsplit("http://[::1/orders").port,
    lambda _: urlsplit("http://localhost:port/orders").port,
    lambda _: urlopen("http://127.0.0.1:9/orders?page=2", timeout=0.5),
    lambda _: socket.create_connection(("127.0.0.1", 9), timeout=0.5),
    lambda _: socket.socket().bind(("127.0.0.1", 70_000)),
    lambda _: sqlite3.connect(":memory:").execute("SELEC state FROM orders"),
    lambda folder: sqlite3.connect(folder / "missing" / "a.sqlite3"),
    lambda _: subprocess.run(["false"], check=True),
    lambda _: subprocess.run(["no-such-program", "--page", "2"], check=True),
    lambda _: subprocess.run(["sleep", "1"], timeout=0.05, check=True),
    lambda folder: shutil.copy(folder / "a.txt", folder / "b.txt"),
    lambda _: shutil.unpack_archive("orders.rar"),
    lambda _: pathlib.Path("/proc/1/nothing").write_text("x"),
    lambda _: importlib.import_module("orders.settings"),
    lambda _: importlib.import_module("json.settings"),
    lambda _: getattr(importlib.import_module("json"), "parse"),  # noqa: B009  # as above
    lambda _: queue.Queue().get_nowait(),
    lambda _: next(iter(())),
    lambda _: iter(4),  # type: ignore[call-overload]  # the mistake
    lambda _: sorted(["a", *[_any]]),
    lambda _: max([]),
    lambda _: "{} {}".format(*[4]),
    lambda _: f"{Order(4):>10}",
    lambda _: string.Template("$order paid").substitute(),
    lambda _: locale.setlocale(locale.LC_ALL, "xx_XX"),
    lambda _: ctypes.CDLL("libmissing.so.7"),
    lambda _: email.message.EmailMessage().add_alternative(4),
    lambda _: bytes([300]),
    lambda _: (4).to_bytes(0, "big"),
    lambda _: chr(-1),
    lambda _: "x" * -(2**70),
    lambda _: asyncio.run(_any),
    lambda folder: open(folder / "a.txt", "q"),  # noqa: SIM115, PTH123  # the mistake
)
"""Each fails with a different exception, given a folder to write to."""
