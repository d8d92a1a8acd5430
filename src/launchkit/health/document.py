"""Health documents (draft-inadarei-api-health-check-06): the status alone for everybody, and all there is for some."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from launchkit.health.history import Status
from launchkit.health.monitor import CheckResult


def overall(results: Iterable[CheckResult]) -> Status:
    """Return the worst status of all checks; without checks, pass."""
    statuses = {result.status for result in results}
    return "fail" if "fail" in statuses else "warn" if "warn" in statuses else "pass"


def full_document(
    results: Iterable[CheckResult], release: str | None, details: Mapping[str, object]
) -> dict[str, object]:
    """Return the document for a caller who may know everything."""
    results = list(results)
    document: dict[str, object] = {"status": overall(results)}
    if release is not None:
        document["releaseId"] = release
    document["checks"] = {f"{result.name}:responseTime": [_measurement(result)] for result in results}
    if details:
        document["details"] = details
    return document


def _measurement(result: CheckResult) -> dict[str, object]:
    measurement: dict[str, object] = {"status": result.status}
    if result.observed_at is not None:
        measurement["observedValue"] = round(result.seconds * 1000, 1)
        measurement["observedUnit"] = "ms"
        measurement["time"] = datetime.fromtimestamp(result.observed_at, UTC).isoformat(timespec="seconds")
    if result.error is not None:
        measurement["output"] = result.error
    return measurement
