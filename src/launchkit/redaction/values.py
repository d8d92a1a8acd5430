"""What is secret in the value of a secret key, and what only looks like it.

A value that stands for a secret (`***`, `${TOKEN}`), or says something about one (`required`), is none. A doubtful
key's value has to look random.
"""

from __future__ import annotations

import re
from typing import Final

from launchkit.redaction.found import MARKER, marker
from launchkit.redaction.keys import AUTHORIZATION, COOKIE, Kind
from launchkit.redaction.placeholders import is_ordinary, is_placeholder

LONGEST_UNCERTAIN: Final = 512
"""Characters without white space that a doubtful value may have before it counts as secret whatever it looks like."""

AUTHORIZATION_SCHEMES: Final = (
    "Basic", "Bearer", "Digest", "DPoP", "GNAP", "Hawk", "HOBA", "Mutual", "Negotiate", "NTLM", "OAuth", "SCRAM-SHA-1",
    "SCRAM-SHA-256", "vapid", "Token", "ApiKey", "Api-Key", "Key", "JWT", "Bot", "Splunk", "SharedAccessSignature",
    "SharedKey", "SharedKeyLite", "AWS4-HMAC-SHA256", "AWS", "Signature", "GoogleLogin", "PrivateToken", "SSWS",
    "Klaviyo-API-Key", "GenieKey", "Zoho-oauthtoken", "MAC", "EG1-HMAC-SHA256", "HMAC", "Client-ID", "MediaBrowser",
    "SAPISIDHASH",
)  # fmt: skip
"""Authentication schemes that stay readable: the IANA registry, and those that services made up."""

SHORTEST_UNCERTAIN: Final = 16
"""Characters without white space that a doubtful value has at least to count as secret."""

_SCHEME: Final = re.compile(
    rf"(?i:{'|'.join(map(re.escape, sorted(AUTHORIZATION_SCHEMES, reverse=True)))})(?:[ \t]+|%20|\+)(?=\S)"
)

_IDENTIFIER: Final = re.compile(
    r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
    r"|(?:acct|ch|cs|cus|evt|in|pi|pk|pm|price|prod|req|seti|si|sub)_(?:live_|test_)?[A-Za-z0-9]+"
)
"""Names of things: a UUID (RFC 9562), an object of Stripe's."""

_DIGIT: Final = re.compile(r"\d")
_CAPITAL_INSIDE: Final = re.compile("[a-z][A-Z]")
_PART: Final = r"(?:[A-Z]?[a-z]++(?:[A-Z][a-z]++)*+|[A-Z]++)(?:\d{1,6}+[a-z]{0,2}+)?+"
_FOLDER: Final = rf"/(?:[._]?{_PART}(?:[-_.@](?:{_PART}|\d++))*+|\d{{1,6}}+)"
_PATH: Final = re.compile(
    rf"(?:~|\.{{0,2}})(?:{_FOLDER}){{2,}}/?|/[a-z]{{2,16}}/?|(?:~|\.{{1,2}})/[\w.@/-]*|https?://.*"
)
_WHITE_SPACE: Final = re.compile(r"\s")
_RANDOM: Final = re.compile(rf"(?=\D*\d)(?=[^A-Za-z]*[A-Za-z])\S{{{SHORTEST_UNCERTAIN},}}")
_FEWEST_CAPITALS: Final = 0.3
_SHORTEST_NUMBER: Final = 4
_SHORTEST_CODE: Final = 3
_SHORTEST_COOKIE: Final = 8
_COOKIE_PAIR: Final = re.compile(r"(?:^|[;,])[ \t]*+([^\s=;,\"]++)=(\"[^\"]*+\"|[^;]*+)")
_COOKIE_ATTRIBUTES: Final = frozenset(
    ("path", "domain", "expires", "max-age", "samesite", "priority", "version", "comment")
)

Spans = list[tuple[int, int]]


def secret_spans(kind: Kind, value: str) -> Spans:
    """Return which parts of the value of a key of this kind have to be hidden, none if it is no secret."""
    if kind is COOKIE:
        return _cookie_spans(value)
    scheme = _SCHEME.match(value) if kind is AUTHORIZATION else None
    start = scheme.end() if scheme else 0
    return [(start, len(value))] if _is_secret(kind, value[start:]) else []


def is_secret(kind: Kind, value: str) -> bool:
    """Tell whether the value of a key of this kind holds anything that has to be hidden."""
    return bool(secret_spans(kind, value))


def masked(kind: Kind, value: str) -> str:
    """Return the value with its secrets hidden; schemes of Authorization headers and names of cookies stay."""
    pieces, copied = [], 0
    for start, end in secret_spans(kind, value):
        pieces += [value[copied:start], marker(kind.rule)]
        copied = end
    return "".join((*pieces, value[copied:]))


def _cookie_spans(value: str) -> Spans:
    pairs = [match for match in _COOKIE_PAIR.finditer(value) if not is_placeholder(match[2])]
    if pairs:
        return [pair.span(2) for pair in pairs if pair[1].lower() not in _COOKIE_ATTRIBUTES]
    is_opaque = len(value) >= _SHORTEST_COOKIE and _DIGIT.search(value) is not None and not is_placeholder(value)
    return [(0, len(value))] if is_opaque else []


def _is_secret(kind: Kind, value: str) -> bool:
    if is_placeholder(value):
        return False
    if kind.rule in ("connection-string", "webhook-url") and "://" in value:
        return False  # rules for URLs keep the host
    if kind is AUTHORIZATION:
        return is_credential(value)
    if kind.certain:
        return not is_path(value) and not (
            value.isdecimal() and len(value) < (_SHORTEST_CODE if kind.rule == "otp" else _SHORTEST_NUMBER)
        )
    return looks_random(value) and not (kind.rule in ("key", "code") and _IDENTIFIER.fullmatch(value) is not None)


def is_path(value: str) -> bool:
    """Tell whether a value is a path or an address, where a secret is kept: its folders are words and numbers."""
    return _PATH.fullmatch(value) is not None


def is_credential(text: str) -> bool:
    """Tell `Bearer 6b1f...` from `Bearer authentication`."""
    return (
        len(text) >= 24
        or _DIGIT.search(text) is not None
        or _CAPITAL_INSIDE.search(text) is not None
        or (len(text) >= 12 and not text[1:].islower())
    )


def looks_random(value: str) -> bool:
    """Tell whether a value is long, of letters and digits or of mixed letters, and not made of ordinary words.

    One without white space of more than `LONGEST_UNCERTAIN` characters always counts: nobody reads it. Markers of ours
    do not.
    """
    value = MARKER.sub("", value)
    if len(value) > LONGEST_UNCERTAIN:
        return _WHITE_SPACE.search(value) is None
    if _RANDOM.fullmatch(value) is not None:
        return not is_ordinary(value)
    return len(value) >= SHORTEST_UNCERTAIN and value.isascii() and value.isalpha() and _is_mixed(value)


def _is_mixed(letters: str) -> bool:
    """Tell letters drawn by chance from words with capitals, in which these are few."""
    capitals = sum(map(str.isupper, letters))
    return _FEWEST_CAPITALS * len(letters) < capitals < (1 - _FEWEST_CAPITALS) * len(letters)
