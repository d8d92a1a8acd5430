"""The read cache's place in a request: asks the policy, looks up, answers or lets the app run and keeps a copy.

The rules:

- Only paths of a rule are touched, and a path that may never be cached is none of them, whatever the rules say.
- A request that may not use the cache reaches the app as it came, but for a public rule, under which no GET or HEAD
  shows the app who is asking. A request that may use it reaches the app without cookies in any case, so that what is
  stored cannot be personal.
- Of the requests for a stale entry, one at a time goes to the app, without its conditions, so that the app's answer is
  whole; the others are given the stale response.
- A response is stored with its last chunk, before that chunk is sent: an immediate second read must hit.
- A response that is personal, by its request or by a cookie that it sets, and every response of a `never` path leaves
  with `Cache-Control: private, no-store` unless the app has set one, so that no cache further out shares it.
- A store that is down is a miss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import Fetch, Steps, Store, StoreDown, StoredResponse
from launchkit.pipeline.exchange import EarlyResponse, Exchange, Header, Note
from launchkit.pipeline.interceptor import Interceptor
from launchkit.pipeline.paths import PathPattern
from launchkit.read_cache.figures import CacheFigures, Tally
from launchkit.read_cache.key import cache_key, select_variant, varied_by
from launchkit.read_cache.policy import HIDEABLE, request_bypass, sets_cookie, storage_of
from launchkit.read_cache.reuse import answer_from
from launchkit.read_cache.revalidation import Lease, Revalidations
from launchkit.read_cache.tee import Tee, headers_to_store
from launchkit.settings import CacheRule, ReadCacheSettings

_COOKIE: Final = frozenset({b"cookie"})
_CONDITIONS: Final = frozenset({b"if-modified-since", b"if-none-match"})


class ReadCache(Interceptor):
    """Chooses the interceptor for a path: the first rule that covers it, or `NeverCached`.

    Args:
        settings: the rules, and paths that no rule may cover.
        never: further such paths.
        clock: the kit's clock.
    """

    name = "read_cache"

    def __init__(self, settings: ReadCacheSettings, never: tuple[str, ...], clock: Clock) -> None:
        self._tally = Tally()
        self._never_cached = NeverCached()
        self._never = frozenset(PathPattern(text) for text in (*settings.never, *never))
        self._by_pattern: dict[PathPattern, RuleCache] = {}
        revalidations = Revalidations()
        for rule in settings.rules.values():
            for pattern in map(PathPattern, rule.paths):
                bound = RuleCache(rule, pattern.text, self._tally, revalidations, clock)
                self._by_pattern.setdefault(pattern, bound)
        self.patterns = (*self._by_pattern, *self._never)

    def select(self, method: str, matched: frozenset[PathPattern]) -> Interceptor | None:
        """Return what GET and HEAD requests on such a path go through."""
        if method not in ("GET", "HEAD"):
            return None
        if not matched.isdisjoint(self._never):
            return self._never_cached
        return next((bound for pattern, bound in self._by_pattern.items() if pattern in matched), None)

    def figures(self) -> CacheFigures:
        """Return what the cache has done so far."""
        return self._tally.figures()


class NeverCached(Interceptor):
    """Keeps responses out of caches further out."""

    name = "read_cache"

    def on_response_start(self, exchange: Exchange) -> None:
        """Forbid sharing."""
        _forbid_sharing(exchange.response_headers)


@dataclass(slots=True)
class _Passage:
    """What is known of a request that goes on to the app."""

    status: bytes
    """What Cache-Status will say."""
    personal: bool = False
    key: bytes | None = None
    """Where the response may be stored; None after a bypass."""
    lease: Lease | None = None
    tee: Tee | None = None


_PASSAGE: Final[Note[_Passage]] = Note("read_cache")


class RuleCache(Interceptor):
    """The cache on the paths of one rule's pattern. `ReadCache` makes it."""

    name = "read_cache"

    def __init__(self, rule: CacheRule, route: str, tally: Tally, revalidations: Revalidations, clock: Clock) -> None:
        self._rule = rule
        self._route = route
        self._tally = tally
        self._revalidations = revalidations
        self._clock = clock

    def on_request(self, exchange: Exchange) -> Steps[EarlyResponse | None] | None:
        """Let the request pass by the cache, or look it up."""
        reason = request_bypass(exchange, public=self._rule.public)
        if self._rule.public:
            exchange.hide_request_headers(HIDEABLE)
        if reason is None:
            return self._look_up(exchange)
        self._tally.bypass(reason)
        status = b"LaunchKit; fwd=bypass; detail=" + reason.encode()
        _PASSAGE.put(exchange, _Passage(status, personal=reason.personal))
        return None

    def _look_up(self, exchange: Exchange) -> Steps[EarlyResponse | None]:
        key = cache_key(exchange)
        try:
            stored = select_variant((yield from Fetch(key)), exchange)
        except StoreDown:
            stored = None
        now = self._clock.monotonic()
        if stored is None or now >= stored.stale_until:
            self._forward(exchange, _Passage(b"LaunchKit; fwd=miss", key=key))
            return None
        if now < stored.fresh_until:
            return self._answer(exchange, stored, now)
        lease = self._revalidations.begin((key, stored.vary, stored.varied), now)
        if lease is None:
            return self._answer(exchange, stored, now)
        exchange.hide_request_headers(_CONDITIONS)
        self._forward(exchange, _Passage(b"LaunchKit; fwd=stale", key=key, lease=lease))
        return None

    def _answer(self, exchange: Exchange, stored: StoredResponse, now: float) -> EarlyResponse:
        self._tally.hit()
        return answer_from(stored, exchange, now, self._route)

    def _forward(self, exchange: Exchange, passage: _Passage) -> None:
        self._tally.miss()
        _PASSAGE.put(exchange, passage)
        if exchange.header(b"cookie") is not None:
            exchange.hide_request_headers(_COOKIE)

    def on_response_start(self, exchange: Exchange) -> None:
        """Decide whether to store the response, and say what happened."""
        passage = _PASSAGE.get(exchange)
        if passage is None:
            return
        headers = exchange.response_headers
        passage.tee = None if passage.key is None else self._tee(exchange, passage.key)
        if passage.personal or sets_cookie(headers):
            _forbid_sharing(headers)
        headers.append((b"cache-status", passage.status))

    def _tee(self, exchange: Exchange, key: bytes) -> Tee | None:
        headers = exchange.response_headers
        storage = storage_of(exchange.status, headers, self._rule, self._clock.time())
        if storage is None:
            return None
        return Tee(
            key=key,
            status=exchange.status,
            headers=headers_to_store(headers),
            lengths=frozenset(value.strip() for name, value in headers if name.lower() == b"content-length"),
            storage=storage,
            varied=varied_by(exchange, storage.vary),
            now=self._clock.monotonic(),
            limit=self._rule.max_body,
        )

    def on_body(self, exchange: Exchange, chunk: bytes, last: bool) -> Steps[None] | None:
        """Copy the chunk; with the last one, store the response."""
        passage = _PASSAGE.get(exchange)
        if passage is None or passage.tee is None:
            return None
        tee = passage.tee
        if exchange.error is not None or not tee.add(chunk):
            passage.tee = None
            return None
        return self._store(tee) if last else None

    def _store(self, tee: Tee) -> Steps[None]:
        response = tee.response()
        if response is None:
            return
        try:
            yield from Store(tee.key, response)
        except StoreDown:
            return
        self._tally.stored()

    def on_complete(self, exchange: Exchange) -> None:
        """Let another request fetch anew what this one has, or has not."""
        passage = _PASSAGE.get(exchange)
        if passage is not None and passage.lease is not None:
            self._revalidations.end(passage.lease)


def _forbid_sharing(headers: list[Header]) -> None:
    if not any(name.lower() == b"cache-control" for name, _ in headers):
        headers.append((b"cache-control", b"private, no-store"))
