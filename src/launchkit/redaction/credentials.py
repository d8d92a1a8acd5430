"""Secrets that are recognised by their own grammar: credentials behind a scheme, private keys, hashes of passwords."""

from __future__ import annotations

from typing import Final

from launchkit.redaction.shapes import UNQUOTED, Shape, is_no_word, is_value, marked, shape
from launchkit.redaction.values import is_credential

_REST: Final = r"[^\s\"'<>&]{20,512}+"

SHAPES: Final[tuple[Shape, ...]] = (
    shape(  # RFC 7468, whole or cut off, with real or escaped line breaks
        "private-key",
        "begin",
        r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:(?<=\n)(?!-----)[^\n]{1,100}? (?=[A-Za-z0-9+/]{16,}+=*+(?:\s|\Z)|-----END)|[A-Za-z0-9+/=:,.()\s<>]"
        r"|\\{1,4}[rnt/]|-(?!----)|[\"'][ \t]{0,8}[,+]?[ \t]{0,8}\n[ \t]{0,40}[\"'])*+"
        r"(?:-----END [A-Z0-9 ]{0,60}-----)?",
        "a private key in PEM",
    ),
    marked(  # the end of one that was cut into several texts
        "private-key",
        ("-----end",),
        r"(?<![A-Za-z0-9+/=]\n)(?<![A-Za-z0-9+/=])(?P<secret>[A-Za-z0-9+/=]{16,}+(?:\n[A-Za-z0-9+/=]++)*+)\n"
        r"-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY",
        "the end of a private key in PEM",
    ),
    shape(
        "ansible-vault",
        "ansible",
        r"\$ANSIBLE_VAULT;[^\n]{1,60}(?P<secret>(?:(?:\n|\\n)[ \t]{0,40}[0-9a-f]{8,}+)++)",
        "what Ansible has encrypted",
    ),
    marked("password-hash", (":::",), r":[0-9a-f]{32}:(?P<secret>[0-9a-f]{32}):::", "a password's hash"),
    shape(
        "private-key",
        "lines",
        r"Private-Lines: \d{1,4}(?:\r?\n|\\n)(?P<secret>(?:(?!Private-)[A-Za-z0-9+/=\s]|\\n)++)",
        "a private key of PuTTY",
    ),
    shape(  # RFC 7518 section 6
        "private-key",
        "kty",
        r"\"(?:d|p|q|dp|dq|qi|k)\" ?: ?\"(?P<secret>[\w-]{16,})\"",
        "a private key in JSON",
    ),
    shape(  # RFC 6750
        "bearer",
        "bearer",
        r"\b[Bb](?:earer|EARER)(?:[ \t]{1,4}|%20|\+|[\"'], ?[\"'])(?P<secret>[\w.~+/-]{6,}+={0,2})(?![=:\w])",
        "after the scheme Bearer",
        is_credential,
    ),
    shape(  # RFC 7617
        "basic",
        "basic",
        r"\b[Bb](?:asic|ASIC)(?:[ \t]{1,4}|%20|[\"'], ?[\"'])(?P<secret>[A-Za-z0-9+/_-]{8,}+={0,2})",
        "after the scheme Basic",
        is_credential,
    ),
    marked(  # modular crypt format and PHC strings, Django's, Werkzeug's, LDAP's
        "password-hash",
        ("$", "{s"),
        rf"(?<![A-Za-z0-9$])(?:\$2[abxy]?\$\d\d\$[./A-Za-z0-9]{{53}}|(?:argon2)?\$argon2(?:id|i|d)\${_REST}|\$(?:scrypt|krb5\w{{2,8}})\${_REST}"
        rf"|\$pbkdf2(?:-sha\d+)?\${_REST}|(?:bcrypt_sha256|bcrypt|pbkdf2_sha\d+|scrypt)\${_REST}"
        rf"|(?:scrypt|pbkdf2):[\w:]{{1,40}}\${_REST}|\$(?:1|5|6|y|gy|apr1)\$[./A-Za-z0-9$=]{{20,200}}+"
        r"|\{S?SHA(?:256|512)?\}[A-Za-z0-9+/=]{24,200}+)",
        "a password's hash",
    ),
    marked(
        "session",
        ("\ttrue\t", "\tfalse\t"),
        rf"\t(?:TRUE|FALSE)\t\d{{1,12}}\t[^\t\n]{{1,100}}\t(?P<secret>{UNQUOTED}{{8,}}+)",
        "a cookie in a cookie file",
    ),
    marked(
        "gitlab-token",
        ("incoming+",),
        r"\bincoming\+[\w.-]{1,100}?-(?P<secret>[a-z0-9]{20,40})-[a-z]{1,20}@",
        "token in an address for mail",
    ),
    marked("saml", ("signaturevalue>",), r"SignatureValue>(?P<secret>[^<]{16,}+)<", "signature of an assertion"),
    shape(
        "url-password",
        "jdbc",
        r"jdbc:oracle:\w{3,6}:[^\s/@]{1,64}/(?P<secret>[^\s@\"']{1,128}+)@",
        "password in a JDBC address",
        is_value,
    ),
    shape(
        "password",
        "login",
        rf"\blogin[ \t]+\S{{1,100}}\s{{1,8}}password[ \t]+(?P<secret>{UNQUOTED}{{1,200}}+)",
        "password in a netrc line",
        is_no_word,
    ),
    shape(
        "password",
        "postgres",
        rf"\*:\*:\*:[\w*.-]{{1,63}}:(?P<secret>{UNQUOTED}{{1,200}}+)",
        "password in a pgpass line",
        is_no_word,
    ),
    shape(
        "password",
        "5432 3306 6432 5433",
        rf"(?<![\w:])[\w.*-]{{1,100}}:\d{{4,5}}:[\w*-]{{1,63}}:[\w*.-]{{1,63}}:(?P<secret>{UNQUOTED}{{1,200}}+)",
        "password in a pgpass line",
        is_no_word,
    ),
    shape(
        "sidekiq-key",
        "contribsys",
        r"(?i:contribsys__com)[=:] ?\"?(?P<secret>[0-9a-f]{8}:[0-9a-f]{8})",
        "a key of Sidekiq",
    ),
)
