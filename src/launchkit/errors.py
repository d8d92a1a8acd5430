"""What LaunchKit raises, and only while an app is being set up: nothing here ever reaches a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


class LaunchKitError(Exception):
    """Anything that LaunchKit raises on purpose."""


class InstallError(LaunchKitError):
    """The kit cannot be put around this app: it is already there, or the app is of a kind it does not know."""


class StartError(LaunchKitError):
    """The kit cannot start with these settings in this place."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the self-check found. Never a secret's value.

    Attributes:
        code: what kind of thing, in words joined by hyphens; stays the same from release to release.
        severity: `error` for what is certainly wrong, `warning` for what may be meant.
        message: what was found and where, in a sentence.
        remedy: what mends it, in a sentence.
    """

    code: str
    severity: Literal["error", "warning"]
    message: str
    remedy: str


class CheckFailed(StartError):
    """The self-check found errors, all of which are in `findings` and in the message."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        lines = [f"  {finding.message} {finding.remedy} ({finding.code})" for finding in self.findings]
        head = "This must not go live (LAUNCHKIT_CHECK=warn starts all the same):"
        super().__init__("\n".join([head, *lines]))


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


class InboxUnavailable(LaunchKitError):
    """The inbox cannot be used now: what was asked for has not happened."""
