"""Secrets that are written in another notation than their own.

A recipe makes a marked line of a source of randomness. Only what carries the secret is marked: in percent-encoding the
encoded value, in base64 the whole of it.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from random import Random
from typing import Final
from urllib.parse import quote

from benchmarks.redaction.generated import fill

Recipe = Callable[[Random], str]

_TOKENS: Final = ("sk_live_{a24}", "ghp_{a36}", "glpat-{w20}", "xoxb-{d12}-{d13}-{a24}", "sk-ant-api03-{w93}AA")
_KEYS: Final = ("password", "client_secret", "api_key", "access_token", "refresh_token", "secret_key", "db_password")


def _secret(random: Random) -> str:
    return fill("{a4}{x16}{a4}", random)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _percent(random: Random) -> str:
    secret = quote(_secret(random), safe="")
    template = random.choice(
        (
            "GET /login?next=%2Fcb%3F{key}%3D«{secret}»%26page%3D2 HTTP/1.1",
            "body={key}%3D«{secret}»%26user%3D{user}",
            "cookie prefs=%7B%22{key}%22%3A%22«{secret}»%22%7D",
            "proxy https%3A%2F%2F{user}%3A«{secret}»%40{site}%2Ffeed",
        )
    )
    return fill(template, random, key=random.choice(_KEYS), secret=secret)


def _percent_twice(random: Random) -> str:
    secret = quote(quote(_secret(random), safe=""), safe="")
    template = random.choice(
        (
            "GET /login?next=%252Fcb%253F{key}%253D«{secret}»%2526page%253D2 HTTP/1.1",
            "redirect=https%253A%252F%252F{site}%252Fcb%253F{key}%253D«{secret}»",
        )
    )
    return fill(template, random, key=random.choice(_KEYS), secret=secret)


def _token_in_base64(random: Random) -> str:
    return _in_base64(random, fill(random.choice(_TOKENS), random))


def _pair_in_base64(random: Random) -> str:
    return _in_base64(random, f"{random.choice(_KEYS)}={_secret(random)}")


def _json_in_base64(random: Random) -> str:
    return _in_base64(random, json.dumps({"user": fill("{user}", random), random.choice(_KEYS): _secret(random)}))


def _address_in_base64(random: Random) -> str:
    return _in_base64(random, fill("postgresql://{user}:{w20}@{host}:5432/shop", random))


def _header_in_base64(random: Random) -> str:
    return _in_base64(random, fill("Authorization: Bearer {w43}", random))


def _user_in_base64(random: Random) -> str:
    encoded = _base64(fill("{user}:{w16}", random))
    return fill(random.choice(('{"auth": "«{encoded}»"}', "sent Basic «{encoded}» to {site}")), random, encoded=encoded)


def _in_base64(random: Random, text: str) -> str:
    template = random.choice(
        (
            "{time} DEBUG {logger} payload «{encoded}»",
            "{time} INFO {logger} message data='«{encoded}»' attempt=1",
            '{"event": "consumed", "data": "«{encoded}»", "partition": 3}',
            "GET /open?payload=«{quoted}»&v=2 HTTP/1.1",
        )
    )
    encoded = _base64(text)
    return fill(template, random, encoded=encoded, quoted=quote(encoded, safe=""))


def _json_once(random: Random) -> str:
    inner = json.dumps({"user": "ada", random.choice(_KEYS): f"«{_secret(random)}»"}, ensure_ascii=False)
    return json.dumps({"level": "info", "body": inner}, ensure_ascii=False)


def _json_twice(random: Random) -> str:
    return json.dumps({"log": _json_once(random), "stream": "stdout"}, ensure_ascii=False)


def _json_thrice(random: Random) -> str:
    return json.dumps({"line": _json_twice(random)}, ensure_ascii=False)


def _repr_of_json(random: Random) -> str:
    return f"consumed {_json_once(random)!r} from queue"


def _bytes_of_json(random: Random) -> str:
    inner = json.dumps({"id": 7, random.choice(_KEYS): f"«{_secret(random)}»"}, ensure_ascii=False)
    return f"body: b'{inner}'"


def _unicode_escapes(random: Random) -> str:
    template = random.choice(
        (
            '{"url": "https://{site}/cb?page=1\\u0026{key}\\u003d«{secret}»\\u0026x\\u003d1"}',
            '{"query": "user\\u003d{user}\\u0026{key}\\u003d«{secret}»"}',
            '{"html": "\\u003c{key}\\u003e«{secret}»\\u003c/{key}\\u003e"}',
        )
    )
    return fill(template, random, key=random.choice(_KEYS), secret=fill("{w24}", random))


def _html_entities(random: Random) -> str:
    secret = html.escape(_secret(random))
    template = random.choice(
        (
            "&lt;{key}&gt;«{secret}»&lt;/{key}&gt;",
            "{&quot;user&quot;: &quot;{user}&quot;, &quot;{key}&quot;: &quot;«{secret}»&quot;}",
            'href="https://{site}/cb?page=1&amp;{key}=«{secret}»&amp;x=1"',
            "{&#39;{key}&#39;: &#39;«{secret}»&#39;}",
        )
    )
    return fill(template, random, key=random.choice(_KEYS), secret=secret)


def _escaped_slashes(random: Random) -> str:
    return fill('{"dsn":"postgresql:\\/\\/{user}:«{w20}»@{host}:5432\\/shop"}', random)


def _token_in_json_text(random: Random) -> str:
    inner = json.dumps({"used": f"«{fill(random.choice(_TOKENS), random)}»"}, ensure_ascii=False)
    return json.dumps({"a": json.dumps({"b": inner}, ensure_ascii=False)}, ensure_ascii=False)


def _token_in_percent(random: Random) -> str:
    token = quote(fill(random.choice(_TOKENS), random), safe="")
    return fill("GET /open?u=https%3A%2F%2F{site}%2F%3Fk%3D«{token}»%26v%3D2 HTTP/1.1", random, token=token)


ENCODED: Final[dict[str, Recipe]] = {
    "percent": _percent,
    "percent-twice": _percent_twice,
    "percent-token": _token_in_percent,
    "base64-token": _token_in_base64,
    "base64-pair": _pair_in_base64,
    "base64-json": _json_in_base64,
    "base64-address": _address_in_base64,
    "base64-header": _header_in_base64,
    "base64-user-password": _user_in_base64,
    "json-once": _json_once,
    "json-twice": _json_twice,
    "json-thrice": _json_thrice,
    "json-token": _token_in_json_text,
    "repr-of-json": _repr_of_json,
    "bytes-of-json": _bytes_of_json,
    "unicode-escapes": _unicode_escapes,
    "html-entities": _html_entities,
    "escaped-slashes": _escaped_slashes,
}
"""Makers of marked lines by kind."""
