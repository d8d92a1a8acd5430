"""Request ids and redaction for every log record, whatever logger, handler or formatter it meets.

`Logger.callHandlers` is wrapped, because everything else is too narrow: a filter on a logger never sees its children's
records, a filter on handlers misses those added later, a record factory runs before `extra` is set.

What happens to a record, in place, before any handler sees it:

- `msg` and `args`: each argument is redacted by itself, so that templates stay groupable. If the formatted whole still
  holds a secret (`password=%s`), it becomes `msg`, redacted, and `args` becomes empty. uvicorn's access formatter
  unpacks its five arguments, so these stay five, and named ones stay for formatters of gunicorn's access log. Where
  template and arguments do not fit, both become the message, because handlers would print them raw and drop the record.
- `exc_info`: if the formatted traceback, chained exceptions included, holds a secret, it goes redacted into `exc_text`,
  which formatters print, and `exc_info` is taken away: the exception belongs to the app and cannot be changed, and a
  handler that formats it by itself would show it.
- `stack_info`, and every attribute that `extra` or a record factory has added, by name and by content.
- `request_id` is added where there is none.

Out of reach: handlers called without a logger, loggers whose class replaces `callHandlers`, and local variables that a
handler reads from the frames of a traceback whose text holds no secret.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Final

from launchkit.redaction.engine import Redactor

HIDDEN: Final = "[redacted: failed]"
"""What is logged in place of a record that could not be redacted."""

CallHandlers = Callable[[logging.Logger, logging.LogRecord], None]

_STANDARD: Final = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {"asctime", "taskName"}
_ACCESS_LOGGER: Final = "uvicorn.access"
_ACCESS_ARGUMENTS: Final = 5
_FORMATTER: Final = logging.Formatter()


def install(redactor: Redactor | None, request_id: Callable[[], str]) -> Callable[[], None]:
    """Treat every log record of this process from now on, and return what ends that.

    Of several installations the newest treats the records. Each may be ended at any time and more than once, also
    after somebody else has wrapped `Logger.callHandlers`.

    Args:
        redactor: takes the secrets out; None only adds request ids.
        request_id: the id of the request that this context serves, empty for none; it becomes `-` then.
    """
    return _HOOK.add(_Treatment(redactor, request_id))


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


class _Hook:
    """The one wrapper around `Logger.callHandlers`, there while anything is installed.

    A wrapper that somebody else has wrapped cannot be taken away. It is left where it is and passes records through; a
    later installation adds a new one on top, and only the latest is at work.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._treatments: tuple[_Treatment, ...] = ()
        self._wrapper: CallHandlers | None = None
        self._original: CallHandlers = logging.Logger.callHandlers

    def add(self, treatment: _Treatment) -> Callable[[], None]:
        with self._lock:
            self._treatments = (*self._treatments, treatment)
            if self._wrapper is None or logging.Logger.callHandlers is not self._wrapper:
                self._wrap()

        def remove() -> None:
            with self._lock:
                self._treatments = tuple(one for one in self._treatments if one is not treatment)
                if not self._treatments:
                    self._unwrap()

        return remove

    def _wrap(self) -> None:
        original: CallHandlers = logging.Logger.callHandlers

        def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
            treatments = self._treatments
            if treatments and call_handlers is self._wrapper:
                treatments[-1].apply(record)
            original(logger, record)

        self._original, self._wrapper = original, call_handlers
        logging.Logger.callHandlers = call_handlers  # type: ignore[method-assign,assignment]  # the one place all records pass

    def _unwrap(self) -> None:
        if self._wrapper is not None and logging.Logger.callHandlers is self._wrapper:
            logging.Logger.callHandlers = self._original  # type: ignore[method-assign,assignment]  # as it was found
        self._wrapper = None


_HOOK: Final = _Hook()


def _redact_record(redactor: Redactor, record: logging.LogRecord) -> None:
    _redact_message(redactor, record)
    _redact_traceback(redactor, record)
    if record.stack_info:
        record.stack_info = redactor.redact(record.stack_info)
    if not _STANDARD.issuperset(record.__dict__):
        _redact_extra(redactor, record)


def _redact_message(redactor: Redactor, record: logging.LogRecord) -> None:
    arguments = record.args
    if not arguments:
        record.msg = redactor.redact(record.msg) if type(record.msg) is str else redactor.redact_data(record.msg)
        return
    if isinstance(arguments, tuple) and _is_clean(redactor, record, arguments):
        return
    if isinstance(arguments, tuple):
        record.args = tuple(redactor.redact_data(argument) for argument in arguments)
    else:
        record.args = redactor.redact_data(arguments)  # type: ignore[assignment]  # a mapping comes back as one
    if not _is_access(record):
        _redact_whole(redactor, record)


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
    """Make `message` the whole message. Named arguments stay, for formatters of access logs that read them."""
    if isinstance(record.args, Mapping):
        record.msg = message.replace("%", "%%")
    else:
        record.msg, record.args = message, ()


def _redact_traceback(redactor: Redactor, record: logging.LogRecord) -> None:
    if record.exc_text:
        record.exc_text = redactor.redact(record.exc_text)
    exception = record.exc_info
    if not isinstance(exception, tuple) or exception[0] is None:
        return
    text = _FORMATTER.formatException(exception)
    redacted = redactor.redact(text)
    if redacted is not text:
        record.exc_text = record.exc_text or redacted
        record.exc_info = None


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
