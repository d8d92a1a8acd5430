"""A source of webhooks, compiled from its settings: whatever can be wrong with it is found here, at the start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from launchkit.errors import Problem, SettingsError
from launchkit.pipeline.paths import PathPattern
from launchkit.settings import WebhookSource
from launchkit.webhooks.signatures import SENDERS, Scheme, scheme_for


@dataclass(frozen=True, slots=True)
class IntakeSource:
    """What an intake has to know. With `closed`, a sentence that says why, it takes nothing in."""

    name: str
    pattern: PathPattern
    scheme: Scheme
    secrets: Sequence[bytes] = field(repr=False)
    tolerance: float
    max_body: int
    closed: str | None


def compile_source(name: str, source: WebhookSource, *, enabled: bool) -> IntakeSource:
    """Return a source ready for use.

    Raises:
        SettingsError: when it is unknown how the source signs, or a secret or the path cannot be right.
    """
    scheme = scheme_for(name, source)
    if scheme is None:
        known = ", ".join(sorted(SENDERS))
        raise _error(name, "SCHEME", f"should be stripe or standard, unless the source is called one of: {known}")
    try:
        pattern = PathPattern(source.path or f"/webhooks/{name}")
    except ValueError as error:
        raise _error(name, "PATH", str(error)) from None
    try:
        secrets = tuple(scheme.parse_secret(secret.get_secret_value()) for secret in source.secrets)
    except ValueError as error:
        raise _error(name, "SECRETS", str(error)) from None
    return IntakeSource(name, pattern, scheme, secrets, source.tolerance, source.max_body, _closed(source, enabled))


def same_path(name: str, other: str) -> SettingsError:
    """Return the error for two sources on one path."""
    return _error(name, "PATH", f"is the path of source {other} too: give each its own")


def _closed(source: WebhookSource, enabled: bool) -> str | None:
    if not enabled:
        return "Webhooks are switched off."
    return None if source.secrets else "This webhook has no signing secret yet."


def _error(name: str, field_name: str, message: str) -> SettingsError:
    return SettingsError([Problem(f"LAUNCHKIT_WEBHOOKS__SOURCES__{name.upper()}__{field_name}", message)])
