"""Whether it is certain that a visitor came by HTTP, so that sending them to HTTPS leads anywhere.

Behind a proxy that ends TLS every request looks like HTTP, and whoever came by HTTPS would be sent to where they are
for ever. So it is certain only where nothing speaks against it:

- No header says HTTPS, whoever wrote it, and the browser does not: it sends Sec-Fetch-Site to no URL that is not secure
  (https://www.w3.org/TR/fetch-metadata/, section 2). That also finds proxies that leave no trace, and one that tells
  how the proxy in front of it came in place of how the visitor did.
- Where anything shows a proxy, it says `http` in so many words: in X-Forwarded-Proto, or `proto` of Forwarded.
- A proxy in a private network is trusted. The word from a public address counts: servers that put the visitor's address
  in the proxy's place (uvicorn does) leave nobody else to trust, and a visitor who writes it has come by HTTP.

Whoever forges one of these headers is spared a redirect of their own.
"""

from __future__ import annotations

from typing import Final

from launchkit.edge.client import FORWARDED, ClientResolver, nearest
from launchkit.pipeline.exchange import Exchange

SAYS_HTTPS: Final = {
    b"cf-visitor": b"scheme:https",
    b"cloudfront-forwarded-proto": b"https",
    b"forwarded": b"proto=https",
    b"front-end-https": b"on",
    b"sec-fetch-site": b"",
    b"x-appengine-https": b"on",
    b"x-forwarded-port": b"443",
    b"x-forwarded-proto": b"https",
    b"x-forwarded-protocol": b"https",
    b"x-forwarded-scheme": b"https",
    b"x-forwarded-ssl": b"on",
    b"x-scheme": b"https",
    b"x-url-scheme": b"https",
}
"""What headers hold, without quotes and blanks, if the visitor came by HTTPS."""

SHOWS_PROXY: Final = frozenset(
    {
        *FORWARDED,
        *SAYS_HTTPS,
        b"cdn-loop",
        b"cf-ray",
        b"fastly-client-ip",
        b"true-client-ip",
        b"x-amz-cf-id",
        b"x-amzn-trace-id",
        b"x-azure-ref",
        b"x-client-ip",
        b"x-cloud-trace-context",
        b"x-cluster-client-ip",
        b"x-envoy-external-address",
        b"x-forwarded-server",
        b"x-varnish",
    }
)
"""Headers that proxies add."""

CONTRADICTED: Final = (
    "A proxy or the browser says that visitors come by HTTPS, but no trusted proxy says it of all the way: set "
    "LAUNCHKIT_TRUSTED_PROXIES to the proxies in front, let each pass on the X-Forwarded-Proto that it got, and set "
    "Cloudflare's encryption mode to Full."
)
NOT_TOLD: Final = (
    "Requests come through a proxy that does not tell how visitors came to it: let it send X-Forwarded-Proto, and name "
    "it in LAUNCHKIT_TRUSTED_PROXIES."
)


def doubt(exchange: Exchange, client: ClientResolver) -> str | None:
    """Return why a visitor who seems to have come by HTTP may have come by HTTPS, with the remedy; None if not."""
    told = exchange.headers_named(SHOWS_PROXY)
    for name, value in told:
        if name in SAYS_HTTPS and SAYS_HTTPS[name] in value.translate(None, b'" ').lower():
            return CONTRADICTED
    who = client.resolve(exchange)
    is_known = who.trusted or who.address is not None
    says_http = nearest(exchange, b"x-forwarded-proto", "proto").lower() in ("http", "ws")
    is_direct = not told and not who.trusted
    return None if is_known and (says_http or is_direct) else NOT_TOLD
