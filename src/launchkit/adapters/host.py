"""What an adapter sees of the kit that made it."""

from __future__ import annotations

from typing import Final, Protocol

from launchkit.pipeline.pipeline import Pipeline

MARK: Final = "launchkit.kit"
"""Key in an ASGI scope or WSGI environ by which an inner kit sees that an outer one is at work.

Its value is no part of the request: an exchange under it would make a cycle with the scope that it holds, and every
request would be left to the garbage collector.
"""


def announced_length(text: str) -> int | None:
    """Return the number of a Content-Length header (RFC 9110 section 8.6), or None if it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


class Host(Protocol):
    """Starts the kit's background work and supplies the compiled pipeline."""

    pipeline: Pipeline | None
    """The compiled pipeline; None in a process where the kit has not been started yet."""

    def start(self) -> Pipeline:
        """Start in this process if that has not happened, with the kit's own loop for async work. Never raises."""
        ...

    async def astart(self) -> None:
        """Start in this process, with the running loop for async work.

        Raises:
            StartError: if an app must not go live like this.
        """
        ...

    async def astop(self) -> None:
        """Stop the background work; what is under way is given back. Never raises."""
        ...
