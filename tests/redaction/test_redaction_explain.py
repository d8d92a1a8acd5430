"""What the engine says about what it hides: places, rules and reasons, markers and fingerprints, never the secret."""

from __future__ import annotations

import re
import secrets
import string
import sys
import threading
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from launchkit import LaunchKit, Settings
from launchkit.assembly import redactor as assembled
from launchkit.redaction.engine import Redactor
from launchkit.redaction.found import MARKER, marker
from launchkit.settings import RedactionSettings


def some(length: int) -> str:
    """Return random text with small letters, capitals and digits."""
    return "a4" + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length - 4)) + "7Z"


def redactor(
    *,
    key: bytes | None = None,
    fingerprints: bool = False,
    emails: bool = False,
    personal: str = "",
    **lists: tuple[str, ...],
) -> Redactor:
    chosen = {personal: True} if personal else {}
    return Redactor(
        RedactionSettings(fingerprints=fingerprints, **lists, **chosen), mask_emails=emails, fingerprint_key=key
    )


LINES = [
    "password=§",
    "postgres://bob:§@db/x and api_key: '§x'",
    "curl -u bob:§ https://example.com/",
    "GET /?next=%2F%3Ftoken%3D§%26page%3D2",
    '{"log": "{\\"clientSecret\\": \\"§\\"}"}',
    "INSERT INTO users (name, password) VALUES ('bob', '§')",
    "the password is §",
    "deploy --api-key § now",
    "Authorization: Bearer §",
    "Cookie: sid=§; theme=§y",
    "gh" + "p_§",
    "-----BEGIN PRIVATE KEY-----\n§\n-----END PRIVATE KEY-----",
]


# --- explain ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", LINES)
def test_what_is_explained_is_what_is_hidden(line):
    """Each place is in the text, in order and apart, and putting the markers there gives what `redact` returns."""
    engine = redactor()
    text = line.replace("§", some(36))
    found = engine.explain(text)
    assert found
    assert all(one.end <= other.start for one, other in pairwise(found))
    hidden = text
    for one in reversed(found):
        hidden = hidden[: one.start] + marker(one.rule) + hidden[one.end :]
    assert hidden == engine.redact(text)


@given(st.sampled_from(LINES), st.text(string.ascii_letters + string.digits, min_size=30, max_size=60))
def test_reasons_never_hold_the_secret(line, random_part):
    """They are printed where the secret must not be."""
    secret = f"a4{random_part}7Z"
    for one in redactor(key=b"k", fingerprints=True).explain(line.replace("§", secret)):
        assert secret not in one.reason
        assert secret not in one.rule


@pytest.mark.parametrize(
    ("text", "rule", "reason"),
    [
        ("db_password=§", "password", "value of the key 'db_password'"),
        ("- name: DB_PASSWORD\n  value: §", "password", "beside the name 'DB_PASSWORD'"),
        ("INSERT INTO users (password) VALUES ('§')", "password", "value of the column 'password'"),
        ("redis://:§@db", "url-password", "password in a URL"),
        ("gh" + "p_§", "github-token", "has the form of one, with 'gh" + "p_' in it"),
        ("mysql -p§ shop", "password", "password after -p"),
    ],
)
def test_the_reason_says_what_gave_the_secret_away(text, rule, reason):
    """By its key, its neighbour, its flag, its column, its place, its form."""
    found = redactor().explain(text.replace("§", some(36)))
    assert (rule, reason) in [(one.rule, one.reason) for one in found]


def test_nothing_is_explained_where_nothing_is_hidden():
    """A clean text, and one that was redacted before."""
    engine = redactor()
    assert engine.explain("GET /items 200 in 12 ms") == []
    assert engine.explain(engine.redact(f"password={some(12)}")) == []


def test_what_the_app_allows_is_not_explained():
    """It is not hidden either."""
    assert redactor(allow=("public-.*",)).explain("password=public-demo-7") == []


def test_several_secrets_are_explained_each():
    """In the order of the text, with the rule of each."""
    text = f"password={some(9)} postgres://a:{some(9)}@h x-api-key: {some(20)}"
    assert [one.rule for one in redactor().explain(text)] == ["password", "url-password", "api-key"]


def test_secrets_that_overlap_are_explained_as_one():
    """A token that is the password of a URL which is the value of a key."""
    token = "gh" + "p_" + some(36)
    found = redactor(patterns=(token[4:20],)).explain(f"see {token} there")
    assert [(one.start, one.end) for one in found] == [(4, 4 + len(token))]


# --- fingerprints ----------------------------------------------------------------------------------------------------


def test_the_same_secret_has_the_same_fingerprint():
    """With one key, wherever it appears: lines that are about one customer's key can be found."""
    engine, secret = redactor(fingerprints=True), some(20)
    first, second = MARKER.findall(engine.redact(f"password={secret} then {{'password': '{secret}'}}"))
    assert first == second
    assert re.fullmatch(r"\[redacted:password:[0-9a-f]{8}\]", first)


def test_different_secrets_have_different_fingerprints():
    """Of eight hexadecimal digits."""
    engine = redactor(fingerprints=True)
    assert len({engine.redact(f"password={some(20)}") for _ in range(20)}) == 20


def test_another_key_gives_another_fingerprint():
    """Nobody without the key can tell whether a guess is right."""
    secret = some(20)
    lines = {redactor(key=key, fingerprints=True).redact(f"password={secret}") for key in (b"a", b"b", None, None)}
    assert len(lines) == 4
    again = redactor(key=b"a", fingerprints=True).redact(f"password={secret}")
    assert again in lines


def test_a_marker_with_a_fingerprint_is_left_alone():
    """It is no secret, and no other redactor makes another of it."""
    once = redactor(fingerprints=True).redact(f"password={some(20)} Authorization: Bearer {some(30)}")
    assert redactor(fingerprints=True).redact(once) == once
    assert redactor().redact(once) == once


def test_the_settings_secret_key_makes_fingerprints_that_last():
    """After a restart, and in every worker."""
    key, secret = some(40), some(20)
    made = [
        assembled(Settings(_env_file=None, secret_key=SecretStr(key), redaction=RedactionSettings(fingerprints=True)))
        for _ in range(2)
    ]
    first, second = (one.redact(f"password={secret}") for one in made if one is not None)
    assert first == second
    assert first != redactor(fingerprints=True).redact(f"password={secret}")


# --- what the app knows ----------------------------------------------------------------------------------------------


def test_secrets_of_the_environment_are_hidden_when_asked(monkeypatch):
    """Those whose names give them away, and passwords of addresses; others are not."""
    opaque, inside, plain = some(20).lower(), some(20).lower(), some(20).lower()
    monkeypatch.setenv("BILLING_API_KEY", opaque)
    monkeypatch.setenv("CACHE_ADDRESS", f"redis://:{inside}@cache")
    monkeypatch.setenv("RELEASE_NAME", plain)
    text = f"{opaque} {inside} {plain}"
    asked = assembled(Settings(_env_file=None, redaction=RedactionSettings(environment=True)))
    assert asked is not None
    assert asked.redact(text) == f"[redacted:environment] [redacted:environment] {plain}"
    silent = assembled(Settings(_env_file=None))
    assert silent is not None
    assert silent.redact(text) == text


def test_the_settings_own_secrets_are_hidden():
    """Wherever they appear."""
    key = some(40)
    made = assembled(Settings(_env_file=None, secret_key=SecretStr(key)))
    assert made is not None
    assert made.redact(f"started with {key}.") == "started with [redacted:setting]."


def test_there_is_no_redactor_where_it_is_switched_off():
    """The app said so."""
    assert assembled(Settings(_env_file=None, redaction=RedactionSettings(enabled=False))) is None


def test_a_value_that_the_app_registers_is_hidden_from_then_on():
    """As text or as `SecretStr`, as it is and encoded; a short one would take words with it."""
    kit = LaunchKit(Settings(_env_file=None))
    assert kit.redaction is not None
    first, second = some(20).lower(), some(20).lower()
    assert kit.redaction.redact(f"{first} {second} pass") == f"{first} {second} pass"
    kit.redact_value(first)
    kit.redact_value(SecretStr(second))
    kit.redact_value("pass")
    assert kit.redaction.redact(f"{first} {second} pass") == "[redacted:value] [redacted:value] pass"


def test_a_kit_without_redaction_takes_values_and_does_nothing():
    """An app need not ask."""
    kit = LaunchKit(Settings(_env_file=None, redaction=RedactionSettings(enabled=False)))
    kit.redact_value(some(20))
    assert kit.redaction is None


def test_values_can_be_added_while_others_redact():
    """From the moment that `add_value` returns, every thread hides the value, and none fails."""
    engine = redactor()
    values = [some(20).lower() for _ in range(60)]
    done, failures = threading.Event(), []

    def look() -> None:
        try:
            while not done.is_set():
                assert engine.redact("GET /items 200") == "GET /items 200"
                engine.redact(" ".join(values))
        except Exception as error:  # whatever it is fails the test
            failures.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    readers = [threading.Thread(target=look) for _ in range(3)]
    try:
        for reader in readers:
            reader.start()
        for value in values:
            engine.add_value(value)
            assert engine.redact(f"a {value} b") == "a [redacted:value] b"
    finally:
        done.set()
        for reader in readers:
            reader.join()
        sys.setswitchinterval(interval)
    assert not failures
    assert engine.redact(" ".join(values)) == " ".join(["[redacted:value]"] * len(values))


# --- personal data ---------------------------------------------------------------------------------------------------

PERSONAL = [
    ("emails", "to bob@example.com", "to [redacted:email]@example.com"),
    ("cards", "paid with 4111 1111 1111 1111 today", "paid with [redacted:card] today"),
    ("ibans", "to DE89 3704 0044 0532 0130 00 today", "to [redacted:iban] today"),
    ("phones", "called +49 30 901820 today", "called [redacted:phone] today"),
    ("addresses", "from 203.0.113.7 today", "from 203.0.113.[redacted:address] today"),
]


@pytest.mark.parametrize(("name", "line", "hidden"), PERSONAL)
def test_personal_data_is_hidden_by_its_setting(name, line, hidden):
    """And stays without it: each setting has its own kind."""
    asked = redactor(emails=True) if name == "emails" else redactor(personal=name)
    assert asked.redact(line) == hidden
    assert asked.redact(hidden) == hidden
    for _, other, _ in PERSONAL:
        assert other == line or asked.redact(other) == other
    assert redactor().redact(line) == line


@pytest.mark.parametrize(("environment", "masked"), [("production", True), ("development", False)])
def test_addresses_of_people_are_masked_in_production(environment, masked):
    """Unless the settings say otherwise."""
    for emails, expected in ((None, masked), (True, True), (False, False)):
        made = assembled(
            Settings(
                _env_file=None,
                environment=environment,
                secret_key=SecretStr(some(40)),
                redaction=RedactionSettings(emails=emails),
            )
        )
        assert made is not None
        assert (made.redact("to bob@example.com") != "to bob@example.com") is expected


@settings(max_examples=50)
@given(st.text(max_size=60))
def test_patterns_and_allowed_values_of_the_app_never_raise(text):
    """Also those that match nothing or everything."""
    engine = redactor(patterns=("", ".*", "a|b"), allow=("", "[ab]"))
    once = engine.redact(text)
    assert engine.redact(once) == once
