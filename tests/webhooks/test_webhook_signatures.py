"""Signatures: only what was signed with one of our secrets, recently, passes; nothing makes a scheme raise."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import standardwebhooks
import stripe
from hypothesis import given
from hypothesis import strategies as st
from webhook_world import standard_secret, stripe_secret

from launchkit.settings import WebhookSource
from launchkit.webhooks.signatures import SCHEMES, SENDERS, Refused, Verified, scheme_for, sign

NOW = 1_700_000_000.0
EVENT = b'{"id": "evt_1", "type": "invoice.paid", "text": "\xc3\xa9"}'
STRIPE = SCHEMES["stripe"]
STANDARD = SCHEMES["standard"]
MADE = {"stripe": stripe_secret, "standard": standard_secret}

# Published with the Standard Webhooks specification.
VECTOR_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VECTOR_BODY = b'{"test": 2432232314}'
VECTOR_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
WRONG_SIGNATURE = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="
VECTOR_TIME = 1_614_265_330.0

# Published by Svix.
SVIX_SECRET = "whsec_plJ3nmyCDGBKInavdOK15jsl"
SVIX_BODY = b'{"event_type":"ping","data":{"success":true}}'
SVIX_TIME = 1_731_705_121.0


def getter(headers: dict[str, str]) -> Callable[[bytes], bytes | None]:
    return {name.encode(): value.encode("latin-1") for name, value in headers.items()}.get


def judge(
    scheme: str, headers: dict[str, str], body: bytes, *texts: str, now: float = NOW, tolerance: float = 300
) -> Verified | Refused:
    keys = [SCHEMES[scheme].parse_secret(text) for text in texts]
    return SCHEMES[scheme].verify(getter(headers), body, keys, now, tolerance)


def vector(signature: str) -> dict[str, str]:
    return {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": signature,
    }


@pytest.mark.parametrize(
    "signature",
    [
        VECTOR_SIGNATURE,
        f"{WRONG_SIGNATURE} v2,Ceo5 {VECTOR_SIGNATURE} {WRONG_SIGNATURE}",
        f"v1a,AAAA v1 , v1,abc {VECTOR_SIGNATURE}",
    ],
)
def test_published_standard_vector_verifies(signature: str) -> None:
    """The specification's own vector passes, alone and among other versions, wrong ones and malformed ones."""
    found = judge("standard", vector(signature), VECTOR_BODY, VECTOR_SECRET, now=VECTOR_TIME)
    assert found == Verified("msg_p5jXN8AQM9LWM0D4loKWxJek", "")


@pytest.mark.parametrize(
    "signature",
    ["v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OA=", VECTOR_SIGNATURE.replace("v1", "v2"), "v1", "a,b,c", "v1,\xff"],
)
def test_published_standard_vector_with_another_signature_is_refused(signature: str) -> None:
    """One character off, another version, or garbage is no signature."""
    found = judge("standard", vector(signature), VECTOR_BODY, VECTOR_SECRET, now=VECTOR_TIME)
    assert isinstance(found, Refused)


def test_published_svix_vector_verifies() -> None:
    """Svix's spelling of the headers is the same scheme."""
    headers = {
        "svix-id": "msg_loFOjxBNrRLzqYUf",
        "svix-timestamp": "1731705121",
        "svix-signature": "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
    }
    assert judge("standard", headers, SVIX_BODY, SVIX_SECRET, now=SVIX_TIME) == Verified("msg_loFOjxBNrRLzqYUf", "")


def test_what_stripes_library_signs_verifies() -> None:
    """Our Stripe is Stripe's: what its library signs, we accept."""
    secret = stripe_secret()
    header = stripe.WebhookSignature.generate_signature_header(EVENT.decode(), secret, timestamp=int(NOW))
    found = judge("stripe", {"stripe-signature": header}, EVENT, secret)
    assert found == Verified("evt_1", "invoice.paid")


def test_what_we_sign_stripes_library_verifies() -> None:
    """The helper for tests signs as Stripe does."""
    secret = stripe_secret()
    header = sign("stripe", secret, EVENT, now=time.time(), message_id="")["stripe-signature"]
    assert stripe.WebhookSignature.verify_header(EVENT.decode(), header, secret, tolerance=300)


def test_what_the_standard_library_signs_verifies() -> None:
    """Our Standard Webhooks is theirs: what their library signs, we accept."""
    secret = standard_secret()
    signature = standardwebhooks.Webhook(secret).sign("msg_1", datetime.fromtimestamp(NOW, tz=UTC), EVENT.decode())
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(NOW)), "webhook-signature": signature}
    assert judge("standard", headers, EVENT, secret) == Verified("msg_1", "invoice.paid")


def test_what_we_sign_the_standard_library_verifies() -> None:
    """The helper for tests signs as a Standard Webhooks sender does."""
    secret = standard_secret()
    headers = sign("clerk", secret, EVENT, now=time.time(), message_id="msg_2")
    assert standardwebhooks.Webhook(secret).verify(EVENT, headers) == json.loads(EVENT)


@pytest.mark.parametrize("scheme", ["stripe", "standard"])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_any_of_several_secrets_will_do(scheme: str, position: int) -> None:
    """While a secret is being replaced, the old and the new one both hold."""
    texts = [MADE[scheme]() for _ in range(3)]
    headers = sign(scheme, texts[position], EVENT, now=NOW, message_id="msg_1")
    assert isinstance(judge(scheme, headers, EVENT, *texts), Verified)


@pytest.mark.parametrize("scheme", ["stripe", "standard"])
def test_another_secret_is_a_mismatch(scheme: str) -> None:
    """A stranger's signature is none; so is one where no secret, or an empty one, is known."""
    headers = sign(scheme, MADE[scheme](), EVENT, now=NOW, message_id="msg_1")
    assert judge(scheme, headers, EVENT, MADE[scheme]()) == Refused("mismatch")
    assert judge(scheme, headers, EVENT) == Refused("mismatch")
    assert SCHEMES[scheme].verify(getter(headers), EVENT, [b""], NOW, 300) == Refused("mismatch")


@pytest.mark.parametrize("scheme", ["stripe", "standard"])
def test_a_changed_body_is_a_mismatch(scheme: str) -> None:
    """The signature covers every byte of the body as it was received."""
    secret = MADE[scheme]()
    headers = sign(scheme, secret, EVENT, now=NOW, message_id="msg_1")
    assert judge(scheme, headers, EVENT + b"\n", secret) == Refused("mismatch")


def test_a_changed_id_is_a_mismatch() -> None:
    """A captured delivery cannot come again under another id."""
    secret = standard_secret()
    headers = sign("standard", secret, EVENT, now=NOW, message_id="msg_1") | {"webhook-id": "msg_2"}
    assert judge("standard", headers, EVENT, secret) == Refused("mismatch")


@pytest.mark.parametrize("scheme", ["stripe", "standard"])
@pytest.mark.parametrize(
    ("late", "passes"), [(300, True), (-300, True), (301, False), (-301, False), (86_400, False), (0, True)]
)
def test_the_signed_time_may_differ_by_the_tolerance_either_way(scheme: str, late: float, passes: bool) -> None:
    """Both an old and a future time are refused beyond the tolerance."""
    secret = MADE[scheme]()
    headers = sign(scheme, secret, EVENT, now=NOW - late, message_id="msg_1")
    found = judge(scheme, headers, EVENT, secret)
    assert isinstance(found, Verified) if passes else found == Refused("expired")


@pytest.mark.parametrize(
    "header",
    ["t=1,v1=\xff", "v1=00", "t=,v1=00", "t=1", "=,=,=", "t=abc,v1=00", "t=-5,v1=00", "t=" + "9" * 5000 + ",v1=00"],
)
def test_stripe_garbage_is_refused(header: str) -> None:
    """A header that is not of the scheme's form is refused, whatever is wrong with it."""
    assert isinstance(judge("stripe", {"stripe-signature": header}, EVENT, stripe_secret()), Refused)


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_all_three_headers_are_needed(missing: str) -> None:
    """Without one of its headers nothing is signed; an empty header is none."""
    secret = standard_secret()
    headers = sign("standard", secret, EVENT, now=NOW, message_id="msg_1")
    assert judge("standard", headers | {missing: ""}, EVENT, secret) == Refused("missing")
    del headers[missing]
    assert judge("standard", headers, EVENT, secret) == Refused("missing")


def test_a_stripe_request_without_its_header_is_refused() -> None:
    """No header, no trust."""
    assert judge("stripe", {}, EVENT, stripe_secret()) == Refused("missing")


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff\xfe", b"[]", b"{}", b'{"id": 5, "type": []}', b'{"id": "\\ud800"}', b'{"id": "a b"}', b"[" * 100_000],
)
def test_a_stripe_body_without_a_usable_id_is_its_own(body: bytes) -> None:
    """Where the signed body names no id, its digest tells repeats."""
    secret = stripe_secret()
    headers = sign("stripe", secret, body, now=NOW, message_id="")
    assert judge("stripe", headers, body, secret) == Verified(hashlib.sha256(body).hexdigest(), "")


def test_an_id_that_cannot_be_written_down_is_refused() -> None:
    """Even when it is signed: an id with spaces or control characters is not one."""
    secret = standard_secret()
    headers = sign("standard", secret, EVENT, now=NOW, message_id="msg 1")
    assert judge("standard", headers, EVENT, secret) == Refused("malformed")


@given(st.dictionaries(st.sampled_from(["stripe-signature"]), st.text(st.characters(max_codepoint=255))), st.binary())
def test_no_stripe_garbage_raises_or_verifies(headers: dict[str, str], body: bytes) -> None:
    """Whatever a stranger sends is refused and nothing is raised."""
    assert isinstance(STRIPE.verify(getter(headers), body, [b"key"], NOW, 1e12), Refused)


@given(
    st.fixed_dictionaries(
        {
            "webhook-id": st.text(st.characters(max_codepoint=255)),
            "webhook-timestamp": st.text(st.characters(max_codepoint=255)) | st.integers().map(str),
            "webhook-signature": st.text(st.characters(max_codepoint=255)) | st.text().map(lambda _: WRONG_SIGNATURE),
        }
    ),
    st.binary(),
)
def test_no_standard_garbage_raises_or_verifies(headers: dict[str, str], body: bytes) -> None:
    """Whatever a stranger sends is refused and nothing is raised."""
    assert isinstance(STANDARD.verify(getter(headers), body, [b"key"], NOW, 1e12), Refused)


@given(st.sampled_from(["stripe", "standard"]), st.binary(), st.integers(0, 10**11))
def test_what_is_signed_verifies(scheme: str, body: bytes, at: int) -> None:
    """Any body, at any time, verifies at that time."""
    secret = MADE[scheme]()
    headers = sign(scheme, secret, body, now=at, message_id="msg_1")
    assert isinstance(judge(scheme, headers, body, secret, now=at), Verified)


@pytest.mark.parametrize("text", ["whsec_", "", "whsec_!!!!", "whsec_a", "whsec_\xe9", "whpk_AAAA", "whsk_AAAA"])
def test_a_malformed_standard_secret_is_an_error_without_it(text: str) -> None:
    """A secret that cannot be right stops the start, and is not shown."""
    with pytest.raises(ValueError, match="whsec_") as caught:
        STANDARD.parse_secret(text)
    assert text[len("whsec_") :] == "" or text not in str(caught.value)


def test_a_standard_secret_may_come_without_prefix_and_padding() -> None:
    """What senders show differs in both; the key is the same."""
    key = b"0123456789"
    encoded = base64.b64encode(key).decode()
    assert [STANDARD.parse_secret(text) for text in (encoded, "whsec_" + encoded, encoded.rstrip("="))] == [key] * 3


@pytest.mark.parametrize("text", ["", " whsec_x", "whsec_x\n", "sk_live_x", "rk_test_x", "pk_live_x"])
def test_a_malformed_stripe_secret_is_an_error(text: str) -> None:
    """An API key, or a word with blanks around it, is a mistake."""
    with pytest.raises(ValueError, match="whsec_"):
        STRIPE.parse_secret(text)


@pytest.mark.parametrize(
    ("name", "scheme", "expected"),
    [
        ("stripe", None, STRIPE),
        ("Standard-Webhooks", None, STANDARD),
        ("resend", None, STANDARD),
        ("shop", "stripe", STRIPE),
        ("stripe", "standard", STANDARD),
        ("shop", None, None),
    ],
)
def test_the_setting_else_the_name_tells_the_scheme(name: str, scheme: str | None, expected: object) -> None:
    """A known sender needs no `scheme`; the setting wins over the name."""
    assert scheme_for(name, WebhookSource.model_validate({"scheme": scheme})) is expected


def test_every_known_sender_has_a_scheme() -> None:
    """The table of senders names only schemes that exist."""
    assert set(SENDERS.values()) == set(SCHEMES)


def test_signing_for_an_unknown_sender_is_an_error() -> None:
    """The error lists the names that are known."""
    with pytest.raises(ValueError, match="stripe"):
        sign("shop", stripe_secret(), b"", now=NOW, message_id="")
