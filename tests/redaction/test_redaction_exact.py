"""Values that are known to be secret are found however they are written."""

from __future__ import annotations

import base64
import html
import json
import random
import secrets
import shlex
import string
import threading
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.growth import grows_linearly

from launchkit.redaction.exact import ExactValues, environment_values
from launchkit.redaction.keys import Kind


def opaque(length: int = 24) -> str:
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length))


def awkward() -> str:
    """Return a value with everything that anything escapes."""
    marks = list("@/\"' é+$\\<>&%?~😀\t\n=")
    random.shuffle(marks)
    return opaque(6) + "x".join(marks) + opaque(6)


def known(*values: str) -> ExactValues:
    exact = ExactValues()
    for value in values:
        assert exact.add(value, "value")
    return exact


def hidden(exact: ExactValues, text: str) -> str:
    for found in reversed(exact.find(text)):
        text = text[: found.start] + f"[{found.rule}]" + text[found.end :]
    return text


WRITTEN: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "URL": lambda value: quote(value, safe=""),
    "URL, lower case": lambda value: "".join(
        c if c.isalnum() and c.isascii() else quote(c, safe="").lower() for c in value
    ),
    "URL path": quote,
    "form": quote_plus,
    "JavaScript": lambda value: quote(value, safe="!'()*~"),
    "URL, twice": lambda value: quote(quote(value)),
    "JSON": lambda value: json.dumps(value)[1:-1],
    "JSON, not ASCII": lambda value: json.dumps(value, ensure_ascii=False)[1:-1],
    "JSON, twice": lambda value: json.dumps(json.dumps(value))[3:-3],
    "JSON, three times": lambda value: json.dumps(json.dumps(json.dumps(value)))[7:-7],
    "JSON for HTML": lambda value: json.dumps(value)[1:-1].replace("<", "\\u003c").replace("&", "\\u0026"),
    "repr": lambda value: repr(value)[1:-1],
    "ascii": lambda value: ascii(value)[1:-1],
    "repr of bytes": lambda value: repr(value.encode())[2:-1],
    "repr of JSON": lambda value: repr(json.dumps(value))[2:-2],
    "HTML": html.escape,
    "HTML, numbers": lambda value: value.encode("ascii", "xmlcharrefreplace").decode(),
    "shell": lambda value: shlex.quote(f"{value} ")[1:-2],
}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
def test_a_value_is_found_however_it_is_escaped(written: Callable[[str], str]) -> None:
    """No character of it stays, and none around it goes."""
    for value in (awkward(), awkward(), opaque()):
        assert hidden(known(value), f"<<{written(value)}>>") == "<<[value]>>"


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("before", range(6))
def test_a_value_is_found_inside_base64(encode: Callable[[bytes], bytes], before: int) -> None:
    """Wherever it begins in a group of three bytes: what is left of the text does not tell a byte of it."""
    for value in (awkward(), opaque(), opaque(9), "~?>" + opaque() + "ÿ~?>"):
        text = encode(b"user:pw"[:before] + value.encode() + b"tail").decode()
        (found,) = known(value).find(text)
        assert found.start <= before * 8 // 6
        assert found.end * 6 >= (before + len(value.encode())) * 8
        assert found.start >= before * 8 // 6 - 1
        assert found.end * 6 <= (before + len(value.encode())) * 8 + 11


def test_basic_authentication_keeps_its_scheme() -> None:
    """The password in `Authorization: Basic` is found behind the user's name."""
    value = opaque(20)
    token = base64.b64encode(f"app:{value}".encode()).decode()
    assert hidden(known(value), f"Authorization: Basic {token}").startswith("Authorization: Basic YXBwO[value]")


def test_values_that_overlap_are_one() -> None:
    """Where one value contains another or they share characters, one marker takes the place of all."""
    first, middle, last = opaque(8), opaque(8), opaque(8)
    exact = known(middle, first + middle, middle + last)
    assert hidden(exact, f"a {first}{middle}{last} b {middle}") == "a [value] b [value]"


def test_values_next_to_each_other_are_two() -> None:
    """Touching is not overlapping, and each keeps its rule."""
    exact = known(one := opaque())
    other = opaque()
    assert exact.add(other, "setting")
    assert hidden(exact, one + other + one) == "[value][setting][value]"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "short-7",
        " padded ",
        "localhost",
        "Postgres",
        "changeme",
        "password",
        "--------------------",
        "2024-01-01",
        "12345678901",
        "127.0.0.1",
    ],
)
def test_a_value_that_would_take_harmless_text_with_it_is_refused(value: str) -> None:
    """Short ones, common words, dates, rulers: they stand in lines that hold no secret."""
    exact = ExactValues()
    assert not exact.add(value, "value")
    assert exact.find(f"at {value} on {value}") == []


def test_a_long_number_is_taken() -> None:
    """Twelve digits are more than a date or a process id has."""
    number = secrets.choice("123456789") + "".join(secrets.choice("0123456789") for _ in range(11))
    assert hidden(known(number), f"n={number}") == "n=[value]"


def test_white_space_around_a_value_does_not_count() -> None:
    """A secret read from a file ends with a line break that nothing else has."""
    value = opaque()
    assert hidden(known(f"{value}\n"), f"({value})") == "([value])"


def test_each_line_of_a_key_is_found_by_itself() -> None:
    """Logs cut PEM into lines; what begins and ends it is no secret."""
    lines = [opaque(64), opaque(63) + "/", opaque(30) + "+/="]
    dashes = "-" * 5
    head, tail = f"{dashes}BEGIN PRIVATE " + f"KEY{dashes}", f"{dashes}END PRIVATE " + f"KEY{dashes}"
    key = "\n".join((head, *lines, tail))
    exact = known(key)
    assert hidden(exact, "\n| ".join((head, *lines, tail))) == f"{head}\n| [value]\n| [value]\n| [value]\n| {tail}"
    assert hidden(exact, json.dumps(key)) == '"[value]"'
    assert hidden(exact, key.replace("\n", "\r\n")) == "[value]"


def test_markers_are_left_alone() -> None:
    """A value that is a word of a marker is not looked for in one, so that redacting twice changes nothing."""
    exact = known("stripe-secret-key", "environment")
    text = "[redacted:stripe-secret-key] [redacted:environment:1a2b3c4d]"
    assert exact.find(text) == []
    assert hidden(exact, f"{text} environment") == f"{text} [value]"


def test_a_value_that_is_added_twice_is_searched_for_once() -> None:
    """Kits that are made again and again do not slow the process down; the first rule stays."""
    value = opaque()
    exact = known(value)
    assert exact.add(value, "setting")
    assert [found.rule for found in exact.find(value)] == ["value"]


def test_nothing_is_found_where_nothing_is_known() -> None:
    """An empty set finds nothing in anything."""
    assert ExactValues().find(opaque()) == []
    assert not ExactValues().may_be_in("0a1b2c3d")


@settings(max_examples=200, deadline=None)
@given(
    st.text(min_size=8, max_size=30).filter(lambda value: ExactValues().add(value, "value")),
    st.text(max_size=20),
    st.sampled_from(sorted(WRITTEN)),
)
def test_any_value_is_found_in_any_text(value: str, around: str, written: str) -> None:
    """Nothing of a value that is taken stays, whatever it is made of."""
    value = value.strip()
    form = WRITTEN[written](value)
    text = f"{around} {form} {around}"
    exact = known(value)
    assert exact.may_be_in(text)
    start = len(around) + 1
    covered = {position for found in exact.find(text) for position in range(found.start, found.end)}
    assert covered.issuperset(range(start, start + len(form)))


def test_values_come_while_others_read() -> None:
    """Readers see a value at the latest when `add` has returned, and never half of it."""
    exact, values = ExactValues(), [opaque() for _ in range(100)]
    text = " ".join(values)
    seen: list[str] = []
    failures: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            added = len(seen)
            if len(exact.find(text)) < added:
                failures.append(added)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for value in values:
        exact.add(value, "value")
        seen.append(value)
    done.set()
    for reader in readers:
        reader.join()
    assert not failures
    assert len(exact.find(text)) == len(values)


def test_time_is_linear_in_the_length() -> None:
    """Four times the text takes about four times as long, with two hundred values known."""
    exact = known(*(opaque() if index % 2 else awkward() for index in range(200)))
    part = opaque(5)
    exact.add(part + "\\" * 4 + opaque(), "value")
    for piece in ("\\", "%25", "&#0", "\\u00", part, part + "\\", "0aA1", "[redacted:value]"):
        assert grows_linearly(exact.find, piece, 60_000), piece


# --- the environment -------------------------------------------------------------------------------------------------


def kind(name: str) -> Kind | None:
    certain = {"PASSWORD": True, "API_KEY": True, "TOKEN": False}
    return next((Kind("x", certain=certain[word]) for word in certain if name.endswith(word)), None)


def test_secrets_of_the_environment_are_those_with_secret_names() -> None:
    """The name decides; a doubtful one needs a value that looks random, and any URL gives its password."""
    password, key, token = opaque(), opaque(), "a1" + opaque(30)
    environ = {
        "DB_PASSWORD": f" {password}\n",
        "API_KEY": key,
        "TOKEN": token,
        "OTHER_TOKEN": "standard-tokens",
        "PUBLIC": opaque(),
        "DATABASE_URL": f"postgres://app:{quote('p@' + key, safe='')}@db.example.com/app",
        "REDIS_PASSWORD": "redis://cache.example.com/0",
        "TLS_PASSWORD": "/etc/ssl/private/key.pem",
        "SAMPLE_PASSWORD": "${PASSWORD}",
        "EMPTY_PASSWORD": "",
        "BROKEN_PASSWORD": "http://[broken",
    }
    assert dict(environment_values(environ, kind)) == {
        "DB_PASSWORD": password,
        "API_KEY": key,
        "TOKEN": token,
        "DATABASE_URL": "p@" + key,
    }
