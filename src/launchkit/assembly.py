"""What a kit is made of, as the settings ask for it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from launchkit.errors import StartError
from launchkit.networks import platform_proxies
from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import Limiter
from launchkit.place import secret_values
from launchkit.rate_limit.rules import Rule
from launchkit.read_cache.memory import MemoryResponses
from launchkit.redaction.engine import Redactor
from launchkit.redaction.exact import environment_values
from launchkit.settings import Settings
from launchkit.stores.marks import Marks

if TYPE_CHECKING:
    from launchkit.rate_limit.machine import MachineLimiter
    from launchkit.read_cache.redis import TieredResponses
    from launchkit.stores.redis import RedisConnections

logger = logging.getLogger("launchkit")


def redactor(settings: Settings) -> Redactor | None:
    """Return what takes secrets out of logs, or None where that is switched off."""
    if not settings.redaction.enabled:
        return None
    emails = settings.redaction.emails
    redactor = Redactor(
        settings.redaction,
        mask_emails=settings.environment == "production" if emails is None else emails,
        values=secret_values(settings),
        fingerprint_key=None if settings.secret_key is None else settings.secret_key.get_secret_value().encode(),
    )
    if settings.redaction.environment:
        for _, value in environment_values(os.environ, redactor.kind):
            redactor.add_value(value, "environment")
    return redactor


def trusted_proxies(settings: Settings) -> tuple[str, ...]:
    """Return the proxies that are declared, else in production those of the platform that this runs on."""
    if settings.trusted_proxies or settings.environment != "production":
        return settings.trusted_proxies
    return platform_proxies(os.environ)


def probe_routes(settings: Settings) -> frozenset[str]:
    """Return the routes that monitors ask for, which are left out of the figures."""
    health = settings.health
    return frozenset({health.path, health.live_path, health.ready_path, settings.timing.metrics_path})


def personal_paths(settings: Settings) -> tuple[str, ...]:
    """Return the paths that no cache rule may cover."""
    routes = settings.routes
    sources = settings.webhooks.sources.items()
    return (
        *(source.path or f"/webhooks/{name}" for name, source in sources),
        *routes.login,
        *routes.signup,
        *routes.password_reset,
        *routes.checkout,
        *routes.billing,
        *routes.account,
    )


def redis_connections(settings: Settings, clock: Clock) -> RedisConnections | None:
    """Return the limits' connections to Redis if the settings ask for them.

    Raises:
        StartError: if the package is missing or the URL is none.
    """
    if settings.redis_url is None:
        return None
    try:
        from launchkit.stores.redis import RedisConnections  # only when the settings ask for it
    except ImportError as error:
        raise StartError("redis_url is set but the redis package is missing: install launchkit[redis]") from error
    try:
        return RedisConnections(settings.redis_url.get_secret_value(), clock)
    except ValueError:
        raise StartError("LAUNCHKIT_REDIS_URL should be like redis://host:6379/0 or rediss://...") from None


def redis_limiter(connections: RedisConnections, key_for: Callable[[str], bytes]) -> Limiter:
    """Return what counts in Redis. Apps with different secret keys share no bucket there."""
    from launchkit.rate_limit.redis import RedisLimiter  # only when the settings ask for it

    return RedisLimiter(connections, namespace=key_for("redis namespace").hex()[:8])


def redis_check(connections: RedisConnections) -> Callable[[], object]:
    """Return a health check that asks Redis for the smallest thing."""
    from launchkit.stores.redis import Script  # only when the settings ask for it

    hello = Script("return 'hello'")
    return lambda: connections.run(hello, (), ())


def machine_limiter(settings: Settings, clock: Clock, rules: Iterable[Rule]) -> MachineLimiter | None:
    """Open what all workers of this machine count in, if the settings ask for it, a rule needs it and the machine can.

    To be called in the process that is to use it.
    """
    is_used = bool(settings.webhooks.sources) or any(rule.patterns for rule in rules)
    if not (settings.shares_machine and settings.rate_limit.enabled and is_used):
        return None
    try:
        from launchkit.rate_limit.machine import MachineLimiter  # needs what only POSIX systems have
        from launchkit.stores.table import places

        return MachineLimiter(places(settings.data_dir), clock, settings.rate_limit.max_keys)
    except (OSError, ImportError) as error:
        logger.warning("Limits are counted by each process alone: no table can be shared here (%s).", error)
        return None


def marks_for(settings: Settings, clock: Clock) -> Marks:
    """Return what remembers when cached responses were invalidated: for this machine, once `share_marks` was called."""
    if not settings.shares_machine:
        return Marks(clock)
    try:
        from launchkit.stores.shared_marks import SharedMarks  # needs what only POSIX systems have
        from launchkit.stores.table import places
    except ImportError:
        return Marks(clock)
    return SharedMarks(places(settings.data_dir), clock)


def share_marks(marks: Marks) -> None:
    """Open what all workers of this machine mark in, if `marks` is of that kind and the machine can."""
    try:
        marks.share()
    except OSError as error:
        logger.warning("An invalidation reaches only the process that it happens in: no table here (%s).", error)


def tiered_responses(
    settings: Settings, memory: MemoryResponses, marks: Marks, clock: Clock, key_for: Callable[[str], bytes]
) -> TieredResponses | None:
    """Return what shares cached responses with other machines, if the settings ask for Redis."""
    if settings.redis_url is None:
        return None
    from launchkit.read_cache.redis import TieredResponses  # only when the settings ask for it
    from launchkit.stores.redis import RedisConnections

    connections = RedisConnections(
        settings.redis_url.get_secret_value(), clock, TieredResponses.BUDGET, "Redis for the cache"
    )
    return TieredResponses(memory, marks, connections, clock, namespace=key_for("redis namespace").hex()[:8])
