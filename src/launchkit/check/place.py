"""Findings that need only the settings and where the process runs: known before there is an app."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from launchkit.check.credentials import is_test_key, weakness
from launchkit.check.finding import error, warning
from launchkit.check.surroundings import Surroundings
from launchkit.environment import PREFIX
from launchkit.errors import Finding
from launchkit.networks import platform_proxies
from launchkit.place import is_ephemeral, secrets_variable
from launchkit.rate_limit.rules import Rule
from launchkit.settings import Settings

_DATABASE: Final = re.compile(
    r"(DATABASE|DB|POSTGRES\w*|PG|MYSQL|MONGO\w*|REDIS|VALKEY|AMQP|RABBITMQ|BROKER|CELERY\w*)_?(URL|URI|DSN)$"
)
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "0.0.0.0", "::1"})  # noqa: S104  # recognised, not bound to

HOW_TO_MAKE_ONE: Final = 'make one with `python -c "import secrets; print(secrets.token_urlsafe(32))"`'


def place_findings(settings: Settings, rules: Iterable[Rule], where: Surroundings) -> Iterator[Finding]:
    """Return what is wrong with the settings in this place. `rules` are the compiled limits."""
    rules = [rule for rule in rules if rule.patterns] if settings.rate_limit.enabled else []
    yield from _workers(settings, rules, where)
    yield from _invalidations(settings, where)
    if settings.environment == "production":
        yield from _webhooks(settings)
        yield from _data_dir(settings, rules)
        yield from _machines(settings)
        yield from _proxies(settings, where)
        yield from _scheme(settings, where)
        yield from _weak_secrets(settings)
        yield from _local_addresses(settings, where)
        yield from _test_keys(settings, where)


# --- where counts and deliveries are kept ----------------------------------------------------------------------------


def _workers(settings: Settings, rules: list[Rule], where: Surroundings) -> Iterator[Finding]:
    workers = where.workers()
    if not rules or workers < 2 or settings.redis_url is not None:
        return
    if not settings.shares_machine:
        found = error if settings.environment == "production" else warning
        yield found(
            "memory-store-with-workers",
            f"The server runs {workers} processes and each counts for itself, so every limit lets {workers} times as "
            "many through.",
            f"Set {PREFIX}RATE_LIMIT__STORE=machine, or {PREFIX}REDIS_URL.",
        )
    elif not _can_share(settings.data_dir):
        yield warning(
            "memory-store-with-workers",
            f"The server runs {workers} processes that have no place for a table to count in together, so every limit "
            f"lets {workers} times as many through.",
            f"Set {PREFIX}DATA_DIR to a folder that this user may write to, or {PREFIX}REDIS_URL.",
        )


def _invalidations(settings: Settings, where: Surroundings) -> Iterator[Finding]:
    is_used = settings.read_cache.enabled and bool(settings.read_cache.rules)
    if not is_used or where.workers() < 2 or settings.redis_url is not None:
        return
    if not (settings.shares_machine and _can_share(settings.data_dir)):
        yield warning(
            "invalidation-in-one-worker",
            f"The server runs {where.workers()} processes, and what one of them invalidates in the read cache the "
            "others go on giving until its time is over.",
            f"Set {PREFIX}RATE_LIMIT__STORE=machine and {PREFIX}DATA_DIR to a folder that this user may write to, or "
            f"{PREFIX}REDIS_URL.",
        )


def _can_share(data_dir: Path) -> bool:
    try:
        from launchkit.stores.table import places  # needs what only POSIX systems have
    except ImportError:
        return False
    return any(is_writable(path.parent) for path in places(data_dir))


def _webhooks(settings: Settings) -> Iterator[Finding]:
    if not settings.webhooks.enabled:
        return
    for name, source in settings.webhooks.sources.items():
        if not source.secrets:
            message = f"Webhook source {name!r} has no secret, so none of its deliveries can be taken in."
            yield error("webhook-without-secret", message, f"Set {secrets_variable(name)}.")


def _data_dir(settings: Settings, rules: list[Rule]) -> Iterator[Finding]:
    stores = settings.webhooks.enabled and bool(settings.webhooks.sources) and settings.database_url is None
    signs = settings.secret_key is None and any(limit.by.by_account for rule in rules for limit in rule.limits)
    kept = "Webhooks are stored" if stores else "The key that account limits and device cookies need is kept"
    found, remedy = (error, "") if stores else (warning, f", or {PREFIX}SECRET_KEY")
    if not stores and not signs:
        return
    elsewhere = f", or {PREFIX}DATABASE_URL" if stores else ""
    if is_ephemeral(settings):
        yield found(
            "ephemeral-data-dir",
            f"{kept} on a disk that this platform throws away at every deploy.",
            f"Mount a volume and set {PREFIX}DATA_DIR to it{remedy}{elsewhere}.",
        )
    elif not is_writable(settings.data_dir):
        yield found(
            "data-dir-not-writable",
            f"{kept} in {settings.data_dir}, where this user may not write.",
            f"Set {PREFIX}DATA_DIR to a folder that it may write to{remedy}.",
        )


def is_writable(folder: Path) -> bool:
    """Tell whether a folder can be written to, or made, without doing either."""
    folder = folder.absolute()
    existing = next(path for path in (folder, *folder.parents) if os.path.exists(path))  # noqa: PTH110  # never raises
    return os.path.isdir(existing) and os.access(existing, os.W_OK | os.X_OK)  # noqa: PTH112  # the same


def _machines(settings: Settings) -> Iterator[Finding]:
    if settings.redis_url is not None and settings.secret_key is None:
        yield error(
            "machines-without-secret-key",
            "Limits are shared through Redis, and each machine would make a secret key of its own, under which no "
            "other finds its counts and cookies.",
            f"Set {PREFIX}SECRET_KEY to the same value on every machine: {HOW_TO_MAKE_ONE}.",
        )


# --- what is in front ------------------------------------------------------------------------------------------------


def _proxies(settings: Settings, where: Surroundings) -> Iterator[Finding]:
    if not settings.trusted_proxies and not platform_proxies(where.environ):
        yield warning(
            "unresolved-proxy",
            "No proxy is declared: behind one, every visitor's address is unknown and limits by address only observe.",
            f"Set {PREFIX}TRUSTED_PROXIES to what is in front of this server, like private or cloudflare; without any "
            "proxy this is as it should be.",
        )


def knows_scheme(settings: Settings, where: Surroundings) -> bool:
    """Tell whether anything could tell an HTTPS request from an HTTP one."""
    declared = settings.edge.enabled and (settings.trusted_proxies or platform_proxies(where.environ))
    return bool(declared) or where.server_knows_scheme()


def _scheme(settings: Settings, where: Surroundings) -> Iterator[Finding]:
    url = settings.edge.url
    if settings.edge.enabled and url is not None and url.startswith("https:") and not knows_scheme(settings, where):
        yield warning(
            "https-redirect-loop",
            f"Requests by HTTP are sent to {url}, and behind a proxy that ends TLS every request looks like that: "
            "browsers would be redirected for ever.",
            f"Set {PREFIX}TRUSTED_PROXIES to the proxy; a server that ends TLS itself needs nothing.",
        )


# --- what belongs to development -------------------------------------------------------------------------------------


def _weak_secrets(settings: Settings) -> Iterator[Finding]:
    for name in ("secret_key", "token"):
        secret = getattr(settings, name)
        why = None if secret is None else weakness(secret.get_secret_value())
        if why is not None:
            yield error("weak-secret", f"{PREFIX}{name.upper()} {why}.", f"Replace it: {HOW_TO_MAKE_ONE}.")


def _local_addresses(settings: Settings, where: Surroundings) -> Iterator[Finding]:
    redis = settings.redis_url.get_secret_value() if settings.redis_url is not None else ""
    named = [(f"{PREFIX}REDIS_URL", redis), (f"{PREFIX}EDGE__URL", settings.edge.url or "")]
    named += [(f"{PREFIX}EDGE__CORS__ORIGINS", origin) for origin in settings.edge.cors.origins]
    named += [(name, value) for name, value in sorted(where.environ.items()) if _names_a_database(name)]
    for name in dict.fromkeys(name for name, url in named if is_local(url)):
        yield warning(
            "localhost-address",
            f"{name} points to this machine itself, in production.",
            "Set it to where the thing really is, unless that is here.",
        )


def _names_a_database(name: str) -> bool:
    return not name.upper().startswith(PREFIX) and _DATABASE.search(name.upper()) is not None


def is_local(url: str) -> bool:
    """Tell whether a URL leads to the machine that it is used on."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    return host in _LOCAL or host.endswith(".localhost")


def _test_keys(settings: Settings, where: Surroundings) -> Iterator[Finding]:
    named = [(name, value) for name, value in sorted(where.environ.items()) if not name.upper().startswith(PREFIX)]
    for source, options in settings.webhooks.sources.items():
        named += [(secrets_variable(source), secret.get_secret_value()) for secret in options.secrets]
    for name in dict.fromkeys(name for name, value in named if is_test_key(value.strip())):
        yield warning(
            "test-key", f"{name} holds a key for tests, in production.", "Set it to the key of your live account."
        )
