"""Values that tracebacks draw beneath the names in a line of source, as loguru and better_exceptions do.

connect(host, password)
        │     └ 'correct horse'
        └ 'db.internal'
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from launchkit.redaction.found import Found
from launchkit.redaction.keys import Kind
from launchkit.redaction.values import secret_spans

MARK: Final = "└ "

_DRAWN: Final = re.compile(r"\s*│[\s│]*\Z|[\s│]*└ b?[\"']?(?P<value>[^\n]*?)[\"']?\Z")
_NAME: Final = re.compile(r"\w{1,96}")
_LONGEST: Final = 96


def find_drawn(text: str, kind_of: Callable[[str], Kind | None]) -> Iterator[Found]:
    """Find the values that are drawn beneath names of secrets."""
    start = 0
    source = ""
    for line in text.split("\n"):
        drawn = _DRAWN.match(line)
        if drawn is None:
            source = line
        elif drawn["value"]:
            name = _name_at(source, line.index("└"))
            kind = kind_of(name) if name else None
            for first, last in secret_spans(kind, drawn["value"]) if kind else ():
                offset = start + drawn.start("value")
                yield Found(offset + first, offset + last, kind.rule if kind else "", f"drawn beneath {name!r}")
        start += len(line) + 1


def _name_at(source: str, column: int) -> str:
    """Return the name that stands at a column, which may be anywhere in it."""
    before = source[max(0, column - _LONGEST) : column]
    start = column - len(before) + len(before.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"))
    name = _NAME.match(source, start)
    return name[0] if name and name.end() > column else ""
