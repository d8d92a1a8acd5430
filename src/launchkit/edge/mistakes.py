"""What is wrong with the settings, as the requests show it: each mistake is logged once, with its remedy."""

from __future__ import annotations

import ipaddress
import logging
from typing import Final, NamedTuple

from launchkit.edge.chain import Chain
from launchkit.edge.forwarded import Address
from launchkit.networks import NETWORKS, PRIVATE, PROXIES

logger = logging.getLogger("launchkit")

SUSPICIOUS: Final = 100
"""Requests with forwarded headers from one undeclared public address after which it is named as a possible proxy."""

_MOST_SUSPECTS: Final = 1024
_VENDORS: Final = {word: Chain((word,)) for word in PROXIES if NETWORKS[word] and PRIVATE[0] not in NETWORKS[word]}


class Mistake(NamedTuple):
    """A mistake of one kind, and the message that names its remedy."""

    kind: str
    message: str


class MistakeLog:
    """Logs what has not been logged yet. For one resolver, in all threads."""

    def __init__(self) -> None:
        self._logged: set[str] = set()
        self._suspects: dict[str, int] = {}

    def add(self, mistake: Mistake) -> None:
        """Log a mistake, the first of its kind."""
        if mistake.kind not in self._logged:
            self._logged.add(mistake.kind)
            logger.error("%s", mistake.message)

    def suspect(self, bucket: str) -> None:
        """Count a request with forwarded headers from a public address, or from its /64 network, that is not trusted.

        It may be a proxy or somebody who sends such headers: that is only worth a warning.
        """
        if "suspect" in self._logged:
            return
        if len(self._suspects) >= _MOST_SUSPECTS:
            self._suspects.clear()
        count = self._suspects[bucket] = self._suspects.get(bucket, 0) + 1
        if count < SUSPICIOUS:
            return
        self._logged.add("suspect")
        self._suspects.clear()
        logger.warning(
            "%d requests from %s came with forwarded headers. If that is a proxy of yours, everybody behind it counts "
            "as one: add %s to LAUNCHKIT_TRUSTED_PROXIES. If it is not, its headers are ignored and nothing is wrong.",
            count,
            bucket,
            _vendor_at(bucket) or "its network",
        )


def undeclared_proxy(peer: Address | None) -> Mistake:
    """Return the mistake that a proxy in a private network, or at a Unix socket, is not trusted."""
    setting = "its network, or to private" if peer else "unix"
    return _unknown("undeclared", peer, f"If that proxy is yours, set LAUNCHKIT_TRUSTED_PROXIES to {setting}.")


def silent_proxy(peer: Address | None, header: str) -> Mistake:
    """Return the mistake that a trusted proxy does not name the client."""
    return _unknown("silent", peer, f"It is trusted, but no client is named in {header.title()}: let it do so.")


def undeclared_vendor(word: str, proxy: Address, trusted: tuple[str, ...]) -> Mistake:
    """Return the mistake that a vendor is in front, by its own networks, and not trusted."""
    message = (
        f"Requests come through {word} at {proxy}, which is not trusted: its clients are told apart for limits, but "
        "their addresses count as unknown. If it works for you, set LAUNCHKIT_TRUSTED_PROXIES to "
        f"{','.join((*trusted, word))}."
    )
    return Mistake("vendor", message)


def rewritten_peer(address: Address | None) -> Mistake:
    """Return the mistake that the server has believed X-Forwarded-For before LaunchKit could look."""
    message = (
        f"The server shows {address}, an item of X-Forwarded-For, as the other end of the connection, so it cannot be "
        "checked who sent that. Start uvicorn with --no-proxy-headers (other servers likewise) and set "
        "LAUNCHKIT_TRUSTED_PROXIES to the network of the proxy."
    )
    return Mistake("rewritten", message)


def _unknown(kind: str, peer: Address | None, remedy: str) -> Mistake:
    message = (
        f"Requests come through a proxy at {peer or 'a Unix socket'} and the client's address is unknown: limits by "
        f"address only observe. {remedy}"
    )
    return Mistake(kind, message)


def _vendor_at(bucket: str) -> str | None:
    address = ipaddress.ip_network(bucket).network_address
    return next((word for word, chain in _VENDORS.items() if chain.at(address)), None)
