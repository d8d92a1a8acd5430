"""Do the rules and the app's routes meet: where each rule applies, which paths are mistyped, which have no rule.

The rules:

- A rule's path is right if the app's router ends in a handler there, after one redirect at most, for one of the rule's
  methods. Parameters and `/*` are tried with the app's own routes, and with a few values in their place.
- A path that exists below a prefix of its own is right if the app is served under that prefix, which cannot be seen
  from here: a warning, no error.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from launchkit.adapters.facts import AppView, Resolved
from launchkit.adapters.routes import AppRoute
from launchkit.check.finding import error, warning
from launchkit.environment import PREFIX
from launchkit.errors import Finding
from launchkit.pipeline.interceptor import METHODS
from launchkit.pipeline.paths import PathPattern, normalise
from launchkit.rate_limit.rules import Rule

MOST_ROUTES: Final = 2000
MOST_PLACES: Final = 3
"""Routes that are looked at, and places that are looked for under one pattern."""

_FLASK_PARAMETER: Final = re.compile(r"<(?:[^<>]+:)?([^<>]+)>")
_PARAMETER: Final = re.compile(r"\{[^{}]*\}")
_VALUES: Final = ("1", "launchkit", "00000000-0000-4000-8000-000000000000", "1.5")

_LOOKS_LIKE: Final = (
    ("ROUTES__LOGIN", re.compile(r"log-?_?in|sign-?_?in|/token$|/auth$")),
    ("ROUTES__SIGNUP", re.compile(r"sign-?_?up|register")),
    ("ROUTES__PASSWORD_RESET", re.compile(r"reset|forgot")),
    ("RATE_LIMIT__WEBHOOK__PATHS", re.compile(r"web-?_?hook")),
)
"""Which setting a POST route is in want of, by its path."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rule applies: a request that ends in one of the app's handlers. `path` begins with `mount`."""

    rule: Rule
    method: str
    path: str
    mount: str
    handler: Hashable


@dataclass(slots=True)
class Meeting:
    """Where the rules apply, what is wrong with those that do not, and how many paths there was no time for."""

    places: list[Place] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    left: int = 0


def meet(rules: Iterable[Rule], webhooks: Iterable[str], view: AppView, is_late: Callable[[], bool]) -> Meeting:
    """Look for a place for every path of every rule, but for those of LaunchKit's webhook sources."""
    meeting = Meeting()
    sources = {PathPattern(path) for path in webhooks}
    routes = list(islice(view.routes(), MOST_ROUTES))
    for rule, pattern in ((one, pattern) for one in rules for pattern in one.patterns):
        if is_late():
            meeting.left += 1
        elif pattern in sources:
            meeting.findings.append(_exempt(rule, pattern))
        else:
            search = _Search(rule, pattern, view, routes)
            meeting.places += search.places
            meeting.findings += search.findings()
    return meeting


def _exempt(rule: Rule, pattern: PathPattern) -> Finding:
    return warning(
        "rule-never-applies",
        f"Rate limit {rule.name} names {pattern.text}, where LaunchKit takes webhooks in: of those it limits only the "
        "ones with a bad signature.",
        f"Take the path out of the rule; {PREFIX}RATE_LIMIT__WEBHOOK__FAILURES_PER_ADDRESS is the limit there.",
    )


class _Search:
    """The search for places of one pattern of one rule."""

    def __init__(self, rule: Rule, pattern: PathPattern, view: AppView, routes: list[AppRoute]) -> None:
        self._rule = rule
        self._pattern = pattern
        self._view = view
        self._routes = routes
        self._allowed_others = False
        self._prefix = ""
        self._methods = _methods(rule)
        paths = dict.fromkeys([*_filled(pattern.text), *_matching(pattern, routes)])
        self.places = list(islice(self._places(paths), MOST_PLACES * len(self._methods)))
        if not self.places and pattern.exact is not None:
            self.places = list(self._below_prefixes(pattern.exact))

    def _places(self, paths: Iterable[str], mount: str = "") -> Iterator[Place]:
        handlers: set[tuple[str, Hashable]] = set()
        for path in paths:
            for method in self._methods:
                arrived, resolved = self._resolve(method, path, mount)
                self._allowed_others |= resolved.status == 405
                if resolved.status == 200 and (method, resolved.handler) not in handlers:
                    handlers.add((method, resolved.handler))
                    yield Place(self._rule, method, arrived, mount, resolved.handler)

    def _resolve(self, method: str, path: str, mount: str) -> tuple[str, Resolved]:
        resolved = self._view.resolve(method, path, mount)
        if resolved.location is not None:
            path = resolved.location
            resolved = self._view.resolve(method, path, mount)
        return path, resolved

    def _below_prefixes(self, path: str) -> Iterator[Place]:
        words = path.split("/")
        for depth in range(2, len(words)):
            prefix = "/".join(words[:depth])
            for place in self._places([path], prefix):
                self._prefix = prefix
                yield place

    def findings(self) -> Iterator[Finding]:
        """Return what is wrong with this path of the rule."""
        name, path = self._rule.name, self._pattern.text
        methods = ", ".join(self._methods)
        if self._prefix:
            yield warning(
                "path-under-prefix",
                f"Rate limit {name} names {path}, and the app has only {path[len(self._prefix) :]}: right only if the "
                f"app is served under {self._prefix}.",
                f"Write {path[len(self._prefix) :]}, which is matched with and without such a prefix.",
            )
        elif not self.places and self._allowed_others:
            yield error(
                "rule-never-applies",
                f"Rate limit {name} is for {methods} {path}, and the app has no such method there.",
                f"Set the rule's methods or path to those of the route{self._suggestion()}.",
            )
        elif not self.places:
            yield error(
                "mistyped-path",
                f"Rate limit {name} names {path}, and the app has no route there for {methods}.",
                f"Correct the path{self._suggestion()}, or take it out.",
            )

    def _suggestion(self) -> str:
        templates = [written(path) for methods, path in self._routes if not methods.isdisjoint(self._methods)]
        close = difflib.get_close_matches(self._pattern.text, templates, n=1, cutoff=0.5)
        return f" (did you mean {close[0]}?)" if close else ""


def _methods(rule: Rule) -> list[str]:
    """Return the methods to try: HEAD goes with GET, and what is not registered cannot be guessed."""
    methods = rule.methods & METHODS
    if "GET" in methods:
        methods -= {"HEAD"}
    return sorted(methods - {"OPTIONS"} or methods)


def _filled(template: str) -> Iterator[str]:
    """Return paths of a template's shape."""
    body = template.removesuffix("/*")
    for value in _VALUES:
        path = _PARAMETER.sub(value, body)
        if template.endswith("/*"):
            yield path or "/"
            yield f"{path}/{value}"
        else:
            yield path


def _matching(pattern: PathPattern, routes: Iterable[AppRoute]) -> Iterator[str]:
    if pattern.exact is None:
        for _, template in routes:
            yield from (path for path in _filled(written(template)) if pattern.matches(normalise(path)))


def written(template: str) -> str:
    """Return a route's template as the settings write it: Flask's `<int:id>` is `{id}`."""
    return _FLASK_PARAMETER.sub(r"{\1}", template)


# --- routes without a rule -------------------------------------------------------------------------------------------


def unlimited(patterns: Iterable[PathPattern], routes: Iterable[AppRoute]) -> Iterator[tuple[str, str]]:
    """Return the POST routes that look as if they need a limit and have none, each with the setting to add it to.

    `patterns` are the paths that have one.
    """
    patterns = list(patterns)
    for path in sorted({written(path) for methods, path in routes if "POST" in methods}):
        setting = next((name for name, pattern in _LOOKS_LIKE if pattern.search(path.lower())), None)
        if setting is not None and not any(_covers(pattern, path) for pattern in patterns):
            yield path, f"{PREFIX}{setting}={path}"


def _covers(pattern: PathPattern, template: str) -> bool:
    return pattern.text == template or pattern.matches(normalise(template))


def missing_limits(patterns: Iterable[PathPattern], routes: Iterable[AppRoute]) -> Iterator[Finding]:
    """Return a finding for each route that `unlimited` tells of."""
    for path, setting in unlimited(patterns, routes):
        yield warning("missing-limit", f"POST {path} has no limit.", f"Set {setting}.")
