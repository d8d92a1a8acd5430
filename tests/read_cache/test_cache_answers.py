"""One request after another through the cache, in both colours."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from cache_driver import HOST, CachedSite, Reply, Visit, plain_exchange
from tests.support.exchanges import WrittenExchange

from launchkit.pipeline.effects import StoreDown, StoredResponse
from launchkit.pipeline.exchange import Header
from launchkit.read_cache.policy import Bypass
from launchkit.settings import CacheRule

MakeSite = Callable[..., CachedSite]


class BrokenStore:
    """A store that does not answer."""

    def fetch(self, key: bytes) -> tuple[StoredResponse, ...]:
        raise StoreDown

    def store(self, key: bytes, response: StoredResponse) -> None:
        raise StoreDown

    async def afetch(self, key: bytes) -> tuple[StoredResponse, ...]:
        raise StoreDown

    async def astore(self, key: bytes, response: StoredResponse) -> None:
        raise StoreDown


class TestHit:
    def test_a_second_read_is_answered_from_memory(self, site: MakeSite) -> None:
        """RFC 9111 section 4.2: status, headers and body of a fresh response are given again."""
        shop = site()
        reply = Reply(b"gone", [(b"Content-Type", b"text/plain"), (b"date", b"now"), (b"content-length", b"4")], 410)
        assert shop.visit(reply).outcome == b"fwd=miss"
        shop.clock.advance(7.5)
        answer = shop.visit(reply)
        assert (answer.status, answer.body, answer.route) == (410, b"gone", "/items/*")
        assert answer.header(b"content-type") == b"text/plain"
        assert answer.header(b"date") == b"now"
        assert answer.header(b"age") == b"7"
        assert answer.outcome == b"hit; ttl=22"
        assert shop.calls == 1

    def test_age_on_arrival_goes_on_counting(self, site: MakeSite) -> None:
        """RFC 9111 section 4.2.3: Age is what the response arrived with plus its time here."""
        shop = site()
        reply = Reply(headers=[(b"cache-control", b"max-age=60"), (b"age", b"20")])
        shop.visit(reply)
        shop.clock.advance(10)
        answer = shop.visit(reply)
        assert answer.header(b"age") == b"30"
        assert answer.outcome == b"hit; ttl=30"

    def test_chunks_are_put_together(self, site: MakeSite) -> None:
        """A streamed response passes in its chunks and is stored whole."""
        shop = site()
        shop.visit(Reply([b"one ", b"", b"two"]))
        assert shop.visit(Reply()).body == b"one two"

    def test_an_empty_body_is_a_body(self, site: MakeSite) -> None:
        """A redirect without content is stored as it is."""
        shop = site()
        moved = Reply(b"", [(b"location", b"/items/2"), (b"content-length", b"0")], 301)
        shop.visit(moved)
        answer = shop.visit(moved)
        assert (answer.status, answer.body, answer.header(b"location")) == (301, b"", b"/items/2")
        assert answer.outcome.startswith(b"hit")

    def test_variants_are_kept_apart(self, site: MakeSite) -> None:
        """RFC 9111 section 4.1: by the headers that Vary or the rule names."""
        shop = site(CacheRule(paths="/items/*", vary=("x-currency",)))

        def localised(exchange: WrittenExchange) -> Reply:
            said = exchange.header(b"accept-language"), exchange.header(b"x-currency")
            return Reply(repr(said).encode(), [(b"vary", b"Accept-Language")])

        kinds: list[list[Header]] = [
            [],
            [(b"accept-language", b"de")],
            [(b"x-currency", b"EUR")],
            [(b"accept-language", b"de"), (b"x-currency", b"EUR")],
        ]
        first = [shop.visit(localised, b"/items/1", *kind).body for kind in kinds]
        assert [shop.visit(localised, b"/items/1", *kind).body for kind in kinds] == first
        assert len(set(first)) == shop.calls == 4

    @pytest.mark.parametrize("name", [b"Connection", b"x-listed", b"Keep-Alive", b"transfer-encoding", b"upgrade"])
    def test_headers_of_one_connection_are_not_stored(self, site: MakeSite, name: bytes) -> None:
        """RFC 9111 section 3.1."""
        shop = site()
        value = b"close, X-Listed" if name == b"Connection" else b"value"
        shop.visit(Reply(headers=[(b"connection", b"x-listed"), (name, value)]))
        assert name.lower() not in [key for key, _ in shop.visit(Reply()).headers]

    @pytest.mark.parametrize(
        "name",
        [b"X-Request-ID", b"server-timing", b"x-process-time", b"traceparent", b"X-RateLimit-Remaining", b"ratelimit"],
    )
    def test_headers_of_one_request_are_not_stored(self, site: MakeSite, name: bytes) -> None:
        """What tells about the request that was answered first tells nothing about later ones."""
        shop = site()
        assert shop.visit(Reply(headers=[(name, b"1")])).header(name.lower()) == b"1"
        assert shop.visit(Reply()).header(name.lower()) is None

    @pytest.mark.parametrize("tags", [b'"v1"', b'W/"v1"', b'"v0", "v1"', b"*"])
    def test_a_reader_who_holds_it_gets_304(self, site: MakeSite, tags: bytes) -> None:
        """RFC 9110 sections 13.1.2 and 15.4.5: weak comparison; no body and no header that describes one."""
        shop = site()
        reply = Reply(headers=[(b"ETag", b'W/"v1"'), (b"content-type", b"text/html"), (b"cache-control", b"max-age=9")])
        shop.visit(reply)
        answer = shop.visit(reply, b"/items/1", (b"if-none-match", tags))
        assert (answer.status, answer.body) == (304, b"")
        assert answer.header(b"etag") == b'W/"v1"'
        assert answer.header(b"cache-control") == b"max-age=9"
        assert answer.header(b"content-type") is None
        assert answer.outcome == b"hit; ttl=9"

    @pytest.mark.parametrize(
        ("tags", "reply"),
        [
            (b'"v2"', Reply(headers=[(b"etag", b'"v1"')])),
            (b"v1", Reply(headers=[(b"etag", b'"v1"')])),
            (b'"v1"', Reply()),
            (b'"v1"', Reply(status=404, headers=[(b"etag", b'"v1"')])),
        ],
    )
    def test_a_reader_who_holds_another_gets_all(self, site: MakeSite, tags: bytes, reply: Reply) -> None:
        """RFC 9110 section 13.2.1: a condition counts only for what would be a success, and only if it matches."""
        shop = site()
        shop.visit(reply)
        answer = shop.visit(reply, b"/items/1", (b"if-none-match", tags))
        assert (answer.status, answer.body) == (reply.status, b"hello")


class TestMiss:
    @pytest.mark.parametrize(
        "reply",
        [
            Reply(status=500),
            Reply(status=302),
            Reply(headers=[(b"cache-control", b"no-store")]),
            Reply(headers=[(b"vary", b"*")]),
            Reply([b"data: 1", b"data: 2"], [(b"content-type", b"text/event-stream")]),
            Reply(headers=[(b"content-length", b"6")]),
            Reply(headers=[(b"content-length", b"4")]),
            Reply(headers=[(b"content-length", b"5"), (b"content-length", b"6")]),
            Reply(headers=[(b"content-length", b"five")]),
            Reply([b"half", b"of it"], aborted=True),
            Reply(b"x" * 101),
            Reply([b"x" * 100, b"x", b"x"]),
        ],
    )
    def test_what_may_not_be_stored_is_not(self, site: MakeSite, reply: Reply) -> None:
        """RFC 9111 sections 3 and 3.3: neither what says so, nor what is incomplete, too large or without end."""
        shop = site(CacheRule(paths="/items/*", max_body=100))
        outcomes = [shop.visit(reply).outcome for _ in range(2)]
        assert outcomes == [b"fwd=miss"] * 2
        assert shop.cache.figures().stored == 0

    def test_a_body_of_exactly_the_limit_is_stored(self, site: MakeSite) -> None:
        """`max_body` is the most that is stored."""
        shop = site(CacheRule(paths="/items/*", max_body=100))
        shop.visit(Reply(b"x" * 100))
        assert shop.visit(Reply()).body == b"x" * 100

    def test_a_failed_exchange_is_not_stored(self, site: MakeSite) -> None:
        """RFC 9111 section 3.3: what ended with an error is incomplete, even when its last chunk was sent."""
        shop = site()
        visit = shop.open()
        visit.exchange.error = RuntimeError()
        visit.respond(Reply())
        assert shop.visit(Reply()).outcome == b"fwd=miss"

    def test_a_response_that_is_started_anew_counts_as_the_last(self, site: MakeSite) -> None:
        """PEP 3333: an app that fails may replace the headers it had announced."""
        shop = site()
        visit = shop.open()
        visit.start(200, [])
        visit.respond(Reply(b"sorry", status=500))
        assert shop.visit(Reply()).outcome == b"fwd=miss"

    def test_the_store_holds_it_before_the_last_chunk_is_sent(self, site: MakeSite) -> None:
        """An immediate second read must hit, while the first exchange is not even complete."""
        shop = site()
        visit = shop.open()
        visit.start(200, [])
        visit.stream([b"a", b"b"])
        assert shop.visit(Reply()).body == b"ab"

    def test_time_runs_from_the_start_of_the_response(self, site: MakeSite) -> None:
        """RFC 9111 section 4.2.3: a long download does not make a response younger."""
        shop = site()
        visit = shop.open()
        visit.start(200, [])
        shop.clock.advance(10)
        visit.stream([b"a"])
        assert shop.visit(Reply()).header(b"age") == b"10"

    def test_a_store_that_is_down_is_a_miss(self, site: MakeSite) -> None:
        """The app answers as if there were no cache."""
        shop = site(store=BrokenStore())
        answers = [shop.visit(Reply()) for _ in range(2)]
        assert [(one.body, one.outcome) for one in answers] == [(b"hello", b"fwd=miss")] * 2
        assert shop.cache.figures().stored == 0

    def test_conditions_reach_the_app_on_a_miss(self, site: MakeSite) -> None:
        """RFC 9111 section 4.3.2: the app may answer a condition itself; its 304 passes and is not stored."""
        shop = site()
        answer = shop.visit(Reply(b"", status=304), b"/items/1", (b"if-none-match", b'"v1"'))
        assert answer.status == 304
        assert shop.seen.header(b"if-none-match") == b'"v1"'
        assert shop.visit(Reply()).outcome == b"fwd=miss"


class TestBypass:
    @pytest.mark.parametrize(
        ("header", "detail"),
        [
            ((b"range", b"bytes=0-1"), b"range"),
            ((b"content-length", b"3"), b"body"),
            ((b"authorization", b"x"), b"authorization"),
            ((b"cookie", b"session=x"), b"cookie"),
            ((b"x-api-key", b"x"), b"credential"),
            ((b"x-http-method-override", b"PUT"), b"method-override"),
            ((b"x-forwarded-host", b"x"), b"host-override"),
            ((b"x-original-url", b"/x"), b"target-override"),
        ],
    )
    def test_the_reason_is_told(self, site: MakeSite, header: Header, detail: bytes) -> None:
        """RFC 9211 sections 2.2 and 2.8: fwd=bypass, with the reason as detail."""
        shop = site()
        shop.visit(Reply())
        assert shop.visit(Reply(b"new"), b"/items/1", header).outcome == b"fwd=bypass; detail=" + detail
        assert shop.visit(Reply()).body == b"hello"

    def test_head_goes_to_the_app(self, site: MakeSite) -> None:
        """A HEAD is neither answered from the cache nor stored for a later GET."""
        shop = site()
        answer = shop.visit(Reply(b""), method="HEAD")
        assert answer.outcome == b"fwd=bypass; detail=method"
        assert answer.header(b"cache-control") is None
        assert shop.visit(Reply()).outcome == b"fwd=miss"

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
    def test_other_methods_are_not_touched(self, site: MakeSite, method: str) -> None:
        """No hook runs for them."""
        assert site().visit(Reply(), method=method).headers == []

    def test_other_paths_are_not_touched(self, site: MakeSite) -> None:
        """The cache is for the paths of its rules only; no hook runs elsewhere."""
        shop = site()
        assert shop.visit(Reply(), b"/other").headers == []
        assert shop.visit(Reply(), b"/itemsandmore").headers == []

    def test_the_first_rule_that_covers_a_path_counts(self, site: MakeSite) -> None:
        """Rules are tried in the order of the settings; the label is the pattern that answered."""
        shop = site(
            CacheRule(paths="/items/{id}", ttl=5),
            CacheRule(paths="/items/*,/items/{id}", ttl=50, stale_while_revalidate=0),
        )
        for target, outcome, route in [
            (b"/items/1", b"hit; ttl=5", "/items/{id}"),
            (b"/items/1/parts", b"hit; ttl=50", "/items/*"),
        ]:
            shop.visit(Reply(), target)
            answer = shop.visit(Reply(), target)
            assert (answer.outcome, answer.route) == (outcome, route)


class TestStale:
    def stale_site(self, site: MakeSite, *headers: Header) -> CachedSite:
        shop = site()
        shop.visit(Reply(b"old", list(headers)))
        shop.clock.advance(31)
        return shop

    def test_one_request_fetches_anew_while_others_are_given_the_stale_one(self, site: MakeSite) -> None:
        """RFC 5861 section 3, in the foreground: nothing runs without a request."""
        shop = self.stale_site(site)
        fetching = shop.open()
        assert fetching.early is None
        others = [shop.visit(Reply()) for _ in range(3)]
        assert [(one.body, one.outcome) for one in others] == [(b"old", b"hit; ttl=-1")] * 3
        assert others[0].header(b"age") == b"31"
        assert fetching.respond(Reply(b"new")).outcome == b"fwd=stale"
        assert shop.visit(Reply()).body == b"new"

    def test_after_the_window_it_is_a_miss(self, site: MakeSite) -> None:
        """RFC 5861 section 3: stale up to the end of the window and no longer."""
        shop = self.stale_site(site)
        shop.clock.advance(59)
        assert shop.visit(Reply()).outcome == b"fwd=miss"

    def test_a_store_that_keeps_longer_changes_nothing(self, site: MakeSite) -> None:
        """RFC 9111 section 4.2.4: the end of the window is the cache's rule, not the store's."""

        class Hoarder(BrokenStore):
            def fetch(self, key: bytes) -> tuple[StoredResponse, ...]:
                return (StoredResponse(200, (), b"ancient", stored=0, fresh_until=1, stale_until=2),)

            async def afetch(self, key: bytes) -> tuple[StoredResponse, ...]:
                return self.fetch(key)

        assert site(store=Hoarder()).visit(Reply()).outcome == b"fwd=miss"

    @pytest.mark.parametrize(
        "directive", [b"max-age=30, must-revalidate", b"s-maxage=30", b"max-age=30, proxy-revalidate"]
    )
    def test_stale_is_never_given_where_the_response_forbids_it(self, site: MakeSite, directive: bytes) -> None:
        """RFC 9111 section 4.2.4."""
        shop = self.stale_site(site, (b"cache-control", directive))
        assert shop.open().early is None
        assert shop.visit(Reply()).outcome == b"fwd=miss"

    def test_conditions_are_hidden_from_the_app_that_fetches_anew(self, site: MakeSite) -> None:
        """RFC 9111 section 4.3.1 leaves conditions to the cache: a 304 for one reader would leave the entry stale."""
        shop = self.stale_site(site)
        shop.visit(Reply(b"new"), b"/items/1", (b"if-none-match", b'"v1"'), (b"if-modified-since", b"today"))
        assert list(shop.seen.request_headers()) == [HOST]
        assert shop.visit(Reply()).body == b"new"

    @pytest.mark.parametrize(
        "reply",
        [Reply(status=500), Reply([b"half"], aborted=True), Reply(headers=[(b"cache-control", b"no-store")])],
    )
    def test_the_next_request_tries_when_one_has_not_renewed_it(self, site: MakeSite, reply: Reply) -> None:
        """Every way out of a request gives its lease back."""
        shop = self.stale_site(site)
        assert [shop.visit(reply).outcome for _ in range(2)] == [b"fwd=stale"] * 2

    def test_a_request_that_hangs_is_replaced(self, site: MakeSite) -> None:
        """After 5 seconds another request may fetch anew; the late one then ends nobody else's turn."""
        shop = self.stale_site(site)
        hanging = shop.open()
        shop.clock.advance(5)
        second = shop.open()
        assert second.early is None
        hanging.exchange.error = RuntimeError()
        hanging.complete()
        assert shop.open().early is not None

    def test_variants_are_fetched_anew_independently(self, site: MakeSite) -> None:
        """One variant's turn is not another's."""
        shop = site(CacheRule(paths="/items/*", vary=("accept-language",)))
        languages: list[Header] = [(b"accept-language", b"de"), (b"accept-language", b"en")]
        for language in languages:
            shop.visit(Reply(), b"/items/1", language)
        shop.clock.advance(31)
        assert [shop.open(b"/items/1", language).early for language in languages] == [None, None]


class TestFigures:
    def test_every_request_on_a_rule_is_counted_once(self, site: MakeSite) -> None:
        """Hits, misses, bypasses by reason, and what was stored."""
        shop = site()
        for _ in range(3):
            shop.visit(Reply())
        shop.visit(Reply(status=500), b"/items/2")
        shop.visit(Reply(), method="HEAD")
        for _ in range(2):
            shop.visit(Reply(), b"/items/1", (b"cookie", b"session=x"))
        figures = shop.cache.figures()
        assert (figures.hits, figures.misses, figures.stored) == (2, 2, 1)
        assert figures.bypasses == {Bypass.METHOD: 1, Bypass.COOKIE: 2}

    def test_threads_lose_no_count(self) -> None:
        """The cache serves all threads of a process, and every one of them sees whole responses."""
        shop = CachedSite()

        def work(seed: int) -> None:
            for number in range(300):
                target = b"/items/%d" % ((seed + number) % 20)
                assert Visit(shop, plain_exchange(target)).respond(Reply(target)).body == target

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        figures = shop.cache.figures()
        assert figures.hits + figures.misses == 2_400
        assert figures.stored == figures.misses >= 20
