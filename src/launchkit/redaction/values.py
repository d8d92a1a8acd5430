"""What is secret in the value of a secret key, and what takes its place.

A marker never contains anything of what it replaced, and is itself no secret: redacting twice changes nothing.
"""

from __future__ import annotations

import re
from typing import Final

from launchkit.redaction import rules
from launchkit.redaction.keys import AUTHORIZATION, Kind

MARKER: Final = re.compile(r"\[redacted:[a-z0-9-]+\]")
"""What has taken the place of a secret."""

LONGEST_UNCERTAIN: Final = 512
"""Characters without white space that a doubtful value may have before it counts as secret whatever it looks like."""

_SCHEMES: Final = "|".join(re.escape(name) for name in sorted(rules.AUTHORIZATION_SCHEMES, reverse=True))
_SCHEME: Final = re.compile(rf"(?i:{_SCHEMES})(?:[ \t]+|%20)(?=\S)")
_NAME: Final = re.compile(r"[A-Za-z_]+(?:[._][A-Za-z_]+)+")
_WHITE_SPACE: Final = re.compile(r"\s")
_RANDOM: Final = re.compile(r"(?=\D*\d)(?=[^A-Za-z]*[A-Za-z])\S{16,}")
_LONGEST_EXPRESSION: Final = 200
_SHORTEST_NUMBER: Final = 4


def marker(rule: str) -> str:
    """Return what takes the place of a secret."""
    return f"[redacted:{rule}]"


def masked(kind: Kind, value: str) -> str:
    """Return the value with its secret hidden: all of it, but for the scheme of an Authorization header."""
    scheme = _SCHEME.match(value) if kind is AUTHORIZATION else None
    return (scheme[0] if scheme else "") + marker(kind.rule)


def is_secret(kind: Kind, value: str) -> bool:
    """Tell whether the value of a key of this kind has to be hidden."""
    if kind is AUTHORIZATION:
        scheme = _SCHEME.match(value)
        value = value[scheme.end() :] if scheme else value
    if is_placeholder(value):
        return False
    if kind.certain:
        return not (value.isdecimal() and len(value) < _SHORTEST_NUMBER)
    return looks_random(value) and not (kind.rule in ("key", "code") and rules.IDENTIFIER.fullmatch(value) is not None)


def is_placeholder(value: str) -> bool:
    """Tell whether the value of a key is empty, a word like `None` or `required`, or only stands for a secret."""
    return not value.strip() or value.lower().strip(".,;:!?") in rules.NO_SECRETS or stands_for_secret(value)


def stands_for_secret(text: str) -> bool:
    """Tell whether a text only stands for a secret: `***`, `%s`, `${TOKEN}`, or a marker of ours."""
    return rules.PLACEHOLDER.fullmatch(text) is not None or MARKER.fullmatch(text) is not None


def looks_random(value: str) -> bool:
    """Tell whether a value is long, of letters and digits, and not made of ordinary words.

    One without white space of more than `LONGEST_UNCERTAIN` characters always counts: nobody reads it. Markers of ours
    do not.
    """
    value = MARKER.sub("", value)
    if len(value) > LONGEST_UNCERTAIN:
        return _WHITE_SPACE.search(value) is None
    return _RANDOM.fullmatch(value) is not None and rules.ORDINARY.fullmatch(value) is None


def is_code(key: str, value: str) -> bool:
    """Tell whether an unquoted value is an expression in a line of source: `self._token = token`, `pwd=form.pwd`."""
    if len(value) > _LONGEST_EXPRESSION:
        return False
    if value.lstrip("_") == key.rpartition(".")[2].lstrip("_") or rules.CODE.fullmatch(value) is not None:
        return True
    last_word = re.split("[._-]", key)[-1].lower()
    return _NAME.fullmatch(value) is not None and value.lower().endswith(last_word)
