"""The command `launchkit`: what is done with an app from outside of it. Each subcommand is a module that adds itself.

Exit statuses: 0 for done; 1 if nothing was found, or the answer is no; 2 for a call, an app or settings that cannot be
used; 3 if the inbox cannot be used. What is expected to go wrong is one line on stderr, without a traceback.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

from launchkit.command import check, redact, webhooks, worker
from launchkit.command.failure import DONE, MISUSED, NO_INBOX, Failed
from launchkit.command.text import plain
from launchkit.errors import InboxUnavailable, LaunchKitError

__all__ = ["main"]

_INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with the given arguments, by default the process's, and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except Failed as failed:
        return _failed(failed, failed.status)
    except InboxUnavailable as error:
        return _failed(plain(str(error)), NO_INBOX)  # drivers write several lines
    except LaunchKitError as error:
        return _failed(error, MISUSED)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # as of `head`, which has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered would be an error at exit
        return DONE
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="launchkit", description="What LaunchKit does with an app from outside of it."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (check, redact, webhooks, worker):
        module.add(commands.add_parser)
    return parser


def _failed(reason: object, status: int) -> int:
    sys.stderr.write(f"launchkit: {reason}\n")
    return status
