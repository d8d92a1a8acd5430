"""Redacts what leaves the process past logging: uncaught exceptions, warnings, and prints where they are asked for.

Each hook hands what it has redacted on to the one that was there before, so that everything is still shown once, by
whoever shows it. A hook that is set later sees what ours has not treated yet: Sentry's, if it is initialised last,
needs what redacts its events.

An exception whose text holds no secret is handed on as it is; another one by a stand-in.
"""

from __future__ import annotations

import linecache
import sys
import threading
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

from launchkit.redaction.attributes import Wrapping
from launchkit.redaction.engine import Redactor
from launchkit.redaction.exceptions import HIDDEN, hidden, redact_exc_info
from launchkit.redaction.prints import RedactedStream

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_Newest = Callable[[], Redactor | None]
_ExceptHook = Callable[[type[BaseException], BaseException, TracebackType | None], object]
_ThreadHook = Callable[[threading.ExceptHookArgs], object]
_UnraisableHook = Callable[[Any], object]  # the type of its argument has no name at run time
_ShowWarning = Callable[[Warning | str, type[Warning], str, int, TextIO | None, str | None], None]


def install(redactor: Redactor, *, prints: bool) -> Callable[[], None]:
    """Redact uncaught exceptions and warnings of this process from now on, and return what ends that.

    Of several installations the newest is at work. Each may be ended at any time and more than once, also after
    somebody else has set hooks.

    Args:
        redactor: takes the secrets out.
        prints: redact what is written to `sys.stdout` and `sys.stderr`, too.
    """
    removals = [hook.add(redactor) for hook in (_EXCEPTIONS, _THREADS, _UNRAISABLE, _WARNINGS)]
    if prints:
        removals += [stream.add(redactor) for stream in (_STDOUT, _STDERR)]

    def uninstall() -> None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, RedactedStream):
                stream.flush()
        for remove in removals:
            remove()

    return uninstall


def _wrap_excepthook(earlier: _ExceptHook, newest: _Newest) -> _ExceptHook:
    def excepthook(kind: type[BaseException], value: BaseException, traceback: TracebackType | None) -> object:
        redactor = newest()
        if redactor is None:
            return earlier(kind, value, traceback)
        return cast("Callable[..., object]", earlier)(*redact_exc_info(redactor, (kind, value, traceback)))

    return excepthook


def _wrap_threads(earlier: _ThreadHook, newest: _Newest) -> _ThreadHook:
    def excepthook(arguments: threading.ExceptHookArgs) -> object:
        redactor = newest()
        if redactor is not None:
            exc_info = redact_exc_info(redactor, arguments[:3])
            arguments = threading.ExceptHookArgs((*exc_info, arguments.thread))
        return earlier(arguments)

    return excepthook


def _wrap_unraisable(earlier: _UnraisableHook, newest: _Newest) -> _UnraisableHook:
    def unraisablehook(unraisable: UnraisableHookArgs) -> object:
        redactor = newest()
        return earlier(unraisable if redactor is None else _redact_unraisable(redactor, unraisable))

    return unraisablehook


def _redact_unraisable(redactor: Redactor, unraisable: UnraisableHookArgs) -> UnraisableHookArgs:
    exc_info = (unraisable.exc_type, unraisable.exc_value, unraisable.exc_traceback)
    try:
        message = redactor.redact(unraisable.err_msg) if unraisable.err_msg else None
        values = (*redact_exc_info(redactor, exc_info), message, redactor.redact_data(unraisable.object))
    except Exception:  # noqa: BLE001  # a hook must not fail; what is unknown is not shown
        values = (*hidden(exc_info), HIDDEN, None)
    make = cast("Callable[..., UnraisableHookArgs]", type(unraisable))  # which the interpreter insists on
    return make(values)


def _wrap_showwarning(earlier: _ShowWarning, newest: _Newest) -> _ShowWarning:
    def showwarning(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        redactor = newest()
        if redactor is not None:
            message = _redact_warning(redactor, message, category)
            line = _redact_source(redactor, filename, lineno, line)
        earlier(message, category, filename, lineno, file, line)

    return showwarning


def _redact_warning(redactor: Redactor, message: Warning | str, category: type[Warning]) -> Warning | str:
    warning = message if isinstance(message, Warning) else category(message)
    _, shown, _ = redact_exc_info(redactor, (category, warning, None))
    return message if shown is warning else cast("Warning", shown)


def _redact_source(redactor: Redactor, filename: str, lineno: int, line: str | None) -> str | None:
    """Return the line of source that is shown with a warning: None lets the one who shows it look it up."""
    source = linecache.getline(filename, lineno) if line is None else line
    try:
        redacted = redactor.redact(source)
    except Exception:  # noqa: BLE001  # see above
        return HIDDEN
    return line if redacted is source else redacted


def _wrap_stream(stream: TextIO | None, newest: _Newest) -> TextIO | None:
    return None if stream is None else cast("TextIO", RedactedStream(stream, newest))


_EXCEPTIONS: Final = Wrapping(sys, "excepthook", _wrap_excepthook)
_THREADS: Final = Wrapping(threading, "excepthook", _wrap_threads)
_UNRAISABLE: Final = Wrapping(sys, "unraisablehook", _wrap_unraisable)
_WARNINGS: Final = Wrapping(warnings, "showwarning", _wrap_showwarning)
_STDOUT: Final = Wrapping(sys, "stdout", _wrap_stream)
_STDERR: Final = Wrapping(sys, "stderr", _wrap_stream)
