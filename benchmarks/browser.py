"""What is sent: a browser's request as a proxy that ends TLS passes it on."""

from __future__ import annotations

BROWSER = (
    ("host", "example.org"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "en-GB,en;q=0.7,de;q=0.3"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("cookie", "_ga=GA1.1.1203947586.1733000000"),
    ("x-forwarded-proto", "https"),
)
"""What a browser's request carries when the proxy has passed it on, but for `X-Forwarded-For`."""

PROXY = "10.0.0.4"
VISITOR = "203.0.113.7"
