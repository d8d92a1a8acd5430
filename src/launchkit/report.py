"""What the kit says at start, in at most twelve lines: what is on, what is off, and what to add."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import version

from launchkit.check.routes import unlimited
from launchkit.environment import PREFIX
from launchkit.place import no_secret
from launchkit.rate_limit.rules import Rule
from launchkit.settings import Settings
from launchkit.webhooks.interceptor import Intakes

LONGEST = 12


def startup_lines(
    settings: Settings,
    rules: Iterable[Rule],
    webhooks: Intakes,
    routes: Iterable[tuple[frozenset[str], str]],
    counted_in: str = "each process",
) -> list[str]:
    """Return the report. `routes` are the methods and templates of the app's routes."""
    rules = [rule for rule in rules if rule.patterns]
    routes = list(routes)
    lines = [f"LaunchKit {version('launchkit')}, {settings.environment}"]
    lines += [f"  on   {text}" for text in _on(settings, rules, webhooks, counted_in)]
    lines += [f"  off  {text}" for text in _off(settings, webhooks)]
    lines += [f"  off  {text}" for text in _taken_over(settings, routes)]
    missing = [f"  add  {text}" for text in _missing(settings, rules, webhooks, routes)]
    room = LONGEST - len(lines)
    if len(missing) > room:
        missing = [*missing[: max(room - 1, 0)], f"  add  limits for {len(missing) - room + 1} more routes like these"]
    return [*lines[: LONGEST - len(missing)], *missing]


def _missing(
    settings: Settings, rules: list[Rule], webhooks: Intakes, routes: list[tuple[frozenset[str], str]]
) -> Iterator[str]:
    if settings.rate_limit.enabled:
        limited = [pattern for rule in rules for pattern in rule.patterns]
        for path, setting in unlimited([*limited, *webhooks.patterns], routes):
            yield f"POST {path} has no limit: set {setting}"


def _on(settings: Settings, rules: list[Rule], webhooks: Intakes, counted_in: str) -> Iterator[str]:
    always = [
        name
        for name, enabled in (
            ("request ids", True),
            (f"timing (p95 target {settings.timing.target * 1000:g} ms)", settings.timing.enabled),
            ("health", settings.health.enabled),
            ("redacted logs", settings.redaction.enabled),
            ("security headers", settings.edge.enabled),
        )
        if enabled
    ]
    yield ", ".join(always)
    if settings.rate_limit.enabled and rules:
        yield f"rate limits, counted in {counted_in}: {', '.join(map(_rule, rules))}"
    if settings.read_cache.enabled and settings.read_cache.rules:
        yield "read cache: " + ", ".join(
            f"{' '.join(rule.paths)} ({rule.ttl:g} s)" for rule in settings.read_cache.rules.values()
        )
    taken_in = [f"{name} at {path}" for name, path in webhooks.sources.items() if name not in webhooks.closed]
    if taken_in:
        place = settings.data_dir if settings.database_url is None else "PostgreSQL"
        yield f"webhooks, stored in {place}: {', '.join(taken_in)}"


def _rule(rule: Rule) -> str:
    return f"{rule.name} {' '.join(pattern.text for pattern in rule.patterns)}"


def _off(settings: Settings, webhooks: Intakes) -> Iterator[str]:
    features = ("timing", "health", "redaction", "edge", "rate_limit", "read_cache", "webhooks")
    disabled = [name for name in features if not getattr(settings, name).enabled]
    if disabled:
        yield "by setting: " + ", ".join(disabled)
    if settings.webhooks.enabled:
        yield from map(no_secret, webhooks.closed)
    if settings.token is None:
        where = " (open to this machine in development)" if settings.in_development else ""
        yield f"{settings.timing.metrics_path} and health details{where}: set {PREFIX}TOKEN"
    if settings.read_cache.enabled and not settings.read_cache.rules:
        yield f"read cache rules: name what everybody may share, {PREFIX}READ_CACHE__RULES__<NAME>__PATHS=/..."


def _taken_over(settings: Settings, routes: list[tuple[frozenset[str], str]]) -> Iterator[str]:
    health, timing = settings.health, settings.timing
    ours = {
        health.path: (health.enabled, "HEALTH__PATH"),
        health.live_path: (health.enabled, "HEALTH__LIVE_PATH"),
        health.ready_path: (health.enabled, "HEALTH__READY_PATH"),
        timing.metrics_path: (timing.enabled, "TIMING__METRICS_PATH"),
    }
    for path in sorted({path for methods, path in routes if "GET" in methods} & ours.keys()):
        enabled, name = ours[path]
        if enabled:
            yield f"the app's own {path}, which LaunchKit answers: set {PREFIX}{name} to another path"
