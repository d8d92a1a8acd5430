"""Addresses as proxies write them: X-Forwarded-For, and Forwarded (RFC 7239).

The rules:

- Headers are read from the right, because that end was written last, by the proxy nearest to this server. What stands
  further left may be anything and never changes how the right end is read: neither an open quote nor the length does.
- At most the last 64 items and 8 KB count. Empty items are skipped.
- An item is an address with or without port, brackets and zone, or it is None: `unknown`, obfuscated names (RFC 7239
  section 6.3), octets with leading zeros, and whatever else.
- An IPv4 address in IPv6 clothes (mapped, RFC 4291 section 2.5.5.2; NAT64, RFC 6052) is an IPv4 address, by its bits
  and however it is spelled.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MOST_ITEMS: Final = 64
MOST_BYTES: Final = 8192
LONGEST_ADDRESS: Final = 64
"""Characters: an IPv6 address with a zone, brackets and a port."""

_NAT64: Final = int(ipaddress.IPv6Address("64:ff9b::")) >> 32
_LOCAL_NAT64: Final = int(ipaddress.IPv6Address("64:ff9b:1::")) >> 80
_address = re.compile(
    r"(?:\[([0-9a-f:.]+)(?:%[^\]]*)?\]|([0-9.]+))(?::(?:[0-9]{1,5}|_[a-z0-9._-]+))?|([0-9a-f.]*:[0-9a-f:.]+)(?:%.*)?",
    re.IGNORECASE | re.ASCII,
).fullmatch
_backward_elements = re.compile(r'((?:[^",]+|"[^"]*")*)([,"]|\Z)').finditer
_pair = re.compile(r'[ \t]*([^\s=";,]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s";,]*))[ \t]*(?:;|$)')


def parse(text: str) -> Address | None:
    """Return the address in the name of a peer or in an item of a header, or None where it is no address."""
    return _parse(text) if len(text) <= LONGEST_ADDRESS else None


@lru_cache(maxsize=4096)
def _parse(text: str) -> Address | None:
    match = _address(text)
    try:
        address = ipaddress.ip_address(match[match.lastindex or 0]) if match else None
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
    """Return what limits count by: an IPv4 address, or the /64 network of an IPv6 address.

    Whoever has one IPv6 address has all of its /64. Not so in the local NAT64 prefix (RFC 8215), where one /64 may hold
    all IPv4 clients there are, in bits that only the operator of the translator knows: there each address counts alone.
    """
    if isinstance(address, ipaddress.IPv4Address) or int(address) >> 80 == _LOCAL_NAT64:
        return str(address)
    return f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64"


def forwarded_for(value: bytes) -> tuple[Address | None, ...]:
    """Return the items of X-Forwarded-For, rightmost first; several lines are to be joined by commas."""
    items = _right_end(value).rsplit(",", MOST_ITEMS)
    stripped = (item.strip(" \t") for item in reversed(items[-MOST_ITEMS:]))
    return tuple(parse(item) for item in stripped if item)


def forwarded(value: bytes) -> tuple[dict[str, str], ...]:
    """Return the elements of Forwarded, rightmost first: parameters by their names in lower case.

    An element that is malformed, or names a parameter twice, has no parameters. What is left of an unmatched quote is
    not read.
    """
    elements: list[dict[str, str]] = []
    for match in _backward_elements(_right_end(value)[::-1]):
        text, is_cut = match[1][::-1].strip(" \t"), match[2] == '"'
        if text or is_cut:
            elements.append({} if is_cut else _parameters(text))
        if is_cut or len(elements) == MOST_ITEMS:
            break
    return tuple(elements)


def _right_end(value: bytes) -> str:
    """Return what counts of a header. Where it is cut, the item that is cut too is left out."""
    if len(value) <= MOST_BYTES:
        return value.decode("latin-1")
    return value[-MOST_BYTES:].partition(b",")[2].decode("latin-1")


def _parameters(element: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    position = 0
    while position < len(element):
        match = _pair.match(element, position)
        if match is None or match[1].lower() in parameters:
            return {}
        quoted = match[2]
        parameters[match[1].lower()] = match[3] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        position = match.end()
    return parameters
