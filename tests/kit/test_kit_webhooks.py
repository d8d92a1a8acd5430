"""Webhooks on the kit: who handles them where, and what an app says about its queues."""

from __future__ import annotations

import asyncio
import json
import secrets
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


def test_work_that_is_cancelled_lets_handlers_finish(tmp_path: Path) -> None:
    """Those that are nearly done: within the moment that a worker gives them at every stop."""
    kit = kit_at(tmp_path)
    begun, go = asyncio.Event(), asyncio.Event()

    @kit.webhook("app", "mail")
    async def send(delivery: Delivery) -> None:
        begun.set()
        await go.wait()

    kit.webhooks.submit("mail", key="1")

    async def main() -> None:
        working = asyncio.create_task(kit.work())
        await asyncio.wait_for(begun.wait(), WAIT)
        working.cancel()
        await asyncio.sleep(0)  # the cancellation has arrived
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await working

    asyncio.run(main())
    assert states(kit) == {"1": "done"}


def test_a_kit_that_was_stopped_starts_again_with_the_next_request(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """And handles what comes; what it has said at its first start it does not say again."""
    target = make("wsgi")
    handled = threading.Semaphore(0)
    target.kit.webhook("app", "mail")(lambda delivery: handled.release())
    for number in range(3):
        target.request("GET", "/hello")
        assert ("LaunchKit" in capsys.readouterr().err) == (number == 0)
        target.kit.webhooks.submit("mail")
        assert handled.acquire(timeout=WAIT)
        target.kit.stop()


@pytest.mark.parametrize("environment", ["production", "test", "development"])
def test_what_a_handler_raises_is_logged_with_its_words_in_development_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, environment: str
) -> None:
    """Elsewhere its type and place: the words may be a customer's."""
    kit = LaunchKit(Settings(environment=environment, data_dir=tmp_path), clock=FrozenClock())

    @kit.webhook("app", "mail")
    def fail(delivery: Delivery) -> None:
        raise KeyError(delivery.json())

    kit.webhooks.submit("mail", "card 4242")
    worked(kit, lambda: ("app", "retry") in kit.webhooks.counts.read())
    assert "KeyError" in caplog.text
    assert f"line {fail.__code__.co_firstlineno + 2}, in fail" in caplog.text
    assert ("card 4242" in caplog.text) == (environment == "development")


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


# --- what it counts -------------------------------------------------------------------------------------------------


def figures(target: Target) -> list[str]:
    return target.request("GET", "/metrics", peer="127.0.0.1").body.decode().splitlines()


def test_handlers_are_timed(make: Make) -> None:
    """Sum and count for each source, of those that fail too."""
    target = make("wsgi", webhooks={"retry_delays": [5]})
    ended = threading.Semaphore(0)

    @target.kit.webhook("app")
    def work(delivery: Delivery) -> None:
        target.world.clock.advance(2.5)
        ended.release()
        if delivery.event == "bad":
            raise ValueError

    target.request("GET", "/hello")
    for name in ("good", "bad"):
        target.kit.webhooks.submit(name)
        assert ended.acquire(timeout=WAIT)
    target.kit.stop()
    lines = figures(target)
    assert 'launchkit_webhook_handler_seconds_sum{source="app"} 5.0' in lines
    assert 'launchkit_webhook_handler_seconds_count{source="app"} 2' in lines
    assert 'launchkit_webhooks_total{source="app",outcome="retry"} 1' in lines


def test_what_nobody_lived_to_report_is_counted_as_dead(tmp_path: Path, make: Make) -> None:
    """A delivery that kills every process is as dead as one whose handler fails."""
    target = make("wsgi", webhooks={"in_app": False, "retry_delays": [5], "lease": 30})
    kit, handled = target.kit, list[str]()
    kit.webhook("app", "mail")(lambda delivery: handled.append(delivery.id))
    kit.webhooks.submit("mail", key="poison")
    for _ in range(2):
        claiming = kit._deliveries.inbox.claim(1, sources=("app",), lease=30, attempts=2)
        assert len(claiming.result(WAIT).leased) == 1
        target.world.clock.advance(30)
    worked(kit, lambda: ("app", "dead") in kit.webhooks.counts.read())
    assert (handled, states(kit)) == ([], {"poison": "dead"})
    assert 'launchkit_webhooks_total{source="app",outcome="dead"} 1' in figures(target)


@pytest.mark.parametrize("environment", ["development", "production"])
def test_health_details_show_the_inbox(make: Make, environment: str) -> None:
    """To the developer at this machine, and to who has the token; to nobody else."""
    token = secrets.token_urlsafe()
    target = make("wsgi", environment=environment, token=token, webhooks={"in_app": False})
    target.kit.webhook("app", "mail")(lambda delivery: None)
    target.kit.webhooks.submit("mail")
    target.world.clock.advance(7)

    def shown(*headers: tuple[str, str], peer: str) -> Any:
        document = json.loads(target.request("GET", "/health", headers, peer=peer).body)
        return document.get("details", {}).get("webhooks")

    told = ("authorization", f"Bearer {token}")
    shown(told, peer="203.0.113.7")  # asks for the figures, and does not wait for them
    target.kit.webhooks.backlog()
    expected = {"pending": 1, "leased": 0, "retrying": 0, "dead": 0, "oldest_seconds": 7.0}
    assert shown(told, peer="203.0.113.7") == {**expected, "counted": {"app": {"accepted": 1}}}
    assert (shown(peer="127.0.0.1") is not None) == (environment == "development")
    assert shown(peer="203.0.113.7") is None


# --- what is refused ------------------------------------------------------------------------------------------------


def test_a_handler_that_is_refused_leaves_the_kit_as_it_was(make: Make) -> None:
    """An app that goes on after the error has the sources that it had, and can register others."""
    target = make("wsgi")
    handled = threading.Event()
    for _ in range(2):  # and is told the same again
        with pytest.raises(SettingsError, match="NOSUCH__SCHEME"):
            target.kit.webhook("nosuch")(lambda delivery: None)
    assert target.kit.webhooks.sources == frozenset()
    target.kit.webhook("stripe")(lambda delivery: None)
    target.kit.webhook("app", "mail")(lambda delivery: handled.set())
    assert target.kit.webhooks.sources == {"app"}
    target.request("GET", "/hello")
    target.kit.webhooks.submit("mail")
    assert handled.wait(WAIT)


def test_nothing_is_handled_while_webhooks_are_switched_off(make: Make, tmp_path: Path) -> None:
    """What is stored waits until they are switched on again: neither the app nor a worker touches it."""
    kit = kit_at(tmp_path / "data")
    kit.webhook("app", "mail")(lambda delivery: None)
    kit.webhooks.submit("mail", key="1")
    kit.stop()
    before = loop_threads()
    target = make("wsgi", webhooks={"enabled": False})
    target.kit.webhook("app", "mail")(lambda delivery: None)
    target.request("GET", "/hello")
    assert (target.kit.webhooks.sources, loop_threads()) == (frozenset(), before)
    with pytest.raises(LaunchKitError, match=r"@kit\.webhook"):
        asyncio.run(target.kit.work())
    assert states(target.kit) == {"1": "pending"}


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
