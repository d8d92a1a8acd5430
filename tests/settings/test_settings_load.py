"""The app's own variables join the report."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from pydantic import AliasChoices, AliasPath, BaseModel, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from launchkit import Settings, SettingsError, load_settings

SECRET = "a-value-that-nobody-may-see"


def mistakes(model: type[BaseModel], **values: object) -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(model, **values)
    assert SECRET not in f"{caught.value}{caught.value.__cause__}{caught.value.__context__}"
    assert len({problem.variable for problem in caught.value.problems}) == len(caught.value.problems)
    return {problem.variable: problem.message for problem in caught.value.problems}


class Database(BaseModel):
    url: str
    pool: int = 5


class Prefixed(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="APP_", env_nested_delimiter="__", env_file=".env", extra="forbid")

    api_key: SecretStr
    workers: int | Literal["auto"] = "auto"
    database: Database
    mailer: str = Field("smtp", validation_alias="MAIL_URL", max_length=20)
    queue: int = Field(0, validation_alias=AliasChoices("QUEUE_SIZE", "JOBS"))


class Plain(BaseModel):
    stripe_key: SecretStr
    pool_size: int = 5
    region: str = Field("eu", alias="AWS_REGION", max_length=10)


def test_both_models_are_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is right is returned: LaunchKit's settings and the app's own."""
    monkeypatch.setenv("APP_API_KEY", "key")
    monkeypatch.setenv("APP_DATABASE__URL", "postgres://")
    monkeypatch.setenv("APP_WORKERS", "3")
    monkeypatch.setenv("LAUNCHKIT_RELEASE", "abc")
    kit, app = load_settings(Prefixed, environment="test")
    assert isinstance(kit, Settings)
    assert (kit.release, kit.environment) == ("abc", "test")
    assert (app.api_key.get_secret_value(), app.workers, app.database.url) == ("key", 3, "postgres://")


def test_mistakes_of_both_are_reported_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """One error names what is wrong in either model."""
    monkeypatch.setenv("LAUNCHKIT_TIMING__WINDOW", SECRET)
    monkeypatch.setenv("APP_WORKERS", "3")
    assert mistakes(Prefixed, token="") == {
        "LAUNCHKIT_TOKEN": "should not be empty",
        "LAUNCHKIT_TIMING__WINDOW": "should be a whole number",
        "APP_API_KEY": "is required and not set",
        "APP_DATABASE": "is required and not set",
    }


def test_only_one_of_them_may_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in one model is reported though the other is right."""
    monkeypatch.setenv("STRIPE_KEY", "key")
    assert mistakes(Plain, token="") == {"LAUNCHKIT_TOKEN": "should not be empty"}
    monkeypatch.delenv("STRIPE_KEY")
    assert mistakes(Plain) == {"STRIPE_KEY": "is required and not set"}


def test_variables_have_their_real_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefix, delimiter and aliases are those that the model has chosen."""
    monkeypatch.setenv("APP_API_KEY", "key")
    monkeypatch.setenv("APP_DATABASE__POOL", SECRET)
    monkeypatch.setenv("MAIL_URL", SECRET)
    monkeypatch.setenv("QUEUE_SIZE", SECRET)
    assert mistakes(Prefixed) == {
        "APP_DATABASE__URL": "is required and not set",
        "APP_DATABASE__POOL": "should be a whole number",
        "MAIL_URL": "string should have at most 20 characters",
        "QUEUE_SIZE": "should be a whole number",
    }


def test_a_choice_of_types_has_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kinds that a union tries are no part of the variable's name."""
    monkeypatch.setenv("APP_API_KEY", "key")
    monkeypatch.setenv("APP_DATABASE__URL", "postgres://")
    monkeypatch.setenv("APP_WORKERS", SECRET)
    with pytest.raises(SettingsError) as caught:
        load_settings(Prefixed)
    assert {problem.variable for problem in caught.value.problems} == {"APP_WORKERS"}


def test_an_unknown_name_of_the_apps_own_gets_a_suggestion() -> None:
    """Suggestions come from the model that the name belongs to."""
    Path(".env").write_text("APP_API_KEYS=1\nAPP_DATABASE__URL=x\nAPP_API_KEY=1\n", encoding="utf-8")
    assert mistakes(Prefixed)["APP_API_KEYS"] == "is not a setting; did you mean APP_API_KEY?"


def test_text_that_should_be_json_is_a_problem_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the app's own settings library cannot read joins the report, by the variable's name."""

    class Lists(BaseSettings):
        model_config = SettingsConfigDict(env_prefix="APP_")

        numbers: list[int] = []

    monkeypatch.setenv("APP_NUMBERS", SECRET)
    assert mistakes(Lists, token="") == {
        "LAUNCHKIT_TOKEN": "should not be empty",
        "APP_NUMBERS": "should be valid JSON",
    }


def test_inside_json_the_place_is_told_in_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a section can only be given as JSON, the variable is the section's."""

    class Nested(BaseSettings):
        database: Database

    monkeypatch.setenv("DATABASE", f'{{"pool": "{SECRET}"}}')
    with pytest.raises(SettingsError) as caught:
        load_settings(Nested)
    assert [(problem.variable, problem.message) for problem in caught.value.problems] == [
        ("DATABASE", "url: is required and not set"),
        ("DATABASE", "pool: should be a whole number"),
    ]


def test_a_plain_model_is_read_from_variables_of_its_fields_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `BaseModel` needs no pydantic-settings; an alias is the variable's name."""
    monkeypatch.setenv("STRIPE_KEY", "key")
    monkeypatch.setenv("pool_size", "7")
    monkeypatch.setenv("AWS_REGION", "us")
    monkeypatch.setenv("REGION", "not this one")
    _, app = load_settings(Plain)
    assert (app.stripe_key.get_secret_value(), app.pool_size, app.region) == ("key", 7, "us")
    monkeypatch.setenv("POOL_SIZE", SECRET)
    monkeypatch.setenv("AWS_REGION", SECRET)
    monkeypatch.delenv("pool_size")
    assert mistakes(Plain) == {
        "POOL_SIZE": "should be a whole number",
        "AWS_REGION": "string should have at most 10 characters",
    }


def test_an_alias_that_is_no_name_is_not_taken_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path into other values names no variable."""

    class Odd(BaseModel):
        first: int = Field(1, validation_alias=AliasPath("listed", 0))

    monkeypatch.setenv("FIRST", SECRET)
    assert load_settings(Odd)[1].first == 1


def test_messages_of_the_apps_own_validators_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A validator's message may contain the value: only its kind is told."""

    class Validated(BaseModel):
        api_key: str
        other: str

        @field_validator("api_key")
        @classmethod
        def _refuse(cls, value: str) -> str:
            raise ValueError(f"{value} is no key")

        @field_validator("other")
        @classmethod
        def _assert(cls, value: str) -> str:
            assert value == "right", f"{value} is not right"
            return value

    monkeypatch.setenv("API_KEY", SECRET)
    monkeypatch.setenv("OTHER", SECRET)
    assert mistakes(Validated) == {
        "API_KEY": "is malformed (value_error)",
        "OTHER": "is malformed (assertion_error)",
    }


def test_a_mistake_of_the_whole_model_is_named_by_its_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no single variable is wrong, the name is the prefix with a star."""

    class Whole(BaseSettings):
        model_config = SettingsConfigDict(env_prefix="app_")
        key: str = ""

        @model_validator(mode="after")
        def _refuse(self) -> Whole:
            raise ValueError(self.key)

    monkeypatch.setenv("APP_KEY", SECRET)
    assert mistakes(Whole) == {"APP_*": "is malformed (value_error)"}


def test_a_strict_model_that_shares_the_env_file_is_told_how(monkeypatch: pytest.MonkeyPatch) -> None:
    """An app's model that forbids foreign names in `.env` refuses LaunchKit's: the report says what to change."""
    Path(".env").write_text("APP_API_KEY=1\nAPP_DATABASE__URL=x\nLAUNCHKIT_RELEASE=abc\n", encoding="utf-8")
    assert mistakes(Prefixed) == {
        "LAUNCHKIT_RELEASE": 'is not a setting of Prefixed, which needs extra="ignore" to share a .env'
    }


def test_a_lenient_model_shares_the_env_file() -> None:
    """One `.env` serves both."""

    class Lenient(Prefixed):
        model_config = SettingsConfigDict(extra="ignore")

    Path(".env").write_text("APP_API_KEY=1\nAPP_DATABASE__URL=x\nLAUNCHKIT_RELEASE=abc\n", encoding="utf-8")
    kit, app = load_settings(Lenient)
    assert (kit.release, app.database.url) == ("abc", "x")
