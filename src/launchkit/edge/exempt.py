"""What the edge leaves alone: callers that cannot follow a redirect and do not know the site's name.

Load balancers probe health by address, senders of webhooks do not follow redirects, and a certificate is asked for over
HTTP before there is HTTPS (RFC 8555 section 8.3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from launchkit.pipeline.paths import PathPattern

ACME: Final = PathPattern("/.well-known/acme-challenge/*")


class Exempt:
    """Tells exempt requests by the patterns that their path matches.

    Args:
        probes: the paths of health checks.
        webhooks: tells the paths of webhooks, which are known only when all handlers are.
    """

    def __init__(self, probes: Iterable[str] = (), webhooks: Callable[[], tuple[PathPattern, ...]] = tuple) -> None:
        self.patterns = (ACME, *map(PathPattern, probes))
        self.webhooks = webhooks

    def covers(self, matched: frozenset[PathPattern]) -> bool:
        """Tell whether a path that matches these patterns is exempt."""
        return not (matched.isdisjoint(self.patterns) and matched.isdisjoint(self.webhooks()))
