"""What holds for every client and every header, however hostile."""

from __future__ import annotations

import functools
import ipaddress
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.exchanges import WrittenExchange

from launchkit.edge.client import FORWARDED, ClientResolver
from launchkit.edge.forwarded import Address, forwarded, forwarded_for, grouped, parse
from launchkit.networks import NETWORKS, PROXIES
from launchkit.pipeline.exchange import Header

NAMES = (*FORWARDED, b"cf-connecting-ipv6", b"cf-visitor", b"host", b"true-client-ip")
WORDS: tuple[tuple[str, ...], ...] = (
    (),
    ("private",),
    ("private", "unix", "203.0.113.0/24", "2001:db8::/32"),
    ("cloudflare", "private"),
    ("cloudflared",),
    ("google", "private"),
    *((word,) for word, proxies in PROXIES.items() if proxies.is_platform),
)
POOL = (
    *("203.0.113.7", "198.51.100.1", "8.8.8.8", "1.1.1.1", "10.0.0.1", "10.1.2.3", "127.0.0.1", "172.71.195.123"),
    *(
        "35.191.8.40",
        "34.36.1.2",
        "169.254.1.1",
        "240.1.2.3",
        "2001:db8::1",
        "2a09:8280:1::1",
        "2606:4700::1",
        "fdaa::3",
    ),
    *("::1", "2a06:98c0:3600::103", "64:ff9b:1::1"),
)
VICTIM = "192.0.2.66"
"""The address that an attacker wants to be taken for."""

ipv4_spellings = ("{}", "{}:443", "::ffff:{}", "[::ffff:{}]", "[::ffff:{}]:80", "64:ff9b::{}")
ipv6_spellings = ("{}", "[{}]", "[{}]:443", "{}%eth0", "[{}%25eth0]:80")


def spelled(address: Address, choice: random.Random) -> str:
    """Write an address in one of the ways that proxies do."""
    return choice.choice(ipv4_spellings if address.version == 4 else ipv6_spellings).format(address)


addresses = st.ip_addresses() | st.sampled_from(POOL).map(ipaddress.ip_address)
chances = st.integers(0, 2**32).map(random.Random)


# --- buckets ----------------------------------------------------------------------------------------------------------


def who(address: Address) -> tuple[int, int]:
    """Return what tells clients apart, by the numbers: version and address, or the first 64 bits of IPv6."""
    number = int(address)
    if address.version == 6 and number >> 32 in (0xFFFF, 0x64FF9B << 64):
        return 4, number & 0xFFFFFFFF
    if address.version == 4 or number >> 80 == 0x64_FF9B_0001:
        return address.version, number
    return 6, number >> 64


@given(addresses, addresses, chances)
def test_clients_share_a_bucket_only_if_they_are_one(one: Address, other: Address, chance: random.Random) -> None:
    """Different clients, by IPv4 address or /64 network, never share a text; the same client always does."""
    texts = []
    for address in (one, other):
        parsed = parse(spelled(address, chance))
        assert parsed is not None
        texts.append(grouped(parsed))
    assert (texts[0] == texts[1]) is (who(one) == who(other))


@given(st.ip_addresses(v=6), st.integers(1, 2**64 - 1))
def test_neighbours_in_a_network_of_64_bits_are_one_client(address: ipaddress.IPv6Address, difference: int) -> None:
    """An attacker who changes the last 64 bits stays in the bucket; one bit further left is somebody else."""
    neighbour = ipaddress.IPv6Address(int(address) ^ difference)
    stranger = ipaddress.IPv6Address(int(address) ^ 1 << 64)
    for found, is_one in ((neighbour, who(address) == who(neighbour)), (stranger, who(address) == who(stranger))):
        first, second = parse(str(address)), parse(str(found))
        assert first is not None
        assert second is not None
        assert (grouped(first) == grouped(second)) is is_one


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_any_text_is_an_address_or_none(text: str) -> None:
    """Parsing never raises, and what it accepts is spelled as a number somewhere in the text."""
    parsed = parse(text)
    assert parsed is None or any(character in text for character in "0123456789abcdefABCDEF:")


# --- lists ------------------------------------------------------------------------------------------------------------


@given(st.lists(addresses, max_size=64), chances)
def test_a_list_reads_as_it_was_written(chain: list[Address], chance: random.Random) -> None:
    """X-Forwarded-For and Forwarded give the same addresses back, rightmost first."""
    texts = [spelled(address, chance) for address in chain]
    expected = tuple(parse(text) for text in reversed(texts))
    assert forwarded_for(", ".join(texts).encode()) == expected
    elements = forwarded(", ".join(f'For="{text}";proto=https' for text in texts).encode())
    assert tuple(parse(element["for"]) for element in elements) == expected


@given(st.binary(max_size=300), st.lists(addresses, min_size=1, max_size=5))
def test_what_stands_left_changes_nothing_further_right(left: bytes, chain: list[Address]) -> None:
    """Whatever bytes a client sends ahead, quotes and all, the items that proxies append are read the same."""
    appended = [str(address) for address in reversed(chain)]
    value = left + b"," + ",".join(appended).encode()
    assert forwarded_for(value)[: len(chain)] == tuple(parse(text) for text in reversed(appended))
    value = left + b"," + ",".join(f'for="[{text}]"' for text in appended).encode()
    found = [parse(element.get("for", "")) for element in forwarded(value)[: len(chain)]]
    assert found == [parse(text) for text in reversed(appended)]


# --- the walk ---------------------------------------------------------------------------------------------------------

private = st.integers(0, 2**16 - 1).map(lambda number: ipaddress.IPv4Address((10 << 24) + number))
public = st.integers(0, 255).map(lambda number: ipaddress.ip_address(f"203.0.113.{number}"))


@given(
    st.binary(max_size=80), public, st.lists(private, max_size=5), chances, st.sampled_from(["list", "lines", "rfc"])
)
def test_nothing_left_of_an_untrusted_address_is_believed(
    left: bytes, client: Address, proxies: list[Address], chance: random.Random, form: str
) -> None:
    """The first untrusted address from the right is the client, in one line or several, in either header."""
    texts = [spelled(address, chance) for address in (client, *proxies)]
    if form == "rfc":
        headers = [(b"forwarded", left + b"," + ",".join(f'for="{text}"' for text in texts).encode())]
    elif form == "lines":
        headers = [(b"x-forwarded-for", value) for value in (left, *(text.encode() for text in texts))]
    else:
        headers = [(b"x-forwarded-for", left + b"," + ", ".join(texts).encode())]
    found = ClientResolver(("private",)).resolve(WrittenExchange(peer="10.0.0.1", headers=headers))
    assert found.address == str(client)


def hostile(chance: random.Random) -> tuple[str | None, list[Header], set[str]]:
    """Return a peer, headers, and the addresses that stand anywhere in them."""
    seen: list[str] = []

    def item() -> str:
        if chance.random() < 0.25:
            garbage = (
                "",
                " ",
                "unknown",
                "_x",
                '"',
                "\\",
                "a;b=c",
                "[",
                "1.2.3",
                "00.1.1.1",
                "::::",
                "\xff",
                "for=",
                "%",
            )
            return chance.choice(garbage)
        address = ipaddress.ip_address(chance.choice(POOL))
        seen.append(str(address))
        return spelled(address, chance)

    def value(name: bytes) -> bytes:
        items = [item() for _ in range(chance.choice((0, 1, 1, 2, 3, 5, 9)))]
        if name == b"forwarded":
            form = chance.choice(("for={}", 'for="{}"', 'for="{}', "For={};proto=https", "{}"))
            items = [form.format(text) for text in items]
        return chance.choice((",", ", ", " ,\t", ",,")).join(items).encode("latin-1")

    headers = [(name, value(name)) for name in chance.choices(NAMES, k=chance.randrange(6))]
    peer = chance.choice((*POOL, None, "", "unix:", "<script>", "::ffff:10.0.0.1", "x" * 100))
    if peer is not None and (address := parse(peer)) is not None:
        seen.append(str(address))
    return peer, headers, set(seen)


@pytest.mark.parametrize("seed", range(10))
def test_ten_thousand_hostile_requests_give_an_address_that_was_there(seed: int) -> None:
    """Nothing is raised, and the client is the peer, an address in a header, or unknown, the same at every time of
    asking; from a peer that is not trusted it is the peer or unknown.
    """
    chance = random.Random(seed)
    resolvers = {words: ClientResolver(words, production=chance.random() < 0.5) for words in WORDS}
    for _ in range(1000):
        peer, headers, seen = hostile(chance)
        words = chance.choice(WORDS)
        exchange = WrittenExchange(peer=peer, headers=headers)
        resolver = resolvers[words]
        found = resolver.resolve(exchange)
        assert found.address is None or found.address in seen
        assert found.peer in (peer, "")
        assert found.trusted or found.address in (None, str(parse(peer or "")))
        assert found.source in ("peer", "unknown") or any(name.decode() == found.source for name, _ in headers)
        assert resolver(exchange) == found.bucket
        assert found.address is None or found.bucket == grouped(ipaddress.ip_address(found.address))
        assert (resolver.scheme(exchange) == "https") is resolver.is_https(exchange)
        assert resolver.is_local(exchange) is False or peer in ("127.0.0.1", "::1")
        assert isinstance(resolver.host(exchange), bytes | None)


@pytest.mark.parametrize("seed", range(10))
def test_nobody_is_taken_for_somebody_else(seed: int) -> None:
    """However an attacker writes another's address into any header, whatever proxies that append or overwrite do to it,
    the attacker is counted as themselves.
    """
    chance = random.Random(1000 + seed)
    resolver_of = functools.cache(lambda words: ClientResolver(words))
    attacker = "203.0.113.99"
    for _ in range(500):
        _, headers, _ = hostile(chance)
        forged = [
            (name, value.replace(b"1.1.1.1", VICTIM.encode()) + b"," + VICTIM.encode()) for name, value in headers
        ]
        words, peer, added = chance.choice(
            (
                ((), attacker, {}),
                (("private",), attacker, {}),
                (("cloudflare", "private"), attacker, {}),
                (("private",), "10.0.0.1", {b"x-forwarded-for": attacker}),
                (("heroku",), "10.0.0.1", {b"x-forwarded-for": attacker}),
                (("cloudrun",), "169.254.1.1", {b"x-forwarded-for": attacker}),
                (("google",), "35.191.0.1", {b"x-forwarded-for": f"{attacker},34.36.1.2"}),
                (("cloudflare", "private"), "10.0.0.1", {b"x-forwarded-for": attacker}),
            )
        )
        appended = [*forged, *((name, value.encode()) for name, value in added.items())]
        found = resolver_of(words).resolve(WrittenExchange(peer=peer, headers=appended))
        assert found.address == attacker
        overwritten = [pair for pair in forged if pair[0] not in (b"fly-client-ip", b"x-real-ip", b"cf-connecting-ip")]
        for word, header, proxy in (
            ("fly", b"fly-client-ip", "172.16.0.1"),
            ("railway", b"x-real-ip", "100.64.0.1"),
            ("cloudflare", b"cf-connecting-ip", "172.71.195.123"),
            ("cloudflared", b"cf-connecting-ip", "127.0.0.1"),
        ):
            exchange = WrittenExchange(peer=proxy, headers=[*overwritten, (header, attacker.encode())])
            assert resolver_of((word,)).resolve(exchange).address == attacker


@given(addresses, st.sampled_from([word for word in NETWORKS if not PROXIES[word].is_platform]), chances)
def test_a_peer_outside_of_the_trusted_networks_is_itself(peer: Address, word: str, chance: random.Random) -> None:
    """Whatever it sends, an untrusted peer counts as itself, as a vendor's client in a bucket apart, or not at all."""
    _, headers, _ = hostile(chance)
    shown = parse(str(peer))
    assert shown is not None
    found = ClientResolver((word,)).resolve(WrittenExchange(peer=str(peer), headers=headers))
    if not found.trusted:
        assert found.address in (None, str(shown))
        assert (
            found.bucket is None
            or found.bucket == grouped(shown)
            or found.bucket.startswith(("cloudflare ", "google "))
        )
