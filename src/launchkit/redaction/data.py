"""Secrets in data: values under secret keys, header lists, fields of objects, and every text inside.

The rules:

- Nothing is changed in place. What holds no secret is returned as it is; what does is copied on the way to it.
- Built-in containers keep their type, as do named tuples and objects that say which fields they have (dataclasses,
  pydantic's and attrs' classes). These are copied without any of their own code, so that nothing validates or refuses
  what takes a secret's place. Other mappings, and classes derived from containers, become what is built in.
- Whatever prints itself in its own way is judged by its `str` and `repr` as well, each asked for once, after its parts:
  if one of them holds a secret, it takes the object's place. Generators and lazy objects are never asked for more.
- A value met twice is looked at once, so that shared and circular data end. What lies too deep is hidden unseen, and so
  is what raises.
- Only the class of an object tells what it is: proxies answer `isinstance` by loading what they stand for.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import lru_cache
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from types import MappingProxyType, MemberDescriptorType
from typing import Final, Literal, cast
from urllib.parse import ParseResult, ParseResultBytes, SplitResult, SplitResultBytes
from uuid import UUID

from launchkit.redaction.found import MARKER, marker
from launchkit.redaction.keys import LONGEST_KEY, Kind
from launchkit.redaction.values import is_secret, masked

DEEPEST: Final = 32
"""Levels that are looked into."""

_UNREADABLE: Final = marker("unreadable")
_SMALLEST_NUMBER: Final = 1000
_SMALLEST_CODE: Final = 100
_PAIR: Final = 2

_Shape = Literal["constant", "plain", "number", "text", "bytes", "url", "mapping", "sequence", "fields", "object"]

_CONSTANTS: Final = frozenset({type(None), bool})
_PLAIN: Final = frozenset(
    {
        *(complex, Decimal, Fraction, UUID),
        *(datetime, date, time, timedelta, timezone),
        *(PosixPath, WindowsPath, PurePosixPath, PureWindowsPath),
    }
)
"""Holds nothing to look at, unless its key says so. Classes derived from these may."""
_SHAPES: Final[tuple[tuple[_Shape, tuple[type, ...]], ...]] = (
    ("object", (Enum, BaseException)),
    ("text", (str,)),
    ("bytes", (bytes, bytearray, memoryview)),
    ("url", (SplitResult, ParseResult, SplitResultBytes, ParseResultBytes)),
    ("mapping", (Mapping,)),
    ("sequence", (list, tuple, set, frozenset)),
)
_BUILT_IN: Final = frozenset({dict, OrderedDict, defaultdict, Counter, MappingProxyType, list, tuple, set, frozenset})
"""Prints nothing but its parts."""
_FIELDS: Final = ("__dataclass_fields__", "__pydantic_validator__", "__attrs_attrs__")
"""One of these is on a class whose objects are their fields; `__mapper__` on one whose fields SQLAlchemy may load."""


class DataRedactor:
    """Redacts one value. Made for it and thrown away with it.

    Args:
        redact: takes the secrets out of a text, and returns the same object if there is none.
        kind_of: tells what a key of some name holds, None for nothing secret.
        is_allowed: tells whether the app has declared a value harmless.
        mask: returns the value of a secret key of some kind with its secrets hidden.
    """

    def __init__(
        self,
        redact: Callable[[str], str],
        kind_of: Callable[[str], Kind | None],
        is_allowed: Callable[[str], bool],
        mask: Callable[[Kind, str], str] = masked,
    ) -> None:
        self._redact = redact
        self._kind_of = kind_of
        self._is_allowed = is_allowed
        self._mask = mask
        self._seen: dict[tuple[int, Kind | None], tuple[object, object]] = {}

    def visit(self, value: object) -> object:
        """Return `value` without secrets: itself if it holds none. Never raises."""
        return self._visit(value, 0)

    def _visit(self, value: object, depth: int, kind: Kind | None = None) -> object:
        """Redact a value, which stands under a key of the given kind."""
        try:
            form: type = type(value)
            shape = _shape_of(form)
            if shape == "text":
                return self._text(cast("str", value), kind)
            if shape == "constant" or (kind is None and shape in ("plain", "number")):
                return value
            if shape == "bytes":
                return self._bytes(cast("bytes", value), kind)
            return self._once(value, shape, depth, kind)
        except Exception:  # noqa: BLE001  # the app's own code runs here; what cannot be read is not shown
            return _UNREADABLE

    def _text(self, value: str, kind: Kind | None) -> object:
        text = str.__str__(value)  # a derived class may print something else
        redacted = self._redacted(text, kind)
        return redacted if redacted is not text else value if type(value) is str else self._object(value)

    def _bytes(self, value: bytes | bytearray | memoryview, kind: Kind | None) -> object:
        """Redact bytes as text; those that are no UTF-8 come back as they were."""
        text = bytes(value).decode("utf-8", "surrogateescape")
        redacted = self._redacted(text, kind)
        if redacted is text:
            return value
        form = next(form for form in (bytearray, memoryview, bytes) if isinstance(value, form))
        return form(redacted.encode("utf-8", "surrogateescape"))

    def _redacted(self, text: str, kind: Kind | None) -> str:
        """Return a text, which stands under a key of the given kind, without secrets; itself if it holds none."""
        redacted = self._redact(self._masked(text, kind))
        return self._masked(redacted, kind)  # what is left may look random now: redacting twice must change nothing

    def _masked(self, text: str, kind: Kind | None) -> str:
        if kind is None or self._is_allowed(text) or not is_secret(kind, text):
            return text
        return self._mask(kind, text)

    def _once(self, value: object, shape: _Shape, depth: int, kind: Kind | None) -> object:
        if depth > DEEPEST:
            return marker("too-deep")
        known = (id(value), kind)
        if known not in self._seen:
            self._seen[known] = (value, marker("circular"))  # holds on to the value, lest its id be given to another
            self._seen[known] = (value, self._looked_into(value, shape, depth, kind))
        return self._seen[known][1]

    def _looked_into(self, value: object, shape: _Shape, depth: int, kind: Kind | None) -> object:
        if shape == "number":
            smallest = _SMALLEST_CODE if kind is not None and kind.rule == "otp" else _SMALLEST_NUMBER
            is_long = abs(cast("float", value)) >= smallest
            return marker(kind.rule) if kind is not None and kind.certain and is_long else value
        if shape in ("plain", "object"):
            return self._object(value, kind)
        if shape == "url":
            url: object = cast("SplitResult", value).geturl()
            redacted = self._visit(url, depth, kind)
            return value if redacted is url else redacted
        if kind is not None and kind.certain:
            return value if shape != "fields" and not value else marker(kind.rule)
        if shape == "mapping":
            return self._mapping(cast("Mapping[object, object]", value), depth + 1)
        if shape == "sequence":
            return self._sequence(cast("Iterable[object]", value), depth + 1, kind)
        return self._fields(value, depth + 1)

    def _object(self, value: object, kind: Kind | None = None) -> object:
        """Return a value, or what it prints if that holds a secret."""
        shown = str.__str__(str(value))  # runs the app's code, which may raise, and may return a class of its own
        redacted = self._redacted(shown, kind)
        if redacted is not shown:
            return redacted
        represented = str.__str__(repr(value))
        redacted = represented if represented == shown else self._redact(represented)
        return value if redacted is represented else redacted

    def _mapping(self, mapping: Mapping[object, object], depth: int) -> object:
        before = list(mapping.items())
        after = [(self._visit(key, depth), self._visit(value, depth, self._kind(key))) for key, value in before]
        if all(new[0] is old[0] and new[1] is old[1] for new, old in zip(after, before, strict=True)):
            return mapping if type(mapping) in _BUILT_IN else self._object(mapping)
        kept = _distinct(after)
        return OrderedDict(kept) if type(mapping) is OrderedDict else kept

    def _sequence(self, sequence: Iterable[object], depth: int, kind: Kind | None) -> object:
        """Redact each item. What a list under a doubtful key holds is doubtful itself: a parsed form has lists."""
        before = list(sequence)
        kinds = self._kinds(sequence, before)
        if kinds:
            after = [self._visit(item, depth, own or kind) for item, own in zip(before, kinds, strict=True)]
        else:
            after = [self._visit(item, depth, kind) for item in before]
        is_same = all(new is old for new, old in zip(after, before, strict=True))
        result = sequence if is_same else _rebuilt(sequence, after)
        return result if type(result) in _BUILT_IN else self._object(result)

    def _kinds(self, sequence: object, items: list[object]) -> list[Kind | None]:
        """Return what the items of a named tuple, or of a pair of name and value, hold; nothing for other sequences."""
        kinds = [self._kind(name) for name in _names(sequence)]
        if len(items) == _PAIR and isinstance(sequence, list | tuple):
            first, second = kinds or (None, None)
            return [first, second or self._kind(items[0])]
        return kinds or self._after_flags(items)

    def _after_flags(self, items: list[object]) -> list[Kind | None]:
        """Return what the items of a command line hold that follow a flag: `["run", "--api-key", ...]`."""
        texts = [item if type(item) is str else "" for item in items]  # a proxy is not asked what it stands for
        if not any(text.startswith("--") for text in texts):
            return []
        flags = [text if text.startswith("-") and "=" not in text else "" for text in texts]
        return [self._kind(flag.lstrip("-")) for flag in ("", *flags[:-1])]

    def _fields(self, value: object, depth: int) -> object:
        before = dict(_state(value))
        after = {name: self._visit(field, depth, self._kind(name)) for name, field in before.items()}
        is_same = all(new is old for new, old in zip(after.values(), before.values(), strict=True))
        return self._object(value if is_same else _clone(value, after))

    def _kind(self, key: object) -> Kind | None:
        """Return what a key holds: text, bytes, or a member of an enumeration."""
        form = type(key)
        if issubclass(form, str):
            name = str.__str__(cast("str", key))
        elif form is bytes:
            name = cast("bytes", key).decode("latin-1")
        elif issubclass(form, Enum):
            name = cast("Enum", key).name
        else:
            return None
        return None if MARKER.search(name) else self._kind_of(name[-LONGEST_KEY:])


@lru_cache(1024)
def _shape_of(form: type) -> _Shape:
    """Return how to look at the objects of a class."""
    if form in _CONSTANTS:
        return "constant"
    if form in _PLAIN:
        return "plain"
    if form is int or form is float:
        return "number"
    if hasattr(form, "headers"):  # a request of Starlette's, which is a mapping of its scope as well
        return "object"
    for shape, classes in _SHAPES:
        if issubclass(form, classes):
            return shape
    has_fields = any(hasattr(form, mark) for mark in _FIELDS) and not hasattr(form, "__mapper__")
    return "fields" if has_fields else "object"


def _distinct(pairs: Iterable[tuple[object, object]]) -> dict[object, object]:
    """Return a dictionary of pairs, with a number behind names that redaction has made the same."""
    kept: dict[object, object] = {}
    for name, value in pairs:
        kept[f"{name} {len(kept) + 1}" if name in kept else name] = value
    return kept


def _names(sequence: object) -> tuple[object, ...]:
    """Return the names of a named tuple's items."""
    names = getattr(type(sequence), "_fields", ()) if isinstance(sequence, tuple) else ()
    return names if isinstance(names, tuple) else ()


def _rebuilt(sequence: object, items: list[object]) -> object:
    if _names(sequence):
        return tuple.__new__(cast("type[tuple[object, ...]]", type(sequence)), items)
    form = next(form for form in (list, tuple, frozenset, set) if isinstance(sequence, form))
    return form(items)


@lru_cache(1024)
def _slots(form: type) -> dict[str, MemberDescriptorType]:
    """Return the attributes that a class keeps in slots."""
    found = ((name, slot) for base in reversed(form.__mro__) for name, slot in vars(base).items())
    return {name: slot for name, slot in found if isinstance(slot, MemberDescriptorType)}


def _state(value: object) -> Iterator[tuple[str, object]]:
    """Return the attributes of an object, as they are stored: none of its properties is run."""
    form: type = type(value)
    if form.__dictoffset__:
        yield from cast("dict[str, object]", object.__getattribute__(value, "__dict__")).items()
    for name, slot in _slots(form).items():
        try:
            yield name, slot.__get__(value)
        except AttributeError:  # never set
            continue


def _clone(value: object, state: Mapping[str, object]) -> object:
    """Return an object of the same class with other attributes, without running any of its code."""
    form: type = type(value)
    slots = _slots(form)
    clone: object = object.__new__(form)
    for name, field in state.items():
        if name in slots:
            slots[name].__set__(clone, field)
        else:
            cast("dict[str, object]", object.__getattribute__(clone, "__dict__"))[name] = field
    return clone
