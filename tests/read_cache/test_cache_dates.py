from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchkit.read_cache.dates import unix_time

EXAMPLE = 784_111_777
SHORT_DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
LONG_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


@pytest.mark.parametrize(
    "value", [b"Sun, 06 Nov 1994 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994"]
)
def test_the_three_formats_are_the_same_moment(value: bytes) -> None:
    """RFC 9110 section 5.6.7: a recipient accepts all three."""
    assert unix_time(value) == EXAMPLE


@given(st.integers(-62_135_596_800, 253_402_300_799))
def test_the_preferred_format_is_read_for_all_years(seconds: int) -> None:
    """RFC 9110 section 5.6.7: years have four digits."""
    day = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    text = f"{SHORT_DAYS[day.weekday()]}, {day.day:02} {MONTHS[day.month - 1]} {day.year:04} {day:%H:%M:%S} GMT"
    assert unix_time(text.encode()) == seconds


@given(st.integers(0, 3_155_759_999))
def test_the_obsolete_formats_are_read(seconds: int) -> None:
    """RFC 9110 section 5.6.7: RFC 850, whose years lie between 1970 and 2069 here, and asctime()."""
    day = datetime.fromtimestamp(seconds, UTC)
    month = MONTHS[day.month - 1]
    rfc_850 = f"{LONG_DAYS[day.weekday()]}, {day.day:02}-{month}-{day.year % 100:02} {day:%H:%M:%S} GMT"
    assert unix_time(rfc_850.encode()) == seconds
    assert unix_time(time.asctime(time.gmtime(seconds)).encode()) == seconds


@given(st.integers(0, 99))
def test_no_year_of_two_digits_lies_more_than_50_years_ahead(year: int) -> None:
    """RFC 9110 section 5.6.7: such a year means the past; seen from 2020 and any later year."""
    read = unix_time(b"Monday, 01-Jan-%02d 00:00:00 GMT" % year)
    assert read is not None
    assert read < datetime(2070, 1, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "value", [b"SUN, 06 nov 1994 08:49:37 gMT", b" Sun, 06 Nov 1994 08:49:37 GMT\t", b"sun nov  6 08:49:37 1994"]
)
def test_case_and_space_around_do_not_matter(value: bytes) -> None:
    """RFC 9111 section 4.2: a cache ought to compare without case; RFC 9110 section 5.5: space around is no value."""
    assert unix_time(value) == EXAMPLE


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"0",
        b"-1",
        b"never",
        b"1994-11-06T08:49:37Z",
        b"Sun, 06 Nov 1994",
        b"Sun, 06 Nov 1994 08:49 GMT",
        b"Sun, 06 Nov 1994 08:49:37",
        b"Sun, 06 Nov 1994 08:49:37 UTC",
        b"Sun, 06 Nov 1994 08:49:37 AEST",
        b"Sun, 06 Nov 1994 08:49:37 +0000",
        b"Sun, 06 Nov 94 08:49:37 GMT",
        b"Sun 06 Nov 1994 08:49:37 GMT",
        b"Sun, 06  Nov  1994 08:49:37 GMT",
        b"Sun, 06-Nov-1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 08.49.37 GMT",
        b"Sun, 06 Nov 1994 8:49:37 GMT",
        b"Sun, 6 Nov 1994 08:49:37 GMT",
        b"Sun, 31 Jun 1994 08:49:37 GMT",
        b"Sun, 06 Nov 0000 08:49:37 GMT",
        b"Sun, 06 Nov 1994 24:00:00 GMT",
        b"Sun, 06 Nov 1994 08:60:00 GMT",
        b"Sun, 06 Foo 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:38 GMT",
        b"Sun Nov 6 08:49:37 1994",
        "Sun, 0\u0666 Nov 1994 08:49:37 GMT".encode(),
    ],
)
def test_anything_else_is_no_date(value: bytes) -> None:
    """RFC 9111 sections 4.2 and 5.3: an invalid format, or a zone other than GMT, is not guessed at."""
    assert unix_time(value) is None


def test_a_leap_second_is_a_time() -> None:
    """RFC 9110 section 5.6.7: a second may be 60."""
    assert unix_time(b"Sat, 31 Dec 2016 23:59:60 GMT") == unix_time(b"Sun, 01 Jan 2017 00:00:00 GMT")


@pytest.mark.parametrize("seconds", [2**31, 9_999_999_999])
def test_dates_reach_beyond_32_bits(seconds: int) -> None:
    """RFC 9110 section 5.6.7: years have four digits."""
    assert unix_time(formatdate(seconds, usegmt=True).encode()) == seconds


@given(st.binary(max_size=60) | st.from_regex(rb"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", fullmatch=True))
def test_no_bytes_break_the_parser(value: bytes) -> None:
    """RFC 9110 section 5.6.7: whatever is sent is a date or none."""
    assert isinstance(unix_time(value), int | None)
