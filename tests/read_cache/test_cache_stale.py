"""What is stale is fetched anew by one, confirmed where the app still stands by it, and given where it may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cache_driver import CachedSite, Field, Gate, Said, says, until

from launchkit.settings import CacheRule

MakeSite = Callable[..., CachedSite]

MODIFIED = ("last-modified", "Mon, 13 Nov 2023 00:00:00 GMT")
TAG = ("etag", '"v1"')
VALIDATORS: dict[str, tuple[list[Field], Field]] = {
    "ETag": ([TAG], ("if-none-match", '"v1"')),
    "weak ETag": ([("etag", 'W/"v1"')], ("if-none-match", 'W/"v1"')),
    "Last-Modified": ([MODIFIED], ("if-modified-since", MODIFIED[1])),
}
"""What a stored response has, and what the app is asked with."""
NOT_MODIFIED = says([], status=304)
NO_WINDOW = CacheRule(paths="/items/*", stale_while_revalidate=0)


def stale(
    site: MakeSite, *headers: Field, rule: CacheRule | None = None, seconds: float = 31, **options: object
) -> CachedSite:
    """Return a site whose `/items/1` was stored and is stale."""
    shop = site(*([rule] if rule else []), **options)
    shop.app = says(b"old", *headers)
    assert shop.get().is_stored
    shop.clock.advance(seconds)
    shop.calls.clear()
    return shop


# --- while it is fetched anew ---------------------------------------------------------------------------------------


def test_one_fetches_anew_while_others_are_given_the_stale_one(site: MakeSite) -> None:
    """RFC 5861 section 3, in the foreground: nothing runs without a request, and nobody else waits."""
    shop = stale(site)
    gate = Gate()
    shop.app = says(b"new", before=gate)
    fetching = shop.begin()
    until(lambda: shop.calls)
    for _ in range(3):
        other = shop.get()
        assert (other.body, other.is_hit, other.ttl, other.header("age")) == (b"old", True, -1, "31")
    gate.open()
    first = fetching.end()
    assert (first.body, first.forwarded, first.is_stored) == (b"new", "stale", True)
    after = shop.get()
    assert (after.body, after.is_hit, after.header("age")) == (b"new", True, "0")
    assert len(shop.calls) == 1


def test_after_the_window_everybody_waits(site: MakeSite) -> None:
    """RFC 5861 section 3: stale up to the end of the window and no longer."""
    shop = stale(site, TAG, seconds=90)
    gate = Gate()
    shop.app = says(b"new", before=gate)
    visits = [shop.begin() for _ in range(5)]
    until(lambda: shop.followers == 4)
    gate.open()
    assert {visit.end().body for visit in visits} == {b"new"}
    assert len(shop.calls) == 1


def test_the_response_sets_its_own_window(site: MakeSite) -> None:
    """RFC 5861 section 3: stale-while-revalidate wins over the rule's."""
    for seconds, is_given in [(4, True), (6, False)]:
        shop = stale(site, ("cache-control", "max-age=5, stale-while-revalidate=5"), TAG, seconds=5 + seconds)
        gate = Gate()
        shop.app = says(b"new", before=gate)
        first = shop.begin()
        until(lambda: len(shop.calls) == 1)  # noqa: B023  # awaited within the loop
        second = shop.begin()
        until(lambda: second.is_over or shop.followers)  # noqa: B023  # awaited within the loop
        assert second.is_over == is_given
        gate.open()
        assert (first.end().body, second.end().body) == (b"new", b"old" if is_given else b"new")


FORBIDDING = [
    *("max-age=30, must-revalidate", "max-age=30, proxy-revalidate", "s-maxage=30"),
    *("max-age=30, must-revalidate, stale-while-revalidate=60", "s-maxage=30, stale-if-error=60"),
]


@pytest.mark.parametrize("said", FORBIDDING)
def test_nobody_is_given_a_stale_response_that_forbids_it(site: MakeSite, said: str) -> None:
    """RFC 9111 section 4.2.4: not while it is fetched anew, and not when that fails."""
    shop = stale(site, ("cache-control", said), TAG, settings={"stale_if_error": 600})
    gate = Gate()
    shop.app = says(b"broken", status=503, before=gate)
    visits = [shop.begin() for _ in range(3)]
    until(lambda: shop.followers == 2)
    gate.open()
    answers = [visit.end() for visit in visits]
    assert [(answer.status, answer.body) for answer in answers] == [(503, b"broken")] * 3


def test_who_says_who_is_asking_is_given_nothing_stale(site: MakeSite) -> None:
    """A public response is for them while it is fresh; after that the app is asked."""
    shop = stale(site, ("cache-control", "public"))
    shop.app = says(b"new", ("cache-control", "public"))
    cookie = ("cookie", "session=x")
    assert shop.get("/items/1", cookie).body == b"new"
    assert shop.get("/items/1", cookie).is_hit


@pytest.mark.parametrize(
    "app", [says(b"", status=503), says([b"half", ValueError()]), says(b"", ("cache-control", "no-store"))]
)
def test_the_next_one_tries_where_one_has_not_renewed_it(site: MakeSite, app: Said) -> None:
    """Every way out of a request lets another one go."""
    shop = stale(site, ("cache-control", "max-age=30, stale-while-revalidate=60, stale-if-error=0"))
    shop.app = app
    first = shop.get()
    if first.forwarded == "stale" and first.body == b"old":  # given in place of the 503
        shop.clock.advance(5)
    assert not shop.get().is_hit
    assert len(shop.calls) == 2


@pytest.mark.parametrize("said", [("set-cookie", "a=b"), ("cache-control", "private")])
def test_nobody_queues_behind_a_stale_response_that_is_not_renewed(said: Field) -> None:
    """What proved uncacheable is remembered, whatever was stored of it before."""
    shop = CachedSite((NO_WINDOW,), app=says(b"old", TAG))
    shop.get()
    shop.clock.advance(31)
    shop.app = says(b"mine", said)
    shop.get()
    gate = Gate()
    shop.calls.clear()
    shop.app = says(b"mine", said, before=gate)
    visits = [shop.begin() for _ in range(3)]
    try:
        until(lambda: len(shop.calls) == 3, seconds=1)
    finally:
        gate.open()
        for visit in visits:
            visit.end()
        shop.close()


# --- confirmed ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [None, NO_WINDOW], ids=["in the window", "after it"])
@pytest.mark.parametrize("kind", VALIDATORS)
def test_the_app_confirms_what_is_stored(site: MakeSite, kind: str, rule: CacheRule | None) -> None:
    """RFC 9111 section 4.3: the app is asked with the stored validator; its 304 makes the stored response fresh."""
    headers, condition = VALIDATORS[kind]
    shop = stale(site, *headers, ("x-price", "1"), ("content-type", "text/plain"), rule=rule)
    shop.app = says([], ("x-price", "2"), status=304)
    answer = shop.get()
    assert shop.calls[0].header(condition[0]) == condition[1]
    assert (answer.status, answer.body, answer.forwarded, answer.header("age")) == (200, b"old", "stale", "0")
    assert (answer.header("x-price"), answer.header("content-type")) == ("2", "text/plain")
    assert answer.header("content-length") == "3"
    shop.clock.advance(29)
    after = shop.get()
    assert (after.is_hit, after.body, after.header("x-price"), after.header("age")) == (True, b"old", "2", "29")
    assert (len(shop.calls), shop.figures.revalidated) == (1, 1)


def test_a_confirmed_response_is_never_given_as_it_was_before(site: MakeSite) -> None:
    """RFC 9111 section 4.3.4: its headers are the new ones, also at an age at which the old ones were given."""
    shop = stale(site, TAG, ("x-price", "1"), seconds=7)
    assert shop.get().header("x-price") == "1"
    shop.clock.advance(30)
    shop.app = says([], ("x-price", "2"), status=304)
    shop.get()
    shop.clock.advance(7)
    after = shop.get()
    assert (after.is_hit, after.header("age"), after.header("x-price")) == (True, "7", "2")


def test_a_304_may_change_how_long_it_is_fresh(site: MakeSite) -> None:
    """RFC 9111 sections 3.2 and 4.3.4."""
    shop = stale(site, TAG)
    shop.app = says([], ("cache-control", "max-age=500"), status=304)
    shop.get()
    assert shop.get().ttl == 500


@pytest.mark.parametrize("said", [("cache-control", "no-store"), ("cache-control", "private"), ("set-cookie", "a=b")])
def test_a_304_that_may_not_be_stored_renews_nothing(site: MakeSite, said: Field) -> None:
    """RFC 9111 section 3.2: the reader gets the confirmed response, as it says now, and the next one asks again."""
    shop = stale(site, TAG)
    shop.app = says([], said, status=304)
    for _ in range(2):
        answer = shop.get()
        assert (answer.status, answer.body, answer.header(said[0])) == (200, b"old", said[1])
    assert len(shop.calls) == 2
    shop.app = NOT_MODIFIED
    assert [(answer.body, answer.header(said[0])) for answer in (shop.get(), shop.get())] == [(b"old", None)] * 2


@pytest.mark.parametrize(("condition", "status"), [([], 200), ([("if-none-match", '"v1"')], 304)])
def test_a_cookie_on_a_304_reaches_one_reader(site: MakeSite, condition: list[Field], status: int) -> None:
    """Nobody else gets it, neither from here nor from a cache further out."""
    shop = stale(site, TAG)
    gate = Gate()
    shop.app = lambda asked: says([], ("Set-Cookie", f"session={len(shop.calls)}"), status=304, before=gate)
    asking = shop.begin("/items/1", *condition)
    until(lambda: shop.calls)
    other = shop.get()
    gate.open()
    answers = [asking.end(), shop.get("/items/1", *condition)]
    assert [(answer.status, answer.is_unshared) for answer in answers] == [(status, True)] * 2
    assert [answer.header("set-cookie") for answer in answers] == ["session=1", "session=2"]
    assert (other.is_hit, other.header("set-cookie"), other.header("cache-control")) == (True, None, None)


def test_what_the_app_says_about_caching_stands_beside_its_cookie(site: MakeSite) -> None:
    """Nothing is added to it."""
    shop = stale(site, TAG)
    shop.app = says([], ("set-cookie", "a=b"), ("cache-control", "private, max-age=5"), status=304)
    assert shop.get().header("cache-control") == "private, max-age=5"


def test_a_confirmed_response_keeps_its_tags(site: MakeSite) -> None:
    """It is invalidated by them as before."""
    shop = stale(site, TAG, ("cache-tag", "red, blue"))
    shop.app = NOT_MODIFIED
    shop.get()
    assert shop.get().is_hit
    shop.cache.invalidate(tag="blue")
    assert not shop.get().is_hit


@pytest.mark.parametrize(("tag", "status"), [('"v1"', 304), ('"v0"', 200)])
def test_the_clients_own_condition_is_answered_after_the_apps(site: MakeSite, tag: str, status: int) -> None:
    """RFC 9111 section 4.3.2: the client's validators are hidden from the app and compared with what was confirmed."""
    shop = stale(site, TAG)
    shop.app = NOT_MODIFIED
    answer = shop.get("/items/1", ("if-none-match", tag))
    assert shop.calls[0].header("if-none-match") == '"v1"'
    assert (answer.status, answer.body) == (status, b"" if status == 304 else b"old")


def test_what_has_no_validator_is_asked_for_without(site: MakeSite) -> None:
    """RFC 9111 section 4.3.1: nor with the client's, whose 304 would renew nothing."""
    shop = stale(site)
    shop.app = says(b"new")
    answer = shop.get("/items/1", ("if-none-match", '"x"'), ("if-modified-since", MODIFIED[1]))
    assert shop.calls[0].headers.keys().isdisjoint({"if-none-match", "if-modified-since"})
    assert (answer.status, answer.body) == (200, b"new")


def test_a_new_response_takes_the_place_of_the_stale_one(site: MakeSite) -> None:
    """RFC 9111 section 4.3.3: a full response is used, and stored."""
    shop = stale(site, TAG)
    shop.app = says(b"new", ("etag", '"v2"'))
    assert shop.get().body == b"new"
    after = shop.get("/items/1", ("if-none-match", '"v2"'))
    assert (after.status, after.is_hit) == (304, True)


def test_a_404_takes_its_place_too(site: MakeSite) -> None:
    """What is gone is not an error of the app's."""
    shop = stale(site, TAG, settings={"stale_if_error": 600})
    shop.app = says(b"gone", status=404)
    assert [shop.get().status for _ in range(2)] == [404, 404]
    assert len(shop.calls) == 1


# --- when the app fails ---------------------------------------------------------------------------------------------

BY_DIRECTIVE = {"headers": [("cache-control", "max-age=30, stale-while-revalidate=0, stale-if-error=60")]}
BY_SETTING = {"headers": [], "rule": NO_WINDOW, "settings": {"stale_if_error": 60}}
BY_WINDOW = {"headers": [("cache-control", "max-age=30, stale-while-revalidate=60")]}


def failing(site: MakeSite, asked: dict, app: Said) -> CachedSite:
    options = dict(asked)
    shop = stale(site, *options.pop("headers"), **options)
    shop.app = app
    return shop


@pytest.mark.parametrize("asked", [BY_DIRECTIVE, BY_SETTING, BY_WINDOW], ids=["directive", "setting", "window"])
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_the_stale_response_is_given_when_the_app_fails(site: MakeSite, asked: dict, status: int) -> None:
    """RFC 5861 section 4: by the response's own directive, by setting, or while it could be given anyway."""
    shop = failing(site, asked, says(b"broken", ("set-cookie", "a=b"), status=status))
    answer = shop.get()
    assert (answer.status, answer.body, answer.forwarded) == (200, b"old", "stale")
    assert (answer.header("age"), answer.header("set-cookie")) == ("31", None)
    assert answer.error is None


@pytest.mark.parametrize("asked", [BY_DIRECTIVE, BY_SETTING], ids=["directive", "setting"])
def test_it_is_given_when_the_app_raises_which_is_raised(site: MakeSite, asked: dict) -> None:
    """RFC 5861 section 4: the client gets the stored response, the server the exception."""
    shop = failing(site, asked, says(before=ValueError("broken")))
    answer = shop.get()
    assert (answer.status, answer.body, answer.forwarded) == (200, b"old", "stale")
    assert isinstance(answer.error, ValueError)


@pytest.mark.parametrize("asked", [BY_DIRECTIVE, BY_SETTING], ids=["directive", "setting"])
def test_a_failure_is_remembered_for_five_seconds(site: MakeSite, asked: dict) -> None:
    """An app that is down is not asked by everyone."""
    shop = failing(site, asked, says(b"", status=503))
    for _ in range(3):
        assert shop.get().body == b"old"
    shop.clock.advance(4.9)
    assert (shop.get().is_hit, len(shop.calls)) == (True, 1)
    shop.clock.advance(0.1)
    shop.app = says(b"new")
    assert shop.get().body == b"new"
    assert shop.get().is_hit


def test_those_who_waited_are_given_it_too(site: MakeSite) -> None:
    """They do not fail one after the other."""
    gate = Gate()
    shop = failing(site, BY_SETTING, says(b"", status=503, before=gate))
    visits = [shop.begin() for _ in range(5)]
    until(lambda: shop.followers == 4)
    gate.open()
    assert {visit.end().body for visit in visits} == {b"old"}
    assert len(shop.calls) == 1


@pytest.mark.parametrize("asked", [BY_DIRECTIVE, BY_SETTING], ids=["directive", "setting"])
def test_after_its_window_the_failure_is_shown(site: MakeSite, asked: dict) -> None:
    """RFC 5861 section 4: up to that many seconds after it became stale."""
    shop = failing(site, asked | {"seconds": 90}, says(b"broken", status=503))
    assert [shop.get().body for _ in range(2)] == [b"broken"] * 2


@pytest.mark.parametrize("status", [400, 403, 429, 501])
def test_other_errors_are_the_apps_answer(site: MakeSite, status: int) -> None:
    """RFC 5861 section 4 names 500, 502, 503 and 504."""
    assert failing(site, BY_SETTING, says(b"no", status=status)).get().status == status


def test_without_being_asked_no_failure_is_hidden(site: MakeSite) -> None:
    """By default a response past its window is not given any more."""
    shop = stale(site, TAG, rule=NO_WINDOW)
    shop.app = says(b"broken", status=500)
    assert shop.get().status == 500


def test_a_failure_in_mid_stream_comes_too_late(site: MakeSite) -> None:
    """What was sent was sent; the stale response stays."""
    shop = failing(site, BY_SETTING, says([b"half;", ValueError()]))
    answer = shop.get()
    assert (answer.body, type(answer.error)) == (b"half;", ValueError)
    shop.app = says(b"", status=503)
    assert shop.get().body == b"old"


def test_a_wsgi_app_that_thinks_better_of_its_response_has_failed() -> None:
    """PEP 3333: until something was sent start_response may be called again with what went wrong."""

    class Hesitating(CachedSite):
        def _wsgi(self, environ: Any, start_response: Any) -> Iterator[bytes]:
            start_response("200 OK", [])
            if self.calls:
                return self._changed(start_response)
            return super()._wsgi(environ, start_response)

        def _changed(self, start_response: Any) -> Iterator[bytes]:
            yield b""
            error = ValueError("broken")
            start_response("503 Down", [], (ValueError, error, None))
            yield b"broken"

    shop = Hesitating(colour="wsgi", settings={"stale_if_error": 60}, app=says(b"old"))
    shop.get()
    shop.clock.advance(31)
    answer = shop.get()
    assert (answer.status, answer.body, answer.forwarded) == (200, b"old", "stale")


def test_a_failure_without_a_rule_is_covered_as_well(site: MakeSite) -> None:
    """Whoever says how long it is fresh may say this, too."""
    shop = site(app=says(b"old", ("cache-control", "max-age=30, stale-if-error=60")))
    shop.get("/elsewhere")
    shop.clock.advance(31)
    shop.app = says(before=ValueError("broken"))
    answer = shop.get("/elsewhere")
    assert (answer.status, answer.body, type(answer.error)) == (200, b"old", ValueError)


# --- what others do to a page ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [("set-cookie", "a=b"), ("cache-control", "no-store")])
def test_a_response_that_cannot_be_stored_does_not_end_the_window(site: MakeSite, said: Field) -> None:
    """RFC 5861 section 3: one request at a time goes to the app, the others are given the stale response."""
    shop = site(app=says(b"old"))
    shop.get()
    shop.clock.advance(31)
    gate = Gate()
    shop.app = says(b"mine", said, before=gate)
    leader = shop.begin()
    until(lambda: len(shop.calls) == 2)
    assert [shop.get().body for _ in range(3)] == [b"old"] * 3
    gate.open()
    leader.end()
    assert len(shop.calls) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 412, 416, 429, 500, 503])
def test_one_clients_mistake_says_nothing_about_the_page(site: MakeSite, status: int) -> None:
    """Anybody could switch the protection from stampedes off with it."""
    shop = site(app=says(b"", status=status))
    shop.get("/items/1", ("range", "bytes=999-"))
    assert not shop.cache._shared.uncacheable._until
