"""What every inbox promises, whatever database it is in."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from postgres_world import clean_database, make_room, make_writer, now
from tests.webhooks.postgres_server import PostgresServer, _postgres  # noqa: F401  # a fixture
from webhook_world import SOURCES, new_delivery

from launchkit.pipeline.effects import StoreFull
from launchkit.testing import FrozenClock
from launchkit.webhooks.delivery import Lease
from launchkit.webhooks.inbox.archive import Archive, Backlog, Filter, Retention
from launchkit.webhooks.inbox.inbox import Inbox
from launchkit.webhooks.inbox.leases import Claim
from launchkit.webhooks.inbox.sqlite import SqliteDatabase
from launchkit.webhooks.inbox.writer import Writer

LEASE = 30.0
ATTEMPTS = 3
KEPT = Retention(bodies=1_000, dead=2_000, keys=3_000)


@dataclass
class World:
    """An inbox, and how to let time pass for it."""

    writer: Writer
    advance: Callable[[float], None]

    @property
    def archive(self) -> Archive:
        return Archive(self.writer, KEPT)

    def inbox(self, most_pending: int = 100_000) -> Inbox:
        return Inbox(self.writer, make_room(most_pending))


def _in_file(tmp_path: Path) -> World:
    clock = FrozenClock(unix_seconds=time.time())
    path = tmp_path / "inbox.sqlite3"
    return World(Writer(str(path), lambda: SqliteDatabase(path, clock)), clock.advance)


def _in_postgres(url: str) -> World:
    """The server's clock cannot be set: time passes by making everything older."""

    def advance(seconds: float) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "UPDATE launchkit.delivery SET due_at = due_at - %s, received_at = received_at - %s", (seconds, seconds)
            )

    return World(make_writer(url), advance)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.real_server)])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param == "sqlite":
        world = _in_file(tmp_path)
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        world = _in_postgres(clean_database(server))
    yield world
    world.writer.close()


@pytest.fixture
def inbox(world: World) -> Inbox:
    return world.inbox()


def claim(inbox: Inbox, limit: int = 100, *, take_over: bool = True) -> Claim:
    return now(inbox.claim(limit, sources=SOURCES, lease=LEASE, attempts=ATTEMPTS, take_over=take_over))


def claim_one(inbox: Inbox) -> Lease:
    (lease,) = claim(inbox, 1).leased
    return lease


def take(inbox: Inbox, row: int) -> Claim:
    return now(inbox.take(row, lease=LEASE, attempts=ATTEMPTS))


def ids(claim: Claim) -> list[str]:
    return [lease.delivery.id for lease in claim.leased]


def row_of(world: World, key: str) -> int:
    (entry,) = now(world.archive.list(Filter(keys=(key,))))
    return entry.row


# --- intake ----------------------------------------------------------------------------------------------------------


def test_the_first_is_new_and_the_second_a_duplicate(inbox: Inbox) -> None:
    """A key is taken once within its source; another source may use the same one."""
    brought = (new_delivery("evt_1"), new_delivery("evt_1"), new_delivery("evt_1", source="b"))
    assert [inbox.put(delivery) for delivery in brought] == [True, False, True]


def test_the_same_signed_bytes_are_a_duplicate_under_any_id(inbox: Inbox) -> None:
    """Where the id is not signed, a replay with a fresh one is caught by the digest; without digests nothing is."""
    first, second = new_delivery("a"), new_delivery("b")
    signed = [dataclasses.replace(delivery, digest="0" * 64) for delivery in (first, second)]
    found = [inbox.put(delivery) for delivery in (*signed, new_delivery("c"), new_delivery("d"))]
    assert found == [True, False, True, True]


def test_what_comes_at_once_is_stored_once(inbox: Inbox) -> None:
    """Of all who bring the same delivery at the same time, one is told that it is new."""

    async def main() -> list[bool]:
        return await asyncio.gather(*[inbox.aput(new_delivery(f"evt_{number % 50}")) for number in range(200)])

    found = asyncio.run(main())
    assert (found.count(True), len(claim(inbox, 200).leased)) == (50, 50)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=200),
    headers=st.lists(st.tuples(st.text(), st.text()), max_size=3, unique_by=lambda pair: pair[0]),
)
def test_what_is_claimed_is_what_was_put(inbox: Inbox, body: bytes, headers: list[tuple[str, str]]) -> None:
    """Any bytes, and headers of any characters, come out as they went in."""
    before = time.time()
    key = f"evt_{time.monotonic_ns()}"
    inbox.put(dataclasses.replace(new_delivery(key, body=body), headers=tuple(headers)))
    delivery = claim_one(inbox).delivery
    assert (delivery.id, delivery.source, delivery.event, delivery.attempt) == (key, "stripe", "invoice.paid", 1)
    assert (delivery.body, delivery.headers) == (body, dict(headers))
    assert abs(delivery.received_at - before) < 60


def test_a_delivery_with_a_delay_is_due_after_it(world: World, inbox: Inbox) -> None:
    """What the app submits for later waits."""
    inbox.put(dataclasses.replace(new_delivery("evt_1"), delay=100))
    world.advance(95)
    assert claim(inbox) == Claim((), ())
    world.advance(5)
    assert ids(claim(inbox)) == ["evt_1"]


def test_a_full_inbox_takes_nothing_and_keeps_a_tenth_for_who_never_sends_again(world: World) -> None:
    """What is refused is not there."""
    inbox = world.inbox(most_pending=10)
    for number in range(9):
        assert inbox.put(new_delivery(f"evt_{number}"))
    with pytest.raises(StoreFull):
        inbox.put(new_delivery("evt_10"))
    assert inbox.put(dataclasses.replace(new_delivery("evt_rare"), may_use_reserve=True))
    assert "evt_10" not in ids(claim(inbox))


# --- handling --------------------------------------------------------------------------------------------------------


def test_claims_go_by_due_time_and_respect_the_limit(world: World, inbox: Inbox) -> None:
    """What has waited longest goes first; what is leased is not given to another."""
    for number in range(5):
        inbox.put(new_delivery(f"evt_{number}"))
        world.advance(1)
    found = [ids(claim(inbox, 2)) for _ in range(4)]
    assert found == [["evt_0", "evt_1"], ["evt_2", "evt_3"], ["evt_4"], []]


def test_deliveries_of_others_are_left_to_them(inbox: Inbox) -> None:
    """A claim takes what there are handlers for."""
    inbox.put(new_delivery("evt_1", source="elsewhere"))
    assert claim(inbox) == Claim((), ())


def test_a_row_that_somebody_else_has_found_is_taken_once(world: World, inbox: Inbox) -> None:
    """By its number, if it is due and nobody has it."""
    inbox.put(new_delivery("evt_1"))
    inbox.put(dataclasses.replace(new_delivery("evt_later"), delay=100))
    row = row_of(world, "stripe:evt_1")
    assert [ids(take(inbox, row)), ids(take(inbox, row))] == [["evt_1"], []]
    assert take(inbox, row_of(world, "stripe:evt_later")) == Claim((), ())
    assert take(inbox, 1_000_000) == Claim((), ())


def test_a_lease_that_is_handed_on_is_the_same_attempt(inbox: Inbox) -> None:
    """Its next holder has a higher token, and the one before nothing to say any more."""
    inbox.put(new_delivery("evt_1"))
    first = claim_one(inbox)
    assert now(inbox.hand_over(first, 100, to_resume=True))
    second = now(inbox.resume(first.row, first.token, lease=LEASE))
    assert second is not None
    assert (second.delivery.attempt, second.token) == (1, first.token + 1)
    assert now(inbox.resume(first.row, first.token, lease=LEASE)) is None
    assert (now(inbox.done(first)), now(inbox.done(second))) == (False, True)


def test_what_was_handed_on_and_not_heard_of_is_due_again(world: World, inbox: Inbox) -> None:
    """A queue that loses what it was given loses nothing of ours."""
    inbox.put(new_delivery("evt_1"))
    assert now(inbox.hand_over(claim_one(inbox), 100, to_resume=True))
    world.advance(95)
    assert ids(claim(inbox)) == []
    world.advance(5)
    assert claim_one(inbox).delivery.attempt == 1


def test_an_attempt_counts_when_it_is_handed_on_to_whoever_says_that_it_is_complete(world: World, inbox: Inbox) -> None:
    """Nobody resumes it, so it goes on under the same lease; unheard of, it is due again on the next attempt."""
    inbox.put(new_delivery("evt_1"))
    lease = claim_one(inbox)
    assert now(inbox.hand_over(lease, 100, to_resume=False))
    world.advance(95)
    assert ids(claim(inbox)) == []
    world.advance(5)
    assert claim_one(inbox).delivery.attempt == 2


def test_what_was_handed_on_is_in_nobodys_hands_who_has_sent_it(inbox: Inbox) -> None:
    """Who has sent it on can neither keep it nor give it back: it may have begun elsewhere."""
    inbox.put(new_delivery("evt_1"))
    lease = claim_one(inbox)
    assert now(inbox.hand_over(lease, 100, to_resume=True))
    words = (inbox.retry(lease, 5, "x"), inbox.release(lease), inbox.hand_over(lease, 5, to_resume=True))
    assert [now(word) for word in words] == [False] * 3
    assert now(inbox.extend([lease], LEASE)) == frozenset()


@pytest.mark.parametrize("which", [0, 1])
def test_of_all_tickets_that_are_on_their_way_the_first_to_arrive_is_good(
    world: World, inbox: Inbox, which: int
) -> None:
    """An older one too: the queue was slower than our patience. The attempt counts from then, and counts once."""
    inbox.put(new_delivery("evt_1"))
    sent = []
    for _ in range(2):
        sent.append(claim_one(inbox))
        assert now(inbox.hand_over(sent[-1], 100, to_resume=True))
        world.advance(100)
    resumed = now(inbox.resume(sent[which].row, sent[which].token, lease=LEASE))
    assert resumed is not None
    assert (resumed.delivery.attempt, resumed.token) == (1, sent[1].token + 1)
    assert [now(inbox.resume(lease.row, lease.token, lease=LEASE)) for lease in sent] == [None, None]
    world.advance(LEASE)
    assert claim_one(inbox).delivery.attempt == 2


def test_a_ticket_may_arrive_before_its_hand_over_is_written_down(inbox: Inbox) -> None:
    """Whoever brings it has the delivery, and the hand-over changes nothing about that any more."""
    inbox.put(new_delivery("evt_1"))
    lease = claim_one(inbox)
    resumed = now(inbox.resume(lease.row, lease.token, lease=LEASE))
    assert resumed is not None
    assert resumed.delivery.attempt == 1
    assert not now(inbox.hand_over(lease, 100, to_resume=True))
    assert now(inbox.done(resumed))


def test_only_what_a_lease_has_ended_on_is_taken_over(world: World, inbox: Inbox) -> None:
    """A further attempt after a failure is no sign that a process has died, and neither is one after a hand-over."""
    inbox.put(new_delivery("evt_1"))
    lease = claim_one(inbox)
    now(inbox.retry(lease, 0, "down"))
    second = claim_one(inbox)
    assert (lease.is_taken_over, second.is_taken_over, second.delivery.attempt) == (False, False, 2)
    now(inbox.hand_over(second, 100, to_resume=True))
    world.advance(100)
    assert not claim_one(inbox).is_taken_over
    world.advance(LEASE)
    assert claim_one(inbox).is_taken_over


def test_a_lease_that_is_not_extended_ends(world: World, inbox: Inbox) -> None:
    """When a worker is gone, another takes its delivery up on the next attempt, unless it asks for new ones alone."""
    inbox.put(new_delivery("evt_1"))
    claim_one(inbox)
    world.advance(LEASE - 5)
    assert ids(claim(inbox)) == []
    world.advance(5)
    assert ids(claim(inbox, take_over=False)) == []
    assert claim_one(inbox).delivery.attempt == 2


def test_an_extended_lease_holds(world: World, inbox: Inbox) -> None:
    """A sign of life counts from when it is given, and is refused to who has lost the lease."""
    for key in ("evt_1", "evt_2"):
        inbox.put(new_delivery(key))
    first, second = claim(inbox).leased
    now(inbox.done(second))
    world.advance(LEASE - 5)
    assert now(inbox.extend([first, second], LEASE)) == {first.row}
    world.advance(LEASE - 5)
    assert ids(claim(inbox)) == []


def test_whoever_lost_the_lease_changes_nothing(world: World, inbox: Inbox) -> None:
    """The token fences: a late word about an earlier lease is void."""
    inbox.put(new_delivery("evt_1"))
    old = claim_one(inbox)
    world.advance(LEASE)
    new = claim_one(inbox)
    words = (
        inbox.done(old),
        inbox.ignored(old, "x"),
        inbox.dead(old, "x"),
        inbox.release(old),
        inbox.retry(old, 5, "x"),
        inbox.hand_over(old, 5, to_resume=True),
    )
    assert [now(word) for word in words] == [False] * 6
    assert ids(claim(inbox)) == []
    assert (now(inbox.done(new)), now(inbox.retry(new, 5, "x"))) == (True, False)


def test_a_retry_is_due_after_its_delay(world: World, inbox: Inbox) -> None:
    """Not before, and then with the attempt counted on."""
    inbox.put(new_delivery("evt_1"))
    now(inbox.retry(claim_one(inbox), 100, "down"))
    world.advance(95)
    assert ids(claim(inbox)) == []
    world.advance(5)
    assert claim_one(inbox).delivery.attempt == 2


def test_a_released_delivery_is_due_at_once_as_if_never_claimed(inbox: Inbox) -> None:
    """A worker that stops leaves nothing waiting, and takes no attempt away."""
    inbox.put(new_delivery("evt_1"))
    assert now(inbox.release(claim_one(inbox)))
    assert claim_one(inbox).delivery.attempt == 1


def test_a_delivery_that_kills_its_worker_each_time_ends_as_dead(world: World, inbox: Inbox) -> None:
    """Attempts are counted when they begin, so that a poison message ends although nobody lives to report it."""
    inbox.put(new_delivery("evt_poison"))
    for attempt in range(1, ATTEMPTS + 1):
        assert claim_one(inbox).delivery.attempt == attempt
        world.advance(LEASE)
    found = take(inbox, row_of(world, "stripe:evt_poison"))
    assert (found.leased, [delivery.id for delivery in found.dead]) == ((), ["evt_poison"])
    assert claim(inbox) == Claim((), ())


def test_a_duplicate_does_not_delay_the_retry(world: World, inbox: Inbox) -> None:
    """A repeat of a delivery that is still to be handled changes nothing about it."""
    inbox.put(new_delivery("evt_1"))
    now(inbox.retry(claim_one(inbox), 10, "down"))
    assert not inbox.put(new_delivery("evt_1"))
    world.advance(10)
    assert ids(claim(inbox)) == ["evt_1"]


@pytest.mark.parametrize("ending", ["done", "ignored", "dead", "complete"])
def test_deliveries_with_an_order_key_are_handled_one_after_the_other(world: World, inbox: Inbox, ending: str) -> None:
    """The next one's turn comes when the first is over, whatever became of it; other keys do not wait."""
    for key, order_key in (("a1", "a"), ("b1", "b"), ("a2", "a")):
        inbox.put(dataclasses.replace(new_delivery(key), order_key=order_key))
    first, other = claim(inbox).leased
    assert (first.delivery.id, other.delivery.id) == ("a1", "b1")
    assert take(inbox, row_of(world, "stripe:a2")) == Claim((), ())
    now(inbox.retry(first, 0, "down"))
    (first,) = claim(inbox).leased
    assert first.delivery.id == "a1"
    endings = {
        "done": lambda: inbox.done(first),
        "ignored": lambda: inbox.ignored(first, "x"),
        "dead": lambda: inbox.dead(first, "x"),
        "complete": lambda: inbox.complete("stripe", "a1"),
    }
    assert now(endings[ending]())
    assert ids(take(inbox, row_of(world, "stripe:a2"))) == ["a2"]


@pytest.mark.parametrize("by_row", [False, True])
def test_a_replayed_one_and_a_later_one_whose_holder_died_do_not_block_each_other(
    world: World, inbox: Inbox, by_row: bool
) -> None:
    """The later one keeps the earlier one waiting while its lease lasts; then they go in their order again."""

    def found(key: str) -> list[tuple[str, int]]:
        claim_ = take(inbox, row_of(world, f"stripe:{key}")) if by_row else claim(inbox, 1)
        return [(lease.delivery.id, lease.delivery.attempt) for lease in claim_.leased]

    for key in ("first", "second"):
        inbox.put(dataclasses.replace(new_delivery(key), order_key="a"))
    first = claim_one(inbox)
    now(inbox.dead(first, "broken"))
    assert found("second") == [("second", 1)]
    assert now(world.archive.replay([first.row])) == 1
    world.advance(LEASE - 5)
    assert (found("first"), found("second")) == ([], [])
    world.advance(5)
    assert found("first") == [("first", 1)]
    assert found("second") == []
    assert now(inbox.complete("stripe", "first"))
    assert found("second") == [("second", 2)]


def test_a_dead_letter_does_not_hold_up_its_order_key(world: World, inbox: Inbox) -> None:
    """Also when nobody lived to say that it is dead."""
    for key in ("a1", "a2"):
        inbox.put(dataclasses.replace(new_delivery(key), order_key="a"))
    for _ in range(ATTEMPTS):
        assert ids(claim(inbox)) == ["a1"]
        world.advance(LEASE)
    assert [delivery.id for delivery in claim(inbox).dead] == ["a1"]
    assert ids(claim(inbox)) == ["a2"]


def test_completing_ends_a_dead_letter_too(world: World, inbox: Inbox) -> None:
    """The other side was slow, and has done it all the same."""
    inbox.put(new_delivery("evt_1"))
    now(inbox.dead(claim_one(inbox), "broken"))
    assert now(inbox.complete("stripe", "evt_1"))
    (entry,) = now(world.archive.list(Filter()))
    assert entry.state == "done"
    assert not now(inbox.complete("stripe", "evt_1"))


def test_completing_ends_a_pending_delivery_once(inbox: Inbox) -> None:
    """Whoever held it, by the name that everybody knows."""
    inbox.put(new_delivery("evt_1"))
    lease = claim_one(inbox)
    assert [now(inbox.complete("stripe", "evt_1")), now(inbox.complete("stripe", "evt_1"))] == [True, False]
    assert not now(inbox.done(lease))


def test_overdue_is_what_could_have_been_taken_long_ago(world: World, inbox: Inbox) -> None:
    """Not what waits for an earlier one or for its time, is in somebody's hands, or is others' to handle."""
    for key in ("first", "follows"):
        inbox.put(dataclasses.replace(new_delivery(key), order_key="a"))
    inbox.put(dataclasses.replace(new_delivery("later"), delay=1_000))
    inbox.put(new_delivery("others", source="elsewhere"))
    assert now(inbox.overdue(60, sources=SOURCES)) == 0
    world.advance(61)
    assert now(inbox.overdue(60, sources=SOURCES)) == 1
    assert now(inbox.overdue(60, sources=(*SOURCES, "elsewhere"))) == 2
    assert now(inbox.overdue(60, sources=(*SOURCES, "elsewhere"), limit=1)) == 1
    claim(inbox)
    assert now(inbox.overdue(60, sources=SOURCES)) == 0


def test_without_sources_there_is_nothing_to_ask_for(world: World, inbox: Inbox) -> None:
    """A process whose handlers are still to come takes nothing."""
    inbox.put(new_delivery("evt_1"))
    world.advance(61)
    assert now(inbox.claim(9, sources=(), lease=LEASE, attempts=ATTEMPTS)) == Claim(())
    assert now(inbox.overdue(60, sources=())) == 0
    assert ids(claim(inbox)) == ["evt_1"]


def test_nothing_waits_longer_than_it_was_made_to(world: World, inbox: Inbox) -> None:
    """A clock that was wrong when a retry was set, and is set back, delays it by no more than its delay."""
    inbox.put(new_delivery("evt_1"))
    now(inbox.retry(claim_one(inbox), 10, "down"))
    world.advance(-5_000)
    assert (now(inbox.set_right()), now(inbox.set_right())) == (1, 0)
    world.advance(10)
    assert ids(claim(inbox)) == ["evt_1"]


# --- operators -------------------------------------------------------------------------------------------------------


def test_the_archive_lists_the_latest_first_and_filters(world: World, inbox: Inbox) -> None:
    """Every condition narrows; `before` goes on from a row."""
    for key in ("a", "b", "c"):
        inbox.put(new_delivery(key))
        world.advance(10)
    inbox.put(new_delivery("d", source="b", event="order.paid"))
    leases = claim(inbox, 1).leased
    now(inbox.dead(leases[0], "broken\0 \N{SNOWMAN}"))

    def found(wanted: Filter, before: int | None = None) -> list[str]:
        return [entry.id for entry in now(world.archive.list(wanted, before=before))]

    assert found(Filter()) == ["d", "c", "b", "a"]
    assert found(Filter(), before=row_of(world, "stripe:c")) == ["b", "a"]
    assert found(Filter(source="b")) == found(Filter(event="order.paid")) == found(Filter(keys=("b:d",))) == ["d"]
    assert found(Filter(states=("dead",))) == ["a"]
    (dead,) = now(world.archive.list(Filter(states=("dead",))))
    assert (dead.attempts, dead.is_leased, dead.has_body, dead.key) == (1, False, True, "stripe:a")
    assert (dead.error or "").endswith(" \N{SNOWMAN}")
    middle = now(world.archive.list(Filter(keys=("stripe:b",))))[0].received_at
    assert (found(Filter(since=middle)), found(Filter(until=middle))) == (["d", "c", "b"], ["a"])


def test_a_replay_makes_what_is_over_pending_with_all_its_attempts(world: World, inbox: Inbox) -> None:
    """And leaves alone what is pending anyway."""
    for key in ("a", "b"):
        inbox.put(new_delivery(key))
    now(inbox.dead(claim_one(inbox), "broken"))
    assert now(world.archive.replay([row_of(world, "stripe:a"), row_of(world, "stripe:b")])) == 1
    assert [lease.delivery.attempt for lease in claim(inbox).leased] == [1, 1]


def test_what_is_discarded_is_not_handled(world: World, inbox: Inbox) -> None:
    """Also when somebody has it: what comes of that is void."""
    inbox.put(new_delivery("a"))
    lease = claim_one(inbox)
    assert now(world.archive.discard([lease.row], "not ours")) == 1
    assert not now(inbox.done(lease))
    (entry,) = now(world.archive.list(Filter()))
    assert (entry.state, entry.error) == ("ignored", "not ours")


def test_discarding_lets_the_next_of_an_order_key_go(world: World, inbox: Inbox) -> None:
    """The one in front is over, whoever had it."""
    for key in ("a1", "a2", "a3"):
        inbox.put(dataclasses.replace(new_delivery(key), order_key="a"))
    lease = claim_one(inbox)
    assert now(world.archive.discard([lease.row, row_of(world, "stripe:a2")], "not ours")) == 2
    assert ids(take(inbox, row_of(world, "stripe:a3"))) == ["a3"]


def test_the_backlog_is_as_old_as_what_could_have_been_taken(world: World, inbox: Inbox) -> None:
    """What waits for another of its order key could not; what is in hands could when its lease has ended."""
    for key in ("a1", "a2"):
        inbox.put(dataclasses.replace(new_delivery(key), order_key="a"))
        world.advance(1)
    claim_one(inbox)
    assert now(world.archive.backlog()).oldest_due is None
    world.advance(LEASE + 100)
    backlog = now(world.archive.backlog())
    (first,) = now(world.archive.list(Filter(keys=("stripe:a1",))))
    assert (backlog.leased, backlog.oldest_due) == (1, first.due_at)


def test_the_backlog_and_the_counts_say_what_there_is(world: World, inbox: Inbox) -> None:
    """Pending, in hands, waiting for a further attempt, dead, and since when the oldest could have been claimed."""
    assert now(world.archive.backlog()) == Backlog(0, 0, 0, 0, None)
    for key in ("a", "b", "c", "d"):
        inbox.put(new_delivery(key))
        world.advance(1)
    first, second, _ = claim(inbox, 3).leased
    now(inbox.dead(first, "broken"))
    now(inbox.retry(second, 100, "down"))
    backlog = now(world.archive.backlog())
    assert (backlog.pending, backlog.leased, backlog.retrying, backlog.dead) == (3, 1, 1, 1)
    (oldest,) = now(world.archive.list(Filter(keys=("stripe:d",))))
    assert backlog.oldest_due == oldest.due_at
    counts = now(world.archive.counts())
    assert counts == {("stripe", "invoice.paid", "pending"): 3, ("stripe", "invoice.paid", "dead"): 1}


def test_what_is_old_is_forgotten_in_three_ages(world: World, inbox: Inbox) -> None:
    """Bodies of what is done, then those of dead letters, then all; never what is pending."""
    for key in ("done", "dead", "pending"):
        inbox.put(new_delivery(key))
    done, dead, pending = claim(inbox).leased
    now(inbox.done(done))
    now(inbox.dead(dead, "broken"))

    def kept() -> list[tuple[str, bool]]:
        return [(entry.id, entry.has_body) for entry in now(world.archive.list(Filter()))]

    assert (now(world.archive.prune()), now(world.archive.content(done.row)) is None) == (0, False)
    world.advance(KEPT.bodies + 1)
    assert (now(world.archive.prune()), now(world.archive.prune())) == (1, 0)
    assert (kept(), now(world.archive.content(done.row))) == (
        [("pending", True), ("dead", True), ("done", False)],
        None,
    )
    world.advance(KEPT.dead - KEPT.bodies)
    assert (now(world.archive.prune()), now(world.archive.replay([done.row, dead.row]))) == (1, 0)
    world.advance(KEPT.keys - KEPT.dead)
    assert now(world.archive.prune()) == 2
    assert kept() == [("pending", True)]
    content = now(world.archive.content(pending.row))
    assert content is not None
    assert (content.body, content.headers) == (b"{}", {"content-type": "application/json"})
