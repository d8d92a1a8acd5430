"""What became of requests under limits: counted for the metrics, and told in the log where somebody has to act.

A line in the log is for whoever runs the app, not for each request: once for each route, or once a minute.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterable
from typing import Final

from launchkit.pipeline.clock import Clock
from launchkit.rate_limit.rules import Rule

logger = logging.getLogger("launchkit")

OBSERVED_EVERY: Final = 60.0
"""Seconds between two lines about what an observing rule would have refused."""

NEVER_SUCCEEDS: Final = 10
"""So many answers below 400 on one route, none of which counts as a success, and the log says so."""


class Outcomes:
    """Counts what became of requests, and says what somebody has to know: not for every request.

    Args:
        clock: only its monotonic time is asked.
    """

    def __init__(self, clock: Clock) -> None:
        self._now = clock.monotonic
        self._lock = threading.Lock()
        self._silent_until: dict[str, float] = {}
        self._unread: set[tuple[str, bool]] = set()
        self._failures_in_a_row: Counter[str] = Counter()
        self.counts: Counter[tuple[str, str]] = Counter()

    def count(self, rules: Iterable[Rule], outcome: str) -> None:
        """Count an outcome for the metrics: allowed, refused or observed."""
        with self._lock:
            for rule in rules:
                self.counts[rule.name, outcome] += 1
                if outcome == "observed":
                    self._say_observed(rule.name)

    def _say_observed(self, name: str) -> None:
        now = self._now()
        if now >= self._silent_until.get(name, now):
            self._silent_until[name] = now + OBSERVED_EVERY
            count = self.counts[name, "observed"]
            logger.warning("Rate limit %s only observes: it would have refused %d requests so far.", name, count)

    def note_answer(self, name: str, route: str, *, success: bool) -> None:
        """Say once for each route that nothing which its app answers looks like a success."""
        seen = self._failures_in_a_row[route]
        if seen > NEVER_SUCCEEDS:
            return
        if success:
            self._failures_in_a_row[route] = NEVER_SUCCEEDS + 1  # it does succeed
            return
        self._failures_in_a_row[route] = seen + 1
        if seen + 1 == NEVER_SUCCEEDS:
            logger.warning(
                "The first %d answers of %s below 400 all count as failures: a success is 2xx with JSON, 204, or a "
                "redirect to another page. If the app answers otherwise, set `success` of the rate limit %s.",
                NEVER_SUCCEEDS,
                route,
                name,
            )

    def note_unread(self, route: str, *, unreadable: bool) -> None:
        """Say once for each route that limits by account cannot work on it."""
        with self._lock:
            first = (route, unreadable) not in self._unread
            self._unread.add((route, unreadable))
        if not first:
            return
        if unreadable:
            logger.warning("A body sent to %s cannot be read for an account; all such count as one account.", route)
        else:
            logger.warning(
                "A body sent to %s names no account: if the app's field has another name, add it to "
                "LAUNCHKIT_RATE_LIMIT__ACCOUNT_FIELDS.",
                route,
            )
