"""Header fields that speak to some caches only, in place of Cache-Control and Expires (RFC 9213).

The rules:

- The value is a Dictionary of RFC 8941, several lines of a field being one list (section 4.2). It is parsed as strictly
  as that asks: a field that breaks the syntax anywhere, or is empty, counts as absent (RFC 9213 section 2.1).
- Of the fields that a cache obeys, the first one that is present, valid and not empty counts, and alone (section 2.2).
- A key that is given twice counts as given last (RFC 8941 section 3.2); keys are in lower case. Parameters are ignored.
- A value of the wrong type is not used (RFC 9213 section 2.1). In doubt restrictively: a time that is no Integer, or a
  negative one, counts as 0; a directive that forbids something counts whatever its value; one that allows something
  only if its value is true.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from launchkit.read_cache.directives import Directives, whole_seconds

_KEY = rb"[a-z*][a-z0-9_.*-]*"
_ITEM = (
    rb"(?:-?[0-9]{1,12}\.[0-9]{1,3}"  # Decimal
    rb"|-?[0-9]{1,15}"  # Integer
    rb'|"(?:[ !#-\[\]-~]|\\["\\])*+"'  # String
    rb"|[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*+"  # Token
    rb"|:[A-Za-z0-9+/=]*+:"  # Byte Sequence
    rb"|\?[01])"  # Boolean
)
_PARAMETERS = rb"(?:; *+" + _KEY + rb"(?:=" + _ITEM + rb")?+)*+"
_INNER_LIST = rb"\( *+(?:" + _ITEM + _PARAMETERS + rb"(?: ++|(?=\))))*+\)"
_MEMBER = re.compile(
    rb"(" + _KEY + rb")(?:=(" + _ITEM + rb"|" + _INNER_LIST + rb"))?+" + _PARAMETERS + rb"[ \t]*+(?:,[ \t]*+(?!\Z)|\Z)"
)
"""One member of a Dictionary and the comma after it, which must not be the end (RFC 8941 section 4.2.2)."""

_TRUE = (b"", b"?1")


def targeted_directives(fields: Mapping[bytes, Sequence[bytes]], targets: Iterable[bytes]) -> Directives | None:
    """Return what the first valid one of the targeted fields says, or None if there is none.

    Args:
        fields: the values of each header of a response, by its name in lower case.
        targets: the names of the fields that are obeyed, in lower case, the best first.
    """
    for target in targets:
        if target in fields:
            directives = parse_targeted(fields[target])
            if directives is not None:
                return directives
    return None


def parse_targeted(values: Iterable[bytes]) -> Directives | None:
    """Read every line of one targeted field; None if it is empty or not valid. Never raises."""
    return _parse(b", ".join(values))


@lru_cache(maxsize=256)  # an app says few different things, again and again
def _parse(text: bytes) -> Directives | None:
    members = _dictionary(text)
    if not members:
        return None
    return Directives(
        no_store=b"no-store" in members,
        no_cache=b"no-cache" in members,
        private=b"private" in members,
        public=members.get(b"public") in _TRUE,
        must_understand=members.get(b"must-understand") in _TRUE,
        must_revalidate=b"must-revalidate" in members or b"proxy-revalidate" in members,
        max_age=_seconds(members, b"max-age"),
        s_maxage=_seconds(members, b"s-maxage"),
        stale_while_revalidate=_seconds(members, b"stale-while-revalidate"),
        stale_if_error=_seconds(members, b"stale-if-error"),
    )


def _dictionary(text: bytes) -> dict[bytes, bytes] | None:
    """Read a Dictionary: the value of each key as it stands there, empty where it is only implied; None if invalid."""
    members: dict[bytes, bytes] = {}
    position = len(text) - len(text.lstrip(b" "))
    while position < len(text):
        member = _MEMBER.match(text, position)
        if member is None:
            return None
        members[member[1]] = member[2] or b""
        position = member.end()
    return members


def _seconds(members: Mapping[bytes, bytes], name: bytes) -> int | None:
    value = members.get(name)
    return None if value is None else whole_seconds(value) or 0
