"""Settings compiled into rules: which requests, how many by whom, and what a success is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import parse_qsl, quote, unquote, urljoin, urlsplit

import limits

from launchkit.pipeline.effects import MOST_EXACT, Quota
from launchkit.pipeline.exchange import Exchange
from launchkit.pipeline.interceptor import METHODS
from launchkit.pipeline.paths import PathPattern, normalise
from launchkit.rate_limit.keys import Discriminator, Function
from launchkit.settings import Preset, RateLimitRule, RateLimitSettings, Routes

OnOutage = Literal["local", "open", "closed"]
MakeDiscriminator = Callable[[str | Function], Discriminator]


@dataclass(slots=True, frozen=True)
class Limit:
    """One bucket for each caller. With `refunded`, successes do not count. `name` is what clients are told."""

    name: str
    quota: Quota
    by: Discriminator
    prefix: str
    refunded: bool


@dataclass(slots=True, frozen=True, eq=False)
class Rule:
    """One policy, compiled. With `knows_devices`, a device that succeeded before is counted by itself."""

    name: str
    patterns: tuple[PathPattern, ...]
    methods: frozenset[str]
    limits: tuple[Limit, ...]
    observe: bool
    on_outage: OnOutage
    is_success: Callable[[Exchange], bool]
    knows_devices: bool = False


@dataclass(slots=True, frozen=True)
class _Terms:
    """One line of a policy: so many by these, of all or of failures only."""

    suffix: str
    text: str
    by: str | Function = "ip"
    refunded: bool = False


def compile_rules(settings: RateLimitSettings, routes: Routes, discriminator: MakeDiscriminator) -> tuple[Rule, ...]:
    """Return the presets, of which those without paths apply nowhere, and the user's own rules."""
    login, signup = settings.login, settings.signup
    reset, webhook = settings.password_reset, settings.webhook
    is_success = AnswerSuccess((*login.paths, *routes.login))
    login_terms = (
        _Terms("", login.per_address),
        _Terms("-failures", login.failures_per_address, refunded=True),
        _Terms("-account", login.failures_per_account, "account", refunded=True),
    )
    reset_terms = (_Terms("", reset.per_address), _Terms("-account", reset.per_account, "account"))
    refused = (_Terms("", webhook.failures_per_address, refunded=True),)
    return (
        _preset(
            "login",
            login,
            routes.login,
            login_terms,
            discriminator,
            login.success or is_success,
            knows_devices=login.device_days > 0,
        ),
        _preset("signup", signup, routes.signup, (_Terms("", signup.per_address),), discriminator, is_success),
        _preset("password_reset", reset, routes.password_reset, reset_terms, discriminator, is_success),
        _preset("webhook", webhook, (), refused, discriminator, is_accepted),
        *[_own(name, rule, discriminator, is_success) for name, rule in settings.rules.items()],
    )


def _preset(
    name: str,
    preset: Preset,
    routes: tuple[str, ...],
    terms: tuple[_Terms, ...],
    discriminator: MakeDiscriminator,
    is_success: Callable[[Exchange], bool],
    *,
    knows_devices: bool = False,
) -> Rule:
    return Rule(
        name=name,
        patterns=tuple(PathPattern(path) for path in preset.paths or routes),
        methods=frozenset({"POST"}),
        limits=_limits(name, name, terms, discriminator),
        observe=preset.mode == "observe",
        on_outage=preset.on_outage,
        is_success=is_success,
        knows_devices=knows_devices,
    )


def _own(
    name: str, rule: RateLimitRule, discriminator: MakeDiscriminator, is_success: Callable[[Exchange], bool]
) -> Rule:
    refunded = rule.count == "failures"
    terms = tuple(_Terms("" if by == "ip" else f"-{_written(by)}", rule.limit, by, refunded) for by in rule.by)
    return Rule(
        name=f"rules.{name}",
        patterns=tuple(PathPattern(path) for path in rule.paths),
        methods=_methods(rule.methods),
        limits=_limits(f"rules.{name}", name, terms, discriminator),
        observe=rule.mode == "observe",
        on_outage=rule.on_outage,
        is_success=rule.success or is_success,
    )


def _written(by: str | Function) -> str:
    return by if isinstance(by, str) else "function"


def _limits(rule: str, told: str, terms: tuple[_Terms, ...], discriminator: MakeDiscriminator) -> tuple[Limit, ...]:
    """Return one limit for each quota of each line; its prefix holds everything that tells it from all others."""
    found = []
    for index, line in enumerate(terms):
        by = discriminator(line.by)
        for quota in quotas(line.text):
            windows = ",".join(f"{amount}/{seconds:g}" for amount, seconds in quota.windows)
            prefix = f"{quote(rule, safe='')}:{index}:{by.text}:{line.refunded:d}:{windows}:"
            found.append(Limit(told + line.suffix, quota, by, prefix, line.refunded))
    return tuple(found)


def quotas(text: str) -> tuple[Quota, ...]:
    """Read limits in the notation of the `limits` package: `10/minute`, `30/10 minutes; 100/day`.

    Up to `MOST_EXACT` hits in a window are counted exactly; more by a counter, whose size does not grow with them. A
    window that another one implies, because that is longer and takes no more, is left out.
    """
    items = {(item.amount, float(item.get_expiry())) for item in limits.parse_many(text)}
    needed = sorted(item for item in items if not any(_implies(other, item) for other in items - {item}))
    logged = tuple(item for item in needed if item[0] <= MOST_EXACT)
    counted = [Quota((item,), exact=False) for item in needed if item[0] > MOST_EXACT]
    return (*([Quota(logged)] if logged else []), *counted)


def _implies(one: tuple[int, float], other: tuple[int, float]) -> bool:
    return one[0] <= other[0] and one[1] >= other[1]


def _methods(names: Iterable[str]) -> frozenset[str]:
    """Return the methods as requests are planned by: HEAD goes with GET, whose handler frameworks call for it."""
    methods = {name.upper() if name.upper() in METHODS else "_OTHER" for name in names}
    if "GET" in methods:
        methods.add("HEAD")
    return frozenset(methods) or METHODS - {"OPTIONS"} | {"_OTHER"}


def matching(rules: Iterable[Rule], method: str, matched: frozenset[PathPattern]) -> tuple[Rule, ...]:
    """Return the rules for a method and the patterns that its path has matched."""
    return tuple(rule for rule in rules if method in rule.methods and not matched.isdisjoint(rule.patterns))


class AnswerSuccess:
    """Tells whether a form was accepted: 2xx with JSON or with nothing, or a redirect to another page, also for htmx.

    A form that shows its errors answers 200 with HTML, or redirects to itself, to a login page, or to somewhere with
    the error in the query; none of these must look like a success.

    Args:
        login_pages: paths, to which nobody is sent who has just logged in.
    """

    def __init__(self, login_pages: Iterable[str]) -> None:
        self._login_pages = tuple(PathPattern(path) for path in login_pages)

    def __call__(self, exchange: Exchange) -> bool:
        """Look at the status, the media type and the location."""
        status = exchange.status
        htmx = exchange.response_header(b"hx-redirect") or exchange.response_header(b"hx-location")
        if htmx is not None:
            return self._leads_elsewhere(htmx, exchange)
        if 200 <= status < 300:
            content_type = exchange.response_header(b"content-type") or b""
            media_type = content_type.partition(b";")[0].strip().lower()
            nothing = status == 204 or exchange.response_header(b"content-length") == b"0"  # no room for an error
            return nothing or media_type == b"application/json" or media_type.endswith(b"+json")
        if 300 <= status < 400:
            return self._leads_elsewhere(exchange.response_header(b"location") or b"", exchange)
        return False

    def _leads_elsewhere(self, location: bytes, exchange: Exchange) -> bool:
        path = normalise(exchange.path)
        try:
            target = urlsplit(urljoin(quote(path), location.decode("latin-1")))
        except ValueError:
            return False
        page = normalise(unquote(target.path)) if location else path
        is_login = page == path or any(pattern.matches(page) for pattern in self._login_pages)
        return not is_login and not _says_error(f"{target.query}&{target.fragment}")


def _says_error(query: str) -> bool:
    """Tell whether a query is how an error is handed on, as in `error=1` or `login=failed`."""
    return any(_is_error(name) or _is_error(value) for name, value in parse_qsl(query, keep_blank_values=True))


_is_error: Final = re.compile(
    r"(?:(?:log-?_?in|sign-?_?in|auth)[_-]?)?(?:errors?|err|fail(?:ed|ure)?|invalid|denied|wrong)"
    r"(?:[_-]?(?:log-?_?in|credentials?|password|user(?:name)?|auth|e?mail|code|message|description))?",
    re.IGNORECASE,
).fullmatch


def is_accepted(exchange: Exchange) -> bool:
    """Tell whether a webhook was accepted: any 2xx."""
    return 200 <= exchange.status < 300
