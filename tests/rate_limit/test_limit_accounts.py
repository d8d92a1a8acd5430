"""Whatever account an app would find in a request is among those that are charged."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import secrets
import time
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from flask import Request as FlaskRequest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.formparsers import MultiPartException
from starlette.requests import Request as StarletteRequest
from tests.rate_limit.limited_site import FORM, JSON, Site, post
from tests.support.exchanges import WrittenExchange
from werkzeug.exceptions import HTTPException as WerkzeugError

from launchkit.pipeline.exchange import Header
from launchkit.rate_limit.accounts import (
    LONGEST_ACCOUNT,
    MOST_ACCOUNTS,
    SPARE_FIELDS,
    UNREADABLE,
    AccountReader,
    Unreadable,
    normalise,
)
from launchkit.settings import RateLimitSettings

KEY = secrets.token_bytes(32)
READER = AccountReader(RateLimitSettings().account_fields, lambda: KEY)
VICTIM = "ann@example.com"
UNREAD = (UNREADABLE,)


def of(*accounts: str) -> set[str]:
    return {READER.digest(normalise(account)) for account in accounts}


def read(body: bytes | str = b"", *headers: Header | bytes, query: str = "") -> tuple[str, ...]:
    """Return what is found; a header without a name is a Content-Type."""
    named = [(b"content-type", header) if isinstance(header, bytes) else header for header in headers]
    return READER.read(post("/login" + query, *named), body.encode() if isinstance(body, str) else body)


def charges(found: tuple[str, ...], account: str) -> bool:
    """Tell whether trying that account's password is counted."""
    return found == UNREAD or of(account) <= set(found)


# --- JSON ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type", [b"application/json", b"Application/JSON; charset=utf-8", b"application/a+json"]
)
@pytest.mark.parametrize(
    ("body", "accounts"),
    [
        ('{"email": "ann@example.com", "password": "x"}', [VICTIM]),
        ('{"data": {"user": [{"Email": "ann@example.com"}]}}', [VICTIM]),
        ('{"email": "bob", "email": "ann@example.com"}', ["bob", VICTIM]),
        ('{"email": "bob", "username": "eve", "user": {"email": "ann@example.com"}}', ["bob", "eve", VICTIM]),
        ('{"\\u0065m\\u0061il": "\\u0061nn@example.com"}', [VICTIM]),
        ('{"email": ["bob", "ann@example.com"]}', ["bob", VICTIM]),
        ('{"phone": 4917012345}', ["4917012345"]),
        ('[{"email": "ann@example.com"}]', [VICTIM]),
        ('{"e-mail": "ann@example.com", "User_Name": "bob"}', [VICTIM, "bob"]),
        ('{"user[email]": "ann@example.com"}', [VICTIM]),
        ('{"email": null, "user": true, "login": {}, "account": ""}', []),
        ('{"password": "ann@example.com"}', []),
        ("[]", []),
    ],
)
def test_json_names_its_accounts(content_type: bytes, body: str, accounts: list[str]) -> None:
    """Wherever a member stands, whichever of two an app takes, and however its name is escaped (RFC 8259)."""
    assert set(read(body, content_type)) == of(*accounts)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize(
    "content_type",
    [b"application/json", b"text/plain", b"", b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x"],
)
@pytest.mark.parametrize("padding", ["", "=--x", "&a=b&"])
def test_json_is_recognised_whatever_it_is_called(encoding: str, content_type: bytes, padding: str) -> None:
    """Frameworks parse a body as JSON when asked to, and find its encoding out by themselves."""
    body = json.dumps({"email": VICTIM, "password": padding}).encode(encoding)
    assert charges(read(body, *[content_type] * bool(content_type)), VICTIM)


@pytest.mark.parametrize(
    "body", ["{", '{"email": "a"', b'{"email": "\xff"}', "nothing", "[" * 60_000, "\x00", b"\xff\xfe"]
)
def test_json_that_is_none_is_unreadable(body: bytes | str) -> None:
    """An app that is more lenient than JSON is not to be dodged through."""
    assert read(body, b"application/json") == UNREAD


def test_a_number_too_long_to_read_is_unreadable() -> None:
    """Python refuses to read it, and so does the app."""
    assert read('{"email": %s}' % ("9" * 20_000), b"application/json") == UNREAD


# --- forms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "accounts"),
    [
        ("email=ann%40example.com&password=x", [VICTIM]),
        ("email=bob&email=ann@example.com&username=eve", ["bob", VICTIM, "eve"]),
        ("%65mail=ann@example.com", [VICTIM]),
        ("user%5Bemail%5D=ann@example.com", [VICTIM]),
        ("auth-username=bob", ["bob"]),
        ("email=+ann@example.com+", [VICTIM]),
        ("email=&a=1", []),
        ("a=1", []),
    ],
)
@pytest.mark.parametrize("content_type", [FORM[1], b"Application/X-WWW-Form-Urlencoded;charset=UTF-8"])
def test_forms_name_their_accounts(content_type: bytes, body: str, accounts: list[str]) -> None:
    """Every field that may hold an account counts, however its name is written."""
    assert set(read(body, content_type)) == of(*accounts)


@pytest.mark.parametrize("content_type", [[], [b"text/plain"], [b"application/x-www-form-urlencoded, text/html"]])
def test_a_form_that_is_called_something_else_is_charged_all_the_same(content_type: list[bytes]) -> None:
    """An app may read it nevertheless."""
    assert charges(read("email=ann@example.com", *content_type), VICTIM)


def test_the_query_string_names_accounts_too() -> None:
    """In addition to the body's."""
    assert set(read("email=bob", FORM, query="?email=ann%40example.com&x=1")) == of("bob", VICTIM)


def test_a_request_without_account_names_none() -> None:
    """An empty body and other fields are not unreadable."""
    assert read() == ()
    assert read(query="?page=2") == ()


@pytest.mark.parametrize(
    ("body", "header"),
    [
        (b"<login>ann</login>", b"text/xml"),
        (b"\x81\xa5email", b"application/msgpack"),
        (b"email=ann", (b"content-encoding", b"gzip")),
        (b"&".join([b"a=1"] * 2000), FORM),
        (b"x", b"multipart/form-data"),
        (b"x", b"multipart/form-data; boundary=a"),
        (b"--a" * 2000, b"multipart/form-data; boundary=a"),
    ],
)
def test_what_cannot_be_read_shares_one_bucket(body: bytes, header: Header | bytes) -> None:
    """Garbage does not dodge the key."""
    assert read(body, header) == UNREAD


def test_an_identity_encoding_is_none() -> None:
    """It says that nothing was done to the body (RFC 9110 section 8.4.1)."""
    assert set(read("email=bob", FORM, (b"content-encoding", b"identity"))) == of("bob")


def test_more_accounts_than_anybody_has_are_unreadable() -> None:
    """One request does not lock many accounts."""
    fields = [f"email=user{number}" for number in range(MOST_ACCOUNTS + 1)]
    assert set(read("&".join(fields[:-1]), FORM)) == of(*[f"user{number}" for number in range(MOST_ACCOUNTS)])
    assert read("&".join(fields), FORM) == UNREAD


def test_spellings_of_one_account_are_counted_once() -> None:
    """Many of them are no more than one account."""
    spellings = "&".join(f"email={'+' * number}ann" for number in range(3 * MOST_ACCOUNTS))
    assert set(read(spellings, FORM)) == of("ann")


# --- HTTP Basic ------------------------------------------------------------------------------------------------------


def basic(text: str, scheme: str = "Basic ") -> Header:
    return b"authorization", (scheme + base64.b64encode(text.encode()).decode()).encode()


def test_http_basic_names_an_account() -> None:
    """The user is what stands before the first colon (RFC 7617 section 2)."""
    assert set(read(b"", basic("ann@example.com:pass:word"))) == of(VICTIM)
    assert set(read(b"", basic("Ann@Example.com", "bAsIc   "))) == of(VICTIM)
    assert read(b"", basic(":password")) == ()
    assert read(b"", (b"authorization", b"Bearer ann")) == ()


@pytest.mark.parametrize("value", [b"Basic", b"Basic ", b"Basic =", b"Basic YW5u!", b"basic \xff", b"Basic YW5"])
def test_http_basic_that_is_none_names_nobody(value: bytes) -> None:
    """What decoders disagree about is unreadable."""
    assert read(b"", (b"authorization", value)) in (UNREAD, ())


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_authorizations_neither_hides_the_other(order: int) -> None:
    """Frameworks differ in which they take."""
    found = read(b"", *[basic("ann@example.com:x"), basic("decoy:x")][::order])
    assert charges(found, VICTIM)
    assert charges(found, "decoy")


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_content_types_neither_hides_the_other(order: int) -> None:
    """Frameworks differ in which they take."""
    body = b"email=ann@example.com&z=--zz"
    assert charges(read(body, *[FORM[1], b"multipart/form-data; boundary=zz"][::order]), VICTIM)


# --- spellings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spelling",
    [
        "ANN@Example.COM",
        "  ann@example.com\t\r\n",
        "ann @example.com",
        "\uff41\uff4e\uff4e@example.com",
        "ann\u200b@example.com",
        "\ufeffann@example.com",
        "ann\u00ad@example.com",
        "ann\u00a0@example.com",
        "ann\u2028@example.com",
        "ann\x00@example.com",
        "ann\ufe0f@example.com",
        "ann\u034f@example.com",
        "ann@example\uff0ecom",
        "ann@example\u3002com",
        "Ann Smith <ann@example.com>",
        '"Ann, Smith" <ann@example.com>',
        "<ann@example.com>",
    ],
)
def test_spellings_of_one_account_are_one(spelling: str) -> None:
    """Width, case, invisible characters, and what validators take for the same mailbox."""
    assert charges(read(json.dumps({"email": spelling}), b"application/json"), VICTIM)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("stra\u00dfe", "STRASSE"),
        ("\ufb01sh", "fish"),
        ("jos\u00e9", "jose\u0301"),
        ("jos\u00e9", "jose\u200b\u0301"),
        ("\u017fam", "sam"),
        ("\u212bngstr\u00f6m", "\u00e5ngstr\u00f6m"),
        ("a\u0323\u0307", "a\u0307\u0323"),
    ],
)
def test_letters_that_are_written_differently_are_the_same(one: str, other: str) -> None:
    """Composed or not, long or short, ligature or not."""
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ("one", "other"), [("\u0131", "i"), ("a.b", "ab"), ("a+b", "a"), ("0", "o"), ("a@x.de", "a@x.com")]
)
def test_accounts_that_are_not_the_same_stay_apart(one: str, other: str) -> None:
    """A dotless i is no i; dots and plus signs mean something to most apps."""
    assert normalise(one) != normalise(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("+49 (170) 123-45", "+4917012345"),
        ("170.123.45", "17012345"),
        ("042", "42"),
        ("42.0", "42"),
        ("42.00", "42"),
        ("+42", "42"),
        ("4_2", "42"),
        ("\u0664\u0662", "42"),
        ("\uff14\uff12", "42"),
        ("0", "00"),
    ],
)
def test_a_number_is_its_digits(one: str, other: str) -> None:
    """However it is grouped: apps take the groups away, and read numbers as numbers."""
    assert normalise(one) == normalise(other)


@given(st.text(max_size=40))
def test_folding_twice_changes_nothing(text: str) -> None:
    """What is folded is folded for good."""
    once = normalise(text)
    assert normalise(once) == once
    assert normalise(f" {text}\u200b") == once


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_case_and_width_never_make_another_account(text: str) -> None:
    """Whatever the script: what Python's own comparison without case takes for equal is equal."""
    assert normalise(text.casefold()) == normalise(text)
    assert normalise(text.upper().casefold()) == normalise(text.upper())


def test_an_account_beyond_all_measure_is_unreadable() -> None:
    """Long texts are not kept, hashed or folded."""
    assert normalise("a" * LONGEST_ACCOUNT) == "a" * LONGEST_ACCOUNT
    with pytest.raises(Unreadable):
        normalise("a" * (LONGEST_ACCOUNT + 1))
    assert read(json.dumps({"email": "a" * 5000}), b"application/json") == UNREAD
    assert read(json.dumps({"email": "\ufdfa" * LONGEST_ACCOUNT}), b"application/json") != ()


# --- multipart -------------------------------------------------------------------------------------------------------

BOUNDARY = "----WebKitFormBoundary7MA4"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}".encode()


def part(disposition: bytes, value: bytes = VICTIM.encode(), *, lines: bytes = b"\r\n") -> bytes:
    return b"Content-Disposition: form-data; " + disposition + lines * 2 + value


def multipart(*parts: bytes, boundary: str = BOUNDARY, lines: bytes = b"\r\n") -> bytes:
    mark = b"--" + boundary.encode()
    return b"".join(mark + lines + one + lines for one in parts) + mark + b"--" + lines


@pytest.mark.parametrize(
    "disposition",
    [b'name="email"', b"name=email", b'NAME="email"', b'name="user[email]"', b'filename="a.txt"; name="email"'],
)
def test_a_part_that_names_an_account_is_found(disposition: bytes) -> None:
    """As browsers and other clients write it, with a file name or without."""
    body = multipart(part(b'name="password"', b"x"), part(disposition))
    assert charges(read(body, MULTIPART), VICTIM)


def test_what_browsers_send_is_read_exactly() -> None:
    """Every field that names an account counts, duplicates included; others and files do not."""
    file = b'name="photo"; filename="email.png"\r\nContent-Type: image/png'
    body = multipart(
        part(b'name="email"'),
        part(b'name="email"', b"bob"),
        part(b'name="password"', b"eve"),
        part(file, b"\xff\r\n\0"),
    )
    assert set(read(body, MULTIPART)) == of(VICTIM, "bob")
    quoted = f'multipart/form-data; boundary="{BOUNDARY}"'.encode()
    assert set(read(body, quoted)) == of(VICTIM, "bob")


@pytest.mark.parametrize(
    ("head", "value"),
    [
        (b"Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name=email", VICTIM),
        (b'Content-Disposition: form-data; name="email"\r\nContent-Length: 15', VICTIM),
        (b'content-disposition: form-data; name="email"\r\ncontent-transfer-encoding: binary', VICTIM),
        (
            b'Content-Disposition: form-data; name="email"\r\nContent-Transfer-Encoding: 8bit\r\n%s'
            % b"Content-Type: text/plain; charset=ISO-8859-1",
            VICTIM,
        ),
        (b'Content-Disposition: form-data; name="email"\r\nContent-Type: text/plain; charset=utf-8', "j\u00f6rg"),
    ],
    ids=["dotnet", "okhttp", "dart", "apache", "aiohttp"],
)
def test_what_other_clients_send_is_read_exactly(head: bytes, value: str) -> None:
    """Each writes parts in its own way, and all frameworks read them alike; unreadable they would share one bucket."""
    assert set(read(multipart(head + b"\r\n\r\n" + value.encode()), MULTIPART)) == of(value)


def test_a_file_without_a_plain_name_may_be_a_field() -> None:
    """`filename*` alone is a file to one framework and a field to another."""
    assert charges(read(multipart(part(b"name=\"email\"; filename*=utf-8''a")), MULTIPART), VICTIM)


_parsers_leave_files_open = pytest.mark.filterwarnings("ignore:Unclosed file <tempfile.Spooled:ResourceWarning")
"""The frameworks' own parsers do, where they give a body up in the middle of a part."""

DECOY = multipart(part(b'name="email"'))
TRICKS: list[tuple[bytes, bytes]] = [
    (MULTIPART.replace(b"; ", b"; xboundary=zz; "), DECOY + b"--zz"),
    (MULTIPART.replace(b"; ", b"; boundary=zz; "), DECOY + b"--zz"),
    (MULTIPART + b"; boundary=zz", DECOY + b"--zz"),
    (MULTIPART.replace(b"; ", b'; x="boundary=zz"; '), DECOY + b"--zz"),
    (b'multipart/form-data; boundary="b\\bb"', multipart(part(b'name="email"'), boundary="bbb") + b"--b\\bb"),
    (b"multipart/form-data; boundary*0=b; boundary*1=b; xboundary=zz", multipart(part(b'name="email"'), boundary="bb")),
    (
        b"multipart/form-data; boundary*=utf-8''bb; xboundary=z",
        multipart(part(b'name="email"'), boundary="bb") + b"--z",
    ),
    (b"multipart/form-data; boundary=bb,", multipart(part(b'name="email"'), boundary="bb") + b"--bb,"),
    (b'multipart/form-data; boundary="bb "', multipart(part(b'name="email"'), boundary="bb") + b"--bb "),
    (MULTIPART, multipart(part(b'name*0="em"; name*1="ail"'))),
    (MULTIPART, multipart(part(b"name*0*=utf-8''em%61; name*1=il"))),
    (MULTIPART, multipart(part(b"name*=utf-8''em%61il"))),
    (MULTIPART, multipart(part(b'name="email"', lines=b"\r"), lines=b"\r")),
    (MULTIPART, multipart(part(b'name="email"', lines=b"\n"), lines=b"\n")),
    (MULTIPART, multipart(part(b'x="\n\n"; name="email"'))),
    (MULTIPART, multipart(b"X: a\n\nb\r\n" + part(b'name="email"'))),
    (MULTIPART, multipart(part(b'y="\\"; name="; name=email; z="'))),
    (MULTIPART, multipart(part(b'y="\\"; name="; name=email; z="1"'))),
    (MULTIPART, multipart(part(b'name="em\\ail"'))),
    (MULTIPART, multipart(part(b'name="a"; name="email"'))),
    (MULTIPART, multipart(part(b'name="email"; name="a"'))),
    (MULTIPART, multipart(part(b'\r\n name="email"'))),
    (MULTIPART, multipart(part(b'name="a"') + b"\r\n" + part(b'name="email"'))),
    (MULTIPART, b"preamble\r\n" + DECOY),
    (MULTIPART, DECOY + b"epilogue"),
    (MULTIPART, multipart(part(b'name="email"', b"decoy")) + DECOY),
    (MULTIPART, DECOY.replace(b"\r\n", b" \t\r\n", 1)),
    (MULTIPART + b"; charset=utf-7", multipart(part(b'name="email"', b"ann+AEA-example.com"))),
    (MULTIPART + b"; charset=unicode_escape", multipart(part(b'name="\\x65mail"'))),
    (
        MULTIPART + b"; charset=cp037",
        multipart(part(b'name="' + "email".encode("cp037") + b'"', VICTIM.encode("cp037"))),
    ),
    (MULTIPART, multipart(part(b'name="email"', b"\xa0\xa0" + VICTIM.encode()))),
    (
        MULTIPART,
        multipart(part(b'name="email"\r\nContent-Type: text/plain; charset=iso-8859-1', b"\xa0" + VICTIM.encode())),
    ),
    (FORM[1], b"email=\xa0\xa0ann@example.com"),
    (FORM[1], b"email=\x85ann@example.com&password=x"),
    (FORM[1], b"a=1;email=ann@example.com"),
    (FORM[1], b"email=%C2%A0ann@example.com"),
]


@_parsers_leave_files_open
@pytest.mark.parametrize(("content_type", "body"), TRICKS)
def test_what_parsers_differ_about_hides_no_account(content_type: bytes, body: bytes) -> None:
    """Where a framework finds an account, it is charged, or the body counts as unreadable."""
    found = read(body, content_type)
    for account in found_by_frameworks([(b"content-type", content_type)], body):
        assert charges(found, account.strip()), account


def test_a_boundary_inside_of_a_value_hides_no_account() -> None:
    """A client may choose a boundary that stands in the account."""
    body = multipart(part(b'name="email"', b"ann--smith@example.com"), boundary="smith")
    found = read(body, b"multipart/form-data; boundary=smith")
    assert charges(found, "ann--smith@example.com")


@pytest.mark.parametrize(
    "body",
    [
        multipart(part(b";name=a" * 4500, b"v" * 30_000)),
        multipart(part(b'name="\\' * 7000)),
        multipart(part(b"name=" + b" " * 60_000)),
        multipart(part(b"name" + b" " * 30_000 + b"=" + b" " * 30_000)),
        multipart(*[part(b'name="email"')] * 700),
    ],
)
@pytest.mark.real_time
def test_no_body_takes_long_to_read(body: bytes) -> None:
    """It is read on the event loop: however it is made, it costs milliseconds."""
    begun = time.process_time()
    read(body, MULTIPART)
    assert time.process_time() - begun < 0.1


# --- the frameworks as judges ----------------------------------------------------------------------------------------


def found_by_frameworks(headers: list[Header], body: bytes) -> set[str]:
    """Return every account that Starlette's and Flask's own parsers would hand to an app."""
    pairs = [
        pair
        for parsed in (starlette_form, starlette_json, flask_form, flask_json)
        for pair in accepted(parsed, headers, body)
    ]
    fields = set(RateLimitSettings().account_fields)
    return {value for name, value in pairs if name in fields and value.strip()}


def accepted(parse: Any, headers: list[Header], body: bytes) -> list[tuple[str, str]]:
    """Return the pairs that a parser finds; none where it refuses the body."""
    refusals = (MultiPartException, WerkzeugError, ValueError, RecursionError)
    try:
        pairs: list[tuple[str, str]] = parse(headers, body)
    except refusals:
        return []
    return [(name, value) for name, value in pairs if isinstance(name, str) and isinstance(value, str)]


def starlette_request(headers: list[Header], body: bytes) -> StarletteRequest:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {"type": "http", "method": "POST", "path": "/login", "headers": headers, "query_string": b""}
    return StarletteRequest(scope, receive)


def starlette_form(headers: list[Header], body: bytes) -> Any:
    async def parse() -> Any:
        async with starlette_request(headers, body).form() as form:
            return form.multi_items()

    return asyncio.run(parse())


def starlette_json(headers: list[Header], body: bytes) -> Any:
    return members(asyncio.run(starlette_request(headers, body).json()))


def flask_request(headers: list[Header], body: bytes) -> FlaskRequest:
    first = dict(reversed(headers))
    return FlaskRequest(
        {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/login",
            "QUERY_STRING": "",
            "SERVER_NAME": "example.org",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": first.get(b"content-type", b"").decode("latin-1"),
        }
    )


def flask_form(headers: list[Header], body: bytes) -> Any:
    with flask_request(headers, body) as request:
        return list(request.form.items(multi=True))


def flask_json(headers: list[Header], body: bytes) -> Any:
    return members(flask_request(headers, body).get_json(force=True))


def members(value: object) -> list[tuple[str, object]]:
    if isinstance(value, dict):
        return [*value.items(), *[pair for inner in value.values() for pair in members(inner)]]
    return [pair for inner in value for pair in members(inner)] if isinstance(value, list) else []


NAMES = ("email", "username", "user", "login", "password", "x", "phone")
VALUES = st.sampled_from(
    [VICTIM, " Ann@Example.COM", "ann", "j\u00f6rg", "a&b=c", '"', "a\r\nb", "--b", "\u00a0ann", ""]
)
fields = st.lists(st.tuples(st.sampled_from(NAMES), VALUES), min_size=1, max_size=4)
ENCODINGS = ("utf-8", "latin-1", "utf-16", "utf-8-sig", "utf-16-be", "cp037")
TYPES = st.sampled_from(
    [
        b"application/json",
        b"application/x-www-form-urlencoded",
        b"text/plain",
        b"",
        b"multipart/form-data; boundary=b",
        b'multipart/form-data; boundary="b"; charset=latin-1',
        b"multipart/form-data; charset=utf-16-be; boundary=b",
        b"multipart/form-data;boundary=b;boundary=c",
        b"Multipart/Form-Data; xboundary=c; boundary=b",
    ]
)


@st.composite
def json_bodies(draw: st.DrawFn) -> bytes:
    pairs = [
        f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=draw(st.booleans()))}" for name, value in draw(fields)
    ]
    text = "{" + ", ".join(pairs) + "}"
    nested = draw(st.sampled_from(["%s", '{"data": %s}', "[%s]", '{"z": "=&--b", "data": [%s]}', "\n %s"]))
    return (nested % text).encode(draw(st.sampled_from(ENCODINGS)), "replace")


@st.composite
def form_bodies(draw: st.DrawFn) -> bytes:
    encoding = draw(st.sampled_from(ENCODINGS[:2]))
    write = draw(st.sampled_from([quote, quote_plus, lambda text, **_: text]))
    joined = draw(st.sampled_from(["&", "&", ";", "&&"])).join(
        f"{write(name, encoding=encoding, errors='replace')}={write(value, encoding=encoding, errors='replace')}"
        for name, value in draw(fields)
    )
    return joined.encode(encoding, "replace")


@st.composite
def multipart_bodies(draw: st.DrawFn) -> bytes:
    breaks = draw(st.sampled_from([b"\r\n", b"\r\n", b"\n", b"\r"]))
    encoding = draw(st.sampled_from(ENCODINGS))
    boundary = draw(st.sampled_from([b"--b", b"--b", b"--b ", b"--c", b"-- b"]))
    body = draw(st.sampled_from([b"", b"", b"preamble" + breaks, breaks, b"--c" + breaks]))
    for name, value in draw(fields):
        shape = draw(
            st.sampled_from(
                [
                    b'name="%s"',
                    b"name=%s",
                    b"name*=utf-8''%s",
                    b'name*0="%s"',
                    b'filename="f"; name="%s"',
                    b'x="\\"; name="; name=%s; z="',
                    b'x="\n\n"; name="%s"',
                    b'name="%s"; name="x"',
                    b'name="x"; name="%s"',
                    b'name="%s"\r\nContent-Type: text/plain; charset=iso-8859-1',
                ]
            )
        )
        disposition = shape % name.encode(encoding)
        header = draw(
            st.sampled_from([b"Content-Disposition: ", b"content-disposition:", b"X: 1\r\nContent-Disposition: "])
        )
        body += boundary + breaks + header + b"form-data; " + disposition + breaks * 2
        body += value.encode(encoding, "replace") + breaks
    return body + draw(st.sampled_from([b"--b--", b"--b--\r\n", b"--b", b"", b"--b--\r\n--c", b"--b--\r\n--b--"]))


@_parsers_leave_files_open
@settings(deadline=None)
@given(TYPES, TYPES | st.none(), json_bodies() | form_bodies() | multipart_bodies())
@example(b"text/plain", None, b"\xef\xbb\xbf" + json.dumps({"email": VICTIM, "z": "="}).encode())
@example(FORM[1], b"multipart/form-data; boundary=zz", b"email=ann@example.com&z=--zz")
def test_whatever_account_an_app_would_be_given_is_charged(first: bytes, second: bytes | None, body: bytes) -> None:
    """Starlette's and Flask's own parsers are the judges, before and after an app strips white space."""
    headers = [(b"content-type", value) for value in (first, second) if value is not None]
    found = READER.read(WrittenExchange("POST", "/login", headers), body)
    for account in found_by_frameworks(headers, body):
        assert charges(found, account), account
        assert not account.strip() or charges(found, account.strip()), account


# --- what leaves -----------------------------------------------------------------------------------------------------


@given(st.binary(max_size=300), TYPES | st.binary(max_size=40), st.binary(max_size=30), st.text(max_size=20))
def test_no_request_makes_it_raise(body: bytes, content_type: bytes, authorization: bytes, query: str) -> None:
    """Whatever is sent, the answer is some hashes."""
    headers = [(b"content-type", content_type), (b"authorization", b"Basic " + authorization)]
    exchange = WrittenExchange("POST", "/login", headers)
    exchange._query = query.encode("utf-8", "replace").decode("latin-1")
    assert all(isinstance(account, str) for account in READER.read(exchange, body))


letters = st.text(st.sampled_from("ghijklmnopqrstuvwxyzGHIJKL\u00e4\u00df\u0436\u03bb"), min_size=6, max_size=30)


@given(account=st.emails() | letters, password=letters)
def test_neither_account_nor_password_is_in_any_key(account: str, password: str) -> None:
    """Keys may lie in a store, in a log or in a core dump."""
    limits = {"rules": {"a": {"paths": "/login", "limit": "5/minute", "by": "ip+account, path, header:authorization"}}}
    site = Site(limits | {"login": {"paths": "/login"}})
    exchange = post("/login", JSON, basic(f"{account}:{password}"))
    site.enter(exchange, json.dumps({"email": account, "password": password}).encode())
    kept = [charge.key for charge in site.charges]
    assert len(kept) >= 6
    for secret in (account, normalise(account), password, account.partition("@")[0] + "@"):
        assert not any(secret in key for key in kept)


def test_the_hash_is_keyed() -> None:
    """Whoever has the keys of the buckets cannot try addresses against them."""
    other = AccountReader(("email",), lambda: secrets.token_bytes(32))
    exchange = post("/login?email=ann")
    assert READER.read(exchange, b"") != other.read(exchange, b"")
    assert READER.read(exchange, b"") == AccountReader(("email",), lambda: KEY).read(exchange, b"")


def test_the_key_is_asked_for_once_and_late() -> None:
    """Making a reader opens no file."""
    asked = []

    def key() -> bytes:
        asked.append(1)
        return KEY

    reader = AccountReader(("E-Mail",), key)
    assert asked == []
    for _ in range(3):
        assert len(reader.read(post("/login?email=ann"), b"")) == 1
    assert asked == [1]


@pytest.mark.parametrize("other", [b"remember_username=on", b"login=Log+in"])
def test_what_buttons_and_checkboxes_send_is_no_account(other: bytes) -> None:
    """They send the same for everybody: one shared bucket would lock everybody out."""
    body = b"email=ann%40example.com&" + other
    assert READER.read(post("/login", FORM), body) == (READER.digest("ann@example.com"),)


@pytest.mark.parametrize(
    ("sent", "accounts"),
    [
        ({"user_id": 1}, ["1"]),
        ({"username": "on"}, ["on"]),
        ({"login": "ann"}, ["ann"]),
        ({"user": "ann", "password": "x"}, ["ann"]),
        ({"phone_number": "+49 170 1"}, ["491701"]),
        ({"login": "Log in", "password": "x"}, []),
        ({"email": "ann@example.com", "login": "Anmelden"}, ["ann@example.com"]),
    ],
)
def test_names_that_may_be_a_buttons_are_looked_at_where_there_is_no_other(
    sent: dict[str, object], accounts: list[str]
) -> None:
    """A field that is named as an account's counts whatever it holds; `login` and its like only without one."""
    reader = AccountReader(RateLimitSettings().account_fields, lambda: KEY, SPARE_FIELDS)
    assert reader.read(post("/login", JSON), json.dumps(sent).encode()) == tuple(map(reader.digest, accounts))


def test_fields_that_are_set_are_the_only_ones() -> None:
    """Whoever names the app's field wants no other."""
    site = Site({"account_fields": ["nick"]}, login="/login")
    for number in range(6):
        assert site.enter(post("/login", JSON), b'{"login": "ann", "email": "a@b"}') is None, number
