"""What every subcommand is given to add itself: it describes its arguments and says what to run."""

from __future__ import annotations

import argparse
from collections.abc import Callable

AddParser = Callable[..., argparse.ArgumentParser]
"""`add_parser` of argparse. The parser that it makes needs a default `run`: a function of the parsed arguments that
returns the exit status, or raises `Failed`."""


def positive(text: str) -> int:
    """Return a whole number above 0. Raises argparse's error for anything else."""
    if not (text.isdecimal() and len(text) <= len("999999999") and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} should be a whole number from 1 on")
    return int(text)
