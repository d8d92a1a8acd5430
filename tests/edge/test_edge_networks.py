"""The words in `trusted_proxies`: what each trusts, and who the client is behind each."""

from __future__ import annotations

import ipaddress

import pytest
from tests.support.exchanges import WrittenExchange

from launchkit.edge.client import Client, ClientResolver
from launchkit.edge.forwarded import grouped
from launchkit.networks import CLOUDFLARE, NETWORKS, PRIVATE, PROXIES, platform_proxies
from launchkit.settings import PLATFORM_MARKS, Settings

PROXY = "10.0.0.1"
FOR = "x-forwarded-for"
EDGE = "172.71.195.123"
"""An address of Cloudflare's."""


@pytest.mark.parametrize("word", NETWORKS)
def test_every_word_is_a_setting_and_names_networks(word: str) -> None:
    """Words are accepted by the settings, and their networks are whole networks, none of them the internet."""
    assert Settings(trusted_proxies=word).trusted_proxies == (word,)
    for text in NETWORKS[word]:
        network = ipaddress.ip_network(text)
        assert network.prefixlen >= (29 if network.version == 6 and text not in PRIVATE else 7), text


def test_vendors_networks_are_on_the_internet() -> None:
    """No vendor's own network lies in a private one, where a client of somebody else's could be."""
    private = [ipaddress.ip_network(text) for text in PRIVATE]
    for word in ("cloudflare", "fastly", "google"):
        for network in map(ipaddress.ip_network, NETWORKS[word]):
            assert not any(network.version == other.version and network.overlaps(other) for other in private)


@pytest.mark.parametrize("address", ["104.28.0.1", "104.31.255.254", "8.8.8.8", "172.72.0.1"])
def test_addresses_of_cloudflares_customers_are_not_cloudflares(address: str) -> None:
    """Users of its VPN connect from 104.28.0.0/14, which is not in the published list."""
    assert not any(ipaddress.ip_address(address) in ipaddress.ip_network(text) for text in CLOUDFLARE)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, ()),
        ({"PATH": "/bin", "DYNO": ""}, ()),
        ({"DYNO": "web.1"}, ("heroku",)),
        ({"RENDER": "true"}, ("render",)),
        ({"FLY_APP_NAME": "app"}, ("fly",)),
        ({"RAILWAY_ENVIRONMENT": "production"}, ("railway",)),
        ({"K_SERVICE": "app"}, ("cloudrun",)),
        ({"VERCEL": "1"}, ("vercel",)),
        ({"AWS_EXECUTION_ENV": "AWS_ECS_FARGATE"}, ()),
    ],
)
def test_platforms_are_recognised_by_what_they_set(environ: dict[str, str], words: tuple[str, ...]) -> None:
    """Each platform that nobody reaches but through its proxies is known by an environment variable of its own."""
    assert platform_proxies(environ) == words
    assert all(PROXIES[word].is_platform for word in words)


def test_every_platform_mark_is_decided_upon() -> None:
    """What the settings take for production is a platform here, but for AWS, where a process may be open to all."""
    recognised = {mark for mark in PLATFORM_MARKS if platform_proxies({mark: "1"})}
    assert set(PLATFORM_MARKS) - recognised == {"AWS_EXECUTION_ENV"}


def through(words: str, peer: str | None, **headers: str) -> Client:
    """Resolve a request whose headers are written with underscores."""
    written = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return ClientResolver(words.split(","), production=True).resolve(WrittenExchange(peer=peer, headers=written))


@pytest.mark.parametrize(
    ("words", "peer", "headers", "expected", "source"),
    [
        pytest.param(
            "cloudflare",
            EDGE,
            {"x_forwarded_for": "6.6.6.6,198.51.100.1", "cf_connecting_ip": "198.51.100.1"},
            "198.51.100.1",
            "cf-connecting-ip",
            id="Cloudflare",
        ),
        pytest.param(
            "cloudflare",
            EDGE,
            {"x_forwarded_for": "6.6.6.6", "cf_connecting_ip": "2a06:98c0:3600::103", "cf_worker": "evil.example"},
            "2a06:98c0:3600::103",
            "cf-connecting-ip",
            id="a Worker of another zone is one client, whatever list it writes",
        ),
        pytest.param(
            "cloudflare",
            EDGE,
            {"cf_connecting_ip": "247.1.2.3", "cf_connecting_ipv6": "2001:db8::7"},
            "2001:db8::7",
            "cf-connecting-ip",
            id="Cloudflare's Pseudo IPv4",
        ),
        pytest.param(
            "cloudflare",
            EDGE,
            {"cf_connecting_ip": "198.51.100.1", "cf_connecting_ipv6": "2001:db8::6666"},
            "198.51.100.1",
            "cf-connecting-ip",
            id="the IPv6 header counts only beside a stand-in",
        ),
        pytest.param(
            "cloudflare,private",
            "127.0.0.1",
            {"x_forwarded_for": f"6.6.6.6, 198.51.100.1, {EDGE}", "cf_connecting_ip": "198.51.100.1"},
            "198.51.100.1",
            "cf-connecting-ip",
            id="Cloudflare, nginx",
        ),
        pytest.param(
            "cloudflare,private",
            "127.0.0.1",
            {"x_forwarded_for": "6.6.6.6, 198.51.100.66", "cf_connecting_ip": "6.6.6.6"},
            "198.51.100.66",
            "x-forwarded-for",
            id="past Cloudflare to nginx, with its header forged",
        ),
        pytest.param(
            "cloudflared",
            "127.0.0.1",
            {"x_forwarded_for": "6.6.6.6", "cf_connecting_ip": "198.51.100.1"},
            "198.51.100.1",
            "cf-connecting-ip",
            id="Cloudflare Tunnel",
        ),
        pytest.param(
            "cloudflared",
            "127.0.0.1",
            {"x_forwarded_for": "198.51.100.1, 127.0.0.1", "cf_connecting_ip": "198.51.100.1"},
            "198.51.100.1",
            "cf-connecting-ip",
            id="Cloudflare Tunnel, nginx",
        ),
        pytest.param(
            "render",
            "10.21.157.68",
            {
                "x_forwarded_for": f"81.97.145.24, {EDGE}, 10.226.90.65",
                "cf_connecting_ip": "81.97.145.24",
                "true_client_ip": "81.97.145.24",
            },
            "81.97.145.24",
            "cf-connecting-ip",
            id="Render",
        ),
        pytest.param(
            "render",
            "6.6.6.6",
            {"x_forwarded_for": f"6.6.6.6, 81.97.145.24, {EDGE}, 10.1.1.1", "cf_connecting_ip": "81.97.145.24"},
            "81.97.145.24",
            "cf-connecting-ip",
            id="Render, with a server that believes the left end",
        ),
        pytest.param(
            "heroku",
            "10.1.45.23",
            {"x_forwarded_for": "6.6.6.6, 99.61.165.29"},
            "99.61.165.29",
            FOR,
            id="Heroku",
        ),
        pytest.param(
            "heroku",
            "6.6.6.6",
            {"x_forwarded_for": "6.6.6.6, 99.61.165.29"},
            "99.61.165.29",
            FOR,
            id="Heroku, with a server that believes the left end",
        ),
        pytest.param(
            "heroku,cloudflare",
            "10.1.45.23",
            {"x_forwarded_for": f"6.6.6.6, 99.61.165.29, {EDGE}", "cf_connecting_ip": "99.61.165.29"},
            "99.61.165.29",
            "cf-connecting-ip",
            id="Cloudflare, Heroku",
        ),
        pytest.param(
            "fly",
            "172.16.9.2",
            {"x_forwarded_for": "2.2.2.2, 198.51.100.1, 2a09:8280:1::af:1aa1:0", "fly_client_ip": "198.51.100.1"},
            "198.51.100.1",
            "fly-client-ip",
            id="Fly",
        ),
        pytest.param(
            "private,fly",
            "172.16.9.2",
            {"x_forwarded_for": "2.2.2.2", "fly_client_ip": "198.51.100.1"},
            "198.51.100.1",
            "fly-client-ip",
            id="a vendor's header goes before its networks' other words",
        ),
        pytest.param(
            "fly,cloudflare",
            "172.16.9.2",
            {
                "x_forwarded_for": f"6.6.6.6, 198.51.100.1, {EDGE}, 66.241.124.230",
                "fly_client_ip": EDGE,
                "cf_connecting_ip": "198.51.100.1",
            },
            "198.51.100.1",
            "cf-connecting-ip",
            id="Cloudflare, Fly",
        ),
        pytest.param(
            "fly,192.0.2.0/24",
            "172.16.9.2",
            {"x_forwarded_for": "6.6.6.6, 198.51.100.1, 192.0.2.5, 66.241.124.230", "fly_client_ip": "192.0.2.5"},
            "198.51.100.1",
            FOR,
            id="a proxy of one's own, Fly",
        ),
        pytest.param(
            "railway",
            "100.64.0.3",
            {"x_forwarded_for": "104.23.217.156, 79.127.151.146", "x_real_ip": "91.157.105.204"},
            "91.157.105.204",
            "x-real-ip",
            id="Railway",
        ),
        pytest.param(
            "cloudrun",
            "169.254.169.126",
            {"x_forwarded_for": "6.6.6.6,198.51.100.1"},
            "198.51.100.1",
            FOR,
            id="Run",
        ),
        pytest.param(
            "cloudrun,34.36.1.2",
            "169.254.169.126",
            {"x_forwarded_for": "6.6.6.6, 198.51.100.1,34.36.1.2"},
            "198.51.100.1",
            FOR,
            id="Google's load balancer, Cloud Run",
        ),
        pytest.param(
            "google",
            "35.191.8.40",
            {"x_forwarded_for": "6.6.6.6,198.51.100.1,34.36.1.2"},
            "198.51.100.1",
            FOR,
            id="Google's load balancer",
        ),
        pytest.param(
            "google,private",
            "10.0.0.7",
            {"x_forwarded_for": "6.6.6.6,198.51.100.1,34.36.1.2, 35.191.8.40"},
            "198.51.100.1",
            FOR,
            id="Google's load balancer, nginx",
        ),
        pytest.param(
            "google,cloudflare",
            "35.191.8.40",
            {"x_forwarded_for": f"198.51.100.1,{EDGE},34.36.1.2", "cf_connecting_ip": "198.51.100.1"},
            "198.51.100.1",
            "cf-connecting-ip",
            id="Cloudflare, Google's load balancer",
        ),
        pytest.param(
            "aws",
            "172.31.4.4",
            {"x_forwarded_for": "6.6.6.6, 198.51.100.1", "x_amzn_trace_id": "Root=1-2-3"},
            "198.51.100.1",
            FOR,
            id="AWS",
        ),
        pytest.param(
            "fastly",
            "151.101.1.1",
            {"x_forwarded_for": "198.51.100.1, 151.101.2.2", "fastly_client_ip": "6.6.6.6"},
            "198.51.100.1",
            FOR,
            id="Fastly",
        ),
        pytest.param("vercel", None, {"x_forwarded_for": "198.51.100.1"}, "198.51.100.1", FOR, id="Vercel"),
        pytest.param("unix", None, {"x_forwarded_for": "198.51.100.1"}, "198.51.100.1", FOR, id="a Unix socket"),
        pytest.param("heroku", "10.1.45.23", {}, "10.1.45.23", "peer", id="a probe of the platform itself"),
        pytest.param("fly", "fdaa::3", {"fly_client_ip": "fdaa::5"}, "fdaa::5", "fly-client-ip", id="inside Fly"),
    ],
)
def test_each_platform_tells_its_client(
    words: str, peer: str | None, headers: dict[str, str], expected: str, source: str
) -> None:
    """With its word alone, each platform's requests show who the client is, whatever the client itself has written."""
    found = through(words, peer, **headers)
    assert found == Client(expected, grouped(ipaddress.ip_address(expected)), source, peer, trusted=True)


@pytest.mark.parametrize(
    ("words", "peer", "headers", "header"),
    [
        ("cloudflare", EDGE, {"x_forwarded_for": "6.6.6.6"}, "Cf-Connecting-Ip"),
        ("cloudflare", EDGE, {"cf_connecting_ip": "198.51.100.1, 6.6.6.6"}, "Cf-Connecting-Ip"),
        ("cloudflare,private", PROXY, {"x_forwarded_for": f"6.6.6.6, {EDGE}"}, "Cf-Connecting-Ip"),
        ("fly", "172.16.9.2", {"x_forwarded_for": "6.6.6.6"}, "Fly-Client-Ip"),
        ("google", "35.191.8.40", {"x_forwarded_for": "34.36.1.2"}, "X-Forwarded-For"),
        ("unix", None, {}, "X-Forwarded-For"),
    ],
)
def test_where_a_vendor_does_not_name_the_client_nobody_else_does(
    words: str, peer: str | None, headers: dict[str, str], header: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the vendor's header the client is unknown: anybody may have written the list. One error says so."""
    assert through(words, peer, **headers) == Client(None, None, "unknown", peer, trusted=True)
    assert header in caplog.records[0].getMessage()


def test_a_vendors_header_from_elsewhere_is_nobodys_word() -> None:
    """Only Cloudflare's own networks may say CF-Connecting-IP, Fly's own Fly-Client-IP, and so on."""
    for words in ("cloudflare", "private", "fastly", "google"):
        found = through(words, "203.0.113.7", cf_connecting_ip="6.6.6.6", fly_client_ip="6.6.6.6", x_real_ip="6.6.6.6")
        assert (found.address, found.source) == ("203.0.113.7", "peer")
    assert through("private", PROXY, cf_connecting_ip="6.6.6.6", x_real_ip="6.6.6.6").address is None
