"""Paths that are not for everybody."""

from __future__ import annotations

import base64
import json
import secrets

import pytest
from tests.support.exchanges import WrittenExchange

from launchkit.edge.client import ClientResolver
from launchkit.edge.protected import Protection
from launchkit.errors import SettingsError
from launchkit.pipeline.exchange import EarlyResponse, Exchange
from launchkit.pipeline.interceptor import Planner
from launchkit.settings import Protected

TOKEN = secrets.token_urlsafe(16)
NEAR = "198.51.100.4"


def basic(password: str, user: str = "me") -> bytes:
    return b"Basic " + base64.b64encode(f"{user}:{password}".encode())


def status(
    authorization: bytes | None = None,
    *,
    path: str = "/admin/users",
    peer: str | None = "203.0.113.7",
    mount: str = "",
    **entries: Protected,
) -> int:
    """Return what is answered, or 200 where the request goes on."""
    answer = ask(authorization, path=path, peer=peer, mount=mount, **entries)
    return 200 if answer is None else answer.status


def ask(
    authorization: bytes | None, *, path: str, peer: str | None, mount: str = "", **entries: Protected
) -> EarlyResponse | None:
    plan = Planner([Protection(entries, ClientResolver(("10.0.0.0/8",)))]).plan("GET", path, mount)
    headers = [] if authorization is None else [(b"authorization", authorization)]
    for hook in plan.on_request:
        answer = hook(WrittenExchange("GET", path, headers, peer))
        assert answer is None or isinstance(answer, EarlyResponse)
        return answer
    return None


def by_token() -> Protected:
    return Protected(paths="/admin/*", token=TOKEN)


def test_the_token_opens() -> None:
    """As Bearer, or as the password of Basic under any name."""
    for authorization in (f"Bearer {TOKEN}".encode(), f"bearer  {TOKEN}".encode(), basic(TOKEN), basic(TOKEN, "")):
        assert status(authorization, admin=by_token()) == 200


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        b"",
        b"Bearer",
        b"Bearer ",
        b"Basic",
        b"Basic !!!",
        b"Basic " + base64.b64encode(TOKEN.encode()),
        basic(""),
        basic(TOKEN + "x"),
        basic(TOKEN[:-1]),
        TOKEN.encode(),
        f"Token {TOKEN}".encode(),
        b"\xff \xff",
    ],
)
def test_anything_else_is_asked_for_the_token(authorization: bytes | None) -> None:
    """401 with a challenge, on which a browser asks for a password; stored by nobody."""
    answer = ask(authorization, path="/admin", peer=NEAR, **{'the "team"': by_token()})
    assert answer is not None
    headers = dict(answer.headers)
    assert (answer.status, json.loads(answer.body)["status"]) == (401, 401)
    assert headers[b"www-authenticate"] == b'Basic realm="the team", charset="UTF-8"'
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"content-type"] == b"application/problem+json"
    assert answer.route == "/admin/*"


@pytest.mark.parametrize(
    "path",
    ["/admin", "/admin/", "//admin//users", "/admin/users", "/files/../admin/x", "/./admin", "/x/%2e/../../admin"],
)
def test_spellings_of_a_path_are_protected_alike(path: str) -> None:
    """Slashes, and the dots that handlers of files resolve."""
    assert status(path=path, admin=by_token()) == 401


def test_a_mounted_app_is_protected_as_either_sees_it() -> None:
    """With the prefix of the server and without."""
    assert status(path="/app/admin/x", mount="/app", admin=by_token()) == 401
    assert status(path="/app/admin/x", mount="/app", admin=Protected(paths="/app/admin/*", token=TOKEN)) == 401
    assert status(path="/app/x/../admin/x", mount="/app", admin=by_token()) == 401


def test_other_paths_are_open() -> None:
    """And cost nothing: no hook is in their plan."""
    for path in ("/", "/administration", "/x/admin"):
        assert status(path=path, admin=by_token()) == 200
    assert Planner([Protection({"admin": by_token()}, ClientResolver(()))]).plan("GET", "/").on_request == ()


def test_a_network_opens_for_who_is_in_it() -> None:
    """By the client's address; an address nobody knows is in no network."""
    entry = Protected(paths="/admin/*", networks="198.51.100.0/24,2001:db8::/32")
    assert status(peer=NEAR, admin=entry) == 200
    assert status(peer="2001:db8:1:2:3::4", admin=entry) == 200
    for peer in ("203.0.113.7", None, "unknown", "10.0.0.9"):
        assert status(peer=peer, admin=entry) == 403


def test_a_word_stands_for_its_networks() -> None:
    """As in `trusted_proxies`; `unix` has none."""
    entry = Protected(paths="/admin/*", networks="private")
    assert status(peer="192.168.0.3", admin=entry) == 200
    assert status(peer=NEAR, admin=entry) == 403
    assert status(peer=None, admin=Protected(paths="/admin/*", networks="unix")) == 403


@pytest.mark.parametrize(("answer", "expected"), [(True, 200), (False, 403), (None, 403), (1, 403), ("yes", 403)])
def test_a_function_opens_with_true_alone(answer: object, expected: int) -> None:
    """What is merely not false may be a mistake."""
    entry = Protected(paths="/admin/*", allow=lambda exchange: answer)  # type: ignore[arg-type, return-value]
    assert status(admin=entry) == expected


def test_every_condition_has_to_hold() -> None:
    """Of one entry, and of all entries that a path is under."""
    entry = Protected(paths="/admin/*", networks="198.51.100.0/24", token=TOKEN, allow=lambda exchange: True)
    good = f"Bearer {TOKEN}".encode()
    assert status(good, peer=NEAR, admin=entry) == 200
    assert status(good, admin=entry) == 403
    assert status(peer=NEAR, admin=entry) == 401
    closed = Protected(paths="/admin/users", allow=lambda exchange: False)
    assert status(good, peer=NEAR, admin=entry, users=closed) == 403
    assert status(good, peer=NEAR, path="/admin", admin=entry, users=closed) == 200


def test_what_goes_wrong_refuses() -> None:
    """The error goes on to be reported, and the answer to it is 403."""

    def broken(exchange: Exchange) -> bool:
        raise ZeroDivisionError

    guard = Protection({"admin": Protected(paths="/a", allow=broken)}, ClientResolver(()))
    hook = Planner([guard]).plan("GET", "/a").on_request[0]
    with pytest.raises(ZeroDivisionError):
        hook(WrittenExchange(target="/a"))
    refusal = hook.__self__.on_failure(WrittenExchange(), ZeroDivisionError())  # type: ignore[attr-defined]
    assert refusal.status == 403


def test_an_async_function_is_a_mistake() -> None:
    """What it returns is true whatever it would say."""

    async def allow(exchange: Exchange) -> bool:
        return False

    with pytest.raises(SettingsError, match="LAUNCHKIT_EDGE__PROTECTED__ADMIN__ALLOW"):
        Protection({"admin": Protected(paths="/a", allow=allow)}, ClientResolver(()))  # type: ignore[arg-type]


def test_what_is_protected_is_for_no_shared_cache() -> None:
    """Unless the app says otherwise."""
    plan = Planner([Protection({"admin": by_token()}, ClientResolver(()))]).plan("GET", "/admin")
    for own, expected in (((), b"private"), (((b"Cache-Control", b"no-store"),), b"no-store")):
        exchange = WrittenExchange().answer(200, *own)
        plan.on_response_start[0](exchange)
        assert [value for _, value in exchange.response_headers] == [expected]


def test_handshakes_are_covered() -> None:
    """A WebSocket is no way around."""
    plan = Planner([Protection({"admin": by_token()}, ClientResolver(()))]).plan_handshake("/admin/live")
    assert len(plan.on_request) == 1
