from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.exchanges import WrittenExchange

from launchkit.pipeline.effects import StoredResponse
from launchkit.pipeline.exchange import Header
from launchkit.read_cache.conditions import entity_tag, is_held, not_modified

MODIFIED = 1_700_000_000


def http_date(seconds: float) -> bytes:
    return formatdate(MODIFIED + seconds, usegmt=True).encode()


def stored(*headers: Header, status: int = 200) -> StoredResponse:
    return StoredResponse(status, headers, b"hello", 0, 60, 60, 60)


def held(response: StoredResponse, *headers: Header) -> bool:
    return is_held(response, WrittenExchange(headers=headers))


class TestIfNoneMatch:
    @pytest.mark.parametrize("tag", [b'"abc"', b'W/"abc"'])
    @pytest.mark.parametrize(
        "condition",
        [
            b'"abc"',
            b'W/"abc"',
            b' "abc"\t',
            b'"abc", "1", "2"',
            b'"1","abc","2"',
            b'"1", "2" , W/"abc"',
            b"*",
            b'"a,b", "abc"',
        ],
    )
    def test_the_same_tag_is_held(self, tag: bytes, condition: bytes) -> None:
        """RFC 9110 sections 8.8.3.2 and 13.1.2: weak comparison, with any of several tags."""
        assert held(stored((b"etag", tag)), (b"if-none-match", condition))

    @pytest.mark.parametrize(
        "condition",
        [
            b"",
            b'"ABC"',
            b'"abcd"',
            b"abc",
            b'abc"',
            b"'abc'",
            b'w/"abc"',
            b'W"abc"',
            b'W\\"abc"',
            b'"abc" "1"',
            b'x"abc"',
            b'"1, "abc"x',
            b"**",
        ],
    )
    def test_another_or_malformed_tag_is_not(self, condition: bytes) -> None:
        """RFC 9110 section 8.8.3: a tag has quotes, and its characters are compared one by one."""
        assert not held(stored((b"etag", b'"abc"')), (b"if-none-match", condition))

    @pytest.mark.parametrize("tag", [b"abc", b'w/"abc"', b'"a b"', b'"abc', b'"a", "abc"', b""])
    def test_a_malformed_stored_tag_matches_nothing(self, tag: bytes) -> None:
        """RFC 9110 section 8.8.3: it names nothing."""
        response = stored((b"etag", tag))
        assert entity_tag(response) is None
        assert not held(response, (b"if-none-match", tag))
        assert not held(response, (b"if-none-match", b'"abc"'))

    def test_lines_are_one_list(self) -> None:
        """RFC 9110 section 5.3: each line has members of the list."""
        assert held(stored((b"etag", b'"abc"')), (b"if-none-match", b'"1"'), (b"if-none-match", b'"abc"'))

    def test_bytes_beyond_ascii_are_compared_as_they_are(self) -> None:
        """RFC 9110 section 8.8.3: obs-text is allowed in a tag."""
        response = stored((b"etag", '"abcdefü"'.encode()))
        assert held(response, (b"if-none-match", '"abcdefü"'.encode()))
        assert not held(response, (b"if-none-match", '"abcdefü"'.encode("latin-1")))

    def test_whatever_is_there_is_held_by_a_star(self) -> None:
        """RFC 9110 section 13.1.2: `*` asks whether there is anything."""
        assert held(stored(), (b"if-none-match", b" * "))
        assert not held(stored(), (b"if-none-match", b'"abc"'))

    @pytest.mark.parametrize("status", [203, 301, 404])
    def test_only_a_200_is_held(self, status: int) -> None:
        """RFC 9110 section 13.2.1: conditions do not apply to other answers."""
        response = stored((b"etag", b'"abc"'), (b"last-modified", http_date(0)), status=status)
        assert not held(response, (b"if-none-match", b'"abc"'))
        assert not held(response, (b"if-modified-since", http_date(0)))

    def test_it_decides_alone(self) -> None:
        """RFC 9110 section 13.2.2: with If-None-Match, If-Modified-Since is ignored."""
        response = stored((b"etag", b'"abc"'), (b"last-modified", http_date(0)))
        assert not held(response, (b"if-none-match", b'"other"'), (b"if-modified-since", http_date(0)))
        assert held(response, (b"if-none-match", b'"abc"'), (b"if-modified-since", http_date(-9)))

    @given(st.binary(max_size=40), st.binary(max_size=40))
    def test_no_bytes_break_the_comparison(self, tag: bytes, condition: bytes) -> None:
        """RFC 9110 section 13.1.2: whatever is sent is held or not, and the held tag stands in the condition."""
        is_same = held(stored((b"etag", tag)), (b"if-none-match", condition))
        assert not is_same or condition.strip() == b"*" or tag.strip().removeprefix(b"W/") in condition


class TestIfModifiedSince:
    @pytest.mark.parametrize(("since", "expected"), [(0, True), (1, True), (10**6, True), (-1, False)])
    def test_it_is_compared_with_last_modified(self, since: int, expected: bool) -> None:
        """RFC 9110 section 13.1.3: held unless modified after that date."""
        response = stored((b"last-modified", http_date(0)), (b"date", http_date(500)))
        assert held(response, (b"if-modified-since", http_date(since))) is expected

    @pytest.mark.parametrize(("since", "expected"), [(500, True), (499, False)])
    def test_without_it_with_date(self, since: int, expected: bool) -> None:
        """RFC 9111 section 4.3.2: Date stands in for Last-Modified."""
        for headers in ([], [(b"last-modified", b"0")]):
            response = stored(*headers, (b"date", http_date(500)))
            assert held(response, (b"if-modified-since", http_date(since))) is expected

    def test_other_formats_are_dates_too(self) -> None:
        """RFC 9110 section 5.6.7: the obsolete formats are accepted."""
        response = stored((b"last-modified", b"Tue, 14 Nov 2023 22:13:20 GMT"))
        assert held(response, (b"if-modified-since", b"Tuesday, 14-Nov-23 22:13:20 GMT"))

    def test_what_cannot_be_compared_is_not_held(self) -> None:
        """RFC 9110 section 13.1.3: an invalid date is ignored, and so are several."""
        response = stored((b"last-modified", http_date(0)))
        assert not held(response)
        assert not held(response, (b"if-modified-since", b"now"))
        assert not held(response, (b"if-modified-since", http_date(0)), (b"if-modified-since", http_date(0)))
        assert not held(stored(), (b"if-modified-since", http_date(0)))
        twice = stored((b"last-modified", http_date(0)), (b"last-modified", http_date(1)))
        assert not held(twice, (b"if-modified-since", http_date(9)))


def test_a_304_carries_what_does_not_describe_a_body() -> None:
    """RFC 9110 section 15.4.5."""
    kept = (
        (b"etag", b'"a"'),
        (b"date", http_date(0)),
        (b"vary", b"origin"),
        (b"cache-control", b"max-age=1"),
        (b"expires", http_date(9)),
        (b"content-location", b"/a"),
        (b"last-modified", http_date(-9)),
        (b"content-security-policy", b"default-src 'self'"),
        (b"age", b"3"),
    )
    names = (
        b"content-digest",
        b"content-encoding",
        b"content-language",
        b"content-length",
        b"content-md5",
        b"content-range",
        b"content-type",
    )
    assert not_modified([*((name, b"x") for name in names), *kept]) == kept
