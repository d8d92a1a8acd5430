"""Who is calling, and what of the headers may be believed."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.exchanges import WrittenExchange
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from launchkit.edge.client import FORWARDED, Client, ClientResolver, is_private
from launchkit.edge.forwarded import forwarded, forwarded_for, grouped, parse
from launchkit.edge.mistakes import SUSPICIOUS, MistakeLog
from launchkit.pipeline.exchange import Header

Scope = dict[str, Any]

PROXY = "10.0.0.1"
FOR = b"x-forwarded-for"
EDGE = "172.71.195.123"
"""An address of Cloudflare's."""


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
        ([b"1.1.1.1,\t198.51.100.1 , ,"], "198.51.100.1"),
        ([b"1.1.1.1", b""], "1.1.1.1"),
        ([b"[2001:db8:1:2:3::4]:443, 10.2.3.4:1"], "2001:db8:1:2::/64"),
        ([], PROXY),
    ],
)
def test_the_header_is_read_from_the_right(values: list[bytes], expected: str) -> None:
    """The first address from the right that is no trusted proxy is the client; empty items are skipped, and what is no
    address ends the walk.
    """
    assert client(*values) == expected


@pytest.mark.parametrize(
    "value", [b"1.1.1.1, garbage", b"unknown", b"1.1.1.1, _hidden", b"\xff\xfe", b"", b" , ,", b"203.0.113.07"]
)
def test_a_proxy_that_knows_no_address_makes_the_client_unknown(value: bytes) -> None:
    """What the trusted proxy itself wrote is no address: its own would put all its clients into one bucket."""
    assert client(value) is None


def test_a_long_header_is_read_as_far_as_it_counts() -> None:
    """At most 64 items and 8 KB are looked at, from the right, and an item that is cut off is none."""
    hops = b"10.0.0.1," * 63
    assert client(b"1.1.1.1," + hops + b"10.0.0.2") == PROXY
    assert client(b"1.1.1.1," + hops.rstrip(b",")) == "1.1.1.1"
    assert forwarded_for(b"1" + b"11.1.1.1," + b"x" * (8192 - 8)) == (None,)
    assert client(b"1.1.1.1" + b" " * 9000 + b", 198.51.100.1") == "198.51.100.1"


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
        ("::ffff:cb00:7107", "203.0.113.7"),
        ("0:0:0:0:0:FFFF:203.0.113.7", "203.0.113.7"),
        ("64:ff9b::cb00:7107", "203.0.113.7"),
        ("64:ff9b:1::203.0.113.7", "64:ff9b:1::cb00:7107"),
        ("2001:db8::1%eth0", "2001:db8::1"),
        ("203.0.113.7:_port", "203.0.113.7"),
    ],
)
def test_one_address_has_many_spellings(text: str, expected: str) -> None:
    """Ports, brackets and zones come off; an IPv4 address in IPv6 clothes is an IPv4 address."""
    assert str(parse(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "unknown",
            "_hidden",
            "203.0.113",
            "203.0.113.256",
            "203.0.113.07",
            "0x7f.1",
            "2130706433",
            "[",
            "[]",
            ":",
        ),
        *("::1::", "1:2", "٣.1.1.1", "[203.0.113.7]x", "[::1]x", "203.0.113.7:x", "203.0.113.7:123456", "1.1.1.1\n"),
        *("2001:db8::1%" + "z" * 99, "203.0.113.7 10.0.0.1", '"203.0.113.7"', "<script>"),
    ],
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


@given(st.ip_addresses(v=6).filter(lambda address: int(address) >> 80 != 0x64_FF9B_0001), st.integers(0, 2**64 - 1))
def test_an_ipv6_client_is_its_network_of_64_bits(address: ipaddress.IPv6Address, interface: int) -> None:
    """Whoever has one address has all of its /64: they share one bucket, and other networks do not."""
    network = int(address) >> 64
    same = ipaddress.IPv6Address(network << 64 | interface)
    other = ipaddress.IPv6Address((network ^ 1) << 64 | interface)
    assert grouped(address) == grouped(same)
    assert grouped(address) != grouped(other)


def test_translated_clients_of_a_local_prefix_count_alone() -> None:
    """In the local NAT64 prefix (RFC 8215) one /64 may hold every IPv4 client: no bucket for all of them."""
    one, other = ipaddress.ip_address("64:ff9b:1::203.0.113.7"), ipaddress.ip_address("64:ff9b:1::203.0.113.8")
    assert grouped(one) != grouped(other)


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
        ("https", PROXY, b"http", False),
        ("http", PROXY, b"http, https", True),
        ("http", PROXY, b"https, http", False),
        ("http", PROXY, b"gopher", False),
        ("https", PROXY, b"", True),
        ("ws", PROXY, b"wss", True),
        ("http", PROXY, None, False),
        ("http", "203.0.113.7", b"https", False),
        ("http", None, b"https", False),
    ],
)
def test_https_is_what_the_server_or_a_trusted_proxy_saw(
    scheme: str, peer: str | None, forwarded: bytes | None, expected: bool
) -> None:
    """X-Forwarded-Proto counts only from a trusted proxy, and of several items the one it wrote."""
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


# --- RFC 7239 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"for=198.51.100.1", "198.51.100.1"),
        (b"For=1.1.1.1, FOR=198.51.100.1;proto=https;by=10.0.0.9", "198.51.100.1"),
        (b'for="[2001:db8:1:2::3]:4711"', "2001:db8:1:2::/64"),
        (b'for="198.51.100.1:80" ; host="a,b;c"', "198.51.100.1"),
        (b'for="198.51.100.\\1"', "198.51.100.1"),
        (b"for=1.1.1.1, for=198.51.100.1, for=10.9.9.9", "198.51.100.1"),
        (b'for="evil, for=198.51.100.1', "198.51.100.1"),
        (b'for="evil, for="[2001:db8:1:2::3]"', "2001:db8:1:2::/64"),
        (b"for=198.51.100.1,,", "198.51.100.1"),
        (b"for=1.1.1.1, for=unknown", None),
        (b"for=_hidden", None),
        (b"for=1.1.1.1, proto=https", None),
        (b"for=1.1.1.1;for=198.51.100.1", None),
        (b"for 198.51.100.1", None),
        (b'for=198.51.100.1"', None),
    ],
)
def test_forwarded_is_read_from_the_right(value: bytes, expected: str | None) -> None:
    """Elements, quoted strings and obfuscated names are read as RFC 7239 section 4 says, from the end that the proxy
    wrote: an open quote to its left swallows nothing.
    """
    exchange = WrittenExchange(peer=PROXY, headers=[(b"forwarded", value)])
    assert ClientResolver(("10.0.0.0/8",))(exchange) == expected


def test_forwarded_counts_only_without_x_forwarded_for() -> None:
    """Of two headers a proxy writes one, and lets the other through as the client wrote it."""
    headers = [(b"forwarded", b"for=1.1.1.1"), (FOR, b"198.51.100.1")]
    assert ClientResolver(("private",))(WrittenExchange(peer=PROXY, headers=headers)) == "198.51.100.1"


def test_elements_of_forwarded_are_bounded() -> None:
    """At most 64 elements are read, however many there are."""
    assert len(forwarded(b"for=10.0.0.1," * 500)) == 64
    assert forwarded(b"") == ()


def test_what_is_left_of_an_unmatched_quote_is_not_read() -> None:
    """An element that a quote is open in has no parameters, and where it begins cannot be known."""
    assert forwarded(b'for=1.1.1.1,"for=10.9.9.9, for=10.9.9.8') == ({"for": "10.9.9.8"}, {})


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "peer", "headers", "bucket", "setting"),
    [
        ("", EDGE, {"cf_connecting_ip": "198.51.100.1"}, "cloudflare 198.51.100.1", "to cloudflare."),
        ("", "35.191.1.1", {"x_forwarded_for": "198.51.100.1,34.36.1.2"}, "google 198.51.100.1", "to google."),
        (
            "fly",
            "172.16.9.2",
            {"fly_client_ip": EDGE, "cf_connecting_ip": "2001:db8::1"},
            "cloudflare 2001:db8::/64",
            "to fly,cloudflare.",
        ),
        (
            "",
            EDGE,
            {"x_forwarded_for": f"198.51.100.1, {EDGE}", "cf_connecting_ip": "198.51.100.1"},
            "cloudflare 198.51.100.1",
            "to cloudflare.",
        ),
    ],
)
def test_a_vendor_that_nobody_declared_tells_clients_apart_and_no_more(
    words: str, peer: str, headers: dict[str, str], bucket: str, setting: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Limits stay on, with a bucket for each client, but no address lets anybody in; one error names the word."""
    resolver = ClientResolver(tuple(filter(None, words.split(","))))
    written = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    for _ in range(3):
        exchange = WrittenExchange(peer=peer, headers=written)
        assert resolver(exchange) == bucket
        assert resolver.resolve(exchange).address is None
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert setting in record.getMessage()


def test_who_connects_from_a_vendors_network_without_its_header_is_a_client(caplog: pytest.LogCaptureFixture) -> None:
    """Somebody's own server may stand in such a network, and it may send a list."""
    exchange = WrittenExchange(peer=EDGE, headers=[(FOR, b"6.6.6.6")])
    assert ClientResolver(()).resolve(exchange) == Client(EDGE, EDGE, "peer", EDGE, trusted=False)
    assert not caplog.records


@pytest.mark.parametrize(
    ("trusted", "value", "address"),
    [
        ((), b"198.51.100.1", "198.51.100.1"),
        ((), b"198.51.100.1, 203.0.113.9", "198.51.100.1"),
        (("private",), b"6.6.6.6, 198.51.100.1", "198.51.100.1"),
        (("private",), b"198.51.100.1, 10.0.0.2", "198.51.100.1"),
        (("private",), b"198.51.100.1, 203.0.113.9", None),
        (("private",), b"198.51.100.1, garbage", None),
    ],
)
def test_a_server_that_has_rewritten_the_peer_is_named(
    trusted: tuple[str, ...], value: bytes, address: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A peer from its own X-Forwarded-For is the server's choice: it is counted, and an address unless the declared
    proxies contradict it; one error says how to start the server.
    """
    resolver = ClientResolver(trusted)
    for _ in range(3):
        found = resolver.resolve(WrittenExchange(peer="198.51.100.1", headers=[(FOR, value)]))
        assert found == Client(address, "198.51.100.1", "peer", "198.51.100.1", trusted=False)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "--no-proxy-headers" in record.getMessage()
    assert "LAUNCHKIT_TRUSTED_PROXIES" in record.getMessage()


@pytest.mark.parametrize(
    ("allowed", "trusted", "peer", "value", "address"),
    [
        ("127.0.0.1", (), "127.0.0.1", b"198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", ("private",), "127.0.0.1", b"6.6.6.6, 198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", ("private",), "10.0.0.1", b"6.6.6.6, 198.51.100.1", "198.51.100.1"),
        ("*", ("private",), "10.0.0.1", b"6.6.6.6, 198.51.100.1", None),
        ("*", ("private",), "10.0.0.1", b"10.6.6.6, 198.51.100.1", "198.51.100.1"),
        ("*", ("heroku",), "10.0.0.1", b"6.6.6.6, 198.51.100.1", "198.51.100.1"),
        ("*", ("heroku",), "10.0.0.1", b"garbage, 198.51.100.1", "198.51.100.1"),
    ],
)
def test_behind_uvicorn_no_client_chooses_its_address(
    allowed: str, trusted: tuple[str, ...], peer: str, value: bytes, address: str | None
) -> None:
    """Uvicorn's own proxy headers, by default or for all, let no client pass for another where proxies are declared."""
    shown: list[str] = []

    async def app(scope: Scope, receive: object, send: object) -> None:
        shown.append(scope["client"][0])

    scope: Scope = {"type": "http", "client": (peer, 40_000), "scheme": "http", "headers": [(FOR, value)]}
    asyncio.run(ProxyHeadersMiddleware(app, allowed)(scope, None, None))
    found = ClientResolver(trusted).resolve(WrittenExchange(peer=shown[0], headers=[(FOR, value)]))
    assert found.address == address


@pytest.mark.parametrize(
    ("trusted", "peer", "values", "suspect", "setting"),
    [
        ((), "203.0.113.7", [(FOR, b"1.1.1.%d")], "203.0.113.7", "its network"),
        ((), "2001:db8::7", [(b"forwarded", b"for=1.1.1.%d")], "2001:db8::/64", "its network"),
        ((), "151.101.1.1", [(FOR, b"1.1.1.%d")], "151.101.1.1", "fastly"),
        (("cloudrun",), "169.254.1.1", [(FOR, b"1.1.1.%d, 34.36.1.2")], "34.36.1.2", "its network"),
    ],
)
def test_an_undeclared_public_proxy_is_suspected_and_limited(
    trusted: tuple[str, ...],
    peer: str,
    values: list[Header],
    suspect: str,
    setting: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Many forwarded requests from one public address may come from a proxy or from one client: it stays the client,
    and one warning says what to set if it is a proxy.
    """
    resolver = ClientResolver(trusted)
    for number in range(2 * SUSPICIOUS):
        assert len(caplog.records) == (number >= SUSPICIOUS)
        headers = [(name, value % number) for name, value in values]
        assert resolver(WrittenExchange(peer=peer, headers=headers)) == suspect
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"from {suspect} " in record.getMessage()
    assert f"add {setting} to LAUNCHKIT_TRUSTED_PROXIES" in record.getMessage()


@pytest.mark.parametrize(
    ("trusted", "peer", "header"),
    [
        (("private",), PROXY, (FOR, b"1.1.1.1, garbage, 10.2.3.4")),
        (("private",), PROXY, (FOR, b"198.51.100.1")),
        ((), "203.0.113.7", (b"forwarded", b"for=203.0.113.7")),
    ],
)
def test_what_is_no_mistake_is_not_logged(
    trusted: tuple[str, ...], peer: str, header: Header, caplog: pytest.LogCaptureFixture
) -> None:
    """A trusted proxy is no suspect, whatever is left of it, and no server shows items of Forwarded as the peer."""
    resolver = ClientResolver(trusted)
    for _ in range(SUSPICIOUS - 1 if peer == "203.0.113.7" else 2 * SUSPICIOUS):
        resolver(WrittenExchange(peer=peer, headers=[header]))
    assert not caplog.records


def test_suspects_are_forgotten_before_they_fill_memory(caplog: pytest.LogCaptureFixture) -> None:
    """However many addresses send forwarded headers, only so many are counted at a time."""
    log = MistakeLog()
    for number in range(5000):
        log.suspect(str(ipaddress.IPv4Address(number)))
    assert len(log._suspects) <= 1024
    assert not caplog.records


def test_long_headers_are_not_remembered() -> None:
    """Answers are remembered by short headers only, so that nobody fills memory with long ones."""
    resolver = ClientResolver(("private",))
    for number in range(50):
        value = b"1.1.1.1," * 100 + b"198.51.100.%d" % number
        assert resolver(WrittenExchange(peer=PROXY, headers=[(FOR, value)])) == f"198.51.100.{number}"
        assert resolver(WrittenExchange(peer=PROXY, headers=[(FOR, value[-40:])])) == f"198.51.100.{number}"
    assert resolver._remembered.cache_info().currsize == 50
    assert resolver.resolve(WrittenExchange(peer="x" * 10_000)) == Client(None, None, "unknown", "", trusted=False)
    assert resolver._peer.cache_info().currsize == 2


def test_the_resolver_may_be_used_by_many_threads() -> None:
    """One resolver serves every thread of a WSGI server."""
    resolver, wrong = ClientResolver(("private",)), []

    def call(thread: int) -> None:
        for number in range(300):
            value = b"198.51.%d.%d" % (thread, number % 200)
            if resolver(WrittenExchange(peer=PROXY, headers=[(FOR, value)])) != value.decode():
                wrong.append(value)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# --- scheme and host --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "headers", "expected"),
    [
        ("private", [(b"forwarded", b"proto=https;for=1.1.1.1")], "https"),
        ("private", [(b"forwarded", b"proto=https, for=1.1.1.1;proto=http")], "http"),
        ("private", [(b"forwarded", b"proto=https"), (b"x-forwarded-proto", b"http")], "http"),
        ("private", [(b"forwarded", b",")], "http"),
        ("private", [(b"x-forwarded-proto", b"https"), (b"x-forwarded-proto", b"http")], "http"),
        ("private", [(b"cf-visitor", b'{"scheme":"https"}')], "http"),
        ("private,cloudflare", [(b"cf-visitor", b'{"scheme":"https"}'), (b"x-forwarded-proto", b"http")], "https"),
        ("private,cloudflare", [(b"cf-visitor", b'{"scheme":"http"}')], "http"),
        ("private,cloudflare", [(b"cf-visitor", b'{"scheme":["https"]}')], "http"),
        ("private,cloudflare", [(b"cf-visitor", b'["https"]')], "http"),
        ("private,cloudflare", [(b"cf-visitor", b"[" * 60_000)], "http"),
        ("private,cloudflare", [(b"cf-visitor", b"\xff")], "http"),
        ("192.0.2.1", [(b"cf-visitor", b'{"scheme":"https"}'), (b"x-forwarded-proto", b"https")], "http"),
    ],
)
def test_the_scheme_is_what_the_nearest_trusted_proxy_says(words: str, headers: list[Header], expected: str) -> None:
    """X-Forwarded-Proto, else Forwarded, in its last item; CF-Visitor where Cloudflare is trusted."""
    assert ClientResolver(words.split(",")).scheme(WrittenExchange(peer=PROXY, headers=headers)) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"host", b"app.internal")], b"app.internal"),
        ([(b"host", b"app.internal"), (b"x-forwarded-host", b"evil.example, example.com")], b"example.com"),
        ([(b"host", b"app.internal"), (b"forwarded", b'host="example.com:8443";for=1.1.1.1')], b"example.com:8443"),
        ([(b"host", b"app.internal"), (b"x-forwarded-host", b"")], b"app.internal"),
        ([(b"x-forwarded-host", b"b\xfccher.example")], b"b\xfccher.example"),
        ([], None),
    ],
)
def test_the_host_is_what_the_nearest_trusted_proxy_says(headers: list[Header], expected: bytes | None) -> None:
    """X-Forwarded-Host, else Forwarded, else Host; from anybody else Host alone."""
    exchange = WrittenExchange(peer=PROXY, headers=headers)
    assert ClientResolver(("private",)).host(exchange) == expected
    assert ClientResolver(()).host(exchange) == dict(headers).get(b"host")


def test_in_production_an_undeclared_private_peer_is_a_proxy() -> None:
    """Visitors come from the internet, so a private peer without headers is a proxy that hides."""
    exchange = WrittenExchange(peer=PROXY)
    assert ClientResolver((), production=True)(exchange) is None
    assert ClientResolver(("private",), production=True)(exchange) == PROXY
