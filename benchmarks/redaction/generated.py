"""A small language for lines of log that hold generated secrets.

A template is the line as it would be written, with fields in braces where something is generated:

- `{h32}`, `{w20-40}`: so many characters of an alphabet (see `ALPHABETS`),
- `{live|test}`: one of these,
- `{uuid}`, `{password}`, `{jwt}`, ...: a thing of that name (see `THINGS`), or what the caller gives under it.

Whatever stands between « and » is a secret: it must not be in the line after redaction. The signs themselves are
taken out at the very end, after everything that encodes a line, so that they mark what the secret has become.
"""

from __future__ import annotations

import base64
import json
import re
import string
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

_HEX: Final = string.digits + "abcdef"
_ALPHANUMERIC: Final = string.ascii_letters + string.digits

ALPHABETS: Final = {
    "d": string.digits,
    "h": _HEX,
    "H": _HEX.upper(),
    "z": string.ascii_lowercase,
    "Z": string.ascii_uppercase,
    "m": string.ascii_letters,
    "l": string.ascii_lowercase + string.digits,
    "u": string.ascii_uppercase + string.digits,
    "a": _ALPHANUMERIC,
    "w": _ALPHANUMERIC + "_-",
    "b": _ALPHANUMERIC + "+/",
    "r": string.ascii_lowercase + "234567",
    "R": string.ascii_uppercase + "234567",
    "x": _ALPHANUMERIC + "!#$%*+-.@^_~",
}
"""`r` is base32, `b` base64, `w` its form for addresses, `x` what password generators draw from."""

WORDS: Final = (
    "amber",
    "anchor",
    "basin",
    "birch",
    "cedar",
    "cobalt",
    "delta",
    "ember",
    "falcon",
    "garnet",
    "harbor",
    "indigo",
    "juniper",
    "kestrel",
    "lagoon",
    "maple",
    "nimbus",
    "orchid",
    "pebble",
    "quartz",
    "raven",
    "saffron",
    "thistle",
    "umber",
    "velvet",
    "willow",
    "yarrow",
    "zephyr",
)

_FIELD: Final = re.compile(
    r"\{(?:(?P<alphabet>[A-Za-z])(?P<least>\d+)(?:-(?P<most>\d+))?"
    r"|(?P<choice>[\w.:/ -]*(?:\|[\w.:/ -]*)+)|(?P<name>[a-z_]+))\}"
)
_SECRET: Final = re.compile("«([^»]*)»")


@dataclass(frozen=True, slots=True)
class Item:
    """A record of a log, of one line or several, and what must not be left of it."""

    kind: str
    category: str
    line: str
    secrets: tuple[str, ...]


def characters(random: Random, alphabet: str, least: int, most: int) -> str:
    """Return between `least` and `most` characters of an alphabet."""
    return "".join(random.choices(ALPHABETS[alphabet], k=random.randint(least, most)))


def fill(template: str, random: Random, **given: str) -> str:
    """Return `template` with its fields filled; `given` goes before things of the same name, and stays as it is."""

    def field(match: re.Match[str]) -> str:
        if name := match["name"]:
            return given.get(name) or THINGS[name](random)
        if match["choice"]:
            return random.choice(str(match["choice"]).split("|"))
        least = int(match["least"])
        return characters(random, match["alphabet"], least, int(match["most"] or least))

    return _FIELD.sub(field, template)


def item(kind: str, category: str, marked: str) -> Item:
    """Return a marked line as an item."""
    secrets = tuple(dict.fromkeys(_SECRET.findall(marked)))
    if not secrets or not all(secrets):
        raise ValueError(f"a line of {kind} marks no secret")
    return Item(kind, category, re.sub("[«»]", "", marked), secrets)


def base64_json(**values: object) -> str:
    """Return values as JSON in base64 for addresses, as the parts of a JSON web token are."""
    return base64.urlsafe_b64encode(json.dumps(values, separators=(",", ":")).encode()).decode().rstrip("=")


def _jwt(random: Random) -> str:
    header = base64_json(alg=random.choice(("HS256", "RS256", "ES256")), typ="JWT")
    claims = base64_json(sub=characters(random, "l", 12, 12), iat=random.randint(1_700_000_000, 1_800_000_000))
    return f"{header}.{claims}.{characters(random, 'w', 43, 43)}"


def _password(random: Random) -> str:
    word, other, third = random.sample(WORDS, 3)
    number = random.randint(2, 9999)
    return random.choice(
        (
            f"{word.capitalize()}{number}{random.choice('!#$*')}",
            f"{word}{number}",
            f"{word}-{other}-{third}-{number}",
            characters(random, "a", 10, 20) + str(number),
            characters(random, "a", 2, 4) + characters(random, "x", 8, 16) + characters(random, "a", 2, 4),
        )
    )


def _uuid(random: Random) -> str:
    digits = characters(random, "h", 32, 32)
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def _time(random: Random) -> str:
    day, hour, minute, second, fraction = (random.randint(*bounds) for bounds in _TIME)
    return f"2026-03-{day:02} {hour:02}:{minute:02}:{second:02},{fraction:03}"


_TIME: Final = ((1, 28), (0, 23), (0, 59), (0, 59), (0, 999))

THINGS: Final[dict[str, Callable[[Random], str]]] = {
    "uuid": _uuid,
    "jwt": _jwt,
    "password": _password,
    "time": _time,
    "moment": lambda random: _time(random).replace(" ", "T").replace(",", ".") + "Z",
    "common_time": lambda random: f"{random.randint(1, 28):02}/Mar/2026:{_time(random)[11:19]} +0000",
    "word": lambda random: random.choice(WORDS),
    "user": lambda random: random.choice(("ada", "grace", "linus", "app", "svc-orders", "deploy", "root", "reporting")),
    "logger": lambda random: random.choice(("app.main", "orders.tasks", "billing.client", "root", "core.db", "worker")),
    "level": lambda random: random.choice(("DEBUG", "INFO", "WARNING", "ERROR")),
    "host": lambda random: f"{random.choice(WORDS)}.{random.choice(('internal', 'example.com', 'svc.cluster.local'))}",
    "site": lambda random: f"{random.choice(WORDS)}.example.com",
    "ip": lambda random: ".".join(str(random.randint(1, 254)) for _ in range(4)),
    "number": lambda random: str(random.randint(1, 99_999)),
}
"""Things by name, each made of a source of randomness."""
