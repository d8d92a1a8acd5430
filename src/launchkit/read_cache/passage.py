"""What is known of a request that the cache has let pass to the app."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from launchkit.pipeline.effects import CacheKey, StoredResponse
from launchkit.pipeline.exchange import Note, RequestHeaders
from launchkit.read_cache.bypass import Bypass
from launchkit.read_cache.flights import Flight
from launchkit.read_cache.tee import Tee


@dataclass(slots=True)
class Passage:
    """One request on its way through the app."""

    status: bytes
    """What Cache-Status will say, after the name of the cache."""
    key: CacheKey | None = None
    """Where the response may be stored, or None if nowhere."""
    received: RequestHeaders | None = None
    """The request headers as they were before the app could change them."""
    moment: object = None
    """When the store was asked, in its own terms."""
    bypass: Bypass | None = None
    flight: Flight | None = None
    """What others may be waiting for, while this request leads it."""
    stale: StoredResponse | None = None
    """What was found, and may be confirmed by the app or given if it fails."""
    is_held: bool = False
    """Whether the client already has `stale`."""
    tee: Tee | None = None
    stored: StoredResponse | None = None
    """What was made of the response."""
    is_counted: bool = False

    @property
    def is_personal(self) -> bool:
        """Whether the request may say who is asking."""
        return self.bypass is not None and self.bypass.is_personal


PASSAGE: Final[Note[Passage]] = Note("read_cache")
