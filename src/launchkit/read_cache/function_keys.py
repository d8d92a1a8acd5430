"""What tells one call of a cached function from another.

The rules:

- Two calls share a key only if no function could tell their arguments apart: 1, 1.0, True and "1" differ, and so do 0.0
  and -0.0, Decimal("1.0") and Decimal("1.00"), and one moment in two time zones. How an argument is passed, by position
  or by name or as the default, makes no difference.
- Only plain values make a key: None, bool, int, float, str, bytes, Decimal, UUID, dates, times and their differences,
  members of an Enum, and tuples and frozensets of those. None of these changes later, nor runs foreign code when it is
  compared. A subclass may do both, so the type has to be the very one. Anything else keeps the call from the cache.
- A function with a parameter that looks like a person, a request or a connection is refused unless it is told its key.
- A text as key, `"user:{user.id}:{page}"`, names the parameters that count. It is never rendered: "a:b" and "c" make
  another key than "a" and "b:c".
"""

from __future__ import annotations

import inspect
import struct
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from operator import attrgetter
from string import Formatter
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Final, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints
from uuid import UUID
from zoneinfo import ZoneInfo

from launchkit.errors import LaunchKitError

Arguments: TypeAlias = tuple[object, ...]
NamedArguments: TypeAlias = Mapping[str, object]
KeyMaker: TypeAlias = Callable[[Arguments, NamedArguments], Hashable]
"""Makes the key of a call; None if the call is not to be cached. Raises whatever an argument of a strange kind does."""


class NotPlain(Exception):
    """A value that makes no key. The message says its type, never the value."""


# --- values --------------------------------------------------------------------------------------------------------


def plain_key(values: Arguments) -> Hashable:
    """Return a key that no other values have.

    Raises:
        NotPlain: for a value that is no plain one.
    """
    kinds = tuple(map(type, values))
    if _AS_THEY_ARE.issuperset(kinds):
        return kinds, values
    return kinds, tuple([_distinct(kind, value) for kind, value in zip(kinds, values, strict=True)])


_AS_THEY_ARE: Final = frozenset({NoneType, bool, int, str, bytes, date, timedelta, UUID})
"""Types whose equal values nobody can tell apart."""


def _distinct(kind: type, value: object) -> Hashable:
    """Return what stands for a value beside its type."""
    if kind in _AS_THEY_ARE:
        return value
    if isinstance(value, Enum):
        return _distinct_member(value)
    distinct = _DISTINCT.get(kind)
    if distinct is None:
        raise NotPlain(f"{kind.__module__}.{kind.__qualname__}")
    return distinct(value)


def _distinct_member(value: Enum) -> Hashable:
    if type(value).__members__.get(value.name) is value:
        return value.name
    return plain_key((value.name, value.value))  # several flags, or what `_missing_` has made up


def _distinct_datetime(value: datetime) -> Hashable:
    return value.replace(tzinfo=None), value.fold, _distinct_zone(value)


def _distinct_time(value: time) -> Hashable:
    return value.replace(tzinfo=None), value.fold, _distinct_zone(value)


def _distinct_zone(value: datetime | time) -> Hashable:
    zone = value.tzinfo
    if type(zone) not in (NoneType, timezone, ZoneInfo):
        raise NotPlain(f"a time zone of the type {type(zone).__qualname__}")
    return zone, repr(zone)  # time zones of one offset are equal, whatever their names


def _distinct_members(value: frozenset[object]) -> Hashable:
    return frozenset(plain_key((member,)) for member in value)


_DISTINCT: Final[dict[type, Callable[[Any], Hashable]]] = {  # Any: each takes the type that it is found under
    float: struct.Struct("<d").pack,
    Decimal: str,
    datetime: _distinct_datetime,
    time: _distinct_time,
    tuple: plain_key,
    frozenset: _distinct_members,
}

_PLAIN: Final = (*_AS_THEY_ARE, *_DISTINCT)


# --- arguments -----------------------------------------------------------------------------------------------------


class Parameters:
    """A function's parameters. Makes of a call's arguments one value for each parameter, in their order."""

    def __init__(self, function: Callable[..., object]) -> None:
        try:
            self.signature: Final = inspect.signature(function)
        except (TypeError, ValueError) as error:
            raise LaunchKitError(
                f"{name_of(function)} cannot be cached: its parameters are not known ({error})."
            ) from None
        self.names: Final = tuple(self.signature.parameters)
        parameters = tuple(self.signature.parameters.values())
        variadic = any(one.kind in _VARIADIC for one in parameters)
        positional = sum(one.kind in _POSITIONAL for one in parameters)
        self._all = len(parameters) if positional == len(parameters) else -1
        self._rest = () if variadic else tuple(_Rest(parameters[given:]) for given in range(positional + 1))

    def values(self, args: Arguments, kwargs: NamedArguments) -> Arguments | None:
        """Return the values, defaults applied; None if the function does not take such arguments."""
        given = len(args)
        if given == self._all and not kwargs:
            return args
        if given < len(self._rest):
            rest = self._rest[given]
            if rest.required <= kwargs.keys() <= rest.allowed:
                return (*args, *map(kwargs.get, rest.names, rest.defaults))
        return self._bound(args, kwargs)

    def _bound(self, args: Arguments, kwargs: NamedArguments) -> Arguments | None:
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError:
            return None
        bound.apply_defaults()
        return tuple(
            tuple(sorted(value.items())) if parameter.kind is parameter.VAR_KEYWORD else value
            for parameter, value in zip(self.signature.parameters.values(), bound.arguments.values(), strict=True)
        )


class _Rest:
    """The parameters after those that are given by position."""

    __slots__ = ("allowed", "defaults", "names", "required")

    def __init__(self, parameters: Sequence[inspect.Parameter]) -> None:
        self.names = tuple(one.name for one in parameters)
        self.defaults = tuple(one.default for one in parameters)
        self.allowed = {one.name for one in parameters if one.kind is not one.POSITIONAL_ONLY}
        self.required = {one.name for one in parameters if one.default is one.empty}
        # A positional-only parameter without a default is required and not allowed: then nothing fits.


_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


# --- keys ----------------------------------------------------------------------------------------------------------


def key_maker(function: Callable[..., object], key: str | Callable[..., object] | None) -> KeyMaker:
    """Return what makes the keys of a function's calls.

    Args:
        function: what is to be cached.
        key: None, and all arguments count; a text that names in braces what counts; or what is called with the same
            arguments and returns a plain value, or None for a call that is not to be cached.

    Raises:
        LaunchKitError: if the calls of this function cannot be told apart by that, or should not be.
    """
    if isinstance(key, str):
        return _key_from_text(function, key)
    if key is None:
        return _key_from_arguments(function)
    if not callable(key) or inspect.iscoroutinefunction(key):
        raise LaunchKitError(f'The key of {name_of(function)} must be a text like "{{page}}" or a plain function.')
    return _key_from_callable(key)


def _key_from_arguments(function: Callable[..., object]) -> KeyMaker:
    parameters = Parameters(function)
    for parameter in parameters.signature.parameters.values():
        objection = _objection(parameter, function)
        if objection is not None:
            raise LaunchKitError(
                f"{name_of(function)} cannot be cached by its arguments: the parameter {parameter.name!r} {objection}. "
                'Give a key that names what counts: key="{user_id}:{page}", or key=lambda user, page: (user.id, page).'
            )
    values_of = parameters.values

    def make_key(args: Arguments, kwargs: NamedArguments) -> Hashable:
        values = values_of(args, kwargs)
        return None if values is None else plain_key(values)

    return make_key


def _key_from_callable(key: Callable[..., object]) -> KeyMaker:
    def make_key(args: Arguments, kwargs: NamedArguments) -> Hashable:
        made = key(*args, **kwargs)
        return None if made is None else plain_key((made,))

    return make_key


def _key_from_text(function: Callable[..., object], text: str) -> KeyMaker:
    parameters = Parameters(function)
    fields = _fields(function, text, parameters.names)
    if parameters.names and not fields:
        raise LaunchKitError(
            f"The key {text!r} of {name_of(function)} is the same for every call: name in braces what counts, as in "
            f'"{{{parameters.names[0]}}}".'
        )
    getters = [(parameters.names.index(name), attrgetter(path) if path else None) for name, path in fields]

    def make_key(args: Arguments, kwargs: NamedArguments) -> Hashable:
        values = parameters.values(args, kwargs)
        if values is None:
            return None
        return plain_key(tuple([get(values[index]) if get else values[index] for index, get in getters]))

    return make_key


def _fields(function: Callable[..., object], text: str, names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the parameters that a text names, each with the path of the attribute that is meant, if any."""
    try:
        parsed = [field for field in Formatter().parse(text) if field[1] is not None]
    except ValueError as error:
        raise LaunchKitError(f"The key {text!r} of {name_of(function)} has a mistake: {error}.") from None
    fields = []
    for _, field, form, conversion in parsed:
        name, *path = str(field).split(".")
        if name not in names or form or conversion or not all(map(str.isidentifier, path)):
            raise LaunchKitError(
                f"The key {text!r} of {name_of(function)} may name its parameters and their attributes only, and "
                f"{{{field}}} is none: it has {', '.join(names) or 'no parameters'}."
            )
        fields.append((name, ".".join(path)))
    return fields


def name_of(function: object) -> str:
    """Return what a function is called in messages."""
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__name__)}"


# --- parameters that keep a function from being cached by its arguments ----------------------------------------------

_SUSPECTS: Final = frozenset(
    {"account", "auth", "authorization", "claims", "cls", "cookie", "cookies", "credential", "credentials", "customer"}
    | {"identity", "me", "member", "password", "principal", "request", "secret", "self", "session", "token", "user"}
    | {"viewer", "websocket"}
)
"""The last word of the names of parameters that are probably a person, or open to one person only."""


def _objection(parameter: inspect.Parameter, function: Callable[..., object]) -> str | None:
    """Say what is wrong with a parameter, if anything is."""
    if parameter.name.lower().strip("_").rpartition("_")[2] in _SUSPECTS:
        return "looks as if it were one user's"
    if not _may_be_plain(_resolved(parameter.annotation, function)):
        return "takes more than plain values"
    return None


def _resolved(annotation: object, function: Callable[..., object]) -> object:
    """Return an annotation that may be a text, or Any if it names what is not there."""
    holder = SimpleNamespace(__annotations__={"it": annotation})
    try:
        return get_type_hints(holder, globalns=getattr(inspect.unwrap(function), "__globals__", {}))["it"]
    except Exception:  # noqa: BLE001  # evaluating an annotation may raise anything; its arguments are looked at anyway
        return Any


def _may_be_plain(annotation: object) -> bool:
    """Whether all that an annotation allows may be plain values. What is not known to be otherwise may."""
    origin = get_origin(annotation)
    if origin is Literal or annotation in (Any, inspect.Parameter.empty):
        return True
    if origin in (Union, UnionType):
        return all(map(_may_be_plain, get_args(annotation)))
    if origin is not None:
        return _may_be_plain(origin) and all(_may_be_plain(one) for one in get_args(annotation) if one is not ...)
    if not isinstance(annotation, type):
        return _may_be_plain(getattr(annotation, "__supertype__", Any))  # of a NewType
    try:
        return issubclass(annotation, Enum) or any(issubclass(plain, annotation) for plain in _PLAIN)
    except TypeError:  # a Protocol that does not answer
        return True
