"""Secrets in text that are known by their key: `key=value`, `key: value`, JSON, Python's repr, query strings, pairs.

A quoted value goes to its closing quote, a bracketed one to its closing bracket, and where there is none to the end of
the text, because a log line may be cut off anywhere. An unquoted value goes to white space, or to punctuation after
which something else begins.
"""

from __future__ import annotations

import re
from typing import Final

from launchkit.redaction.found import MARKER
from launchkit.redaction.keys import AUTHORIZATION, COOKIE, words_of
from launchkit.redaction.names import Name
from launchkit.redaction.placeholders import PLACEHOLDER, is_code, is_ordinary, stands_for_secret
from launchkit.redaction.shapes import is_no_word
from launchkit.redaction.values import LONGEST_UNCERTAIN, SHORTEST_UNCERTAIN, Spans, looks_random, secret_spans

_SEPARATOR: Final = re.compile(
    r"""["'\\\]]{0,12}(?:[ \t]{0,40}+(?P<sign>[=:]+>?)|(?<=["'])(?P<comma>,)|(?P<tag>>)(?=[^<>\s][^<>]{0,4096}</))"""
)
_PAIR_OPENINGS: Final = tuple(bracket + prefix + quote for bracket in "([" for prefix in ("", "b") for quote in "\"'")
_VISIBILITY: Final = re.compile(r"[\"']:(?:\"[\w\\]{1,60}\":)?(?:protected|private)\]")
_WHITE: Final = (" ", "\t")
_PAIR_CLOSINGS: Final = tuple(quote + bracket for bracket in ")]" for quote in "\"'")
_NEXT_WORD: Final = re.compile(r"[ ](?:[a-z]+|\d+|<\w+)(?=[\s.,;)(/'-]|\Z)")
_NAMES: Final = re.compile(r"[A-Za-z]+(?:[-_.][A-Za-z]+)*[:.,]?|[\w.-]+=.*|[\w.]+:\d*|\w+://.*|/.*", re.DOTALL)
_HELD: Final = re.compile("[\"'0-9]")
_CALL: Final = re.compile(r"\w\(")


_LONG_ENOUGH: Final = re.compile(
    rf"[^\s\"']\S{{{SHORTEST_UNCERTAIN - 1}}}|\"[^\s\"]{{{SHORTEST_UNCERTAIN}}}|'[^\s']{{{SHORTEST_UNCERTAIN}}}"
)
_BLANKS: Final = re.compile(r"[ \t]*+(?:[|>][-+]?\n[ \t]++|Some\(|\[\]string\{)?")
_QUOTED: Final = re.compile(
    r"""[bBuUrRfF]{0,2}(?:
        "(?P<double>[^"\\]*+(?:\\.[^"\\]*+)*+)
      | '(?P<single>[^'\\]*+(?:\\.[^'\\]*+)*+)
      | `(?P<back>[^`]*+)
      | (?P<quote>\\{1,7}["'])(?P<escaped>.*?)(?=(?P=quote)|\Z)
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
_BETWEEN_TAGS: Final = re.compile(r"[^<>]++")
_PLACEHOLDER: Final = re.compile(rf"(?:{MARKER.pattern}|{PLACEHOLDER.pattern})(?=[\s&;,\"'<>)\]}}|]|\Z)")
_CREDENTIALS: Final = r"(?:[^\s\"',;\\]++|(?<==)\"[^\"\n]*\")++"
_BARE_AUTHORIZATION: Final = re.compile(rf"{_CREDENTIALS}(?:[ \t]+{_CREDENTIALS})?(?:,[ \t]*+{_CREDENTIALS})*+")
_BARE_COOKIE: Final = re.compile(r"[^\s;\"'\\]++(?:;[ \t]*+[^\s;\"'\\]++)*+")
_BARE_LIST: Final = re.compile(rf"{_CREDENTIALS}(?:,[ \t]*+{_CREDENTIALS})*+")
_CHANGED: Final = re.compile(r"[\"'] ?(?:->|=>|→) ?[\"'](?P<new>[^\"'\n]{1,400}+)[\"']")
_LETTERS: Final = re.compile(r"[A-Za-z_. -]+")
_BARE_VALUES: Final = {AUTHORIZATION.rule: _BARE_AUTHORIZATION, COOKIE.rule: _BARE_COOKIE}


def assigned(text: str, name: Name) -> tuple[Spans, int]:
    """Return where the secrets stand that are assigned to a name, and how far other names are part of the value."""
    separator = _SEPARATOR.match(text, name.end)
    if separator is None or _is_no_key(text, name, separator):
        return [], name.end
    return _secret_spans(text, separator, name)


def _is_no_key(text: str, name: Name, separator: re.Match[str]) -> bool:
    """Tell whether what looks like a key is a marker of ours, part of a name, a URL's scheme, or an item of a list."""
    if separator["comma"]:
        return not text.endswith(_PAIR_OPENINGS, 0, name.start)
    if separator["tag"]:
        return not text.endswith(("<", ":"), 0, name.start)
    if separator["sign"] == "::":
        return not text.startswith(_WHITE, separator.end())  # LDIF has base64 behind it (RFC 2849)
    if _VISIBILITY.match(text, name.end):
        return True  # what it holds stands further on
    if separator["sign"] != ":":
        return False
    after = separator.end()
    if text.endswith(":", 0, name.start) and not text.startswith(_WHITE, after):
        return True  # `DEBUG:app.auth:message`, `arn:aws:...:secret:name`
    return text.startswith("//", after)


def _secret_spans(text: str, separator: re.Match[str], name: Name) -> tuple[Spans, int]:
    start = _end_of_blanks(text, separator.end())
    if not name.kind.certain and _LONG_ENOUGH.match(text, start) is None:
        return [], name.end
    quoted = _quoted(text, start, opens=_is_quoted(text, name))
    if quoted is not None:
        span: tuple[int, int] | None = quoted.span(quoted.lastgroup or 0)
    elif separator["comma"] or _PLACEHOLDER.match(text, start):
        span = None
    elif text.startswith(("[", "(", "{"), start) and not text.startswith("[redacted:", start):
        return _bracketed_spans(text, start, name) if name.kind.certain else ([], name.end)
    else:
        span = _bare_span(text, start, name, separator)
    if span is None or _is_no_value(text, name, separator, span, is_quoted=quoted is not None):
        return [], name.end
    spans = secret_spans(name.kind, text[span[0] : span[1]])
    seen = span[1] if name.kind is COOKIE else name.end  # the names in a cookie header are those of cookies
    changed = _CHANGED.match(text, span[1]) if quoted is not None else None
    if changed:
        spans.append((changed.start("new") - span[0], changed.end("new") - span[0]))
    return [(span[0] + first, span[0] + last) for first, last in spans], seen


def _is_no_value(text: str, name: Name, separator: re.Match[str], span: tuple[int, int], *, is_quoted: bool) -> bool:
    """Tell whether what stands after a key is its own name again, a sentence, or the next item of a list."""
    value = text[span[0] : span[1]]
    if len(value) <= len(name.text) and value.isascii() and _LETTERS.fullmatch(value):
        words = words_of(value)
        if words == words_of(name.text)[-len(words) :]:
            return True
    if not is_quoted and separator["sign"] == ":" and _is_prose(text, name, value, span):
        return True
    return bool(separator["comma"]) and not _is_pair(text, name, value, span[1])


def _is_prose(text: str, name: Name, value: str, span: tuple[int, int]) -> bool:
    """Tell a sentence after a colon from a value: `"token": scanned`, `passwords: 12 checked`, `app.secret: sent`."""
    if text.startswith(" = ", span[1]):
        return True  # an annotation in source
    is_name = "." in name.text and not _is_quoted(text, name) and _NAMES.fullmatch(value) is not None
    if name.kind.rule in _BARE_VALUES:
        return is_name and ";" not in value and not looks_random(value)
    is_word = value.isdecimal() or not is_no_word(value)
    if is_word and (name.text.lower() == "pass" or _is_quoted(text, name) or _NEXT_WORD.match(text, span[1])):
        return not (_is_quoted(text, name) and value.isdecimal())
    return is_name


def _is_pair(text: str, name: Name, value: str, end: int) -> bool:
    """Tell a pair of name and value from a list of names: it ends after the value, which is no word."""
    if not text.startswith(_PAIR_CLOSINGS, end) and end < len(text):
        return False
    return name.kind.rule in _BARE_VALUES or (
        is_no_word(value) and not is_ordinary(value) and _CALL.search(value) is None
    )


def _is_quoted(text: str, name: Name) -> bool:
    return text.startswith(('"', "'", "\\"), name.end)


def _end_of_blanks(text: str, start: int) -> int:
    blanks = _BLANKS.match(text, start)
    return blanks.end() if blanks else start


def _quoted(text: str, start: int, *, opens: bool) -> re.Match[str] | None:
    """Return the quoted value at `start`. If key and separator are in quotes, this one closes them: `"?token="`."""
    return None if not opens and _CLOSING_QUOTE.match(text, start) else _QUOTED.match(text, start)


def _bare_span(text: str, start: int, name: Name, separator: re.Match[str]) -> tuple[int, int] | None:
    """Return where an unquoted value stands that is not code.

    One that may turn out to be no secret is first looked at in a piece, because keys in its inside come up again.
    """
    pattern = _BETWEEN_TAGS if separator["tag"] else _BARE_VALUES.get(name.kind.rule, _BARE)
    if name.kind.rule == "signature" and separator["sign"] == ":":
        pattern = _BARE_LIST
    if name.kind is AUTHORIZATION and MARKER.match(text, start):
        return None
    limit = len(text) if name.kind.certain else start + LONGEST_UNCERTAIN + 2
    bare = pattern.match(text, start, limit)
    if bare is not None and bare.end() >= limit - 1 and limit < len(text):
        bare = pattern.match(text, start)
    return None if bare is None or is_code(name.text, bare[0]) else bare.span()


def _bracketed_spans(text: str, start: int, name: Name) -> tuple[Spans, int]:
    depth = 0
    end = seen = len(text)
    for bracket in _BRACKET.finditer(text, start):
        depth += 1 if bracket[0] in "[({" else -1
        if depth == 0:
            end, seen = bracket.end(), name.end
            break
    inside = text[start + 1 : end - 1].strip()
    is_secret = (
        _HELD.search(inside) is not None
        and not inside.isdecimal()
        and not is_code(name.text, inside)
        and not stands_for_secret(inside)
    )
    return ([(start, end)] if is_secret else []), seen
