from __future__ import annotations

from dataclasses import replace

import pytest
from cache_driver import HOST, plain_exchange
from hypothesis import given
from hypothesis import strategies as st

from launchkit.pipeline.effects import StoredResponse
from launchkit.pipeline.exchange import Header
from launchkit.read_cache.key import MAX_VARIANTS, cache_key, select_variant, varied_by, with_variant

STORED = StoredResponse(200, (), b"", stored=0, fresh_until=1, stale_until=2)

text = st.sampled_from([b"", b"a", b"1:a", b"0:", b"a0:", b"https"]) | st.binary(max_size=6)
path = text.map(lambda raw: b"/" + raw.replace(b"?", b""))
keyed = st.sampled_from([b"host", b"origin", b"x-forwarded-proto", b"x-forwarded-port", b"hx-request"])
requests = st.tuples(st.sampled_from(["http", "https"]), path, text, st.lists(st.tuples(keyed, text), max_size=3))


def identity(scheme: str, target: bytes, query: bytes, headers: list[Header]) -> object:
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value.lower() if name == b"host" else value)
    return scheme, target, query, values


def key_of(scheme: str, target: bytes, query: bytes, headers: list[Header]) -> bytes:
    return cache_key(plain_exchange(target + b"?" + query, headers, scheme=scheme))


@given(requests, requests)
def test_two_resources_never_share_a_key(one: tuple, other: tuple) -> None:
    """RFC 9111 section 2: the key is at least the target URI, and here whatever else makes content."""
    assert (key_of(*one) == key_of(*other)) == (identity(*one) == identity(*other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((b"/items/1", "https"), (b"/items/1", "http")),
        ((b"/items/1", "https"), (b"/items/2", "https")),
        ((b"/items/1", "https"), (b"/items/1/", "https")),
        ((b"/items/1", "https"), (b"//items/1", "https")),
        ((b"/items/%2f", "https"), (b"/items//", "https")),
        ((b"/items/1?a=1", "https"), (b"/items/1?a=2", "https")),
        ((b"/items/1?a", "https"), (b"/items/1a", "https")),
    ],
)
def test_spelling_matters(one: tuple[bytes, str], other: tuple[bytes, str]) -> None:
    """RFC 9111 section 2: nothing is normalised that an app might tell apart."""
    assert cache_key(plain_exchange(one[0], scheme=one[1])) != cache_key(plain_exchange(other[0], scheme=other[1]))


def test_host_is_compared_without_case() -> None:
    """RFC 9110 section 4.2.3: the host of a URI has no case."""
    assert cache_key(plain_exchange(b"/", [(b"host", b"A.Example")])) == cache_key(
        plain_exchange(b"/", [(b"host", b"a.example")])
    )


def test_other_headers_are_no_part_of_the_key() -> None:
    """RFC 9111 section 4.1: they select variants, where Vary names them."""
    assert cache_key(plain_exchange(b"/", [HOST, (b"accept", b"text/html")])) == cache_key(plain_exchange(b"/"))


def test_several_lines_of_a_header_are_one_value() -> None:
    """RFC 9111 section 4.1: lines may be combined before they are compared."""
    lines = plain_exchange(b"/", [(b"accept", b"a "), (b"accept", b"b")])
    assert varied_by(lines, (b"accept", b"accept-language")) == (b"a,b", None)


def test_cookies_and_authorization_never_tell_variants_apart() -> None:
    """A request that gets this far has none that the app is shown."""
    assert varied_by(plain_exchange(b"/", [(b"cookie", b"_ga=1")]), (b"authorization", b"cookie")) == (None, None)


def test_a_variant_answers_the_requests_it_was_selected_by() -> None:
    """RFC 9111 section 4.1: every header that Vary names must match; absent matches absent only."""
    german = replace(STORED, vary=(b"accept-language",), varied=(b"de",), body=b"hallo")
    silent = replace(german, varied=(None,), body=b"...")
    variants = (german, silent)
    assert select_variant(variants, plain_exchange(b"/", [(b"accept-language", b"de")])) is german
    assert select_variant(variants, plain_exchange(b"/")) is silent
    assert select_variant(variants, plain_exchange(b"/", [(b"accept-language", b"fr")])) is None


def test_of_two_variants_that_fit_the_newer_one_answers() -> None:
    """RFC 9111 section 4.1: the most recent of several that match."""
    newer = replace(STORED, vary=(b"accept",), varied=(None,))
    assert select_variant(with_variant((STORED,), newer), plain_exchange(b"/")) is newer


def test_a_new_variant_takes_the_place_of_its_predecessor() -> None:
    """RFC 9111 section 4: one answer for one kind of request."""
    other = replace(STORED, vary=(b"accept",), varied=(b"x",))
    newer = replace(STORED, body=b"newer")
    assert with_variant((STORED, other), newer) == (newer, other)


def test_variants_of_a_key_are_bounded() -> None:
    """A client that makes up header values fills one key, not the memory; the oldest variants go."""
    variants: tuple[StoredResponse, ...] = ()
    for number in range(100):
        variants = with_variant(variants, replace(STORED, vary=(b"accept",), varied=(b"%d" % number,)))
    assert [one.varied for one in variants] == [(b"%d" % number,) for number in range(99, 99 - MAX_VARIANTS, -1)]
