"""Plain text for people: aligned, no colours, at most 100 columns; and JSON for machines.

What comes from elsewhere (keys, events, errors) is made one line of printable characters, so that nobody who can get
a text into the inbox controls an operator's terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

WIDTH: Final = 100


def say(lines: Iterable[str]) -> None:
    """Print lines."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def say_json(value: object) -> None:
    """Print one JSON object."""
    say([json.dumps(value, indent=2)])


def plain(text: str) -> str:
    """Return a text on one line, with `?` for what a terminal would not print."""
    return "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))


def cut(text: str, width: int = WIDTH) -> str:
    """Return a text, shortened to a width."""
    return text if len(text) <= width else text[: width - 3] + "..."


def aligned(rows: Iterable[Sequence[str]], *, right: Collection[int] = ()) -> list[str]:
    """Return a line for each row, its cells in columns; those in the columns of `right` end where the column ends."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(_padded(row, widths, right)).rstrip() for row in rows]


def _padded(row: Sequence[str], widths: Sequence[int], right: Collection[int]) -> list[str]:
    return [
        cell.rjust(width) if column in right else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def counted(count: int, one: str = "delivery", many: str = "deliveries") -> str:
    """Return a count with its noun."""
    return f"{count} {one if count == 1 else many}"


def duration(seconds: float) -> str:
    """Return seconds as people say them: `12 s`, `3 min`, `2 h`, `5 d`."""
    seconds = max(seconds, 0.0)
    for name, size, most in (("s", 1, 60), ("min", 60, 3_600), ("h", 3_600, 172_800)):
        if seconds < most:
            return f"{int(seconds // size)} {name}"
    return f"{int(seconds // 86_400)} d"


def iso(seconds: float) -> str:
    """Return seconds since 1970 as ISO 8601 in UTC, like `2026-11-20T08:00:00Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
