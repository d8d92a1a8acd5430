"""What is to become of a delivery after an attempt, and how that is said without saying what was in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final, Literal

from launchkit.webhooks.outcomes import Discard, Retry

Outcome = Literal["done", "retry", "dead", "ignored", "released"]

LONGEST_REASON: Final = 200
"""Characters of a reason that are kept."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the inbox is to record."""

    outcome: Outcome
    reason: str = ""
    """Kept with the delivery: printable, short, and free of payload."""
    delay: float = 0.0
    """Seconds until the next attempt."""
    is_wish: bool = False
    """Whether the handler has asked for it."""


class HandlerTimeout(TimeoutError):
    """A handler took longer than `handler_timeout`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the handler took longer than {seconds:g} s")


NO_HANDLER: Final = Verdict("ignored", "no handler")
ELSEWHERE: Final = Verdict("released", delay=5.0)
"""What the app has submitted has a handler somewhere: in a process that runs a later release, say."""


def verdict_on(error: BaseException | None, attempt: int, delays: Sequence[float], fraction: float) -> Verdict:
    """Judge an attempt by what its handler raised.

    Args:
        error: what that was; None if it returned.
        attempt: 1 for the first.
        delays: seconds before each further attempt.
        fraction: between 0 and 1; spreads retries over the second half of their delay, so that what failed together
            does not come again together, and a sender's outage is not met by a retry at once.
    """
    if error is None:
        return Verdict("done")
    if isinstance(error, Discard):
        return Verdict("ignored", _printable(error.reason))
    reason = reason_of(error)
    is_wish = isinstance(error, Retry)
    if attempt > len(delays):
        return Verdict("dead", reason, is_wish=is_wish)
    delay = delays[attempt - 1] * (1 + fraction) / 2
    if isinstance(error, Retry) and error.after is not None:
        delay = error.after
    return Verdict("retry", reason, delay, is_wish)


def reason_of(error: BaseException) -> str:
    """Say what went wrong and where, as `ValueError in charge at billing.py:42`.

    Never with the error's message: it may hold payload.
    """
    if isinstance(error, HandlerTimeout):
        return str(error)
    if isinstance(error, Retry):
        return "the handler asked for another attempt"
    return _printable(type(error).__name__ + _place(error))


def without_message(error: BaseException) -> BaseException:
    """Return what is logged in place of an exception: of the same name, from the same place, and without its words."""
    kind = type(type(error).__name__, (Exception,), {"__module__": type(error).__module__})
    stand_in: BaseException = kind()
    return stand_in.with_traceback(error.__traceback__)


def _place(error: BaseException) -> str:
    """Say where an error was raised, if it was."""
    trace = error.__traceback__
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    return f" in {code.co_name} at {PurePath(code.co_filename).name}:{trace.tb_lineno}"


def _printable(text: str) -> str:
    """Cut to what every database and terminal takes."""
    return "".join(character if character.isprintable() else "?" for character in text[:LONGEST_REASON])
