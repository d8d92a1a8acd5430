from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchkit.read_cache.directives import LONGEST, Directives, delta_seconds, parse_cache_control, whole_seconds

DIRECTIVES = [
    b"no-store",
    b"no-cache",
    b'no-cache="set-cookie, x"',
    b"private",
    b'private="x"',
    b"must-revalidate",
    b"proxy-revalidate",
    b"public",
    b"must-understand",
    b"max-age=60",
    b'MAX-AGE="30"',
    b"max-age=abc",
    b"s-maxage=10",
    b"S-MaxAge=0",
    b"stale-while-revalidate=20",
    b"stale-if-error=40",
    b'x-extension="no-store, max-age=1"',
    b"immutable",
]
lists = st.lists(st.sampled_from(DIRECTIVES), max_size=6)
seconds = st.none() | st.integers(0, LONGEST)
directives = st.builds(
    Directives,
    **dict.fromkeys(
        ("no_store", "no_cache", "private", "public", "must_understand", "must_revalidate"),
        st.booleans(),
    ),
    **dict.fromkeys(("max_age", "s_maxage", "stale_while_revalidate", "stale_if_error"), seconds),
)


def written(said: Directives) -> list[bytes]:
    """Write directives as an app does."""
    parts = []
    for field in said.__dataclass_fields__:
        value = getattr(said, field)
        name = field.replace("_", "-").encode()
        if value is True:
            parts.append(name)
        elif value is not False and value is not None:
            parts.append(b"%b=%d" % (name, value))
    return parts


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", Directives()),
        (b"no-store", Directives(no_store=True)),
        (b"No-Cache", Directives(no_cache=True)),
        (b"PRIVATE", Directives(private=True)),
        (b"Public", Directives(public=True)),
        (b"must-Understand", Directives(must_understand=True)),
        (b"must-revalidate", Directives(must_revalidate=True)),
        (b"proxy-revalidate", Directives(must_revalidate=True)),
        (b"max-age=60,s-maxage=10", Directives(max_age=60, s_maxage=10)),
        (b"max-age=1, stale-while-revalidate=30", Directives(max_age=1, stale_while_revalidate=30)),
        (b"stale-if-error=30", Directives(stale_if_error=30)),
    ],
)
def test_a_directive_is_read_without_case(value: bytes, expected: Directives) -> None:
    """RFC 9111 section 5.2: names of directives are compared without case."""
    assert parse_cache_control([value]) == expected


@given(directives, st.booleans(), st.integers())
def test_what_is_written_is_read(said: Directives, in_lines: bool, seed: int) -> None:
    """RFC 9110 section 5.3: several lines are one list, and a list of directives has no order."""
    parts = written(said)
    random.Random(seed).shuffle(parts)
    assert parse_cache_control(parts if in_lines else [b", ".join(parts)]) == said


@pytest.mark.parametrize("value", [b'max-age="60"', b"max-age= 60", b"max-age =60", b" max-age=060 "])
def test_an_argument_may_be_quoted_and_spaced(value: bytes) -> None:
    """RFC 9111 section 5.2: a recipient ought to accept token and quoted-string form; spaces are our leniency."""
    assert parse_cache_control([value]).max_age == 60


def test_of_two_times_the_shorter_counts() -> None:
    """RFC 9111 section 4.2.1: with conflicting values the most restrictive one is used."""
    assert parse_cache_control([b"max-age=60", b"max-age=5, max-age=100"]).max_age == 5


@pytest.mark.parametrize(
    "value",
    [
        b"max-age",
        b"max-age=",
        b"max-age=soon",
        b"max-age=-5",
        b"max-age=1.5",
        b"max-age=3600.0",
        b"max-age=a100",
        b"max-age=100a",
        b"max-age='3600'",
        b'max-age="3600',
        b'max-age="',
        b'max-age=""',
    ],
)
def test_a_time_that_is_no_whole_number_is_zero(value: bytes) -> None:
    """RFC 9111 section 4.2.1: invalid freshness information is stale."""
    assert parse_cache_control([value]).max_age == 0


@pytest.mark.parametrize("digits", [b"2147483648", b"2147483649", b"99999999999", b"9" * 10_000])
def test_a_time_too_large_to_hold_is_cut(digits: bytes) -> None:
    """RFC 9111 section 1.2.2: a value beyond the greatest that can be held counts as that one."""
    assert delta_seconds(digits) == LONGEST


def test_leading_zeros_do_not_make_a_time_large() -> None:
    """RFC 9111 section 1.2.2: a time is digits of any number."""
    assert delta_seconds(b"0" * 5_000 + b"7") == 7


def test_a_plain_number_is_told_from_none() -> None:
    """RFC 9111 section 1.2.2: digits and nothing else."""
    assert whole_seconds(b"0") == 0
    assert [whole_seconds(text) for text in (b"", b"-1", b"+1", b'"1"', b" 1", b"\xb2")] == [None] * 6


@pytest.mark.parametrize("value", [b'a="max-age=3600", max-age=1', b'max-age=1, a="max-age=3600"', b'a="x", max-age=1'])
def test_a_directive_inside_quotes_is_none(value: bytes) -> None:
    """RFC 9110 section 5.6.4: what stands in a quoted string belongs to it."""
    assert parse_cache_control([value]) == Directives(max_age=1)


def test_a_quoted_quote_does_not_end_a_string() -> None:
    """RFC 9110 section 5.6.4: a backslash takes the meaning from what follows it."""
    assert parse_cache_control([rb'x="no-store, \" private", max-age=3']) == Directives(max_age=3)


def test_a_quote_that_never_ends_hides_nothing() -> None:
    """RFC 9111 section 4.2.1, in doubt restrictively: what follows a broken quote, or the next line, still counts."""
    assert parse_cache_control([b'x="oops, no-store']).no_store
    assert parse_cache_control([b'x="oops', b'no-store, y="']).no_store


@pytest.mark.parametrize("value", [b"max-age=30; no-store", b"no-store; max-age=30", b"max-age=30 no-store"])
def test_wrong_separators_never_make_a_response_fresh(value: bytes) -> None:
    """RFC 9111 section 4.2.1, in doubt restrictively: a list that is none leaves no time."""
    read = parse_cache_control([value])
    assert read.no_store or read.max_age == 0


@given(st.lists(st.binary(max_size=80), max_size=4))
def test_no_bytes_break_the_parser(values: list[bytes]) -> None:
    """RFC 9111 section 5.2.3: whatever an app sends is read as something."""
    read = parse_cache_control(values)
    for time in (read.max_age, read.s_maxage, read.stale_while_revalidate, read.stale_if_error):
        assert time is None or 0 <= time <= LONGEST


@given(lists, lists)
def test_a_further_directive_never_loosens(first: list[bytes], further: list[bytes]) -> None:
    """RFC 9111 section 4.2.1: the most restrictive counts, so more directives restrict as much or more."""
    less, more = parse_cache_control(first), parse_cache_control(first + further)
    assert more.no_store >= less.no_store
    assert more.no_cache >= less.no_cache
    assert more.private >= less.private
    assert more.must_revalidate >= less.must_revalidate
    for name in ("max_age", "s_maxage", "stale_while_revalidate", "stale_if_error"):
        before, after = getattr(less, name), getattr(more, name)
        assert before is None or after <= before
