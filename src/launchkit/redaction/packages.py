"""Puts a redactor into Sentry and OpenTelemetry, whether the app has imported them already or will do so later.

Neither is imported for it: an app that uses neither would pay for both at its start. A finder at the front of
`sys.meta_path` sees the import of the module that matters, lets the other finders find it, and acts right after its
code has run, before the importing code goes on.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Final

from launchkit.redaction.engine import Redactor

Act = Callable[[], Callable[[], None]]
"""Does something, and returns what undoes it."""

_SENTRY: Final = frozenset({"sentry_sdk.envelope"})
_TELEMETRY: Final = frozenset({"opentelemetry.sdk.trace.export", "opentelemetry.sdk._logs.export"})

_NOT_AT_WORK: Final = "secrets are not redacted in a package that sends them"

logger = logging.getLogger("launchkit")


def install(redactor: Redactor) -> Callable[[], None]:
    """Redact what Sentry and OpenTelemetry send from this process, and return what ends that.

    Of several installations the newest is at work. Each may be ended at any time and more than once. Never raises.
    """
    ends = (
        when_imported(_SENTRY, lambda: _install_in_sentry(redactor)),
        when_imported(_TELEMETRY, lambda: _install_in_telemetry(redactor)),
    )

    def remove() -> None:
        for end in ends:
            end()

    return remove


def _install_in_sentry(redactor: Redactor) -> Callable[[], None]:
    from launchkit.redaction import sentry  # imports the package, which is there now

    return sentry.install(redactor)


def _install_in_telemetry(redactor: Redactor) -> Callable[[], None]:
    from launchkit.redaction import telemetry  # see above

    return telemetry.install(redactor)


def when_imported(modules: frozenset[str], act: Act) -> Callable[[], None]:
    """Act now if one of the modules has been imported, else when the first of them is; return what undoes that.

    What `act` raises is logged.
    """
    waiting = _Awaited(modules, act)
    sys.meta_path.insert(0, waiting)
    if not modules.isdisjoint(sys.modules):
        waiting.arrived()
    return waiting.end


class _Awaited:
    """A finder that finds nothing by itself. It acts once, and not under its lock, because acting imports."""

    def __init__(self, modules: frozenset[str], act: Act) -> None:
        self._modules = modules
        self._names = " or ".join(sorted(modules))
        self._act: Act | None = act
        self._undo: Callable[[], None] | None = None
        self._has_ended = False
        self._lock = threading.Lock()
        self._finding = threading.local()

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return how the other finders find an awaited module, made to tell when its code has run."""
        if name not in self._modules or getattr(self._finding, "now", False):
            return None
        self._finding.now = True
        try:
            spec = find_spec(name)
        finally:
            self._finding.now = False
        if spec is not None and spec.loader is not None:
            self._listen(spec.loader)
        return spec

    def _listen(self, loader: object) -> None:
        def execute_and_tell(module: ModuleType) -> None:
            execute(module)
            if module.__name__ in self._modules:  # the loader of a zip file serves all that is in it
                self.arrived()

        try:
            execute: Callable[[ModuleType], None] = loader.exec_module  # type: ignore[attr-defined]  # PEP 451
            loader.exec_module = execute_and_tell  # type: ignore[attr-defined]  # on the object, not on its class
        except AttributeError:  # somebody's own loader: the import goes on
            logger.error("%s: import %s before LaunchKit is made", _NOT_AT_WORK, self._names)  # noqa: TRY400  # no news

    def arrived(self) -> None:
        """Act, unless that has happened or is no longer wanted."""
        with self._lock:
            act, self._act = self._act, None
        self._leave()
        if act is None:
            return
        try:
            undo = act()
        except Exception:
            logger.exception("%s: %s", _NOT_AT_WORK, self._names)
            return
        with self._lock:
            self._undo = undo
            has_ended = self._has_ended
        if has_ended:
            undo()

    def end(self) -> None:
        """Undo what has been done, and wait no longer."""
        with self._lock:
            self._act, self._has_ended = None, True
            undo = self._undo
        self._leave()
        if undo is not None:
            undo()

    def _leave(self) -> None:
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(self)
