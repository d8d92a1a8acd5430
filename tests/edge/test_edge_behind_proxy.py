"""What the app and the operator are shown of the proxies in front."""

from __future__ import annotations

import json
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from tests.support.exchanges import WrittenExchange

from launchkit.edge.access import Access
from launchkit.edge.behind_proxy import TELLING, BehindProxy
from launchkit.edge.client import ClientResolver
from launchkit.edge.whoami import WhoAmI
from launchkit.pipeline.exchange import EarlyResponse, Header
from launchkit.pipeline.paths import PathPattern
from launchkit.settings import EdgeSettings

TOKEN = secrets.token_urlsafe(16)
TOLD: list[Header] = [
    (b"host", b"backend:8000"),
    (b"x-forwarded-for", b"6.6.6.6, 198.51.100.1"),
    (b"x-forwarded-proto", b"https"),
    (b"x-forwarded-host", b"Example.com"),
]


class Shown(WrittenExchange):
    """Remembers what the app is shown."""

    shown: tuple[str | None, str, bytes | None] | None = None

    def present_to_app(self, client: str | None, scheme: str, host: bytes | None) -> None:
        self.shown = (client, scheme, host)


def shown(peer: str, headers: list[Header], settings: EdgeSettings) -> tuple[str | None, str, bytes | None] | None:
    exchange = Shown("GET", "/", headers, peer)
    assert BehindProxy(settings, ClientResolver(("10.0.0.0/8",))).on_request(exchange) is None
    return exchange.shown


def test_the_word_of_a_trusted_proxy_is_shown() -> None:
    """The client it names, the scheme, and the host if it is the site's, with the port that is declared."""
    home = EdgeSettings(url="https://example.com")
    assert shown("10.0.0.9", TOLD, home) == ("198.51.100.1", "https", b"example.com")
    ports = [*TOLD[:3], (b"x-forwarded-host", b"example.com:666")]
    assert shown("10.0.0.9", ports, home) == ("198.51.100.1", "https", b"example.com")
    declared = EdgeSettings(url="https://example.com:8443")
    assert shown("10.0.0.9", ports, declared) == ("198.51.100.1", "https", b"example.com:8443")
    below = EdgeSettings(hosts=("*.com",))
    assert shown("10.0.0.9", TOLD, below) == ("198.51.100.1", "https", b"example.com")


def test_a_host_that_is_not_the_sites_is_not_shown() -> None:
    """Proxies pass it on as a client wrote it, and links in mails would lead there."""
    for settings in (EdgeSettings(), EdgeSettings(url="https://other.example")):
        assert shown("10.0.0.9", TOLD, settings) == ("198.51.100.1", "https", None)
    assert shown("10.0.0.9", [], EdgeSettings(url="https://other.example")) == ("10.0.0.9", "http", None)


@pytest.mark.parametrize("peer", ["203.0.113.7", "192.168.0.1"])
def test_the_word_of_anybody_else_is_not(peer: str) -> None:
    """Whatever it says."""
    assert shown(peer, TOLD, EdgeSettings(url="https://example.com")) is None


class Watched(Shown):
    """Remembers which headers were asked for."""

    def __init__(self, headers: list[Header], peer: str) -> None:
        super().__init__("GET", "/", headers, peer)
        self.asked: set[bytes] = set()

    def header(self, name: bytes) -> bytes | None:
        self.asked.add(name)
        return super().header(name)

    def header_values(self, name: bytes) -> list[bytes]:
        self.asked.add(name)
        return super().header_values(name)


NAMES = sorted(TELLING)


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from([b"198.51.100.1", b"https", b"for=10.0.0.1", b"x"]))),
    st.sampled_from(["10.0.0.9", "173.245.48.1", "198.51.100.1"]),
    st.sampled_from([("private",), ("cloudflare",), ("cloudflared", "fastly"), ("fly",), ("railway",), ("render",)]),
)
def test_what_is_remembered_by_is_all_that_is_read(headers: list[Header], peer: str, proxies: tuple[str, ...]) -> None:
    """Else one visitor would be shown as another."""
    resolver = ClientResolver(proxies, production=True)
    exchange = Watched(headers, peer)
    resolver.resolve(exchange)
    resolver.scheme(exchange)
    resolver.host(exchange)
    assert exchange.asked <= TELLING


def test_visitors_are_told_apart() -> None:
    """By every line of every header, the peer and the connection's scheme; the same one is found out about once."""
    behind = BehindProxy(EdgeSettings(hosts=("*.com",)), ClientResolver(("10.0.0.0/8",)))
    first, second = (b"x-forwarded-for", b"198.51.100.1"), (b"x-forwarded-for", b"10.0.0.1")
    seen = []
    for peer, scheme, headers in (
        ("10.0.0.9", "http", [first, second]),
        ("10.0.0.9", "http", [second]),
        ("10.0.0.9", "https", [second]),
        ("10.0.0.8", "http", []),
        ("10.0.0.9", "http", [first, second]),
        ("10.0.0.9", "http", [first, (b"host", b"a.com"), (b"x-forwarded-host", b"a.com")]),
        ("10.0.0.9", "http", [first, (b"host", b"b.com"), (b"x-forwarded-host", b"a.com")]),
    ):
        exchange = Shown("GET", "/", headers, peer, scheme)
        behind.on_request(exchange)
        seen.append(exchange.shown)
    assert seen == [
        ("198.51.100.1", "http", None),
        ("10.0.0.1", "http", None),
        ("10.0.0.1", "https", None),
        ("10.0.0.8", "http", None),
        ("198.51.100.1", "http", None),
        ("198.51.100.1", "http", None),
        ("198.51.100.1", "http", b"a.com"),
    ]
    assert len(behind._views) == 6


def test_what_is_remembered_is_bounded() -> None:
    """In number and in size, whatever is sent."""
    behind = BehindProxy(EdgeSettings(), ClientResolver(("10.0.0.0/8",)))
    for number in range(3_000):
        address = f"203.0.{number // 250}.{number % 250}".encode()
        behind.on_request(Shown("GET", "/", [(b"x-forwarded-for", address)], "10.0.0.9"))
    assert 0 < len(behind._views) <= 2_048
    kept = len(behind._views)
    behind.on_request(Shown("GET", "/", [(b"x-forwarded-for", b"x" * 600)], "10.0.0.9"))
    assert len(behind._views) == kept


def whoami(*headers: Header, peer: str = "10.0.0.9", method: str = "GET", token: str = TOKEN) -> EarlyResponse:
    client = ClientResolver(("10.0.0.0/8",))
    interceptor = WhoAmI(client, Access(SecretStr(TOKEN), client, development=False))
    sent = [*headers, (b"authorization", f"Bearer {token}".encode())]
    return interceptor.on_request(WrittenExchange(method, "/launchkit/whoami", sent, peer))


def test_whoami_tells_what_was_made_of_what() -> None:
    """Client, scheme and host, where they come from, and nothing else that was sent."""
    answer = whoami(*TOLD, (b"cookie", b"session=1"), (b"via", b"1.1 proxy"))
    assert answer.status == 200
    assert dict(answer.headers)[b"cache-control"] == b"no-store"
    assert json.loads(answer.body) == {
        "client": "198.51.100.1",
        "source": "x-forwarded-for",
        "peer": "10.0.0.9",
        "trusted": True,
        "scheme": "https",
        "host": "Example.com",
        "headers": [
            "host: backend:8000",
            "x-forwarded-for: 6.6.6.6, 198.51.100.1",
            "x-forwarded-proto: https",
            "x-forwarded-host: Example.com",
            "via: 1.1 proxy",
        ],
    }
    assert TOKEN.encode() not in answer.body


def test_whoami_tells_what_is_not_known() -> None:
    """As null."""
    document = json.loads(whoami((b"x-real-ip", b"198.51.100.1")).body)
    assert (document["client"], document["source"], document["host"]) == (None, "unknown", None)


def test_whoami_does_not_exist_for_strangers() -> None:
    """404 without the token, 405 for who has it and does not read."""
    assert whoami(token="x").status == 404
    assert whoami(method="POST").status == 405
    assert whoami(method="HEAD").status == 200


def test_whoami_is_at_its_path_alone() -> None:
    """Everything else has no hook."""
    client = ClientResolver(())
    interceptor = WhoAmI(client, Access(None, client, development=False))
    assert interceptor.select("GET", frozenset(interceptor.patterns)) is interceptor
    assert interceptor.select("GET", frozenset({PathPattern("/")})) is None
