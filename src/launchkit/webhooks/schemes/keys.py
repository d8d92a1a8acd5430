"""What a secret, as the sender shows it, stands for. Errors name the remedy and never show the secret."""

from __future__ import annotations

import base64
import binascii
import re


def text_key(text: str) -> bytes:
    """Return a secret that is used as it is written."""
    if not text or text != text.strip() or not text.isprintable():
        raise ValueError("should be the secret exactly as the sender shows it, not empty and without blanks around it")
    return text.encode()


def stripe_key(text: str) -> bytes:
    """Return the signing secret of a Stripe endpoint."""
    if text.startswith(("sk_", "rk_", "pk_")):
        raise ValueError("is a Stripe API key: the endpoint's signing secret starts with whsec_")
    if re.fullmatch(r"[\x21-\x7e]+", text) is None:
        raise ValueError("should be one word without spaces, like whsec_...")
    return text.encode()


def slack_key(text: str) -> bytes:
    """Return the signing secret of a Slack app."""
    if text.startswith(("xox", "xapp-")):
        raise ValueError("is a Slack token: the signing secret is shown under Basic Information, App Credentials")
    return text_key(text)


def standard_key(text: str) -> bytes:
    """Return the key of a Standard Webhooks secret: base64, with or without `whsec_` before it and padding after it."""
    if text.startswith(("whpk_", "whsk_")):
        raise ValueError("is a key for asymmetric signatures (v1a): ask the sender for a whsec_ secret")
    encoded = text.removeprefix("whsec_")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ValueError("should be whsec_ and base64, exactly as the sender shows it")
    return key
