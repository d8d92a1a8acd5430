"""Secrets in text that are known by their key: `key=value`, `key: value`, JSON, Python's repr, query strings, pairs.

The text is searched for separators, and the key is read backwards from each: that is linear whatever comes before. A
quoted value goes to its closing quote, a bracketed one to its closing bracket, and where there is none to the end of
the text, because a log line may be cut off anywhere. An unquoted value goes to white space, or to punctuation after
which something else begins.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from launchkit.redaction.keys import AUTHORIZATION, COOKIE, LONGEST_KEY, Kind
from launchkit.redaction.rules import PLACEHOLDER
from launchkit.redaction.values import LONGEST_UNCERTAIN, MARKER, is_code, is_secret, looks_random, masked

_SEPARATOR: Final = re.compile(r"[=:]+>?|(?<=[\"']),")
_KEY_CHARACTERS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
_BETWEEN: Final = " \t\"'\\]"
_PAIR_OPENINGS: Final = tuple(bracket + prefix + quote for bracket in "([" for prefix in ("", "b") for quote in "\"'")
_LOGGER_NAMES_FOLLOW: Final = ("DEBUG:", "INFO:", "WARNING:", "ERROR:", "CRITICAL:")

_BLANKS: Final = re.compile(r"[ \t]*+")
_QUOTED: Final = re.compile(
    r"""[bBuUrRfF]{0,2}(?:
        "(?P<double>[^"\\]*+(?:\\.[^"\\]*+)*+)
      | '(?P<single>[^'\\]*+(?:\\.[^'\\]*+)*+)
      | (?P<quote>\\{1,3}["'])(?P<escaped>.*?)(?=(?P=quote)|\Z)
    )""",
    re.DOTALL | re.VERBOSE,
)
_CLOSING_QUOTE: Final = re.compile(r"[\"'](?=[\s)\],};]|\Z)")
_BRACKET: Final = re.compile(r"[\[\](){}]")
_BARE: Final = re.compile(
    rf"""(?:{MARKER.pattern} | [^\s&;,"'<>)\]}}|\\[]++ | \[
      | [&;,"'<>)\]}}|\\] (?! [\s&;,"'<>)\]}}|\\] | \Z | [\w.%\[\]-]{{1,40}}["']?[ ]?[=:] ) )++""",
    re.VERBOSE,
)
_PLACEHOLDER: Final = re.compile(rf"(?:{PLACEHOLDER.pattern})(?=[\s&;,\"'<>)\]}}|]|\Z)")
_CREDENTIALS: Final = r"(?:[^\s\"',;\\]++|(?<==)\"[^\"\n]*\")++"
_BARE_AUTHORIZATION: Final = re.compile(rf"{_CREDENTIALS}(?:[ \t]+{_CREDENTIALS})?(?:,[ \t]*+{_CREDENTIALS})*+")
_BARE_COOKIE: Final = re.compile(r"[^\s;\"'\\]++(?:;[ \t]*+[^\s;\"'\\]++)*+")
_BARE_VALUES: Final = {AUTHORIZATION: _BARE_AUTHORIZATION, COOKIE: _BARE_COOKIE}


@dataclass(frozen=True, slots=True)
class _Key:
    name: str
    kind: Kind
    start: int
    quoted: bool


def redact_assignments(text: str, kind_of: Callable[[str], Kind | None], is_allowed: Callable[[str], bool]) -> str:
    """Return `text` with the values of secret keys hidden.

    Args:
        text: any text.
        kind_of: tells what a key of that name holds, None for nothing secret.
        is_allowed: tells whether the app has declared a value harmless.
    """
    pieces: list[str] = []
    copied = 0
    for separator in _SEPARATOR.finditer(text):
        if separator.start() < copied:
            continue
        key = _key_before(text, separator.start(), kind_of)
        if key is None or _is_no_key(text, key, separator):
            continue
        span = _secret_span(text, separator, key)
        if span is None or is_allowed(text[span[0] : span[1]]):
            continue
        pieces += (text[copied : span[0]], masked(key.kind, text[span[0] : span[1]]))
        copied = span[1]
    return "".join((*pieces, text[copied:])) if pieces else text


def _key_before(text: str, end: int, kind_of: Callable[[str], Kind | None]) -> _Key | None:
    window_start = max(0, end - LONGEST_KEY)
    window = text[window_start:end].rstrip(_BETWEEN)
    start = len(window.rstrip(_KEY_CHARACTERS))
    kind = kind_of(window[start:])
    if kind is None:
        return None
    key_end = window_start + len(window)
    return _Key(window[start:], kind, window_start + start, key_end < end and text[key_end] in "\"'\\")


def _is_no_key(text: str, key: _Key, separator: re.Match[str]) -> bool:
    """Tell whether what looks like a key is a marker of ours, a logger's name, a URL's scheme, or an item of a list."""
    if separator[0] == ",":
        return not text.endswith(_PAIR_OPENINGS, 0, key.start)
    if separator[0] == ":" and (
        text.startswith("//", separator.end()) or text.endswith(_LOGGER_NAMES_FOLLOW, 0, key.start)
    ):
        return True
    return text.endswith("[redacted:", 0, key.start)


def _secret_span(text: str, separator: re.Match[str], key: _Key) -> tuple[int, int] | None:
    """Return where the secret after `separator` stands, or None if there is none."""
    start = _end_of_blanks(text, separator.end())
    touches = not key.quoted and start == separator.end()
    quoted = None if touches and _CLOSING_QUOTE.match(text, start) else _QUOTED.match(text, start)
    if quoted is not None:
        span: tuple[int, int] | None = quoted.span(quoted.lastgroup or 0)
    elif separator[0] == ",":
        span = None
    elif text.startswith(("[", "(", "{"), start) and not text.startswith("[redacted:", start):
        return _bracketed_span(text, start, key) if key.kind.certain else None
    else:
        span = _bare_span(text, start, key)
    if span is None:
        return None
    value = text[span[0] : span[1]]
    if separator[0] == "," and key.kind not in _BARE_VALUES and not looks_random(value):
        return None
    return span if is_secret(key.kind, value) else None


def _end_of_blanks(text: str, start: int) -> int:
    blanks = _BLANKS.match(text, start)
    return blanks.end() if blanks else start


def _bare_span(text: str, start: int, key: _Key) -> tuple[int, int] | None:
    """Return where an unquoted value stands that is not code.

    One that may turn out to be no secret is first looked at in a piece, because keys in its inside come up again.
    """
    if _PLACEHOLDER.match(text, start):
        return None
    pattern = _BARE_VALUES.get(key.kind, _BARE)
    limit = len(text) if key.kind.certain else start + LONGEST_UNCERTAIN + 2
    bare = pattern.match(text, start, limit)
    if bare is not None and bare.end() >= limit - 1 and limit < len(text):
        bare = pattern.match(text, start)
    return None if bare is None or is_code(key.name, bare[0]) else bare.span()


def _bracketed_span(text: str, start: int, key: _Key) -> tuple[int, int] | None:
    depth = 0
    end = len(text)
    for bracket in _BRACKET.finditer(text, start):
        depth += 1 if bracket[0] in "[({" else -1
        if depth == 0:
            end = bracket.end()
            break
    inside = text[start + 1 : end - 1].strip()
    return None if not inside or is_code(key.name, inside) else (start, end)
