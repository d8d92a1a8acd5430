"""The time, injected: nothing but `SystemClock` asks the machine for it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Both kinds of time, in seconds."""

    def monotonic(self) -> float:
        """Time that only moves forward; its zero means nothing. For durations within one process."""
        ...

    def time(self) -> float:
        """Seconds since 1970-01-01T00:00Z; may be set back. For what outlives the process or came from outside."""
        ...


class SystemClock:
    """The machine's clocks."""

    monotonic = staticmethod(time.perf_counter)
    time = staticmethod(time.time)
