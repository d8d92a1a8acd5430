"""The inbox as operators use it: what they see, what they replay and discard, and what is forgotten when."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from webhook_world import ATTEMPTS, LEASE, Store, done

from launchkit.pipeline.effects import StoreDown
from launchkit.testing import FrozenClock
from launchkit.webhooks import Filter
from launchkit.webhooks.inbox.archive import DAY, Backlog, Retention


@pytest.fixture(name="clock")
def _clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture(name="store")
def _store(tmp_path: Path, clock: FrozenClock) -> Iterator[Store]:
    store = Store(tmp_path / "inbox.sqlite3", clock)
    yield store
    store.close()


def over(store: Store, **ends: str) -> None:
    """Store deliveries and bring each to the state that is named."""
    store.put(*ends)
    for lease in store.claim().leased:
        match ends.get(lease.delivery.id, "pending"):
            case "done":
                assert done(store.inbox.done(lease))
            case "dead":
                assert done(store.inbox.dead(lease, "ValueError"))
            case "ignored":
                assert done(store.inbox.ignored(lease, "not for us"))
            case _:
                assert done(store.inbox.release(lease))


def rows(store: Store, *ids: str) -> list[int]:
    return [entry.row for entry in store.entries() if entry.id in ids]


# --- looking -------------------------------------------------------------------------------------------------------


def test_an_entry_says_all_but_what_was_sent(store: Store, clock: FrozenClock) -> None:
    """State, attempts and times of a delivery, without anything of its body."""
    store.put("evt_1", body=b"42", order_key="stripe:cus_1")
    entry = store.entry("stripe:evt_1")
    assert (entry.key, entry.id, entry.source, entry.event) == ("stripe:evt_1", "evt_1", "stripe", "invoice.paid")
    assert (entry.state, entry.attempts, entry.is_leased, entry.error) == ("pending", 0, False, None)
    assert (entry.due_at, entry.received_at, entry.order_key) == (clock.time(), clock.time(), "stripe:cus_1")
    assert entry.has_body
    store.claim()
    entry = store.entry("stripe:evt_1")
    assert (entry.attempts, entry.is_leased, entry.due_at) == (1, True, clock.time() + LEASE)


def test_the_latest_come_first_page_by_page(store: Store) -> None:
    """A page begins before the last row of the one before it."""
    store.put(*(f"evt_{number}" for number in range(5)))
    first = done(store.archive.list(Filter(), limit=2))
    second = done(store.archive.list(Filter(), limit=2, before=first[-1].row))
    last = done(store.archive.list(Filter(), limit=2, before=second[-1].row))
    assert [[entry.id for entry in page] for page in (first, second, last)] == [
        ["evt_4", "evt_3"],
        ["evt_2", "evt_1"],
        ["evt_0"],
    ]


def test_a_filter_means_all_of_its_conditions(store: Store, clock: FrozenClock) -> None:
    """Source, event, state, time and key narrow each other down."""
    start = clock.time()
    store.put("evt_1", event="paid")
    store.put("evt_1", source="github", event="push")
    clock.advance(10)
    store.put("evt_2", event="paid")
    done(store.archive.discard(rows(store, "evt_2"), "no"))

    def found(**conditions: Any) -> list[str]:
        wanted = Filter(**conditions)
        entries = store.entries(wanted)
        assert done(store.archive.count(wanted)) == len(entries)
        return [entry.key for entry in reversed(entries)]

    assert found() == ["stripe:evt_1", "github:evt_1", "stripe:evt_2"]
    assert found(source="stripe") == ["stripe:evt_1", "stripe:evt_2"]
    assert found(event="push") == ["github:evt_1"]
    assert found(states=("ignored", "dead")) == ["stripe:evt_2"]
    assert found(since=start + 10) == ["stripe:evt_2"]
    assert found(until=start + 10) == ["stripe:evt_1", "github:evt_1"]
    assert found(keys=("stripe:evt_2", "github:evt_1")) == ["github:evt_1", "stripe:evt_2"]
    assert found(keys=("stripe:evt_2",), states=("pending",)) == []
    assert found(keys=("evt_1", "", "x:y:z")) == []


def test_a_key_may_have_colons_in_it(store: Store) -> None:
    """The source never does, so it ends at the first."""
    store.put("a:b:c")
    assert store.entry("stripe:a:b:c").id == "a:b:c"


def test_a_thousand_keys_can_be_asked_for_at_once(store: Store) -> None:
    """As somebody does who has a list from elsewhere."""
    store.put("evt_1")
    keys = tuple(f"stripe:evt_{number}" for number in range(1_500))
    assert done(store.archive.count(Filter(keys=keys))) == 1


def test_content_is_what_was_sent(store: Store) -> None:
    """Bytes as they came, headers by name; and a repr that shows neither."""
    body = bytes(range(256))
    store.put("evt_1", body=body)
    content = done(store.archive.content(store.entry("stripe:evt_1").row))
    assert content is not None
    assert (content.body, content.headers) == (body, {"content-type": "application/json"})
    assert "json" not in repr(content)
    assert done(store.archive.content(12345)) is None


def test_the_backlog_is_what_is_to_be_done(store: Store, clock: FrozenClock) -> None:
    """How much, in which hands, and since when the longest overdue one has waited."""
    assert done(store.archive.backlog()) == Backlog(0, 0, 0, 0, None)
    start = clock.time()
    over(store, a="done", b="dead", c="ignored")
    store.put("leased", "retried", "due")
    leases = {lease.delivery.id: lease for lease in store.claim().leased}
    done(store.inbox.retry(leases["retried"], 100, "ValueError"))
    done(store.inbox.release(leases["due"]))
    clock.advance(7)
    store.put("fresh")
    assert done(store.archive.backlog()) == Backlog(pending=4, leased=1, retrying=1, dead=1, oldest_due=start)


def test_what_waits_for_later_is_not_overdue(store: Store, clock: FrozenClock) -> None:
    """Neither what was submitted for later nor what is in hands, until its time has come or its lease has ended."""
    start = clock.time()
    store.put("later", delay=20)
    assert done(store.archive.backlog()).oldest_due is None
    store.put("leased")
    store.claim()
    assert done(store.archive.backlog()).oldest_due is None
    clock.advance(LEASE)
    assert done(store.archive.backlog()).oldest_due == start + 20
    assert store.claimed(1) == ["later"]
    assert done(store.archive.backlog()).oldest_due == start + LEASE


def test_counts_are_by_source_event_and_state(store: Store) -> None:
    """Everything that the inbox remembers."""
    assert done(store.archive.counts()) == {}
    over(store, a="done", b="dead", c="done")
    store.put("d", source="github", event="push")
    assert done(store.archive.counts()) == {
        ("stripe", "invoice.paid", "done"): 2,
        ("stripe", "invoice.paid", "dead"): 1,
        ("github", "push", "pending"): 1,
    }


# --- replaying and discarding --------------------------------------------------------------------------------------


def test_a_replayed_delivery_has_all_its_attempts_again(store: Store, clock: FrozenClock) -> None:
    """It is due at once, and its history starts anew."""
    store.put("evt_1")
    for _ in range(ATTEMPTS):
        store.claim()
        clock.advance(LEASE)
    assert [one.id for one in store.claim().dead] == ["evt_1"]
    (row,) = rows(store, "evt_1")
    assert done(store.archive.replay([row])) == 1
    entry = store.entry("stripe:evt_1")
    assert (entry.state, entry.attempts, entry.error, entry.due_at) == ("pending", 0, None, clock.time())
    assert store.claim_one().delivery.attempt == 1


@pytest.mark.parametrize("state", ["done", "dead", "ignored"])
def test_whatever_is_over_can_be_replayed(store: Store, state: str) -> None:
    """Also what had succeeded: its handler runs again."""
    over(store, evt_1=state)
    assert done(store.archive.replay(rows(store, "evt_1"))) == 1
    assert store.claimed() == ["evt_1"]


def test_what_is_pending_is_not_replayed(store: Store) -> None:
    """A lease on it would be void otherwise, and its delay lost."""
    store.put("leased", "retried")
    leased, retried = store.claim().leased
    done(store.inbox.retry(retried, 100, "ValueError"))
    assert done(store.archive.replay(rows(store, "leased", "retried"))) == 0
    assert store.claimed() == []
    assert done(store.inbox.done(leased))


def test_a_word_from_before_a_replay_is_void(store: Store) -> None:
    """Its lease had a lower token."""
    store.put("evt_1")
    old = store.claim_one()
    done(store.archive.discard(rows(store, "evt_1"), "no"))
    done(store.archive.replay(rows(store, "evt_1")))
    new = store.claim_one()
    assert (new.token, new.delivery.attempt) == (old.token + 1, 1)
    assert not done(store.inbox.done(old))
    assert done(store.inbox.done(new))


def test_a_delivery_without_body_is_not_replayed(store: Store, clock: FrozenClock) -> None:
    """Its handler would get nothing."""
    over(store, evt_1="done")
    clock.advance(8 * DAY)
    assert done(store.archive.prune()) == 1
    assert done(store.archive.replay(rows(store, "evt_1"))) == 0
    assert store.states() == {"evt_1": "done"}


def test_a_discarded_delivery_is_handled_no_more(store: Store) -> None:
    """What is pending or dead; the reason is kept, and what the handler says that is at it is void."""
    over(store, dead="dead", finished="done")
    store.put("leased")
    lease = store.claim_one()
    assert done(store.archive.discard(rows(store, "dead", "finished", "leased"), "spam")) == 2
    assert store.states() == {"dead": "ignored", "finished": "done", "leased": "ignored"}
    assert store.entry("stripe:leased").error == "spam"
    assert not done(store.inbox.done(lease))
    assert not store.entry("stripe:leased").is_leased


# --- forgetting ----------------------------------------------------------------------------------------------------


def test_bodies_go_first_dead_ones_later_and_keys_last(store: Store, clock: FrozenClock) -> None:
    """A body is not needed once it is handled, a dead letter's until somebody looked, a key while senders repeat."""
    over(store, done="done", ignored="ignored", dead="dead", pending="pending")

    def left() -> dict[str, bool]:
        while done(store.archive.prune()):
            pass
        return {entry.id: entry.has_body for entry in store.entries()}

    everything = dict.fromkeys(("done", "ignored", "dead", "pending"), True)
    clock.advance(7 * DAY)
    assert left() == everything
    clock.advance(1)
    assert left() == everything | {"done": False, "ignored": False}
    clock.advance(23 * DAY)
    assert left() == everything | {"done": False, "ignored": False, "dead": False}
    assert store.put("done", "dead") == [False, False]
    clock.advance(60 * DAY)
    assert left() == {"pending": True}
    assert store.put("done") == [True]


@pytest.mark.parametrize("state", ["done", "dead", "ignored"])
def test_a_row_lives_as_long_as_anything_of_it(tmp_path: Path, clock: FrozenClock, state: str) -> None:
    """However the ages are chosen: with the row its body would go too."""
    store = Store(tmp_path / "odd.sqlite3", clock, retention=Retention(bodies=20, dead=30, keys=10))
    over(store, a=state)
    clock.advance(15)
    assert done(store.archive.prune()) == 0
    clock.advance(14)
    assert (done(store.archive.prune()), len(store.entries())) == (0 if state == "dead" else 1, 1)
    clock.advance(2)
    done(store.archive.prune())
    assert store.entries() == ()
    store.close()


def test_nothing_of_a_pruned_body_is_left(store: Store, clock: FrozenClock) -> None:
    """Headers go with it."""
    over(store, evt_1="done")
    clock.advance(8 * DAY)
    done(store.archive.prune())
    row = store.entry("stripe:evt_1").row
    kept = store.writer.submit(lambda session: session.query("SELECT headers, body FROM delivery WHERE id = ?", (row,)))
    assert done(kept) == [("{}", b"")]
    assert done(store.archive.content(row)) is None


def test_what_is_pending_is_never_forgotten(store: Store, clock: FrozenClock) -> None:
    """However old it is: it was acknowledged."""
    store.put("evt_1")
    clock.advance(1_000 * DAY)
    assert done(store.archive.prune()) == 0
    assert store.claim_one().delivery.body == b"{}"


def test_forgetting_goes_in_steps(store: Store, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes so many of either kind, so that nobody waits long for a commit."""
    monkeypatch.setattr(type(store.archive), "STEP", 2)
    over(store, **dict.fromkeys("abcde", "done"))
    clock.advance(8 * DAY)
    assert [done(store.archive.prune()) for _ in range(4)] == [2, 2, 1, 0]


def test_a_digest_is_remembered_as_long_as_the_key(store: Store, clock: FrozenClock) -> None:
    """A captured delivery does not become new when its body is no longer kept."""
    store.put("evt_1", digest="d" * 64)
    done(store.inbox.done(store.claim_one()))
    clock.advance(89 * DAY)
    assert done(store.archive.prune()) == 1
    assert store.put("evt_2", digest="d" * 64) == [False]


def test_a_store_that_is_down_is_told(store: Store) -> None:
    """By every verb."""
    store.path.mkdir(parents=True)
    archive = store.archive
    for future in (
        archive.list(Filter()),
        archive.count(Filter()),
        archive.content(1),
        archive.replay([1]),
        archive.discard([1], ""),
        archive.backlog(),
        archive.counts(),
        archive.prune(),
    ):
        with pytest.raises(StoreDown):
            done(future)  # type: ignore[arg-type]  # of any type


def test_making_an_archive_touches_nothing(tmp_path: Path, clock: FrozenClock) -> None:
    """No file and no thread."""
    before = threading.active_count()
    store = Store(tmp_path / "data" / "inbox.sqlite3", clock)
    assert (store.path.parent.exists(), threading.active_count()) == (False, before)


STATES = st.sampled_from(["pending", "done", "dead", "ignored"])


@settings(max_examples=25, deadline=None)
@given(
    ends=st.lists(STATES, min_size=1, max_size=12),
    ages=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(5, 9)),
    days=st.integers(0, 12),
)
def test_retention_holds_for_any_ages(
    tmp_path_factory: pytest.TempPathFactory, ends: list[str], ages: tuple[int, int, int], days: int
) -> None:
    """Each delivery has its body and its row exactly as long as its state's ages say, in however many steps."""
    bodies, dead, keys = (age * DAY for age in ages)
    clock = FrozenClock()
    store = Store(
        tmp_path_factory.mktemp("retention") / "inbox.sqlite3", clock, retention=Retention(bodies, dead, keys)
    )
    over(store, **{f"evt_{number}": end for number, end in enumerate(ends)})
    clock.advance(days * DAY + 1)
    while done(store.archive.prune()):
        pass
    age = days * DAY + 1
    expected = {}
    for number, end in enumerate(ends):
        kept = end == "pending" or age <= (dead if end == "dead" else bodies)
        if end == "pending" or age <= keys:
            expected[f"evt_{number}"] = kept
    assert {entry.id: entry.has_body for entry in store.entries()} == expected
    store.close()
    assert store.put("new") == [True]
    assert done(store.archive.content(store.entry("stripe:new").row)) is not None
    store.close()
