"""Secrets on command lines, as shells, CI and process lists log them.

Where a place has a part that is no secret (user, host, scheme, name of a cookie), only the rest is marked.
"""

from __future__ import annotations

from typing import Final

COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "password-flag": (
        "worker --user {user} --password «{password}» --host {host}",
        "worker --password=«{password}» --host {host}",
        "Popen: args: ['worker', '--password', '«{password}»', '-v']",
    ),
    "token-flag": (
        "deploy --token «{w40}» --env production",
        "deploy --api-key=«{a32}» --env production",
        "cli login --client-secret «{w32}»",
        "ci --access-token «{w32}»",
    ),
    "curl-user": (
        "curl -u {user}:«{w16}» https://{site}/",
        "curl --user '{user}:«{w16}»' https://{site}/",
        "curl -s -u «{a32}»: https://api.{site}/v1/charges",
    ),
    "wget-password": (
        "wget --user={user} --password=«{w16}» https://{site}/a.zip",
        "wget --http-password «{w16}» https://{site}/a.zip",
    ),
    "mysql-password": (
        "mysql -u {user} -p«{w16}» -h {host} shop",
        "mysqldump --user={user} --password=«{w16}» shop",
        "mysqladmin -uroot -p«{w12}» status",
    ),
    "sshpass": ("sshpass -p «{w16}» ssh {user}@{host}", "sshpass -p'«{w16}»' scp a.tgz {user}@{host}:"),
    "redis-cli": (
        "redis-cli -h {host} -a «{w24}» ping",
        "redis-cli -u redis://default:«{w24}»@{host}:6379",
        "redis-cli --pass «{w24}» info",
    ),
    "redis-auth": (
        "AUTH «{w24}»",
        "redis command: AUTH {user} «{w24}»",
        "CONFIG SET requirepass «{w24}»",
        "requirepass «{w24}»",
    ),
    "docker-login": (
        "docker login -u {user} -p «{w24}» registry.{site}",
        "docker login registry.{site} --username {user} --password «{w24}»",
    ),
    "helm-set": (
        "helm upgrade app ./chart --set db.password=«{w16}»",
        "helm upgrade app ./chart --set-string auth.apiKey=«{w32}»",
    ),
    "pgpassword": (
        "PGPASSWORD=«{w16}» psql -h {host} -U {user}",
        "+ PGPASSWORD='«{w16}»' pg_dump shop",
        "MYSQL_PWD=«{w16}» mysql shop",
    ),
    "openssl": (
        "openssl enc -aes-256-cbc -k «{w16}» -in a",
        "openssl rsa -in key.pem -passin pass:«{w16}»",
        "openssl pkcs12 -export -passout pass:«{w16}» -in a.pem",
    ),
    "ldapsearch": ("ldapsearch -x -D cn=admin -w «{w16}» -H ldap://{host}",),
    "smbclient": (
        "smbclient //{host}/share -U '{user}%«{w16}»'",
        "mount -t cifs -o username={user},password=«{w16}» //{host}/s /mnt",
    ),
    "gpg": ("gpg --batch --passphrase «{w16}» -d backup.gpg",),
    "keytool": ("keytool -list -keystore a.jks -storepass «{w16}»", "keytool -genkey -keypass «{w16}» -alias app"),
    "aws-configure": (
        "aws configure set aws_secret_access_key «{b40}»",
        "aws configure set aws_session_token «{b200}»",
    ),
    "net-use": ("net use Z: \\\\{host}\\share /user:{user} «{w16}»", "net user {user} «{w16}» /add"),
    "echo-login": ("echo «{w24}» | docker login -u {user} --password-stdin", "echo '{user}:«{w16}»' | chpasswd"),
    "httpie-auth": ("http --auth {user}:«{w16}» GET https://{site}/", "http -a {user}:«{w16}» https://{site}/items"),
    "kubectl-literal": (
        "kubectl create secret generic db --from-literal=password=«{w16}»",
        "kubectl config set-credentials {user} --token=«{w40}»",
    ),
    "ansible": (
        "ansible-playbook site.yml -e ansible_become_pass=«{w16}»",
        'ansible-playbook site.yml --extra-vars "db_password=«{w16}»"',
    ),
}
"""Templates by kind."""
