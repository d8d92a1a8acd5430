"""Settings compiled into rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.exchanges import WrittenExchange

from launchkit.pipeline.interceptor import METHODS
from launchkit.pipeline.paths import PathPattern
from launchkit.rate_limit.rules import (
    Rule,
    Window,
    compile_rules,
    is_accepted,
    is_answer_success,
    matching,
    windows,
)
from launchkit.settings import RateLimitSettings, Routes

JSON = (b"content-type", b"application/json")


def compiled(settings: dict[str, object] | None = None, **routes: str) -> dict[str, Rule]:
    rules = compile_rules(RateLimitSettings.model_validate(settings or {}), Routes.model_validate(routes))
    return {rule.name: rule for rule in rules}


def test_the_defaults_are_those_for_launch_day() -> None:
    """A login allows 60 tries a minute and 20 failures in 5 minutes; forms 30 in 10 minutes; webhooks 60 bad ones."""
    rules = compiled()
    assert {name: rule.windows for name, rule in rules.items()} == {
        "login": (Window(60, 60), Window(20, 300, refunded=True)),
        "signup": (Window(30, 600),),
        "password_reset": (Window(30, 600),),
        "webhook": (Window(60, 60, refunded=True),),
    }
    assert all(rule.methods == {"POST"} for rule in rules.values())
    assert all(not rule.observe for rule in rules.values())
    assert all(rule.on_outage == "local" for rule in rules.values())
    assert all(not rule.patterns for rule in rules.values())


def test_presets_stand_where_routes_say() -> None:
    """`routes` names the paths once; a preset's own paths win over them."""
    rules = compiled({"signup": {"paths": "/join"}}, login="/login,/admin/login", signup="/signup")
    assert [pattern.text for pattern in rules["login"].patterns] == ["/login", "/admin/login"]
    assert [pattern.text for pattern in rules["signup"].patterns] == ["/join"]


def test_own_rules_cannot_be_mistaken_for_presets() -> None:
    """An own rule named like a preset is another rule, with a count of its own."""
    rules = compiled({"rules": {"login": {"paths": "/login", "limit": "60/minute"}}}, login="/login")
    own, preset = rules["rules.login"], rules["login"]
    assert own.key(Window(60, 60), "203.0.113.7") != preset.key(Window(60, 60), "203.0.113.7")


def test_an_own_rule_is_compiled_as_it_is_written() -> None:
    """Methods, count, mode and outage are the rule's own."""
    rule = compiled(
        {
            "rules": {
                "search": {
                    "paths": "/search",
                    "methods": "get, head",
                    "limit": "5/minute; 100/2 hours",
                    "count": "failures",
                    "mode": "observe",
                    "on_outage": "closed",
                }
            }
        }
    )["rules.search"]
    assert rule.methods == {"GET", "HEAD"}
    assert rule.windows == (Window(5, 60, refunded=True), Window(100, 7200, refunded=True))
    assert rule.observe
    assert rule.on_outage == "closed"


def test_an_empty_list_of_methods_means_all_but_preflights() -> None:
    """OPTIONS is the browser's own request; a method that nobody knows counts as well."""
    rule = compiled({"rules": {"all": {"paths": "/*", "methods": [], "limit": "5/minute"}}})["rules.all"]
    assert rule.methods == (METHODS - {"OPTIONS"}) | {"_OTHER"}


def test_a_window_that_is_written_twice_is_charged_once() -> None:
    """Equal windows are one bucket, and one request is one hit in it."""
    assert windows("5/minute; 5/minute; 5/60 seconds") == (Window(5, 60),)


def test_rules_are_found_by_method_and_path() -> None:
    """A rule is for its methods and its paths."""
    rules = compiled({"rules": {"all": {"paths": "/*", "methods": [], "limit": "5/minute"}}}, login="/login")
    login = frozenset({PathPattern("/login"), PathPattern("/*")})
    assert [rule.name for rule in matching(rules.values(), "POST", login)] == ["login", "rules.all"]
    assert [rule.name for rule in matching(rules.values(), "GET", login)] == ["rules.all"]
    assert matching(rules.values(), "OPTIONS", login) == ()
    assert matching(rules.values(), "POST", frozenset()) == ()


names = st.text(st.sampled_from(":%/ aA0é") | st.characters(codec="utf-8"), max_size=6)
buckets = st.tuples(
    names,
    st.builds(Window, st.integers(1, 10**9), st.integers(1, 10**9) | st.integers(999_990, 1_000_010), st.booleans()),
    st.sampled_from(["203.0.113.7", "2001:db8::/64", "::/64", "unknown"]) | names,
)


@given(buckets, buckets)
def test_no_two_buckets_share_a_key(one: tuple[str, Window, str], other: tuple[str, Window, str]) -> None:
    """Keys are equal only where rule, window and address are."""
    keys = [
        Rule(name, (), frozenset(), (), False, "local", is_accepted).key(window, address)
        for name, window, address in (one, other)
    ]
    assert (keys[0] == keys[1]) is (one == other)


def test_long_windows_of_nearly_the_same_length_are_apart() -> None:
    """No digit of a window's length is lost in its key."""
    rule = compiled()["login"]
    assert rule.key(Window(5, 1_000_000), "a") != rule.key(Window(5, 1_000_001), "a")


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (200, [JSON], True),
        (201, [(b"Content-Type", b"application/json; charset=utf-8")], True),
        (200, [(b"content-type", b"application/hal+JSON")], True),
        (204, [], False),
        (200, [(b"content-type", b"text/html")], False),
        (200, [(b"content-type", b"application/jsonp")], False),
        (401, [JSON], False),
        (422, [JSON], False),
        (500, [JSON], False),
        (199, [JSON], False),
        (302, [(b"location", b"/home")], True),
        (303, [(b"location", b"https://app.example/")], True),
        (303, [(b"location", b"https://app.example")], True),
        (302, [(b"location", b"home")], True),
        (302, [(b"location", b"..")], True),
        (302, [(b"location", b"/account/login")], False),
        (302, [(b"location", b"/account/login/")], False),
        (302, [(b"location", b"/account//login?error=1")], False),
        (302, [(b"location", b"login?error=1")], False),
        (302, [(b"location", b"?error=1")], False),
        (302, [(b"location", b"#error")], False),
        (302, [(b"location", b"/account/%6cogin")], False),
        (302, [(b"location", b"http://shop.example/account/login")], False),
        (302, [(b"location", b"http://[")], False),
        (302, [(b"location", b"")], False),
        (302, [], False),
        (304, [], False),
        (400, [(b"location", b"/home")], False),
    ],
)
def test_a_form_is_accepted_with_json_or_by_leading_elsewhere(
    status: int, headers: list[tuple[bytes, bytes]], expected: bool
) -> None:
    """JSON with 2xx or a redirect to another page; HTML with 200 and a redirect to itself show errors."""
    exchange = WrittenExchange("POST", "/account/login").answer(status, *headers)
    assert is_answer_success(exchange) is expected


def test_a_page_with_a_name_beyond_ascii_leads_to_itself_in_either_spelling() -> None:
    """A redirect is percent-encoded where the path is not."""
    exchange = WrittenExchange("POST", "/été").answer(302, (b"location", b"/%C3%A9t%C3%A9?error=1"))
    assert not is_answer_success(exchange)


@pytest.mark.parametrize(
    ("status", "expected"), [(200, True), (202, True), (299, True), (199, False), (302, False), (400, False)]
)
def test_a_webhook_is_accepted_with_any_2xx(status: int, expected: bool) -> None:
    """Senders look at the status alone."""
    assert is_accepted(WrittenExchange("POST").answer(status)) is expected
