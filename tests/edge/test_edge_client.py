"""Who is calling, and what of the headers may be believed."""

from __future__ import annotations

import ipaddress
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.exchanges import WrittenExchange

from launchkit.edge.client import FORWARDED, ClientResolver, grouped, is_private, parse

PROXY = "10.0.0.1"
FOR = b"x-forwarded-for"


def client(*values: bytes, peer: str | None = PROXY, trusted: tuple[str, ...] = ("10.0.0.0/8",)) -> str | None:
    return ClientResolver(trusted)(WrittenExchange(peer=peer, headers=[(FOR, value) for value in values]))


def test_the_peer_is_the_client_where_there_is_no_proxy() -> None:
    """The peer of the connection is the client."""
    assert client(peer="203.0.113.7") == "203.0.113.7"


def test_a_header_from_an_untrusted_peer_on_the_internet_is_ignored() -> None:
    """Whoever connects from the internet says nothing about who they are."""
    assert client(b"198.51.100.1", peer="203.0.113.7") == "203.0.113.7"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([b"198.51.100.1"], "198.51.100.1"),
        ([b"1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        ([b"1.1.1.1, 198.51.100.1, 10.2.3.4"], "198.51.100.1"),
        ([b"1.1.1.1", b"198.51.100.1", b"10.2.3.4"], "198.51.100.1"),
        ([b"10.9.9.9, 10.2.3.4"], "10.9.9.9"),
        ([b"garbage, 10.2.3.4"], "10.2.3.4"),
        ([b"1.1.1.1, garbage"], PROXY),
        ([b"1.1.1.1, "], PROXY),
        ([b"unknown"], PROXY),
        ([b"\xff\xfe"], PROXY),
        ([], PROXY),
    ],
)
def test_the_header_is_read_from_the_right(values: list[bytes], expected: str) -> None:
    """The first address from the right that is no trusted proxy is the client; garbage ends the walk."""
    assert client(*values) == expected


addresses = st.ip_addresses(v=4).map(str) | st.integers(0, 255).map(lambda last: f"10.0.0.{last}")


@given(st.lists(addresses, min_size=1, max_size=6), st.binary(max_size=30))
def test_nothing_left_of_the_client_counts(chain: list[str], prefix: bytes) -> None:
    """The walk stops at the first untrusted address; with proxies only, the leftmost stands."""
    trusted = ipaddress.ip_network("10.0.0.0/8")
    untrusted = [text for text in chain if ipaddress.ip_address(text) not in trusted]
    expected = untrusted[-1] if untrusted else chain[0]
    header = ", ".join(chain).encode()
    assert client(header) == expected
    if untrusted:
        assert client(prefix + b"," + header) == expected


@given(
    peer=st.none() | st.text(max_size=40) | st.ip_addresses().map(str),
    headers=st.lists(
        st.tuples(
            st.sampled_from((*FORWARDED, b"x-forwarded-proto", b"host")),
            st.binary(max_size=60)
            | st.lists(st.ip_addresses().map(str), max_size=4).map(lambda a: ",".join(a).encode()),
        ),
        max_size=5,
    ),
    trusted=st.sampled_from([(), ("private",), ("0.0.0.0/0", "::/0"), ("203.0.113.0/24", "2001:db8::/32")]),
)
def test_hostile_requests_give_an_address_or_none(
    peer: str | None, headers: list[tuple[bytes, bytes]], trusted: tuple[str, ...]
) -> None:
    """Whatever is sent, nothing is raised, and what comes out is one canonical text for each client, or None."""
    exchange = WrittenExchange(peer=peer, headers=headers)
    resolver = ClientResolver(trusted)
    assert resolver.is_https(exchange) in (True, False)
    assert resolver.is_local(exchange) in (True, False)
    found = resolver(exchange)
    if found is None:
        return
    if found.endswith("/64"):
        assert str(ipaddress.IPv6Network(found)) == found
    else:
        assert str(ipaddress.IPv4Address(found)) == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:5000", "203.0.113.7"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:5000", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]:80", "fe80::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("[::ffff:203.0.113.7]:80", "203.0.113.7"),
        ("64:ff9b::203.0.113.7", "203.0.113.7"),
        ("64:ff9b:1::203.0.113.7", "64:ff9b:1::cb00:7107"),
    ],
)
def test_one_address_has_many_spellings(text: str, expected: str) -> None:
    """Ports, brackets and zones come off; an IPv4 address in IPv6 clothes is an IPv4 address."""
    assert str(parse(text)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "unknown", "_hidden", "203.0.113", "203.0.113.256", "203.0.113.07", "[", "[]", ":", "::1::", "1:2", "٣.1.1.1"],
)
def test_what_is_no_address_is_none(text: str) -> None:
    """Obfuscated identifiers (RFC 7239 section 6.3), host names and garbage are no addresses."""
    assert parse(text) is None


@given(st.ip_addresses(v=4))
def test_ipv4_in_ipv6_clothes_counts_as_ipv4(address: ipaddress.IPv4Address) -> None:
    """Mapped (RFC 4291) and NAT64 (RFC 6052) addresses share the bucket of the plain one."""
    for text in (f"::ffff:{address}", f"64:ff9b::{address}", f"{address}:443"):
        assert client(text.encode(), trusted=(f"{PROXY}/32",)) == client(
            str(address).encode(), trusted=(f"{PROXY}/32",)
        )


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_an_ipv6_client_is_its_network_of_64_bits(address: ipaddress.IPv6Address, interface: int) -> None:
    """Whoever has one address has all of its /64: they share one bucket, and other networks do not."""
    network = int(address) >> 64
    same = ipaddress.IPv6Address(network << 64 | interface)
    other = ipaddress.IPv6Address((network ^ 1) << 64 | interface)
    assert grouped(address) == grouped(same)
    assert grouped(address) != grouped(other)


def test_a_trusted_proxy_may_connect_over_mapped_ipv6() -> None:
    """A dual-stack socket shows IPv4 peers as mapped addresses; they are the same proxy."""
    assert client(b"198.51.100.1", peer="::ffff:10.0.0.1") == "198.51.100.1"


@pytest.mark.parametrize(
    "peer",
    ["127.0.0.1", "10.1.1.1", "172.31.0.1", "192.168.0.1", "100.64.0.1", "169.254.1.1", "::1", "fd00::1", "fe80::1"],
)
def test_private_stands_for_every_private_network(peer: str) -> None:
    """The word `private` trusts every network that no client on the internet can have."""
    assert is_private(ipaddress.ip_address(peer))
    assert client(b"198.51.100.1", peer=peer, trusted=("private",)) == "198.51.100.1"


@pytest.mark.parametrize("peer", ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:4860::1"])
def test_private_stands_for_nothing_else(peer: str) -> None:
    """An address on the internet is not private."""
    assert not is_private(ipaddress.ip_address(peer))
    assert client(b"198.51.100.1", peer=peer, trusted=("private",)) != "198.51.100.1"


@pytest.mark.parametrize("header", FORWARDED)
def test_behind_a_proxy_that_nobody_declared_the_client_is_unknown(
    header: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Forwarded headers from a private peer mean a proxy: its address stands for nobody, and one error says so."""
    resolver = ClientResolver(())
    for _ in range(3):
        assert resolver(WrittenExchange(peer="172.17.0.1", headers=[(header, b"198.51.100.1")])) is None
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "LAUNCHKIT_TRUSTED_PROXIES" in record.getMessage()
    assert "172.17.0.1" in record.getMessage()


def test_a_private_peer_without_forwarded_headers_is_a_client(caplog: pytest.LogCaptureFixture) -> None:
    """On an intranet, private addresses are the clients."""
    assert client(peer="192.168.0.5", trusted=()) == "192.168.0.5"
    assert not caplog.records


@pytest.mark.parametrize("peer", [None, "", "testclient", "unix:"])
def test_a_peer_without_an_address_is_unknown(peer: str | None) -> None:
    """Sockets of the machine and test clients have no address."""
    assert client(b"198.51.100.1", peer=peer, trusted=("private",)) is None


@pytest.mark.parametrize(
    ("scheme", "peer", "forwarded", "expected"),
    [
        ("https", "203.0.113.7", None, True),
        ("https", "203.0.113.7", b"http", True),
        ("http", PROXY, b"https", True),
        ("http", PROXY, b" HTTPS ", True),
        ("http", PROXY, b"http", False),
        ("http", PROXY, None, False),
        ("http", "203.0.113.7", b"https", False),
        ("http", None, b"https", False),
    ],
)
def test_https_is_what_the_server_or_a_trusted_proxy_saw(
    scheme: str, peer: str | None, forwarded: bytes | None, expected: bool
) -> None:
    """X-Forwarded-Proto counts only from a trusted proxy."""
    headers = [] if forwarded is None else [(b"x-forwarded-proto", forwarded)]
    exchange = WrittenExchange(peer=peer, scheme=scheme, headers=headers)
    assert ClientResolver(("10.0.0.0/8",)).is_https(exchange) is expected


@pytest.mark.parametrize(
    ("peer", "expected"), [("127.0.0.1", True), ("::1", True), ("192.168.0.1", False), (None, False)]
)
def test_local_is_a_loopback_peer(peer: str | None, expected: bool) -> None:
    """Only this machine itself is local."""
    assert ClientResolver(()).is_local(WrittenExchange(peer=peer)) is expected


@pytest.mark.parametrize("header", FORWARDED)
def test_what_came_through_a_proxy_is_not_local(header: bytes) -> None:
    """A proxy on this machine brings the internet with it."""
    exchange = WrittenExchange(peer="127.0.0.1", headers=[(header, b"127.0.0.1")])
    assert not ClientResolver(("private",)).is_local(exchange)
