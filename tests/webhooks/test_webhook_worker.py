"""The worker: everything that was stored is handled until it succeeds, or becomes a dead letter."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from handling_world import LEASE, WAIT, Shop
from webhook_world import new_delivery

from launchkit.pipeline.effects import NewDelivery, StoreDown
from launchkit.webhooks.delivery import Delivery
from launchkit.webhooks.handling.worker import Worker
from launchkit.webhooks.inbox.archive import DAY, Archive
from launchkit.webhooks.inbox.inbox import Inbox
from launchkit.webhooks.inbox.leases import Claim


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path / "inbox.sqlite3")
    yield shop
    shop.close()


class Heard(Inbox):
    """An inbox that counts its claims, and tells when it could not answer one."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.answered, self.refused = threading.Semaphore(0), threading.Semaphore(0)

    def claim(self, *arguments: Any, **options: Any) -> Future[Claim]:
        future = super().claim(*arguments, **options)
        future.add_done_callback(lambda _: (self.refused if future.exception() else self.answered).release())
        return future


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path / "heard.sqlite3", Heard)
    yield shop
    shop.close()


async def looks(shop: Shop, count: int = 1) -> None:
    """Wait until that many more looks were answered."""
    assert isinstance(shop.inbox, Heard)
    while shop.inbox.answered.acquire(blocking=False):
        pass
    for _ in range(count):
        assert await asyncio.to_thread(shop.inbox.answered.acquire, timeout=WAIT)


async def until(condition: Callable[[], bool], shop: Shop) -> None:
    """Wait until a look has made it so."""
    for _ in range(1_000):
        if condition():
            return
        await looks(shop)
    raise AssertionError


def running(worker: Worker, scene: Callable[[], Awaitable[object]], grace: float = 3) -> None:
    """Let the worker run while the scene plays, and stop it."""

    async def main() -> None:
        run = asyncio.create_task(worker.run())
        try:
            await scene()
        finally:
            await worker.stop(grace)
        await run

    asyncio.run(main())


def handled_by(shop: Shop) -> asyncio.Event:
    """Register a handler, and return what is set when it has run."""
    handled = asyncio.Event()

    async def handler(delivery: Delivery) -> None:
        shop.see(delivery)
        handled.set()

    shop.on_all(handler)
    return handled


async def soon(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), WAIT)


# --- what is due -----------------------------------------------------------------------------------------------------


def test_everything_that_is_due_is_handled(shop: Shop) -> None:
    """More than there are places, and what has come in the meantime; then nothing is left."""

    def handler(delivery: Delivery) -> None:
        shop.see(delivery)
        if delivery.id == "evt_9":
            shop.put("evt_late")

    shop.on_all(handler)
    shop.put(*(f"evt_{number}" for number in range(10)))
    assert asyncio.run(shop.worker(concurrency=3).run_due()) == 11
    assert set(shop.states().values()) == {"done"}
    assert asyncio.run(shop.worker().run_due()) == 0


def test_no_more_than_so_many_are_handled_at_a_time(shop: Shop) -> None:
    """`concurrency` is the limit, and it is used."""
    active, most, all_there = 0, 0, asyncio.Event()

    async def handler(delivery: Delivery) -> None:
        nonlocal active, most
        active += 1
        most = max(most, active)
        if active == 3:
            all_there.set()
        await all_there.wait()
        active -= 1

    shop.on_all(handler)
    shop.put(*(f"evt_{number}" for number in range(9)))
    assert asyncio.run(shop.worker(concurrency=3).run_due()) == 9
    assert most == 3


def test_deliveries_with_the_same_order_key_are_handled_one_after_the_other(shop: Shop) -> None:
    """In the order in which they came, also when one fails; those of other keys do not wait for them."""
    others, seen = asyncio.Event(), list[tuple[str, int]]()

    async def handler(delivery: Delivery) -> None:
        seen.append((delivery.id, delivery.attempt))
        if delivery.id == "anna_1":
            await soon(others)
            if delivery.attempt == 1:
                raise ValueError
        elif delivery.id == "bert_1":
            others.set()

    shop.on_all(handler, order_by="customer")
    for key in ("anna_1", "anna_2", "bert_1"):
        body = b'{"customer": "%s"}' % key[:4].encode()
        order_key = shop.handlers.order_key("stripe", "invoice.paid", body)
        assert shop.inbox.put(NewDelivery("stripe", key, "invoice.paid", (), body, order_key=order_key))
    worker = shop.worker()
    assert asyncio.run(worker.run_due()) == 2
    assert seen == [("anna_1", 1), ("bert_1", 1)]
    shop.clock.advance(10)
    assert asyncio.run(worker.run_due()) == 2
    assert seen[2:] == [("anna_1", 2), ("anna_2", 1)]


def test_a_poison_message_becomes_a_dead_letter_and_does_not_hold_up_others(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """A delivery whose attempts all ended with their process is not begun again; the next one is."""
    shop.on_all(shop.see)
    shop.put("evt_poison")
    for _ in range(3):
        assert shop.claim()
        shop.clock.advance(LEASE)
    shop.put("evt_1")
    assert asyncio.run(shop.worker(concurrency=1).run_due()) == 2
    assert (shop.seen, shop.states()) == ([("evt_1", 1)], {"evt_poison": "dead", "evt_1": "done"})
    assert "evt_poison (invoice.paid) is dead" in caplog.text


def test_a_running_worker_goes_on_at_once_after_a_poison_message(shop: Shop) -> None:
    """What waits behind it does not wait for the next look."""
    handled = handled_by(shop)
    shop.put("evt_poison")
    for _ in range(3):
        assert shop.claim()
        shop.clock.advance(LEASE)
    shop.put("evt_1")
    running(shop.worker(concurrency=1), lambda: soon(handled))


def test_of_deliveries_that_may_have_killed_a_process_one_is_handled_at_a_time(shop: Shop) -> None:
    """Beside fresh ones, which are not held up by them."""
    active, most, go = set[str](), list[int](), asyncio.Event()

    async def handler(delivery: Delivery) -> None:
        if delivery.id == "fresh_1":
            await asyncio.to_thread(shop.put, "fresh_2")
        elif delivery.id == "fresh_2":
            go.set()
        else:
            active.add(delivery.id)
            most.append(len(active))
            await soon(go)
            active.remove(delivery.id)

    shop.on_all(handler)
    shop.put("old_1", "old_2", "old_3")
    assert len(shop.claim()) == 3
    shop.clock.advance(LEASE)
    shop.put("fresh_1")
    assert asyncio.run(shop.worker(concurrency=4).run_due()) == 5
    assert most == [1, 1, 1]
    assert set(shop.states().values()) == {"done"}


def test_a_suspect_that_lives_holds_up_the_others_no_longer(shop: Shop) -> None:
    """Whoever kills its process does so at once: after a lease's time the next is taken over beside it."""
    seen, other = list[str](), asyncio.Event()

    async def handler(delivery: Delivery) -> None:
        seen.append(delivery.id)
        if len(seen) == 1:
            await soon(other)  # else it would be in the way until its time is over
        other.set()

    shop.on_all(handler)
    shop.put("old_1", "old_2")
    assert len(shop.claim()) == 2
    shop.clock.advance(LEASE)
    running(shop.worker(lease=0.05), lambda: soon(other))
    assert sorted(seen) == ["old_1", "old_2"]


def test_a_further_attempt_is_no_suspect(shop: Shop) -> None:
    """What has failed in an orderly way is handled beside others of its kind: an outage is not made up one by one."""
    met = asyncio.Event()
    beside: set[str] = set()

    async def handler(delivery: Delivery) -> None:
        if delivery.attempt == 1:
            raise ValueError
        beside.add(delivery.id)
        if len(beside) == 3:
            met.set()
        await soon(met)

    async def main() -> None:
        worker = shop.worker(concurrency=3, lease=3600)
        assert await worker.run_due() == 3
        shop.clock.advance(10)
        assert await worker.run_due() == 3

    shop.on_all(handler)
    shop.put("evt_1", "evt_2", "evt_3")
    asyncio.run(main())
    assert set(shop.states().values()) == {"done"}


class Late(Inbox):
    """An inbox whose third claim is answered when that is allowed."""

    count = 0

    def claim(self, *arguments: Any, **options: Any) -> Future[Claim]:
        claim = super().claim(*arguments, **options)
        self.count += 1
        if self.count != 3:
            return claim
        self.claimed, self.late = claim, Future[Claim]()
        self.asked.set()
        return self.late

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.asked = asyncio.Event()


def test_what_becomes_possible_during_a_look_is_not_forgotten(tmp_path: Path) -> None:
    """One that may have killed a process ends while others are looked for: the next of its kind has its turn."""
    shop = Shop(tmp_path / "inbox.sqlite3", Late)
    inbox = shop.inbox
    assert isinstance(inbox, Late)

    class Outcomes(list[tuple[str, str]]):
        def append(self, outcome: tuple[str, str]) -> None:
            super().append(outcome)
            if outcome[0] == "old_1":
                inbox.late.set_result(inbox.claimed.result(WAIT))

    async def handler(delivery: Delivery) -> None:
        if delivery.id == "old_1":
            await soon(inbox.asked)

    shop.outcomes = Outcomes()
    shop.on_all(handler)
    shop.put("old_1", "old_2")
    assert len(Inbox.claim(inbox, 2, sources=["stripe"], lease=LEASE, attempts=9).result(WAIT).leased) == 2
    shop.clock.advance(LEASE)
    shop.put("fresh")
    assert asyncio.run(shop.worker(concurrency=3).run_due()) == 3
    assert set(shop.states().values()) == {"done"}
    shop.close()


def test_without_handlers_the_store_is_left_alone(heard: Shop) -> None:
    """There is nothing to take that could be handled here."""
    heard.put("evt_1")
    assert asyncio.run(heard.worker().run_due()) == 0
    assert isinstance(heard.inbox, Heard)
    assert not heard.inbox.answered.acquire(blocking=False)


# --- when it looks ---------------------------------------------------------------------------------------------------


def test_a_running_worker_takes_up_what_it_is_woken_for(shop: Shop) -> None:
    """A delivery that this process stored does not wait for the next look."""
    handled = handled_by(shop)
    worker = shop.worker()
    worker.wake()

    async def scene() -> None:
        for number in range(3):
            handled.clear()
            await asyncio.to_thread(shop.put, f"evt_{number}")
            await asyncio.to_thread(worker.wake)
            await soon(handled)

    running(worker, scene)
    assert shop.seen == [("evt_0", 1), ("evt_1", 1), ("evt_2", 1)]
    assert set(shop.states().values()) == {"done"}


def test_a_running_worker_looks_for_itself(heard: Shop) -> None:
    """What another process stored is found without being woken, also after a long time without anything."""
    handled = handled_by(heard)

    async def scene() -> None:
        await looks(heard, 3)
        await asyncio.to_thread(heard.put, "evt_1")
        await soon(handled)

    running(heard.worker(poll=0.01), scene)


def test_waking_a_worker_whose_loop_is_gone_does_nothing(shop: Shop) -> None:
    """The request that stored a delivery is not troubled by a worker that has ended."""
    worker = shop.worker()
    running(worker, lambda: asyncio.sleep(0))
    worker._woken.clear()
    worker.wake()
    assert not worker._woken.is_set()


def test_a_worker_whose_places_are_taken_looks_only_to_know_that_the_store_is_up(heard: Shop) -> None:
    """It claims nothing, however often it is woken."""
    began, go = asyncio.Event(), asyncio.Event()

    async def handler(delivery: Delivery) -> None:
        began.set()
        await go.wait()

    heard.on_all(handler)
    heard.put("evt_1", "evt_2")
    worker = heard.worker(poll=0.01, concurrency=1)

    async def scene() -> None:
        await soon(began)
        assert isinstance(heard.inbox, Heard)
        while heard.inbox.answered.acquire(blocking=False):
            pass
        for _ in range(20):
            worker.wake()
            await asyncio.sleep(0)
        assert not heard.inbox.answered.acquire(blocking=False)
        heard.clock.advance(0.01)
        assert await asyncio.to_thread(heard.inbox.answered.acquire, timeout=WAIT)
        assert heard.entry("evt_2").attempts == 0
        go.set()

    running(worker, scene)


# --- what looks like a lease that has ended --------------------------------------------------------------------------


def test_what_a_crash_left_is_taken_up_at_the_start(shop: Shop) -> None:
    """Once its lease has ended, by the first look."""
    shop.on_all(shop.see)
    shop.lease()
    assert asyncio.run(shop.worker().run_due()) == 0
    shop.clock.advance(LEASE)
    assert asyncio.run(shop.worker().run_due()) == 1
    assert shop.seen == [("evt_1", 2)]


@pytest.mark.parametrize("what", ["the clock is set forward", "the store is down", "the process is frozen"])
def test_no_lease_is_taken_over_while_its_holder_could_not_extend_it(shop: Shop, what: str) -> None:
    """It gets one lease's time to do so; what is due otherwise is taken at once, and leases that end later too."""
    shop.on_all(shop.see)
    worker = shop.worker(poll=1)
    assert asyncio.run(worker.run_due()) == 0
    lease = shop.lease("held")
    if what == "the clock is set forward":
        shop.clock.unix_seconds += 3600
    elif what == "the store is down":
        with shop.down():
            for _ in range(4):
                with pytest.raises(StoreDown):
                    asyncio.run(worker.run_due())
                shop.clock.advance(LEASE / 2)
    else:
        shop.clock.advance(2 * LEASE)
    shop.put("fresh")
    assert asyncio.run(worker.run_due()) == 1
    shop.clock.advance(LEASE / 3)
    assert asyncio.run(worker.run_due()) == 0
    assert shop.inbox.extend([lease], LEASE).result(WAIT) == {lease.row}
    for _ in range(2):
        shop.clock.advance(LEASE / 3)
        assert asyncio.run(worker.run_due()) == 0
    assert shop.seen == [("fresh", 1)]
    shop.clock.advance(LEASE / 3)
    assert asyncio.run(worker.run_due()) == 1
    assert shop.seen == [("fresh", 1), ("held", 2)]


def test_leases_are_taken_over_by_a_worker_that_looks_all_the_time(shop: Shop) -> None:
    """Time that passes as it should holds nothing up."""
    shop.on_all(shop.see)
    worker = shop.worker(poll=1)
    shop.lease()
    counts = []
    for _ in range(7):
        counts.append(asyncio.run(worker.run_due()))
        shop.clock.advance(LEASE / 6)
    assert counts == [0, 0, 0, 0, 0, 0, 1]


def test_what_a_clock_that_is_set_back_would_delay_is_set_right(heard: Shop) -> None:
    """At the start and each minute: a retry comes after its delay at most, not an hour later, and a lease ends so."""
    handled = handled_by(heard)
    lease = heard.lease("held")
    assert heard.inbox.retry(heard.lease("evt_1"), 10, "").result(WAIT)
    heard.clock.unix_seconds -= 3600

    def delay(key: str) -> float:
        return heard.entry(key).due_at - heard.clock.time()

    async def scene() -> None:
        await until(lambda: delay("evt_1") == 10, heard)
        assert delay("held") == LEASE
        heard.clock.unix_seconds -= 3600
        await looks(heard, 3)
        assert delay("evt_1") == 3610
        heard.clock.monotonic_seconds += Worker.HOUSEKEEPING_INTERVAL
        await until(lambda: delay("evt_1") == 10, heard)
        heard.clock.advance(10)
        await soon(handled)

    running(heard.worker(poll=0.001), scene)
    assert heard.seen == [("evt_1", 2)]
    assert heard.inbox.done(lease).result(WAIT)


# --- housekeeping ----------------------------------------------------------------------------------------------------


class Hoard(Archive):
    """An archive that is pruned in steps of ten, and tells of each."""

    STEP = 10  # type: ignore[misc]  # smaller, for the test

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.steps: list[int] = []

    def prune(self) -> Future[int]:
        future = super().prune()
        future.add_done_callback(lambda done: self.steps.append(done.result()))
        return future


def test_what_is_old_is_forgotten_in_steps_at_once(heard: Shop) -> None:
    """A backlog of it is worked off without waiting for the next minute, and then it is left alone until that."""
    heard.archive = hoard = Hoard(heard.writer, heard.archive._retention)
    heard.handlers.add("stripe", "old", heard.see)
    heard.put(*(f"evt_{number}" for number in range(25)), event="old")
    asyncio.run(heard.worker().run_due())
    heard.clock.advance(8 * DAY)

    async def scene() -> None:
        for steps in ([10], [10, 10], [10, 10, 5]):
            await until(lambda steps=steps: hoard.steps == steps, heard)
            await looks(heard, 3)
            assert hoard.steps == steps
            heard.clock.monotonic_seconds += Worker.PRUNE_PAUSE
        heard.clock.monotonic_seconds += Worker.HOUSEKEEPING_INTERVAL - Worker.PRUNE_PAUSE - 1
        await looks(heard, 3)
        assert hoard.steps == [10, 10, 5]
        heard.clock.monotonic_seconds += 1
        await until(lambda: hoard.steps == [10, 10, 5, 0], heard)

    running(heard.worker(poll=0.001), scene)
    assert not any(heard.entry(f"evt_{number}").has_body for number in range(25))


def test_a_worker_wakes_for_the_next_step_of_forgetting(shop: Shop) -> None:
    """However long it would sleep otherwise."""
    shop.archive = hoard = Hoard(shop.writer, shop.archive._retention)
    shop.put(*(f"evt_{number}" for number in range(15)), event="old")
    for lease in shop.claim():
        assert shop.inbox.done(lease).result(WAIT)
    shop.clock.advance(8 * DAY)
    pruned = threading.Semaphore(0)
    prune = hoard.prune

    def heard() -> Future[int]:
        future = prune()
        shop.clock.monotonic_seconds += Worker.PRUNE_PAUSE
        future.add_done_callback(lambda _: pruned.release())
        return future

    hoard.prune = heard  # type: ignore[method-assign]  # to tell of each step

    async def scene() -> None:
        for _ in range(2):
            assert await asyncio.to_thread(pruned.acquire, timeout=WAIT)

    running(shop.worker(poll=60), scene)
    assert hoard.steps == [10, 5]


# --- when things break -----------------------------------------------------------------------------------------------


def test_a_store_that_is_down_does_not_end_the_worker(heard: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """It backs off, and goes on by itself when the store is back; the log says each change once."""
    handled = handled_by(heard)
    heard.put("evt_1")
    assert isinstance(heard.inbox, Heard)
    refused = heard.inbox.refused

    async def scene() -> None:
        assert await asyncio.to_thread(refused.acquire, timeout=WAIT)
        assert await asyncio.to_thread(refused.acquire, timeout=WAIT)
        outage.__exit__(None, None, None)
        await soon(handled)

    outage = heard.down()
    outage.__enter__()
    running(heard.worker(poll=0.001), scene)
    assert heard.states() == {"evt_1": "done"}
    assert [("is down" in message, "is back" in message) for message in caplog.messages] == [
        (True, False),
        (False, True),
    ]


@pytest.mark.parametrize(("failures", "seconds"), [(1, 2), (2, 4), (4, 16), (5, 30), (10_000, 30)])
def test_a_store_that_stays_down_is_asked_less_and_less_often(
    shop: Shop, failures: int, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice as long between tries each time, up to half a minute."""
    asked: list[float | None] = []
    timeout = asyncio.timeout
    monkeypatch.setattr(asyncio, "timeout", lambda delay: (asked.append(delay), timeout(0))[1])
    asyncio.run(shop.worker(poll=1)._sleep(failures))
    assert asked == [seconds]


class Buggy(Heard):
    """An inbox with a bug in its first claims, and in the first outcomes."""

    claims = outcomes = 3

    def claim(self, *arguments: Any, **options: Any) -> Future[Claim]:
        if self.claims:
            self.claims -= 1
            raise ArithmeticError("a bug")
        return super().claim(*arguments, **options)

    def done(self, lease: Any) -> Future[bool]:
        if self.outcomes:
            self.outcomes -= 1
            raise LookupError("another bug")
        return super().done(lease)


def test_a_bug_of_ours_does_not_end_the_worker(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each is logged once with its traceback, and the worker goes on."""
    shop = Shop(tmp_path / "inbox.sqlite3", Buggy)
    shop.on_all(shop.asee)
    shop.put(*(f"evt_{number}" for number in range(4)))
    running(shop.worker(poll=0.001, concurrency=1), lambda: until(lambda: "done" in shop.states().values(), shop))
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ArithmeticError, LookupError]
    assert {record.levelno for record in caplog.records} == {logging.ERROR}
    shop.close()


# --- stopping --------------------------------------------------------------------------------------------------------


def test_stopping_lets_handlers_finish_within_the_grace(shop: Shop) -> None:
    """What is nearly done is done before the process ends; nothing else is begun."""
    began, go = asyncio.Event(), asyncio.Event()

    async def handler(delivery: Delivery) -> None:
        began.set()
        await go.wait()
        shop.see(delivery)

    async def scene() -> None:
        await soon(began)
        asyncio.get_running_loop().call_soon(go.set)

    shop.on_all(handler)
    shop.put("evt_1", "evt_2")
    running(shop.worker(concurrency=1), scene)
    assert (shop.seen, shop.states()) == ([("evt_1", 1)], {"evt_1": "done", "evt_2": "pending"})


@pytest.mark.parametrize("by_cancelling", [True, False])
def test_stopping_releases_the_leases_of_handlers_that_are_not_done(shop: Shop, by_cancelling: bool) -> None:
    """The next process need not wait for the lease to end, and the attempt is not counted."""
    began, ends = asyncio.Event(), list[str]()

    async def handler(delivery: Delivery) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ends.append(delivery.id)

    async def main() -> None:
        worker = shop.worker()
        run = asyncio.create_task(worker.run())
        await soon(began)
        if by_cancelling:
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
        else:
            await worker.stop(grace=0)
            assert await worker.run_due() == 0
            await run

    shop.on_all(handler)
    shop.put("evt_1")
    asyncio.run(main())
    assert ends == ["evt_1"]
    assert [lease.delivery.attempt for lease in shop.claim()] == [1]


class Slow(Inbox):
    """An inbox that tells when it is asked for a claim, and answers when it is told to."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.asked, self.go = threading.Event(), threading.Event()

    def claim(self, *arguments: Any, **options: Any) -> Future[Claim]:
        if self.go.is_set():
            return super().claim(*arguments, **options)
        self._writer.submit(lambda session: self.asked.set() or self.go.wait(WAIT))
        assert self.asked.wait(WAIT)
        future = super().claim(*arguments, **options)
        future.set_running_or_notify_cancel = lambda: True  # type: ignore[method-assign]  # set here
        Future.set_running_or_notify_cancel(future)
        return future


@pytest.mark.parametrize("by_cancelling", [True, False])
def test_what_is_claimed_while_the_worker_stops_is_given_back(tmp_path: Path, by_cancelling: bool) -> None:
    """A stop does not leave behind a lease that nobody works on."""
    shop = Shop(tmp_path / "inbox.sqlite3", Slow)
    inbox = shop.inbox
    assert isinstance(inbox, Slow)
    shop.on_all(shop.see)
    shop.put("evt_1")

    async def main() -> None:
        worker = shop.worker()
        run = asyncio.create_task(worker.run())
        assert await asyncio.to_thread(inbox.asked.wait, WAIT)
        if by_cancelling:
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            inbox.go.set()
        else:
            stopping = asyncio.create_task(worker.stop())
            await asyncio.sleep(0)
            inbox.go.set()
            await stopping
            await run

    asyncio.run(main())
    shop.writer.close()
    assert ([lease.delivery.attempt for lease in shop.claim()], shop.seen) == ([1], [])
    shop.close()


def test_a_claim_that_nobody_waits_for_any_more_and_that_failed_troubles_nobody(shop: Shop) -> None:
    """There is nothing to give back."""
    failed, withdrawn = Future[Claim](), Future[Claim]()
    failed.set_exception(StoreDown("down"))
    assert withdrawn.cancel()
    worker = shop.worker()
    worker._give_back_late(failed)
    worker._give_back_late(withdrawn)
    assert shop.writer._thread is None


def test_stopping_does_not_wait_for_a_store_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process can end; leases end by themselves."""
    monkeypatch.setattr(Worker, "RELEASE_SECONDS", 0.01)
    shop = Shop(tmp_path / "inbox.sqlite3", Slow)
    inbox = shop.inbox
    assert isinstance(inbox, Slow)
    shop.on_all(shop.see)

    async def main() -> None:
        worker = shop.worker()
        run = asyncio.create_task(worker.run())
        assert await asyncio.to_thread(inbox.asked.wait, WAIT)
        await worker.stop(grace=0)
        assert not run.done()
        inbox.go.set()
        await run

    asyncio.run(main())
    shop.close()


# --- real processes --------------------------------------------------------------------------------------------------

WORKERS = """
import asyncio, os, sys, time
from pathlib import Path
sys.path.insert(0, os.environ["WORLD"])
from handling_world import Shop
from launchkit.pipeline.clock import SystemClock

path, notes, lease, processes = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4])

def handler(delivery):
    with open(notes, "a") as file:
        file.write(f"{os.getpid()} {delivery.id} {delivery.attempt}\\n")
    if delivery.id == "poison":
        os._exit(7)

async def work(shop):
    worker = shop.worker(poll=0.01, lease=lease, concurrency=2)
    run = asyncio.create_task(worker.run())
    while "pending" in shop.states().values():
        await asyncio.sleep(0.01)
    await worker.stop()
    await run

def begin():
    process = os.fork()
    if not process:
        shop = Shop(path)
        shop.clock, shop.drum.pause = SystemClock(), time.sleep
        shop.on_all(handler)
        asyncio.run(work(shop))
        shop.close()
        os._exit(0)

for _ in range(processes):
    begin()
while processes:
    status = os.waitstatus_to_exitcode(os.wait()[1])
    print(status)
    if status == 7:
        begin()
    else:
        processes -= 1
"""


def work(path: Path, *, lease: float, processes: int) -> tuple[list[int], list[list[str]]]:
    """Run workers until nothing is pending, starting one anew whenever one was killed.

    Returns what they ended with, and (process, delivery, attempt) of each start of a handler.
    """
    notes = path.with_name("notes")
    arguments = [str(path), str(notes), str(lease), str(processes)]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path), WORLD=str(Path(__file__).parent))
    done = subprocess.run(
        [sys.executable, "-c", WORKERS, *arguments], env=environment, stdout=subprocess.PIPE, timeout=60, check=True
    )
    return [int(status) for status in done.stdout.split()], [line.split() for line in notes.read_text().splitlines()]


def put_now(path: Path, *keys: str) -> Shop:
    """Put deliveries that are due by the real clock."""
    shop = Shop(path)
    shop.clock.unix_seconds = time.time() - 1
    for key in keys:
        assert shop.inbox.put(new_delivery(key))
    shop.writer.close()
    return shop


@pytest.mark.real_server
def test_a_message_that_kills_the_process_stops_at_its_limit(tmp_path: Path) -> None:
    """Each start costs one attempt; when they are used up the process lives, and so do those that were beside it."""
    shop = put_now(tmp_path / "inbox.sqlite3", "poison", "good", "other")
    exits, starts = work(shop.path, lease=0.2, processes=1)
    assert (exits, Counter(key for _, key, _ in starts)["poison"]) == ([7, 7, 7, 0], 3)
    assert shop.states() == {"poison": "dead", "good": "done", "other": "done"}
    shop.close()


@pytest.mark.real_server
def test_two_processes_share_the_work(tmp_path: Path) -> None:
    """Each delivery is handled once, by either."""
    keys = [f"evt_{number}" for number in range(200)]
    shop = put_now(tmp_path / "inbox.sqlite3", *keys)
    exits, starts = work(shop.path, lease=30, processes=2)
    assert exits == [0, 0]
    assert sorted((key, attempt) for _, key, attempt in starts) == sorted((key, "1") for key in keys)
    assert len({process for process, _, _ in starts}) == 2
    shop.close()
