r"""Secrets in text that comes in pieces: the output is the same however it is cut.

The rules, which look at the text alone and never at its pieces:

- The unit is the line, up to `\n` or `\r\n`, which stay as they are. It comes out as `Redactor.redact` returns it,
  once its end has come. A list under a secret key, printed over several lines, is therefore seen line by line.
- A private key that begins in a line and does not end there (RFC 7468) is held back, with the lines of key material
  that follow, to its end, or to the first line of something else, or until it has more than `LONGEST_KEY` characters;
  then it comes out as `redact` returns the whole. What a longer one has left up to its end does not come out at all.
- A line of more than `LONGEST_LINE` characters is looked at in windows of that many. What lies within `OVERLAP` of a
  window's end waits for the next window, which begins with `OVERLAP` characters that have come out already: a secret is
  seen with what stands before and behind it, and never cut. One that has no end in its window is hidden so far; the
  next window begins with what stands before the secret and with its last characters, so that the rest is found, too.
- Hence no more than `LONGEST_LINE` and `LONGEST_KEY` characters, and one piece of `feed`, are held at any time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from launchkit.redaction.found import Found, marker

LONGEST_LINE: Final = 256 * 1024
"""Characters of a line that are looked at together."""

LONGEST_KEY: Final = 64 * 1024
"""Characters of a private key that are held back; one of 16,384 bits has 13,000."""

OVERLAP: Final = 4 * 1024
"""Characters at the border of two windows that both see."""

_PIECE: Final = 64 * 1024
_BORDER: Final = re.compile(r"-{4,5} ?(?:(?P<begin>BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY)|END [A-Z0-9 ]{0,60}-{4,5})")
_KEY_MATERIAL: Final = re.compile(
    r"\s*+[A-Za-z0-9+/=:,\\-]*+\s*+"
    r"|\s*+(?:Proc-Type|DEK-Info|Version|Comment|MessageID|Hash|Charset|Subject|[Xx]-[A-Za-z-]{1,40}): .*"
)
"""A line of base64, or a header (RFC 1421 section 4.6, RFC 9580 section 6.2.2, RFC 4716 section 3.3)."""


class TextRedactor(Protocol):
    """What is needed of a `Redactor`."""

    def redact(self, text: str) -> str:
        """Return a text without secrets, and itself if it holds none."""
        ...

    def explain(self, text: str) -> list[Found]:
        """Return what `redact` would hide, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Hidden:
    """A secret that a stream has hidden. Holds nothing of it."""

    line: int
    """The line in which it begins, from 1."""
    column: int
    """The character of that line with which it begins, from 1."""
    length: int
    """Its characters, as far as they were seen together."""
    rule: str
    """The rule's id."""
    reason: str
    """Why it is taken for a secret."""


class StreamRedactor:
    """Takes secrets out of one text that comes in pieces. Not safe for threads.

    Args:
        redactor: says what is secret.
        on_hidden: is told of each secret, in order, while `feed` and `close` run.
    """

    def __init__(self, redactor: TextRedactor, on_hidden: Callable[[Hidden], object] | None = None) -> None:
        self._redactor = redactor
        self._on_hidden = on_hidden
        self._output: list[str] = []
        self._start()

    def feed(self, text: str) -> str:
        """Take a piece of the text, and return what can come out by now. The time is linear in its length."""
        for start in range(0, len(text), _PIECE):
            *ended, rest = text[start : start + _PIECE].split("\n")
            for end in ended:
                self._add(end)
                self._end_line("\n")
            self._add(rest)
        return self._written()

    def close(self) -> str:
        """Return what is left of the text. Another one may be fed then."""
        if self._length:
            self._end_line("")
        self._release_key()
        self._start()
        return self._written()

    def _start(self) -> None:
        self._line = 1
        self._pieces: list[str] = []  # of the line, as far as it has not come out
        self._length = 0
        self._long_line: _LongLine | None = None
        self._key: _Key | None = None

    def _written(self) -> str:
        output, self._output = "".join(self._output), []
        return output

    def _add(self, text: str) -> None:
        self._pieces.append(text)
        self._length += len(text)
        while self._length > (LONGEST_LINE if self._long_line is None else self._long_line.room):
            self._look_through_window()

    def _look_through_window(self) -> None:
        if self._long_line is None:
            self._release_key()
            self._long_line = _LongLine(self._redactor, self._tell)
        text = self._taken()
        output, size = self._long_line.window(text[: self._long_line.room])
        self._output.append(output)
        self._pieces, self._length = [text[size:]], len(text) - size

    def _taken(self) -> str:
        text = "".join(self._pieces)
        self._pieces, self._length = [], 0
        return text

    def _end_line(self, ending: str) -> None:
        text = self._taken()
        if ending and text.endswith("\r"):
            text, ending = text[:-1], "\r\n"
        if self._long_line is not None:
            self._output += (self._long_line.window(text, is_last=True)[0], ending)
            self._long_line = None
        elif self._key is not None:
            self._take_line_of_key(self._key, text, ending)
        else:
            self._take_line(text, ending)
        self._line += 1

    def _take_line(self, text: str, ending: str) -> None:
        if _leaves_key_open(text):
            self._key = _Key([text], ending, self._line, len(text))
        else:
            self._output += (self._redacted(text, self._line), ending)

    def _take_line_of_key(self, key: _Key, text: str, ending: str) -> None:
        end = _BORDER.search(text)
        if end is None and _KEY_MATERIAL.fullmatch(text) is None:
            self._release_key()
            self._take_line(text, ending)
        elif not key.is_out:
            self._hold(key, text, ending)
        elif end is None:
            key.ending = ending
        else:
            self._key = None
            self._take_line(text[end.end() :], ending)

    def _hold(self, key: _Key, text: str, ending: str) -> None:
        key.pieces += (key.ending, text)
        key.length += len(key.ending) + len(text)
        key.ending = ending
        if _BORDER.search(text) is not None and not _leaves_key_open(text):
            self._release_key()
        elif key.length > LONGEST_KEY:
            found = self._redactor.explain("".join(key.pieces))
            self._release_key()
            if found and found[-1].end == key.length:
                self._output.pop()  # the ending, until it is known whether the key ends here
                key.is_out = True
                self._key = key

    def _release_key(self) -> None:
        """Let out what is held back."""
        key, self._key = self._key, None
        if key is None:
            return
        if not key.is_out:
            self._output.append(self._redacted("".join(key.pieces), key.line))
        self._output.append(key.ending)

    def _redacted(self, text: str, line: int) -> str:
        redacted = self._redactor.redact(text)
        if self._on_hidden is not None and redacted is not text:
            for found in self._redactor.explain(text):
                above = text.count("\n", 0, found.start)
                self._tell(found, found.start - text.rfind("\n", 0, found.start), line + above)
        return redacted

    def _tell(self, found: Found, column: int, line: int | None = None) -> None:
        if self._on_hidden is not None:
            at = self._line if line is None else line
            self._on_hidden(Hidden(at, column, found.end - found.start, found.rule, found.reason))


@dataclass(slots=True)
class _Key:
    """A private key that has begun."""

    pieces: list[str]
    """Its lines, but for the ending of the last one."""
    ending: str
    line: int
    length: int
    is_out: bool = False
    """It was too long to be held back; what still comes is no more shown."""


class _LongLine:
    """A line that comes out in windows.

    Args:
        redactor: says what is secret.
        tell: is given each secret and its column, from 1.
    """

    def __init__(self, redactor: TextRedactor, tell: Callable[[Found, int], object]) -> None:
        self._redactor = redactor
        self._tell = tell
        self._before = ""  # with which a window begins; it has come out
        self._is_open = False  # a secret goes on from there
        self._out = 0

    @property
    def room(self) -> int:
        """Characters of the line that fit into the next window."""
        return LONGEST_LINE - len(self._before)

    def window(self, text: str, *, is_last: bool = False) -> tuple[str, int]:
        """Return what comes out of the next characters of the line, and for how many of them it stands."""
        window = self._before + text
        first = position = len(self._before)
        border = len(window) - (0 if is_last else OVERLAP)
        pieces: list[str] = []
        last = None
        for found in self._redactor.explain(window):
            if found.start >= border:
                break
            if found.end <= position:
                continue
            if not (self._is_open and found.start < first):
                pieces += (window[position : found.start], marker(found.rule))
                self._tell(found, self._out + max(found.start, first) - first + 1)
            position, last = found.end, found
        pieces.append(window[position:border])
        position = max(position, border)
        self._out += position - first
        self._remember(window, position, last)
        return "".join(pieces), position - first

    def _remember(self, window: str, position: int, last: Found | None) -> None:
        """Keep what the next window begins with."""
        self._is_open = last is not None and last.end == len(window)
        if last is not None and self._is_open:
            rest = max(last.start, position - OVERLAP)
            self._before = window[max(0, last.start - OVERLAP) : last.start] + window[rest:position]
        else:
            self._before = window[max(0, position - OVERLAP) : position]


def _leaves_key_open(text: str) -> bool:
    if "PRIVATE KEY" not in text:
        return False
    borders = [border["begin"] for border in _BORDER.finditer(text)]
    return bool(borders) and borders[-1] is not None
