"""What the command prints for people: short, aligned, and harmless to a terminal."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchkit.command.progress import Progress
from launchkit.command.text import WIDTH, aligned, cut, duration, iso, plain
from launchkit.command.webhooks.entries import LONGEST_KEY, as_json, as_lines, situation
from launchkit.command.webhooks.showing import text_of
from launchkit.testing import FrozenClock
from launchkit.webhooks.inbox.archive import Entry

NOW = 1_800_000_000.0
ENTRY = Entry(
    row=1,
    id="evt_1",
    source="stripe",
    event="invoice.paid",
    state="pending",
    attempts=0,
    is_leased=False,
    due_at=NOW,
    received_at=NOW - 90,
    error=None,
    order_key=None,
    has_body=True,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3_599, "59 min"),
        (3_600, "1 h"),
        (172_799, "47 h"),
        (172_800, "2 d"),
        (9e6, "104 d"),
    ],
)
def test_durations_have_one_unit(seconds: float, text: str) -> None:
    """Seconds, minutes, hours or days, rounded down; hours up to two days; a clock that was set back is no time."""
    assert duration(seconds) == text


def test_moments_are_iso_8601_in_utc() -> None:
    """To the second, whatever the time zone of the machine."""
    assert iso(NOW) == "2027-01-15T08:00:00Z"


@given(st.text())
def test_a_text_from_elsewhere_is_one_printable_line(text: str) -> None:
    """Nothing in it moves a cursor, changes a colour or begins a line."""
    shown = plain(text)
    assert shown.isprintable()
    assert shown == shown.strip()
    assert plain(shown) == shown


def test_what_is_printable_stays() -> None:
    """Only what a terminal would act on is replaced."""
    assert plain("Zahlung  über\n9 € \x1b[31mred\x07") == "Zahlung über 9 € ?[31mred?"


@given(st.text(min_size=1), st.integers(min_value=4, max_value=20))
def test_a_cut_text_fits(text: str, width: int) -> None:
    """And shows that something is missing when something is."""
    shown = cut(text, width)
    assert len(shown) <= width
    assert shown == text or (len(text) > width and shown == text[: width - 3] + "...")


def test_columns_are_aligned() -> None:
    """Left, or right where asked; nothing after the last character of a line."""
    assert aligned([("A", "N", "B"), ("long", "10", ""), ("x", "9", "y")], right=(1,)) == [
        "A      N  B",
        "long  10",
        "x      9  y",
    ]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "waits"),
        ({"due_at": NOW - 5}, "waits"),
        ({"due_at": NOW - 5, "is_leased": True}, "waits"),
        ({"due_at": NOW + 5, "is_leased": True, "attempts": 1}, "handled now"),
        ({"due_at": NOW + 245, "attempts": 1}, "retry in 4 min"),
        ({"due_at": NOW + 7_300}, "starts in 2 h"),
        ({"state": "done", "due_at": NOW + 5}, "done"),
        ({"state": "dead"}, "dead"),
        ({"state": "ignored"}, "ignored"),
    ],
)
def test_a_pending_delivery_says_what_it_waits_for(changes: dict[str, object], text: str) -> None:
    """A lease that has ended is nobody's: it waits to be taken up."""
    assert situation(replace(ENTRY, **changes), NOW) == text  # type: ignore[arg-type]


def test_a_key_is_always_there_whole() -> None:
    """A long one has a line for itself, so that the rest still fits; one that just fits stays in the table."""
    fitting = replace(ENTRY, id="x" * (LONGEST_KEY - len("stripe:")))
    long = replace(ENTRY, id="y" * 64, error="no luck")
    assert list(as_lines([fitting, long], NOW)) == [
        f"{'KEY':{LONGEST_KEY}}  STATE  ATTEMPTS    AGE  EVENT",
        f"{fitting.key}  waits         0  1 min  invoice.paid",
        long.key,
        f"{'':{LONGEST_KEY}}  waits         0  1 min  invoice.paid",
        "    no luck",
    ]


def test_a_line_that_is_too_long_loses_the_end_of_its_event() -> None:
    """The least of what it says."""
    crowded = replace(ENTRY, id="x" * (LONGEST_KEY - len("stripe:")), event="a.very.long.event." * 4)
    assert list(as_lines([crowded], NOW))[1] == (
        f"{crowded.key}  waits         0  1 min  a.very.long.event.a.very.lo..."
    )


entries = st.builds(
    Entry,
    row=st.integers(1, 9),
    id=st.text(min_size=1, max_size=80),
    source=st.sampled_from(["stripe", "a_source_with_a_rather_long_name"]),
    event=st.text(max_size=60),
    state=st.sampled_from(["pending", "done", "dead", "ignored"]),
    attempts=st.integers(0, 99),
    is_leased=st.booleans(),
    due_at=st.floats(NOW - 9e5, NOW + 9e5),
    received_at=st.floats(NOW - 9e6, NOW),
    error=st.none() | st.text(max_size=200),
    order_key=st.none(),
    has_body=st.booleans(),
)


@given(st.lists(entries, min_size=1, max_size=4))
def test_every_line_of_a_list_fits(listed: list[Entry]) -> None:
    """In 100 columns of printable characters, but for keys, which are never cut."""
    lines = list(as_lines(listed, NOW))
    keys = {plain(entry.key) for entry in listed}
    assert all(line.isprintable() and (len(line) <= WIDTH or line in keys) for line in lines)
    assert all(any(line.startswith(key) for line in lines) for key in keys)


def test_json_has_moments_and_no_due_time_for_what_is_over() -> None:
    """A due time means nothing then."""
    assert as_json(ENTRY)["due_at"] == "2027-01-15T08:00:00Z"
    assert as_json(replace(ENTRY, state="done"))["due_at"] is None


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"a":\t1}\r\n', '{"a":\t1}\r\n'),
        ("ü".encode(), "ü"),
        (b"\xff", None),
        (b"\x1b[2J", None),
        (b"\xc2\x9b2J", None),
        (b"a\x00", None),
    ],
)
def test_a_body_that_could_move_the_cursor_is_no_text(body: bytes, text: str | None) -> None:
    """Neither is what is not UTF-8; tabs and line ends are."""
    assert text_of(body) == text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal_is_one_line() -> None:
    """It is rewritten, and left when all is done; one that was never begun leaves nothing."""
    terminal = Terminal()
    progress = Progress(terminal, FrozenClock())
    progress.end()
    progress(500, 1200)
    progress(1200, 1200)
    progress.end()
    progress.end()
    assert terminal.getvalue() == "\r500 of 1200\r1200 of 1200\n"


def test_progress_elsewhere_is_a_line_now_and_then() -> None:
    """At most one in five seconds, so that logs stay short."""
    log, clock = io.StringIO(), FrozenClock()
    progress = Progress(log, clock)
    for done in (1, 2, 3, 4):
        progress(done, 9)
        clock.advance(2.5)
    progress.end()
    assert log.getvalue() == "3 of 9\n"
