"""Rounds in which every variant takes its turn, so that whatever else the machine does meets all of them alike.

A figure is the CPU time of a turn over its number of requests. Collecting the garbage that a variant leaves is part of
its time: the collector rests only while requests are made. Ratios and differences are taken within a round and
only then summed up, by their median; the minimum is told beside it, since noise only ever adds. Each round begins with
another variant.
"""

from __future__ import annotations

import asyncio
import cProfile
import gc
import io
import itertools
import pstats
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.launched import data_folder
from benchmarks.variants import NOTHING, Variant, Variants

HANDFUL = 50
"""Requests that are made ahead: few, as in a server, so that they are young when they are served. Objects that have
grown old before would leave any garbage among them to the rare full collection."""


class WrongAnswerError(Exception):
    """A variant is not what its name says."""


@dataclass
class Rounds:
    """Microseconds per request, by variant and then by round."""

    protocol: str
    microseconds: dict[str, list[float]] = field(default_factory=dict)
    per_round: dict[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(next(iter(self.microseconds.values())))

    def requests(self, name: str) -> int:
        return self.per_round[name] * self.count

    def median(self, name: str) -> float:
        return statistics.median(self.microseconds[name])

    def minimum(self, name: str) -> float:
        return min(self.microseconds[name])

    def ratio(self, name: str, to: str = NOTHING) -> float:
        """Return the median over rounds of the ratio between two variants."""
        return statistics.median(
            one / other for one, other in zip(self.microseconds[name], self.microseconds[to], strict=True)
        )

    def above(self, name: str, other: str = NOTHING) -> float:
        """Return the median over rounds of the difference between two variants."""
        pairs = zip(self.microseconds[name], self.microseconds[other], strict=True)
        return statistics.median(one - other for one, other in pairs)


def measure(protocol: Any, rounds: int, seconds: float) -> Rounds:
    """Measure every variant of a protocol in at most so many rounds, and begin none after so many seconds."""
    with data_folder() as folder:
        return asyncio.run(_measure(protocol, folder, rounds, seconds))


async def _measure(protocol: Any, folder: Path, rounds: int, seconds: float) -> Rounds:
    assembled = Variants(protocol, folder)
    try:
        return await take_turns(protocol, await assembled.start(), rounds, seconds)
    finally:
        await assembled.stop()


async def take_turns(protocol: Any, variants: list[Variant], rounds: int, seconds: float) -> Rounds:
    """Measure some variants in at most so many rounds, and begin none after so many seconds."""
    result = Rounds(
        protocol.name,
        {one.name: [] for one in variants},
        {one.name: one.per_round for one in variants},
    )
    for variant in variants:
        await _run(protocol, variant)
    deadline = time.monotonic() + seconds
    for number in range(rounds):
        if time.monotonic() > deadline and number > 0:
            break
        gc.collect()
        first = number % len(variants)
        for variant in variants[first:] + variants[:first]:
            result.microseconds[variant.name].append(await _run(protocol, variant) * 1e6)
    return result


async def _run(protocol: Any, variant: Variant) -> float:
    """Return the CPU seconds of one request."""
    await _check(protocol, variant)
    calls = iter(variant.calls(variant.per_round))
    seconds = 0.0
    while handful := list(itertools.islice(calls, HANDFUL)):
        gc.disable()
        requests = protocol.prepare(handful)
        gc.enable()
        seconds += await protocol.run(variant.app, requests)
    return seconds / variant.per_round


async def _check(protocol: Any, variant: Variant) -> None:
    first, second = variant.calls(2)  # the first one fills the cache
    await protocol.ask(variant.app, first)
    answer = await protocol.ask(variant.app, second)
    if not variant.is_right(answer):
        raise WrongAnswerError(f"{protocol.name}, {variant.name}: {answer}")


def profile(protocol: Any, name: str, count: int = 20_000) -> str:
    """Return where the time of one variant goes: the twelve functions with most time of their own."""
    with data_folder() as folder:
        return asyncio.run(_profile(protocol, folder, name, count))


async def _profile(protocol: Any, folder: Path, name: str, count: int) -> str:
    assembled = Variants(protocol, folder)
    try:
        variant = next(one for one in await assembled.start() if one.name == name)
        await _check(protocol, variant)
        return await profiled(protocol.run(variant.app, protocol.prepare(variant.calls(count))))
    finally:
        await assembled.stop()


async def profiled(coroutine: Any) -> str:
    """Run a coroutine under cProfile and return the table."""
    profiler = cProfile.Profile()
    profiler.enable()
    try:
        await coroutine
    finally:
        profiler.disable()
    text = io.StringIO()
    pstats.Stats(profiler, stream=text).sort_stats("tottime").print_stats(12)
    lines = text.getvalue().splitlines()
    start = next(number for number, line in enumerate(lines) if "ncalls" in line)
    return "\n".join(_shortened(line) for line in lines[start:] if line.strip())


def _shortened(line: str) -> str:
    for root in ("/launchkit/", "/benchmarks/", "/site-packages/"):
        before, found, after = line.partition(root)
        if found:
            return before[: before.rfind(" ") + 1] + (root + after).removeprefix("/site-packages").lstrip("/")
    return line
