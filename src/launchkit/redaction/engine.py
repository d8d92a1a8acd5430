"""Takes secrets out of text and data.

All finders look at the same text and may report the same place; what overlaps is hidden together. Then the result is
looked at again until nothing changes, which makes redaction idempotent whatever patterns the app adds.

Most lines hold nothing, so that the first look is what redaction costs. The line is taken as bytes, which are
translated at once: to words in lower case, which are looked up in one table however many it has, and to a form in which
a long run of letters and digits is one literal. No finder is run on a line without a known word, a stem of one, or such
a run.
"""

from __future__ import annotations

import hmac
import re
import secrets
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Final, NamedTuple

from launchkit.redaction import commands, credentials, diagrams, sentences, urls
from launchkit.redaction.assignments import assigned
from launchkit.redaction.commands import find_flags
from launchkit.redaction.data import DataRedactor
from launchkit.redaction.encodings import DEEPEST, find_encoded, find_in_base64, find_in_hex, may_hold_base64
from launchkit.redaction.exact import ExactValues
from launchkit.redaction.foreign import find_foreign
from launchkit.redaction.found import MARKER, Found, marker
from launchkit.redaction.key_words import STEMS
from launchkit.redaction.keys import KeyNames, Kind
from launchkit.redaction.mentions import mentioned
from launchkit.redaction.names import names_in
from launchkit.redaction.personal import FINDERS
from launchkit.redaction.shapes import Shape
from launchkit.redaction.statements import find_bound, find_inserted
from launchkit.redaction.stream import StreamRedactor
from launchkit.redaction.tokens import SHORTEST_RUN, token_finder
from launchkit.redaction.userinfo import find_userinfo
from launchkit.redaction.values import looks_random, secret_spans
from launchkit.settings import RedactionSettings

_MOST_ROUNDS: Final = 5
_FINGERPRINT_LENGTH: Final = 8
_LONGEST_REPEATED: Final = 200
_MOST_REPEATED: Final = 8
_UNREADABLE: Final = marker("unreadable")
_BLANK: Final = ord(" ")


def _table(translate: Callable[[str], str | None]) -> bytes:
    """Return what each byte is translated to: a character, or a blank."""
    return bytes(ord(translate(chr(byte)) or " ") if byte < _ASCII else _BLANK for byte in range(256))


_ASCII: Final = 128
_FOLD: Final = _table(lambda letter: letter.lower() if letter.isalnum() else None)
_RUNS: Final = _table(lambda letter: "0" if letter.isalnum() or letter in "_-" else None)
_TOKEN: Final = _table(lambda letter: letter if letter.isalnum() or letter in "_-." else None)
_LONG: Final = b"0" * SHORTEST_RUN

_SHAPES: Final = (*credentials.SHAPES, *urls.SHAPES, *commands.SHAPES, *sentences.SHAPES)
_SHAPES_BY_WORD: Final[dict[str, list[Shape]]] = {}
for _shape in _SHAPES:
    for _word in _shape.words:
        _SHAPES_BY_WORD.setdefault(_word, []).append(_shape)
_MARKED_SHAPES: Final = tuple((mark, one) for one in _SHAPES for mark in one.marks)


def _matches(pattern: re.Pattern[str], text: str) -> Iterator[Found]:
    for match in pattern.finditer(text):
        if match[0]:
            yield Found(*match.span(), "pattern", "matches one of the app's patterns")


class _Seen(NamedTuple):
    """What a text has that a finder could start from."""

    lowered: str
    words: frozenset[bytes]
    stems: list[str]
    raw: bytes | None
    """The text as bytes, if it has a long run."""
    encoded: bool


class Redactor:
    """Takes secrets out of text and data. Safe for threads.

    Args:
        settings: further keys and patterns, what is never secret, and which personal data is hidden.
        mask_emails: hide the local part of e-mail addresses.
        values: secrets that are known exactly, hidden wherever they appear.
        fingerprint_key: what fingerprints in markers are made with, where the settings ask for them; by default a
            random one. Without it nobody can tell by a fingerprint whether a guess is right.
    """

    def __init__(
        self,
        settings: RedactionSettings,
        *,
        mask_emails: bool,
        values: Iterable[str] = (),
        fingerprint_key: bytes | None = None,
    ) -> None:
        self._keys = KeyNames(settings.keys)
        self.kind = self._keys.kind
        self._allow = tuple(re.compile(pattern) for pattern in settings.allow)
        self._patterns = tuple(re.compile(pattern) for pattern in settings.patterns)
        self._values = ExactValues()
        for value in values:
            self._values.add(value, "setting")
        self._tokens = token_finder()
        self._mask_emails = mask_emails
        self._personal = tuple(find for name, find in FINDERS.items() if name != "emails" and getattr(settings, name))
        self._fingerprint_key = (fingerprint_key or secrets.token_bytes(32)) if settings.fingerprints else None
        self._always = bool(self._personal or self._patterns)
        self._words = frozenset(word.encode() for word in (*self._keys.words, *_SHAPES_BY_WORD))

    def redact(self, text: str) -> str:
        """Return `text` with every secret replaced by `[redacted:<rule>]`; the same object if there is none."""
        for _ in range(_MOST_ROUNDS):
            seen = self._look(text)
            found = self._found(text, seen) if seen is not None else ()
            if not found:
                break
            text = self._hidden(text, found)
        return text

    def explain(self, text: str) -> list[Found]:
        """Return what `redact` would hide, in order; positions are those in `text`."""
        return [one._replace(reason=self.redact(one.reason)) for one in self._found(text, self._look(text))]

    def redact_data(self, value: object) -> object:
        """Return `value` without secrets, and itself if it holds none.

        Nothing is changed in place: what holds a secret is copied on the way to it.
        """
        try:
            return DataRedactor(self.redact, self.kind, self._is_allowed, self._masked).visit(value)
        except RecursionError:  # at the very end of the stack
            return _UNREADABLE

    def stream(self) -> StreamRedactor:
        """Return what redacts a text that comes in pieces."""
        return StreamRedactor(self)

    def add_value(self, value: str, rule: str = "value") -> None:
        """Hide a secret wherever it appears from now on, as it is and as it is written in URLs, JSON and base64."""
        self._values.add(value, rule)

    def _look(self, text: str) -> _Seen | None:
        """Return what a text has that a finder could start from, None for nothing: this is all that most lines cost."""
        raw = text.encode("latin-1", "replace")
        words = self._words.intersection(raw.translate(_FOLD).split())
        lowered = text.lower()
        stemmed = False
        for stem in STEMS:
            if stem in lowered:
                stemmed = True
                break
        has_run = _LONG in raw.translate(_RUNS)
        encoded = "%" in text or "\\" in text or "&" in text or "\x1b" in text
        if (
            (words or stemmed or has_run or encoded or "@" in text)
            or self._always
            or self._values.may_be_in(text)
            or not text.isascii()
        ):
            stems = [stem for stem in STEMS if stem in lowered] if stemmed else []
            return _Seen(lowered, words, stems, raw if has_run else None, encoded)
        return None

    def _found(self, text: str, seen: _Seen | None) -> list[Found]:
        found = list(self._find(text, seen, 0)) if seen is not None else []
        if self._allow:
            found = [one for one in found if not self._is_allowed(text[one.start : one.end])]
        if not found:
            return found
        merged = _merged([*found, *_repeated(text, found)])
        return _merged(list(_outside(merged, text))) if "[redacted:" in text else merged

    def _find(self, text: str, seen: _Seen, depth: int) -> Iterator[Found]:
        yield from self._values.find(text)
        if seen.words or seen.stems:
            yield from self._by_words(text, seen)
        if seen.raw is not None:
            yield from self._in_runs(text, seen.lowered, seen.raw, depth)
        if "@" in text:
            if "://" in text:
                yield from find_userinfo(text)
            if self._mask_emails:
                yield from FINDERS["emails"](text)
        if not text.isascii():
            yield from find_foreign(text)
        for find in self._personal:
            yield from find(text)
        for pattern in self._patterns:
            yield from _matches(pattern, text)
        if seen.encoded and depth < DEEPEST:
            yield from find_encoded(text, lambda view: self._find_in(view, depth + 1))

    def _find_in(self, view: str, depth: int) -> Iterator[Found]:
        seen = self._look(view)
        return iter(()) if seen is None else self._find(view, seen, depth)

    def _by_words(self, text: str, seen: _Seen) -> Iterator[Found]:
        """Find what is known by the words around it."""
        lowered = seen.lowered
        if len(lowered) != len(text):  # there are capitals whose small letter is two
            lowered = "".join(letter.lower()[0] for letter in text)
        known = [word.decode() for word in seen.words]
        words = [*seen.stems, *(word for word in known if word in self._keys.words)]
        hidden = 0
        for name in names_in(text, lowered, words, self.kind):
            if name.start >= hidden and not text.endswith("[redacted:", 0, name.start):
                (spans, hidden), reason = assigned(text, name), f"value of the key {name.text!r}"
                if not spans:
                    spans, reason = mentioned(text, name), f"beside the name {name.text!r}"
                for start, end in spans:
                    yield Found(start, end, name.kind.rule, reason)
                    hidden = max(hidden, end)
        yield from self._by_places(text, lowered)
        for shape in dict.fromkeys(shape for word in known for shape in _SHAPES_BY_WORD.get(word, ())):
            yield from shape.find(text)

    def _by_places(self, text: str, lowered: str) -> Iterator[Found]:
        """Find what stands apart from its name, in its order or beneath it."""
        if "insert into" in lowered:
            yield from find_inserted(text, self.kind)
        if diagrams.MARK in text:
            yield from diagrams.find_drawn(text, self.kind)
        if "[parameters: " in text:
            yield from find_bound(text, self.kind)
        if "--" in text or " -" in text or "'-" in text or '"-' in text:
            yield from find_flags(text, self.kind)

    def _in_runs(self, text: str, lowered: str, raw: bytes, depth: int) -> Iterator[Found]:
        """Find what has a long run of letters and digits."""
        runs = raw.translate(_TOKEN).decode().split()
        yield from self._tokens.find(text, runs)
        if depth < DEEPEST:
            yield from find_in_hex(text, runs, lambda view: self._find_in(view, depth + 1))
            if may_hold_base64(runs):
                yield from find_in_base64(text, lambda view: self._find_in(view, depth + 1))
        for mark, shape in _MARKED_SHAPES:
            if mark in lowered:
                yield from shape.find(text)

    def _is_allowed(self, secret: str) -> bool:
        return any(pattern.fullmatch(secret) for pattern in self._allow)

    def _hidden(self, text: str, found: Iterable[Found]) -> str:
        pieces: list[str] = []
        copied = 0
        for one in found:
            pieces += (text[copied : one.start], marker(one.rule, self._fingerprint(text[one.start : one.end])))
            copied = one.end
        return "".join((*pieces, text[copied:]))

    def _masked(self, kind: Kind, value: str) -> str:
        return self._hidden(value, [Found(start, end, kind.rule, "") for start, end in secret_spans(kind, value)])

    def _fingerprint(self, secret: str) -> str:
        if self._fingerprint_key is None:
            return ""
        return hmac.new(self._fingerprint_key, secret.encode("utf-8", "surrogatepass"), sha256).hexdigest()[
            :_FINGERPRINT_LENGTH
        ]


def _repeated(text: str, found: Iterable[Found]) -> Iterator[Found]:
    """Find what was found where it stands again, with nothing to tell it: a value in a statement and beside it."""
    rules = {text[one.start : one.end]: one.rule for one in found if one.end - one.start <= _LONGEST_REPEATED}
    for value in list(rules)[:_MOST_REPEATED]:
        if looks_random(value):
            start = text.find(value)
            while start >= 0:
                yield Found(start, start + len(value), rules[value], "the same value again")
                start = text.find(value, start + len(value))


def _merged(found: list[Found]) -> list[Found]:
    """Return what is found in order, with those that overlap as one, named by the shortest of those that start it."""
    found.sort(key=lambda one: (one.start, one.end))
    merged = found[:1]
    for one in found[1:]:
        last = merged[-1]
        if one.start >= last.end:
            merged.append(one)
        elif one.end > last.end:
            merged[-1] = Found(last.start, one.end, last.rule, last.reason)
    return merged


def _outside(found: Iterable[Found], text: str) -> Iterator[Found]:
    """Leave markers alone: what is found in one is nothing, and what reaches into one takes it in."""
    markers = [match.span() for match in MARKER.finditer(text)]
    starts, ends = [start for start, _ in markers], [end for _, end in markers]
    for one in found:
        first, last = bisect_right(ends, one.start), bisect_left(starts, one.end) - 1
        if first > last:
            yield one
        elif one.start < starts[first] or one.end > ends[last]:
            yield one._replace(start=min(one.start, starts[first]), end=max(one.end, ends[last]))
