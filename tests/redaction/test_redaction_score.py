"""Of generated secrets of every kind nearly all are hidden, and of what only looks like one nearly nothing is."""

from __future__ import annotations

import pytest
from benchmarks.redaction.clean import some_clean
from benchmarks.redaction.corpus import CATEGORIES, LINES, secrets
from benchmarks.redaction.generated import Item, item
from benchmarks.redaction.score import LEAST_RECALL, MOST_CLEAN, MOST_TRAPS, hide, spare
from benchmarks.redaction.traps import LINES as LEAST_TRAPS
from benchmarks.redaction.traps import traps

from launchkit.redaction.engine import Redactor
from launchkit.settings import RedactionSettings

SEEDS = [1, 20_260_301]


@pytest.fixture(name="redact", scope="module")
def _redact():
    return Redactor(RedactionSettings(), mask_emails=False).redact


@pytest.fixture(name="hidden", scope="module", params=SEEDS)
def _hidden(request, redact):
    return hide(secrets(request.param), redact)


def test_nearly_all_secrets_are_hidden(hidden):
    """At least 97 % of the lines have none of their secrets left."""
    assert hidden.recall >= LEAST_RECALL, hidden.missed_kinds()


def test_redacting_a_line_with_secrets_twice_equals_once(hidden):
    """Whatever takes the place of a secret is left alone."""
    assert [item.line for item in hidden.unstable] == []


@pytest.mark.parametrize("seed", SEEDS)
def test_nearly_nothing_that_only_looks_secret_is_changed(seed, redact):
    """At most 1 % of the trap lines is changed."""
    trapped = spare(traps(seed), redact)
    assert trapped.share <= MOST_TRAPS, trapped.changed


def test_what_libraries_log_is_left_alone(redact):
    """At most two in ten thousand lines of the debug logs of a web app's libraries are changed."""
    cleaned = spare(some_clean(), redact)
    assert len(cleaned.lines) > 1_000
    assert cleaned.share <= MOST_CLEAN, cleaned.changed


def test_the_secrets_are_of_every_category_and_many_kinds():
    """More kinds than any public list of rules for log lines, each in the same number of lines."""
    items = secrets(SEEDS[0])
    kinds = {item.kind for item in items}
    assert {item.category for item in items} == set(CATEGORIES)
    assert len(kinds) >= 230
    assert len(items) == len(kinds) * LINES


def test_a_seed_makes_the_same_lines_and_another_seed_others():
    """What a score was taken of can be made again."""
    first, again, other = secrets(1), secrets(1), secrets(2)
    assert first == again
    assert not {item.secrets for item in first} & {item.secrets for item in other}
    assert traps(1) == traps(1)
    assert traps(1) != traps(2)


def test_there_are_enough_traps():
    """One in a hundred is ten lines and more."""
    assert len(set(traps(1))) >= LEAST_TRAPS


def test_secrets_are_in_their_lines_and_marks_are_not():
    """The signs that mark secrets are gone, what they marked is there."""
    for made in secrets(SEEDS[0]):
        assert all(secret in made.line for secret in made.secrets), made
        assert not set("«»") & set(made.line), made
    with pytest.raises(ValueError, match="marks no secret"):
        item("kind", "prefix", "nothing is marked")


def test_a_secret_that_is_left_is_counted_as_missed():
    """One of two secrets that is still in the line is a miss, and so is a line that changes when redacted again."""
    kept = Item("kind", "prefix", "first second", ("first", "second"))
    assert hide([kept], lambda line: line.replace("first", "")).missed == [kept]
    assert hide([kept], lambda line: "").recall == 100
    assert hide([kept], lambda line: line + "!").unstable == [kept]
    assert spare(["a", "b"], lambda line: line.replace("a", "c")).changed == [("a", "c")]
