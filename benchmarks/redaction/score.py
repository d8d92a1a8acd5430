"""How much the redaction hides of what is secret, and how much it changes of what is not.

Run `python -m benchmarks.redaction.score`; `--missed` prints the lines whose secret is left, `--changed` what was
changed for nothing. The status is 1 if a target is missed. Everything is made anew from the seed, but for the clean
lines, which are what the programs of this environment say when they are run (`clean.py`).
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks.redaction.clean import LEAST, clean
from benchmarks.redaction.corpus import CATEGORIES, secrets
from benchmarks.redaction.generated import Item
from benchmarks.redaction.traps import traps
from benchmarks.report import Target
from launchkit.redaction.engine import Redactor
from launchkit.settings import RedactionSettings

LEAST_RECALL: Final = 97.0
MOST_CLEAN: Final = 0.02
MOST_TRAPS: Final = 1.0
"""Per cent."""

Redact = Callable[[str], str]


@dataclass
class Hidden:
    """What was hidden of the secrets."""

    items: Sequence[Item]
    missed: list[Item] = field(default_factory=list)
    unstable: list[Item] = field(default_factory=list)
    """What comes out otherwise if it is redacted twice."""

    @property
    def recall(self) -> float:
        return share(len(self.items) - len(self.missed), len(self.items))

    def of(self, category: str) -> Hidden:
        """Return the part of one category."""
        return Hidden(*([item for item in items if item.category == category] for items in self._parts()))

    def kinds(self) -> tuple[int, int]:
        """Return how many kinds were hidden in every line, and how many there are."""
        all_kinds = {item.kind for item in self.items}
        return len(all_kinds - {item.kind for item in self.missed}), len(all_kinds)

    def missed_kinds(self) -> dict[str, int]:
        """Return how many lines of each kind were missed, of those that were."""
        counts: dict[str, int] = defaultdict(int)
        for item in self.missed:
            counts[item.kind] += 1
        return counts

    def _parts(self) -> tuple[Sequence[Item], list[Item], list[Item]]:
        return self.items, self.missed, self.unstable


@dataclass
class Changed:
    """What was changed of lines that hold no secret."""

    lines: Sequence[str]
    changed: list[tuple[str, str]]

    @property
    def share(self) -> float:
        return share(len(self.changed), len(self.lines))


def share(part: int, whole: int) -> float:
    """Return a part in per cent."""
    return 100 * part / max(whole, 1)


def hide(items: Sequence[Item], redact: Redact) -> Hidden:
    """Redact lines with secrets. A secret is missed if all of it is still in the line."""
    hidden = Hidden(items)
    for item in items:
        redacted = redact(item.line)
        if any(secret in redacted for secret in item.secrets):
            hidden.missed.append(item)
        if redact(redacted) != redacted:
            hidden.unstable.append(item)
    return hidden


def spare(lines: Sequence[str], redact: Redact) -> Changed:
    """Redact lines without secrets."""
    return Changed(lines, [(line, redacted) for line in lines if (redacted := redact(line)) != line])


def targets(hidden: Hidden, cleaned: Changed, trapped: Changed) -> list[Target]:
    """Return what was promised beside what is."""
    return [
        Target("recall", hidden.recall, LEAST_RECALL, "%", "", "at least"),
        Target("clean lines", len(cleaned.lines), LEAST, "lines", "", "at least"),
        Target("changed clean lines", cleaned.share, MOST_CLEAN, "%", ""),
        Target("changed traps", trapped.share, MOST_TRAPS, "%", ""),
        Target("lines that change when redacted again", len(hidden.unstable), 0, "lines", ""),
    ]


def main() -> None:
    """Print the score, and end with status 1 if a target is missed."""
    arguments = _arguments()
    redact = Redactor(RedactionSettings(), mask_emails=False).redact
    hidden = hide(secrets(arguments.seed), redact)
    trapped = spare(traps(arguments.seed), redact)
    cleaned = spare(clean(), redact)
    _print_table(hidden)
    _print_changed("clean lines", cleaned)
    _print_changed("traps", trapped)
    if arguments.missed:
        _print_missed(hidden)
    if arguments.changed:
        _print_differences([*cleaned.changed, *trapped.changed])
    promised = targets(hidden, cleaned, trapped)
    print(*promised, sep="\n")
    sys.exit(not all(target.met for target in promised))


def _print_table(hidden: Hidden) -> None:
    print(f"{'':12}{'lines':>7}{'recall':>9}{'kinds wholly':>16}")
    for name, part in [("all", hidden), *((category, hidden.of(category)) for category in CATEGORIES)]:
        whole, kinds = part.kinds()
        print(f"{name:12}{len(part.items):7}{part.recall:8.1f}%{whole:9} of {kinds}")
    missed = hidden.missed_kinds()
    print("missed kinds:", ", ".join(f"{kind} ({count})" for kind, count in missed.items()) or "none")


def _print_changed(what: str, changed: Changed) -> None:
    length = sum(map(len, changed.lines)) / max(len(changed.lines), 1)
    print(f"{what}: {len(changed.changed)} changed of {len(changed.lines)} ({length:.0f} characters on average)")


def _print_missed(hidden: Hidden) -> None:
    for item in hidden.missed:
        print(f"\nmissed {item.category} {item.kind}\n  {item.line}")
    for item in hidden.unstable:
        print(f"\nunstable {item.category} {item.kind}\n  {item.line}")


def _print_differences(differences: Iterable[tuple[str, str]]) -> None:
    for before, after in differences:
        print(f"\n- {before}\n+ {after}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.redaction.score", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="what the generated lines are made from")
    parser.add_argument("--missed", action="store_true", help="print the lines whose secret is left")
    parser.add_argument("--changed", action="store_true", help="print the lines that are changed for nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
