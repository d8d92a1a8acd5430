"""Redaction for structlog and loguru, which format and print without the logging module.

Both print local variables with tracebacks unless they are told not to, so an exception is always replaced by a
stand-in, whose frames have none.

- structlog: the processor goes last before the renderer (or before `ProcessorFormatter.wrap_for_formatter`), because
  those before it add to the event. If one of them was `dict_tracebacks`, local variables are taken out of what it has
  made. The keys of `ProcessorFormatter` stay as they are.
- loguru: `logger.configure(patcher=...)`. Message, `extra` and exception are redacted for every sink, serialised or
  not. Patchers of single loggers (`logger.patch`) run after it; what they add is not seen.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, MutableMapping
from types import TracebackType
from typing import TYPE_CHECKING, Final, cast

from launchkit.redaction.engine import Redactor
from launchkit.redaction.exceptions import HIDDEN, ExcInfo, stand_in

if TYPE_CHECKING:
    from loguru import Record

StructlogProcessor = Callable[[object, str, MutableMapping[str, object]], MutableMapping[str, object]]

_EXCEPTION: Final = "exc_info"
_OF_THE_FORMATTER: Final = ("_record", "_from_structlog")


def structlog_processor(redactor: Redactor) -> StructlogProcessor:
    """Return a processor that redacts events. It never raises; an event that it cannot redact keeps only its keys."""

    def process(_logger: object, _method: str, event: MutableMapping[str, object]) -> MutableMapping[str, object]:
        try:
            return redact_event(redactor, event)
        except Exception:  # noqa: BLE001  # logging must not fail; what is unknown is not shown
            kept = {name: event.get(name, HIDDEN) for name in event if name in _OF_THE_FORMATTER}
            return {**dict.fromkeys(event.keys() - {_EXCEPTION}, HIDDEN), **kept}

    return process


def redact_event(redactor: Redactor, event: Mapping[str, object]) -> dict[str, object]:
    """Return structlog's event without secrets, its exception replaced by a stand-in."""
    kept = {name: event[name] for name in _OF_THE_FORMATTER if name in event}
    if event.get(_EXCEPTION):
        exc_info = stand_in(redactor, _exc_info(event[_EXCEPTION]))
        kept[_EXCEPTION] = exc_info if exc_info[1] is not None else None
    shown = {name: value for name, value in event.items() if name not in kept}
    if isinstance(event.get("exception"), list):
        shown["exception"] = _without_locals(event["exception"])
    redacted = redactor.redact_data(shown)
    return {**redacted, **kept} if isinstance(redacted, dict) else kept


def _exc_info(value: object) -> ExcInfo:
    """Return the exception that structlog takes `value` for: that under way for anything but an exception."""
    match value:
        case BaseException():
            return type(value), value, value.__traceback__
        case (type() as kind, BaseException() as exception, TracebackType() | None as traceback):
            return kind, exception, traceback
    return sys.exc_info()


def _without_locals(traceback: object) -> object:
    if isinstance(traceback, list):
        return [_without_locals(part) for part in traceback]
    if isinstance(traceback, dict):
        return {name: _without_locals(part) for name, part in traceback.items() if name != "locals"}
    return traceback


def loguru_patcher(redactor: Redactor) -> Callable[[Record], None]:
    """Return a patcher that redacts records. It never raises; a record that it cannot redact keeps only its place."""

    def patch(record: Record) -> None:
        exception = record["exception"]
        if exception is not None:
            kind, value, traceback = stand_in(redactor, exception)
            record["exception"] = exception._replace(type=kind, value=value, traceback=traceback)
        try:
            extra = cast("dict[str, object]", redactor.redact_data(record["extra"]))
            record["message"] = redactor.redact(_without(record["message"], record["extra"], extra))
            record["extra"] = extra
        except Exception:  # noqa: BLE001  # logging must not fail; what is unknown is not shown
            record["message"] = HIDDEN
            record["extra"] = dict.fromkeys(record["extra"], HIDDEN)

    return patch


def _without(message: str, before: Mapping[str, object], after: Mapping[str, object]) -> str:
    """Return a message without the values that are secret by the names of its arguments, which are in it already."""
    for value, hidden in zip(before.values(), after.values(), strict=False):
        if hidden is not value and isinstance(value, str) and value:
            message = message.replace(value, str(hidden))
    return message
