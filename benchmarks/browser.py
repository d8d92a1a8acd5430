"""What is sent: a browser's requests, as they are and as a proxy that ends TLS passes them on."""

from __future__ import annotations

PROXY = "10.0.0.4"
VISITOR = "203.0.113.7"

_WHO = (
    ("host", "example.org"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
)
_PREFERENCES = (("accept-language", "en-GB,en;q=0.7,de;q=0.3"), ("accept-encoding", "gzip, deflate, br, zstd"))
_COOKIE_AND_SCHEME = (("cookie", "_ga=GA1.1.1203947586.1733000000"), ("x-forwarded-proto", "https"))

BROWSER = (
    *_WHO,
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    *_PREFERENCES,
    *_COOKIE_AND_SCHEME,
)
"""What a browser's request carries when the proxy has passed it on, but for `X-Forwarded-For`."""

HOST_ONLY = _WHO[:1]
"""The least that HTTP/1.1 asks for."""

FETCH = (
    *_WHO,
    ("accept", "application/json, text/plain, */*"),
    *_PREFERENCES,
    ("referer", "https://example.org/tools?page=2"),
    ("sec-fetch-dest", "empty"),
    ("sec-fetch-mode", "cors"),
    ("sec-fetch-site", "same-origin"),
    ("priority", "u=4"),
)
"""What the script of a page makes a browser ask for data with."""

FORWARDED = (*FETCH, *_COOKIE_AND_SCHEME, ("x-forwarded-for", VISITOR))
"""The same with an analytics cookie, as a proxy passes it on."""
