"""Lines that look as if they held a secret, and hold none.

They are what people have complained of that redaction took away: identifiers, digests, counts, names of loggers and
files, placeholders, and sentences that speak of passwords.
"""

from __future__ import annotations

import json
from random import Random
from typing import Final

from benchmarks.redaction.generated import characters, fill
from benchmarks.redaction.trap_lines import IDENTIFIERS, NAMES, NUMBERS, OTHERS, PLACEHOLDERS, SENTENCES

LINES: Final = 1000
"""At least so many lines."""

TRAPS: Final = (*IDENTIFIERS, *NUMBERS, *NAMES, *PLACEHOLDERS, *SENTENCES, *OTHERS)

_ENVELOPES: Final = ("{}", "{time} {level} {logger} {}", "{level}:{logger}:{}", "[{moment}] {level} {}", "web-1  | {}")


def traps(seed: int) -> list[str]:
    """Return at least `LINES` different lines, each template as it is, in plain logging and in JSON."""
    random = Random(f"{seed} traps")
    lines: dict[str, None] = {}
    while len(lines) < LINES:
        for template in TRAPS:
            lines[_line(template, random)] = None
    return list(lines)


def _line(template: str, random: Random) -> str:
    text = fill(template, random)
    if random.random() < 1 / (len(_ENVELOPES) + 1):
        return json.dumps({"level": "info", "msg": text, "id": characters(random, "h", 16, 16)})
    return fill(random.choice(_ENVELOPES), random).replace("{}", text)
