"""The sliding window."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from launchkit.timing.histogram import bucket_of
from launchkit.timing.window import SLOT_SECONDS, Window


def record(window: Window, now: float, seconds: float = 0.1, *, is_error: bool = False) -> None:
    window.record(seconds, bucket_of(seconds), now, is_error=is_error)


def test_requests_leave_the_window_after_its_minutes() -> None:
    """A request counts for the window's length, less at most one slot, and then no more."""
    window = Window(5, 0.5)
    record(window, 1000.0, is_error=True)

    assert window.total(1000.0).histogram.count == 1
    assert window.total(1289.9).histogram.count == 1
    assert window.total(1289.9).errors == 1
    assert window.total(1300.0).histogram.count == 0
    assert window.total(1300.0).errors == 0


def test_a_place_in_the_ring_is_used_again() -> None:
    """The slot of five minutes ago is replaced, not added to."""
    window = Window(5, 0.5)
    record(window, 1000.0, 8.0)
    record(window, 1300.0, 0.01)

    total = window.total(1300.0).histogram

    assert (total.count, total.max) == (1, 0.01)


def test_a_long_silence_leaves_nothing_behind() -> None:
    """Slots that nobody replaced are too old to be read."""
    window = Window(1, 0.5)
    for step in range(6):
        record(window, step * SLOT_SECONDS)

    assert window.total(59.0).histogram.count == 6
    assert window.total(10_000.0).histogram.count == 0


@given(st.lists(st.floats(min_value=0, max_value=600), max_size=50), st.integers(1, 4))
def test_the_window_holds_what_ended_in_its_slots(ends: list[float], minutes: int) -> None:
    """Whatever the pauses, the total is what a list of all requests would give."""
    window = Window(minutes, 0.5)
    ends.sort()
    for end in ends:
        record(window, end)
    now = ends[-1] if ends else 0.0

    oldest = now // SLOT_SECONDS - minutes * 6 + 1

    assert window.total(now).histogram.count == sum(end // SLOT_SECONDS >= oldest for end in ends)
