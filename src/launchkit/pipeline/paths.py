"""Path patterns of the settings: exact, with `{parameters}`, or a prefix ending in `/*`.

The rules: a pattern starts with a slash; `{name}` stands for one non-empty segment; a final `/*` stands for the path
itself and everything below it; anything else is literal. Paths are compared decoded, with repeated slashes folded and a
trailing slash or line break dropped, because that is how the variants that frameworks route to one handler look.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_PARAMETER = re.compile(r"\{[^{}/:<>]+\}")
_SLASHES = re.compile(r"/{2,}")


def normalise(path: str) -> str:
    """Fold repeated slashes, and drop trailing ones and trailing line breaks, before which frameworks' `$` matches."""
    if "//" in path:
        path = _SLASHES.sub("/", path)
    return path.rstrip("/\n") or "/"


class PathPattern:
    """One pattern, compiled. Equal text gives equal patterns.

    Raises ValueError, with the remedy, for text that is no pattern.
    """

    __slots__ = ("exact", "expression", "text")

    def __init__(self, text: str) -> None:
        if not text.startswith("/"):
            raise ValueError("a path starts with a slash, like /login")
        literal = _PARAMETER.sub("", text)
        if "?" in text or "#" in text:
            raise ValueError("a path has no query or fragment: leave out everything from ? or # on")
        if set("{}<>").intersection(literal):
            raise ValueError("a parameter is written {name} and stands for one path segment")
        if "*" in _PARAMETER.sub("", text.removesuffix("/*")):
            raise ValueError("a star stands only at the end, after a slash, like /api/*")
        self.text = text
        self.exact = None if "{" in text or text.endswith("/*") else normalise(text)
        self.expression = self._compile(text)

    @staticmethod
    def _compile(text: str) -> str:
        prefix = text.endswith("/*")
        body = normalise(text[:-2] or "/") if prefix else normalise(text)
        parts = [re.escape(part) for part in _PARAMETER.split(body)]
        expression = "[^/]+".join(parts)
        if prefix:
            return (expression if expression != "/" else "") + "(?:/.*)?"
        return expression

    def matches(self, path: str) -> bool:
        """Tell whether a normalised path is meant by this pattern."""
        if self.exact is not None:
            return path == self.exact
        return re.fullmatch(self.expression, path, re.DOTALL) is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PathPattern) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"PathPattern({self.text!r})"


class PathTable:
    """Many patterns behind one look-up: a dictionary for the exact ones and one expression that most paths fail."""

    def __init__(self, patterns: Iterable[PathPattern]) -> None:
        self._exact: dict[str, list[PathPattern]] = {}
        self._open: list[PathPattern] = []
        for pattern in dict.fromkeys(patterns):
            if pattern.exact is not None:
                self._exact.setdefault(pattern.exact, []).append(pattern)
            else:
                self._open.append(pattern)
        joined = "|".join(pattern.expression for pattern in self._open)
        self._any_open = re.compile(joined, re.DOTALL) if self._open else None

    def match(self, path: str) -> frozenset[PathPattern]:
        """Return the patterns that mean `path`, which may be in any of the spellings that `normalise` folds."""
        path = normalise(path)
        exact = self._exact.get(path)
        if self._any_open is None or self._any_open.fullmatch(path) is None:
            return frozenset(exact) if exact else _NONE
        found = [pattern for pattern in self._open if pattern.matches(path)]
        return frozenset(exact + found if exact else found)


_NONE: frozenset[PathPattern] = frozenset()
