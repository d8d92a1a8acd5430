"""Passwords and tokens before the host of a URL (RFC 3986 section 3.2.1), also where an app forgot to escape them.

What follows `://` is looked at up to white space, a quote or the next `://`, so that every character is looked at once
or twice, however many there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from launchkit.redaction.found import MARKER, Found
from launchkit.redaction.placeholders import stands_for_secret
from launchkit.redaction.shapes import has_digit

_LONGEST: Final = 4096
_SHORTEST_TOKEN: Final = 20
_END: Final = re.compile(r"[\s\"'<>`\\]|[)\]}|],|[,;](?=\s|\Z)")
_AFTER_HOST: Final = re.compile(r"[/?#]")
_PORT: Final = re.compile(r"\d{1,5}(?:[/?#,;)]|\Z)")
_IS_TOKEN: Final = re.compile(r"[\w.~%+-]+")
_CAPITAL_INSIDE: Final = re.compile("[a-z][A-Z]")
_MOST_WORDS: Final = 3
_NO_PASSWORD: Final = ("x-oauth-basic", "x-access-token", "")


def find_userinfo(text: str) -> Iterator[Found]:
    """Find passwords in URLs, and tokens in place of their users."""
    starts = [match.end() for match in re.finditer("://", text)]
    for start, limit in zip(starts, [*starts[1:], len(text)], strict=True):
        end = min(limit, start + _LONGEST)
        stop = _END.search(text, start, end)
        region = text[start : stop.start() if stop else end]
        if "@" in region:
            yield from _in_region(region, start)


def _in_region(region: str, offset: int) -> Iterator[Found]:
    path = _AFTER_HOST.search(region)
    end = region.rfind("@", 0, path.start() if path else len(region))
    if end < 0:  # a password with an unescaped slash, or an @ in the path
        end = region.find("@")
        if path is None or ":" not in region[: path.start()]:
            return
    known = MARKER.match(region)  # a token that is hidden already, with a colon in its marker
    user, colon, password = (known[0], ":", region[known.end() + 1 : end]) if known else region[:end].partition(":")
    if _PORT.match(password):
        return
    if password not in _NO_PASSWORD and not stands_for_secret(password):
        yield Found(offset + len(user) + 1, offset + end, "url-password", "password in a URL")
    elif (not colon or password in _NO_PASSWORD) and _is_token(user):
        yield Found(offset, offset + len(user), "url-token", "token in place of a URL's user")


def _is_token(user: str) -> bool:
    return (
        len(user) >= _SHORTEST_TOKEN
        and (has_digit(user) or len(_CAPITAL_INSIDE.findall(user)) > _MOST_WORDS)
        and "%40" not in user
        and _IS_TOKEN.fullmatch(user) is not None
    )
