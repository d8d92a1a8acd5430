"""Two requests share a stored response only if no app could tell them apart by their URL, and what it is named by."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import combinations
from urllib.parse import unquote

import pytest
from cache_driver import Asked, CachedSite, says
from hypothesis import given
from hypothesis import strategies as st
from tests.support.exchanges import WrittenExchange

from launchkit.errors import LaunchKitError
from launchkit.pipeline.effects import CacheKey, Names
from launchkit.pipeline.exchange import Header
from launchkit.pipeline.paths import normalise
from launchkit.read_cache.bypass import examine
from launchkit.read_cache.key import cache_key, names_changed_by, names_of, names_to_invalidate

MakeSite = Callable[..., CachedSite]

HOST: Header = (b"host", b"shop.example")


def key_of(
    target: str,
    headers: Iterable[Header] = (HOST,),
    scheme: str = "https",
    mount: str = "",
    *,
    by_rule: bool = True,
) -> CacheKey:
    exchange = WrittenExchange("GET", target, headers, scheme=scheme)
    exchange.mount = mount
    return cache_key(exchange, examine(exchange, public=False, by_rule=by_rule))


text = st.sampled_from([b"", b"a", b"1:a", b"0:", b"a0:", b"https", b" 1:origin:a"]) | st.binary(max_size=6)
keyed = st.sampled_from([b"origin", b"x-forwarded-proto", b"x-forwarded-port", b"x-forwarded-prefix", b"hx-request"])
unknown = st.sampled_from([b"x-anything", b"x-country"])
requests = st.tuples(
    st.sampled_from(["http", "https"]),
    text,  # the host
    text.map(lambda raw: "/" + raw.decode("latin-1").replace("?", "")),
    text,  # the query
    st.lists(st.tuples(keyed | unknown, text), max_size=3),
)


def identity(scheme: str, host: bytes, path: str, query: bytes, headers: list[Header], *, by_rule: bool) -> object:
    """Tell what an app can: X-Forwarded-Proto says nothing where it repeats the scheme."""
    silent = [(b"x-forwarded-proto", scheme.encode())]
    unheeded = () if by_rule else (b"x-anything", b"x-country")
    told = sorted(header for header in headers if header not in silent and header[0] not in unheeded)
    return scheme, host.lower(), path, query, told


@given(requests, requests, st.booleans())
def test_two_resources_never_share_a_key(one: tuple, other: tuple, by_rule: bool) -> None:
    """RFC 9111 section 2: the key is at least the target URI, and here whatever else often makes content."""

    def key(scheme: str, host: bytes, path: str, query: bytes, headers: list[Header]) -> CacheKey:
        return key_of(f"{path}?{query.decode('latin-1')}", [(b"host", host), *headers], scheme, by_rule=by_rule)

    assert (key(*one) == key(*other)) == (identity(*one, by_rule=by_rule) == identity(*other, by_rule=by_rule))


def test_the_mount_prefix_is_part_of_the_key() -> None:
    """One app that is mounted twice is two apps, wherever the path is cut in two."""
    assert key_of("/a/items", mount="/a") != key_of("/a/items")
    cuts = [key_of(path, mount=mount)[2] for mount, path in [("", "/a/a/b"), ("/a", "/a/b"), ("/a/a", "/b")]]
    assert len(set(cuts)) == 3


def test_the_decoded_path_is_part_of_the_key() -> None:
    """It is what the app is given, whatever the target was: a layer outside may have made it another."""

    class Rewritten(WrittenExchange):
        @property
        def target(self) -> bytes:
            return b"/received"

    def key(path: str) -> CacheKey:
        exchange = Rewritten("GET", path, [HOST])
        return cache_key(exchange, examine(exchange, public=False, by_rule=False))

    assert key("/one") != key("/other")
    assert key("/one") == key("/one")


def test_host_is_compared_without_case() -> None:
    """RFC 9110 section 4.2.3: the host of a URI has no case."""
    assert key_of("/", [(b"host", b"Shop.EXAMPLE")]) == key_of("/")


def test_other_headers_are_no_part_of_the_key() -> None:
    """RFC 9111 section 4.1: they select variants, where Vary names them."""
    assert key_of("/", [HOST, (b"accept", b"text/html"), (b"user-agent", b"x")]) == key_of("/")


def test_a_header_that_nobody_knows_is_part_of_a_rules_key_only() -> None:
    """Without a rule the response has been asked to say by what it varies; with one it has not."""
    odd = [HOST, (b"x-anything", b"1")]
    assert key_of("/", odd, by_rule=True) != key_of("/", by_rule=True)
    assert key_of("/", odd, by_rule=False) == key_of("/", by_rule=False)
    two = [(b"x-anything", b"1"), (b"x-country", b"de")]
    assert key_of("/", [HOST, *two]) == key_of("/", [*reversed(two), HOST])


SPELLINGS = [
    *("/items/1", "/items/1/", "//items/1", "/items//1", "/items/%31", "/items/1%2f", "/items/1;a"),
    *("/items/1?", "/items/1?a", "/items/1?a=", "/items/1?a=1&b=2", "/items/1?b=2&a=1", "/items/1?a=1&a=1"),
    *(
        "/items/1?a=1;b=2",
        "/items/1?a=1%26b=2",
        "/items/1?A=1&b=2",
        "/items/1?utm_source=x",
        "/items/1?a=+",
        "/items/1?a=%20",
    ),
]


def test_spelling_matters(site: MakeSite) -> None:
    """RFC 9111 section 2: nothing is normalised, reordered or left out that an app might tell apart."""
    shop = site()
    shop.app = lambda asked: says(b"%d" % len(shop.calls), ("etag", f'"{asked.query}"'))
    # an empty query is the one thing that no app is told about
    different = [path for path in SPELLINGS if path != "/items/1?"]
    bodies = [shop.get(path).body for path in different]
    assert len(set(bodies)) == len(different)
    assert [shop.get(path).body for path in different] == bodies


def test_spellings_of_a_host_share(site: MakeSite) -> None:
    """RFC 9110 section 4.2.3, end to end; another port or host is another site."""
    shop = site()
    shop.get("/items/1", ("host", "shop.example"))
    assert shop.get("/items/1", ("host", "Shop.Example")).is_hit
    for host in ("shop.example:8080", "www.shop.example", "shop.example.evil.example"):
        assert not shop.get("/items/1", ("host", host)).is_hit


def test_http_and_https_are_two_sites(site: MakeSite) -> None:
    """RFC 9110 section 4.2.2: the schemes are separate namespaces."""
    shop = site()
    shop.app = lambda asked: says(asked.scheme.encode())
    bodies = [shop.get(scheme=scheme).body for scheme in ("http", "https", "http", "https")]
    assert bodies == [b"http", b"https"] * 2
    assert len(shop.calls) == 2


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("origin", ["https://a.example", "https://b.example"]),
        ("x-forwarded-proto", ["http", "gopher"]),
        ("x-forwarded-port", ["80", "443"]),
        ("x-forwarded-prefix", ["/a", "/b"]),
        ("hx-request", ["true", "1"]),
        ("x-requested-with", ["XMLHttpRequest", "x"]),
    ],
)
def test_what_apps_heed_without_saying_so_is_part_of_the_key(site: MakeSite, name: str, values: list[str]) -> None:
    """RFC 9111 section 4.1 leaves it to Vary, which apps forget for these."""
    shop = site()

    def echo(asked: Asked) -> object:
        return says((asked.header(name) or "none").encode())

    shop.app = echo
    kinds = [[], *[[(name, value)] for value in values]]
    for _ in range(2):
        assert [shop.get("/items/1", *kind).body.decode() for kind in kinds] == ["none", *values]
    assert len(shop.calls) == 3


@pytest.mark.parametrize("name", ["x-anything", "x-country", "x-theme", "accept-charset", "x_currency"])
def test_what_nobody_knows_tells_pages_of_a_rule_apart(site: MakeSite, name: str) -> None:
    """An app may make its page from any header and forget to say so."""
    shop = site(app=lambda asked: says((asked.header(name) or asked.header(name.replace("_", "-")) or "").encode()))
    kinds = [[], [(name, "one")], [(name, "two")]]
    for _ in range(2):
        answers = [shop.get("/items/1", *kind) for kind in kinds]
        assert [answer.body for answer in answers] == [b"", b"one", b"two"]
    assert all(answer.is_hit for answer in answers)
    assert len(shop.calls) == 3


def test_without_a_rule_what_nobody_knows_is_the_responses_affair(site: MakeSite) -> None:
    """RFC 9111 section 4.1: whoever says how long it is fresh says by what it varies."""
    shop = site(app=says(b"everyone's", ("cache-control", "max-age=60")))
    for value in ("one", "two"):
        answer = shop.get("/elsewhere", ("x-anything", value))
    assert answer.is_hit


@pytest.mark.parametrize("path", ["/items/1", "/elsewhere/1"])
def test_a_path_that_a_layer_outside_has_rewritten_is_another_page(site: MakeSite, path: str) -> None:
    """Such layers change the path that the app is given, and leave alone what the server has received."""
    shop = site(app=lambda asked: says(asked.path.encode(), ("cache-control", "max-age=60")))
    received = {"raw_path": b"/shop"} if shop.is_async else {"RAW_URI": "/shop"}
    rewritten = [path, f"{path}2", path, f"{path}2"]
    answers = [shop.get(one, **received) for one in rewritten]
    assert [answer.body.decode() for answer in answers] == rewritten
    assert [answer.is_hit for answer in answers] == [False, False, True, True]


# --- names ---------------------------------------------------------------------------------------------------------


def exchange_of(target: str, mount: str = "", *headers: Header) -> WrittenExchange:
    exchange = WrittenExchange("POST", target, [HOST])
    exchange.mount = mount
    return exchange.answer(200, *headers)


def test_a_response_is_named_by_its_path_those_above_and_its_tags() -> None:
    """RFC 9111 section 4.4: what invalidation finds it by, whatever its query."""
    names = names_of(exchange_of("/items/1?a=1"), ("red", "blue"))
    assert set(names) == {"all:", "path:/items/1", "below:/", "below:/items", "below:/items/1", "tag:red", "tag:blue"}
    assert set(names_of(exchange_of("/"), ())) == {"all:", "path:/", "below:/"}


def test_a_mounted_app_names_by_both_paths() -> None:
    """An app invalidates by the path that it knows itself by."""
    names = set(names_of(exchange_of("/shop/items/1", "/shop"), ()))
    assert {"path:/shop/items/1", "path:/items/1", "below:/items", "below:/shop"} <= names


def test_an_app_behind_a_proxy_that_strips_the_prefix_names_by_both_paths() -> None:
    """The path has no prefix then, and visitors know the resource by the one that has."""
    names = set(names_of(exchange_of("/items/1", "/shop"), ()))
    assert {"path:/shop/items/1", "path:/items/1", "below:/items", "below:/shop"} <= names
    assert set(names_changed_by(exchange_of("/items/1", "/shop"))) == {"path:/shop/items/1", "path:/items/1"}


paths = st.lists(st.sampled_from(["items", "1", "a b", "ü", "%2f"]), max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)


@given(paths, paths)
def test_a_prefix_means_all_below_it_and_nothing_else(path: str, prefix: str) -> None:
    """`/items` is not above `/itemsandmore`."""
    named: Names = names_of(exchange_of(path), ())
    meant = names_to_invalidate(None, prefix, None)
    spellings = {prefix, normalise(unquote(prefix))}
    is_below = any(path == one or path.startswith(one.rstrip("/") + "/") for one in spellings)
    assert (not set(meant).isdisjoint(named)) == is_below


@pytest.mark.parametrize(
    ("headers", "paths"),
    [
        ([], []),
        ([(b"location", b"/items/2")], ["/items/2"]),
        ([(b"Location", b"https://SHOP.example/items/2?x=1#y")], ["/items/2"]),
        ([(b"location", b"2")], ["/items/2"]),
        ([(b"content-location", b"/it%65ms//3/")], ["/items/3"]),
        ([(b"location", b"/a"), (b"content-location", b"/b")], ["/a", "/b"]),
        ([(b"location", b"https://other.example/items/2")], []),
        ([(b"location", b"//other.example/items/2")], []),
        ([(b"location", b"https://shop.example:444/items/2")], []),
        ([(b"location", b"https://[bad/items/2")], []),
    ],
)
def test_a_change_names_its_path_and_where_it_points_to(headers: list[Header], paths: list[str]) -> None:
    """RFC 9111 section 4.4: the target URI, and Location and Content-Location on the same host only."""
    names = names_changed_by(exchange_of("/items/1", "", *headers))
    assert set(names) == {"path:/items/1", *(f"path:{path}" for path in paths)}


def test_all_pairs_of_what_can_be_invalidated_are_apart() -> None:
    """A path, a prefix and a tag of one text are three names."""
    kinds = [names_to_invalidate(*asked) for asked in [("/a", None, None), (None, "/a", None), (None, None, "/a")]]
    assert all(set(one).isdisjoint(other) for one, other in combinations(kinds, 2))
    assert names_to_invalidate(None, None, None) == ("all:",)


@pytest.mark.parametrize("path", ["/caf%C3%A9/1", "/café/1", "/café/1?page=2", "/caf%C3%A9/1/"])
def test_a_path_is_meant_however_frameworks_give_it(path: str) -> None:
    """Some hand out the decoded path, some the path as received, some with its query."""
    named = names_of(WrittenExchange("GET", "/caf\xe9/1".encode("latin-1").decode("latin-1")), ())
    assert not set(names_to_invalidate(path, None, None)).isdisjoint(named)


@pytest.mark.parametrize("path", ["items/1", "https://example.org/items/1", ""])
def test_what_is_no_path_is_refused(path: str) -> None:
    """It would invalidate nothing, in silence."""
    for asked in ((path, None, None), (None, path, None)):
        with pytest.raises(LaunchKitError, match="begins with a slash"):
            names_to_invalidate(*asked)
