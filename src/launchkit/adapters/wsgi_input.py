"""Streams that stand in for `wsgi.input` once the kit has read from it, or counts what is read."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from launchkit.pipeline.exchange import EarlyResponse


class LimitedInput(io.RawIOBase):
    """A request body of which no more than so many bytes can be read.

    `error` makes what is raised where more is read: what the framework that reads takes for the client's mistake.
    """

    error: Callable[[str], Exception] = OSError

    def __init__(self, source: Any, limit: int, too_large: EarlyResponse) -> None:
        self._source = source
        self._room = limit
        self.too_large = too_large
        self.is_exceeded = False

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read on; an error once there was more than is let through."""
        data = b"" if self.is_exceeded else self._source.read(min(len(buffer), self._room + 1))
        self._room -= len(data)
        self.is_exceeded = self._room < 0
        if self.is_exceeded:
            raise self.error("the request body is larger than it may be")
        buffer[: len(data)] = data
        return len(data)


class RejoinedInput(io.RawIOBase):
    """What was read of a request body, in front of what was not."""

    def __init__(self, data: bytes, rest: Any) -> None:
        self._data = memoryview(data)
        self.rest = rest

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read from the one, then from the other."""
        source: Any = self._data[: len(buffer)]
        self._data = self._data[len(source) :]
        if not source:
            source = self.rest.read(len(buffer))
        buffer[: len(source)] = source
        return len(source)


def limited_within(stream: Any) -> LimitedInput | None:
    """Return the limit on a `wsgi.input`, also under what was read of it already; None if there is none."""
    raw = getattr(stream, "raw", None)
    return (
        limited_within(raw.rest) if isinstance(raw, RejoinedInput) else raw if isinstance(raw, LimitedInput) else None
    )


def read_up_to(stream: Any, size: int) -> bytes:
    """Read so many bytes, fewer only where the stream ends before."""
    parts = []
    while size > 0 and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
