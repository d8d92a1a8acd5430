"""Secrets in HTTP headers, and tokens that are words by themselves.

Where a place has a part that is no secret (user, host, scheme, name of a cookie), only the rest is marked.
"""

from __future__ import annotations

from typing import Final

HEADERS: Final[dict[str, tuple[str, ...]]] = {
    "authorization-bearer": (
        "Authorization: Bearer «{w40}»",
        "{'authorization': 'Bearer «{a48}»', 'accept': '*/*'}",
        "authorization=Bearer «{w40}» host={host}",
    ),
    "authorization-basic": (
        "Authorization: Basic «{a42}==»",
        "[(b'authorization', b'Basic «{a42}=»'), (b'accept', b'*/*')]",
        "'Authorization': 'Basic «{a40}»'",
    ),
    "authorization-digest": (
        'Authorization: Digest username="{user}", realm="shop", nonce="{h32}", uri="/", response="«{h32}»", qop=auth',
    ),
    "authorization-token": ("Authorization: Token «{h40}»", "Authorization: token «{a40}»"),
    "authorization-apikey": ("Authorization: ApiKey «{w40}»", "authorization: Api-Key «{w40}»"),
    "authorization-aws": (
        "Authorization: AWS4-HMAC-SHA256 Credential=AKIA{R16}/20260301/eu-central-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=«{h64}»",  # noqa: E501  # one line of log
    ),
    "authorization-negotiate": ("Authorization: Negotiate «YII{a120}=»", "Authorization: NTLM «TlRMTVNTUAAB{a40}»"),
    "authorization-hawk": ('Authorization: Hawk id="{l8}", ts="1780000000", nonce="{a6}", mac="«{a42}=»"',),
    "authorization-oauth1": (
        'Authorization: OAuth oauth_consumer_key="{a16}", oauth_token="«{w40}»", oauth_signature="«{a26}%3D»", oauth_version="1.0"',  # noqa: E501  # one line of log
    ),
    "authorization-dpop": ("Authorization: DPoP «{jwt}»", "DPoP: «{jwt}»"),
    "authorization-sharedkey": ("Authorization: SharedKey {word}:«{a42}=»",),
    "authorization-vendor": (
        "Authorization: GenieKey «{uuid}»",
        "Authorization: Klaviyo-API-Key «{a37}»",
        "Authorization: DeepL-Auth-Key «{uuid}:fx»",
        "Authorization: SSWS «00{w40}»",
        "Authorization: Splunk «{uuid}»",
    ),
    "authorization-without-scheme": ("Authorization: «{w40}»", '"authorization": "«{h40}»"'),
    "proxy-authorization": ("Proxy-Authorization: Basic «{a36}==»", "proxy-authorization: Bearer «{w40}»"),
    "bearer-in-text": ("retrying with Bearer «{w40}» after 401", "sent 'Bearer «{w64}»' to {site}"),
    "cookie": (
        "Cookie: sessionid=«{l32}»; csrftoken=«{a64}»; theme=dark",
        "cookie: session=«eyJ{w20}.{w6}.{w27}»",
        "{'cookie': '__Secure-session=«{w43}»'}",
        "(b'cookie', b'connect.sid=s%3A«{w32}.{w43}»')",
    ),
    "set-cookie": (
        "Set-Cookie: session=«{w43}»; HttpOnly; Path=/; SameSite=Lax",
        "(b'set-cookie', b'sessionid=«{l32}»; Max-Age=1209600; Path=/')",
        "set-cookie: __Host-auth=«{w64}»; Secure; Path=/",
    ),
    "curl-cookie": (
        "curl -b 'session=«{w43}»' https://{site}/",
        "curl --cookie sessionid=«{l32}» https://{site}/account",
    ),
    "x-api-key-header": ("X-Api-Key: «{a40}»", "x-api-key=«{w32}»", "(b'x-api-key', b'«{a32}»')"),
    "vendor-key-header": (
        "X-Vault-Token: «{a24}»",
        "xi-api-key: «{h32}»",
        "X-Goog-Api-Key: «{w39}»",
        "DD-API-KEY: «{h32}»",
        "X-Shopify-Access-Token: «{h32}»",
        "Ocp-Apim-Subscription-Key: «{h32}»",
        "X-GitHub-Token: «{a40}»",
        "PRIVATE-TOKEN: «{w20}»",
        "Circle-Token: «{h40}»",
    ),
    "signature-header": (
        "Stripe-Signature: t=1780000000,v1=«{h64}»",
        "X-Hub-Signature-256: sha256=«{h64}»",
        "X-Slack-Signature: v0=«{h64}»",
        "Webhook-Signature: v1,«{a43}=»",
    ),
    "sec-websocket-protocol": ("Sec-WebSocket-Protocol: bearer, «{jwt}»",),
    "jwt": ("token decoded: «{jwt}»", "invalid signature in «{jwt}»", "GET /ws/«{jwt}» HTTP/1.1"),
    "jwe": ("received «eyJ{w30}.{w340}.{w16}.{w60}.{w22}» from the issuer", "id «eyJ{w40}..{w16}.{w80}.{w22}»"),
    "saml": (
        "POST /saml/acs SAMLResponse=«PHNhbWxwOlJlc3BvbnNl{a300}%3D»&RelayState=x",
        "GET /saml?SAMLRequest=«fZJ{a150}%3D» HTTP/1.1",
    ),
}
"""Templates by kind."""
