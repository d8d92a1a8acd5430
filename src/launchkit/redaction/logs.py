"""Request ids and redaction for every log record, whatever logger, handler or formatter it meets.

`Logger.callHandlers` is wrapped, because everything else is too narrow: a filter on a logger never sees its children's
records, a filter on handlers misses those added later, a record factory runs before `extra` is set.

What happens to a record, in place, before any handler sees it:

- `msg` and `args`: each argument is redacted by itself, so that templates stay groupable. If the formatted whole still
  holds a secret (`password=%s`), it becomes `msg`, redacted, and `args` becomes empty. uvicorn's access formatter
  unpacks its five arguments, so these stay five, and named ones stay for formatters of gunicorn's access log. Where
  template and arguments do not fit, both become the message, because handlers would print them raw and drop the record.
- `exc_info`: if the formatted traceback, chained exceptions included, holds a secret, a stand-in takes its place, whose
  type, text and stack any handler may format by itself.
- A message that is a dictionary with an exception is an event of structlog's, and treated as one.
- `stack_info`, and every attribute that `extra` or a record factory has added, by name and by content.
- `request_id` is added where there is none.

Out of reach: handlers called without a logger, loggers whose class replaces `callHandlers`, and local variables that a
handler reads from the frames of a traceback whose text holds no secret.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from typing import Final

from launchkit.redaction.attributes import Wrapping
from launchkit.redaction.engine import Redactor
from launchkit.redaction.exceptions import HIDDEN, redact_exc_info
from launchkit.redaction.found import marker
from launchkit.redaction.processors import redact_event

CallHandlers = Callable[[logging.Logger, logging.LogRecord], None]

_STANDARD: Final = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {"asctime", "taskName"}
_ACCESS_LOGGER: Final = "uvicorn.access"
_ACCESS_ARGUMENTS: Final = 5


def install(redactor: Redactor | None, request_id: Callable[[], str]) -> Callable[[], None]:
    """Treat every log record of this process from now on, and return what ends that.

    Of several installations the newest treats the records. Each may be ended at any time and more than once, also
    after somebody else has wrapped `Logger.callHandlers`.

    Args:
        redactor: takes the secrets out; None only adds request ids.
        request_id: the id of the request that this context serves, empty for none; it becomes `-` then.
    """
    return _CALL_HANDLERS.add(_Treatment(redactor, request_id))


class _Treatment:
    """What one installation does to a record. Never raises."""

    def __init__(self, redactor: Redactor | None, request_id: Callable[[], str]) -> None:
        self._redactor = redactor
        self._request_id = request_id

    def apply(self, record: logging.LogRecord) -> None:
        if self._redactor is not None:
            try:
                _redact_record(self._redactor, record)
            except Exception:  # noqa: BLE001  # logging must not fail; what is unknown is not shown
                _hide(record)
        if not hasattr(record, "request_id"):
            record.request_id = self._current_request_id()

    def _current_request_id(self) -> str:
        try:
            return self._request_id() or "-"
        except Exception:  # noqa: BLE001  # a record without its id is better than none
            return "-"


def _wrap(original: CallHandlers, newest: Callable[[], _Treatment | None]) -> CallHandlers:
    def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
        treatment = newest()
        if treatment is not None:
            treatment.apply(record)
        original(logger, record)

    return call_handlers


_CALL_HANDLERS: Final = Wrapping(logging.Logger, "callHandlers", _wrap)


def _redact_record(redactor: Redactor, record: logging.LogRecord) -> None:
    _redact_message(redactor, record)
    _redact_exception(redactor, record)
    if record.stack_info:
        record.stack_info = redactor.redact(record.stack_info)
    if not _STANDARD.issuperset(record.__dict__):
        _redact_extra(redactor, record)


def _redact_message(redactor: Redactor, record: logging.LogRecord) -> None:
    arguments = record.args
    if not arguments:
        record.msg = _redacted_message(redactor, record.msg)
        return
    if isinstance(arguments, tuple) and _is_clean(redactor, record, arguments):
        return
    if isinstance(arguments, tuple):
        record.args = tuple(redactor.redact_data(argument) for argument in arguments)
    else:
        record.args = _redacted_by_name(redactor, arguments)
    if not _is_access(record):
        _redact_whole(redactor, record)


def _redacted_message(redactor: Redactor, message: object) -> object:
    if type(message) is str:
        return redactor.redact(message)
    if isinstance(message, dict) and "exc_info" in message:
        return redact_event(redactor, message)
    return redactor.redact_data(message)


def _redacted_by_name(redactor: Redactor, arguments: Mapping[str, object]) -> Mapping[str, object]:
    """Return named arguments without secrets."""
    redacted = redactor.redact_data(arguments)
    if redacted is arguments or not isinstance(redacted, dict):
        return redacted if isinstance(redacted, Mapping) else {}
    return _with(arguments, redacted) if redacted.keys() == arguments.keys() else redacted


def _is_clean(redactor: Redactor, record: logging.LogRecord, arguments: tuple[object, ...]) -> bool:
    """Tell whether one look at the formatted whole is enough, because it shows all of the arguments."""
    whole = _formatted(record)
    return (
        whole is not None
        and all(
            argument in whole if isinstance(argument, str) else isinstance(argument, int | float | None)
            for argument in arguments
        )
        and redactor.redact(whole) is whole
    )


def _formatted(record: logging.LogRecord) -> str | None:
    """Return the message, or None where template and arguments do not fit."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001  # the app's mistake must not cost it the record
        return None


def _redact_whole(redactor: Redactor, record: logging.LogRecord) -> None:
    whole = _formatted(record)
    if whole is None:  # handlers would print template and arguments to standard error, and drop the record
        _replace_message(record, redactor.redact(f"{record.msg} {record.args!r}"))
        return
    redacted = redactor.redact(whole)
    if redacted is not whole:
        _replace_message(record, redacted)


def _replace_message(record: logging.LogRecord, message: str) -> None:
    """Make `message` the whole message. Named arguments stay, for formatters of access logs that read them.

    An argument that the message showed, and does not show any more, is a secret by what stands around it.
    """
    if isinstance(record.args, Mapping):
        record.args = _unshown(record.args, _formatted(record) or "", message)
        record.msg = message.replace("%", "%%")
    else:
        record.msg, record.args = message, ()


def _unshown(arguments: Mapping[str, object], whole: str, message: str) -> Mapping[str, object]:
    """Hide the named arguments that `whole` shows and `message` does not."""
    secret = [
        name for name, value in arguments.items() if isinstance(value, str) and value in whole and value not in message
    ]
    return _with(arguments, dict.fromkeys(secret, marker("argument"))) if secret else arguments


def _with(arguments: Mapping[str, object], changed: Mapping[str, object]) -> Mapping[str, object]:
    """Return a copy with other values; gunicorn's stays of its class, which gives a dash for names that it lacks."""
    if not isinstance(arguments, dict) or type(arguments).update is not dict.update:
        return {**arguments, **changed}
    clone = copy.copy(arguments)
    clone.update(changed)
    return clone


def _redact_exception(redactor: Redactor, record: logging.LogRecord) -> None:
    if record.exc_text:
        record.exc_text = redactor.redact(record.exc_text)
    exception = record.exc_info
    if isinstance(exception, tuple) and exception[0] is not None:
        record.exc_info = redact_exc_info(redactor, exception)  # type: ignore[assignment]  # a type and its instance


def _redact_extra(redactor: Redactor, record: logging.LogRecord) -> None:
    extra = {name: value for name, value in record.__dict__.items() if name not in _STANDARD}
    redacted = redactor.redact_data(extra)
    if redacted is not extra and isinstance(redacted, dict):
        record.__dict__.update(zip(extra, redacted.values(), strict=True))


def _is_access(record: logging.LogRecord) -> bool:
    return record.name == _ACCESS_LOGGER and isinstance(record.args, tuple) and len(record.args) == _ACCESS_ARGUMENTS


def _hide(record: logging.LogRecord) -> None:
    """Leave nothing of what the app has logged but where, when and how severe it was."""
    if _is_access(record) and isinstance(record.args, tuple):
        record.msg = " ".join(["%s"] * _ACCESS_ARGUMENTS)
        record.args = tuple(argument if isinstance(argument, int) else HIDDEN for argument in record.args)
    else:
        record.msg, record.args = HIDDEN, ()
    record.exc_info = record.exc_text = record.stack_info = None
    for name in record.__dict__.keys() - _STANDARD:
        record.__dict__[name] = HIDDEN
