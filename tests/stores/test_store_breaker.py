"""A store that has just failed is left alone for a moment."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from launchkit.pipeline.effects import StoreDown
from launchkit.stores.breaker import Breaker
from launchkit.testing import FrozenClock


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def breaker(clock: FrozenClock) -> Breaker:
    return Breaker("Redis", clock)


def passes(breaker: Breaker) -> bool:
    try:
        breaker.before()
    except StoreDown:
        return False
    return True


def test_while_a_store_answers_every_call_passes(breaker: Breaker) -> None:
    """Nothing is refused before anything has failed."""
    assert not breaker.is_down
    for _ in range(3):
        assert passes(breaker)
        breaker.succeeded()
    assert not breaker.is_down


def test_after_a_failure_calls_are_refused_for_a_second(breaker: Breaker, clock: FrozenClock) -> None:
    """A request does not wait for what has just failed."""
    breaker.failed(OSError())
    assert breaker.is_down
    assert not passes(breaker)
    clock.advance(Breaker.COOLDOWN - 0.01)
    assert not passes(breaker)
    clock.advance(0.01)
    assert passes(breaker)


def test_then_one_call_after_the_other_tries_again(breaker: Breaker, clock: FrozenClock) -> None:
    """Each try starts the next cool-down, so that a store which hangs is asked once a second."""
    breaker.failed(OSError())
    clock.advance(1)
    assert passes(breaker)
    assert not passes(breaker)
    clock.advance(1)
    assert passes(breaker)
    breaker.failed(OSError())
    clock.advance(0.5)
    assert not passes(breaker)


def test_one_success_ends_it(breaker: Breaker, clock: FrozenClock) -> None:
    """As soon as the store has answered, everything passes."""
    breaker.failed(OSError())
    clock.advance(1)
    assert passes(breaker)
    breaker.succeeded()
    assert not breaker.is_down
    assert passes(breaker)
    assert passes(breaker)


def test_a_success_from_before_the_failure_is_no_news(breaker: Breaker, clock: FrozenClock) -> None:
    """A thread may tell of its success after another has found the store down."""
    assert passes(breaker)
    breaker.failed(OSError())
    breaker.succeeded()
    assert breaker.is_down
    clock.advance(1)
    assert passes(breaker)
    breaker.succeeded()
    assert not breaker.is_down


def test_each_change_is_logged_once(breaker: Breaker, clock: FrozenClock, caplog: pytest.LogCaptureFixture) -> None:
    """Down and back are one line each, however many calls notice; the error's text, which may hold a URL, is not."""
    for _ in range(2):
        for _ in range(3):
            breaker.failed(ConnectionError("redis://:secret@host"))
        clock.advance(1)
        assert passes(breaker)
        for _ in range(3):
            breaker.succeeded()
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, "Redis is down (ConnectionError); it is tried again every second."),
        (logging.WARNING, "Redis is back."),
    ] * 2


@pytest.fixture
def _restless() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_restless")
def test_threads_that_notice_together_log_once(clock: FrozenClock, caplog: pytest.LogCaptureFixture) -> None:
    """Sixteen threads whose commands fail at once are one change, and one of them tries again."""
    breaker = Breaker("Redis", clock)
    together = Barrier(16, timeout=20)

    def thread() -> int:
        tries = 0
        for _ in range(20):
            together.wait()
            breaker.failed(OSError())
            together.wait()
            clock.monotonic_seconds += 10
            together.wait()
            tries += passes(breaker)
            together.wait()
            breaker.succeeded()
        return tries

    with ThreadPoolExecutor(16) as pool:
        tries = sum(future.result() for future in [pool.submit(thread) for _ in range(16)])
    assert tries == 20
    assert len(caplog.records) == 40
