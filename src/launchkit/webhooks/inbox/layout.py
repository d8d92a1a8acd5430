"""The layout of the inbox's file, and how a file of an earlier release is brought up to it.

A rollback must not lose deliveries, so the release before has to find its way in the file. The rules: a step adds
columns with defaults and tables, and changes nothing that is there but indexes; `PRAGMA user_version` holds the oldest
layout whose code can use the file, and every release refuses files that ask for more than its own. The table `layout`
says which steps were taken.
"""

from __future__ import annotations

import sqlite3
from typing import Final

OLDEST_READER: Final = 1
"""Code of this layout and later ones can use the files that this release writes."""

_STEPS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
        CREATE TABLE delivery (
            id INTEGER PRIMARY KEY,
            source TEXT NOT NULL,
            dedupe_key TEXT NOT NULL,
            event TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('pending', 'done', 'dead', 'ignored')),
            attempts INTEGER NOT NULL,
            due_at REAL NOT NULL, -- while pending: when it may be claimed; if leased, when the lease ends
            received_at REAL NOT NULL,
            headers TEXT NOT NULL,
            body BLOB NOT NULL,
            UNIQUE (source, dedupe_key)
        )
        """,
        "CREATE INDEX delivery_due ON delivery (due_at) WHERE state = 'pending'",
        "CREATE INDEX delivery_state ON delivery (state, received_at)",
    ),
    (
        "ALTER TABLE delivery ADD COLUMN token INTEGER NOT NULL DEFAULT 0",  # how often a lease was given out
        "ALTER TABLE delivery ADD COLUMN leased INTEGER NOT NULL DEFAULT 0",  # HELD, SENT, or 0 when in no hands
        "ALTER TABLE delivery ADD COLUMN delay REAL",  # what `due_at` was set by: no delivery waits longer than that
        "ALTER TABLE delivery ADD COLUMN digest TEXT",
        "ALTER TABLE delivery ADD COLUMN order_key TEXT",
        "ALTER TABLE delivery ADD COLUMN error TEXT",  # what the last attempt failed with, or why it was discarded
        "ALTER TABLE delivery ADD COLUMN has_body INTEGER NOT NULL DEFAULT 1",  # 0 once body and headers were pruned
        "CREATE UNIQUE INDEX delivery_digest ON delivery (source, digest) WHERE digest IS NOT NULL",
        "CREATE INDEX delivery_order ON delivery (order_key, id) WHERE state = 'pending' AND order_key IS NOT NULL",
        "CREATE INDEX delivery_body ON delivery (state, received_at) WHERE has_body = 1 AND state <> 'pending'",
        "DROP INDEX delivery_state",  # every insertion had to write to it, and only what is over is looked for by it
        "CREATE INDEX delivery_over ON delivery (state, received_at) WHERE state <> 'pending'",
        "CREATE TABLE layout (version INTEGER NOT NULL)",
        "INSERT INTO layout VALUES (2)",
    ),
)
LAYOUT: Final = len(_STEPS)
"""The layout that this release writes."""


def prepare(connection: sqlite3.Connection) -> None:
    """Take the steps that the file has not taken.

    Raises:
        sqlite3.DatabaseError: if only a later release can use the file.
    """
    (oldest_reader,) = connection.execute("PRAGMA user_version").fetchone()
    if oldest_reader > LAYOUT:
        raise sqlite3.DatabaseError(f"written by a newer LaunchKit (layout {oldest_reader}, not {LAYOUT})")
    steps = _STEPS[_taken(connection, oldest_reader) :]
    if not steps:
        return
    connection.execute("BEGIN IMMEDIATE")
    for statement in (statement for step in steps for statement in step):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {OLDEST_READER}")
    connection.execute("COMMIT")


def _taken(connection: sqlite3.Connection, oldest_reader: int) -> int:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'layout'").fetchone():
        return int(oldest_reader)  # the first layout had no such table
    (version,) = connection.execute("SELECT version FROM layout").fetchone()
    return int(version)
