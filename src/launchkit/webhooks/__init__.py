"""Webhook intake: verified, de-duplicated, stored, answered; then handled until it succeeds."""

from launchkit.webhooks.inbox.archive import Filter

__all__ = ["Filter"]
