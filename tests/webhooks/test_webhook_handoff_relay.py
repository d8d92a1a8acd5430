"""The relay: a delivery on its way through a queue that the app already has."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webhook_world import new_delivery

from launchkit.background import ThreadPool
from launchkit.pipeline.effects import NewDelivery
from launchkit.settings import WebhookSettings
from launchkit.testing import FrozenClock
from launchkit.webhooks.delivery import Delivery, Lease
from launchkit.webhooks.handling.relay import Relay, parse_ticket, ticket_for
from launchkit.webhooks.inbox.archive import Archive, Entry, Filter, Retention
from launchkit.webhooks.inbox.inbox import Inbox
from launchkit.webhooks.inbox.room import Room
from launchkit.webhooks.inbox.sqlite import SqliteDatabase
from launchkit.webhooks.inbox.writer import Writer

T = TypeVar("T")
ATTEMPTS = 3
LEASE = 30.0
PATIENCE = 900.0
ROOM = 1_000
BRIEF = WebhookSettings(handler_timeout=PATIENCE, lease=0.03)
"""A relay with these gives a queue 10 ms, and pauses for 10 ms."""
PATIENT = WebhookSettings(handler_timeout=PATIENCE, lease=60)


def now(future: Future[T]) -> T:
    return future.result(10)


class World:
    """An inbox in a file, and how much time has passed."""

    def __init__(self, folder: Path) -> None:
        self.clock = FrozenClock()
        self.folder = folder
        self.writer = Writer("inbox", lambda: SqliteDatabase(folder / "inbox.sqlite3", self.clock))
        self.inbox = Inbox(self.writer, Room(ROOM, 0, lambda: None, self.clock.monotonic))

    def put(self, *deliveries: NewDelivery) -> None:
        for delivery in deliveries:
            assert self.inbox.put(delivery)

    def claim(self) -> tuple[Lease, ...]:
        return now(self.inbox.claim(10, sources=("stripe",), lease=LEASE, attempts=ATTEMPTS)).leased

    def claim_one(self) -> Lease:
        (lease,) = self.claim()
        return lease

    def bring(self, ticket: str) -> tuple[Lease, ...]:
        """Do what the other side does first."""
        row, token = parse_ticket(ticket) or (-1, -1)
        lease = now(self.inbox.resume(row, token, lease=LEASE))
        return () if lease is None else (lease,)

    def entry(self) -> Entry:
        (entry,) = now(Archive(self.writer, Retention()).list(Filter()))
        return entry


class Box:
    """The queue of an app: keeps what is sent, or does what it is told."""

    def __init__(self, on_send: Callable[[Delivery, str], object] = lambda delivery, ticket: None) -> None:
        self.sent: list[tuple[str, str]] = []
        self.on_send = on_send

    runs_tickets = True
    """Whether tickets are brought; otherwise the other side completes deliveries."""

    def send(self, delivery: Delivery, ticket: str) -> object:
        self.on_send(delivery, ticket)
        self.sent.append((delivery.id, ticket))
        return None

    def bind(self, run: Callable[[str], None]) -> None:
        raise AssertionError("the kit does that")

    def warnings(self) -> tuple[str, ...]:
        return ()


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "data")
    yield world
    world.inbox.close()


def relay(world: World, box: Box, settings: WebhookSettings = PATIENT) -> Relay:
    return Relay(world.inbox, box, settings, ThreadPool(4).submit)


def hand_on(relay: Relay, lease: Lease) -> None:
    asyncio.run(relay.handle(lease))


def broken(error: BaseException) -> Callable[[Delivery, str], object]:
    def raise_it(delivery: Delivery, ticket: str) -> object:
        raise error

    return raise_it


# --- the way there ---------------------------------------------------------------------------------------------------


def test_a_delivery_is_sent_with_a_ticket_for_its_lease(world: World) -> None:
    """What the other side brings back names the row and the fencing token."""
    world.put(new_delivery("evt_1"))
    lease, box = world.claim_one(), Box()
    hand_on(relay(world, box), lease)
    assert box.sent == [("evt_1", ticket_for(lease))]
    assert parse_ticket(ticket_for(lease)) == (lease.row, lease.token)


def test_what_was_sent_is_nobody_elses_until_patience_is_over(world: World) -> None:
    """The queue has `handler_timeout` for it, however short the lease was; then it is sent again, not tried again."""
    world.put(new_delivery("evt_1"))
    hand_on(relay(world, Box()), world.claim_one())
    world.clock.advance(PATIENCE - 1)
    assert world.claim() == ()
    world.clock.advance(1)
    again = world.claim_one()
    assert (again.token, again.delivery.attempt) == (2, 1)


def test_a_ticket_is_good_for_one_go(world: World) -> None:
    """A message that the queue delivers twice runs the handler once, as the attempt that was sent."""
    world.put(new_delivery("evt_1"))
    box = Box()
    hand_on(relay(world, box), world.claim_one())
    ((_, ticket),) = box.sent
    (taken,) = world.bring(ticket)
    assert (taken.delivery.id, taken.delivery.attempt) == ("evt_1", 1)
    assert world.bring(ticket) == ()
    assert now(world.inbox.done(taken))


@pytest.mark.parametrize("first", [0, 1, 2])
def test_of_several_tickets_for_a_delivery_one_is_good(world: World, first: int) -> None:
    """A queue may be slower than our patience: whichever ticket comes first begins the attempt, the others are void."""
    world.put(new_delivery("evt_1"))
    box = Box()
    for _ in range(3):
        hand_on(relay(world, box), world.claim_one())
        world.clock.advance(PATIENCE)
    tickets = [ticket for _, ticket in box.sent]
    assert [lease.delivery.attempt for lease in world.bring(tickets[first])] == [1]
    assert [world.bring(ticket) for ticket in tickets] == [(), (), ()]


def test_the_tickets_of_an_attempt_that_failed_are_void(world: World) -> None:
    """What the queue brings after a retry was scheduled runs nothing."""
    world.put(new_delivery("evt_1"))
    box = Box()
    hand_on(relay(world, box), world.claim_one())
    (lease,) = world.bring(box.sent[0][1])
    assert now(world.inbox.retry(lease, 60, "ValueError"))
    assert world.bring(box.sent[0][1]) == ()
    world.clock.advance(60)
    hand_on(relay(world, box), world.claim_one())
    assert [lease.delivery.attempt for lease in world.bring(box.sent[1][1])] == [2]


def test_a_ticket_of_a_later_lease_than_there_was_is_void(world: World) -> None:
    """Tickets of another app's inbox, or of one restored from a backup, begin nothing."""
    world.put(new_delivery("evt_1"))
    lease = world.claim_one()
    hand_on(relay(world, Box()), lease)
    assert world.bring(f"{lease.row}.{lease.token + 1}") == ()


def test_an_attempt_that_kills_whoever_takes_the_ticket_counts(world: World) -> None:
    """Where tickets are brought the attempts are used up by those that begin, and the delivery dies after the last."""
    world.put(new_delivery("evt_1"))
    box = Box()
    for attempt in range(1, ATTEMPTS + 1):
        hand_on(relay(world, box), world.claim_one())
        assert [lease.delivery.attempt for lease in world.bring(box.sent[-1][1])] == [attempt]
        world.clock.advance(PATIENCE)  # and nothing more is heard
    assert (world.claim(), world.entry().state) == ((), "dead")


def test_a_queue_that_stands_still_uses_up_no_attempts(world: World) -> None:
    """Workers that are down for a day make no dead letters."""
    world.put(new_delivery("evt_1"))
    box = Box()
    for _ in range(3 * ATTEMPTS):
        hand_on(relay(world, box), world.claim_one())
        world.clock.advance(PATIENCE)
    assert [lease.delivery.attempt for lease in world.bring(box.sent[0][1])] == [1]


def test_completing_it_elsewhere_ends_it(world: World) -> None:
    """What the other side reports done is never sent again, and its ticket is void."""
    world.put(new_delivery("evt_1"))
    box = Box()
    hand_on(relay(world, box), world.claim_one())
    assert now(world.inbox.complete("stripe", "evt_1"))
    world.clock.advance(PATIENCE)
    assert (world.claim(), world.bring(box.sent[0][1]), world.entry().state) == ((), (), "done")


def test_nobody_heard_of_is_sent_up_to_the_limit(world: World) -> None:
    """Where the other side only says when it is done, an attempt counts when it is sent."""
    world.put(new_delivery("evt_1"))
    box = Box()
    box.runs_tickets = False
    for _ in range(ATTEMPTS):
        hand_on(relay(world, box), world.claim_one())
        world.clock.advance(PATIENCE)
    assert (world.claim(), len(box.sent), world.entry().state) == ((), ATTEMPTS, "dead")


def test_the_next_of_an_order_key_waits_for_the_one_on_its_way(world: World) -> None:
    """Sent is not done: what is serial stays serial through a queue."""
    first, second = (
        NewDelivery("stripe", key, "invoice.paid", (), b"{}", order_key="stripe:cus_1") for key in ("evt_1", "evt_2")
    )
    world.put(first, second)
    hand_on(relay(world, Box()), world.claim_one())
    assert world.claim() == ()
    assert now(world.inbox.complete("stripe", "evt_1"))
    assert world.claim_one().delivery.id == "evt_2"


def test_a_ticket_that_is_faster_than_the_relay_wins(world: World) -> None:
    """The other side may be done before `send` returns, as with queues that run tasks at once in tests."""

    def run_at_once(delivery: Delivery, ticket: str) -> None:
        (taken,) = world.bring(ticket)
        assert now(world.inbox.done(taken))

    world.put(new_delivery("evt_1"))
    box = Box(run_at_once)
    hand_on(relay(world, box), world.claim_one())
    assert (len(box.sent), world.entry().state, world.entry().attempts) == (1, "done", 1)


# --- queues that fail ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [ConnectionError("refused"), SystemExit(1), concurrent.futures.CancelledError(), asyncio.CancelledError()]
)
def test_a_queue_that_is_down_costs_no_attempt(world: World, error: BaseException) -> None:
    """Whatever `send` raises, the delivery is due again as the attempt that it was."""
    world.put(new_delivery("evt_1"))
    hand_on(relay(world, Box(broken(error)), BRIEF), world.claim_one())
    again = world.claim_one()
    assert (again.delivery.attempt, again.token) == (1, 2)


def test_a_queue_that_does_not_answer_costs_no_attempt(world: World) -> None:
    """A `send` that hangs is given up; what it sends later is still good until another lease is given out."""
    go = threading.Event()
    world.put(new_delivery("evt_1"))
    box = Box(lambda delivery, ticket: go.wait(10))
    lease = world.claim_one()
    hand_on(relay(world, box, BRIEF), lease)
    assert box.sent == []
    go.set()
    assert world.claim_one().delivery.attempt == 1
    assert world.bring(ticket_for(lease)) == ()


def test_a_process_without_threads_costs_no_attempt(world: World) -> None:
    """Where no thread can be started, the delivery is given back all the same."""

    def run_in_thread(function: Callable[[], object]) -> Future[object]:
        raise RuntimeError("can't start new thread")

    world.put(new_delivery("evt_1"))
    hand_on(Relay(world.inbox, Box(), BRIEF, run_in_thread), world.claim_one())
    assert world.claim_one().delivery.attempt == 1


def test_an_outage_is_logged_once_and_so_is_its_end(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Three failures and two successes are two lines, and the deliveries arrive."""
    caplog.set_level(logging.INFO, logger="launchkit.webhooks")
    world.put(new_delivery("evt_1"))
    box = Box(broken(ConnectionError("refused")))
    one = relay(world, box, BRIEF)
    for _ in range(3):
        hand_on(one, world.claim_one())
    box.on_send = lambda delivery, ticket: None
    hand_on(one, world.claim_one())
    world.put(new_delivery("evt_2"))
    hand_on(one, world.claim_one())
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert [key for key, _ in box.sent] == ["evt_1", "evt_2"]


def test_a_hanging_queue_is_named_as_such_in_the_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever reads it learns how long the queue was given."""
    go = threading.Event()
    world.put(new_delivery("evt_1"))
    hand_on(relay(world, Box(lambda delivery, ticket: go.wait(10)), BRIEF), world.claim_one())
    go.set()
    assert "no answer within 0.01 s" in caplog.text


def test_the_place_stays_occupied_while_the_queue_is_down(world: World) -> None:
    """A queue that is down is not asked without end: the worker's place is free again only after a pause."""

    async def main() -> bool:
        failed = asyncio.Event()
        loop = asyncio.get_running_loop()

        def fail(delivery: Delivery, ticket: str) -> None:
            loop.call_soon_threadsafe(failed.set)
            raise ConnectionError("refused")

        task = asyncio.create_task(relay(world, Box(fail)).handle(lease))
        await failed.wait()
        await asyncio.wait({task}, timeout=0.1)
        is_pausing = not task.done()
        await task
        return is_pausing

    world.put(new_delivery("evt_1"))
    lease = world.claim_one()
    assert asyncio.run(main())
    assert world.claim_one().delivery.attempt == 1


def test_pauses_grow_while_the_queue_is_down(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """10, 20, 40 and 80 ms: a short outage is over soon, and a long one is left in peace."""
    monkeypatch.setattr(Relay, "FIRST_PAUSE", 0.01)
    world.put(new_delivery("evt_1"))
    sender = relay(world, Box(broken(ConnectionError("refused"))))
    began = time.monotonic()
    for _ in range(4):
        hand_on(sender, world.claim_one())
    assert time.monotonic() - began >= 0.15


def test_what_the_queue_refuses_while_it_takes_others_has_failed(world: World) -> None:
    """A function of the app's that cannot queue one delivery must not be called with it for ever."""

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        sender = relay(world, box, BRIEF)
        bad, good = leases
        failing = asyncio.create_task(sender.handle(bad))
        await refused.wait()
        await sender.handle(good)
        await failing

    refused, loops = asyncio.Event(), list[asyncio.AbstractEventLoop]()

    def take_others(delivery: Delivery, ticket: str) -> None:
        if delivery.id == "evt_1":
            loops[0].call_soon_threadsafe(refused.set)
            raise KeyError("customer")

    world.put(new_delivery("evt_1"), new_delivery("evt_2"))
    leases, box = world.claim(), Box(take_others)
    asyncio.run(main())
    assert now(world.inbox.complete("stripe", "evt_2"))
    assert world.claim() == ()
    world.clock.advance(PATIENCE)
    assert world.claim_one().delivery.attempt == 2
    failed = next(entry for entry in now(Archive(world.writer, Retention()).list(Filter())) if entry.id == "evt_1")
    assert failed.error == "the queue did not take it: KeyError"


@pytest.mark.parametrize("hangs", [True, False], ids=["sending", "pausing"])
def test_cancelled_it_gives_the_lease_back_at_once(world: World, hangs: bool) -> None:
    """A worker that stops leaves nothing behind that others would have to wait for."""

    async def main() -> None:
        reached, go = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def send(delivery: Delivery, ticket: str) -> None:
            loop.call_soon_threadsafe(reached.set)
            if hangs:
                go.wait(10)
            raise ConnectionError("refused")

        task = asyncio.create_task(relay(world, Box(send)).handle(lease))
        await reached.wait()
        await asyncio.wait({task}, timeout=0.05)
        task.cancel()
        await asyncio.wait({task})
        go.set()
        assert task.cancelled()

    world.put(new_delivery("evt_1"))
    lease = world.claim_one()
    asyncio.run(main())
    assert world.claim_one().delivery.attempt == 1


def test_an_inbox_that_is_down_raises_nothing(world: World) -> None:
    """What was sent stays sent; the lease ends by itself, and the outage is the inbox's to log."""

    def lose_the_disk(delivery: Delivery, ticket: str) -> None:
        shutil.rmtree(world.folder)
        world.folder.touch()

    world.put(new_delivery("evt_1"))
    box = Box(lose_the_disk)
    hand_on(relay(world, box), world.claim_one())
    assert [key for key, _ in box.sent] == ["evt_1"]
    assert world.writer.outage.down


# --- tickets ---------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**18 - 1), st.integers(0, 10**18 - 1))
def test_a_ticket_is_read_as_it_was_written(row: int, token: int) -> None:
    """Row and token come back whatever they are."""
    lease = Lease(row, token, Delivery("evt_1", "stripe", "", b"", {}, 1, 0.0))
    assert parse_ticket(ticket_for(lease)) == (row, token)


@given(st.text(max_size=50) | st.from_regex(r"-?[0-9]*[.,]?\s?[0-9٣]*\n?", fullmatch=True))
def test_what_is_no_ticket_is_none(text: str) -> None:
    """Whatever else is on the queue never raises, and never stands for a delivery."""
    parts = text.split(".")
    is_ticket = len(parts) == 2 and all(0 < len(part) <= 18 and set(part) <= set("0123456789") for part in parts)
    assert (parse_ticket(text) is not None) == is_ticket
