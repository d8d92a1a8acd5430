"""Write docs/settings.md to standard output: every setting, read off the model itself. `make docs` keeps the file."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import AfterValidator, BaseModel, SecretStr
from pydantic.fields import FieldInfo

from launchkit import Settings
from launchkit import fields as kinds
from launchkit.environment import PREFIX

HEAD = f"""# Settings

<!-- Written by tools/settings_reference.py: change the docstrings in settings.py and run `make docs`. -->

Every setting is a keyword argument of `Settings` and an environment variable: `Settings(health={{"interval": 20}})` is
`{PREFIX}HEALTH__INTERVAL=20`. Keyword arguments win over the environment, the environment over a `.env` file in the
working directory. Two underscores separate the parts of a name; `<NAME>` is a name that you choose. Lists are written
with commas. A whole section may also be given as JSON, such as `{PREFIX}EDGE={{"headers": {{"x-powered-by": "tea"}}}}`.

A variable that starts with `{PREFIX}` and is no setting stops the start, as does a malformed value. All mistakes are
reported together, by the variable's name and without its value.
"""

VALIDATED = {
    get_args(kinds.Path1): "path",
    get_args(kinds.Limit): "limit",
    get_args(kinds.HeaderValue): "header value",
    get_args(kinds.Url): "scheme and host",
    get_args(get_args(get_args(kinds.Hosts)[0])[0]): "host",
    get_args(get_args(get_args(kinds.Origins)[0])[0]): "origin",
    get_args(get_args(get_args(kinds.Networks)[0])[0]): "network or a proxy's name",
    get_args(get_args(get_args(kinds.Patterns)[0])[0]): "regular expression",
    get_args(get_args(get_args(kinds.HeaderNames)[0])[0]): "header name",
}
"""What a validated text is called, by its type and validator."""

CHOICES = {
    get_args(kinds.SchemeChoice)[1]: "a sender's name, `standard`, `hmac`, or an object (keyword argument only)",
    get_args(kinds.QueueChoice)[1]: "queue (keyword argument only)",
}
"""What a value of any type is called, by its validator."""

PLAIN = {"str": "text", "bool": "true or false", "int": "whole number", "float": "number", "Path": "folder"}
SECRET = "secret"


def type_in_words(annotation: object, metadata: tuple[object, ...] = ()) -> str:
    """Say what a value looks like.

    Raises:
        TypeError: for an annotation that nobody has named yet.
    """
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_in_words(inner[0], (*inner[1:], *metadata))
    if origin in (Union, types.UnionType):
        return " or ".join(type_in_words(one, metadata) for one in inner if one is not type(None))
    if origin is Literal:
        return " or ".join(f"`{word}`" for word in inner)
    if origin is Callable:
        return "function (keyword argument only)"
    if origin is tuple:
        return f"list of: {type_in_words(inner[0])}"
    if origin is dict:
        return f"JSON object: {type_in_words(inner[0])} to {type_in_words(inner[1])}"
    if isinstance(annotation, type) and issubclass(annotation, SecretStr):
        return SECRET
    if annotation is object:
        return next(CHOICES[one] for one in metadata if one in CHOICES)
    validators = tuple(one for one in metadata if isinstance(one, AfterValidator))
    word = VALIDATED.get((annotation, *validators)) or PLAIN.get(getattr(annotation, "__name__", ""))
    if word is None:
        raise TypeError(f"no words for {annotation!r}: add them to {__file__}")
    return word + _bounds(metadata)


def _bounds(metadata: tuple[object, ...]) -> str:
    limits = [limit for one in metadata for limit in (one.metadata if isinstance(one, FieldInfo) else (one,))]
    above = next((limit.gt for limit in limits if isinstance(limit, Gt)), None)
    least = next((limit.ge for limit in limits if isinstance(limit, Ge)), None)
    most = next((limit.le for limit in limits if isinstance(limit, Le)), None)
    words = f" above {above}" if above is not None else f", at least {least}" if least is not None else ""
    return words + (f", at most {most}" if most is not None else "")


def default_in_words(field: FieldInfo) -> str:
    """Say what holds where nothing is set; never for a secret."""
    if SECRET in type_in_words(field.annotation, tuple(field.metadata)):
        return "-"
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        return "see description"
    return _value_in_words(field.default)


def _value_in_words(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, tuple | dict | str) and not value:
        return "empty"
    if isinstance(value, tuple):
        return f"`{','.join(str(item) for item in value)}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def section_of(field: FieldInfo) -> tuple[type[BaseModel], str] | None:
    """Return the model behind a field and what follows the field's name in the path to it, if it has one."""
    annotation = field.annotation
    if get_origin(annotation) in (Union, types.UnionType):  # a section that may be left out
        annotation = next(one for one in get_args(annotation) if one is not type(None))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    if get_origin(annotation) in (dict, Mapping):
        inner = get_args(annotation)[1]
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return inner, "<name>"
    return None


def sections(model: type[BaseModel], path: tuple[str, ...] = (), about: str = "") -> Iterator[tuple[Any, ...]]:
    """Walk the model: path, what the section is for, and its fields that are no sections themselves."""
    fields = {name: field for name, field in model.model_fields.items() if section_of(field) is None}
    yield path, about, fields
    for name, field in model.model_fields.items():
        found = section_of(field)
        if found is not None:
            inner, table = found
            yield from sections(inner, (*path, name, table) if table else (*path, name), field.description or "")


def variable(path: tuple[str, ...]) -> str:
    """Return the environment variable for a setting."""
    return PREFIX + "__".join(path).upper()


def lines() -> Iterator[str]:
    """Return the page."""
    yield HEAD
    for path, about, fields in sections(Settings):
        yield f"## {'.'.join(path) if path else 'Top'}\n".replace("<name>", "&lt;name&gt;")
        if about:
            yield f"{about}\n"
        if not fields:
            continue
        yield "| Setting | Environment variable | Type | Default | What it does |"
        yield "| --- | --- | --- | --- | --- |"
        for name, field in fields.items():
            cells = (
                f"`{name}`",
                f"`{variable((*path, name))}`",
                type_in_words(field.annotation, tuple(field.metadata)),
                default_in_words(field),
                " ".join((field.description or "").split()),
            )
            yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
        yield ""


def page() -> str:
    """Return the page as one text."""
    return "\n".join(lines()).rstrip("\n") + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
