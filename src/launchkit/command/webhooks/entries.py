"""A delivery in the inbox, as people and as machines read it. Never what was sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from launchkit.command.text import aligned, cut, duration, iso, plain
from launchkit.webhooks.inbox.archive import Entry

LONGEST_KEY: Final = 44
"""Columns for keys; a longer one has a line for itself, because a key has to be there whole to be copied."""


def situation(entry: Entry, now: float) -> str:
    """Return the state of a delivery, and for a pending one what it waits for. `now` is in seconds since 1970."""
    wait = entry.due_at - now
    if entry.state != "pending":
        return entry.state
    if wait <= 0:
        return "waits"
    if entry.is_leased:
        return "handled now"
    return f"{'retry' if entry.attempts else 'starts'} in {duration(wait)}"


def as_lines(entries: Sequence[Entry], now: float) -> Iterator[str]:
    """Yield a table, with errors below their deliveries."""
    heads = ("KEY", "STATE", "ATTEMPTS", "AGE", "EVENT")
    head, *rows = aligned([heads, *(_cells(entry, now) for entry in entries)], right=(2, 3))
    yield head
    for entry, row in zip(entries, rows, strict=True):
        if not _fits(entry):
            yield plain(entry.key)
        yield cut(row)
        if entry.error:
            yield cut(f"    {plain(entry.error)}")


def as_json(entry: Entry) -> dict[str, object]:
    """Return everything but what was sent, times as ISO 8601 in UTC."""
    return {
        "key": entry.key,
        "source": entry.source,
        "id": entry.id,
        "event": entry.event,
        "state": entry.state,
        "is_leased": entry.is_leased,
        "attempts": entry.attempts,
        "received_at": iso(entry.received_at),
        "due_at": iso(entry.due_at) if entry.state == "pending" else None,
        "error": entry.error,
        "order_key": entry.order_key,
        "has_body": entry.has_body,
    }


def _cells(entry: Entry, now: float) -> tuple[str, ...]:
    key = plain(entry.key) if _fits(entry) else ""
    age = duration(now - entry.received_at)
    return key, situation(entry, now), str(entry.attempts), age, plain(entry.event)


def _fits(entry: Entry) -> bool:
    return len(entry.key) <= LONGEST_KEY
