"""The command `launchkit`: what is done with an app from outside of it.

`launchkit check module:app` imports the app, as a server would, and runs its self-check. Exit status: 0 if nothing is
certainly wrong, 1 if something is, 2 if the app cannot be imported.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from launchkit.check.selfcheck import Report
from launchkit.environment import PREFIX
from launchkit.errors import CheckFailed, Finding
from launchkit.kit import LaunchKit
from launchkit.settings import Environment

FOUND: Final = 1
NOT_IMPORTED: Final = 2

_TITLES: Final = (("error", "Errors"), ("warning", "Warnings"))


class NotImported(Exception):
    """There is no kit to be had under that name; the message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with the given arguments, by default the process's, and return its exit status."""
    options = _parser().parse_args(arguments)
    status: int = options.run(options)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="launchkit", description="What LaunchKit does with an app from outside of it."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser(
        "check",
        help="prove that the protection of an app works",
        description="Prove that an app's limits refuse what they should, and find what must not go live. Requests are "
        "made up and reach no handler, dependency or middleware; nothing is sent or stored. The app is imported for "
        "it, from the working directory and with its environment variables, and does what it does when it is imported.",
        epilog="Exit status: 0 if nothing is certainly wrong, or LAUNCHKIT_CHECK=warn; 1 if something is; 2 if the app "
        "cannot be imported.",
    )
    check.add_argument("app", help="the app that the kit is installed in, or the kit, as module:name")
    check.add_argument("--json", action="store_true", help="print one JSON object")
    check.set_defaults(run=_check)
    return parser


def _check(options: argparse.Namespace) -> int:
    environment: Environment = "production"
    try:
        kit = find_kit(options.app)
    except CheckFailed as failed:  # nowhere else
        report, enforced = Report(failed.findings, ()), True
    except NotImported as error:
        sys.stderr.write(f"launchkit: {error}\n")
        return NOT_IMPORTED
    else:
        report, enforced = kit.self_check.run(), kit.settings.check == "enforce"
        environment = kit.settings.environment
    lines = _lines(report, environment, options.app)
    sys.stdout.write(_as_json(report, environment) if options.json else "".join(f"{line}\n" for line in lines))
    return FOUND if enforced and any(finding.severity == "error" for finding in report.findings) else 0


# --- the app ---------------------------------------------------------------------------------------------------------


def find_kit(name: str) -> LaunchKit:
    """Import `module:name` and return the kit that it is, or that is installed in it, or that is in its module.

    Raises:
        NotImported: if there is none.
        CheckFailed: if the kit refuses to be made in this place.
    """
    module_name, _, attributes = name.partition(":")
    if not module_name or not attributes:
        raise NotImported(f"{name!r} should be a module and a name in it, like main:app")
    working_directory = str(Path.cwd())
    if working_directory not in sys.path:
        sys.path.insert(0, working_directory)
    try:
        found: object = importlib.import_module(module_name)
        module = found
        for attribute in attributes.split("."):
            found = getattr(found, attribute)
    except CheckFailed:
        raise
    except (Exception, SystemExit) as error:
        raise NotImported(f"{name} cannot be imported: {type(error).__name__}: {error}") from error
    kit = _kit_of(found) or next(filter(None, map(_kit_of, vars(module).values())), None)
    if kit is None:
        raise NotImported(f"{name} has no LaunchKit installed: call kit.install(app), or name the kit itself")
    return kit


def _kit_of(found: object) -> LaunchKit | None:
    """Return what is a kit, or is installed in a Starlette or Flask app."""
    try:
        extensions = getattr(found, "extensions", None)
        installed = extensions.get("launchkit") if isinstance(extensions, dict) else None
        candidates = (found, getattr(getattr(found, "state", None), "launchkit", None), installed)
        return next((one for one in candidates if isinstance(one, LaunchKit)), None)
    except Exception:  # noqa: BLE001  # a module's names may be proxies of a request, which raise outside of one
        return None


# --- what is printed -------------------------------------------------------------------------------------------------


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
