"""The secrets, each in a line of log as a real one would be. Nothing of it is written down: a seed makes all of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Final

from benchmarks.redaction import contexts
from benchmarks.redaction.encodings import ENCODED
from benchmarks.redaction.generated import Item, fill, item
from benchmarks.redaction.keys import APPLICATIONS, PROVIDERS
from benchmarks.redaction.prefixes import PREFIXED
from benchmarks.redaction.structures import STRUCTURES

CATEGORIES: Final = ("prefix", "keyed", "structural", "encoded")
LINES: Final = 5
"""Lines of each kind."""

_ENVELOPES: Final[tuple[Callable[[str, Random], str], ...]] = (
    lambda text, _: text,
    lambda text, random: fill("{time} {level} {logger} ", random) + text,
    lambda text, random: fill("{level}:{logger}:", random) + text,
    lambda text, _: json.dumps({"level": "info", "message": text, "worker": 2}, ensure_ascii=False),
    lambda text, random: fill("app-1  | {moment} [info     ] ", random) + text,
)


def secrets(seed: int) -> list[Item]:
    """Return `LINES` lines of every kind."""
    return [*_prefixed(seed), *_keyed(seed), *_structural(seed), *_encoded(seed)]


def _prefixed(seed: int) -> Iterator[Item]:
    for kind, form in PREFIXED.items():
        random = Random(f"{seed} {kind}")
        for index in _places(random, len(contexts.BARE)):
            yield item(kind, "prefix", contexts.bare(index, fill(form, random), random))


def _keyed(seed: int) -> Iterator[Item]:
    for kind, (spellings, form) in (PROVIDERS | APPLICATIONS).items():
        random = Random(f"{seed} key {kind}")
        keys = spellings.split("|")
        for number, index in enumerate(_places(random, len(contexts.KEYED))):
            value = fill(form, random)
            yield item(f"key-{kind}", "keyed", contexts.keyed(index, keys[number % len(keys)], value, random))


def _structural(seed: int) -> Iterator[Item]:
    for kind, templates in STRUCTURES.items():
        random = Random(f"{seed} {kind}")
        first = random.randrange(len(_ENVELOPES))
        for number in range(LINES):
            text = fill(templates[number % len(templates)], random)
            envelope = _ENVELOPES[(first + number) % len(_ENVELOPES)]
            yield item(kind, "structural", envelope(text, random))


def _encoded(seed: int) -> Iterator[Item]:
    for kind, recipe in ENCODED.items():
        random = Random(f"{seed} {kind}")
        for _ in range(LINES):
            yield item(kind, "encoded", recipe(random))


def _places(random: Random, count: int) -> Iterator[int]:
    """Yield `LINES` places of `count`, far from each other, from a random one on."""
    first = random.randrange(count)
    return ((first + number * count // LINES) % count for number in range(LINES))
