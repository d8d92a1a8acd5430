"""Secrets in statements whose columns name the values: `INSERT`, and what SQLAlchemy reports with its parameters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from launchkit.redaction.found import Found
from launchkit.redaction.keys import Kind
from launchkit.redaction.values import secret_spans

_INSERT: Final = re.compile(
    r"(?i:insert into )[^\s(]{1,100}\s?\((?P<columns>[^()]{1,2000}+)\)\s{0,5}values\s{0,5}(?=\()", re.IGNORECASE
)
_COLUMN: Final = re.compile(r"[^\s,\"`']+")
_VALUE: Final = re.compile(
    r"\s{0,9}(?:E?'(?P<single>[^'\\]*+(?:(?:\\.|'')[^'\\]*+)*+)'|\"(?P<double>[^\"\\]*+)\"|(?P<bare>[^\s,()'\"]++(?:\([^()]*\))?)\s{0,9})\s{0,9}(?P<more>[,)])",
    re.DOTALL,
)
_MOST_VALUES: Final = 10_000
_NEXT_ROW: Final = re.compile(r"\s{0,9},\s{0,9}\(")
_REPORTED: Final = re.compile(r"\[SQL: (?P<statement>[^\]]{1,8000}+)\]\s{0,4}\[parameters: \[?(?=\()")
_BOUND_COLUMN: Final = re.compile(
    r"(?P<column>[\w.]{1,100})[\"`]?\s{0,3}(?:=|<>|!=|[<>]=?|like)\s{0,3}(?:\?|%s|\$\d|:\w)", re.IGNORECASE
)


def find_inserted(text: str, kind_of: Callable[[str], Kind | None]) -> Iterator[Found]:
    """Find values that are inserted into secret columns, in each row."""
    for insert in _INSERT.finditer(text):
        names = _COLUMN.findall(insert["columns"])
        kinds = [(name, kind_of(name)) for name in names]
        if any(kind for _, kind in kinds):
            yield from _in_rows(text, insert.end() + 1, kinds)


def find_bound(text: str, kind_of: Callable[[str], Kind | None]) -> Iterator[Found]:
    """Find values that are bound to secret columns, in the text of SQLAlchemy's errors."""
    for report in _REPORTED.finditer(text):
        insert = _INSERT.search(report["statement"])
        pattern, columns = (_COLUMN, insert["columns"]) if insert else (_BOUND_COLUMN, report["statement"])
        kinds = [(name, kind_of(name)) for name in pattern.findall(columns)]
        if any(kind for _, kind in kinds):
            yield from _in_rows(text, report.end() + 1, kinds)


def _in_rows(text: str, position: int, kinds: list[tuple[str, Kind | None]]) -> Iterator[Found]:
    column = 0
    for _ in range(_MOST_VALUES):
        value = _VALUE.match(text, position)
        if value is None:
            return
        group = next(group for group in ("single", "double", "bare") if value[group] is not None)
        name, kind = kinds[column] if column < len(kinds) else ("", None)
        if kind is not None and not (group == "bare" and value[group].startswith(("?", "%", ":", "$"))):
            for start, end in secret_spans(kind, value[group]):
                yield Found(
                    value.start(group) + start, value.start(group) + end, kind.rule, f"value of the column {name!r}"
                )
        position, column = value.end(), column + 1
        if value["more"] == ")":
            following = _NEXT_ROW.match(text, position)
            if following is None:
                return
            position, column = following.end(), 0
