"""What a setting may look like: the types of the fields, each with the check that tells how to mend a mistake.

Messages never contain the value, which may be a secret in the wrong place.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable
from typing import Annotated

import limits
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from launchkit.networks import NETWORKS
from launchkit.pipeline.exchange import Exchange
from launchkit.pipeline.paths import PathPattern


def split(value: object) -> object:
    """Read a list that is written with commas, or as JSON."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("starts like a JSON list but is none; commas do as well: a, b") from None
    return [item for part in value.split(",") if (item := part.strip())]


def _check_path(text: str) -> str:
    PathPattern(text)
    return text


def _check_limit(text: str) -> str:
    try:
        items = limits.parse_many(text)
    except ValueError:
        raise ValueError("should be a limit like 10/minute, 30/10 minutes or 5/minute; 100/hour") from None
    if any(item.amount < 1 for item in items):
        raise ValueError("should let at least one request pass")
    return text


def check_network(text: str) -> str:
    """Accept a network, or the name of a vendor or platform."""
    if text in NETWORKS:
        return text
    words = ", ".join(NETWORKS)
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        network = None
    if text == "*" or (network is not None and network.prefixlen == 0):
        raise ValueError("trusting every address lets anyone choose theirs: name the proxy's networks")
    if network is None:
        raise ValueError(f"should be a network like 10.0.0.0/8, or one of the words {words}")
    return text


def _check_key(value: object) -> object:
    if callable(value):
        return value
    for part in str(value).split("+"):
        if part not in ("ip", "account", "path") and re.fullmatch(r"header:[A-Za-z0-9_-]+", part) is None:
            raise ValueError("should be ip, account, path, header:<name>, some of these joined by +, or a function")
    return str(value).lower()


def _check_url(text: str) -> str:
    match = re.fullmatch(r"(https?)://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?/?", text)
    if match is None:
        raise ValueError("should be a scheme and a host like https://example.com, without a path")
    return text.rstrip("/").lower()


def _check_host(text: str) -> str:
    if re.fullmatch(r"(\*\.)?[A-Za-z0-9.-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?", text) is None:
        raise ValueError("should be a host like example.com, or *.example.com for all below it")
    return text.lower()


def _check_origin(text: str) -> str:
    return text if text == "*" else _check_url(text)


def _check_pattern(text: str) -> str:
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError):
        raise ValueError("should be a regular expression") from None
    return text


def _check_header_name(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", text) is None:
        raise ValueError("should be a header name (RFC 9110 section 5.1)")
    return text.lower()


def _check_header_value(text: str) -> str:
    if re.fullmatch(r"[\x20-\x7e]*", text) is None:
        raise ValueError("should be visible ASCII on one line (RFC 9110 section 5.5)")
    return text


def _check_scheme(value: object) -> object:
    if isinstance(value, str) or callable(getattr(value, "verify", None)):
        return value
    raise ValueError("should be a sender's name, standard, hmac, or an object with a method verify")


def _check_queue(value: object) -> object:
    if all(hasattr(value, name) for name in ("runs_tickets", "send", "bind", "warnings")):
        return value
    raise ValueError("should be a queue from launchkit.queues, which only code can give: handoff(function), ...")


Strings = Annotated[tuple[str, ...], BeforeValidator(split)]
Paths = Annotated[tuple[Annotated[str, AfterValidator(_check_path)], ...], BeforeValidator(split)]
SomePaths = Annotated[Paths, Field(min_length=1)]
Networks = Annotated[tuple[Annotated[str, AfterValidator(check_network)], ...], BeforeValidator(split)]
Patterns = Annotated[tuple[Annotated[str, AfterValidator(_check_pattern)], ...], BeforeValidator(split)]
HeaderName = Annotated[str, AfterValidator(_check_header_name)]
HeaderNames = Annotated[tuple[HeaderName, ...], BeforeValidator(split)]
HeaderValue = Annotated[str, AfterValidator(_check_header_value)]
Secret = Annotated[SecretStr, Field(min_length=1)]
Secrets = Annotated[tuple[Secret, ...], BeforeValidator(split)]
Limit = Annotated[str, AfterValidator(_check_limit)]
Key = Annotated[str | Callable[[Exchange], str | None], BeforeValidator(_check_key)]
Keys = Annotated[tuple[Key, ...], BeforeValidator(split), Field(min_length=1)]
Success = Callable[[Exchange], bool] | None
Url = Annotated[str, AfterValidator(_check_url)]
Hosts = Annotated[tuple[Annotated[str, AfterValidator(_check_host)], ...], BeforeValidator(split)]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_check_origin)], ...], BeforeValidator(split)]
Path1 = Annotated[str, AfterValidator(_check_path)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Bytes = Annotated[int, Field(gt=0)]
Days = Annotated[float, Field(gt=0, allow_inf_nan=False)]
SchemeChoice = Annotated[object, BeforeValidator(_check_scheme)]
QueueChoice = Annotated[object, BeforeValidator(_check_queue)]
