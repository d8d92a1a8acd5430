"""Where secrets stand in logs, and what of the line stays readable: § is the secret."""

from __future__ import annotations

import base64
import secrets

import pytest
from tests.redaction.lines import HEX, REDACTOR, check, some

from launchkit.redaction.key_words import HARMLESS_ENDINGS, SECRET_ENDINGS, SECRET_WORDS, WEAK_WORDS
from launchkit.redaction.keys import Kind

# --- command lines ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "curl -u bob:§ https://example.com/",
        "curl -sSu bob:§ https://example.com/",
        "curl --user bob:§ https://example.com/",
        'curl --user "bob:§" https://example.com/',
        "curl -x proxy:3128 --proxy-user bob:§ https://example.com/",
        "wget --user=bob --password=§ https://example.com/",
        "mysql -u root -p§ shop",
        "mysqldump --single-transaction -h db -u root -p§ shop > shop.sql",
        "mariadb -uroot -p§ -e 'show tables'",
        "mysqladmin --password=§ ping",
        "redis-cli -h cache -p 6379 -a § ping",
        "valkey-cli -a § info",
        "sshpass -p § ssh deploy@host",
        "sshpass -p'§' ssh deploy@host",
        "docker login -u bob -p § registry.example.com",
        "docker login --username bob --password § registry.example.com",
        "podman login -u bob -p § quay.example",
        "az login --service-principal -u app -p § --tenant t",
        "oc login -u bob -p § https://cluster.example:6443",
        "mongosh --host db -u root -p § admin",
        "mongodump -u root -p § --out /tmp/dump",
        "cypher-shell -u neo4j -p § 'match (n) return n'",
        "ldapsearch -x -D cn=admin -w § -b dc=example",
        "htpasswd -cb /etc/htpasswd bob §",
        "htpasswd -bB users bob '§'",
        "openssl rsa -in key.pem -passin pass:§ -out plain.pem",
        "openssl pkcs12 -export -passout pass:§ -in a.pem",
        "openssl enc -aes-256-cbc -in a -out b -k §",
        r"net use Z: \\server\share /user:bob §",
        "net user bob § /add",
        "smbclient //server/share -U bob%§",
        "sqlplus scott/§@orcl",
        "lftp -u bob,§ sftp.example.com",
        "echo 'bob:§' | chpasswd",
        "echo § | docker login --username bob --password-stdin",
        "echo § | sudo -S apt update",
        "rabbitmqctl add_user bob §",
        "rabbitmqctl change_password bob §",
        "redis-server --requirepass §",
        "requirepass §",
        "masterauth §",
    ],
)
def test_the_password_on_a_command_line_is_hidden(line):
    """Short flags mean another thing with each program; the program, its user and its host stay readable."""
    check(line, "password", some(14))


def test_a_key_in_place_of_the_user_is_hidden():
    """Some services take their key as the user, without a password."""
    check("curl https://example.com/v1/charges -u §: -d amount=7", "password", some(32))


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("deploy --api-key § --region eu", "api-key"),
        ("deploy --api-key=§ --region eu", "api-key"),
        ("deploy --password '§' --region eu", "password"),
        ('deploy --password "§" --region eu', "password"),
        ("['deploy', '--token', '§', '--region', 'eu']", "token"),
        ('["deploy", "--client-secret", "§"]', "secret"),
        ("snyk auth §", "token"),
        ("codecov -t § -f coverage.xml", "token"),
        ("::add-mask::§", "token"),
        ("::set-output name=deploy_token::§", "token"),
    ],
)
def test_the_value_of_a_flag_with_a_secret_name_is_hidden(line, rule):
    """As a word, after an equals sign, in quotes, and in the list that a program was started with."""
    check(line, rule, some(24))


@pytest.mark.parametrize(
    "line",
    [
        "mkdir -p /srv/app/releases",
        "docker run -p 8080:80 app:1.4",
        "cp -p a.txt b.txt",
        "deploy --no-password --region eu",
        "deploy --password --region eu",
        "deploy --token-file /run/token --password-stdin",
        "curl -u $NAME:$PASSWORD https://example.com/",
        "mysql -u root -p shop",
        "docker login --username bob --password-stdin",
        "redis-cli -a $REDIS_PASSWORD ping",
        "git push -u origin main",
        "docker exec -u 1000:1000 app id",
    ],
)
def test_flags_without_a_secret_survive(line):
    """A flag that asks for the password, names where it is, or means another thing here."""
    assert REDACTOR.redact(line) is line


# --- dialogs, files, statements --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("> PASS §", "password"),
        ("sent: 'PASS §'", "password"),
        (r"send: 'PASS §\r\n'", "password"),
        (r"send: b'AUTH PLAIN §\r\n'", "password"),
        ("AUTH §", "password"),
        ("AUTH default §", "password"),
        ('"AUTH" "default" "§"', "password"),
        ("A1 LOGIN bob §", "password"),
        ('a001 noise\nA001 LOGIN bob@example.com "§"', "password"),
        ("machine api.example.com login bob password §", "password"),
        ("db.example.com:5432:shop:bob:§", "password"),
        ("*:5432:*:bob:§", "password"),
        ("CREATE USER 'bob'@'%' IDENTIFIED BY '§'", "password"),
        ("ALTER USER 'bob'@'%' IDENTIFIED WITH mysql_native_password BY '§';", "password"),
        ("create user bob identified by '§'", "password"),
        ("CREATE ROLE bob WITH LOGIN PASSWORD '§'", "password"),
        ("ALTER USER bob WITH ENCRYPTED PASSWORD '§';", "password"),
        ("SELECT crypt('§', gen_salt('bf'))", "password"),
        ("SELECT pgp_sym_decrypt(data, '§') FROM cards", "password"),
        ("SET PASSWORD FOR 'bob'@'%' = '§'", "password"),
        ("UPDATE users SET password = '§' WHERE id = 7", "password"),
        ("jdbc:oracle:thin:scott/§@db.example:1521:orcl", "url-password"),
        (".example.com\tTRUE\t/\tTRUE\t1893456000\tsessionid\t§", "session"),
    ],
)
def test_passwords_in_dialogs_files_and_statements_are_hidden(line, rule):
    """What protocols, `.netrc`, `.pgpass`, cookie files and SQL write where no key name is."""
    check(line, rule, some(18))


def test_a_license_of_sidekiq_is_hidden():
    """Bundler takes it from a variable named after the host."""
    check("BUNDLE_GEMS__CONTRIBSYS__COM=§", "sidekiq-key", f"{some(8, HEX)}:{some(8, HEX)}")


def test_a_private_key_of_putty_is_hidden():
    """The public lines stay (PuTTY's file format, version 3)."""
    lines = "\n".join(base64.b64encode(secrets.token_bytes(48)).decode() for _ in range(2))
    text = f"PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 2\n{lines}\nPrivate-MAC: "
    assert lines not in REDACTOR.redact(text)
    assert REDACTOR.redact(text).startswith(
        "PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 2\n[redacted:private-key]"
    )


def test_the_private_members_of_a_json_web_key_are_hidden():
    """RFC 7518 section 6: `d` and the primes; the public members and the id stay readable."""
    check(
        '{"kty": "OKP", "crv": "Ed25519", "d": "§", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}',
        "private-key",
        some(43),
    )
    check('{"kty":"RSA","e":"AQAB","p":"§"}', "private-key", some(80))


HASHES = [
    lambda: f"$2b$12${some(53)}",
    lambda: f"$argon2id$v=19$m=65536,t=3,p=4${some(22)}${some(43)}",
    lambda: f"pbkdf2_sha256$600000${some(22)}${some(43)}=",
    lambda: f"scrypt:32768:8:1${some(16)}${some(128, HEX)}",
    lambda: f"pbkdf2:sha256:260000${some(16)}${some(64, HEX)}",
    lambda: f"$6${some(16)}${some(86)}",
    lambda: f"$y$j9T${some(22)}${some(43)}",
    lambda: f"$apr1${some(8)}${some(22)}",
    lambda: f"{{SSHA}}{some(32)}",
]


@pytest.mark.parametrize("password_hash", HASHES)
@pytest.mark.parametrize("line", ["row: (7, 'bob', '§')", "bob:§:19000:0:99999:7:::", "stored §"])
def test_the_hash_of_a_password_is_hidden(line, password_hash):
    """It can be guessed at leisure: modular crypt format, PHC strings, Django's, Werkzeug's, LDAP's."""
    secret = password_hash()
    hidden = REDACTOR.redact(line.replace("§", secret))
    assert secret[-16:] not in hidden
    assert "[redacted:password-hash]" in hidden


def test_a_price_and_a_shell_variable_are_no_hashes():
    """A dollar sign and digits do not make one."""
    text = f"$6.50 for $HOME and $1 and $2 in request {secrets.token_hex(16)}"
    assert REDACTOR.redact(text) is text


# --- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("https://hooks.slack.com/services/§", "webhook-url"),
        ("https://hooks.slack.com/workflows/§", "webhook-url"),
        ("https://hooks.zapier.com/hooks/catch/§", "webhook-url"),
        ("https://discord.com/api/webhooks/123456789012345678/§", "webhook-url"),
        ("https://discordapp.com/api/v10/webhooks/123456789012345678/§", "webhook-url"),
        ("https://acme.webhook.office.com/webhookb2/§", "webhook-url"),
        ("https://hook.eu1.make.com/§", "webhook-url"),
        ("https://webhook.site/§", "webhook-url"),
        ("https://open.feishu.cn/open-apis/bot/v2/hook/§", "webhook-url"),
        ("https://maker.ifttt.com/trigger/sale/with/key/§", "webhook-url"),
        ("https://prod-1.westus.logic.azure.com/workflows/w/triggers/manual/run?sp=x&sig=§", "signature"),
        ("GET /oauth/callback?code=§&state=x HTTP/1.1", "code"),
        ("https://accounts.example.com/authorize?client_id=web&state=§", "oauth-state"),
        ("https://app.example.com/reset/§", "link-token"),
        ("https://app.example.com/password-reset/§/", "link-token"),
        ("https://app.example.com/auth/magic-link/§?next=/", "link-token"),
        ('<a href="https://app.example.com/verify-email/§">', "link-token"),
        ("https://app.example.com/accounts/confirm/MQ/§", "link-token"),
        ("https://app.example.com/invite/§", "link-token"),
        ("https://mail.example.com/unsubscribe/§", "link-token"),
        ("https://calendar.google.com/calendar/ical/bob/private-§/basic.ics", "link-token"),
    ],
)
def test_addresses_that_open_something_are_hidden_after_their_host_and_path(line, rule):
    """Whoever has the address of a webhook or a link may use it; where it leads stays readable."""
    check(line, rule, some(40, HEX))


@pytest.mark.parametrize("following", ["state=x", "scope=email&authuser=0", "prompt=none&session_state=x"])
def test_a_short_authorization_code_is_known_by_what_comes_with_it(following):
    """A callback has its state or scope beside the code (RFC 6749 section 4.1.2); `code` alone is many things."""
    check(f"GET /oauth/callback?code=§&{following} HTTP/1.1", "oauth-code", some(12))
    line = f"GET /orders?code={some(12)}&page=2 HTTP/1.1"
    assert REDACTOR.redact(line) is line


@pytest.mark.parametrize(
    "line",
    [
        "GET /reset/password HTTP/1.1",
        "GET /verify/email-address-of-the-account HTTP/1.1",
        "GET /hooks/pre-commit-configuration HTTP/1.1",
        "GET /orders?code=SUMMER-2024&page=2 HTTP/1.1",
        "GET /authorize?state=pending HTTP/1.1",
        "https://discord.com/api/v10/channels/123456789012345678/messages",
    ],
)
def test_addresses_that_open_nothing_survive(line):
    """Words in a path, and values of everyday parameters."""
    assert REDACTOR.redact(line) is line


@pytest.mark.parametrize(
    "line",
    [
        "postgresql://bob:§@db.example:5432/shop?sslmode=require",
        "postgresql+asyncpg://bob:§@db/shop",
        "mongodb+srv://bob:§@cluster0.example/shop",
        "mongodb://bob:§@a.example:27017,b.example:27017/shop?replicaSet=rs",
        "redis://:§@cache:6379/0",
        "rediss://default:§@cache",
        "amqp://guest:§@mq//",
        "https://bob:§@example.com/a@b",
        "connecting to (postgres://bob:§@db/x), again",
        "['redis://:§@a', 'redis://b']",
        "smtp://bob%40example.com:§@mail.example:587",
        "http://bob:§@proxy:3128",
        "could not connect to <postgres://bob:§@db/x>",
    ],
)
@pytest.mark.parametrize("secret", [some(12), "p" + some(5) + "@" + some(5), some(5) + "/" + some(5), "hunter2"])
def test_the_password_of_a_url_is_hidden_whatever_is_in_it(line, secret):
    """Also where an app forgot to escape @ and /; scheme, user, host, port and path stay (RFC 3986 section 3.2.1)."""
    check(line, "url-password", secret)


def test_urls_right_behind_one_another_lose_each_their_own_password():
    """A list of brokers, joined by commas or by nothing."""
    first, second = some(12), some(12)
    hidden = REDACTOR.redact(f"amqp://bob:{first}@a,amqp://eve:{second}@b")
    assert hidden == "amqp://bob:[redacted:url-password]@a,amqp://eve:[redacted:url-password]@b"


# --- beside a name ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "- name: DB_PASSWORD\n  value: §",
        '- name: DB_PASSWORD\n  value: "§"\n- name: PORT\n  value: "5432"',
        '{"name": "DB_PASSWORD", "value": "§"}',
        '{"key":"DB_PASSWORD","value":"§","type":"text"}',
        '<add key="DbPassword" value="§" />',
        "<password>§</password>",
        "<db><password>§</password><host>db</host></db>",
        "<ns:password>§</ns:password>",
        '<property name="password" value="§"/>',
        '<entry key="db.password">§</entry>',
        '<string name="db_password">§</string>',
        "<key>Password</key>\n\t<string>§</string>",
        'Content-Disposition: form-data; name="password"\r\n\r\n§\r\n--x',
        r"Content-Disposition: form-data; name=\"password\"\r\n\r\n§\r\n--x",
        's:8:"password";s:16:"§";',
        '["password"]=>\n  string(16) "§"',
        '{"type":"string_too_short","loc":["body","password"],"msg":"String should be longer","input":"§"}',
        "password\n  String should be longer [type=string_too_short, input_value='§', input_type=str]",
        '<input type="password" name="password" value="§">',
        '<input value="§" name="password">',
        '<input type="password" value="§" id="password">',
        "<tr><td>DB_PASSWORD</td><td><pre>'§'</pre></td></tr>",
        '<tr>\n<td>password</td>\n<td class="code"><pre>§</pre></td></tr>',
        "user.set_password('§')",
        "client.login('password', '§')",
        "os.environ.setdefault('DB_PASSWORD', '§')",
        "ENV DB_PASSWORD §",
        'variable "db_password" {\n  default = "§"\n}',
        "password -> §",
        "DB_PASSWORD=§\nPORT=1",
        "export DB_PASSWORD='§'",
        "password | §",
    ],
)
def test_a_value_beside_a_secret_name_is_hidden(line):
    """YAML, JSON, XML, property lists, forms, PHP, validation errors, HTML, debug pages, calls, Terraform, Docker."""
    check(line, "password", some(16))


@pytest.mark.parametrize(
    "line",
    [
        "the password is §",
        "your password is: §",
        "password is '§'",
        "password was §, sorry",
        "password set to §",
        "password for bob is §",
        "password for user bob is §",
        "password of `§`",
        "logged in with password '§'",
        'created user bob with password "§"',
        "using password §",
        "password changed from '§' to 'x'",
        "trying password §",
        "The temporary password for bob: §",
        "Initial admin password generated for bob: §",
    ],
)
def test_a_sentence_that_says_the_password_loses_it(line):
    """People and programs say it in words."""
    secret = some(12)
    hidden = REDACTOR.redact(line.replace("§", secret))
    assert secret not in hidden
    assert hidden.startswith(line.partition("§")[0])


def test_both_passwords_of_a_change_are_hidden():
    """The old one may still open something else."""
    line = f"password changed from '{some(10)}' to '{some(10)}' by bob"
    assert REDACTOR.redact(line) == "password changed from '[redacted:password]' to '[redacted:password]' by bob"


@pytest.mark.parametrize(
    "line",
    [
        "your code is 493817",
        "verification code: 493817",
        "OTP 493 817 sent",
        "your login code 493-817 expires soon",
    ],
)
def test_a_one_time_code_in_a_sentence_is_hidden(line):
    """Six digits after the word."""
    hidden = REDACTOR.redact(line)
    assert "[redacted:otp]" in hidden
    assert "817" not in hidden


@pytest.mark.parametrize(
    "line",
    [
        "the password is required",
        "password is too short",
        "password was changed by bob",
        "password has been reset",
        "password for bob is wrong",
        "with password authentication",
        "using password file /etc/pgpass",
        "status code is 404",
        "exit code 137",
        "error code: 1045",
        "password changed from the settings page",
        "get_password('billing/stripe')",
        "os.environ.get('DB_PASSWORD')",
        "missing: 'password', 'username'",
        "fields=['password', 'token', 'secret']",
        "if key == 'password':",
        "the token expired 30 minutes ago",
        "the secret of good tea is patience",
        "cookie consent accepted",
        '<label for="password">Password</label>',
        '<input type="password" name="password" value="">',
        '<input type="password" name="password" placeholder="your password">',
    ],
)
def test_prose_and_code_about_secrets_survive(line):
    """The name of a secret alone gives nothing away."""
    assert REDACTOR.redact(line) is line


# --- INSERT ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "INSERT INTO users (name, password) VALUES ('bob', '§')",
        "insert into users(name,password)values('bob','§')",
        'INSERT INTO "users" ("name", "password") VALUES (\'bob\', \'§\') RETURNING id',
        "INSERT INTO `users` (`name`, `password`, `age`) VALUES ('bob', '§', 7)",
        "INSERT INTO users (name, password) VALUES ('bob, the (first)', '§')",
        "INSERT INTO users (name, password) VALUES ('o''brien', '§')",
        "INSERT INTO users (created, password) VALUES (now(), '§')",
        "INSERT INTO users (name, password) VALUES ('bob', E'§')",
        "INSERT INTO users (name, password) VALUES (NULL, '§')",
        "INSERT INTO users (name, password) VALUES ('bob', 'x%') , ('eve', '§')".replace("'x%'", "NULL"),
        "INSERT INTO users (name, password) VALUES ('bob'), ('eve', '§')",
    ],
)
def test_what_is_inserted_into_a_secret_column_is_hidden(line):
    """Columns name the values, in every row, whatever stands between; other columns stay."""
    check(line, "password", some(12))


def test_each_row_of_an_insert_loses_its_secret():
    """Backups insert many rows at once."""
    rows = ", ".join(f"('bob', '{some(9)}''{some(4)}', {number})" for number in range(5))
    hidden = REDACTOR.redact(f"INSERT INTO users (name, password, age) VALUES {rows};")
    assert hidden == (
        "INSERT INTO users (name, password, age) VALUES "
        + ", ".join(f"('bob', '[redacted:password]', {number})" for number in range(5))
        + ";"
    )


@pytest.mark.parametrize(
    "line",
    [
        "INSERT INTO users (name, password) VALUES (%s, %s)",
        "INSERT INTO users (name, password) VALUES (?, ?)",
        "INSERT INTO users (name, password) VALUES ($1, $2)",
        "INSERT INTO users (name, password) VALUES (:name, :password)",
        "INSERT INTO users (name, password) VALUES ('bob')",
        "INSERT INTO users (name, age) VALUES ('bob', 7)",
        "INSERT INTO users (name, password) VALUES ('bob', NULL)",
        "INSERT INTO users (name, password) SELECT name, password FROM old",
        "insert into the slot",
    ],
)
def test_an_insert_without_values_of_its_own_survives(line):
    """Parameters stand for values, and fewer values than columns leave none for the secret one."""
    assert REDACTOR.redact(line) is line


# --- which names -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", sorted(SECRET_WORDS))
def test_a_certain_word_makes_any_key_secret(word):
    """Wherever the word stands in the key, in any spelling."""
    for name in (word, f"db_{word}", f"{word}_2", word.upper(), f"db{word.capitalize()}", f"X-Db-{word}"):
        assert REDACTOR.kind(name) == Kind(SECRET_WORDS[word])


@pytest.mark.parametrize("pair", sorted(SECRET_ENDINGS), ids="-".join)
def test_a_pair_of_words_makes_a_key_secret_that_ends_with_it(pair):
    """`api_key` is, `api_key_count` is not."""
    first, last = pair
    for name in (f"{first}_{last}", f"{first}-{last}", f"{first}{last.capitalize()}", f"my.{first}.{last}"):
        assert REDACTOR.kind(name) == Kind(SECRET_ENDINGS[pair])
    assert REDACTOR.kind(f"{first}_{last}_count") is None


@pytest.mark.parametrize("word", sorted(WEAK_WORDS.keys() - HARMLESS_ENDINGS))
def test_a_doubtful_word_asks_for_a_value_that_looks_random(word):
    """`token=expired` says something about one, `token=6b1f...` is one."""
    kind = REDACTOR.kind(word)
    assert kind == Kind(WEAK_WORDS[word], certain=False)
    check(f"GET /?{word}=§&page=2 HTTP/1.1", WEAK_WORDS[word], some(32))
    check(f"{word}=§ sent", WEAK_WORDS[word], some(32))
    check(f'"{word}": "§", "page": 2', WEAK_WORDS[word], some(32))
    assert REDACTOR.redact(f"?{word}=expired&page=2") == f"?{word}=expired&page=2"


@pytest.mark.parametrize("ending", sorted(HARMLESS_ENDINGS))
def test_a_harmless_ending_makes_a_key_harmless(ending):
    """`password_length` and `token_type` hold no secret; `secret_id` may."""
    assert REDACTOR.kind(f"password_{ending}") is None
    text = f"password_{ending}={some(20)} x"
    assert REDACTOR.redact(text) is text


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("API key: §", "api-key"),
        ("api key = §", "api-key"),
        ("Secret key: §", "secret"),
        ("Signing key: '§'", "secret"),
    ],
)
def test_the_word_before_a_name_counts(line, rule):
    """People write keys with blanks."""
    check(line, rule, some(32))


@pytest.mark.parametrize("before", ["public", "primary", "cache", "foreign", "partition", "idempotency"])
def test_the_word_before_a_name_can_make_it_harmless(before):
    """A public key is public."""
    text = f"{before} key: {some(32)}"
    assert REDACTOR.redact(text) is text


@pytest.mark.parametrize(
    "line",
    [
        "DEBUG:app.auth:message one 550e8400e29b41d4",
        "INFO:app.secret:rotated 3 of 4",
        "INFO:shop.token:a1B2c3D4e5F6g7H8",
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-a1B2c3",
        "tests/test_auth.py::test_token::test_password PASSED",
        "tests/test_login.py::TestPassword::test_secret[a1B2c3D4e5F6g7H8] PASSED",
        "password: str",
        "token: str | None = None",
        "api_key: Optional[str] = Field(default=None)",
        "secret: SecretStr",
        "def login(self, password: bytes, *, otp: int = 6) -> None:",
        '    password = request.form["password"]',
        "    token = self._tokens.get(user.id)",
        "    return authenticate(username=username, password=password)",
        "    secret = os.environ['SECRET']",
        "    api_key = settings.api_key.get_secret_value()",
        "password=********",
        "password=<password>",
        "password=${DB_PASSWORD}",
        "password={{ db_password }}",
        "password=%(password)s",
        "password=[FILTERED]",
        "api_key=your-api-key",
        "api_key=YOUR_API_KEY",
        "password=xxxxxxxx",
        "password=None, token=null, secret=undefined",
        'password: ""',
        "client_secret=ssm:/prod/client-secret",
        "password=/run/secrets/db",
    ],
)
def test_names_that_are_no_keys_and_values_that_are_no_secrets_survive(line):
    """Names of loggers, resources and tests; annotations; code in tracebacks; placeholders and references."""
    assert REDACTOR.redact(line) is line


@pytest.mark.parametrize(
    "statement",
    [
        "select * from users where name = ? and api_key = ?",
        "INSERT INTO users (name, password) VALUES (%s, %s)",
        "UPDATE users SET name=?, password_hash=? WHERE users.id = ?",
    ],
)
def test_a_parameter_that_is_bound_to_a_secret_column_is_hidden(statement):
    """SQLAlchemy's errors show the statement, and the parameters by their places."""
    secret = some(20)
    text = f"(sqlite3.OperationalError) failed\n[SQL: {statement}]\n[parameters: ('bob', '{secret}')]\n(Background"
    hidden = REDACTOR.redact(text)
    assert secret not in hidden
    assert "('bob', '[redacted:" in hidden
    many = REDACTOR.redact(f"[SQL: {statement}]\n[parameters: [('bob', '{secret}'), ('eve', '{secret}x')]]")
    assert secret not in many
    assert "'eve'" in many
