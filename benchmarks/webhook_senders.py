"""Senders that store one event after the other, each as soon as the one before is acknowledged: coroutines of one event
loop, as under ASGI, or threads, as under WSGI.

They begin together. Latency is from the call until the acknowledgement, and counts the waiting for the event loop or
the interpreter's lock that many senders in one process cost one another, as a server's requests would.
"""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from benchmarks.in_process import WrongAnswerError
from benchmarks.webhook_disk import percentile
from benchmarks.webhook_events import EVENT, HEADERS, SOURCE, body_of, new_id
from launchkit.pipeline.effects import NewDelivery


@dataclass(frozen=True, slots=True)
class Turn:
    """What some senders have done."""

    events: int
    seconds: float
    p50: float
    """In milliseconds."""
    p99: float

    @property
    def per_second(self) -> float:
        return self.events / self.seconds

    @classmethod
    def of(cls, latencies: list[float], seconds: float) -> Turn:
        """Sum up the seconds that each event took, and all of them."""
        milliseconds = [latency * 1000 for latency in latencies]
        return cls(len(milliseconds), seconds, statistics.median(milliseconds), percentile(milliseconds, 99))


def new_event() -> NewDelivery:
    """Return an event that has not been sent."""
    id_ = new_id()
    return NewDelivery(SOURCE, id_, EVENT, HEADERS, body_of(id_))


def by_asyncio(put: Callable[[NewDelivery], Awaitable[bool]], senders: int, seconds: float) -> Turn:
    """Let coroutines send for so many seconds."""
    return asyncio.run(send_all(put, senders, seconds))


async def send_all(put: Callable[[NewDelivery], Awaitable[bool]], senders: int, seconds: float) -> Turn:
    """Do `by_asyncio` on the running loop."""
    latencies: list[float] = []
    started = time.perf_counter()

    async def send() -> None:
        while (begun := time.perf_counter()) < started + seconds:
            _check(await put(new_event()))
            latencies.append(time.perf_counter() - begun)

    await asyncio.gather(*[send() for _ in range(senders)])
    return Turn.of(latencies, time.perf_counter() - started)


def by_threads(put: Callable[[NewDelivery], bool], senders: int, seconds: float) -> Turn:
    """Let threads send for so many seconds."""
    latencies: list[float] = []
    began: list[float] = []
    all_there = threading.Barrier(senders, lambda: began.append(time.perf_counter()))

    def send() -> None:
        all_there.wait()
        while (begun := time.perf_counter()) < began[0] + seconds:
            _check(put(new_event()))
            latencies.append(time.perf_counter() - begun)

    with ThreadPoolExecutor(senders) as threads:
        for sending in [threads.submit(send) for _ in range(senders)]:
            sending.result()
        taken = time.perf_counter() - began[0]
    return Turn.of(latencies, taken)


def _check(is_new: bool) -> None:
    if not is_new:
        raise WrongAnswerError("an event was not stored")
