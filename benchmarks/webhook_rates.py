"""Rounds of turns in which senders store events: how many were acknowledged per second, and how soon.

The clock on the wall is what counts here, as a flush of the disk is waiting and not work. Every variant has its turn in
each round, ratios are taken within rounds, and each round begins with another variant. Before and after each turn it is
seen whether the disk is quiet.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks.webhook_disk import QUIET_MS, Disk
from benchmarks.webhook_senders import Turn
from benchmarks.webhook_stores import Store

WARM_UP_SECONDS = 0.15


def named(store: str, senders: int) -> str:
    return f"{store}, {senders}"


@dataclass
class Rates:
    """Turns by variant and then by round, and the slowest flush of the disk right before or after each."""

    disk: Disk
    turns: dict[str, list[Turn]] = field(default_factory=dict)
    flushes: dict[str, list[float]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(next(iter(self.turns.values())))

    def per_second(self, name: str) -> float:
        return statistics.median(turn.per_second for turn in self.turns[name])

    def ratio(self, name: str, to: str) -> float:
        """Return the median over rounds of the ratio between two variants' events per second."""
        pairs = zip(self.turns[name], self.turns[to], strict=True)
        return statistics.median(one.per_second / other.per_second for one, other in pairs)

    def p50(self, name: str) -> float:
        return statistics.median(turn.p50 for turn in self.turns[name])

    def p99(self, name: str) -> float:
        """Return the median over rounds of the 99th percentile within one, in milliseconds."""
        return statistics.median(turn.p99 for turn in self.turns[name])

    def quiet_p99s(self, name: str) -> list[float]:
        """Return the 99th percentiles of the turns in which the disk was quiet."""
        turns = zip(self.turns[name], self.flushes[name], strict=True)
        return [turn.p99 for turn, flush in turns if flush <= QUIET_MS]

    def lines(self, baselines: dict[str, str]) -> Iterator[str]:
        """Return the table; `baselines` has what a variant is held against."""
        yield f"  {'':34}{'per second':>11}{'best':>9}{'p50 ms':>9}{'p99 ms':>9}{'worst':>9}{'times':>9}"
        for name, turns in self.turns.items():
            best, worst = max(turn.per_second for turn in turns), max(turn.p99 for turn in turns)
            line = f"  {name:34}{self.per_second(name):11,.0f}{best:9,.0f}"
            line += f"{self.p50(name):9.2f}{self.p99(name):9.2f}{worst:9.2f}"
            if (baseline := baselines.get(name)) is not None:
                line += f"{self.ratio(name, baseline):9.2f}  {baseline}"
            yield line
        yield str(self.disk)

    def as_json(self, baselines: dict[str, str]) -> dict[str, Any]:
        """Return every figure."""
        return {
            "disk": self.disk.as_json(),
            "rounds": self.count,
            "variants": {
                name: {
                    "events": sum(turn.events for turn in turns),
                    "per_second": [turn.per_second for turn in turns],
                    "p50_ms": [turn.p50 for turn in turns],
                    "p99_ms": [turn.p99 for turn in turns],
                    "slowest_flush_ms": self.flushes[name],
                    "baseline": baselines.get(name),
                    "ratio": self.ratio(name, baselines[name]) if name in baselines else None,
                }
                for name, turns in self.turns.items()
            },
        }


def take_turns(stores: dict[str, Store], senders: tuple[int, ...], disk: Disk, rounds: int, seconds: float) -> Rates:
    """Have every number of senders store events in each of the stores, in so many rounds."""
    variants: dict[str, Callable[[float], Turn]] = {
        named(name, count): partial(store.send, count) for name, store in stores.items() for count in senders
    }
    result = Rates(disk, {name: [] for name in variants}, {name: [] for name in variants})
    for send in variants.values():
        send(WARM_UP_SECONDS)
    names = list(variants)
    for number in range(rounds):
        gc.collect()
        first, after = number % len(names), disk.sample()
        for name in names[first:] + names[:first]:
            result.turns[name].append(variants[name](seconds))
            before, after = after, disk.sample()
            result.flushes[name].append(max(before, after))
    return result
