"""Takes secrets out of text and data.

The order of work on a text matters: exact values and secrets that are part of something larger first, so that a URL
keeps its host; then what a key name gives away, with all of its value; then secrets that are words by themselves. It
is repeated until nothing changes, which makes redaction idempotent whatever patterns the app adds.

Most lines hold nothing. They cost a look for each trigger, and no regular expression is run. The triggers of key names
are compared in lower case, and only where there is something to separate a key from a value.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, quote_plus

from launchkit.redaction.assignments import redact_assignments
from launchkit.redaction.keys import KeyNames
from launchkit.redaction.rules import EMAIL, STRUCTURES, TOKENS, Rule
from launchkit.redaction.structures import StructureRedactor
from launchkit.redaction.values import MARKER, marker, stands_for_secret
from launchkit.settings import RedactionSettings

SHORTEST_VALUE: Final = 8
"""Characters that an exact value needs to be hidden wherever it appears; a shorter one would take words with it."""

_MOST_ROUNDS: Final = 5
_AROUND_MARKERS: Final = re.compile(f"({MARKER.pattern})")

_Gates = tuple[tuple[str, tuple[tuple[str, Rule], ...]], ...]
"""Rules behind their triggers, and these behind a mark."""


class Redactor:
    """Takes secrets out of text and data. Safe for threads; holds no state but what it was made with.

    Args:
        settings: further keys and patterns, and what is never secret.
        mask_emails: hide the local part of e-mail addresses.
        values: secrets that are known exactly, hidden wherever they appear; shorter ones than `SHORTEST_VALUE` are
            left out.
    """

    def __init__(self, settings: RedactionSettings, *, mask_emails: bool, values: Iterable[str] = ()) -> None:
        self._keys = KeyNames(settings.keys)
        self._key_triggers = self._keys.triggers
        self._allow = tuple(re.compile(pattern) for pattern in settings.allow)
        self._patterns = tuple(re.compile(pattern) for pattern in settings.patterns)
        self._values = _spellings(values)
        self._any_value = re.compile("|".join((MARKER.pattern, *map(re.escape, self._values))))
        self._structures = _by_trigger(STRUCTURES)
        self._tokens = _by_trigger((*TOKENS, EMAIL) if mask_emails else TOKENS)

    def redact(self, text: str) -> str:
        """Return `text` with every secret replaced by `[redacted:<rule>]`; the same object if there is none."""
        for _ in range(_MOST_ROUNDS):
            redacted = self._redact_once(text)
            if redacted == text:
                break
            text = redacted
        return text

    def redact_data(self, value: object) -> object:
        """Return `value` without secrets, and itself if it holds none.

        Looks into dictionaries (whose keys tell what their values are), lists, tuples, sets and pairs of header name
        and value, and at text and bytes. Any other object is replaced by its text if that holds a secret. Nothing is
        changed in place.
        """
        return StructureRedactor(self.redact, self._keys.kind, self._is_allowed).visit(value)

    def _redact_once(self, text: str) -> str:
        structures = _triggered(self._structures, text)
        tokens = _triggered(self._tokens, text)
        if any(value in text for value in self._values):
            text = self._any_value.sub(_hide_value, text)
        for rule in structures:
            text = self._apply(rule, text)
        if self._may_assign(text):
            text = redact_assignments(text, self._keys.kind, self._is_allowed)
        for rule in tokens:
            text = self._apply(rule, text)
        for pattern in self._patterns:
            text = self._apply_outside_markers(pattern, text)
        return text

    def _may_assign(self, text: str) -> bool:
        if "=" not in text and ":" not in text and "'," not in text and '",' not in text:
            return False
        lowered = text.lower()
        for trigger in self._key_triggers:  # noqa: SIM110  # any() with a generator takes twice as long
            if trigger in lowered:
                return True
        return False

    def _is_allowed(self, secret: str) -> bool:
        return any(pattern.fullmatch(secret) for pattern in self._allow)

    def _apply(self, rule: Rule, text: str) -> str:
        def hide(match: re.Match[str]) -> str:
            group = match.lastgroup or 0
            secret = match[group]
            if stands_for_secret(secret) or (rule.accept and not rule.accept(secret)) or self._is_allowed(secret):
                return match[0]
            start, end = (position - match.start() for position in match.span(group))
            return match[0][:start] + marker(rule.id) + match[0][end:]

        return rule.pattern.sub(hide, text)

    def _apply_outside_markers(self, pattern: re.Pattern[str], text: str) -> str:
        def hide(match: re.Match[str]) -> str:
            return marker("pattern") if match[0] and not self._is_allowed(match[0]) else match[0]

        pieces = _AROUND_MARKERS.split(text)
        pieces[::2] = [pattern.sub(hide, piece) for piece in pieces[::2]]
        return "".join(pieces)


def _by_trigger(rules: Iterable[Rule]) -> _Gates:
    """Put triggers behind the mark that they contain: text without it needs no look for any of them."""
    gates: dict[str, list[tuple[str, Rule]]] = {}
    for rule in rules:
        for trigger in rule.triggers:
            mark = next((mark for mark in "_-:" if mark in trigger), "")
            gates.setdefault(mark, []).append((trigger, rule))
    return tuple((mark, tuple(behind)) for mark, behind in gates.items())


def _triggered(gates: _Gates, text: str) -> list[Rule]:
    return [rule for mark, behind in gates if mark in text for trigger, rule in behind if trigger in text]


def _spellings(values: Iterable[str]) -> tuple[str, ...]:
    """Return each value as it is and as it is written elsewhere; longer ones first, for one may contain another."""
    long_enough = [value for value in values if len(value) >= SHORTEST_VALUE]
    spelled = {spelling for value in long_enough for spelling in _written(value)}
    return tuple(sorted(spelled, key=lambda spelling: (-len(spelling), spelling)))


def _written(value: str) -> Iterator[str]:
    """Return a value as it stands in URLs, JSON, Python, HTML and base64."""
    percent = quote(value, safe="")
    yield from (value, percent, percent.lower(), quote(value), quote_plus(value))
    yield from (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
    yield from (repr(value)[1:-1], repr(value.encode())[2:-1], html.escape(value))
    yield base64.b64encode(value.encode()).decode().rstrip("=")


def _hide_value(match: re.Match[str]) -> str:
    return match[0] if MARKER.fullmatch(match[0]) else marker("setting")
