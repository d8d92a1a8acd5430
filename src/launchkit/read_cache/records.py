"""A stored response as bytes, for a store that other processes and machines read too.

The rules:

- A record is a version, a checksum of the rest, fixed-size fields, the lengths of all texts, and the texts. What has
  another version, a wrong checksum or a wrong length is no record: it is never half a response, and never an error.
- The checksum is 16 bytes of BLAKE2b. A CRC of 32 bits lets one in four billion damaged records pass, which is too many
  for something that is shown to people; this one costs 2 us more for a small page and lets none pass.
- Monotonic times mean nothing elsewhere, so the moment of birth goes out in seconds since 1970 and everything else in
  seconds after birth. A record that seems to be from the future was born now: its age is never negative, and it is
  never fresh for longer than it was made for, however the machines' clocks differ or jump.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import Names, StoredResponse

_VERSION: Final = b"\x01"
_CHECKSUM: Final = 16
_START: Final = len(_VERSION) + _CHECKSUM
_FIELDS: Final = struct.Struct("!HddddBIII")
"""Status, birth, three lifetimes, whether it is public, and how many headers, `vary` entries and names there are."""


class Record(NamedTuple):
    """A response and what it can be invalidated by."""

    response: StoredResponse
    names: Names


def encode(record: Record, clock: Clock) -> bytes:
    """Return the record as bytes."""
    response, names = record
    parts = [part for header in response.headers for part in header]
    parts += response.vary
    parts += map(_optional, response.varied)
    parts += map(_encoded, names)
    parts += _optional(None if response.route is None else _encoded(response.route)), response.body
    born = response.stored
    fields = _FIELDS.pack(
        response.status,
        clock.time() - (clock.monotonic() - born),
        response.fresh_until - born,
        response.stale_until - born,
        response.error_until - born,
        response.is_public,
        len(response.headers),
        len(response.vary),
        len(names),
    )
    lengths = struct.pack(f"!{len(parts)}I", *map(len, parts))
    return _sealed(b"".join((fields, lengths, *parts)))


def decode(data: bytes, clock: Clock) -> Record | None:
    """Return the record that `encode` made these bytes of, its times in this process's terms, or None."""
    payload = memoryview(data)[_START:]
    if not data.startswith(_VERSION) or data[len(_VERSION) : _START] != _checksum(payload):
        return None
    try:
        return _read(data, clock)
    except (struct.error, UnicodeError):
        return None


def _read(data: bytes, clock: Clock) -> Record | None:
    status, birth, fresh, stale, error, is_public, headers, vary, names = _FIELDS.unpack_from(data, _START)
    parts = _parts(data, 2 * headers + 2 * vary + names + 2)
    if parts is None:
        return None
    born = clock.monotonic() - max(0.0, clock.time() - birth)
    response = StoredResponse(
        status=status,
        headers=tuple([(next(parts), next(parts)) for _ in range(headers)]),
        vary=tuple(islice(parts, vary)),
        varied=tuple(map(_if_there, islice(parts, vary))),
        stored=born,
        fresh_until=born + fresh,
        stale_until=born + stale,
        error_until=born + error,
        is_public=bool(is_public),
        body=b"",
    )
    its_names = tuple(map(_decoded, islice(parts, names)))
    route = _if_there(next(parts))
    response.route = None if route is None else _decoded(route)
    response.body = next(parts)
    return Record(response, its_names)


def _parts(data: bytes, count: int) -> Iterator[bytes] | None:
    """Return the texts one after the other; None if their lengths are not those of the data."""
    start = _START + _FIELDS.size
    lengths = struct.unpack_from(f"!{count}I", data, start)
    start += 4 * count
    return _slices(data, start, lengths) if start + sum(lengths) == len(data) else None


def _slices(data: bytes, start: int, lengths: tuple[int, ...]) -> Iterator[bytes]:
    for length in lengths:
        end = start + length
        yield data[start:end]
        start = end


def _sealed(payload: bytes) -> bytes:
    return b"".join((_VERSION, _checksum(payload), payload))


def _checksum(payload: bytes | memoryview) -> bytes:
    return hashlib.blake2b(payload, digest_size=_CHECKSUM).digest()


def _optional(value: bytes | None) -> bytes:
    return b"" if value is None else b"=" + value


def _if_there(part: bytes) -> bytes | None:
    return part[1:] if part else None


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # a decoded path may hold what is no character


def _decoded(part: bytes) -> str:
    return part.decode("utf-8", "surrogatepass")
