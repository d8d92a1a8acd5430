"""What can be said about limits."""

from __future__ import annotations

import json
from typing import Any

import pytest

from launchkit import Settings, SettingsError
from launchkit.settings import RateLimitRule


def rule(**terms: Any) -> RateLimitRule:
    return Settings(rate_limit={"rules": {"a": {"paths": "/a", "limit": "5/minute"} | terms}}).rate_limit.rules["a"]


def mistakes(**values: Any) -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        Settings(**values)
    return {problem.variable: problem.message for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("ip", ("ip",)),
        ("ip, account", ("ip", "account")),
        ("ip+account, path", ("ip+account", "path")),
        ("header:X-Api-Key+ip", ("header:x-api-key+ip",)),
        (["ip", "header:x_y"], ("ip", "header:x_y")),
        ('["ip", "path"]', ("ip", "path")),
    ],
)
def test_whom_to_count_is_a_list(written: object, read: tuple[str, ...]) -> None:
    """Names, pairs of them joined by a plus, and headers in any case."""
    assert rule(by=written).by == read


def test_whom_to_count_may_be_a_function() -> None:
    """It is kept as it is, among names or alone."""
    assert rule(by=[len]).by == (len,)
    assert rule(by=["ip", len]).by == ("ip", len)


@pytest.mark.parametrize(
    "written",
    ["", [], "user", "ip+", "+", "header:", "header:a b", "header", "ip account", [5], "ip+user"],
)
def test_a_key_that_means_nothing_is_refused(written: object) -> None:
    """A limit that counts by nothing must not look like one that does."""
    found = mistakes(rate_limit={"rules": {"a": {"paths": "/a", "limit": "5/minute", "by": written}}})
    assert list(found) == ["LAUNCHKIT_RATE_LIMIT__RULES__A__BY"]


def test_the_remedy_for_a_key_names_what_there_is() -> None:
    """The message lists all kinds."""
    (message,) = mistakes(rate_limit={"rules": {"a": {"paths": "/a", "limit": "5/minute", "by": "user"}}}).values()
    assert "ip, account, path, header:<name>" in message


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("login", "failures_per_account", "often"),
        ("login", "failures_per_account", "0/minute"),
        ("login", "device_days", -1),
        ("login", "mode", "silent"),
        ("password_reset", "per_account", "5 per hour?"),
        ("password_reset", "on_outage", "panic"),
    ],
)
def test_a_presets_mistake_is_named(section: str, name: str, value: object) -> None:
    """By its variable."""
    found = mistakes(rate_limit={section: {name: value}})
    assert list(found) == [f"LAUNCHKIT_RATE_LIMIT__{section.upper()}__{name.upper()}"]


@pytest.mark.parametrize(
    ("name", "value"), [("max_body", 0), ("max_keys", 999), ("store", "disk"), ("account_fields", 5)]
)
def test_a_mistake_about_all_limits_is_named(name: str, value: object) -> None:
    """By its variable."""
    assert list(mistakes(rate_limit={name: value})) == [f"LAUNCHKIT_RATE_LIMIT__{name.upper()}"]


def test_limits_are_set_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Presets, rules, and what all limits share."""
    for name, value in {
        "LOGIN__FAILURES_PER_ACCOUNT": "3/minute; 9/hour",
        "LOGIN__DEVICE_DAYS": "0",
        "PASSWORD_RESET__PER_ACCOUNT": "1/hour",
        "ACCOUNT_FIELDS": "email, customer-number",
        "MAX_BODY": "1000",
        "RULES__API__PATHS": "/api/*",
        "RULES__API__LIMIT": "1000/hour",
        "RULES__API__BY": "header:X-Api-Key, ip+path",
        "RULES__API__METHODS": "",
    }.items():
        monkeypatch.setenv(f"LAUNCHKIT_RATE_LIMIT__{name}", value)
    limits = Settings().rate_limit
    assert (limits.login.failures_per_account, limits.login.device_days) == ("3/minute; 9/hour", 0)
    assert limits.password_reset.per_account == "1/hour"
    assert limits.account_fields == ("email", "customer-number")
    assert limits.max_body == 1000
    assert limits.rules["api"].by == ("header:x-api-key", "ip+path")
    assert limits.rules["api"].methods == ()


def test_limits_without_a_setting_are_those_for_launch_day() -> None:
    """A newcomer who names a login path is protected."""
    limits = Settings().rate_limit
    assert limits.login.failures_per_account == "5/15 minutes; 10/hour; 20/6 hours"
    assert (limits.login.device_days, limits.max_body, limits.store) == (180, 65_536, "auto")
    assert {"email", "username", "phone"} <= set(limits.account_fields)
    assert (rule().by, rule().count, rule().mode, rule().on_outage) == (("ip",), "all", "enforce", "local")


def test_a_secret_key_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is never shown, and an empty one is a mistake."""
    monkeypatch.setenv("LAUNCHKIT_SECRET_KEY", "shown-to-nobody")
    settings = Settings()
    assert settings.secret_key is not None
    assert settings.secret_key.get_secret_value() == "shown-to-nobody"
    assert "shown-to-nobody" not in f"{settings!r}{settings}{json.dumps(settings.model_dump(mode='json'), default=str)}"
    assert list(mistakes(secret_key="")) == ["LAUNCHKIT_SECRET_KEY"]
