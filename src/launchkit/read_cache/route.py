"""The cache on the paths of one rule: looks up, answers, or lets the app run.

The rules:

- A request that may not use the cache reaches the app as it came, but for a public rule, under which no GET or HEAD
  shows the app who is asking. A request that may use it reaches the app without cookies in any case, so that what is
  stored cannot be personal.
- A request that says who is asking is given a stored response only if that says `public` or `s-maxage`, and only such a
  response of its own is stored.
- Of the requests for something that is not stored, one goes to the app, without its conditions, so that the answer is
  whole; the others wait for it, look again, and share nothing but what was stored. They wait `WAIT_SECONDS` in all, and
  not at all where it lately proved in vain. When the one fails or is cancelled, the next of them goes.
- Of the requests for a stale entry, one at a time goes to the app, with the entry's validators (RFC 9111 section
  4.3.1); the others are given the stale response, if that is allowed, else they wait.
- A store that is down is a miss.

What becomes of the app's responses is in `passing`.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from launchkit.pipeline.effects import CacheKey, Fetch, Fetched, Follow, Steps, StoreDown, StoredResponse
from launchkit.pipeline.exchange import EarlyResponse, Exchange
from launchkit.read_cache.answers import as_asked, hit, whole
from launchkit.read_cache.bypass import HIDEABLE, Asked, Bypass, examine
from launchkit.read_cache.conditions import is_held
from launchkit.read_cache.flights import Flight
from launchkit.read_cache.key import cache_key
from launchkit.read_cache.passage import PASSAGE, Passage
from launchkit.read_cache.passing import UNCACHEABLE_SECONDS, PassingResponses, Shared
from launchkit.read_cache.storing import Terms
from launchkit.read_cache.validation import validators_of
from launchkit.read_cache.variants import varied_by

WAIT_SECONDS: Final = 5.0
"""Seconds that a request waits for another one's response, all in all."""

_COOKIE: Final = frozenset({b"cookie"})
_CONDITIONS: Final = frozenset({b"if-modified-since", b"if-none-match"})


class CachedRoute(PassingResponses):
    """The cache on paths that have something in common.

    Args:
        terms: how their responses may be stored.
        label: the route label of answers whose own is not known.
        max_body: bytes of a body that is stored at most.
        shared: what the other rules use too.
        public: whether Cookie and Authorization are hidden from the app.
        by_rule: whether caching was asked for by a rule, not by the response alone.
    """

    def __init__(
        self, terms: Terms, label: str, max_body: int, shared: Shared, *, public: bool = False, by_rule: bool = True
    ) -> None:
        super().__init__(terms, label, max_body, shared)
        self._public = public
        self._by_rule = by_rule

    # --- the request ------------------------------------------------------------------------------------------------

    def on_request(self, exchange: Exchange) -> EarlyResponse | Steps[EarlyResponse | None] | None:
        """Answer at once from memory, let the request pass by the cache, or look further."""
        asked = examine(exchange, public=self._public, by_rule=self._by_rule)
        bypass = asked.bypass
        if bypass is not None and not (self._by_rule and bypass.is_personal):
            self._go_past(exchange, Passage(b"", bypass=bypass), bypass)
            return None
        key = cache_key(exchange, asked)
        found = self._shared.store.fetch_now(key, exchange)
        if found is not None and bypass is None:
            stored, now = found.response, self._now()
            if stored is not None and now < stored.fresh_until:
                return self._answer(exchange, asked, stored, now, "hits")
        return self._look_up(exchange, asked, key, found)

    def _look_up(
        self, exchange: Exchange, asked: Asked, key: CacheKey, found: Fetched | None
    ) -> Steps[EarlyResponse | None]:
        """Find out whether the store answers the request; what is found already need not be asked for."""
        followed: Flight | None = None
        deadline = self._now() + WAIT_SECONDS
        while True:
            try:
                found = found or (yield from Fetch(key, exchange))
            except StoreDown:
                self._pass_by(exchange, asked)
                return None
            if asked.bypass is not None:
                return self._known(exchange, asked, asked.bypass, key, found)
            turn = self._turn(exchange, asked, key, found, followed, deadline)
            if turn is None or isinstance(turn, EarlyResponse):
                return turn
            yield from Follow(turn, deadline - self._now())
            followed, found = turn, None

    def _turn(
        self,
        exchange: Exchange,
        asked: Asked,
        key: CacheKey,
        found: Fetched,
        followed: Flight | None,
        deadline: float,
    ) -> EarlyResponse | Flight | None:
        """Return the answer, a flight to wait for, or None: the request is on its way to the app."""
        stored, moment = found
        now = self._now()
        if stored is not None and now < stored.fresh_until:
            return self._answer(exchange, asked, stored, now, "hits" if followed is None else "collapsed")
        if stored is not None and self._is_failing(key, stored, now):
            return self._answer(exchange, asked, stored, now, "failed")
        if exchange.method != "GET" or exchange.header(b"range") is not None:
            self._forward(exchange, Passage(b"fwd=miss", self._storable(exchange, key), moment=moment))
            return None
        passage = Passage(b"", key, moment=moment, stale=stored)
        flights, flight_key = self._shared.flights, self._flight_key(exchange, key)
        if stored is not None and now < stored.stale_until:
            passage.flight = flights.begin(flight_key)
            if passage.flight is None:
                return self._answer(exchange, asked, stored, now, "stale")
            return self._take_off(exchange, asked, key, passage)
        if not self._is_worth_waiting_for(key, stored, now):
            self._send_on(exchange, asked, passage)
            return None
        flight, leads = flights.join(flight_key, again=followed is not None)
        if leads:
            passage.flight = flight
            return self._take_off(exchange, asked, key, passage)
        if now >= deadline:
            self._shared.uncacheable.add(key, now + UNCACHEABLE_SECONDS)  # nobody is to wait in vain again
        if now >= deadline or (followed is not None and not followed.ended):
            self._send_on(exchange, asked, passage)
            return None
        return flight

    def _take_off(self, exchange: Exchange, asked: Asked, key: CacheKey, passage: Passage) -> EarlyResponse | None:
        """Go to the app for all who want this, unless somebody has just landed with it."""
        try:
            found = self._shared.store.fetch_now(key, exchange)
        except BaseException:
            self._land(passage)
            raise
        now = self._now()
        if found is not None and found.response is not None and now < found.response.fresh_until:
            self._land(passage)
            return self._answer(exchange, asked, found.response, now, "collapsed")
        self._send_on(exchange, asked, passage)
        return None

    def _flight_key(self, exchange: Exchange, key: CacheKey) -> Hashable:
        """Variants are fetched independently, where it is known what they are told apart by."""
        vary = self._shared.vary.of(key)
        return (key, varied_by(exchange, vary)) if vary else key

    def _is_worth_waiting_for(self, key: CacheKey, stored: StoredResponse | None, now: float) -> bool:
        """Tell whether a response can be expected that can be stored."""
        return (self._by_rule or stored is not None) and not self._shared.uncacheable.has(key, now)

    def _is_failing(self, key: CacheKey, stored: StoredResponse, now: float) -> bool:
        return now < max(stored.stale_until, stored.error_until) and self._shared.failing.has(key, now)

    @staticmethod
    def _storable(exchange: Exchange, key: CacheKey) -> CacheKey | None:
        return key if exchange.method == "GET" else None

    def _known(
        self, exchange: Exchange, asked: Asked, bypass: Bypass, key: CacheKey, found: Fetched
    ) -> EarlyResponse | None:
        """Answer a request that says who is asking, if the stored response is for such requests too."""
        stored, now = found.response, self._now()
        if stored is not None and stored.is_public and now < stored.fresh_until:
            return self._answer(exchange, asked, stored, now, "hits")
        passage = Passage(b"", self._storable(exchange, key), moment=found.moment, bypass=bypass)
        self._go_past(exchange, passage, bypass)
        return None

    def _answer(
        self, exchange: Exchange, asked: Asked, stored: StoredResponse, now: float, outcome: str
    ) -> EarlyResponse:
        self._tally.count(outcome)
        exchange.cache = "hit"
        if outcome == "collapsed":
            answer = whole(stored, now, b"fwd=miss; collapsed", self._label)
        else:
            answer = hit(stored, now, self._label)
        return as_asked(answer, stored, exchange) if asked.is_conditional else answer

    # --- on the way to the app --------------------------------------------------------------------------------------

    def _pass_by(self, exchange: Exchange, asked: Asked) -> None:
        """Let the app answer; nothing can be stored."""
        if asked.bypass is None:
            self._forward(exchange, Passage(b"fwd=miss"))
        else:
            self._go_past(exchange, Passage(b"", bypass=asked.bypass), asked.bypass)

    def _go_past(self, exchange: Exchange, passage: Passage, bypass: Bypass) -> None:
        self._tally.bypass(bypass)
        passage.status = b"fwd=bypass; detail=" + bypass.encode()
        passage.received = exchange.headers_as_received()
        PASSAGE.put(exchange, passage)
        if self._public:
            exchange.hide_request_headers(HIDEABLE)

    def _forward(self, exchange: Exchange, passage: Passage) -> None:
        exchange.cache = "miss"
        passage.received = exchange.headers_as_received()
        PASSAGE.put(exchange, passage)
        if self._public:
            exchange.hide_request_headers(HIDEABLE)
        elif self._by_rule and exchange.header(b"cookie") is not None:
            exchange.hide_request_headers(_COOKIE)

    def _send_on(self, exchange: Exchange, asked: Asked, passage: Passage) -> None:
        """Let the app make the response, or confirm the stale one; for others too, if the passage has a flight."""
        stale = passage.stale
        passage.status = b"fwd=miss" if stale is None else b"fwd=stale"
        self._forward(exchange, passage)
        if stale is not None:
            passage.is_held = asked.is_conditional and is_held(stale, exchange)
            exchange.may_be_replaced = True
        if asked.is_conditional and (stale is not None or passage.flight is not None):
            exchange.hide_request_headers(_CONDITIONS)
        if stale is not None:
            exchange.set_request_headers(validators_of(stale))
