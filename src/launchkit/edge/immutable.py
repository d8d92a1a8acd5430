"""Static files whose names change with their content: browsers may keep them for a year (RFC 8246).

The rules:

- A name carries a hash if one of its parts, between dots, hyphens and underscores and before the extension, looks like
  what build tools write: at least 8 hexadecimal digits; or base 32 (esbuild); or 8, or at least 20, letters and digits
  with upper and lower case (Vite, Rollup). Each has a letter and a digit.
- A word with a number before, behind or in it is none: `bootstrap5`, `report2024`, `face2face`. A date has no letter
  or is a month with numbers on both sides.
- What looks like a hash and is none would be stale for a year, so what is in doubt is not one.
- The app's own Cache-Control and Set-Cookie win, but for a bare `no-cache`: Flask writes that on every static file.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from launchkit.pipeline.exchange import Exchange, Header
from launchkit.pipeline.interceptor import Interceptor
from launchkit.pipeline.paths import PathPattern
from launchkit.settings import EdgeSettings

FOREVER: Final = b"max-age=31536000, immutable"

_separator = re.compile(r"[._-]")
_looks_like_a_hash = re.compile(
    r"""(?=.*[0-9]) (?=.*[A-Za-z]) (?! [A-Za-z]+[0-9]+\Z | [0-9]+[A-Za-z]+\Z | [a-z]+[0-9]+[a-z]+\Z)
    (?! [0-9]{1,4}[A-Za-z]{3,9}[0-9]{1,4}\Z)
    (?: [0-9a-f]{8,} | [A-Z2-7]{8,} | (?=.*[a-z])(?=.*[A-Z]) (?: [A-Za-z0-9]{8} | [A-Za-z0-9]{20,} ) )""",
    re.VERBOSE,
).fullmatch


class Immutable(Interceptor):
    """Marks the files under the paths of `edge.immutable`."""

    name = "immutable"

    def __init__(self, settings: EdgeSettings) -> None:
        self.patterns = tuple(map(PathPattern, settings.immutable))

    def select(self, method: str, matched: frozenset[PathPattern]) -> Interceptor | None:
        """Take part in reads of those paths."""
        return self if method in ("GET", "HEAD") and not matched.isdisjoint(self.patterns) else None

    def on_response_start(self, exchange: Exchange) -> None:
        """Mark a file, or a part of one, or the news that it has not changed."""
        name = exchange.path.rpartition("/")[2]
        if exchange.status not in (200, 206, 304) or len(name) > 255 or not carries_hash(name):
            return
        if exchange.response_header(b"set-cookie") is not None:
            return
        present = exchange.response_header(b"cache-control")
        if present is None:
            exchange.default_response_headers(_HEADERS)
        elif present.strip().lower() == b"no-cache":
            exchange.replace_response_header(b"cache-control", FOREVER)


_HEADERS: Final[tuple[Header, ...]] = ((b"cache-control", FOREVER),)


@lru_cache(maxsize=1024)
def carries_hash(name: str) -> bool:
    """Tell whether a file's name changes with its content."""
    stem, _, _ = name.rpartition(".")
    return any(_looks_like_a_hash(part) for part in _separator.split(stem))
