"""Secrets in URLs: addresses of webhooks, links that sign somebody in, codes that are exchanged for tokens."""

from __future__ import annotations

from typing import Final

from launchkit.redaction.shapes import Shape, has_digit, is_token, marked, shape

_LINK_WORDS: Final = (
    "reset verify verification confirm confirmation activate activation magic magiclink passwordless invite invites "
    "invitation invitations unsubscribe recover recovery unlock signin autologin login sso"
)

SHAPES: Final[tuple[Shape, ...]] = (
    shape(
        "webhook-url",
        "hooks",
        r"hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/(?P<secret_slack>[\w/+-]{16,}+)"
        r"|hooks\.zapier\.com/hooks/catch/(?P<secret_zapier>[\w/-]{10,}+)"
        r"|hooks\.airtable\.com/workflows/v1/genericWebhook/(?P<secret_airtable>[\w/-]{16,}+)"
        r"|/hooks/(?P<secret>[\w-]{20,}+)(?![\w./-])",
        "address of a webhook",
        has_digit,
    ),
    shape(
        "webhook-url",
        "webhooks webhook webhookb2 hook",
        r"discord(?:app)?\.com/api/(?:v\d+/)?webhooks/\d{5,25}/(?P<secret_discord>[\w-]{30,}+)"
        r"|office\.com/webhook(?:b2)?/(?P<secret_office>[\w@/-]{30,}+)"
        r"|hook\.(?:\w{2,4}\d\.)?(?:make|integromat)\.com/(?P<secret_make>[\w/-]{16,}+)"
        r"|n8n[\w.-]{0,100}/webhook(?:-test)?/(?P<secret_n8n>[\w-]{20,}+)"
        r"|webhook\.site/(?P<secret_site>[\w/-]{16,}+)|/open-apis/bot/v2/hook/(?P<secret_feishu>[\w-]{20,}+)",
        "address of a webhook",
    ),
    shape("webhook-url", "hc", r"hc-ping\.com/(?P<secret>[\w-]{20,}+)", "address of a check"),
    shape(
        "stream-key",
        "rtmp rtmps",
        r"rtmps?://[^\s/]{1,100}/(?:\w{1,30}/)?(?P<secret>[\w-]{16,}+)",
        "key of a stream",
        has_digit,
    ),
    shape(
        "otp", "otpauth", r"otpauth-migration://offline\?data=(?P<secret>[\w%+/=-]{16,}+)", "seeds of one-time codes"
    ),
    shape(
        "webhook-url",
        "ifttt",
        r"maker\.ifttt\.com/trigger/[^\s/]{1,100}/(?:json/)?with/key/(?P<secret>[\w-]{10,}+)",
        "address of a webhook",
    ),
    shape(
        "webhook-url",
        "logic powerautomate powerplatform",
        r"[?&]sig=(?P<secret>[\w%+/=-]{16,}+)",
        "signature in a workflow's address",
    ),
    shape(  # RFC 6749 section 4.1.2
        "oauth-code",
        "code",
        r"[?&#](?:code|auth_code|authorization_code)=(?P<secret>[^\s&\"'<>#\\]{8,512}+)"
        r"(?=&(?:[^\s\"'<>&]{0,512}+&){0,8}?(?:state|scope|session_state|iss|authuser)=)",
        "authorization code in a callback's query",
        has_digit,
    ),
    shape(
        "oauth-state",
        "state",
        r"[?&](?:state|session_state)=(?P<secret>[^\s&\"'<>#\\]{16,}+)",
        "state of an authorization request",
        is_token,
    ),
    shape(
        "link-token",
        _LINK_WORDS,
        rf"/(?:[a-z]{{2,12}}[-_]?)?(?:{'|'.join(_LINK_WORDS.split())})(?:[-_][a-z]{{2,12}})?/(?:[A-Za-z0-9_-]{{1,12}}/)?"
        r"(?P<secret>[A-Za-z0-9_~=-]{16,}+)(?=[/?\s\"'<>),;\]\\#&]|\Z)",
        "token in a link that signs somebody in",
        is_token,
    ),
    marked("link-token", ("/private-",), r"/private-(?P<secret>[0-9a-f]{24,})", "a private calendar's address"),
)
