"""A histogram of durations with buckets of equal ratio, so that every quantile is about as exact as any other.

The rules:

- There are 16 buckets to a factor of two (scale 4 of OpenTelemetry's exponential histograms), 336 of them from 61 us
  to 128 s. Bucket `i` holds the durations above `edge(i - 1)` and up to `edge(i)`, as the `le` of Prometheus has it.
  What is shorter or longer is counted in the first or last bucket.
- A quantile is answered with the harmonic middle of its bucket, which is within 2.2 % of every duration in it.
- How many durations were above one threshold is counted beside the buckets, so that it is exact wherever the edges are.
- Only buckets in use take memory, and histograms of the same threshold add up in any order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

BUCKETS: Final = 336

_PER_OCTAVE: Final = 16
_TOP: Final = 7 * _PER_OCTAVE  # 128 s is two to the seventh
_LAST: Final = BUCKETS - 1


def edge(bucket: int) -> float:
    """Return the longest duration that belongs into a bucket, in seconds."""
    return math.exp2((bucket - _LAST + _TOP) / _PER_OCTAVE)


_FIRST_EDGE: Final = edge(0)
_LAST_EDGE: Final = edge(_LAST)


def bucket_of(seconds: float) -> int:
    """Return the bucket that a duration belongs into."""
    if seconds <= _FIRST_EDGE:
        return 0
    if seconds >= _LAST_EDGE:
        return _LAST
    # int() cuts towards zero. Counted down from the top its argument is never negative, so that it rounds one way on
    # both sides of a second, and a duration on an edge falls into the bucket below.
    return _LAST - int(_TOP - math.log2(seconds) * _PER_OCTAVE)


class Histogram:
    """Durations in seconds: how many of each size, their sum, the longest, and how many were above `threshold`.

    Not safe to change from several threads at once.
    """

    __slots__ = ("above", "buckets", "count", "max", "sum", "threshold")

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.above = 0
        self.buckets: dict[int, int] = {}
        self.count = 0
        self.max = 0.0
        self.sum = 0.0

    def record(self, seconds: float, bucket: int) -> None:
        """Count one duration. `bucket` is its `bucket_of`, which the caller may need more than once."""
        buckets = self.buckets
        buckets[bucket] = buckets.get(bucket, 0) + 1
        self.count += 1
        self.sum += seconds
        if seconds > self.max:
            self.max = seconds
        if seconds > self.threshold:
            self.above += 1

    def merge(self, other: Histogram) -> None:
        """Add the durations of another histogram of the same threshold."""
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count
        self.count += other.count
        self.sum += other.sum
        self.max = max(self.max, other.max)
        self.above += other.above

    def quantile(self, q: float) -> float | None:
        """Return the smallest duration that a share `q` of all do not exceed, in seconds; None without any.

        The answer is within 2.2 % for durations from 61 us to 128 s. Of fewer than 20 durations the 0.95 quantile is
        the longest.
        """
        rank = max(1, math.ceil(q * self.count))
        seen = 0
        for bucket, count in sorted(self.buckets.items()):
            seen += count
            if seen >= rank:
                low, high = edge(bucket - 1), edge(bucket)
                return min(2 * low * high / (low + high), self.max)
        return None

    def at_most(self, buckets: Iterable[int]) -> list[int]:
        """Return for each of some buckets, given in rising order, how many durations are in it or in a lower one."""
        filled = sorted(self.buckets.items())
        counts = []
        position = seen = 0
        for bucket in buckets:
            while position < len(filled) and filled[position][0] <= bucket:
                seen += filled[position][1]
                position += 1
            counts.append(seen)
        return counts
