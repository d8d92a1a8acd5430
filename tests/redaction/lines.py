"""Lines in which § is a secret."""

from __future__ import annotations

import secrets
import string

from launchkit.redaction.engine import Redactor
from launchkit.settings import RedactionSettings

LETTERS_AND_DIGITS = string.ascii_letters + string.digits
HEX = string.digits + "abcdef"
REDACTOR = Redactor(RedactionSettings(), mask_emails=False)


def some(length: int = 20, alphabet: str = LETTERS_AND_DIGITS) -> str:
    """Return random text that has letters, digits and, in words, capitals after small letters."""
    middle = "".join(secrets.choice(alphabet) for _ in range(length - 4))
    return f"a4{middle}7{'f' if alphabet is HEX else 'Z'}"


def check(line: str, rule: str, secret: str) -> None:
    """Check that the secret, and nothing else, is hidden in a line."""
    assert REDACTOR.redact(line.replace("§", secret)) == line.replace("§", f"[redacted:{rule}]")
