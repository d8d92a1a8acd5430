"""Which of the responses stored under one key answers a request (RFC 9111 section 4.1).

The rules:

- Variants are told apart by the request headers that Vary names; several lines of one header count as one (RFC 9110
  section 5.2).
- Authorization and Cookie never tell variants apart: what is stored is the same for everyone.
"""

from __future__ import annotations

from typing import Final

from launchkit.pipeline.effects import StoredResponse
from launchkit.pipeline.exchange import Exchange, RequestHeaders

MAX_VARIANTS: Final = 16
"""Variants that are kept under one key, the newest ones."""

_NEVER_TELL: Final = frozenset({b"authorization", b"cookie"})


def varied_by(request: RequestHeaders, vary: tuple[bytes, ...]) -> tuple[bytes | None, ...]:
    """Return the request's values of the headers in `vary`, which are in lower case; None for one that was not sent."""
    return tuple([None if name in _NEVER_TELL else _joined(request.header_values(name)) for name in vary])


def _joined(values: list[bytes]) -> bytes | None:
    return b",".join([value.strip() for value in values]) if values else None


def answers(response: StoredResponse, exchange: Exchange) -> bool:
    """Tell whether a variant was stored for requests like this one."""
    return not response.vary or response.varied == varied_by(exchange, response.vary)


def is_replaced_by(old: StoredResponse, new: StoredResponse) -> bool:
    """Tell whether two variants answer the same requests."""
    return old.vary == new.vary and old.varied == new.varied
