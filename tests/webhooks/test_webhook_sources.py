"""A source, compiled from its settings: what can be wrong with it is told at the start, by the variable's name."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from pydantic import ValidationError
from webhook_world import standard_secret, stripe_secret

from launchkit import Settings, SettingsError
from launchkit.settings import WebhookSource
from launchkit.webhooks.schemes.own import OwnScheme
from launchkit.webhooks.schemes.providers import SCHEMES
from launchkit.webhooks.schemes.scheme import Message, Refused
from launchkit.webhooks.sources import IntakeSource, compile_source, same_path


class Own:
    """A scheme of the app's."""

    def verify(self, message: Message, keys: object) -> Refused:
        return Refused("missing")


def compiled(name: str, *, enabled: bool = True, public_url: str | None = None, **settings: Any) -> IntakeSource:
    return compile_source(name, WebhookSource.model_validate(settings), enabled=enabled, public_url=public_url)


def problem(name: str, **settings: Any) -> tuple[str, str]:
    """Return the variable and the message of the one thing that is wrong."""
    with pytest.raises(SettingsError) as caught:
        compiled(name, **settings)
    ((variable, message),) = ((found.variable, found.message) for found in caught.value.problems)
    return variable.removeprefix("LAUNCHKIT_WEBHOOKS__SOURCES__"), message


def test_the_name_says_where_and_how() -> None:
    """A sender that is known by name needs nothing but its secret."""
    source = compiled("stripe", secrets=[stripe_secret()])
    assert (source.pattern.text, source.scheme) == ("/webhooks/stripe", SCHEMES["stripe"])
    assert (source.tolerance, source.max_body, source.closed) == (300, 1_000_000, None)


@pytest.mark.parametrize(
    ("name", "scheme", "expected"),
    [
        ("clerk", None, "standard"),
        ("lemon-squeezy", None, "lemonsqueezy"),
        ("Stripe", None, "stripe"),
        ("billing", "stripe", "stripe"),
        ("stripe", "standard", "standard"),
        ("billing", "svix", "standard"),
    ],
)
def test_the_scheme_is_the_settings_else_the_names(name: str, scheme: str | None, expected: str) -> None:
    """And `scheme` may be any sender's name."""
    assert compiled(name, scheme=scheme).scheme is SCHEMES[expected]


def test_an_own_scheme_is_taken_as_it_is() -> None:
    """Whatever the source is called."""
    assert isinstance(compiled("stripe", scheme=Own()).scheme, OwnScheme)


@pytest.mark.parametrize("scheme", ["hmac", None])
def test_a_sender_can_be_described(scheme: str | None) -> None:
    """By `hmac`, which is also chosen where it alone is set."""
    source = compiled("partner", scheme=scheme, hmac={"header": "X-Sign"}, secrets=[stripe_secret()])
    assert source.scheme.sign(source.secrets[0], b"{}", now=0, message_id="").keys() == {"x-sign"}


def test_a_known_name_wins_over_nothing_and_a_description_over_the_name() -> None:
    """Who describes a sender means it."""
    assert compiled("stripe", hmac={"header": "x-sign"}).scheme is not SCHEMES["stripe"]
    assert compiled("stripe", scheme="stripe", hmac={"header": "x-sign"}).scheme is SCHEMES["stripe"]


@pytest.mark.parametrize(
    ("name", "settings", "variable", "told"),
    [
        ("shop", {}, "SHOP__SCHEME", "should be one of: clerk, facebook, github"),
        ("shop", {"scheme": "strpe"}, "SHOP__SCHEME", "should be one of"),
        ("shop", {"scheme": "hmac"}, "SHOP__HMAC__HEADER", "is needed with scheme hmac"),
        ("shop", {"hmac": {"header": "x", "template": "{tampered}"}}, "SHOP__HMAC", "template knows only"),
        ("shop", {"hmac": {"header": "x", "template": "{timestamp}{body}"}}, "SHOP__HMAC", "timestamp_header"),
        ("app", {"scheme": "stripe"}, "APP__PATH", "what the app submits itself"),
        ("stripe", {"path": "/a/{b"}, "STRIPE__PATH", ""),
    ],
)
def test_a_mistake_is_told_by_its_variable(name: str, settings: dict[str, Any], variable: str, told: str) -> None:
    """With what to do about it."""
    if variable == "STRIPE__PATH":  # the settings' own check tells it first
        with pytest.raises(ValidationError):
            compiled(name, **settings)
    else:
        found, message = problem(name, **settings)
        assert (found, told in message) == (variable, True)


def test_a_name_that_makes_no_path_is_told() -> None:
    """Where the path is not set, the name has to do."""
    assert problem("curly{", scheme="stripe")[0] == "CURLY{__PATH"


@pytest.mark.parametrize(
    ("name", "secret"), [("stripe", "sk_live_" + secrets.token_hex(8)), ("clerk", "whsec_!" + secrets.token_hex(8))]
)
def test_a_secret_that_can_only_be_a_mistake_is_told_and_not_shown(name: str, secret: str) -> None:
    """An API key in place of the signing secret, or one that is not base64."""
    variable, message = problem(name, secrets=[standard_secret(), secret] if name == "clerk" else [secret])
    assert variable == f"{name.upper()}__SECRETS"
    assert secret not in message
    assert secret.removeprefix("sk_live_").removeprefix("whsec_!") not in message


@pytest.mark.parametrize(
    ("settings", "enabled", "reason"),
    [
        ({}, True, "no signing secret"),
        ({"secrets": [stripe_secret()]}, False, "switched off"),
        ({}, False, "switched off"),
    ],
)
def test_a_source_that_takes_nothing_in_says_why(settings: dict[str, Any], enabled: bool, reason: str) -> None:
    """In a sentence for the answer."""
    closed = compiled("stripe", enabled=enabled, **settings).closed
    assert closed is not None
    assert reason in closed


@pytest.mark.parametrize(
    ("name", "redelivers", "expected"),
    [
        ("stripe", None, "retries"),
        ("github", None, "never"),
        ("shopify", None, "ends"),
        ("shopify", True, "retries"),
        ("stripe", False, "never"),
    ],
)
def test_what_a_refusal_means_is_known_or_set(name: str, redelivers: bool | None, expected: str) -> None:
    """The settings know better: a sender's plan may redeliver where others do not."""
    assert compiled(name, redelivers=redelivers).redelivery == expected


@pytest.mark.parametrize("name", ["twilio", "square"])
def test_a_signed_address_has_to_be_known(name: str) -> None:
    """As soon as there is a secret to verify with."""
    with pytest.raises(SettingsError, match=r"LAUNCHKIT_EDGE__URL.*like https://example\.com"):
        compiled(name, secrets=[stripe_secret()])
    assert compiled(name).closed
    assert compiled(name, secrets=[stripe_secret()], public_url="https://example.com").closed is None


def test_a_described_sender_may_sign_the_address_too() -> None:
    """Then the same is needed."""
    hmac = {"header": "x-sign", "template": "{url}{body}"}
    with pytest.raises(SettingsError, match="LAUNCHKIT_EDGE__URL"):
        compiled("partner", hmac=hmac, secrets=[stripe_secret()])


def test_the_verify_token_is_kept_as_bytes_and_shown_to_nobody() -> None:
    """As are the secrets."""
    token, secret = secrets.token_urlsafe(16), stripe_secret()
    source = compiled("meta", verify_token=token, secrets=[secret])
    assert source.verify_token == token.encode()
    assert token not in repr(source)
    assert secret not in repr(source)


def test_one_path_is_one_sources() -> None:
    """The error names both."""
    (found,) = same_path("two", "one").problems
    assert (found.variable, "source one" in found.message) == ("LAUNCHKIT_WEBHOOKS__SOURCES__TWO__PATH", True)


@pytest.mark.parametrize("name", ["", "a:b", "My Shop", "ä", "a/b", "a\n", "x" * 65])
def test_a_source_is_called_by_a_plain_word(name: str) -> None:
    """It is part of keys, `source:id`, of paths, commands and the names of queues."""
    secret = stripe_secret()
    _, message = problem(name, scheme="stripe", secrets=[secret], path="/in")
    assert message == "cannot be: a source's name is made of letters, digits, - and _"
    assert compiled("My-Shop_2", scheme="stripe", secrets=[secret]).pattern.text == "/webhooks/My-Shop_2"


@pytest.mark.parametrize("name", ["stripe", "github", "own"])
def test_a_piece_of_a_secret_is_told_by_its_length(name: str) -> None:
    """Commas separate secrets, so one with a comma in it falls apart, and its pieces could be guessed."""
    scheme = {"scheme": Own()} if name == "own" else {}
    for pieces in (["12345678", "1234567"], ["x"]):
        variable, message = problem(name, secrets=pieces, **scheme)
        assert variable == f"{name.upper()}__SECRETS"
        assert "8 characters or more" in message
        assert 'JSON list: ["..."]' in message
        assert "1234567" not in message
    assert compiled(name, secrets=["12345678"], **scheme).closed is None


class Waiting:
    """A scheme of an app's whose judgement has to be waited for."""

    async def verify(self, message: Message, keys: object) -> Refused:
        return Refused("missing")


def test_a_scheme_that_has_to_be_waited_for_is_told_at_the_start() -> None:
    """Nobody would wait for it: its coroutine is neither yes nor no."""
    variable, message = problem("shop", scheme=Waiting(), secrets=[stripe_secret()])
    assert (variable, "has an async verify" in message) == ("SHOP__SCHEME", True)


def test_the_environment_describes_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that can be written down, nested parts too."""
    one, two = stripe_secret(), stripe_secret()
    for name, value in {
        "PATH": "/hooks/{tenant}",
        "HMAC__HEADER": "X-Sign",
        "HMAC__ENCODING": "base64",
        "HMAC__ID_FIELD": "data.id",
        "SECRETS": f"{one},{two}",
        "REDELIVERS": "0",
        "TOLERANCE": "60",
    }.items():
        monkeypatch.setenv(f"LAUNCHKIT_WEBHOOKS__SOURCES__PARTNER__{name}", value)
    source = compile_source("partner", Settings().webhooks.sources["partner"], enabled=True)
    assert (source.pattern.text, source.secrets, source.redelivery, source.tolerance) == (
        "/hooks/{tenant}",
        (one.encode(), two.encode()),
        "never",
        60,
    )


@pytest.mark.parametrize("scheme", [7, object(), ["stripe"]])
def test_a_scheme_is_a_name_or_can_verify(scheme: object) -> None:
    """Anything else is told when the settings are read."""
    with pytest.raises(SettingsError, match="an object with a method verify"):
        Settings(webhooks={"sources": {"shop": {"scheme": scheme}}})
