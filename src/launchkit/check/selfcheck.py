"""The self-check of one kit: at its start what can be seen, on request what can be proved as well.

The rules:

- It never raises but to refuse a start, and never runs anything of the app's: no handler, dependency or middleware;
  but formatters of logs see records that are made up.
- It sends nothing, writes nothing, and is over within `SECONDS`; what there was no time for is said.
- A start is refused for errors alone, in production alone, and not with LAUNCHKIT_CHECK=warn.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from launchkit.adapters.facts import AppView
from launchkit.check.app import app_findings
from launchkit.check.driving import drive
from launchkit.check.finding import error, warning
from launchkit.check.leaks import Plant, leak_findings
from launchkit.check.place import place_findings
from launchkit.check.probe import Rehearsal
from launchkit.check.routes import Meeting, Place, meet, missing_limits
from launchkit.check.surroundings import Surroundings
from launchkit.environment import PREFIX
from launchkit.errors import CheckFailed, Finding
from launchkit.pipeline.clock import Clock
from launchkit.rate_limit.rules import Rule
from launchkit.settings import Settings
from launchkit.webhooks.handlers import Handlers
from launchkit.webhooks.interceptor import Intakes

logger = logging.getLogger("launchkit")

SECONDS: Final = 1.5
"""After which nothing more is begun, so that all is over within two seconds."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a self-check found, and sentences about what it proved."""

    findings: tuple[Finding, ...]
    proved: tuple[str, ...]


class SelfCheck:
    """Checks one kit.

    Args:
        settings: the kit's.
        rules: its compiled limits.
        webhooks: its intakes.
        handlers: its handlers, which name sources too.
        clock: for the deadline.
        where: by default this process's surroundings.
        plant: sends a canary through all that may show secrets; None where nothing is redacted.
    """

    def __init__(
        self,
        settings: Settings,
        rules: tuple[Rule, ...],
        webhooks: Intakes,
        handlers: Handlers,
        clock: Clock,
        where: Surroundings | None = None,
        plant: Plant | None = None,
    ) -> None:
        self.view: AppView | None = None
        """The app that the kit is installed in, if it is one whose routes can be read."""
        self._settings = settings
        self._rules = rules if settings.rate_limit.enabled else ()
        self._webhooks = webhooks
        self._handlers = handlers
        self._clock = clock
        self._where = Surroundings.here() if where is None else where
        self._plant = plant

    # --- at the start ------------------------------------------------------------------------------------------------

    def refuse_settings(self) -> None:
        """Raise what is certainly wrong with the settings in this place, in production.

        Raises:
            CheckFailed: with all errors that need no app to be seen.
        """
        self._refuse(self._fenced(self._of_place))

    def refuse(self) -> None:
        """Raise what is certainly wrong with the settings and the app, in production.

        Raises:
            CheckFailed: with all errors that can be seen without a request.
        """
        self._refuse(self._visible())

    def _of_place(self) -> Iterable[Finding]:
        return place_findings(self._settings, self._rules, self._where)

    def _refuse(self, findings: Iterable[Finding]) -> None:
        errors = [finding for finding in findings if finding.severity == "error"]
        if errors and self._settings.environment == "production" and self._settings.check == "enforce":
            raise CheckFailed(errors)

    def log(self) -> None:
        """Log what can be seen at a start, but for routes without a limit, which the start-up report tells of.

        The code comes last: before a colon, one like `weak-secret` would have the next word redacted.
        """
        for finding in self._visible():
            if finding.code != "missing-limit":
                level = logging.ERROR if finding.severity == "error" else logging.WARNING
                logger.log(level, "%s %s (%s)", finding.message, finding.remedy, finding.code)

    def _visible(self) -> tuple[Finding, ...]:
        is_late = self._deadline()
        findings = [*self._fenced(self._of_place)]
        findings += self._fenced(lambda: self._of_app(self._meet(is_late).findings))
        return tuple(dict.fromkeys(findings))

    # --- on request --------------------------------------------------------------------------------------------------

    def run(self) -> Report:
        """Look at everything, and drive the limits and intakes. Never raises."""
        is_late = self._deadline()
        proved: list[str] = []
        findings = self._fenced(lambda: place_findings(self._settings, self._rules, self._where))
        findings += self._fenced(lambda: self._drive_all(is_late, proved))
        plant = self._plant
        if plant is not None and not is_late():
            findings += self._fenced(lambda: leak_findings(plant, proved))
        return Report(tuple(dict.fromkeys(findings)), tuple(proved))

    def _drive_all(self, is_late: Callable[[], bool], proved: list[str]) -> Iterator[Finding]:
        meeting = self._meet(is_late)
        yield from self._of_app(meeting.findings)
        if self.view is None:
            yield warning(
                "app-unknown",
                "The routes of this app cannot be read, so nobody has compared the paths of the limits with them.",
                "Use kit.install(app) where the app is FastAPI, Starlette or Flask.",
            )
        rehearsal = Rehearsal(self._settings, self._handlers, self._clock)
        outcome = drive(meeting.places, self.view, rehearsal, is_late)
        proved += outcome.proved
        yield from outcome.findings
        yield from self._drive_webhooks(rehearsal, proved)
        left = meeting.left + outcome.left
        if left:
            yield warning(
                "not-checked",
                f"There was no time to check {left} of the places that limits are for.",
                "Name fewer paths for each limit, with {parameters} or /*.",
            )

    def _drive_webhooks(self, rehearsal: Rehearsal, proved: list[str]) -> Iterator[Finding]:
        for name, path in self._webhooks.sources.items():
            if name in self._webhooks.closed:
                continue
            if self._settings.webhooks.queue is None and name not in self._handlers.sources:
                message = f"Deliveries of {name} are taken in at {path}, and there is no handler for them."
                yield warning("webhook-without-handler", message, f"Register one with @kit.webhook({name!r}).")
            status = rehearsal.refuses_unsigned(path)
            if status == 401:
                proved.append(f"POST {path}: refuses deliveries of {name} that are not signed")
            else:
                message = f"An unsigned delivery to {path} is answered with {status} instead of 401."
                yield error("webhook-takes-unsigned", message, f"Give webhook source {name!r} a path of its own.")

    # --- both --------------------------------------------------------------------------------------------------------

    def _deadline(self) -> Callable[[], bool]:
        ends = self._clock.monotonic() + SECONDS
        return lambda: self._clock.monotonic() >= ends

    def _meet(self, is_late: Callable[[], bool]) -> Meeting:
        if self.view is None:
            return Meeting(places=[*self._as_written()])
        return meet(self._rules, self._webhooks.sources.values(), self.view, is_late)

    def _as_written(self) -> Iterator[Place]:
        for rule in self._rules:
            for pattern in rule.patterns:
                if pattern.exact is not None:
                    method = min(rule.methods - {"HEAD", "OPTIONS"} or rule.methods)
                    yield Place(rule, method, pattern.exact, "", None)

    def _of_app(self, findings: list[Finding]) -> Iterator[Finding]:
        yield from findings
        if self.view is None:
            return
        routes = list(self.view.routes())
        yield from app_findings(self._settings, self.view.facts(), routes, self._where)
        if self._settings.rate_limit.enabled:
            limited = [pattern for rule in self._rules for pattern in rule.patterns]
            yield from missing_limits([*limited, *self._webhooks.patterns], routes)

    def _fenced(self, check: Callable[[], Iterable[Finding]]) -> list[Finding]:
        """Return findings; what breaks, on an app of unknown shape say, is one too."""
        found: list[Finding] = []
        try:
            found.extend(check())
        except Exception as broken:  # noqa: BLE001  # a check that cannot be made must not stop an app
            message = f"The check broke off with {type(broken).__name__}, and what comes after is not checked."
            found.append(warning("not-checked", message, f"Look at it with {PREFIX}CHECK=warn, and report it."))
        return found
