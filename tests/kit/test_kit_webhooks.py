"""Webhooks on the kit: who handles them where, and what an app says about its queues."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.support.targets import Target

from launchkit import (
    Delivery,
    Discard,
    InboxUnavailable,
    LaunchKit,
    LaunchKitError,
    Retry,
    Settings,
    SettingsError,
    StartError,
)
from launchkit.testing import FrozenClock
from launchkit.webhooks import Filter

Make = Callable[..., Target]

WAIT = 10
"""Seconds after which a test that hangs fails; nothing waits for them to pass."""


class Carrier:
    """A queue of the app's that keeps what it is sent."""

    runs_tickets = True

    def __init__(self, notes: tuple[str, ...] = ()) -> None:
        self.notes = notes
        self.tickets: list[str] = []
        self.sent = threading.Event()
        self.run: Callable[[str], None] | None = None

    def send(self, delivery: Delivery, ticket: str) -> None:
        self.tickets.append(ticket)
        self.sent.set()

    def bind(self, run: Callable[[str], None]) -> None:
        self.run = run

    def warnings(self) -> tuple[str, ...]:
        return self.notes


def states(kit: LaunchKit) -> dict[str, str]:
    return {entry.id: entry.state for entry in kit.webhooks.list()}


def loop_threads() -> set[threading.Thread]:
    """Return the loops that kits have started for themselves; those of earlier tests may be among them."""
    return {thread for thread in threading.enumerate() if thread.name == "launchkit-loop"}


def kit_at(folder: Path, **webhooks: Any) -> LaunchKit:
    return LaunchKit(Settings(data_dir=folder, webhooks=webhooks), clock=FrozenClock())


def worked(kit: LaunchKit, until: Callable[[], bool]) -> None:
    """Let the kit work on a loop of its own until something is so."""

    async def main() -> None:
        working = asyncio.create_task(kit.work())
        async with asyncio.timeout(WAIT):
            while not until():
                assert not working.done()
                await asyncio.sleep(0)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working

    asyncio.run(main())


# --- where deliveries are handled -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["asgi", "wsgi"])
def test_the_app_handles_what_it_submits(make: Make, name: str) -> None:
    """From the first request on, in its own processes; nothing needs a secret for that."""
    target = make(name)
    handled = threading.Event()

    @target.kit.webhook("app", "mail")
    def send(delivery: Delivery) -> None:
        assert delivery.json() == {"to": "a@example.com"}
        handled.set()

    target.request("GET", "/hello")
    target.kit.webhooks.submit("mail", {"to": "a@example.com"})
    assert handled.wait(WAIT)


def test_in_app_false_leaves_handling_to_workers(make: Make, tmp_path: Path) -> None:
    """The app's processes take in and store; `work` handles."""
    before = loop_threads()
    target = make("wsgi", webhooks={"in_app": False})
    handled: list[str] = []
    target.kit.webhook("app", "mail")(lambda delivery: handled.append(delivery.id))
    target.request("GET", "/hello")
    target.kit.webhooks.submit("mail", key="1")
    assert loop_threads() == before
    worker = kit_at(tmp_path / "data", in_app=False)
    worker.webhook("app", "mail")(lambda delivery: handled.append(delivery.id))
    worked(worker, lambda: ("app", "done") in worker.webhooks.counts.read())
    assert (handled, states(target.kit)) == (["1"], {"1": "done"})


def test_working_without_a_handler_is_an_error(tmp_path: Path) -> None:
    """It would wait for ever for nothing; a handler whose source has no secret is none."""
    kit = kit_at(tmp_path)
    with pytest.raises(LaunchKitError, match=r"@kit\.webhook"):
        asyncio.run(kit.work())
    kit.webhook("stripe")(lambda delivery: None)
    with pytest.raises(LaunchKitError, match=r"@kit\.webhook"):
        asyncio.run(kit.work())


def test_async_handlers_work_on_the_loop_of_work(tmp_path: Path) -> None:
    """Where the program that called it has opened its connections."""
    kit, loops = kit_at(tmp_path), list[asyncio.AbstractEventLoop]()

    @kit.webhook("app", "mail")
    async def send(delivery: Delivery) -> None:
        loops.append(asyncio.get_running_loop())

    kit.webhooks.submit("mail")

    worked(kit, lambda: bool(loops) and loops == [asyncio.get_running_loop()])
    assert set(states(kit).values()) == {"done"}


def test_work_that_is_cancelled_gives_back_what_it_has(tmp_path: Path) -> None:
    """At once, as if it had not been taken: the attempt does not count."""
    kit, begun = kit_at(tmp_path), list[int]()

    @kit.webhook("app", "mail")
    async def hang(delivery: Delivery) -> None:
        begun.append(delivery.attempt)
        await asyncio.Event().wait()

    key = kit.webhooks.submit("mail")
    worked(kit, lambda: bool(begun))
    shown = kit.webhooks.show(key)
    assert shown is not None
    assert (shown.entry.state, shown.entry.is_leased, shown.entry.attempts) == ("pending", False, 0)


def test_outcomes_that_handlers_raise_are_theirs(tmp_path: Path) -> None:
    """`Retry` and `Discard` of the public API reach the inbox."""
    kit = kit_at(tmp_path)

    @kit.webhook("app", "again")
    def again(delivery: Delivery) -> None:
        raise Retry(after=90)

    @kit.webhook("app", "never")
    async def never(delivery: Delivery) -> None:
        raise Discard("test mode")

    retried, discarded = kit.webhooks.submit("again", key="r"), kit.webhooks.submit("never", key="d")

    def are_over() -> bool:
        counted = kit.webhooks.counts.read()
        return ("app", "retry") in counted and ("app", "ignored") in counted

    worked(kit, are_over)
    shown = [kit.webhooks.show(key) for key in (retried, discarded)]
    assert [one and (one.entry.state, one.entry.error) for one in shown] == [
        ("pending", "the handler asked for another attempt"),
        ("ignored", "test mode"),
    ]


@pytest.mark.parametrize("is_patched", [True, False])
def test_under_gevent_nothing_is_handled_in_the_app(
    make: Make, monkeypatch: pytest.MonkeyPatch, is_patched: bool
) -> None:
    """Its threads are not the system's, so no event loop can run beside them: `launchkit worker` handles then."""
    monkey = ModuleType("gevent.monkey")
    monkey.is_module_patched = lambda name: is_patched and name == "threading"  # type: ignore[attr-defined]  # as gevent has it
    monkeypatch.setitem(sys.modules, "gevent.monkey", monkey)
    before = loop_threads()
    target = make("wsgi")
    handled = threading.Event()
    target.kit.webhook("app", "mail")(lambda delivery: handled.set())
    target.request("GET", "/hello")
    target.kit.webhooks.submit("mail", key="1")
    if is_patched:
        assert loop_threads() == before
        assert states(target.kit) == {"1": "pending"}
    else:
        assert handled.wait(WAIT)


# --- a queue of the app's own ---------------------------------------------------------------------------------------


def test_a_queue_is_bound_when_the_kit_is_made(tmp_path: Path) -> None:
    """Before anything can be sent, also in the processes of the queue's own workers."""
    carrier = Carrier()
    kit = kit_at(tmp_path, queue=carrier)
    assert carrier.run == kit.webhooks.run


def test_a_queue_carries_deliveries_to_the_same_handlers(make: Make) -> None:
    """It gets a ticket, and whoever brings it has the delivery handled, once."""
    carrier = Carrier()
    target = make("wsgi", webhooks={"queue": carrier})
    handled: list[int] = []
    target.kit.webhook("app", "mail")(lambda delivery: handled.append(delivery.attempt))
    target.request("GET", "/hello")
    target.kit.webhooks.submit("mail", key="1")
    assert carrier.sent.wait(WAIT)
    assert carrier.run is not None
    (ticket,) = carrier.tickets
    carrier.run(ticket)
    carrier.run(ticket)
    assert (handled, states(target.kit)) == ([1], {"1": "done"})


def test_a_queue_whose_workers_do_all_says_when_it_is_done(make: Make) -> None:
    """By the delivery's key; nothing is sent for it any more."""
    carrier = Carrier()
    target = make("wsgi", webhooks={"queue": carrier})
    target.kit.webhook("app", "mail")(lambda delivery: None)
    target.request("GET", "/hello")
    key = target.kit.webhooks.submit("mail", key="1")
    assert carrier.sent.wait(WAIT)
    assert target.kit.complete(key)
    assert not target.kit.complete(key)
    assert states(target.kit) == {"1": "done"}


def test_what_a_queue_warns_of_is_logged(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """At the start of whoever sends, in a thread: asking a broker may take its time."""
    target = make("wsgi", webhooks={"queue": Carrier(("messages are not on disk",))})
    target.kit.webhook("app", "mail")(lambda delivery: None)
    target.request("GET", "/hello")
    done = target.kit._handler_threads.submit(lambda: None)
    done.result(WAIT)
    target.kit.stop()
    assert "messages are not on disk" in caplog.messages


class Old:
    """A queue that lacks part of what is asked of one."""

    def send(self, delivery: Delivery, ticket: str) -> None: ...

    def bind(self, run: Callable[[str], None]) -> None: ...


@pytest.mark.parametrize("queue", ["celery", 7, object(), Old()])
def test_a_queue_that_is_none_is_a_mistake(queue: object) -> None:
    """Only code can give one; and one that is none is not passed over in silence."""
    with pytest.raises(SettingsError, match=r"LAUNCHKIT_WEBHOOKS__QUEUE: should be a queue from launchkit\.queues"):
        Settings(webhooks={"queue": queue})


# --- what is refused ------------------------------------------------------------------------------------------------


def test_the_apps_own_work_needs_no_secret_in_production(tmp_path: Path) -> None:
    """Nobody sends it."""
    kit = LaunchKit(Settings(environment="production", data_dir=tmp_path))
    kit.webhook("app", "mail")(lambda delivery: None)
    with pytest.raises(StartError, match="STRIPE__SECRETS"):
        kit.webhook("stripe")


def test_a_sender_that_signs_its_address_stops_a_start_that_does_not_know_it(tmp_path: Path) -> None:
    """With the variable to set."""
    sources = {"twilio": {"secrets": ["0123456789abcdef0123456789abcdef"]}}
    with pytest.raises(SettingsError, match="LAUNCHKIT_EDGE__URL"):
        LaunchKit(Settings(data_dir=tmp_path, webhooks={"sources": sources}))
    LaunchKit(Settings(data_dir=tmp_path, webhooks={"sources": sources}, edge={"url": "https://example.com"}))


def test_an_inbox_that_cannot_be_used_is_told_to_who_submits(make: Make, tmp_path: Path) -> None:
    """In the caller's own request, not in a log alone."""
    (tmp_path / "data").write_text("not a folder")
    target = make("wsgi")
    target.kit.webhook("app", "mail")(lambda delivery: None)
    with pytest.raises(InboxUnavailable):
        target.kit.webhooks.submit("mail")
    with pytest.raises(InboxUnavailable):
        target.kit.complete("app:1")


def test_making_a_kit_with_handlers_opens_nothing(tmp_path: Path) -> None:
    """No inbox and no thread before anybody needs them."""
    before = threading.active_count()
    kit = kit_at(tmp_path / "data", queue=Carrier())
    kit.webhook("app", "mail")(lambda delivery: None)
    kit.queue_depth("mails")(lambda: (0, None))
    assert (threading.active_count(), (tmp_path / "data").exists()) == (before, False)


def test_a_dead_letter_can_be_replayed_by_the_app(tmp_path: Path) -> None:
    """As by an operator's page of its own."""
    kit, attempts = kit_at(tmp_path, retry_delays=[]), list[int]()

    @kit.webhook("app", "mail")
    def fail_once(delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        if len(attempts) == 1:
            raise ValueError

    kit.webhooks.submit("mail", key="1")
    worked(kit, lambda: ("app", "dead") in kit.webhooks.counts.read())
    assert kit.webhooks.replay(Filter(source="app")) == 1
    worked(kit, lambda: ("app", "done") in kit.webhooks.counts.read())
    assert (attempts, states(kit)) == ([1, 1], {"1": "done"})
