"""What follows from a check's outcomes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchkit.health.history import CheckHistory
from launchkit.settings import HealthSettings

SETTINGS = HealthSettings(failures=3)


def history_of(*outcomes: str | None) -> CheckHistory:
    history = CheckHistory()
    for number, error in enumerate(outcomes):
        history.observe(error, number * 10.0, 0.1)
    return history


def status(history: CheckHistory, *, required: bool = True, in_grace: bool = False) -> str:
    return history.status(SETTINGS, required=required, in_grace=in_grace)


def test_a_check_that_never_ran_warns() -> None:
    """Nothing known is neither good nor a reason to take the app out of service."""
    assert status(CheckHistory()) == "warn"


def test_a_required_check_fails_after_some_failures_in_a_row() -> None:
    """One or two failures warn, the third fails."""
    assert [status(history_of(*["OSError"] * count)) for count in range(1, 5)] == ["warn", "warn", "fail", "fail"]


def test_one_success_heals() -> None:
    """The row begins anew after a success."""
    assert status(history_of("OSError", "OSError", "OSError", None)) == "pass"
    assert status(history_of("OSError", "OSError", None, "OSError")) == "warn"


def test_an_optional_check_only_warns() -> None:
    """What is not required never takes the app out of service."""
    assert status(history_of(*["OSError"] * 9), required=False) == "warn"


def test_failures_at_start_only_warn() -> None:
    """During the grace period a required check warns too, but its failures are counted."""
    history = history_of(*["OSError"] * 3)

    assert status(history, in_grace=True) == "warn"
    assert status(history, in_grace=False) == "fail"


@pytest.mark.parametrize(("age", "due"), [(0.0, False), (9.9, False), (10.0, True)])
def test_an_outcome_is_used_for_an_interval(age: float, due: bool) -> None:
    """Not older than the interval: no new run."""
    assert history_of(None).is_due(age, 10.0) is due


def test_a_check_that_never_ran_is_due() -> None:
    """The first probe runs everything."""
    assert CheckHistory().is_due(0.0, 10.0)


def test_a_failure_that_was_counted_is_not_counted_again() -> None:
    """The late outcome of a run that was given up replaces the reason, not the count."""
    history = history_of("TimeoutError")
    history.observe("OSError", 12.0, 2.5, counted=True)

    assert (history.failures, history.error, history.seconds) == (1, "OSError", 2.5)


@given(st.lists(st.sampled_from([None, "OSError"]), max_size=12))
def test_the_status_depends_on_the_failures_since_the_last_success(outcomes: list[str | None]) -> None:
    """Whatever happened, only the tail of failures matters."""
    tail = 0
    for outcome in reversed(outcomes):
        if outcome is None:
            break
        tail += 1
    expected = "warn" if not outcomes else "pass" if tail == 0 else "warn" if tail < 3 else "fail"

    assert status(history_of(*outcomes)) == expected
