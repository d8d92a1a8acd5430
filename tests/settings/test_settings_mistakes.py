"""The one report of everything that is wrong: all mistakes at once, by real names, never a value."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from launchkit import LaunchKitError, Problem, Settings, SettingsError
from launchkit.environment import _section_of


@contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]


def mistakes(**variables: str) -> dict[str, str]:
    with environment(variables), pytest.raises(SettingsError) as caught:
        Settings()
    return {problem.variable: problem.message for problem in caught.value.problems}


def refusal(**values: object) -> SettingsError | None:
    try:
        Settings(**values)
    except SettingsError as error:
        return error
    return None


def test_all_mistakes_are_reported_at_once() -> None:
    """One error lists every problem with its variable, whichever source it came from."""
    Path(".env").write_text("LAUNCHKIT_TIMING__WINDOW=99\n", encoding="utf-8")
    with (
        environment({"LAUNCHKIT_EDGE__HSTS_SECONDS": "a day", "LAUNCHKIT_ENVIRONMENT": "staging"}),
        pytest.raises(SettingsError) as caught,
    ):
        Settings(health={"timeout": "soon"}, rate_limit={"enabled": "perhaps"})
    assert {problem.variable: problem.message for problem in caught.value.problems} == {
        "LAUNCHKIT_ENVIRONMENT": "input should be 'development', 'test' or 'production'",
        "LAUNCHKIT_EDGE__HSTS_SECONDS": "should be a whole number",
        "LAUNCHKIT_RATE_LIMIT__ENABLED": "should be true or false",
        "LAUNCHKIT_TIMING__WINDOW": "input should be less than or equal to 60",
        "LAUNCHKIT_HEALTH__TIMEOUT": "should be a number",
    }


def test_the_message_lists_every_problem_on_a_line_of_its_own() -> None:
    """What is printed at start is the whole list."""
    error = SettingsError([Problem("A", "is wrong"), Problem("B", "is wrong too")])
    assert str(error) == "2 settings need attention:\n  A: is wrong\n  B: is wrong too"
    assert str(SettingsError([Problem("A", "is wrong")])) == "1 setting needs attention:\n  A: is wrong"
    assert isinstance(error, LaunchKitError)


def test_the_error_carries_no_other_error() -> None:
    """The validation error, which knows the values, is neither cause nor context."""
    with pytest.raises(SettingsError) as caught:
        Settings(environment="staging")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("LAUNCHKIT_RELEASES", "LAUNCHKIT_RELEASE"),
        ("LAUNCHKIT_TRUSTED_PROXY", "LAUNCHKIT_TRUSTED_PROXIES"),
        ("LAUNCHKIT_RATE_LIMIT__LOGIN__PATH", "LAUNCHKIT_RATE_LIMIT__LOGIN__PATHS"),
        ("LAUNCHKIT_RATE_LIMIT_LOGIN_PATHS", "LAUNCHKIT_RATE_LIMIT__LOGIN__PATHS"),
        ("LAUNCHKIT_READ_CACHE__RULES__HOME__TTLS", "LAUNCHKIT_READ_CACHE__RULES__<NAME>__TTL"),
        ("LAUNCHKIT_RELEASE__NAME", "LAUNCHKIT_RELEASE"),
    ],
)
def test_an_unknown_name_fails_with_a_suggestion(variable: str, meant: str) -> None:
    """A name with the prefix that means nothing is a mistake, nested ones too; the closest name is suggested."""
    assert mistakes(**{variable: "1"})[variable] == f"is not a setting; did you mean {meant}?"


def test_a_name_that_resembles_nothing_gets_no_suggestion() -> None:
    """A far-fetched suggestion is worse than none."""
    assert mistakes(LAUNCHKIT_QWRTZPSDFG="1") == {"LAUNCHKIT_QWRTZPSDFG": "is not a setting"}


def test_an_unknown_name_in_the_env_file_fails_too() -> None:
    """`.env` is read as strictly as the environment."""
    Path(".env").write_text("LAUNCHKIT_QWRTZPSDFG=1\n", encoding="utf-8")
    assert mistakes() == {"LAUNCHKIT_QWRTZPSDFG": "is not a setting"}


def test_an_unknown_keyword_argument_fails_too() -> None:
    """Keyword arguments are read as strictly as the environment."""
    with pytest.raises(SettingsError, match="LAUNCHKIT_RELEASES: is not a setting; did you mean LAUNCHKIT_RELEASE"):
        Settings(releases="1")


def test_a_section_that_is_no_section_is_reported_even_with_settings_below_it() -> None:
    """A mistake is never hidden by a variable further down."""
    assert list(mistakes(LAUNCHKIT_EDGE="everything", LAUNCHKIT_EDGE__HSTS_SECONDS="1")) == ["LAUNCHKIT_EDGE"]
    entry = "LAUNCHKIT_RATE_LIMIT__RULES__A"
    assert list(mistakes(**{entry: "10/minute", f"{entry}__LIMIT": "10/minute"})) == [entry]


def test_a_missing_setting_of_a_table_entry_is_named() -> None:
    """What is required and absent is named as it would have to be written."""
    assert mistakes(LAUNCHKIT_RATE_LIMIT__RULES__SEARCH__PATHS="/search") == {
        "LAUNCHKIT_RATE_LIMIT__RULES__SEARCH__LIMIT": "is required and not set"
    }


def every_variable(model: type[BaseModel] = Settings, above: str = "LAUNCHKIT_") -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        variable = above + name.upper()
        yield variable, field.annotation
        section = _section_of(field.annotation)
        if section is not None:
            inner, is_table = section
            yield from every_variable(inner, f"{variable}__NAME__" if is_table else f"{variable}__")


VARIABLES = dict(every_variable())

secrets = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=6, max_size=40).map(
    lambda text: f"sk_{text}_Zq7"
)


@given(variable=st.sampled_from(sorted(VARIABLES)), secret=secrets, nested=st.booleans())
def test_no_value_ever_appears_in_the_error(variable: str, secret: str, nested: bool) -> None:
    """Whatever is put into whatever field: the report names the field and never shows what was in it."""
    value = json.dumps([secret, {"enabled": secret, "paths": [secret], "limit": secret}]) if nested else secret
    with environment({variable: value}):
        error = refusal()
    if error is not None:
        shown = f"{error}{error!r}{error.problems}{error.__cause__}{error.__context__}"
        assert secret not in shown
        assert json.dumps(secret) not in shown
        assert secret.upper() not in shown
        assert any(problem.variable.startswith(variable.split("__NAME")[0]) for problem in error.problems)


@given(secret=secrets, name=st.sampled_from(sorted(Settings.model_fields)), listed=st.booleans())
def test_no_keyword_argument_ever_appears_in_the_error(secret: str, name: str, listed: bool) -> None:
    """The same holds for keyword arguments, whatever their type."""
    error = refusal(**{name: [secret] if listed else secret})
    assert secret not in f"{error}{error!r}{error and error.problems}"


@pytest.mark.parametrize(
    ("bodies", "dead", "keys", "is_refused"),
    [(7, 30, 29, True), (40, 30, 39, True), (7, 30, 30, False), (40, 30, 40, False), (0.5, 0.5, 0.4, True)],
)
def test_keys_are_kept_as_long_as_anything_of_a_delivery(
    bodies: float, dead: float, keys: float, is_refused: bool
) -> None:
    """A delivery whose key is forgotten is gone, and so would be its body, which somebody may still count on."""
    error = refusal(webhooks={"keep_bodies": bodies, "keep_dead": dead, "keep_keys": keys})
    assert (error is not None) == is_refused
    assert error is None or "keep_keys should be no less than keep_bodies and keep_dead" in str(error)


def test_every_field_can_be_set_from_the_environment() -> None:
    """No field is out of the environment's reach: each is scalar, a list, or reachable as JSON."""
    tables = [variable for variable, annotation in VARIABLES.items() if get_origin(annotation) is dict]
    with environment(dict.fromkeys(tables, "{}")):
        Settings()
    assert "LAUNCHKIT_EDGE__HEADERS" in tables
