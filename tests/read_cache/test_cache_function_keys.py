"""Different arguments never share a key, however they are passed, and what may be one user's is refused without one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum, auto
from typing import Annotated, Any, Literal, NamedTuple, NewType, Protocol, SupportsInt, TypeVar
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launchkit.errors import LaunchKitError
from launchkit.read_cache.function_keys import NotPlain, Parameters, key_maker, plain_key

UserId = NewType("UserId", int)
AnyOf = TypeVar("AnyOf")
BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


class Zero(IntEnum):
    ZERO = 0
    ONE = 1


class Word(StrEnum):
    EMPTY = ""
    A = "a"

    @classmethod
    def _missing_(cls, value: object) -> Word:
        made = str.__new__(cls, value)
        made._name_, made._value_ = "OTHER", str(value)
        return made


class Colour(Flag):
    RED = auto()
    BLUE = auto()


class Handler(Enum):
    FIRST = [1]  # the value is no plain one, but the member is
    SECOND = [2]


class Text(str):
    __slots__ = ()


class Pair(NamedTuple):
    first: int
    second: int


@dataclass(frozen=True)
class User:
    id: object
    name: str = ""


class HasId(Protocol):
    id: int


class Elsewhere(tzinfo):
    """A time zone of the app's own."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        return timedelta(0)

    def dst(self, moment: datetime | None) -> None:
        return None

    def tzname(self, moment: datetime | None) -> str:
        return "Elsewhere"


# --- values --------------------------------------------------------------------------------------------------------

ALIKE: list[Any] = [
    0,
    0.0,
    -0.0,
    False,
    1,
    1.0,
    True,
    "0",
    b"0",
    "",
    b"",
    None,
    "None",
    (),
    frozenset(),
    Zero.ZERO,
    Zero.ONE,
]
ALIKE += [
    Word.EMPTY,
    Word.A,
    Word("made up"),
    Word("made"),
    "a",
    "A",
    Colour.RED,
    Colour.BLUE,
    Colour.RED | Colour.BLUE,
]
ALIKE += [Handler.FIRST, Handler.SECOND, Decimal(0), Decimal("0.0"), Decimal("-0"), Decimal("NaN")]
ALIKE += [
    timedelta(0),
    date(2026, 6, 1),
    datetime(2026, 6, 1),  # noqa: DTZ001  # naive on purpose
    NOON,
    NOON.astimezone(BERLIN),
    NOON.replace(tzinfo=None),
]
ALIKE += [NOON.astimezone(timezone(timedelta(hours=2))), NOON.astimezone(timezone(timedelta(hours=2), "CEST"))]
ALIKE += [NOON.replace(fold=1), time(12), time(12, fold=1), time(12, tzinfo=UTC), UUID(int=0), "1970-01-01"]

PLAIN = st.recursive(
    st.sampled_from(ALIKE)
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=3)
    | st.binary(max_size=3)
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.sampled_from([UTC, BERLIN]))
    | st.timedeltas(),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.lists(inner, max_size=3).map(frozenset),
    max_leaves=6,
)


def looks(value: object) -> object:
    """Everything that can be told of a plain value."""
    if type(value) is frozenset:
        return frozenset(looks(member) for member in value)
    if type(value) is tuple:
        return tuple(looks(member) for member in value)
    return type(value), repr(value)


@settings(max_examples=200)
@given(st.lists(PLAIN, max_size=3).map(tuple), st.lists(PLAIN, max_size=3).map(tuple))
def test_values_that_can_be_told_apart_never_share_a_key(one: tuple[object, ...], other: tuple[object, ...]) -> None:
    """The key is injective: two lists of values have the same one only if they look the same."""
    assert (plain_key(one) == plain_key(other)) is (looks(one) == looks(other))
    assert len({plain_key(one), plain_key(other)}) == (1 if looks(one) == looks(other) else 2)


def test_values_that_python_calls_equal_do_not_share_a_key() -> None:
    """1 == 1.0 == True, and noon in London is 13:00 in Berlin, but what is made of them differs."""
    different = {repr((type(value), value)) for value in ALIKE}
    assert len({plain_key((value,)) for value in ALIKE}) == len(different)


def test_a_value_that_cannot_be_compared_makes_a_key_like_any_other() -> None:
    """A signaling NaN raises when it is hashed; what stands for it does not."""
    assert plain_key((Decimal("sNaN"),)) == plain_key((Decimal("sNaN"),))
    assert plain_key((Decimal("sNaN"),)) != plain_key((Decimal("NaN"),))


def test_no_list_of_values_is_taken_for_a_value_of_another() -> None:
    """("a", "b") is neither (("a", "b"),) nor "ab", nor a tuple the set of its members."""
    shapes = [
        ("a", "b"),
        (("a", "b"),),
        ("ab",),
        (frozenset({"a", "b"}),),
        ((("a",), "b"),),
        ("a", ("b",)),
        ("a", "b", ()),
    ]
    assert len({plain_key(shape) for shape in shapes}) == len(shapes)


NO_KEY: list[object] = [
    [1],
    {1: 1},
    {1},
    bytearray(b"a"),
    object(),
    Text("a"),
    Pair(1, 2),
    User(1),
    1j,
    lambda: 1,
    ([1],),
]
NO_KEY += [frozenset({User(1)}), Handler, NOON.replace(tzinfo=Elsewhere()), time(1, tzinfo=Elsewhere())]


@pytest.mark.parametrize(
    "value",
    NO_KEY,
    ids=repr,
)
def test_what_may_change_or_compare_as_it_likes_makes_no_key(value: object) -> None:
    """Only the very types that are known to be plain do."""
    with pytest.raises(NotPlain):
        plain_key((1, value))


def test_the_reason_is_a_type_and_never_the_value() -> None:
    """It goes to the log, and the value may be a secret."""
    secret = uuid4().hex
    with pytest.raises(NotPlain) as caught:
        plain_key((User(1, secret),))
    assert str(caught.value) == f"{__name__}.User"


# --- arguments -----------------------------------------------------------------------------------------------------


def nothing() -> None: ...
def positional(a: int, b: int) -> None: ...
def defaults(a: int, b: int = 2, c: int = 3) -> None: ...
def only_positional(a: int, b: int = 2, /, c: int = 3) -> None: ...
def only_named(a: int, *, b: int, c: int = 3) -> None: ...
def variadic(a: int, *args: int, b: int = 2, **kwargs: int) -> None: ...
def named(**kwargs: int) -> None: ...


FUNCTIONS = (nothing, positional, defaults, only_positional, only_named, variadic, named)


@pytest.mark.parametrize("function", FUNCTIONS)
@settings(max_examples=60)
@given(
    args=st.lists(st.integers(0, 3), max_size=4).map(tuple),
    kwargs=st.dictionaries(st.sampled_from("abcd"), st.integers(0, 3), max_size=4),
)
def test_arguments_count_as_the_function_gets_them(
    function: Callable[..., object], args: tuple[int, ...], kwargs: dict[str, int]
) -> None:
    """Position, name and default are the same; what the function does not take has no values."""
    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        assert Parameters(function).values(args, kwargs) is None
        return
    bound.apply_defaults()
    expected = tuple(tuple(sorted(one.items())) if isinstance(one, dict) else one for one in bound.arguments.values())
    assert Parameters(function).values(args, kwargs) == expected


def test_a_call_by_name_shares_the_key_of_a_call_by_position() -> None:
    """f(1), f(1, 2) and f(a=1) are one call where 2 is the default."""
    make_key = key_maker(defaults, None)
    keys = {make_key((1,), {}), make_key((1, 2), {}), make_key((1,), {"c": 3, "b": 2}), make_key((), {"a": 1})}
    assert len(keys) == 1
    assert make_key((2,), {}) not in keys


def test_a_function_whose_parameters_are_not_known_is_refused() -> None:
    """What is no function, or has no signature, cannot be told its arguments apart."""
    with pytest.raises(LaunchKitError, match="parameters are not known"):
        key_maker(min, None)


# --- keys of the app's own -----------------------------------------------------------------------------------------


def page_of(user: User, page: int, size: int = 10) -> str:
    return f"{user} {page} {size}"


def test_a_text_names_what_counts() -> None:
    """What it does not name makes no difference, and attributes may be meant."""
    make_key = key_maker(page_of, "user:{user.id}:page:{page}")
    assert make_key((User(1, "a"), 2), {}) == make_key((User(1, "b"),), {"page": 2, "size": 20})
    assert make_key((User(1), 2), {}) != make_key((User(2), 1), {})
    assert make_key((User(1), 2), {}) != make_key((User("1"), 2), {})


def test_a_text_is_not_rendered() -> None:
    """Where texts are joined, whoever chooses one of them reaches another's entry."""

    def search(tenant: str, text: str) -> None: ...

    make_key = key_maker(search, "{tenant}:{text}")
    assert make_key(("a:b", "c"), {}) != make_key(("a", "b:c"), {})


def test_a_text_may_name_parameters_that_take_many() -> None:
    """All of them count then."""
    make_key = key_maker(variadic, "{args}{kwargs}")
    assert make_key((1, 2), {"x": 1, "y": 2}) == make_key((9, 2), {"y": 2, "x": 1})
    assert make_key((1, 2), {}) != make_key((1, 3), {})


@pytest.mark.parametrize("text", ["all", "", "{{user}}"])
def test_a_text_that_names_nothing_is_refused(text: str) -> None:
    """It would be one entry for everybody."""
    with pytest.raises(LaunchKitError, match="the same for every call"):
        key_maker(page_of, text)


@pytest.mark.parametrize(
    "text", ["{id}", "{}", "{0}", "{user[id]}", "{user.}", "{user.id!r}", "{page:>3}", "{page:}{nobody}", "{user.id()}"]
)
def test_a_text_that_names_what_the_function_does_not_have_is_refused(text: str) -> None:
    """When the function is decorated, not when it is called."""
    with pytest.raises(LaunchKitError, match="its parameters and their attributes only"):
        key_maker(page_of, text)


def test_a_text_with_a_loose_brace_is_refused() -> None:
    """The message says what is wrong."""
    with pytest.raises(LaunchKitError, match="has a mistake: "):
        key_maker(page_of, "{page")


def test_a_function_without_parameters_needs_no_field() -> None:
    """All its calls are the same."""
    assert key_maker(nothing, "all")((), {}) == key_maker(nothing, "all")((), {})
    with pytest.raises(LaunchKitError, match="no parameters"):
        key_maker(nothing, "{page}")


def test_a_text_has_no_key_for_what_the_function_does_not_take() -> None:
    """The function itself says what is wrong with such a call."""
    assert key_maker(page_of, "{page}")((), {}) is None


def test_a_function_makes_keys_of_the_same_arguments() -> None:
    """What it returns is told apart like an argument, and None says not to cache."""
    make_key = key_maker(page_of, lambda user, page: None if user is None else (user.id, page))
    assert make_key((User(1), 2), {}) == make_key((User(1, "b"),), {"page": 2})
    assert make_key((User(1), 1), {}) != make_key((User(True), 1), {})
    assert make_key((None, 2), {}) is None
    with pytest.raises(NotPlain):
        key_maker(page_of, lambda user, page: [user.id, page])((User(1), 2), {})


async def later(user: User, page: int) -> int:
    return page


@pytest.mark.parametrize("key", [later, 7, b"{page}"], ids=repr)
def test_a_key_of_another_kind_is_refused(key: Any) -> None:
    """A coroutine is no key, nor is a number."""
    with pytest.raises(LaunchKitError, match="must be a text"):
        key_maker(page_of, key)


# --- what is refused without a key ---------------------------------------------------------------------------------

NAMES = [
    "user",
    "current_user",
    "User",
    "_user",
    "request",
    "session",
    "db_session",
    "account",
    "token",
    "access_token",
]
NAMES += [
    "principal",
    "identity",
    "auth",
    "me",
    "self",
    "cls",
    "cookies",
    "credentials",
    "customer",
    "viewer",
    "password",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_that_looks_like_one_users_is_refused(name: str) -> None:
    """Peers that cached by such arguments, or left them out, served one user's page to another."""
    with pytest.raises(LaunchKitError, match=f"'{name}' looks as if it were one user's. Give a key"):
        key_maker(_taking(name), None)
    with pytest.raises(LaunchKitError, match="one user's"):
        key_maker(_taking(name, int), None)
    assert key_maker(_taking(name), lambda one: one)((1,), {}) is not None


@pytest.mark.parametrize("name", ["user_id", "page", "x", "username", "session_count", "author", "theme", "tokens"])
def test_any_other_name_is_fine(name: str) -> None:
    """Only the last word counts."""
    assert key_maker(_taking(name), None)((1,), {}) == key_maker(_taking(name), None)((), {name: 1})


NOT_PLAIN: list[object] = [
    User,
    list,
    list[int],
    dict[str, int],
    Mapping[str, int],
    set[int],
    bytearray,
    Pair,
    type[int],
]
NOT_PLAIN += [Callable[[int], str], User | None, int | list[int], tuple[int, User], Sequence[User]]
NOT_PLAIN += [Annotated[User, "a dependency"], Iterator[int], "User", "list[int] | None", complex, "Annotated[User, 1]"]


@pytest.mark.parametrize("annotation", NOT_PLAIN, ids=str)
def test_a_parameter_that_takes_more_than_plain_values_is_refused(annotation: object) -> None:
    """Its calls would all go past the cache; better to say so where the function is decorated."""
    with pytest.raises(LaunchKitError, match="'it' takes more than plain values"):
        key_maker(_taking("it", annotation), None)


PLAIN_TYPES: list[object] = [
    int,
    str,
    None,
    bool,
    Decimal,
    UUID,
    datetime,
    timedelta,
    Word,
    Zero,
    UserId,
    Literal["a", 1],
    Any,
    object,
]
PLAIN_TYPES += [
    int | None,
    tuple[int, ...],
    frozenset[str],
    Sequence[int],
    AbstractSet[str],
    SupportsInt,
]
PLAIN_TYPES += [AnyOf, Annotated[int, "a query"], HasId, "int", "UserId | None", "Unknown", "not an annotation", "1/0"]


@pytest.mark.parametrize("annotation", PLAIN_TYPES, ids=str)
def test_a_parameter_that_may_be_plain_is_fine(annotation: object) -> None:
    """What cannot be resolved, or allows plain values among others, is seen to when the function is called."""
    assert key_maker(_taking("it", annotation), None)((1,), {}) is not None


def test_parameters_that_take_many_are_fine_if_they_are_plain() -> None:
    """Each of the many is looked at."""
    make_key = key_maker(variadic, None)
    assert make_key((1, 2), {"x": 3}) != make_key((1,), {"x": 3})
    with pytest.raises(LaunchKitError, match="'args' takes more"):
        key_maker(_taking("args", User, inspect.Parameter.VAR_POSITIONAL), None)


def _taking(
    name: str, annotation: object = inspect.Parameter.empty, kind: Any = inspect.Parameter.POSITIONAL_OR_KEYWORD
) -> Callable[..., object]:
    """Return a function of this module with one parameter."""

    def function(*args: object, **kwargs: object) -> None: ...

    parameter = inspect.Parameter(name, kind, annotation=annotation)
    function.__signature__ = inspect.Signature([parameter])  # type: ignore[attr-defined]
    return function
