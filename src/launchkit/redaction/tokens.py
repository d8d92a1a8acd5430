"""Secrets that begin with what their provider has chosen, wherever a word starts.

Looking for some hundreds of beginnings in each line would take longer than logging it. Every token has a long run of
letters, digits and dashes; where a line has one, its first three characters are looked up in a table of beginnings, and
only the tokens that begin so are searched for. Tokens without a beginning of their own have a mark within them, which
is looked for where a run is longer still.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import product
from string import ascii_letters, digits
from typing import Final

from launchkit.redaction.found import Found
from launchkit.redaction.providers import SHAPED_FORMS, TOKEN_FORMS, ShapedForm, TokenForm
from launchkit.redaction.shapes import RUN_START, START, has_digit

SHORTEST_RUN: Final = 16
"""Characters of the shortest run that a token has."""

_WIDTH: Final = 3
_LONG_RUN: Final = 22
_RUN: Final = re.compile(r"[A-Za-z0-9_.-]+")
_RUN_AT_END: Final = re.compile(r"[A-Za-z0-9_.-]+\Z")
_INNER: Final = re.compile(r"(?<=[_.-])[A-Za-z0-9][A-Za-z0-9_.-]{2}")
"""Where a token may start within a run: `backup-ghp_...`."""
_SIGNS: Final = ":|~+!*"
"""What stands right before the long run of some tokens."""
_IDENTIFIER: Final = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]++|[A-Za-z_.-]++|[a-z]++(?:[-_.][a-z]*+[0-9]{0,4})*+"
)
"""Most long runs: a UUID (RFC 9562), a hash, words."""
_JSON_WEB_TOKEN: Final = RUN_START + r"eyJ[\w-]{8,}+(?:\.[\w-]*+){1,4}"
"""RFC 7519, RFC 7516."""

_Pattern = tuple[str, str, str, int | None]
"""A literal that is in every such token, the rule, the expression, and from where on the token has to have a digit."""


class TokenFinder:
    """Finds tokens of known providers."""

    def __init__(self, forms: Iterable[TokenForm], shaped: Iterable[ShapedForm]) -> None:
        self._heads: dict[str, list[_Pattern]] = {}
        self._signed: list[_Pattern] = []
        self._marked: list[_Pattern] = []
        for form in forms:
            for prefix in form.prefixes:
                expression = f"{re.escape(prefix)}(?:{_looks_back(prefix)})(?:{form.body})"
                self._learn(prefix, (prefix, form.rule, expression, len(prefix) if form.needs_digit else None))
        self._learn("eyJ", ("eyJ", "jwt", _JSON_WEB_TOKEN, None))
        for shape in shaped:
            expression = START + f"(?:{shape.pattern})"
            kinds = self._marked if _RUN.fullmatch(shape.trigger) else self._signed
            kinds.append((shape.trigger, shape.rule, expression, 0 if shape.needs_digit else None))

    def _learn(self, prefix: str, pattern: _Pattern) -> None:
        """Put a pattern where the run is looked up which the end of its prefix begins, or all of it: `0A` of `4/0A`."""
        begun = _RUN_AT_END.search(prefix) or _RUN.match(prefix)
        head = begun[0][:_WIDTH] if begun else ""
        if not head:
            self._signed.append(pattern)
            return
        for rest in product(ascii_letters + digits, repeat=_WIDTH - len(head)):
            self._heads.setdefault(head + "".join(rest), []).append(pattern)

    def find(self, text: str, runs: Iterable[str]) -> Iterator[Found]:
        """Find all tokens in a text with such runs of letters, digits, `_`, `-` and `.`."""
        patterns: list[_Pattern] = []
        start = 0
        if "+A" in text or "Q~" in text:
            patterns += self._signed  # keys of Azure's, which have a short run behind a sign
        for run in runs:
            patterns += self._heads.get(run[:_WIDTH], ())
            if len(run) >= _LONG_RUN:
                start = text.find(run, start)
                if text[start - 1] in _SIGNS:
                    patterns += self._signed
                if _IDENTIFIER.fullmatch(run) is None:
                    for inner in _INNER.findall(run):
                        patterns += self._heads.get(inner, ())
                    patterns += [one for one in self._marked if one[0] in run]
        for pattern in dict.fromkeys(patterns) if patterns else ():
            if pattern[0] in text:
                yield from _matches(pattern, text)


@cache
def _compiled(expression: str) -> re.Pattern[str]:
    """Compile at the first use: all of them take half a second, and a process meets few kinds of tokens."""
    return re.compile(expression)


def _matches(pattern: _Pattern, text: str) -> Iterator[Found]:
    literal, rule, expression, digit_from = pattern
    for match in _compiled(expression).finditer(text):
        if digit_from is None or has_digit(match[0][digit_from:]):
            yield Found(*match.span(), rule, f"has the form of one, with {literal!r} in it")


def _looks_back(prefix: str) -> str:
    """Return what holds after a prefix if a word starts with it; the prefix comes first because it is quick to find."""
    literal = re.escape(prefix)
    return "|".join(
        f"(?<={before}{literal})" for before in (r"(?<![A-Za-z0-9])", r"\\[nrt]", r"\[[0-9]m", r"\[[0-9]{2}m")
    )


@cache
def token_finder() -> TokenFinder:
    """Return what finds the tokens of all providers that are known; one serves the process."""
    return TokenFinder(TOKEN_FORMS, SHAPED_FORMS)
