"""The histogram: where durations go, and how exact the answers are."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchkit.timing.histogram import BUCKETS, Histogram, bucket_of, edge

IN_RANGE = st.floats(min_value=2**-14, max_value=128.0)
ANY_DURATION = st.floats(min_value=0.0, max_value=1e6)


def histogram_of(durations: Iterable[float], threshold: float = 0.5) -> Histogram:
    histogram = Histogram(threshold)
    for seconds in durations:
        histogram.record(seconds, bucket_of(seconds))
    return histogram


def state(histogram: Histogram) -> tuple[object, ...]:
    return histogram.buckets, histogram.count, histogram.above, histogram.max


def true_quantile(durations: list[float], q: float) -> float:
    return sorted(durations)[max(1, math.ceil(q * len(durations))) - 1]


def mixture(share: float, few: tuple[float, float], many: tuple[float, float]) -> list[float]:
    """Return durations of two log-normal modes, each a (median, sigma), with `share` of them from the first."""
    source = random.Random(7)
    modes = source.choices([few, many], [share, 1 - share], k=20_000)
    return [source.lognormvariate(math.log(median), sigma) for median, sigma in modes]


DISTRIBUTIONS = {
    "one mode at 80 ms": mixture(0, (1, 1), (0.08, 0.6)),
    "one mode at 250 ms": mixture(0, (1, 1), (0.25, 0.5)),
    "6 % at 900 ms": mixture(0.06, (0.9, 0.25), (0.02, 0.25)),
    "4.8 % at 3 s": mixture(0.048, (3.0, 0.3), (0.04, 0.3)),
    "5.5 % at 1.2 s": mixture(0.055, (1.2, 0.3), (0.03, 0.3)),
    "cold starts of 8 s": mixture(0.01, (8.0, 0.2), (0.012, 0.2)),
}


@pytest.mark.parametrize("durations", DISTRIBUTIONS.values(), ids=DISTRIBUTIONS)
@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
def test_quantiles_are_within_their_bound_whatever_the_shape(durations: list[float], q: float) -> None:
    """The answer differs from the one that sorting gives by at most 2.2 %, between two modes too."""
    answer = histogram_of(durations).quantile(q)

    assert answer == pytest.approx(true_quantile(durations, q), rel=0.022)


@given(st.lists(IN_RANGE, min_size=1, max_size=60), st.floats(min_value=0.0, max_value=1.0))
def test_every_quantile_of_every_sample_is_within_its_bound(durations: list[float], q: float) -> None:
    """From 61 us to 128 s the error is at most 2.2 %, and never beyond the longest duration."""
    answer = histogram_of(durations).quantile(q)

    assert answer is not None
    assert answer == pytest.approx(true_quantile(durations, q), rel=0.022)
    assert answer <= max(durations)


def test_nothing_has_no_quantile() -> None:
    """Without durations there is no p95, rather than one of zero."""
    assert Histogram(0.5).quantile(0.95) is None


@given(ANY_DURATION)
def test_every_duration_has_a_bucket(seconds: float) -> None:
    """No duration falls outside, and those in range lie between their bucket's edges but for rounding."""
    bucket = bucket_of(seconds)

    assert 0 <= bucket < BUCKETS
    if 2**-14 < seconds <= 128:
        assert edge(bucket - 1) * (1 - 1e-12) <= seconds <= edge(bucket) * (1 + 1e-12)


def test_buckets_around_a_second_are_as_wide_as_all_others() -> None:
    """Truncating a logarithm towards zero would make the bucket around one second twice as wide."""
    widths = [edge(bucket) / edge(bucket - 1) for bucket in range(1, BUCKETS)]

    assert widths == pytest.approx([2 ** (1 / 16)] * (BUCKETS - 1))
    assert bucket_of(1.0 * 1.01) == bucket_of(1.0) + 1
    assert bucket_of(1.0 / 1.01) == bucket_of(1.0)
    assert bucket_of(1.0 / 1.05) == bucket_of(1.0) - 1


@pytest.mark.parametrize("octave", range(-13, 7))
def test_a_duration_on_an_edge_is_below_it(octave: int) -> None:
    """`le` of Prometheus means at most."""
    seconds = 2.0**octave

    assert edge(bucket_of(seconds)) == seconds
    assert bucket_of(math.nextafter(seconds, 0)) in (bucket_of(seconds), bucket_of(seconds) - 1)


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(-1.0, 0), (0.0, 0), (2**-14, 0), (math.nextafter(2**-14, 1), 0), (128.0, 335), (129.0, 335), (1e9, 335)],
)
def test_what_is_out_of_range_is_counted_at_the_ends(seconds: float, bucket: int) -> None:
    """A duration of zero and one of hours are counted, not lost and not an error."""
    assert bucket_of(seconds) == bucket


@given(st.lists(st.lists(ANY_DURATION, max_size=20), min_size=3, max_size=3))
def test_merging_is_the_same_in_any_order_as_recording_everything(parts: list[list[float]]) -> None:
    """Counts of several slots add up exactly, however they are grouped."""
    everything = state(histogram_of(itertools.chain.from_iterable(parts)))

    for order in itertools.permutations(parts):
        first, second, third = map(histogram_of, order)
        second.merge(third)
        first.merge(second)
        assert state(first) == everything


@given(st.lists(ANY_DURATION, max_size=40), st.floats(min_value=0.001, max_value=10))
def test_the_share_above_the_threshold_is_exact(durations: list[float], threshold: float) -> None:
    """However close a duration is to the threshold, it is counted on its side."""
    assert histogram_of(durations, threshold).above == sum(seconds > threshold for seconds in durations)


@given(st.lists(ANY_DURATION, max_size=40), st.lists(st.integers(0, BUCKETS - 1), max_size=8))
def test_cumulative_counts_are_those_of_the_buckets(durations: list[float], buckets: list[int]) -> None:
    """What is at most in a bucket is what is in it and in all below."""
    buckets.sort()

    counts = histogram_of(durations).at_most(buckets)

    assert counts == [sum(bucket_of(seconds) <= bucket for seconds in durations) for bucket in buckets]


def test_sum_count_and_longest_are_kept() -> None:
    """Means and the longest duration are exact."""
    histogram = histogram_of([0.25, 2.0, 0.75])

    assert (histogram.count, histogram.sum, histogram.max) == (3, 3.0, 2.0)
