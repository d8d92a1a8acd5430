"""Secrets in what apps print of their own data: reprs, bodies, errors, environments.

Where a place has a part that is no secret (user, host, scheme, name of a cookie), only the rest is marked.
"""

from __future__ import annotations

from typing import Final

DUMPS: Final[dict[str, tuple[str, ...]]] = {
    "python-locals": (
        "    password = '«{password}»'\n    user = <User {number}>",
        "  locals: {'self': <Client>, 'token': '«{w40}»', 'n': 3}",
    ),
    "dataclass-repr": (
        "User(id={number}, name='{user}', password='«{password}»')",
        "OAuthToken(access_token='«{w40}»', refresh_token='«{w40}»', expires_in=3600)",
    ),
    "keyword-arguments": (
        "Task orders.sync[{uuid}] received kwargs={'api_key': '«{w32}»', 'page': 2}",
        "connect(host='{host}', user='{user}', password='«{w16}»')",
    ),
    "pydantic-error": (
        "1 validation error for Settings\ndatabase_password\n  Input should be a valid integer [type=int_parsing, input_value='«{password}»', input_type=str]",  # noqa: E501  # one line of log
    ),
    "botocore": (
        "botocore.auth DEBUG Calculating signature using v4 auth.\nAuthorization: AWS4-HMAC-SHA256 Credential=AKIA{R16}/20260301/eu/s3/aws4_request, Signature=«{h64}»",  # noqa: E501  # one line of log
        "botocore.hooks Event: {'aws_access_key_id': 'AKIA{R16}', 'aws_secret_access_key': '«{b40}»'}",
    ),
    "psycopg-error": (
        'connection to server at "{host}" failed: password=«{w16}» is wrong for user {user}',
        'psycopg.OperationalError: invalid dsn: missing "=" after "x" in postgresql://{user}:«{w16}»@{host}/shop',
    ),
    "json-body": (
        'body={"username": "{user}", "password": "«{password}»"}',
        'response {"access_token":"«{w60}»","token_type":"Bearer","expires_in":3600,"refresh_token":"«{w43}»"}',
    ),
    "form-body": (
        "grant_type=client_credentials&client_id={l8}&client_secret=«{w40}»",
        "username={user}&password=«{w16}»&next=%2F",
        "grant_type=refresh_token&refresh_token=«{w43}»",
    ),
    "multipart-body": ('Content-Disposition: form-data; name="password"\r\n\r\n«{password}»\r\n--{h16}--',),
    "header-pairs": (
        "headers=[['host', '{site}'], ['x-api-key', '«{w32}»']]",
        "('X-Auth-Token', '«{w32}»'), ('Accept', '*/*')",
    ),
    "graphql": (
        'mutation { login(email: "x", password: "«{password}»") { id } }',
        'variables: {"input": {"password": "«{password}»"}}',
    ),
    "environment-dump": (
        "PATH=/usr/bin DB_PASSWORD=«{w16}» LANG=C",
        "environ: HOME=/root\x00API_SECRET=«{w32}»\x00LANG=C",
        'declare -x SECRET_TOKEN="«{w32}»"',
    ),
    "url-encoded-nested": ("GET /login?next=%2Fcallback%3Ftoken%3D«{w43}»%26page%3D2 HTTP/1.1",),
}
"""Templates by kind."""
