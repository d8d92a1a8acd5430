"""The inbox that a command works on: that of `--app`, or the one that the environment's settings point at."""

from __future__ import annotations

import argparse
import contextlib
import logging
from collections.abc import Iterator

from launchkit.command.app import find_kit
from launchkit.command.failure import NO_INBOX, Failed
from launchkit.kit import LaunchKit
from launchkit.settings import Settings
from launchkit.webhooks.service import Webhooks


def add_app(parser: argparse.ArgumentParser) -> None:
    """Add `--app`."""
    parser.add_argument(
        "--app",
        metavar="MODULE:NAME",
        help="import this app, or kit, and use its settings; by default those of the environment and of .env alone",
    )


@contextlib.contextmanager
def opened(app: str | None) -> Iterator[Webhooks]:
    """Give the inbox of an app, or of the environment, and close it afterwards.

    Raises:
        Failed: if there is no such app, or there never was an inbox where the settings point: an empty one in a wrong
            place would only look as if nothing had come.
    """
    kit = LaunchKit() if app is None else find_kit(app)
    _refuse_nowhere(kit.settings)
    silent = logging.NullHandler()  # what goes wrong is told once, by the command, unless the app logs
    logger = logging.getLogger("launchkit")
    logger.addHandler(silent)
    try:
        yield kit.webhooks
    finally:
        kit.stop()
        logger.removeHandler(silent)


def _refuse_nowhere(settings: Settings) -> None:
    if settings.database_url is None and not settings.data_dir.is_dir():
        folder = settings.data_dir.absolute()
        raise Failed(f"there is no {folder}: run this where the app runs, or set LAUNCHKIT_DATA_DIR", NO_INBOX)
