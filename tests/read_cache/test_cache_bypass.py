"""Requests that could poison what others read, or that ask for more than the plain resource, go past the cache."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import pytest
from cache_driver import COLOURS, Asked, CachedSite, Field, Said, says

from launchkit.read_cache.bypass import HARMLESS
from launchkit.settings import CacheRule

MakeSite = Callable[..., CachedSite]


def echo(asked: Asked) -> Said:
    """Answer with everything that the app was shown, as a careless one might in links and pages."""
    return says(repr((asked.method, asked.path, asked.scheme, sorted(asked.headers.items()), asked.body)).encode())


@pytest.mark.parametrize(
    ("header", "detail"),
    [
        (("authorization", "x"), "authorization"),
        (("proxy-authorization", "x"), "authorization"),
        (("cookie", "session=x"), "cookie"),
        (("cookie", "_ga=1; session=x"), "cookie"),
        (("x-api-key", "x"), "credential"),
        (("x-http-method-override", "DELETE"), "method-override"),
        (("x-http-method", "DELETE"), "method-override"),
        (("x-method-override", "DELETE"), "method-override"),
        (("x-forwarded-host", "evil.example"), "host-override"),
        (("x-host", "evil.example"), "host-override"),
        (("x-original-host", "evil.example"), "host-override"),
        (("forwarded", "for=1.2.3.4;host=evil.example"), "host-override"),
        (("x-original-url", "/evil"), "target-override"),
        (("x-rewrite-url", "/evil"), "target-override"),
        (("x-forwarded-uri", "/items/1?evil"), "target-override"),
        (("x_api_key", "x"), "credential"),
        (("proxy_authorization", "x"), "authorization"),
        (("x_http_method_override", "DELETE"), "method-override"),
        (("x_forwarded_host", "evil.example"), "host-override"),
        (("x_original_url", "/evil"), "target-override"),
    ],
)
def test_the_reason_is_told(site: MakeSite, header: Field, detail: str) -> None:
    """RFC 9211 sections 2.2 and 2.8: fwd=bypass, with the reason as detail; nothing stored, nothing given."""
    shop = site()
    shop.get()
    shop.app = says(b"other")
    answer = shop.get("/items/1", header)
    assert (answer.body, answer.forwarded, answer.detail, answer.is_stored) == (b"other", "bypass", detail, False)
    assert shop.get().body == b"hello"


@pytest.mark.parametrize(
    "header",
    [
        ("x-forwarded-host", "example.org"),
        ("x-forwarded-host", "EXAMPLE.org"),
        ("forwarded", "for=1.2.3.4;proto=https"),
        ("x-original-url", "/items/1"),
        ("content-length", "0"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-for", "1.2.3.4"),
        ("cookie", "_ga=GA1.2; _ga_X=1; _fbp=fb.1; __cf_bm=x"),
        ("accept-language", "de"),
        ("if-none-match", '"v1"'),
    ],
)
def test_what_only_repeats_the_request_does_no_harm(site: MakeSite, header: Field) -> None:
    """Proxies and platforms send these with every request: they would switch the cache off."""
    shop = site()
    shop.get()
    assert shop.get("/items/1", header).is_hit


def test_the_name_of_a_proxy_does_not_switch_the_cache_off(site: MakeSite) -> None:
    """Traefik and Apache's mod_proxy send X-Forwarded-Server, their own name, with every request."""
    shop = site()
    for _ in range(2):
        answer = shop.get("/items/1", ("x-forwarded-server", "proxy-1"), ("x-forwarded-host", "example.org"))
    assert answer.is_hit


PLATFORMS = {
    "AWS": "x-amzn-trace-id x-amz-cf-id",
    "Azure": "x-arr-log-id client-ip x-azure-ref",
    "Cloudflare": "cf-ray cf-connecting-ip true-client-ip",
    "DigitalOcean": "do-connecting-ip",
    "Fly": "fly-request-id fly-client-ip",
    "Google": "x-cloud-trace-context x-appengine-request-log-id x-appengine-user-ip x-appengine-city",
    "Heroku": "x-request-id x-request-start connect-time total-route-time",
    "nginx": "x-real-ip x-original-forwarded-for x-request-id",
    "Railway": "x-railway-request-id x-real-ip x-request-start",
    "Render": "rndr-id cf-ray true-client-ip",
    "Vercel": "x-vercel-id x-vercel-ip-city x-vercel-forwarded-for",
    "tracing": "b3 x-b3-traceid x-b3-spanid sentry-trace baggage x-datadog-trace-id newrelic uber-trace-id",
    "CDNs": "x-varnish fastly-client-ip x-sucuri-clientip incap-client-ip",
}
"""Headers that these send to an origin with a value for each request or client."""


@pytest.mark.parametrize("platform", PLATFORMS)
def test_what_a_platform_says_of_each_request_does_not_switch_the_cache_off(site: MakeSite, platform: str) -> None:
    """Load balancers and tracers give each request an id: as a part of the key it would make each request a miss."""
    shop = site()
    for _ in range(2):
        answer = shop.get("/items/1", *[(name, secrets.token_hex(4)) for name in PLATFORMS[platform].split()])
    assert answer.is_hit


BROWSERS = (
    "accept accept-charset accept-encoding accept-language cache-control device-memory dnt downlink dpr ect "
    "origin pragma priority purpose referer rtt save-data sec-ch-prefers-color-scheme sec-ch-ua sec-ch-ua-arch "
    "sec-ch-ua-full-version-list sec-ch-ua-mobile sec-ch-ua-model sec-ch-ua-platform sec-fetch-dest "
    "sec-fetch-mode sec-fetch-site sec-fetch-storage-access sec-fetch-user sec-gpc sec-purpose te "
    "upgrade-insecure-requests user-agent viewport-width width x-requested-with"
)
"""What browsers send with a GET, by themselves or because the site has asked for hints."""


@pytest.mark.parametrize("name", [*BROWSERS.split(), *" ".join(PLATFORMS.values()).split()])
@pytest.mark.parametrize("path", ["/items/1", "/elsewhere"])
def test_what_browsers_and_platforms_send_is_no_credential(name: str, path: str) -> None:
    """Of headers that every visitor sends none is taken for a word about who is asking."""
    shop = CachedSite(colour="wsgi", app=says(b"", ("cache-control", "max-age=60")))
    answers = [shop.get(path, (name, "x")) for _ in range(2)]
    assert [(answer.forwarded, answer.is_hit) for answer in answers] == [("miss", False), (None, True)]


IDENTITIES = (
    "x-customerid x-accountid x-tenantid x-visitor-id x-guest-id x-device-id x-company-id x-team-id x-employee-id "
    "x-passcode x-pin x-admin x-access x-claims x-sub dpop x-on-behalf-of x-actor x-profile-id x-patient-id "
    "x-ssl-client-verify x-firebase-appcheck x-cart-id x-workspace-id x_customerid x_workspace_id"
)
"""Headers by whose names an app may know somebody, in one word or several."""


@pytest.mark.parametrize("name", IDENTITIES.split())
def test_whoever_may_be_known_by_a_header_gets_their_own(name: str) -> None:
    """No list of such names is complete: words and parts of words count, with a rule and without one."""
    for colour in COLOURS:
        shop = CachedSite(colour=colour)
        shop.app = lambda asked: says(
            f"for {asked.header(name) or asked.header(name.replace('_', '-'))}".encode(),
            ("cache-control", "max-age=60"),
        )
        for path in ("/items/1", "/elsewhere"):
            readers: list[list[Field]] = [[(name, "alice")], [(name, "bob")], [], [], [(name, "alice")]]
            answers = [shop.get(path, *reader) for reader in readers]
            bodies = [b"for alice", b"for bob", b"for None", b"for None", b"for alice"]
            assert [answer.body for answer in answers] == bodies
            assert [answer.is_hit for answer in answers] == [False, False, False, True, False]
            assert answers[-1].detail == "credential"
        shop.close()


class FirstHost(CachedSite):
    """An app that makes links with the first Host line, as Starlette does; the driver's `Asked` has the last one."""

    async def _asgi(self, scope: Any, receive: Any, send: Any) -> None:
        host = next(value for name, value in scope["headers"] if name == b"host")
        self.app = says(b"https://%b/" % host, ("cache-control", "max-age=60"))
        await super()._asgi(scope, receive, send)


TWO_HOSTS = [
    ("evil.example", "example.org"),
    ("example.org", "evil.example"),
    ("example.org", "example.org"),
    ("", "example.org"),
]


@pytest.mark.parametrize("colour", ["asgi", "asgi waiting"])
@pytest.mark.parametrize("path", ["/items/1", "/elsewhere"])
@pytest.mark.parametrize("hosts", TWO_HOSTS)
def test_two_host_lines_go_past_the_cache(colour: str, path: str, hosts: tuple[str, str]) -> None:
    """RFC 9112 section 3.2 wants a 400, but not every server sends one, and apps differ in which line they take."""
    shop = FirstHost(colour=colour)
    twice = [("host", host) for host in hosts]
    assert shop.get(path, *twice).is_stored is False
    clean = [shop.get(path) for _ in range(2)]
    assert [(answer.body, answer.is_hit) for answer in clean] == [
        (b"https://example.org/", False),
        (b"https://example.org/", True),
    ]
    answer = shop.get(path, *twice)
    assert (answer.forwarded, answer.detail, answer.body.decode()) == (
        "bypass",
        "several-hosts",
        f"https://{hosts[0]}/",
    )
    shop.close()


OVERRIDES: list[list[Field]] = [
    [("x-forwarded-host", "evil.example")],
    [("x-forwarded-server", "evil.example")],
    [("x-original-host", "evil.example")],
    [("x-http-host-override", "evil.example")],
    [("x-host", "evil.example")],
    [("forwarded", "host=evil.example")],
    [("forwarded", "for=x; Host = evil.example")],
    [("x-original-url", "/evil")],
    [("x-original-uri", "/evil")],
    [("x-rewrite-url", "/evil")],
    [("x-forwarded-uri", "/evil")],
    [("x-http-method-override", "evil")],
    [("x-http-method", "evil")],
    [("x-method-override", "evil")],
    [("origin", "https://evil.example")],
    [("x-forwarded-proto", "evil")],
    [("x-forwarded-port", "evil")],
    [("x-forwarded-prefix", "/evil")],
    [("x-script-name", "/evil")],
    [("x-requested-with", "evil")],
    [("hx-request", "evil")],
    [("turbo-frame", "evil")],
    [("host", "evil.example")],
    [("x_forwarded_host", "evil.example")],
    [("x_forwarded_proto", "evil")],
    [("x_forwarded_prefix", "/evil")],
    [("hx_request", "evil")],
    [("x_rewrite_url", "/evil")],
]


@pytest.mark.parametrize("headers", OVERRIDES, ids=lambda headers: headers[0][0])
@pytest.mark.parametrize("path", ["/items/1", "/elsewhere"])
def test_nobody_poisons_what_others_read(site: MakeSite, headers: list[Field], path: str) -> None:
    """What an app may echo is either part of the key or keeps the request out of the cache, with a rule or without."""
    shop = site()

    def fresh_echo(asked: Asked) -> Said:
        said = echo(asked)
        said.headers.append(("cache-control", "max-age=60"))
        return said

    shop.app = fresh_echo
    for _ in range(2):
        assert b"evil" in shop.get(path, *headers).body
    clean = [shop.get(path) for _ in range(2)]
    assert not any(b"evil" in answer.body for answer in clean)
    assert [answer.is_hit for answer in clean] == [False, True]


def test_nobody_poisons_with_a_body(site: MakeSite) -> None:
    """RFC 9110 section 9.3.1: the content of a GET has no meaning, but an app may read it, and it is not in the key."""
    shop = site()
    shop.app = echo
    fat = shop.get("/items/1", ("content-length", "4"), body=b"evil")
    assert b"evil" in fat.body
    assert (fat.forwarded, fat.detail) == ("bypass", "body")
    assert shop.get("/items/1", ("transfer-encoding", "chunked"), body=b"evil").detail == "body"
    assert b"evil" not in shop.get().body


def test_a_personal_reason_is_told_before_others(site: MakeSite) -> None:
    """Whoever says who is asking gets a personal answer, whatever else the request says."""
    answer = site().get("/items/1", ("x-host", "evil.example"), ("cookie", "a=b"), ("content-length", "0"))
    assert (answer.detail, answer.is_unshared) == ("cookie", True)


def test_a_bypass_that_is_not_personal_may_be_shared_further_out(site: MakeSite) -> None:
    """Nothing is said about caching that the app has not said."""
    assert site().get("/items/1", ("x-host", "evil.example")).header("cache-control") is None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_neither_answered_nor_stored(site: MakeSite, method: str) -> None:
    """RFC 9111 section 4: a stored GET answers GET and HEAD only."""
    shop = site()
    shop.get()
    shop.app = says(b"done", status=400)
    answer = shop.send(method)
    assert (answer.is_untouched, answer.body) == (True, b"done")
    shop.app = says(b"never")
    assert shop.get().body == b"hello"


def test_a_method_in_lower_case_is_no_get(site: MakeSite) -> None:
    """RFC 9110 section 9.1: methods are case-sensitive; what an app makes of `get` is not stored for GET."""
    shop = site()
    shop.app = says(b"odd", ("cache-control", "max-age=60"))
    shop.send("get")
    shop.app = says(b"hello")
    assert shop.get().body == b"hello"


def test_paths_without_a_rule_are_not_touched(site: MakeSite) -> None:
    """The cache is asked for by a rule or by the response."""
    shop = site()
    for path in ("/other", "/itemsandmore", "/"):
        for _ in range(2):
            answer = shop.get(path)
            assert (answer.is_untouched, answer.header("cache-control")) == (True, None)
    assert len(shop.calls) == 6


def test_cookies_of_analytics_are_not_shown_to_the_app(site: MakeSite) -> None:
    """What may be stored was made without any cookie."""
    shop = site()
    shop.app = echo
    tracking = secrets.token_hex(8)
    answer = shop.get("/items/1", ("cookie", f"_ga={tracking}"))
    assert (answer.is_stored, shop.calls[0].header("cookie")) == (True, None)
    assert tracking.encode() not in shop.get().body


def test_a_request_without_a_host_is_a_site_of_its_own(site: MakeSite) -> None:
    """RFC 9112 section 3.2: HTTP/1.0 clients may send an empty one."""
    shop = site(CacheRule(paths="/*"))
    shop.get("/", ("host", ""))
    assert not shop.get("/").is_hit


def test_names_are_whole() -> None:
    """A list that was wrapped at its hyphens would hold halves of names."""
    assert not [name for name in HARMLESS if name.startswith(b"-") or name.endswith(b"-")]
