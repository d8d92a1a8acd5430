"""A process that is killed at any step between receipt and done: what has been promised by then holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parent / "kills" / "crash_points.py"
MEMORY = Path("/dev/shm")
"""A kill does not lose what was written to a disk but not flushed, so these may run where flushing costs nothing."""

ESSENTIAL = (
    "before INSERT INTO delivery",
    "before COMMIT",
    "after COMMIT",
    "the answer has left",
    "after UPDATE delivery SET attempts = attempts + 1",
    "the handler begins",
    "after INSERT INTO launchkit_deliveries",
    "before INSERT INTO effect",
    "before the app's commit",
    "after the app's commit",
    "the handler ends",
    "before UPDATE delivery SET state",
    "after UPDATE delivery SET state",
)

Outcome = Mapping[str, Any]


@pytest.fixture(scope="module", name="outcomes")
def _outcomes() -> Sequence[Outcome]:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None, prefix="launchkit-crash-") as folder:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
        ended = subprocess.run(
            [sys.executable, PROGRAM, folder, *ESSENTIAL],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert ended.returncode == 0, ended.stderr[-5_000:]
    return [json.loads(line) for line in ended.stdout.splitlines()]


def broken(outcomes: Sequence[Outcome]) -> list[tuple[str, Outcome]]:
    """Return each promise that was not kept, with what happened instead."""
    return [(promise, outcome) for outcome in outcomes for promise, is_kept in promises(outcome).items() if not is_kept]


def promises(outcome: Outcome) -> Mapping[str, bool]:
    was_done = outcome["state_before"] == "done"
    seen = outcome["seen_attempts"]
    return {
        "acknowledged only when stored": outcome["stored"] or not outcome["acknowledged"],
        "its effect at least once": len(seen) >= 1,
        "its recorded effect exactly once": outcome["recorded"] == 1,
        "done in the end": outcome["state"] == "done",
        "done means handled": not was_done or outcome["attempts"] == outcome["attempts_before"],
        "each attempt counted": outcome["attempts"] == outcome["attempts_before"] + (not was_done),
        "each attempt told by its number": seen == sorted(set(seen)) and seen[-1] == outcome["attempts"],
        "a repeat known": outcome["answer"] == expected_answer(outcome),
    }


def expected_answer(outcome: Outcome) -> str:
    if outcome["acknowledged"]:
        return ""
    return "duplicate" if outcome["stored"] else "accepted"


@pytest.mark.real_server
def test_a_kill_at_any_step_breaks_no_promise(outcomes: Sequence[Outcome]) -> None:
    """A process dies there, and the next one finishes what was acknowledged, with one recorded effect."""
    assert broken(outcomes) == []


@pytest.mark.real_server
def test_every_step_was_met(outcomes: Sequence[Outcome]) -> None:
    """From before the first statement of the receipt to after the last one of the outcome; the last run lives."""
    steps = [outcome["step"] for outcome in outcomes]
    assert steps[-1] == ""
    assert "" not in steps[:-1]
    assert [name for name in ESSENTIAL if not any(step.startswith(name) for step in steps)] == []
    assert steps.count("before COMMIT") >= 3  # receipt, claim, outcome
    assert {outcome["state_before"] for outcome in outcomes} == {"", "pending", "done"}
    assert {outcome["attempts_before"] for outcome in outcomes} == {0, 1}
