"""Distinct URLs through the whole cache, many more than it has room for: does it keep to its budget?

It runs in a process of its own, whose memory is then what the cache takes. The cache is alone, with the size that it
has by default. Every request is for another URL, is looked for in vain and stored, and once the budget is used up
pushes others out. The app makes each body and each header anew, as frameworks do, so that nothing is shared between
entries. Memory is the resident set, looked at after every fifty requests. On a machine that is busy the flood ends
when its time is up, and says how many URLs there were. Run alone: `python -m benchmarks.cache_flood URLS BYTES`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from benchmarks.browser import FETCH, VISITOR
from benchmarks.in_process import HANDFUL, profiled
from benchmarks.launched import CACHED, data_folder, with_only
from benchmarks.protocols import Asgi, Call
from benchmarks.report import Finding, Target
from launchkit import LaunchKit

ROOT = Path(__file__).resolve().parent.parent
FLOODS = {"300 B": (1_000_000, 300), "20 kB": (50_000, 20_000)}
"""How many URLs with bodies of how many bytes: enough of either to replace all that is kept several times over."""
MOST_SECONDS = 90.0
MOST_OF_BUDGET = 110.0
"""Per cent."""


@dataclass(frozen=True, slots=True)
class CacheFlood:
    """What it did. `microseconds` is the CPU time of one request, which is a miss that is stored."""

    urls: int
    body: int
    budget: int
    grown: int
    kept: int
    counted: int
    evicted: int
    microseconds: float

    @property
    def of_budget(self) -> float:
        """Growth in per cent of the budget."""
        return 100 * self.grown / self.budget

    def __str__(self) -> str:
        return (
            f"  {self.urls:9,} of {self.body:6,} B: memory grew by {self.grown / 1e6:.1f} MB at most, "
            f"{self.of_budget:.0f} % of the budget (counted {self.counted / 1e6:.1f} MB); {self.kept:,} kept, "
            f"{self.evicted:,} evicted; {self.microseconds:.1f} us for a miss that is stored"
        )


def compare() -> Finding:
    """Flood one cache after the other, each in a child process."""
    floods = {size: _in_child(urls, body) for size, (urls, body) in FLOODS.items()}
    return Finding(
        f"Distinct URLs through the cache, budget {next(iter(floods.values())).budget / 1e6:.0f} MB",
        tuple(str(flood) for flood in floods.values()),
        {size: asdict(flood) for size, flood in floods.items()},
        tuple(
            Target(f"memory of the cache, {flood.urls:,} URLs of {size}", flood.of_budget, MOST_OF_BUDGET, "%", size)
            for size, flood in floods.items()
        ),
        _profile,
    )


def _in_child(urls: int, body: int) -> CacheFlood:
    command = [sys.executable, "-m", "benchmarks.cache_flood", str(urls), str(body)]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if child.returncode != 0:
        raise RuntimeError(f"the flood ended early: {child.stderr}")
    return CacheFlood(**json.loads(child.stdout))


async def run(kit: LaunchKit, urls: int, body: int) -> CacheFlood:
    """Flood a kit in this process."""
    await kit.astart()
    app = kit.asgi(partial(_app, body))
    await Asgi.ask(app, _call(-1))
    gc.collect()
    before = grown = _resident_bytes()
    deadline = time.monotonic() + MOST_SECONDS
    served, seconds = 0, 0.0
    while served < urls and time.monotonic() < deadline:
        seconds += await Asgi.run(app, Asgi.prepare(_calls(served, HANDFUL)))
        served += HANDFUL
        grown = max(grown, _resident_bytes())
    kept = kit._memory.figures()
    await kit.astop()
    return CacheFlood(
        urls=served,
        body=body,
        budget=kit.settings.read_cache.size,
        grown=grown - before,
        kept=kept.keys,
        counted=kept.bytes,
        evicted=kept.evictions,
        microseconds=seconds / served * 1e6,
    )


async def _app(length: int, scope, receive, send) -> None:  # noqa: ARG001  # as ASGI has it
    headers = [_header("content-type", "application/json"), _header("content-length", str(length))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": scope["path"].encode().ljust(length)})


def _header(name: str, value: str) -> tuple[bytes, bytes]:
    return name.encode(), value.encode()


def _calls(first: int, count: int) -> Iterator[Call]:
    return (_call(number) for number in range(first, first + count))


def _call(number: int) -> Call:
    return Call(f"/tools/{number}", visitor=VISITOR, peer=VISITOR, sent=FETCH)


def _profile(size: str) -> str:
    _, body = FLOODS[size]
    with data_folder() as folder:
        return asyncio.run(profiled(run(with_only(folder, read_cache=CACHED), 20_000, body)))


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")  # proc(5)


def main(arguments: Iterable[str]) -> None:
    urls, body = map(int, arguments)
    with data_folder() as folder:
        flood = asyncio.run(run(with_only(folder, read_cache=CACHED), urls, body))
    print(json.dumps(asdict(flood)))


if __name__ == "__main__":
    main(sys.argv[1:])
