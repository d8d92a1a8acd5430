"""`python -m benchmarks`: what the kit costs. Measures, reports, judges; takes about ten minutes.

The default is chosen for a million different paths for each protocol on a machine that is not busy; on one that is, the
rounds end when their time is up and the report says how many there were. `--json` prints one object and nothing else.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from typing import Any

from benchmarks import caches, flood, in_process, limits, peers, report, server, webhooks
from benchmarks.protocols import PROTOCOLS, Asgi
from benchmarks.redaction import speed

ROUNDS = 50
SECONDS = 28.0
"""For each protocol."""
LIMIT_ROUNDS = 25
"""Few enough that a visitor who comes twice in each stays within 60 a minute."""
LIMIT_SECONDS = 15.0
"""For each comparison."""
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
    comparisons = []
    for comparison in _comparisons(arguments.rounds):
        comparisons.append(comparison)
        talk(["", *comparison.lines()])
    flooded = flood.measure()
    talk(["", *flood.lines(flooded)])
    judged = [(one, _profile) for one in (*report.request_targets(requests[0]), report.server_target(servers[0]))]
    judged += [(target, comparison.profile) for comparison in comparisons for target in comparison.targets]
    judged += [(target, flood.profile) for target in flood.targets(flooded)]
    talk(["", "Targets", *[str(target) for target, _ in judged]])
    profiles = {target.what: profile(target.variant) for target, profile in judged if not target.met}
    for what, text in profiles.items():
        talk(["", f"Profile for {what}, twelve by own time", text])
    if arguments.json:
        targets = [target for target, _ in judged]
        print(json.dumps(report.as_json(requests, servers, comparisons, targets, profiles), indent=2))


def _comparisons(rounds: int) -> Iterator[Any]:
    limited = min(rounds, LIMIT_ROUNDS)
    yield limits.compare_hits(limited, LIMIT_SECONDS)
    for store in limits.STORES:
        yield limits.compare_routes(store, limited, LIMIT_SECONDS)
    for framework in peers.FRAMEWORKS:
        yield peers.compare(framework, limited, LIMIT_SECONDS)
    yield from caches.comparisons(rounds)
    yield from webhooks.comparisons()
    yield from speed.comparisons()


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
