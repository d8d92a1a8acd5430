from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchkit.read_cache.directives import LONGEST, Directives
from launchkit.read_cache.targeted import parse_targeted, targeted_directives

OURS, ANY = b"launchkit-cache-control", b"cdn-cache-control"

LOWER, DIGITS = "abcdefghijklmnopqrstuvwxyz", "0123456789"
keys = st.builds("".join, st.tuples(st.sampled_from(LOWER + "*"), st.text(LOWER + DIGITS + "_-.*", max_size=8)))
tokens = st.builds("".join, st.tuples(st.sampled_from(LOWER + "ABC*"), st.text(LOWER + DIGITS + "!#$%&'*+-.^_`|~:/")))
strings = st.text([chr(code) for code in range(0x20, 0x7F)], max_size=10).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
integers = st.integers(-(10**15) + 1, 10**15 - 1).map(str)
decimals = st.tuples(st.integers(-(10**12) + 1, 10**12 - 1), st.text(DIGITS, min_size=1, max_size=3)).map(
    lambda parts: f"{parts[0]}.{parts[1]}"
)
binaries = st.text(LOWER + DIGITS + "+/=", max_size=8).map(":{}:".format)
items = st.one_of(tokens, strings, integers, decimals, binaries, st.sampled_from(["?0", "?1"]))
parameters = st.lists(st.tuples(keys, st.none() | items), max_size=2).map(
    lambda pairs: "".join(f"; {key}" if value is None else f";{key}={value}" for key, value in pairs)
)
inner_lists = st.lists(st.tuples(items, parameters).map("".join), max_size=3).map(
    lambda members: "( " + "  ".join(members) + " )" if members else "()"
)
members = st.tuples(keys, st.none() | items | inner_lists, parameters).map(
    lambda parts: parts[0] + ("" if parts[1] is None else "=" + parts[1]) + parts[2]
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"none", Directives()),
        (b"max-age=60", Directives(max_age=60)),
        (b"max-age=060", Directives(max_age=60)),
        (b"max-age=60, no-store", Directives(max_age=60, no_store=True)),
        (b'no-cache="a, b"', Directives(no_cache=True)),
        (b"private,must-revalidate", Directives(private=True, must_revalidate=True)),
        (b"proxy-revalidate", Directives(must_revalidate=True)),
        (b"public, must-understand=?1", Directives(public=True, must_understand=True)),
        (b"s-maxage=1;x=2 , stale-while-revalidate=3", Directives(s_maxage=1, stale_while_revalidate=3)),
        (b"  foobar=(a b);c, stale-if-error=4 ", Directives(stale_if_error=4)),
        (b"max-age=99999999999", Directives(max_age=LONGEST)),
    ],
)
def test_directives_mean_what_they_do_in_cache_control(value: bytes, expected: Directives) -> None:
    """RFC 9213 section 2.2: semantics are those of Cache-Control, and unknown directives are ignored."""
    assert parse_targeted([value]) == expected


@pytest.mark.parametrize(
    "value", [b'max-age="10000"', b"max-age=1.5", b"max-age=-1", b"max-age", b"max-age=a", b"max-age=(1)"]
)
def test_a_time_of_the_wrong_type_is_no_time(value: bytes) -> None:
    """RFC 9213 section 2.1: such a value is not to be used; by RFC 9111 section 4.2.1 that leaves it stale."""
    assert parse_targeted([value]) == Directives(max_age=0)


def test_a_directive_that_allows_something_needs_to_be_true() -> None:
    """RFC 9213 section 2.1: a directive without argument is a Boolean; in doubt restrictively."""
    assert parse_targeted([b'public=?0, must-understand="x"']) == Directives()
    assert parse_targeted([b"no-store=?0, private=1"]) == Directives(no_store=True, private=True)


@pytest.mark.parametrize(
    "value",
    [
        b"max-age=10000, &&&&&",
        b"max-age =100",
        b"max-age= 100",
        b"MaX-aGe=100",
        b"max-age=100,",
        b"max-age=100, ",
        b",max-age=100",
        b"max-age=100,,no-store",
        b"max-age=100 no-store",
        b"max-age=100; no-store; ",
        b"max-age=100 ;a",
        b"max-age=1000000000000000",
        b"max-age=1.",
        b"max-age=1.2345",
        b"max-age=1234567890123.0",
        b"max-age='100'",
        b'max-age=100, a="x',
        b'max-age=100, a="\x7f"',
        b'max-age=100, a="\\x"',
        b"max-age=100, a=\xe9",
        b"max-age=100, a=?2",
        b"max-age=100, a=:x",
        b"max-age=100, a=@1",
        b"max-age=100, a=(b",
        b"max-age=100, a=(1b)",
        b"\tmax-age=100",
        b"1=2",
    ],
)
def test_a_field_with_any_mistake_counts_as_absent(value: bytes) -> None:
    """RFC 9213 section 2.1: on a parsing error the field is ignored (RFC 8941 section 4.2.2)."""
    assert parse_targeted([value]) is None


@pytest.mark.parametrize("values", [[b""], [b"   "]])
def test_an_empty_field_counts_as_absent(values: list[bytes]) -> None:
    """RFC 9213 section 2.1: an empty field is ignored."""
    assert parse_targeted(values) is None


def test_several_lines_are_one_dictionary() -> None:
    """RFC 8941 section 4.2: lines are joined; a key given again replaces the earlier one (section 3.2)."""
    assert parse_targeted([b"max-age=5, public", b"max-age=60"]) == Directives(max_age=60, public=True)
    assert parse_targeted([b"max-age=5", b"&"]) is None


def test_the_best_valid_field_counts_alone() -> None:
    """RFC 9213 section 2.2: the first one in the order of the list; the others are not mixed in."""
    fields = {ANY: [b"max-age=5, no-store"], OURS: [b"max-age=9"]}
    assert targeted_directives(fields, (OURS, ANY)) == Directives(max_age=9)
    assert targeted_directives(fields, (ANY, OURS)) == Directives(max_age=5, no_store=True)
    assert targeted_directives(fields | {OURS: [b"max-age = 9"]}, (OURS, ANY)) == Directives(max_age=5, no_store=True)
    assert targeted_directives(fields, (b"other-cache-control",)) is None
    assert targeted_directives(fields, ()) is None


@given(st.lists(members, min_size=1, max_size=4), st.sampled_from([",", ", ", " ,\t"]), st.integers(0, 10**15 - 1))
def test_every_dictionary_is_accepted(others: list[str], separator: str, seconds: int) -> None:
    """RFC 8941 section 3.2: every kind of member may stand beside the directives."""
    value = separator.join([*others, f"max-age={seconds}"]).encode()
    read = parse_targeted([value])
    assert read is not None
    assert read.max_age == min(seconds, LONGEST)


@given(st.lists(members, min_size=1, max_size=3), st.sampled_from(["&", "A=1", "a=", "a b", "a=1.", 'a="', "", "a=(1"]))
def test_one_broken_member_breaks_the_dictionary(others: list[str], broken: str) -> None:
    """RFC 8941 section 4.2: parsing fails as a whole."""
    assert parse_targeted([", ".join([*others, broken]).encode()]) is None
    assert parse_targeted([", ".join([broken, *others]).encode()]) is None


@given(st.lists(st.binary(max_size=60), max_size=3))
def test_no_bytes_break_the_parser(values: list[bytes]) -> None:
    """RFC 9213 section 2.1: whatever an app sends is valid or ignored."""
    assert isinstance(parse_targeted(values), Directives | None)
