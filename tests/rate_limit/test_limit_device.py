"""Devices that have logged in before are counted by themselves."""

from __future__ import annotations

import secrets
from http.cookies import SimpleCookie
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rate_limit.limited_site import JSON, Site, post
from tests.support.exchanges import WrittenExchange

from launchkit.pipeline.exchange import Header
from launchkit.rate_limit.device import NAME, DeviceCookie

DAY = 86_400


class Browser:
    """Logs in, and keeps the cookies that it is given."""

    def __init__(self, site: Site, address: str = "198.51.100.1") -> None:
        self.site = site
        self.address = address
        self.jar: SimpleCookie = SimpleCookie()

    def log_in(self, account: str = "ann@example.com", *, good: bool = True) -> int:
        """Try a password; return the status."""
        exchange = post("/login", *self.cookies())
        self.site.address = self.address
        refused = self.site.enter(exchange, b'{"email": "%s"}' % account.encode())
        if refused is not None:
            return refused.status
        self.site.respond(exchange, 200 if good else 401, JSON)
        for line in set_cookies(exchange):
            self.jar.load(line)
        return exchange.status

    def cookies(self) -> list[Header]:
        pairs = [f"{name}={morsel.value}" for name, morsel in self.jar.items()]
        return [(b"cookie", "; ".join(["a=1", *pairs, "b=2"]).encode())]


def set_cookies(exchange: WrittenExchange) -> list[str]:
    return [value.decode() for name, value in exchange.response_headers if name == b"set-cookie"]


def site(**options: Any) -> Site:
    return Site(
        {"login": {"per_address": "1000/minute", "failures_per_address": "500/minute"}}, login="/login", **options
    )


def lock(limited: Site, account: str = "ann@example.com") -> None:
    """Fail at an account from everywhere until nobody gets through."""
    attackers = [Browser(limited, f"192.0.2.{number}") for number in range(6)]
    assert [attacker.log_in(account, good=False) for attacker in attackers] == [401] * 5 + [429]


def test_a_device_gets_its_cookie_once() -> None:
    """With its first success, and not again while that is good."""
    browser = Browser(site())
    assert browser.log_in(good=False) == 401
    assert not browser.jar
    assert browser.log_in() == 200
    ((name, first),) = browser.jar.items()
    assert name.startswith(NAME.decode())
    assert browser.log_in() == 200
    assert browser.jar == {name: first}


def test_a_browser_with_two_accounts_is_known_at_both() -> None:
    """Each account has a cookie of its own: logging in to one does not make the browser a stranger to the other."""
    limited = site()
    browser = Browser(limited)
    assert browser.log_in("ann@example.com") == browser.log_in("bob@example.com") == 200
    lock(limited, "ann@example.com")
    lock(limited, "bob@example.com")
    assert browser.log_in("ann@example.com") == browser.log_in("bob@example.com") == 200


def test_a_known_device_passes_while_others_lock_the_account() -> None:
    """Nobody else's failures keep a user out who has logged in from here before."""
    limited = site()
    known = Browser(limited)
    assert known.log_in() == 200
    lock(limited)
    assert known.log_in() == 200
    assert Browser(limited).log_in() == 429


def test_unknown_devices_share_the_accounts_bucket() -> None:
    """A browser of its own for each try gains nothing."""
    limited = site()
    statuses = [Browser(limited).log_in(good=False) for _ in range(7)]
    assert statuses == [401] * 5 + [429] * 2


def test_a_known_device_has_a_limit_of_its_own() -> None:
    """A stolen cookie is good for as many tries as anybody has, and locks nobody else."""
    limited = site()
    known = Browser(limited)
    known.log_in()
    assert [known.log_in(good=False) for _ in range(6)] == [401] * 5 + [429]
    assert Browser(limited).log_in() == 200


def test_a_device_is_not_known_at_another_account() -> None:
    """Having an account oneself does not help with anybody else's."""
    limited = site()
    attacker = Browser(limited)
    assert attacker.log_in("mallory@example.com") == 200
    lock(limited)
    assert attacker.log_in(good=False) == 429


def test_a_device_that_names_two_accounts_is_charged_for_both() -> None:
    """Adding one's own account to the request does not hide whose password is tried; no cookie comes of it."""
    limited = site()
    attacker = Browser(limited)
    attacker.log_in("mallory@example.com")
    lock(limited)
    both = post("/login?email=mallory@example.com", *attacker.cookies())
    refused = limited.enter(both, b'{"email": "ann@example.com"}')
    assert refused is not None
    assert refused.status == 429
    fresh = post("/login?email=new@example.com")
    assert limited.enter(fresh, b'{"email": "other@example.com"}') is None
    assert set_cookies(limited.respond(fresh, 200, JSON)) == []


def test_no_cookie_comes_of_a_request_that_may_be_for_another_account() -> None:
    """An attacker logs in as themselves under a name that the app reads, and names the victim under another."""
    limited = site()
    exchange = post("/login")
    assert limited.enter(exchange, b'{"email": "ann@example.com", "login": "mallory"}') is None
    assert set_cookies(limited.respond(exchange, 200, JSON)) == []


@pytest.mark.parametrize(("status", "headers"), [(401, [JSON]), (200, [(b"content-type", b"text/html")]), (500, [])])
def test_a_failure_makes_no_device_known(status: int, headers: list[Header]) -> None:
    """The cookie is for who has shown the password."""
    limited = site()
    exchange = post()
    limited.enter(exchange, b'{"email": "ann@example.com"}')
    assert set_cookies(limited.respond(exchange, status, *headers)) == []


def test_a_body_that_cannot_be_read_makes_no_device_known() -> None:
    """There is no account that the cookie could be for."""
    limited = site()
    for body in (b"\xff\xfe garbage", b"", b"{"):
        exchange = post()
        assert limited.enter(exchange, body) is None
        assert set_cookies(limited.respond(exchange, 200, JSON)) == []


def test_the_cookie_can_be_switched_off() -> None:
    """With 0 days none is set, and one that is sent means nothing."""
    limited = Site({"login": {"device_days": 0}}, login="/login")
    browser = Browser(limited)
    browser.log_in()
    assert not browser.jar
    lock(limited)
    assert browser.log_in() == 429


@pytest.mark.parametrize("https", [True, False])
def test_the_cookie_is_for_this_site_alone(https: bool) -> None:
    """No script reads it, no other site sends it along, and over HTTPS it stays there (RFC 6265 section 4.1.2)."""
    exchange = post()
    limited = site(https=https)
    limited.enter(exchange, b'{"email": "ann@example.com"}')
    (line,) = set_cookies(limited.respond(exchange, 200, JSON))
    attributes = {part.strip().lower() for part in line.split(";")[1:]}
    wanted = {"httponly", "samesite=lax", "path=/", f"max-age={180 * DAY}"}
    assert attributes == wanted | ({"secure"} if https else set())


def test_a_cookie_outlives_the_process() -> None:
    """With the same key another process knows the device, and with another key it does not."""
    before = site()
    browser = Browser(before)
    browser.log_in()
    for key, expected in ((b"k", 200), (b"other", 429)):
        after = site(key=key)
        lock(after)
        browser.site = after
        assert browser.log_in() == expected


# --- the cookie by itself --------------------------------------------------------------------------------------------


class World:
    """A cookie maker whose time can be set."""

    def __init__(self) -> None:
        self.time = 1_700_000_000.0
        self.key = secrets.token_bytes(32)
        self.devices = DeviceCookie(30, lambda: self.key, lambda: self.time)

    def value(self, account: str = "a") -> str:
        name, line = self.devices.issue(account, secure=True)
        assert name == b"set-cookie"
        return line.decode().partition(";")[0]

    def known(self, cookies: str, account: str = "a") -> str | None:
        return self.devices.device(post("/", (b"cookie", cookies.encode("latin-1"))), account)


def test_every_device_has_a_name_of_its_own() -> None:
    """And the same one each time."""
    world = World()
    cookies = [world.value() for _ in range(20)]
    assert len({world.known(cookie) for cookie in cookies} - {None}) == 20
    assert world.known(cookies[0]) == world.known(cookies[0])


def test_a_cookie_ends() -> None:
    """After its days it is worth nothing, whatever the browser makes of Max-Age."""
    world = World()
    cookie = world.value()
    world.time += 30 * DAY - 1
    assert world.known(cookie)
    world.time += 1
    assert world.known(cookie) is None


def test_no_part_of_a_cookie_can_be_changed() -> None:
    """Neither the name, nor the end, nor the signature, nor the account; a device of another key is unknown."""
    world, other = World(), World()
    cookie = world.value()
    assert world.known(cookie)
    for index in range(len(NAME) + 1, len(cookie)):
        changed = cookie[:index] + ("0" if cookie[index] != "0" else "1") + cookie[index + 1 :]
        assert world.known(changed) is None
    for account in ("", "A", "a ", "a.a", "b"):
        assert world.known(cookie, account) is None
    assert other.known(cookie) is None


def test_parts_cannot_be_shifted() -> None:
    """A signature is for these parts as they are cut, not for their sum."""
    world = World()
    device, ends, signature = world.value("x.a").partition("=")[2].split(".")
    for shifted in (f"{device}.{ends}.x.{signature}", f"{device}.{ends}.{signature}", f".{device}.{ends}.{signature}"):
        assert world.known(f"launchkit_device={shifted}", "a") is None


def test_the_account_cannot_be_told_from_the_cookie() -> None:
    """Nothing in it repeats from device to device."""
    world = World()
    parts = [set(world.value("ann").partition("=")[2].split(".")[::2]) for _ in range(5)]
    assert not set.intersection(*parts)


@pytest.mark.parametrize(
    "surroundings",
    ["{}", "a=1; {}", "{}; a=1", "a=1;{};b=2", "launchkit_device=x.y.z; {}", " {} ", "launchkit_device; {}"],
)
def test_the_cookie_is_found_among_others(surroundings: str) -> None:
    """Also behind one of the same name that is not good, which another path or host may have set."""
    world = World()
    assert world.known(surroundings.format(world.value()))


def test_the_cookie_is_found_in_a_second_header() -> None:
    """HTTP/2 may send each cookie in a header of its own (RFC 9113 section 8.2.3)."""
    world = World()
    for order in ([world.value(), "a=1"], ["a=1", world.value()]):
        exchange = post("/", *[(b"cookie", line.encode()) for line in order])
        assert world.devices.device(exchange, "a")


def test_a_cookie_behind_very_many_of_its_name_is_not_looked_for() -> None:
    """Each costs a signature, and a header has room for thousands: few are looked at."""
    world = World()
    good = world.value()
    assert world.known("launchkit_device_a=; " * 2 + good)
    assert world.known("launchkit_device_a=; " * 1000 + good) is None


@given(st.text(st.characters(max_codepoint=255), max_size=60), st.text(max_size=5))
def test_garbage_is_no_device(text: str, account: str) -> None:
    """No cookie makes it raise."""
    world = World()
    assert world.known(f"launchkit_device_a={text}") is None
    assert world.known(text, account) is None


@given(st.lists(st.sampled_from([".", "=", ";", " ", "0", "f", "é", "-", "launchkit_device", "x" * 40]), max_size=12))
def test_cookies_of_odd_shapes_are_no_device(parts: list[str]) -> None:
    """However their parts are put together."""
    assert World().known("launchkit_device_a=" + "".join(parts)) is None
