"""What holds for every text."""

from __future__ import annotations

import json
import string
from functools import cache
from itertools import pairwise

import pytest
from benchmarks.redaction.corpus import secrets
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from launchkit.redaction.engine import Redactor
from launchkit.redaction.stream import StreamRedactor
from launchkit.redaction.values import is_credential, is_path, is_placeholder
from launchkit.settings import RedactionSettings

REDACTOR = Redactor(RedactionSettings(patterns=("[a-d]{3}",)), mask_emails=True, values=["redacted", "correct horse"])
FRAGMENTS = [
    "password", "token", "api_key", "Authorization", "cookie", "Bearer ", "Basic ", "=", ":", ": ", '"', "'", "\\",
    ",", ";", "&", " ", "\n", "[", "]", "(", ")", "{", "}", "@", "://", "/", "?", "eyJ", "sk-", "ghp_", "SG.", "AKIA",
    "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "[redacted:", "[redacted:password]", "redacted",
    "correct horse", "%s", "***", "example.com", "a1B2c3D4e5F6g7H8", "None", "b'", "://u:p@h", "%40", ".", "x", "é",
    "İ", "abcd", '\\"', "insert into t (password) values ('", "--token ", "curl -u a:", "&quot;", "\\u0026", "%3D",
    "\x1b[31m", "\x1b", "\x00", "\ud800", "\U0001f511", " is ", "name: ", "\nvalue: ", "dG9rZW49YTFCMmMzRDRlNUY2ZzdIOA",
]  # fmt: skip

PLAIN = Redactor(RedactionSettings(), mask_emails=False)
CONTEXTS = [
    "password={}",
    "password: {}\nx",
    '{{"api_key": "{}"}}',
    "{{'secret': b'{}'}}",
    "?access_token={}&a=1",
    "X-Api-Key: {}",
    "Authorization: Bearer {}",
    "Cookie: sid={}; a=b",
    "redis://:{}@db",
    "https://bob:{}@example.com/",
    "curl -u bob:{} x",
    "mysql -p{} shop",
    "deploy --client-secret {} now",
    "insert into t (a, password) values (1, '{}')",
    "PASS {}",
    "- name: DB_PASSWORD\n  value: {}",
    "<password>{}</password>",
    "user.set_password('{}')",
    "%7B%22password%22%3A%22{}%22",
    '{{\\"password\\": \\"{}\\"}}',
    "&quot;password&quot;: &quot;{}&quot;",
    "g" + "hp_{}",
    "identified by '{}'",
    "the password is {}",
    "password changed from '{}' to 'x'",
    "\x1b[36mpassword\x1b[0m=\x1b[35m{}\x1b[0m",
    "https://hooks.slack.com/services/{}",
    "GET /reset/{}/ HTTP/1.1",
    "machine h login bob password {}",
]

texts = st.one_of(st.text(), st.lists(st.sampled_from(FRAGMENTS), max_size=16).map("".join))
generated = st.text(string.ascii_letters + string.digits, min_size=36, max_size=60).map("a4{}7Z".format)
"""Values that look random, as generated secrets do."""


@cache
def corpus() -> list[str]:
    """Return lines with a secret of every kind that is known."""
    return [item.line for item in secrets(7)]


@st.composite
def lines_cut_anywhere(draw):
    """Return pieces of the corpus' lines, one behind the other."""
    pieces = []
    for index in draw(st.lists(st.integers(0, len(corpus()) - 1), min_size=1, max_size=4)):
        line = corpus()[index]
        start = draw(st.integers(0, len(line)))
        pieces.append(line[start : draw(st.integers(start, len(line)))] if draw(st.booleans()) else line)
    return draw(st.sampled_from(["", " ", "\n", ", ", '"'])).join(pieces)


words = st.text(string.ascii_letters + string.digits, min_size=14, max_size=40)
"""Longer than any word of the contexts that they are put into."""

passwords = st.text(min_size=14).filter(
    lambda text: not is_placeholder(text) and "\\" not in text and "redacted" not in text and not is_path(text)
)


@settings(max_examples=400)
@given(texts)
def test_redacting_twice_changes_nothing(text):
    """A record may pass through several processes that redact."""
    once = REDACTOR.redact(text)
    assert REDACTOR.redact(once) == once


@settings(max_examples=150)
@given(lines_cut_anywhere())
def test_redacting_lines_with_secrets_twice_changes_nothing(text):
    """However they are cut and put together, what has taken a secret's place makes no new one."""
    once = PLAIN.redact(text)
    assert PLAIN.redact(once) == once


@settings(max_examples=300)
@given(texts)
def test_any_text_survives(text):
    """Also with lone surrogates, zeros, characters beyond the basic plane and half an escape."""
    hidden = REDACTOR.redact(text)
    assert isinstance(hidden, str)
    found = REDACTOR.explain(text)
    assert (hidden is text) is (not found)
    assert all(0 <= one.start < one.end <= len(text) for one in found)


@pytest.mark.parametrize("context", CONTEXTS)
@settings(max_examples=15)
@given(secret=generated)
def test_a_generated_secret_never_leaks(context, secret):
    """Whatever letters and digits it has, nothing of it is left in any place."""
    hidden = PLAIN.redact(context.format(secret))
    assert secret not in hidden
    assert all(secret[start : start + 8] not in hidden for start in range(0, len(secret) - 8, 8))


@settings(max_examples=150)
@given(st.lists(texts, max_size=6), st.lists(st.integers(0, 400), max_size=6))
def test_a_stream_comes_out_as_its_lines_do(lines, cuts):
    """A line at a time, however the input is cut; keys in PEM over several lines aside."""
    text = "\n".join(line.replace("\r", "").replace("PRIVATE KEY", "CERTIFICATE") for line in lines)
    stream = StreamRedactor(PLAIN)
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    out = "".join(stream.feed(text[start:end]) for start, end in pairwise(places)) + stream.close()
    assert out == "\n".join(PLAIN.redact(line) for line in text.split("\n"))


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


data = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), texts, texts.map(encoded)),
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
    assume("Bearer" not in context or is_credential(secret))  # `Bearer authentication` is prose
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
