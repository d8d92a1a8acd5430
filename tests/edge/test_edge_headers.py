"""Security headers, where the app has not set its own."""

from __future__ import annotations

import pytest
from tests.support.exchanges import WrittenExchange

from launchkit.edge.client import ClientResolver
from launchkit.edge.headers import SecurityHeaders
from launchkit.pipeline.exchange import Header
from launchkit.settings import EdgeSettings

HSTS = "strict-transport-security"
CSP = "content-security-policy"


def answered(
    *own: Header,
    settings: EdgeSettings | None = None,
    scheme: str = "https",
    production: bool = True,
    host: bytes | None = b"shop.example",
) -> dict[str, str]:
    interceptor = SecurityHeaders(settings or EdgeSettings(), ClientResolver(("10.0.0.0/8",)), production=production)
    headers = [] if host is None else [(b"host", host)]
    exchange = WrittenExchange(scheme=scheme, headers=headers).answer(200, *own)
    assert interceptor.on_response_start(exchange) is None
    names = [name.lower() for name, _ in exchange.response_headers]
    assert len(names) == len(set(names))
    return {name.decode().lower(): value.decode() for name, value in exchange.response_headers}


def test_every_response_gets_the_headers_that_break_no_page() -> None:
    """Over plain HTTP: no sniffing, no framing by others, no full referrer to others, and nothing about HTTPS."""
    assert answered(scheme="http") == {
        "x-content-type-options": "nosniff",
        "x-frame-options": "SAMEORIGIN",
        "referrer-policy": "strict-origin-when-cross-origin",
    }


def test_over_https_in_production_hsts_is_sent_for_a_day() -> None:
    """HSTS starts with one day, without subdomains (RFC 6797 section 6.1)."""
    headers = answered()
    assert headers[HSTS] == "max-age=86400"
    assert headers[CSP] == "upgrade-insecure-requests"


def test_hsts_is_for_production_only() -> None:
    """Elsewhere a browser must not remember."""
    headers = answered(production=False)
    assert HSTS not in headers
    assert CSP in headers


def test_hsts_can_be_switched_off() -> None:
    """Zero seconds send no header at all."""
    assert HSTS not in answered(settings=EdgeSettings(hsts_seconds=0))


def test_hsts_is_sent_where_a_trusted_proxy_spoke_https() -> None:
    """Behind a proxy that ends TLS, the client's protocol counts, not the server's."""
    interceptor = SecurityHeaders(EdgeSettings(), ClientResolver(("10.0.0.0/8",)), production=True)
    for peer, expected in (("10.0.0.1", 1), ("203.0.113.7", 0)):
        headers = [(b"host", b"shop.example"), (b"x-forwarded-proto", b"https")]
        exchange = WrittenExchange(peer=peer, headers=headers).answer(200)
        interceptor.on_response_start(exchange)
        assert [name for name, _ in exchange.response_headers].count(HSTS.encode()) == expected


@pytest.mark.parametrize("host", [b"localhost", b"LOCALHOST:8000", b"127.0.0.1:443", b"[::1]:8443", b"[::1]"])
def test_hsts_is_never_sent_to_this_machine(host: bytes) -> None:
    """A developer's localhost must stay reachable over HTTP, whatever runs there next."""
    headers = answered(host=host)
    assert HSTS not in headers
    assert CSP not in headers


@pytest.mark.parametrize(
    "host", [b"localhost.example", b"localhosting.example:443", b"127.0.0.1.example", b"shop.example", None]
)
def test_hosts_that_only_begin_like_this_machine_are_others(host: bytes | None) -> None:
    """A name on the internet may begin with anything."""
    assert HSTS in answered(host=host)


def test_the_apps_own_headers_win() -> None:
    """What the app has set is neither replaced nor doubled, in whatever case."""
    headers = answered(
        (b"X-Frame-Options", b"DENY"),
        (b"Content-Security-Policy", b"default-src 'self'"),
        (b"Strict-Transport-Security", b"max-age=1"),
    )
    assert headers["x-frame-options"] == "DENY"
    assert headers[CSP] == "default-src 'self'"
    assert headers[HSTS] == "max-age=1"
    assert headers["x-content-type-options"] == "nosniff"


def test_headers_of_the_settings_replace_the_defaults() -> None:
    """A default is replaced by the same name, and further headers are added; the app's still win."""
    settings = EdgeSettings(
        headers={
            "X-Frame-Options": "DENY",
            "Permissions-Policy": "camera=()",
            "Content-Security-Policy": "default-src *",
        }
    )
    headers = answered(settings=settings)
    assert headers["x-frame-options"] == "DENY"
    assert headers["permissions-policy"] == "camera=()"
    assert headers[CSP] == "default-src *"
    assert answered((b"permissions-policy", b"usb=()"), settings=settings)["permissions-policy"] == "usb=()"
