"""What makes a request personal: the ways in which it may say who is asking.

The rules:

- Authorization and every cookie count, but for the cookies of analytics and bot checks, which no app reads to decide
  what to show.
- Beyond these two, apps and the proxies in front of them carry identities in headers of their own (`X-API-Key`,
  `X-Auth-Request-Email`, `X-Shop-Token`, `Cf-Access-Jwt-Assertion`, ...). No list of them is complete, so a header
  counts when one word of its name says so, or a part that has no other meaning (`X-CustomerID`). Mistaking a harmless
  header for a credential costs a cache hit; the opposite mistake shows one user's data to another.
"""

from __future__ import annotations

from typing import Final

_ANALYTICS_COOKIES: Final = (b"_ga=", b"_ga_", b"_gac_", b"_gat=", b"_gat_", b"_fbp=", b"__cf_bm=")
"""How the harmless cookies begin: those of Google Analytics, Meta's pixel and Cloudflare's bot check."""

_WORDS: Final = frozenset(
    b"access actor admin cart cert clientcert company consumer csrf dn dpop email employee eppn groups key "
    b"nonce oidc org otp pin principal profile project role roles saml sid signature sso sub subject team ticket "
    b"uid user userid userinfo username workspace xsrf".split()
)
"""Words that mark a header as a credential or an identity."""

_PARTS: Final = (
    b"account apikey appcheck assertion auth bearer claims credential customer device-id deviceid guest identity "
    b"impersonate jwt login member on-behalf openid orgid passcode passw patient secret session tenant token verify "
    b"visitor".split()
)
"""Parts of names that say the same, however the name is put together."""


def is_credential(name: bytes) -> bool:
    """Tell whether a request header of this lower-case name may say who is asking."""
    name = name.replace(b"_", b"-")
    return not _WORDS.isdisjoint(name.split(b"-")) or any(part in name for part in _PARTS)


def is_analytics(cookies: bytes) -> bool:
    """Tell whether a Cookie header holds analytics cookies only, or none (RFC 6265 section 4.2.1)."""
    return all(cookie.startswith(_ANALYTICS_COOKIES) for part in cookies.split(b";") if (cookie := part.strip(b" \t")))
