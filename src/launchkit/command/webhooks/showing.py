"""`launchkit webhooks show`: everything about one delivery; what was sent only on request."""

from __future__ import annotations

import argparse
import base64
import time
import unicodedata
from collections.abc import Iterator

from launchkit.command.failure import DONE, REFUSED, Failed
from launchkit.command.parsers import AddParser
from launchkit.command.text import aligned, duration, iso, plain, say, say_json
from launchkit.command.webhooks.entries import as_json, situation
from launchkit.command.webhooks.filters import key
from launchkit.command.webhooks.inbox import add_app, opened
from launchkit.webhooks.inbox.archive import Content, Entry
from launchkit.webhooks.service import Shown


def add(add_parser: AddParser) -> None:
    """Add the subcommand."""
    parser = add_parser(
        "show", help="show one delivery", description="Show everything about one delivery.", epilog=_EPILOG
    )
    parser.add_argument("key", type=key, metavar="KEY", help="source:id, as `list` shows it")
    add_app(parser)
    parser.add_argument("--body", action="store_true", help="with what was sent: it holds personal data")
    parser.add_argument("--json", action="store_true", help="print one JSON object, times as ISO 8601 in UTC")
    parser.set_defaults(run=_run)


_EPILOG = "A body that is no text is printed in base64. Exit status: 1 if there is no such delivery."


def _run(options: argparse.Namespace) -> int:
    with opened(options.app) as webhooks:
        shown = webhooks.show(options.key)
    if shown is None:
        raise Failed(f"there is no delivery {options.key}", REFUSED)
    content = shown.content if options.body else None
    if options.json:
        say_json(as_json(shown.entry) | (_content_as_json(content) if options.body else {}))
    else:
        say(_lines(shown, content, time.time()))
    return DONE


def text_of(body: bytes) -> str | None:
    """Return a body that is text, else None. What can move a terminal's cursor is no text."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return text if all(unicodedata.category(one) != "Cc" or one in "\t\r\n" for one in text) else None


def _content_as_json(content: Content | None) -> dict[str, object]:
    if content is None:
        return {"headers": None, "body": None, "body_base64": None}
    text = text_of(content.body)
    encoded = base64.b64encode(content.body).decode() if text is None else None
    return {"headers": sorted(content.headers), "body": text, "body_base64": encoded}


def _lines(shown: Shown, content: Content | None, now: float) -> Iterator[str]:
    facts = list(_facts(shown.entry, now))
    if content is None:
        yield from aligned(facts)
        return
    text = text_of(content.body)
    facts.append(("headers", ", ".join(sorted(map(plain, content.headers)))))
    if text is None:
        facts.append(("encoding", "base64"))
    yield from aligned(facts)
    yield ""
    yield base64.b64encode(content.body).decode() if text is None else text


def _facts(entry: Entry, now: float) -> Iterator[tuple[str, str]]:
    yield "key", plain(entry.key)
    yield "event", plain(entry.event)
    yield "state", situation(entry, now)
    yield "attempts", str(entry.attempts)
    yield "received", f"{iso(entry.received_at)}, {duration(now - entry.received_at)} ago"
    if entry.state == "pending":
        yield "lease ends" if entry.is_leased else "due", iso(entry.due_at)
    if entry.error:
        yield "error", plain(entry.error)
    if entry.order_key:
        yield "order key", plain(entry.order_key)
    yield "body", "kept" if entry.has_body else "no longer kept"
