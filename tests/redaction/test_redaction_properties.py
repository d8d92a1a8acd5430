"""What holds for every text."""

from __future__ import annotations

import json
import string

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from launchkit.redaction.engine import Redactor
from launchkit.redaction.values import is_placeholder
from launchkit.settings import RedactionSettings

REDACTOR = Redactor(RedactionSettings(patterns=("[a-d]{3}",)), mask_emails=True, values=["redacted", "correct horse"])
FRAGMENTS = [
    "password", "token", "api_key", "Authorization", "cookie", "Bearer ", "Basic ", "=", ":", ": ", '"', "'", "\\",
    ",", ";", "&", " ", "\n", "[", "]", "(", ")", "{", "}", "@", "://", "/", "?", "eyJ", "sk-", "ghp_", "SG.", "AKIA",
    "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "[redacted:", "[redacted:password]", "redacted",
    "correct horse", "%s", "***", "example.com", "a1B2c3D4e5F6g7H8", "None", "b'", "://u:p@h", "%40", ".", "x", "é",
    "İ", "abcd", '\\"',
]  # fmt: skip

texts = st.one_of(st.text(), st.lists(st.sampled_from(FRAGMENTS), max_size=16).map("".join))
words = st.text(string.ascii_letters + string.digits, min_size=14, max_size=40)
"""Longer than any word of the contexts that they are put into."""

passwords = st.text(min_size=14).filter(
    lambda text: not is_placeholder(text) and "\\" not in text and "redacted" not in text
)


@settings(max_examples=400)
@given(texts)
def test_redacting_twice_changes_nothing(text):
    """A record may pass through several processes that redact."""
    once = REDACTOR.redact(text)
    assert REDACTOR.redact(once) == once


data = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), texts, texts.map(str.encode)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3), st.tuples(texts, inner)
    ),
    max_leaves=8,
)


@given(data)
def test_redacting_data_twice_changes_nothing(value):
    """As for text."""
    once = REDACTOR.redact_data(value)
    assert REDACTOR.redact_data(once) == once


@given(
    texts,
    words,
    texts,
    st.sampled_from(["password={}", "Authorization: Bearer {}", "'api_key': '{}'", "?access_token={}"]),
)
def test_an_unquoted_secret_never_leaks(before, secret, after, context):
    """Whatever stands around it, a letter or a quote that changes the context aside."""
    assume(secret not in before + after)
    assert secret not in REDACTOR.redact(f"{before}\n{context.format(secret)}\n{after}")


@given(passwords, st.sampled_from(["password", "clientSecret", "x-api-key", "refreshToken"]))
def test_a_secret_in_json_never_leaks(secret, key):
    """Any text may be a password."""
    hidden = REDACTOR.redact(json.dumps({"user": 1, key: secret, "more": 2}))
    assert json.loads(hidden)["user"] == 1
    assert json.loads(hidden)[key].startswith("[redacted:")
    assert json.loads(hidden)["more"] == 2


@given(passwords, st.sampled_from(["password", "clientSecret", "x-api-key", "refreshToken"]))
def test_a_secret_in_a_repr_never_leaks(secret, key):
    """Python's quotes depend on the text."""
    hidden = REDACTOR.redact(repr({"user": 1, key: secret, "more": 2}))
    assert repr(secret)[1:-1] not in hidden
    assert hidden.endswith(", 'more': 2}")


@given(st.text(string.ascii_lowercase + " .", max_size=80))
def test_prose_survives(text):
    """Words are never secret by themselves."""
    assume("correct horse" not in text and "redacted" not in text)
    redactor = Redactor(RedactionSettings(), mask_emails=True)
    assert redactor.redact(text) is text
