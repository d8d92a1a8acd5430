"""How the form of a provider's token is told, and the alphabets that tokens are made of.

The rules about forms:

- A form takes the whole token: the run of its characters up to where it ends, whatever its length is today. Providers
  lengthen their tokens, so the bound is below the real length, and far enough above that of words.
- It takes linear time. What is unbounded is possessive and stands last, or is followed by what is optional, or cannot
  hold the prefix: otherwise a text made of prefixes would be read again from each of them.
- A prefix that could begin a word needs a body that no word has: one long run, a digit, an exact length.
- What a provider means to be public (`pk_live_`, `sb_publishable_`, `phc_`) and the ids of objects have no form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class TokenForm:
    """Tokens that are told by what they begin with. No letter or digit stands before one: the engine sees to that."""

    rule: str
    """The id that readers of the log get to see: `stripe-secret-key`."""
    prefixes: tuple[str, ...]
    """What such a token begins with, spelled exactly so."""
    body: str
    """What follows the prefix: a regular expression without capturing groups."""
    needs_digit: bool = False
    """Whether it is no token without a digit after the prefix."""


@dataclass(frozen=True, slots=True)
class ShapedForm:
    """Tokens that are told by what stands within them. No letter or digit stands before one, as with `TokenForm`."""

    rule: str
    """The id that readers of the log get to see: `telegram-bot-token`."""
    trigger: str
    """What stands in every such token, spelled exactly so."""
    pattern: str
    """The whole token: a regular expression without capturing groups, which begins with no unbounded repetition."""
    needs_digit: bool = False
    """Whether it is no token without a digit."""


END: Final = r"(?![A-Za-z0-9])"
"""The end of a token whose length tells it from other things."""

CLOSED_END: Final = r"(?![A-Za-z0-9_-])"
"""The same for tokens with dashes and underscores in them."""

NO_WORD: Final = r"(?![a-z]{3,24}+[-_.=])"
"""What follows is not one of several words, as in `re_compile_pattern2`."""

MIXED: Final = r"(?=[a-z0-9_-]{0,40}[A-Z])(?=[A-Z0-9_-]{0,40}[a-z])(?=[A-Za-z_-]{0,40}[0-9])"
"""What follows has small letters, capitals and digits near its beginning."""

AFTER_WORDS: Final = r"(?:[a-z][a-z0-9]{0,11}[-_]){1,3}[A-Za-z0-9]{20,}+[A-Za-z0-9_-]*+"
"""Words that say what the key is for, then a long run: `prod-eu-4f0c...`, and not `folding-cube-2`."""

UUID: Final = r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}" + END
"""RFC 9562."""


def alphanumeric(least: int) -> str:
    """Return the expression for `least` or more letters and digits."""
    return rf"[A-Za-z0-9]{{{least},}}+"


def url_safe(least: int) -> str:
    """Return the expression for `least` or more characters of RFC 4648 section 5, with the padding."""
    return rf"[A-Za-z0-9_=-]{{{least},}}+"


def base64(least: int) -> str:
    """Return the expression for `least` or more characters of RFC 4648 sections 4 and 5, with the padding."""
    return rf"[A-Za-z0-9+/_=-]{{{least},}}+"


def dotted(least: int) -> str:
    """Return the expression for `least` or more URL-safe characters, and more such parts after dots."""
    return rf"[A-Za-z0-9_=-]{{{least},}}+(?:\.[A-Za-z0-9_=-]++)*+"


def exactly(alphabet: str, length: int) -> str:
    """Return the expression for `length` characters of an alphabet such as `0-9a-f`, and no letter or digit more."""
    return rf"[{alphabet}]{{{length}}}{END}"
