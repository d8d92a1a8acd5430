"""What can be known before the first request about whether these settings can work where the process runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import BaseModel, SecretStr

from launchkit.environment import PREFIX
from launchkit.settings import Settings

EPHEMERAL_MARKS = ("DYNO", "K_SERVICE", "RENDER", "VERCEL")
"""Heroku, Cloud Run, Render and Vercel throw the disk away at every deploy, unless a volume is mounted."""


def no_secret(source: str) -> str:
    """Return what to say about a webhook source whose signatures nobody can check."""
    return f"webhook source {source!r} has no secret: set {secrets_variable(source)}"


def secrets_variable(source: str) -> str:
    """Return the variable that a webhook source's secrets are read from."""
    return f"{PREFIX}WEBHOOKS__SOURCES__{source.upper()}__SECRETS"


def under_gevent() -> bool:
    """Tell whether gevent has put its own threads in place of the system's: no event loop can run beside them."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def is_ephemeral(settings: Settings) -> bool:
    """Tell whether `data_dir` is the default on a platform that does not keep it."""
    chosen = "data_dir" in settings.model_fields_set
    return not chosen and any(mark in os.environ for mark in EPHEMERAL_MARKS)


def secret_values(model: BaseModel) -> Iterator[str]:
    """Return the values of all secrets in a settings model; of a URL only the password, so that its host shows."""
    for name in type(model).model_fields:
        yield from _secrets_in(getattr(model, name))


def _passwords_in(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
    except ValueError:  # no URL; then all of it
        yield url
        return
    for password in (parts.password or "", *parse_qs(parts.query).get("password", ())):
        yield password
        yield unquote(password)


def _secrets_in(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
        yield from _passwords_in(text) if "://" in text else (text,)
    elif isinstance(value, BaseModel):
        yield from secret_values(value)
    elif isinstance(value, tuple):
        for item in value:
            yield from _secrets_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _secrets_in(item)
