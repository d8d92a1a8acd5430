"""The figures beside what was promised, for people and as JSON.

The promises are about ASGI, on a plain route with every feature on: what the kit adds to a request that none of its
features has anything to say about is what every request pays. Under uvicorn the promise is about the example app; the
apps that do nothing show what an answer of our own would cost at worst. Whatever misses its target says so and shows
where the time goes.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.in_process import Rounds
from benchmarks.server import ServerRounds
from benchmarks.variants import BY_HAND, MANY_PATHS, NOTHING, ONE_PATH

MOST_ABOVE = 12.0
"""Microseconds above the no-op."""
MOST_BY_HAND = 4.0
"""Times the hand-written middleware."""
MOST_LOST = 10.0
"""Per cent fewer requests per second under uvicorn."""


@dataclass(frozen=True, slots=True)
class Target:
    """One promise. `variant` is what to profile when it is missed, if there is anything."""

    what: str
    figure: float
    bound: float
    unit: str
    variant: str
    direction: Literal["at most", "at least"] = "at most"

    @property
    def met(self) -> bool:
        return self.figure <= self.bound if self.direction == "at most" else self.figure >= self.bound

    def __str__(self) -> str:
        verdict = "met" if self.met else "MISSED"
        bound = f"target {self.direction} {self.bound:g} {self.unit}"
        return f"{verdict:>6}  {self.what}: {self.figure:.1f} {self.unit}, {bound}"

    def as_json(self) -> dict[str, object]:
        return {
            "what": self.what,
            "figure": self.figure,
            self.direction.replace(" ", "_"): self.bound,
            "unit": self.unit,
            "met": self.met,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Variants that were measured side by side.

    `baselines` has what each variant is held against, `profile` tells where the time of one goes. `remarks` are lines
    below the table.
    """

    title: str
    rounds: Rounds
    baselines: dict[str, str]
    targets: tuple[Target, ...]
    profile: Callable[[str], str]
    remarks: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """Return the table."""
        yield f"{self.title}: CPU microseconds, {self.rounds.count} interleaved rounds"
        yield f"  {'':34}{'median':>9}{'minimum':>9}{'above':>9}{'times':>9}"
        for name in self.rounds.microseconds:
            line = f"  {name:34}{self.rounds.median(name):9.2f}{self.rounds.minimum(name):9.2f}"
            if (baseline := self.baselines.get(name)) is not None:
                above, times = self.rounds.above(name, baseline), self.rounds.ratio(name, baseline)
                line += f"{above:9.2f}{times:9.2f}  {baseline}"
            yield line
        yield from self.remarks

    def as_json(self) -> dict[str, Any]:
        """Return every figure."""
        return {
            name: {
                "requests": self.rounds.requests(name),
                "median_us": self.rounds.median(name),
                "minimum_us": self.rounds.minimum(name),
                "baseline": baseline,
                "above_us": None if baseline is None else self.rounds.above(name, baseline),
                "ratio": None if baseline is None else self.rounds.ratio(name, baseline),
            }
            for name in self.rounds.microseconds
            for baseline in (self.baselines.get(name),)
        }


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out without rounds of variants, in the form of a `Comparison`."""

    title: str
    text: tuple[str, ...]
    figures: dict[str, Any]
    targets: tuple[Target, ...]
    profile: Callable[[str], str]

    def lines(self) -> Iterator[str]:
        """Return the title and the text."""
        yield self.title
        yield from self.text

    def as_json(self) -> dict[str, Any]:
        """Return every figure."""
        return self.figures


def request_targets(asgi: Rounds) -> Iterator[Target]:
    """Return what is promised of requests in the process."""
    for name in (ONE_PATH, MANY_PATHS):
        yield Target(f"{name}, above the no-op", asgi.above(name), MOST_ABOVE, "us", name)
    for name in (ONE_PATH, MANY_PATHS):
        yield Target(f"{name}, against {BY_HAND}", asgi.ratio(name, BY_HAND), MOST_BY_HAND, "times", name)


def server_target(server: ServerRounds) -> Target:
    """Return what is promised of requests per second."""
    lost = (1 - server.share_of_requests("kit")) * 100
    return Target(
        f"{server.framework} under uvicorn, fewer requests per second", lost, MOST_LOST, "%", server.framework
    )


def machine() -> dict[str, object]:
    """Return what the figures were taken on."""
    return {
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "load": list(os.getloadavg()),
    }


def request_lines(rounds: Rounds) -> Iterator[str]:
    """Return the table of one protocol."""
    yield f"{rounds.protocol}: CPU microseconds per request in the process, {rounds.count} interleaved rounds"
    yield f"  {'':28}{'median':>9}{'minimum':>9}{'x no-op':>9}{'above':>9}{'requests':>11}"
    for name in rounds.microseconds:
        yield (
            f"  {name:28}{rounds.median(name):9.2f}{rounds.minimum(name):9.2f}{rounds.ratio(name):9.2f}"
            f"{rounds.above(name):9.2f}{rounds.requests(name):11,}"
        )
    yield f"  the new paths were {rounds.requests(MANY_PATHS):,} different ones"
    yield f"  {ONE_PATH} against {BY_HAND}: {rounds.ratio(ONE_PATH, BY_HAND):.2f} times"
    yield f"  {MANY_PATHS} against {BY_HAND}: {rounds.ratio(MANY_PATHS, BY_HAND):.2f} times"
    yield "  webhook accepted includes the inbox's writer thread; its commits are one by one"


def server_lines(server: ServerRounds) -> Iterator[str]:
    """Return what one framework's app did under uvicorn."""
    yield f"{server.framework} under uvicorn, one worker, {server.count} interleaved rounds: median (best)"
    for name, per_second in server.per_second.items():
        cpu, ratio = server.cpu[name], server.cpu_ratio(name)
        line = f"  {name:8}{server.middle(per_second):8.0f} ({max(per_second):.0f}) requests per second, "
        line += f"{server.share_of_requests(name):.3f} of bare"
        yield (
            line
            if ratio is None
            else (f"{line}; {server.middle(cpu):.1f} ({min(cpu):.1f}) us of CPU per request, {ratio:.3f} times bare")
        )


def as_json(
    requests: list[Rounds],
    servers: list[ServerRounds],
    comparisons: list[Comparison],
    targets: list[Target],
    profiles: dict[str, str],
) -> dict[str, object]:
    """Return everything in one object."""
    return {
        "machine": machine(),
        "requests": {rounds.protocol: _requests_json(rounds) for rounds in requests},
        "servers": {server.framework: server_json(server) for server in servers},
        "comparisons": {comparison.title: comparison.as_json() for comparison in comparisons},
        "targets": [target.as_json() for target in targets],
        "profiles": profiles,
    }


def _requests_json(rounds: Rounds) -> dict[str, Any]:
    return {
        "rounds": rounds.count,
        "variants": {
            name: {
                "requests": rounds.requests(name),
                "median_us": rounds.median(name),
                "minimum_us": rounds.minimum(name),
                "ratio_to_no_op": rounds.ratio(name, NOTHING),
                "ratio_to_by_hand": rounds.ratio(name, BY_HAND),
                "above_no_op_us": rounds.above(name),
            }
            for name in rounds.microseconds
        },
    }


def server_json(server: ServerRounds) -> dict[str, Any]:
    """Return every figure of one app's servers."""
    return {
        "rounds": server.count,
        "requests_per_second": server.per_second,
        "cpu_us_per_request": server.cpu,
        "share_of_requests": {name: server.share_of_requests(name) for name in server.per_second},
        "cpu_ratio": {name: server.cpu_ratio(name) for name in server.per_second},
    }
