"""How much the inbox takes in: the last tenth is for senders that never send again."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from webhook_world import Store, done, new_delivery

from launchkit.pipeline.effects import NewDelivery, StoreDown, StoreFull
from launchkit.testing import FrozenClock
from launchkit.webhooks.inbox.room import Room, disk_free

Make = Callable[..., Store]


@pytest.fixture(name="clock")
def _clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture(name="make")
def _make(tmp_path: Path, clock: FrozenClock) -> Iterator[Make]:
    made: list[Store] = []

    def make(**limits: object) -> Store:
        made.append(Store(tmp_path / "inbox.sqlite3", clock, **limits))  # type: ignore[arg-type]  # a Store's own
        return made[-1]

    yield make
    for store in made:
        store.close()


def puts(store: Store, *keys: str, **more: object) -> list[str]:
    """Store one after the other; return what became of each."""
    return [outcome(lambda key=key: store.inbox.put(new_delivery(key, **more))) for key in keys]  # type: ignore[misc]


def outcome(put: Callable[[], bool]) -> str:
    try:
        return "new" if put() else "duplicate"
    except StoreFull:
        return "full"
    except StoreDown:
        return "down"


def waiting_together(store: Store, deliveries: list[NewDelivery]) -> list[str]:
    """Have all of them in the same group."""

    async def put_all() -> list[object]:
        with store.held():
            putting = asyncio.gather(*(store.inbox.aput(one) for one in deliveries), return_exceptions=True)
            await asyncio.sleep(0)
        return list(await putting)

    words = {True: "new", False: "duplicate"}
    found = asyncio.run(put_all())
    return [words[one] if isinstance(one, bool) else {StoreFull: "full"}.get(type(one), repr(one)) for one in found]


def numbered(count: int, prefix: str = "evt") -> list[str]:
    return [f"{prefix}_{number:03}" for number in range(count)]


def test_the_last_tenth_is_for_those_who_never_send_again(make: Make) -> None:
    """Senders that come again are told to at nine tenths; the others find room until all of it is taken."""
    store = make(most_pending=20)
    assert puts(store, *numbered(20)).count("new") == 18
    assert puts(store, *numbered(5, "github"), may_use_reserve=True) == ["new"] * 2 + ["full"] * 3
    assert store.pending() == 20


def test_a_flood_of_those_who_come_again_leaves_the_reserve_alone(make: Make) -> None:
    """What was refused takes no room."""
    store = make(most_pending=20)
    puts(store, *numbered(100))
    assert puts(store, "github", may_use_reserve=True) == ["new"]


def test_a_repeat_is_one_however_full_it_is(make: Make) -> None:
    """Its sender is told that all is well, and stops."""
    store = make(most_pending=20)
    puts(store, *numbered(18))
    assert puts(store, "evt_000", "other", "evt_017") == ["duplicate", "full", "duplicate"]


def test_what_is_handled_makes_room(make: Make, clock: FrozenClock) -> None:
    """Only what is pending counts; the count is looked up again after a second."""
    store = make(most_pending=20)
    puts(store, *numbered(18))
    for lease in store.claim(10).leased:
        done(store.inbox.done(lease))
    clock.advance(Room.REFRESH)
    assert puts(store, *numbered(11, "more")) == ["new"] * 10 + ["full"]


def test_what_others_store_counts_too(make: Make, clock: FrozenClock) -> None:
    """Several processes share the room: each looks again every second."""
    one, other = make(most_pending=20), make(most_pending=20)
    assert puts(one, "evt_first") == ["new"]
    assert puts(other, *numbered(17)) == ["new"] * 17
    clock.advance(Room.REFRESH)
    assert puts(one, "evt_last") == ["full"]


def test_within_a_second_nothing_is_counted_anew(make: Make, clock: FrozenClock) -> None:
    """A count on each would make intake slower with every delivery that waits."""
    asked: list[float] = []
    store = make(most_pending=1_000, free_bytes=lambda: asked.append(clock.time()))
    puts(store, *numbered(10))
    clock.advance(Room.REFRESH)
    puts(store, *numbered(10, "more"))
    assert len(asked) == 2


def test_a_disk_that_is_almost_full_takes_nothing_in(make: Make, clock: FrozenClock) -> None:
    """Before SQLite finds it full: handling what is there needs some room too. A tenth more is kept as a reserve."""
    free = 1_200
    store = make(least_free=1_000, free_bytes=lambda: free)
    found = []
    for free in (1_100, 1_099, 1_000, 999):
        clock.advance(Room.REFRESH)
        found.append(puts(store, f"evt_{free}") + puts(store, f"github_{free}", may_use_reserve=True))
    assert found == [["new", "new"], ["full", "new"], ["full", "new"], ["full", "full"]]
    assert puts(store, "evt_1100") == ["duplicate"]


def test_refusals_for_the_disk_do_not_count_as_pending(make: Make, clock: FrozenClock) -> None:
    """Many of them leave the reserve to those it is for."""
    store = make(most_pending=20, least_free=1_000, free_bytes=lambda: 1_050)
    assert set(puts(store, *numbered(50))) == {"full"}
    assert puts(store, *numbered(5, "github"), may_use_reserve=True) == ["new"] * 5


def test_a_disk_that_does_not_tell_is_not_asked_for_more(make: Make) -> None:
    """Where nobody knows what is left, deliveries are taken in."""
    assert puts(make(least_free=1_000, free_bytes=lambda: None), "evt_1") == ["new"]


def test_the_free_space_of_a_folder_is_told(tmp_path: Path) -> None:
    """And of one that is not there, nothing."""
    assert (disk_free(tmp_path) or 0) > 0
    assert disk_free(tmp_path / "absent") is None


# --- groups --------------------------------------------------------------------------------------------------------


def test_a_group_that_fits_is_stored_at_once(make: Make) -> None:
    """All new, and room for all."""
    store = make(most_pending=100)
    assert waiting_together(store, [new_delivery(key) for key in numbered(70)]) == ["new"] * 70
    assert [entry.id for entry in reversed(store.entries())] == numbered(70)


def test_a_repeat_within_a_group_is_one(make: Make) -> None:
    """Whoever came first is new, the others are not; their neighbours do not notice."""
    store = make(most_pending=100)
    keys = ["a", "b", "a", "c", "b"]
    assert waiting_together(store, [new_delivery(key) for key in keys]) == [
        "new",
        "new",
        "duplicate",
        "new",
        "duplicate",
    ]
    assert store.pending() == 3


def test_a_group_for_which_the_room_ends_in_the_middle_fills_it(make: Make) -> None:
    """The first ones are in, the others are refused, and each is told its own; who may use the reserve does."""
    store = make(most_pending=20)
    puts(store, "evt_first")
    room = 18 - 1
    deliveries = [new_delivery(key) for key in numbered(room + 3)]
    deliveries += [new_delivery(key, may_use_reserve=True) for key in numbered(4, "github")]
    found = waiting_together(store, deliveries)
    assert found == ["new"] * room + ["full"] * 3 + ["new"] * 2 + ["full"] * 2
    assert store.pending() == 20


def test_repeats_take_no_room(make: Make) -> None:
    """Neither those of a group nor those that come alone."""
    store = make(most_pending=20)
    found = waiting_together(store, [new_delivery(key) for key in [*numbered(10), *numbered(10)]])
    assert found == ["new"] * 10 + ["duplicate"] * 10
    assert set(puts(store, *numbered(10))) == {"duplicate"}
    assert puts(store, *numbered(9, "more")) == ["new"] * 8 + ["full"]


def test_a_digest_within_a_group_is_stored_once(make: Make) -> None:
    """Two ids for the same signed bytes at the same moment: one of them is the repeat."""
    store = make()
    deliveries = [new_delivery(key, digest="d" * 64) for key in ("a", "b")]
    assert waiting_together(store, deliveries) == ["new", "duplicate"]


# --- disks that are really full ------------------------------------------------------------------------------------

FILLING = """
import asyncio, resource, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[2].split(":")
from webhook_world import Store, new_delivery, done
from launchkit.pipeline.effects import StoreDown, StoreFull
from launchkit.testing import FrozenClock

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path, clock = Path(sys.argv[1]), FrozenClock()
store = Store(path, clock)
assert store.put("before") == [True]
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), hard))

async def put_all(name, count):
    with store.held():
        putting = [asyncio.ensure_future(store.inbox.aput(new_delivery(f"{name}-{n}", body=b"x" * 20_000)))
                   for n in range(count)]
        await asyncio.sleep(0)
    return await asyncio.gather(*putting, return_exceptions=True)

acknowledged = ["before"]
refused = 0
for turn in range(8):
    for number, result in enumerate(asyncio.run(put_all(turn, 10))):
        assert result is True or isinstance(result, StoreDown) and not isinstance(result, StoreFull), result
        if result is True:
            acknowledged.append(f"{turn}-{number}")
        else:
            refused += 1
assert refused >= 10, refused
assert len(acknowledged) > 10, acknowledged
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
assert store.put("after") == [True]
acknowledged.append("after")
assert set(store.states()) == set(acknowledged), (store.states(), acknowledged)
store.close()
again = Store(path, clock)
assert set(again.states()) == set(acknowledged)
again.close()
"""


def test_what_a_full_disk_refuses_was_not_acknowledged(tmp_path: Path) -> None:
    """Files that cannot grow, in the middle of groups: acknowledged is what is there, and it heals by itself."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    result = subprocess.run(
        [sys.executable, "-c", FILLING, str(tmp_path / "inbox.sqlite3"), ":".join(sys.path), str(700_000)],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr.decode()


def test_a_group_of_which_one_does_not_fit_the_disk(make: Make) -> None:
    """SQLite itself says that the disk is full; the small neighbours of what is too large are stored or told so."""
    store = make()
    puts(store, "evt_first")
    pages = done(store.writer.submit(lambda session: session.query("PRAGMA page_count")[0][0]))
    done(store.writer.submit(lambda session: session.query(f"PRAGMA max_page_count = {pages + 3}")))
    large = new_delivery("large", body=b"x" * 100_000)
    found = waiting_together(store, [new_delivery("a"), large, new_delivery("b")])
    stored = set(store.states()) - {"evt_first"}
    assert "full" not in found
    assert {key for key, word in zip(("a", "large", "b"), found, strict=True) if word == "new"} == stored
    assert "large" not in stored
    assert puts(store, "evt_first", "later") == ["duplicate", "new"]
