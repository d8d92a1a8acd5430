"""`launchkit webhooks list`: what is in the inbox, the latest first."""

from __future__ import annotations

import argparse
import time
from typing import get_args

from launchkit.command.failure import DONE, REFUSED
from launchkit.command.parsers import AddParser, positive
from launchkit.command.text import say, say_json
from launchkit.command.webhooks.entries import as_json, as_lines
from launchkit.command.webhooks.filters import add_filters, filter_of
from launchkit.command.webhooks.inbox import add_app, opened
from launchkit.webhooks.inbox.inbox import State


def add(add_parser: AddParser) -> None:
    """Add the subcommand."""
    parser = add_parser(
        "list",
        help="list deliveries, the latest first",
        description="List deliveries, the latest first; never what was sent.",
        epilog="Exit status: 1 if there are none.",
    )
    add_app(parser)
    add_filters(parser, get_args(State))
    parser.add_argument("--limit", type=positive, default=50, help="how many at most; by default 50")
    parser.add_argument("--json", action="store_true", help="print one JSON object, times as ISO 8601 in UTC")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    with opened(options.app) as webhooks:
        entries = webhooks.list(filter_of(options), limit=options.limit)
    if options.json:
        say_json({"deliveries": [as_json(entry) for entry in entries]})
    elif not entries:
        say(["No deliveries."])
    else:
        say(as_lines(entries, time.time()))
        if len(entries) == options.limit:
            say([f"The latest {options.limit}: --limit shows more."])
    return DONE if entries else REFUSED
