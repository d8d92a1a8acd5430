from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchkit.read_cache.directives import LONGEST, Directives, delta_seconds, parse_cache_control

DIRECTIVES = [
    b"no-store",
    b"no-cache",
    b'no-cache="set-cookie, x"',
    b"private",
    b'private="x"',
    b"must-revalidate",
    b"proxy-revalidate",
    b"public",
    b"max-age=60",
    b'MAX-AGE="30"',
    b"max-age=abc",
    b"s-maxage=10",
    b"S-MaxAge=0",
    b"stale-while-revalidate=20",
    b'x-extension="no-store, max-age=1"',
    b"immutable",
]
lists = st.lists(st.sampled_from(DIRECTIVES), max_size=6)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", Directives()),
        (b"no-store", Directives(no_store=True)),
        (b"No-Cache", Directives(no_cache=True)),
        (b"PRIVATE", Directives(private=True)),
        (b"must-revalidate", Directives(must_revalidate=True)),
        (b"proxy-revalidate", Directives(must_revalidate=True)),
        (b"public, max-age=60", Directives(max_age=60)),
        (b"max-age=60,s-maxage=10", Directives(max_age=60, s_maxage=10)),
        (b"max-age=1, stale-while-revalidate=30", Directives(max_age=1, stale_while_revalidate=30)),
    ],
)
def test_a_directive_is_read_without_case(value: bytes, expected: Directives) -> None:
    """RFC 9111 section 5.2: names of directives are compared without case."""
    assert parse_cache_control([value]) == expected


@pytest.mark.parametrize("value", [b'max-age="60"', b"max-age= 60", b"max-age =60", b" max-age=060 "])
def test_an_argument_may_be_quoted_and_spaced(value: bytes) -> None:
    """RFC 9111 section 5.2: a recipient ought to accept token and quoted-string form of an argument."""
    assert parse_cache_control([value]).max_age == 60


def test_of_two_times_the_shorter_counts() -> None:
    """RFC 9111 section 4.2.1: with conflicting values the most restrictive one is used."""
    assert parse_cache_control([b"max-age=60", b"max-age=5, max-age=100"]).max_age == 5


@pytest.mark.parametrize("value", [b"max-age", b"max-age=", b"max-age=soon", b"max-age=-5", b"max-age=1.5"])
def test_a_time_that_is_no_whole_number_is_zero(value: bytes) -> None:
    """RFC 9111 section 4.2.1: invalid freshness information is stale."""
    assert parse_cache_control([value]).max_age == 0


@pytest.mark.parametrize("digits", [b"2147483649", b"99999999999", b"9" * 10_000])
def test_a_time_too_large_to_hold_is_cut(digits: bytes) -> None:
    """RFC 9111 section 1.2.2: a value beyond the greatest that can be held counts as that one."""
    assert delta_seconds(digits) == LONGEST


def test_leading_zeros_do_not_make_a_time_large() -> None:
    """RFC 9111 section 1.2.2: a time is digits of any number."""
    assert delta_seconds(b"0" * 50 + b"7") == 7


def test_what_is_quoted_is_no_directive() -> None:
    """RFC 9110 section 5.6.4: a comma inside a quoted string separates nothing."""
    assert parse_cache_control([rb'x="no-store, \" private", max-age=3']) == Directives(max_age=3)


def test_a_quote_that_never_ends_hides_nothing() -> None:
    """In doubt restrictively: what follows a broken quote still counts."""
    assert parse_cache_control([b'x="oops, no-store']).no_store


@pytest.mark.parametrize("value", [b"max-age=30; no-store", b"no-store; max-age=30", b"max-age=30 no-store"])
def test_wrong_separators_never_make_a_response_fresh(value: bytes) -> None:
    """In doubt restrictively: a list that is none leaves no time."""
    read = parse_cache_control([value])
    assert read.no_store or read.max_age == 0


@given(st.lists(st.binary(max_size=80), max_size=4))
def test_no_bytes_break_the_parser(values: list[bytes]) -> None:
    """Whatever an app sends is read as something."""
    for seconds in (parse_cache_control(values).max_age, parse_cache_control(values).s_maxage):
        assert seconds is None or 0 <= seconds <= LONGEST


@given(lists, st.randoms())
def test_order_and_lines_mean_nothing(given_directives: list[bytes], random: object) -> None:
    """RFC 9110 section 5.3: several lines are one list, and a list of directives has no order."""
    shuffled = list(given_directives)
    random.shuffle(shuffled)
    assert parse_cache_control([b" , ".join(shuffled)]) == parse_cache_control(given_directives)


@given(lists, lists)
def test_a_further_directive_never_loosens(first: list[bytes], further: list[bytes]) -> None:
    """RFC 9111 section 4.2.1: the most restrictive counts, so more directives restrict as much or more."""
    less, more = parse_cache_control(first), parse_cache_control(first + further)
    assert more.no_store >= less.no_store
    assert more.no_cache >= less.no_cache
    assert more.private >= less.private
    assert more.must_revalidate >= less.must_revalidate
    for name in ("max_age", "s_maxage", "stale_while_revalidate"):
        before, after = getattr(less, name), getattr(more, name)
        assert before is None or after <= before
