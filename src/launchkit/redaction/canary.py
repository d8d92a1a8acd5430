"""The proof that nothing secret leaves: made-up secrets are sent through every channel of this process, and looked for.

The rules:

- Nothing is sent outward. A logger is tried on a double of it that has one handler of ours; a handler is asked to
  format what came through, and not to emit it; Sentry and OpenTelemetry end in memory, see `canary_exporters`.
- No logger, handler, client or processor of the app's is changed. `sys.stderr` is another one while an uncaught
  exception is shown, for a few milliseconds.
- A handler that no logger leads to is not asked: nothing is redacted that somebody hands to it directly.

Formatters, filters and Sentry's hooks are the app's code, and run. What they raise is no leak: nothing came out.
"""

from __future__ import annotations

import contextlib
import io
import logging
import secrets
import sys
import threading
import warnings
import weakref
from collections.abc import Iterable, Iterator
from logging.handlers import MemoryHandler
from typing import TYPE_CHECKING, Final, NamedTuple

from launchkit.redaction.engine import Redactor

if TYPE_CHECKING:
    from launchkit.redaction.canary_sentry import CapturedSentry

_ACCESS_LOGGER: Final = "uvicorn.access"
_NOT_AT_WORK: Final = "redaction is not at work there"
_OWN_WAY: Final = "its class or itself replaces handle or callHandlers, which redaction wraps"


class Leak(NamedTuple):
    """A channel that shows secrets.

    Attributes:
        channel: `handler StreamHandler of logger 'root'`.
        reason: which secrets, and why.
    """

    channel: str
    reason: str


class Proof(NamedTuple):
    """What a canary has shown: the leaks, and which channels were tried, `3 loggers, 1 handler, Sentry`."""

    leaks: tuple[Leak, ...]
    channels: str


class Output(NamedTuple):
    """What came out of a channel, and why it is thought to hold secrets if it does."""

    channel: str
    text: str
    cause: str = _NOT_AT_WORK


class Canary:
    """Secrets that nobody has: a service's key, a password under its name, and a value that only the redactor knows.

    Args:
        redactor: is told the value, and keeps it.
    """

    def __init__(self, redactor: Redactor) -> None:
        password, value = secrets.token_hex(12), secrets.token_urlsafe(24)
        key = "_".join(("sk", "live", secrets.token_hex(12)))
        redactor.add_value(value)
        self.text = f"canary password={password} {key} {value}"
        self._secrets = {"a password": password, "a service's key": key, "a registered value": value}
        self.allowed = self.shown(redactor.redact(self.text))
        """What the redactor itself lets pass, and is not looked for elsewhere."""
        for name in self.allowed:
            del self._secrets[name]

    def shown(self, output: str) -> list[str]:
        """Return what there is to see in an output, in words."""
        return [name for name, secret in self._secrets.items() if secret in output]

    def leaks(self, outputs: Iterable[Output]) -> list[Leak]:
        """Return a leak for each channel that shows anything."""
        found: dict[str, Leak] = {}
        for output in outputs:
            shown = self.shown(output.text)
            if shown:
                reason = f"shows {' and '.join(shown)}: {output.cause}"
                found.setdefault(output.channel, Leak(output.channel, reason))
        return list(found.values())


_CANARIES: Final[weakref.WeakKeyDictionary[Redactor, Canary]] = weakref.WeakKeyDictionary()
_LOCK: Final = threading.Lock()


def plant(redactor: Redactor) -> Proof:
    """Send a canary through every logger and handler, warnings, uncaught exceptions, Sentry and OpenTelemetry.

    Args:
        redactor: the one that is at work in this process. It is given one value to hide, the first time.
    """
    with _LOCK:
        canary = _CANARIES.get(redactor)
        if canary is None:
            canary = _CANARIES[redactor] = Canary(redactor)
    leaks = [Leak("redaction itself", f"shows {name}: see redaction.allow") for name in canary.allowed]
    channels: list[str] = []
    with contextlib.ExitStack() as ends:
        sentry = _captured_sentry(ends)
        leaks += canary.leaks([*_logging(canary, channels), *_warning(canary.text), *_uncaught(canary.text)])
        if sentry is not None:
            channels.append("Sentry")
            leaks += canary.leaks(Output("Sentry", text) for text in sentry.sent(canary.text))
    telemetry = _telemetry(canary.text)
    if telemetry:
        channels.append("OpenTelemetry")
    return Proof((*leaks, *canary.leaks(telemetry)), ", ".join(channels))


# --- logging ---------------------------------------------------------------------------------------------------------


class _Sink:
    """What stands for the handlers of a logger, and keeps their records. Not one of `logging`'s, which keeps a list."""

    level = logging.NOTSET

    def __init__(self) -> None:
        self.records: list[logging.LogRecord] = []

    def handle(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def _logging(canary: Canary, channels: list[str]) -> Iterator[Output]:
    named = list(logging.root.manager.loggerDict.values())
    loggers = [logging.root, *(one for one in named if isinstance(one, logging.Logger))]  # and no placeholders
    owners = _owners(loggers)
    channels += [_counted(len(loggers), "logger"), _counted(len(owners), "handler")]
    for logger in loggers:
        yield from _of_logger(logger, [handler for handler, owner in owners.items() if owner is logger], canary)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _name(handler: logging.Handler) -> str:
    return f"{type(handler).__name__} {handler.name!r}" if handler.name else type(handler).__name__


def _of_logger(logger: logging.Logger, handlers: list[logging.Handler], canary: Canary) -> Iterator[Output]:
    """Yield what reaches the handlers of a logger, and what they make of it."""
    channel = f"logger {logger.name!r}"
    is_own_way = type(logger).callHandlers is not logging.Logger.callHandlers
    if type(logger).handle is not logging.Logger.handle:  # may know other ways out, so not to be tried
        yield Output(channel, canary.text, _OWN_WAY)
        return
    if not vars(logger).keys().isdisjoint(("callHandlers", "handle")):  # bound to the logger, so not to be tried
        yield Output(channel, canary.text, _OWN_WAY)
        return
    records = _passed(logger, _record(canary.text, logger, full=bool(handlers)))
    if not records and is_own_way:
        yield Output(channel, canary.text, _OWN_WAY)
    for record in records:
        yield Output(channel, _content(record), _OWN_WAY if is_own_way else _NOT_AT_WORK)
        for handler in handlers if not canary.shown(_content(record)) else ():
            yield Output(
                f"handler {_name(handler)} of {channel}", _formatted(handler, record), "its formatter adds them"
            )


def _passed(logger: logging.Logger, record: logging.LogRecord) -> list[logging.LogRecord]:
    """Return what reaches handlers, on a double of the logger that has no other way out."""
    sink = _Sink()
    double = object.__new__(type(logger))
    vars(double).update(vars(logger))
    vars(double).update(handlers=[sink], filters=[], parent=None, propagate=False, disabled=False)
    with contextlib.suppress(Exception):  # of a class of the app's
        double.handle(record)
    return sink.records


def _record(text: str, logger: logging.Logger = logging.root, *, full: bool = True) -> logging.LogRecord:
    """Return a record with the canary in its arguments; a full one has it in an attribute and an exception as well."""
    arguments: tuple[object, ...] = (text,)
    message = "%s"
    if logger.name == _ACCESS_LOGGER:  # whose formatter takes these five
        message = '%s - "%s %s HTTP/%s" %d'
        arguments = ("192.0.2.1:1", "GET", "/?" + text.replace(" ", "&"), "1.1", 200)
    level = logging.ERROR if full else logging.INFO
    record = logging.LogRecord(logger.name, level, __file__, 1, message, arguments, None)
    if full:
        record.canary = text
        record.exc_info = (ValueError, ValueError(text), None)
    return record


def _content(record: logging.LogRecord) -> str:
    """Return everything that a handler may read of a record."""
    exception = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
    return f"{record.getMessage()} {vars(record)!r} {exception}"


def _formatted(handler: logging.Handler, record: logging.LogRecord) -> str:
    with contextlib.suppress(Exception):  # of the app's formatters
        return str(handler.format(record))
    return ""


def _owners(loggers: Iterable[logging.Logger]) -> dict[logging.Handler, logging.Logger]:
    """Return every handler that a logger leads to, and one such logger; what a buffer flushes to is one too."""
    owners: dict[logging.Handler, logging.Logger] = {}
    for logger in loggers:
        for handler in logger.handlers:
            owners.setdefault(handler, logger)
            if isinstance(handler, MemoryHandler) and handler.target is not None:
                owners.setdefault(handler.target, logger)
    return owners


# --- hooks -----------------------------------------------------------------------------------------------------------


def _warning(text: str) -> Iterator[Output]:
    """Yield what a warning shows, unless somebody records warnings just now, as test runners do."""
    if getattr(getattr(warnings, "_showwarnmsg_impl", None), "__module__", None) != "warnings":
        return
    shown = io.StringIO()
    with contextlib.suppress(Exception):  # of a hook of the app's
        warnings.showwarning(text, UserWarning, __file__, 1, shown, "")
    yield Output("warnings", shown.getvalue())


def _uncaught(text: str) -> Iterator[Output]:
    """Yield what the interpreter shows of an uncaught exception."""
    shown = io.StringIO()
    with contextlib.redirect_stderr(shown), contextlib.suppress(Exception):  # of a hook of the app's
        sys.excepthook(ValueError, ValueError(text), None)
    yield Output("sys.excepthook", shown.getvalue())


# --- what may not be installed ---------------------------------------------------------------------------------------


def _captured_sentry(ends: contextlib.ExitStack) -> CapturedSentry | None:
    if "sentry_sdk" not in sys.modules:
        return None
    from launchkit.redaction.canary_sentry import captured_sentry  # imports the package, which is there now

    return ends.enter_context(captured_sentry())


def _telemetry(text: str) -> list[Output]:
    if "opentelemetry.sdk.trace" not in sys.modules and "opentelemetry.sdk._logs" not in sys.modules:
        return []
    from launchkit.redaction.canary_telemetry import exported  # see above

    return [Output(f"OpenTelemetry processor {name}", exported_text) for name, exported_text in exported(text)]
