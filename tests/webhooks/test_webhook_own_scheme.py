"""The app's own way of signing: it is held to the rules of ours."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchkit.webhooks.schemes.own import OwnScheme
from launchkit.webhooks.schemes.scheme import Handshake, Message, Refused, Verified, WebhookScheme


class Saying:
    """Says the same to everything."""

    def __init__(self, verdict: Any) -> None:
        self.verdict = verdict
        self.asked: list[tuple[Message, Sequence[bytes]]] = []

    def verify(self, message: Message, secrets: Sequence[bytes]) -> Any:
        self.asked.append((message, secrets))
        if isinstance(self.verdict, BaseException):
            raise self.verdict
        return self.verdict


MESSAGE = Message("POST", "", b"", lambda name: None, b"{}", 0.0, 300.0)


def verdict_on(said: object) -> object:
    return OwnScheme(Saying(said)).verify(MESSAGE, (b"key",))


def test_it_is_asked_with_the_message_and_the_secrets_as_written() -> None:
    """Nothing is done to a secret that only the app can read."""
    scheme = Saying(Verified("1"))
    own = OwnScheme(scheme)
    secret = own.parse_secret("whsec_ä")
    own.verify(MESSAGE, (secret,))
    assert scheme.asked == [(MESSAGE, ("whsec_ä".encode(),))]
    assert isinstance(scheme, WebhookScheme)


@pytest.mark.parametrize(
    "verdict", [Verified("evt_1", "invoice.paid", "d" * 64), Refused("expired"), Handshake(b"challenge")]
)
def test_what_is_in_order_is_passed_on(verdict: object) -> None:
    """Id, event and digest, a refusal's reason, and an answer to a handshake."""
    assert verdict_on(verdict) == verdict


@pytest.mark.parametrize("said", [None, True, False, "evt_1", ("evt_1", ""), Verified, Exception("no")])
def test_anything_else_is_a_refusal(said: object) -> None:
    """True is no `Verified`: a scheme that answers in the wrong words lets nobody in."""
    assert verdict_on(said) == Refused("malformed")


@pytest.mark.parametrize("error", [ValueError(), KeyError("x"), RecursionError(), AssertionError()])
def test_what_raises_is_refused_and_logged(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """With the class, so that its author finds it."""
    assert verdict_on(error) == Refused("malformed")
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("ERROR", "Saying raised: the delivery is refused")


@given(st.text(st.characters(), max_size=300), st.text(st.characters(), max_size=300))
def test_what_it_says_fits_the_inbox(key: str, event: str) -> None:
    """Printable ASCII of at most 255 characters: other ids are hashed, other events are none."""
    verdict = verdict_on(Verified(key, event))
    assert isinstance(verdict, Verified)
    assert re.fullmatch(r"[\x21-\x7e]{1,255}", verdict.dedupe_key)
    assert re.fullmatch(r"[\x21-\x7e]{0,255}", verdict.event)
    assert verdict.event in (event, "")


@pytest.mark.parametrize("digest", ["\0", "a b", "", 7.5, b"\xff\0", object()])
@pytest.mark.parametrize("other", [None, 7.5, object, ["a"]])
def test_what_is_of_another_type_fits_too(digest: Any, other: Any) -> None:
    """A Verified that was made of the wrong things lets in what it names, under a key that can be stored."""
    verdict = verdict_on(Verified(other, other, digest))
    assert verdict == Verified(hashlib.sha256(str(other).encode()).hexdigest(), "", None)


def test_an_odd_id_is_the_same_each_time_and_another_for_each_value() -> None:
    """Half a surrogate pair comes through JSON; it too can be told from another."""
    odd = ["", "\ud800", "\ud801", "a b", "x" * 256]
    keys = [verdict_on(Verified(key)) for key in odd]
    assert keys == [verdict_on(Verified(key)) for key in odd]
    assert len({verdict.dedupe_key for verdict in keys if isinstance(verdict, Verified)}) == len(odd)
    assert keys[0] == Verified(hashlib.sha256(b"").hexdigest())


def test_it_greets_nobody_and_cannot_sign() -> None:
    """Only the app knows how; senders of an unknown kind are taken to come again."""
    own = OwnScheme(Saying(None))
    assert own.greet(MESSAGE, b"token") is None  # type: ignore[func-returns-value]  # that is the point
    with pytest.raises(ValueError, match="cannot be signed with"):
        own.sign(b"key", b"{}", now=0.0, message_id="1")
    assert (own.signs_url, own.redelivery) == (False, "retries")
