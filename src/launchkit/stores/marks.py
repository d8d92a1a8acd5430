"""When names were last invalidated: what tells a response made before a change from one made after it.

The rules:

- Nothing is looked for and deleted. A look-up takes a moment, and a response whose look-up was not after the last mark
  of each of its names is neither stored nor used. So a slow request under way cannot put the old response back.
- The table has a fixed number of slots, and a name's slot is a hash of it. Names that share a slot are marked together,
  which only costs needless misses; a random key of the table decides which they are, so that nobody who chooses names
  can aim at another's slot.
- Moments are nanoseconds of the machine's monotonic clock. The latest mark is kept as well: a mark is later than it and
  than the clock, a look-up not earlier than either, so that the order holds while the clock stands still, and also if
  a table has marks from its future.
- There is no lock that a killed process could leave behind or a forked one inherit. A slot is read and written as one
  aligned word of 8 bytes. A writer announces its moment as the latest one, then raises the slots that are below it, and
  begins again with a later moment if another has announced one meanwhile. Of two writers that meet at a slot, either
  the second to announce sees the mark of the first and leaves it if it is later, or the first sees that it has to begin
  again: a mark that has returned is never undone. (What the announcement needs to be seen by another processor is over
  long before the interpreter gets to the slots.)
"""

from __future__ import annotations

import hashlib
import math
import os
from array import array
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from launchkit.pipeline.clock import Clock

if TYPE_CHECKING:
    from hashlib import blake2b

SLOTS: Final = 65_536
"""Of a table: what a digest of two bytes can tell apart."""

CELLS: Final = 1 + SLOTS
"""Words of a table: the latest mark, then the slots."""

KEY_BYTES: Final = 16

_LATEST: Final = 0
_NANOSECONDS: Final = 1_000_000_000


Cells: TypeAlias = "array[int] | memoryview[int]"


class MarksTable(NamedTuple):
    """The words of a table, the hash that leads to a name's slot, and the moment before which nothing is current."""

    cells: Cells
    keyed: blake2b
    since: int


class Marks:
    """For each name, when it was last marked, in this process. Safe from any thread, and after a fork.

    Args:
        clock: only its monotonic time is asked.
        key: what decides which names share a slot; by default a random one.
    """

    def __init__(self, clock: Clock, key: bytes | None = None) -> None:
        self._now: Final = clock.monotonic
        self._look_at = math.inf
        self._table = table_of(array("q", bytes(8 * CELLS)), key or os.urandom(KEY_BYTES))

    def moment(self) -> int:
        """Return what tells a look-up made now from those before and after a mark."""
        now = self._now()
        if now >= self._look_at:
            self._look(now)
        moment = int(now * _NANOSECONDS)
        latest: int = self._table.cells[_LATEST]
        return moment if moment > latest else latest  # noqa: FURB136  # max() takes twice as long as all of this

    def index(self, name: str) -> int:
        """Return the number of a name's slot, for moments that were taken before this call."""
        return _index(self._table.keyed, name)

    def is_current(self, indexes: Sequence[int], moment: int) -> bool:
        """Tell whether no name in these slots was marked after a moment."""
        cells, _, since = self._table
        if moment < since:
            return False
        for index in indexes:  # noqa: SIM110  # all() takes twice as long
            if cells[index] > moment:
                return False
        return True

    def mark(self, names: Iterable[str]) -> None:
        """Let no moment up to now be current for these names."""
        cells, keyed, _ = self._table
        indexes = [_index(keyed, name) for name in names]
        while not _raise(cells, indexes, announce(cells, self.moment())):
            pass  # which takes another writer within these microseconds

    def share(self) -> None:
        """Begin to share the table with other processes, for the kind that does; see `SharedMarks`."""

    def _look(self, now: float) -> None:
        """See whether a table that is shared still is."""


def table_of(cells: Cells, key: bytes, since: int = 0) -> MarksTable:
    """Return a table of these words, under a random key of its own."""
    return MarksTable(cells, hashlib.blake2b(digest_size=2, key=key), since)


def announce(cells: Cells, after: int) -> int:
    """Make the moment next to this one the latest, and return it."""
    cells[_LATEST] = moment = after + 1
    return moment


def moment_at(seconds: float) -> int:
    """Return the moment of a monotonic time."""
    return int(seconds * _NANOSECONDS)


def _raise(cells: Cells, indexes: Sequence[int], moment: int) -> bool:
    """Raise slots to an announced moment; return False if another one was announced before that was done."""
    for index in indexes:
        if cells[index] < moment:
            cells[index] = moment
    return bool(cells[_LATEST] == moment)


def _index(keyed: blake2b, name: str) -> int:
    digest = keyed.copy()
    digest.update(name.encode("utf-8", "surrogatepass"))
    return 1 + int.from_bytes(digest.digest(), "little")
