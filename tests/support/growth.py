"""How the time of some work grows with the length of a text."""

from __future__ import annotations

import time
from collections.abc import Callable


def grows_linearly(work: Callable[[str], object], piece: str, short: int) -> bool:
    """Tell whether the processor needs about four times as long for four times the text; quadratic work takes sixteen.

    Other processes only ever add to a time, so that the best of several counts, and little time counts for nothing.
    """
    for tries in (1, 2, 4):
        once, longer = (
            min(_seconds(work, piece * (size // len(piece))) for _ in range(tries)) for size in (short, 4 * short)
        )
        if longer < 0.1 or longer < 10 * once:
            return True
    return False


def _seconds(work: Callable[[str], object], text: str) -> float:
    begun = time.process_time()
    work(text)
    return time.process_time() - begun
