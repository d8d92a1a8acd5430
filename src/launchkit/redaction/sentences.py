"""Secrets in sentences, and in statements of SQL that read like them."""

from __future__ import annotations

from typing import Final

from launchkit.redaction.shapes import UNQUOTED, Shape, is_no_word, is_value, shape

_KINDS_OF_CODE: Final = (
    "verification Verification login Login security Security one-time One-time access Access SMS sms 2FA MFA auth "
    "authentication authorization confirmation Confirmation your Your recovery Recovery backup Backup sign-in Sign-in"
)
_CODE: Final = "|".join(f"{kind} {code}" for kind in _KINDS_OF_CODE.split() for code in ("code", "Code"))
"""Alternatives that begin with letters, for which the text is searched quickly."""

SHAPES: Final[tuple[Shape, ...]] = (
    shape(
        "password",
        "temporary initial",
        rf"(?:[Tt]emporary|[Ii]nitial) (?:[a-z]{{1,12}} )?password [^:=\n]{{1,80}}[:=] "
        rf"(?P<secret>{UNQUOTED}{{6,200}}+)",
        "said to be a password",
        is_no_word,
    ),
    shape(  # BIP 39
        "secret",
        "mnemonic phrase seed",
        r"(?i:mnemonic|phrase|seed)(?: words?)?[\"']?(?: is)?[ =:]{1,4}[\"']?"
        r"(?P<secret>(?:[a-z]{3,8}[ ,]{1,2}){11,23}[a-z]{3,8})(?![A-Za-z])",
        "words that stand for a key",
    ),
    shape(
        "password",
        "securestring",
        r"ConvertTo-SecureString (?:-String )?[\"'](?P<secret>[^\"'\n]{1,200}+)[\"']",
        "argument of a function",
        is_value,
    ),
    shape(
        "password",
        "login auth bind changeuserpassword networkcredential httpbasicauth basicauth passwordauthentication "
        "usernamepasswordcredentials",
        r"(?:\blogin|db\.auth|\bauth=|bind(?:_s)?|changeUserPassword|NetworkCredential|BasicAuth|PasswordAuthentication|UsernamePasswordCredentials)"
        r"\([\"'][^\"'\n]{1,100}[\"'], ?[\"'](?P<secret>[^\"'\n]{1,200}+)[\"']",
        "second argument of a call that logs in",
        is_no_word,
    ),
    shape(
        "password",
        "mysqli pdo getconnection pymysql mysqldb user superuser",
        r"(?:mysqli(?:_connect)?|PDO(?:->__construct)?|getConnection|(?:pymysql|MySQLdb)\.connect|create_(?:super)?user)\("
        r"(?:[\w.$]{1,60}|[\"'][^\"'\n]{0,200}[\"']), ?(?:[\w.$]{1,60}|[\"'][^\"'\n]{0,100}[\"']), ?"
        r"[\"'](?P<secret>[^\"'\n]{1,200}+)[\"']",
        "third argument of a call that connects",
        is_value,
    ),
    shape(
        "secret",
        "fernet urlsafetimedserializer urlsafeserializer timestampsigner",
        r"(?:Fernet|URLSafe(?:Timed)?Serializer|TimestampSigner)\(b?[\"'](?P<secret>[^\"'\n]{1,200}+)[\"']",
        "first argument of a call that signs or encrypts",
        is_no_word,
    ),
    shape(
        "otp",
        "code otp pin",
        rf"(?:{_CODE}|OTP|otp|PIN|pin)(?: (?:is|was))?:? (?P<secret>\d{{3}}[ -]?\d{{3}}|\d{{6,8}})(?![\w.-])",
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
        "crypt encrypt decrypt",
        r"(?i:(?:pgp_sym|aes)_(?:en|de)crypt)\((?:[^\s,()']{1,100}, ?)?'(?P<secret>[^'\n]{1,200}+)'"
        r"|(?i:crypt)\('(?P<secret_hashed>[^'\n]{1,200}+)', ?(?i:gen_salt)",
        "argument of a function that encrypts",
        is_value,
    ),
)
