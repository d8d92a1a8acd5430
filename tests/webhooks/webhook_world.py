"""What the webhook tests share: secrets made anew for each run, a request, and the backends of a performer."""

from __future__ import annotations

import base64
import secrets
from typing import Any, cast

from tests.support.exchanges import WrittenExchange

from launchkit.pipeline.effects import Backends, Body, Inbox, NewDelivery


def stripe_secret() -> str:
    return "whsec_" + secrets.token_hex(16)


def standard_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


def new_delivery(key: str, *, source: str = "stripe", event: str = "invoice.paid", body: bytes = b"{}") -> NewDelivery:
    return NewDelivery(source, key, event, (("content-type", "application/json"),), body)


def posted(headers: dict[str, str] | None = None, method: str = "POST", path: str = "/webhooks/x") -> WrittenExchange:
    """Return a request as an adapter would describe it."""
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    return WrittenExchange(method, path, encoded)


class Reader:
    """Reads a body that is already there, in either colour."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, limit: int) -> Body:
        return Body(self.data[:limit], too_large=len(self.data) > limit)

    async def aread(self, limit: int) -> Body:
        return self.read(limit)


def backends(inbox: Inbox) -> Backends:
    """Return backends of which only the inbox is asked."""
    unused = cast("Any", None)
    return Backends(limiter=unused, local_limiter=unused, responses=unused, inbox=inbox, prober=unused)


SOURCES = ("stripe", "standard", "clerk", "shop", "b")
"""The names that the tests give to sources."""
