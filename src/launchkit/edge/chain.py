"""From proxy to proxy towards the client, believing each of them one step.

The rules:

- The walk begins at the peer. At a trusted proxy it goes on to the address which that proxy says it got the request
  from; at any other address it ends, and that is the client. So nothing left of an untrusted address is ever believed.
- A proxy says so in its vendor's header where it has one, else in the rightmost item of X-Forwarded-For (or Forwarded)
  that has not been used yet. A vendor's header is used once and goes on left of where the list has the same address.
- Where the list is used up, or goes on with what is no address, the last address stands. Where not even the first proxy
  names one, the client is unknown: the proxy's own address would put all clients into one bucket.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from launchkit.edge.forwarded import Address
from launchkit.networks import PROXIES, Proxies

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_CLASS_E: Final = ipaddress.IPv4Network("240.0.0.0/4")


class Evidence(NamedTuple):
    """What the headers say: the list, rightmost first, and the addresses in vendors' headers; None is no address."""

    items: tuple[Address | None, ...]
    items_source: str
    named: Mapping[bytes, Address | None]


class Stand(NamedTuple):
    """Where a walk has got to.

    Attributes:
        address: the client, or None if it is unknown.
        source: the header that names it, or should have; or `peer`.
        position: how many items of the list are used up.
    """

    address: Address | None
    source: str
    position: int


class Chain:
    """The proxies that are trusted, compiled from words and networks."""

    def __init__(self, trusted: Collection[str]) -> None:
        known = [PROXIES.get(text, Proxies((text,))) for text in trusted]
        known += [PROXIES[proxies.behind] for proxies in known if proxies.behind]
        known.sort(key=lambda proxies: (proxies.header is None, not proxies.appends_itself))
        self._networks: list[tuple[Network, Proxies]] = [
            (ipaddress.ip_network(text, strict=False), proxies) for proxies in known for text in proxies.networks
        ]
        platforms = [proxies for proxies in known if proxies.is_platform]
        self._for_any_peer = platforms[0] if platforms else None
        self._for_no_address = PROXIES["unix"] if "unix" in trusted else self._for_any_peer
        self.headers = tuple(
            {name: None for proxies in known for name in (proxies.header, proxies.header_ipv6) if name}
        )
        self.at = lru_cache(maxsize=4096)(self._at)

    def _at(self, address: Address) -> Proxies | None:
        """Return the trusted proxies that an address belongs to."""
        return next((proxies for network, proxies in self._networks if address in network), None)

    def at_peer(self, peer: Address | None) -> Proxies | None:
        """Return the trusted proxies at the other end of a connection; None is a Unix socket."""
        return self._for_no_address if peer is None else self.at(peer) or self._for_any_peer

    def walk(self, peer: Address | None, evidence: Evidence) -> Stand:
        """Return the client."""
        hop = self.at_peer(peer)
        stand = Stand(peer, "peer", 0)
        used: set[bytes] = set()
        while hop is not None:
            if hop.header is None:
                further = _next_item(hop, stand, evidence)
            elif hop.header in used:
                break
            else:
                used.add(hop.header)
                further = _named(hop, hop.header, stand, evidence)
            if further is None:
                break
            stand = further
            hop = None if stand.address is None else self.at(stand.address)
        return stand


def _next_item(hop: Proxies, stand: Stand, evidence: Evidence) -> Stand | None:
    """Return the next item of the list, or None where the walk ends because there is none."""
    position = stand.position + hop.appends_itself
    item = evidence.items[position] if position < len(evidence.items) else None
    if item is not None:
        return Stand(item, evidence.items_source, position + 1)
    return Stand(None, evidence.items_source, position) if stand.source == "peer" or hop.appends_itself else None


def _named(hop: Proxies, header: bytes, stand: Stand, evidence: Evidence) -> Stand:
    """Return what a vendor's header names, and where in the list the walk would go on."""
    address = evidence.named.get(header)
    if hop.header_ipv6 is not None and address is not None and address in _CLASS_E:
        address = evidence.named.get(hop.header_ipv6) or address
    if address is None:
        return Stand(None, header.decode("ascii"), stand.position)
    left = evidence.items[stand.position :]
    position = stand.position + left.index(address) + 1 if address in left else len(evidence.items)
    return Stand(address, header.decode("ascii"), position)
