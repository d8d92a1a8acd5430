"""How a secret is told by what stands around it, or by its own grammar: a pattern that is tried where a word stands.

The rules about shapes:

- A shape names what it hides by its id, which is all that a reader of the log gets to see: `[redacted:<id>]`.
- It is tried only on text that has one of its words, in lower case and whole, or one of its marks beside a long run of
  letters and digits.
- It must take linear time on any text. Hence no match starts with a repetition, a run that could fail late is
  possessive or bounded, and a run that must be followed by something cannot be entered in its middle (`RUN_START`).
- What tells a secret from a word is said by `accept`, after the match, and never by a second look at the same run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from launchkit.redaction.found import Found
from launchkit.redaction.placeholders import is_ordinary, is_placeholder, stands_for_secret

_AFTER_ESCAPE: Final = r"(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{2})|(?<=\[[0-9]m)|(?<=\[[0-9]{2}m)"
"""Where a word starts although a letter stands before it: an escaped line break, a percent escape, a colour code."""

START: Final = rf"(?:(?<![A-Za-z0-9])|{_AFTER_ESCAPE})"
RUN_START: Final = rf"(?:(?<![\w-])|{_AFTER_ESCAPE})"

UNQUOTED: Final = r"(?:[^\s\"']|[\"'](?=[^\s\"',;:)\]}]))"
"""A character of a value that ends at white space, or at a quote after which the text around it goes on."""

_DIGIT: Final = re.compile("[0-9]")
_WORD: Final = re.compile(r"[A-Za-z]?[a-z]*+[.,;:!?)]*+")


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """One kind of secret that is recognised by its own form, or by what is around it.

    `pattern` matches the secret, or has groups named `secret...` around each one. `accept` tells whether what was
    matched is one.
    """

    rule: str
    words: tuple[str, ...]
    pattern: re.Pattern[str]
    reason: str
    accept: Callable[[str], bool] = bool
    marks: tuple[str, ...] = ()

    def find(self, text: str) -> Iterator[Found]:
        """Find all secrets of this kind."""
        groups = tuple(self.pattern.groupindex) or (0,)
        for match in self.pattern.finditer(text):
            for group in groups:
                secret = match[group]
                if secret and not stands_for_secret(secret) and self.accept(secret):
                    yield Found(*match.span(group), self.rule, self.reason)


def shape(rule: str, words: str, expression: str, reason: str, accept: Callable[[str], bool] = bool) -> Shape:
    """Return a shape that is tried where one of the words stands, which are separated by blanks."""
    return Shape(rule, tuple(words.split()), re.compile(expression), reason, accept)


def marked(rule: str, marks: tuple[str, ...], expression: str, reason: str) -> Shape:
    """Return a shape that is tried where one of the marks, in lower case, stands beside a long run."""
    return Shape(rule, (), re.compile(expression), reason, marks=marks)


def has_digit(text: str) -> bool:
    """Tell whether a text has a digit, as random ones of some length have."""
    return _DIGIT.search(text) is not None


def is_value(text: str) -> bool:
    """Tell a value from a placeholder."""
    return not is_placeholder(text)


def is_no_word(text: str) -> bool:
    """Tell `hunter2` and `Tr!x` from `required`: it has a digit, a sign, or capitals after small letters."""
    return is_value(text) and _WORD.fullmatch(text) is None


def is_argument(text: str) -> bool:
    """Tell a value on a command line from a placeholder and from a number, which the same flag may take elsewhere."""
    return is_value(text) and not text.isdecimal()


def is_token(text: str) -> bool:
    """Tell a random part of an address from words and dates."""
    return has_digit(text) and not is_ordinary(text)
