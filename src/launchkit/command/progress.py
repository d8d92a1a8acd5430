"""How far a long job has come."""

from __future__ import annotations

from typing import Final, TextIO

from launchkit.pipeline.clock import Clock


class Progress:
    """Says on a stream how many are done: on a terminal in one line that is rewritten, else in a line now and then."""

    INTERVAL: Final = 5.0
    """Seconds between two lines, where they stay."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._stream = stream
        self._clock = clock
        self._rewrites = stream.isatty()
        self._last = clock.monotonic()
        self._is_open = False

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total` are done."""
        if self._rewrites:
            self._stream.write(f"\r{done} of {total}")
            self._is_open = True
        elif self._clock.monotonic() - self._last >= self.INTERVAL:
            self._stream.write(f"{done} of {total}\n")
            self._last = self._clock.monotonic()
        self._stream.flush()

    def end(self) -> None:
        """Leave the line."""
        if self._is_open:
            self._stream.write("\n")
            self._is_open = False
