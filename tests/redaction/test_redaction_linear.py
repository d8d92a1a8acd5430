"""Time grows with the length of a text and no faster, whatever it is made of.

Hostile texts are made of the rules themselves. From each expression a text is taken that it matches; cut short, it all
but matches. Repeated, it makes the engine begin again and again; and where the expression repeats something, that is
repeated without end. All texts are tried at a few kilobytes; those that take longest, and those whose time grew most
from a shorter text, are then tried at a length and at four times that: linear behaviour takes four times the time,
quadratic behaviour sixteen times. `pytest -rP` shows how long each kind of text takes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from random import Random
from re import _constants as code  # how hypothesis makes text of an expression, too
from re import _parser as parser
from typing import NamedTuple

import pytest

from launchkit.redaction import (
    assignments,
    commands,
    credentials,
    encodings,
    mentions,
    names,
    personal,
    placeholders,
    sentences,
    statements,
    tokens,
    urls,
    userinfo,
    values,
)
from launchkit.redaction.engine import Redactor
from launchkit.redaction.key_words import SECRET_WORDS, STEMS, WEAK_WORDS
from launchkit.redaction.personal import FINDERS
from launchkit.redaction.providers import SHAPED_FORMS, TOKEN_FORMS
from launchkit.settings import RedactionSettings

FIRST_LOOKS = 400, 2_400
"""Characters at which all texts are tried."""

SHORT, TIMES = 15_000, 4
"""Characters at which the worst are tried again, and how many times longer the same text is then."""

MOST_GROWTH = 11
"""Times that a text may take which is `TIMES` as long: linear ones take about 4, quadratic ones 16."""

SHORTEST_TIME = 0.02
"""Seconds below which times say nothing, because the machine does other things as well."""

WORST = 5
"""Texts of each kind that take longest, and as many whose time grows most."""

ALL_KINDS = Redactor(
    RedactionSettings(cards=True, ibans=True, phones=True, addresses=True),
    mask_emails=True,
    values=("correct horse battery", "a1B2c3D4e5F6"),
)
pytestmark = pytest.mark.no_cover  # it would be measured as well

RUN = "a1B2c3D4e5F6g7H8i9J0k1L2m3 "


class Hostile(NamedTuple):
    """A text of any length: what begins it, and what is repeated."""

    rule: str
    head: str
    unit: str

    def of(self, length: int) -> str:
        return self.head + self.unit * (length // len(self.unit))


# --- texts from expressions ------------------------------------------------------------------------------------------

_CATEGORIES = {code.CATEGORY_DIGIT: "7", code.CATEGORY_SPACE: " ", code.CATEGORY_NOT_WORD: "-"}


def _one_of(members: list[tuple[object, object]]) -> str:
    """Return a character of a class."""
    if members[0][0] is code.NEGATE:
        barred = "".join(_one_of([member]) for member in members[1:])
        return next((one for one in "a-7 .x:" if one not in barred), "b")
    kind, argument = members[-1]
    if kind is code.LITERAL:
        return chr(argument)
    return chr(argument[0]) if kind is code.RANGE else _CATEGORIES.get(argument, "a")


def _matched(tree: parser.SubPattern, repeated: list[tuple[str, str]]) -> list[str]:
    """Return texts that an expression matches, one for each alternative; collect what comes before what is repeated."""
    texts = [""]
    for kind, argument in tree:
        if kind is code.LITERAL:
            parts = [chr(argument)]
        elif kind is code.NOT_LITERAL or kind is code.ANY:
            parts = ["b"]
        elif kind is code.IN:
            parts = [_one_of(argument)]
        elif kind in (code.MAX_REPEAT, code.MIN_REPEAT, code.POSSESSIVE_REPEAT):
            least, most, inner = argument
            parts = [part * min(max(least, 1), 80) for part in _matched(inner, repeated)]
            if most > 8:
                repeated += [(texts[0], part) for part in _matched(inner, [])[:2] if part]
        elif kind is code.BRANCH:
            parts = [part for branch in argument[1] for part in _matched(branch, repeated)]
        elif kind in (code.SUBPATTERN, code.ATOMIC_GROUP):
            parts = _matched(argument if kind is code.ATOMIC_GROUP else argument[3], repeated)
        else:
            parts = ['"' if kind is code.GROUPREF else ""]
        texts = [texts[0] + part for part in parts] + [text + parts[0] for text in texts[1:]]
    return texts


def from_expression(rule: str, head: str, expression: str, flags: int = 0, before: str = "") -> Iterator[Hostile]:
    """Return hostile texts: what an expression matches, whole and cut short, and what it repeats without end."""
    repeated: list[tuple[str, str]] = []
    for text in _matched(parser.parse(expression, flags), repeated):
        yield Hostile(rule, head, before + text)
        yield Hostile(rule, head, f"{before}{text[:-1]} ")
    for start, unit in repeated:
        yield Hostile(rule, head + before + start, unit)


# --- the rules -------------------------------------------------------------------------------------------------------

SEPARATORS = (
    "", " ", "=", ": ", ":", "='", '="', '=\\"', "=[", "=(", "=a1,", "=a1;", "=a1&", "=x;y=1; ", "='a1' ", "_", "-",
    ".", "\n", " is ", " of ", "', '", "('", ">", " -> ", '\\"=\\"',
)  # fmt: skip
MARKS = (
    "@", "a@", "://", "://a:b@", "://a:b", "://:@", "://a@", ":", "/", "%", "%4", "%41", "%2541", "\\", "\\u0026",
    '\\"', "&lt;", "&", "\x1b[0m", "\x1b[", "eyJ", "eyJhbGciOiJhbGci.a.", "-----", "-----BEGIN PRIVATE KEY-----",
    "[redacted:", "[redacted:password]", "[", "((", '"', "'", "\n", " ", "\x00", "\ud800", "İ", "a", "a1", "--",
    "--password ", "-p ", "insert into a(password) values (", "insert into a(password) values ('a'),", "('a'),", "''",
    "PASS ", "12 LOGIN a ", "YWJjZGVmZ2hpamtsbW5vcHFy ", "YWJjZGVmZ2hpamtsbW5vcHFy", "correct horse ",
    "4111 1111 1111 ", "DE89 3704 ", "+49 30 ", "2001:db8::", "192.0.2.", "%41 \\x41 &lt; \x1b[0m key: ",
)  # fmt: skip
HEADS = ("", "password='", f"{RUN}token=", "insert into a(password) values ('a'),", "https://a:b@h/?code=")


def shapes() -> Iterator[Hostile]:
    for shape in (*credentials.SHAPES, *urls.SHAPES, *commands.SHAPES, *sentences.SHAPES):
        triggers = shape.words or shape.marks
        head = f"{RUN}{triggers[0]} "
        yield from from_expression(shape.reason, head, shape.pattern.pattern, shape.pattern.flags)
        yield from (Hostile(shape.reason, RUN, trigger + end) for trigger in triggers for end in ("", " "))


def token_forms() -> Iterator[Hostile]:
    for form in TOKEN_FORMS:
        yield Hostile(form.rule, f"{form.prefixes[0]}{RUN}", form.prefixes[0])
        yield from from_expression(form.rule, f"{form.prefixes[0]}{RUN}", form.body, before=form.prefixes[0])


def shaped_forms() -> Iterator[Hostile]:
    for form in SHAPED_FORMS:
        head = f"|{RUN.strip()}{form.trigger}{RUN}"
        yield Hostile(form.rule, head, form.trigger)
        yield from from_expression(form.rule, head, form.pattern)


def keys() -> Iterator[Hostile]:
    words = ("password", "token", "API key", "authorization", "cookie", "signature", "connection_string")
    yield from (Hostile(f"key {word!r}", "", word + separator) for word in words for separator in SEPARATORS)
    others = sorted({*SECRET_WORDS, *WEAK_WORDS, *STEMS}.difference(words))
    yield from (Hostile(f"key {word!r}", "", word + separator) for word in others for separator in ("", "=", " "))


def marks() -> Iterator[Hostile]:
    yield from (Hostile(f"{unit!r} after {head!r}", head, unit) for head in HEADS for unit in MARKS)


def expressions() -> Iterator[Hostile]:
    """Everything else that is looked for with an expression."""
    for module in (statements, userinfo, encodings, personal, tokens, commands):
        for name, pattern in compiled(module):
            yield from from_expression(name, f"{RUN}insert into :// @ -- ", pattern.pattern, pattern.flags)
    for module in (assignments, mentions, values, placeholders, names):
        for name, pattern in compiled(module):
            for key in ("password", "token=", "cookie: "):
                yield from from_expression(name, "", pattern.pattern, pattern.flags, before=key)


def compiled(module: object) -> Iterator[tuple[str, re.Pattern[str]]]:
    for name, value in vars(module).items():
        for pattern in value.values() if isinstance(value, dict) else (value,):
            if isinstance(pattern, re.Pattern):
                yield f"{getattr(module, '__name__', '')}.{name}", pattern


def mixtures() -> Iterator[Hostile]:
    """Pieces of all of these behind one another, in an order that a seed makes."""
    random = Random(20_260_301)
    pieces = [*MARKS, *SEPARATORS, "password", "token", "key", "curl -u ", "mysql -p", "Bearer ", "name: ", "value: "]
    for number in range(300):
        unit = "".join(random.choices(pieces, k=random.randint(2, 6)))
        yield Hostile(f"mixture {number}", random.choice(HEADS), unit)


KINDS: dict[str, Callable[[], Iterator[Hostile]]] = {
    one.__name__: one for one in (shapes, token_forms, shaped_forms, keys, marks, expressions, mixtures)
}


# --- the measurement -------------------------------------------------------------------------------------------------


def seconds(work: Callable[[str], object], text: str, best_of: int = 1) -> float:
    """Return how long the processor works on a text; other processes only ever add to that."""
    times = []
    for _ in range(best_of):
        begun = time.process_time()
        work(text)
        times.append(time.process_time() - begun)
    return min(times)


def grows_linearly(work: Callable[[str], object], hostile: Hostile, short: int = SHORT) -> bool:
    """Tell whether a text takes about `TIMES` as long if it is that much longer; what takes next to no time does.

    One that seems not to is tried again: only what is always slow is slow by itself.
    """
    for tries in (1, 2, 3):
        long = seconds(work, hostile.of(short * TIMES), tries)
        if long < SHORTEST_TIME * TIMES or long < MOST_GROWTH * seconds(work, hostile.of(short), tries):
            return True
    return False


def worst(work: Callable[[str], object], texts: Iterable[Hostile]) -> list[Hostile]:
    """Return the texts that take longest and those whose time grows most, the slowest first."""
    short, long = FIRST_LOOKS
    looks = [(seconds(work, one.of(long)), seconds(work, one.of(short)), one) for one in texts]
    looks.sort(key=lambda look: -look[0])
    growing = sorted(looks, key=lambda look: look[1] * long / short - look[0])
    for time_for_long, _, one in looks[:WORST]:
        print(f"{time_for_long / len(one.of(long)) * 1e6:.2f} s for a megabyte: {one}")  # noqa: T201  # to be read with -rP
    return list(dict.fromkeys(one for _, _, one in (*looks[:WORST], *growing[:WORST])))


@pytest.mark.parametrize("kind", KINDS)
def test_time_is_linear_in_the_length(kind: str) -> None:
    """For each rule: the worst texts take about four times as long when they are four times as long."""
    hostile = {(one.head, one.unit): one for one in KINDS[kind]()}.values()
    assert len(hostile) > 100
    ALL_KINDS.redact(RUN)
    for one in worst(ALL_KINDS.redact, hostile):
        assert grows_linearly(ALL_KINDS.redact, one), one


@pytest.mark.parametrize("name", sorted(FINDERS))
def test_finders_of_personal_data_are_linear(name: str) -> None:
    """Each by itself, on the pieces that all have in common."""
    for one in worst(FINDERS[name], marks()):
        assert grows_linearly(FINDERS[name], one), one
