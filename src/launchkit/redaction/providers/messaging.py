"""Tokens of services for mail, text messages, chat, and social networks."""

from __future__ import annotations

from typing import Final

from launchkit.redaction.providers.form import (
    CLOSED_END,
    END,
    MIXED,
    NO_WORD,
    UUID,
    TokenForm,
    alphanumeric,
    base64,
    dotted,
    exactly,
    url_safe,
)

MESSAGING_FORMS: Final[tuple[TokenForm, ...]] = (
    # mail and text messages
    TokenForm("sendgrid-key", ("SG.",), r"[A-Za-z0-9_.=-]{33,}+", needs_digit=True),
    TokenForm("mailgun-key", ("key-",), exactly("0-9a-f", 32)),
    TokenForm("mailersend-token", ("mlsn.",), alphanumeric(30)),
    TokenForm("mandrill-key", ("md-",), rf"{MIXED}[A-Za-z0-9_-]{{22}}{CLOSED_END}"),
    TokenForm("resend-key", ("re_",), r"(?=[a-z_]{0,60}[A-Z0-9])[A-Za-z0-9]{6,}+_[A-Za-z0-9]{16,}+"),
    TokenForm("brevo-key", ("xkeysib-", "xsmtpsib-"), url_safe(40)),
    TokenForm("courier-key", ("pk_prod_", "dk_prod_"), exactly("A-Z0-9", 28)),
    TokenForm("klaviyo-key", ("pk_",), exactly("a-z0-9", 34), needs_digit=True),
    TokenForm("twilio-key", ("SK",), exactly("0-9a-fA-F", 32)),
    TokenForm("telnyx-key", ("KEY",), rf"[0-9A-Za-z_-]{{55}}{CLOSED_END}", needs_digit=True),
    TokenForm("onesignal-key", ("os_v2_app_", "os_v2_org_"), alphanumeric(40)),
    TokenForm("nylas-key", ("nyk_", "nyk_v0_"), alphanumeric(30)),
    TokenForm("kit-key", ("kit_",), exactly("0-9a-f", 32)),
    TokenForm("fastmail-token", ("fmu1-", "fmb1-"), url_safe(40)),
    TokenForm("canadian-notify-key", ("gcntfy-",), url_safe(72), needs_digit=True),
    # chat
    TokenForm(
        "slack-token",
        ("xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxo-", "xoxc-", "xoxe-", "xoxe.xox", "xapp-", "xwfp-"),
        r"[A-Za-z0-9%+/=-]{8,}+",
        needs_digit=True,
    ),
    TokenForm("slack-cookie", ("xoxd-",), r"[A-Za-z0-9%+/=_\\-]{20,}+"),  # JSON may escape its slashes
    TokenForm("discord-token", ("mfa.",), url_safe(60), needs_digit=True),
    TokenForm("twitch-token", ("oauth:",), exactly("a-z0-9", 30), needs_digit=True),
    TokenForm("matrix-token", ("syt_",), r"[A-Za-z0-9+/=]{2,}+_[A-Za-z0-9]{16,}+(?:_[A-Za-z0-9]{6})?+"),
    TokenForm("dingtalk-secret", ("SEC",), exactly("0-9a-f", 64)),
    TokenForm("intercom-token", ("dG9rO",), base64(40)),
    # social networks and games
    TokenForm("facebook-token", ("EAA",), r"[B-Z][A-Za-z0-9]{80,}+", needs_digit=True),
    TokenForm("instagram-token", ("IGQV", "IGQW", "IGAA"), url_safe(80), needs_digit=True),
    TokenForm("twitter-bearer-token", ("A" * 21,), r"(?!A{20})[A-Za-z0-9%]{60,}+", needs_digit=True),
    TokenForm("linkedin-client-secret", ("WPL_AP0.", "WPL_AP1."), r"[A-Za-z0-9]{10,}+\.[A-Za-z0-9+/]{6,}+={0,2}+"),
    TokenForm("pinterest-token", ("pina_", "pinr_", "pinc_"), url_safe(20), needs_digit=True),
    TokenForm("tiktok-token", ("act.", "rft."), r"[A-Za-z0-9]{40,}+(?:![A-Za-z0-9.]++)?+", needs_digit=True),
    TokenForm("vk-token", ("vk1.a.",), url_safe(60)),
    TokenForm("lichess-token", ("lip_",), NO_WORD + url_safe(16)),
    TokenForm("riot-key", ("RGAPI-",), UUID),
    TokenForm("roblox-cookie", ("_|WARNING:-DO-NOT-SHARE-THIS.",), rf"[^|\n]{{10,300}}+\|_[0-9A-Za-z]{{60,}}+{END}"),
    TokenForm("modrinth-token", ("mrp_",), alphanumeric(40)),
    TokenForm("thunderstore-token", ("tss_",), url_safe(20), needs_digit=True),
    TokenForm("guilded-token", ("gapi_",), dotted(40)),
)
