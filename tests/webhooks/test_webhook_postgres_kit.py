"""An app whose deliveries are kept in PostgreSQL, from a signed request to its handler."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import pytest
from postgres_world import ask, clean_database
from tests.support.servers import ROOT, serving, wait_until
from tests.webhooks.postgres_server import PostgresServer, _postgres  # noqa: F401  # a fixture

from launchkit import LaunchKit, Settings
from launchkit.testing import sign
from launchkit.webhooks import Filter

pytestmark = pytest.mark.real_server

SECRET = f"whsec_{secrets.token_hex(16)}"

SHOP = """
from pathlib import Path
from fastapi import FastAPI
from launchkit import Delivery, LaunchKit

app = FastAPI()
kit = LaunchKit()
kit.install(app)

@kit.webhook("stripe")
async def on_stripe(delivery: Delivery) -> None:
    if delivery.attempt == 1 and delivery.event == "fails":
        raise ValueError
    Path(f"handled-{delivery.id}-{delivery.attempt}").touch()
"""


@pytest.fixture(name="url")
def _url(postgres: PostgresServer) -> str:
    return clean_database(postgres)


@pytest.fixture(name="environment")
def _environment(url: str, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "shop.py").write_text(SHOP)
    return {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
        "LAUNCHKIT_DATABASE_URL": url,
        "LAUNCHKIT_DATA_DIR": str(tmp_path / "data"),
        "LAUNCHKIT_WEBHOOKS__SOURCES__STRIPE__SECRETS": SECRET,
        "LAUNCHKIT_WEBHOOKS__RETRY_DELAYS": "0.1,0.1",
    }


def event(key: str, kind: str = "invoice.paid") -> tuple[bytes, dict[str, str]]:
    body = json.dumps({"id": key, "type": kind}).encode()
    return body, sign("stripe", SECRET, body, now=time.time(), message_id="")


def test_an_app_takes_in_and_handles(tmp_path: Path, url: str, environment: dict[str, str]) -> None:
    """Signed, stored, acknowledged, handled and tried again; there is no file, and the report says where it is."""
    with serving(["uvicorn", "shop:app", "--port", "{port}"], tmp_path, environment) as server:
        for key, kind in (("evt_1", "invoice.paid"), ("evt_2", "fails")):
            body, headers = event(key, kind)
            answers = [server.request("POST", "/webhooks/stripe", body, headers) for _ in range(2)]
            assert [json.loads(content) for _, content in answers] == [{"status": "accepted"}, {"status": "duplicate"}]
        forged, _ = server.request("POST", "/webhooks/stripe", b"{}", event("evt_3")[1])
        assert forged.status == 401
        wait_until(lambda: (tmp_path / "handled-evt_1-1").exists() and (tmp_path / "handled-evt_2-2").exists())
        done = "SELECT dedupe_key, attempts FROM launchkit.delivery WHERE state = 'done' ORDER BY id"
        wait_until(lambda: ask(url, done) == [("evt_1", 1), ("evt_2", 2)])
        assert "launchkit_failures_total{" not in server.request("GET", "/metrics")[1].decode()
    assert "webhooks, stored in PostgreSQL: stripe at /webhooks/stripe" in server.log.read_text()
    assert not (tmp_path / "data" / "inbox.sqlite3").exists()


def test_a_worker_handles_what_another_machine_has_taken_in(
    tmp_path: Path, url: str, environment: dict[str, str]
) -> None:
    """`launchkit worker` says where from; the app's processes leave it to that."""
    with serving(
        ["uvicorn", "shop:app", "--port", "{port}"], tmp_path, environment | {"LAUNCHKIT_WEBHOOKS__IN_APP": "0"}
    ) as server:
        body, headers = event("evt_1")
        assert server.request("POST", "/webhooks/stripe", body, headers)[0].status == 200
    assert ask(url, "SELECT state, attempts FROM launchkit.delivery") == [("pending", 0)]
    worker = subprocess.Popen(
        [sys.executable, "-m", "launchkit.command", "worker", "shop:kit"],
        cwd=tmp_path,
        env=os.environ | environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until((tmp_path / "handled-evt_1-1").exists)
        worker.terminate()
        _, said = worker.communicate(timeout=20)
    finally:
        worker.kill()
        worker.wait()
    assert said.splitlines()[0] == "launchkit: handling stripe from PostgreSQL"
    assert (worker.returncode, url in said) == (0, False)


def test_the_check_drives_an_app_on_postgresql_and_stores_nothing(
    tmp_path: Path, url: str, environment: dict[str, str]
) -> None:
    """It finds nothing that is certainly wrong, also where the disk is thrown away with each release."""
    checked = subprocess.run(
        [sys.executable, "-m", "launchkit.command", "check", "shop:app"],
        cwd=tmp_path,
        env=os.environ | environment | {"LAUNCHKIT_ENVIRONMENT": "production", "DYNO": "web.1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (checked.returncode, "0 errors" in checked.stdout) == (0, True), checked.stdout
    assert SECRET not in checked.stdout + checked.stderr
    assert ask(url, "SELECT COUNT(*) FROM launchkit.delivery") == [(0,)]


def test_operators_and_the_app_see_the_same_inbox(tmp_path: Path, url: str) -> None:
    """What one kit submits another lists, replays and discards."""
    settings = Settings(database_url=url, data_dir=tmp_path)
    first, second = LaunchKit(settings), LaunchKit(settings)
    first.webhook("app", "mail")(lambda delivery: None)
    try:
        key = first.webhooks.submit("mail", {"to": "ann"}, key="1")
        shown = second.webhooks.show(key)
        assert shown is not None
        assert shown.content is not None
        assert json.loads(shown.content.body) == {"to": "ann"}
        assert second.webhooks.discard(Filter(keys=(key,))) == 1
        assert first.webhooks.replay(Filter(keys=(key,))) == 1
        assert second.complete(key)
        assert [entry.state for entry in first.webhooks.list()] == ["done"]
    finally:
        first.stop()
        second.stop()
