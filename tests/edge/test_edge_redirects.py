"""Moved paths."""

from __future__ import annotations

import pytest
from tests.support.exchanges import WrittenExchange

from launchkit.edge.exempt import Exempt
from launchkit.edge.redirects import Redirects
from launchkit.errors import SettingsError
from launchkit.pipeline.exchange import EarlyResponse, Exchange
from launchkit.pipeline.interceptor import Interceptor, Planner
from launchkit.pipeline.paths import PathPattern
from launchkit.settings import EdgeSettings


class Mounted(WrittenExchange):
    """An exchange whose decoded path is not how it came."""

    def __init__(self, path: str, target: str) -> None:
        super().__init__("GET", target)
        self.path, self.raw = path, self.path

    @property
    def target(self) -> bytes:
        return self.raw.encode()


def location(table: dict[str, str], target: str, method: str = "GET", mount: str = "", decoded: str = "") -> str | None:
    interceptors: list[Interceptor] = [Redirects(EdgeSettings(redirects=table), Exempt())]
    path = decoded or target.partition("?")[0]
    plan = Planner(interceptors).plan(method, path, mount)
    if not plan.on_request:
        return None
    exchange: Exchange = Mounted(path, target)
    answer = plan.on_request[0](exchange)
    assert isinstance(answer, EarlyResponse)
    assert answer.status == 308
    return dict(answer.headers)[b"location"].decode()


TABLE = {
    "/old": "/new",
    "/blog/*": "/articles/*",
    "/blog/feed": "/feed.xml",
    "/blog/2019/*": "https://archive.example/2019/*",
    "/users/{id}": "/people?from=users#top",
    "/away": "https://other.example/there?a=1",
    "/all/*": "/everything",
}


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/old", "/new"),
        ("/old/", "/new"),
        ("//old", "/new"),
        ("/old?a=%20b", "/new?a=%20b"),
        ("/old/x", None),
        ("/blog", "/articles"),
        ("/blog/", "/articles/"),
        ("/blog/a%2Fb/c?d=1", "/articles/a%2Fb/c?d=1"),
        ("/blog//a", "/articles/a"),
        ("/blog/feed", "/feed.xml"),
        ("/blog/2019/x", "https://archive.example/2019/x"),
        ("/users/7?b=2", "/people?from=users&b=2#top"),
        ("/away?b=2", "https://other.example/there?a=1&b=2"),
        ("/all/of/it", "/everything"),
        ("/else", None),
    ],
)
def test_moved_paths_lead_where_they_moved(target: str, expected: str | None) -> None:
    """The most exact entry decides, and query and rest are kept as they came."""
    assert location(TABLE, target) == expected


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "BREW"])
def test_every_method_is_sent_on(method: str) -> None:
    """With 308, under which it stays what it is."""
    assert location(TABLE, "/old", method) == "/new"


@pytest.mark.parametrize(
    ("table", "target", "expected"),
    [
        ({"/old/*": "/*"}, "/old//evil.example", "/evil.example"),
        ({"/old/*": "/*"}, "/old/\\evil.example", "/%5Cevil.example"),
        ({"/old/*": "/*"}, "/old", "/"),
        ({"/old/*": "/new/*"}, "/old/a\r\nx: y", "/new/a%0D%0Ax:%20y"),
        ({"/*": "https://new.example/*"}, "//evil.example/x", "https://new.example/evil.example/x"),
        ({"/*": "https://new.example"}, "/x", "https://new.example"),
    ],
)
def test_no_request_makes_a_redirect_lead_elsewhere(table: dict[str, str], target: str, expected: str) -> None:
    """Where it leads is the settings' choice alone."""
    assert location(table, target) == expected


def test_a_prefix_of_the_server_stays() -> None:
    """Where the settings name paths as the app sees them, the browser is sent below the same prefix."""
    assert location({"/old/*": "/new/*"}, "/app/old/x", mount="/app") == "/app/new/x"
    assert location({"/app/old": "/elsewhere"}, "/app/old", mount="/app") == "/elsewhere"
    assert location({"/old": "https://x.example/new"}, "/app/old", mount="/app") == "https://x.example/new"
    assert location({"/*": "https://x.example/*"}, "/app/a", mount="/app") == "https://x.example/app/a"


def test_an_encoded_path_is_the_path_it_encodes() -> None:
    """What was a segment stays one."""
    assert location({"/old/*": "/new/*"}, "/%6Fld/a%20b", decoded="/old/a b") == "/new/a%20b"


@pytest.mark.parametrize(
    "table",
    [
        {"/a": "/a"},
        {"/a": "//a/".replace("//", "/")},
        {"/a": "/b", "/b": "/a"},
        {"/a": "/b", "/b": "/c", "/c": "/b/"},
        {"/a/*": "/a/*"},
        {"/a/*": "/a/b/*"},
        {"/a/*": "/b/*", "/b/*": "/a/*"},
        {"/a/*": "/b/*", "/b/x": "/a/x"},
        {"/*": "/new/*"},
        {"/": "/home", "/home/*": "/*"},
        {"/a/*": "/b/a/*", "/b/*": "/*"},
        {"/p/{id}": "/p/1"},
        {"/a": "https://example.com/a"},
        {"/a": "/%61"},
        {"/a": "/a?b=1"},
        {"/": "https://example.com"},
    ],
)
def test_a_loop_is_refused_at_the_start(table: dict[str, str]) -> None:
    """Over several entries too, through slashes, stars, encodings, and the site's own URL."""
    with pytest.raises(SettingsError, match=r"LAUNCHKIT_EDGE__REDIRECTS: .* leads back to itself"):
        Redirects(EdgeSettings(redirects=table, url="https://example.com"), Exempt())


@pytest.mark.parametrize(
    "table",
    [
        {"/a": "/b", "/b": "/c"},
        {"/a/*": "/*"},
        {"/q": "/a/a/z", "/a/*": "/*"},
        {"/y/q": "/x/z", "/x/*": "/y/*"},
        {"/a": "https://other.example/a"},
        {"/a/*": "/a2/*"},
    ],
)
def test_a_way_that_ends_is_no_loop(table: dict[str, str]) -> None:
    """However long it is."""
    Redirects(EdgeSettings(redirects=table, url="https://example.com"), Exempt())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/a", ""),
        ("/a", "b"),
        ("/a", "//evil.example"),
        ("/a", "/\\evil.example"),
        ("/a", "javascript:alert(1)"),
        ("/a", "/with space"),
        ("/a", "/b/*"),
        ("/a/*", "/b/*/c"),
        ("/a/*", "/b/*?c"),
        ("/a/{b}", "/c/{b}"),
    ],
)
def test_a_target_that_cannot_be_one_is_refused_at_the_start(old: str, new: str) -> None:
    """With the variable's name and the entry's."""
    with pytest.raises(SettingsError, match="LAUNCHKIT_EDGE__REDIRECTS: /a"):
        Redirects(EdgeSettings(redirects={old: new}), Exempt())


def test_webhooks_are_never_moved() -> None:
    """Their senders follow no redirects."""
    redirects = Redirects(EdgeSettings(redirects={"/*": "https://x.example/*"}), Exempt((), lambda: (HOOK,)))
    assert redirects.select("POST", frozenset({HOOK, PathPattern("/*")})) is None
    assert redirects.select("POST", frozenset({PathPattern("/*")})) is not None


HOOK = PathPattern("/webhooks/stripe")
