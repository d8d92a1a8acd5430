"""Settings compiled into rules: which requests, how many, and what a success is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote, urljoin, urlsplit

import limits

from launchkit.pipeline.exchange import Exchange
from launchkit.pipeline.interceptor import METHODS
from launchkit.pipeline.paths import PathPattern, normalise
from launchkit.settings import Preset, RateLimitRule, RateLimitSettings, Routes

OnOutage = Literal["local", "open", "closed"]


@dataclass(slots=True, frozen=True)
class Window:
    """At most `amount` in `seconds`. With `refunded`, successes do not count."""

    amount: int
    seconds: float
    refunded: bool = False


@dataclass(slots=True, frozen=True)
class Rule:
    """One policy, compiled."""

    name: str
    patterns: tuple[PathPattern, ...]
    methods: frozenset[str]
    windows: tuple[Window, ...]
    observe: bool
    on_outage: OnOutage
    is_success: Callable[[Exchange], bool]

    def key(self, window: Window, address: str) -> str:
        """Return the bucket's key: no two rules, windows or addresses share one."""
        return f"{quote(self.name, safe='')}:{window.amount}:{window.seconds}:{window.refunded:d}:{address}"


def compile_rules(settings: RateLimitSettings, routes: Routes) -> tuple[Rule, ...]:
    """Return the presets that have paths, and the user's own rules."""
    login, signup = settings.login, settings.signup
    reset, webhook = settings.password_reset, settings.webhook
    presets = (
        (
            "login",
            login,
            routes.login,
            windows(login.per_address) + windows(login.failures_per_address, refunded=True),
            is_answer_success,
        ),
        ("signup", signup, routes.signup, windows(signup.per_address), is_answer_success),
        ("password_reset", reset, routes.password_reset, windows(reset.per_address), is_answer_success),
        ("webhook", webhook, (), windows(webhook.failures_per_address, refunded=True), is_accepted),
    )
    rules = [_preset(*preset) for preset in presets]
    rules += [_own(name, rule) for name, rule in settings.rules.items()]
    return tuple(rules)


def _preset(
    name: str,
    preset: Preset,
    routes: tuple[str, ...],
    allowed: tuple[Window, ...],
    is_success: Callable[[Exchange], bool],
) -> Rule:
    paths = preset.paths or routes
    return Rule(
        name=name,
        patterns=tuple(PathPattern(path) for path in paths),
        methods=frozenset({"POST"}),
        windows=allowed,
        observe=preset.mode == "observe",
        on_outage=preset.on_outage,
        is_success=is_success,
    )


def _own(name: str, rule: RateLimitRule) -> Rule:
    return Rule(
        name=f"rules.{name}",
        patterns=tuple(PathPattern(path) for path in rule.paths),
        methods=_methods(rule.methods),
        windows=windows(rule.limit, refunded=rule.count == "failures"),
        observe=rule.mode == "observe",
        on_outage=rule.on_outage,
        is_success=is_answer_success,
    )


def _methods(names: Iterable[str]) -> frozenset[str]:
    """Return the methods as requests are planned by: HEAD goes with GET, whose handler frameworks call for it."""
    methods = {name.upper() if name.upper() in METHODS else "_OTHER" for name in names}
    if "GET" in methods:
        methods.add("HEAD")
    return frozenset(methods) or METHODS - {"OPTIONS"} | {"_OTHER"}


def windows(text: str, *, refunded: bool = False) -> tuple[Window, ...]:
    """Read limits in the notation of the `limits` package: `10/minute`, `30/10 minutes; 100/day`."""
    return tuple(dict.fromkeys(Window(item.amount, item.get_expiry(), refunded) for item in limits.parse_many(text)))


def matching(rules: Iterable[Rule], method: str, matched: frozenset[PathPattern]) -> tuple[Rule, ...]:
    """Return the rules for a method and the patterns that its path has matched."""
    return tuple(rule for rule in rules if method in rule.methods and not matched.isdisjoint(rule.patterns))


def is_answer_success(exchange: Exchange) -> bool:
    """Tell whether a form was accepted: JSON with 2xx, or a redirect to another page.

    A form that shows its errors answers 200 with HTML, which must not look like a success.
    """
    if 200 <= exchange.status < 300:
        content_type = exchange.response_header(b"content-type") or b""
        media_type = content_type.partition(b";")[0].strip().lower()
        return media_type == b"application/json" or media_type.endswith(b"+json")
    if 300 <= exchange.status < 400:
        location = (exchange.response_header(b"location") or b"").decode("latin-1")
        return location != "" and _leads_elsewhere(location, normalise(exchange.path))
    return False


def _leads_elsewhere(location: str, path: str) -> bool:
    try:
        target = urlsplit(urljoin(quote(path), location)).path
    except ValueError:
        return False
    return normalise(unquote(target)) != path


def is_accepted(exchange: Exchange) -> bool:
    """Tell whether a webhook was accepted: any 2xx."""
    return 200 <= exchange.status < 300
