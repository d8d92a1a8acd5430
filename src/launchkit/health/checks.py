"""The app's own checks of what it depends on.

A check fails by returning False or by raising; whatever else it returns, it passes. A failure is shown by the class of
the exception alone: messages of database drivers contain host names and users.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from launchkit.errors import LaunchKitError

CheckFunction = Callable[[], object]
"""Takes nothing and returns False if something is wrong; may be async."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One check. When a `required` one keeps failing, readiness fails; others only warn."""

    name: str
    function: CheckFunction
    required: bool = True


class HealthChecks:
    """The checks of one app, by name."""

    def __init__(self) -> None:
        self._checks: dict[str, HealthCheck] = {}

    def add(self, check: HealthCheck) -> None:
        """Add a check.

        Raises:
            LaunchKitError: if there is one of that name.
        """
        if self._checks.setdefault(check.name, check) is not check:
            raise LaunchKitError(f"there is a health check named {check.name!r} already: give this one another name")

    def __iter__(self) -> Iterator[HealthCheck]:
        return iter(tuple(self._checks.values()))
