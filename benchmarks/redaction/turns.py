"""Rounds in which every variant takes its turn over the same part of its inputs."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from benchmarks.in_process import Rounds

ROUNDS = 25


@dataclass(frozen=True, slots=True)
class Variant:
    """Something that is called with one input after another, within `around`."""

    call: Callable[[Any], object]
    inputs: Sequence[Any]
    around: Callable[[], AbstractContextManager[object]] = nullcontext

    def turn(self, number: int) -> float:
        """Return the CPU microseconds for an input, over every `ROUNDS`th of them."""
        inputs, call = self.inputs[number::ROUNDS], self.call
        with self.around():
            started = time.process_time()
            for one in inputs:
                call(one)
            return (time.process_time() - started) / len(inputs) * 1e6


def take_turns(variants: dict[str, Variant]) -> Rounds:
    """Measure all variants in interleaved rounds, each over its own part of the inputs; each is warmed up."""
    names = list(variants)
    result = Rounds("", {name: [] for name in names}, {name: len(variants[name].inputs) // ROUNDS for name in names})
    for variant in variants.values():
        variant.turn(0)
    for number in range(ROUNDS):
        gc.collect()
        first = number % len(names)
        for name in names[first:] + names[:first]:
            result.microseconds[name].append(variants[name].turn(number))
    return result
