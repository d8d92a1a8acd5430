"""The Cache-Control response header (RFC 9111 section 5.2.2), read leniently and in doubt restrictively.

The rules:

- Names are compared without case; an argument may be a token or a double-quoted string (section 5.2). White space
  around `=` is tolerated, though the grammar has none.
- A directive that is given twice counts in its most restrictive form (section 4.2.1).
- A time that is no whole number of seconds counts as 0 (section 4.2.1); one too large to hold is cut (section 1.2.2).
- `private` and `no-cache` with field names count as if they had none (sections 5.2.2.4 and 5.2.2.7 allow that).
- An unknown directive is ignored (section 5.2.3), and so is anything that is no directive at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

LONGEST: Final = 2**31
"""Seconds that stand for any longer time (RFC 9111 section 1.2.2)."""

_DIRECTIVE = re.compile(rb'([^\s,;="]+)\s*(?:=\s*("(?:[^"\\]|\\.)*+"|[^,]*))?', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Directives:
    """What a response says about its own storage. Times are whole seconds; None where nothing was said."""

    no_store: bool = False
    no_cache: bool = False
    private: bool = False
    public: bool = False
    must_understand: bool = False
    must_revalidate: bool = False
    """Either `must-revalidate` or `proxy-revalidate`: to a shared cache they say the same."""
    max_age: int | None = None
    s_maxage: int | None = None
    stale_while_revalidate: int | None = None
    """RFC 5861 section 3."""
    stale_if_error: int | None = None
    """RFC 5861 section 4."""


def parse_cache_control(values: Iterable[bytes]) -> Directives:
    """Read every Cache-Control value of one response. Never raises."""
    return _parse(tuple(values))


@lru_cache(maxsize=256)  # an app says few different things, again and again
def _parse(values: tuple[bytes, ...]) -> Directives:
    names: set[bytes] = set()
    seconds: dict[bytes, int] = {}
    for value in values:
        for raw_name, argument in _DIRECTIVE.findall(value):
            name = raw_name.lower()
            names.add(name)
            seconds[name] = min(delta_seconds(argument), seconds.get(name, LONGEST))
    return Directives(
        no_store=b"no-store" in names,
        no_cache=b"no-cache" in names,
        private=b"private" in names,
        public=b"public" in names,
        must_understand=b"must-understand" in names,
        must_revalidate=not names.isdisjoint((b"must-revalidate", b"proxy-revalidate")),
        max_age=seconds.get(b"max-age"),
        s_maxage=seconds.get(b"s-maxage"),
        stale_while_revalidate=seconds.get(b"stale-while-revalidate"),
        stale_if_error=seconds.get(b"stale-if-error"),
    )


def delta_seconds(argument: bytes) -> int:
    """Read the argument of a directive as seconds (RFC 9111 section 1.2.2): 0 for anything that is no whole number."""
    text = argument.strip()
    if len(text) > 1 and text[:1] == text[-1:] == b'"':
        text = text[1:-1]
    return whole_seconds(text) or 0


def whole_seconds(digits: bytes) -> int | None:
    """Read a whole number of seconds (RFC 9111 section 1.2.2), at most `LONGEST`; None for anything else."""
    if not digits.isdigit():
        return None
    significant = digits.lstrip(b"0") or b"0"
    return LONGEST if len(significant) > 10 else min(int(significant), LONGEST)
