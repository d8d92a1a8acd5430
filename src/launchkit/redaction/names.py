"""Where secret names stand in a text: keys, columns, variables, words of a sentence.

Every secret name has a known word or stem in it. The text is searched for those that it is known to have, and each
place is extended to the whole name, within a bound, so that the work is linear whatever the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from launchkit.redaction.key_words import SECRET_ENDINGS
from launchkit.redaction.keys import LONGEST_KEY, Kind

_CHARACTERS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
_REST: Final = re.compile(rf"[\w.-]{{0,{LONGEST_KEY}}}", re.ASCII)
_WORD_BEFORE: Final = re.compile(r"""(?:^|(?<=[\s"'(\[{,;]))([A-Za-z]{2,16}) \Z""")
_LONGEST_WORD: Final = 18


class Name(NamedTuple):
    """A secret name in a text, from `start` to before `end`."""

    text: str
    kind: Kind
    start: int
    end: int


def names_in(text: str, lowered: str, words: Iterable[str], kind_of: Callable[[str], Kind | None]) -> Iterator[Name]:
    """Find secret names, in order.

    Args:
        text: any text.
        lowered: the same in lower case, as long as the text.
        words: known words and stems that it has.
        kind_of: tells what a key of some name holds, None for nothing secret.
    """
    searched = 0
    for place in _places(lowered, words):
        if place < searched:
            continue
        window = text[max(0, place - LONGEST_KEY) : place]
        start = place - len(window) + len(window.rstrip(_CHARACTERS))
        rest = _REST.match(text, place)
        searched = rest.end() if rest else place
        name = text[start:searched].rstrip(".-")
        kind = _kind(name, text[max(0, start - _LONGEST_WORD) : start], kind_of)
        if kind is not None:
            yield Name(name, kind, start, start + len(name))


def _places(lowered: str, words: Iterable[str]) -> list[int]:
    places = []
    for word in words:
        place = lowered.find(word)
        while place >= 0:
            places.append(place)
            place = lowered.find(word, place + len(word))
    places.sort()
    return places


def _kind(name: str, before: str, kind_of: Callable[[str], Kind | None]) -> Kind | None:
    """Return what a name holds, together with the word before it: `public key`, `API key`."""
    kind = kind_of(name)
    if kind is None or kind.certain:
        return kind
    word = _WORD_BEFORE.search(before)
    if word is None:
        return kind
    if (word[1].lower(), name.lower()) in SECRET_ENDINGS:
        return kind_of(f"{word[1]}_{name}")
    return kind if kind_of(f"{word[1]}_{name}") else None
