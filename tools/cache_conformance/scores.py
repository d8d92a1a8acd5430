"""How the suite judges (its `lib/display.mjs`), and the report of it.

A test whose dependency did not pass says nothing and counts as `dependency`; one in which something else than its
subject went wrong, such as a first response that was not stored, counts as `setup`. A required test that fails is a
breach of the RFC, an optimal one a missed chance, a check only a fact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tools.cache_conformance.suite import Test

KINDS = ("required", "optimal", "check")
OUTCOMES = ("passed", "failed", "dependency", "setup", "untested")


@dataclass(frozen=True)
class Score:
    """What came of one test, and the suite's words for it where it did not pass."""

    test: Test
    outcome: str
    reason: str


def judge(tests: Iterable[Test], results: Mapping[str, Any]) -> list[Score]:
    """Return the score of every test, in their order.

    Args:
        tests: all of them, as a test may depend on any other.
        results: by id, True or what was wrong and in which words.
    """
    known = {test.id: test for test in tests}
    return [_score(test, known, results) for test in known.values()]


def _score(test: Test, known: Mapping[str, Test], results: Mapping[str, Any]) -> Score:
    missing = [one for one in test.depends_on if _score(known[one], known, results).outcome != "passed"]
    if missing:
        return Score(test, "dependency", f"depends on {', '.join(missing)}")
    result = results.get(test.id)
    if result is None or result is True:
        return Score(test, "passed" if result else "untested", "")
    kind, words = result
    return Score(test, "setup" if kind == "Setup" else "failed", f"{kind}: {words}")


def table(scores: Iterable[Score]) -> list[str]:
    """Return the figures as lines: a row for each kind, a column for each outcome."""
    counts = Counter((score.test.kind, score.outcome) for score in scores)
    outcomes = [one for one in OUTCOMES if one != "untested" or any(counts[kind, one] for kind in KINDS)]
    lines = ["".join([f"{'':10}{'tests':>7}", *(f"{one:>12}" for one in outcomes)])]
    for kind in KINDS:
        total = sum(counts[kind, one] for one in OUTCOMES)
        lines.append("".join([f"{kind:10}{total:>7}", *(f"{counts[kind, one]:>12}" for one in outcomes)]))
    return lines


def missed(scores: Iterable[Score], kind: str) -> list[str]:
    """Return a line for every test of a kind that did not pass."""
    return [
        f"  {score.outcome:11} {score.test.suite}/{score.test.id}\n{'':14}{score.test.name}\n{'':14}{score.reason}"
        for score in scores
        if score.test.kind == kind and score.outcome != "passed"
    ]


def as_json(scores: Iterable[Score]) -> list[dict[str, str]]:
    """Return the scores as plain values."""
    return [
        {"id": one.test.id, "suite": one.test.suite, "kind": one.test.kind, "name": one.test.name}
        | {"outcome": one.outcome, "reason": one.reason}
        for one in scores
    ]
