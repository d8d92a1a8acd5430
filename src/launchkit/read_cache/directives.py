"""The Cache-Control response header (RFC 9111 section 5.2.2), read leniently and in doubt restrictively.

The rules:

- Names are compared without case; an argument may be a token or a quoted string (section 5.2).
- A directive that is given twice counts in its most restrictive form (section 4.2.1).
- A time that is no whole number of seconds counts as 0 (section 4.2.1); one too large to hold is cut (section 1.2.2).
- `private` and `no-cache` with field names count as if they had none (sections 5.2.2.4 and 5.2.2.7 allow that).
- An unknown directive is ignored (section 5.2.3), and so is anything that is no directive at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
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
    must_revalidate: bool = False
    """Either `must-revalidate` or `proxy-revalidate`: to a shared cache they say the same."""
    max_age: int | None = None
    s_maxage: int | None = None
    stale_while_revalidate: int | None = None
    """RFC 5861 section 3."""


def parse_cache_control(values: Iterable[bytes]) -> Directives:
    """Read every Cache-Control value of one response. Never raises."""
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
        must_revalidate=not names.isdisjoint((b"must-revalidate", b"proxy-revalidate")),
        max_age=seconds.get(b"max-age"),
        s_maxage=seconds.get(b"s-maxage"),
        stale_while_revalidate=seconds.get(b"stale-while-revalidate"),
    )


def delta_seconds(argument: bytes) -> int:
    """Read a whole number of seconds (RFC 9111 section 1.2.2): 0 for anything else, at most `LONGEST`."""
    digits = argument.strip().removeprefix(b'"').removesuffix(b'"')
    if not digits.isdigit():
        return 0
    significant = digits.lstrip(b"0") or b"0"
    return LONGEST if len(significant) > 10 else min(int(significant), LONGEST)
