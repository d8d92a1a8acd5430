"""The read cache's place in a request: which part of it a path goes through.

The rules:

- A path that may never be cached is no other path's business: its responses are only kept out of caches further out,
  whatever the rules say.
- Of several rules that cover a path the first in the settings counts. Where none does, a response is stored only if it
  says itself how long it is fresh.
- Whatever is neither a GET nor a HEAD, nor safe otherwise, invalidates what it has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import InstantResponseStore, Names
from launchkit.pipeline.interceptor import Interceptor
from launchkit.pipeline.paths import PathPattern
from launchkit.read_cache.explicit import ExplicitCache
from launchkit.read_cache.figures import CacheFigures
from launchkit.read_cache.flights import Flights
from launchkit.read_cache.key import names_to_invalidate
from launchkit.read_cache.passing import Shared
from launchkit.read_cache.route import CachedRoute
from launchkit.read_cache.sharing import NeverCached
from launchkit.read_cache.storing import Terms
from launchkit.read_cache.tee import Room
from launchkit.read_cache.unsafe import UnsafeRequests
from launchkit.settings import CacheRule, ReadCacheSettings

MAX_BODY: Final = 2_000_000
"""Bytes of a body that is stored at most where no rule says otherwise."""

ROOM_SHARE: Final = 2
"""Responses under way may take one part in so many of what stored ones may."""

_READING: Final = frozenset({"GET", "HEAD"})
_SAFE: Final = frozenset({"OPTIONS", "TRACE", "CONNECT", "QUERY"})


class ReadCache(Interceptor):
    """Chooses the interceptor for a request, and is what an app invalidates with.

    Args:
        settings: the rules, and paths that no rule may cover.
        never: further such paths.
        clock: the kit's clock.
        store: what keeps the responses, until `use` names another.
        open_store: opens the store that is to be used in this process, if that has not happened, and calls `use`.
    """

    name = "read_cache"

    def __init__(
        self,
        settings: ReadCacheSettings,
        never: tuple[str, ...],
        clock: Clock,
        store: InstantResponseStore,
        open_store: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._open_store = open_store
        self._shared = shared = Shared(clock, store, Room(settings.size // ROOM_SHARE))
        self._never_cached = NeverCached()
        self._never = frozenset(PathPattern(text) for text in (*settings.never, *never))
        self._by_pattern: dict[PathPattern, CachedRoute] = {}
        for rule in settings.rules.values():
            for pattern in map(PathPattern, rule.paths):
                self._by_pattern.setdefault(pattern, self._route(rule, pattern.text))
        self._explicit = ExplicitCache(self._terms(), MAX_BODY, shared)
        self._unsafe = UnsafeRequests(shared)
        self.patterns = (*self._by_pattern, *self._never)

    def _route(self, rule: CacheRule, label: str) -> CachedRoute:
        return CachedRoute(self._terms(rule), label, rule.max_body, self._shared, public=rule.public)

    def _terms(self, rule: CacheRule | None = None) -> Terms:
        settings = self._settings
        return Terms(
            ttl=None if rule is None else rule.ttl,
            stale_while_revalidate=0.0 if rule is None else rule.stale_while_revalidate,
            stale_if_error=settings.stale_if_error,
            vary=() if rule is None else tuple(name.encode("ascii") for name in rule.vary),
            tags=() if rule is None else rule.tags,
            heuristics=settings.heuristics,
            targets=tuple(name.encode("ascii") for name in settings.targets),
        )

    def select(self, method: str, matched: frozenset[PathPattern]) -> Interceptor | None:
        """Return what requests like this go through."""
        if method not in _READING:
            return None if method in _SAFE else self._unsafe
        if not matched.isdisjoint(self._never):
            return self._never_cached
        by_rule = (route for pattern, route in self._by_pattern.items() if pattern in matched)
        return next(by_rule, self._explicit)

    @property
    def flights(self) -> Flights:
        """What is being made at this moment."""
        return self._shared.flights

    def use(self, store: InstantResponseStore) -> None:
        """Keep the responses in another store."""
        self._shared.store = store

    def invalidate(self, path: str | None = None, *, prefix: str | None = None, tag: str | None = None) -> None:
        """Let nothing stored be used again: of a path, of all paths below a prefix, of a tag; without any, at all.

        To be called after the change, from anywhere: it never waits and never raises for a store that is down. What is
        being made at this moment from what was there before the change is not stored either.

        Args:
            path: like `/items/1`, with or without the prefix that the app is mounted under; all its queries are meant.
            prefix: like `/items`, which means that path and all below it.
            tag: one of a rule's `tags`, of a response's `Cache-Tag` header, or of `kit.cached`.

        Raises:
            LaunchKitError: for a path or prefix that does not begin with a slash.
        """
        self.invalidate_names(names_to_invalidate(path, prefix, tag))

    def invalidate_names(self, names: Names) -> None:
        """Let nothing of these names be used again."""
        self._open_store()
        self._shared.tally.count("invalidations")
        self._shared.store.invalidate_soon(names)

    def begin_process(self) -> None:
        """Start over in the child of a fork, whose locks may be held by threads that it does not have."""
        self._shared.begin_process(self._settings.size // ROOM_SHARE)

    def figures(self) -> CacheFigures:
        """Return what the cache has done so far."""
        return self._shared.tally.figures()
