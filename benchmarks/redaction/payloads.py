"""Data as an app sends it to where errors are collected, secrets included, which are made anew each time."""

from __future__ import annotations

import secrets


def headers() -> list[tuple[str, str]]:
    """Return the headers of a request, two of which hold secrets."""
    return [
        ("host", "shop.example.com"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:137.0) Gecko/20100101 Firefox/137.0"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("content-type", "application/json"),
        ("content-length", "348"),
        ("x-request-id", secrets.token_hex(16)),
        ("authorization", f"Bearer {secrets.token_urlsafe(32)}"),
        ("cookie", f"theme=dark; session={secrets.token_urlsafe(32)}"),
        ("x-forwarded-for", "203.0.113.7, 10.0.0.2"),
    ]


def event(headers: dict[str, str]) -> dict[str, object]:
    """Return what Sentry's client sends of an error in a request with such headers."""
    frame = {
        "filename": "app/orders.py",
        "abs_path": "/srv/app/orders.py",
        "function": "send_order",
        "lineno": 112,
        "pre_context": ["    for item in order.items:", "        stock.take(item)"],
        "context_line": "        van.load(item)",
        "vars": {"order": "<Order 4711>", "count": "3", "customer": "'c-12'"},
    }
    crumb = {
        "type": "default",
        "category": "httplib",
        "level": "info",
        "message": "GET https://api.example.com/vans/3 200",
    }
    return {
        "event_id": secrets.token_hex(16),
        "level": "error",
        "platform": "python",
        "server_name": "web-1",
        "release": "shop@2.4.1",
        "exception": {"values": [{"type": "KeyError", "value": "'van'", "stacktrace": {"frames": [frame] * 20}}]},
        "breadcrumbs": {"values": [crumb] * 30},
        "request": {
            "url": "https://shop.example.com/orders",
            "method": "POST",
            "headers": headers,
            "data": {"items": [1, 2]},
        },
        "user": {"id": "12", "ip_address": "203.0.113.7"},
        "contexts": {"runtime": {"name": "CPython", "version": "3.11.6"}, "trace": {"trace_id": secrets.token_hex(16)}},
        "tags": {"region": "eu-central-1", "plan": "pro"},
    }
