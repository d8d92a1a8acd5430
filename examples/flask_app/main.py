"""A subscription dashboard, as small as it can be and still be launched. Run: flask --app main run"""

import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask, abort, jsonify, redirect, request, session

from launchkit import Delivery, LaunchKit, Settings

app = Flask(__name__)
app.secret_key = os.environ.get("DASHBOARD_SECRET_KEY") or secrets.token_hex(32)
app.config.update(SESSION_COOKIE_SAMESITE="Lax", SESSION_COOKIE_HTTPONLY=True)

# --- LaunchKit: ten lines ---------------------------------------------------------------------------------------------
settings = Settings(
    routes={"login": "/login", "billing": "/billing", "account": "/dashboard/*"},
    read_cache={"rules": {"plans": {"paths": "/plans"}}},
    webhooks={"sources": {"billing": {"scheme": "standard"}}},  # its secret comes from the environment
)
kit = LaunchKit(settings)
kit.install(app)


@kit.webhook("billing", "subscription.changed")
def subscription_changed(delivery: Delivery) -> None:
    """Move the account to its new plan. Runs after the sender has its answer, and again until it succeeds."""
    data = delivery.json()["data"]
    with database() as db:
        db.execute("UPDATE accounts SET plan = ? WHERE email = ?", (data["plan"], data["email"]))


@kit.health_check("database")
def database_answers() -> None:
    """Raise when the database is down."""
    with database() as db:
        db.execute("SELECT 1 FROM accounts LIMIT 1")


# --- the app ----------------------------------------------------------------------------------------------------------
FILE = Path(os.environ.get("DASHBOARD_DATABASE", "dashboard.sqlite3"))
PLANS = {"free": 1_000, "team": 50_000, "scale": 1_000_000}


@contextmanager
def database() -> Iterator[sqlite3.Connection]:
    """Open the database for one piece of work and commit it."""
    connection = sqlite3.connect(FILE)
    connection.row_factory = sqlite3.Row
    try:
        with connection:
            yield connection
    finally:
        connection.close()


with database() as setup:
    setup.executescript("""
        CREATE TABLE IF NOT EXISTS accounts (email TEXT PRIMARY KEY, code TEXT, plan TEXT, used INTEGER);
    """)


def account() -> sqlite3.Row:
    """Return the signed-in account, or answer 401."""
    with database() as db:
        row: sqlite3.Row | None = db.execute(
            "SELECT * FROM accounts WHERE email = ?", (session.get("email"),)
        ).fetchone()
    return row or abort(401)


@app.get("/plans")
def plans() -> Any:
    return jsonify([{"name": name, "calls": calls} for name, calls in PLANS.items()])


@app.post("/accounts")
def create_account() -> Any:
    code = secrets.token_urlsafe(9)
    with database() as db:
        db.execute("INSERT OR IGNORE INTO accounts VALUES (?, ?, 'free', 0)", (request.form["email"], code))
    return jsonify(code=code), 201  # a real app mails it


@app.post("/login")
def login() -> Any:
    with database() as db:
        row = db.execute("SELECT * FROM accounts WHERE email = ?", (request.form.get("email"),)).fetchone()
    if row is None or not secrets.compare_digest(row["code"].encode(), request.form.get("code", "").encode()):
        return "<p>Wrong address or code. Try again.</p>", 401
    session["email"] = row["email"]
    return redirect("/dashboard/usage")


@app.get("/dashboard/usage")
def usage() -> Any:
    row = account()
    return jsonify(plan=row["plan"], used=row["used"], left=PLANS[row["plan"]] - row["used"])


@app.post("/dashboard/calls")
def use() -> Any:
    row = account()
    with database() as db:
        db.execute("UPDATE accounts SET used = used + 1 WHERE email = ?", (row["email"],))
    return jsonify(used=row["used"] + 1)


@app.get("/billing")
def billing() -> Any:
    row = account()
    return f"<h1>Billing</h1><p>You are on the {row['plan']} plan.</p>"
