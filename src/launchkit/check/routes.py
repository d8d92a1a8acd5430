"""Do the rules and the app's routes meet: where each rule applies, which paths are mistyped, which have no rule.

The rules:

- A rule's path is right if the app's router ends in a handler there, after one redirect at most, for one of the rule's
  methods. Parameters and `/*` are tried with the app's own routes, and with a few values in their place.
- It is right as well if a route's template says so, where no value was found that the route's own types take.
- A path that no route has is an error only where it is close to one: middleware may answer there, before any route.
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

CLOSE: Final = 0.7
"""How like a route's a path has to be, from 0 to 1, to be a typing mistake and no other path."""

_FLASK_PARAMETER: Final = re.compile(r"<(?:[^<>]+:)?([^<>]+)>")
_FLASK_ARGUMENTS: Final = re.compile(r"<\w+\(([^<>]*)\):")
_CONVERTOR: Final = re.compile(r":[^{}]*\}")
_PARAMETER: Final = re.compile(r"\{[^{}]*\}")
_VALUES: Final = ("1", "launchkit", "00000000-0000-4000-8000-000000000000", "1.5", "en")

_LOOKS_LIKE: Final = (
    ("ROUTES__LOGIN", re.compile(r"log-?_?in|sign-?_?in|/token$|/auth$")),
    ("ROUTES__SIGNUP", re.compile(r"sign-?_?up|register")),
    ("ROUTES__PASSWORD_RESET", re.compile(r"reset|forgot")),
    ("RATE_LIMIT__WEBHOOK__PATHS", re.compile(r"web-?_?hook")),
)
"""Which setting a POST route is in want of, by its path."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rule applies: a request that ends in one of the app's handlers. `path` begins with `mount`.

    `handler` is None where only a template says that there is one, or nothing is known of the app.
    """

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
    named = [(rule, pattern) for rule in rules for pattern in rule.patterns]
    unnamed = _without({pattern.text for _, pattern in named}, routes)
    for rule, pattern in named:
        if is_late():
            meeting.left += 1
        elif pattern in sources:
            meeting.findings.append(_exempt(rule, pattern))
        else:
            search = _Search(rule, pattern, view, routes, unnamed)
            meeting.places += search.places
            meeting.findings += search.findings()
    return meeting


def _without(texts: set[str], routes: Iterable[AppRoute]) -> list[AppRoute]:
    """Return the routes that no rule names: what a rule names is not what another one misses."""
    return [(methods, template) for methods, template in routes if written(template) not in texts]


def _exempt(rule: Rule, pattern: PathPattern) -> Finding:
    return warning(
        "rule-never-applies",
        f"Rate limit {rule.name} names {pattern.text}, where LaunchKit takes webhooks in: of those it limits only the "
        "ones with a bad signature.",
        f"Take the path out of the rule; {PREFIX}RATE_LIMIT__WEBHOOK__FAILURES_PER_ADDRESS is the limit there.",
    )


class _Search:
    """The search for places of one pattern of one rule. `unnamed` are the routes that may have been meant instead."""

    def __init__(
        self, rule: Rule, pattern: PathPattern, view: AppView, routes: list[AppRoute], unnamed: list[AppRoute]
    ) -> None:
        self._rule = rule
        self._pattern = pattern
        self._view = view
        self._unnamed = unnamed
        self._allowed_others = False
        self._prefix = ""
        self._methods = _methods(rule)
        paths = dict.fromkeys([*_filled(pattern.text), *_matching(pattern, routes)])
        self.places = list(islice(self._places(paths), MOST_PLACES * len(self._methods)))
        if not self.places:
            self.places = list(islice(self._by_template(routes), MOST_PLACES))
        if not self.places and pattern.exact is not None:
            self.places = list(self._below_prefixes(pattern.exact))

    def _places(self, paths: Iterable[str], mount: str = "") -> Iterator[Place]:
        handlers: set[tuple[str, Hashable]] = set()
        for path in paths:
            for method in self._methods:
                arrived, resolved = self._resolve(method, path, mount)
                self._allowed_others |= resolved.status == 405 and not self._is_405_beside(method, arrived, mount)
                if resolved.status == 200 and (method, resolved.handler) not in handlers:
                    handlers.add((method, resolved.handler))
                    yield Place(self._rule, method, arrived, mount, resolved.handler)

    def _resolve(self, method: str, path: str, mount: str) -> tuple[str, Resolved]:
        resolved = self._view.resolve(method, path, mount)
        if resolved.location is not None:
            path = resolved.location
            resolved = self._view.resolve(method, path, mount)
        return path, resolved

    def _is_405_beside(self, method: str, path: str, mount: str) -> bool:
        """Tell whether it is a route for any path, like that of a one-page app, that knows the path but no method."""
        return self._view.resolve(method, beside(path), mount).status == 405

    def _by_template(self, routes: Iterable[AppRoute]) -> Iterator[Place]:
        for methods, template in routes:
            if _covers(self._pattern, written(template)):
                self._allowed_others = True
                for method in methods.intersection(self._methods):
                    yield Place(self._rule, method, next(_filled(template)), "", None)

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
            message = f"Rate limit {name} names {path}, and the app has no route there for {methods}"
            suggestion = self._suggestion()
            if suggestion:
                yield error("mistyped-path", f"{message}.", f"Correct the path{suggestion}, or take it out.")
            else:
                yield warning(
                    "mistyped-path",
                    f"{message}, nor one like it: middleware or a before_request function may answer there, which "
                    "cannot be seen. Nobody has driven that limit.",
                    "Where one does, this is as it should be; else correct the path or take it out. A WebSocket's path "
                    "has no effect: limits are for HTTP requests.",
                )

    def _suggestion(self) -> str:
        text = _PARAMETER.sub("{}", self._pattern.text)
        templates = {
            _PARAMETER.sub("{}", written(template)): written(template)
            for methods, template in self._unnamed
            if not methods.isdisjoint(self._methods)
        }
        close = [
            *difflib.get_close_matches(text, templates, n=1, cutoff=CLOSE),
            *[template for template in templates if template.endswith(text)],  # a router's prefix was forgotten
        ]
        return f" (did you mean {templates[close[0]]}?)" if close else ""


def _methods(rule: Rule) -> list[str]:
    """Return the methods to try: HEAD goes with GET, and what is not registered cannot be guessed."""
    methods = rule.methods & METHODS
    if "GET" in methods:
        methods -= {"HEAD"}
    return sorted(methods - {"OPTIONS"} or methods)


def _filled(template: str) -> Iterator[str]:
    """Return paths of a template's shape, with values that the routes' own types may take."""
    body = written(template.removesuffix("/*"))
    for value in (*_allowed(template), *_VALUES):
        path = _PARAMETER.sub(value, body)
        if template.endswith("/*"):
            yield path or "/"
            yield f"{path}/{value}"
        else:
            yield path


def _allowed(template: str) -> Iterator[str]:
    """Return values after the arguments of Flask's converters: `any(en,de)`, `string(length=2)`, `int(min=5)`."""
    for arguments in _FLASK_ARGUMENTS.findall(template):
        for word in re.findall(r"[A-Za-z]\w*|[0-9]{1,2}", arguments):
            yield word
            if word.isdecimal():
                yield "x" * int(word)
                yield word.zfill(int(word))


def _matching(pattern: PathPattern, routes: Iterable[AppRoute]) -> Iterator[str]:
    if pattern.exact is None:
        for _, template in routes:
            yield from (path for path in _filled(template) if pattern.matches(normalise(path)))


def written(template: str) -> str:
    """Return a route's template as the settings write it: Flask's `<int:id>` and Starlette's `{id:int}` are `{id}`."""
    return _CONVERTOR.sub("}", _FLASK_PARAMETER.sub(r"{\1}", template))


def beside(path: str) -> str:
    """Return a path beside another one that no app means: a route that takes it as well takes any."""
    return f"{path.rpartition('/')[0]}/launchkit-check"


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
