"""How much is waiting: health fails by age, metrics tell the rest, and nobody waits for the inbox."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.targets import Target
from webhook_world import Store, done, stripe_secret

from launchkit import Delivery, LaunchKitError
from launchkit.pipeline.effects import StoreDown
from launchkit.testing import FrozenClock
from launchkit.webhooks.backlog import BacklogTooOld, DeadLetters, Depth, InboxBacklog, WatchedQueue
from launchkit.webhooks.inbox.archive import Backlog

ALERT_AGE = 300.0


@pytest.fixture(name="clock")
def _clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture(name="store")
def _store(tmp_path: Path, clock: FrozenClock) -> Iterator[Store]:
    store = Store(tmp_path / "inbox.sqlite3", clock)
    yield store
    store.close()


@pytest.fixture(name="backlog")
def _backlog(store: Store, clock: FrozenClock) -> InboxBacklog:
    return InboxBacklog(store.archive, ALERT_AGE, clock)


def check(backlog: InboxBacklog) -> None:
    asyncio.run(backlog.check())


def settled(store: Store) -> None:
    """Wait until the writer has done what was asked before."""
    done(store.writer.submit(lambda session: None))


# --- the check ------------------------------------------------------------------------------------------------------


def test_a_backlog_that_moves_is_well(store: Store, backlog: InboxBacklog, clock: FrozenClock) -> None:
    """However large: its size alone means that there is work."""
    check(backlog)
    store.put(*(f"evt_{number}" for number in range(50)))
    clock.advance(ALERT_AGE)
    check(backlog)


def test_a_backlog_that_grows_old_fails(store: Store, backlog: InboxBacklog, clock: FrozenClock) -> None:
    """The first sign that work is not done; it is well again as soon as it is."""
    store.put("evt_1")
    clock.advance(ALERT_AGE + 1)
    with pytest.raises(BacklogTooOld):
        check(backlog)
    assert done(store.inbox.done(store.claim_one()))
    check(backlog)


def test_what_waits_for_its_next_attempt_is_not_old(store: Store, backlog: InboxBacklog, clock: FrozenClock) -> None:
    """It is where it should be; its age counts from when it is due."""
    store.put("evt_1")
    assert done(store.inbox.retry(store.claim_one(), 3_600, "ValueError"))
    clock.advance(3_600)
    check(backlog)
    clock.advance(ALERT_AGE + 1)
    with pytest.raises(BacklogTooOld):
        check(backlog)


def test_a_dead_letter_fails_until_somebody_has_dealt_with_it(store: Store, backlog: InboxBacklog) -> None:
    """By replaying or discarding it."""
    store.put("evt_1", "evt_2")
    first, second = store.claim().leased
    for lease in (first, second):
        assert done(store.inbox.dead(lease, "ValueError"))
    with pytest.raises(DeadLetters):
        check(backlog)
    done(store.archive.replay([first.row]))
    with pytest.raises(DeadLetters):
        check(backlog)
    done(store.archive.discard([second.row], "no"))
    check(backlog)


def test_a_store_that_is_down_fails(store: Store, backlog: InboxBacklog) -> None:
    """Deliveries are refused then."""
    store.path.mkdir()
    with pytest.raises(StoreDown):
        check(backlog)


# --- for metrics ----------------------------------------------------------------------------------------------------


def test_metrics_never_wait(store: Store, backlog: InboxBacklog, clock: FrozenClock) -> None:
    """What is known is said, and asked anew every ten seconds."""
    go = threading.Event()
    store.writer.submit(lambda session: go.wait(10))
    assert backlog.latest() is None
    go.set()
    settled(store)
    assert backlog.latest() == Backlog(0, 0, 0, 0, None)
    store.put("evt_1")
    clock.advance(InboxBacklog.REFRESH - 1)
    assert backlog.latest() == Backlog(0, 0, 0, 0, None)
    settled(store)
    clock.advance(1)
    backlog.latest()
    settled(store)
    latest = backlog.latest()
    assert latest is not None
    assert (latest.pending, backlog.age(latest)) == (1, InboxBacklog.REFRESH)


def test_what_was_known_last_is_kept_while_the_store_is_down(
    store: Store, backlog: InboxBacklog, clock: FrozenClock
) -> None:
    """A gap in figures would say less."""
    store.put("evt_1")
    check(backlog)
    store.close()
    store.path.rename(store.path.with_name("away"))
    store.path.mkdir()
    clock.advance(InboxBacklog.REFRESH)
    backlog.latest()
    store.close()
    latest = backlog.latest()
    assert latest is not None
    assert latest.pending == 1


def test_the_check_tells_metrics_too(store: Store, backlog: InboxBacklog, clock: FrozenClock) -> None:
    """Also when it fails."""
    store.put("evt_1")
    clock.advance(ALERT_AGE + 1)
    with pytest.raises(BacklogTooOld):
        check(backlog)
    latest = backlog.latest()
    assert latest is not None
    assert latest.pending == 1


def test_an_age_is_never_negative(backlog: InboxBacklog, clock: FrozenClock) -> None:
    """Nothing overdue has no age; nor has what a clock that was set back says is due later."""
    assert backlog.age(Backlog(1, 0, 0, 0, None)) == 0
    assert backlog.age(Backlog(1, 0, 0, 0, clock.time() + 5)) == 0


# --- queues of the app's own ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depth", "is_well"), [((0, None), True), ((9_999, None), True), ((1, 300), True), ((1, 301), False)]
)
def test_a_queue_is_judged_by_its_age(depth: Depth, is_well: bool) -> None:
    """As the inbox is."""
    queue = WatchedQueue("mails", lambda: depth, ALERT_AGE)
    if is_well:
        queue.check()
    else:
        with pytest.raises(BacklogTooOld):
            queue.check()
    assert queue.latest == depth


@pytest.mark.parametrize("answer", [None, 7, (1,), (1, 2, 3)])
def test_a_queue_that_answers_in_other_words_fails_its_check_alone(answer: Any) -> None:
    """What was known stays; metrics are not troubled."""
    queue = WatchedQueue("mails", lambda: answer, ALERT_AGE, latest=(1, None))
    with pytest.raises((TypeError, ValueError)):
        queue.check()
    assert queue.latest == (1, None)


# --- on the kit -----------------------------------------------------------------------------------------------------

SOURCES = {"sources": {"stripe": {"secrets": [stripe_secret()]}}}


def metrics(target: Target) -> list[str]:
    return target.request("GET", "/metrics", peer="127.0.0.1").body.decode().splitlines()


def checks(target: Target) -> dict[str, Any]:
    """Run the checks and return how they are, with what they failed."""
    target.kit.health.probe()
    return {result.name: (result.status, result.error) for result in target.kit.health.results()}


def test_the_metrics_tell_what_is_in_the_inbox(make: Callable[..., Target]) -> None:
    """By state, and for how long the longest overdue delivery has waited."""
    target = make("wsgi", webhooks={**SOURCES, "in_app": False})
    target.kit.webhook("app", "mail")(lambda delivery: None)
    target.kit.webhooks.submit("mail")
    target.kit.webhooks.submit("mail", delay=60)
    target.world.clock.advance(InboxBacklog.REFRESH)
    metrics(target)
    target.kit.webhooks.backlog()
    lines = metrics(target)
    for line in (
        'launchkit_webhooks_inbox{state="pending"} 2',
        'launchkit_webhooks_inbox{state="leased"} 0',
        'launchkit_webhooks_inbox{state="retrying"} 0',
        'launchkit_webhooks_inbox{state="dead"} 0',
        "launchkit_webhooks_oldest_seconds 10.0",
        'launchkit_webhooks_total{source="app",outcome="accepted"} 2',
    ):
        assert line in lines


def test_an_app_without_webhooks_has_no_inbox(make: Callable[..., Target], tmp_path: Path) -> None:
    """No figures of it, no check, and no file."""
    target = make("wsgi")
    assert not [line for line in metrics(target) if "webhooks_inbox" in line]
    assert "webhook inbox" not in [check.name for check in target.kit.health.checks]
    assert not (tmp_path / "data").exists()


def test_a_queue_of_the_apps_own_is_in_metrics_and_health(make: Callable[..., Target]) -> None:
    """What `queue_depth` registers; until it was asked nothing is said, and an unknown age is left out."""
    target = make("wsgi")
    answers: dict[str, Depth] = {"mails": (7, 12.5), "images": (3, None)}
    for name in answers:
        target.kit.queue_depth(name)(lambda name=name: answers[name])  # type: ignore[misc]
    assert not [line for line in metrics(target) if "launchkit_queue_depth{" in line]
    assert checks(target) == {"mails": ("pass", None), "images": ("pass", None)}
    lines = metrics(target)
    assert [line for line in lines if line.startswith("launchkit_queue_")] == [
        'launchkit_queue_depth{queue="mails"} 7',
        'launchkit_queue_depth{queue="images"} 3',
        'launchkit_queue_oldest_seconds{queue="mails"} 12.5',
    ]


def test_health_warns_of_what_grows_old_and_stays_ready(make: Callable[..., Target]) -> None:
    """A backlog is no reason to take a machine out of traffic: it would not get shorter."""
    target = make("wsgi", webhooks={**SOURCES, "in_app": False, "alert_age": 60})
    target.kit.webhook("app", "mail")(lambda delivery: None)
    target.kit.queue_depth("images")(lambda: (1, 61.0))
    target.kit.webhooks.submit("mail")
    target.world.clock.advance(61)
    assert checks(target) == {"webhook inbox": ("warn", "BacklogTooOld"), "images": ("warn", "BacklogTooOld")}
    assert target.request("GET", "/health/ready").status == 200


def test_a_second_queue_of_the_same_name_is_an_error(make: Callable[..., Target]) -> None:
    """It would be shown under the other's name."""
    target = make("wsgi")
    target.kit.queue_depth("mails")(lambda: (0, None))
    with pytest.raises(LaunchKitError, match="mails"):
        target.kit.queue_depth("mails")(lambda: (0, None))


def test_handling_is_counted(make: Callable[..., Target]) -> None:
    """What became of attempts, next to what came in."""
    target = make("wsgi", webhooks=SOURCES)

    @target.kit.webhook("app", "mail")
    async def send(delivery: Delivery) -> None: ...

    key = target.kit.webhooks.submit("mail")
    target.request("GET", "/hello")
    while (shown := target.kit.webhooks.show(key)) and shown.entry.state == "pending":
        pass
    target.kit.stop()
    assert 'launchkit_webhooks_total{source="app",outcome="done"} 1' in metrics(target)
