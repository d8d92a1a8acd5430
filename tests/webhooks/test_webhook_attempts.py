"""One leased delivery: its handler runs under guard, and what came of it is recorded."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from handling_world import LEASE, WAIT, Shop
from hypothesis import given
from hypothesis import strategies as st
from webhook_world import new_delivery

from launchkit.errors import LaunchKitError
from launchkit.pipeline.effects import StoreDown
from launchkit.webhooks.delivery import Delivery, Lease
from launchkit.webhooks.handling.attempts import Attempts
from launchkit.webhooks.handling.verdict import ELSEWHERE, LONGEST_REASON, verdict_on
from launchkit.webhooks.inbox.archive import Filter
from launchkit.webhooks.inbox.inbox import Inbox
from launchkit.webhooks.outcomes import Discard, Retry


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path / "inbox.sqlite3")
    yield shop
    shop.close()


def attempt(shop: Shop, handler: Callable[[Delivery], object], *, number: int = 1, **settings: Any) -> None:
    """Have a new delivery handled, on its attempt of that number."""
    shop.on_all(handler)
    lease = shop.lease()
    for _ in range(number - 1):
        assert shop.inbox.retry(lease, 0, "").result(WAIT)
        (lease,) = shop.claim()

    async def main() -> None:
        await shop.attempts(**settings).handle(lease)
        for _ in range(3):
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}  # nothing goes on

    asyncio.run(main())


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


# --- handlers --------------------------------------------------------------------------------------------------------


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
    """Sync or async, function or object: it is called with the delivery, and then that is done."""
    attempt(shop, handler_of(shop))
    assert shop.seen == [("evt_1", 1)]
    assert (shop.states(), shop.outcomes) == ({"evt_1": "done"}, [("evt_1", "done")])


def test_sync_handlers_run_off_the_loop_and_async_ones_on_it(shop: Shop) -> None:
    """A handler that blocks does not block the loop."""
    threads: dict[str, int] = {}
    shop.handlers.add("stripe", "sync", lambda delivery: threads.update(sync=threading.get_ident()))

    async def handler(delivery: Delivery) -> None:
        threads["async"] = threading.get_ident()

    shop.handlers.add("stripe", "async", handler)
    for key in ("sync", "async"):
        shop.put(key, event=key)
        (lease,) = shop.claim()
        asyncio.run(shop.attempts().handle(lease))
    assert threads["async"] == threading.get_ident()
    assert threads["sync"] != threading.get_ident()


@pytest.mark.parametrize("is_async", [True, False])
def test_every_handler_runs_inside_what_the_kit_puts_around_it(shop: Shop, is_async: bool) -> None:
    """The context is entered where the handler runs, so that context variables reach it."""
    where: contextvars.ContextVar[str] = contextvars.ContextVar("where", default="outside")
    found: list[str] = []

    @contextmanager
    def around() -> Iterator[None]:
        token = where.set("inside")
        yield
        where.reset(token)

    def handler(delivery: Delivery) -> None:
        found.append(where.get())

    async def ahandler(delivery: Delivery) -> None:
        handler(delivery)

    attempt(shop, ahandler if is_async else handler, around=around)
    assert (found, where.get(), shop.states()) == (["inside"], "outside", {"evt_1": "done"})


def test_submitted_work_without_a_handler_here_is_left_to_another_process(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """One that runs a later release, say: it is released, after a pause, and its attempt does not count."""
    assert shop.inbox.put(new_delivery("1", source="app", event="mail"))
    (lease,) = shop.claim()
    asyncio.run(shop.attempts().handle(lease))
    (entry,) = shop.archive.list(Filter()).result(WAIT)
    assert (entry.state, entry.attempts, entry.is_leased, entry.due_at) == (
        "pending",
        0,
        False,
        shop.clock.time() + ELSEWHERE.delay,
    )
    assert ELSEWHERE.delay > 0
    assert caplog.messages == ["webhook app 1 (mail) has no handler in this process: it is left to another"]


def test_an_event_without_handler_is_ignored(shop: Shop) -> None:
    """It is neither tried again nor a dead letter, and says why."""
    shop.handlers.add("stripe", "customer.created", shop.see)
    asyncio.run(shop.attempts().handle(shop.lease()))
    assert (shop.entry().state, shop.entry().error) == ("ignored", "no handler")
    assert (shop.seen, shop.outcomes) == ([], [("evt_1", "ignored")])


# --- what handlers raise ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["fail", "afail"])
def test_a_failure_is_tried_again_by_schedule_and_then_dead(
    shop: Shop, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each delay of the schedule is one more attempt; after the last the delivery is a dead letter."""
    shop.on_all(getattr(shop, kind))
    shop.put("evt_1")
    attempts = shop.attempts()
    for delay in (10, 100):
        (lease,) = shop.claim()
        asyncio.run(attempts.handle(lease))
        shop.clock.advance(delay - 1)
        assert shop.claim() == ()
        shop.clock.advance(1)
    (lease,) = shop.claim()
    asyncio.run(attempts.handle(lease))
    assert shop.seen == [("evt_1", 1), ("evt_1", 2), ("evt_1", 3)]
    assert shop.entry().state == "dead"
    assert shop.outcomes == [("evt_1", "retry"), ("evt_1", "retry"), ("evt_1", "dead")]
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.WARNING, logging.ERROR]


@pytest.mark.parametrize("number", [1, 3])
def test_a_failure_is_kept_by_class_and_place_and_logged_with_its_traceback(
    shop: Shop, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The message may hold what the sender sent: the inbox does not get it."""
    attempt(shop, shop.fail, number=number)
    line = shop.fail.__code__.co_firstlineno + 2
    assert shop.entry().error == f"ValueError in fail at handling_world.py:{line}"
    assert "Traceback" in caplog.text
    assert "evt_1" in caplog.text
    assert "card" not in caplog.text


class CardError(Exception):
    """What some library raises."""


@pytest.mark.parametrize("shows_messages", [True, False])
def test_what_a_handler_raises_is_logged_with_its_words_in_development_alone(
    shop: Shop, caplog: pytest.LogCaptureFixture, shows_messages: bool
) -> None:
    """Type and place say enough; messages, notes and causes may hold what the sender sent."""

    def fail(delivery: Delivery) -> None:
        try:
            raise KeyError("card 4242")
        except KeyError as cause:
            error = CardError("cvc 123")
            error.add_note("name ann")
            raise error from cause

    shop.on_all(fail)
    asyncio.run(shop.attempts(shows_messages=shows_messages).handle(shop.lease()))
    assert "CardError" in caplog.text
    assert f"line {fail.__code__.co_firstlineno + 6}, in fail" in caplog.text
    for words in ("card 4242", "cvc 123", "name ann"):
        assert (words in caplog.text) == shows_messages


@pytest.mark.parametrize(("fraction", "delay"), [(0.0, 5), (0.5, 7.5), (1.0, 10)])
def test_retries_are_spread_over_half_of_the_delay(shop: Shop, fraction: float, delay: float) -> None:
    """What failed together does not come again together, and nothing comes before half its delay."""
    attempt(shop, shop.fail, fraction=fraction)
    shop.clock.advance(delay - 0.1)
    assert shop.claim() == ()
    shop.clock.advance(0.1)
    assert len(shop.claim()) == 1


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), TimeoutError()])
@pytest.mark.parametrize("is_async", [True, False])
def test_whatever_a_handler_raises_is_a_failed_attempt(shop: Shop, error: BaseException, is_async: bool) -> None:
    """A handler can neither end the server nor what called it."""

    def handler(delivery: Delivery) -> None:
        raise error

    async def ahandler(delivery: Delivery) -> None:
        handler(delivery)

    attempt(shop, ahandler if is_async else handler)
    assert (shop.entry().state, shop.entry().attempts) == ("pending", 1)
    assert (shop.entry().error or "").startswith(type(error).__name__)
    assert shop.entry().due_at == shop.clock.time() + 10


@pytest.mark.parametrize(("after", "delay"), [(700.5, 700.5), (0, 0), (None, 5)])
def test_a_handler_may_ask_for_another_attempt(
    shop: Shop, after: float | None, delay: float, caplog: pytest.LogCaptureFixture
) -> None:
    """After so many seconds, exactly, or by the schedule; the attempt counts, and nothing looks like an error."""
    caplog.set_level(logging.INFO)

    def handler(delivery: Delivery) -> None:
        raise Retry(after)

    attempt(shop, handler, fraction=0.0)
    entry = shop.entry()
    assert (entry.state, entry.attempts, entry.due_at) == ("pending", 1, shop.clock.time() + delay)
    assert entry.error == "the handler asked for another attempt"
    assert [(record.levelno, record.exc_info) for record in caplog.records] == [(logging.INFO, None)]


@pytest.mark.parametrize("after", [-1, float("nan"), float("inf"), float("-inf")])
def test_asking_for_an_attempt_at_no_time_is_a_mistake_of_the_handlers(shop: Shop, after: float) -> None:
    """Its attempt fails, and comes again by the schedule: nothing waits for ever."""

    def handler(delivery: Delivery) -> None:
        raise Retry(after)

    with pytest.raises(LaunchKitError, match="Retry takes a number of seconds"):
        Retry(after)
    attempt(shop, handler)
    entry = shop.entry()
    assert (entry.state, entry.attempts, entry.due_at) == ("pending", 1, shop.clock.time() + 10)
    assert (entry.error or "").startswith("LaunchKitError in __init__ at outcomes.py")


def test_asking_for_another_attempt_on_the_last_one_makes_a_dead_letter(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is tried for ever."""

    async def handler(delivery: Delivery) -> None:
        raise Retry(1)

    attempt(shop, handler, number=3)
    assert shop.entry().state == "dead"
    assert [(record.levelno, record.exc_info) for record in caplog.records] == [(logging.ERROR, None)]


@pytest.mark.parametrize("number", [1, 3])
def test_a_handler_may_discard_a_delivery(shop: Shop, number: int, caplog: pytest.LogCaptureFixture) -> None:
    """It is not handled again; the reason is kept and logged, and nothing looks like an error."""
    caplog.set_level(logging.INFO)

    def handler(delivery: Delivery) -> None:
        raise Discard("customer is gone")

    attempt(shop, handler, number=number)
    assert (shop.entry().state, shop.entry().error) == ("ignored", "customer is gone")
    assert [(record.levelno, record.exc_info) for record in caplog.records] == [(logging.INFO, None)]
    assert "customer is gone" in caplog.text


@given(st.text(st.characters(), max_size=300))
def test_a_reason_is_what_every_database_takes(reason: str) -> None:
    """Neither NUL nor half a surrogate pair, which would be refused again and again."""
    kept = verdict_on(Discard(reason), 1, (), 0).reason
    assert len(kept) <= LONGEST_REASON
    assert kept.isprintable()
    assert "\0" not in kept.encode().decode()


# --- time-outs and lost leases ---------------------------------------------------------------------------------------


def test_an_async_handler_that_takes_too_long_is_cancelled(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """Its attempt has failed."""
    cancelled = threading.Event()

    async def handler(delivery: Delivery) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    attempt(shop, handler, handler_timeout=0.01)
    assert cancelled.is_set()
    assert (shop.entry().state, shop.entry().error) == ("pending", "the handler took longer than 0.01 s")
    assert "HandlerTimeout" in caplog.text


def test_an_async_handler_that_ignores_its_cancellation_is_left_behind(shop: Shop) -> None:
    """Its attempt has failed all the same, and what it does later is not heard."""
    ended: list[str] = []

    async def main() -> None:
        go = asyncio.Event()

        async def handler(delivery: Delivery) -> None:
            while not go.is_set():
                with suppress(asyncio.CancelledError):
                    await go.wait()
            ended.append(delivery.id)

        shop.on_all(handler)
        await shop.attempts(handler_timeout=0.01).handle(shop.lease())
        assert ended == []
        go.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert (ended, shop.entry().state) == (["evt_1"], "pending")


@pytest.mark.parametrize("fails_late", [True, False])
def test_a_sync_handler_that_takes_too_long_is_abandoned_and_its_late_return_is_void(
    tmp_path: Path, fails_late: bool
) -> None:
    """The next attempt gets a thread though all are in use, and only what that one does counts."""
    shop = Shop(tmp_path / "inbox.sqlite3", threads=1)
    go, ended, second = threading.Event(), threading.Event(), threading.Event()

    def handler(delivery: Delivery) -> None:
        if delivery.attempt == 2:
            second.set()
            assert ended.wait(WAIT)
            return
        assert go.wait(WAIT)
        ended.set()
        if fails_late:
            raise ValueError

    shop.on_all(handler)
    asyncio.run(shop.attempts(handler_timeout=0.01).handle(shop.lease()))
    assert (shop.entry().state, ended.is_set()) == ("pending", False)
    shop.clock.advance(10)
    (lease,) = shop.claim()

    async def main() -> None:
        handling = asyncio.create_task(shop.attempts().handle(lease))
        assert await asyncio.to_thread(second.wait, WAIT)
        assert shop.entry().state == "pending"
        go.set()
        await handling

    asyncio.run(main())
    assert (shop.entry().state, shop.entry().attempts) == ("done", 2)
    assert shop.outcomes == [("evt_1", "retry"), ("evt_1", "done")]
    shop.close()


def minutes_pass(shop: Shop) -> None:
    """Let far more time pass than a lease lasts, while the heartbeat beats."""
    for _ in range(12):
        shop.clock.advance(LEASE / 2)
        shop.drum.beat()
        assert shop.claim() == ()


@pytest.mark.parametrize("is_async", [True, False])
def test_a_handler_that_runs_for_minutes_keeps_its_lease_even_if_it_blocks_the_event_loop(
    shop: Shop, is_async: bool
) -> None:
    """Nobody else takes its delivery up, and what it did is recorded."""

    def handler(delivery: Delivery) -> None:
        minutes_pass(shop)
        shop.see(delivery)

    async def ahandler(delivery: Delivery) -> None:
        handler(delivery)

    attempt(shop, ahandler if is_async else handler)
    assert (shop.seen, shop.states()) == ([("evt_1", 1)], {"evt_1": "done"})


@pytest.mark.parametrize("kind", ["asee", "afail"])
def test_a_lease_is_extended_no_longer_than_its_handler_lives(shop: Shop, kind: str) -> None:
    """What comes afterwards, such as a retry, is not put off by it."""
    attempt(shop, getattr(shop, kind))
    shop.drum.start_beat()
    shop.drum.thread.join(WAIT)
    assert not shop.drum.thread.is_alive()


def take_over(shop: Shop) -> Lease:
    """Let the lease end unextended, as in a process that was frozen, and claim as another would."""
    shop.clock.advance(LEASE + 1)
    (lease,) = shop.claim()
    return lease


def test_losing_its_lease_cancels_an_async_handler(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """The delivery and its outcome are somebody else's."""
    cancelled: list[str] = []

    async def handler(delivery: Delivery) -> None:
        await asyncio.to_thread(take_over, shop)
        shop.drum.start_beat()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(delivery.id)

    attempt(shop, handler)
    assert (cancelled, shop.outcomes) == (["evt_1"], [("evt_1", "lost")])
    assert (shop.entry().state, shop.entry().is_leased, shop.entry().error) == ("pending", True, None)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "attempt 1 has lost its lease" in caplog.text


def test_losing_its_lease_voids_what_a_sync_handler_does(tmp_path: Path) -> None:
    """Its thread is abandoned: the next one gets one though it goes on."""
    shop = Shop(tmp_path / "inbox.sqlite3", threads=1)
    go, new = threading.Event(), list[Lease]()

    def handler(delivery: Delivery) -> None:
        if delivery.attempt == 1:
            new.append(take_over(shop))
            shop.drum.start_beat()
            assert go.wait(WAIT)

    shop.on_all(handler)
    asyncio.run(shop.attempts().handle(shop.lease()))
    assert shop.outcomes == [("evt_1", "lost")]
    asyncio.run(shop.attempts().handle(new[0]))
    assert shop.outcomes == [("evt_1", "lost"), ("evt_1", "done")]
    go.set()
    shop.close()


def test_an_outcome_whose_lease_was_lost_unnoticed_changes_nothing(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """The fencing token decides, not the heartbeat."""

    async def handler(delivery: Delivery) -> None:
        await asyncio.to_thread(take_over, shop)

    attempt(shop, handler)
    assert (shop.entry().state, shop.outcomes) == ("pending", [("evt_1", "lost")])
    assert "lost its lease" in caplog.text


def test_losing_a_lease_after_the_loop_is_gone_troubles_nobody(shop: Shop) -> None:
    """The heartbeat outlives an event loop that was closed in the midst of an attempt."""
    attempts, lost = shop.attempts(), shop.lease("evt_1")
    loop = asyncio.new_event_loop()
    kept = attempts._kept(lost, shop.clock.monotonic())
    loop.run_until_complete(kept.__aenter__())
    loop.close()
    assert take_over(shop).delivery.id == "evt_1"
    held = shop.lease("evt_2")
    attempts._heartbeat.add(held, float("inf"), lambda: None)
    shop.drum.beat()  # with an error it would have ended
    shop.clock.advance(LEASE - 1)
    shop.drum.beat()
    shop.clock.advance(2)
    assert [lease.delivery.id for lease in shop.claim()] == ["evt_1"]
    with pytest.raises(StopIteration):
        kept.__aexit__(None, None, None).__await__().__next__()


# --- the store is down -----------------------------------------------------------------------------------------------


class Refusing(Inbox):
    """An inbox that tells when it could not record."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.refused = threading.Semaphore(0)

    def _end(self, *arguments: Any) -> Future[bool]:
        return self._watch(super()._end(*arguments))

    def release(self, lease: Lease) -> Future[bool]:
        return self._watch(super().release(lease))

    def _watch(self, future: Future[bool]) -> Future[bool]:
        future.add_done_callback(lambda _: self.refused.release() if future.exception() else None)
        return future


@pytest.mark.parametrize("is_lost", [True, False])
def test_what_a_handler_did_is_recorded_when_the_store_is_back(tmp_path: Path, is_lost: bool) -> None:
    """A success during an outage is not repeated after it, unless another has the lease by then."""
    shop = Shop(tmp_path / "inbox.sqlite3", Refusing)
    inbox = shop.inbox
    assert isinstance(inbox, Refusing)

    async def main() -> None:
        outage = ExitStack()

        async def handler(delivery: Delivery) -> None:
            shop.see(delivery)
            outage.enter_context(shop.down())

        shop.on_all(handler)
        handling = asyncio.create_task(shop.attempts().handle(shop.lease()))
        for _ in range(2):
            assert await asyncio.to_thread(inbox.refused.acquire, timeout=WAIT)
        outage.close()
        if is_lost:
            take_over(shop)  # while the recording waits for its next try: the loop is ours
        await handling

    asyncio.run(main())
    assert (shop.seen, shop.states()) == ([("evt_1", 1)], {"evt_1": "pending" if is_lost else "done"})
    assert shop.outcomes == [("evt_1", "lost" if is_lost else "done")]
    shop.close()


# --- cancellation ----------------------------------------------------------------------------------------------------


async def cancelled_in_the_middle(shop: Shop, handling: asyncio.Task[None], began: threading.Event) -> None:
    assert await asyncio.to_thread(began.wait, WAIT)
    handling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handling


class Watched(Inbox):
    """An inbox that notes what had happened when a lease was given back."""

    happened: list[str]

    def release(self, lease: Lease, delay: float = 0.0) -> Future[bool]:
        self.happened.append("released")
        return super().release(lease, delay)


def test_cancelling_ends_an_async_handler_and_then_gives_the_lease_back_uncounted(tmp_path: Path) -> None:
    """Its last words are said before another can begin; a deploy costs neither a lease's time nor an attempt."""
    shop = Shop(tmp_path / "inbox.sqlite3", Watched)
    began, happened = threading.Event(), list[str]()
    assert isinstance(shop.inbox, Watched)
    shop.inbox.happened = happened

    async def handler(delivery: Delivery) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            happened.append("ended")

    shop.on_all(handler)

    async def main() -> None:
        handling = asyncio.create_task(shop.attempts().handle(shop.lease()))
        await cancelled_in_the_middle(shop, handling, began)

    asyncio.run(main())
    assert happened == ["ended", "released"]
    assert [lease.delivery.attempt for lease in shop.claim()] == [1]
    assert shop.outcomes == []
    shop.close()


def test_cancelling_leaves_a_sync_handler_its_lease_while_it_runs(shop: Shop) -> None:
    """Its thread cannot be stopped: nobody else begins the same beside it, until the lease has ended by itself."""
    began, go = threading.Event(), threading.Event()

    def handler(delivery: Delivery) -> None:
        began.set()
        assert go.wait(WAIT)

    shop.on_all(handler)

    async def main() -> None:
        handling = asyncio.create_task(shop.attempts().handle(shop.lease()))
        await cancelled_in_the_middle(shop, handling, began)

    asyncio.run(main())
    assert (shop.claim(), shop.entry().is_leased, shop.outcomes) == ((), True, [])
    shop.clock.advance(LEASE)
    assert [lease.delivery.attempt for lease in shop.claim()] == [2]
    go.set()


def test_cancelling_does_not_wait_for_a_store_that_is_down(tmp_path: Path) -> None:
    """The lease ends by itself."""
    shop = Shop(tmp_path / "inbox.sqlite3", Refusing)
    assert isinstance(shop.inbox, Refusing)
    began = threading.Event()

    async def handler(delivery: Delivery) -> None:
        began.set()
        await asyncio.Event().wait()

    shop.on_all(handler)

    async def main() -> None:
        handling = asyncio.create_task(shop.attempts().handle(shop.lease()))
        with shop.down():
            await cancelled_in_the_middle(shop, handling, began)

    asyncio.run(main())
    assert shop.inbox.refused.acquire(timeout=0)
    assert shop.entry().is_leased
    shop.close()


class Hanging(Inbox):
    """An inbox that is told when to go on."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.asked, self.go = threading.Event(), threading.Event()

    def _end(self, *arguments: Any) -> Future[bool]:
        self._hang()
        return super()._end(*arguments)

    def release(self, lease: Lease) -> Future[bool]:
        self._hang()
        return super().release(lease)

    def _hang(self) -> None:
        self._writer.submit(lambda session: self.asked.set() or self.go.wait(WAIT))
        assert self.asked.wait(WAIT)  # so that what is asked next waits behind it


def test_cancelling_does_not_wait_for_a_store_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The release stays with the store, for when it goes on."""
    monkeypatch.setattr(Attempts, "RELEASE_SECONDS", 0.01)
    shop = Shop(tmp_path / "inbox.sqlite3", Hanging)
    assert isinstance(shop.inbox, Hanging)
    began = threading.Event()

    async def handler(delivery: Delivery) -> None:
        began.set()
        await asyncio.Event().wait()

    shop.on_all(handler)

    async def main() -> None:
        handling = asyncio.create_task(shop.attempts().handle(shop.lease()))
        await cancelled_in_the_middle(shop, handling, began)

    asyncio.run(main())
    shop.inbox.go.set()
    assert not shop.entry().is_leased
    shop.close()


def test_what_is_being_recorded_is_recorded_also_when_that_is_cancelled(tmp_path: Path) -> None:
    """A stop at the last moment does not have a handler's work done again."""
    shop = Shop(tmp_path / "inbox.sqlite3", Hanging)
    assert isinstance(shop.inbox, Hanging)
    shop.on_all(shop.asee)
    lease = shop.lease()

    async def main() -> None:
        handling = asyncio.create_task(shop.attempts().handle(lease))
        assert isinstance(shop.inbox, Hanging)
        await cancelled_in_the_middle(shop, handling, shop.inbox.asked)

    asyncio.run(main())
    shop.inbox.go.set()
    assert shop.states() == {"evt_1": "done"}
    shop.close()


def test_a_bug_of_ours_while_recording_comes_out(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not tried for ever as an outage would be; whoever called logs it, and the lease ends by itself."""
    lease = shop.lease()
    shop.on_all(shop.see)
    broken: Future[bool] = Future()
    broken.set_exception(ArithmeticError("a bug"))
    monkeypatch.setattr(shop.inbox, "done", lambda lease: broken)
    with pytest.raises(ArithmeticError):
        asyncio.run(shop.attempts().handle(lease))
    assert not isinstance(broken.exception(), StoreDown)
