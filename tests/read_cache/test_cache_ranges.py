from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.exchanges import WrittenExchange

from launchkit.pipeline.effects import StoredResponse
from launchkit.pipeline.exchange import Header
from launchkit.read_cache.ranges import Part, part_of

BODY = b"0123456789A"
MODIFIED = 1_700_000_000


def http_date(seconds: float) -> bytes:
    return formatdate(MODIFIED + seconds, usegmt=True).encode()


def stored(*headers: Header, status: int = 200, body: bytes = BODY) -> StoredResponse:
    return StoredResponse(status, headers, body, 0, 60, 60, 60)


def part(response: StoredResponse, *headers: Header, method: str = "GET") -> Part | None:
    return part_of(response, WrittenExchange(method, headers=headers))


@pytest.mark.parametrize(
    ("asked", "body", "range_"),
    [
        (b"bytes=0-1", b"01", b"bytes 0-1/11"),
        (b"bytes=1-", b"123456789A", b"bytes 1-10/11"),
        (b"bytes=-1", b"A", b"bytes 10-10/11"),
        (b"bytes=-11", BODY, b"bytes 0-10/11"),
        (b"bytes=-99", BODY, b"bytes 0-10/11"),
        (b"bytes=0-", BODY, b"bytes 0-10/11"),
        (b"bytes=10-99999999999", b"A", b"bytes 10-10/11"),
        (b"bytes=003-003", b"3", b"bytes 3-3/11"),
        (b"BYTES = 2 - 3 ", b"23", b"bytes 2-3/11"),
    ],
)
def test_one_range_is_cut_out(asked: bytes, body: bytes, range_: bytes) -> None:
    """RFC 9110 sections 14.1.2 and 15.3.7: from first to last byte, to the end, or so many from the end."""
    assert part(stored(), (b"range", asked)) == Part(206, body, ((b"content-range", range_),))


@pytest.mark.parametrize("asked", [b"bytes=11-", b"bytes=11-12", b"bytes=-0", b"bytes=99999999999-"])
def test_a_range_beyond_the_end_cannot_be_satisfied(asked: bytes) -> None:
    """RFC 9110 section 15.5.17: 416 says how long the whole is."""
    assert part(stored(), (b"range", asked)) == Part(416, b"", ((b"content-range", b"bytes */11"),))


def test_nothing_has_no_parts_but_its_whole_end() -> None:
    """RFC 9110 section 14.1.2: a suffix of no bytes can be satisfied, but no Content-Range could say so."""
    empty = stored(body=b"")
    unsatisfied = Part(416, b"", ((b"content-range", b"bytes */0"),))
    assert part(empty, (b"range", b"bytes=0-")) == unsatisfied
    assert part(empty, (b"range", b"bytes=-0")) == unsatisfied
    assert part(empty, (b"range", b"bytes=-5")) is None


@pytest.mark.parametrize(
    "asked",
    [
        b"",
        b"bytes",
        b"bytes=",
        b"bytes=-",
        b"bytes=5",
        b"bytes=5-4",
        b"bytes=a-b",
        b"bytes=0-1,3-4",
        b"bytes=0-1,",
        b"bytes=-1-",
        b"bytes=0-1x",
        b"bytes=0x1-2",
        b"bytes=+1-2",
        b"items=0-1",
        b"xbytes=0-1",
        b"bytes=" + b"9" * 5_000 + b"-",
        "bytes=\u0661-".encode(),
    ],
)
def test_what_is_not_one_range_of_bytes_is_ignored(asked: bytes) -> None:
    """RFC 9110 section 14.2: a server may ignore Range, and must where it is malformed."""
    assert part(stored(), (b"range", asked)) is None


def test_only_a_get_of_a_200_has_parts() -> None:
    """RFC 9110 section 14.2: Range is defined for GET, and for what would be a 200."""
    asked = (b"range", b"bytes=0-1")
    assert part(stored()) is None
    assert part(stored(), asked, method="HEAD") is None
    assert part(stored(status=404), asked) is None
    assert part(stored(), asked, asked) is None


class TestIfRange:
    @pytest.mark.parametrize(
        ("tag", "condition", "is_same"),
        [
            (b'"a"', b'"a"', True),
            (b'"a"', b' "a" ', True),
            (b'"a"', b'"b"', False),
            (b'"a"', b'W/"a"', False),
            (b'W/"a"', b'W/"a"', False),
            (b'W/"a"', b'"a"', False),
            (b"a", b"a", False),
            (b'"a b"', b'"a b"', False),
            (b'"a"', b"", False),
        ],
    )
    def test_tags_are_compared_strongly(self, tag: bytes, condition: bytes, is_same: bool) -> None:
        """RFC 9110 section 13.1.5: a weak tag does not say that the bytes are the same."""
        found = part(stored((b"etag", tag)), (b"range", b"bytes=0-1"), (b"if-range", condition))
        assert (found is not None) is is_same

    @pytest.mark.parametrize(("seconds", "is_same"), [(0, True), (-1, False), (1, False)])
    def test_a_date_has_to_be_the_same(self, seconds: int, is_same: bool) -> None:
        """RFC 9110 section 13.1.5: an exact match with Last-Modified, not a comparison."""
        response = stored((b"last-modified", http_date(0)), (b"date", http_date(60)))
        found = part(response, (b"range", b"bytes=0-1"), (b"if-range", http_date(seconds)))
        assert (found is not None) is is_same

    @pytest.mark.parametrize("headers", [[], [(b"date", http_date(0))], [(b"date", b"now")]])
    def test_a_date_that_may_stand_for_two_versions_is_none(self, headers: list[Header]) -> None:
        """RFC 9110 section 8.8.2.2: within one second a resource may have been modified twice."""
        response = stored((b"last-modified", http_date(0)), *headers)
        assert part(response, (b"range", b"bytes=0-1"), (b"if-range", http_date(0))) is None

    def test_several_conditions_are_none_that_holds(self) -> None:
        """RFC 9110 section 13.1.5: If-Range has one value."""
        condition = (b"if-range", b'"a"')
        assert part(stored((b"etag", b'"a"')), (b"range", b"bytes=0-1"), condition, condition) is None


@given(st.binary(max_size=30), st.integers(0, 30), st.integers(0, 30), st.sampled_from(["both", "first", "last"]))
def test_a_part_is_what_its_content_range_says(body: bytes, first: int, last: int, form: str) -> None:
    """RFC 9110 section 14.4: the bytes from the first to the last position, of so many."""
    wanted = {"both": b"%d-%d" % (first, last), "first": b"%d-" % first, "last": b"-%d" % last}[form]
    found = part(stored(body=body), (b"range", b"bytes=" + wanted))
    if found is not None and found.status == 206:
        position, _, size = found.headers[0][1].removeprefix(b"bytes ").partition(b"/")
        begin, end = map(int, position.split(b"-"))
        assert int(size) == len(body)
        assert found.body == body[begin : end + 1] != b""


@given(st.binary(max_size=30).map(b"bytes=".__add__) | st.binary(max_size=30), st.binary(max_size=30))
def test_no_bytes_break_the_parser(asked: bytes, condition: bytes) -> None:
    """RFC 9110 section 14.2: whatever is sent is a part, no part, or ignored."""
    response = stored((b"etag", b'"a"'))
    assert isinstance(part(response, (b"range", asked), (b"if-range", condition)), Part | None)
    found = part(response, (b"range", asked))
    assert found is None or found.status in (206, 416)
