"""What every test may use."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings

from launchkit import Settings
from tests.support.targets import NAMES, Target, build

# No deadline, as these machines are shared, and the same examples every time; `exploring` looks for others.
hypothesis_settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis_settings.register_profile("brief", deadline=None, derandomize=True, max_examples=15)
hypothesis_settings.register_profile("exploring", deadline=None)
hypothesis_settings.load_profile("steady")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Try those again that a busy machine can fail: what is wrong by itself fails every time."""
    for item in items:
        if item.get_closest_marker("real_time"):
            item.add_marker(pytest.mark.flaky(reruns=2, reruns_delay=1))


@pytest.fixture(autouse=True)
def _clean_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test runs in a folder of its own, without settings of the machine's, and leaves logging as it was."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.upper().startswith("LAUNCHKIT_"):
            monkeypatch.delenv(name)
    before = logging.Logger.callHandlers
    yield
    logging.Logger.callHandlers = before  # type: ignore[method-assign]


@pytest.fixture(autouse=True, scope="session")
def _no_tables_left() -> Iterator[None]:
    """Kits in production mode make tables in shared memory, which outlive them on purpose.

    The last of several runs at the same time removes them: those of another run must stay.
    """
    ours = f"launchkit-{os.geteuid()}-*"
    with Path(tempfile.gettempdir(), f"launchkit-tests-{os.geteuid()}.lock").open("w") as running:
        fcntl.flock(running, fcntl.LOCK_SH)
        before = set(Path("/dev/shm").glob(ours))
        yield
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(running, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for table in set(Path("/dev/shm").glob(ours)) - before:
                table.unlink(missing_ok=True)


@pytest.fixture(name="make")
def _make(tmp_path: Path) -> Iterator[Callable[..., Target]]:
    """Build an app by its framework's name, with a kit of the given settings."""
    made: list[Target] = []
    file = tmp_path / "file.txt"
    file.write_bytes(b"file " * 5_000)

    def make(name: str, **settings: Any) -> Target:
        target = build(name, Settings(data_dir=tmp_path / "data", **settings), str(file))
        made.append(target)
        return target

    yield make
    for target in made:
        target.close()


@pytest.fixture(name="target", params=NAMES)
def _target(request: pytest.FixtureRequest, make: Callable[..., Target]) -> Target:
    """The conformance app on each framework, with a limited login, a cached path and default settings."""
    return make(
        request.param,
        routes={"login": "/login"},
        read_cache={"rules": {"counted": {"paths": "/counted"}}},
    )
