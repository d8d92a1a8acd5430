"""The read cache beside hishel's, an RFC 9111 cache by other hands, on generated sequences of requests to one URL.

The rules: at each step both caches either give what they have stored or ask the origin, and they must do the same:
whose answer is given, its status and body, its header fields and its age. Where they differ, one of the known
differences must say why; and each of these must still be there, so that none hides anything when it is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.read_cache.oracle import MODIFIED, Answer, Caches, Round, Step
from tests.read_cache.oracle_differences import DIFFERENCES, TAGGED, Case, basis_of, explain, get


@pytest.fixture(name="caches")
def _caches() -> Iterator[Caches]:
    caches = Caches()
    yield caches
    caches.close()


CONTROLS = [
    None,
    "public",
    "max-age=10",
    "max-age=60",
    "s-maxage=10",
    "public, max-age=60",
    "max-age=10, s-maxage=60",
    "max-age=60, s-maxage=0",
    "max-age=0",
    "max-age=60, must-revalidate",
    "max-age=60, proxy-revalidate",
    "no-store, max-age=60",
    "private, max-age=60",
    "no-cache, max-age=60",
    'no-cache="x-user", max-age=60',
    'private="x-user", max-age=60',
    "no-store, must-understand, max-age=60",
    "max-age=10, stale-if-error=60",
]
HEADERS = {
    "authorization": ["Bearer secret"],
    "cookie": ["session=1"],
    "if-none-match": ['"a"', 'W/"b"', "*"],
    "if-modified-since": [MODIFIED],
    "accept-language": ["de", "en"],
    "range": ["bytes=0-2"],
    "cache-control": ["no-cache"],
}
FIELDS: dict[str, list[Any]] = {
    "control": CONTROLS,
    "status": [203, 204, 301, 302, 404, 410, 500],
    "expires": [10, 60, -5, "0"],
    "date": [-5, -30, 5, None],
    "age": [0, 5, 30, 100],
    "etag": ['"a"', 'W/"a"', '"b"', None],
    "modified": [True, False],
    "vary": ["accept-language", "*"],
    "cookie": [True],
}
some_fields = st.lists(st.sampled_from(sorted(FIELDS)), max_size=3, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: st.sampled_from(FIELDS[name]) for name in names})
)
some_headers = st.lists(st.sampled_from(sorted(HEADERS)), max_size=2, unique=True).flatmap(
    lambda names: st.tuples(*(st.tuples(st.just(name), st.sampled_from(HEADERS[name])) for name in names))
)


@st.composite
def scripts(draw: st.DrawFn) -> list[Step]:
    """Return steps whose answers are much alike, so that what is stored is often given, and often validated."""
    control = draw(st.sampled_from(["max-age=60", "s-maxage=10"]) | st.sampled_from(CONTROLS))
    usual = Answer(
        control,
        expires=draw(st.sampled_from([None, 60])),
        etag=draw(st.sampled_from(['"a"', None])),
        vary=draw(st.sampled_from([None, "accept-language"])),
    )
    usual = replace(usual, **draw(some_fields))
    return [
        Step(
            answer=replace(usual, **draw(some_fields)) if draw(st.booleans()) else usual,
            method=draw(st.sampled_from(["GET"] * 7 + ["HEAD", "POST", "DELETE"])),
            headers=draw(some_headers) if draw(st.booleans()) else (),
            wait=draw(st.sampled_from([0, 1, 5, 9, 10, 11, 30, 59, 60, 61, 700])),
        )
        for _ in range(draw(st.integers(2, 6)))
    ]


@settings(
    max_examples=800, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example([get(TAGGED), get(TAGGED, wait=30), get(TAGGED, wait=30), get(TAGGED, wait=30)])
@given(script=scripts())
def test_the_caches_agree_or_a_known_difference_says_why_not(caches: Caches, script: list[Step]) -> None:
    """RFC 9111 sections 3, 4 and 5, as two implementations read them; Age as in section 4.2.3."""
    rounds: list[Round] = []
    for one in caches.play(script):
        rounds.append(one)
        case = Case(rounds)
        assert case.differs_in is None or explain(case), (case.differs_in, *rounds)
        if one.ours.outcome == "stored":
            assert one.ours.headers["age"] == str(int(case.age(basis_of(one.ours.headers)))), rounds


@pytest.mark.parametrize("name", DIFFERENCES)
def test_each_difference_is_there(caches: Caches, name: str) -> None:
    """A difference that is gone must go from the list, so that it hides nothing; each can be seen in a few steps."""
    case = Case(list(caches.play(DIFFERENCES[name].shown_by)))
    assert name in explain(case), case.rounds[-1]
