"""Moved paths: `edge.redirects`, answered with 308 whatever the method.

The rules:

- `/old` is that path alone, `/old/*` the path and everything below it. An exact path wins over one with parameters, and
  of several that end in a star the longest wins.
- `/old/*` to `/new/*` puts what came after `/old/` behind `/new/`, encoded as it came; the query is always kept.
- A path that the settings name without the prefix under which the app is served leads to one below the same prefix.
- A redirect that leads back to itself, at once or by way of others, is refused at the start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, unquote

from launchkit.edge.answers import moved, visible
from launchkit.edge.exempt import Exempt
from launchkit.errors import Problem, SettingsError
from launchkit.pipeline.exchange import EarlyResponse, Exchange
from launchkit.pipeline.interceptor import Interceptor
from launchkit.pipeline.paths import PathPattern, normalise
from launchkit.settings import EdgeSettings

VARIABLE: Final = "LAUNCHKIT_EDGE__REDIRECTS"
SOMETHING: Final = "-"
"""Stands for any segment where redirects are followed to find loops."""

_target = re.compile(r"(?:https?://[A-Za-z0-9.:\[\]-]+)?(?:/(?![/\\])[\x21-\x5b\x5d-\x7e]*)?").fullmatch
_parameter = re.compile(r"\{[^{}]*\}")


class Redirect(Interceptor):
    """One entry of the table.

    Raises:
        ValueError: for a target that cannot be one.
    """

    name = "redirects"

    def __init__(self, old: str, new: str) -> None:
        if not new or _target(new) is None:
            raise ValueError("leads to what is neither a path like /new nor a URL like https://example.com/new")
        self.pattern = PathPattern(old)
        self._is_path = new.startswith("/")
        path, hash_sign, fragment = new.partition("#")
        self._fragment = (hash_sign + fragment).encode()
        self.keeps_rest = path.endswith("/*") and old.endswith("/*")
        self._new = path.removesuffix("/*") if self.keeps_rest else path
        if set("*{}").intersection(self._new):
            raise ValueError("leads to a path with a star or braces: only /old/* to /new/* keeps a part of the path")

    def rank(self) -> tuple[bool, bool, int]:
        """Return by what the entries of the table are sorted, the ones that win first."""
        text = self.pattern.text
        return text.endswith("/*"), "{" in text, -len(text)

    def on_request(self, exchange: Exchange) -> EarlyResponse:
        """Send the request on."""
        mount = self._mount(normalise(exchange.path))
        location = visible(self.destination(mount, exchange.target))
        if exchange.query:
            location += (b"&" if b"?" in location else b"?") + visible(exchange.query)
        return moved(location + self._fragment, self.pattern.text)

    def destination(self, mount: str, target: bytes) -> bytes:
        """Return where a path, as it came and with the prefix `mount`, leads."""
        new = (quote(mount) if self._is_path else "") + self._new
        if not self.keeps_rest:
            return new.encode()
        segments = normalise(f"{mount}/{self.pattern.text[:-2]}").strip("/").split("/")
        rest = re.sub(rb"\A(?:/+[^/]+){%d}" % len([*filter(None, segments)]), b"", target, count=1)
        return new.encode() + (b"/" + rest.lstrip(b"/") if rest else b"") or b"/"

    def _mount(self, path: str) -> str:
        """Return what stands before the pattern in a path that it matches with or without a prefix."""
        starts = (match.start() for match in re.finditer("/", path))
        return next((path[:start] for start in starts if self.pattern.matches(path[start:])), "")


class Redirects(Interceptor):
    """The table.

    Raises:
        SettingsError: for targets that cannot be one, and for loops.
    """

    name = "redirects"

    def __init__(self, settings: EdgeSettings, exempt: Exempt) -> None:
        self._exempt = exempt
        problems: list[Problem] = []
        entries: list[Redirect] = []
        for old, new in settings.redirects.items():
            try:
                entries.append(Redirect(old, new))
            except ValueError as error:
                problems.append(Problem(VARIABLE, f"{old} {error}"))
        self._entries = sorted(entries, key=Redirect.rank)
        self.patterns = (*exempt.patterns, *(entry.pattern for entry in self._entries))
        if not problems:
            problems = [Problem(VARIABLE, f"{old} leads back to itself") for old in self._loops(settings.url)]
        if problems:
            raise SettingsError(problems)

    def select(self, method: str, matched: frozenset[PathPattern]) -> Interceptor | None:
        """Return the entry that a path is under."""
        if self._exempt.covers(matched):
            return None
        return next((entry for entry in self._entries if entry.pattern in matched), None)

    def _loops(self, home: str | None) -> Iterator[str]:
        for entry in self._entries:
            if any(self._comes_back(path, home) for path in _examples(entry.pattern.text)):
                yield entry.pattern.text

    def _comes_back(self, path: str, home: str | None) -> bool:
        """Follow redirects from a path, for longer than a way without a loop can be."""
        for _ in range(2 * len(self._entries) + path.count("/") + 10):
            entry = next((one for one in self._entries if one.pattern.matches(path)), None)
            if entry is None:
                return False
            location = unquote(entry.destination("", path.encode())).partition("?")[0]
            location = location.removeprefix(home or "")
            if location and not location.startswith("/"):
                return False
            path = normalise(location)
        return True


def _examples(old: str) -> Iterator[str]:
    """Return paths that a pattern matches."""
    path = _parameter.sub(SOMETHING, old)
    yield normalise(path.removesuffix("/*") or "/")
    if path.endswith("/*"):
        yield normalise(path.removesuffix("*") + SOMETHING)
