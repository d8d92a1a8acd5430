"""Canonical host and HTTPS."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.exchanges import WrittenExchange

from launchkit.edge.by_http import SHOWS_PROXY
from launchkit.edge.client import ClientResolver
from launchkit.edge.exempt import Exempt
from launchkit.edge.host_names import HostNames, host_name, is_internal
from launchkit.edge.hosts import Hosts
from launchkit.errors import SettingsError
from launchkit.pipeline.exchange import EarlyResponse, Header
from launchkit.pipeline.paths import PathPattern
from launchkit.settings import EdgeSettings

HOME = EdgeSettings(url="https://example.com", hosts=("api.example.com", "*.shop.example"))
PROXY = "10.0.0.9"


def ask(
    host: bytes | None = b"example.com",
    *headers: Header,
    settings: EdgeSettings = HOME,
    method: str = "GET",
    target: str = "/",
    scheme: str = "http",
    peer: str | None = "198.51.100.1",
    proxies: tuple[str, ...] = ("10.0.0.0/8",),
) -> EarlyResponse | None:
    hosts = Hosts(settings, ClientResolver(proxies, production=True), Exempt())
    sent = list(headers) if host is None else [(b"host", host), *headers]
    return hosts.on_request(Shown(method, target, sent, peer, scheme))


class Shown(WrittenExchange):
    """Remembers what the app is shown."""

    def __init__(self, *request: Any) -> None:
        super().__init__(*request)
        self.client: str | None = None
        self.host = self.header(b"host")

    def present_to_app(self, client: str | None, scheme: str, host: bytes | None) -> None:
        self.client, self.shown_scheme, self.host = client, scheme, host


def shown(
    host: bytes, *headers: Header, settings: EdgeSettings = HOME, peer: str | None = PROXY, scheme: str = "https"
) -> bytes | None:
    """Return the host that the app is shown of a request that passes."""
    exchange = Shown("GET", "/", [(b"host", host), *headers], peer, scheme)
    hosts = Hosts(settings, ClientResolver(("10.0.0.0/8",), production=True), Exempt())
    assert hosts.on_request(exchange) is None
    assert exchange.client is None
    return exchange.host


def location(answer: EarlyResponse | None) -> str | None:
    if answer is None:
        return None
    assert answer.status == 308, answer
    return dict(answer.headers)[b"location"].decode()


def test_home_by_https_passes() -> None:
    """Nothing is in the way of who came right."""
    assert ask(scheme="https") is None


def test_http_is_sent_to_https() -> None:
    """308 with path and query as they came, kept by nobody: where it is wrong it leads to itself."""
    answer = ask(target="/a%20b/%2F?c=%20&d")
    assert location(answer) == "https://example.com/a%20b/%2F?c=%20&d"
    assert answer is not None
    assert dict(answer.headers)[b"cache-control"] == b"no-store"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_every_method_stays_what_it_is(method: str) -> None:
    """308 and not 301, under which browsers make a GET of a POST."""
    assert location(ask(method=method)) == "https://example.com/"


@pytest.mark.parametrize("host", [b"www.example.com", b"192.0.2.1", b"shop.example", b"example.com.evil.example"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_other_hosts_are_sent_home(host: bytes, scheme: str) -> None:
    """To the declared host, whatever the request names."""
    answer = ask(host, target="/p?q", scheme=scheme)
    assert location(answer) == "https://example.com/p?q"
    assert answer is not None
    assert dict(answer.headers)[b"cache-control"] == b"private, max-age=3600"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (b"api.example.com", "https://api.example.com/x"),
        (b"API.Example.COM.:8000", "https://api.example.com/x"),
        (b"a.b.shop.example", "https://a.b.shop.example/x"),
    ],
)
def test_declared_hosts_are_sent_to_https_of_their_own(host: bytes, expected: str) -> None:
    """And served as they are by HTTPS."""
    assert location(ask(host, target="/x")) == expected
    assert ask(host, scheme="https") is None


@pytest.mark.parametrize(
    "host", [b"EXAMPLE.com", b"example.com.", b"example.com:443", b"example.com:8000", b"example.com:"]
)
def test_spellings_of_home_are_home(host: bytes) -> None:
    """Case, a trailing dot and ports make no difference: a proxy that drops the port must not cause a loop."""
    assert ask(host, scheme="https") is None


def test_a_port_in_the_settings_is_where_redirects_lead() -> None:
    """And is no condition."""
    settings = EdgeSettings(url="https://example.com:8443", hosts=("*.example.com:9443",))
    assert ask(b"example.com", scheme="https", settings=settings) is None
    assert location(ask(b"example.com", settings=settings)) == "https://example.com:8443/"
    assert location(ask(b"a.example.com:80", settings=settings)) == "https://a.example.com:9443/"
    assert location(ask(b"other.example", settings=settings)) == "https://example.com:8443/"


def test_ipv6_hosts_compare_by_value() -> None:
    """However they are written."""
    settings = EdgeSettings(hosts=("[2001:DB8::1]:8000",))
    assert ask(b"[2001:db8:0::1]", settings=settings) is None
    answer = ask(b"[2001:db8::2]", settings=settings)
    assert answer is not None
    assert answer.status == 400


@pytest.mark.parametrize(
    "host",
    [
        None,
        b"",
        b"exa mple.com",
        b"example.com/x",
        b"user@example.com",
        b"[::1",
        b"[:::1]",
        b"\xff",
        b"a" * 300,
        b"a,b",
    ],
)
@pytest.mark.parametrize("settings", [HOME, EdgeSettings(hosts=("api.example.com",))])
def test_what_is_no_host_is_refused(host: bytes | None, settings: EdgeSettings) -> None:
    """400 as problem+json, stored by nobody."""
    answer = ask(host, settings=settings, scheme="https")
    assert answer is not None
    assert (answer.status, json.loads(answer.body)["status"]) == (400, 400)
    assert dict(answer.headers)[b"content-type"] == b"application/problem+json"
    assert dict(answer.headers)[b"cache-control"] == b"no-store"


def test_two_hosts_are_refused() -> None:
    """Frameworks differ in which of two they read, so neither says what the app would make links with (RFC 9112)."""
    refused = ask(b"evil.example", (b"host", b"example.com"), scheme="https")
    assert refused is not None
    assert refused.status == 400


def test_without_url_other_hosts_are_refused() -> None:
    """There is nowhere to send them, and HTTP is as good as HTTPS."""
    settings = EdgeSettings(hosts=("api.example.com",))
    assert ask(b"api.example.com", settings=settings) is None
    for host in (b"evil.example", b"localhost", b"10.0.0.5"):
        answer = ask(host, settings=settings, peer=PROXY)
        assert answer is not None
        assert answer.status == 400


def test_a_url_by_http_asks_for_no_https() -> None:
    """A site inside of a company may have none."""
    settings = EdgeSettings(url="http://intranet.example")
    assert ask(b"intranet.example", settings=settings) is None
    assert location(ask(b"other.example", settings=settings)) == "http://intranet.example/"


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("//evil.example/x", "https://example.com//evil.example/x"),
        ("http://evil.example/", "https://example.com/http://evil.example/"),
        ("@evil.example", "https://example.com/@evil.example"),
        (".evil.example", "https://example.com/.evil.example"),
        ("/\\evil.example", "https://example.com/%5Cevil.example"),
        ("/a\r\nset-cookie: x=1", "https://example.com/a%0D%0Aset-cookie:%20x=1"),
        ("*", "https://example.com/*"),
    ],
)
def test_redirects_stay_at_home(target: str, expected: str) -> None:
    """No target of a request leads elsewhere, or into another header."""
    assert location(ask(target=target)) == expected


@given(st.binary(max_size=30), st.text(max_size=30))
def test_no_host_and_no_path_lead_elsewhere(host: bytes, path: str) -> None:
    """Whatever is sent, a redirect is to a declared host and one line of visible ASCII."""
    path = path.encode("utf-8", "replace").decode("utf-8")
    answer = ask(host, target=path)
    if answer is not None and answer.status == 308:
        where = location(answer) or ""
        assert where.startswith(("https://example.com/", "https://api.example.com/"))
        assert where.isascii()
        assert where.isprintable()
        assert " " not in where


def test_the_trusted_proxys_word_counts() -> None:
    """Its scheme, and its host."""
    https: Header = (b"x-forwarded-proto", b"https")
    visitor: Header = (b"x-forwarded-for", b"198.51.100.1")
    assert ask(b"example.com", https, visitor, peer=PROXY) is None
    http: Header = (b"x-forwarded-proto", b"http")
    assert location(ask(b"example.com", http, visitor, peer=PROXY)) == "https://example.com/"
    named: Header = (b"x-forwarded-host", b"example.com")
    assert ask(b"backend.example", https, visitor, named, peer=PROXY) is None


VISITOR: Header = (b"x-forwarded-for", b"198.51.100.7")


@pytest.mark.parametrize(
    ("headers", "peer", "remedy"),
    [
        ([(b"x-forwarded-proto", b"https")], "198.51.100.7", "LAUNCHKIT_TRUSTED_PROXIES"),
        ([(b"forwarded", b'for=1.2.3.4; proto="https"')], "198.51.100.7", "LAUNCHKIT_TRUSTED_PROXIES"),
        ([(b"cf-visitor", b'{"scheme": "https"}'), (b"x-forwarded-proto", b"http")], PROXY, "Full"),
        ([(b"x-forwarded-proto", b"https"), (b"x-forwarded-proto", b"http")], PROXY, "Full"),
        ([VISITOR, (b"x-forwarded-proto", b"http"), (b"x-forwarded-port", b"443")], PROXY, "that it got"),
        ([VISITOR, (b"x-forwarded-proto", b"http"), (b"sec-fetch-site", b"none")], PROXY, "that it got"),
        ([(b"sec-fetch-site", b"cross-site")], "198.51.100.7", "LAUNCHKIT_TRUSTED_PROXIES"),
        ([VISITOR], "198.51.100.7", "X-Forwarded-Proto"),
        ([VISITOR], "203.0.113.250", "X-Forwarded-Proto"),
        ([VISITOR, (b"x-forwarded-proto", b"wss")], "198.51.100.7", "X-Forwarded-Proto"),
        ([(b"forwarded", b"for=198.51.100.7")], "198.51.100.7", "X-Forwarded-Proto"),
        ([(b"x-real-ip", b"198.51.100.7")], "198.51.100.7", "X-Forwarded-Proto"),
        ([(b"via", b"1.1 proxy")], "198.51.100.7", "X-Forwarded-Proto"),
        ([(b"cf-ray", b"230b030023ae2822-SJC")], "198.51.100.7", "X-Forwarded-Proto"),
        ([VISITOR, (b"x-forwarded-proto", b"http")], "192.168.0.1", "X-Forwarded-Proto"),
        ([VISITOR], PROXY, "X-Forwarded-Proto"),
        ([(b"forwarded", b"for=198.51.100.7")], PROXY, "X-Forwarded-Proto"),
        ([VISITOR, (b"x-forwarded-proto", b"")], PROXY, "X-Forwarded-Proto"),
        ([VISITOR, (b"x-forwarded-ssl", b"off")], PROXY, "X-Forwarded-Proto"),
        ([], "192.168.0.1", "X-Forwarded-Proto"),
        ([], None, "X-Forwarded-Proto"),
    ],
)
def test_where_the_visitors_scheme_is_not_certain_there_is_no_redirect(
    headers: list[Header], peer: str | None, remedy: str, caplog: pytest.LogCaptureFixture
) -> None:
    """They may have come by HTTPS and would go round for ever; one error names the remedy."""
    hosts = Hosts(HOME, ClientResolver(("10.0.0.0/8",), production=True), Exempt())
    for _ in range(3):
        assert hosts.on_request(WrittenExchange("GET", "/", [(b"host", b"example.com"), *headers], peer)) is None
    said = [record.getMessage() for record in caplog.records if "edge.url" in record.getMessage()]
    assert len(said) == 1
    assert remedy in said[0]


@pytest.mark.parametrize("name", sorted(SHOWS_PROXY))
@pytest.mark.parametrize("proxies", [(), ("private",)])
def test_nothing_that_proxies_add_goes_with_a_redirect_alone(name: bytes, proxies: tuple[str, ...]) -> None:
    """Whatever it holds: only a word for HTTP makes it certain that the visitor came by HTTP."""
    assert ask(b"example.com", (name, b"1"), proxies=proxies) is None


@pytest.mark.parametrize("word", [(b"x-forwarded-proto", b"HTTP"), (b"forwarded", b"for=198.51.100.7;proto=http")])
@pytest.mark.parametrize("peer", [PROXY, "198.51.100.7"])
def test_a_word_for_http_is_enough(word: Header, peer: str) -> None:
    """Of a trusted proxy, and beside a visitor's address that the server has put in the proxy's place."""
    assert location(ask(b"example.com", VISITOR, word, peer=peer)) == "https://example.com/"


HTTPS: tuple[Header, ...] = ((b"x-forwarded-for", b"198.51.100.1"), (b"x-forwarded-proto", b"https"))


@pytest.mark.parametrize(
    "host",
    [b"app:8000", b"localhost", b"127.0.0.1:8000", b"[::1]", b"10.2.3.4", b"web.railway.internal", b"app.shop.svc"],
)
def test_a_name_from_behind_the_proxy_is_not_sent_around(host: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """It stands where the visitor's Host should be: everybody would be redirected for ever. The app sees home."""
    assert shown(host, *HTTPS, scheme="http") == b"example.com"
    assert "internal name" in caplog.text
    assert shown(host, peer="192.168.7.7") == b"example.com"
    assert location(ask(host, scheme="https")) == "https://example.com/"


def test_one_of_two_hosts_that_is_the_sites_is_enough(caplog: pytest.LogCaptureFixture) -> None:
    """A proxy may have replaced either, and going home would end with the same two."""
    api: Header = (b"x-forwarded-host", b"api.example.com")
    for peer in ("198.51.100.7", "192.168.7.7"):
        assert shown(b"backend.example", api, peer=peer) == b"api.example.com"
    assert shown(b"api.example.com", *HTTPS, (b"x-forwarded-host", b"backend.example")) == b"api.example.com"
    assert caplog.text.count("X-Forwarded-Host") == 3
    assert location(ask(b"backend.example", (b"x-forwarded-host", b"evil.example"))) == "https://example.com/"
    refusal = ask(b"backend.example", api, settings=EdgeSettings(hosts=("api.example.com",)))
    assert refusal is not None
    assert refusal.status == 400


@pytest.mark.parametrize("peer", [PROXY, "198.51.100.7"])
def test_the_app_is_shown_hosts_and_ports_as_they_are_declared(peer: str) -> None:
    """It makes links from them, and whoever asks chooses the port."""
    settings = EdgeSettings(url="https://example.com", hosts=("api.example.com:8443", "*.shop.example"))
    for host, expected in (
        (b"example.com:666", b"example.com"),
        (b"EXAMPLE.com.", b"example.com"),
        (b"example.com", b"example.com"),
        (b"api.example.com", b"api.example.com:8443"),
        (b"api.example.com:8443", b"api.example.com:8443"),
        (b"a.shop.example:666", b"a.shop.example"),
    ):
        assert shown(host, *HTTPS, settings=settings, peer=peer) == expected


def test_showing_a_host_leaves_the_scheme_what_it_is() -> None:
    """That of the visitor, as far as it is known."""
    hosts = Hosts(HOME, ClientResolver(("10.0.0.0/8",), production=True), Exempt())
    schemes = []
    for peer, scheme in ((PROXY, "http"), ("198.51.100.7", "wss"), ("192.168.0.1", "http")):
        exchange = Shown("GET", "/", [(b"host", b"example.com:666"), *HTTPS], peer, scheme)
        hosts.on_request(exchange)
        schemes.append(exchange.shown_scheme)
    assert schemes == ["https", "https", "http"]


@pytest.mark.parametrize("name", ["134744072", "0x08080808", "8.8.8.8", "evil.example"])
def test_what_leads_out_is_no_internal_name(name: str) -> None:
    """Browsers take a number for an address."""
    assert not is_internal(name)


def test_what_is_exempt_is_left_alone() -> None:
    """Probes by address, webhooks that follow no redirects, and certificates that are asked for by HTTP."""
    exempt = Exempt(("/health",), lambda: (PathPattern("/webhooks/stripe"),))
    hosts = Hosts(HOME, ClientResolver(()), exempt)
    for text in ("/health", "/webhooks/stripe", "/.well-known/acme-challenge/*"):
        assert hosts.select("GET", frozenset({PathPattern(text)})) is None
    assert {pattern.text for pattern in hosts.patterns} == {"/health", "/.well-known/acme-challenge/*"}
    assert hosts.select("GET", frozenset({PathPattern("/other")})) is hosts


def test_a_host_that_nobody_can_name_is_a_mistake() -> None:
    """It is told at the start."""
    with pytest.raises(SettingsError, match="LAUNCHKIT_EDGE__HOSTS"):
        HostNames(EdgeSettings(hosts=("[:::1]",)))


def test_names_below_a_wildcard_are_below_it() -> None:
    """Not the name itself, and not one that only ends like it."""
    names = HostNames(EdgeSettings(hosts=("*.example.com",)))
    found = [names.find(host_name(host) or "") for host in (b"a.example.com", b"example.com", b"badexample.com")]
    assert found == ["a.example.com", None, None]
