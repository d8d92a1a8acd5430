"""Where settings come from, and the one report of everything that is wrong with them.

The rules: keyword arguments win over the environment, the environment over `.env`. Names are `LAUNCHKIT_` and the
setting's path joined with two underscores. A name that starts with `LAUNCHKIT_` and means nothing is a mistake; every
other name is somebody else's and is left alone. Mistakes are reported all at once, by the variable's real name, without
the value: messages come from a list of kinds whose text cannot contain one.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin

from dotenv import dotenv_values
from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource
from pydantic_settings import SettingsError as SourceError

from launchkit.errors import Problem

PREFIX = "LAUNCHKIT_"

_OWN_WORDS = {
    "missing": "is required and not set",
    "extra_forbidden": "is not a setting",
    "bool_parsing": "should be true or false",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_parsing": "should be a number",
    "json_invalid": "should be valid JSON",
    "too_short": "should not be empty",
}

_SAFE_KINDS = frozenset(
    {
        "bool_type",
        "bytes_type",
        "date_type",
        "dict_type",
        "enum",
        "finite_number",
        "float_type",
        "greater_than",
        "greater_than_equal",
        "int_type",
        "less_than",
        "less_than_equal",
        "list_type",
        "literal_error",
        "model_type",
        "multiple_of",
        "path_type",
        "set_type",
        "string_too_long",
        "string_too_short",
        "string_type",
        "tuple_type",
        "url_scheme",
    }
)
"""Kinds of pydantic error whose message is made of the annotation alone."""

_NAMED_FIELD = re.compile(r'field "(\w+)"')


class EnvironmentSource(PydanticBaseSettingsSource):
    """Reads `LAUNCHKIT_...` from the environment and `.env` into the nested shape of the settings model.

    Names that the model does not have are passed on as they are, so that validation finds them together with everything
    else that is wrong.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Part of the base class's protocol; unused, because `__call__` walks the environment instead of the fields."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the nested values."""
        tree: dict[str, Any] = {}
        for name, text in _variables(self.config.get("env_file")):
            path = name[len(PREFIX) :].lower().split("__")
            _insert(tree, self.settings_cls, path, text)
        return tree


def _variables(env_file: object) -> Iterator[tuple[str, str]]:
    merged: dict[str, str | None] = {}
    if isinstance(env_file, str | os.PathLike):
        merged.update((name.upper(), text) for name, text in dotenv_values(env_file).items())
    merged.update((name.upper(), text) for name, text in os.environ.items())
    for name in sorted(merged):
        text = merged[name]
        if name.startswith(PREFIX) and text is not None:
            yield name, text


def _insert(tree: dict[str, Any], model: type[BaseModel], path: list[str], text: str) -> None:
    """Put `text` at its place, or at the deepest place that exists under the rest of its name."""
    for depth, word in enumerate(path):
        field = model.model_fields.get(word)
        rest = path[depth + 1 :]
        if field is None:
            tree["__".join(path[depth:])] = text
            return
        section = _section_of(field.annotation)
        if not rest:
            tree[word] = _decode(text) if section is not None or _is_table(field.annotation) else text
            return
        if section is None:
            tree["__".join(path[depth:])] = text
            return
        inner, is_table = section
        tree = _branch(tree, word)
        if is_table:
            if len(rest) == 1:
                tree[rest[0]] = _decode(text)
            else:
                _insert(_branch(tree, rest[0]), inner, rest[1:], text)
            return
        model = inner


def _branch(tree: dict[str, Any], word: str) -> dict[str, Any]:
    branch = tree.setdefault(word, {})
    return branch if isinstance(branch, dict) else {}  # no section at all: that is the mistake to report


def _section_of(annotation: object) -> tuple[type[BaseModel], bool] | None:
    """Return the model behind a field, and whether it is a table of such models by name."""
    if get_origin(annotation) in (Union, UnionType) and not _is_choice(annotation):
        (annotation,) = set(get_args(annotation)) - {type(None)}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    if _is_table(annotation):
        inner = get_args(annotation)[1]
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return inner, True
    return None


def _is_table(annotation: object) -> bool:
    return get_origin(annotation) in (dict, Mapping)


def _decode(text: str) -> Any:
    """Read a whole section that was given as JSON; what is not JSON is left for validation to refuse."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def problems_of(model: type[BaseModel], error: ValidationError) -> list[Problem]:
    """Turn a validation error into problems with the real variable names and without any value."""
    problems = []
    trusted = model.__module__.startswith("launchkit.")
    for item in error.errors(include_url=False, include_input=False, include_context=True):
        location = item["loc"]
        variable, inner = _place(model, location)
        message = inner + _message(item, trusted=trusted)
        if item["type"] == "extra_forbidden":
            if len(location) == 1 and not _is_ours(model):
                variable = str(location[0]).upper()  # pydantic-settings passes on whole names from .env
            message += _suggestion(model, variable)
        problems.append(Problem(variable, message))
    return problems


def problem_of_source(model: type[BaseModel], error: SourceError) -> Problem:
    """Turn what pydantic-settings says about text that should have been JSON into a problem."""
    named = _NAMED_FIELD.search(str(error))
    return Problem(_variable_name(model, named.groups() if named else ()), _OWN_WORDS["json_invalid"])


def _message(item: Mapping[str, Any], *, trusted: bool) -> str:
    kind: str = item["type"]
    if kind in _OWN_WORDS:
        return _OWN_WORDS[kind]
    if kind == "value_error" and trusted:
        return str(item["ctx"]["error"])
    if kind in _SAFE_KINDS:
        text: str = item["msg"]
        return text[:1].lower() + text[1:]
    return f"is malformed ({kind})"


def _place(model: type[BaseModel], location: tuple[int | str, ...]) -> tuple[str, str]:
    """Return a variable's name, and the place within its JSON where that is how a section has to be written."""
    words = [word for word in location if isinstance(word, str) and word != "[key]"]
    field = model.model_fields.get(words[0]) if words else None
    if field is not None and _is_choice(field.annotation):
        return _variable_name(model, words[:1]), ""  # what follows are the kinds that were tried
    if model.model_config.get("env_nested_delimiter") is None:
        return _variable_name(model, words[:1]), "".join(f"{word}: " for word in words[1:])
    return _variable_name(model, words), ""


def _is_choice(annotation: object) -> bool:
    kinds = set(get_args(annotation)) - {type(None)}
    return get_origin(annotation) in (Union, UnionType) and len(kinds) > 1


def _variable_name(model: type[BaseModel], words: Sequence[str]) -> str:
    config = model.model_config
    prefix = str(config.get("env_prefix") or "") if issubclass(model, BaseSettings) else ""
    if not words:
        return f"{prefix}*".upper()
    field = model.model_fields.get(words[0])
    alias = _alias(field) if field is not None else None
    if alias is not None or any(words[0] == _alias(other) for other in model.model_fields.values()):
        return "__".join([(alias or words[0]).upper(), *(word.upper() for word in words[1:])])
    delimiter = str(config.get("env_nested_delimiter") or "__")
    return prefix.upper() + delimiter.join(word.upper() for word in words)


def aliases_of(field: FieldInfo) -> tuple[str, ...]:
    """Return the names under which a field is read in place of its own."""
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return tuple(choice for choice in choices if isinstance(choice, str))


def _alias(field: FieldInfo) -> str | None:
    return next(iter(aliases_of(field)), None)


def _is_ours(model: type[BaseModel]) -> bool:
    return any(kind.__module__ == "launchkit.settings" for kind in model.__mro__)


def _suggestion(model: type[BaseModel], variable: str) -> str:
    if variable.startswith(PREFIX) and not _is_ours(model):
        return f' of {model.__name__}, which needs extra="ignore" to share a .env'
    known = [_variable_name(model, path) for path in _all_paths(model)]
    close = difflib.get_close_matches(variable, known, n=1, cutoff=0.75)
    return f"; did you mean {close[0]}?" if close else ""


def _all_paths(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        yield (*above, name)
        section = _section_of(field.annotation)
        if section is not None:
            inner, is_table = section
            yield from _all_paths(inner, (*above, name, "<name>") if is_table else (*above, name))
