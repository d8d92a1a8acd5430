"""Whom a limit counts: what is taken from a request to find the bucket.

The rules:

- No two limits share a bucket, and within one no two callers do: a key begins with the limit's own prefix, and its
  parts cannot contain the character that joins them.
- What a caller may write at any length (a header, a path, what a function returns) enters as a keyed hash.
- A caller that leaves the header out, or sends several, is counted by address, so that it gains nothing. The same goes
  for a function that raises; one that returns None asks not to count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from launchkit.pipeline.exchange import Exchange
from launchkit.pipeline.paths import normalise

UNKNOWN: Final = "unknown"
"""Stands for the address of clients whose address is not known."""

Function = Callable[[Exchange], str | None]
Part = Callable[[Exchange, str | None], str | None]


class Discriminator:
    """One item of a rule's `by`.

    Attributes:
        text: how it is written in a bucket's key.
        by_address: whether it means nothing where the client's address is unknown.
        by_account: whether an account has to be found for it.
        is_own: whether all it tells is the client's own, and may be told to it.

    Args:
        by: `ip`, `account`, `path`, `header:<name>`, several of these joined by `+`, or a function.
        digest: the keyed hash.
        report: told what a function has raised.
    """

    def __init__(
        self, by: str | Function, digest: Callable[[str], str], report: Callable[[str, Exception], None]
    ) -> None:
        names = by.split("+") if isinstance(by, str) else ["function"]
        self._digest = digest
        self._report = report
        self.text = "+".join(names)
        self.by_account = "account" in names
        self.by_address = "ip" in names
        self.is_own = isinstance(by, str) and not self.by_account
        self._only_address = names == ["ip"]
        parts = [self._of_function(by)] if callable(by) else [self._part(name) for name in names if name != "account"]
        self._parts: tuple[Part, ...] = tuple(parts)

    def value(self, exchange: Exchange, address: str | None) -> str | None:
        """Return what the caller is known by, but for the account; None not to count."""
        if self._only_address:
            return address or UNKNOWN
        values = []
        for part in self._parts:
            value = part(exchange, address)
            if value is None:
                return None
            values.append(value)
        return "|".join(values)

    def _part(self, name: str) -> Part:
        if name == "ip":
            return _address
        return self._path if name == "path" else self._of_header(name.removeprefix("header:").encode())

    def _path(self, exchange: Exchange, address: str | None) -> str:
        return self._digest(normalise(exchange.path))

    def _of_header(self, name: bytes) -> Part:
        def value(exchange: Exchange, address: str | None) -> str | None:
            values = exchange.header_values(name)
            return "=" + self._digest(values[0].decode("latin-1")) if len(values) == 1 else address or UNKNOWN

        return value

    def _of_function(self, function: Function) -> Part:
        def value(exchange: Exchange, address: str | None) -> str | None:
            try:
                text = function(exchange)
                return None if text is None else "=" + self._digest(text)
            except Exception as error:  # noqa: BLE001  # the app's function; what it breaks must not switch limits off
                self._report("rate_limit", error)
                return address or UNKNOWN

        return value


def _address(exchange: Exchange, address: str | None) -> str:  # noqa: ARG001  # a `Part` like the others
    return address or UNKNOWN
