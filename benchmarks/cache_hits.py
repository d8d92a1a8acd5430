"""What a response out of the read cache costs, held against an app that does nothing at all.

The cache is measured alone, with every other feature off, and with every feature on; for a small and a large body; with
no header but Host, with a browser's headers, and with those as a proxy passes them on, an analytics cookie included.
Each no-op has the same headers: to let go of them costs something too. Two more variants ask for what is never stored,
once with every feature off and once with a cache that has no rule: what an app pays whose routes do not use it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.browser import FETCH, FORWARDED, HOST_ONLY, PROXY, VISITOR
from benchmarks.in_process import Rounds, profiled, take_turns
from benchmarks.launched import CACHED, data_folder, launched, new_secret, with_only
from benchmarks.protocols import Answer, Asgi, Call
from benchmarks.report import Comparison, Target
from benchmarks.variants import LARGE, SMALL, Variant, is_hit, is_plain, repeated

PATHS = {"300 B": ("/listings", SMALL), "20 kB": ("/tools/7", LARGE)}
SENT = {"host only": HOST_ONLY, "browser": FETCH}
PROXIED = "behind a proxy"
NOTHING, ALONE, EVERYTHING = "no-op", "cache alone", "all on"
OFF, WITHOUT_RULE = "all off, not stored", "cache alone, not stored"

MOST_ALONE, MOST_EVERYTHING = 7.0, 16.0
"""Microseconds."""
MOST_TIMES = 5.0
"""Times the no-op of ASGI, with the cache alone. The no-op of WSGI is hardly more than the call of a function."""


class Caches:
    """The kits, and the variants around them."""

    def __init__(self, protocol: Any, folder: Path) -> None:
        self._protocol = protocol
        self._kits = {
            ALONE: with_only(folder / "alone", read_cache=CACHED),
            EVERYTHING: launched(folder / "everything", new_secret(), lambda _: None),
            OFF: with_only(folder / "off"),
            WITHOUT_RULE: with_only(folder / "without-rule", read_cache={}),
        }

    async def start(self) -> list[Variant]:
        """Start every kit and return the variants."""
        for kit in self._kits.values():
            await self._protocol.start(kit)
        return [*self._nothing(), *self._hits(), *self._not_stored()]

    async def stop(self) -> None:
        """Stop every kit."""
        for kit in self._kits.values():
            await self._protocol.stop(kit)

    def _nothing(self) -> Iterator[Variant]:
        app = self._protocol.app(b"x" * SMALL)
        for how, call in _calls("/listings"):
            yield Variant(f"{NOTHING}, {how}", app, 2000, repeated(call), is_plain)

    def _hits(self) -> Iterator[Variant]:
        for size, (path, length) in PATHS.items():
            app = self._protocol.app(b"x" * length)
            for what, kit in ((ALONE, self._kits[ALONE]), (EVERYTHING, self._kits[EVERYTHING])):
                around = self._protocol.around(kit, app)
                for how, call in _calls(path):
                    if (what, how) != (ALONE, PROXIED):
                        yield Variant(f"{what}, {size}, {how}", around, 500, repeated(call), _is_hit_of(length))

    def _not_stored(self) -> Iterator[Variant]:
        for name in (OFF, WITHOUT_RULE):
            app = self._protocol.around(self._kits[name], self._protocol.app(b"x" * SMALL))
            yield Variant(name, app, 1000, repeated(_direct("/listings", FETCH)), _is_no_hit)


def _calls(path: str) -> Iterator[tuple[str, Call]]:
    for how, sent in SENT.items():
        yield how, _direct(path, sent)
    yield PROXIED, Call(path, visitor=VISITOR, peer=PROXY, sent=FORWARDED)


def _direct(path: str, sent: tuple[tuple[str, str], ...]) -> Call:
    return Call(path, visitor=VISITOR, peer=VISITOR, sent=sent)


def _is_hit_of(length: int) -> Callable[[Answer], bool]:
    return lambda answer: is_hit(answer) and answer.size == length


def _is_no_hit(answer: Answer) -> bool:
    return is_plain(answer) and not is_hit(answer)


def compare(protocol: Any, rounds: int, seconds: float) -> Comparison:
    """Measure every variant of a protocol."""
    measured = _run(protocol, lambda variants: take_turns(protocol, variants, rounds, seconds))
    baselines = {name: f"{NOTHING}, {name.rpartition(', ')[2]}" for name in measured.microseconds if "B, " in name}
    baselines |= {OFF: f"{NOTHING}, browser", WITHOUT_RULE: OFF}
    return Comparison(
        f"Out of the read cache, {protocol.name}",
        measured,
        baselines,
        tuple(_targets(protocol.name, measured, baselines)),
        partial(_profile, protocol),
    )


def _targets(protocol: str, measured: Rounds, baselines: dict[str, str]) -> Iterator[Target]:
    for size in PATHS:
        alone, everything = f"{ALONE}, {size}, browser", f"{EVERYTHING}, {size}, {PROXIED}"
        yield Target(f"{protocol} hit, {alone}", measured.median(alone), MOST_ALONE, "us", alone)
        if protocol == Asgi.name:
            times = measured.ratio(alone, baselines[alone])
            yield Target(f"{protocol} hit, {alone}, against the no-op", times, MOST_TIMES, "times", alone)
        yield Target(f"{protocol} hit, {everything}", measured.median(everything), MOST_EVERYTHING, "us", everything)


def _profile(protocol: Any, name: str) -> str:
    async def driven(variants: list[Variant]) -> str:
        (variant,) = [one for one in variants if one.name == name]
        await protocol.ask(variant.app, *variant.calls(1))
        return await profiled(protocol.run(variant.app, protocol.prepare(variant.calls(20_000))))

    return _run(protocol, driven)


def _run(protocol: Any, use: Callable[[list[Variant]], Any]) -> Any:
    async def run(folder: Path) -> Any:
        caches = Caches(protocol, folder)
        try:
            return await use(await caches.start())
        finally:
            await caches.stop()

    with data_folder() as folder:
        return asyncio.run(run(folder))
