"""The cache on all other paths: for responses that themselves say how long they are fresh.

The rules:

- Until one of a path's responses has been stored nothing is looked up. The key is made before the app runs all the
  same, because apps change their requests, and take credentials out of them.
- Which paths have stored something is known by a bit for each, so that it takes no memory for each; a bit that is set
  by another path only costs a look-up.
- Nobody waits for anybody before something of that very resource has been stored.
- A response that sets a cookie or answers a request that said who is asking is kept out of caches further out, see
  `sharing`.
"""

from __future__ import annotations

from typing import Final

from launchkit.pipeline.effects import CacheKey, Steps
from launchkit.pipeline.exchange import EarlyResponse, Exchange, Note, RequestHeaders
from launchkit.read_cache.bypass import Bypass, examine
from launchkit.read_cache.key import cache_key
from launchkit.read_cache.passage import PASSAGE, Passage
from launchkit.read_cache.passing import Shared
from launchkit.read_cache.route import CachedRoute
from launchkit.read_cache.sharing import forbid_sharing
from launchkit.read_cache.storing import Terms

LABEL: Final = "(cached)"
"""The route label of answers whose own is not known."""

_BITS: Final = 1 << 16
_PLAIN: Final[Note[tuple[CacheKey | None, RequestHeaders | None, object, Bypass | None]]] = Note("read_cache_plain")
"""Key, headers, moment and bypass of a request to a path of which nothing has been stored."""
_VALIDATORS: Final = frozenset({b"etag", b"last-modified"})


class ExplicitCache(CachedRoute):
    """The cache where no rule covers the path.

    Args:
        terms: how responses may be stored.
        max_body: bytes of a body that is stored at most.
        shared: what the rules use too.
    """

    def __init__(self, terms: Terms, max_body: int, shared: Shared) -> None:
        super().__init__(terms, LABEL, max_body, shared, by_rule=False)
        self._has_stored = bytearray(_BITS)
        said = {b"cache-control", b"expires", *terms.targets}
        self._freshness = frozenset(said | {b"last-modified"} if terms.heuristics else said)

    def on_request(self, exchange: Exchange) -> EarlyResponse | Steps[EarlyResponse | None] | None:
        """Look up what may have been stored."""
        if self._has_stored[hash(exchange.path) % _BITS]:
            return super().on_request(exchange)
        asked = examine(exchange, public=False, by_rule=False)
        key = cache_key(exchange, asked) if asked.bypass is None and exchange.method == "GET" else None
        received = None if key is None else exchange.headers_as_received()
        _PLAIN.put(exchange, (key, received, self._shared.store.moment(), asked.bypass))
        return None

    def on_response_start(self, exchange: Exchange) -> Steps[None] | None:
        """Store what says that it may be stored."""
        plain = _PLAIN.get(exchange)
        if plain is None:
            return super().on_response_start(exchange)
        key, received, moment, bypass = plain
        if key is not None and not exchange.response_names.isdisjoint(self._freshness):
            passage = Passage(b"fwd=miss", key, received, moment)
            if self._consider(exchange, passage):
                exchange.cache = "miss"
                PASSAGE.put(exchange, passage)
                self._has_stored[hash(exchange.path) % _BITS] = 1
        elif self._is_to_be_kept_private(exchange, personal=bypass is not None and bypass.is_personal):
            forbid_sharing(exchange)
        return None

    def _is_to_be_kept_private(self, exchange: Exchange, *, personal: bool) -> bool:
        names = exchange.response_names
        return b"set-cookie" in names or (personal and names.isdisjoint(_VALIDATORS))
