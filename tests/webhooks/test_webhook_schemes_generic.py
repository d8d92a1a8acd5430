"""Senders without a name: a few words of their documentation make a scheme, or an error that says how."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import replace
from typing import Any

import pytest
from scheme_world import NOW, URL, Post, judge

from launchkit.webhooks.schemes.generic import ALGORITHMS, generic
from launchkit.webhooks.schemes.scheme import Refused, Verified

BODY = b'{"data": {"id": 17}, "kind": "paid"}'


def test_by_default_the_body_is_signed_and_is_its_own_id() -> None:
    """HMAC-SHA256 in hex, as most senders have it."""
    secret = secrets.token_hex()
    signature = hmac.new(secret.encode(), BODY, hashlib.sha256).hexdigest()
    scheme = generic("X-Signature")
    assert judge(scheme, Post({"x-signature": signature}, BODY), secret) == Verified(hashlib.sha256(BODY).hexdigest())
    assert (scheme.signs_url, scheme.redelivery) == (False, "retries")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_everything_can_be_said(algorithm: str, encoding: str) -> None:
    """Hash, encoding, prefix, what is signed, and where time, id and event are."""
    scheme = generic(
        "X-Acme-Signature",
        algorithm=algorithm,
        encoding=encoding,
        prefix="v9=",
        template="{{v9}}:{timestamp}:{id}:{url}:{body}",
        timestamp_header="X-Acme-Time",
        id_header="X-Acme-Id",
        event_header="X-Acme-Event",
    )
    secret = secrets.token_hex()
    signed = b"{v9}:1700000000:a1:" + URL.encode() + b":" + BODY
    digest = hmac.digest(secret.encode(), signed, algorithm)
    signature = base64.b64encode(digest).decode() if encoding == "base64" else digest.hex()
    headers = {"x-acme-time": "1700000000", "x-acme-id": "a1", "x-acme-event": "paid"}
    post = Post(headers | {"x-acme-signature": f"v9={signature}"}, BODY)
    assert scheme.signs_url
    assert judge(scheme, post, secret) == Verified("a1", "paid")
    for header, value in {"x-acme-time": "1700000001", "x-acme-id": "a2"}.items():
        assert judge(scheme, post.but(header, value), secret) == Refused("mismatch")
    assert judge(scheme, replace(post, url=URL + "&b=2"), secret) == Refused("mismatch")
    assert judge(scheme, replace(post, now=NOW + 301), secret) == Refused("expired")
    assert judge(scheme, post.but("x-acme-signature", signature), secret) == Refused("malformed")


def test_id_and_event_may_be_in_the_body() -> None:
    """By a dotted path; they are signed then, and need no digest."""
    scheme = generic("X-Signature", id_field="data.id", event_field="kind")
    headers = scheme.sign(b"key", BODY, now=NOW, message_id="")
    assert judge(scheme, Post(headers, BODY), "key") == Verified("17", "paid")


def test_an_id_beside_what_is_signed_comes_with_a_digest() -> None:
    """So that a replay under another id is known."""
    scheme = generic("X-Signature", id_header="X-Id")
    post = Post(scheme.sign(b"key", BODY, now=NOW, message_id="a1"), BODY)
    digest = hashlib.sha256(BODY).hexdigest()
    assert judge(scheme, post, "key") == Verified("a1", "", digest)
    assert judge(scheme, post.but("x-id", "a2"), "key") == Verified("a2", "", digest)


@pytest.mark.parametrize("path", ["data.id.more", "data.none", "none.id", "data", "."])
def test_a_path_that_leads_nowhere_finds_nothing(path: str) -> None:
    """The body is its own id then."""
    scheme = generic("X-Signature", id_field=path)
    found = judge(scheme, Post(scheme.sign(b"key", BODY, now=NOW, message_id=""), BODY), "key")
    assert found == Verified(hashlib.sha256(BODY).hexdigest())


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"algorithm": "md5"}, "sha256"),
        ({"encoding": "base32"}, "base64"),
        ({"template": "{timestamp}"}, "{body}"),
        ({"template": ""}, "{body}"),
        ({"template": "{{body}}"}, "{body}"),
        ({"template": "{body}{nonce}"}, "{timestamp}"),
        ({"template": "{body.x}"}, "{timestamp}"),
        ({"template": "{}{body}"}, "{timestamp}"),
        ({"template": "{body:>9}"}, "{timestamp}"),
        ({"template": "{body!r}"}, "{timestamp}"),
        ({"template": "{body"}, "{{"),
        ({"template": "body}"}, "{{"),
        ({"template": "{timestamp}.{body}"}, "timestamp_header"),
        ({"timestamp_header": "x-time"}, "{timestamp}"),
        ({"template": "{id}.{body}"}, "id_header"),
        ({"template": "{id}.{body}", "id_field": "id"}, "id_header"),
        ({"id_header": "x-id", "id_field": "id"}, "exclude each other"),
        ({"event_header": "x-event", "event_field": "event"}, "exclude each other"),
    ],
)
def test_what_does_not_fit_together_is_an_error_with_the_remedy(settings: dict[str, Any], remedy: str) -> None:
    """At the start, not at the first delivery."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the remedies have characters of regular expressions
        generic("x-signature", **settings)
    assert remedy in str(caught.value)
