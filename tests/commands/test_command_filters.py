"""Which deliveries are meant: the arguments that all subcommands share."""

from __future__ import annotations

import argparse
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchkit.command import main
from launchkit.command.parsers import positive
from launchkit.command.webhooks.filters import key, moment

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("text", "before_now"),
    [("30s", 30), ("5m", 300), ("5min", 300), ("2h", 7_200), ("3 d", 259_200), ("1w", 604_800), ("0s", 0)],
)
def test_an_age_is_counted_from_now(text: str, before_now: float) -> None:
    """Seconds, minutes, hours, days or weeks."""
    assert moment(text, NOW) == NOW - before_now


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2026-11-20", "2026-11-20T00:00:00+00:00"),
        ("2026-11-20T08:00", "2026-11-20T08:00:00+00:00"),
        ("2026-11-20T08:00Z", "2026-11-20T08:00:00+00:00"),
        ("2026-11-20T08:00+02:00", "2026-11-20T06:00:00+00:00"),
    ],
)
def test_a_date_is_utc_unless_it_says_otherwise(text: str, iso: str) -> None:
    """Whatever the time zone of the machine."""
    assert datetime.fromtimestamp(moment(text, NOW), UTC).isoformat() == iso


@given(st.text(max_size=12))
def test_any_other_text_is_refused(text: str) -> None:
    """By a ValueError and nothing else; whatever is accepted begins with a number."""
    try:
        found = moment(text, NOW)
    except ValueError:
        return
    assert math.isfinite(found)
    assert text[0].isdecimal()


def test_every_date_has_a_moment() -> None:
    """Also those that a database will never have."""
    assert moment("0001-01-01T00:00+23:59", NOW) < moment("9999-12-31T23:59-23:59", NOW)


@pytest.mark.parametrize("text", ["", "evt_1", ":evt_1", "stripe:"])
def test_a_key_is_a_source_and_an_id(text: str) -> None:
    """An id alone would never be found."""
    with pytest.raises(argparse.ArgumentTypeError, match="should be a source and an id, like stripe:evt_1"):
        key(text)
    assert key("gitlab:a:b") == "gitlab:a:b"


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5", "", "9" * 30, "²"])
def test_a_limit_is_a_whole_number_above_zero(text: str) -> None:
    """Nothing that a database would refuse, or take for no limit at all."""
    with pytest.raises(argparse.ArgumentTypeError, match="should be a whole number from 1 on"):
        positive(text)
    assert positive("20") == 20


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["list", "--since", "soon"], "argument --since: 'soon' should be 30min, 2h or 3d ago, or a date like"),
        (["list", "--until", "2026-13-01"], "argument --until: '2026-13-01' should be"),
        (["list", "--state", "lost"], "argument --state: invalid choice: 'lost'"),
        (["replay", "--state", "pending"], "argument --state: invalid choice: 'pending'"),
        (["discard", "--state", "done"], "argument --state: invalid choice: 'done'"),
        (["show", "evt_1"], "'evt_1' should be a source and an id"),
        (["send", "stripe", "--to", "127.0.0.1:8000"], "should be an address like http://127.0.0.1:8000"),
        (["send", "stripe", "--to", "http://127.0.0.1:0"], "should be an address like http://127.0.0.1:8000"),
        (["send", "stripe", "--to", "http://127.0.0.1:99999"], "should be an address like http://127.0.0.1:8000"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_a_wrong_call_says_how_to_mend_it(arguments: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2, before anything is opened."""
    with pytest.raises(SystemExit, match="2"):
        main(["webhooks", *arguments])
    assert why in capsys.readouterr().err
