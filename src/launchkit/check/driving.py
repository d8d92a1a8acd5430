"""The proof that limits work: synthetic requests until one is refused, then every other spelling of the path.

The rules:

- Each limit is driven by itself: what it counts by stays the same from request to request, everything else changes. The
  number it should take is the least of all limits at that place that count by no more than that.
- A limit on failures gets failures. Others get successes, which limits on failures do not count.
- Spellings that the app's router takes for the same handler have to be refused as well, by the same exhausted count.
  Where that handler takes any path, they are not certainly the same to it: a warning, no error.
- A limit of more than `MOST_HITS` is not exhausted. For those the keys of the buckets are compared: a spelling that is
  charged to the same buckets shares the count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from launchkit.adapters.facts import AppView
from launchkit.check.finding import error, warning
from launchkit.check.probe import FUNCTION, Caller, Rehearsal
from launchkit.check.routes import Place, beside
from launchkit.check.spellings import Spelling, spellings
from launchkit.errors import Finding
from launchkit.pipeline.paths import normalise
from launchkit.rate_limit.rules import AnswerSuccess, Limit, Rule

MOST_HITS: Final = 200

_ASSUMED: Final = (
    "assumed that the app answers a failure with 4xx, and a success with 2xx JSON, 204 or a redirect elsewhere "
    "(else set `success`)"
)

_WHOM: Final = {"ip": "address", "account": "account", "path": "path", "function": "result of the rule's function"}


@dataclass(slots=True)
class Outcome:
    """What driving has shown: findings, sentences about what is proved, and how much there was no time for."""

    findings: list[Finding] = field(default_factory=list)
    proved: list[str] = field(default_factory=list)
    left: int = 0


def drive(places: Iterable[Place], view: AppView | None, rehearsal: Rehearsal, is_late: Callable[[], bool]) -> Outcome:
    """Drive the limits at every place; without a view of the app only as their paths are written."""
    outcome = Outcome()
    for place in places:
        rules = _rules_at(place, rehearsal.rules)
        if is_late():
            outcome.left += 1
        elif place.rule.observe:
            outcome.findings.append(_observes(place.rule))
        else:
            driven = _Driven(place, rules, view, rehearsal)
            outcome.findings += driven.findings
            if not any(finding.severity == "error" for finding in driven.findings):
                outcome.proved.append(driven.summary())
    outcome.findings = list(dict.fromkeys(outcome.findings))
    return outcome


def _rules_at(place: Place, rules: Iterable[Rule]) -> list[Rule]:
    paths = {normalise(place.path), normalise(place.path[len(place.mount) :])}
    return [
        rule
        for rule in rules
        if place.method in rule.methods and any(pattern.matches(path) for pattern in rule.patterns for path in paths)
    ]


def _observes(rule: Rule) -> Finding:
    return warning(
        "rule-only-observes",
        f"Rate limit {rule.name} only observes: it logs what it would have refused and refuses nothing.",
        "Set its mode to enforce when its log shows what you expect.",
    )


def names(limit: Limit) -> frozenset[str]:
    """Return what a limit tells callers apart by."""
    return frozenset(limit.by.text.split("+"))


class _Driven:
    """The limits of one rule at one place, driven."""

    def __init__(self, place: Place, rules: list[Rule], view: AppView | None, rehearsal: Rehearsal) -> None:
        self._place = place
        self._rehearsal = rehearsal
        self._at_place = [limit for rule in rules for limit in rule.limits]
        self._headers = sorted(
            {name for limit in self._at_place for name in names(limit) if name.startswith("header:")}
        )
        self._spellings = list(_same(place, view)) if view is not None else []
        self._has_own_route = view is None or not _takes_any(place, view)
        self._is_only_written = view is not None and place.handler is None
        self._escaped: dict[Spelling, None] = {}
        self._shown: dict[str, None] = {}
        self.findings: list[Finding] = []
        for limit in place.rule.limits:
            self._drive(limit)
        self.findings += self._escapes()

    def summary(self) -> str:
        """Return what is proved, and on what assumption."""
        place, count = self._place, len(self._spellings) - len(self._escaped)
        said = [f"{place.method} {place.path}: throttles at {', '.join(self._shown)}"]
        if self._is_only_written:
            said.append("no value was found that the route takes there, so other spellings were not tried")
        elif count:
            said.append(f"{count} other spelling{'s share' if count != 1 else ' shares'} the count")
        if self._assumes_answers():
            said.append(_ASSUMED)
        return "; ".join(said)

    def _assumes_answers(self) -> bool:
        """Tell whether failures are known by the usual answers, and not by a function of the app's."""
        rule = self._place.rule
        return isinstance(rule.is_success, AnswerSuccess) and any(limit.refunded for limit in rule.limits)

    def _drive(self, limit: Limit) -> None:
        same = names(limit) | {"path"}
        succeeds = not limit.refunded
        binding = [one for one in self._at_place if names(one) <= same and not (succeeds and one.refunded)]
        most = min((one.quota.windows[0][0] for one in binding), default=0)
        what = "request" if succeeds else "failure"
        whom = " and ".join(_WHOM.get(name, name.removeprefix("header:")) for name in limit.by.text.split("+"))
        self._shown[f"{what} {most + 1} of one {whom}"] = None
        if most > MOST_HITS:
            self._compare_keys(limit)
        elif self._exhaust(same, most, succeeds=succeeds):
            caller = self._caller(same, most)
            for one in self._spellings_of(limit):
                if self._rehearsal.send(one.method, one.path, one.mount, caller, succeeds=succeeds) != 429:
                    self._escaped[one] = None

    def _spellings_of(self, limit: Limit) -> list[Spelling]:
        """Return the spellings that share a limit's count: by path, an app has one for each prefix it is served at."""
        by_path = "path" in names(limit)
        return [one for one in self._spellings if not (by_path and one.mount != self._place.mount)]

    def _exhaust(self, same: frozenset[str], most: int, *, succeeds: bool) -> bool:
        place = self._place
        self._rehearsal.forget()
        wanted = [200 if succeeds else 401] * most + [429]
        for number, status in enumerate(wanted):
            caller = self._caller(same, number)
            found = self._rehearsal.send(place.method, place.path, place.mount, caller, succeeds=succeeds)
            if found != status:
                self._report_unlimited(number, found)
                return False
        return True

    def _compare_keys(self, limit: Limit) -> None:
        place = self._place
        keys = self._keys(limit, place)
        if not keys:
            self._report_unlimited(0, 200)
            return
        for one in self._spellings_of(limit):
            if self._keys(limit, one) != keys:
                self._escaped[one] = None

    def _keys(self, limit: Limit, asked: Place | Spelling) -> list[str]:
        """Return the keys of this limit's buckets that a request is charged to."""
        charged = self._rehearsal.keys(asked.method, asked.path, asked.mount, self._caller(frozenset(), 0))
        return [key for key in charged if key.startswith(limit.prefix)]

    def _caller(self, same: frozenset[str], number: int) -> Caller:
        """Return caller number such and such, who has in common with the others what `same` names."""

        def of(name: str) -> int:
            return 0 if name in same else number

        headers = [(name.removeprefix("header:").encode(), b"%d" % of(name)) for name in self._headers]
        headers.append((FUNCTION.encode(), b"%d" % of("function")))
        account = f"check{of('account')}@launchkit.invalid"
        return Caller(f"2001:db8:0:{of('ip'):x}::1", account, tuple(headers))

    def _report_unlimited(self, number: int, status: int) -> None:
        place = self._place
        self.findings.append(
            error(
                "does-not-throttle",
                f"Rate limit {place.rule.name} does not work on {place.method} {place.path}: request {number + 1} was "
                f"answered with {status}.",
                "Compare it with the other rules for that path.",
            )
        )

    def _escapes(self) -> Iterator[Finding]:
        path, rule = self._place.path, self._place.rule.name
        if self._escaped and not self._has_own_route:
            written = ", ".join(repr(spelling.path) for spelling in self._escaped)
            yield warning(
                "variant-escapes",
                f"{path} has no route of its own: one for many paths serves it, which takes {written} as well, and "
                f"rate limit {rule} does not count those with it.",
                f"This is right unless the app takes them for {path}; a route of its own is certain.",
            )
            return
        for spelling in self._escaped:
            yield error(
                "variant-escapes",
                f"{spelling.method} {spelling.path!r} ({spelling.what}) reaches the handler of {path} and is not "
                f"counted with it by rate limit {rule}.",
                "Add that path to the rule, or take it from the app.",
            )


def _same(place: Place, view: AppView) -> Iterator[Spelling]:
    """Return the spellings that end in the handler of a place."""
    for spelling in spellings(place):
        resolved = view.resolve(spelling.method, spelling.path, spelling.mount)
        if resolved.status == 200 and resolved.handler == place.handler:
            yield spelling


def _takes_any(place: Place, view: AppView) -> bool:
    """Tell whether the handler of a place takes whatever path stands beside it."""
    resolved = view.resolve(place.method, beside(place.path), place.mount)
    return resolved.status == 200 and resolved.handler == place.handler
