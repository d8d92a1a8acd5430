"""The kit as an app in production would have it: every feature on, behind a proxy that ends TLS.

Nothing is switched off or made smaller for the benchmark. That the proxy is a private address which is trusted, and
that its `X-Forwarded-...` headers are in every request, costs the kit more than a direct connection would; it is what a
deployed app sees. Logs are not part of this: the servers' access logs are off.
"""

from __future__ import annotations

import contextlib
import io
import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from launchkit import Delivery, LaunchKit, Settings
from launchkit.stores.table import places

WEBHOOK_PATH = "/webhooks/stripe"
FEATURES = ("edge", "rate_limit", "read_cache", "timing", "redaction", "health", "webhooks")
CACHED = {"rules": {"listings": {"paths": ["/listings", "/tools/{id}"], "ttl": 3600}}}


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
        read_cache=CACHED,
        webhooks={"sources": {"stripe": {"secrets": secret}}},
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the kit's start-up lines out of the report."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def data_folder() -> Iterator[Path]:
    """Give a folder for the data of some kits, each its own below it or all the same, and remove what they leave.

    That is more than the folder: in production the workers of a machine share memory, which outlives them on purpose.
    """
    with tempfile.TemporaryDirectory() as name, quiet():
        folder = Path(name)
        try:
            yield folder
        finally:
            for data_dir in (folder, *folder.iterdir()):
                _remove_shared(data_dir)


def _remove_shared(data_dir: Path) -> None:
    for place in places(data_dir):
        for shared in place.parent.glob(f"{place.name}-*"):
            shared.unlink(missing_ok=True)


def launched(data_dir: Path, secret: str, handler: Callable[[Delivery], object], **sections: Any) -> LaunchKit:
    """Return a kit with a webhook handler and a health check; `sections` take the place of the settings' own."""
    given = launch_settings(data_dir, secret).model_dump(exclude_unset=True)
    kit = LaunchKit(Settings(**{**given, **sections}))
    kit.webhook("stripe")(handler)
    kit.health_check("database")(lambda: None)
    return kit


def with_only(data_dir: Path, **sections: Any) -> LaunchKit:
    """Return a kit in production in which every feature is off but those whose settings are given."""
    off = {name: {"enabled": False} for name in FEATURES}
    return LaunchKit(Settings(environment="production", data_dir=data_dir, **{**off, **sections}))
