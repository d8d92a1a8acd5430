"""What of the edge stands between a request and the app, as the settings ask for it, outermost first."""

from __future__ import annotations

from collections.abc import Iterator

from launchkit.edge.behind_proxy import BehindProxy
from launchkit.edge.body_limit import BodyLimit
from launchkit.edge.client import ClientResolver
from launchkit.edge.cors import Cors
from launchkit.edge.exempt import Exempt
from launchkit.edge.hosts import Hosts
from launchkit.edge.immutable import Immutable
from launchkit.edge.protected import Protection
from launchkit.edge.redirects import Redirects
from launchkit.pipeline.interceptor import Interceptor
from launchkit.settings import EdgeSettings


def gates(
    settings: EdgeSettings, client: ClientResolver, exempt: Exempt, *, production: bool, trusts_proxies: bool
) -> Iterator[Interceptor]:
    """Yield what is configured, and nothing else.

    Args:
        settings: what is wanted.
        client: tells who is calling.
        exempt: what is left alone.
        production: whether visitors are sent to the canonical host; a developer's machine has another name.
        trusts_proxies: whether there are proxies whose word is shown to the app.

    Raises:
        SettingsError: for redirects that lead in a circle, hosts that cannot be, and conditions that cannot be asked.
    """
    if settings.cors.origins:  # outermost: a page may read the refusals of all that follow, and preflights meet none
        yield Cors(settings.cors, exempt.webhooks)
    if production and (settings.url is not None or settings.hosts):
        yield Hosts(settings, client, exempt)
    if settings.redirects:
        yield Redirects(settings, exempt)
    if settings.immutable:  # around what is protected, whose files are for nobody to keep unless the app says so
        yield Immutable(settings)
    if settings.protected:
        yield Protection(settings.protected, client)
    if settings.max_body is not None:
        yield BodyLimit(settings.max_body, exempt.webhooks)
    if trusts_proxies:
        yield BehindProxy(settings, client)
