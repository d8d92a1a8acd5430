"""What a client is told: how much it may still do, and that it did too much.

The fields are those of draft-ietf-httpapi-ratelimit-headers-10: `RateLimit-Policy` lists the limits that apply,
`RateLimit` the one with the least left. Only limits by what the client itself is known by are told: the state of an
account's bucket would say what others do with that account. A browser that asks for a page gets one.
"""

from __future__ import annotations

import json
import math
from functools import lru_cache
from typing import Final

from launchkit.pipeline.effects import Verdict
from launchkit.pipeline.exchange import EarlyResponse, Exchange, Header

_TYPES: Final = "https://iana.org/assignments/http-problem-types#"
_NO_STORE: Final[Header] = (b"cache-control", b"no-store")
_VARY: Final[Header] = (b"vary", b"accept")
_HTML: Final[Header] = (b"content-type", b"text/html; charset=utf-8")
_PROBLEM: Final[Header] = (b"content-type", b"application/problem+json")

_PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 20vh auto; padding: 0 1rem }}</style>
<h1>{title}</h1>
<p>{detail}</p>
</html>
"""


def policy_name(text: str) -> str:
    """Return a rule's name as a Structured Fields string (RFC 9651 section 3.3.3)."""
    visible = "".join(character if " " <= character <= "~" else "?" for character in text)
    return '"' + visible.replace("\\", "\\\\").replace('"', '\\"') + '"'


def limit_field(name: str, remaining: int, reset_after: float) -> bytes:
    """Return the value of `RateLimit`: `"login";r=3;t=42`."""
    return f"{name};r={remaining};t={math.ceil(reset_after)}".encode()


def too_many_requests(
    exchange: Exchange, verdict: Verdict, name: str | None, policies: bytes, route: str
) -> EarlyResponse:
    """Return the 429 (RFC 6585 section 4), with Retry-After in whole seconds (RFC 9110 section 10.2.3).

    Args:
        exchange: the request.
        verdict: what refused it.
        name: the policy that was violated, or None where that is not told.
        policies: the value of `RateLimit-Policy`, empty for none.
        route: the label under which the answer is timed.
    """
    seconds = max(1, math.ceil(verdict.reset_after))
    headers: list[Header] = [(b"retry-after", b"%d" % seconds)]
    if policies:
        headers.append((b"ratelimit-policy", policies))
    if name is not None:
        headers.append((b"ratelimit", limit_field(name, 0, verdict.reset_after)))
    detail = f"Try again in {_duration(seconds)}."
    return _answer(exchange, 429, "Too many requests", detail, "quota-exceeded", name, headers, route)


def unavailable(exchange: Exchange, route: str) -> EarlyResponse:
    """Return the 503 of a rule that refuses while it cannot count."""
    return _answer(
        exchange,
        503,
        "Temporarily unavailable",
        "Try again in 5 seconds.",
        "temporary-reduced-capacity",
        None,
        [(b"retry-after", b"5")],
        route,
    )


def refused_body(exchange: Exchange, status: int, title: str, detail: str, route: str) -> EarlyResponse:
    """Return the answer to a body that no account can be looked for in: 413, or 400 where it ended early."""
    return _answer(exchange, status, title, detail, None, None, [], route)


def _duration(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} second{'s' if seconds != 1 else ''}"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} minutes" if minutes < 120 else f"{math.ceil(minutes / 60)} hours"


def _answer(
    exchange: Exchange,
    status: int,
    title: str,
    detail: str,
    kind: str | None,
    violated: str | None,
    headers: list[Header],
    route: str,
) -> EarlyResponse:
    if b"text/html" in (exchange.header(b"accept") or b""):
        content_type, body = _HTML, _page(title, detail)
    else:
        content_type, body = _PROBLEM, _problem(status, title, detail, kind, violated)
    return EarlyResponse(status, body, (content_type, _NO_STORE, _VARY, *headers), route)


@lru_cache(maxsize=256)
def _page(title: str, detail: str) -> bytes:
    return _PAGE.format(title=title, detail=detail).encode()


@lru_cache(maxsize=1024)
def _problem(status: int, title: str, detail: str, kind: str | None, violated: str | None) -> bytes:
    """Return problem details (RFC 9457)."""
    members = {"type": _TYPES + kind if kind else "about:blank", "title": title, "status": status, "detail": detail}
    violations = {} if violated is None else {"violated-policies": [json.loads(violated)]}
    return json.dumps(members | violations).encode()
