"""`kit.webhooks`: the app's own work, what operators see and change, and what a queue hands back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from webhook_world import ATTEMPTS, LEASE, Store, done

from launchkit import InboxUnavailable, LaunchKitError
from launchkit.pipeline.effects import StoreDown
from launchkit.settings import WebhookSettings
from launchkit.testing import FrozenClock
from launchkit.webhooks import Filter
from launchkit.webhooks.delivery import Lease
from launchkit.webhooks.figures import Counts
from launchkit.webhooks.handlers import Handlers
from launchkit.webhooks.inbox.archive import DAY
from launchkit.webhooks.inbox.inbox import Inbox
from launchkit.webhooks.service import Webhooks


class Office:
    """An app with its service, whose handlers run as soon as they are asked for."""

    def __init__(self, path: Path, *, enabled: bool = True, **limits: Any) -> None:
        self.clock = FrozenClock()
        self.store = Store(path, self.clock, **limits)
        self.handlers = Handlers()
        self.counts = Counts()
        self.handled: list[Lease] = []
        self.woken = 0
        settings = WebhookSettings(enabled=enabled, retry_delays=(5.0,) * (ATTEMPTS - 1), lease=LEASE)
        self.service = Webhooks(
            self.store.inbox,
            self.store.archive,
            self.handlers,
            settings,
            self.counts,
            self.handle,
            self.wake,
            lambda: self.handlers.sources,
        )
        for name in ("mail", "image"):
            self.handlers.add("app", name, print)

    def handle(self, lease: Lease) -> Future[None]:
        self.handled.append(lease)
        assert done(self.store.inbox.done(lease))
        future: Future[None] = Future()
        future.set_result(None)
        return future

    def wake(self) -> None:
        self.woken += 1

    def bury(self, *keys: str, **more: Any) -> None:
        """Store deliveries and let them be dead letters."""
        self.store.put(*keys, **more)
        for lease in self.store.claim(10_000).leased:
            assert done(self.store.inbox.dead(lease, "ValueError"))

    def break_down(self) -> None:
        """Put something else where the file was."""
        self.store.close()
        self.store.path.unlink(missing_ok=True)
        self.store.path.mkdir(parents=True)


Submit = Callable[..., str]


@pytest.fixture(name="office")
def _office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path / "inbox.sqlite3")
    yield office
    office.store.close()


@pytest.fixture(name="submit", params=["sync", "async"])
def _submit(request: pytest.FixtureRequest, office: Office) -> Submit:
    """Submit in either colour."""

    def asubmit(*args: Any, **kwargs: Any) -> str:
        async def main() -> str:
            return await office.service.asubmit(*args, **kwargs)

        return asyncio.run(main())

    return office.service.submit if request.param == "sync" else asubmit


# --- work of the app's own ------------------------------------------------------------------------------------------


def test_what_is_submitted_is_handled_like_a_webhook(office: Office, submit: Submit) -> None:
    """With source `app` and its name as the event; the payload comes out as it went in."""
    key = submit("mail", {"to": "a@example.com", "parts": [1, None, "ü"]})
    delivery = office.store.claim_one().delivery
    assert (delivery.source, delivery.event, delivery.attempt) == ("app", "mail", 1)
    assert delivery.json() == {"to": "a@example.com", "parts": [1, None, "ü"]}
    assert delivery.headers == {"content-type": "application/json"}
    assert (key, office.woken) == (delivery.idempotency_key, 1)
    assert office.counts.read() == {("app", "accepted"): 1}


def test_bytes_are_kept_as_they_are(office: Office, submit: Submit) -> None:
    """Also those that are no text."""
    submit("image", b"\x00\xff")
    delivery = office.store.claim_one().delivery
    assert (delivery.body, delivery.headers) == (b"\x00\xff", {"content-type": "application/octet-stream"})


def test_without_a_payload_there_is_null(office: Office, submit: Submit) -> None:
    """Some work needs no more than its name."""
    submit("mail")
    assert office.store.claim_one().delivery.json() is None


def test_each_submission_is_its_own(office: Office, submit: Submit) -> None:
    """Unless a key says that it repeats another."""
    assert submit("mail", 1) != submit("mail", 1)
    assert office.store.pending() == 2


def test_of_several_with_the_same_key_the_first_is_stored(office: Office, submit: Submit) -> None:
    """Also after it is done; the answer is its name each time."""
    assert submit("mail", 1, key="welcome-7") == "app:welcome-7"
    assert done(office.store.inbox.done(office.store.claim_one()))
    assert submit("mail", 2, key="welcome-7") == "app:welcome-7"
    assert (office.store.states(), office.woken) == ({"welcome-7": "done"}, 1)
    assert office.counts.read() == {("app", "accepted"): 1, ("app", "duplicate"): 1}


def test_a_delay_is_waited_for(office: Office, submit: Submit) -> None:
    """Seconds before it may be handled."""
    submit("mail", delay=60, key="later")
    office.clock.advance(59)
    assert office.store.claimed() == []
    office.clock.advance(1)
    assert office.store.claimed() == ["later"]


@pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), float("-inf")])
def test_a_delay_that_never_ends_is_refused(office: Office, submit: Submit, delay: float) -> None:
    """As is one that is no time; nothing is stored."""
    with pytest.raises(LaunchKitError, match="delay of 'mail' should be a number of seconds"):
        submit("mail", delay=delay)
    assert office.store.entries() == ()


@pytest.mark.parametrize("key", ["", "a b", " a", "a\n", "ä", "a\0", "x" * 256])
def test_a_key_that_is_no_word_is_refused(office: Office, submit: Submit, key: str) -> None:
    """It goes into logs and commands as it is; every other one is kept as it is."""
    with pytest.raises(LaunchKitError, match="key of 'mail' should be 1 to 255 printable ASCII characters"):
        submit("mail", key=key)
    assert office.store.entries() == ()
    for good in ("x" * 255, "order:7/a~!"):
        assert submit("mail", key=good) == f"app:{good}"


def test_nothing_is_submitted_while_webhooks_are_switched_off(tmp_path: Path) -> None:
    """Nothing would handle it; whoever submits is told at once."""
    office = Office(tmp_path / "inbox.sqlite3", enabled=False)
    with pytest.raises(InboxUnavailable, match="switched off"):
        office.service.submit("mail")
    with pytest.raises(InboxUnavailable, match="switched off"):
        asyncio.run(office.service.asubmit("mail"))
    assert (office.store.entries(), office.woken) == ((), 0)
    office.store.close()


def test_submitted_work_can_be_serial_too(office: Office, submit: Submit) -> None:
    """By its handler's `order_by`, or by nothing where the payload is no JSON."""
    office.handlers.add("app", "sync", print, "account")
    submit("sync", {"account": 7}, key="first")
    submit("sync", {"account": 7}, key="second")
    submit("sync", b"\xff", key="third")
    assert office.store.claimed() == ["first", "third"]


def test_a_handler_for_all_of_the_apps_work_is_one(office: Office, submit: Submit) -> None:
    """As with other sources."""
    office.handlers.add("app", None, print)
    assert submit("anything").startswith("app:")


def test_work_that_nobody_handles_is_refused(office: Office, submit: Submit) -> None:
    """At once and by name: it would wait for ever."""
    with pytest.raises(LaunchKitError, match=r'nobody handles \'male\'.*@kit\.webhook\("app", \'male\'\)'):
        submit("male")
    assert office.store.states() == {}


@pytest.mark.parametrize("payload", [object(), {1, 2}, {"a": object()}, float, {(1, 2): 3}])
def test_a_payload_that_json_cannot_hold_is_refused(office: Office, submit: Submit, payload: object) -> None:
    """By the name of the work, before anything is stored."""
    with pytest.raises(LaunchKitError, match="the payload of 'mail' cannot be written as JSON"):
        submit("mail", payload)


def test_a_payload_that_holds_itself_is_refused(office: Office, submit: Submit) -> None:
    """There is no JSON of it."""
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(LaunchKitError, match="cannot be written as JSON"):
        submit("mail", endless)


def test_an_inbox_that_is_down_is_told(office: Office, submit: Submit) -> None:
    """The caller knows best what to do then; nothing has been promised."""
    office.break_down()
    with pytest.raises(InboxUnavailable):
        submit("mail")
    assert (office.woken, office.counts.read()) == (0, {})


def test_a_full_inbox_is_told(tmp_path: Path) -> None:
    """After the last tenth too, which the app's own work may use: nobody sends it again."""
    office = Office(tmp_path / "small.sqlite3", most_pending=10)
    for _ in range(10):
        office.service.submit("mail")
    with pytest.raises(InboxUnavailable, match="no room"):
        office.service.submit("mail")
    assert office.store.pending() == 10
    office.store.close()


def test_submitting_on_an_event_loop_names_the_other_verb(office: Office) -> None:
    """A commit is a wait, which would hold up everything else there."""

    async def main() -> None:
        with pytest.raises(LaunchKitError, match=r"await kit\.webhooks\.asubmit"):
            office.service.submit("mail")

    asyncio.run(main())
    assert office.store.states() == {}


# --- looking --------------------------------------------------------------------------------------------------------


def test_show_tells_everything_about_one(office: Office) -> None:
    """By its idempotency key."""
    office.store.put("evt_1", body=b"42")
    shown = office.service.show("stripe:evt_1")
    assert shown is not None
    assert shown.content is not None
    assert (shown.entry.key, shown.content.body) == ("stripe:evt_1", b"42")
    assert "42" not in repr(shown)
    for absent in ("stripe:evt_2", "evt_1", "", "github:evt_1"):
        assert office.service.show(absent) is None


def test_show_says_when_the_body_is_no_longer_kept(office: Office) -> None:
    """What happened to it is still known."""
    office.store.put("evt_1")
    done(office.store.inbox.done(office.store.claim_one()))
    office.clock.advance(8 * DAY)
    done(office.store.archive.prune())
    shown = office.service.show("stripe:evt_1")
    assert shown is not None
    assert (shown.entry.state, shown.content) == ("done", None)


def test_lists_counts_and_backlog_are_the_archives(office: Office) -> None:
    """Without a future to wait for."""
    office.store.put("a", "b", "c")
    assert [entry.id for entry in office.service.list()] == ["c", "b", "a"]
    (last,) = office.service.list(Filter(source="stripe"), limit=1)
    assert [entry.id for entry in office.service.list(before=last.row)] == ["b", "a"]
    assert office.service.count(Filter(states=("pending",))) == 3
    assert office.service.backlog().pending == 3
    assert office.service.totals() == {("stripe", "invoice.paid", "pending"): 3}


# --- replaying and discarding ---------------------------------------------------------------------------------------


def test_a_replay_is_of_dead_letters_unless_said_otherwise(office: Office) -> None:
    """What is done runs again only where somebody asks for it by state or key."""
    office.store.put("finished")
    done(office.store.inbox.done(office.store.claim_one()))
    office.bury("dead", "dead too")
    assert office.service.replay() == 2
    assert office.store.states() == {"finished": "done", "dead": "pending", "dead too": "pending"}
    assert office.woken == 1
    assert office.service.replay(Filter(source="stripe")) == 0
    assert office.service.replay(Filter(keys=("stripe:finished",))) == 1
    assert office.store.states()["finished"] == "pending"


def test_a_replay_of_everything_leaves_what_is_pending_alone(office: Office) -> None:
    """Its leases and delays stay."""
    office.bury("dead")
    office.store.put("pending")
    lease = office.store.claim_one()
    assert office.service.replay(Filter(states=("dead", "pending", "done"))) == 1
    assert done(office.store.inbox.done(lease))


def test_replaying_goes_in_steps_and_tells_how_far_it_is(office: Office) -> None:
    """Each step is a transaction of its own; the latest come first, all of them come, and none twice."""
    keys = [f"evt_{number:04}" for number in range(1_200)]
    office.bury(*keys)
    progress: list[tuple[int, int]] = []
    assert office.service.replay(on_progress=lambda seen, total: progress.append((seen, total))) == 1_200
    assert progress == [(500, 1_200), (1_000, 1_200), (1_200, 1_200)]
    assert office.service.count(Filter(states=("pending",))) == 1_200


def test_a_limit_takes_the_latest(office: Office) -> None:
    """And is the total of the progress."""
    office.bury("a", "b", "c")
    progress: list[tuple[int, int]] = []
    assert office.service.replay(limit=2, on_progress=lambda *seen: progress.append(seen)) == 2
    assert (office.store.states(), progress) == ({"a": "dead", "b": "pending", "c": "pending"}, [(2, 2)])
    assert office.service.replay(limit=0) == 0
    assert office.service.replay(limit=9) == 1


def test_what_becomes_dead_meanwhile_is_not_chased(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is replayed once, also one that fails as fast as it is replayed: no replay is endless."""
    monkeypatch.setattr(type(office.store.archive), "STEP", 1)
    office.bury("a", "b", "c")
    replayed: list[str] = []

    def fail_again(seen: int, total: int) -> None:
        for lease in office.store.claim().leased:
            replayed.append(lease.delivery.id)
            done(office.store.inbox.dead(lease, "ValueError"))

    assert office.service.replay(on_progress=fail_again) == 3
    assert replayed == ["c", "b", "a"]


def test_discarding_names_a_reason(office: Office) -> None:
    """What is over stays as it is; by default the reason is that somebody did it by hand."""
    office.store.put("finished")
    done(office.store.inbox.done(office.store.claim_one()))
    office.bury("dead")
    office.store.put("pending")
    assert office.service.discard(Filter(states=("dead",)), reason="test data") == 1
    assert office.service.discard(Filter()) == 1
    states = {entry.id: (entry.state, entry.error) for entry in office.store.entries()}
    assert states == {
        "finished": ("done", None),
        "dead": ("ignored", "test data"),
        "pending": ("ignored", "discarded by hand"),
    }


# --- queues of the app's own ----------------------------------------------------------------------------------------


def test_a_ticket_is_handled_once(office: Office) -> None:
    """It goes on with the attempt that it stands for; a second one who brings it is passed over."""
    office.store.put("evt_1")
    lease = office.store.claim_one()
    ticket = f"{lease.row}.{lease.token}"
    office.service.run(ticket)
    office.service.run(ticket)
    (handled,) = office.handled
    assert (handled.delivery.id, handled.delivery.attempt, handled.token) == ("evt_1", 1, lease.token + 1)
    assert office.store.states() == {"evt_1": "done"}


def test_a_ticket_of_an_earlier_attempt_is_passed_over(office: Office) -> None:
    """Another has begun."""
    office.store.put("evt_1")
    old = office.store.claim_one()
    office.clock.advance(LEASE)
    new = office.store.claim_one()
    office.service.run(f"{old.row}.{old.token}")
    assert office.handled == []
    office.service.run(f"{new.row}.{new.token}")
    assert [lease.delivery.attempt for lease in office.handled] == [2]


@pytest.mark.parametrize("ticket", ["", "x", "1", "1.", "1.2.3", "-1.2", "1.2\n", "9" * 30 + ".1", "\u0661.\u0662"])
def test_a_ticket_that_is_none_is_passed_over(office: Office, ticket: str, caplog: pytest.LogCaptureFixture) -> None:
    """With a warning, and without showing it."""
    office.service.run(ticket)
    assert caplog.messages == ["a ticket that is none was passed over"]


def test_a_ticket_for_what_is_gone_is_passed_over(office: Office) -> None:
    """As after a discard, or for a row that never was."""
    office.store.put("evt_1")
    lease = office.store.claim_one()
    office.service.discard(Filter())
    for ticket in (f"{lease.row}.{lease.token}", "777.1"):
        office.service.run(ticket)
    assert office.handled == []


def test_complete_ends_a_pending_delivery(office: Office) -> None:
    """Whoever holds it; a second time says that it was not pending."""
    office.store.put("evt:1")
    lease = office.store.claim_one()
    assert office.service.complete("stripe:evt:1")
    assert not office.service.complete("stripe:evt:1")
    assert not office.service.complete("stripe:other")
    assert not done(office.store.inbox.done(lease))
    assert office.store.states() == {"evt:1": "done"}


def test_complete_ends_a_dead_letter(office: Office) -> None:
    """The other side has done it after all."""
    office.bury("evt_1")
    assert office.service.complete("stripe:evt_1")
    assert office.store.states() == {"evt_1": "done"}


@pytest.mark.parametrize("key", ["evt_1", ""])
def test_completing_what_is_no_key_is_an_error(office: Office, key: str) -> None:
    """The sender's id alone would name nothing, for ever."""
    office.store.put("evt_1")
    with pytest.raises(LaunchKitError, match="is no idempotency key, which is like stripe:evt_1"):
        office.service.complete(key)
    with pytest.raises(LaunchKitError, match="is no idempotency key"):
        asyncio.run(office.service.acomplete(key))
    assert office.store.states() == {"evt_1": "pending"}


def test_complete_has_its_verb_for_event_loops(office: Office) -> None:
    """It says the same, and that the inbox is down in the same words."""
    office.store.put("evt_1")

    async def main() -> list[bool]:
        return [await office.service.acomplete("stripe:evt_1") for _ in range(2)]

    assert asyncio.run(main()) == [True, False]
    office.break_down()
    with pytest.raises(InboxUnavailable, match="the inbox cannot be used"):
        asyncio.run(main())


# --- waiting --------------------------------------------------------------------------------------------------------

BLOCKING: dict[str, Callable[[Webhooks], object]] = {
    "list": lambda service: service.list(),
    "show": lambda service: service.show("stripe:evt_1"),
    "count": lambda service: service.count(Filter()),
    "replay": lambda service: service.replay(),
    "discard": lambda service: service.discard(Filter()),
    "backlog": lambda service: service.backlog(),
    "totals": lambda service: service.totals(),
    "run": lambda service: service.run("1.1"),
    "complete": lambda service: service.complete("stripe:evt_1"),
    "submit": lambda service: service.submit("mail"),
}


@pytest.mark.parametrize("verb", BLOCKING)
def test_verbs_that_wait_refuse_to_on_an_event_loop(office: Office, verb: str) -> None:
    """And say what to call there."""

    async def main() -> None:
        with pytest.raises(LaunchKitError, match=r"would block the event loop: await "):
            BLOCKING[verb](office.service)
        await asyncio.to_thread(BLOCKING[verb], office.service)

    asyncio.run(main())


@pytest.mark.parametrize("verb", BLOCKING)
def test_verbs_say_that_the_inbox_is_down(office: Office, verb: str) -> None:
    """In an error of the library's own, which an app can catch."""
    office.break_down()
    with pytest.raises(InboxUnavailable, match="the inbox cannot be used"):
        BLOCKING[verb](office.service)


def test_an_inbox_that_does_not_answer_is_given_up(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while, which is said."""
    monkeypatch.setattr(Webhooks, "WAIT", 0.01)
    monkeypatch.setattr(Inbox, "WAIT", 0.01)
    with office.store.held():
        with pytest.raises(InboxUnavailable, match=r"no answer within 0\.01 s"):
            office.service.backlog()
        with pytest.raises(InboxUnavailable, match=r"no answer within 0\.01 s"):
            office.service.submit("mail")


def test_a_bug_is_not_taken_for_an_outage(office: Office) -> None:
    """Only what the store says is."""
    failed: Future[int] = Future()
    failed.set_exception(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        office.service._wait(failed)
    assert issubclass(InboxUnavailable, LaunchKitError)
    assert not issubclass(StoreDown, LaunchKitError)
