"""What a kit is made of, as the settings ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchkit.errors import StartError
from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import Limiter
from launchkit.place import secret_values
from launchkit.redaction.engine import Redactor
from launchkit.settings import Settings

if TYPE_CHECKING:
    from launchkit.stores.redis import RedisConnections


def redactor(settings: Settings) -> Redactor | None:
    """Return what takes secrets out of logs, or None where that is switched off."""
    if not settings.redaction.enabled:
        return None
    emails = settings.redaction.emails
    return Redactor(
        settings.redaction,
        mask_emails=settings.environment == "production" if emails is None else emails,
        values=secret_values(settings),
    )


def probe_routes(settings: Settings) -> frozenset[str]:
    """Return the routes that monitors ask for, which are left out of the figures."""
    health = settings.health
    return frozenset({health.path, health.live_path, health.ready_path, settings.timing.metrics_path})


def personal_paths(settings: Settings) -> tuple[str, ...]:
    """Return the paths that no cache rule may cover."""
    routes = settings.routes
    return (
        *routes.login,
        *routes.signup,
        *routes.password_reset,
        *routes.checkout,
        *routes.billing,
        *routes.account,
    )


def redis_connections(settings: Settings, clock: Clock) -> RedisConnections | None:
    """Return connections to Redis if the settings ask for them.

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


def redis_limiter(connections: RedisConnections) -> Limiter:
    """Return what counts in Redis."""
    from launchkit.rate_limit.redis import RedisLimiter  # only when the settings ask for it

    return RedisLimiter(connections)
