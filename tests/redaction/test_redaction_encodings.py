"""Secrets that are written otherwise are hidden as well: in URLs, JSON, HTML, colour codes and base64."""

from __future__ import annotations

import base64
import html
import json
import secrets
import string
from urllib.parse import quote

import pytest

from launchkit.redaction.engine import Redactor
from launchkit.settings import RedactionSettings

REDACTOR = Redactor(RedactionSettings(), mask_emails=False)


def some(length: int) -> str:
    """Return random text with small letters, capitals and digits."""
    return "a4" + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length - 4)) + "7Z"


def github_token() -> str:
    return "gh" + "p_" + some(36)


def escaped(text: str, times: int) -> str:
    """Return what is within the quotes when a text is put into JSON, and that into JSON again."""
    for _ in range(times):
        text = json.dumps(text)[1:-1]
    return text


# --- percent escapes (RFC 3986) --------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(
    ("before", "after", "rule"),
    [
        ("password=", "&page=2", "password"),
        ('{"password": "', '", "page": 2}', "password"),
        ("postgres://bob:", "@db/x", "url-password"),
        ("Authorization: Bearer ", "", "bearer"),
    ],
)
def test_a_secret_within_an_escaped_url_is_hidden(before, after, rule, times):
    """A whole query or address may be the value of a parameter, once or twice escaped; the rest stays."""
    secret = some(24)
    start, end = before, after
    for _ in range(times):
        start, end = quote(start, safe=""), quote(end, safe="")
    hidden = REDACTOR.redact(f"GET /login?next={start}{secret}{end} HTTP/1.1")
    assert secret not in hidden
    assert hidden.startswith(f"GET /login?next={start}")
    assert hidden.endswith("HTTP/1.1")
    assert f"[redacted:{rule}]" in hidden or "[redacted:authorization]" in hidden


def test_escapes_within_a_secret_are_part_of_it():
    """`%2B` and `%20` do not end a value."""
    assert REDACTOR.redact(f"?password={some(6)}%2B{some(6)}%20x&page=2") == "?password=[redacted:password]&page=2"


@pytest.mark.parametrize("text", ["GET /a%20b%2Fc?next=%2Fhome HTTP/1.1", "100%25 done", "%zz%4", "50%"])
def test_escapes_without_a_secret_survive(text):
    """The very same text comes back."""
    assert REDACTOR.redact(text) is text


# --- JSON within JSON (RFC 8259) -------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("key", ["password", "clientSecret", "x-api-key"])
def test_a_secret_in_json_within_json_is_hidden(key, times):
    """Collectors put lines into strings of their own, up to three times over; the outer layers stay JSON."""
    secret = some(20)
    line = json.dumps({"user": "bob", key: secret, "page": 2})
    for _ in range(times):
        line = json.dumps({"log": line})
    hidden = REDACTOR.redact(line)
    assert secret not in hidden
    inner = hidden
    for _ in range(times):
        inner = json.loads(inner)["log"]
    assert json.loads(inner)["user"] == "bob"
    assert json.loads(inner)["page"] == 2


@pytest.mark.parametrize("times", [1, 2, 3])
def test_an_escaped_line_break_ends_a_secret(times):
    """A header within a string ends where its line ends."""
    line = f'{{"log": "{escaped(f"X-Api-Key: {some(20)}{chr(10)}Host: x", times)}"}}'
    hidden = REDACTOR.redact(line)
    assert "[redacted:api-key]" in hidden
    assert hidden.endswith('Host: x"}')


@pytest.mark.parametrize("ampersand", ["\\u0026", "\\\\u0026", "\\x26"])
def test_an_ampersand_as_json_escapes_it_ends_a_secret(ampersand):
    r"""Go and .NET write `\u0026` in URLs within JSON."""
    line = f'{{"url": "https://example.com/?token={some(32)}{ampersand}page=2"}}'
    hidden = REDACTOR.redact(line)
    assert "[redacted:token]" in hidden
    assert hidden.endswith(f'{ampersand}page=2"}}')


def test_an_equals_sign_as_json_escapes_it_starts_a_secret():
    r"""`\u003d` is one."""
    assert REDACTOR.redact(f'"q": "api_key\\u003d{some(24)}"') == '"q": "api_key\\u003d[redacted:api-key]"'


# --- HTML and colour codes -------------------------------------------------------------------------------------------


def test_a_secret_in_escaped_html_is_hidden():
    """Error pages show the repr of the settings, with its quotes escaped."""
    secret = some(20)
    line = f"<pre>{html.escape(repr({'password': secret, 'page': 2}))}</pre>"
    assert REDACTOR.redact(line) == line.replace(secret, "[redacted:password]")


@pytest.mark.parametrize("quote_mark", ["&quot;", "&#34;", "&#x22;", "&#39;", "&apos;"])
def test_every_way_to_escape_a_quote_is_known(quote_mark):
    """By name, by number, by hexadecimal number."""
    line = f"{{{quote_mark}password{quote_mark}: {quote_mark}§{quote_mark}, 7}}"
    assert REDACTOR.redact(line.replace("§", some(20))) == line.replace("§", "[redacted:password]")


@pytest.mark.parametrize(
    "line",
    [
        "\x1b[36mpassword\x1b[0m=\x1b[35m§\x1b[0m",
        "\x1b[36mpassword\x1b[0m=\x1b[35m§\x1b[0m \x1b[36mpage\x1b[0m=\x1b[35m2\x1b[0m",
        "\x1b[1m\x1b[31mpassword: §\x1b[0m",
        "\x1b[38;5;208mpassword\x1b[0m: \x1b[1m§\x1b[0m",
    ],
)
def test_colour_codes_are_looked_through(line):
    """Consoles colour keys and values apart."""
    secret = some(20)
    hidden = REDACTOR.redact(line.replace("§", secret))
    assert secret not in hidden
    assert "[redacted:password]" in hidden
    assert hidden.startswith(line.partition("§")[0])


# --- base64 (RFC 4648) -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize(
    "plain",
    [
        lambda: github_token(),
        lambda: json.dumps({"user": "bob>?", "password": some(20)}),
        lambda: f"DB_PASSWORD={some(20)}\nPORT=5432\n",
        lambda: f"postgres://bob:{some(20)}@db/x~~",
        lambda: f"Authorization: Bearer {some(30)}",
    ],
)
def test_base64_that_holds_a_secret_is_hidden_whole(plain, encode, padded):
    """Kubernetes keeps secrets so, and queues their messages; part of it would still be readable."""
    run = encode(plain().encode()).decode()
    run = run if padded else run.rstrip("=")
    hidden = REDACTOR.redact(f"read {run} from it")
    assert hidden.startswith("read [redacted:")
    assert hidden.endswith("] from it")
    assert hidden.count("[") == 1


def test_base64_within_escapes_is_hidden():
    """Its padding and signs are percent-encoded in URLs."""
    run = quote(base64.b64encode(f'{{"api_key": "{some(20)}"}}'.encode()).decode(), safe="")
    hidden = REDACTOR.redact(f"GET /?payload={run}&page=2 HTTP/1.1")
    assert run[:-4] not in hidden
    assert "[redacted:api-key]" in hidden
    assert hidden.endswith("&page=2 HTTP/1.1")


def test_base64_within_base64_is_hidden():
    """Up to three encodings within one another are undone."""
    run = base64.b64encode(base64.b64encode(github_token().encode())).decode()
    assert REDACTOR.redact(f"read {run} now") == "read [redacted:github-token] now"


@pytest.mark.parametrize(
    "data",
    [b"\x89PNG\r\n\x1a\n" + bytes(range(256)), b"just a sentence of words in a row", b'{"page": 2, "size": 50}' * 3],
)
def test_base64_without_a_secret_survives(data):
    """Images, and text that holds nothing."""
    text = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    assert REDACTOR.redact(text) is text


def test_a_digest_is_no_base64():
    """Hashes decode to bytes that are no text."""
    text = f"sha256 {secrets.token_hex(32)} etag {base64.b64encode(bytes(range(200, 232))).decode()}"
    assert REDACTOR.redact(text) is text


def test_what_surrounds_an_encoded_secret_stays_encoded():
    """Positions in what is decoded are taken back to the text."""
    secret = some(20)
    text = f"%41%42 a%3D1%26password%3D{secret}%26b%3D%41"
    assert REDACTOR.redact(text) == text.replace(secret, "[redacted:password]")


def test_encodings_may_be_mixed():
    """A percent-encoded query within JSON within JSON."""
    secret = some(24)
    line = json.dumps({"log": json.dumps({"url": f"/cb?next=%2Fx%3Fapi_key%3D{secret}%26page%3D2"})})
    assert REDACTOR.redact(line) == line.replace(secret, "[redacted:api-key]")
