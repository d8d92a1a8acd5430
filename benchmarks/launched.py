"""The kit as an app in production would have it: every feature on, behind a proxy that ends TLS.

Nothing is switched off or made smaller for the benchmark. That the proxy is a private address which is trusted, and
that its `X-Forwarded-...` headers are in every request, costs the kit more than a direct connection would; it is what a
deployed app sees. Logs are not part of this: the servers' access logs are off.
"""

from __future__ import annotations

import contextlib
import io
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

from launchkit import Delivery, LaunchKit, Settings

WEBHOOK_PATH = "/webhooks/stripe"


def new_secret() -> str:
    return "whsec_" + secrets.token_hex(16)


def launch_settings(data_dir: Path, secret: str) -> Settings:
    """Return the settings of a launched app."""
    return Settings(
        environment="production",
        release="benchmark",
        data_dir=data_dir,
        token=secrets.token_urlsafe(24),
        trusted_proxies="private",
        routes={
            "login": "/login",
            "signup": "/signup",
            "password_reset": "/password-reset",
            "checkout": "/checkout",
            "billing": "/billing/*",
            "account": "/account/*",
        },
        read_cache={"rules": {"listings": {"paths": ["/listings", "/tools/{id}"], "ttl": 3600}}},
        webhooks={"sources": {"stripe": {"secrets": secret}}},
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the kit's start-up lines out of the report."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield


def launched(data_dir: Path, secret: str, handler: Callable[[Delivery], object]) -> LaunchKit:
    """Return a kit with a webhook handler and a health check."""
    kit = LaunchKit(launch_settings(data_dir, secret))
    kit.webhook("stripe")(handler)
    kit.health_check("database")(lambda: None)
    return kit
