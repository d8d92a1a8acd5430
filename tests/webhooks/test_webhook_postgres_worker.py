"""Workers on one PostgreSQL: woken at once, sharing the work, and surviving whatever happens to the server."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from postgres_world import archive_of, ask, clean_database, inbox_at
from tests.webhooks.postgres_server import PostgresServer, _postgres  # noqa: F401  # a fixture
from webhook_world import new_delivery

from launchkit.pipeline.clock import SystemClock
from launchkit.pipeline.effects import StoreDown
from launchkit.settings import WebhookSettings
from launchkit.testing import FrozenClock
from launchkit.webhooks.delivery import Lease
from launchkit.webhooks.handling.attempts import Handling
from launchkit.webhooks.handling.postgres_queue import connected
from launchkit.webhooks.handling.postgres_worker import PostgresWorker
from launchkit.webhooks.inbox.inbox import Inbox
from launchkit.webhooks.inbox.postgres import conninfo

pytestmark = pytest.mark.real_server

SOON = 15.0
"""Seconds: more than anything here takes, and less than the lease, after which everything would come right anyway."""
LEASE = 60.0


class Recording:
    """Notes what it handles, does what it is told to, and records that as done."""

    def __init__(self, inbox: Inbox, meanwhile: Callable[[Lease], Awaitable[None]] | None = None) -> None:
        self.inbox = inbox
        self.meanwhile = meanwhile
        self.handled: list[str] = []
        self.ended: list[str] = []
        self.running = 0
        self.most_running = 0

    async def handle(self, lease: Lease) -> None:
        self.handled.append(lease.delivery.id)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            if self.meanwhile is not None:
                await self.meanwhile(lease)
        except asyncio.CancelledError:
            await asyncio.wrap_future(self.inbox.release(lease))
            raise
        finally:
            self.running -= 1
        while True:
            with suppress(StoreDown):
                await asyncio.wrap_future(self.inbox.done(lease))
                break
            await asyncio.sleep(0.05)
        self.ended.append(lease.delivery.id)


class FailingOnce(Recording):
    """Has the first attempt fail."""

    async def handle(self, lease: Lease) -> None:
        if lease.delivery.attempt > 1:
            await super().handle(lease)
            return
        self.handled.append(lease.delivery.id)
        await asyncio.wrap_future(self.inbox.retry(lease, 0.4, "down"))


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return clean_database(postgres)


@pytest.fixture
def inbox(url: str) -> Iterator[Inbox]:
    with inbox_at(url) as inbox:
        yield inbox


def make_worker(
    url: str, inbox: Inbox, handling: Handling, sources: tuple[str, ...] = ("stripe",), **changes: Any
) -> PostgresWorker:
    settings = WebhookSettings(**{"lease": LEASE, "retry_delays": (1, 1), **changes})
    return PostgresWorker(
        url, inbox, archive_of(inbox), handling, lambda: sources, settings, SystemClock(), lambda: 0.0
    )


@asynccontextmanager
async def working(*workers: PostgresWorker) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(worker.run()) for worker in workers]
    try:
        yield
    finally:
        await asyncio.gather(*[worker.stop(grace=0) for worker in workers])
        await asyncio.gather(*tasks)


async def until(condition: Callable[[], object], seconds: float = SOON) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # mostly of the database
            await asyncio.sleep(0.01)


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


# --- waking up -------------------------------------------------------------------------------------------------------


def test_a_delivery_is_handled_as_soon_as_it_is_stored(url: str, inbox: Inbox) -> None:
    """Wherever that is: an idle worker hears of it."""

    async def main() -> None:
        handling = Recording(inbox)
        with inbox_at(url) as elsewhere:
            async with working(make_worker(url, inbox, handling)):
                for number in range(3):
                    await elsewhere.aput(new_delivery(f"evt_{number}"))
                    await until(lambda number=number: f"evt_{number}" in handling.ended)
        assert handling.handled == ["evt_0", "evt_1", "evt_2"]

    run(main())
    assert ask(url, "SELECT state, attempts FROM launchkit.delivery") == [("done", 1)] * 3
    assert ask(url, "SELECT COUNT(*) FROM launchkit.pgqueuer") == [(0,)]


def test_what_is_due_later_is_handled_then(url: str, inbox: Inbox) -> None:
    """What was submitted with a delay, and further attempts: nobody has to ask meanwhile."""

    async def main() -> None:
        handling = FailingOnce(inbox)
        began = time.monotonic()
        async with working(make_worker(url, inbox, handling)):
            await inbox.aput(dataclasses.replace(new_delivery("evt_1"), delay=0.4))
            await until(lambda: handling.ended)
        assert handling.handled == ["evt_1", "evt_1"]
        assert time.monotonic() - began > 0.8

    run(main())
    assert ask(url, "SELECT state, attempts FROM launchkit.delivery") == [("done", 2)]


def test_what_was_there_before_is_handled_at_the_start(url: str, inbox: Inbox) -> None:
    """Also what was announced when nobody listened."""
    inbox.put(new_delivery("evt_1"))

    async def main() -> None:
        handling = Recording(inbox)
        async with working(make_worker(url, inbox, handling)):
            await until(lambda: handling.ended)

    run(main())


def test_waking_is_the_databases_business(url: str, inbox: Inbox) -> None:
    """The verb is there for those who have any worker."""
    make_worker(url, inbox, Recording(inbox)).wake()


# --- sharing ---------------------------------------------------------------------------------------------------------


def test_two_workers_share_the_work_and_nothing_runs_twice(url: str, inbox: Inbox) -> None:
    """Each delivery is one worker's."""

    async def main() -> None:
        with inbox_at(url) as other:
            both = [Recording(one, lambda _: asyncio.sleep(0.01)) for one in (inbox, other)]
            async with working(*[make_worker(url, one.inbox, one) for one in both]):
                await asyncio.gather(*[inbox.aput(new_delivery(f"evt_{number}")) for number in range(60)])
                await until(lambda: sum(len(one.ended) for one in both) == 60, 40)
        assert Counter(both[0].handled + both[1].handled) == Counter(f"evt_{number}" for number in range(60))
        assert min(len(one.handled) for one in both) > 5

    run(main())


def test_deliveries_with_an_order_key_do_not_overlap_across_workers(url: str, inbox: Inbox) -> None:
    """And come in their order."""

    async def main() -> None:
        running, order = Counter[str](), list[str]()

        async def alone(lease: Lease) -> None:
            key = str(lease.order_key)
            running[key] += 1
            assert running[key] == 1
            await asyncio.sleep(0.01)
            running[key] -= 1
            order.append(lease.delivery.id)

        with inbox_at(url) as other:
            async with working(*[make_worker(url, one, Recording(one, alone)) for one in (inbox, other)]):
                for number in range(24):
                    key = "ab"[number % 2]
                    await inbox.aput(dataclasses.replace(new_delivery(f"{key}{number:02}"), order_key=key))
                await until(lambda: len(order) == 24, 40)
        for key in "ab":
            mine = [one for one in order if one[0] == key]
            assert mine == sorted(mine)

    run(main())


@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_are_handled_at_a_time_than_set(url: str, inbox: Inbox, concurrency: int) -> None:
    """And as many as that."""

    async def main() -> None:
        handling = Recording(inbox, lambda _: asyncio.sleep(0.03))
        for number in range(9):
            await inbox.aput(new_delivery(f"evt_{number}"))
        async with working(make_worker(url, inbox, handling, concurrency=concurrency)):
            await until(lambda: len(handling.ended) == 9)
        assert handling.most_running == concurrency

    run(main())


def test_a_delivery_waits_for_a_worker_with_a_handler_for_its_source(url: str, inbox: Inbox) -> None:
    """One without does not touch it; one that comes later does."""

    async def main() -> None:
        without, with_one = Recording(inbox), Recording(inbox)
        async with working(make_worker(url, inbox, without), make_worker(url, inbox, Recording(inbox), ())):
            await inbox.aput(new_delivery("theirs", source="b"))
            await inbox.aput(new_delivery("ours"))
            await until(lambda: without.ended)
            async with working(make_worker(url, inbox, with_one, ("b",))):
                await until(lambda: with_one.ended)
        assert (without.handled, with_one.handled) == (["ours"], ["theirs"])

    run(main())


# --- crashes and shut-down -------------------------------------------------------------------------------------------


def test_a_job_whose_worker_died_is_another_workers(url: str, inbox: Inbox) -> None:
    """When it has given no sign of life for the time of a lease."""

    async def main() -> None:
        await inbox.aput(new_delivery("evt_1"))
        async with connected(conninfo(url), uuid.uuid4(), asyncio.Event()) as dying:
            assert len(await dying.take(5, ["stripe"], LEASE)) == 1
        ask(url, "UPDATE launchkit.pgqueuer SET heartbeat = heartbeat - interval '1 hour'")
        handling = Recording(inbox)
        async with working(make_worker(url, inbox, handling)):
            await until(lambda: handling.ended)

    run(main())


def test_a_job_that_is_under_way_is_not_taken_again(url: str, inbox: Inbox) -> None:
    """By the worker that has it, when its sign of life came late."""

    async def main() -> None:
        go = asyncio.Event()

        async def wait(lease: Lease) -> None:
            if lease.delivery.id == "long":
                await go.wait()

        handling = Recording(inbox, wait)
        await inbox.aput(new_delivery("long"))
        async with working(make_worker(url, inbox, handling)):
            await until(lambda: handling.handled)
            ask(url, "UPDATE launchkit.pgqueuer SET heartbeat = heartbeat - interval '1 hour'")
            for key in ("second", "third"):
                await inbox.aput(new_delivery(key))
                await until(lambda key=key: key in handling.ended)
            assert ask(url, "SELECT status::text FROM launchkit.pgqueuer WHERE payload = '1'") == [("picked",)]
            go.set()
            await until(lambda: "long" in handling.ended)
        assert Counter(handling.handled) == {"long": 1, "second": 1, "third": 1}

    run(main())


def test_a_job_that_is_under_way_shows_signs_of_life(url: str, inbox: Inbox) -> None:
    """Three times in a lease, so that nobody else takes it."""

    async def main() -> None:
        clock = FrozenClock()
        handling = Recording(inbox, lambda _: asyncio.sleep(1_000))
        worker = PostgresWorker(
            url, inbox, archive_of(inbox), handling, lambda: ["stripe"], WebhookSettings(lease=LEASE), clock
        )
        await inbox.aput(new_delivery("long"))
        async with working(worker):
            await until(lambda: handling.handled)
            ((before,),) = ask(url, "SELECT heartbeat FROM launchkit.pgqueuer")
            clock.advance(LEASE / 3)
            await inbox.aput(new_delivery("next"))  # it wakes the worker, whose clock stands still
            await until(lambda: ask(url, "SELECT 1 FROM launchkit.pgqueuer WHERE id = 1 AND heartbeat > %s", before))

    run(main())


def test_a_poison_message_ends_as_dead(url: str, inbox: Inbox, caplog: pytest.LogCaptureFixture) -> None:
    """A delivery whose attempts all ended without a word is not handled once more, and that is logged."""
    inbox.put(new_delivery("evt_poison"))
    ask(url, "UPDATE launchkit.delivery SET attempts = 3")

    async def main() -> None:
        handling = Recording(inbox)
        async with working(make_worker(url, inbox, handling)):
            await until(lambda: "is dead" in caplog.text)
        assert handling.handled == []

    run(main())
    assert "webhook stripe evt_poison (invoice.paid) is dead: none of its 3 attempts came to an end" in caplog.text
    assert ask(url, "SELECT state FROM launchkit.delivery") == [("dead",)]


def test_of_deliveries_that_may_have_killed_a_process_one_is_handled_at_a_time(url: str, inbox: Inbox) -> None:
    """Beside fresh ones, which are not held up by them; the others are announced again, and come after it."""
    for number in range(3):
        inbox.put(new_delivery(f"old_{number}"))
    ask(url, "UPDATE launchkit.delivery SET leased = 1, attempts = 1, token = 1, due_at = due_at - 60")

    async def main() -> None:
        go = asyncio.Event()

        async def wait(lease: Lease) -> None:
            if lease.delivery.id.startswith("old"):
                await go.wait()

        handling = Recording(inbox, wait)
        async with working(make_worker(url, inbox, handling, concurrency=4, lease=0.5)):
            await until(lambda: handling.running == 1)
            for number in range(8):  # each is a look at what there is
                await inbox.aput(new_delivery(f"fresh_{number}"))
                await until(lambda: f"fresh_{number}" in handling.ended)  # noqa: B023  # called here
            assert (handling.running, len([key for key in handling.handled if key.startswith("old")])) == (1, 1)
            go.set()
            await until(lambda: len(handling.ended) == 11)

    run(main())


def test_what_is_old_is_forgotten(url: str, inbox: Inbox) -> None:
    """A worker on PostgreSQL keeps house as one on a file does: bodies first, then all; step by step."""
    for key in ("body", "all", "pending"):
        inbox.put(new_delivery(key, source="elsewhere"))
    ask(url, "UPDATE launchkit.delivery SET state = 'done' WHERE dedupe_key <> 'pending'")
    ask(url, "UPDATE launchkit.delivery SET received_at = received_at - 86400 * 8 WHERE dedupe_key = 'body'")
    ask(url, "UPDATE launchkit.delivery SET received_at = received_at - 86400 * 400 WHERE dedupe_key <> 'body'")
    kept = "SELECT dedupe_key, has_body FROM launchkit.delivery ORDER BY id"

    async def main() -> None:
        async with working(make_worker(url, inbox, Recording(inbox))):
            await until(lambda: ask(url, kept) == [("body", 0), ("pending", 1)])

    run(main())


KILLED = """
import asyncio, os, sys
from postgres_world import archive_of, ask, inbox_at
from launchkit.pipeline.clock import SystemClock
from launchkit.settings import WebhookSettings
from launchkit.webhooks.handling.postgres_worker import PostgresWorker

url = sys.argv[1]
begun = set()

class Deadly:
    def __init__(self, inbox):
        self.inbox = inbox

    async def handle(self, lease):
        print(lease.delivery.id, lease.delivery.attempt, flush=True)
        begun.add(lease.delivery.id)
        if lease.delivery.id == "poison":
            while lease.delivery.attempt == 1 and len(begun) < 3:  # until all are in hands
                await asyncio.sleep(0.01)
            os._exit(7)
        while lease.delivery.attempt == 1:
            await asyncio.sleep(0.01)
        await asyncio.wrap_future(self.inbox.done(lease))

async def work(inbox):
    settings = WebhookSettings(lease=0.5, retry_delays=(1, 1), concurrency=4)
    worker = PostgresWorker(
        url, inbox, archive_of(inbox), Deadly(inbox), lambda: ("stripe",), settings, SystemClock(), lambda: 0.0
    )
    running = asyncio.create_task(worker.run())
    while ask(url, "SELECT 1 FROM launchkit.delivery WHERE state = 'pending'"):
        await asyncio.sleep(0.05)
    await worker.stop()
    await running

with inbox_at(url) as inbox:
    asyncio.run(work(inbox))
"""


def test_a_message_that_kills_the_process_stops_at_its_limit(url: str, inbox: Inbox) -> None:
    """Each start costs one attempt; those that were beside it when it first did survive all further ones."""
    for key in ("poison", "good", "other"):
        inbox.put(new_delivery(key))
    exits, started = list[int](), list[str]()
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    while len(exits) < 9 and 0 not in exits:
        done = subprocess.run(
            [sys.executable, "-c", KILLED, url],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
        exits.append(done.returncode)
        started += done.stdout.splitlines()
    assert exits == [7, 7, 7, 0]
    assert [line for line in started if line.startswith("poison")] == ["poison 1", "poison 2", "poison 3"]
    states = dict(ask(url, "SELECT dedupe_key, state FROM launchkit.delivery"))
    assert states == {"poison": "dead", "good": "done", "other": "done"}


def test_what_is_under_way_at_a_stop_is_given_back_at_once(url: str, inbox: Inbox) -> None:
    """Another worker has it before any lease is over; whoever is fast enough is left to end."""

    async def main() -> None:
        go = asyncio.Event()

        async def wait(lease: Lease) -> None:
            if lease.delivery.id == "slow":
                await asyncio.Event().wait()
            await go.wait()

        first, second = Recording(inbox, wait), Recording(inbox)
        worker = make_worker(url, inbox, first)
        running = asyncio.create_task(worker.run())
        for key in ("slow", "fast"):
            await inbox.aput(new_delivery(key))
        await until(lambda: len(first.handled) == 2)
        stopping = asyncio.create_task(worker.stop(grace=0.5))
        await inbox.aput(new_delivery("unseen"))
        go.set()
        await stopping
        await running
        assert (first.ended, sorted(first.handled)) == (["fast"], ["fast", "slow"])
        async with working(make_worker(url, inbox, second)):
            await until(lambda: len(second.ended) == 2)
        assert sorted(second.handled) == ["slow", "unseen"]

    run(main())


def test_a_worker_that_is_cancelled_gives_back_what_it_has(url: str, inbox: Inbox) -> None:
    """As `stop` does."""

    async def main() -> None:
        handling = Recording(inbox, lambda _: asyncio.sleep(1_000))
        running = asyncio.create_task(make_worker(url, inbox, handling).run())
        await inbox.aput(new_delivery("evt_1"))
        await until(lambda: handling.handled)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        assert running.cancelled()

    run(main())
    assert ask(url, "SELECT state, leased, attempts FROM launchkit.delivery") == [("pending", 0, 0)]


def test_what_was_taken_while_stopping_is_given_back(url: str, inbox: Inbox) -> None:
    """To pgqueuer, at once."""

    async def main() -> None:
        loop, stops = asyncio.get_running_loop(), list[asyncio.Task[None]]()

        def sources() -> tuple[str]:
            if ask(url, "SELECT 1 FROM launchkit.pgqueuer WHERE status = 'queued'"):  # it is taken next
                loop.call_soon(lambda: stops.append(asyncio.create_task(worker.stop())))
            return ("stripe",)

        handling = Recording(inbox)
        worker = PostgresWorker(url, inbox, archive_of(inbox), handling, sources, WebhookSettings(), SystemClock())
        running = asyncio.create_task(worker.run())
        await until(lambda: ask(url, "SELECT 1 FROM pg_stat_activity WHERE state = 'idle' AND query LIKE 'WITH%'"))
        await inbox.aput(new_delivery("evt_1"))
        await running
        await asyncio.gather(*stops)
        assert handling.handled == []

    run(main())
    assert ask(url, "SELECT status::text, attempts FROM launchkit.pgqueuer") == [("queued", 1)]


@pytest.mark.parametrize(("error", "logged"), [(ZeroDivisionError(), 1), (StoreDown("said elsewhere"), 0)])
def test_a_failure_beside_the_handler_does_not_end_the_worker(
    url: str, inbox: Inbox, caplog: pytest.LogCaptureFixture, error: Exception, logged: int
) -> None:
    """A bug is logged with its traceback. What it hit is left for later; the rest goes on."""

    async def main() -> None:
        async def fail(lease: Lease) -> None:
            if lease.delivery.id == "bad":
                raise error

        handling = Recording(inbox, fail)
        async with working(make_worker(url, inbox, handling)):
            for key in ("bad", "good"):
                await inbox.aput(new_delivery(key))
            await until(lambda: handling.ended)

    run(main())
    assert caplog.text.count("ZeroDivisionError") == caplog.text.count("has a bug") == logged
    assert ask(url, "SELECT status::text FROM launchkit.pgqueuer") == [("picked",)]


def test_a_bug_in_the_worker_does_not_end_it(url: str, inbox: Inbox, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged with its traceback, and after a pause it goes on."""

    async def main() -> None:
        bugs = [ZeroDivisionError()]

        def sources() -> tuple[str]:
            if bugs:
                raise bugs.pop()
            return ("stripe",)

        handling = Recording(inbox)
        async with working(
            PostgresWorker(url, inbox, archive_of(inbox), handling, sources, WebhookSettings(), SystemClock())
        ):
            await inbox.aput(new_delivery("evt_1"))
            await until(lambda: handling.ended)

    run(main())
    assert caplog.text.count("ZeroDivisionError") == caplog.text.count("has a bug") == 1


def test_the_event_loop_stays_the_apps() -> None:
    """What pgqueuer brings along, uvloop, is not even loaded."""
    program = (
        "import asyncio, sys; before = type(asyncio.get_event_loop_policy());"
        "import launchkit.webhooks.handling.postgres_worker;"
        "assert 'uvloop' not in sys.modules;"
        "assert type(asyncio.get_event_loop_policy()) is before"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# --- a server that fails ---------------------------------------------------------------------------------------------


def test_nothing_is_lost_with_what_pgqueuer_knows(url: str, inbox: Inbox) -> None:
    """The inbox announces again what should have been taken; and pgqueuer's log does not grow for ever."""
    inbox.put(new_delivery("evt_1"))
    ask(url, "DELETE FROM launchkit.pgqueuer")
    ask(url, "UPDATE launchkit.pgqueuer_log SET created = now() - interval '1 hour'")

    async def main() -> None:
        handling = Recording(inbox)
        async with working(make_worker(url, inbox, handling, lease=1)):
            await until(lambda: handling.ended)

    run(main())
    assert ask(url, "SELECT COUNT(*) FROM launchkit.pgqueuer_log WHERE created < now() - interval '1 minute'") == [(0,)]


def test_a_broken_connection_is_made_anew_and_heard_on(
    url: str, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once when it is lost and once when it is back; an idle worker notices by itself, and is woken as before."""
    idle_worker = "application_name = 'launchkit' AND state = 'idle' AND query LIKE 'WITH%'"
    terminate = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {idle_worker}"

    async def main() -> None:
        handling = Recording(inbox)
        async with working(make_worker(url, inbox, handling)):
            await inbox.aput(new_delivery("evt_1"))
            await until(lambda: handling.ended)
            await until(lambda: ask(url, terminate))
            await until(lambda: "has its database back" in caplog.text)
            await inbox.aput(new_delivery("evt_2"))
            await until(lambda: len(handling.ended) == 2)

    run(main())
    said = [record.getMessage() for record in caplog.records if "postgres_worker" in record.name]
    assert ["has lost" in message for message in said] == [True, False]


def test_a_server_that_is_killed_twice_under_load_loses_nothing(
    postgres: PostgresServer, url: str, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything acknowledged is handled, by workers that survive."""

    async def main() -> None:
        acknowledged: list[str] = []
        halt = asyncio.Event()

        async def send(sender: int) -> None:
            number = 0
            while not halt.is_set():
                number += 1
                with suppress(StoreDown):
                    await inbox.aput(new_delivery(f"evt_{sender}_{number}"))
                    acknowledged.append(f"evt_{sender}_{number}")
                await asyncio.sleep(0.03)

        handling = Recording(inbox)
        async with working(make_worker(url, inbox, handling, lease=2, concurrency=8)):
            senders = [asyncio.create_task(send(number)) for number in range(2)]
            for _ in range(2):
                before = len(handling.ended)
                await until(lambda before=before: len(handling.ended) > before + 10, 30)
                await asyncio.to_thread(postgres.kill)
                await asyncio.to_thread(postgres.start)
            before = len(acknowledged)
            await until(lambda: len(acknowledged) > before + 10, 30)
            halt.set()
            await asyncio.gather(*senders)
            await until(lambda: set(acknowledged) <= set(handling.ended), 60)
        assert len(acknowledged) > 30

    run(main())
    assert "has a bug" not in caplog.text
    assert ask(url, "SELECT DISTINCT state FROM launchkit.delivery") == [("done",)]


def test_a_worker_can_be_stopped_while_the_server_is_down(
    postgres: PostgresServer, url: str, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    """It does not wait for it."""
    postgres.kill()

    async def main() -> None:
        worker = make_worker(url, inbox, Recording(inbox))
        running = asyncio.create_task(worker.run())
        await until(lambda: "has lost its database" in caplog.text)
        await worker.stop()
        await running

    with caplog.at_level(logging.WARNING):
        run(main())
