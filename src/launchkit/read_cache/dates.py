"""Dates in HTTP headers (RFC 9110 section 5.6.7).

The rules:

- All three formats are read: `Sun, 06 Nov 1994 08:49:37 GMT`, the obsolete one of RFC 850 and that of C's asctime().
- Letters are compared without case, and nothing but GMT is a time zone (RFC 9111 section 4.2).
- Anything else is no date: an invalid Expires lies in the past (RFC 9111 section 5.3), and a condition with an invalid
  date is ignored (RFC 9110 section 13.1.3). To guess what was meant would keep a response fresh that may not be.
- A year of two digits lies between 1970 and 2069, so that none is read as more than 50 years ahead.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final

_MONTHS: Final = tuple(b"jan feb mar apr may jun jul aug sep oct nov dec".split())
_DAY = rb"(?:mon|tue|wed|thu|fri|sat|sun)"
_LONG_DAY = rb"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_MONTH = rb"(?P<month>" + b"|".join(_MONTHS) + rb")"
_TIME = rb"(?P<hour>[01]\d|2[0-3]):(?P<minute>[0-5]\d):(?P<second>[0-5]\d|60)"  # 60 is a leap second
_FORMATS: Final = (
    re.compile(_DAY + rb", (?P<day>\d\d) " + _MONTH + rb" (?P<year>\d{4}) " + _TIME + rb" gmt"),
    re.compile(_LONG_DAY + rb", (?P<day>\d\d)-" + _MONTH + rb"-(?P<year>\d\d) " + _TIME + rb" gmt"),
    re.compile(_DAY + rb" " + _MONTH + rb" (?P<day>[ \d]\d) " + _TIME + rb" (?P<year>\d{4})"),
)
_EPOCH: Final = date(1970, 1, 1).toordinal()


def unix_time(value: bytes) -> int | None:
    """Return the seconds since 1970 that an HTTP date stands for; None if it is none. Never raises."""
    text = value.strip().lower()
    found = next((match for form in _FORMATS if (match := form.fullmatch(text))), None)
    if found is None:
        return None
    try:
        day = date(_full_year(found["year"]), 1 + _MONTHS.index(found["month"]), int(found["day"]))
    except ValueError:  # the 31st of June, or the year 0
        return None
    minutes = 60 * int(found["hour"]) + int(found["minute"])
    return 86_400 * (day.toordinal() - _EPOCH) + 60 * minutes + int(found["second"])


def _full_year(digits: bytes) -> int:
    year = int(digits)
    if len(digits) > 2:
        return year
    return 1900 + year if year >= 70 else 2000 + year
