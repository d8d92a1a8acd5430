"""The examples do what they show, under the servers that their readers will use."""

from __future__ import annotations

import base64
import datetime as dt
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlencode

import pytest
import stripe
from standardwebhooks import Webhook
from tests.support.servers import ROOT, Server, serving, wait_until

pytestmark = [pytest.mark.real_server, pytest.mark.real_time]

STRIPE_SECRET = f"whsec_{secrets.token_hex(16)}"
BILLING_SECRET = f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}"


@pytest.mark.parametrize("name", ["fastapi_app", "flask_app"])
def test_an_example_is_under_150_lines(name: str) -> None:
    """A newcomer reads it in one go, and its LaunchKit part in a glance."""
    source = (ROOT / "examples" / name / "main.py").read_text().splitlines()
    assert len(source) < 150
    start = next(number for number, line in enumerate(source) if line.startswith("# --- LaunchKit"))
    assert source.index("kit.install(app)", start) - start <= 10


@pytest.fixture(name="marketplace")
def _marketplace(tmp_path: Path) -> Iterator[Server]:
    command = ["uvicorn", "main:app", "--app-dir", str(ROOT / "examples/fastapi_app"), "--port", "{port}"]
    with serving(command, tmp_path, {"LAUNCHKIT_WEBHOOKS__SOURCES__STRIPE__SECRETS": STRIPE_SECRET}) as server:
        yield server


@pytest.fixture(name="dashboard")
def _dashboard(tmp_path: Path) -> Iterator[Server]:
    command = ["gunicorn", "main:app", "--chdir", str(ROOT / "examples/flask_app"), "-b", "127.0.0.1:{port}"]
    environment = {
        "LAUNCHKIT_WEBHOOKS__SOURCES__BILLING__SECRETS": BILLING_SECRET,
        "LAUNCHKIT_DATA_DIR": str(tmp_path / "launchkit"),
        "DASHBOARD_DATABASE": str(tmp_path / "dashboard.sqlite3"),
    }
    with serving([*command, "--threads", "4"], tmp_path, environment) as server:
        yield server


def post_json(server: Server, path: str, data: object, headers: Mapping[str, str] | None = None) -> tuple[int, object]:
    sent = {"content-type": "application/json", **(headers or {})}
    response, content = server.request("POST", path, json.dumps(data).encode(), sent)
    return response.status, json.loads(content)


def test_the_marketplace_sells(marketplace: Server) -> None:
    """Sign up, log in, buy, and be marked as paid by Stripe's webhook; strangers cannot buy."""
    person = {"email": "ada@example.org", "password": secrets.token_urlsafe()}
    assert post_json(marketplace, "/signup", person)[0] == 201
    assert post_json(marketplace, "/checkout", {"listing": 1})[0] == 401
    login, _ = marketplace.request("POST", "/login", json.dumps(person).encode(), {"content-type": "application/json"})
    cookie = login.headers["set-cookie"].partition(";")[0]
    status, bought = post_json(marketplace, "/checkout", {"listing": 1}, {"cookie": cookie})
    assert status == 201
    order = bought["order"]  # type: ignore[index]
    body = json.dumps(
        {
            "id": "evt_1",
            "object": "event",
            "type": "checkout.session.completed",
            "data": {"object": {"client_reference_id": order}},
        }
    )
    signature = {"stripe-signature": stripe.WebhookSignature.generate_signature_header(body, STRIPE_SECRET)}
    assert marketplace.request("POST", "/webhooks/stripe", body.encode(), signature)[0].status == 200
    wait_until(lambda: json.loads(marketplace.request("GET", f"/orders/{order}")[1])["state"] == "paid")


def test_the_marketplace_is_read_from_the_cache(marketplace: Server) -> None:
    """Listings and searches; orders never."""
    for path in ("/listings", "/search?q=note"):
        first, again = marketplace.request("GET", path), marketplace.request("GET", path)
        assert first[1] == again[1]
        assert "hit" in again[0].headers["cache-status"]
    assert len(json.loads(marketplace.request("GET", "/search?q=note")[1])) == 1
    assert marketplace.request("GET", "/orders/none")[0].headers["cache-status"] is None
    assert post_json(marketplace, "/password-reset", {"email": "ada@example.org"})[0] == 202
    assert marketplace.request("GET", "/docs")[0].status == 200


def test_the_dashboard_moves_a_plan(dashboard: Server) -> None:
    """Log in, use the widgets, and change the plan by a Standard Webhook."""
    form = {"content-type": "application/x-www-form-urlencoded"}
    _, made = dashboard.request("POST", "/accounts", urlencode({"email": "ada@example.org"}).encode(), form)
    credentials = {"email": "ada@example.org", "code": json.loads(made)["code"]}
    login, _ = dashboard.request("POST", "/login", urlencode(credentials).encode(), form)
    assert (login.status, login.headers["location"]) == (302, "/dashboard/usage")
    cookie = {"cookie": login.headers["set-cookie"].partition(";")[0]}
    assert json.loads(dashboard.request("POST", "/dashboard/calls", headers=cookie)[1]) == {"used": 1}
    usage, content = dashboard.request("GET", "/dashboard/usage", headers=cookie)
    assert json.loads(content) == {"plan": "free", "used": 1, "left": 999}
    assert usage.headers["cache-control"] == "private, no-store"
    body = json.dumps({"type": "subscription.changed", "data": {"email": "ada@example.org", "plan": "team"}})
    now = dt.datetime.now(dt.UTC)
    signed = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(BILLING_SECRET).sign("msg_1", now, body),
    }
    assert dashboard.request("POST", "/webhooks/billing", body.encode(), signed)[0].status == 200
    wait_until(lambda: b"team plan" in dashboard.request("GET", "/billing", headers=cookie)[1])
    assert dashboard.request("GET", "/billing")[0].status == 401


def test_the_dashboards_login_is_limited(dashboard: Server) -> None:
    """Five failures at one account are enough, and twenty from one address at any accounts."""
    form = {"content-type": "application/x-www-form-urlencoded"}
    one = [dashboard.request("POST", "/login", b"email=a&code=b", form)[0].status for _ in range(7)]
    assert one == [401] * 5 + [429] * 2
    many = [dashboard.request("POST", "/login", b"email=a%d&code=b" % turn, form)[0].status for turn in range(17)]
    assert many == [401] * 15 + [429] * 2
    assert [plan["name"] for plan in json.loads(dashboard.request("GET", "/plans")[1])] == ["free", "team", "scale"]


def test_the_demo_ends_well(tmp_path: Path) -> None:
    """With ONCE=1 it ends after its report, with status 0 because every step did what it should."""
    result = subprocess.run(
        [sys.executable, str(ROOT / "examples/demo.py")],
        cwd=tmp_path,
        env=os.environ | {"ONCE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Everything did what it should." in result.stdout
    assert "FAILED" not in result.stdout
