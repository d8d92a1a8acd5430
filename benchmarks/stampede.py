"""Many requests at once for something that is not stored yet, and that takes the app 50 ms to make.

Told are how often the app ran and how long it took, by the clock, until everybody had an answer. The cache is alone; no
cache is a kit with every feature off. Coroutines share one event loop; threads stand for a WSGI server's, of which the
kit lets no more than half wait for another's answer.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from benchmarks.browser import FETCH, VISITOR
from benchmarks.in_process import WrongAnswerError, profiled
from benchmarks.launched import CACHED, data_folder, with_only
from benchmarks.protocols import Answer, Asgi, Call, Wsgi
from benchmarks.report import Finding, Target
from launchkit import LaunchKit

COROUTINES, THREADS = 500, 100
SECONDS = 0.05
ROUNDS = 5
BODY = b"x" * 300
NO_CACHE, CACHE = "no cache", "cache"


@dataclass(frozen=True, slots=True)
class Stampede:
    """One crowd. Figures are those of `ROUNDS` crowds: the most runs of the app, and the milliseconds."""

    name: str
    requests: int
    runs: int
    median: float
    minimum: float

    def __str__(self) -> str:
        runs = "once" if self.runs == 1 else f"{self.runs} times"
        return f"  {self.name:24}{self.requests:6} requests: app ran {runs}, {self.median:.0f} ms ({self.minimum:.0f})"


class Slow:
    """An app for both protocols that takes its time and counts its runs."""

    def __init__(self) -> None:
        self.runs = 0
        self._counting = threading.Lock()

    def _count(self) -> None:
        with self._counting:
            self.runs += 1

    async def asgi(self, scope, receive, send) -> None:
        self._count()
        await asyncio.sleep(SECONDS)
        await Asgi.app(BODY)(scope, receive, send)

    def wsgi(self, environ, start_response):
        self._count()
        time.sleep(SECONDS)
        return Wsgi.app(BODY)(environ, start_response)


def compare() -> Finding:
    """Let crowds of both kinds come, each in turn with and without the cache. The cache is to let one through."""
    with data_folder() as folder:
        kits = {NO_CACHE: with_only(folder / "off"), CACHE: with_only(folder / "alone", read_cache=CACHED)}
        coroutines = asyncio.run(_coroutines(kits))
        threads = _threads(kits)
        for kit in kits.values():
            kit.stop()
    stampedes = {one.name: one for one in (*coroutines, *threads)}
    together = stampedes[_name(CACHE, "coroutines")]
    return Finding(
        f"A crowd at something that is not stored, {SECONDS * 1000:.0f} ms to make: median (best) of {ROUNDS}",
        tuple(str(one) for one in stampedes.values()),
        {name: asdict(one) for name, one in stampedes.items()},
        (Target(f"app runs for {COROUTINES} misses at once", together.runs, 1, "runs", together.name),),
        _profile,
    )


def _name(cache: str, kind: str) -> str:
    return f"{cache}, {kind}"


async def _coroutines(kits: dict[str, LaunchKit]) -> list[Stampede]:
    slow = Slow()
    apps = {_name(cache, "coroutines"): kit.asgi(slow.asgi) for cache, kit in kits.items()}

    taken: dict[str, list[tuple[int, float]]] = {name: [] for name in apps}
    for call, (name, app) in itertools.product(_calls(0), apps.items()):
        before, started = slow.runs, time.perf_counter()
        answers = await asyncio.gather(*[Asgi.ask(app, call) for _ in range(COROUTINES)])
        taken[name].append((slow.runs - before, time.perf_counter() - started))
        _check(name, answers)
    return [_summed_up(name, COROUTINES, figures) for name, figures in taken.items()]


def _threads(kits: dict[str, LaunchKit]) -> list[Stampede]:
    slow = Slow()
    apps = {_name(cache, "threads"): kit.wsgi(slow.wsgi) for cache, kit in kits.items()}
    taken: dict[str, list[tuple[int, float]]] = {name: [] for name in apps}
    for call, (name, app) in itertools.product(_calls(ROUNDS), apps.items()):
        before, started = slow.runs, time.perf_counter()
        answers = _in_threads(lambda app=app, call=call: asyncio.run(Wsgi.ask(app, call)))
        taken[name].append((slow.runs - before, time.perf_counter() - started))
        _check(name, answers)
    return [_summed_up(name, THREADS, figures) for name, figures in taken.items()]


def _in_threads(ask: Callable[[], Answer]) -> list[Answer]:
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda: answers.append(ask())) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def _calls(first: int) -> list[Call]:
    numbers = range(first, first + ROUNDS)
    return [Call(f"/tools/{number}", visitor=VISITOR, peer=VISITOR, sent=FETCH) for number in numbers]


def _check(name: str, answers: list[Answer]) -> None:
    if wrong := [answer for answer in answers if (answer.status, answer.size) != (200, len(BODY))]:
        raise WrongAnswerError(f"{name}: {wrong[0]}")


def _summed_up(name: str, requests: int, figures: list[tuple[int, float]]) -> Stampede:
    milliseconds = [seconds * 1000 for _, seconds in figures]
    return Stampede(
        name, requests, max(runs for runs, _ in figures), statistics.median(milliseconds), min(milliseconds)
    )


def _profile(_: str) -> str:
    with data_folder() as folder:
        return asyncio.run(profiled(_coroutines({CACHE: with_only(folder, read_cache=CACHED)})))
