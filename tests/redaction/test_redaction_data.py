"""What is hidden in dictionaries, lists, pairs, bytes and objects."""

from __future__ import annotations

import copy
import secrets
from collections import OrderedDict, namedtuple
from types import MappingProxyType

import pytest

from launchkit.redaction.engine import Redactor
from launchkit.settings import RedactionSettings

REDACTOR = Redactor(RedactionSettings(allow=("public-.*",)), mask_emails=False)
redact_data = REDACTOR.redact_data


def secret() -> str:
    return "s3" + secrets.token_hex(16)


def test_the_keys_of_dictionaries_tell_what_is_secret():
    """At any depth, and for bytes too."""
    data = {
        "user": "bob",
        "password": secret(),
        "nested": [{"api_key": secret().encode(), b"cookie": b"a=b", "tokens": 512}],
        "token": secret(),
        "code": 200,
    }
    assert redact_data(data) == {
        "user": "bob",
        "password": "[redacted:password]",
        "nested": [{"api_key": b"[redacted:api-key]", b"cookie": b"[redacted:cookie]", "tokens": 512}],
        "token": "[redacted:token]",
        "code": 200,
    }


def test_text_and_bytes_inside_are_redacted_by_content():
    """Whatever key they stand under."""
    assert redact_data({"note": f"password={secret()}"}) == {"note": "password=[redacted:password]"}
    assert redact_data([f"password={secret()}".encode()]) == [b"password=[redacted:password]"]
    assert redact_data({f"ghp_{secret()}": 1}) == {"[redacted:github-token]": 1}


def test_everything_under_a_secret_key_is_hidden():
    """A parsed form has lists; a one-time password may be a number."""
    data = {"password": [secret()], "credentials": {"user": "bob"}, "otp": 123456, "cookies": {"a": "b"}}
    assert redact_data(data) == {
        "password": "[redacted:password]",
        "credentials": "[redacted:credentials]",
        "otp": "[redacted:otp]",
        "cookies": "[redacted:cookie]",
    }


def test_what_is_no_secret_under_a_secret_key_survives():
    """Nothing, a switch, a count, a word, or what the app allows."""
    data = {
        "password": None,
        "secret": True,
        "otp": 3,
        "api_key": "",
        "cookies": {},
        "pwd": "public-demo",
        "token": "x",
    }
    assert redact_data(data) is data


def test_the_scheme_of_an_authorization_header_survives():
    """Under whatever capitals."""
    headers = {"Authorization": f"Bearer {secret()}"}
    assert redact_data(headers) == {"Authorization": "Bearer [redacted:authorization]"}


def test_header_lists_are_redacted_by_name():
    """An ASGI scope has pairs of bytes, as tuples or as lists."""
    scope = {"headers": [(b"host", b"x"), [b"authorization", b"Basic abcd"], ("x-api-key", secret())]}
    assert redact_data(scope) == {
        "headers": [
            (b"host", b"x"),
            [b"authorization", b"Basic [redacted:authorization]"],
            ("x-api-key", "[redacted:api-key]"),
        ]
    }


def test_kinds_of_containers_are_kept():
    """Formatters may rely on them; of a foreign mapping its contents are."""
    point = namedtuple("point", ["note", "x", "y"])  # noqa: PYI024  # an app's may have no types
    text = f"pwd={secret()}"
    assert redact_data(point(text, 1, 2)) == point("pwd=[redacted:password]", 1, 2)
    assert type(redact_data(point(text, 1, 2))) is point
    ordered = redact_data(OrderedDict(pwd=secret()))
    assert type(ordered) is OrderedDict
    assert ordered == {"pwd": "[redacted:password]"}
    assert redact_data({1, text}) == {1, "pwd=[redacted:password]"}
    assert redact_data(frozenset({text})) == frozenset({"pwd=[redacted:password]"})
    assert redact_data(MappingProxyType({"pwd": secret()})) == {"pwd": "[redacted:password]"}
    assert redact_data(bytearray(text.encode())) == b"pwd=[redacted:password]"


def test_nothing_is_changed_in_place():
    """The app goes on working with what it has logged."""
    data = {"password": secret(), "list": [{"token": secret()}, (b"cookie", b"a=b")]}
    before = copy.deepcopy(data)
    redact_data(data)
    assert data == before


def test_data_without_a_secret_is_returned_as_it_is():
    """The same object: nothing is copied for nothing."""
    data = {"user": "bob", "list": [1, 2.0, None, ("a", b"b")], "set": {1}}
    assert redact_data(data) is data


def test_circular_and_shared_data_end():
    """A value is looked at once, however often it is met."""
    circular: dict[str, object] = {"password": secret()}
    circular["self"] = circular
    assert redact_data(circular) == {"password": "[redacted:password]", "self": "[redacted:circular]"}
    shared: list[object] = [secret()]
    for _ in range(30):
        shared = [shared, shared]
    assert redact_data(shared) is shared


def test_what_lies_too_deep_is_hidden_unseen():
    """A cut-off that returned raw values would be a way around."""
    value = secret()
    data: object = {"password": value}
    for _ in range(100):
        data = [data]
    assert value not in str(redact_data(data))
    assert "[redacted:too-deep]" in str(redact_data(data))


class Connection:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"Connection({self.text!r})"


def test_an_object_is_replaced_by_its_text_if_that_holds_a_secret():
    """Objects of the app's cannot be copied, and formatters print them."""
    harmless = Connection("host=db")
    assert redact_data([harmless]) == [harmless]
    assert redact_data([Connection(f"password={secret()}")]) == ["Connection('password=[redacted:password]')"]
    assert redact_data({"password": Connection("x")}) == {"password": "[redacted:password]"}
    assert redact_data(ValueError(f"password={secret()}")) == "password=[redacted:password]"


@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: {"password": value}, lambda value: [value]])
def test_an_object_that_cannot_be_read_is_hidden(wrap):
    """Its `__str__` is the app's code."""

    class Unreadable:
        def __str__(self) -> str:
            raise RuntimeError

    assert "[redacted:" in str(redact_data(wrap(Unreadable())))
