"""Who is calling: the client's address, as far as it can be known.

The rules:

- The peer of the connection is the client, unless it is a trusted proxy. Then X-Forwarded-For is read from the right,
  and the first address that is not itself a trusted proxy is the client; what is no address ends the walk, and the last
  good address stands. The left end of the header is whatever the client wrote, and is never believed.
- Where a proxy's headers arrive from a private peer or a Unix socket and do not tell the client, because the proxy is
  not trusted or sends no X-Forwarded-For, the client is unknown: None, never the proxy's own address, which
  would put all clients into one bucket. In production that goes for every private peer that nobody declared.
- An IPv4 address in IPv6 clothes (mapped, RFC 4291 section 2.5.5.2; NAT64, RFC 6052) is an IPv4 address. Of an IPv6
  address the first 64 bits count, because whoever has one address has all of that network.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Collection
from functools import lru_cache
from typing import Final

from launchkit.pipeline.exchange import Exchange

logger = logging.getLogger("launchkit")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PRIVATE: Final = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
)
"""What the word `private` in `trusted_proxies` stands for (RFC 1918, 4193, 6598, 3927, 4291)."""

UNIX: Final = "unix"
"""The word in `trusted_proxies` for a proxy that speaks to the server through a Unix socket."""

_NAT64: Final = int(ipaddress.IPv6Address("64:ff9b::")) >> 32
FORWARDED: Final = (b"x-forwarded-for", b"forwarded", b"x-real-ip", b"x-forwarded-proto", b"x-forwarded-host", b"via")
"""Headers by which a proxy shows itself."""


class ClientResolver:
    """Finds the client's address for an exchange.

    In production a peer with a private address that nobody declared counts as a proxy even if it does not show itself:
    visitors come from the internet.
    """

    def __init__(self, trusted_proxies: Collection[str], *, production: bool = False) -> None:
        words = {UNIX: (), "private": PRIVATE}
        texts = [text for name in trusted_proxies for text in words.get(name, (name,))]
        self._trusted: tuple[Network, ...] = tuple(ipaddress.ip_network(text, strict=False) for text in texts)
        self._trusts_unix = UNIX in trusted_proxies
        self._production = production
        self._trusts_peer = lru_cache(maxsize=4096)(lambda text: self.trusts(parse(text)))
        self._warned = False

    def __call__(self, exchange: Exchange) -> str | None:
        """Return the address that limits count by, or None where it is unknown."""
        peer = parse(exchange.peer or "")
        trusted = self.trusts(peer)
        chain = exchange.header_values(b"x-forwarded-for") if trusted else []
        client = self._walk(peer, chain) if chain else peer
        if client is None or (not chain and self._is_proxy(client, exchange, trusted=trusted)):
            self._warn(peer, trusted=trusted)
            return None
        return grouped(client)

    def _is_proxy(self, peer: Address, exchange: Exchange, *, trusted: bool) -> bool:
        if not (trusted or is_private(peer)):
            return False
        shows_itself = any(exchange.header(name) is not None for name in FORWARDED)
        return shows_itself or (self._production and not trusted)

    def trusts(self, address: Address | None) -> bool:
        """Tell whether an address belongs to a trusted proxy; None is the other end of a Unix socket."""
        if address is None:
            return self._trusts_unix
        return any(address in network for network in self._trusted)

    def is_https(self, exchange: Exchange) -> bool:
        """Tell whether the client spoke HTTPS, to this server or to a trusted proxy."""
        if exchange.scheme == "https":
            return True
        forwarded = exchange.header(b"x-forwarded-proto")
        if forwarded is None or forwarded.strip().lower() != b"https":
            return False
        return self._trusts_peer(exchange.peer or "")

    def is_local(self, exchange: Exchange) -> bool:
        """Tell whether the request comes from this machine and through no proxy."""
        peer = parse(exchange.peer or "")
        return peer is not None and peer.is_loopback and all(exchange.header(name) is None for name in FORWARDED)

    def _walk(self, peer: Address | None, values: list[bytes]) -> Address | None:
        client = peer
        for item in reversed(b",".join(values).decode("latin-1").split(",")):
            address = parse(item.strip())
            if address is None:
                break
            client = address
            if not self.trusts(address):
                break
        return client

    def _warn(self, peer: Address | None, *, trusted: bool) -> None:
        if self._warned:
            return
        self._warned = True
        if trusted:
            remedy = "It is trusted, but sends no X-Forwarded-For: let it do so."
        else:
            setting = "its network, or to private" if peer else UNIX
            remedy = f"If that proxy is yours, set LAUNCHKIT_TRUSTED_PROXIES to {setting}."
        logger.error(
            "Requests come through a proxy at %s and the client's address is unknown: limits by address only observe. "
            "%s",
            peer or "a Unix socket",
            remedy,
        )


@lru_cache(maxsize=4096)
def parse(text: str) -> Address | None:
    """Return the address in a peer name or in an item of X-Forwarded-For, with port and brackets taken off."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if int(address) >> 32 == _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


@lru_cache(maxsize=4096)
def grouped(address: Address) -> str:
    """Return what limits count by: an IPv4 address, or the /64 network of an IPv6 address."""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64"


def is_private(address: Address) -> bool:
    """Tell whether an address is one that no client on the internet can have."""
    return any(address in network for network in _PRIVATE_NETWORKS)


_PRIVATE_NETWORKS: Final = tuple(ipaddress.ip_network(text) for text in PRIVATE)
