"""A response that is stored is the answer to the next request: what is in it, and how much of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cache_driver import COLOURS, Asked, CachedSite, Field, Gate, Said, says, until

from launchkit.settings import CacheRule

MakeSite = Callable[..., CachedSite]

DATE = ("date", "Tue, 14 Nov 2023 22:13:20 GMT")
MODIFIED = ("last-modified", "Mon, 13 Nov 2023 00:00:00 GMT")


# --- a hit ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 203, 301, 308, 404, 410])
def test_a_second_read_is_answered_without_the_app(site: MakeSite, status: int) -> None:
    """RFC 9111 section 4: a fresh stored response is given again, its status, headers and body."""
    shop = site()
    shop.app = says(b"stored", ("Content-Type", "text/plain"), DATE, ("X-Own", "kept"), status=status)
    first = shop.get()
    assert (first.forwarded, first.is_stored, first.body) == ("miss", True, b"stored")
    shop.clock.advance(7)
    second = shop.get()
    assert (second.status, second.body, second.is_hit, second.ttl) == (status, b"stored", True, 23)
    assert second.header("content-type") == "text/plain"
    assert second.header("x-own") == "kept"
    assert second.header("date") == DATE[1]
    assert second.header("content-length") == "6"
    assert len(shop.calls) == 1


def test_age_tells_how_long_it_is_stored(site: MakeSite) -> None:
    """RFC 9111 section 5.1: whole seconds, on every answer from the cache and on no other."""
    shop = site()
    assert shop.get().header("age") is None
    assert shop.get().header("age") == "0"
    shop.clock.advance(29.9)
    assert shop.get().header("age") == "29"


def test_age_on_arrival_goes_on_counting(site: MakeSite) -> None:
    """RFC 9111 section 4.2.3: the age is what the response arrived with plus its time here."""
    shop = site()
    shop.app = says(b"", ("cache-control", "max-age=60"), ("age", "20"))
    assert shop.get().header("age") == "20"
    shop.clock.advance(10)
    second = shop.get()
    assert (second.header("age"), second.ttl) == ("30", 30)


def test_it_is_fresh_up_to_its_lifetime_and_no_longer(site: MakeSite) -> None:
    """RFC 9111 section 4.2: fresh while its lifetime exceeds its age."""
    shop = site(CacheRule(paths="/items/*", ttl=10, stale_while_revalidate=0))
    shop.get()
    shop.clock.advance(9.99)
    assert shop.get().is_hit
    shop.clock.advance(0.01)
    assert not shop.get().is_hit
    assert len(shop.calls) == 2


def test_a_lifetime_that_the_response_tells_wins_over_the_rules(site: MakeSite) -> None:
    """RFC 9111 section 4.2.1: s-maxage before max-age before Expires; the rule's ttl is for those that say nothing."""
    for number, (ttl, *headers) in enumerate(
        [
            (5, ("cache-control", "max-age=50, s-maxage=5"), ("expires", "Tue, 14 Nov 2023 23:00:00 GMT")),
            (50, ("cache-control", "max-age=50"), ("expires", "Tue, 14 Nov 2023 22:13:25 GMT")),
            (5, DATE, ("expires", "Tue, 14 Nov 2023 22:13:25 GMT")),
            (30, ("cache-control", "public")),
        ]
    ):
        shop = site()
        shop.app = says(b"", *headers)
        shop.get(f"/items/{number}")
        assert shop.get(f"/items/{number}").ttl == ttl


def test_chunks_are_put_together(site: MakeSite) -> None:
    """A streamed response passes in its chunks and is stored whole."""
    shop = site()
    shop.app = says([b"one ", b"", b"two"])
    assert shop.get().reply.chunks == [b"one ", b"two"]
    second = shop.get()
    assert (second.is_hit, second.body, second.header("content-length")) == (True, b"one two", "7")


@pytest.mark.parametrize("steps", [[], [b""], [b"", b""]])
def test_an_empty_body_is_a_body(site: MakeSite, steps: list) -> None:
    """A redirect without content is stored as it is."""
    shop = site()
    shop.app = Said(steps, [("location", "/items/2"), ("content-length", "0")], 301)
    shop.get()
    second = shop.get()
    assert (second.is_hit, second.status, second.body, second.header("location")) == (True, 301, b"", "/items/2")


def test_several_lines_of_a_header_stay_several(site: MakeSite) -> None:
    """RFC 9111 section 3.1: all header fields are stored."""
    shop = site()
    shop.app = says(b"", ("Link", "</a>"), ("link", "</b>"))
    shop.get()
    assert shop.get().reply.header_values("link") == ["</a>", "</b>"]


@pytest.mark.parametrize("name", ["X-Listed", "Keep-Alive", "Upgrade", "Proxy-Authenticate", "TE", "Trailer"])
def test_headers_of_one_connection_are_not_stored(site: MakeSite, name: str) -> None:
    """RFC 9111 section 3.1: neither those of RFC 9110 section 7.6.1 nor those that Connection lists."""
    shop = site()
    shop.app = says(b"", ("Connection", "close, X-Listed"), (name, "value"))
    shop.get()
    second = shop.get()
    assert second.is_hit
    assert (second.header(name.lower()), second.header("connection")) == (None, None)


@pytest.mark.parametrize(
    "name",
    [
        *("X-Request-ID", "Request-Id", "Server-Timing", "X-Process-Time", "X-Runtime", "Traceparent"),
        *("X-RateLimit-Remaining", "RateLimit", "RateLimit-Policy", "X-Correlation-Id"),
    ],
)
def test_headers_of_one_request_are_not_stored(site: MakeSite, name: str) -> None:
    """What tells about the request that was answered first tells nothing about later ones."""
    shop = site()
    shop.app = says(b"", (name, "1"))
    assert shop.get().header(name.lower()) == "1"
    second = shop.get()
    assert (second.is_hit, second.header(name.lower())) == (True, None)


def test_what_caches_further_in_have_said_is_kept(site: MakeSite) -> None:
    """RFC 9211 section 2: each cache adds its own member, and the one nearest to the origin comes first."""
    shop = site()
    shop.app = says(b"", ("Cache-Status", "Inner; hit"))
    for _ in range(2):
        lines = shop.get().reply.header_values("cache-status")
        assert lines[0] == "Inner; hit"
        assert lines[1].startswith("LaunchKit")


def test_the_client_does_not_decide_what_is_fresh(site: MakeSite) -> None:
    """RFC 9111 section 5.2.1: request directives are advisory, and an origin's cache may ignore them."""
    shop = site()
    shop.get()
    for header in [("cache-control", "no-cache"), ("cache-control", "max-age=0"), ("pragma", "no-cache")]:
        assert shop.get("/items/1", header).is_hit


def test_the_first_rule_that_covers_a_path_counts(site: MakeSite) -> None:
    """Rules are tried in the order of the settings."""
    shop = site(
        CacheRule(paths="/items/{id}", ttl=5, stale_while_revalidate=0),
        CacheRule(paths="/items/*,/items/{id}", ttl=50, stale_while_revalidate=0),
    )
    for path, ttl in [("/items/1", 5), ("/items/1/parts", 50)]:
        shop.get(path)
        assert shop.get(path).ttl == ttl


# --- conditions ----------------------------------------------------------------------------------------------------

TAGGED = says(
    b"stored", ("ETag", 'W/"v1"'), ("Content-Type", "text/html"), ("Cache-Control", "max-age=9"), ("Vary", "Accept")
)


@pytest.mark.parametrize("tags", ['"v1"', 'W/"v1"', '"v0", "v1"', "*"])
def test_a_reader_who_holds_it_gets_304(site: MakeSite, tags: str) -> None:
    """RFC 9110 sections 13.1.2 and 15.4.5: weak comparison; no body and no header that describes one."""
    shop = site()
    shop.app = TAGGED
    shop.get()
    answer = shop.get("/items/1", ("if-none-match", tags))
    assert (answer.status, answer.body, answer.is_hit) == (304, b"", True)
    said = [answer.header(name) for name in ("etag", "cache-control", "vary", "age")]
    assert said == ['W/"v1"', "max-age=9", "Accept", "0"]
    assert (answer.header("content-type"), answer.header("content-length")) == (None, None)


@pytest.mark.parametrize(
    ("tags", "app"),
    [
        ('"v2"', says(b"hello", ("etag", '"v1"'))),
        ("v1", says(b"hello", ("etag", '"v1"'))),
        ('"v1"', says(b"hello")),
        ('"v1"', says(b"hello", ("etag", '"v1"'), status=404)),
    ],
)
def test_a_reader_who_holds_another_gets_all(site: MakeSite, tags: str, app: Said) -> None:
    """RFC 9110 section 13.2.1: a condition counts only for what would be a success, and only if it matches."""
    shop = site()
    shop.app = app
    shop.get()
    answer = shop.get("/items/1", ("if-none-match", tags))
    assert (answer.is_hit, answer.status, answer.body) == (True, app.status, b"hello")


@pytest.mark.parametrize(
    ("since", "status"),
    [
        ("Mon, 13 Nov 2023 00:00:00 GMT", 304),
        ("Mon, 13 Nov 2023 00:00:01 GMT", 304),
        ("Sun, 12 Nov 2023 23:59:59 GMT", 200),
        ("yesterday", 200),
    ],
)
def test_if_modified_since_is_compared_with_last_modified(site: MakeSite, since: str, status: int) -> None:
    """RFC 9110 section 13.1.3; what is no date is ignored."""
    shop = site()
    shop.app = says(b"stored", MODIFIED)
    shop.get()
    answer = shop.get("/items/1", ("if-modified-since", since))
    assert (answer.is_hit, answer.status) == (True, status)


def test_if_none_match_decides_alone(site: MakeSite) -> None:
    """RFC 9110 section 13.2.2: with it If-Modified-Since is not looked at."""
    shop = site()
    shop.app = says(b"stored", MODIFIED, ("etag", '"v1"'))
    shop.get()
    answer = shop.get("/items/1", ("if-none-match", '"v0"'), ("if-modified-since", MODIFIED[1]))
    assert (answer.is_hit, answer.status) == (True, 200)


def test_the_app_is_asked_for_the_whole(site: MakeSite) -> None:
    """RFC 9111 section 4.3.1: on a miss conditions are the cache's business, so that the answer can be stored."""
    shop = site()
    conditions = [("if-none-match", '"v1"'), ("if-modified-since", MODIFIED[1])]
    assert shop.get("/items/1", *conditions).is_stored
    assert shop.calls[0].headers.keys().isdisjoint(dict(conditions))


# --- parts, and HEAD -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("range_", "body", "content_range"),
    [("bytes=0-1", b"st", "bytes 0-1/6"), ("bytes=4-", b"ed", "bytes 4-5/6"), ("bytes=-3", b"red", "bytes 3-5/6")],
)
def test_a_part_comes_from_the_stored_whole(site: MakeSite, range_: str, body: bytes, content_range: str) -> None:
    """RFC 9110 section 14.2: one range of bytes of a stored 200."""
    shop = site()
    shop.app = says(b"stored", ("content-type", "text/plain"))
    shop.get()
    answer = shop.get("/items/1", ("range", range_))
    assert (answer.status, answer.body, answer.is_hit) == (206, body, True)
    assert answer.header("content-range") == content_range
    assert answer.header("content-length") == str(len(body))
    assert answer.header("content-type") == "text/plain"


def test_a_part_beyond_the_end_is_416(site: MakeSite) -> None:
    """RFC 9110 section 15.5.17: with the size that there is."""
    shop = site()
    shop.app = says(b"stored")
    shop.get()
    answer = shop.get("/items/1", ("range", "bytes=6-"))
    assert (answer.status, answer.body, answer.header("content-range")) == (416, b"", "bytes */6")


def test_if_range_of_other_bytes_gives_the_whole(site: MakeSite) -> None:
    """RFC 9110 section 13.1.5."""
    shop = site()
    shop.app = says(b"stored", ("etag", '"v1"'))
    shop.get()
    for tag, status in [('"v1"', 206), ('"v0"', 200)]:
        assert shop.get("/items/1", ("range", "bytes=0-1"), ("if-range", tag)).status == status


def test_a_part_that_the_app_gives_is_not_stored(site: MakeSite) -> None:
    """RFC 9111 section 3.3: parts are incomplete, and whoever asks for one on a miss asks the app."""
    shop = site()
    shop.app = says(b"st", ("content-range", "bytes 0-1/6"), status=206)
    first = shop.get("/items/1", ("range", "bytes=0-1"))
    assert (first.status, first.is_stored) == (206, False)
    assert shop.calls[0].header("range") == "bytes=0-1"
    shop.app = says(b"stored")
    assert shop.get().body == b"stored"


def test_head_is_answered_from_a_stored_get(site: MakeSite) -> None:
    """RFC 9110 section 9.3.2: the headers of the GET, its Content-Length too, and no body."""
    shop = site()
    shop.app = says([b"sto", b"red"], ("content-type", "text/plain"))
    shop.get()
    answer = shop.send("HEAD")
    assert (answer.status, answer.is_hit, answer.header("content-length")) == (200, True, "6")
    assert answer.header("content-type") == "text/plain"
    assert not answer.reply.chunks
    assert not any(message.get("body") for message in answer.reply.messages)
    assert len(shop.calls) == 1


def test_head_is_never_stored(site: MakeSite) -> None:
    """RFC 9111 section 3: a response without its content would be a GET's with an empty one."""
    shop = site()
    shop.app = says(b"", ("content-length", "6"), ("cache-control", "max-age=60"))
    for path in ("/items/1", "/elsewhere"):
        for _ in range(2):
            assert not shop.send("HEAD", path).is_hit
    assert len(shop.calls) == 4
    shop.app = says(b"stored", ("cache-control", "max-age=60"))
    for path in ("/items/1", "/elsewhere"):
        answer = shop.get(path)
        assert (answer.is_hit, answer.body) == (False, b"stored")


# --- variants ------------------------------------------------------------------------------------------------------


def test_variants_are_kept_apart(site: MakeSite) -> None:
    """RFC 9111 section 4.1: by the headers that Vary or the rule names; absent matches absent only."""
    shop = site(CacheRule(paths="/items/*", vary=("x-currency",)))

    def localised(asked: Asked) -> Said:
        said = asked.header("accept-language"), asked.header("x-currency")
        return says(repr(said).encode(), ("Vary", "Accept-Language"))

    shop.app = localised
    kinds: list[list[Field]] = [
        [],
        [("accept-language", "de")],
        [("x-currency", "EUR")],
        [("accept-language", "de"), ("x-currency", "EUR")],
    ]
    first = [shop.get("/items/1", *kind).body for kind in kinds]
    again = [shop.get("/items/1", *kind) for kind in kinds]
    assert [answer.body for answer in again] == first
    assert all(answer.is_hit for answer in again)
    assert len(set(first)) == len(shop.calls) == 4


def test_compressed_responses_go_to_those_who_can_read_them(site: MakeSite) -> None:
    """RFC 9110 section 12.5.3: also where the app forgets to say that it varies."""
    shop = site()
    shop.app = lambda asked: (
        says(b"packed", ("content-encoding", "gzip")) if asked.header("accept-encoding") else says(b"plain")
    )
    assert shop.get("/items/1", ("accept-encoding", "gzip")).body == b"packed"
    assert shop.get("/items/1", ("accept-encoding", "gzip")).is_hit
    assert shop.get("/items/1").body == b"plain"


# --- what is not stored --------------------------------------------------------------------------------------------


def is_never_stored(shop: CachedSite, app: Said, path: str = "/items/1") -> bool:
    """Tell whether each of three reads reaches the app and gets all that it says."""
    before = len(shop.calls)
    shop.app = app
    for _ in range(3):
        answer = shop.get(path)
        assert (answer.status, answer.is_hit) == (app.status, False)
    return len(shop.calls) == before + 3


@pytest.mark.parametrize(
    "status", [204, 206, 300, 302, 303, 307, 400, 401, 403, 405, 409, 422, 429, 451, 500, 501, 503]
)
@pytest.mark.parametrize("headers", [[], [("cache-control", "public, max-age=60")]], ids=["plain", "max-age"])
@pytest.mark.parametrize("path", ["/items/1", "/elsewhere"])
def test_only_six_statuses_are_stored(site: MakeSite, status: int, headers: list[Field], path: str) -> None:
    """RFC 9111 section 3 allows more where the response says how long it is fresh; errors pass by themselves."""
    assert is_never_stored(site(), says(b"", *headers, status=status), path)


@pytest.mark.parametrize(
    ("headers", "detail"),
    [
        ([("set-cookie", "a=b"), ("cache-control", "max-age=60")], "set-cookie"),
        ([("cache-control", "no-store")], "no-store"),
        ([("Cache-Control", "private, max-age=60")], "private"),
        ([("cache-control", 'private="x-user", max-age=60')], "private"),
        ([("cache-control", "no-cache")], "no-cache"),
        ([("cache-control", "max-age=60"), ("cache-control", "NO-STORE")], "no-store"),
        ([("vary", "*")], "vary"),
        ([("vary", "accept, *")], "vary"),
        ([("content-type", "text/event-stream; charset=utf-8")], "stream"),
        ([("content-range", "bytes 0-4/9")], "partial"),
        ([("cache-control", "max-age=0")], "stale"),
        ([("expires", "0")], "stale"),
        ([("cache-control", "max-age=60"), ("age", "60")], "stale"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_may_not_be_stored_is_not(site: MakeSite, headers: list[Field], detail: str) -> None:
    """RFC 9111 section 3, and the reason is told (RFC 9211 section 2.8)."""
    shop = site()
    app = says(b"hello", *headers)
    assert is_never_stored(shop, app)
    answer = shop.get()
    assert (answer.forwarded, answer.detail, answer.is_stored) == ("miss", detail, False)


@pytest.mark.parametrize("lengths", [["6"], ["4"], ["5", "6"], ["five"]])
def test_a_body_of_another_length_than_announced_is_not_stored(lengths: list[str]) -> None:
    """RFC 9111 section 3.3: it is incomplete. Under WSGI a server cuts what is surplus, as the adapter does."""
    shop = CachedSite(app=says(b"hello", *[("content-length", length) for length in lengths]))
    for _ in range(2):
        shop.get()
    shop.close()
    assert (len(shop.calls), shop.figures.stored) == (2, 0)


def test_a_body_that_ends_early_is_not_stored(site: MakeSite) -> None:
    """RFC 9111 section 3.3, in both protocols: fewer bytes than Content-Length says."""
    assert is_never_stored(site(), says([b"hel", b"lo"], ("content-length", "6")))


def test_an_exception_in_mid_stream_is_raised_and_nothing_is_stored(site: MakeSite) -> None:
    """RFC 9111 section 3.3: what was sent so far was sent, and is incomplete."""
    shop = site()
    shop.app = says([b"half;", ValueError("broken")])
    for _ in range(2):
        answer = shop.get()
        assert (answer.status, answer.body, type(answer.error)) == (200, b"half;", ValueError)
    assert (len(shop.calls), shop.figures.stored, len(shop.flights)) == (2, 0, 0)


def test_an_exception_before_the_response_is_a_500_that_is_not_stored(site: MakeSite) -> None:
    """The kit answers for the app and raises its exception."""
    shop = site()
    shop.app = says(before=ValueError("broken"))
    for _ in range(2):
        answer = shop.get()
        assert (answer.status, type(answer.error)) == (500, ValueError)
    assert (len(shop.calls), shop.figures.stored, len(shop.flights)) == (2, 0, 0)


def test_an_app_that_ends_without_a_last_chunk_stores_nothing() -> None:
    """The ASGI specification: a body is complete with `more_body` false."""
    shop = CachedSite(app=says([b"half"], cut=True))
    for _ in range(2):
        shop.get()
    shop.close()
    assert (len(shop.calls), shop.figures.stored, len(shop.flights)) == (2, 0, 0)


def test_what_a_client_aborts_is_not_stored(site: MakeSite) -> None:
    """RFC 9111 section 3.3: what nobody has seen to its end is incomplete."""
    shop = site()
    shop.app = says([b"one;", b"two;", b"three;"])
    assert shop.get(disconnect_after=1).body == b"one;"
    assert (shop.figures.stored, len(shop.flights)) == (0, 0)
    assert not shop.get().is_hit


@pytest.mark.parametrize("steps", [[b"x" * 101], [b"x" * 100, b"x", b"x"]])
def test_a_body_that_is_too_large_passes_and_is_forgotten(site: MakeSite, steps: list) -> None:
    """`max_body` is the most that is stored; the response is untouched."""
    shop = site(CacheRule(paths="/items/*", max_body=100))
    shop.app = says(steps)
    for _ in range(2):
        assert shop.get().reply.chunks == steps
    assert (len(shop.calls), shop.figures.stored) == (2, 0)
    shop.app = says([b"x" * 50, b"x" * 50])
    shop.get()
    assert shop.get().is_hit


@pytest.mark.parametrize("kind", ["text/plain", "text/event-stream"])
@pytest.mark.parametrize("path", ["/items/1", "/elsewhere"])
def test_chunks_are_never_held_back(site: MakeSite, kind: str, path: str) -> None:
    """Each chunk is with the client before the app is asked for the next, whether it is stored or not."""
    shop = site()
    first, second = Gate(), Gate()
    shop.app = says(
        [b"one;", first, b"two;", second, b"three;"], ("content-type", kind), ("cache-control", "max-age=9")
    )
    visit = shop.begin(path)
    until(lambda: shop.client.reply.chunks == [b"one;"])
    first.open()
    until(lambda: shop.client.reply.chunks == [b"one;", b"two;"])
    second.open()
    assert visit.end().reply.chunks == [b"one;", b"two;", b"three;"]
    assert shop.get(path).is_hit == (kind == "text/plain")


def test_the_store_holds_it_before_the_last_chunk_is_sent(site: MakeSite) -> None:
    """An immediate second read must hit; here the client is gone by the time it gets the last chunk."""
    shop = site()
    shop.app = says(b"all of it")
    assert shop.get(disconnect_after=1).body == b"all of it"
    assert shop.get().is_hit


def test_time_runs_from_the_start_of_the_response(site: MakeSite) -> None:
    """RFC 9111 section 4.2.3: a long download does not make a response younger."""
    shop = site()
    gate = Gate()
    shop.app = says([b"a", gate, b"b"])
    visit = shop.begin()
    until(lambda: shop.client.reply.chunks)
    shop.clock.advance(10)
    gate.open()
    visit.end()
    assert shop.get().header("age") == "10"


@pytest.mark.parametrize("colour", COLOURS[:2])
def test_a_store_that_is_down_is_a_miss(colour: str) -> None:
    """The app answers as if there were no cache, and what changes things works too."""
    shop = CachedSite(colour=colour, is_down=True, app=says(b"hello", ("cache-control", "max-age=60")))
    for path in ("/items/1", "/elsewhere", "/elsewhere"):
        answer = shop.get(path)
        assert (answer.body, answer.forwarded) == (b"hello", "miss")
    assert shop.send("POST").body == b"hello"
    shop.close()
    assert (shop.figures.stored, len(shop.flights), dict(shop.failures.counts)) == (0, 0, {})
