"""Hosts as requests and settings name them (RFC 9110 section 7.2), and which of them are the site's.

The rules:

- A host is its name: ports are not compared, because proxies drop and add them.
- Names are compared without regard to case and without a trailing dot, IPv6 addresses by their value.
- `*.example.com` is every name below example.com, at any depth, and not example.com itself.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Final

from launchkit.errors import Problem, SettingsError
from launchkit.settings import EdgeSettings

LONGEST: Final = 262
"""Bytes: a domain name (RFC 1035 section 2.3.4) with a dot and a port."""

INTERNAL: Final = frozenset({"flycast", "internal", "lan", "local", "localdomain", "localhost", "svc"})
"""Last labels that no public name has (RFC 6761, RFC 6762), by which platforms and clusters name what is inside."""

_authority = re.compile(
    rb"([a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])\.?(:[0-9]{0,5})?", re.IGNORECASE
).fullmatch
_starts_like_a_word = re.compile(r"[a-z]").match


def host_name(host: bytes | None) -> str | None:
    """Return the name in a Host header, in the form that compares; None where it is missing or is no host."""
    return None if host is None or len(host) > LONGEST else _parsed(host)[0]


@lru_cache(maxsize=1024)
def _parsed(host: bytes) -> tuple[str | None, str]:
    """Return name and port, the port with its colon."""
    match = _authority(host)
    if match is None:
        return None, ""
    name = match[1].decode("ascii").lower()
    if name.startswith("["):
        try:
            name = f"[{ipaddress.IPv6Address(name[1:-1])}]"
        except ValueError:
            return None, ""
    return name, (match[2] or b"").decode("ascii")


def is_internal(name: str) -> bool:
    """Tell whether a name means something only within one network: a single label, one like app.internal, or a private
    address.

    A number is no single label: browsers take 134744072 for an address.
    """
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        is_label = "." not in name and _starts_like_a_word(name) is not None
        return is_label or name.rpartition(".")[2] in INTERNAL
    return address.is_private


class HostNames:
    """The hosts that are the site's: that of `edge.url`, and `edge.hosts`.

    Raises:
        SettingsError: for one that no request can name.
    """

    def __init__(self, settings: EdgeSettings) -> None:
        self._exact: dict[str, str] = {}
        self._below: dict[str, str] = {}
        home = () if settings.url is None else (settings.url.partition("://")[2],)
        for text in (*settings.hosts, *home):
            wildcard = text.startswith("*.")
            name, port = _parsed(text.removeprefix("*.").encode())
            if name is None:
                raise SettingsError([Problem("LAUNCHKIT_EDGE__HOSTS", "has a host that no request can name")])
            if wildcard:
                self._below["." + name] = port
            else:
                self._exact[name] = name + port

    def find(self, name: str) -> str | None:
        """Return host and port where the site is, as it was declared, under this name; None where it is not its."""
        exact = self._exact.get(name)
        if exact is not None:
            return exact
        return next((name + port for end, port in self._below.items() if name.endswith(end)), None)
