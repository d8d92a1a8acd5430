"""A stored response as bytes: what comes back is what went in, or nothing."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchkit.pipeline.effects import StoredResponse
from launchkit.read_cache import records
from launchkit.read_cache.records import Record, decode, encode
from launchkit.testing import FrozenClock

TIMES = ("stored", "fresh_until", "stale_until", "error_until")
PRECISION = 1e-5
"""Seconds: what is left of a double that holds the seconds since 1970, and some."""

seconds = st.floats(0, 1e6)
texts = st.text(st.characters(), max_size=20)  # of any code point, surrogates too
small = st.binary(max_size=20)


@st.composite
def responses(draw: st.DrawFn) -> StoredResponse:
    varied = draw(st.lists(st.tuples(small, st.none() | small), max_size=3))
    stored = draw(st.floats(-1e6, 1_000))
    return StoredResponse(
        status=draw(st.integers(100, 599)),
        headers=tuple(draw(st.lists(st.tuples(small, small), max_size=5))),
        body=draw(st.binary(max_size=300)),
        stored=stored,
        fresh_until=stored + draw(seconds),
        stale_until=stored + draw(seconds),
        error_until=stored + draw(seconds),
        vary=tuple(name for name, _ in varied),
        varied=tuple(value for _, value in varied),
        is_public=draw(st.booleans()),
        route=draw(st.none() | texts),
    )


all_records = st.builds(Record, responses(), st.lists(texts, max_size=5).map(tuple))


def a_record(**fields: object) -> Record:
    response = StoredResponse(200, ((b"etag", b'"1"'),), b"hello", 990.0, 1_050.0, 1_060.0, 1_070.0)
    return Record(dataclasses.replace(response, **fields), ("all:", "path:/"))


@given(all_records)
def test_a_record_comes_back_as_it_was(record: Record) -> None:
    """Every field survives; times to within microseconds, as they go through seconds since 1970."""
    clock = FrozenClock()
    back = decode(encode(record, clock), clock)
    assert back is not None
    assert back.names == record.names
    for field in dataclasses.fields(StoredResponse):
        before, after = getattr(record.response, field.name), getattr(back.response, field.name)
        assert after == (pytest.approx(before, abs=PRECISION) if field.name in TIMES else before), field.name


@given(all_records, st.data())
def test_a_byte_that_changed_makes_it_no_record(record: Record, data: st.DataObject) -> None:
    """Wherever it is and whatever it becomes."""
    clock = FrozenClock()
    damaged = bytearray(encode(record, clock))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    assert decode(bytes(damaged), clock) is None


@given(all_records, st.data())
def test_a_part_of_a_record_is_no_record(record: Record, data: st.DataObject) -> None:
    """Nor is a record with something behind it."""
    clock = FrozenClock()
    whole = encode(record, clock)
    assert decode(whole[: data.draw(st.integers(0, len(whole) - 1))], clock) is None
    assert decode(whole + data.draw(st.binary(min_size=1, max_size=9)), clock) is None


@given(st.binary(max_size=200))
def test_other_bytes_are_no_record(data: bytes) -> None:
    """Whatever else stands under our keys is as good as nothing."""
    assert decode(data, FrozenClock()) is None


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda rest: bytes(48) + rest))
def test_well_sealed_nonsense_is_never_an_error(payload: bytes) -> None:
    """Even with the right version and checksum, what cannot be read is no record."""
    assert isinstance(decode(records._sealed(payload), FrozenClock()), Record | None)


def test_a_text_that_is_none_makes_it_no_record() -> None:
    """Lengths that fit and a checksum that is right do not make a name of bytes that are no UTF-8."""
    clock = FrozenClock()
    whole = encode(Record(a_record().response, ("tag:blue",)), clock)
    assert decode(records._sealed(whole[17:].replace(b"blue", b"\xff\xff\xff\xff")), clock) is None
    assert decode(records._sealed(whole[17:].replace(b"blue", b"gray")), clock).names == ("tag:gray",)


def test_lengths_that_do_not_fit_make_it_no_record() -> None:
    """What was sealed with a byte too many or too few is nothing that `encode` has made."""
    clock = FrozenClock()
    payload = encode(a_record(), clock)[17:]
    assert decode(records._sealed(payload), clock) is not None
    assert decode(records._sealed(payload + b"x"), clock) is None
    assert decode(records._sealed(payload[:-1]), clock) is None


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_version_is_no_record(version: int) -> None:
    """Older and newer machines may share the server during a deploy."""
    clock = FrozenClock()
    whole = encode(a_record(), clock)
    assert decode(whole, clock) is not None
    assert decode(bytes([version]) + whole[1:], clock) is None


def test_age_goes_on_while_a_record_travels() -> None:
    """Machines have different monotonic clocks; the age of a response is the same on all (RFC 9111 section 4.2.3)."""
    here, there = FrozenClock(), FrozenClock(monotonic_seconds=5.0, unix_seconds=1_700_000_030.0)
    response = decode(encode(a_record(), here), there).response
    assert there.monotonic() - response.stored == pytest.approx(40)
    assert response.fresh_until - there.monotonic() == pytest.approx(20)
    assert response.stale_until - there.monotonic() == pytest.approx(30)
    assert response.error_until - there.monotonic() == pytest.approx(40)


@given(all_records, st.floats(-1e9, 1e9))
def test_no_clock_makes_a_record_younger_than_new(record: Record, jump: float) -> None:
    """Its age is never negative, and it is never fresh for longer than it was made for, wherever the clock went."""
    here, there = FrozenClock(), FrozenClock()
    there.unix_seconds += jump
    response = decode(encode(record, here), there).response
    now = there.monotonic()
    assert response.stored <= now
    for name in TIMES:
        life = getattr(record.response, name) - record.response.stored
        assert getattr(response, name) - now <= life + PRECISION
