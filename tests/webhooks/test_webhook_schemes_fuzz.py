"""Whatever a stranger sends is refused, and whatever a sender signs is judged: nothing raises."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scheme_world import KINDS, NOW, URL, Post

from launchkit.webhooks.schemes.providers import SCHEMES
from launchkit.webhooks.schemes.scheme import Handshake, Refused, Verified

SECRETS = {name: kind.make_secret() for name, kind in KINDS.items()}
BOMBS = [b"[" * 100_000, b'{"a":' * 100_000, b'{"id":' + b"9" * 5_000 + b"}", b"\xff\xfe{", b"%" * 999, b"&=&=%zz&+"]

bytes_of_headers = st.text(st.characters(max_codepoint=255), max_size=300)
nearly_right = st.sampled_from(
    [
        *("t=1700000000,v1=", "t=1700000000,v1=00,v1", "ts=1700000000;h1=0", "v0=", "v1,", "sha256=", "sha256=\xff"),
        *("v1,AAAA v1 v1,\xff", "1700000000", "-1", "1e9", "9" * 5_000, "\u00b2", " 1700000000", "A" * 28, "A" * 44),
    ]
)
header_values = bytes_of_headers | nearly_right
bodies = st.binary(max_size=300) | st.sampled_from(BOMBS)
names = sorted(
    {name for kind, secret in SECRETS.items() for name in KINDS[kind].post(secret).headers} - {"content-type"}
)


@pytest.mark.parametrize("name", KINDS)
@given(st.dictionaries(st.sampled_from(names), header_values), bodies, st.text(max_size=50))
@settings(max_examples=40)
def test_garbage_is_refused(name: str, headers: dict[str, str], body: bytes, url: str) -> None:
    """Any bytes in any header, any body, any address: never an error, never trust."""
    post = Post(
        {key: value.encode("latin-1", "replace").decode("latin-1") for key, value in headers.items()}, body, url
    )
    assert isinstance(KINDS[name].judge(replace(post, tolerance=1e12), SECRETS[name]), Refused)


@pytest.mark.parametrize("name", KINDS)
@given(st.data())
@settings(max_examples=30)
def test_a_delivery_with_a_header_of_garbage_is_refused(name: str, data: st.DataObject) -> None:
    """One header that is signed, or the signature, replaced by anything else."""
    post = KINDS[name].post(SECRETS[name])
    header = data.draw(st.sampled_from(sorted(KINDS[name].needed_headers(SECRETS[name]))))
    value = data.draw(bytes_of_headers.filter(lambda value: value != post.headers[header]))
    assert isinstance(KINDS[name].judge(post.but(header, value), SECRETS[name]), Refused)


@pytest.mark.parametrize("name", KINDS)
@given(bodies, st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1), st.integers(0, 10**11))
@example(BOMBS[0], "msg_1", 0)
@example(BOMBS[1], "msg_1", 0)
@settings(max_examples=30)
def test_whatever_is_signed_is_judged(name: str, body: bytes, message_id: str, now: int) -> None:
    """Any body at any time: it verifies, under a key and an event that can be written down."""
    kind, scheme = KINDS[name], SCHEMES[KINDS[name].scheme]
    if kind.scheme == "twilio" and body.count(b"&") > 900:
        return
    headers = scheme.sign(scheme.parse_secret(SECRETS[name]), body, now=now, message_id=message_id, url=URL)
    found = kind.judge(Post(headers, body, now=now), SECRETS[name])
    if kind.scheme == "linear":
        assert found in (Refused("malformed"), Refused("expired"))
    elif kind.signs_id and len(message_id) > 255:
        assert found == Refused("malformed")
    else:
        assert isinstance(found, Verified)
        assert re.fullmatch(r"[\x21-\x7e]{1,255}", found.dedupe_key)
        assert re.fullmatch(r"[\x21-\x7e]{0,255}", found.event)
        assert found.digest is None or re.fullmatch(r"[0-9a-f]{64}", found.digest)


@given(st.binary(max_size=300) | st.sampled_from(BOMBS), st.none() | st.binary(max_size=20))
def test_no_greeting_raises(query: bytes, token: bytes | None) -> None:
    """Any query is a refusal or none of ours."""
    for scheme in SCHEMES.values():
        message = replace(Post({}, b"", method="GET", now=NOW).message, query=query)
        assert not isinstance(scheme.greet(message, token), Handshake)


@pytest.mark.parametrize("name", KINDS)
@given(st.text())
def test_a_secret_is_a_key_or_an_error(name: str, text: str) -> None:
    """Never an empty key, and never another error."""
    scheme = SCHEMES[KINDS[name].scheme]
    try:
        key = scheme.parse_secret(text)
    except ValueError:
        return
    assert key.removeprefix(b"whsec_")
