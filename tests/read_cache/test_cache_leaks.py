"""What one reader is shown must never reach another, whatever the app forgets to say."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest
from cache_driver import CachedSite, Reply
from hypothesis import given
from hypothesis import strategies as st
from tests.support.exchanges import WrittenExchange

from launchkit.pipeline.exchange import Header
from launchkit.settings import CacheRule

MakeSite = Callable[..., CachedSite]

CREDENTIALS = [
    b"authorization",
    b"proxy-authorization",
    b"cookie",
    b"x-api-key",
    b"api-key",
    b"x-auth-token",
    b"x-goog-api-key",
    b"x-access-token",
    b"x-forwarded-user",
    b"x-auth-request-email",
    b"cf-access-jwt-assertion",
    b"x-ms-client-principal",
]


def profile(exchange: WrittenExchange) -> Reply:
    """Answer as an app does that knows its readers and has forgotten every caching header."""
    seen = [value for name, value in exchange.request_headers() if name in CREDENTIALS]
    return Reply(b"for " + (b" ".join(seen) or b"anyone"))


def credential(name: bytes) -> Header:
    value = secrets.token_hex(8).encode()
    return (name, b"session=" + value if name == b"cookie" else value)


@pytest.mark.parametrize("name", CREDENTIALS)
def test_two_users_and_a_stranger_each_get_their_own(site: MakeSite, name: bytes) -> None:
    """RFC 9111 section 3.5, extended to every credential: nothing is stored of them and nothing is given to them."""
    shop = site()
    alice, bob = credential(name), credential(name)
    assert alice[1] in shop.visit(profile, b"/items/1", alice).body
    assert bob[1] in shop.visit(profile, b"/items/1", bob).body
    assert shop.visit(profile).body == b"for anyone"
    assert alice[1] in shop.visit(profile, b"/items/1", alice).body
    assert shop.calls == 4


@pytest.mark.parametrize("name", CREDENTIALS)
def test_personal_responses_are_kept_out_of_caches_further_out(site: MakeSite, name: bytes) -> None:
    """RFC 9111 section 5.2.2.7: private, where the app has said nothing."""
    answer = site().visit(profile, b"/items/1", credential(name))
    assert answer.header(b"cache-control") == b"private, no-store"
    assert answer.outcome.startswith(b"fwd=bypass; detail=")


def test_the_app_may_say_otherwise(site: MakeSite) -> None:
    """The kit never overrides a header that the app has set."""
    reply = Reply(headers=[(b"Cache-Control", b"max-age=5")])
    answer = site().visit(reply, b"/items/1", credential(b"cookie"))
    assert answer.header(b"cache-control") == b"max-age=5"


def test_a_cookie_that_is_set_reaches_one_reader(site: MakeSite) -> None:
    """Set-Cookie is never stored, and its response is private further out."""
    shop = site()
    replies = [Reply(headers=[(b"set-cookie", secrets.token_hex(8).encode())]) for _ in range(2)]
    first, second = (shop.visit(reply) for reply in replies)
    assert first.header(b"set-cookie") != second.header(b"set-cookie")
    assert first.header(b"cache-control") == b"private, no-store"
    assert first.outcome == second.outcome == b"fwd=miss"


@pytest.mark.parametrize("public", [False, True])
def test_what_may_be_stored_was_made_without_cookies(site: MakeSite, public: bool) -> None:
    """Cookies that do not count are not shown to an app whose answer may be stored."""
    shop = site(CacheRule(paths="/items/*", public=public))
    shop.visit(profile, b"/items/1", (b"cookie", b"_ga=" + secrets.token_hex(8).encode()))
    assert shop.seen.header(b"cookie") is None
    assert shop.visit(profile).body == b"for anyone"


def test_a_public_rule_hides_who_is_asking(site: MakeSite) -> None:
    """Cookie and Authorization never reach the app there, so one answer is everyone's."""
    shop = site(CacheRule(paths="/items/*", public=True))
    for name in (b"cookie", b"authorization", b"cookie"):
        answer = shop.visit(profile, b"/items/1", credential(name))
        assert answer.body == b"for anyone"
        assert answer.header(b"cache-control") is None
    assert shop.calls == 1


@pytest.mark.parametrize(("method", "headers"), [("HEAD", []), ("GET", [(b"range", b"bytes=0-")])])
def test_a_public_rule_hides_it_past_the_cache_too(site: MakeSite, method: str, headers: list[Header]) -> None:
    """A path answers alike whether the cache was asked or not."""
    shop = site(CacheRule(paths="/items/*", public=True))
    shop.visit(profile, b"/items/1", credential(b"cookie"), *headers, method=method)
    assert shop.seen.header(b"cookie") is None


def test_a_public_rule_does_not_hide_api_keys(site: MakeSite) -> None:
    """Other credentials still reach the app, past the cache."""
    shop = site(CacheRule(paths="/items/*", public=True))
    key = credential(b"x-api-key")
    assert shop.visit(profile, b"/items/1", key).body == b"for " + key[1]
    assert shop.visit(profile).body == b"for anyone"


@pytest.mark.parametrize(
    "header",
    [
        (b"x-forwarded-host", b"evil.example"),
        (b"x-host", b"evil.example"),
        (b"forwarded", b"host=evil.example"),
        (b"x-original-url", b"/evil"),
        (b"x-rewrite-url", b"/evil"),
        (b"x-http-method-override", b"EVIL"),
        (b"x-method-override", b"EVIL"),
        (b"origin", b"https://evil.example"),
        (b"x-forwarded-proto", b"evil"),
        (b"x-forwarded-port", b"666"),
        (b"x-forwarded-prefix", b"/evil"),
        (b"x-requested-with", b"evil"),
        (b"hx-request", b"evil"),
        (b"content-length", b"4"),
        (b"transfer-encoding", b"chunked"),
    ],
)
def test_nobody_poisons_what_others_read(site: MakeSite, header: Header) -> None:
    """What an app may echo is either part of the key or keeps the request out of the cache."""
    shop = site()

    def echo(exchange: WrittenExchange) -> Reply:
        return Reply(exchange.header(header[0]) or b"clean")

    assert shop.visit(echo, b"/items/1", header).body == header[1]
    assert shop.visit(echo).body == b"clean"
    assert shop.visit(echo).outcome.startswith(b"hit")


@pytest.mark.parametrize("path", [b"/items/mine", b"/items/mine/", b"//items/mine"])
def test_a_path_that_is_never_cached_wins_over_every_rule(site: MakeSite, path: bytes) -> None:
    """Nothing on it is stored, and nothing of it may be shared further out."""
    shop = site(CacheRule(paths="/items/*", public=True), never=("/items/mine",))
    answers = [shop.visit(profile, path, credential(b"cookie")) for _ in range(2)]
    assert answers[0].body != answers[1].body
    assert [one.header(b"cache-control") for one in answers] == [b"private, no-store"] * 2
    said = Reply(headers=[(b"cache-control", b"no-cache")])
    assert shop.visit(said, path).header(b"cache-control") == b"no-cache"


names = st.sampled_from([*CREDENTIALS, b"accept", b"range", b"x-forwarded-host", b"origin"])
visits = st.lists(st.tuples(st.sampled_from("abc"), st.lists(names, max_size=3, unique=True)), max_size=12)


@given(visits, st.booleans())
def test_no_sequence_of_readers_leaks(sequence: list[tuple[str, list[bytes]]], public: bool) -> None:
    """Whoever visits in whatever order with whatever credentials, nobody sees a value that another one sent."""
    shop = CachedSite(CacheRule(paths="/items/*", public=public))
    for reader, sent in sequence:
        headers = [(name, b"%s=secret-of-%s" % (name, reader.encode())) for name in sent]
        body = shop.visit(profile, b"/items/1", *headers).body
        assert not [other for other in "abc" if other != reader and b"secret-of-" + other.encode() in body]
