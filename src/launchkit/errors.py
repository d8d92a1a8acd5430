"""What LaunchKit raises, and only while an app is being set up: nothing here ever reaches a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class LaunchKitError(Exception):
    """Anything that LaunchKit raises on purpose."""


class InstallError(LaunchKitError):
    """The kit cannot be put around this app: it is already there, or the app is of a kind it does not know."""


class StartError(LaunchKitError):
    """The kit cannot start with these settings in this place."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in the settings: the variable's real name, and what is wrong and how to mend it. Never a value."""

    variable: str
    message: str


class SettingsError(LaunchKitError):
    """The settings have mistakes: all of them are in `problems`, and in the message."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = [f"  {problem.variable}: {problem.message}" for problem in self.problems]
        count = "1 setting needs" if len(lines) == 1 else f"{len(lines)} settings need"
        super().__init__("\n".join([f"{count} attention:", *lines]))
