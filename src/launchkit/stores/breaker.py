"""A circuit breaker: a store that has just failed is left alone for a moment, so that requests do not wait for it."""

from __future__ import annotations

import logging
from typing import Final

from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import StoreDown

logger = logging.getLogger("launchkit")


class Breaker:
    """Remembers whether a store is down; says so once a change.

    After a failure every call is refused for `COOLDOWN` seconds. Then one call after the other may try again, each
    starting the next cool-down, until one succeeds. A call that was let through before the failure and succeeds after
    it is no news.
    """

    COOLDOWN: Final = 1.0

    def __init__(self, name: str, clock: Clock) -> None:
        self._name = name
        self._now = clock.monotonic
        self._down = False
        self._trying = False
        self._try_again_at = 0.0

    @property
    def is_down(self) -> bool:
        """Whether the last answer was a failure."""
        return self._down

    def before(self) -> None:
        """Let a call pass, or refuse it.

        Raises:
            StoreDown: while the store is left alone.
        """
        if self._down:
            now = self._now()
            if now < self._try_again_at:
                raise StoreDown(self._name)
            self._try_again_at = now + self.COOLDOWN
            self._trying = True

    def succeeded(self) -> None:
        """The store has answered."""
        if self._down and self._trying:
            self._down = False
            logger.warning("%s is back.", self._name)

    def failed(self, error: BaseException) -> None:
        """The store has not answered within its budget."""
        self._try_again_at = self._now() + self.COOLDOWN
        self._trying = False
        if not self._down:
            self._down = True
            logger.error("%s is down (%s); it is tried again every second.", self._name, type(error).__name__)
