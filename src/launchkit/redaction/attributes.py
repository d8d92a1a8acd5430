"""Replaces one attribute of the interpreter's, like `sys.excepthook`, for as long as anything is installed there.

Of several installations the newest is at work; each may be ended at any time and more than once.

What somebody else has wrapped cannot be taken away from under him. It stays where it is and passes everything through;
a later installation puts a new wrapper on top, and only the latest is at work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from launchkit.redaction.lock import Lock

Wrapped = TypeVar("Wrapped")
Installed = TypeVar("Installed")


class Wrapping(Generic[Wrapped, Installed]):
    """What is installed in one attribute. Nothing is touched before the first `add`.

    Args:
        owner: the module or class that has the attribute.
        name: the attribute.
        wrap: makes what takes its place, from what is there and a function that returns what is installed, which is
            None once the wrapper is not at work any more.
    """

    def __init__(
        self, owner: object, name: str, wrap: Callable[[Wrapped, Callable[[], Installed | None]], Wrapped]
    ) -> None:
        self._owner = owner
        self._name = name
        self._wrap = wrap
        self._installed: dict[object, Installed] = {}
        self._newest: Installed | None = None
        self._original: Wrapped | None = None
        self._wrapper: Wrapped | None = None
        self._turn = object()

    def add(self, installed: Installed) -> Callable[[], None]:
        """Put `installed` to work, and return what ends that."""
        ticket = object()
        with Lock.now:
            self._installed[ticket] = self._newest = installed
            if self._wrapper is None or getattr(self._owner, self._name) is not self._wrapper:
                self._put_on_top()

        def remove() -> None:
            with Lock.now:
                self._installed.pop(ticket, None)
                self._newest = next(reversed(self._installed.values()), None)
                if not self._installed:
                    self._take_away()

        return remove

    def _put_on_top(self) -> None:
        turn = self._turn = object()

        def newest() -> Installed | None:
            return self._newest if turn is self._turn else None

        original: Wrapped = getattr(self._owner, self._name)
        self._original, self._wrapper = original, self._wrap(original, newest)
        setattr(self._owner, self._name, self._wrapper)

    def _take_away(self) -> None:
        if self._wrapper is not None and getattr(self._owner, self._name) is self._wrapper:
            setattr(self._owner, self._name, self._original)
        self._wrapper = self._original = None
