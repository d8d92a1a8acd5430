"""One id for everything that belongs to a request."""

from __future__ import annotations

import contextvars
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.exchanges import WrittenExchange

from launchkit.edge.request_id import HEADER, RequestId, request_id

WELL_FORMED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._=+/-")


def served(*given: bytes) -> WrittenExchange:
    exchange = WrittenExchange(headers=[(HEADER, value) for value in given])

    def serve() -> None:
        interceptor = RequestId()
        interceptor.on_request(exchange)
        assert request_id.get() == exchange.request_id
        interceptor.on_response_start(exchange.answer(200))
        interceptor.on_exit(exchange)
        assert request_id.get() == ""

    contextvars.Context().run(serve)
    return exchange


def test_a_request_without_an_id_gets_one() -> None:
    """A made id has 32 hexadecimal digits, is told to the client, and differs each time."""
    ids = {served().request_id for _ in range(100)}
    assert len(ids) == 100
    assert all(len(made) == 32 and int(made, 16) >= 0 for made in ids)


def test_the_id_is_told_to_the_client() -> None:
    """The response carries the id, unless the app has set one."""
    exchange = served()
    assert exchange.response_headers == [(HEADER, exchange.request_id.encode())]
    own = WrittenExchange()
    own.request_id = "a" * 8
    RequestId().on_response_start(own.answer(200, (b"X-Request-ID", b"the-apps-own")))
    assert own.response_headers == [(b"X-Request-ID", b"the-apps-own")]


@pytest.mark.parametrize("given", [b"12345678", b"a" * 64, b"Root=1-67891233-abcdef012345678912345678", b"aZ09._=+/-"])
def test_a_well_formed_id_goes_through(given: bytes) -> None:
    """A proxy's id is kept, so that its log and ours speak of the same request."""
    assert served(given).request_id == given.decode()


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"1234567",
        b"a" * 65,
        b"has space1",
        b"12345678\n",
        b"12345678\r\nset-cookie: a=b",
        b"<script>alert",
        b"\xff" * 9,
        b"one,two-three",
    ],
)
def test_any_other_is_replaced(given: bytes) -> None:
    """What does not look like an id could be an attack on whoever reads the log."""
    assert served(given).request_id != given.decode("latin-1")


@given(st.binary(max_size=80))
def test_every_id_is_safe_to_print(given: bytes) -> None:
    """Whatever is sent, the id is 8 to 64 harmless characters."""
    made = served(given).request_id
    assert 8 <= len(made) <= 64
    assert WELL_FORMED.issuperset(made)


def test_the_servers_context_is_left_as_it_was() -> None:
    """Threads use a context again: the id of an outer request comes back when an inner one ends."""

    def serve() -> None:
        request_id.set("outer-id")
        exchange = WrittenExchange()
        interceptor = RequestId()
        interceptor.on_request(exchange)
        assert request_id.get() != "outer-id"
        interceptor.on_exit(exchange)
        assert request_id.get() == "outer-id"

    contextvars.Context().run(serve)


FORKS = """
import os
from launchkit.edge.request_id import RequestId
from tests.support.exchanges import WrittenExchange

def made():
    exchange = WrittenExchange()
    RequestId().on_request(exchange)
    return exchange.request_id

made()
for _ in range(4):
    if os.fork() == 0:
        os.write(1, "".join(made() + "\\n" for _ in range(3)).encode())
        os._exit(0)
for _ in range(4):
    os.wait()
os.write(1, "".join(made() + "\\n" for _ in range(3)).encode())
"""


def test_processes_that_were_forked_make_different_ids(pytestconfig: pytest.Config) -> None:
    """A forked worker does not repeat its parent's ids, nor its siblings'."""
    done = subprocess.run(
        [sys.executable, "-c", FORKS], capture_output=True, text=True, check=True, cwd=pytestconfig.rootpath, timeout=60
    )
    ids = done.stdout.split()
    assert len(ids) == 15
    assert len(set(ids)) == 15
