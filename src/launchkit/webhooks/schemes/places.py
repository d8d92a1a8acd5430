"""Where a scheme finds things: in a request's headers, in an item of its signature header, in its JSON body."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from launchkit.webhooks.schemes.scheme import Message


class Header:
    """A request header; of several spellings the first that was sent with a value."""

    def __init__(self, *names: str) -> None:
        self.names = tuple(name.lower().encode("ascii") for name in names)

    def read(self, message: Message) -> bytes:
        """Return its value, empty where it was not sent."""
        return next((value for name in self.names if (value := message.header(name))), b"")

    def __str__(self) -> str:
        return self.names[0].decode()


@dataclass(frozen=True, slots=True)
class Item:
    """An item of the signature header, known by what it begins with, such as `t=`."""

    prefix: bytes


class Field:
    """A field of the JSON body, by its dotted path; of several the first that is there."""

    def __init__(self, *paths: str) -> None:
        self._paths = tuple(tuple(path.split(".")) for path in paths)

    def read(self, content: Mapping[str, object]) -> object:
        """Return its value, None where there is none."""
        found = (_at(content, path) for path in self._paths)
        return next((value for value in found if value is not None), None)


def parse(body: bytes) -> Mapping[str, object]:
    """Return the fields of a JSON object; none of them for a body that is anything else."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def word(value: object) -> str:
    """Return `value` if it can be a name in a log line and a key in a table, else nothing."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    elif isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) and re.fullmatch(r"[\x21-\x7e]{1,255}", value) else ""


def _at(value: object, path: tuple[str, ...]) -> object:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value
