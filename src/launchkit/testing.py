"""What an app's own tests need: time that stands still, deliveries with a good signature, and a look for leaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from launchkit.redaction.canary import plant
from launchkit.redaction.engine import Redactor
from launchkit.webhooks.schemes.providers import sign

__all__ = ["FrozenClock", "assert_no_secret_leaks", "sign"]


class Redacting(Protocol):
    """What redacts: a `LaunchKit`."""

    @property
    def redaction(self) -> Redactor | None:
        """What takes secrets out, None where that is switched off."""


def assert_no_secret_leaks(kit: Redacting) -> None:
    """Send made-up secrets through every logger, handler and hook, Sentry and OpenTelemetry of this process.

    Nothing is sent outward. Call it when the app has set up its logging.

    Raises:
        AssertionError: with all channels that show any of them, or if redaction is switched off.
    """
    if kit.redaction is None:
        raise AssertionError("redaction is switched off: set LAUNCHKIT_REDACTION__ENABLED=1")
    leaks = plant(kit.redaction).leaks
    if leaks:
        raise AssertionError(
            "secrets leave through:\n" + "\n".join(f"- {leak.channel} {leak.reason}" for leak in leaks)
        )


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
