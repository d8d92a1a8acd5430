"""What keeps personal responses out of caches further out: `Cache-Control: private, no-store`.

The rules:

- It goes to responses that set a cookie, to those of `never` paths, and to those of requests that said who is asking,
  unless they are stored because they are public.
- Outside of rules it is left away where a response has a validator: those are files, which say the same to everyone,
  and which browsers should not have to fetch again for every page.
- What the app says itself always stands.
"""

from __future__ import annotations

from typing import Final

from launchkit.pipeline.exchange import Exchange
from launchkit.pipeline.interceptor import Interceptor

_PRIVATE: Final = ((b"cache-control", b"private, no-store"),)


def forbid_sharing(exchange: Exchange) -> None:
    """Add the header, unless the app has said something."""
    exchange.default_response_headers(_PRIVATE)


class NeverCached(Interceptor):
    """The paths that no rule may cover."""

    name = "read_cache"

    def on_response_start(self, exchange: Exchange) -> None:
        """Forbid sharing."""
        forbid_sharing(exchange)
