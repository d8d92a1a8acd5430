"""Handshakes: a sender that asks whether the address is ours is answered, and nobody else learns or stores anything."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import replace
from typing import Literal
from urllib.parse import urlencode

import pytest
from scheme_world import KINDS, NOW, Post, judge

from launchkit.webhooks.schemes.handshakes import LONGEST_UNSIGNED
from launchkit.webhooks.schemes.providers import SCHEMES, sign
from launchkit.webhooks.schemes.scheme import Handshake, Refused, Verified

NO_WORDS = ["", "<script>", "two words", "a" * 256, "\u00e9", "v0:1:body", "a\nb", 7, None, ["a"], {"a": "b"}]
"""What no sender asks us to echo, and a stranger might."""


def signed(name: str, content: object, secret: str = "s1gning", now: float = NOW) -> Post:
    body = json.dumps(content).encode()
    return Post(sign(name, secret, body, now=now, message_id=""), body)


def slack(challenge: object) -> dict[str, object]:
    return {"token": "x", "type": "url_verification", "challenge": challenge}


def zoom(token: object) -> dict[str, object]:
    return {"event": "endpoint.url_validation", "payload": {"plainToken": token}, "event_ts": 1_654_503_849_680}


class TestSlack:
    CHALLENGE = "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"

    def test_a_signed_challenge_is_given_back_as_plain_text(self) -> None:
        """As its documentation has it (docs.slack.dev/reference/events/url_verification)."""
        found = judge("slack", signed("slack", slack(self.CHALLENGE)), "s1gning")
        assert found == Handshake(self.CHALLENGE.encode(), "text/plain; charset=utf-8")

    def test_one_without_a_signature_too(self) -> None:
        """It tells a stranger only what it has sent itself."""
        post = replace(signed("slack", slack(self.CHALLENGE)), headers={})
        assert judge("slack", post, "s1gning") == Handshake(self.CHALLENGE.encode())

    def test_one_with_a_wrong_signature_is_refused(self) -> None:
        """So that a wrong secret is found out when the address is set up."""
        assert judge("slack", signed("slack", slack(self.CHALLENGE), "0ther"), "s1gning") == Refused("mismatch")
        old = signed("slack", slack(self.CHALLENGE), now=NOW - 301)
        assert judge("slack", old, "s1gning") == Refused("expired")

    @pytest.mark.parametrize("challenge", NO_WORDS)
    def test_nothing_but_a_word_is_given_back(self, challenge: object) -> None:
        """Signed or not: and it is not stored as a delivery either."""
        post = signed("slack", slack(challenge))
        assert judge("slack", post, "s1gning") == Refused("malformed")
        assert judge("slack", replace(post, headers={}), "s1gning") == Refused("malformed")

    @pytest.mark.parametrize(
        "body",
        [
            b'{"type": "event_callback", "challenge": "abc"}',
            b'{"challenge": "abc"}',
            b"",
            b"[" * LONGEST_UNSIGNED,
            json.dumps(slack("abc")).encode().ljust(LONGEST_UNSIGNED + 1),
        ],
    )
    def test_nothing_else_passes_without_a_signature(self, body: bytes) -> None:
        """Nor is anything long even looked at."""
        assert judge("slack", Post({}, body), "s1gning") == Refused("missing")


class TestZoom:
    def test_its_token_is_given_back_signed(self) -> None:
        """Within JSON (developers.zoom.us/docs/api/webhooks), by the secret that the request was signed with."""
        old, new = secrets.token_hex(), secrets.token_hex()
        found = judge("zoom", signed("zoom", zoom("qgg8vlvZRS6UYooatFL8Aw"), new), old, new)
        assert isinstance(found, Handshake)
        expected = hmac.new(new.encode(), b"qgg8vlvZRS6UYooatFL8Aw", hashlib.sha256).hexdigest()
        assert json.loads(found.body) == {"plainToken": "qgg8vlvZRS6UYooatFL8Aw", "encryptedToken": expected}
        assert found.content_type == "application/json"

    def test_without_its_signature_nothing_is_signed(self) -> None:
        """Else anybody could have us sign what they like."""
        post = signed("zoom", zoom("abc"))
        assert judge("zoom", replace(post, headers={}), "s1gning") == Refused("missing")
        assert judge("zoom", post, "0ther") == Refused("mismatch")

    @pytest.mark.parametrize("token", NO_WORDS)
    def test_nothing_but_a_word_is_signed(self, token: object) -> None:
        """Least of all what a signature of a delivery would cover."""
        assert judge("zoom", signed("zoom", zoom(token)), "s1gning") == Refused("malformed")
        assert judge("zoom", signed("zoom", zoom(token) | {"payload": token}), "s1gning") == Refused("malformed")


class TestMeta:
    TOKEN = secrets.token_urlsafe()

    def greet(self, query: dict[str, str], token: str | None = TOKEN) -> object:
        post = Post({}, b"", f"https://example.com/webhooks/meta?{urlencode(query)}", method="GET")
        return SCHEMES["meta"].greet(post.message, None if token is None else token.encode())

    def test_its_challenge_is_given_back_to_who_knows_the_token(self) -> None:
        """As plain text (developers.facebook.com/docs/graph-api/webhooks/getting-started)."""
        query = {"hub.mode": "subscribe", "hub.verify_token": self.TOKEN, "hub.challenge": "1158201444"}
        assert self.greet(query) == Handshake(b"1158201444", "text/plain; charset=utf-8")

    @pytest.mark.parametrize(("sent", "reason"), [("x", "mismatch"), ("", "missing"), (TOKEN + "\u00e9", "mismatch")])
    def test_nobody_else_is_answered(self, sent: str, reason: Literal["mismatch", "missing"]) -> None:
        """Whatever it sends as the token."""
        query = {"hub.mode": "subscribe", "hub.verify_token": sent, "hub.challenge": "1158201444"}
        assert self.greet(query) == Refused(reason)

    @pytest.mark.parametrize("token", [None, ""])
    def test_without_a_token_of_ours_nobody_is(self, token: str | None) -> None:
        """An empty token in the query is not ours."""
        for sent in ("", "x"):
            query = {"hub.mode": "subscribe", "hub.verify_token": sent, "hub.challenge": "1158201444"}
            assert isinstance(self.greet(query, token), Refused)

    @pytest.mark.parametrize("challenge", [word for word in NO_WORDS if isinstance(word, str)])
    def test_nothing_but_a_word_is_given_back(self, challenge: str) -> None:
        """Not even to who knows the token."""
        query = {"hub.mode": "subscribe", "hub.verify_token": self.TOKEN, "hub.challenge": challenge}
        assert self.greet(query) == Refused("malformed")

    @pytest.mark.parametrize("query", [{}, {"hub.mode": "unsubscribe"}, {str(number): "x" for number in range(21)}])
    def test_another_get_is_none_of_ours(self, query: dict[str, str]) -> None:
        """It is answered like any other method on the path."""
        assert self.greet(query) is None

    def test_a_query_that_is_no_text_is_none_of_ours(self) -> None:
        """Bytes that are not UTF-8 included."""
        message = replace(Post({}, b"").message, query=b"hub.mode=subscribe&hub.verify_token=\xff%ff&hub.challenge=1")
        assert SCHEMES["meta"].greet(message, self.TOKEN.encode()) == Refused("mismatch")


@pytest.mark.parametrize("name", KINDS)
def test_a_handshake_of_anothers_is_a_delivery(name: str) -> None:
    """Only the sender that asks is answered."""
    kind = KINDS[name]
    if kind.scheme in ("slack", "zoom") or kind.json_hash:
        return
    secret = kind.make_secret()
    body = json.dumps(slack("abc") | zoom("abc") | {"webhookTimestamp": int(NOW * 1000)}).encode()
    url = "https://example.com/"
    post = Post(sign(kind.scheme, secret, body, now=NOW, message_id="msg_1", url=url), body, url)
    assert isinstance(kind.judge(post, secret), Verified)
