"""Findings about how the app itself is configured: its CORS, host check, session cookies, debug mode."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import urlsplit

from launchkit.adapters.facts import AppFacts
from launchkit.adapters.routes import AppRoute
from launchkit.check.credentials import weakness
from launchkit.check.finding import error, warning
from launchkit.check.place import HOW_TO_MAKE_ONE, knows_scheme
from launchkit.check.surroundings import Surroundings
from launchkit.environment import PREFIX
from launchkit.errors import Finding
from launchkit.settings import Settings

_LOOKS_LIKE_HEALTH: Final = re.compile(
    r"/(_?health(z|-?check)?|livez?|liveness|readyz?|readiness|ping|status|up|alive)$"
)


def app_findings(
    settings: Settings, facts: AppFacts, routes: Iterable[AppRoute], where: Surroundings
) -> Iterator[Finding]:
    """Return what is wrong with the app's own configuration."""
    yield from _cors(settings, facts)
    yield from _refused_site(settings, facts)
    if settings.environment == "production":
        yield from _refused_probes(settings, facts, routes)
        yield from _debug(facts)
        yield from _sessions(facts)
        yield from _https_loop(settings, facts, where)


def _cors(settings: Settings, facts: AppFacts) -> Iterator[Finding]:
    if any(rule.any_origin and rule.credentials for rule in facts.cors):
        yield error(
            "cors-any-origin-with-credentials",
            "The app's CORS lets scripts of any site send its users' cookies and read the answers.",
            "Name the origins that may, or leave credentials out.",
        )
    if facts.cors and settings.edge.enabled and not settings.edge.cors.origins:
        yield warning(
            "cors-hidden-answers",
            "The app has a CORS of its own, which LaunchKit's answers do not pass: other origins' scripts cannot read "
            "a 429, for instance.",
            f"Move the origins to {PREFIX}EDGE__CORS__ORIGINS and take the app's CORS away.",
        )


# --- hosts -----------------------------------------------------------------------------------------------------------


def _refused_site(settings: Settings, facts: AppFacts) -> Iterator[Finding]:
    host = urlsplit(settings.edge.url or "").hostname
    if settings.edge.enabled and host and facts.hosts is not None and not _is_served(host, facts.hosts):
        yield error(
            "host-check-refuses-site",
            f"The app's host check refuses {host}, which is the host of {PREFIX}EDGE__URL.",
            "Add it to the app's list of hosts, or take the app's check away: LaunchKit does the same.",
        )


def _is_served(host: str, hosts: tuple[str, ...]) -> bool:
    names = (name.partition(":")[0].lower() for name in hosts)
    return any(host == name or (name.startswith("*") and host.endswith(name[1:])) for name in names)


def _refused_probes(settings: Settings, facts: AppFacts, routes: Iterable[AppRoute]) -> Iterator[Finding]:
    """LaunchKit answers its own health paths whatever the host is; those of the app are behind the host check."""
    edge, health = settings.edge, settings.health
    checked = facts.hosts is not None or (edge.enabled and bool(edge.url or edge.hosts))
    answered = {health.path, health.live_path, health.ready_path} if health.enabled else set()
    paths = {path for methods, path in routes if "GET" in methods and _LOOKS_LIKE_HEALTH.search(path.lower())}
    for path in sorted(paths - answered) if checked else ():
        yield warning(
            "host-check-breaks-probes",
            f"Probes of {path} that name this server by its address, as load balancers' do, are refused by the host "
            "check.",
            f"Let probes ask for {health.live_path}, which LaunchKit answers for any host.",
        )


# --- what belongs to development -------------------------------------------------------------------------------------


def _debug(facts: AppFacts) -> Iterator[Finding]:
    if facts.debug:
        yield error(
            "debug-mode",
            "The app runs in debug mode, which shows its source and variables to whoever meets an error.",
            "Leave debug out, and FLASK_DEBUG with it.",
        )


def _sessions(facts: AppFacts) -> Iterator[Finding]:
    for cookie in facts.session_cookies:
        why = weakness(cookie.secret or "")
        if why is not None:
            yield error(
                "weak-secret",
                f"The secret key that the app signs the cookie {cookie.name!r} with {why}, so sessions can be forged.",
                f"Replace it: {HOW_TO_MAKE_ONE}.",
            )
        missing = [*([] if cookie.secure else ["Secure"]), *([] if _is_strict(cookie.same_site) else ["SameSite"])]
        if missing:
            yield warning(
                "session-cookie-open",
                f"The session cookie {cookie.name!r} has no {' and no '.join(missing)}.",
                "Set https_only=True and same_site='lax' (Starlette), or SESSION_COOKIE_SECURE=True and "
                "SESSION_COOKIE_SAMESITE='Lax' (Flask).",
            )


def _is_strict(same_site: str | None) -> bool:
    return (same_site or "").lower() in ("lax", "strict")


def _https_loop(settings: Settings, facts: AppFacts, where: Surroundings) -> Iterator[Finding]:
    if facts.redirects_to_https and not knows_scheme(settings, where):
        yield warning(
            "https-redirect-loop",
            "The app sends HTTP to HTTPS, and behind a proxy that ends TLS every request looks like HTTP: browsers "
            "would be redirected for ever.",
            f"Set {PREFIX}TRUSTED_PROXIES to the proxy; a server that ends TLS itself needs nothing.",
        )
