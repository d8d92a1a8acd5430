"""Where settings come from: keyword arguments, the environment, `.env`, and which of them wins."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError
from pydantic_settings import SettingsConfigDict

from launchkit import Settings, SettingsError
from launchkit.settings import PLATFORM_MARKS, EdgeSettings, RateLimitRule


@pytest.fixture(autouse=True)
def _no_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    for mark in PLATFORM_MARKS:
        monkeypatch.delenv(mark, raising=False)


def write_env(*lines: str) -> None:
    Path(".env").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_a_newcomer_who_sets_nothing_gets_settings() -> None:
    """Every setting has a default."""
    settings = Settings()
    assert settings.environment == "development"
    assert settings.in_development
    assert settings.redis_url is None
    assert settings.rate_limit.enabled


def test_the_environment_wins_over_the_env_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment variables win over `.env`."""
    write_env("LAUNCHKIT_RELEASE=from-file", "LAUNCHKIT_DATA_DIR=from-file")
    monkeypatch.setenv("LAUNCHKIT_RELEASE", "from-environment")
    settings = Settings()
    assert settings.release == "from-environment"
    assert settings.data_dir == Path("from-file")


def test_keyword_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keyword arguments win over environment variables."""
    monkeypatch.setenv("LAUNCHKIT_RELEASE", "from-environment")
    assert Settings(release="from-keyword").release == "from-keyword"


def test_sections_from_several_sources_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Precedence goes by single setting, not by section."""
    write_env("LAUNCHKIT_TIMING__TARGET=0.1", "LAUNCHKIT_TIMING__WINDOW=1", "LAUNCHKIT_TIMING__MAX_SERIES=9")
    monkeypatch.setenv("LAUNCHKIT_TIMING__TARGET", "0.2")
    monkeypatch.setenv("LAUNCHKIT_TIMING__WINDOW", "2")
    timing = Settings(timing={"target": 0.3}).timing
    assert (timing.target, timing.window, timing.max_series) == (0.3, 2, 9)


def test_a_section_may_be_given_as_an_object() -> None:
    """A keyword argument may be the section itself."""
    assert Settings(edge=EdgeSettings(hsts_seconds=1)).edge.hsts_seconds == 1


def test_a_section_may_be_given_as_json_with_single_settings_on_top(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable with the section's name holds JSON; variables further down win over it."""
    monkeypatch.setenv("LAUNCHKIT_EDGE", '{"enabled": false, "hsts_seconds": 1}')
    monkeypatch.setenv("LAUNCHKIT_EDGE__HSTS_SECONDS", "2")
    edge = Settings().edge
    assert (edge.enabled, edge.hsts_seconds) == (False, 2)


@pytest.mark.parametrize("text", ["/login,/admin/login", " /login , /admin/login ,", '["/login", "/admin/login"]'])
def test_lists_are_written_with_commas_or_as_json(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A list is written with commas, or as a JSON list."""
    monkeypatch.setenv("LAUNCHKIT_ROUTES__LOGIN", text)
    assert Settings().routes.login == ("/login", "/admin/login")
    assert Settings(routes={"login": text}).routes.login == ("/login", "/admin/login")


def test_lists_of_numbers_and_of_secrets_are_written_with_commas_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a list holds makes no difference to how it is written."""
    monkeypatch.setenv("LAUNCHKIT_WEBHOOKS__RETRY_DELAYS", "1, 2.5")
    monkeypatch.setenv("LAUNCHKIT_WEBHOOKS__SOURCES__STRIPE__SECRETS", "one,two")
    webhooks = Settings().webhooks
    assert webhooks.retry_delays == (1, 2.5)
    assert [secret.get_secret_value() for secret in webhooks.sources["stripe"].secrets] == ["one", "two"]


def test_a_pattern_with_a_comma_is_given_in_a_json_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comma inside an item needs the JSON notation."""
    monkeypatch.setenv("LAUNCHKIT_REDACTION__PATTERNS", r'["\\d{4,8}"]')
    assert Settings().redaction.patterns == (r"\d{4,8}",)


def test_tables_are_filled_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The word after a table is the entry's name; each entry may also be JSON."""
    monkeypatch.setenv("LAUNCHKIT_RATE_LIMIT__RULES__SEARCH__PATHS", "/search")
    monkeypatch.setenv("LAUNCHKIT_RATE_LIMIT__RULES__SEARCH__LIMIT", "10/minute")
    monkeypatch.setenv("LAUNCHKIT_RATE_LIMIT__RULES__EXPORT", '{"paths": "/export", "limit": "1/hour"}')
    monkeypatch.setenv("LAUNCHKIT_READ_CACHE__RULES", '{"Home": {"paths": "/"}}')
    settings = Settings()
    assert settings.rate_limit.rules == {
        "search": RateLimitRule(paths=("/search",), limit="10/minute"),
        "export": RateLimitRule(paths=("/export",), limit="1/hour"),
    }
    assert list(settings.read_cache.rules) == ["Home"]


def test_a_table_of_plain_values_is_given_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every field has an environment variable, the headers too."""
    monkeypatch.setenv("LAUNCHKIT_EDGE__HEADERS", '{"Permissions-Policy": "camera=()"}')
    assert Settings().edge.headers == {"permissions-policy": "camera=()"}


def test_names_may_be_in_lower_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """Upper and lower case of a variable's name mean the same."""
    monkeypatch.setenv("launchkit_timing__Window", "3")
    assert Settings().timing.window == 3


def test_foreign_names_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names without the prefix are somebody else's, in `.env` and in the environment."""
    write_env("DATABASE_URL=postgres://", "LAUNCHKITX=1", "export LAUNCHKIT_RELEASE='abc'", "LAUNCHKIT_TOKEN")
    monkeypatch.setenv("RELEASE", "theirs")
    settings = Settings()
    assert settings.release == "abc"
    assert settings.token is None


@pytest.mark.parametrize("mark", PLATFORM_MARKS)
def test_a_hosting_platform_means_production(monkeypatch: pytest.MonkeyPatch, mark: str) -> None:
    """On a known platform the environment is production, unless it is said."""
    monkeypatch.setenv(mark, "1")
    assert Settings().environment == "production"
    assert not Settings().in_development
    assert Settings(environment="test").environment == "test"


def test_a_subclass_may_do_without_an_env_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """`env_file` is the model's own setting; names of a subclass are reported like LaunchKit's."""

    class Fileless(Settings):
        model_config = SettingsConfigDict(env_file=None)

    write_env("LAUNCHKIT_RELEASE=from-file")
    assert Fileless().release is None
    monkeypatch.setenv("LAUNCHKIT_RELEASES", "1")
    with pytest.raises(SettingsError, match="LAUNCHKIT_RELEASES: is not a setting; did you mean LAUNCHKIT_RELEASE"):
        Fileless()


def test_settings_are_frozen() -> None:
    """Whoever reads a setting may keep what was read."""
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.release = "other"
    with pytest.raises(ValidationError):
        settings.edge.enabled = False


def test_secrets_do_not_show_in_a_representation() -> None:
    """Printing the settings prints no secret."""
    settings = Settings(token="shown-to-nobody", redis_url="redis://:shown-to-nobody@localhost")
    assert "shown-to-nobody" not in f"{settings!r}{settings}{settings.model_dump()}{settings.model_dump_json()}"
    assert isinstance(settings.token, SecretStr)


@pytest.mark.parametrize(
    ("values", "variable", "words"),
    [
        ({"routes": {"login": "login"}}, "LAUNCHKIT_ROUTES__LOGIN", "a path starts with a slash"),
        ({"routes": {"login": "[/login"}}, "LAUNCHKIT_ROUTES__LOGIN", "commas do as well"),
        ({"routes": {"login": 5}}, "LAUNCHKIT_ROUTES__LOGIN", "valid tuple"),
        ({"trusted_proxies": "*"}, "LAUNCHKIT_TRUSTED_PROXIES", "lets anyone choose"),
        ({"trusted_proxies": "proxy.local"}, "LAUNCHKIT_TRUSTED_PROXIES", "10.0.0.0/8"),
        ({"redaction": {"patterns": "("}}, "LAUNCHKIT_REDACTION__PATTERNS", "regular expression"),
        ({"redaction": {"allow": "a{99999999999999}"}}, "LAUNCHKIT_REDACTION__ALLOW", "regular expression"),
        ({"edge": {"headers": {"x": "a\nb"}}}, "LAUNCHKIT_EDGE__HEADERS__X", "one line"),
        ({"edge": {"headers": {"x y": "a"}}}, "LAUNCHKIT_EDGE__HEADERS__X Y", "header name"),
        (
            {"read_cache": {"rules": {"a": {"paths": "/", "vary": "x y"}}}},
            "LAUNCHKIT_READ_CACHE__RULES__A__VARY",
            "name",
        ),
        ({"rate_limit": {"login": {"per_address": "often"}}}, "LAUNCHKIT_RATE_LIMIT__LOGIN__PER_ADDRESS", "10/minute"),
        ({"rate_limit": {"login": {"per_address": "0/minute"}}}, "LAUNCHKIT_RATE_LIMIT__LOGIN__PER_ADDRESS", "one"),
        (
            {"rate_limit": {"login": {"per_address": "5/minute; 0/hour"}}},
            "LAUNCHKIT_RATE_LIMIT__LOGIN__PER_ADDRESS",
            "one",
        ),
        ({"timing": {"target": "inf"}}, "LAUNCHKIT_TIMING__TARGET", "finite"),
        ({"timing": {"target": 0}}, "LAUNCHKIT_TIMING__TARGET", "greater than 0"),
        ({"token": ""}, "LAUNCHKIT_TOKEN", "should not be empty"),
        ({"redis_url": ""}, "LAUNCHKIT_REDIS_URL", "should not be empty"),
        (
            {"webhooks": {"sources": {"a": {"secrets": [""]}}}},
            "LAUNCHKIT_WEBHOOKS__SOURCES__A__SECRETS",
            "should not be empty",
        ),
    ],
)
def test_every_mistake_is_named_with_its_remedy(values: dict[str, object], variable: str, words: str) -> None:
    """A value that cannot work is refused at start, by its variable's name and with what it should be."""
    with pytest.raises(SettingsError) as caught:
        Settings(**values)
    (problem,) = caught.value.problems
    assert problem.variable == variable
    assert words in problem.message


@pytest.mark.parametrize("text", ["private", "10.0.0.0/8, fd00::/8", "192.168.1.7/24", "10.1.2.3"])
def test_proxies_are_networks_or_the_word_private(text: str) -> None:
    """A network may be written with host bits, and a single address is one."""
    assert Settings(trusted_proxies=text).trusted_proxies == tuple(part.strip() for part in text.split(","))
