"""`launchkit webhooks stats`: how much is to be done, and how much there is of everything."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Iterator, Mapping
from typing import get_args

from launchkit.command.failure import DONE
from launchkit.command.parsers import AddParser
from launchkit.command.text import aligned, counted, cut, duration, iso, plain, say, say_json
from launchkit.command.webhooks.inbox import add_app, opened
from launchkit.webhooks.inbox.archive import Backlog
from launchkit.webhooks.inbox.inbox import State

Totals = Mapping[tuple[str, str, State], int]
"""(source, event, state) to how many."""

_STATES: tuple[State, ...] = get_args(State)
_LONGEST_SOURCE, _LONGEST_EVENT = 20, 36


def add(add_parser: AddParser) -> None:
    """Add the subcommand."""
    parser = add_parser(
        "stats",
        help="count what is to be done, and everything by source and event",
        description="Count what is to be done, and everything by source and event. The latter reads the whole inbox.",
    )
    add_app(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object, times as ISO 8601 in UTC")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    with opened(options.app) as webhooks:
        backlog, totals = webhooks.backlog(), webhooks.totals()
    if options.json:
        say_json({"backlog": _backlog_as_json(backlog), "totals": list(_totals_as_json(totals))})
    else:
        say(_lines(backlog, totals, time.time()))
    return DONE


def _backlog_as_json(backlog: Backlog) -> Mapping[str, object]:
    oldest = backlog.oldest_due
    return dataclasses.asdict(backlog) | {"oldest_due": None if oldest is None else iso(oldest)}


def _totals_as_json(totals: Totals) -> Iterator[Mapping[str, object]]:
    for source, event in _kinds(totals):
        yield {"source": source, "event": event} | {state: totals.get((source, event, state), 0) for state in _STATES}


def _lines(backlog: Backlog, totals: Totals, now: float) -> Iterator[str]:
    yield (
        f"{backlog.pending} pending ({backlog.leased} handled now, {backlog.retrying} to be retried), "
        f"{counted(backlog.dead, 'dead letter', 'dead letters')}"
    )
    if backlog.oldest_due is not None:
        yield f"overdue for {duration(now - backlog.oldest_due)}: nobody has taken up the oldest since then"
    if totals:
        yield ""
        yield from aligned(_table(totals), right=range(2, 6))


def _table(totals: Totals) -> Iterator[tuple[str, ...]]:
    yield "SOURCE", "EVENT", *map(str.upper, _STATES)
    for source, event in _kinds(totals):
        counts = (str(totals.get((source, event, state), 0)) for state in _STATES)
        yield cut(plain(source), _LONGEST_SOURCE), cut(plain(event), _LONGEST_EVENT), *counts


def _kinds(totals: Totals) -> list[tuple[str, str]]:
    return sorted({(source, event) for source, event, _ in totals})
