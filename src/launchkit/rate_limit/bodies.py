"""Request bodies read into names and values, as strictly as browsers and clients write them.

Parsers of forms differ in what they forgive, and a body that two of them read differently is how one account is shown
to a limit and another one to the app. So nothing is forgiven here: what is not written in the one usual way is refused,
and what is written so, every framework reads alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl

Pair = tuple[str, object]

_MOST_FIELDS: Final = 256
_LONGEST_TYPE: Final = 200
_BOM_AND_SPACE: Final = b" \t\r\n\xef\xbb\xbf\xff\xfe\x00"

_form_type = re.compile(
    rb"application/x-www-form-urlencoded\s*(?:;\s*charset=\"?utf-8\"?\s*)?", re.IGNORECASE
).fullmatch
_multipart_type = re.compile(
    rb"multipart/form-data\s*;\s*boundary=(\"?)([0-9A-Za-z_.+-]{1,70})\1\s*(?:;\s*charset=\"?utf-8\"?\s*)?",
    re.IGNORECASE,
).fullmatch
_disposition = re.compile(
    rb"content-disposition:[ \t]*form-data;[ \t]*name=(?:\"([^\"\\\r\n]*)\"|([A-Za-z0-9_.-]+))"
    rb"(;[ \t]*filename=\"[^\"\\\r\n]*\")?(?:;[ \t]*filename\*=[^;\"\\\r\n]*)?",
    re.IGNORECASE,
).fullmatch
_field_line = re.compile(rb"[!#-'*+.0-9A-Z^_`a-z|~-]+:[^\r\n]*").fullmatch
_foreign_charset = re.compile(rb"content-type:.*charset(?!=\"?(?:utf-8|us-ascii)\"?[ \t]*$)", re.IGNORECASE).match


class Unreadable(Exception):
    """Not written in a way that everybody reads alike."""


def body_pairs(content_type: bytes, body: bytes) -> list[Pair]:
    """Return the names and values of a body, duplicates included. Of nested JSON objects, those of all.

    JSON is read under any type, because apps do not insist on it.

    Raises:
        Unreadable: if it is neither JSON nor a form, or not plainly so.
        ValueError, RecursionError: if it is no valid JSON or not in UTF-8.
    """
    kind, boundary = _kind_of(content_type) if len(content_type) < _LONGEST_TYPE else ("", b"")
    if kind == "multipart":
        return list(_multipart_pairs(boundary, body))
    if body.lstrip(_BOM_AND_SPACE)[:1] in (b"{", b"["):
        return [*_json_pairs(body), *(form_pairs(body) if kind == "form" and body.isascii() else ())]
    if kind == "form":
        return form_pairs(body)
    if kind == "json":
        return _json_pairs(body)
    raise Unreadable


@lru_cache(maxsize=256)
def _kind_of(content_type: bytes) -> tuple[str, bytes]:
    """Return how a body of this type is written, and the boundary of a multipart one."""
    content_type = content_type.strip()
    if multipart := _multipart_type(content_type):
        return "multipart", multipart[2]
    if _form_type(content_type):
        return "form", b""
    media_type = content_type.partition(b";")[0].strip().lower()
    return ("json" if media_type == b"application/json" or media_type.endswith(b"+json") else ""), b""


def form_pairs(text: bytes) -> list[Pair]:
    """Return the pairs of `application/x-www-form-urlencoded` (https://url.spec.whatwg.org/#urlencoded-parsing).

    Raises:
        ValueError: if there are too many, or they are not in UTF-8, percent-encoded.
    """
    return list(parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS))


def _json_pairs(body: bytes) -> list[Pair]:
    """Return the members of every object in a JSON text (RFC 8259)."""
    found: list[Pair] = []
    waiting = [_decode(body.decode(json.detect_encoding(body), "surrogatepass"))]
    while waiting:
        value = waiting.pop()
        if isinstance(value, tuple):
            found += value
            waiting += [member for _, member in value if isinstance(member, (tuple, list))]
        elif isinstance(value, list):
            waiting += [item for item in value if isinstance(item, (tuple, list))]
    return found


_decode: Final[Callable[[str], object]] = json.JSONDecoder(object_pairs_hook=tuple).decode
"""Objects become tuples of their members: a dictionary would drop duplicates."""


def _multipart_pairs(boundary: bytes, body: bytes) -> Iterator[Pair]:
    """Return the parts of `multipart/form-data` (RFC 7578), which end where all parsers see them end."""
    delimiter = b"\r\n--" + boundary
    first, *parts, last = (b"\r\n" + body).split(delimiter, _MOST_FIELDS)
    if first or last not in (b"--", b"--\r\n") or body.count(delimiter[2:]) != len(parts) + 1:
        raise Unreadable
    for part in parts:
        yield from _part(part)


def _part(part: bytes) -> Iterator[Pair]:
    head, blank, value = part.partition(b"\r\n\r\n")
    before, *lines = head.split(b"\r\n")
    dispositions = [line for line in lines if line[:20].lower().startswith(b"content-disposition")]
    if before or not blank or len(dispositions) != 1 or not all(map(_field_line, lines)):
        raise Unreadable
    disposition = _disposition(dispositions[0])
    if disposition is None or (any(map(_foreign_charset, lines)) and not value.isascii()):
        raise Unreadable
    quoted, token, filename = disposition.groups()
    if filename is None:  # a part with one is a file to every framework
        yield (quoted or token or b"").decode(), value.decode()
