"""What holds of every scheme: only what was signed with one of our secrets, as it was signed and recently, passes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
from scheme_world import KINDS, NOW, Kind, Post

from launchkit.webhooks.schemes.providers import SCHEMES, SENDERS, scheme_named, sign
from launchkit.webhooks.schemes.samples import sample
from launchkit.webhooks.schemes.scheme import Refused, Verified, WebhookScheme


def accepted(found: object) -> Verified:
    assert isinstance(found, Verified)
    return found


def flipped(data: bytes) -> Iterator[bytes]:
    """Every string that differs in one bit."""
    for index in range(len(data)):
        for bit in range(8):
            yield data[:index] + bytes([data[index] ^ 1 << bit]) + data[index + 1 :]


@pytest.fixture(name="kind", params=KINDS.values(), ids=list(KINDS))
def _kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture(name="secret")
def _secret(kind: Kind) -> str:
    return kind.make_secret()


@pytest.fixture(name="post")
def _post(kind: Kind, secret: str) -> Post:
    return kind.post(secret)


class TestEveryScheme:
    def test_what_is_signed_verifies(self, kind: Kind, secret: str, post: Post) -> None:
        """It says which event it is and, where the sender has ids, which delivery."""
        found = accepted(kind.judge(post, secret))
        assert found.event == kind.event
        assert found.dedupe_key == "msg_1" or not kind.gives_id

    def test_each_delivery_has_its_own_key_and_each_repeat_the_same(self, kind: Kind, secret: str) -> None:
        """Whether the sender has ids or not."""
        posts = [kind.post(secret, message_id=name) for name in ("msg_1", "msg_1", "msg_2")]
        first, again, other = (accepted(kind.judge(post, secret)) for post in posts)
        assert first == again
        assert first.dedupe_key != other.dedupe_key

    def test_another_secret_is_a_mismatch(self, kind: Kind, post: Post) -> None:
        """What a stranger has signed is not trusted."""
        assert kind.judge(post, kind.make_secret()) == Refused("mismatch")

    def test_without_a_secret_nothing_verifies(self, kind: Kind, post: Post) -> None:
        """None, or an empty one that has slipped through, is no key: not even for what was signed with it."""
        scheme = SCHEMES[kind.scheme]
        assert isinstance(scheme.verify(post.message, []), Refused)
        for empty in (b"", b"whsec_"):
            headers = scheme.sign(empty, post.body, now=NOW, message_id="msg_1", url=post.url)
            unkeyed = replace(post, headers=post.headers | headers)
            assert isinstance(scheme.verify(unkeyed.message, [b""]), Refused)
            assert isinstance(SCHEMES["gitlab"].verify(unkeyed.message, [b"", b"whsec_"]), Refused)

    @pytest.mark.parametrize("position", [0, 1, 2])
    def test_any_of_several_secrets_will_do(self, kind: Kind, position: int) -> None:
        """While a secret is being replaced, the old and the new one both hold."""
        texts = [kind.make_secret() for _ in range(3)]
        accepted(kind.judge(kind.post(texts[position]), *texts))

    def test_every_bit_of_the_body_counts(self, kind: Kind, secret: str, post: Post) -> None:
        """One that differs is refused, or is known to be the same by its digest; under a token nothing is signed."""
        original = accepted(kind.judge(post, secret))
        for body in flipped(post.body):
            found = kind.judge(replace(post, body=body), secret)
            if not kind.signs_body:
                assert accepted(found).digest is None
            elif found not in (Refused("mismatch"), Refused("malformed")):
                # A form may write the same parameters in two ways: %2b, %2B.
                assert kind.scheme == "twilio"
                assert accepted(found).digest == original.digest

    def test_every_bit_of_the_signed_headers_counts(self, kind: Kind, secret: str, post: Post) -> None:
        """The signature itself, a signed time and a signed id."""
        for name in kind.needed_headers(secret):
            for value in flipped(post.headers[name].encode()):
                assert isinstance(kind.judge(post.but(name, value.decode("latin-1")), secret), Refused)

    def test_every_bit_of_a_signed_address_counts(self, kind: Kind, secret: str, post: Post) -> None:
        """A delivery to another address is none to ours."""
        if not SCHEMES[kind.scheme].signs_url:
            return
        for url in flipped(post.url.encode()):
            assert isinstance(kind.judge(replace(post, url=url.decode("latin-1")), secret), Refused)

    @pytest.mark.parametrize("late", [300, -300, 301, -301, 86_400, 10**9])
    def test_a_signed_time_may_differ_by_the_tolerance_either_way(self, kind: Kind, secret: str, late: float) -> None:
        """Both an old and a future time are refused beyond the tolerance."""
        found = kind.judge(kind.post(secret, now=NOW - late), secret)
        assert found == Refused("expired") if kind.has_time and abs(late) > 300 else accepted(found)

    def test_the_tolerance_is_the_sources(self, kind: Kind, secret: str) -> None:
        """It comes with the request, and no scheme has one of its own."""
        post = replace(kind.post(secret, now=NOW - 9), tolerance=10)
        accepted(kind.judge(post, secret))
        assert kind.judge(replace(post, tolerance=8), secret) == Refused("expired") or not kind.has_time

    def test_a_wrong_signature_is_never_called_expired(self, kind: Kind) -> None:
        """A stranger learns nothing of our clock."""
        found = kind.judge(kind.post(kind.make_secret(), now=NOW - 10**6), kind.make_secret())
        assert found == Refused("mismatch")

    def test_a_replay_under_a_fresh_id_is_known(self, kind: Kind, secret: str, post: Post) -> None:
        """By its digest, where something is signed and the id is no part of it; no other scheme has one."""
        found = accepted(kind.judge(post, secret))
        assert (found.digest is None) == (kind.id_header is None or not kind.signs_body)
        if kind.id_header is None:
            return
        again = accepted(kind.judge(post.but(kind.id_header, "fresh"), secret))
        bare = accepted(kind.judge(post.without(kind.id_header), secret))
        assert again == replace(found, dedupe_key="fresh")
        assert (bare.digest, bare.event) == (found.digest, found.event)
        assert len(bare.dedupe_key) == 64

    @pytest.mark.parametrize("fresh", ["two words", "", "\x00", "\xe9", "x" * 256])
    def test_an_id_that_cannot_be_written_down_is_not_one(self, kind: Kind, secret: str, fresh: str) -> None:
        """A signed one is refused; in place of an unsigned one, and of one in the body, stands a digest."""
        found = kind.judge(kind.post(secret, message_id=fresh), secret)
        if kind.signs_id:
            assert isinstance(found, Refused)
        else:
            assert len(accepted(found).dedupe_key) == 64

    def test_each_header_is_needed(self, kind: Kind, secret: str, post: Post) -> None:
        """Without one that is signed, or empty, nothing is; what is missing is said to be."""
        for name in kind.needed_headers(secret):
            assert kind.judge(post.without(name), secret) == Refused("missing")
            assert kind.judge(post.but(name, ""), secret) == Refused("missing")

    @pytest.mark.parametrize("text", ["", " ", " s3cr3t", "s3cr3t\n", "s3\x00cr3t", "s3cr3t\udcff"])
    def test_a_secret_that_cannot_be_right_stops_the_start(self, kind: Kind, text: str) -> None:
        """With the remedy, and without the secret."""
        with pytest.raises(ValueError, match="should be") as caught:
            SCHEMES[kind.scheme].parse_secret(text)
        assert "s3" not in str(caught.value)

    def test_it_greets_nobody_unasked(self, kind: Kind) -> None:
        """A GET that is no handshake is none of ours."""
        request = replace(kind.post(kind.make_secret()), method="GET").message
        assert SCHEMES[kind.scheme].greet(request, b"token") is None

    def test_it_is_a_scheme(self, kind: Kind) -> None:
        """It has the shape that an app's own would have, and says what its sender does with a refusal."""
        scheme = SCHEMES[kind.scheme]
        assert isinstance(scheme, WebhookScheme)
        assert scheme.redelivery in ("retries", "never", "ends")


def test_the_kinds_are_all_schemes() -> None:
    """None is left out here."""
    assert {kind.scheme for kind in KINDS.values()} == set(SCHEMES)


@pytest.mark.parametrize(
    ("redelivery", "names"),
    [("never", {"github", "gitlab", "twilio", "lemonsqueezy"}), ("ends", {"shopify", "linear", "slack"})],
)
def test_what_a_refusal_costs_is_known(redelivery: str, names: set[str]) -> None:
    """So that room is kept for those who do not come again, and an alert is raised."""
    assert {name for name, scheme in SCHEMES.items() if scheme.redelivery == redelivery} == names


def test_only_two_sign_their_address() -> None:
    """For them the public address has to be set."""
    assert {name for name, scheme in SCHEMES.items() if scheme.signs_url} == {"square", "twilio"}


@pytest.mark.parametrize(
    ("name", "choice", "expected"),
    [
        ("stripe", None, "stripe"),
        ("Standard-Webhooks", None, "standard"),
        ("resend", None, "standard"),
        ("Lemon-Squeezy", None, "lemonsqueezy"),
        ("whatsapp", None, "meta"),
        ("shop", "stripe", "stripe"),
        ("shop", "clerk", "standard"),
        ("stripe", "standard", "standard"),
    ],
)
def test_the_setting_else_the_name_tells_the_scheme(name: str, choice: str | None, expected: str) -> None:
    """A known sender needs no setting; the setting wins over the name."""
    assert scheme_named(name, choice) is SCHEMES[expected]


@pytest.mark.parametrize(("name", "choice"), [("shop", None), ("stripe", "hmac"), ("", None)])
def test_an_unknown_name_is_no_scheme(name: str, choice: str | None) -> None:
    """A wrong setting does not fall back to the name."""
    assert scheme_named(name, choice) is None


def test_every_sender_has_a_scheme() -> None:
    """And every scheme a sender of its name."""
    assert set(SENDERS.values()) == set(SCHEMES) <= set(SENDERS)


def test_signing_for_an_unknown_sender_is_an_error() -> None:
    """The error lists the names that are known."""
    with pytest.raises(ValueError, match="stripe"):
        sign("shop", secrets.token_hex(), b"", now=NOW, message_id="")


@pytest.mark.parametrize("name", ["square", "twilio"])
def test_signing_needs_the_address_where_it_is_signed(name: str) -> None:
    """Else the signature would be that of no request."""
    with pytest.raises(ValueError, match="url"):
        sign(name, secrets.token_hex(), b"", now=NOW, message_id="")
    assert sign(name, secrets.token_hex(), b"", now=NOW, message_id="", url="https://example.com/")


@pytest.mark.parametrize("name", SENDERS)
def test_every_sender_has_a_sample(name: str) -> None:
    """Which comes out as the event that was asked for, under the id that was asked for, and never twice the same."""
    kind = KINDS.get(name) or next(kind for kind in KINDS.values() if kind.scheme == SENDERS[name])
    secret = kind.make_secret()
    found = []
    for number in range(2):
        post = replace(kind, scheme=SENDERS[name]).post(secret, event="some_thing.happened", message_id=f"msg_{number}")
        body, headers = sample(name, "some_thing.happened", message_id=f"msg_{number}", now=NOW)
        assert post.body == body or kind.json_hash
        assert headers.items() <= post.headers.items()
        found.append(accepted(kind.judge(post, secret)))
    assert all(one.event == "some_thing.happened" for one in found)
    assert [one.dedupe_key for one in found] == ["msg_0", "msg_1"] or not kind.gives_id
    assert all(one != other and (one.digest or 1) != other.digest for one, other in pairwise(found))


@pytest.mark.parametrize(
    ("name", "event", "holds"),
    [
        ("stripe", "invoice.paid", b'"customer":"cus_sample"'),
        ("stripe", "checkout.session.completed", b'"object":"checkout.session"'),
        ("stripe", "customer.subscription.deleted", b'"object":"subscription"'),
        ("github", "push", b'"ref":"refs/heads/main"'),
        ("shopify", "orders/create", b'"line_items"'),
        ("shop", "anything", b'"type":"anything"'),
    ],
)
def test_well_known_events_have_their_fields(name: str, event: str, holds: bytes) -> None:
    """A handler that reads the usual ones can be tried with a sample."""
    assert holds in sample(name, event, message_id="msg_1", now=NOW)[0]
