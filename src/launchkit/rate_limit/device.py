"""Device cookies: a browser that has logged in to an account before is counted by itself.

Otherwise whoever fails often enough at somebody's account locks its owner out. The cookie holds a random device name
and when it ends, signed together with the account: it is good for no other one. Each account has a cookie of its own,
named after a part of its keyed hash, so that a browser with two accounts is known at both.

Source: OWASP, Slow Down Online Guessing Attacks with Device Cookies.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from functools import cached_property
from typing import Final

from launchkit.pipeline.exchange import Exchange, Header

NAME: Final = b"launchkit_device_"
"""What the cookies' names begin with."""

_DAY: Final = 86_400
_MOST_LOOKED_AT: Final = 4


class DeviceCookie:
    """Issues and recognises the cookies of one site.

    Args:
        days: for how long a cookie is good.
        key: returns the key of the signature; asked once.
        now: returns seconds since 1970.
    """

    def __init__(self, days: int, key: Callable[[], bytes], now: Callable[[], float]) -> None:
        self._seconds = days * _DAY
        plain = f"Max-Age={self._seconds}; Path=/; HttpOnly; SameSite=Lax".encode()
        self._attributes = {False: plain, True: plain + b"; Secure"}
        self._key_of_signature = key
        self._now = now

    @cached_property
    def _key(self) -> bytes:
        return self._key_of_signature()

    def device(self, exchange: Exchange, account: str) -> str | None:
        """Return the name of the device, if it has logged in to this account before."""
        for value in self._values(exchange, account):
            if (device := self._verified(value.decode("latin-1"), account)) is not None:
                return device
        return None

    @staticmethod
    def _values(exchange: Exchange, account: str) -> list[bytes]:
        cookies = exchange.header(b"cookie")
        if cookies is None:
            return []
        pairs = b"; ".join(exchange.header_values(b"cookie")).split(_name(account) + b"=", _MOST_LOOKED_AT)
        return [pair.partition(b";")[0].strip() for pair in pairs[1:]]

    def _verified(self, value: str, account: str) -> str | None:
        device, _, rest = value.partition(".")
        ends, _, signature = rest.partition(".")
        if not hmac.compare_digest(self._sign(device, ends, account).encode(), signature.encode()):
            return None
        return device if int(ends, 16) > self._now() else None

    def issue(self, account: str, *, secure: bool) -> Header:
        """Return the Set-Cookie header for a device that has logged in to an account (RFC 6265)."""
        device = secrets.token_hex(8)
        ends = f"{int(self._now()) + self._seconds:x}"
        value = f"{device}.{ends}.{self._sign(device, ends, account)}"
        return b"set-cookie", b"%b=%b; %b" % (_name(account), value.encode(), self._attributes[secure])

    def _sign(self, device: str, ends: str, account: str) -> str:
        message = f"{device}.{ends}.{account}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(message, key=self._key, digest_size=16).hexdigest()


def _name(account: str) -> bytes:
    return NAME + account[:8].encode()
