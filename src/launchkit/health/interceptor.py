"""The health endpoints.

The rules:

- GET and HEAD; a trailing slash is answered without a redirect; nobody may store the answer.
- Liveness is a constant: whoever restarts processes must not do so because a database is down.
- Readiness, and the page of everything, first run the checks that are due. `pass` and `warn` are 200, `fail` is 503.
- An anonymous caller is told the status and nothing else.
- A bug of ours never takes the app out of service: it is a warning.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

from launchkit.health.document import full_document, overall
from launchkit.health.monitor import HealthMonitor
from launchkit.pipeline.effects import Probe, Steps
from launchkit.pipeline.exchange import EarlyResponse, Exchange, Header
from launchkit.pipeline.interceptor import Interceptor
from launchkit.pipeline.paths import PathPattern
from launchkit.settings import HealthSettings

Details = Callable[[], Mapping[str, object]]

_JSON: Final[Header] = (b"content-type", b"application/health+json")
_NO_STORE: Final[Header] = (b"cache-control", b"no-store")
_ALLOW: Final[Header] = (b"allow", b"GET, HEAD")


class Health(Interceptor):
    """Chooses the endpoint for a request: liveness, readiness, or everything at once.

    `allowed` tells whether a caller may see more than the status: the `release`, every check, and what `details`
    returns.
    """

    name = "health"

    def __init__(
        self,
        settings: HealthSettings,
        monitor: HealthMonitor,
        allowed: Callable[[Exchange], bool],
        release: str | None = None,
        details: Details = dict,
    ) -> None:
        report = Report(monitor, allowed, release, details)
        self._endpoints: dict[PathPattern, Interceptor] = {
            PathPattern(settings.path): Readiness(settings.path, report),
            PathPattern(settings.ready_path): Readiness(settings.ready_path, report),
            PathPattern(settings.live_path): Liveness(settings.live_path),
        }
        self.patterns = tuple(self._endpoints)

    def select(self, method: str, matched: frozenset[PathPattern]) -> Interceptor | None:
        """Return the endpoint that a path belongs to."""
        return next((endpoint for pattern, endpoint in self._endpoints.items() if pattern in matched), None)


class Report:
    """What the checks say, in as many words as the caller may hear."""

    def __init__(
        self, monitor: HealthMonitor, allowed: Callable[[Exchange], bool], release: str | None, details: Details
    ) -> None:
        self._monitor = monitor
        self._allowed = allowed
        self._release = release
        self._details = details

    def document(self, exchange: Exchange) -> Mapping[str, object]:
        """Return the health document for the caller of this request."""
        results = self._monitor.results()
        if not self._allowed(exchange):
            return {"status": overall(results)}
        return full_document(results, self._release, self._safe_details())

    def _safe_details(self) -> Mapping[str, object]:
        try:
            return self._details()
        except Exception as error:  # noqa: BLE001  # what is extra must not hide the status
            return {"error": type(error).__name__}


class Liveness(Interceptor):
    """Says that the process answers."""

    name = "health"

    def __init__(self, route: str) -> None:
        self._route = route

    def on_request(self, exchange: Exchange) -> EarlyResponse:
        """Pass, whatever the checks say."""
        return _refusal(exchange, self._route) or _answer({"status": "pass"}, self._route)

    def on_failure(self, exchange: Exchange, error: Exception) -> EarlyResponse:
        """Pass: the process does answer."""
        return _answer({"status": "pass"}, self._route)


class Readiness(Interceptor):
    """Says whether the app's checks pass."""

    name = "health"

    def __init__(self, route: str, report: Report) -> None:
        self._route = route
        self._report = report

    def on_request(self, exchange: Exchange) -> EarlyResponse | Steps[EarlyResponse | None]:
        """Run the checks that are due, then tell."""
        return _refusal(exchange, self._route) or self._probe(exchange)

    def _probe(self, exchange: Exchange) -> Steps[EarlyResponse | None]:
        yield from Probe()
        return _answer(self._report.document(exchange), self._route)

    def on_failure(self, exchange: Exchange, error: Exception) -> EarlyResponse:
        """Warn: that the kit has a bug does not mean that the app is down."""
        return _answer({"status": "warn"}, self._route)


def _answer(document: Mapping[str, object], route: str) -> EarlyResponse:
    code = 503 if document["status"] == "fail" else 200
    body = json.dumps(document, separators=(",", ":"), default=str).encode()
    return EarlyResponse(code, body, (_JSON, _NO_STORE), route)


def _refusal(exchange: Exchange, route: str) -> EarlyResponse | None:
    if exchange.method in ("GET", "HEAD"):
        return None
    return EarlyResponse(405, b"", (_ALLOW, _NO_STORE), route)
