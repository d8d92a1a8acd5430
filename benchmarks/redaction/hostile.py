"""Long texts that somebody wrote to keep redaction busy: what every rule looks for, over and over, and never finished.

They are made from the rules themselves, so that a new rule has its text at once: the prefix or mark of each token,
secret names with each separator behind them, the words of each shape, and what opens, escapes, joins or encodes things.
All of them are measured at two lengths, far below the one that counts. What these say about a long text decides which
ones are measured at full length: work that grows with the square of it stands out. Where that would take minutes, what
is expected is told instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from launchkit.redaction import commands, credentials, sentences, urls
from launchkit.redaction.providers import SHAPED_FORMS, TOKEN_FORMS

SHORT: Final = 20_000
MIDDLE: Final = 4 * SHORT
LONG: Final = 1_000_000
"""Characters."""
MOST_LONG: Final = 10
"""How many texts are measured at full length."""
MOST_SECONDS: Final = 30.0
"""What is expected to take longer is not measured."""

_SEPARATORS: Final = ("=", ": ", '": "', "='", " = [", " is ", " ", "\n")
_NAMES: Final = ("password", "token", "key", "session_id", "authorization", "cookie")
_SHAPES: Final = (*credentials.SHAPES, *urls.SHAPES, *commands.SHAPES, *sentences.SHAPES)
_UNITS: Final = (
    *("a", "A", "0", " ", "\t", "\n", "-", "_", ".", "/", "\\", "=", ":", "@", "%", "&", ";", ",", "+", "$", "|", "~"),
    *("'", '"', "`", "(", "[", "{", "<", "()", "[]", "{}", "<>", '{"', '["', "=[", "='", '\\"', '\\\\"', "b'", "--"),
    *("://", "://a:b@", "https://a:b", "a@b", "@b.c", "a@b.", "aB3", "aB3-", "a1_", "A1b2 ", "a.b.", "a/b/", "é", "İ"),
    *("%41", "%25", "%2541", "\\n", "\\u0041", "\\x41", "\\\\", "\\\\u0041", "&quot;", "&amp;", "&#65;", "\x1b[0m"),
    *("cGFzc3dvcmQ9aHVudGVyMg", "cGFzc3dvcmQ9aHVudGVyMg==", "QUJD+", "eyJhbGciOiJIUzI1NiJ9.", "eyJ", "eyJ.", "\ud800"),
    *("-----BEGIN PRIVATE KEY-----", "-----BEGIN RSA PRIVATE KEY-----\n", "-----BEGIN ", "-----END ", "PRIVATE KEY"),
    *("insert into a (password) values (", "INSERT INTO a VALUES ('", "values (1),", "--token ", "'--password', "),
    *("[redacted:", "[redacted:token]", "[redacted:token] password=", "</key><string>", "<td>", "name=token value="),
    *("4111 1111 1111 1111 ", "4111", "4-", "DE89 3704 0044 0532 0130 00", "DE89", "+49 ", "+49", "1.2.3.4", "::1"),
    *("Bearer ", "Basic ", "Cookie: a=", "Set-Cookie: a=b; ", "a=b; ", "Authorization: Bearer ", " -p ", "\x1b["),
)  # fmt: skip


def units() -> Iterator[str]:
    """Return what is repeated in a text."""
    yield from _UNITS
    yield from (form.prefixes[0] for form in TOKEN_FORMS)
    yield from (shaped.trigger for shaped in SHAPED_FORMS)
    yield from (name + separator for name in _NAMES for separator in _SEPARATORS)
    yield from (f"{words[0]} " for shape in _SHAPES if (words := shape.words or shape.marks))


def worst(redact: Callable[[str], str]) -> list[tuple[str, float]]:
    """Return what the worst texts repeat, and the CPU seconds that each of them takes, the longest first."""
    expected = {unit: _expected(redact, unit) for unit in dict.fromkeys(units())}
    chosen = sorted(expected, key=lambda unit: -expected[unit])[:MOST_LONG]
    measured = [
        (unit, expected[unit] if expected[unit] > MOST_SECONDS else _seconds(redact, unit, LONG)) for unit in chosen
    ]
    return sorted(measured, key=lambda one: -one[1])


def _expected(redact: Callable[[str], str], unit: str) -> float:
    """Return what a long text should take if part of the time grows with the length, and the rest with its square."""
    short, middle = _seconds(redact, unit, SHORT), _seconds(redact, unit, MIDDLE)
    square = max(0.0, (middle - 4 * short) / 12)
    times = LONG / SHORT
    return max(0.0, short - square) * times + square * times**2


def _seconds(redact: Callable[[str], str], unit: str, length: int) -> float:
    text = unit * (length // len(unit))
    started = time.process_time()
    redact(text)
    return time.process_time() - started
