"""Who is calling, and through what: the client's address, scheme and host, as far as they can be known.

The rules:

- The peer of the connection is the client, unless it is a trusted proxy: then the headers are followed as far as they
  can be believed (see `chain`). X-Forwarded-For is read if there is one, else Forwarded, never both.
- Where a proxy's headers arrive from a private peer or a Unix socket and do not tell the client, because the proxy is
  not trusted or names nobody, the client is unknown: None, never the proxy's own address, which would put all clients
  into one bucket. In production that goes for every private peer that nobody declared.
- A public peer that nobody declared is the client, whatever headers it sends: a proxy cannot be told from one client
  that sends them, and nobody must be able to leave the limits that way. If it is certain whose proxy it is, its word is
  good enough to count by, in buckets of their own, but not to let anybody in: the address is unknown.
- A server that has already put an item of X-Forwarded-For in the place of the peer (uvicorn does, for proxies on
  127.0.0.1) is taken at its word where nothing is declared. Where the declared proxies say otherwise, it is good enough
  to count by.
- Of an IPv6 address the first 64 bits count.

Each mistake is logged once, with its remedy.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from launchkit.edge.chain import Chain, Evidence
from launchkit.edge.forwarded import LONGEST_ADDRESS, Address, forwarded, forwarded_for, grouped, parse
from launchkit.edge.mistakes import (
    Mistake,
    MistakeLog,
    rewritten_peer,
    silent_proxy,
    undeclared_proxy,
    undeclared_vendor,
)
from launchkit.networks import PRIVATE, PROXIES
from launchkit.pipeline.exchange import Exchange, Note

FORWARDED: Final = (
    b"x-forwarded-for",
    b"forwarded",
    b"x-real-ip",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"via",
    b"cf-connecting-ip",
    b"fly-client-ip",
)
"""Headers by which a proxy shows itself."""

_LISTS: Final = (b"x-forwarded-for", b"forwarded")
_MOST_REMEMBERED: Final = 512
"""Bytes of headers beyond which an answer is worked out anew each time, so that nobody can fill memory."""

_PRIVATE_NETWORKS: Final = tuple(ipaddress.ip_network(text) for text in PRIVATE)
Values = tuple[bytes | None, ...]


@dataclass(frozen=True, slots=True)
class Client:
    """Who is calling.

    Attributes:
        address: the client's address in full, or None if it is unknown.
        bucket: what limits count by: the address, the /64 network of an IPv6 address, or None if there is nothing to go
            by. It can be there without an address, where a proxy that nobody declared names the client.
        source: where that comes from: `peer`, a header's name in lower case, or `unknown`.
        peer: the address at the other end of the connection, as the server shows it.
        trusted: whether the peer is a trusted proxy.
    """

    address: str | None
    bucket: str | None
    source: str
    peer: str | None
    trusted: bool


class _Finding(NamedTuple):
    """An answer, what is wrong with the settings if it says so, and who may be an undeclared proxy."""

    client: Client
    mistake: Mistake | None = None
    suspect: str | None = None


class _Peer(NamedTuple):
    """What is known of a peer before any header is read.

    `names` are the headers to look for, `alone` is the answer if there is none of them, and `shown` the one if there
    is, or None where it depends on their values.
    """

    text: str | None
    address: Address | None
    trusted: bool
    names: tuple[bytes, ...]
    alone: _Finding
    shown: _Finding | None


class ClientResolver:
    """Finds out who is calling.

    In production a peer with a private address that nobody declared counts as a proxy even if it does not show itself:
    visitors come from the internet.
    """

    def __init__(self, trusted_proxies: Collection[str], *, production: bool = False) -> None:
        self._trusted = tuple(trusted_proxies)
        self._chain = Chain(trusted_proxies)
        certain = [word for word, proxies in PROXIES.items() if proxies.is_certain and word not in trusted_proxies]
        self._undeclared = {word: Chain((word,)) for word in certain}
        self._wide = Chain((*trusted_proxies, *self._undeclared))
        self._production = production
        self._names = (*_LISTS, *self._wide.headers)
        self._told_by_cloudflare = b"cf-connecting-ip" in self._chain.headers
        self._peer = lru_cache(maxsize=4096)(self._classify)
        self._remembered = lru_cache(maxsize=2048)(self._find)
        self._mistakes = MistakeLog()
        self._found: Note[Client] = Note("edge.client")

    # --- what features ask -------------------------------------------------------------------------------------------

    def __call__(self, exchange: Exchange) -> str | None:
        """Return what limits count by, or None where the client is unknown."""
        return self.resolve(exchange).bucket

    def resolve(self, exchange: Exchange) -> Client:
        """Return all that is known of the client."""
        known = self._found.get(exchange)
        if known is not None:
            return known
        peer = self._peer_of(exchange)
        header = exchange.header
        given = [header(name) for name in peer.names]
        is_alone = given.count(None) == len(given)
        finding = peer.alone if is_alone else peer.shown or self._read(exchange, peer, given)
        self._found.put(exchange, finding.client)
        if finding.mistake is not None:
            self._mistakes.add(finding.mistake)
        elif finding.suspect is not None:
            self._mistakes.suspect(finding.suspect)
        return finding.client

    def scheme(self, exchange: Exchange) -> Literal["https", "http"]:
        """Return the scheme that the client spoke, to this server or to a trusted proxy.

        From a trusted proxy it is X-Forwarded-Proto, else `proto` of Forwarded; and CF-Visitor, where Cloudflare is
        trusted, says what a proxy behind it did not see.
        """
        scheme = exchange.scheme
        if self._peer_of(exchange).trusted:
            scheme = nearest(exchange, b"x-forwarded-proto", "proto").lower() or scheme
            if self._told_by_cloudflare and _visitor_scheme(exchange.header(b"cf-visitor")) == "https":
                scheme = "https"
        return "https" if scheme in ("https", "wss") else "http"

    def is_https(self, exchange: Exchange) -> bool:
        """Tell whether the client spoke HTTPS, to this server or to a trusted proxy."""
        return self.scheme(exchange) == "https"

    def host(self, exchange: Exchange) -> bytes | None:
        """Return the host that the client asked for: from a trusted proxy X-Forwarded-Host or `host` of Forwarded.

        For links and redirects. Many proxies pass on X-Forwarded-Host as a client wrote it, so it must not decide alone
        what is served: the app sees Host.
        """
        if self._peer_of(exchange).trusted:
            named = nearest(exchange, b"x-forwarded-host", "host")
            if named:
                return named.encode("latin-1")
        return exchange.header(b"host")

    def is_local(self, exchange: Exchange) -> bool:
        """Tell whether the request comes from this machine and through no proxy."""
        peer = self._peer_of(exchange).address
        return peer is not None and peer.is_loopback and all(exchange.header(name) is None for name in FORWARDED)

    def trusts(self, address: Address | None) -> bool:
        """Tell whether a peer is a trusted proxy; None is the other end of a Unix socket."""
        return self._chain.at_peer(address) is not None

    # --- the peer ----------------------------------------------------------------------------------------------------

    def _peer_of(self, exchange: Exchange) -> _Peer:
        text = exchange.peer
        return self._peer(text if text is None or len(text) <= LONGEST_ADDRESS else "")

    def _classify(self, text: str | None) -> _Peer:
        address = parse(text or "")
        if self.trusts(address):
            unknown = _unknown(text, True, silent_proxy(address, _LISTS[0].decode("ascii")))
            alone = unknown if address is None else _Finding(_client(address, "peer", text, trusted=True))
            return _Peer(text, address, True, tuple(dict.fromkeys(self._names + FORWARDED)), alone, None)
        unknown = _unknown(text, False, undeclared_proxy(address))
        if address is None:
            return _Peer(text, None, False, (), unknown, unknown)
        alone = _Finding(_client(address, "peer", text, trusted=False))
        if is_private(address):
            return _Peer(text, address, False, FORWARDED, unknown if self._production else alone, unknown)
        names = self._names if self._vendor(address) else _LISTS
        return _Peer(text, address, False, names, alone, None)

    def _vendor(self, address: Address) -> str | None:
        """Return the undeclared vendor to whom an address certainly belongs."""
        return next((word for word, chain in self._undeclared.items() if chain.at(address)), None)

    # --- the headers -------------------------------------------------------------------------------------------------

    def _read(self, exchange: Exchange, peer: _Peer, given: list[bytes | None]) -> _Finding:
        values = tuple(
            None if value is None else b",".join(exchange.header_values(name))
            for name, value in zip(self._names, given, strict=False)  # what a peer's names begin with
        )
        size = sum(len(value) for value in values if value is not None)
        return (self._remembered if size <= _MOST_REMEMBERED else self._find)(peer.text, values)

    def _find(self, text: str | None, values: Values) -> _Finding:
        peer = self._peer(text)
        evidence = _evidence(dict(zip(self._names, values, strict=False)))
        client, source, position = self._chain.walk(peer.address, evidence)
        if client is None:
            return _unknown(text, True, silent_proxy(peer.address, source))
        if self._chain.at(client):
            return _Finding(_client(client, source, text, trusted=peer.trusted))
        named = self._named_by_vendor(peer, client, evidence)
        if named is not None:
            return named
        if not peer.trusted and client in evidence.items and evidence.items_source == "x-forwarded-for":
            return self._rewritten(peer, client, evidence)
        suspect = grouped(client) if position < len(evidence.items) else None
        return _Finding(_client(client, source, text, trusted=peer.trusted), None, suspect)

    def _named_by_vendor(self, peer: _Peer, proxy: Address, evidence: Evidence) -> _Finding | None:
        """Return, to count by, the client that an undeclared vendor's proxy certainly had."""
        vendor = self._vendor(proxy)
        client, source, _ = self._wide.walk(peer.address, evidence) if vendor else (None, "", 0)
        if vendor is None or client is None:
            return None
        unknown = Client(None, f"{vendor} {grouped(client)}", source, peer.text, peer.trusted)
        return _Finding(unknown, undeclared_vendor(vendor, proxy, self._trusted))

    def _rewritten(self, peer: _Peer, client: Address, evidence: Evidence) -> _Finding:
        """Return the client where the server shows an item of X-Forwarded-For as the peer."""
        skipped = evidence.items[: evidence.items.index(client)]
        is_doubtful = bool(self._trusted) and any(item is None or not self._chain.at(item) for item in skipped)
        shown = peer.alone.client
        return _Finding(replace(shown, address=None) if is_doubtful else shown, rewritten_peer(client))


def is_private(address: Address) -> bool:
    """Tell whether an address is one that no client on the internet can have."""
    return any(address in network for network in _PRIVATE_NETWORKS)


def _unknown(peer: str | None, trusted: bool, mistake: Mistake) -> _Finding:
    return _Finding(Client(None, None, "unknown", peer, trusted), mistake)


def _client(address: Address, source: str, peer: str | None, *, trusted: bool) -> Client:
    return Client(str(address), grouped(address), source, peer, trusted)


def _evidence(values: dict[bytes, bytes | None]) -> Evidence:
    for_list, element_list = values.get(_LISTS[0]), values.get(_LISTS[1])
    named = {name: parse(value.decode("latin-1").strip(" \t")) for name, value in values.items() if value is not None}
    if for_list is not None or element_list is None:
        return Evidence(forwarded_for(for_list or b""), "x-forwarded-for", named)
    return Evidence(tuple(parse(element.get("for", "")) for element in forwarded(element_list)), "forwarded", named)


def nearest(exchange: Exchange, name: bytes, parameter: str) -> str:
    """Return what the nearest proxy said, trusted or not: the last item of a header, or a parameter of Forwarded.

    It is empty where nothing is said.
    """
    value = exchange.header(name)  # the last line where there are several
    if value is not None:
        return value.rpartition(b",")[2].decode("latin-1").strip(" \t")
    if exchange.header(b"forwarded") is None:
        return ""
    elements = forwarded(b",".join(exchange.header_values(b"forwarded")))
    return elements[0].get(parameter, "") if elements else ""


@lru_cache(maxsize=64)
def _visitor_scheme(value: bytes | None) -> str | None:
    try:
        visitor = json.loads(value if value and len(value) <= LONGEST_ADDRESS else b"null")
    except ValueError:
        return None
    scheme = visitor.get("scheme") if isinstance(visitor, dict) else None
    return scheme if isinstance(scheme, str) else None
