"""LaunchKit: what a small web app needs the week it goes live."""

from launchkit.edge.request_id import request_id
from launchkit.errors import (
    Finding,
    InboxUnavailable,
    InstallError,
    LaunchKitError,
    Problem,
    SettingsError,
    StartError,
)
from launchkit.kit import LaunchKit
from launchkit.pipeline.exchange import Exchange
from launchkit.settings import Settings, load_settings
from launchkit.webhooks.delivery import Delivery
from launchkit.webhooks.outcomes import Discard, Retry

__all__ = [
    "Delivery",
    "Discard",
    "Exchange",
    "Finding",
    "InboxUnavailable",
    "InstallError",
    "LaunchKit",
    "LaunchKitError",
    "Problem",
    "Retry",
    "Settings",
    "SettingsError",
    "StartError",
    "load_settings",
    "request_id",
]
