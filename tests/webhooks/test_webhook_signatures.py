"""Signatures as senders make them: every published vector, and official libraries on the other side."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
import slack_sdk.signature
import standardwebhooks
import stripe
import svix.webhooks
from scheme_world import KINDS, NOW, Post, judge
from twilio.request_validator import RequestValidator
from webhook_world import standard_secret, stripe_secret

from launchkit.webhooks.schemes.providers import sign
from launchkit.webhooks.schemes.scheme import Refused, Verified

EVENT = b'{"id": "evt_1", "type": "invoice.paid", "text": "\xc3\xa9"}'

# github.com/standard-webhooks/standard-webhooks, libraries/python/tests
STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
STANDARD_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
OTHER_SIGNATURE = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="
STANDARD_POST = Post(
    {"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330"},
    b'{"test": 2432232314}',
    now=1_614_265_330,
)


@pytest.mark.parametrize(
    "signature",
    [
        STANDARD_SIGNATURE,
        f"{OTHER_SIGNATURE} {OTHER_SIGNATURE.replace('v1', 'v2')} {STANDARD_SIGNATURE} {OTHER_SIGNATURE}",
        f"v1a,AAAA v1 , v1,abc  v1,\xff {STANDARD_SIGNATURE}",
    ],
)
def test_the_vector_of_standard_webhooks(signature: str) -> None:
    """It passes alone and among other versions, wrong ones and malformed ones."""
    found = judge("standard", STANDARD_POST.but("webhook-signature", signature), STANDARD_SECRET)
    assert found == Verified("msg_p5jXN8AQM9LWM0D4loKWxJek")


@pytest.mark.parametrize(
    "signature",
    ["v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OA=", STANDARD_SIGNATURE.replace("v1", "v2"), "v1", "a,b,c", "v1,"],
)
def test_the_vector_of_standard_webhooks_with_another_signature(signature: str) -> None:
    """One character off, another version, or garbage is no signature."""
    found = judge("standard", STANDARD_POST.but("webhook-signature", signature), STANDARD_SECRET)
    assert isinstance(found, Refused)


def test_the_vector_of_svix() -> None:
    """Its spelling of the headers is the same scheme (docs.svix.com, "Verifying Webhooks Manually")."""
    headers = {
        "svix-id": "msg_loFOjxBNrRLzqYUf",
        "svix-timestamp": "1731705121",
        "svix-signature": "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
    }
    post = Post(headers, b'{"event_type":"ping","data":{"success":true}}', now=1_731_705_121)
    assert judge("standard", post, "whsec_plJ3nmyCDGBKInavdOK15jsl") == Verified("msg_loFOjxBNrRLzqYUf", "ping")


def test_the_vector_of_github() -> None:
    """Its documentation's, whose secret has spaces (docs.github.com, "Validating webhook deliveries")."""
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    headers = {"x-hub-signature-256": signature, "x-github-delivery": "72d3162e", "x-github-event": "push"}
    digest = "dffd6021bb2bd5b0af676290809ec3a53191dd81c7f70a4b28688a362182986f"
    found = judge("github", Post(headers, b"Hello, World!"), "It's a Secret to Everybody")
    assert found == Verified("72d3162e", "push", digest)


def test_the_vector_of_slack() -> None:
    """Its documentation's: a slash command, a form without an id (docs.slack.dev, "Verifying requests from Slack")."""
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=fo"
        b"obar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks"
        b".slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.474456291"
        b"21.803a0bc887a14d10d2c447fce8b6703c"
    )
    signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    post = Post({"x-slack-signature": signature, "x-slack-request-timestamp": "1531420618"}, body, now=1_531_420_618)
    found = judge("slack", post, "8f742231b10e8888abcd99yyyzzz85a5")
    assert isinstance(found, Verified)
    assert (len(found.dedupe_key), found.event, found.digest) == (64, "", None)


SQUARE_TEST = (
    b'{"merchant_id":"MLEFBHHSJGVHD","type":"webhooks.test_notification","event_id":"ac3ac95b-f97d-458c-a6e6-18981597e0'
    b'5f","created_at":"2022-07-13T20:30:59.037339943Z","data":{"type":"webhooks","id":"bc368e64-01aa-407e-b46e-3231809'
    b'b1129"}}'
)


@pytest.mark.parametrize(
    ("key", "path", "body", "signature", "event"),
    [
        (
            "Ibxx_5AKakO-3qeNVR61Dw",
            "679a4f3a-dcfa-49ee-bac5-9d0edad886b9",
            SQUARE_TEST,
            "GF4YkrJgGBDZ9NIYbNXBnMzqb2HoL4RW/S6vkZ9/2N4=",
            "webhooks.test_notification",
        ),
        (
            "signature-key",
            "webhooks",
            b'{"data":{"type":"webhooks","id":">id<"}}',
            "Cxt7+aTi4rKgcA0bC4g9EHdVtLSDWdqccmL5MvihU4U=",
            "",
        ),
    ],
)
def test_the_vectors_of_square(key: str, path: str, body: bytes, signature: str, event: str) -> None:
    """Those of its libraries' tests (github.com/square/square-python-sdk)."""
    post = Post({"x-square-hmacsha256-signature": signature}, body, f"https://webhook.site/{path}")
    found = judge("square", post, key)
    assert isinstance(found, Verified)
    assert found.event == event
    assert judge("square", replace(post, url=post.url + "/"), key) == Refused("mismatch")


def test_a_vector_of_paddle() -> None:
    """Of a C++ library's tests: a delivery of Paddle's sandbox (file tests/signature_test.cpp)."""
    body = (
        b'{"data":{"id":"paymtd_01k2jj1kp58a2w0q2bz6868k7t","type":"card","origin":"subscription","saved_at":"2025-08-1'
        b'3T20:30:50.472214Z","address_id":"add_01k2jj0xcjspzt29qb3qtt5wx6","updated_at":"2025-08-13T20:40:50.668611Z",'
        b'"customer_id":"ctm_01k2jj0xbzdpzbgz0vqv1e0x5e","deletion_reason":"replaced_by_newer_version"},"event_id":"evt'
        b'_01k2jjm0qdjr26zsz4m48z2efq","event_type":"payment_method.deleted","occurred_at":"2025-08-13T20:40:50.669839Z'
        b'","notification_id":"ntf_01k2jjm13zz5m5t681nvn0e5hr"}'
    )
    signature = "cf519461c15c010f1a82e28afc83b7e8a5fdf1823791050e775badbe0bdcabf7"
    post = Post({"paddle-signature": f"ts=1755117651;h1={signature}"}, body, now=1_755_117_651)
    secret = "pdl_ntfset_01k2jjfqx34sdwsvrbj123wxx2_" + "w4C4I+q1LScX16/ODlt39IBfOQo+20fN"
    assert judge("paddle", post, secret) == Verified("evt_01k2jjm0qdjr26zsz4m48z2efq", "payment_method.deleted")
    rotated = post.but("paddle-signature", f"ts=1755117651;h1={'0' * 64};h2=x;h1={signature}")
    assert isinstance(judge("paddle", rotated, secret), Verified)


def test_a_vector_of_shopifys_formula() -> None:
    """Of a database's documentation of its HMAC function (sql-page.com), in both spellings of the header."""
    body = b'{"id":1234567890,"email":"customer@example.com","total_price":"123.45"}'
    for spelling in ("x-shopify-", "shopify-"):
        signature = {f"{spelling}hmac-sha256": "QNyObTlKbMx2qDlPF/ZOZcBqg5OgPg+2oky3zldc0Gw="}
        post = Post(signature | {f"{spelling}topic": "orders/create", f"{spelling}webhook-id": "b54557e4"}, body)
        found = judge("shopify", post, "test-webhook-secret")
        assert isinstance(found, Verified)
        assert (found.dedupe_key, found.event) == ("b54557e4", "orders/create")


TWILIO_URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
TWILIO_PARAMETERS = {
    "CallSid": "CA1234567890ABCDE",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
    "Caller": "+14158675309",
}
TWILIO_FORM = urlencode(TWILIO_PARAMETERS).encode()
TWILIO_JSON = b'{"property": "value", "boolean": true}'
TWILIO_HASH = "&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"


@pytest.mark.parametrize(
    ("url", "body", "signature"),
    [
        (TWILIO_URL, TWILIO_FORM, "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        (TWILIO_URL, b"Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234", "IK+Dwps556ElfBT0I3Rgjkr1wJU="),
        (TWILIO_URL + TWILIO_HASH, TWILIO_JSON, "a9nBmqA0ju/hNViExpshrM61xv4="),
        (TWILIO_URL.replace(".com", ".com:1234"), TWILIO_FORM, "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        ("http://mycompany.com:1234/myapp.php?foo=1&bar=2", TWILIO_FORM, "Zmvh+3yNM1Phv2jhDCwEM3q5ebU="),
        (TWILIO_URL, TWILIO_FORM, "kvajT1Ptam85bY51eRf/AJRuM3w="),
        (TWILIO_URL.replace("https", "http"), TWILIO_FORM, "0ZXoZLH/DfblKGATFgpif+LLRf4="),
    ],
)
def test_the_vectors_of_twilio(url: str, body: bytes, signature: str) -> None:
    """Those of its library's tests (github.com/twilio/twilio-python): repeated parameters, JSON, ports left out."""
    post = Post({"x-twilio-signature": signature}, body, url)
    assert isinstance(judge("twilio", post, "12345"), Verified)
    assert judge("twilio", post, "54321") == Refused("mismatch")
    assert judge("twilio", replace(post, url=url.replace("foo=1", "foo=2")), "12345") == Refused("mismatch")


@pytest.mark.parametrize("body", [b"", b"a=1", TWILIO_JSON + b" "])
def test_twilios_address_vouches_for_no_other_body(body: bytes) -> None:
    """Where it holds a hash, not even an empty form passes under the same signature."""
    post = Post({"x-twilio-signature": "a9nBmqA0ju/hNViExpshrM61xv4="}, body, TWILIO_URL + TWILIO_HASH)
    assert judge("twilio", post, "12345") == Refused("malformed")


def test_a_twilio_form_of_endless_parameters_is_refused() -> None:
    """Nobody makes us sort half a million."""
    post = KINDS["twilio, form"].post("key")
    assert judge("twilio", replace(post, body=b"&" * 1_000), "key") == Refused("malformed")
    with pytest.raises(ValueError, match="form"):
        sign("twilio", "key", b"&" * 1_000, now=NOW, message_id="msg_1", url=TWILIO_URL)


@pytest.mark.parametrize("algorithm", ["HMAC_SHA1", "HMAC_SHA256"])
@pytest.mark.parametrize(
    "url", [TWILIO_URL, "https://example.com", "http://[::1]:8080/a", "example.com/without-scheme"]
)
def test_what_twilios_library_signs_verifies(algorithm: str, url: str) -> None:
    """With the account's token and with a shared key."""
    parameters = {"Body": "Grüße & =+%", "Empty": "", "MessageStatus": "sent"}
    signature = RequestValidator("t0ken").compute_signature(url, parameters, algorithm)
    post = Post({"x-twilio-signature": signature}, urlencode(parameters).encode(), url)
    found = judge("twilio", post, "t0ken")
    assert isinstance(found, Verified)
    assert (found.event, found.dedupe_key) == ("sent", found.digest)


def test_what_we_sign_twilios_library_verifies() -> None:
    """A form and JSON."""
    form = sign("twilio", "t0ken", TWILIO_FORM, now=NOW, message_id="m", url=TWILIO_URL)["x-twilio-signature"]
    assert RequestValidator("t0ken").validate(TWILIO_URL, TWILIO_PARAMETERS, form)
    url = TWILIO_URL + TWILIO_HASH
    signature = sign("twilio", "t0ken", TWILIO_JSON, now=NOW, message_id="m", url=url)["x-twilio-signature"]
    assert RequestValidator("t0ken").validate(url, TWILIO_JSON.decode(), signature)


def test_what_stripes_library_signs_verifies() -> None:
    """Our Stripe is Stripe's."""
    secret = stripe_secret()
    header = stripe.WebhookSignature.generate_signature_header(EVENT.decode(), secret, timestamp=int(NOW))
    assert judge("stripe", Post({"stripe-signature": header}, EVENT), secret) == Verified("evt_1", "invoice.paid")


def test_what_we_sign_stripes_library_verifies() -> None:
    """The helper for tests signs as Stripe does."""
    secret = stripe_secret()
    header = sign("stripe", secret, EVENT, now=time.time(), message_id="")["stripe-signature"]
    assert stripe.WebhookSignature.verify_header(EVENT.decode(), header, secret, tolerance=300)


def test_one_of_several_stripe_signatures_will_do() -> None:
    """While Stripe replaces the secret it signs with both; signatures of other versions say nothing."""
    post, other = (KINDS["stripe"].post(secret).headers["stripe-signature"] for secret in ("whsec_new", "whsec_old"))
    both = f"{post}, v0=x , {other.partition(',')[2]}"
    for secret in ("whsec_new", "whsec_old"):
        request = KINDS["stripe"].post("whsec_new").but("stripe-signature", both)
        assert isinstance(judge("stripe", request, secret), Verified)
    only_old_versions = KINDS["stripe"].post("whsec_new").but("stripe-signature", post.replace("v1=", "v0="))
    assert judge("stripe", only_old_versions, "whsec_new") == Refused("malformed")


@pytest.mark.parametrize(
    "header",
    ["t=1,v1=\xff", "v1=00", "t=,v1=00", "t=1", "=,=,=", "t=abc,v1=00", "t=-5,v1=00", "t=" + "9" * 5000 + ",v1=00"],
)
def test_stripe_garbage_is_refused(header: str) -> None:
    """A header that is not of the scheme's form is refused, whatever is wrong with it."""
    assert isinstance(judge("stripe", Post({"stripe-signature": header}, EVENT), stripe_secret()), Refused)


def test_a_time_of_endless_digits_is_none() -> None:
    """Even when it is signed, nobody makes us read it."""
    for name in ("stripe", "slack"):
        post = Post(sign(name, "whsec_x", EVENT, now=10**20, message_id=""), EVENT)
        assert judge(name, post, "whsec_x") == Refused("malformed")


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"\xff\xfe", b"[]", b"{}", b'{"id": [], "type": true}', b'{"id": "\\ud800"}', b'{"id": "a b"}'),
        *(b'{"id": ' + b"9" * 5_000 + b"}", b"[" * 100_000, b'{"a":' * 100_000),
    ],
)
def test_a_body_without_a_usable_id_is_its_own(body: bytes) -> None:
    """Where the signed body names no id, its digest tells repeats; nothing that was signed raises."""
    secret = stripe_secret()
    post = Post(sign("stripe", secret, body, now=NOW, message_id=""), body)
    found = judge("stripe", post, secret)
    assert isinstance(found, Verified)
    assert (len(found.dedupe_key), found.event) == (64, "")


def test_a_number_is_an_id_too() -> None:
    """As some senders have it."""
    post = Post(sign("stripe", "whsec_x", b'{"id": 17}', now=NOW, message_id=""), b'{"id": 17}')
    assert judge("stripe", post, "whsec_x") == Verified("17")


@pytest.mark.parametrize("library", [standardwebhooks.Webhook, svix.webhooks.Webhook])
@pytest.mark.parametrize("spelling", ["webhook", "svix"])
def test_what_the_standard_libraries_sign_verifies(
    library: Callable[[str], svix.webhooks.Webhook], spelling: str
) -> None:
    """Our Standard Webhooks is theirs, in both spellings."""
    secret = standard_secret()
    signature = library(secret).sign("msg_1", datetime.fromtimestamp(NOW, tz=UTC), EVENT.decode())
    values = {"id": "msg_1", "timestamp": str(int(NOW)), "signature": signature}
    post = Post({f"{spelling}-{name}": value for name, value in values.items()}, EVENT)
    assert judge("standard", post, secret) == Verified("msg_1", "invoice.paid")


@pytest.mark.parametrize("library", [standardwebhooks.Webhook, svix.webhooks.Webhook])
@pytest.mark.parametrize("sender", ["clerk", "gitlab"])
def test_what_we_sign_the_standard_libraries_verify(
    library: Callable[[str], svix.webhooks.Webhook], sender: str
) -> None:
    """The helper for tests signs as a Standard Webhooks sender does; they raise if it does not."""
    secret = standard_secret()
    headers = sign(sender, secret, EVENT, now=time.time(), message_id="msg_2")
    library(secret).verify(EVENT, headers)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        library(secret).verify(EVENT + b" ", headers)


def test_what_slacks_library_signs_verifies() -> None:
    """Our Slack is Slack's."""
    body = b'{"type": "event_callback", "event_id": "Ev1", "event": {"type": "app_mention"}}'
    verifier = slack_sdk.signature.SignatureVerifier("s1gning")
    signature = verifier.generate_signature(timestamp=str(int(NOW)), body=body)
    assert signature is not None
    post = Post({"x-slack-signature": signature, "x-slack-request-timestamp": str(int(NOW))}, body)
    assert judge("slack", post, "s1gning") == Verified("Ev1", "app_mention")


def test_what_we_sign_slacks_library_verifies() -> None:
    """The helper for tests signs as Slack does."""
    headers = sign("slack", "s1gning", EVENT, now=time.time(), message_id="")
    assert slack_sdk.signature.SignatureVerifier("s1gning").is_valid_request(EVENT, headers)


@pytest.mark.parametrize("stamp", ["null", "0", '""', '"soon"', "true", "-1", "1e400", "NaN", "9" * 400, "[]", "1.5"])
def test_linears_time_is_a_number_of_milliseconds(stamp: str) -> None:
    """Anything else, although signed, is refused."""
    body = b'{"type": "Issue", "webhookTimestamp": %s}' % stamp.encode()
    post = Post(sign("linear", "key", body, now=NOW, message_id="1"), body)
    assert judge("linear", post, "key") == Refused("expired" if stamp == "0" else "malformed")


def test_shopify_posts_the_same_bytes_for_several_events() -> None:
    """A new order that is paid already is created and paid: neither may hide the other."""
    post = KINDS["shopify"].post("key")
    created = judge("shopify", post, "key")
    paid = judge("shopify", post.but("x-shopify-topic", "orders/paid"), "key")
    assert isinstance(created, Verified)
    assert isinstance(paid, Verified)
    assert created.digest != paid.digest


class TestGitLab:
    def test_a_token_and_a_signing_token_hold_at_once(self) -> None:
        """While one replaces the other, deliveries of both kinds pass, and such as carry both."""
        signing, token = standard_secret(), "t0ken"
        signed, carried = (KINDS[f"gitlab, {form}"] for form in ("signing", "token"))
        posts = [signed.post(signing), carried.post(token), signed.post(signing).but("x-gitlab-token", token)]
        for post in posts:
            assert isinstance(judge("gitlab", post, signing, token), Verified)
            assert isinstance(judge("gitlab", post, token, signing), Verified)

    def test_a_signature_is_not_asked_of_a_token(self) -> None:
        """A secret that was set as one is never taken for the other."""
        signing = standard_secret()
        post = KINDS["gitlab, token"].post("t0ken").but("x-gitlab-token", signing)
        assert judge("gitlab", post, signing) == Refused("missing")
        assert judge("gitlab", post, signing, "t0ken") == Refused("mismatch")

    def test_the_signed_one_tells_why_it_is_refused(self) -> None:
        """Where no token was sent."""
        signing = standard_secret()
        post = KINDS["gitlab, signing"].post(signing, now=NOW - 1_000)
        assert judge("gitlab", post, signing, "t0ken") == Refused("expired")

    @pytest.mark.parametrize("header", ["idempotency-key", "webhook-id"])
    def test_repeats_are_known_by_the_idempotency_key(self, header: str) -> None:
        """The event UUID is shared by events that cause one another."""
        post = Post({"x-gitlab-token": "t0ken", header: "a1", "x-gitlab-event-uuid": "b2"}, b'{"event_name": "push"}')
        found = judge("gitlab", post, "t0ken")
        assert isinstance(found, Verified)
        assert (found.dedupe_key, found.event) == ("a1", "push")


class TestSecrets:
    @pytest.mark.parametrize(
        ("scheme", "text", "remedy"),
        [
            ("stripe", "sk_live_x", "whsec_"),
            ("stripe", "rk_test_x", "whsec_"),
            ("stripe", "pk_live_x", "whsec_"),
            ("stripe", "whsec x", "whsec_"),
            ("slack", "xoxb-1-x", "Basic Information"),
            ("slack", "xapp-1-x", "Basic Information"),
            ("twilio", "AC" + "0" * 32, "auth token"),
            ("twilio", "SK" + "0" * 32, "auth token"),
            *((scheme, text, "whsec_") for scheme in ("standard", "gitlab") for text in ("whsec_", "whsec_!!!!")),
            *(("standard", text, "whsec_") for text in ("whsec_a", "whsec_\xe9", "whpk_AAAA", "whsk_AAAA")),
        ],
    )
    def test_another_credential_of_the_senders_is_an_error(self, scheme: str, text: str, remedy: str) -> None:
        """The message says where the right one is, and does not show the wrong one."""
        with pytest.raises(ValueError, match=remedy) as caught:
            sign(scheme, text, b"", now=NOW, message_id="", url=TWILIO_URL)
        assert text == "whsec_" or text not in str(caught.value)

    def test_a_standard_secret_may_come_without_prefix_and_padding(self) -> None:
        """What senders show differs in both; the key is the same."""
        secret = standard_secret()[:-2]
        post = KINDS["standard"].post(secret)
        for text in (secret.removeprefix("whsec_"), secret + "=" * (-len(secret.removeprefix("whsec_")) % 4)):
            assert isinstance(judge("standard", post, text), Verified)
