"""Who may see figures and the details of health."""

from __future__ import annotations

import secrets

import pytest
from pydantic import SecretStr
from tests.support.exchanges import WrittenExchange

from launchkit.edge.access import Access
from launchkit.edge.client import ClientResolver

TOKEN = secrets.token_urlsafe(24)


def admitted(
    authorization: bytes | None, *, token: str | None = TOKEN, peer: str = "203.0.113.7", development: bool = False
) -> bool:
    access = Access(None if token is None else SecretStr(token), ClientResolver(()), development=development)
    headers = [] if authorization is None else [(b"authorization", authorization)]
    return access(WrittenExchange(peer=peer, headers=headers))


def test_the_token_opens() -> None:
    """`Authorization: Bearer <token>` lets its sender in, from anywhere."""
    assert admitted(f"Bearer {TOKEN}".encode())


@pytest.mark.parametrize(
    "given", [None, b"", b"Bearer ", TOKEN.encode(), f"Bearer {TOKEN}x".encode(), f"Basic {TOKEN}".encode(), b"\xff"]
)
def test_anything_else_does_not(given: bytes | None) -> None:
    """A wrong, partial or missing token lets nobody in."""
    assert not admitted(given)


def test_without_a_token_nobody_is_let_in() -> None:
    """No token set means closed, not open."""
    assert not admitted(b"Bearer ", token=None)
    assert not admitted(None, token=None)
    assert not admitted(b"Bearer None", token=None)


def test_in_development_this_machine_is_let_in() -> None:
    """A developer needs no token at their own machine; others on the network do."""
    assert admitted(None, peer="127.0.0.1", development=True)
    assert admitted(None, token=None, peer="::1", development=True)
    assert not admitted(None, peer="192.168.0.7", development=True)
    assert not admitted(None, peer="127.0.0.1", development=False)


def test_a_token_may_hold_any_characters() -> None:
    """Tokens are compared as bytes."""
    assert admitted("Bearer pä§§".encode(), token="pä§§")
