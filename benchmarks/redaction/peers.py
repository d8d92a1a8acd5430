"""What redaction is compared with, each as a function of one text: what logs, traces and commits are searched with.

detect-secrets and betterleaks only tell where a secret is. logfire's scrubber has no public name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import betterleaks
from detect_secrets.core.scan import scan_line
from detect_secrets.settings import default_settings
from logfire._internal.scrubbing import Scrubber
from loggingredactor import CommonPIIRedactingFilter

LOGFIRE: Final = "logfire's scrubber"
LOGGINGREDACTOR: Final = "loggingredactor"
BETTERLEAKS: Final = "betterleaks"
DETECT_SECRETS: Final = "detect-secrets"

_scrubber = Scrubber(None)
_filter = CommonPIIRedactingFilter()


def scrub(value: object) -> object:
    """Redact a text or data with logfire."""
    return _scrubber.scrub_value(("value",), value)


def filtered(value: object) -> object:
    """Redact a text or data with loggingredactor."""
    return _filter.redact(value)


QUICK: Final[dict[str, Callable[[str], object]]] = {
    LOGFIRE: scrub,
    LOGGINGREDACTOR: filtered,
    BETTERLEAKS: betterleaks.scan_string,
}
"""What takes microseconds for a line."""


def detect(text: str) -> list[object]:
    """Find secrets with detect-secrets and everything it has; takes a millisecond and more."""
    return list(scan_line(text))


@contextmanager
def ready_to_detect() -> Iterator[None]:
    """Turn on everything that detect-secrets has."""
    with default_settings():
        yield


def filter_records(logger: logging.Logger) -> None:
    """Have loggingredactor redact the records of a logger."""
    logger.addFilter(_filter)
