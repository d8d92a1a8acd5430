"""Stand-ins for exceptions that may not be shown.

An exception belongs to the app and cannot be changed, and whoever formats it by himself (a JSON formatter, rich,
Sentry, loguru) would show its text. He gets another one:

- Its class has the same name and module; its text and notes are redacted. So are causes, contexts and the members of
  groups, each in its place.
- `exc_info` keeps the real type, for those who sort by it: Sentry's `ignore_errors`, `SystemExit` in threads.
- Its traceback has the same files, functions and lines, so that reports group as before, in frames without local
  variables: these mostly hold what the text has. The source of a line that holds a secret is not found any more.
- If it still shows a secret when it is formatted, or cannot be made, only the type is left.
"""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Callable, Iterator
from traceback import TracebackException
from types import CodeType, FrameType, FunctionType, TracebackType
from typing import Final

from launchkit.redaction.engine import Redactor

HIDDEN: Final = "[redacted: failed]"
"""What is shown in place of what could not be redacted."""

ExcInfo = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]
"""As `sys.exc_info()` returns it."""

_BASES: Final = (BaseExceptionGroup, Warning, Exception, BaseException)
_MODULE_NAMES: Final = ("__name__", "__file__", "__loader__")


def redact_exc_info(redactor: Redactor, exc_info: ExcInfo) -> ExcInfo:
    """Return `exc_info` itself if its traceback, chain and groups included, shows no secret, else a stand-in."""
    try:
        text = _formatted(exc_info)
        return exc_info if redactor.redact(text) is text else stand_in(redactor, exc_info)
    except Exception:  # noqa: BLE001  # texts are made by the app's code; what is unknown is not shown
        return hidden(exc_info)


def stand_in(redactor: Redactor, exc_info: ExcInfo) -> ExcInfo:
    """Return what may be shown in place of `exc_info`, also by those who print local variables. Never raises."""
    kind, value, traceback = exc_info
    if value is None:
        return exc_info
    try:
        copy = _Copies(redactor.redact).chain(value)
        copy.__traceback__ = _bare_traceback(redactor.redact, traceback)
        text = _formatted((kind, copy, copy.__traceback__))
        is_clean = redactor.redact(text) is text
    except Exception:  # noqa: BLE001  # see above
        return hidden(exc_info)
    return (kind, copy, copy.__traceback__) if is_clean else hidden(exc_info)


def hidden(exc_info: ExcInfo) -> ExcInfo:
    """Return `exc_info` with nothing but its type."""
    kind, value, _ = exc_info
    if value is None:
        return exc_info
    base = next(base for base in _BASES[1:] if isinstance(value, base))  # a group would need members
    return kind, _namesake(type(value), base)(HIDDEN), None


def _formatted(exc_info: ExcInfo) -> str:
    """Return all of the text that anybody could show, also of groups that Python itself cuts short."""
    kind, value, traceback = exc_info
    if kind is None or value is None:
        return ""
    exception = TracebackException(
        type(value), value, traceback, max_group_width=sys.maxsize, max_group_depth=sys.maxsize, compact=True
    )
    return "".join(exception.format())


class _Copies:
    """The exceptions of one chain, each copied once, because causes and contexts may form a circle."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        self._redact = redact
        self._made: dict[int, BaseException] = {}
        self._unlinked: list[tuple[BaseException, BaseException]] = []

    def chain(self, exception: BaseException) -> BaseException:
        copy = self._copy(exception)
        for original, made in self._unlinked:  # which grows meanwhile
            self._link(original, made)
        return copy

    def _copy(self, exception: BaseException) -> BaseException:
        if id(exception) not in self._made:
            made = self._made[id(exception)] = self._make(exception)
            self._unlinked.append((exception, made))
        return self._made[id(exception)]

    def _make(self, exception: BaseException) -> BaseException:
        base = next(base for base in _BASES if isinstance(exception, base))
        copy_class = _namesake(type(exception), base)
        if isinstance(exception, BaseExceptionGroup):
            return copy_class(self._redact(exception.message), [self._copy(member) for member in exception.exceptions])
        return copy_class(self._redact(str(exception)))

    def _link(self, original: BaseException, made: BaseException) -> None:
        made.__traceback__ = _bare_traceback(self._redact, original.__traceback__)
        if original.__context__ is not None:
            made.__context__ = self._copy(original.__context__)
        if original.__cause__ is not None:
            made.__cause__ = self._copy(original.__cause__)
        made.__suppress_context__ = original.__suppress_context__
        for note in getattr(original, "__notes__", ()):
            made.add_note(self._redact(str(note)))


def _namesake(kind: type[BaseException], base: type[BaseException]) -> type[BaseException]:
    return type(kind.__name__, (base,), {"__module__": kind.__module__, "__qualname__": kind.__qualname__})


def _bare_traceback(redact: Callable[[str], str], traceback: TracebackType | None) -> TracebackType | None:
    bare = None
    for link in reversed(list(_links(traceback))):
        frame = _bare_frame(redact, link.tb_frame, link.tb_lineno)
        bare = TracebackType(bare, frame, _FIRST_INSTRUCTION, link.tb_lineno)
    return bare


def _links(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _bare_frame(redact: Callable[[str], str], frame: FrameType, line_number: int) -> FrameType:
    """Return a frame of the same function at the same line that has run nothing of it, and has no caller."""
    filename, scope = frame.f_code.co_filename, frame.f_globals
    source = linecache.getline(filename, line_number, scope)
    names: dict[str, object] = {name: scope[name] for name in _MODULE_NAMES if name in scope}
    if redact(source) is not source:
        filename = (
            f"<{filename}>"  # Python looks for no source under such a name, and loaders are not asked without one
        )
        names.pop("__loader__", None)
    code = _FRAME_CODE.replace(
        co_filename=filename,
        co_name=frame.f_code.co_name,
        co_qualname=frame.f_code.co_qualname,
        co_firstlineno=line_number,
    )
    bare: FrameType = FunctionType(code, names)().gi_frame
    return bare


def _code_of_a_frame() -> CodeType:
    """Return a generator's code: its frame is there before it runs, and is linked to no other one.

    Its first instruction has no columns, so that nobody marks a part of the line as the place.
    """
    tree = ast.parse("lambda: (yield)", mode="eval")
    for node in ast.walk(tree):
        if isinstance(node, ast.expr):
            node.col_offset = node.end_col_offset = -1
    codes = compile(tree, "", "eval").co_consts
    return next(code for code in codes if isinstance(code, CodeType))


_FRAME_CODE: Final = _code_of_a_frame()
_FIRST_INSTRUCTION: Final = 0
