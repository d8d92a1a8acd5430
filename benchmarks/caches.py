"""Everything about the read cache: what a hit costs, alone and beside other caches, what it gains under a server, how
often the app runs when a crowd comes, and whether memory stays within its budget.

Run alone: `python -m benchmarks.caches`, which takes about two minutes.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import cache_flood, cache_hits, cache_peers, cache_server, report, stampede, things
from benchmarks.protocols import PROTOCOLS

ROUNDS = 50
HIT_SECONDS = 8.0
"""For each protocol."""
PEER_SECONDS = 4.0
"""For each framework and size."""
SERVER_ROUNDS = 4
SERVER_SECONDS = 0.6
"""For each turn."""


def comparisons(rounds: int = ROUNDS) -> Iterator[report.Comparison | cache_server.Gain | report.Finding]:
    """Measure one thing after another, each in at most so many rounds."""
    for protocol in PROTOCOLS:
        yield cache_hits.compare(protocol, rounds, HIT_SECONDS)
    for framework in cache_peers.FRAMEWORKS:
        for size in things.PATHS:
            yield cache_peers.compare(framework, size, rounds, PEER_SECONDS)
    for size in things.PATHS:
        yield cache_server.compare(size, min(rounds, SERVER_ROUNDS), SERVER_SECONDS)
    yield stampede.compare()
    yield cache_flood.compare()


def main() -> None:
    print("\n".join(f"{name}: {value}" for name, value in report.machine().items()))
    for comparison in comparisons():
        print("", *comparison.lines(), *comparison.targets, sep="\n", flush=True)


if __name__ == "__main__":
    main()
