"""Which account a request is about.

The rules:

- Every value under every name that may hold an account counts: frameworks differ in which of two duplicates they take,
  so each is charged. JSON, forms, the query string and HTTP Basic (RFC 7617) are looked at.
- Whoever guesses passwords chooses the body. So only what browsers and clients write is read (see `bodies`), and
  anything else is `UNREADABLE`: all such share one bucket, so that garbage does not dodge the key.
- Spellings that apps or their databases take for the same account are the same: width, case, accents, invisible
  characters, `Name <address>`, the punctuation of numbers.
- What leaves here is a keyed hash: no e-mail address is ever stored.
"""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, lru_cache
from typing import Final, NamedTuple

from launchkit.pipeline.exchange import Exchange
from launchkit.rate_limit.bodies import Pair, Unreadable, body_pairs, form_pairs

UNREADABLE: Final = "unreadable"
"""Stands for the account of every request that cannot be read."""

BASIC: Final = "basic"
"""The word among the fields that stands for the user of HTTP Basic."""

MOST_ACCOUNTS: Final = 4
LONGEST_ACCOUNT: Final = 512
"""More accounts than this in one request, or characters in one of them, are nobody's login: unreadable."""

_LONGEST_NAME: Final = 100
_MOST_TEXTS: Final = 16
SPARE_FIELDS: Final = ("login", "user", "account", "phone_number", "handle")
"""Names that hold an account in some apps and in others are a button's: looked at where there is no other."""

_PRESSED: Final = frozenset(
    {"", "on", "off", "true", "false", "yes", "no", "0", "1"}
    | {"login", "log in", "log-in", "signin", "sign in", "sign-in", "submit", "send", "go", "ok", "enter", "continue"}
)
"""What checkboxes and buttons send: `remember_username=on` names nobody."""

_WORDS: Final = re.compile(r"[^\W_]+")


class Accounts(NamedTuple):
    """What a request says about accounts.

    `hashes` are those that are charged. `is_one` tells that nothing in the request could be another one: only then is
    it sure whom a success was for.
    """

    hashes: tuple[str, ...]
    is_one: bool


UNREADABLE_ACCOUNTS: Final = Accounts((UNREADABLE,), False)


_NAME, _LAST_WORD, _SPARE = range(3)
"""How surely a field holds an account: by its name, by the last word of it, or where there is no other."""


class AccountReader:
    """Finds the accounts of a request.

    Args:
        fields: names under which an account may stand, in any spelling with or without `_`, `-` and capitals; of a
            name like `user[email]` or `auth-username` the last word is enough.
        key: returns the key of the hash, 32 bytes; asked once.
        spare_fields: further names, which are looked at where a request has none of `fields`.
    """

    def __init__(self, fields: Iterable[str], key: Callable[[], bytes], spare_fields: Iterable[str] = ()) -> None:
        self._fields = frozenset("".join(_words(field)) for field in fields)
        self._spare_fields = frozenset("".join(_words(field)) for field in spare_fields)
        self._reads_basic = BASIC in self._fields
        self._rank_of = lru_cache(maxsize=256)(self._rank)
        self._key_of_hash = key

    @cached_property
    def _hash(self) -> hashlib.blake2b:
        return hashlib.blake2b(key=self._key_of_hash(), digest_size=12)

    def look(self, exchange: Exchange, body: bytes) -> Accounts:
        """Return what the request says about accounts."""
        certain: list[str] = []
        spare: list[str] = []
        try:
            for name, value in self._pairs(exchange, body):
                rank = self._rank_of(name[-_LONGEST_NAME:])
                if rank is not None:
                    texts = _texts(value)
                    texts = texts if rank == _NAME else [text for text in texts if text.lower() not in _PRESSED]
                    (spare if rank == _SPARE else certain).extend(texts)
            accounts, further = _folded(certain), _folded(spare)
        except (Unreadable, ValueError, RecursionError):
            return UNREADABLE_ACCOUNTS
        found = accounts or further
        if len(found) > MOST_ACCOUNTS:
            return UNREADABLE_ACCOUNTS
        return Accounts(tuple([self.digest(account) for account in found]), len(found | further) == 1)

    def read(self, exchange: Exchange, body: bytes) -> tuple[str, ...]:
        """Return the hashes of all accounts in the request, without duplicates; empty if it names none."""
        return self.look(exchange, body).hashes

    def digest(self, text: str) -> str:
        """Return a keyed hash of 24 hexadecimal digits."""
        keyed = self._hash.copy()
        keyed.update(text.encode("utf-8", "surrogatepass"))
        return keyed.hexdigest()

    def _rank(self, name: str) -> int | None:
        """Return how surely a field of this name holds an account."""
        words = _words(name)
        if not words:
            return None
        whole = "".join(words)
        if whole in self._fields:
            return _NAME
        if words[-1] in self._fields:
            return _LAST_WORD
        return _SPARE if whole in self._spare_fields or words[-1] in self._spare_fields else None

    def _pairs(self, exchange: Exchange, body: bytes) -> Iterator[Pair]:
        authorization = _only(exchange, b"authorization") if self._reads_basic else None
        if authorization is not None and authorization[:6].lower() == b"basic ":
            user = base64.b64decode(authorization[6:].strip(), validate=True).partition(b":")[0]
            yield BASIC, user.decode()
        query = exchange.query
        if query:
            yield from form_pairs(query)
        if body:
            if _only(exchange, b"content-encoding") not in (None, b"", b"identity"):
                raise Unreadable
            yield from body_pairs(_only(exchange, b"content-type") or b"", body)


def _only(exchange: Exchange, name: bytes) -> bytes | None:
    """Return a header that is sent once; apps differ in which of several they look at."""
    value = exchange.header(name)
    if value is not None and len(exchange.header_values(name)) > 1:
        raise Unreadable
    return value


def _folded(texts: list[str]) -> dict[str, None]:
    if len(texts) > _MOST_TEXTS:
        raise Unreadable
    return {account: None for text in texts if (account := normalise(text))}


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return [str(value)]
    return [str(item) for item in value if isinstance(item, (str, int))] if isinstance(value, list) else []


def _words(name: str) -> list[str]:
    return _WORDS.findall(name.casefold())


def normalise(text: str) -> str:
    """Fold the spellings of one account into one text.

    Raises:
        Unreadable: if it is too long to be an account.
    """
    text = text.strip()
    if len(text) > LONGEST_ACCOUNT:
        raise Unreadable
    if not (text.isascii() and text.isprintable()):
        folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
        text = "".join(_plain(each) for each in folded if unicodedata.category(each) not in _IGNORED)
    text = text.lower().replace(" ", "")
    if text.endswith(">") and "<" in text:
        text = text[:-1].rpartition("<")[2]
    return _number(text) if "@" not in text and _is_number(text) else text


_IGNORED: Final = frozenset({"Cf", "Cc", "Zs", "Zl", "Zp", "Mn", "Me"})
"""White space, what cannot be seen, and accents, which some databases' comparisons ignore."""

_IDEOGRAPHIC_FULL_STOP: Final = "\u3002"


def _plain(character: str) -> str:
    """Return what a character stands for in a domain's name (UTS 46) or in a number."""
    if character == _IDEOGRAPHIC_FULL_STOP:
        return "."
    digit = unicodedata.decimal(character, None)
    return character if digit is None else str(digit)


_is_number: Final = re.compile(r"[-+.()/_\d]*\d[-+.()/_\d]*", re.ASCII).fullmatch
_no_fraction: Final = re.compile(r"([^.]*)\.0*", re.ASCII).fullmatch


def _number(text: str) -> str:
    """Return the digits of a telephone number, or of a whole number however it is written."""
    whole = _no_fraction(text)
    return re.sub(r"\D", "", whole[1] if whole else text).lstrip("0") or "0"
