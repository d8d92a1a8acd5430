"""Secrets that are none: defaults, placeholders, short ones, and the keys that services give out for tests."""

from __future__ import annotations

import re
from typing import Final

SHORTEST: Final = 16
"""Characters below which a secret that signs cookies can be found by trying."""

_PLACEHOLDER: Final = re.compile(
    r"change[-_ ]?(me|this|it)|replace[-_ ]?(me|this)|(your|my|super|top|some)[-_ ]?secret|insecure|placeholder"
    r"|do[-_ ]?not[-_ ]?use|secret[-_ ]?key|not[-_ ]?(a|so|very)?[-_ ]?secret",
    re.IGNORECASE,
)

# https://docs.stripe.com/keys; the last is the sample in the documentation of Standard Webhooks' libraries.
_TEST_KEY: Final = re.compile(r"(sk|pk|rk)_test_|whsec_test|whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw$")


def weakness(secret: str) -> str | None:
    """Return what is wrong with a secret, as the end of a sentence that begins with its name; None if nothing is."""
    if len(secret) < SHORTEST:
        return f"has fewer than {SHORTEST} characters"
    if _PLACEHOLDER.search(secret):
        return "is a placeholder that everybody knows"
    return "repeats a few characters" if len(set(secret)) < 5 else None


def is_test_key(value: str) -> bool:
    """Tell whether a value is a service's key for tests."""
    return _TEST_KEY.match(value) is not None
