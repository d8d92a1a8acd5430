"""What an app's own tests need: time that stands still, and deliveries with a good signature."""

from __future__ import annotations

from dataclasses import dataclass

from launchkit.webhooks.schemes.providers import sign

__all__ = ["FrozenClock", "sign"]


@dataclass(slots=True)
class FrozenClock:
    """A clock that moves only when told to. Both times are in seconds."""

    monotonic_seconds: float = 1_000.0
    unix_seconds: float = 1_700_000_000.0

    def monotonic(self) -> float:
        """Return the monotonic time."""
        return self.monotonic_seconds

    def time(self) -> float:
        """Return seconds since 1970."""
        return self.unix_seconds

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass on both clocks."""
        self.monotonic_seconds += seconds
        self.unix_seconds += seconds
