"""The same secrets, written otherwise: percent-encoded, with the escapes of JSON or HTML, in base64.

A text is decoded into a view that knows where each of its characters stood; what is found in the view is hidden in the
text. Base64 is decoded run by run, and a run in which anything is found is hidden whole. Views are looked at in the
same way, so that what is encoded twice is found too, up to some depth.
"""

from __future__ import annotations

import base64
import html
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Final

from launchkit.redaction.found import Finder, Found

DEEPEST: Final = 3
"""How many encodings within one another are undone."""

_PERCENT: Final = r"%[2-7][0-9A-Fa-f]"
_ESCAPE: Final = r"\\{1,8}(?:u00[2-7][0-9A-Fa-f]|x[2-7][0-9A-Fa-f]|[/nrt\"'])"
_ENTITY: Final = r"&(?:quot|amp|apos|lt|gt|#(?:3[4-9]|[4-9]\d|1[01]\d|12[0-6])|#x[2-7][0-9A-Fa-f]);"

_COLOUR: Final = r"\x1b\[[0-9;]{0,16}m"
_BASE64_TEXT: Final = re.compile(r"(?<![A-Za-z0-9+/_.-])[A-Za-z0-9+/_-]{20,}+={0,2}(?![A-Za-z0-9])")
_PRINTABLE: Final = re.compile(r"[\t\n\r -~]+")
_HEX_TEXT: Final = re.compile(r"(?:0x)?(?:[2-7][0-9A-Fa-f])++")
_SHORTEST_HEX: Final = 24
_STANDARD_ALPHABET: Final = str.maketrans("-_", "+/")
_SHORTEST: Final = 20
_FIRST_LOOK: Final = 32
_BLOCK: Final = 4

_LETTERS: Final = {"/": "/", '"': '"', "'": "'", "n": "\n", "r": "\r", "t": "\t"}


def _unescape(unit: str) -> str:
    return _LETTERS[unit[-1]] if unit[-2] == "\\" else chr(int(unit[-2:], 16))


_UNIT: Final = re.compile(f"{_PERCENT}|{_ESCAPE}|{_ENTITY}|{_COLOUR}")


def _decoded_unit(unit: str) -> str:
    """Return the character that an encoded one stands for."""
    if unit[0] == "%":
        return chr(int(unit[1:], 16))
    if unit[0] == "&":
        return html.unescape(unit)
    return " " if unit[0] == "\x1b" else _unescape(unit)


def find_encoded(text: str, find: Finder) -> Iterator[Found]:
    """Find what `find` finds in the decoded form of a text; positions are those in the text."""
    pieces: list[str] = []
    starts, origins = [0], [0]
    length = copied = 0
    for match in _UNIT.finditer(text):
        pieces += (text[copied : match.start()], _decoded_unit(match[0]))
        length += match.start() - copied
        copied = match.end()
        starts += (length, length + 1)
        origins += (match.start(), copied)
        length += 1
    if not pieces:
        return

    def origin(position: int) -> int:
        index = bisect_right(starts, position) - 1
        return origins[index] + position - starts[index]

    for found in find("".join((*pieces, text[copied:]))):
        yield Found(origin(found.start), origin(found.end), found.rule, found.reason)


def may_hold_base64(runs: Iterable[str]) -> bool:
    """Tell whether one of the runs could stand for text: it is long, and has both small letters and capitals."""
    for run in runs:  # noqa: SIM110  # any() with a generator takes twice as long
        if len(run) >= _SHORTEST and not run.islower() and not run.isupper():
            return True
    return False


def find_in_base64(text: str, find: Finder) -> Iterator[Found]:
    """Find runs of base64 (RFC 4648 sections 4 and 5) that hold text in which `find` finds anything."""
    for run in _BASE64_TEXT.finditer(text):
        start = run.start() + run[0].rfind("/eyJ") + 1  # a part of a path that is an object of JSON
        decoded = _text_in(text[start : run.end()])
        for found in find(decoded) if decoded else ():
            yield Found(start, run.end(), found.rule, f"in base64, {found.reason}")
            break


def find_in_hex(text: str, runs: Iterable[str], find: Finder) -> Iterator[Found]:
    """Find runs of hexadecimal digits that stand for printable text in which `find` finds anything."""
    searched = 0
    for run in runs:
        if len(run) >= _SHORTEST_HEX and _HEX_TEXT.fullmatch(run):
            start = text.find(run, searched)
            searched = start + len(run)
            for found in find(bytes.fromhex(run.removeprefix("0x")).decode("ascii")):
                yield Found(start, searched, found.rule, f"in hexadecimal digits, {found.reason}")
                break


def _text_in(run: str) -> str | None:
    """Return the text that a run of base64 stands for, None if it is none."""
    if _decoded(run[:_FIRST_LOOK]) is None:
        return None
    return _decoded(run)


def _decoded(run: str) -> str | None:
    digits = run.rstrip("=").translate(_STANDARD_ALPHABET)
    if len(digits) % _BLOCK == 1:
        digits = digits[:-1]
    text = base64.b64decode(digits + "=" * (-len(digits) % _BLOCK)).decode("latin-1")
    return text if _PRINTABLE.fullmatch(text) else None
