"""Secrets that are known exactly, wherever they appear and however they are written.

What a value looks like elsewhere is of two kinds:

- Escaped: most characters are as they are, and others are written as URLs, JSON, Python, HTML or a shell write them,
  several times over if need be. One regular expression for each value knows all of that, mixed as it may be. It is run
  only where the longest piece of the value that nobody escapes is in the text.
- In base64 (RFC 4648): three bytes become four characters, so there are three ways to write a value that stands in the
  middle of something, as passwords do in Basic authentication. A character that only part of the value went into is
  hidden with it.

Most texts hold none. They cost a look for each of these pieces; those that nearly every random value has, and few
lines of a log, are behind one look for something of their kind.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from html.entities import codepoint2name
from typing import Final
from urllib.parse import unquote, urlsplit

from launchkit.redaction.found import MARKER, Found
from launchkit.redaction.keys import Kind
from launchkit.redaction.lock import Lock
from launchkit.redaction.values import is_secret

SHORTEST: Final = 8
"""Characters that a value needs: a shorter one would take words with it."""

_SHORTEST_NUMBER: Final = 12
"""The same without letters, because dates, ids and addresses have fewer."""

_SHORTEST_LINE: Final = 24
"""The same for one line of several, as keys in PEM have."""

_FEWEST_CHARACTERS: Final = 3
"""Different ones, so that no line of dashes is a secret."""

_HARMLESS: Final = frozenset(
    (
        *("administrator", "anonymous", "changeit", "changeme", "database", "default", "development", "disabled"),
        *("example.com", "guestguest", "launchkit", "localhost", "minioadmin", "password", "passwords", "passw0rd"),
        *("postgres", "postgresql", "production", "rabbitmq", "undefined", "username"),
    )
)
"""What settings hold where nobody has set a secret, and what harmless lines say; compared in lower case."""

_NUMBER: Final = re.compile(r"[\d\s.,:/_+-]+")
_PATH: Final = re.compile(r"(?:~|\.{1,2}|[A-Za-z]:)?(?:[/\\][\w .@-]*+)+")
_PLAIN: Final = re.compile(r"[A-Za-z0-9._-]+")
"""Characters that URLs, JSON, Python, HTML and shells write as they are."""

_RANDOM: Final = re.compile("[0-9][A-Za-z][0-9A-Za-z]{2}")
_REASON: Final = "a value that is known to be secret"


@dataclass(frozen=True, slots=True)
class _Spelling:
    """One way to write a value.

    Attributes:
        rule: the value's.
        needle: is in every text that holds the value in this way.
        pattern: finds it.
        before: characters before it that have to be hidden with it.
        after: characters after it that have to be.
    """

    rule: str
    needle: str
    pattern: re.Pattern[str]
    before: int = 0
    after: int = 0

    def find(self, text: str) -> Iterator[Found]:
        for match in self.pattern.finditer(text):
            start, end = max(0, match.start() - self.before), min(len(text), match.end() + self.after)
            yield Found(start, end, self.rule, _REASON)


_GRAM: Final = 8
_MANY: Final = 200
"""Spellings that are looked for one by one."""


class ExactValues:
    """Known secrets. Safe for threads: what comes while others read takes the place of what they read from."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._spellings: list[_Spelling] = []
        self._needles: list[str] = []
        self._random_needles: list[str] = []
        self._grams: set[str] = set()

    def add(self, value: str, rule: str) -> bool:
        """Hide a value from now on, and each line of one that has several, like a key in PEM.

        Args:
            value: the secret; white space around it does not count.
            rule: what its marker says: `setting`, `value` or `environment`.

        Returns:
            False if it is not hidden, because that would take harmless text with it: below `SHORTEST` characters, below
            12 without a letter, with fewer than three different ones, or a word like `localhost` and `postgres`.
        """
        value = value.strip()
        if not _can_be_hidden(value):
            return False
        with Lock.now:
            if value not in self._values:
                self._values.add(value)
                self._take_up(_spellings(value, rule))
        return True

    def _take_up(self, spellings: Iterable[_Spelling]) -> None:
        for spelling in spellings:
            needle = spelling.needle
            if len(needle) >= _GRAM:
                self._grams.add(needle[:_GRAM])
            if len(self._spellings) < _MANY or len(needle) < _GRAM:
                needles = self._random_needles if _RANDOM.search(needle) else self._needles
                if needle not in needles:
                    needles.append(needle)
            self._spellings.append(spelling)

    def may_be_in(self, text: str) -> bool:
        """Tell quickly whether `find` may find anything."""
        for needle in self._needles:  # here and below: any() with a generator takes twice as long
            if needle in text:
                return True
        if self._random_needles and _RANDOM.search(text):
            for needle in self._random_needles:
                if needle in text:
                    return True
        return len(self._spellings) > _MANY and self._has_gram(text)

    def _has_gram(self, text: str) -> bool:
        """Look each piece of the text up: with many values that takes less time than looking for each of them."""
        return not self._grams.isdisjoint([text[start : start + _GRAM] for start in range(len(text) - _GRAM + 1)])

    def find(self, text: str) -> list[Found]:
        """Find every value in the text, in order; those that overlap are one, under the rule of the first."""
        if not self.may_be_in(text):
            return []
        if "[redacted:" in text:  # a value like `environment` is not looked for in what has taken a secret's place
            text = MARKER.sub(lambda marker: "\0" * len(marker[0]), text)
        present = [spelling for spelling in self._spellings if spelling.needle in text]
        return _merged(found for spelling in present for found in spelling.find(text))


def _merged(everything: Iterable[Found]) -> list[Found]:
    merged: list[Found] = []
    for found in sorted(everything, key=lambda found: (found.start, -found.end)):
        if merged and found.start < merged[-1].end:
            last = merged.pop()
            found = Found(last.start, max(last.end, found.end), last.rule, last.reason)
        merged.append(found)
    return merged


def _can_be_hidden(value: str) -> bool:
    if len(value) < (_SHORTEST_NUMBER if _NUMBER.fullmatch(value) else SHORTEST):
        return False
    return len(set(value)) >= _FEWEST_CHARACTERS and value.lower() not in _HARMLESS


# --- spellings -------------------------------------------------------------------------------------------------------


def _spellings(value: str, rule: str) -> Iterator[_Spelling]:
    yield _escaped(value, rule)
    yield from _in_base64(value.encode("utf-8", "surrogatepass"), rule)
    lines = value.splitlines()
    for line in lines if len(lines) > 1 else ():
        if len(line) >= _SHORTEST_LINE and not re.search(r"\s", line):
            yield _escaped(line, rule)


def _escaped(value: str, rule: str) -> _Spelling:
    needle = max(_PLAIN.findall(value), key=len, default="")
    pattern = "".join(re.escape(one) if _PLAIN.match(one) else _any_escape(one) for one in value)
    return _Spelling(rule, needle, re.compile(pattern))


def _any_escape(character: str) -> str:
    """Return a pattern for a character as it is and as anything writes it."""
    code, octets = ord(character), character.encode("utf-8", "surrogatepass")
    units = character.encode("utf-16-be", "surrogatepass")
    coded = [
        "".join(rf"%(?:25){{0,2}}{octet:02x}" for octet in octets),  # URLs (RFC 3986), twice and three times over
        "".join(rf"\\{{1,8}}x{octet:02x}" for octet in octets),  # repr() of bytes
        "".join(rf"\\{{1,8}}u{units[i : i + 2].hex()}" for i in range(0, len(units), 2)),  # JSON (RFC 8259)
        rf"\\{{1,8}}x{code:02x}|\\{{1,8}}u0*{code:x}|&\#0*{code};|&\#x0*{code:x};",  # ascii(), HTML
    ]
    shown = [*_NAMED.get(character, ()), rf"\\{{0,8}}{re.escape(character)}"]  # the longer one first
    if code in codepoint2name:
        shown.insert(0, f"&{codepoint2name[code]};")  # before `&`, with which it begins
    return f"(?:(?i:{'|'.join(coded)})|{'|'.join(shown)})"


_NAMED: Final[Mapping[str, tuple[str, ...]]] = {
    " ": (r"\+",),  # forms
    "\n": (r"\r\n", r"(?:\\{1,8}r)?\\{1,8}n"),
    "\r": (r"\\{1,8}r",),
    "\t": (r"\\{1,8}t",),
    "\b": (r"\\{1,8}b",),
    "\f": (r"\\{1,8}f",),
    "'": (r"'\\+''", "'\"'\"'", "&apos;"),  # shells
    "\\": (r"\\{2,16}",),
}
"""Further spellings of single characters."""


def _in_base64(value: bytes, rule: str) -> Iterator[_Spelling]:
    """Return the characters that a value makes, and no byte around it, for each place in a group of three bytes."""
    for offset in range(3):
        first, last = -(-8 * offset // 6), 8 * (offset + len(value)) // 6
        encoded = base64.b64encode(bytes(offset) + value).decode()[first:last]
        before, after = int(offset > 0), int((offset + len(value)) % 3 > 0)
        for needle in dict.fromkeys((encoded, encoded.translate(_URL_SAFE))):
            yield _Spelling(rule, needle, re.compile(re.escape(needle)), before, after)


_URL_SAFE: Final = str.maketrans("+/", "-_")

# --- the environment -------------------------------------------------------------------------------------------------


def environment_values(environ: Mapping[str, str], kind: Callable[[str], Kind | None]) -> Iterator[tuple[str, str]]:
    """Return names and values of the environment variables that hold secrets.

    Of a URL it is the password, whatever the variable's name is. Otherwise the name tells; placeholders and paths are
    left out.

    Args:
        environ: the environment variables.
        kind: what a name gives away, None if nothing.
    """
    for name, text in environ.items():
        value = text.strip()
        if "://" in value:
            password = _password(value)
            if password:
                yield name, password
            continue
        found = kind(name)
        if found is not None and is_secret(found, value) and not _PATH.fullmatch(value):
            yield name, value


def _password(url: str) -> str | None:
    try:
        return unquote(urlsplit(url).password or "")
    except ValueError:  # brackets that hold no address
        return None
