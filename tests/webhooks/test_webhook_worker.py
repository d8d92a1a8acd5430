"""The worker: everything that was stored is handled until it succeeds, or becomes a dead letter."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from webhook_world import SOURCES, new_delivery

from launchkit.background import ThreadPool
from launchkit.pipeline.effects import StoreDown
from launchkit.settings import WebhookSettings
from launchkit.testing import FrozenClock
from launchkit.webhooks.delivery import Delivery, Handlers
from launchkit.webhooks.inbox import Claim, InboxStats, SqliteInbox
from launchkit.webhooks.worker import Worker


class Shop:
    """An app with an inbox, its handlers, and workers as they are needed."""

    def __init__(self, path: Path, inbox_type: type[SqliteInbox] = SqliteInbox) -> None:
        self.path = path
        self.clock = FrozenClock()
        self.inbox = inbox_type(path, self.clock)
        self.handlers = Handlers()
        self.seen: list[tuple[str, int]] = []

    def worker(self, around: Callable[[], Any] = nullcontext, poll: float = 60, **settings: object) -> Worker:
        return Worker(
            self.inbox,
            self.handlers,
            WebhookSettings.model_validate({"retry_delays": (10, 100), "lease": 30, **settings}),
            self.clock,
            ThreadPool(4).submit,
            around,
            random_fraction=lambda: 1.0,
            poll=poll,
        )

    def put(self, *keys: str, event: str = "invoice.paid") -> None:
        for key in keys:
            assert self.inbox.put(new_delivery(key, event=event, body=b'{"card": 42}'))

    def see(self, delivery: Delivery) -> None:
        self.seen.append((delivery.id, delivery.attempt))

    async def asee(self, delivery: Delivery) -> None:
        self.see(delivery)

    def fail(self, delivery: Delivery) -> None:
        self.see(delivery)
        raise ValueError("no such invoice")

    async def afail(self, delivery: Delivery) -> None:
        self.fail(delivery)

    def stats(self) -> InboxStats:
        return self.inbox.stats().result(10)

    def on_all(self, handler: Callable[[Delivery], object]) -> None:
        self.handlers.add("stripe", None, handler)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path / "inbox.sqlite3")
    yield shop
    shop.inbox.close()


@contextmanager
def down(shop: Shop) -> Iterator[None]:
    """Put something else where the file was."""
    shop.inbox.close()
    away = shop.path.with_name("away")
    shop.path.rename(away)
    shop.path.mkdir()
    yield
    shop.path.rmdir()
    away.rename(shop.path)


class Heard(SqliteInbox):
    """An inbox that tells when a lease was extended, and when it could not answer."""

    extended = threading.Event()
    refused = threading.Event()

    def extend(self, lease: Delivery, seconds: float) -> Future[bool]:
        future = super().extend(lease, seconds)
        future.add_done_callback(lambda _: self.extended.set())
        return future

    def claim(self, limit: int, *, sources: Iterable[str], lease: float, attempts: int) -> Future[Claim]:
        future = super().claim(limit, sources=sources, lease=lease, attempts=attempts)
        future.add_done_callback(self._hear)
        return future

    def done(self, lease: Delivery) -> Future[bool]:
        future = super().done(lease)
        future.add_done_callback(self._hear)
        return future

    def _hear(self, future: Future[Any]) -> None:
        if future.exception() is not None:
            self.refused.set()


class CallableHandler:
    """A handler that is an object."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    async def __call__(self, delivery: Delivery) -> None:
        await self.shop.asee(delivery)


def wrapped(shop: Shop) -> Callable[[Delivery], Awaitable[None]]:
    """Return a sync function that gives an async one's coroutine, as decorators do."""

    def handler(delivery: Delivery) -> Awaitable[None]:
        return shop.asee(delivery)

    return handler


@pytest.mark.parametrize(
    "handler_of",
    [
        lambda shop: shop.see,
        lambda shop: shop.asee,
        CallableHandler,
        wrapped,
        lambda shop: functools.partial(shop.asee),
        lambda shop: functools.partial(shop.see),
    ],
)
def test_every_kind_of_handler_is_called_once(shop: Shop, handler_of: Callable[[Shop], Any]) -> None:
    """Sync or async, function or object: it is called with each delivery, and that is all."""
    shop.on_all(handler_of(shop))
    shop.put("evt_1", "evt_2")
    assert asyncio.run(shop.worker(concurrency=1).run_due()) == 2
    assert shop.seen == [("evt_1", 1), ("evt_2", 1)]
    assert shop.stats().done == 2
    assert asyncio.run(shop.worker().run_due()) == 0


def test_sync_handlers_run_off_the_loop_and_async_ones_on_it(shop: Shop) -> None:
    """A handler that blocks does not block the loop."""
    threads: dict[str, int] = {}
    shop.handlers.add("stripe", "sync", lambda delivery: threads.update(sync=threading.get_ident()))

    async def handler(delivery: Delivery) -> None:
        threads["async"] = threading.get_ident()

    shop.handlers.add("stripe", "async", handler)
    shop.put("evt_1", event="sync")
    shop.put("evt_2", event="async")
    asyncio.run(shop.worker().run_due())
    assert threads["async"] == threading.get_ident()
    assert threads["sync"] != threading.get_ident()


@pytest.mark.parametrize("handler_of", [lambda shop: shop.see, lambda shop: shop.asee])
def test_every_handler_runs_inside_what_the_kit_puts_around_it(shop: Shop, handler_of: Callable[[Shop], Any]) -> None:
    """The context is entered where the handler runs, so that context variables reach it."""
    where: contextvars.ContextVar[str] = contextvars.ContextVar("where", default="outside")
    found: list[str] = []

    @contextmanager
    def around() -> Iterator[None]:
        token = where.set("inside")
        yield
        where.reset(token)

    inner = handler_of(shop)

    def note() -> None:
        found.append(where.get())

    if handler_of(shop) == shop.see:
        shop.on_all(lambda delivery: (note(), inner(delivery)))
    else:

        async def handler(delivery: Delivery) -> None:
            note()
            await inner(delivery)

        shop.on_all(handler)
    shop.put("evt_1")
    asyncio.run(shop.worker(around).run_due())
    assert (found, where.get(), shop.stats().done) == (["inside"], "outside", 1)


def test_an_event_without_handler_is_ignored(shop: Shop) -> None:
    """It is neither tried again nor a dead letter."""
    shop.handlers.add("stripe", "invoice.paid", shop.see)
    shop.put("evt_1", event="customer.created")
    asyncio.run(shop.worker().run_due())
    assert (shop.stats().ignored, shop.seen) == (1, [])


@pytest.mark.parametrize("kind", ["fail", "afail"])
def test_a_failure_is_tried_again_by_schedule_and_then_dead(
    shop: Shop, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each delay of the schedule is one more attempt; after the last the delivery is a dead letter."""
    shop.on_all(getattr(shop, kind))
    shop.put("evt_1")
    worker = shop.worker()

    async def main() -> list[int]:
        counts = [await worker.run_due()]
        for delay in (10, 100):
            shop.clock.advance(delay - 1)
            counts.append(await worker.run_due())
            shop.clock.advance(1)
            counts.append(await worker.run_due())
        shop.clock.advance(100_000)
        return [*counts, await worker.run_due()]

    assert asyncio.run(main()) == [1, 0, 1, 0, 1, 0]
    assert shop.seen == [("evt_1", 1), ("evt_1", 2), ("evt_1", 3)]
    assert shop.stats().dead == 1
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.WARNING, logging.ERROR]


def test_a_failure_is_logged_with_traceback_and_without_payload(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """Enough to find the bug; nothing of what the sender said but the ids."""
    shop.on_all(shop.fail)
    shop.put("evt_1")
    asyncio.run(shop.worker().run_due())
    assert "evt_1" in caplog.text
    assert "Traceback" in caplog.text
    assert "no such invoice" in caplog.text
    assert "card" not in caplog.text


@pytest.mark.parametrize(("fraction", "delay"), [(0.0, 5), (1.0, 10)])
def test_retries_are_spread_over_half_of_the_delay(shop: Shop, fraction: float, delay: float) -> None:
    """What failed together does not come again together, and nothing comes before half its delay."""
    shop.on_all(shop.fail)
    shop.put("evt_1")
    worker = shop.worker()
    worker._random_fraction = lambda: fraction
    asyncio.run(worker.run_due())
    shop.clock.advance(delay - 0.1)
    assert asyncio.run(worker.run_due()) == 0
    shop.clock.advance(0.1)
    assert asyncio.run(worker.run_due()) == 1


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError(), TimeoutError()])
@pytest.mark.parametrize("is_async", [True, False])
def test_whatever_a_handler_raises_is_a_failed_attempt(shop: Shop, error: BaseException, is_async: bool) -> None:
    """A handler can neither end the server nor the worker."""

    def handler(delivery: Delivery) -> None:
        raise error

    async def ahandler(delivery: Delivery) -> None:
        handler(delivery)

    shop.on_all(ahandler if is_async else handler)
    shop.put("evt_1")
    assert asyncio.run(shop.worker().run_due()) == 1
    assert shop.stats().pending == 1
    shop.clock.advance(10)
    assert shop.inbox.claim(1, sources=SOURCES, lease=1, attempts=9).result(10).leased[0].attempt == 2


def test_an_async_handler_that_takes_too_long_is_cancelled(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """Its attempt has failed."""
    cancelled = threading.Event()

    async def handler(delivery: Delivery) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    shop.on_all(handler)
    shop.put("evt_1")

    async def main() -> None:
        await shop.worker(handler_timeout=0.01).run_due()

    asyncio.run(main())
    assert (cancelled.is_set(), shop.stats().pending) == (True, 1)
    assert "longer than 0.01 s" in caplog.text


def test_a_sync_handler_that_takes_too_long_is_left_behind(shop: Shop) -> None:
    """Its attempt has failed, and what it says later is not heard: the next attempt is another's."""
    go, ended = threading.Event(), threading.Event()

    def handler(delivery: Delivery) -> None:
        assert go.wait(10)
        ended.set()

    shop.on_all(handler)
    shop.put("evt_1")
    asyncio.run(shop.worker(handler_timeout=0.01).run_due())
    assert not ended.is_set()
    assert shop.stats().pending == 1
    go.set()
    assert ended.wait(10)
    assert (shop.stats().pending, shop.stats().done) == (1, 0)


def test_no_more_than_so_many_are_handled_at_a_time(shop: Shop) -> None:
    """`concurrency` is the limit, and it is used."""
    running, most, all_there = 0, 0, asyncio.Event()

    async def handler(delivery: Delivery) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            all_there.set()
        await all_there.wait()
        running -= 1

    shop.on_all(handler)
    shop.put(*(f"evt_{number}" for number in range(9)))
    assert asyncio.run(shop.worker(concurrency=3).run_due()) == 9
    assert most == 3


def test_a_poison_message_becomes_a_dead_letter_and_does_not_hold_up_others(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """A delivery whose attempts all ended with their process is not begun again; the next one is."""
    shop.on_all(shop.see)
    shop.put("evt_poison")
    for _ in range(3):
        shop.inbox.claim(1, sources=SOURCES, lease=30, attempts=3).result(10)
        shop.clock.advance(30)
    shop.put("evt_1")
    assert asyncio.run(shop.worker(concurrency=1).run_due()) == 2
    assert (shop.seen, shop.stats().dead) == ([("evt_1", 1)], 1)
    assert "evt_poison (invoice.paid) is dead" in caplog.text


def test_a_lease_is_extended_while_its_handler_lives(tmp_path: Path) -> None:
    """However long a handler takes, nobody else takes its delivery up."""
    shop = Shop(tmp_path / "inbox.sqlite3", Heard)

    async def handler(delivery: Delivery) -> None:
        shop.clock.advance(0.02)
        Heard.extended.clear()
        assert await asyncio.to_thread(Heard.extended.wait, 10)
        shop.clock.advance(0.02)
        assert (await asyncio.wrap_future(shop.inbox.claim(1, sources=SOURCES, lease=30, attempts=9))).leased == ()
        shop.see(delivery)

    shop.on_all(handler)
    shop.put("evt_1")
    asyncio.run(shop.worker(lease=0.03).run_due())
    assert (shop.seen, shop.stats().done) == ([("evt_1", 1)], 1)
    shop.inbox.close()


def test_a_lease_that_was_lost_leaves_the_delivery_to_its_new_holder(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker that was asleep too long says so and changes nothing."""

    async def handler(delivery: Delivery) -> None:
        shop.clock.advance(31)
        assert (await asyncio.wrap_future(shop.inbox.claim(1, sources=SOURCES, lease=30, attempts=9))).leased

    shop.on_all(handler)
    shop.put("evt_1")
    asyncio.run(shop.worker().run_due())
    assert shop.stats().pending == 1
    assert "lost its lease" in caplog.text


def test_a_running_worker_takes_up_what_it_is_woken_for(shop: Shop) -> None:
    """A delivery that this process stored does not wait for the next look."""
    handled = asyncio.Event()

    async def handler(delivery: Delivery) -> None:
        shop.see(delivery)
        handled.set()

    shop.on_all(handler)

    async def main() -> None:
        worker = shop.worker()
        worker.wake()
        running = asyncio.create_task(worker.run())
        for number in range(3):
            handled.clear()
            await asyncio.to_thread(shop.put, f"evt_{number}")
            await asyncio.to_thread(worker.wake)
            await asyncio.wait_for(handled.wait(), 10)
        await worker.stop()
        await running

    asyncio.run(main())
    assert shop.seen == [("evt_0", 1), ("evt_1", 1), ("evt_2", 1)]
    assert shop.stats().done == 3


def test_a_running_worker_looks_for_itself(shop: Shop) -> None:
    """What another process stored is found without being woken."""
    handled = asyncio.Event()

    async def handler(delivery: Delivery) -> None:
        handled.set()

    shop.on_all(handler)

    async def main() -> None:
        worker = shop.worker(poll=0.01)
        running = asyncio.create_task(worker.run())
        await asyncio.to_thread(shop.put, "evt_1")
        await asyncio.wait_for(handled.wait(), 10)
        await worker.stop()
        await running

    asyncio.run(main())


def test_waking_a_worker_whose_loop_is_gone_does_nothing(shop: Shop) -> None:
    """The request that stored a delivery is not troubled by a worker that has ended."""
    worker = shop.worker()

    async def main() -> None:
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(0)
        await worker.stop()
        await running

    asyncio.run(main())
    worker.wake()


def test_a_running_worker_prunes(shop: Shop) -> None:
    """Finished deliveries do not fill the disk."""
    shop.on_all(shop.asee)
    shop.put("evt_1")
    asyncio.run(shop.worker().run_due())
    shop.clock.advance(SqliteInbox.RETENTION + 1)
    handled = asyncio.Event()

    async def handler(delivery: Delivery) -> None:
        handled.set()

    shop.handlers.add("stripe", "last", handler)

    async def main() -> None:
        worker = shop.worker()
        running = asyncio.create_task(worker.run())
        await asyncio.to_thread(shop.put, "evt_2", event="last")
        worker.wake()
        await asyncio.wait_for(handled.wait(), 10)
        await worker.stop()
        await running

    asyncio.run(main())
    assert shop.stats() == InboxStats(0, 1, 0, 0, None)


def test_a_store_that_is_down_does_not_end_the_worker(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It backs off, and goes on by itself when the store is back; the log says each change once."""
    shop = Shop(tmp_path / "inbox.sqlite3", Heard)
    handled = asyncio.Event()

    async def handler(delivery: Delivery) -> None:
        handled.set()

    shop.on_all(handler)
    shop.put("evt_1")
    worker = shop.worker(poll=0.001)

    async def main() -> None:
        with down(shop):
            with pytest.raises(StoreDown):
                await worker.run_due()
            Heard.refused.clear()
            running = asyncio.create_task(worker.run())
            assert await asyncio.to_thread(Heard.refused.wait, 10)
        await asyncio.wait_for(handled.wait(), 10)
        await worker.stop()
        await running

    asyncio.run(main())
    assert shop.stats().done == 1
    assert [("is down" in message, "is back" in message) for message in caplog.messages] == [
        (True, False),
        (False, True),
    ]
    shop.inbox.close()


def test_what_a_handler_did_is_recorded_when_the_store_is_back(tmp_path: Path) -> None:
    """A success during an outage is not repeated after it."""
    shop = Shop(tmp_path / "inbox.sqlite3", Heard)
    shop.put("evt_1")
    Heard.refused.clear()

    async def main() -> None:
        outage = ExitStack()

        async def handler(delivery: Delivery) -> None:
            shop.see(delivery)
            outage.enter_context(down(shop))

        shop.on_all(handler)
        due = asyncio.create_task(shop.worker(poll=0.001).run_due())
        assert await asyncio.to_thread(Heard.refused.wait, 10)
        outage.close()
        await due

    asyncio.run(main())
    assert (shop.seen, shop.stats().done) == ([("evt_1", 1)], 1)
    shop.inbox.close()


class Buggy(SqliteInbox):
    """An inbox with a bug in its first claim."""

    bugs = 1

    def claim(self, limit: int, *, sources: Iterable[str], lease: float, attempts: int) -> Future[Claim]:
        if self.bugs:
            self.bugs -= 1
            raise sqlite3.ProgrammingError("a bug")
        return super().claim(limit, sources=sources, lease=lease, attempts=attempts)


def test_a_bug_of_ours_does_not_end_the_worker(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged with its traceback, and the worker goes on."""
    shop = Shop(tmp_path / "inbox.sqlite3", Buggy)
    handled = asyncio.Event()

    async def handler(delivery: Delivery) -> None:
        handled.set()

    shop.on_all(handler)
    shop.put("evt_1")

    async def main() -> None:
        worker = shop.worker(poll=0.001)
        running = asyncio.create_task(worker.run())
        await asyncio.wait_for(handled.wait(), 10)
        await worker.stop()
        await running

    asyncio.run(main())
    assert "a bug" in caplog.text
    shop.inbox.close()


async def stopped_in_the_middle(
    shop: Shop, handler: Callable[[Delivery], object], began: asyncio.Event, stop: Callable[..., Any]
) -> None:
    shop.on_all(handler)
    worker = shop.worker()
    running = asyncio.create_task(worker.run())
    await asyncio.wait_for(began.wait(), 10)
    await stop(worker, running)
    assert running.done()


def test_stopping_lets_handlers_finish_within_the_grace(shop: Shop) -> None:
    """What is nearly done is done before the process ends."""

    async def main() -> None:
        began = asyncio.Event()

        async def handler(delivery: Delivery) -> None:
            began.set()
            await asyncio.sleep(0)
            shop.see(delivery)

        async def stop(worker: Worker, running: asyncio.Task[None]) -> None:
            await worker.stop()

        await stopped_in_the_middle(shop, handler, began, stop)

    shop.put("evt_1")
    asyncio.run(main())
    assert (shop.seen, shop.stats().done) == ([("evt_1", 1)], 1)


@pytest.mark.parametrize("by_cancelling", [True, False])
def test_stopping_releases_the_leases_of_handlers_that_are_not_done(shop: Shop, by_cancelling: bool) -> None:
    """The next process need not wait for the lease to end; the handler was told to stop."""
    ends: list[str] = []

    async def main() -> None:
        began = asyncio.Event()

        async def handler(delivery: Delivery) -> None:
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                ends.append(delivery.id)

        async def stop(worker: Worker, running: asyncio.Task[None]) -> None:
            if by_cancelling:
                running.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await running
            else:
                await worker.stop(grace=0)
                assert await worker.run_due() == 0

        await stopped_in_the_middle(shop, handler, began, stop)

    shop.put("evt_1")
    asyncio.run(main())
    assert ends == ["evt_1"]
    assert [lease.attempt for lease in shop.inbox.claim(1, sources=SOURCES, lease=1, attempts=9).result(10).leased] == [
        2
    ]


class Slow(SqliteInbox):
    """An inbox that tells when it is asked for a claim, and answers when it is told to."""

    asked = threading.Event()
    go = threading.Event()

    def claim(self, limit: int, *, sources: Iterable[str], lease: float, attempts: int) -> Future[Claim]:
        self._writer.submit(lambda connection: self.asked.set() or self.go.wait(10))
        return super().claim(limit, sources=sources, lease=lease, attempts=attempts)


def test_what_is_claimed_while_the_worker_stops_is_given_back(tmp_path: Path) -> None:
    """A stop does not leave behind a lease that nobody works on."""
    shop = Shop(tmp_path / "inbox.sqlite3", Slow)
    shop.on_all(shop.see)
    shop.put("evt_1")

    async def main() -> None:
        worker = shop.worker()
        running = asyncio.create_task(worker.run())
        assert await asyncio.to_thread(Slow.asked.wait, 10)
        stopping = asyncio.create_task(worker.stop())
        await asyncio.sleep(0)
        Slow.go.set()
        await stopping
        await running

    asyncio.run(main())
    found = shop.inbox.claim(1, sources=SOURCES, lease=30, attempts=9).result(10)
    assert ([lease.id for lease in found.leased], shop.seen) == (["evt_1"], [])
    shop.inbox.close()
