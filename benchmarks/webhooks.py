"""Everything about webhooks: how many events the inbox takes in for good and how soon, on this disk and on a slow one,
from several processes and under a server, and what its worker costs and does.

Run alone: `python -m benchmarks.webhooks`, which takes about three minutes.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import (
    report,
    webhook_intake,
    webhook_processes,
    webhook_server,
    webhook_slow_disk,
    webhook_worker,
)


def comparisons() -> Iterator[report.Finding]:
    """Measure one thing after another."""
    yield webhook_intake.compare()
    yield webhook_slow_disk.compare()
    yield webhook_processes.compare()
    yield webhook_server.compare()
    yield webhook_worker.compare_idle()
    yield webhook_worker.compare_handling()
    yield webhook_intake.compare_postgres()


def main() -> None:
    print("\n".join(f"{name}: {value}" for name, value in report.machine().items()))
    for comparison in comparisons():
        print("", *comparison.lines(), *comparison.targets, sep="\n", flush=True)


if __name__ == "__main__":
    main()
