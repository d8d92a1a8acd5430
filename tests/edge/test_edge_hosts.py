"""Canonical host and HTTPS."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.exchanges import WrittenExchange

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
    return hosts.on_request(WrittenExchange(method, target, sent, peer, scheme))


def location(answer: EarlyResponse | None) -> str | None:
    if answer is None:
        return None
    assert answer.status == 308, answer
    return dict(answer.headers)[b"location"].decode()


def test_home_by_https_passes() -> None:
    """Nothing is in the way of who came right."""
    assert ask(scheme="https") is None


def test_http_is_sent_to_https() -> None:
    """308 with path and query as they came, kept by browsers for an hour at most."""
    answer = ask(target="/a%20b/%2F?c=%20&d")
    assert location(answer) == "https://example.com/a%20b/%2F?c=%20&d"
    assert answer is not None
    assert dict(answer.headers)[b"cache-control"] == b"private, max-age=3600"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_every_method_stays_what_it_is(method: str) -> None:
    """308 and not 301, under which browsers make a GET of a POST."""
    assert location(ask(method=method)) == "https://example.com/"


@pytest.mark.parametrize("host", [b"www.example.com", b"192.0.2.1", b"shop.example", b"example.com.evil.example"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_other_hosts_are_sent_home(host: bytes, scheme: str) -> None:
    """To the declared host, whatever the request names."""
    assert location(ask(host, target="/p?q", scheme=scheme)) == "https://example.com/p?q"


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


@pytest.mark.parametrize(
    ("headers", "peer", "remedy"),
    [
        ([(b"x-forwarded-proto", b"https")], "198.51.100.7", "LAUNCHKIT_TRUSTED_PROXIES"),
        ([(b"forwarded", b'for=1.2.3.4; proto="https"')], "198.51.100.7", "LAUNCHKIT_TRUSTED_PROXIES"),
        ([(b"cf-visitor", b'{"scheme": "https"}'), (b"x-forwarded-proto", b"http")], PROXY, "Full"),
        ([(b"x-forwarded-for", b"198.51.100.1")], PROXY, "X-Forwarded-Proto"),
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


@pytest.mark.parametrize("host", [b"app:8000", b"localhost", b"127.0.0.1:8000", b"[::1]", b"10.2.3.4"])
def test_a_name_from_behind_the_proxy_is_not_sent_around(host: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """It stands where the visitor's Host should be: everybody would be redirected for ever."""
    headers = [(b"x-forwarded-for", b"198.51.100.1"), (b"x-forwarded-proto", b"https")]
    assert ask(host, *headers, peer=PROXY) is None
    assert "internal name" in caplog.text
    assert ask(host, peer="192.168.7.7") is None
    assert location(ask(host, scheme="https")) == "https://example.com/"


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
