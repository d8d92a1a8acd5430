"""An invalidation reaches the other processes, though the one that it happens in has served nothing yet."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cache_driver import until
from tests.stores.valkey_server import ValkeyServer, _valkey, _valkey_process
from tests.support.clients import WsgiClient
from tests.support.servers import free_port

from launchkit import LaunchKit, Settings

__all__ = ["_valkey", "_valkey_process"]  # fixtures

MakeKit = Callable[..., LaunchKit]

RULES = {"rules": {"items": {"paths": "/items/*", "tags": "items"}}}
JOB = """
import json, sys
from launchkit import LaunchKit, Settings
LaunchKit(Settings(**json.loads(sys.argv[1]))).cache.invalidate("/items/1")
"""
"""A job by itself: no app, no request, no start."""


@pytest.fixture(name="settings")
def _settings(tmp_path: Path) -> dict[str, Any]:
    """Return the settings of one app in production on one machine."""
    return {
        "environment": "production",
        "data_dir": str(tmp_path),
        "secret_key": secrets.token_urlsafe(32),
        "read_cache": RULES,
    }


@pytest.fixture(name="kit")
def _kit() -> Iterator[MakeKit]:
    made: list[LaunchKit] = []

    def make(settings: dict[str, Any]) -> LaunchKit:
        made.append(LaunchKit(Settings(**settings)))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def reader(kit: LaunchKit) -> Callable[[], bytes]:
    """Return a reader of an app that numbers its answers."""
    calls: list[str] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        calls.append(environ["PATH_INFO"])
        start_response("200 OK", [])
        return [b"%d" % len(calls)]

    client = WsgiClient(kit.wsgi(app))

    def read() -> bytes:
        return client.request("GET", "/items/1").body

    return read


def serving(kit: LaunchKit) -> Callable[[], bytes]:
    """Return such a reader of an app whose first answer is stored."""
    read = reader(kit)
    assert [read(), read()] == [b"1", b"1"]
    return read


@pytest.mark.parametrize("said", [{"path": "/items/1"}, {"prefix": "/items"}, {"tag": "items"}, {}], ids=str)
def test_an_invalidation_before_the_first_request_reaches_who_serves(
    kit: MakeKit, settings: dict[str, Any], said: dict[str, str]
) -> None:
    """Another kit with the same `data_dir` that nobody has asked for anything, as in a worker that was just started."""
    read = serving(kit(settings))
    kit(settings).cache.invalidate(**said)
    assert [read(), read()] == [b"2", b"2"]


def test_an_invalidation_of_a_job_by_itself_reaches_who_serves(kit: MakeKit, settings: dict[str, Any]) -> None:
    """A process of its own that only imports, invalidates and ends."""
    read = serving(kit(settings))
    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "-c", JOB, json.dumps(settings)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert [read(), read()] == [b"2", b"2"]


def test_a_kit_that_invalidates_first_serves_afterwards(kit: MakeKit, settings: dict[str, Any]) -> None:
    """What it has opened early is what it uses from then on."""
    early = kit(settings)
    early.cache.invalidate()
    read = serving(early)
    kit(settings).cache.invalidate("/items/1")
    assert read() == b"2"
    early.cache.invalidate("/items/1")
    assert read() == b"3"


@pytest.mark.parametrize("is_enabled", [True, False])
def test_what_is_shared_is_opened_once_and_only_for_a_cache(
    kit: MakeKit, settings: dict[str, Any], is_enabled: bool
) -> None:
    """However often an app invalidates before it serves, though nobody answers at the other end: it never raises."""
    switched = settings | {"redis_url": f"redis://127.0.0.1:{free_port()}", "read_cache": {"enabled": is_enabled}}
    one = kit(switched)
    one.cache.invalidate()
    opened = one._responses
    assert (opened is not None) == is_enabled
    one.cache.invalidate("/items/1")
    one.start()
    assert one._responses is opened


@pytest.mark.real_server
@pytest.mark.real_time
def test_an_invalidation_before_the_first_request_reaches_other_machines(
    kit: MakeKit, settings: dict[str, Any], tmp_path: Path, valkey: ValkeyServer
) -> None:
    """By Redis: neither its copy nor the other machine's memory is used again."""
    shared = settings | {"redis_url": valkey.url}
    first = kit(shared)
    read = reader(first)
    until(lambda: read() == read())  # as soon as it hears what others invalidate
    held = read()
    kit(shared | {"data_dir": str(tmp_path / "other")}).cache.invalidate("/items/1")
    until(lambda: read() != held)
