"""Settings compiled into rules."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.exchanges import WrittenExchange

from launchkit.pipeline.effects import MOST_EXACT, Quota
from launchkit.pipeline.interceptor import METHODS
from launchkit.pipeline.paths import PathPattern
from launchkit.rate_limit.keys import Discriminator, Function
from launchkit.rate_limit.rules import (
    AnswerSuccess,
    Rule,
    compile_rules,
    is_accepted,
    matching,
    quotas,
)
from launchkit.settings import RateLimitSettings, Routes

JSON = (b"content-type", b"application/json")
is_success = AnswerSuccess(["/sign-in", "/{tenant}/login"])


def discriminator(by: str | Function) -> Discriminator:
    return Discriminator(by, lambda text: hashlib.sha256(text.encode()).hexdigest(), lambda name, error: None)


def compiled(settings: dict[str, object] | None = None, **routes: str) -> dict[str, Rule]:
    rules = compile_rules(
        RateLimitSettings.model_validate(settings or {}), Routes.model_validate(routes), discriminator
    )
    return {rule.name: rule for rule in rules}


def written(rule: Rule) -> list[tuple[str, str, bool, tuple[tuple[int, float], ...]]]:
    return [(limit.name, limit.by.text, limit.refunded, limit.quota.windows) for limit in rule.limits]


def test_the_defaults_are_those_for_launch_day() -> None:
    """Few failures for an account, more for an address, and all tries of an address bounded."""
    rules = compiled()
    assert {name: written(rule) for name, rule in rules.items()} == {
        "login": [
            ("login", "ip", False, ((60, 60),)),
            ("login-failures", "ip", True, ((20, 300),)),
            ("login-account", "account", True, ((5, 900), (10, 3600), (20, 21_600))),
        ],
        "signup": [("signup", "ip", False, ((30, 600),))],
        "password_reset": [
            ("password_reset", "ip", False, ((30, 3600),)),
            ("password_reset-account", "account", False, ((3, 3600),)),
        ],
        "webhook": [("webhook", "ip", True, ((60, 60),))],
    }
    assert all(limit.quota.exact for rule in rules.values() for limit in rule.limits)
    assert all(rule.methods == {"POST"} for rule in rules.values())
    assert all(not rule.observe for rule in rules.values())
    assert all(rule.on_outage == "local" for rule in rules.values())
    assert all(not rule.patterns for rule in rules.values())


def test_devices_are_known_at_logins_only() -> None:
    """A device cookie is set where passwords are tried, unless it is switched off."""
    assert [name for name, rule in compiled().items() if rule.knows_devices] == ["login"]
    assert not compiled({"login": {"device_days": 0}})["login"].knows_devices


def test_presets_stand_where_routes_say() -> None:
    """`routes` names the paths once; a preset's own paths win over them."""
    rules = compiled({"signup": {"paths": "/join"}}, login="/login,/admin/login", signup="/signup")
    assert [pattern.text for pattern in rules["login"].patterns] == ["/login", "/admin/login"]
    assert [pattern.text for pattern in rules["signup"].patterns] == ["/join"]


def test_a_presets_mode_and_outage_are_its_own() -> None:
    """What is set for one preset goes for no other."""
    rules = compiled({"login": {"mode": "observe", "on_outage": "closed"}})
    assert (rules["login"].observe, rules["login"].on_outage) == (True, "closed")
    assert (rules["signup"].observe, rules["signup"].on_outage) == (False, "local")


def test_an_own_rule_is_compiled_as_it_is_written() -> None:
    """Methods, keys, count, mode and outage are the rule's own."""
    rule = compiled(
        {
            "rules": {
                "search": {
                    "paths": "/search",
                    "methods": "get, patch",
                    "limit": "5/minute; 100/2 hours",
                    "by": "ip, ip+account, header:X-Api-Key",
                    "count": "failures",
                    "mode": "observe",
                    "on_outage": "closed",
                }
            }
        }
    )["rules.search"]
    assert rule.methods == {"GET", "HEAD", "PATCH"}
    assert written(rule) == [
        (name, by, True, ((amount, seconds),))
        for name, by in [
            ("search", "ip"),
            ("search-ip+account", "ip+account"),
            ("search-header:x-api-key", "header:x-api-key"),
        ]
        for amount, seconds in [(5, 60.0), (100, 7200.0)]
    ]
    assert rule.observe
    assert rule.on_outage == "closed"
    assert not rule.knows_devices


def test_an_own_rule_may_count_by_a_function() -> None:
    """What the function tells is not told to clients by name."""
    (limit,) = compiled({"rules": {"a": {"paths": "/", "limit": "5/minute", "by": [len]}}})["rules.a"].limits
    assert (limit.name, limit.by.text, limit.by.is_own) == ("a-function", "function", False)


def test_an_empty_list_of_methods_means_all_but_preflights() -> None:
    """OPTIONS is the browser's own request; a method that nobody knows counts as well."""
    rule = compiled({"rules": {"all": {"paths": "/*", "methods": [], "limit": "5/minute"}}})["rules.all"]
    assert rule.methods == (METHODS - {"OPTIONS"}) | {"_OTHER"}


def test_no_two_limits_have_the_same_prefix() -> None:
    """Neither equal limits in two rules, nor two of one rule, nor an own rule named like a preset share a bucket."""
    same = {"paths": "/login", "limit": "60/minute; 100/minute", "by": ["ip", "ip", len, abs], "count": "failures"}
    rules = compiled({"rules": dict.fromkeys(("login", "webhook", "a", "a:0", "a%3A0"), same)}, login="/login")
    prefixes = [limit.prefix for rule in rules.values() for limit in rule.limits]
    assert len(prefixes) == 3 + 1 + 2 + 1 + 5 * 4
    assert len(set(prefixes)) == len(prefixes)


def test_a_prefix_tells_what_was_set() -> None:
    """With other terms a rule counts anew: what was counted under the old ones would mean something else."""

    def prefix(**terms: object) -> str:
        rule = {"paths": "/a", "limit": "5/minute", **terms}
        (limit,) = compiled({"rules": {"a": rule}})["rules.a"].limits
        return limit.prefix

    changed = [{}, {"limit": "6/minute"}, {"limit": "5/hour"}, {"by": "path"}, {"count": "failures"}]
    assert len({prefix(**terms) for terms in changed}) == len(changed)
    assert prefix() == prefix(mode="observe", on_outage="closed", methods="PUT", paths="/b")


def test_a_rule_takes_login_pages_from_routes_and_presets() -> None:
    """Whoever is sent to one of them has not logged in, whatever path the form was posted to."""
    rules = compiled(
        {"login": {"paths": "/auth/submit"}, "rules": {"a": {"paths": "/a", "limit": "5/minute", "count": "failures"}}},
        login="/welcome/login",
    )
    for page in (b"/welcome/login", b"/auth/submit"):
        exchange = WrittenExchange("POST", "/a").answer(303, (b"location", page))
        assert not rules["login"].is_success(exchange)
        assert not rules["rules.a"].is_success(exchange)


def test_an_own_rule_may_say_what_a_success_is() -> None:
    """For apps whose answers do not tell by status and type."""
    own = {"paths": "/a", "limit": "5/minute", "count": "failures", "success": lambda exchange: exchange.status == 418}
    rule = compiled({"rules": {"a": own}})["rules.a"]
    assert rule.is_success(WrittenExchange("POST", "/a").answer(418))
    assert not rule.is_success(WrittenExchange("POST", "/a").answer(200, JSON))


def test_rules_are_found_by_method_and_path() -> None:
    """A rule is for its methods and its paths."""
    rules = compiled({"rules": {"all": {"paths": "/*", "methods": [], "limit": "5/minute"}}}, login="/login")
    login = frozenset({PathPattern("/login"), PathPattern("/*")})
    assert [rule.name for rule in matching(rules.values(), "POST", login)] == ["login", "rules.all"]
    assert [rule.name for rule in matching(rules.values(), "GET", login)] == ["rules.all"]
    assert matching(rules.values(), "OPTIONS", login) == ()
    assert matching(rules.values(), "POST", frozenset()) == ()


# --- quotas ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5/minute", [Quota(((5, 60),))]),
        ("5/minute; 5/minute; 5/60 seconds", [Quota(((5, 60),))]),
        ("5/minute; 5/hour", [Quota(((5, 3600),))]),
        ("10/minute; 5/hour", [Quota(((5, 3600),))]),
        ("9/hour; 5/minute", [Quota(((5, 60), (9, 3600)))]),
        ("64/minute", [Quota(((64, 60),))]),
        ("65/minute", [Quota(((65, 60),), exact=False)]),
        ("64/minute; 65/hour", [Quota(((64, 60),)), Quota(((65, 3600),), exact=False)]),
        (
            "1000/hour; 5/second; 60/minute; 200/minute; 9000/day",
            [
                Quota(((5, 1), (60, 60))),
                Quota(((1000, 3600),), exact=False),
                Quota(((9000, 86_400),), exact=False),
            ],
        ),
    ],
)
def test_a_limit_is_the_fewest_quotas_that_say_it(text: str, expected: list[Quota]) -> None:
    """Windows that another implies are left out; up to 64 hits are kept as a log, more as a counter each."""
    assert list(quotas(text)) == expected


items = st.lists(st.tuples(st.integers(1, 130), st.integers(1, 100)), min_size=1, max_size=6)


@given(items)
def test_what_is_kept_says_the_same_as_what_was_written(written_items: list[tuple[int, int]]) -> None:
    """Each window that was written is implied by one that is kept, and none that is kept by another."""
    found = quotas("; ".join(f"{amount}/{seconds} seconds" for amount, seconds in written_items))
    kept = [window for quota in found for window in quota.windows]
    assert set(kept) <= {(amount, float(seconds)) for amount, seconds in written_items}
    for amount, seconds in written_items:
        assert any(most <= amount and longest >= seconds for most, longest in kept)
    for one, other in zip(sorted(kept), sorted(kept)[1:], strict=False):
        assert one[0] < other[0]
        assert one[1] < other[1]
    assert sum(quota.exact for quota in found) <= 1
    for quota in found:
        assert list(quota.windows) == sorted(quota.windows)
        assert (quota.most <= MOST_EXACT) is quota.exact
        assert quota.exact or len(quota.windows) == 1


# --- success ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (200, [JSON], True),
        (201, [(b"Content-Type", b"application/json; charset=utf-8")], True),
        (200, [(b"content-type", b"application/hal+JSON")], True),
        (200, [(b"content-type", b"text/html")], False),
        (200, [(b"content-type", b"application/jsonp")], False),
        (200, [], False),
        (204, [], True),
        (204, [(b"content-type", b"text/html")], True),
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
        (302, [(b"location", b"/sign-in?again=1")], False),
        (302, [(b"location", b"https://shop.example//sign%2Din/#form")], False),
        (302, [(b"location", b"/acme/login")], False),
        (302, [(b"location", b"/home?error=CredentialsSignin")], False),
        (302, [(b"location", b"/home#login-failed")], False),
        (302, [(b"location", b"/home?next=/account")], True),
        (302, [(b"location", b"/home?login=failed")], False),
        (302, [(b"location", b"/home?code=invalid_credentials")], False),
        (302, [(b"location", b"/home?tab=failed_payments&next=/invalid-orders")], True),
        (200, [(b"hx-redirect", b"/home"), (b"content-type", b"text/html")], True),
        (200, [(b"hx-location", b"/account/login"), (b"content-type", b"text/html")], False),
        (200, [(b"content-length", b"0"), (b"content-type", b"text/html")], True),
        (200, [(b"content-length", b"10"), (b"content-type", b"text/plain")], False),
        (302, [(b"location", b"")], False),
        (302, [], False),
        (304, [], False),
        (400, [(b"location", b"/home")], False),
    ],
)
def test_a_form_is_accepted_with_json_or_by_leading_elsewhere(
    status: int, headers: list[tuple[bytes, bytes]], expected: bool
) -> None:
    """JSON with 2xx or a redirect elsewhere; HTML, and a redirect to a login page or with an error, show errors."""
    exchange = WrittenExchange("POST", "/account/login").answer(status, *headers)
    assert is_success(exchange) is expected


def test_a_page_with_a_name_beyond_ascii_leads_to_itself_in_either_spelling() -> None:
    """A redirect is percent-encoded where the path is not."""
    exchange = WrittenExchange("POST", "/été").answer(302, (b"location", b"/%C3%A9t%C3%A9?error=1"))
    assert not is_success(exchange)


@pytest.mark.parametrize("path", ["/\udcff", "/a\x00b", "/%", "//evil", "/a?b"])
def test_no_path_makes_the_question_raise(path: str) -> None:
    """Whatever a server makes of a path, the answer is yes or no."""
    exchange = WrittenExchange("POST", "/login")
    exchange.path = path
    exchange.answer(302, (b"location", b"/\xff\x00%zz"))
    assert is_success(exchange) in (True, False)


@pytest.mark.parametrize(
    ("status", "expected"), [(200, True), (202, True), (299, True), (199, False), (302, False), (400, False)]
)
def test_a_webhook_is_accepted_with_any_2xx(status: int, expected: bool) -> None:
    """Senders look at the status alone."""
    assert is_accepted(WrittenExchange("POST").answer(status)) is expected
