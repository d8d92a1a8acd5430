"""Secrets in addresses: user information, webhooks, signatures, links that log a user in.

Where a place has a part that is no secret (user, host, scheme, name of a cookie), only the rest is marked.
"""

from __future__ import annotations

from typing import Final

ADDRESSES: Final[dict[str, tuple[str, ...]]] = {
    "url-postgres": (
        "postgresql://{user}:«{w12-24}»@{host}:5432/shop",
        "postgres://{user}:«{w16}»@{ip}/shop?sslmode=require",
        "postgresql+asyncpg://{user}:«{w20}»@db:5432/orders",
    ),
    "url-mysql": (
        "mysql://{user}:«{w16}»@{host}:3306/shop",
        "mysql+pymysql://{user}:«{w12}»@{host}/shop?charset=utf8mb4",
    ),
    "url-mssql": (
        "mssql+pyodbc://{user}:«{w16}»@{host}/shop?driver=ODBC+Driver+18",
        "sqlserver://{user}:«{w16}»@{host}:1433",
    ),
    "url-redis": (
        "redis://:«{w20}»@{host}:6379/0",
        "rediss://default:«{w32}»@{host}:6380",
        "redis://{user}:«{w12}»@cache:6379/1",
    ),
    "url-mongodb": (
        "mongodb://{user}:«{w16}»@{host}:27017/shop?authSource=admin",
        "mongodb+srv://{user}:«{a16}»@cluster0.{l5}.mongodb.net/shop",
    ),
    "url-amqp": (
        "amqp://{user}:«{w16}»@{host}:5672//",
        "amqps://{user}:«{w24}»@{host}/vhost",
        "pyamqp://{user}:«{w16}»@broker//",
    ),
    "url-https": ("https://{user}:«{w16}»@{site}/feed.xml", "http://{user}:«{w10}»@{ip}:8080/metrics"),
    "url-git": (
        "https://{user}:«{w24}»@git.{site}/team/app.git",
        "remote: https://oauth2:«{w26}»@git.{site}/team/app.git",
        "https://«{a40}»@git.{site}/team/app.git",
        "git+https://{user}:«{a36}»@git.{site}/team/app@main",
    ),
    "url-ftp": ("ftp://{user}:«{w12}»@{host}/in", "sftp://{user}:«{w16}»@{host}:22/export"),
    "url-smtp": ("smtp://{user}%40example.com:«{w16}»@{host}:587", "smtps://{user}:«{w16}»@{host}:465"),
    "url-ldap": ("ldap://cn=admin:«{w16}»@{host}:389", "ldaps://{user}:«{w16}»@{host}"),
    "url-proxy": ("http_proxy=http://{user}:«{w16}»@{host}:3128", "socks5://{user}:«{w16}»@{host}:1080"),
    "url-odd-password": (
        "postgres://{user}:«{a6}%40{a6}»@{host}/shop",
        "postgres://{user}:«{a6}@{a6}»@{host}/shop",
        "amqp://{user}:«{a4}#{a4}!{a4}»@{host}:5672/",
    ),
    "url-other-stores": (
        "clickhouse://{user}:«{w16}»@{host}:9000/logs",
        "snowflake://{user}:«{w16}»@{l8}.eu-central-1/db",
        "nats://{user}:«{w16}»@{host}:4222",
        "cassandra://{user}:«{w16}»@{host}:9042",
        "elasticsearch://elastic:«{w20}»@{host}:9200",
    ),
    "sentry-dsn": (
        "https://«{h32}»@o{d6}.ingest.sentry.io/{d7}",
        "SENTRY_DSN=https://«{h32}»@sentry.{site}/4",
        "http://{h32}:«{h32}»@sentry.{site}/2",
    ),
    "slack-webhook": (
        "https://hooks.slack.com/services/«T{u8}/B{u10}/{a24}»",
        "POST https://hooks.slack.com/workflows/«T{u8}/A{u10}/{d18}/{a24}»",
    ),
    "discord-webhook": (
        "https://discord.com/api/webhooks/{d18}/«{w68}»",
        "https://discordapp.com/api/webhooks/{d19}/«{w68}»",
    ),
    "teams-webhook": (
        "https://{word}.webhook.office.com/webhookb2/{uuid}@{uuid}/IncomingWebhook/«{h32}»/{uuid}",
        "https://prod-12.westeurope.logic.azure.com:443/workflows/{h32}/triggers/manual/paths/invoke?api-version=2016-06-01&sig=«{w43}»",
    ),
    "google-chat-webhook": ("https://chat.googleapis.com/v1/spaces/{a11}/messages?key=AIzaSy{w33}&token=«{w43}%3D»",),
    "zapier-webhook": ("https://hooks.zapier.com/hooks/catch/{d7}/«{l7}»/",),
    "make-webhook": ("https://hook.eu1.make.com/«{l32}»",),
    "telegram-bot-address": (
        "https://api.telegram.org/bot«{d10}:AA{w33}»/sendMessage",
        "POST /bot«{d10}:AA{w33}»/getUpdates HTTP/1.1",
    ),
    "ifttt-webhook": ("https://maker.ifttt.com/trigger/deployed/with/key/«{w43}»",),
    "mattermost-webhook": ("https://mattermost.{site}/hooks/«{l26}»",),
    "aws-presigned-url": (
        "https://{word}.s3.eu-central-1.amazonaws.com/r.pdf?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20260301T101112Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host&X-Amz-Signature=«{h64}»",
        "https://{word}.s3.amazonaws.com/r.pdf?AWSAccessKeyId={l8}&Expires=1780000000&Signature=«{a26}%3D»",
        "GET /{word}/r.pdf?X-Amz-Security-Token=«IQoJb3JpZ2lu{a160}»&X-Amz-Signature=«{h64}»",
    ),
    "gcs-signed-url": (
        "https://storage.googleapis.com/{word}/r.pdf?X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Expires=900&X-Goog-Signature=«{h256}»",
    ),
    "azure-shared-access-signature": (
        "https://{word}.blob.core.windows.net/in/r.pdf?sv=2024-11-04&se=2026-04-01T00%3A00%3A00Z&sr=b&sp=r&sig=«{a42}%3D»",
        "SharedAccessSignature sr={word}.servicebus.windows.net&sig=«{a42}%3D»&se=1780000000&skn=root",
    ),
    "cloudfront-signed-url": (
        "https://d{l13}.cloudfront.net/r.mp4?Expires=1780000000&Signature=«{w342}»&Key-Pair-Id=K{u13}",
    ),
    "oauth-callback": (
        "GET /auth/callback?code=«{w43}»&state=«{w22}» HTTP/1.1",
        "redirecting to https://{site}/oauth/callback?state=«{w32}»&code=«4/0A{w60}»&scope=email",
        "https://{site}/cb#access_token=«{w60}»&token_type=bearer&expires_in=3600",
    ),
    "password-reset-link": (
        "https://{site}/reset-password?token=«{w43}»",
        "https://{site}/password-reset/«{w43}»",
        "GET /accounts/reset/MTI/«{l6}-{h32}»/ HTTP/1.1",
        "https://{site}/users/password/edit?reset_password_token=«{w20}»",
    ),
    "magic-link": (
        "https://{site}/login/magic?token=«{w43}»&email=x",
        "https://{site}/magic-link/«{w43}»",
        "https://{site}/auth/verify?token=«{h64}»&type=magiclink",
    ),
    "confirmation-link": (
        "https://{site}/confirm-email?key=«{w43}»",
        "https://{site}/verify-email/«{w43}»",
        "https://{site}/users/confirmation?confirmation_token=«{w20}»",
    ),
    "invitation-link": ("https://{site}/invite/«{w32}»", "https://{site}/join?invite_token=«{w32}»"),
    "unsubscribe-link": ("https://{site}/unsubscribe?token=«{w43}»&list=4",),
    "signed-query": (
        "/webhooks/in?hub.verify_token=«{w24}»&hub.mode=subscribe",
        "/api/items?apikey=«{a32}»&q=x",
        "/export?access_token=«{w40}»&format=csv",
        "/ws?session_key=«{w40}»&v=2",
    ),
    "totp-address": (
        "otpauth://totp/Shop:{user}?secret=«{R32}»&issuer=Shop",
        "otpauth://hotp/Shop:{user}?counter=1&secret=«{R16}»",
    ),
}
"""Templates by kind."""
