"""`launchkit webhooks replay` and `discard`: one flow, two verbs.

The rules: nothing is changed without saying how many and being told so, by a person at a terminal or by `--yes`; and
never everything by accident: it takes a key, a condition or `--all`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from launchkit.command.failure import DONE, MISUSED, REFUSED, Failed
from launchkit.command.parsers import AddParser
from launchkit.command.progress import Progress
from launchkit.command.text import counted, say, say_json
from launchkit.command.webhooks.filters import add_filters, add_keys, filter_of, has_condition
from launchkit.command.webhooks.inbox import add_app, opened
from launchkit.pipeline.clock import SystemClock
from launchkit.webhooks.inbox.archive import Filter
from launchkit.webhooks.inbox.inbox import State
from launchkit.webhooks.service import Webhooks

MOST_KEYS: Final = 400
"""Keys at a time: a database takes a condition of a certain size only."""

Change = Callable[[Webhooks, Filter, Progress], int]
"""Carries a verb out and returns how many deliveries it has changed."""


@dataclass(frozen=True, slots=True)
class _Verb:
    """What is done to deliveries."""

    name: str
    past: str
    states: tuple[State, ...]
    """Which it can be done to."""
    left_because: str
    """Why it may fail for some that were found."""


_REPLAY: Final = _Verb(
    "replay",
    "replayed",
    ("dead", "done", "ignored"),
    "their bodies are no longer kept, or they are pending again",
)
_DISCARD: Final = _Verb("discard", "discarded", ("dead", "pending"), "they are over by now")


def add(add_parser: AddParser) -> None:
    """Add both subcommands."""
    replaying = add_parser(
        "replay",
        help="have deliveries handled again",
        description="Have deliveries handled again, with all their attempts: by default dead letters. What is done "
        "runs its handler again.",
        epilog=_EPILOG,
    )
    _add_arguments(replaying, _REPLAY)
    replaying.set_defaults(run=_replay)
    discarding = add_parser(
        "discard",
        help="have deliveries handled no more",
        description="Have deliveries handled no more: by default dead letters. A handler that is at it goes on, and "
        "what comes of it is not written down.",
        epilog=_EPILOG,
    )
    _add_arguments(discarding, _DISCARD)
    discarding.add_argument("--reason", default="", help="why; `show` tells it")
    discarding.set_defaults(run=_discard)


_EPILOG: Final = (
    "Name keys, conditions that all have to be met, or --all. Exit status: 1 if nothing was found or could be changed, "
    "2 without a terminal to ask on and without --yes."
)


def _add_arguments(parser: argparse.ArgumentParser, verb: _Verb) -> None:
    add_keys(parser)
    add_app(parser)
    add_filters(parser, verb.states)
    parser.add_argument("--all", action="store_true", help="all in the given states, by default all dead letters")
    parser.add_argument("--dry-run", action="store_true", help="only say how many")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _replay(options: argparse.Namespace) -> int:
    return _run(_REPLAY, options, lambda webhooks, wanted, progress: webhooks.replay(wanted, on_progress=progress))


def _discard(options: argparse.Namespace) -> int:
    reason: str = options.reason
    return _run(
        _DISCARD,
        options,
        lambda webhooks, wanted, progress: webhooks.discard(wanted, reason=reason, on_progress=progress),
    )


def _run(verb: _Verb, options: argparse.Namespace, change: Change) -> int:
    wanted = _wanted(verb, options)
    with opened(options.app) as webhooks:
        found = webhooks.count(wanted)
        if not found:
            raise Failed(f"there is nothing to {verb.name}", REFUSED)
        _warn(webhooks, wanted, found)
        if options.dry_run:
            return _told(verb, options, found, changed=0)
        _ask(f"{verb.name.capitalize()} {counted(found)}?", sure=options.yes)
        progress = Progress(sys.stderr, SystemClock())
        changed = change(webhooks, wanted, progress)
        progress.end()
    return _told(verb, options, found, changed)


def _wanted(verb: _Verb, options: argparse.Namespace) -> Filter:
    if not (has_condition(options) or options.all):
        raise Failed(f"say what to {verb.name}: keys, conditions, or --all", MISUSED)
    if len(options.keys) > MOST_KEYS:
        raise Failed(f"at most {MOST_KEYS} keys at a time: xargs -n {MOST_KEYS} makes several calls of many", MISUSED)
    return filter_of(options, verb.states if options.keys else ("dead",))


def _warn(webhooks: Webhooks, wanted: Filter, found: int) -> None:
    """Say what whoever is asked should know."""
    unknown = len(wanted.keys) - found
    if unknown > 0:
        sys.stderr.write(f"launchkit: {unknown} of these {len(wanted.keys)} keys: not there, or not in such a state\n")
    done = webhooks.count(replace(wanted, states=("done",))) if "done" in wanted.states else 0
    if done:
        sys.stderr.write(f"launchkit: {done} of {found} done already: a replay runs the handler again\n")


def _ask(question: str, *, sure: bool) -> None:
    if sure:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Failed(f"{question} Nobody is there to be asked: --yes says so", MISUSED)
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Failed("nothing was changed", REFUSED)


def _told(verb: _Verb, options: argparse.Namespace, found: int, changed: int) -> int:
    left = found - changed
    if options.json:
        say_json({"found": found, verb.past: changed})
    elif options.dry_run:
        say([f"{counted(found)} would be {verb.past}."])
    else:
        say([f"{counted(changed)} {verb.past}."])
        if left > 0:
            say([f"{left} could not be: {verb.left_because}."])
    return DONE if changed or options.dry_run else REFUSED
