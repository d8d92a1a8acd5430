"""Redacts what is printed.

Text waits for the end of its line or for a flush, and is redacted as far as it goes. What a flush has shown of a line
is looked at again with the rest of it, so that `print("password=", end="", flush=True)` does not part a key from its
value; what comes out then is what has changed. Lines that grow too long are shown as if they had been flushed.

Binary writes to `.buffer`, and to the descriptor, pass unseen.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import Final, TextIO

from launchkit.redaction.engine import Redactor
from launchkit.redaction.exceptions import HIDDEN

_LONGEST_LINE: Final = 8192
_LONGEST_SHOWN: Final = 1024

_LOCK: Final = threading.RLock()
"""One for all streams, and never held by another thread across a fork."""

os.register_at_fork(before=_LOCK.acquire, after_in_child=_LOCK.release, after_in_parent=_LOCK.release)


class RedactedStream:
    """A text stream that redacts what is written to another one; everything else is the other's.

    Args:
        stream: where the text goes.
        newest: returns what takes the secrets out, None to let everything pass.
    """

    def __init__(self, stream: TextIO, newest: Callable[[], Redactor | None]) -> None:
        self._stream = stream
        self._newest = newest
        self._redactor = newest()
        self._line = ""
        self._shown = ""

    def write(self, text: str, /) -> int:
        """Take `text` over and return its length. Raises what the stream itself raises."""
        if not isinstance(text, str):
            return self._stream.write(text)  # type: ignore[unreachable]  # callers make mistakes; it says so
        with _LOCK:
            redactor = self._newest()
            if redactor is None:
                return self._pass(text)
            self._redactor = redactor
            self._line += text
            end = max(self._line.rfind("\n"), self._line.rfind("\r")) + 1
            if end:
                self._show(end)
                self._line, self._shown = self._line[end:], ""
            if len(self._line) > _LONGEST_LINE:
                self._show_line()
        return len(text)

    def writelines(self, lines: Iterable[str], /) -> None:
        """Write each of `lines`."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Show what there is of the present line."""
        with _LOCK:
            self._show_line()
            self._stream.flush()

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def _pass(self, text: str) -> int:
        """Write `text` out as it is, after what has waited for the redactor that was there last."""
        self._show_line()
        self._line, self._shown = "", ""
        return self._stream.write(text)

    def _show_line(self) -> None:
        shown = self._show(len(self._line))
        if len(self._line) > _LONGEST_SHOWN:
            self._line, self._shown = "", ""
        else:
            self._shown = shown

    def _show(self, end: int) -> str:
        """Write out the line up to `end`, but for what of it is shown already."""
        redacted = self._redacted(self._line[:end])
        known = len(os.path.commonprefix((redacted, self._shown)))  # noqa: RUF071  # characters are meant
        if redacted[known:]:
            self._stream.write(redacted[known:])
        return redacted

    def _redacted(self, text: str) -> str:
        try:
            return text if self._redactor is None else self._redactor.redact(text)
        except Exception:  # noqa: BLE001  # printing must not fail; what is unknown is not shown
            return HIDDEN + "\n" * text.endswith("\n")
