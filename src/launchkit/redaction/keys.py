"""Which key names hold secrets.

A name is split into words at `_`, `-`, `.` and capitals, and judged by the words: substrings would take `tokenization`
and `postcode` for secrets. The first of these that applies decides:

1. a name the app has listed, or one that ends with it;
2. `Authorization` and cookies, whose values have a grammar;
3. an ending that is always secret (`api_key`), then one that never is (`password_length`, `eos_token`, `cache_key`);
4. a word that is secret anywhere (`password`), also grown together (`dbpassword`);
5. `access_token`, `smtp_pass`: secret after another word, or alone if the word is not doubtful (`pass`);
6. `token`, `key`, `code`, ...: secret if the value looks random.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from launchkit.redaction import key_words as words_for

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a key holds: the id of the rule, and whether any value of it is secret or only one that looks random."""

    rule: str
    certain: bool = True


LONGEST_KEY: Final = 96
"""Characters at the end of a key name that are looked at."""

AUTHORIZATION: Final = Kind("authorization")
"""Credentials behind a scheme, which stays readable (RFC 9110 section 11.6.2)."""

COOKIE: Final = Kind("cookie")
"""Pairs of names and values, of which the names stay readable (RFC 6265)."""


_WEAK_PAIRS: Final = (("session", "id"), ("secret", "id"))


def words_of(name: str) -> tuple[str, ...]:
    """Split a key name into lower-case words. gunicorn's `{x-api-key}i` is the header's name."""
    return tuple(word.lower() for word in _WORD.findall(name.partition("}")[0]))


class KeyNames:
    """Tells secret key names from others; knows those of the rule set and `extra` ones.

    `kind` returns what a key of some name holds, None for nothing secret, and remembers the latest names.
    """

    MEMORY: Final = 4096

    def __init__(self, extra: Iterable[str] = ()) -> None:
        self._extra = tuple(words for name in extra if (words := words_of(name)))
        self.words: frozenset[str] = frozenset(
            (*_known(), *("".join(words) for words in self._extra), *(words[0] for words in self._extra))
        )
        """One of these is a word of every text with a key that can be secret, or one of `STEMS` is within a word."""
        self.kind = lru_cache(self.MEMORY)(self._judge)

    def _judge(self, name: str) -> Kind | None:
        words = words_of(name)
        if not words:
            return None
        if any(words[-len(extra) :] == extra for extra in self._extra):
            return Kind("key")
        if words[-1] in ("authorization", "proxyauthorization"):
            return AUTHORIZATION
        if words[-1] in ("cookie", "cookies"):
            return COOKIE
        ending = words_for.SECRET_ENDINGS.get(words[-2:])
        if ending is not None:
            return Kind(ending)
        if _ends_harmless(words):
            return None
        return _by_words(words)


def _ends_harmless(words: tuple[str, ...]) -> bool:
    *before, last = words
    if words[-2:] in _WEAK_PAIRS:
        return False
    if last in words_for.HARMLESS_ENDINGS:
        return True
    if last == "code" and before:  # status_code, country_code, but totp_code
        return words_for.SECRET_WORDS.keys().isdisjoint(before)
    if last in ("token", "tokens"):
        return not words_for.HARMLESS_TOKENS.isdisjoint(before)
    return last == "key" and not words_for.HARMLESS_KEYS.isdisjoint(before)


def _by_words(words: tuple[str, ...]) -> Kind | None:
    if words[-2:] in _WEAK_PAIRS:
        return Kind(words[-2], certain=False)
    for word in words:
        if word in words_for.SECRET_WORDS:
            return Kind(words_for.SECRET_WORDS[word])
    last = words[-1]
    for compound, rule in words_for.SECRET_COMPOUNDS.items():
        if last.endswith(compound):
            return Kind(rule)
    if (len(words) > 1 or last not in words_for.WEAK_WORDS) and last in words_for.QUALIFIED_WORDS:
        return Kind(words_for.QUALIFIED_WORDS[last])
    return Kind(words_for.WEAK_WORDS[last], certain=False) if last in words_for.WEAK_WORDS else None


def _known() -> Iterator[str]:
    """Return what names are made of that can be secret, but for what has one of the stems in it."""
    for words in (words_for.SECRET_WORDS, words_for.SECRET_COMPOUNDS, words_for.QUALIFIED_WORDS, words_for.WEAK_WORDS):
        yield from words
    yield from ("authorization", "cookie", "cookies", "sessionid")
    for first, last in words_for.SECRET_ENDINGS:
        if not any(stem in last for stem in words_for.STEMS):
            yield first + last
            if last not in words_for.WEAK_WORDS:
                yield first
