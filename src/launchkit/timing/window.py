"""The last minutes of one series: a ring of slots of ten seconds each, of which only those with requests exist.

The newest slot is still filling, so a window of five minutes covers the last 4:50 to 5:00. A slot is known by how many
ten-second steps of the monotonic clock came before it; one that is too old is skipped by the reader and replaced by the
next writer that comes to its place, so that nothing has to run while there are no requests.
"""

from __future__ import annotations

from typing import Final

from launchkit.timing.histogram import Histogram

SLOT_SECONDS: Final = 10.0


class Slot:
    """What happened in ten seconds, or in several such slots together."""

    __slots__ = ("errors", "histogram", "number")

    def __init__(self, threshold: float, number: int) -> None:
        self.histogram = Histogram(threshold)
        self.errors = 0
        self.number = number


class Window:
    """Durations and errors of the last `minutes`. Not safe to use from several threads at once."""

    __slots__ = ("_size", "_slots", "_threshold")

    def __init__(self, minutes: int, threshold: float) -> None:
        self._size = int(minutes * 60 / SLOT_SECONDS)
        self._slots: list[Slot | None] = [None] * self._size
        self._threshold = threshold

    def record(self, seconds: float, bucket: int, now: float, *, is_error: bool) -> None:
        """Count one request that took `seconds` and ended at `now`, in seconds of the monotonic clock."""
        number = int(now // SLOT_SECONDS)
        place = number % self._size
        slot = self._slots[place]
        if slot is None or slot.number != number:
            slot = self._slots[place] = Slot(self._threshold, number)
        slot.histogram.record(seconds, bucket)
        if is_error:
            slot.errors += 1

    def total(self, now: float) -> Slot:
        """Return all slots of the window that ends at `now` as one."""
        number = int(now // SLOT_SECONDS)
        total = Slot(self._threshold, number)
        for slot in self._slots:
            if slot is not None and slot.number > number - self._size:
                total.histogram.merge(slot.histogram)
                total.errors += slot.errors
        return total
