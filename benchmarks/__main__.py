"""`python -m benchmarks`: what the kit costs. Measures, reports, judges; takes two to three minutes.

The default is chosen for a million different paths for each protocol on a machine that is not busy; on one that is, the
rounds end when their time is up and the report says how many there were. `--json` prints one object and nothing else.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from typing import Any

from benchmarks import in_process, report, server
from benchmarks.protocols import PROTOCOLS, Asgi

ROUNDS = 50
SECONDS = 28.0
"""For each protocol."""
SERVER_ROUNDS = 9
SERVER_SECONDS = 0.7
"""For each turn."""
APPS = ("example", "fastapi", "starlette")


def main() -> None:
    arguments = _arguments()
    talk = _silent if arguments.json else _print_lines
    talk([f"{name}: {value}" for name, value in report.machine().items()])
    requests = []
    for protocol in PROTOCOLS:
        requests.append(in_process.measure(protocol, arguments.rounds, SECONDS))
        talk(["", *report.request_lines(requests[-1])])
    servers = []
    for framework in APPS:
        servers.append(server.measure(framework, arguments.server_rounds, SERVER_SECONDS))
        talk(["", *report.server_lines(servers[-1])])
    targets = [*report.request_targets(requests[0]), report.server_target(servers[0])]
    talk(["", "Targets", *map(str, targets)])
    profiles = {variant: _profile(variant) for variant in dict.fromkeys(one.variant for one in targets if not one.met)}
    for variant, text in profiles.items():
        talk(["", f"Profile of {variant}, twelve by own time", text])
    if arguments.json:
        print(json.dumps(report.as_json(requests, servers, targets, profiles), indent=2))


def _profile(variant: str) -> str:
    return server.profile(variant) if variant in APPS else in_process.profile(Asgi, variant)


def _arguments() -> Any:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds in the process")
    parser.add_argument("--server-rounds", type=int, default=SERVER_ROUNDS, help="rounds under uvicorn")
    return parser.parse_args()


def _print_lines(lines: Iterable[str]) -> None:
    print("\n".join(lines), flush=True)


def _silent(lines: Iterable[str]) -> None:
    pass


if __name__ == "__main__":
    main()
