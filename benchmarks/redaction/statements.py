"""Secrets in SQL and in connection strings.

Where a place has a part that is no secret (user, host, scheme, name of a cookie), only the rest is marked.
"""

from __future__ import annotations

from typing import Final

STATEMENTS: Final[dict[str, tuple[str, ...]]] = {
    "sql-identified-by": (
        "CREATE USER '{user}'@'%' IDENTIFIED BY '«{w16}»'",
        'ALTER USER {user} IDENTIFIED BY "«{w16}»"',
        "CREATE USER {user} IDENTIFIED WITH mysql_native_password BY '«{w16}»'",
    ),
    "sql-role-password": (
        "ALTER ROLE {user} WITH LOGIN PASSWORD '«{w16}»'",
        "CREATE ROLE {user} LOGIN ENCRYPTED PASSWORD '«{w16}»'",
        "CREATE USER {user} WITH PASSWORD '«{w16}»'",
    ),
    "sql-set-password": ("SET PASSWORD FOR '{user}'@'localhost' = '«{w16}»'", "SET PASSWORD = PASSWORD('«{w16}»')"),
    "sql-insert": (
        "INSERT INTO users (id, email, password_hash, active) VALUES ({number}, 'a', '«{w40}»', true)",
        "INSERT INTO api_clients (name, api_key) VALUES ('{word}', '«{w40}»')",
        'INSERT INTO "sessions" ("id", "access_token", "ip") VALUES ({number}, \'«{w40}»\', \'{ip}\')',
    ),
    "sql-update": (
        "UPDATE users SET password = '«{password}»', updated_at = now() WHERE id = {number}",
        "UPDATE clients SET client_secret='«{w40}»' WHERE name='{word}'",
    ),
    "sql-where": (
        "SELECT id FROM sessions WHERE session_token = '«{w40}»' LIMIT 1",
        "SELECT * FROM tokens WHERE tokens.access_token = '«{w40}»'",
        "DELETE FROM resets WHERE reset_token='«{w40}»'",
    ),
    "sql-echo": (
        "[SQL: INSERT INTO users (email, password) VALUES (%(email)s, %(password)s)]\n[parameters: {'email': 'x', 'password': '«{password}»'}]",  # noqa: E501  # one line of log
    ),
    "sql-server-login": (
        "CREATE LOGIN {user} WITH PASSWORD = N'«{w16}»'",
        "CREATE DATABASE SCOPED CREDENTIAL c WITH IDENTITY = 'x', SECRET = '«{w40}»'",
    ),
    "sql-subscription": ("CREATE SUBSCRIPTION s CONNECTION 'host={host} user={user} password=«{w16}»' PUBLICATION p",),
    "dsn-libpq": (
        "connection failed: host={host} port=5432 user={user} password=«{w16}» dbname=shop",
        "dsn \"dbname='shop' user='{user}' password='«{w16}»' host='{host}'\"",
    ),
    "dsn-odbc": ("DRIVER={ODBC Driver 18};SERVER={host};DATABASE=shop;UID={user};PWD=«{w16}»;Encrypt=yes",),
    "dsn-ado": (
        "Server={host};Database=shop;User Id={user};Password=«{w16}»;TrustServerCertificate=true",
        "Data Source={host};Initial Catalog=shop;User ID={user};Password=«{w16}»",
    ),
    "dsn-jdbc": (
        "jdbc:postgresql://{host}/shop?user={user}&password=«{w16}»",
        "jdbc:mysql://{host}:3306/shop?user={user}&password=«{w16}»&useSSL=true",
        "jdbc:oracle:thin:{user}/«{w16}»@{host}:1521:orcl",
        "jdbc:sqlserver://{host}:1433;user={user};password=«{w16}»;",
    ),
    "dsn-azure-storage": (
        "DefaultEndpointsProtocol=https;AccountName={word};AccountKey=«{b86}==»;EndpointSuffix=core.windows.net",
    ),
    "dsn-azure-servicebus": (
        "Endpoint=sb://{word}.servicebus.windows.net/;SharedAccessKeyName=root;SharedAccessKey=«{b43}=»",
        "HostName={word}.azure-devices.net;DeviceId=d1;SharedAccessKey=«{b43}=»",
    ),
    "dsn-azure-appconfiguration": (
        "Endpoint=https://{word}.azconfig.io;Id={a10};Secret=«{b43}=»",
        "endpoint=https://{word}.communication.azure.com/;accesskey=«{b86}==»",
    ),
    "dsn-applicationinsights": ("AccountEndpoint=https://{word}.documents.azure.com:443/;AccountKey=«{b86}==»;",),
}
"""Templates by kind."""
