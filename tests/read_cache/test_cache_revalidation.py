from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from launchkit.read_cache.revalidation import LEASE_SECONDS, MAX_LEASES, Revalidations


def test_one_request_at_a_time_fetches_an_entry_anew() -> None:
    """A second one is refused until the first has ended."""
    revalidations = Revalidations()
    lease = revalidations.begin(b"a", now=0)
    assert lease is not None
    assert revalidations.begin(b"a", now=1) is None
    assert revalidations.begin(b"b", now=1) is not None
    revalidations.end(lease)
    assert revalidations.begin(b"a", now=1) is not None


def test_a_lease_runs_out() -> None:
    """A request that hangs keeps nobody else from trying."""
    revalidations = Revalidations()
    revalidations.begin(b"a", now=0)
    assert revalidations.begin(b"a", now=LEASE_SECONDS - 0.1) is None
    assert revalidations.begin(b"a", now=LEASE_SECONDS) is not None


def test_a_late_end_frees_nobody_elses_lease() -> None:
    """A request that outlived its lease has nothing to give back."""
    revalidations = Revalidations()
    late = revalidations.begin(b"a", now=0)
    current = revalidations.begin(b"a", now=LEASE_SECONDS)
    assert late is not None
    assert current is not None
    revalidations.end(late)
    assert revalidations.begin(b"a", now=LEASE_SECONDS) is None
    revalidations.end(current)
    revalidations.end(current)
    assert len(revalidations) == 0


def test_leases_are_bounded() -> None:
    """However many entries are asked for, memory holds so many leases, and room comes back with time."""
    revalidations = Revalidations()
    granted = [revalidations.begin(number, now=0) for number in range(MAX_LEASES + 50)]
    assert sum(lease is not None for lease in granted) == len(revalidations) == MAX_LEASES
    assert revalidations.begin(b"later", now=LEASE_SECONDS) is not None
    assert len(revalidations) == 1


def test_of_many_threads_one_gets_the_lease() -> None:
    """Taking a lease is one step."""
    revalidations = Revalidations()
    with ThreadPoolExecutor(8) as pool:
        granted = list(pool.map(lambda _: revalidations.begin(b"a", now=0), range(200)))
    assert sum(lease is not None for lease in granted) == 1
