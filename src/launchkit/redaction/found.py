"""What a finder reports, and what takes the place of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

MARKER: Final = re.compile(r"\[redacted:[a-z0-9-]+(?::[0-9a-f]{8})?\]")
"""What has taken the place of a secret: the rule's id, and a fingerprint where the app wants one."""


class Found(NamedTuple):
    """A secret in a text: the characters from `start` to before `end`."""

    start: int
    end: int
    rule: str
    """The rule's id, which readers of the log get to see: `stripe-secret-key`."""
    reason: str
    """Why it is taken for a secret, without anything of it: `value of the key 'password'`."""


Finder = Callable[[str], Iterable[Found]]
"""Finds secrets of some kind in a text, in time linear in its length. What it reports may overlap."""


def marker(rule: str, fingerprint: str = "") -> str:
    """Return what takes the place of a secret."""
    return f"[redacted:{rule}:{fingerprint}]" if fingerprint else f"[redacted:{rule}]"
