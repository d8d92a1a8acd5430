"""What is remembered of one check, and what follows from it.

The rules:

- An outcome is used again for `interval` seconds; then the check is due.
- A required check fails after `failures` failures in a row; before that, during `grace` seconds after start, and where
  it is not required, it warns. One success heals it.
- A run that is not over in time counts as one failure at once, and as one more for every further interval that it
  hangs. When it ends after all, its outcome is taken: a slow success heals, a slow failure was counted before.
"""

from __future__ import annotations

from typing import Literal

from launchkit.settings import HealthSettings

Status = Literal["pass", "warn", "fail"]

TIMED_OUT = "TimeoutError"


class CheckHistory:
    """The latest outcome of one check, and how often in a row it failed. Times are seconds of the monotonic clock."""

    __slots__ = ("error", "failures", "observed", "seconds")

    def __init__(self) -> None:
        self.observed: float | None = None
        """When the latest outcome was seen, or None before the first."""
        self.failures = 0
        """Failures in a row."""
        self.error: str | None = None
        """What the latest failure is called, or None after a success."""
        self.seconds = 0.0
        """How long the latest run took, or has been running when it was given up."""

    def is_due(self, now: float, interval: float) -> bool:
        """Tell whether the latest outcome is too old."""
        return self.observed is None or now - self.observed >= interval

    def observe(self, error: str | None, now: float, seconds: float, *, counted: bool = False) -> None:
        """Take an outcome. `counted` says that this run has been counted as a failure before."""
        self.observed = now
        self.seconds = seconds
        self.error = error
        if error is None:
            self.failures = 0
        elif not counted:
            self.failures += 1

    def status(self, settings: HealthSettings, *, required: bool, in_grace: bool) -> Status:
        """Return what the check says about the app; one that has never run says nothing good."""
        if self.observed is not None and self.failures == 0:
            return "pass"
        return "fail" if required and not in_grace and self.failures >= settings.failures else "warn"
