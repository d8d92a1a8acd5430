"""How a command ends that could not do what was asked: a line on stderr, and an exit status that says what kind."""

from __future__ import annotations

from typing import Final

DONE: Final = 0
REFUSED: Final = 1
"""Nothing was found, or the answer is no."""
MISUSED: Final = 2
"""The command was called wrongly, or with an app or settings that cannot be used."""
NO_INBOX: Final = 3
"""The inbox cannot be used."""


class Failed(Exception):
    """The command cannot do what was asked.

    Args:
        message: why, and what to do about it, in a line.
        status: the exit status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
