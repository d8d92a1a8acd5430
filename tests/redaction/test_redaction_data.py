"""What is hidden in dictionaries, lists, pairs, bytes and objects."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import enum
import re
import secrets
import string
import threading
import time
import uuid
from collections import OrderedDict, UserDict, deque, namedtuple
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from http import HTTPStatus
from http.cookies import SimpleCookie
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlparse, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretBytes, SecretStr, field_validator
from starlette.datastructures import URL, FormData, Headers, QueryParams
from werkzeug.datastructures import Headers as WerkzeugHeaders
from werkzeug.datastructures import ImmutableMultiDict, MultiDict

from launchkit.redaction.data import DataRedactor
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
        "nested": [{"api_key": b"[redacted:api-key]", b"cookie": b"a=[redacted:cookie]", "tokens": 512}],
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
    scope = {"headers": [(b"host", b"x"), [b"authorization", f"Basic {secret()}".encode()], ("x-api-key", secret())]}
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


def test_named_tuples_and_enumerations_name_their_values():
    """A field's name is a key, and so is a member's."""
    login = namedtuple("login", ["user", "password"])  # noqa: PYI024  # an app's may have no types
    redacted = redact_data(login("bob", secret()))
    assert redacted == login("bob", "[redacted:password]")
    assert type(redacted) is login

    class Field(enum.Enum):
        PASSWORD = 1
        USER = 2

    class Name(enum.StrEnum):
        PASSWORD = "password"

    assert redact_data({Field.PASSWORD: secret(), Field.USER: "bob"}) == {
        Field.PASSWORD: "[redacted:password]",
        Field.USER: "bob",
    }
    assert redact_data({Name.PASSWORD: secret()}) == {"password": "[redacted:password]"}
    members = [Name.PASSWORD, Field.USER, 1]
    assert redact_data(members) is members


def test_what_a_doubtful_key_holds_is_doubtful_within_lists():
    """A parsed form has a list for each name; a dictionary has keys of its own."""
    value = secret()
    assert redact_data({"code": [value, "ok"], "session": (("a", value),)}) == {
        "code": ["[redacted:code]", "ok"],
        "session": (("a", "[redacted:session]"),),
    }
    nested = {"session": {"started": value}}
    assert redact_data(nested) is nested


def test_what_is_left_under_a_doubtful_key_is_judged_again():
    """Without the secret in it, a value may look random: it would be hidden the second time."""
    begin, end = (f"{'-' * 5}{word} PRIVATE KEY{'-' * 5}" for word in ("BEGIN", "END"))
    assert redact_data({"token": f"a1{begin}\nMIIE\n{end}{'b2' * 8}"}) == {"token": "[redacted:token]"}


def test_keys_are_looked_at_too():
    """Tuples and bytes may be keys."""
    assert redact_data({("x", f"pwd={secret()}"): 1}) == {("x", "pwd=[redacted:password]"): 1}
    assert redact_data({f"pwd={secret()}".encode(): 1}) == {b"pwd=[redacted:password]": 1}
    assert redact_data({1: f"pwd={secret()}", None: 2}) == {1: "pwd=[redacted:password]", None: 2}


@dataclasses.dataclass
class Account:
    user: str
    password: str
    notes: list[object] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True)
class Card:
    number: int
    api_key: str = dataclasses.field(repr=False, default="")


class Login(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True)
    user: str
    password: str = Field(min_length=30)
    otp: int = 0
    _token: str = PrivateAttr(default="")

    @field_validator("password")
    @classmethod
    def _no_markers(cls, value: str) -> str:
        assert "redacted" not in value
        return value


def test_objects_that_are_their_fields_keep_their_class():
    """Dataclasses, with and without slots, and pydantic's models; none of their own code runs."""
    value = secret()
    login = Login(user="bob", password=value, otp=123456, api_key=value)
    login._token = value
    redacted = redact_data([Account("bob", value, [f"pwd={value}"]), Card(1, value), login])
    assert isinstance(redacted, list)
    account, card, model = redacted
    assert account == Account("bob", "[redacted:password]", ["pwd=[redacted:password]"])
    assert card == Card(1, "[redacted:api-key]")
    assert type(model) is Login
    assert (model.user, model.password, model.otp) == ("bob", "[redacted:password]", "[redacted:otp]")
    assert model.model_extra == {"api_key": "[redacted:api-key]"}
    assert model._token == "[redacted:token]"
    assert model.model_fields_set == login.model_fields_set
    assert value not in f"{redacted!r}{redacted}"


@pytest.mark.parametrize("slots", [True, False])
def test_classes_of_attrs_keep_their_class(slots):
    """Frozen ones and those without slots, too."""
    attrs = pytest.importorskip("attrs")

    @attrs.frozen(slots=slots)
    class Peer:
        host: str
        password: str

    peer = Peer("h", secret())
    assert redact_data(peer) == Peer("h", "[redacted:password]")
    assert redact_data(peer) is not peer
    harmless = Peer("h", "None")
    assert redact_data(harmless) is harmless


def test_objects_that_are_their_fields_are_never_changed():
    """Nor copied, if they hold no secret."""
    value = secret()
    account = Account("bob", value, [{"token": value}])
    login = Login(user="bob", password=value)
    redact_data([account, login])
    assert account == Account("bob", value, [{"token": value}])
    assert login == Login(user="bob", password=value)
    for harmless in (Account("bob", ""), Card(1), Login.model_construct(user="bob", password="")):
        assert redact_data(harmless) is harmless


def test_a_field_that_was_never_set_is_left_so():
    """A slot may be empty."""

    @dataclasses.dataclass(repr=False, eq=False)
    class Half:
        __slots__ = ("password", "user")
        user: str
        password: str

    half = Half.__new__(Half)
    half.password = secret()
    redacted = redact_data(half)
    assert isinstance(redacted, Half)
    assert redacted.password == "[redacted:password]"
    assert not hasattr(redacted, "user")


def test_what_an_object_prints_counts_as_well_as_its_fields():
    """A class may print what is in none of them."""

    @dataclasses.dataclass
    class Printing:
        user: str

        def __str__(self) -> str:
            return f"password={value}"

    class Text(str):
        __slots__ = ()

        def __str__(self) -> str:
            return f"password={value}"

    class Names(list):  # type: ignore[type-arg]  # as apps derive
        def __repr__(self) -> str:
            return f"password={value}"

    value = secret()
    assert redact_data([Printing("bob"), Text("x"), Names()]) == ["password=[redacted:password]"] * 3
    assert redact_data(Text(f"pwd={value}")) == "pwd=[redacted:password]"
    assert redact_data(Names([f"pwd={value}"])) == ["pwd=[redacted:password]"]


def test_multiple_values_of_one_name_are_all_seen():
    """Mappings show one of them only; what such an object prints shows the rest."""
    value = secret()
    query = QueryParams([("api_key", value), ("api_key", ""), ("page", "1")])
    assert value not in f"{redact_data(query)} {redact_data(query)!r}"
    assert redact_data(Headers({"authorization": f"Bearer {value}", "host": "x"})) == {
        "authorization": "Bearer [redacted:authorization]",
        "host": "x",
    }
    for several in (
        FormData([("password", value), ("password", "")]),
        MultiDict([("password", ""), ("password", value)]),
        ImmutableMultiDict([("password", value), ("user", "bob")]),
        WerkzeugHeaders([("X-Api-Key", value), ("X-Api-Key", value)]),
        SimpleCookie(f"session={value}"),
    ):
        redacted = redact_data([several])
        assert value not in f"{redacted} {redacted!r}"
    harmless = QueryParams("page=1&page=2")
    assert redact_data(harmless) is harmless


def test_urls_are_seen_as_a_whole():
    """The parts alone do not show which one is a password."""
    value = secret()
    for url in (
        urlsplit(f"https://bob:{value}@host/x"),
        urlparse(f"https://bob:{value}@host/x".encode()),
        URL(f"https://bob:{value}@host/x"),
    ):
        redacted = redact_data([url])
        assert value not in f"{redacted!r}"
        assert "host/x" in f"{redacted!r}"
    harmless = urlsplit("https://host/x")
    assert redact_data(harmless) is harmless


def test_bytes_keep_their_kind():
    """Those that are no UTF-8 come back as they were, and names outside of ASCII are understood."""
    value = secret()
    for kind in (bytes, bytearray, memoryview):
        redacted = redact_data(kind(f"\xff é password={value}".encode("latin-1")))
        assert isinstance(redacted, kind)
        assert bytes(redacted) == "\xff é password=[redacted:password]".encode("latin-1")
    known = Redactor(RedactionSettings(), mask_emails=False, values=[f"pässwörd-{value}"])
    assert known.redact_data([f"<pässwörd-{value}>".encode()]) == [b"<[redacted:setting]>"]
    released = memoryview(value.encode())
    released.release()
    assert redact_data([released]) == ["[redacted:unreadable]"]


def test_values_that_hold_no_text_survive():
    """As they are, and without a look at what they print."""
    values = [
        datetime(2026, 11, 20, tzinfo=UTC), date(2026, 11, 20), timedelta(3), uuid.uuid4(), Path("/etc/hosts"),
        Decimal("1.5"), 3.5, float("nan"), 2**70, 1j, None, True, ..., SecretStr(secret()), SecretBytes(b"x" * 20),
        int, Account, threading, threading.Lock(), len, object(), range(3), deque([1]), HTTPStatus.OK, re.compile("x"),
    ]  # fmt: skip
    assert redact_data(values) is values
    assert redact_data({"password": values[-12]}) == {"password": values[-12]}


def test_what_its_key_makes_a_secret_is_hidden_whatever_it_is():
    """A token may be a UUID, a number or bytes; a model may be a set of credentials."""
    data = {
        "api_key": uuid.uuid4(),
        "otp": 123456.0,
        "secret": memoryview(secret().encode()),
        "credentials": Account("bob", ""),
        "client_secret": {secret()},
    }
    redacted = redact_data(data)
    assert isinstance(redacted, dict)
    assert bytes(redacted.pop("secret")) == b"[redacted:secret]"
    assert {str(value)[:10] for value in redacted.values()} == {"[redacted:"}


def test_iterators_are_never_consumed():
    """They belong to the app."""
    rows = (row for row in ["password"])
    lines = iter(["password", secret()])
    data = {"rows": rows, "lines": lines, "map": map(str, [1])}
    assert redact_data(data) is data
    assert list(rows) == ["password"]
    assert len(list(lines)) == 2


def test_a_proxy_is_not_asked_what_it_stands_for():
    """Its `__class__` may run a query, and so may `__getattr__`; what it prints is asked for once."""
    asked: list[str] = []

    class Lazy:
        @property  # type: ignore[misc]  # as proxies have it
        def __class__(self) -> type:
            asked.append("class")
            return dict

        def __getattr__(self, name: str) -> object:
            asked.append(name)
            return self

        def __str__(self) -> str:
            asked.append("str")
            return "lazy"

        def __repr__(self) -> str:
            asked.append("repr")
            return "<lazy>"

    lazy = Lazy()
    data = [lazy, [lazy], {"password": lazy, "user": lazy}]
    assert redact_data(data) == [lazy, [lazy], {"password": "[redacted:password]", "user": lazy}]
    assert sorted(asked) == ["repr", "str", "str"]  # the second time for the key


def test_what_an_orm_loads_is_not_touched():
    """The attributes of its objects may be queries: such an object is only what it prints."""
    sqlalchemy = pytest.importorskip("sqlalchemy")
    orm = pytest.importorskip("sqlalchemy.orm")

    @dataclasses.dataclass
    class User:
        id: int
        password: str

    columns = [sqlalchemy.Column(name, sqlalchemy.String, primary_key=name == "id") for name in ("id", "password")]
    orm.registry().map_imperatively(User, sqlalchemy.Table("user", sqlalchemy.MetaData(), *columns))
    user = User(id=1, password=secret())
    redacted = redact_data([user])
    assert isinstance(redacted, list)
    assert redacted[0].endswith("User(id=1, password='[redacted:password]')")


BROKEN = [
    "__str__", "__repr__", "__len__", "__iter__", "__eq__", "__hash__", "__bool__", "__getattribute__", "items",
    "__getitem__", "keys", "__dict__",
]  # fmt: skip


def returns_nothing(self, *args):
    """What `__str__`, `__len__` and others must not return."""


def raises(self, *args):
    raise RuntimeError


@pytest.mark.parametrize("base", [object, dict, list, tuple, str, bytes, Account, Exception, UserDict, int])
@pytest.mark.parametrize("broken", [returns_nothing, raises])
def test_any_object_survives(base, broken):
    """Its methods may raise, or return what they must not; what stands beside it is redacted all the same."""
    for name in BROKEN:
        odd = type("Odd", (base,), {name: property(broken) if name == "__dict__" else broken})
        value = base.__new__(odd)
        redacted = redact_data({"odd": value, "password": value, "more": [f"pwd={secret()}"]})
        assert isinstance(redacted, dict)
        assert redacted["more"] == ["pwd=[redacted:password]"]


def test_an_error_hides_what_it_comes_from_alone():
    """Its neighbours stay readable."""

    class Broken:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    @dataclasses.dataclass
    class Holder:
        broken: object
        password: str

        def __init__(self) -> None:
            raise AssertionError

    assert redact_data({"a": Broken(), "b": "x"}) == {"a": "[redacted:unreadable]", "b": "x"}
    assert redact_data({"a": {1: Broken()}}) == {"a": {1: "[redacted:unreadable]"}}
    holder = Holder.__new__(Holder)
    holder.broken, holder.password = 1, secret()
    redacted = redact_data(holder)
    assert isinstance(redacted, Holder)
    assert redacted.password == "[redacted:password]"


def test_a_stack_that_is_almost_full_hides_instead_of_raising():
    """Logging an error about recursion happens at the end of the stack."""
    value = secret()
    data: list[object] = [value, {"password": value}]
    for _ in range(20):
        data = [data]
    visitor = DataRedactor(REDACTOR.redact, REDACTOR.kind, lambda text: False)

    def fall(results: list[str]) -> None:
        with contextlib.suppress(RecursionError):
            fall(results)
        with contextlib.suppress(RecursionError):  # of the call itself, for which there is no room
            results.append(str(DataRedactor(visitor._redact, REDACTOR.kind, lambda text: False).visit(data)))

    results: list[str] = []
    fall(results)
    assert len(results) > 100
    assert any("unreadable" in result for result in results)
    assert not any(f"'password': '{value}'" in result for result in results)


@pytest.mark.real_time
def test_wide_data_takes_linear_time():
    """Each value is looked at once."""
    wide: list[object] = list(range(500_000))
    before = time.process_time()
    assert redact_data(wide) is wide
    assert time.process_time() - before < 5
    shared = {"password": secret()}
    assert redact_data([shared] * 50_000) == [{"password": "[redacted:password]"}] * 50_000


plain_text = st.text("abcdefghijkl .:/é\n\\\"'", max_size=20)
plain = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), plain_text, st.binary(max_size=8),
    st.datetimes(), st.uuids(), st.decimals(allow_nan=False), st.binary(max_size=8).map(bytearray),
)  # fmt: skip
SECRET_KEYS = ["password", "api_key", "clientSecret", b"x-api-key", "authorization"]


def nested(inner):
    return st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(plain_text, st.integers(), st.sampled_from(SECRET_KEYS)), inner, max_size=4),
        st.tuples(inner, inner),
        st.builds(OrderedDict, st.dictionaries(plain_text, inner, max_size=2)),
        st.builds(Account, plain_text, inner, st.lists(inner, max_size=2)),
        st.builds(lambda value: Login.model_construct(user="x", password="", note=value), inner),
        st.frozensets(plain_text, max_size=3),
    )


@given(st.recursive(plain, nested, max_leaves=20), st.sampled_from(SECRET_KEYS), st.randoms(use_true_random=True))
def test_any_data_survives_unchanged_and_shows_no_secret(data, key, random):
    """What stands under a secret key, at any place, is not in what the result prints; redacting twice equals once."""
    value = "s3" + "".join(random.choices(string.hexdigits, k=30))
    holders = [{key: value}, [key, value], (key, value), Account("bob", value), {key: [value]}]
    whole = [data, *holders, {"x": (data, holders)}]
    before = copy.deepcopy(whole)
    once = redact_data(whole)
    assert whole == before
    assert value not in repr(once)
    assert repr(redact_data(once)) == repr(once)


def test_the_value_of_a_flag_in_a_command_line_is_hidden():
    """The arguments of a process are items of a list, as Sentry sends them."""
    secret = secrets.token_hex(12)
    arguments = ["shop", "serve", "--api-key", secret, "--port", "8000", "--password", secret, "--no-color"]
    expected = ["shop", "serve", "--api-key", "[redacted:api-key]", "--port", "8000", "--password"]
    redactor = Redactor(RedactionSettings(), mask_emails=False)
    assert redactor.redact_data(arguments) == [*expected, "[redacted:password]", "--no-color"]
    assert redactor.redact_data(["a", "--verbose", "b"]) == ["a", "--verbose", "b"]
