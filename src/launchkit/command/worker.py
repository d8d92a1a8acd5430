"""`launchkit worker module:name` handles an app's webhooks in a process of its own, in the foreground.

The first SIGTERM or SIGINT ends it gracefully: nothing more is taken, handlers get a moment, and what they do not
finish is given back at once for others to take up. The second one ends the process on the spot.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Final

from launchkit.command.app import find_kit
from launchkit.command.failure import DONE, REFUSED, Failed
from launchkit.command.parsers import AddParser
from launchkit.errors import LaunchKitError
from launchkit.kit import LaunchKit

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def add(add_parser: AddParser) -> None:
    """Add the subcommand."""
    parser = add_parser(
        "worker",
        help="handle an app's webhooks in a process of its own",
        description="Handle the webhooks of an app, and what it has submitted, until SIGTERM or SIGINT. Handlers are "
        "given a moment to finish then, and what they do not finish is given back for others; a second signal ends the "
        "process at once. The app is imported from the working directory, as a server would, and serves no requests. "
        "LAUNCHKIT_WEBHOOKS__IN_APP=0 keeps the app's own processes from handling any.",
        epilog="Exit status: 0 after a signal; 1 if the app has no handler; 2 if it cannot be imported.",
    )
    parser.add_argument("app", help="the app that the kit is installed in, or the kit, as module:name")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    kit = find_kit(options.app)
    try:
        asyncio.run(_work(kit))
    except LaunchKitError as error:
        raise Failed(str(error), REFUSED) from error
    return DONE


async def _work(kit: LaunchKit) -> None:
    """Work until a signal comes."""
    working = asyncio.create_task(kit.work())
    loop = asyncio.get_running_loop()

    def stop() -> None:
        sys.stderr.write("launchkit: stopping, once more ends it at once\n")
        working.cancel()

    def told(*_: object) -> None:
        _on_signals(signal.SIG_DFL)  # here and not in `stop`: a handler may hold up the loop
        loop.call_soon_threadsafe(stop)

    _on_signals(told)
    sources = sorted(kit.webhooks.sources)
    if sources:
        sys.stderr.write(f"launchkit: handling {', '.join(sources)} from {_inbox(kit)}\n")
    await asyncio.wait([working])
    if not working.cancelled():
        working.result()  # raises what ended it


def _on_signals(action: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in _SIGNALS:
        signal.signal(number, action)


def _inbox(kit: LaunchKit) -> str:
    settings = kit.settings
    return "PostgreSQL" if settings.database_url is not None else f"the inbox in {settings.data_dir.resolve()}"
