"""The heartbeat: whoever works on a delivery keeps it, and whoever does not loses it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest
from handling_world import LEASE, WAIT, Shop

from launchkit.webhooks.delivery import Lease
from launchkit.webhooks.handling.heartbeat import Heartbeat
from launchkit.webhooks.inbox.inbox import Inbox

FOREVER = float("inf")


def unheard() -> None:
    raise AssertionError("the lease was not lost")


class Heard(Inbox):
    """An inbox that keeps which leases it was asked to extend, and tells of it."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]  # as they come
        self.extended: list[list[str]] = []
        self.was_extended = threading.Event()

    def extend(self, leases: Sequence[Lease], seconds: float) -> Future[frozenset[int]]:
        self.extended.append([lease.delivery.id for lease in leases])
        self.was_extended.set()
        return super().extend(leases, seconds)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path / "inbox.sqlite3", Heard)
    yield shop
    shop.close()


def heard(shop: Shop) -> Heard:
    assert isinstance(shop.inbox, Heard)
    return shop.inbox


def test_all_leases_are_extended_in_one_operation_three_times_in_their_length(shop: Shop) -> None:
    """However long handlers take, nobody else gets their deliveries, and the store is asked once for all of them."""
    heartbeat = shop.heartbeat()
    for key in ("evt_1", "evt_2"):
        heartbeat.add(shop.lease(key), FOREVER, unheard)
    for _ in range(9):
        shop.clock.advance(LEASE / 3)
        shop.drum.beat()
        assert shop.claim() == ()
    assert heard(shop).extended == [["evt_1", "evt_2"]] * 9
    assert set(shop.drum.pauses) == {LEASE / 3}


def test_what_is_removed_is_not_extended(shop: Shop) -> None:
    """A lease that was given back stays given back."""
    heartbeat, first = shop.heartbeat(), shop.lease("evt_1")
    heartbeat.add(first, FOREVER, unheard)
    heartbeat.add(shop.lease("evt_2"), FOREVER, unheard)
    heartbeat.remove(first)
    heartbeat.remove(first)
    assert shop.inbox.release(first).result(WAIT)
    shop.drum.beat()
    assert [lease.delivery.id for lease in shop.claim()] == ["evt_1"]


def test_the_thread_ends_when_there_is_no_lease_and_another_starts_with_the_next(shop: Shop) -> None:
    """Nothing wakes up while nothing is handled, and the store is not asked."""
    heartbeat = shop.heartbeat()
    threads = []
    for key in ("evt_1", "evt_2"):
        lease = shop.lease(key)
        heartbeat.add(lease, FOREVER, unheard)
        shop.drum.settle()
        threads.append(shop.drum.thread)
        heartbeat.remove(lease)
        shop.drum.start_beat()
        threads[-1].join(WAIT)
        assert not threads[-1].is_alive()
    assert threads[0] is not threads[1]
    assert {(thread.name, thread.daemon) for thread in threads} == {("launchkit-heartbeat", True)}
    assert heard(shop).extended == []


def test_a_lease_is_kept_no_longer_than_its_handler_may_take(shop: Shop) -> None:
    """A handler that hangs, and the event loop with it, loses its delivery to another process."""
    shop.heartbeat().add(shop.lease(), shop.clock.monotonic() + 2 * LEASE, unheard)
    for _ in range(5):
        shop.clock.advance(LEASE / 3)
        shop.drum.beat()
    assert shop.claim() == ()
    shop.clock.advance(LEASE / 3)
    shop.drum.start_beat()
    shop.drum.thread.join(WAIT)
    shop.clock.advance(2 * LEASE / 3)
    assert [lease.delivery.attempt for lease in shop.claim()] == [2]


def test_whoever_loses_a_lease_is_told_once(shop: Shop) -> None:
    """Its handler can be stopped; the others keep theirs."""
    heartbeat, lost = shop.heartbeat(), list[str]()
    heartbeat.add(shop.lease("evt_1"), FOREVER, lambda: lost.append("evt_1"))
    shop.clock.advance(LEASE)
    assert len(shop.claim()) == 1
    heartbeat.add(shop.lease("evt_2"), FOREVER, unheard)
    shop.drum.beat()
    shop.drum.beat()
    assert lost == ["evt_1"]
    assert heard(shop).extended == [["evt_1", "evt_2"], ["evt_2"]]


def test_a_store_that_is_down_is_asked_again_sooner(shop: Shop) -> None:
    """An outage shorter than a lease costs nobody's; a lease is not lost because nobody could say so."""
    shop.heartbeat().add(shop.lease(), FOREVER, unheard)
    with shop.down():
        shop.drum.beat()
        shop.drum.beat()
    shop.clock.advance(LEASE - 1)
    shop.drum.beat()
    shop.clock.advance(LEASE - 1)
    assert shop.claim() == ()
    assert shop.drum.pauses == [LEASE / 3, LEASE / 15, LEASE / 15, LEASE / 3]


class Silent(Heard):
    """An inbox that does not answer."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self.asked: list[Future[frozenset[int]]] = []

    def extend(self, leases: Sequence[Lease], seconds: float) -> Future[frozenset[int]]:
        self.asked.append(Future())
        return self.asked[-1]


def test_a_store_that_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    """What was asked is withdrawn, so that a store that hangs does not have all of it to do in the end."""
    shop = Shop(tmp_path / "inbox.sqlite3", Silent)
    shop.heartbeat(lease=0.03).add(shop.lease(), FOREVER, unheard)
    shop.drum.beat()
    assert isinstance(shop.inbox, Silent)
    assert [future.cancelled() for future in shop.inbox.asked] == [True]
    assert shop.drum.pauses == [pytest.approx(0.01), pytest.approx(0.002)]
    shop.close()


class Buggy(Heard):
    """An inbox with a bug in its first extension."""

    def extend(self, leases: Sequence[Lease], seconds: float) -> Future[frozenset[int]]:
        extending = super().extend(leases, seconds)
        if len(self.extended) == 1:
            extending = Future()
            extending.set_exception(ArithmeticError("a bug"))
        return extending


def test_a_bug_of_ours_does_not_end_the_heartbeat(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the next beat comes."""
    shop = Shop(tmp_path / "inbox.sqlite3", Buggy)
    shop.heartbeat().add(shop.lease(), FOREVER, unheard)
    shop.drum.beat()
    assert "a bug" in caplog.text
    shop.clock.advance(LEASE - 1)
    shop.drum.beat()
    shop.clock.advance(LEASE - 1)
    assert shop.claim() == ()
    shop.close()


def test_a_heartbeat_beats_by_itself(shop: Shop) -> None:
    """Nobody has to tell it to."""
    heartbeat, lease = Heartbeat(shop.inbox, 0.03, shop.clock.monotonic), shop.lease()
    heartbeat.add(lease, FOREVER, unheard)
    for _ in range(2):
        heard(shop).was_extended.clear()
        assert heard(shop).was_extended.wait(WAIT)
    heartbeat.remove(lease)
