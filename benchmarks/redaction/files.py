"""Secrets in what configuration files and databases of users hold, printed into a log.

Where a place has a part that is no secret (user, host, scheme, name of a cookie), only the rest is marked.
"""

from __future__ import annotations

from typing import Final

FILES: Final[dict[str, tuple[str, ...]]] = {
    "bcrypt-hash": ("user {user} has hash «$2b$12${a53}»", "{user}:«$2y$05${a53}»"),
    "argon2-hash": ("stored «$argon2id$v=19$m=65536,t=3,p=4${a22}${a43}» for {user}",),
    "shadow-line": ("{user}:«$6${a16}${a86}»:19700:0:99999:7:::", "{user}:«$y$j9T${a22}${a43}»:19700:0:99999:7:::"),
    "htpasswd-line": ("{user}:«$apr1${a8}${a22}»", "{user}:«{SHA}{a27}=»"),
    "django-hash": (
        "password = '«pbkdf2_sha256$870000${a22}${a43}=»'",
        "hash «pbkdf2:sha256:600000${a16}${h64}» of {user}",
        "hash «scrypt:32768:8:1${a16}${h128}»",
    ),
    "npmrc": ("//npm.{site}/:_authToken=«{a36}»", "//registry.{site}/:_password=«{a22}==»", "_auth=«{a30}==»"),
    "netrc": ("machine {site} login {user} password «{w16}»", "machine {site}\n  login {user}\n  password «{w16}»"),
    "pypirc": ("[pypi]\nusername = __token__\npassword = «{w60}»",),
    "pgpass": ("{host}:5432:shop:{user}:«{w16}»",),
    "docker-config": ('{"auths": {"registry.{site}": {"auth": "«{a40}=»"}}}', '{"identitytoken": "«{w40}»"}'),
    "kubernetes-secret": (
        "kind: Secret\nmetadata:\n  name: db\ndata:\n  password: «{a22}==»",
        "kind: Secret\nstringData:\n  api-key: «{w32}»",
    ),
    "kubeconfig": (
        "users:\n- name: {user}\n  user:\n    token: «{w60}»",
        "    client-key-data: «LS0tLS1CRUdJTi{a200}»",
    ),
    "wireguard": ("[Interface]\nPrivateKey = «{b43}=»\nAddress = 10.0.0.2/32", "PresharedKey = «{b43}=»"),
    "aws-credentials": ("[default]\naws_access_key_id = «AKIA{R16}»\naws_secret_access_key = «{b40}»",),
    "service-account": (
        '{"type": "service_account", "private_key_id": "{h40}", "private_key": "«-----BEGIN {|RSA }PRIVATE KEY-----\\n{b64}\\n{b64}\\n-----END {|RSA }PRIVATE KEY-----\\n»"}',  # noqa: E501  # one line of log
    ),
    "pem-key": (
        "-----BEGIN {RSA |EC |OPENSSH ||ENCRYPTED }PRIVATE KEY-----\n«{b64}»\n«{b64}»\n«{b30}=»\n-----END {RSA |EC |}PRIVATE KEY-----",  # noqa: E501  # one line of log
    ),
    "pem-cut": (
        "loaded -----BEGIN {RSA |EC |}PRIVATE KEY-----\n«{b64}»\n«{b64}»",
        "key: -----BEGIN {RSA |}PRIVATE KEY-----\n«{b64}»\n«{b40}»...",
    ),
    "pem-escaped": (
        '"key": "-----BEGIN {RSA |}PRIVATE KEY-----\\n«{b64}»\\n«{b64}»\\n-----END {RSA |}PRIVATE KEY-----\\n"',
        "b'-----BEGIN {EC |}PRIVATE KEY-----\\\\n«{b64}»\\\\n«{b64}»\\\\n-----END'",
    ),
    "pgp-key": (
        "-----BEGIN PGP {PRIVATE|PRIVATE} KEY BLOCK-----\n\n«{b64}»\n«{b64}»\n-----END PGP {PRIVATE|PRIVATE} KEY BLOCK-----",  # noqa: E501  # one line of log
    ),
    "putty-key": ("PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 1\n«{b64}»\nPrivate-MAC: {h64}",),
    "nuget-config": ('<add key="ClearTextPassword" value="«{w24}»" />',),
    "maven-settings": ("<server><id>nexus</id><username>{user}</username><password>«{w16}»</password></server>",),
    "properties": (
        "spring.datasource.password=«{w16}»",
        "javax.net.ssl.keyStorePassword=«{w16}»",
        "app.jwt.secret: «{w43}»",
    ),
    "ini": (
        "[database]\nuser = {user}\npassword = «{w16}»",
        "sqlalchemy.url = postgresql://{user}:«{w16}»@{host}/shop",
    ),
    "sip": ("defaultuser={user}\nsecret=«{w16}»",),
    "wpa-supplicant": ('network={\n  ssid="{word}"\n  psk="«{w16}»"\n}',),
    "terraform-state": (
        '{"type": "aws_db_instance", "attributes": {"username": "{user}", "password": "«{w16}»"}}',
        'master_password = "«{w16}»"',
    ),
    "django-settings": (
        "SECRET_KEY = 'django-insecure-«{x40}»'",
        "DATABASES = {'default': {'USER': '{user}', 'PASSWORD': '«{w16}»'}}",
    ),
    "rails-credentials": ("secret_key_base: «{h128}»", "config.secret_token = '«{h64}»'"),
    "wordpress-config": ("define('DB_PASSWORD', '«{w16}»');", "define( 'AUTH_KEY', '«{x64}»' );"),
}
"""Templates by kind."""
