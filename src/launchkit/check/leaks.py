"""Findings about secrets that leave the process: what a canary showed that was sent through all of its channels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from launchkit.check.finding import error
from launchkit.errors import Finding

Plant = Callable[[], tuple[Sequence[tuple[str, str]], str]]
"""Sends a canary, and returns the channels that showed it, each with the reason, and in words which ones were tried."""


def leak_findings(plant: Plant, proved: list[str]) -> Iterator[Finding]:
    """Return a finding for each channel that shows secrets; what is proved if none does goes to `proved`."""
    leaks, channels = plant()
    for channel, reason in leaks:
        yield error(
            "secrets-shown",
            f"Made-up secrets came out of {channel}, which {reason}.",
            "Let records come to it through a logger, or pass what it is given through kit.redaction.",
        )
    if not leaks:
        proved.append(f"every channel redacts: {channels}")
