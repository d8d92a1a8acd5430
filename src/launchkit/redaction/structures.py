"""Secrets in data: the keys of dictionaries, header lists, and every text inside.

Nothing is changed in place. What holds no secret is returned as it is; what does is copied on the way to it. A value
met twice is looked at once, so that shared and circular data end; what lies too deep is hidden unseen.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from launchkit.redaction.keys import LONGEST_KEY, Kind
from launchkit.redaction.values import MARKER, is_secret, marker, masked

_DEEPEST: Final = 32
_SMALLEST_NUMBER: Final = 1000
_PAIR: Final = 2


class StructureRedactor:
    """Redacts one value. Made for it and thrown away with it."""

    def __init__(
        self,
        redact: Callable[[str], str],
        kind_of: Callable[[str], Kind | None],
        is_allowed: Callable[[str], bool],
    ) -> None:
        self._redact = redact
        self._kind_of = kind_of
        self._is_allowed = is_allowed
        self._seen: dict[int, tuple[object, object]] = {}

    def visit(self, value: object, depth: int = 0) -> object:
        """Return `value` without secrets: itself if it holds none."""
        if value is None or isinstance(value, bool | int | float | complex):
            return value
        if isinstance(value, str):
            return self._redact(value)
        if isinstance(value, bytes | bytearray):
            return self._bytes(value)
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            return self._container(value, depth)
        return self._object(value)

    def _bytes(self, value: bytes | bytearray) -> bytes | bytearray:
        text = value.decode("latin-1")
        redacted = self._redact(text)
        return value if redacted is text else redacted.encode("latin-1", "replace")

    def _object(self, value: object) -> object:
        """Replace an object of the app's by its text, if that holds a secret or cannot be read."""
        try:
            texts = (str(value), repr(value))
        except Exception:  # noqa: BLE001  # the app's own code runs here
            return marker("unreadable")
        for text in texts:
            redacted = self._redact(text)
            if redacted is not text:
                return redacted
        return value

    def _container(self, value: Mapping[object, object] | Iterable[object], depth: int) -> object:
        if depth > _DEEPEST:
            return marker("too-deep")
        if id(value) in self._seen:
            return self._seen[id(value)][1]
        self._seen[id(value)] = (value, marker("circular"))
        redacted = self._mapping(value, depth) if isinstance(value, Mapping) else self._sequence(value, depth)
        self._seen[id(value)] = (value, redacted)
        return redacted

    def _mapping(self, mapping: Mapping[object, object], depth: int) -> object:
        before = list(mapping.items())
        after = [(self._key(key), self._item(key, value, depth + 1)) for key, value in before]
        if all(new[0] is old[0] and new[1] is old[1] for new, old in zip(after, before, strict=True)):
            return mapping
        if type(mapping) is dict or not isinstance(mapping, dict):
            return dict(after)
        clone = copy.copy(mapping)
        clone.clear()
        clone.update(after)
        return clone

    def _sequence(self, sequence: Iterable[object], depth: int) -> object:
        before = list(sequence)
        if len(before) == _PAIR and isinstance(sequence, list | tuple):
            after = [self.visit(before[0], depth + 1), self._item(before[0], before[1], depth + 1)]
        else:
            after = [self.visit(item, depth + 1) for item in before]
        if all(new is old for new, old in zip(after, before, strict=True)):
            return sequence
        make: Callable[[list[object]], object] | None = getattr(type(sequence), "_make", None)
        if make is not None:  # a named tuple
            return make(after)
        plain = next(kind for kind in (list, tuple, frozenset, set) if isinstance(sequence, kind))
        return plain(after)

    def _key(self, key: object) -> object:
        return self.visit(key) if isinstance(key, str | bytes) else key

    def _item(self, key: object, value: object, depth: int) -> object:
        """Redact a value that stands under a key."""
        kind = self._kind(key)
        if kind is None or value is None or isinstance(value, bool):
            return self.visit(value, depth)
        if isinstance(value, bytes | bytearray):
            text = self._masked(kind, value.decode("latin-1"))
            return self._bytes(value) if text is None else text.encode("latin-1", "replace")
        if isinstance(value, int | float):
            return marker(kind.rule) if kind.certain and abs(value) >= _SMALLEST_NUMBER else value
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            return marker(kind.rule) if kind.certain and value else self.visit(value, depth)
        text = self._masked(kind, value if isinstance(value, str) else str(self._object(value)))
        return self.visit(value, depth) if text is None else text

    def _kind(self, key: object) -> Kind | None:
        name = key.decode("latin-1") if isinstance(key, bytes) else key
        if not isinstance(name, str) or MARKER.search(name):
            return None
        return self._kind_of(name[-LONGEST_KEY:])

    def _masked(self, kind: Kind, text: str) -> str | None:
        """Return what takes the place of a value, None if it is no secret: neither as it is nor without those in it."""
        if self._is_allowed(text) or not (is_secret(kind, text) or is_secret(kind, self._redact(text))):
            return None
        return masked(kind, text)
