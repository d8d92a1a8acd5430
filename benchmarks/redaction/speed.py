"""What redaction costs: a line of log, with and without anything to look at, one call of a logger, data, streams, texts
that were written to be slow, and how long it takes to begin.

Every variant takes its turn in each round, with the same lines, so that whatever else the machine does meets all alike.
A figure is CPU time. Run alone: `python -m benchmarks.redaction.speed`, which takes about 70 seconds.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.in_process import profiled
from benchmarks.redaction import hostile, payloads
from benchmarks.redaction.clean import clean
from benchmarks.redaction.turns import ROUNDS, Variant, take_turns
from launchkit.redaction import logs
from launchkit.redaction.engine import Redactor
from launchkit.settings import RedactionSettings

DEFAULT, PRODUCTION, YARDSTICK = "launchkit", "launchkit in production", "json.dumps of a small record"
PLAIN = "logger.info"
MOST_FOR_A_LINE = 16.0
MOST_FOR_NOTHING = 6.0
"""Microseconds."""
MOST_FOR_HOSTILE = 1.0
"""Seconds for a million characters."""
AVERAGE = 110
"""Characters of a clean line."""
VALUES = 10
"""Secrets in the settings of an app in production."""
STREAM_BYTES = 5_000_000
PIECE = 64 * 1024
TOLD = 5
"""How many of the texts that were written to be slow are told of."""

NOTHING = {
    23: "GET /items/4711 200 3ms",
    60: "2026-03-04 12:00:01 INFO app.orders order 4711 was sent, 3 x",
    110: (
        "2026-03-04 12:00:01 INFO app.orders order 4711 of customer 12 sent to Vienna by van 3 in 12 ms, 3 items, 1 now"
    ),
}
"""Lines by length that have nothing in them to look at any closer."""


def comparisons() -> Iterator[report.Comparison | report.Finding]:
    """Measure one thing after another."""
    lines = usual_lines(clean())
    default, production = redactors()
    yield compare_lines(lines, default, production)
    yield compare_nothing(default)
    yield compare_logging(default, production)
    yield compare_data(default)
    yield compare_hostile()
    yield find_other_figures(lines, default)


def usual_lines(lines: list[str]) -> list[str]:
    """Leave out the shortest lines, until those that are left have `AVERAGE` characters on average."""
    total = sum(map(len, lines))
    shortest = 0
    by_length = sorted(map(len, lines))
    for count, length in enumerate(by_length):
        if total / (len(lines) - count) >= AVERAGE:
            break
        total -= length
        shortest = length
    return [line for line in lines if len(line) > shortest]


def redactors() -> tuple[Redactor, Redactor]:
    """Return redaction as it is without settings, and as in production: with e-mail addresses and ten secrets."""
    values = [secrets.token_urlsafe(24) for _ in range(VALUES)]
    settings = RedactionSettings()
    return Redactor(settings, mask_emails=False), Redactor(settings, mask_emails=True, values=values)


def compare_lines(lines: list[str], default: Redactor, production: Redactor) -> report.Comparison:
    """Measure lines of real logs."""
    from benchmarks.redaction import peers  # not before it is measured: it would make the heap of all others larger

    record = {"level": "info", "logger": "app.orders", "message": "order sent", "order": 4711, "milliseconds": 12.5}
    rounds = take_turns(
        {
            DEFAULT: Variant(default.redact, lines),
            PRODUCTION: Variant(production.redact, lines),
            **{name: Variant(call, lines) for name, call in peers.QUICK.items()},
            peers.DETECT_SECRETS: Variant(peers.detect, lines[:: len(lines) // (20 * ROUNDS)], peers.ready_to_detect),
            YARDSTICK: Variant(json.dumps, [record] * len(lines)),
        }
    )
    length = sum(map(len, lines)) / len(lines)
    return report.Comparison(
        f"Redaction of {len(lines):,} clean lines of {length:.0f} characters on average",
        rounds,
        {name: peers.LOGFIRE for name in rounds.microseconds if name not in (peers.LOGFIRE, YARDSTICK)},
        tuple(
            report.Target(f"redaction of a clean line, {name}", rounds.median(name), MOST_FOR_A_LINE, "us", name)
            for name in (DEFAULT, PRODUCTION)
        ),
        profile,
        ("  detect-secrets has every so many lines only, because it takes so long",),
    )


def compare_nothing(default: Redactor) -> report.Comparison:
    """Measure lines that have nothing to look at."""
    from benchmarks.redaction import peers

    calls: dict[str, Callable[[str], object]] = {DEFAULT: default.redact, **peers.QUICK}
    variants = {
        f"{name}, {length}": Variant(call, [line] * 500 * ROUNDS)
        for length, line in NOTHING.items()
        for name, call in calls.items()
    }
    for length, line in NOTHING.items():
        slow = Variant(peers.detect, [line] * 5 * ROUNDS, peers.ready_to_detect)
        variants[f"{peers.DETECT_SECRETS}, {length}"] = slow
    rounds = take_turns(variants)
    return report.Comparison(
        "Redaction of a line that has nothing in it to look at, by its length",
        rounds,
        {
            f"{name}, {length}": f"{peers.LOGFIRE}, {length}"
            for name in (DEFAULT, *peers.QUICK)
            for length in NOTHING
            if name != peers.LOGFIRE
        },
        tuple(
            report.Target(
                f"redaction of nothing, {length} characters",
                rounds.median(f"{DEFAULT}, {length}"),
                MOST_FOR_NOTHING,
                "us",
                DEFAULT,
            )
            for length in NOTHING
        ),
        profile,
    )


def compare_logging(default: Redactor, production: Redactor) -> report.Comparison:
    """Measure one line that is logged to a stream."""
    from benchmarks.redaction import peers

    with Path(os.devnull).open("w", encoding="utf-8") as stream:
        logger, filtered = _logger("plain", stream), _logger("filtered", stream)
        peers.filter_records(filtered)
        numbers = range(500 * ROUNDS)
        rounds = take_turns(
            {
                PLAIN: Variant(_logging_to(logger), numbers),
                DEFAULT: Variant(_logging_to(logger), numbers, lambda: _hooked(default)),
                PRODUCTION: Variant(_logging_to(logger), numbers, lambda: _hooked(production)),
                peers.LOGGINGREDACTOR: Variant(_logging_to(filtered), numbers),
            }
        )
    baselines = {name: PLAIN for name in rounds.microseconds if name != PLAIN}
    return report.Comparison("One line logged to a stream", rounds, baselines, (), profile)


def _logger(name: str, stream: Any) -> logging.Logger:
    logger = logging.getLogger(f"benchmarks.redaction.{name}")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.INFO)
    return logger


def _logging_to(logger: logging.Logger) -> Callable[[int], None]:
    return lambda number: logger.info("order %s of customer %s was sent in %s ms", number, "c-4711", 12)


@contextmanager
def _hooked(redactor: Redactor) -> Iterator[None]:
    end = logs.install(redactor, lambda: "")
    try:
        yield
    finally:
        end()


def compare_data(default: Redactor) -> report.Comparison:
    """Measure an error's event, as Sentry's client makes it, and the headers of a request."""
    from benchmarks.redaction import peers

    headers = payloads.headers()
    inputs = {"an event": payloads.event(dict(headers)), "headers": headers}
    calls = {DEFAULT: default.redact_data, peers.LOGFIRE: peers.scrub, peers.LOGGINGREDACTOR: peers.filtered}
    rounds = take_turns(
        {
            f"{name}, {what}": Variant(call, [data] * 10 * ROUNDS)
            for what, data in inputs.items()
            for name, call in calls.items()
        }
    )
    baselines = {
        f"{name}, {what}": f"{peers.LOGFIRE}, {what}" for name in calls for what in inputs if name != peers.LOGFIRE
    }
    return report.Comparison("Redaction of data", rounds, baselines, (), profile)


def compare_hostile() -> report.Finding:
    """Measure texts that were written to be slow, with every rule and finder there is."""
    settings = RedactionSettings(emails=True, cards=True, ibans=True, phones=True, addresses=True)
    values = [secrets.token_urlsafe(24) for _ in range(VALUES)]
    worst = hostile.worst(Redactor(settings, mask_emails=True, values=values).redact)
    unit, longest = worst[0]
    return report.Finding(
        f"Redaction of {hostile.LONG:,} characters that repeat what it looks for: the worst {TOLD}, CPU seconds",
        tuple(f"  {one!r:34}{seconds:9.2f}" for one, seconds in worst[:TOLD]),
        dict(worst),
        (report.Target(f"{hostile.LONG:,} times the worst, {unit!r}", longest, MOST_FOR_HOSTILE, "s", unit),),
        profile,
    )


def find_other_figures(lines: list[str], default: Redactor) -> report.Finding:
    """Measure a stream, and how long it takes to begin."""
    figures = {
        "a stream of 5 MB, MB per second": statistics.median(_stream_rate(lines, default) for _ in range(3)),
        "constructing the redactor, ms": _milliseconds(lambda: redactors()[0]) / 2,
        "importing the feature, ms, best of 5": _import_milliseconds(),
    }
    text = tuple(f"  {name:34}{figure:9.2f}" for name, figure in figures.items())
    return report.Finding("Redaction of streams, and its beginning: medians of CPU time", text, figures, (), profile)


def _stream_rate(lines: list[str], redactor: Redactor) -> float:
    text = "\n".join(lines)
    text = (text * (STREAM_BYTES // len(text) + 1))[:STREAM_BYTES]
    stream = redactor.stream()
    started = time.process_time()
    for start in range(0, len(text), PIECE):
        stream.feed(text[start : start + PIECE])
    stream.close()
    return len(text) / (time.process_time() - started) / 1e6


def _milliseconds(call: Callable[[], object]) -> float:
    turns = []
    for _ in range(11):
        started = time.process_time()
        call()
        turns.append(time.process_time() - started)
    return statistics.median(turns) * 1e3


def _import_milliseconds() -> float:
    """Return what the feature's own modules take to be imported, by the clock."""
    command = [sys.executable, "-X", "importtime", "-c", "import launchkit.redaction.engine"]
    return min(_import_microseconds(command) for _ in range(5)) / 1e3


def _import_microseconds(command: list[str]) -> int:
    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()
    rows = [line.removeprefix("import time:").split("|") for line in told]
    return sum(int(own) for own, _, name in rows if name.strip().startswith("launchkit.redaction"))


def profile(variant: str) -> str:
    """Return where the time goes: with the text that is repeated, and else with clean lines."""
    default, production = redactors()
    texts = clean() if variant in (DEFAULT, PRODUCTION) else [variant * (hostile.SHORT // len(variant))]

    async def redact() -> None:
        redactor = production if variant == PRODUCTION else default
        for text in texts:
            redactor.redact(text)

    return asyncio.run(profiled(redact()))


def main() -> None:
    """Print every figure."""
    print("\n".join(f"{name}: {value}" for name, value in report.machine().items()))
    for comparison in comparisons():
        print("", *comparison.lines(), *comparison.targets, sep="\n", flush=True)


if __name__ == "__main__":
    main()
