"""A marketplace of AI tools, as small as it can be and still be launched. Run: uvicorn main:app"""

import hashlib
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import Cookie, FastAPI, HTTPException, Response
from pydantic import BaseModel

from launchkit import Delivery, LaunchKit, Settings

app = FastAPI(title="Toolshed")

# --- LaunchKit: ten lines ---------------------------------------------------------------------------------------------
settings = Settings(
    routes={"login": "/login", "signup": "/signup", "password_reset": "/password-reset", "checkout": "/checkout"},
    read_cache={"rules": {"listings": {"paths": ["/listings", "/search"]}}},
)
kit = LaunchKit(settings)
kit.install(app)


@kit.webhook("stripe", "checkout.session.completed")
def order_paid(delivery: Delivery) -> None:
    """Mark the order as paid. Runs after Stripe has its answer, and again until it succeeds."""
    with database() as db:
        order = delivery.json()["data"]["object"]["client_reference_id"]
        db.execute("UPDATE orders SET state = 'paid' WHERE id = ?", (order,))


@kit.health_check("database")
def database_answers() -> None:
    """Raise when the database is down."""
    with database() as db:
        db.execute("SELECT 1 FROM listings LIMIT 1")


# --- the app ----------------------------------------------------------------------------------------------------------
FILE = Path(os.environ.get("TOOLSHED_DATABASE", "toolshed.sqlite3"))
TOOLS = [
    ("Draftsmith", "Writes the first version of anything", 1900),
    ("Pixelherd", "Keeps a brand's pictures in one style", 2900),
    ("Callnotes", "Turns meetings into tasks", 900),
    ("Querybird", "Answers questions about your database", 4900),
]


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
        CREATE TABLE IF NOT EXISTS listings (id INTEGER PRIMARY KEY, name TEXT UNIQUE, claim TEXT, cents INTEGER);
        CREATE TABLE IF NOT EXISTS users (email TEXT PRIMARY KEY, salt BLOB, password BLOB);
        CREATE TABLE IF NOT EXISTS sessions (token TEXT PRIMARY KEY, email TEXT);
        CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, email TEXT, listing INTEGER, state TEXT);
    """)
    setup.executemany("INSERT OR IGNORE INTO listings (name, claim, cents) VALUES (?, ?, ?)", TOOLS)


class Credentials(BaseModel):
    email: str
    password: str


class Email(BaseModel):
    email: str


class Purchase(BaseModel):
    listing: int


def hashed(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**12, r=8, p=1)


@app.get("/listings")
def listings() -> list[dict[str, Any]]:
    with database() as db:
        return [dict(row) for row in db.execute("SELECT * FROM listings ORDER BY name")]


@app.get("/search")
def search(q: str = "") -> list[dict[str, Any]]:
    with database() as db:
        found = db.execute("SELECT * FROM listings WHERE name LIKE ? OR claim LIKE ?", (f"%{q}%", f"%{q}%"))
        return [dict(row) for row in found]


@app.post("/signup", status_code=201)
def signup(new: Credentials) -> dict[str, str]:
    salt = secrets.token_bytes(16)
    with database() as db:
        db.execute("INSERT OR IGNORE INTO users VALUES (?, ?, ?)", (new.email, salt, hashed(new.password, salt)))
    return {"status": "welcome"}


@app.post("/login")
def login(given: Credentials, response: Response) -> dict[str, str]:
    with database() as db:
        user = db.execute("SELECT * FROM users WHERE email = ?", (given.email,)).fetchone()
        salt, expected = (user["salt"], user["password"]) if user else (b"nobody", b"")
        if not secrets.compare_digest(hashed(given.password, salt), expected):
            raise HTTPException(401, "Wrong e-mail address or password")
        token = secrets.token_urlsafe()
        db.execute("INSERT INTO sessions VALUES (?, ?)", (token, given.email))
    response.set_cookie("session", token, httponly=True, secure=True, samesite="lax")
    return {"status": "welcome back"}


@app.post("/password-reset", status_code=202)
def password_reset(account: Email) -> dict[str, str]:
    return {"status": "if there is such an account, a mail is on its way"}


@app.post("/checkout", status_code=201)
def checkout(purchase: Purchase, session: Annotated[str | None, Cookie()] = None) -> dict[str, str]:
    with database() as db:
        who = db.execute("SELECT email FROM sessions WHERE token = ?", (session,)).fetchone()
        if who is None:
            raise HTTPException(401, "Log in first")
        order = secrets.token_hex(8)
        db.execute("INSERT INTO orders VALUES (?, ?, ?, 'open')", (order, who["email"], purchase.listing))
    return {"order": order}  # a real shop hands this to Stripe as client_reference_id


@app.get("/orders/{order}")
def order_state(order: str) -> dict[str, str]:
    with database() as db:
        row = db.execute("SELECT state FROM orders WHERE id = ?", (order,)).fetchone()
    if row is None:
        raise HTTPException(404, "No such order")
    return {"order": order, "state": row["state"]}
