"""`launchkit check module:app` imports the app, as a server would, and runs its self-check."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator
from typing import Final

from launchkit.check.selfcheck import Report
from launchkit.command.app import find_kit
from launchkit.command.failure import DONE, REFUSED
from launchkit.command.parsers import AddParser
from launchkit.environment import PREFIX
from launchkit.errors import CheckFailed, Finding
from launchkit.settings import Environment

_TITLES: Final = (("error", "Errors"), ("warning", "Warnings"))


def add(add_parser: AddParser) -> None:
    """Add the subcommand."""
    parser = add_parser(
        "check",
        help="prove that the protection of an app works",
        description="Prove that an app's limits refuse what they should, and find what must not go live. Requests are "
        "made up and reach no handler, dependency or middleware; nothing is sent or stored. The app is imported for "
        "it, from the working directory and with its environment variables, and does what it does when it is imported.",
        epilog="Exit status: 0 if nothing is certainly wrong, or LAUNCHKIT_CHECK=warn; 1 if something is; 2 if the app "
        "cannot be imported.",
    )
    parser.add_argument("app", help="the app that the kit is installed in, or the kit, as module:name")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    environment: Environment = "production"
    try:
        kit = find_kit(options.app)
    except CheckFailed as failed:  # nowhere else
        report, enforced = Report(failed.findings, ()), True
    else:
        report, enforced = kit.self_check.run(), kit.settings.check == "enforce"
        environment = kit.settings.environment
    lines = _lines(report, environment, options.app)
    sys.stdout.write(_as_json(report, environment) if options.json else "".join(f"{line}\n" for line in lines))
    return REFUSED if enforced and any(finding.severity == "error" for finding in report.findings) else DONE


def _as_json(report: Report, environment: Environment) -> str:
    findings = [dataclasses.asdict(finding) for finding in report.findings]
    shown = {"environment": environment, "findings": findings, "proved": list(report.proved)}
    return json.dumps(shown, indent=2) + "\n"


def _lines(report: Report, environment: Environment, app: str) -> Iterator[str]:
    for severity, title in _TITLES:
        found = [finding for finding in report.findings if finding.severity == severity]
        if found:
            yield f"{title}:"
            for finding in found:
                yield from _finding_lines(finding)
            yield ""
    if report.proved:
        yield "Proved:"
        yield from (f"  {sentence}" for sentence in report.proved)
        yield ""
    counted = (_counted(report, severity) for severity, _ in _TITLES)
    yield f"{', '.join(counted)}, {len(report.proved)} proved (environment: {environment})"
    if environment != "production":
        yield f"What would stop a production start: {PREFIX}ENVIRONMENT=production launchkit check {app}"


def _counted(report: Report, severity: str) -> str:
    count = sum(finding.severity == severity for finding in report.findings)
    return f"{count} {severity}{'' if count == 1 else 's'}"


def _finding_lines(finding: Finding) -> Iterator[str]:
    yield f"  {finding.code}: {finding.message}"
    yield f"    {finding.remedy}"
