"""What a handler can raise to say how its delivery goes on."""

from __future__ import annotations

import math

from launchkit.errors import LaunchKitError


class Retry(LaunchKitError):
    """Try this delivery again; the attempt counts like one that failed, but nothing is logged as an error.

    Args:
        after: seconds until the next attempt; by default what the schedule says.
    """

    def __init__(self, after: float | None = None) -> None:
        if after is not None and not 0 <= after < math.inf:
            raise LaunchKitError("Retry takes a number of seconds, from 0 up")
        super().__init__("again" if after is None else f"again in {after:g} s")
        self.after = after


class Discard(LaunchKitError):
    """This delivery needs no handling, now or later.

    Args:
        reason: why, in a few words that may be shown and logged.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "discarded by its handler")
        self.reason = str(self)
