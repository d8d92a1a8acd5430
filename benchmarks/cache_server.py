"""What the read cache gains under uvicorn: a FastAPI route that lists things, bare and out of the cache.

Servers and load are those of `server`: one worker, connections that stay open, requests that a proxy has passed on. The
route declares a response model, as FastAPI's documentation has it, and makes its answer up without a database: with one
a cache would gain more. uvicorn's own work is part of every figure. Where the route does next to nothing, as with the
small answer, that work is most of it, and no cache could gain much: so nothing is promised there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks import server
from benchmarks.report import Target, server_json, server_lines
from benchmarks.things import PATHS

FACTORIES = {"bare": "things", "alone": "things_alone", "all on": "things_everything"}
PROMISED = "20 kB"
LEAST_TIMES = 3.0
"""Times the requests per second of the bare route."""


@dataclass(frozen=True, slots=True)
class Gain:
    """What the servers did, in the form of a `report.Comparison`."""

    size: str
    rounds: server.ServerRounds

    @property
    def title(self) -> str:
        return f"{self.rounds.framework} under uvicorn"

    @property
    def targets(self) -> tuple[Target, ...]:
        return tuple(self._target(name) for name in FACTORIES if name != "bare" and self.size == PROMISED)

    def _target(self, name: str) -> Target:
        what = f"{self.size} under uvicorn, {name}, requests per second over the uncached route's"
        return Target(what, self.rounds.share_of_requests(name), LEAST_TIMES, "times", name, "at least")

    def lines(self) -> Iterator[str]:
        return server_lines(self.rounds)

    def as_json(self) -> dict[str, Any]:
        return server_json(self.rounds)

    def profile(self, name: str) -> str:
        """Return where the time goes in a server's app, driven without the server."""
        return server.profile_app(FACTORIES[name], PATHS[self.size])


def compare(size: str, rounds: int, seconds: float) -> Gain:
    """Ask the three servers for a page of a size, each for so many seconds in each of so many rounds."""
    title = f"A cached route of FastAPI, {size}"
    return Gain(size, server.take_turns(title, FACTORIES, PATHS[size], rounds, seconds))
