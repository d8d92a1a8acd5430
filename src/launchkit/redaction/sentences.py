"""Secrets in sentences, and in statements of SQL that read like them."""

from __future__ import annotations

from typing import Final

from launchkit.redaction.shapes import Shape, is_no_word, is_value, shape

SHAPES: Final[tuple[Shape, ...]] = (
    shape(
        "password",
        "temporary initial",
        r"(?:[Tt]emporary|[Ii]nitial) (?:[a-z]{1,12} )?password [^:=\n]{1,80}[:=] (?P<secret>\S{6,200}+)",
        "said to be a password",
        is_no_word,
    ),
    shape(
        "otp",
        "code otp pin passcode",
        r"(?:[Cc]ode|OTP|otp|PIN|pin) (?:(?:is|was)[ :]? ?|: ?)?(?P<secret>\d{3}[ -]?\d{3}|\d{6,8})(?![\w.-])",
        "said to be a one-time code",
    ),
    shape(
        "password",
        "identified",
        r"(?:identified|IDENTIFIED) +(?:(?:with|WITH) +['\w]{1,40} +)?(?:by|BY|as|AS) +(?:(?:password|PASSWORD) +)?"
        r"\\?(?:'(?P<secret>[^'\n]{1,200}+)'|\"(?P<secret_double>[^\"\\\n]{1,200}+)\\?\")",
        "password in a statement",
        is_value,
    ),
    shape(
        "password",
        "crypt encrypt decrypt hmac digest",
        r"(?i:crypt|hmac|digest)\((?:[^\s,()']{1,100}, ?)?'(?P<secret>[^'\n]{1,200}+)'",
        "argument of a function that encrypts",
        is_value,
    ),
)
