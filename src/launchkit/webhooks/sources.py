"""A source of webhooks, compiled from its settings: whatever can be wrong with it is found here, at the start."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from launchkit.errors import Problem, SettingsError
from launchkit.pipeline.paths import PathPattern
from launchkit.settings import WebhookSource
from launchkit.webhooks.delivery import SUBMITTED
from launchkit.webhooks.schemes.generic import generic
from launchkit.webhooks.schemes.own import OwnScheme
from launchkit.webhooks.schemes.providers import SENDERS, scheme_named
from launchkit.webhooks.schemes.scheme import Redelivery, Scheme, WebhookScheme

SHORTEST_SECRET: Final = 8
"""Characters; anything shorter can be guessed, or is part of a secret with a comma in it."""
_TOO_SHORT: Final = (
    f"should each have {SHORTEST_SECRET} characters or more; commas separate several, so one that holds a comma has to "
    'stand in a JSON list: ["..."]'
)


@dataclass(frozen=True, slots=True)
class IntakeSource:
    """What an intake has to know. With `closed`, a sentence that says why, it takes nothing in."""

    name: str
    pattern: PathPattern
    scheme: Scheme
    secrets: Sequence[bytes] = field(repr=False)
    verify_token: bytes | None = field(repr=False)
    tolerance: float
    max_body: int
    redelivery: Redelivery
    closed: str | None


def compile_source(name: str, source: WebhookSource, *, enabled: bool, public_url: str | None = None) -> IntakeSource:
    """Return a source ready for use. `public_url` is where the site lives, without a path.

    Raises:
        SettingsError: when it is unknown how the source signs, or what that needs is missing or cannot be right.
    """
    if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) is None:
        raise _error(name, "PATH", "cannot be: a source's name is made of letters, digits, - and _")
    if name == SUBMITTED:
        raise _error(
            name, "PATH", f"cannot be: {SUBMITTED!r} is what the app submits itself; name the source otherwise"
        )
    scheme = _scheme(name, source)
    try:
        pattern = PathPattern(source.path or f"/webhooks/{name}")
    except ValueError as error:
        raise _error(name, "PATH", str(error)) from None
    if any(len(secret.get_secret_value()) < SHORTEST_SECRET for secret in source.secrets):
        raise _error(name, "SECRETS", _TOO_SHORT)
    try:
        secrets = tuple(scheme.parse_secret(secret.get_secret_value()) for secret in source.secrets)
    except ValueError as error:
        raise _error(name, "SECRETS", str(error)) from None
    if secrets and scheme.signs_url and public_url is None:
        needed = f"is needed, like https://example.com: {name} signs the address that it posts to"
        raise SettingsError([Problem("LAUNCHKIT_EDGE__URL", needed)])
    token = source.verify_token
    return IntakeSource(
        name,
        pattern,
        scheme,
        secrets,
        None if token is None else token.get_secret_value().encode(),
        source.tolerance,
        source.max_body,
        _redelivery(source, scheme),
        _closed(source, enabled),
    )


def same_path(name: str, other: str) -> SettingsError:
    """Return the error for two sources on one path."""
    return _error(name, "PATH", f"is the path of source {other} too: give each its own")


def _scheme(name: str, source: WebhookSource) -> Scheme:
    choice = source.scheme
    if isinstance(choice, WebhookScheme):
        if inspect.iscoroutinefunction(choice.verify):
            raise _error(name, "SCHEME", "has an async verify: it should look at the message alone, and need not wait")
        return OwnScheme(choice)
    if choice == "hmac" or (choice is None and source.hmac is not None):
        return _generic(name, source)
    scheme = scheme_named(name, choice if isinstance(choice, str) else None)
    if scheme is None:
        known = ", ".join(sorted({*SENDERS, "hmac"}))
        raise _error(name, "SCHEME", f"should be one of: {known}; unless the source is called like one")
    return scheme


def _generic(name: str, source: WebhookSource) -> Scheme:
    if source.hmac is None:
        raise _error(name, "HMAC__HEADER", "is needed with scheme hmac: the request header with the signature")
    try:
        return generic(**source.hmac.model_dump())
    except ValueError as error:
        raise _error(name, "HMAC", str(error)) from None


def _redelivery(source: WebhookSource, scheme: Scheme) -> Redelivery:
    if source.redelivers is None:
        return scheme.redelivery
    return "retries" if source.redelivers else "never"


def _closed(source: WebhookSource, enabled: bool) -> str | None:
    if not enabled:
        return "Webhooks are switched off."
    return None if source.secrets else "This webhook has no signing secret yet."


def _error(name: str, field_name: str, message: str) -> SettingsError:
    return SettingsError([Problem(f"LAUNCHKIT_WEBHOOKS__SOURCES__{name.upper()}__{field_name}", message)])
