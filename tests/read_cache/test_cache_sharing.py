"""What caches further out are told: nothing that the app has not said, but to keep away from what is personal."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cache_driver import CachedSite, Field, says

from launchkit.settings import CacheRule

MakeSite = Callable[..., CachedSite]

PATHS = ["/items/1", "/elsewhere"]
PERSONAL: list[list[Field]] = [[("cookie", "session=x")], [("authorization", "Bearer x")]]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("headers", PERSONAL, ids=["cookie", "authorization"])
@pytest.mark.parametrize("status", [200, 302, 404, 500])
def test_personal_responses_are_kept_out_of_caches_further_out(
    site: MakeSite, path: str, headers: list[Field], status: int
) -> None:
    """RFC 9111 section 5.2.2.7: private, where the app has said nothing; a CDN in front would share it."""
    shop = site(app=says(b"", status=status))
    assert shop.get(path, *headers).is_unshared
    assert shop.send("HEAD", path, *headers).is_unshared


def test_under_a_rule_every_credential_counts(site: MakeSite) -> None:
    """Elsewhere the two common ones do, because looking at all headers of all requests costs too much."""
    shop = site()
    assert shop.get("/items/1", ("x-api-key", "x")).is_unshared
    assert shop.get("/items/1", user="alice").is_unshared


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_sets_a_cookie_is_kept_out(site: MakeSite, path: str, method: str) -> None:
    """RFC 9111 section 7.3 does not, and CDNs store it."""
    answer = site(app=says(b"", ("Set-Cookie", "a=b"))).send(method, path)
    assert answer.is_unshared
    assert answer.header("set-cookie") == "a=b"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_never_paths_are_kept_out(site: MakeSite, method: str) -> None:
    """Also for strangers, and whatever the status."""
    shop = site(never=("/mine",), app=says(b"", status=404))
    assert shop.send(method, "/mine").is_unshared


@pytest.mark.parametrize("said", ["max-age=5", "no-cache", "public", ""])
@pytest.mark.parametrize(
    ("path", "headers"), [("/items/1", PERSONAL[0]), ("/elsewhere", PERSONAL[1]), ("/mine", []), ("/mine", PERSONAL[0])]
)
def test_what_the_app_says_stands(site: MakeSite, said: str, path: str, headers: list[Field]) -> None:
    """The kit never overrides a header that the app has set."""
    shop = site(never=("/mine",), app=says(b"", ("Cache-Control", said), ("set-cookie", "a=b")))
    assert shop.get(path, *headers).header("cache-control") == said


@pytest.mark.parametrize("path", PATHS)
def test_what_is_for_everyone_is_left_alone(site: MakeSite, path: str) -> None:
    """Neither misses nor hits of strangers are told anything."""
    shop = site()
    for _ in range(2):
        assert shop.get(path, ("cookie", "_ga=1")).header("cache-control") is None


@pytest.mark.parametrize("validator", [("ETag", '"v1"'), ("Last-Modified", "Mon, 13 Nov 2023 00:00:00 GMT")])
def test_files_without_a_rule_are_left_alone(site: MakeSite, validator: Field) -> None:
    """They have validators, and browsers should not have to fetch them again for every page of one who is logged in."""
    shop = site(app=says(b"", validator))
    assert shop.get("/elsewhere", *PERSONAL[0]).header("cache-control") is None
    assert shop.get("/items/1", *PERSONAL[0]).is_unshared
    shop.app = says(b"", validator, ("set-cookie", "a=b"))
    assert shop.get("/elsewhere").is_unshared


@pytest.mark.parametrize("said", [("cache-control", "max-age=60")])
def test_files_are_left_alone_wherever_something_was_stored(said: Field) -> None:
    """What one response of a path has said changes nothing for those that say nothing."""
    shop = CachedSite(colour="wsgi", app=says(b"", said))
    shop.get("/elsewhere")
    shop.app = says(b"", ("etag", '"v1"'))
    assert shop.get("/elsewhere", *PERSONAL[0]).header("cache-control") is None


def test_a_public_rule_makes_no_personal_responses(site: MakeSite) -> None:
    """Who is asking was hidden: a CDN may share the answer; not so where an API key was shown."""
    shop = site(CacheRule(paths="/items/*", public=True))
    assert shop.get("/items/1", *PERSONAL[0], *PERSONAL[1]).header("cache-control") is None
    assert shop.get("/items/2", ("x-api-key", "x"), *PERSONAL[0]).is_unshared


def test_a_public_rule_that_is_bypassed_is_not_personal_either(site: MakeSite) -> None:
    """The cookie was hidden there as well."""
    shop = site(CacheRule(paths="/items/*", public=True))
    assert shop.get("/items/1", ("x-host", "other"), *PERSONAL[0]).header("cache-control") is None


@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
def test_other_methods_are_left_alone(site: MakeSite, method: str) -> None:
    """RFC 9110 section 9.3: their responses are not stored by anyone unless they say so."""
    shop = site(never=("/mine",), app=says(b"", ("set-cookie", "a=b")))
    for path in (*PATHS, "/mine"):
        assert shop.send(method, path, *PERSONAL[0]).header("cache-control") is None
