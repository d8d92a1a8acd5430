"""The arguments that say which deliveries are meant."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

from launchkit.webhooks.inbox.archive import Filter
from launchkit.webhooks.inbox.inbox import State

_UNITS: Final = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def add_filters(parser: argparse.ArgumentParser, states: Collection[State]) -> None:
    """Add the conditions, of which a delivery has to meet every one that is given."""
    parser.add_argument("--source", help="only those of one source")
    parser.add_argument("--event", help="only those of one kind of event")
    parser.add_argument("--state", action="append", choices=states, help="only those in this state; may be repeated")
    parser.add_argument(
        "--since", type=_moment, metavar="WHEN", help="received since: 2h for two hours ago, or 2026-11-20T08:00 (UTC)"
    )
    parser.add_argument("--until", type=_moment, metavar="WHEN", help="received before")


def add_keys(parser: argparse.ArgumentParser) -> None:
    """Add the keys of deliveries."""
    parser.add_argument("keys", nargs="*", type=key, metavar="KEY", help="source:id, as `list` shows it")


def filter_of(options: argparse.Namespace, default_states: tuple[State, ...] = ()) -> Filter:
    """Return what the arguments ask for."""
    return Filter(
        keys=tuple(dict.fromkeys(getattr(options, "keys", ()))),
        source=options.source,
        event=options.event,
        states=tuple(options.state or default_states),
        since=options.since,
        until=options.until,
    )


def has_condition(options: argparse.Namespace) -> bool:
    """Tell whether anything narrows down which deliveries are meant."""
    given = (options.keys, options.source, options.event, options.state, options.since, options.until)
    return any(value not in (None, []) for value in given)


def key(text: str) -> str:
    """Return an idempotency key. Raises argparse's error for what cannot be one."""
    if not all(text.partition(":")):
        raise argparse.ArgumentTypeError(f"{text!r} should be a source and an id, like stripe:evt_1")
    return text


def moment(text: str, now: float) -> float:
    """Return what `2h` (before `now`) or `2026-11-20T08:00` (UTC, unless it says otherwise) means.

    All in seconds since 1970.

    Raises:
        ValueError: for anything else.
    """
    age = re.fullmatch(r"(\d{1,9})\s*(s|m|min|h|d|w)", text)
    if age is not None:
        return now - int(age[1]) * _UNITS[age[2]]
    written = datetime.fromisoformat(text)
    return (written if written.tzinfo is not None else written.replace(tzinfo=UTC)).timestamp()


def _moment(text: str) -> float:
    try:
        return moment(text, time.time())
    except ValueError:
        example = "30min, 2h or 3d ago, or a date like 2026-11-20 or 2026-11-20T08:00 (UTC)"
        raise argparse.ArgumentTypeError(f"{text!r} should be {example}") from None
