"""Files that may be kept for a year."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.exchanges import WrittenExchange

from launchkit.edge.immutable import FOREVER, Immutable, carries_hash
from launchkit.pipeline.exchange import Header
from launchkit.pipeline.paths import PathPattern
from launchkit.settings import EdgeSettings

ASSETS = PathPattern("/assets/*")
FILE = "/assets/app.3f4b2c1a.js"


def cached(*own: Header, target: str = FILE, status: int = 200) -> list[bytes]:
    exchange = WrittenExchange("GET", target).answer(status, *own)
    Immutable(EdgeSettings(immutable="/assets/*")).on_response_start(exchange)
    return [value for name, value in exchange.response_headers if name.lower() == b"cache-control"]


@pytest.mark.parametrize(
    "name",
    [
        "app.3f4b2c1a.js",
        "main.3f4b2c1a.chunk.css.map",
        "index-BxK3l9dQ.js",
        "chunk-QHJ3K7ZX.mjs",
        "logo_5eb63bbbe01eeed093cb22bb8f5acdc3.svg",
        "3f4b2c1a.js",
        "550e8400-e29b-41d4-a716-446655440000.png",
        "vendor.Ab3dEf6hIj9kLm2nOp5q.js",
    ],
)
def test_names_with_a_hash_are_known(name: str) -> None:
    """As webpack, Vite, esbuild, Django and others write them."""
    assert carries_hash(name)


@pytest.mark.parametrize(
    "name",
    [
        "app.js",
        "bootstrap5.min.css",
        "fontawesome5.woff2",
        "report-20240115.pdf",
        "report-2024-01-15.pdf",
        "report-15jan2024.pdf",
        "report2024.pdf",
        "2024report.pdf",
        "face2face.css",
        "deadbeef.js",
        "12345678.js",
        "javascript.js",
        "iPhone15Pro.png",
        "iPhone15.png",
        "JavaScript.js",
        "VERSION2.txt",
        "3f4b2c1.js",
        "app.3f4b2c1a",
        "noextension",
        "",
    ],
)
def test_names_without_a_hash_are_not(name: str) -> None:
    """Words, dates, versions and extensions: kept for a year they would be stale."""
    assert not carries_hash(name)


@given(st.binary(), st.sampled_from(["md5", "sha1", "sha256"]))
def test_most_hexadecimal_digests_are_known(content: bytes, kind: str) -> None:
    """A full digest is one, whatever it is of; its like without a mixture of letters and digits does not occur."""
    digest: Any = hashlib.new(kind, content, usedforsecurity=False)
    assert carries_hash(f"app.{digest.hexdigest()}.js")


@pytest.mark.parametrize("status", [200, 206, 304])
def test_a_file_with_a_hash_is_kept(status: int) -> None:
    """All of it, a part of it, or the news that it is the same."""
    assert cached(status=status) == [b"max-age=31536000, immutable"]


@pytest.mark.parametrize("status", [301, 404, 500])
def test_an_error_is_not_kept(status: int) -> None:
    """The file may come later."""
    assert cached(status=status) == []


def test_the_app_decides_otherwise() -> None:
    """Its own Cache-Control and cookies win."""
    assert cached((b"Cache-Control", b"max-age=60")) == [b"max-age=60"]
    assert cached((b"cache-control", b"no-cache, private")) == [b"no-cache, private"]
    assert cached((b"Set-Cookie", b"a=1")) == []


def test_what_flask_writes_on_every_file_is_replaced() -> None:
    """A bare `no-cache` is nobody's decision."""
    assert cached((b"Cache-Control", b"no-cache")) == [FOREVER]


def test_other_files_stay_as_they_are() -> None:
    """Without a hash, or with a name that is absurdly long."""
    assert cached(target="/assets/app.js") == []
    assert cached(target="/assets/" + "a" * 300 + ".3f4b2c1a.js") == []


def test_only_reads_of_the_named_paths_are_looked_at() -> None:
    """Everything else has no hook."""
    immutable = Immutable(EdgeSettings(immutable="/assets/*"))
    assert [immutable.select(method, frozenset({ASSETS})) for method in ("GET", "HEAD", "POST")] == [
        immutable,
        immutable,
        None,
    ]
    assert immutable.select("GET", frozenset()) is None
