"""Tokens without a beginning of their own, told by what stands within them."""

from __future__ import annotations

from typing import Final

from launchkit.redaction.providers.form import CLOSED_END, END, UUID, ShapedForm

AZURE_SIGNATURES: Final = (
    ("azure-storage-key", "+ASt", "[A-Za-z0-9+/]{76}"),
    ("azure-batch-key", "+ABa", "[A-Za-z0-9+/]{76}"),
    ("azure-cosmos-key", "ACDb", "[A-Za-z0-9+/]{76}"),
    ("azure-api-management-key", "APIM", "[A-Za-z0-9+/]{76}"),
    ("azure-functions-key", "AzFu", "[A-Za-z0-9_-]{44}"),
    ("azure-search-key", "AzSe", "[A-Za-z0-9]{42}"),
    ("azure-cache-key", "AzCa", "[A-Za-z0-9]{33}"),
    ("azure-registry-key", "+ACR", "[A-Za-z0-9+/]{42}"),
    ("azure-service-bus-key", "+ASb", "[A-Za-z0-9+/]{33}"),
    ("azure-event-hub-key", "+AEh", "[A-Za-z0-9+/]{33}"),
    ("azure-iot-key", "AIoT", "[A-Za-z0-9+/]{33}"),
    ("azure-devops-token", "AZDO", "[A-Za-z0-9]{76}"),
    ("azure-service-key", "JQQJ99", "[A-Za-z0-9]{52}"),
)
"""The marks that Azure's keys carry so that they can be found, and what stands before them."""

SHAPED_FORMS: Final[tuple[ShapedForm, ...]] = (
    ShapedForm(  # the id of the bot in base64, when it was made, a signature
        "discord-bot-token", ".", r"[MNO][A-Za-z0-9_-]{22,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,}+", needs_digit=True
    ),
    ShapedForm("telegram-bot-token", ":AA", r"(?:bot)?+[0-9]{6,12}+:AA[A-Za-z0-9_-]{30,}+"),
    ShapedForm("test-key", "test_", r"test_(?<!_test_)[A-Za-z0-9]{25,}+", needs_digit=True),
    ShapedForm(  # itsdangerous, compressed
        "session", ".eJ", r"\.eJ[A-Za-z0-9_-]{20,}+\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,}+"
    ),
    ShapedForm("airtable-token", "pat", rf"pat[A-Za-z0-9]{{14}}\.[0-9a-f]{{64}}{END}"),
    ShapedForm("mailchimp-key", "-us", rf"[0-9a-f]{{32}}-us[0-9]{{1,2}}+{CLOSED_END}"),
    ShapedForm("azure-client-secret", "Q~", r"[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{30,}+"),
    ShapedForm("terraform-token", ".atlasv1.", r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{40,}+"),
    ShapedForm("clickup-token", "pk_", rf"pk_[0-9]{{6,10}}_[A-Za-z0-9]{{32}}{END}"),
    ShapedForm("smtp2go-key", "api-", rf"api-[0-9A-F]{{32}}{END}"),
    ShapedForm(
        "stripe-client-secret", "_secret_", r"[a-z]{2,4}_(?:live_|test_)?[A-Za-z0-9]{8,90}+_secret_[A-Za-z0-9]{10,}+"
    ),
    ShapedForm("mailgun-key", "-", rf"[0-9a-f]{{32}}-[0-9a-f]{{8}}-[0-9a-f]{{8}}{CLOSED_END}"),
    ShapedForm(
        "ably-key", ":", rf"[A-Za-z0-9_-]{{6}}\.[A-Za-z0-9_-]{{6}}:[A-Za-z0-9_-]{{43}}{CLOSED_END}", needs_digit=True
    ),
    ShapedForm("asana-token", ":", rf"[0-2]/[0-9]{{10,20}}(?:/[0-9]{{10,20}})?:[0-9a-f]{{32}}{END}"),
    ShapedForm(
        "firebase-messaging-token", ":APA91b", r"(?:[A-Za-z0-9_-]{22}|AAAA[A-Za-z0-9_-]{7}):APA91b[A-Za-z0-9_-]{60,}+"
    ),
    ShapedForm("salesforce-token", "!", r"00[A-Za-z0-9]{13}(?:[A-Za-z0-9]{3})?![A-Za-z0-9._-]{60,}+"),
    ShapedForm("convex-key", "|ey", r"(?:prod|dev|preview|project):[a-z0-9:-]{3,60}+\|ey[A-Za-z0-9+/=]{40,}+"),
    ShapedForm("maxmind-key", "_mmk", rf"[A-Za-z0-9]{{6}}_[A-Za-z0-9]{{29}}_mmk{END}"),
    ShapedForm("rapidapi-key", "jsn", rf"[a-z0-9]{{10}}msh[a-z0-9]{{15}}p1[a-z0-9]{{6}}jsn[a-z0-9]{{12}}{END}"),
    ShapedForm("new-relic-license-key", "NRAL", rf"[0-9A-Za-z]{{36}}NRAL{END}"),
    ShapedForm("bitwarden-token", "==", rf"0\.{UUID}\.[A-Za-z0-9]{{30}}:[A-Za-z0-9+/]{{22}}=="),
    ShapedForm("tableau-token", "==:", rf"[A-Za-z0-9+/]{{22}}==:[A-Za-z0-9]{{32}}{END}"),
    ShapedForm("facebook-app-token", "|", rf"[0-9]{{15,16}}\|[A-Za-z0-9_-]{{27,40}}+{CLOSED_END}"),
    ShapedForm(
        "authress-key",
        ".acc",
        r"(?:scauth|authress|ext|sc)_[a-z0-9]{5,30}\.[a-z0-9]{4,6}\.acc[_-][a-z0-9-]{10,32}\.[A-Za-z0-9+/_=-]{30,}+",
    ),
    *(
        ShapedForm(rule, mark, f"{before}{mark.replace('+', '[+]')}[A-Za-z0-9+/_-]{{4,40}}+={{0,2}}+")
        for rule, mark, before in AZURE_SIGNATURES
    ),
)
