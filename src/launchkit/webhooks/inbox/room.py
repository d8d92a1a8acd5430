"""How much the inbox takes in, and for whom the rest is kept.

Most senders send again what was answered with 503, some never do. The last tenth of the room is kept for those, so that
a flood of the others does not lose theirs. What counts is how many deliveries are pending, and how much the disk has
left: a full disk would stop everything.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from launchkit.webhooks.inbox.database import Session


def disk_free(folder: Path) -> int | None:
    """Return how many bytes the disk of a folder has left, or None if that cannot be told."""
    with contextlib.suppress(OSError):
        return shutil.disk_usage(folder).free
    return None


class Room:
    """Counts what comes in against what is there. Used by the writer's thread alone.

    Args:
        most_pending: how many deliveries may be pending.
        least_free: bytes that the disk has to have left.
        free_bytes: tells how many it has, or None where nobody can tell.
        monotonic: a clock in seconds.
    """

    REFRESH: Final = 1.0
    """Seconds for which a count is gone on from."""
    RESERVE: Final = 0.1
    """The part that is kept for senders that never send again."""

    def __init__(
        self,
        most_pending: int,
        least_free: int,
        free_bytes: Callable[[], int | None],
        monotonic: Callable[[], float],
    ) -> None:
        self._most_pending = most_pending
        self._least_free = least_free
        self._free_bytes = free_bytes
        self._monotonic = monotonic
        self._counted_at = -self.REFRESH
        self._pending = 0
        self._free: int | None = None

    def take(self, session: Session, *, may_use_reserve: bool) -> bool:
        """Make room for one more delivery, which `give_back` undoes; False if there is none.

        To be asked before the delivery is stored.
        """
        now = self._monotonic()
        if now - self._counted_at >= self.REFRESH:
            self._counted_at = now
            self._free = self._free_bytes()
            ((self._pending,),) = session.query(_COUNT.format(by_due=session.by_due), (self._most_pending,))
        kept = 0.0 if may_use_reserve else self.RESERVE
        if self._pending >= self._most_pending * (1 - kept):
            return False
        if self._free is not None and self._free < self._least_free * (1 + kept):
            return False
        self._pending += 1
        return True

    def give_back(self) -> None:
        """One that was counted in is not stored."""
        self._pending -= 1


_COUNT: Final = "SELECT COUNT(*) FROM (SELECT 1 FROM delivery {by_due} WHERE state = 'pending' LIMIT ?) AS pending"
