"""Secrets that only their place gives away, in programs, calls, configurations and languages: § is the secret."""

from __future__ import annotations

import base64
import json
import secrets
import string

import pytest
from tests.redaction.lines import REDACTOR, check, some


@pytest.mark.parametrize(
    "line",
    [
        "sqlcmd -S db -U sa -P § -Q 'select 1'",
        "mosquitto_pub -h mq -u app -P § -t t -m hi",
        "zip -P § a.zip b",
        "unzip -P § a.zip",
        "helm registry login -u ci -p § registry.example",
        "docker login --password-stdin <<< '§'",
        '"ACL" "SETUSER" "worker" "on" ">§"',
        "7z x -p§ a.7z",
        "plink -ssh bob@host -pw § ls",
        "snmpwalk -v3 -u mon -A § 10.0.0.1",
        "xfreerdp /v:host /u:bob /p:§",
        "wmic /user:admin /password:§ os get",
        "cqlsh -u cassandra -p § 10.0.0.1",
        "crackmapexec smb 10.0.0.1 -u bob -p §",
        "etcdctl --user root:§ get /",
        "echo § | kinit bob@EXAMPLE",
        "bw unlock §",
        "mysqldump --user=root -p'§' app > dump.sql",
        "ACL SETUSER worker on >§ ~* +@all",
        'printf "%s" "§" | gh auth login --with-token',
        "celery flower --basic-auth=admin:§",
        "aws configure set aws_secret_access_key §",
        "setenv LDAP_PASSWORD §",
        "fastcgi_param DB_PASSWORD §;",
        "gh secret set DB_PASSWORD --body '§'",
        "npm config set //registry.example/:_authToken §",
        "set -gx ADMIN_PASSWORD §",
        "a1 LOGIN bob@example.com §",
    ],
)
def test_programs_have_flags_of_their_own(line: str) -> None:
    """What one letter means depends on the program."""
    secret = some()
    assert secret not in REDACTOR.redact(line.replace("§", secret))
    assert REDACTOR.redact(line.replace("§", "$PASSWORD")) == line.replace("§", "$PASSWORD")


@pytest.mark.parametrize(
    "line",
    [
        "smtp.login('admin', '§')",
        "requests.get(url, auth=('bob', '§'))",
        "User.objects.create_user('bob', 'bob@example.com', '§')",
        "pymysql.connect('db', 'app', '§')",
        "simple_bind_s('cn=svc,dc=example', '§')",
        'db.changeUserPassword("app", "§")',
        "connect(host, password)\n        │     └ '§'\n        └ 'db.internal'",
        'new NetworkCredential("bob", "§")',
        "requests.get(url, auth=HTTPBasicAuth('bob', '§'))",
        "mysqli_connect('db', 'root', '§', 'app')",
        "#0 /app/db.php(12): PDO->__construct('mysql:host=db', 'root', '§')",
        'DriverManager.getConnection(url, "root", "§");',
        "setattr(settings, 'db_password', '§')",
        '[Environment]::SetEnvironmentVariable("DB_PASSWORD", "§", "User")',
        '$secure = ConvertTo-SecureString "§" -AsPlainText -Force',
        "const password = process.env.DB_PASSWORD || '§'",
        'let dbPassword: String = "§"',
        'map[Password:[]string{"§"}]',
        'object(Cfg)#1 (1) {\n  ["password":protected]=>\n  string(20) "§"\n}',
        'variable "db_password" {\n  type    = string\n  default = "§"\n}',
    ],
)
def test_source_and_dumps_name_the_place(line: str) -> None:
    """An argument of a call that logs in, a default beside a name, a property of an object."""
    check(line, "password", some())


@pytest.mark.parametrize(
    "line",
    [
        "username admin password 0 §",
        "enable password §",
        "snmp-server community § RO",
        "tacacs-server key §",
        "localhost:5432:*:app:§",
        "[client]\nuser=bob\npass=§\nhost=db",
        "user: bob pass: §",
        "userPassword:: §",
        "mot_de_passe=§",
        "Kennwort: §",
        "contraseña: §",
        "пароль: §",
        '{"密码": "§"}',
        "パスワード\uff1a§",
        "DB_PASSWORD was set to §",
        'Reset password of bob to "§"',
        "changed password for user bob@example.com to '§'",
        "new password for bob: §",
        "the password for the vpn gateway is §",
    ],
)
def test_configurations_and_languages_have_words_of_their_own(line: str) -> None:
    """Network devices, short names, the languages of the world."""
    check(line, "password", some())


@pytest.mark.parametrize(
    "line",
    [
        "пароль: неверный",
        "contraseña: incorrecta",
        "first pass: done",
        "WARNING! Using --password via the CLI is insecure. Use --password-stdin.",
        '{"m": "see --password-stdin.", "request_id": "5b90"}',
        '{"m": "give it with --password", "request": "5b90"}',
        "cwd=/app PWD=/app OLDPWD=/",
        "new token for bob: sent",
        "3 pass, 2 fail",
        "enable password recovery",
        "login('admin', 'dashboard')",
        "std::password::Hasher",
        'os.environ.get("DB_PASSWORD") or "none"',
        "seed: 12345",
        "zip code -P 10001",
        "recovery phrase is required",
        "('password', 'PasswordResetForm', 'SetPasswordForm')",
        "0123456789abcdef0123456789abcdef",
    ],
)
def test_what_stands_in_the_same_places_and_is_no_secret(line: str) -> None:
    """Words stay readable."""
    assert REDACTOR.redact(line) == line


def test_a_value_that_stands_twice_is_hidden_twice() -> None:
    """Django logs a statement with its values, and then the values alone."""
    secret = some()
    line = f"UPDATE auth SET password = '{secret}' WHERE id = 7; args=('{secret}', 7)"
    assert secret not in REDACTOR.redact(line)
    assert REDACTOR.redact(line).endswith("args=('[redacted:password]', 7)")


def test_what_a_secret_was_changed_to_is_hidden_like_what_it_was() -> None:
    """Plans and audit logs have both."""
    old, new = some(), some()
    hidden = '~ password = "[redacted:password]" -> "[redacted:password]"'
    assert REDACTOR.redact(f'~ password = "{old}" -> "{new}"') == hidden


@pytest.mark.parametrize("before", ["", "web-1  | ", "Mar 02 10:00:01 web-1 app[77]: ", "[worker-1] ", "# ", "  12 │ "])
def test_a_private_key_is_hidden_behind_whatever_stands_before_its_lines(before: str) -> None:
    """Containers and journals put their names there."""
    dashes = "-" * 5
    lines = [f"{dashes}BEGIN PRIVATE KEY{dashes}", *(some(64) for _ in range(6)), f"{dashes}END PRIVATE KEY{dashes}"]
    text = "\n".join(before + line for line in (*lines, "started"))
    assert REDACTOR.redact(text) == f"{before}[redacted:private-key]\n{before}started"


def test_letters_by_chance_look_random_and_names_do_not() -> None:
    """Some tokens happen to have no digit."""
    assert REDACTOR.redact("GET /x?token=TvTKiKeeaOFEPRFaEGlh") == "GET /x?token=[redacted:token]"
    for name in ("getUserByIdAndName", "RateLimitMiddleware", "AUTHENTICATIONTOKEN", "authenticationtoken"):
        assert REDACTOR.redact(f"GET /x?token={name}") == f"GET /x?token={name}"


def test_words_that_stand_for_a_key_are_hidden_together() -> None:
    """A wallet is restored from twelve of them (BIP 39)."""
    words = [secrets.choice(["acid", "zebra", "absurd", "zone", "about", "actual", "wrist"]) for _ in range(12)]
    check("seed phrase: §", "secret", " ".join(words))
    check('mnemonic="§"', "secret", " ".join(words))


def test_text_in_hexadecimal_digits_is_read() -> None:
    """Hashes are none: their bytes are not those of text."""
    written = f"password={some()}".encode().hex()
    check("dump: §", "password", written)


def test_an_object_in_the_path_of_a_url_is_read() -> None:
    """Base64 without padding, as links have it."""
    written = base64.urlsafe_b64encode(json.dumps({"access_token": some(30)}).encode()).decode().rstrip("=")
    check("GET /s/§ 200", "token", written)


@pytest.mark.parametrize("break_", ["\n", "\\n"])
def test_pieces_of_a_private_key_are_hidden(break_: str) -> None:
    """Where a long text was cut, only the second part may be here; in source it is a list of strings."""
    dashes = "-" * 5
    lines = [some(64), some(64), some(30) + "=="]
    tail = "\n".join(lines) + f"\n{dashes}END EC PRIVATE KEY{dashes}"
    assert not any(line in REDACTOR.redact(tail) for line in lines)
    pieces = "\n".join(f"    '{line}{break_ if break_ != chr(10) else ''}'" for line in lines)
    source = f"key = (\n    '{dashes}BEGIN PRIVATE KEY{dashes}\\n'\n{pieces}\n)"
    assert not any(line in REDACTOR.redact(source) for line in lines)


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ("webhook-url", "POST https://n8n.example.com/webhook/§ 200"),
        ("webhook-url", "curl -fsS https://hc-ping.com/§"),
        ("stream-key", "rtmp://a.example.com/live2/§"),
        ("otp", "otpauth-migration://offline?data=§"),
        ("cookie", "curl -b 'wordpress_logged_in_7a6977a6=§' https://example.com"),
        ("ansible-vault", "$ANSIBLE_VAULT;1.1;AES256§"),
    ],
)
def test_addresses_that_are_secrets(rule: str, line: str) -> None:
    """Whoever has them may act."""
    secret = some(32)
    if rule == "ansible-vault":
        secret = "".join(f"\n  {secrets.token_hex(40)}" for _ in range(3))
    check(line, rule, secret)


@pytest.mark.parametrize(
    ("rule", "token"),
    [
        ("neon-password", "npg_" + some(6, string.ascii_letters) + "ZqWerT"),
        ("azure-storage-key", some(76) + "+ASt" + some(8) + "=="),
        ("azure-registry-key", some(42) + "+ACR" + some(6)),
        ("mailgun-key", f"{secrets.token_hex(16)}-{secrets.token_hex(4)}-{secrets.token_hex(4)}"),
        ("asana-token", f"2/1{secrets.randbelow(10**15):015}/5{secrets.randbelow(10**15):015}:{secrets.token_hex(16)}"),
        ("ably-key", f"{some(6)}.{some(6)}:{some(43)}"),
        ("azure-client-secret", f"aB{secrets.choice('aB')}8Q~{some(18)}~{some(18)}"),
        ("session", f".eJ{some(40)}.ZUuSDC.{some(27)}"),
        ("ubidots-token", "BBFF-" + some(30)),
        ("sanity-token", "sk" + some(178)),
    ],
)
@pytest.mark.parametrize("line", ["got §", "args=('§', 30)", '["§"]', "level=warn arg0=§ attempt=34"])
def test_tokens_are_told_by_their_form_alone(rule: str, token: str, line: str) -> None:
    """No name stands beside them."""
    check(line, rule, token)
