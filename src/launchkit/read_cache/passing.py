"""What becomes of the app's responses: they are stored while they pass, or the stored one is given instead.

The rules:

- A response is stored with its last chunk, before that chunk is sent: an immediate second read must hit.
- When the app confirms a stale response with 304, or fails while it may still be given, the stored one is the answer.
- Others may be waiting for the response. They are let go as soon as it is stored, or known not to be; whatever becomes
  of the request, at its end at the latest.
- What could not be stored is remembered for `UNCACHEABLE_SECONDS`, so that nobody waits for it.
- Every response says in Cache-Status what happened (RFC 9211).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import CacheKey, Fetch, InstantResponseStore, Steps, Store, StoreDown, StoredResponse
from launchkit.pipeline.exchange import Exchange
from launchkit.pipeline.interceptor import Interceptor
from launchkit.read_cache.answers import CACHE, as_asked, whole
from launchkit.read_cache.figures import Tally
from launchkit.read_cache.flights import Flights
from launchkit.read_cache.key import names_of
from launchkit.read_cache.passage import PASSAGE, Passage
from launchkit.read_cache.recent import KnownVary, RecentKeys
from launchkit.read_cache.sharing import forbid_sharing
from launchkit.read_cache.storing import Storage, Terms, Unstorable, storage_of, tags_of
from launchkit.read_cache.tee import Room, Tee
from launchkit.read_cache.validation import for_this_client, updated

UNCACHEABLE_SECONDS: Final = 60.0
"""Seconds for which requests do not wait for what could not be stored."""
TOO_LARGE_SECONDS: Final = 3600.0
"""The same where it has announced that it is too large, which few responses cease to be."""
FAILING_SECONDS: Final = 5.0
"""Seconds for which a stale response is given without another try, after the app has failed."""

FAILURES: Final = frozenset({500, 502, 503, 504})
"""What counts as an error for `stale-if-error` (RFC 5861 section 4)."""

_PASSING: Final = frozenset({206, 304, 400, 401, 403, 412, 416, 429, *range(500, 600)})
"""Statuses that say nothing about whether the next response can be stored."""


@dataclass(slots=True)
class Shared:
    """What all rules of a kit have in common."""

    clock: Clock
    store: InstantResponseStore
    """What is asked at once, without an effect, because the most frequent answer of all should cost nothing more."""
    room: Room
    """What responses under way may take."""
    tally: Tally = field(default_factory=Tally)
    flights: Flights = field(default_factory=Flights)
    vary: KnownVary = field(default_factory=KnownVary)
    uncacheable: RecentKeys = field(default_factory=RecentKeys)
    failing: RecentKeys = field(default_factory=RecentKeys)

    def begin_process(self, room: int) -> None:
        """Start over in the child of a fork: what is under way is the parent's, and so may the locks be."""
        self.tally.begin_process()
        self.flights.begin_process()
        self.vary, self.uncacheable, self.failing = KnownVary(), RecentKeys(), RecentKeys()
        self.room = Room(room)


class PassingResponses(Interceptor):
    """The response half of the cache on paths that have something in common.

    Args:
        terms: how their responses may be stored.
        label: the route label of answers whose own is not known.
        max_body: bytes of a body that is stored at most.
        shared: what the other rules use too.
    """

    name = "read_cache"

    def __init__(self, terms: Terms, label: str, max_body: int, shared: Shared) -> None:
        self._terms = terms
        self._label = label
        self._max_body = max_body
        self._shared = shared
        self._now = shared.clock.monotonic
        self._unix_now = shared.clock.time
        self._tally = shared.tally

    # --- the response -----------------------------------------------------------------------------------------------

    def on_response_start(self, exchange: Exchange) -> Steps[None] | None:
        """Decide whether to store the response, or to give the stored one in its place, and say what happened."""
        passage = PASSAGE.get(exchange)
        if passage is None:
            return None
        stale = passage.stale
        if stale is not None and exchange.status == 304:
            return self._confirm(exchange, passage, stale)
        if stale is not None and exchange.status in FAILURES:
            now = self._now()
            if now < max(stale.stale_until, stale.error_until):
                self._stand_in(exchange, passage, stale, now)
                return None
        self._consider(exchange, passage)
        return None

    def _count(self, passage: Passage, outcome: str) -> None:
        """Count the request once, though an app may start its response twice."""
        if not passage.is_counted and passage.bypass is None:
            passage.is_counted = True
            self._tally.count(outcome)

    def _consider(self, exchange: Exchange, passage: Passage) -> bool:
        """Store the response while it passes, if it may be stored; tell whether."""
        self._count(passage, "misses")
        personal = passage.is_personal or exchange.is_identified  # by a layer inside of the kit as well
        storage = self._begin_tee(exchange, passage, self._storage(exchange, passage, personal=personal))
        detail = b""
        if isinstance(storage, Storage):
            detail = b"; stored"
        else:
            if storage is not None:
                detail = b"; detail=" + storage.encode()
            is_large = storage is Unstorable.TOO_LARGE  # as it announces itself
            self._give_up(exchange, passage, storage, TOO_LARGE_SECONDS if is_large else UNCACHEABLE_SECONDS)
            if self._is_to_be_kept_private(exchange, personal=personal):
                forbid_sharing(exchange)
        if passage.status.startswith(b"fwd=bypass"):
            detail = b""
        exchange.response_headers.append((b"cache-status", CACHE + passage.status + detail))
        return isinstance(storage, Storage)

    def _is_to_be_kept_private(self, exchange: Exchange, *, personal: bool) -> bool:
        """Tell whether a response that was not stored must not be shared by caches further out either."""
        return personal or b"set-cookie" in exchange.response_names

    def _storage(self, exchange: Exchange, passage: Passage, *, personal: bool) -> Storage | Unstorable | None:
        if passage.key is None:
            return None
        headers = exchange.response_headers
        return storage_of(exchange.status, headers, self._terms, self._unix_now(), personal=personal)

    def _give_up(
        self, exchange: Exchange, passage: Passage, reason: Unstorable | None, seconds: float = UNCACHEABLE_SECONDS
    ) -> None:
        """Let the others go on: nothing of this response will be stored."""
        if reason is not None and passage.bypass is None:
            self._tally.unstorable(reason)
        if passage.key is not None and passage.bypass is None and exchange.status not in _PASSING:
            self._shared.uncacheable.add(passage.key, self._now() + seconds)
        self._land(passage)

    def _begin_tee(
        self, exchange: Exchange, passage: Passage, storage: Storage | Unstorable | None
    ) -> Storage | Unstorable | None:
        """Copy the response while it passes, if it may be stored and does not announce too much."""
        self._end_tee(passage)
        if not isinstance(storage, Storage):
            return storage
        tee = Tee.of(exchange, passage.received or exchange, storage, self._now(), self._max_body, self._shared.room)
        if tee.is_too_large:
            return Unstorable.TOO_LARGE
        passage.tee = tee
        if self._on_body not in exchange.body_hooks:
            exchange.watch_body(self._on_body)
        return storage

    @staticmethod
    def _end_tee(passage: Passage) -> None:
        tee, passage.tee = passage.tee, None
        if tee is not None:
            tee.close()

    def _on_body(self, exchange: Exchange, chunk: bytes, last: bool) -> Steps[None] | None:
        passage = PASSAGE.get(exchange)
        if passage is None or passage.tee is None or passage.key is None:
            return None
        tee = passage.tee
        if not tee.add(chunk):
            self._end_tee(passage)
            self._give_up(exchange, passage, Unstorable.TOO_LARGE)
            return None
        return self._store(exchange, passage, passage.key, tee) if last else None

    def _store(self, exchange: Exchange, passage: Passage, key: CacheKey, tee: Tee) -> Steps[None]:
        response = tee.response()
        self._end_tee(passage)
        if response is None:
            return
        yield from self._keep(exchange, passage, key, response, tee.storage.tags)
        self._land(passage)

    def _keep(
        self, exchange: Exchange, passage: Passage, key: CacheKey, response: StoredResponse, tags: tuple[str, ...]
    ) -> Steps[None]:
        """Store a response. Where it is not there then, the requests that wait for it would wait in vain again."""
        try:
            yield from Store(key, response, names_of(exchange, tags), passage.moment)
            kept, _ = yield from Fetch(key, exchange)
        except StoreDown:
            kept = None
        if kept is not response:
            self._shared.uncacheable.add(key, self._now() + 1.0)
            return
        passage.stored = response
        self._tally.count("stored")
        self._shared.vary.learn(key, response.vary)
        self._shared.uncacheable.discard(key)
        self._shared.failing.discard(key)

    # --- the stored response in place of the app's ------------------------------------------------------------------

    def _confirm(self, exchange: Exchange, passage: Passage, stale: StoredResponse) -> Steps[None]:
        """The app says that the stale response is still right: bring it up to date and give it."""
        now = self._now()
        try:
            fresh = updated(stale, exchange.response_headers, self._terms, self._unix_now(), now, personal=False)
        except BaseException:  # a 304 that the client has not asked for must not reach it
            self._replace(exchange, passage, stale, now, b"fwd=stale; fwd-status=304")
            raise
        given = fresh or for_this_client(stale, exchange.response_headers)
        self._replace(exchange, passage, given, now, b"fwd=stale; fwd-status=304")
        if b"set-cookie" in exchange.response_names:
            forbid_sharing(exchange)
        self._count(passage, "misses")
        self._tally.count("revalidated")
        if fresh is not None and passage.key is not None:
            yield from self._keep(exchange, passage, passage.key, fresh, tags_of(fresh.headers, self._terms))
        self._land(passage)

    def _stand_in(self, exchange: Exchange, passage: Passage, stale: StoredResponse, now: float) -> None:
        """The app has failed: give the stale response."""
        status = b"fwd=stale; fwd-status=%d; detail=stale-if-error" % exchange.status
        self._replace(exchange, passage, stale, now, status)
        self._count(passage, "failed")
        if passage.key is not None:
            self._shared.failing.add(passage.key, now + FAILING_SECONDS)
        self._land(passage)

    def _replace(self, exchange: Exchange, passage: Passage, stored: StoredResponse, now: float, status: bytes) -> None:
        answer = whole(stored, now, status, self._label)
        exchange.replace_response(as_asked(answer, stored, exchange, holds=passage.is_held))
        passage.stale = None

    # --- the end ----------------------------------------------------------------------------------------------------

    def on_complete(self, exchange: Exchange) -> None:
        """Let another request go, if this one has not brought what the others wait for."""
        passage = PASSAGE.get(exchange)
        if passage is not None:
            self._land(passage)
            self._end_tee(passage)
            if passage.stored is not None and exchange.route is not None:
                passage.stored.route = exchange.route

    @staticmethod
    def _land(passage: Passage) -> None:
        flight, passage.flight = passage.flight, None
        if flight is not None:
            flight.end()
