"""The words in `trusted_proxies`: which networks each stands for, and how its proxies name the client.

The rules:

- A word trusts the networks its proxies connect from, and nobody else. Whoever is trusted is believed about the address
  it got a request from, one step at a time, never about more.
- A vendor's own header counts only at a hop in that vendor's networks, and there it is the only thing that counts: the
  vendor overwrites it at its edge, while its X-Forwarded-For also carries what clients and other customers wrote.
- A network says that a vendor connects, not that it does so on your behalf: whoever else is its customer can point it
  at your server. Cloudflare's header withstands that, because nobody but Cloudflare writes it.
- A platform's word says that this process runs there, where nobody but the platform's HTTP proxies reaches it. Every
  connection is then the platform's, whatever address the server shows for it: servers started with
  `--forwarded-allow-ips="*"` show one that the client has chosen.

Lists of networks grow old. One that is missing makes the proxy in it a client, never the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PRIVATE: Final = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
)
"""Addresses that no client on the internet can have (RFC 1918, 4193, 6598, 3927, 4291)."""

# https://www.cloudflare.com/ips-v4 and /ips-v6, as of July 2026; last changed in 2021, when the addresses that its VPN
# users have (104.28.0.0/14) were taken out. Workers open TCP connections from elsewhere
# (https://developers.cloudflare.com/workers/runtime-apis/tcp-sockets/), so HTTP from here was written by Cloudflare.
CLOUDFLARE: Final = (
    "173.245.48.0/20",
    "103.21.244.0/22",
    "103.22.200.0/22",
    "103.31.4.0/22",
    "141.101.64.0/18",
    "108.162.192.0/18",
    "190.93.240.0/20",
    "188.114.96.0/20",
    "197.234.240.0/22",
    "198.41.128.0/17",
    "162.158.0.0/15",
    "104.16.0.0/13",
    "104.24.0.0/14",
    "172.64.0.0/13",
    "131.0.72.0/22",
    "2400:cb00::/32",
    "2606:4700::/32",
    "2803:f800::/32",
    "2405:b500::/32",
    "2405:8100::/32",
    "2a06:98c0::/29",
    "2c0f:f248::/32",
)

# https://api.fastly.com/public-ip-list, as of June 2023.
FASTLY: Final = (
    "23.235.32.0/20",
    "43.249.72.0/22",
    "103.244.50.0/24",
    "103.245.222.0/23",
    "103.245.224.0/24",
    "104.156.80.0/20",
    "140.248.64.0/18",
    "140.248.128.0/17",
    "146.75.0.0/17",
    "151.101.0.0/16",
    "157.52.64.0/18",
    "167.82.0.0/17",
    "167.82.128.0/20",
    "167.82.160.0/20",
    "167.82.224.0/20",
    "172.111.64.0/18",
    "185.31.16.0/22",
    "199.27.72.0/21",
    "199.232.0.0/16",
    "2a04:4e40::/32",
    "2a04:4e42::/32",
)

# https://cloud.google.com/load-balancing/docs/firewall-rules, as of 2025: the front ends of external load balancers.
GOOGLE: Final = ("35.191.0.0/16", "130.211.0.0/22", "2600:2d00:1:b029::/64", "2600:2d00:1:1::/64")


@dataclass(frozen=True, slots=True)
class Proxies:
    """How the proxies behind one word connect, and how they name the client.

    Attributes:
        networks: what they connect from.
        header: the header, in lower case, in which they alone write the client's address; None where that is the item
            they append to X-Forwarded-For.
        header_ipv6: where `header` can hold a stand-in from 240.0.0.0/4, the header with the IPv6 address behind it.
        appends_itself: whether the last item of X-Forwarded-For is the address they were reached at.
        behind: the word for what is always in front of them.
        is_platform: whether nobody else reaches the process.
        is_certain: whether nobody but the vendor can write, from these networks, what names the client, so that it
            tells clients apart even where nobody declared the vendor.
    """

    networks: tuple[str, ...]
    header: bytes | None = None
    header_ipv6: bytes | None = None
    appends_itself: bool = False
    behind: str | None = None
    is_platform: bool = False
    is_certain: bool = False


_CLOUDFLARE_HEADERS: Final = (b"cf-connecting-ip", b"cf-connecting-ipv6")

PROXIES: Final[Mapping[str, Proxies]] = {
    "private": Proxies(PRIVATE),
    # A proxy that speaks to the server through a Unix socket, whose end has no address.
    "unix": Proxies(()),
    # X-Forwarded-For is not believed: a Worker of anybody's may have written it. Pseudo IPv4 puts a stand-in into the
    # first header (https://developers.cloudflare.com/fundamentals/reference/http-headers/).
    "cloudflare": Proxies(CLOUDFLARE, *_CLOUDFLARE_HEADERS, is_certain=True),
    # Cloudflare Tunnel: cloudflared runs beside the app and connects from a private address.
    "cloudflared": Proxies(PRIVATE, *_CLOUDFLARE_HEADERS),
    # Fastly-Client-IP is kept as the client sent it (https://www.fastly.com/documentation/reference/http/http-headers/
    # Fastly-Client-IP/), so X-Forwarded-For is read, to which its nodes append.
    "fastly": Proxies(FASTLY),
    # External load balancers append the client and themselves: `supplied, client, load balancer`
    # (https://cloud.google.com/load-balancing/docs/https#x-forwarded-for_header).
    "google": Proxies(GOOGLE, appends_itself=True, is_certain=True),
    # Load balancers connect from the VPC and append the client
    # (https://docs.aws.amazon.com/elasticloadbalancing/latest/application/x-forwarded-headers.html).
    "aws": Proxies(PRIVATE),
    # The router connects from a private address and appends the client
    # (https://devcenter.heroku.com/articles/http-routing#heroku-headers).
    "heroku": Proxies(PRIVATE, is_platform=True),
    # Behind Cloudflare, always: `client, Cloudflare, 10.x.x.x` from a private address, with CF-Connecting-IP.
    "render": Proxies(PRIVATE, behind="cloudflare", is_platform=True),
    # Appends the client and the app's own public address; overwrites its header
    # (https://fly.io/docs/networking/request-headers/).
    "fly": Proxies(PRIVATE, b"fly-client-ip", is_platform=True),
    # Appends an edge of its own that changes with every request; overwrites its header
    # (https://docs.railway.com/networking/public-networking/specs-and-limits).
    "railway": Proxies(PRIVATE, b"x-real-ip", is_platform=True),
    # Connects from a link-local address and appends the client. A load balancer in front appends its own public
    # address besides, which has to be listed: `cloudrun, 203.0.113.1`.
    "cloudrun": Proxies(PRIVATE, is_platform=True),
    # Overwrites X-Forwarded-For with the client (https://vercel.com/docs/headers/request-headers).
    "vercel": Proxies(PRIVATE, is_platform=True),
}
"""Word to what is known of those proxies."""


def _networks(proxies: Proxies) -> tuple[str, ...]:
    return proxies.networks + (PROXIES[proxies.behind].networks if proxies.behind else ())


NETWORKS: Final[dict[str, tuple[str, ...]]] = {word: _networks(proxies) for word, proxies in PROXIES.items()}
"""Word to all networks that it trusts."""

# Set by the platforms themselves: https://devcenter.heroku.com/articles/dynos, https://render.com/docs/
# environment-variables, https://fly.io/docs/machines/runtime-environment/, https://docs.railway.com/variables/reference,
# https://cloud.google.com/run/docs/container-contract, https://vercel.com/docs/environment-variables.
_MARKS: Final = {
    "DYNO": "heroku",
    "RENDER": "render",
    "FLY_APP_NAME": "fly",
    "RAILWAY_ENVIRONMENT": "railway",
    "K_SERVICE": "cloudrun",
    "VERCEL": "vercel",
}


def platform_proxies(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return what `trusted_proxies` should be on the hosting platform that these environment variables tell of.

    For production, where it was left empty. AWS is left out: what runs there may be open to the internet itself.
    """
    return next(((word,) for mark, word in _MARKS.items() if environ.get(mark)), ())
