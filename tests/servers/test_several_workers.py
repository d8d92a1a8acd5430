"""Limits over the worker processes of one server, without Redis."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.servers import Server, serving

pytestmark = [pytest.mark.real_server, pytest.mark.real_time]

FLASK = ["gunicorn", "tests.servers.site_flask:app", "-b", "127.0.0.1:{port}", "--workers", "4"]
COMMANDS = {
    "uvicorn": ["uvicorn", "tests.servers.site_fastapi:app", "--port", "{port}", "--workers", "4"],
    "gunicorn": FLASK,
    "gunicorn threads": [*FLASK, "--threads", "4"],
    "gunicorn preload": [*FLASK, "--preload"],
}
FIFTY = {
    "LAUNCHKIT_RATE_LIMIT__STORE": "machine",
    "LAUNCHKIT_RATE_LIMIT__RULES__FIFTY__PATHS": "/hello",
    "LAUNCHKIT_RATE_LIMIT__RULES__FIFTY__METHODS": "GET",
    "LAUNCHKIT_RATE_LIMIT__RULES__FIFTY__LIMIT": "50/10 minutes",
}


def hello_at_once(server: Server, count: int) -> Counter[int]:
    with ThreadPoolExecutor(32) as pool:
        return Counter(pool.map(lambda _: server.request("GET", "/hello")[0].status, range(count)))


@pytest.mark.parametrize("name", COMMANDS)
def test_four_workers_count_as_one(tmp_path: Path, name: str) -> None:
    """Of 200 simultaneous requests against a limit of 50 exactly 50 pass, whichever workers they meet."""
    (tmp_path / "file.bin").write_bytes(b"")
    with serving(COMMANDS[name], tmp_path, FIFTY) as server:
        assert hello_at_once(server, 200) == {200: 50, 429: 150}


def test_a_limit_outlives_its_workers(tmp_path: Path) -> None:
    """Counts are kept while the machine runs: neither a killed server nor a deploy begins a limit anew."""
    (tmp_path / "file.bin").write_bytes(b"")
    with serving(COMMANDS["gunicorn"], tmp_path, FIFTY) as server:
        assert hello_at_once(server, 30) == {200: 30}
        server.kill()
    with serving(COMMANDS["gunicorn"], tmp_path, FIFTY) as server:
        assert hello_at_once(server, 60) == {200: 20, 429: 40}
