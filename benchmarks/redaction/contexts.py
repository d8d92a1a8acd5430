"""The places of a log in which secrets are found.

`BARE` are places whose words do not give the secret away, or hardly: only its own form does. `KEYED` are places that
name it, in the spelling that is usual there. A value is given as it is (`value`), for query strings (`quoted`), and
its key in every spelling (`snake`, `env`, `camel`, `kebab`, `header`).
"""

from __future__ import annotations

import re
from random import Random
from typing import Final
from urllib.parse import quote

from benchmarks.redaction.generated import fill

BARE: Final = (
    "{time} {level} {logger}: calling the provider with «{value}»",
    "{time} [{level}] {logger} - configured client for {site} (as «{value}», 3 retries)",
    '{level}:{logger}:rejected: "«{value}»" is not valid for {site}',
    'ts={moment} level=info msg="client ready" client=«{value}» attempt={number}',
    '{"level": "warning", "event": "provider.call", "used": "«{value}»", "status": 401, "ms": {number}}',
    '{"log": "{\\"event\\": \\"call\\", \\"with\\": \\"«{value}»\\"}", "stream": "stderr", "time": "{moment}"}',
    "{level}:{logger}:options {'region': 'eu', 'client': '«{value}»', 'retries': 3}",
    "{time} {level} {logger} Settings(debug=False, provider_client='«{value}»', pool_size=10)",
    "{time} {level} {logger} args=('{host}', '«{value}»') kwargs={}",
    'HTTP Request: GET https://api.{site}/v1/items?key=«{quoted}»&page=2 "HTTP/1.1 200 OK"',
    "curl -sS -H 'X-Provider: «{value}»' https://api.{site}/v1/items",
    "curl -X POST https://api.{site}/v2/send -H 'Authorization: Bearer «{value}»' -d @body.json",
    '{ip} - - [{common_time}] "GET /proxy?c=«{quoted}» HTTP/1.1" 200 {number}',
    "PROVIDER_CLIENT=«{value}»",
    "export PROVIDER=«{value}»",
    '  File "/srv/app/clients.py", line {number}, in connect\n    client = Client("«{value}»")',
    "provider.AuthenticationError: Incorrect value provided: «{value}». See https://{site}/errors",
    "  Value error, wrong region [type=value_error, input_value='«{value}»', input_type=str]",
    "{time} INFO sqlalchemy.engine.Engine [generated in 0.00021s] ('{user}', '«{value}»', 1)",
    "INSERT INTO accounts (name, handle) VALUES ('{user}', '«{value}»')",
    "provider:\n  region: eu\n  account: «{value}»",
    "  {number}  provider login --with «{value}» --region eu",
    "[(b'host', b'{site}'), (b'x-provider', b'«{value}»'), (b'accept', b'*/*')]",
    "{time} {level} {logger} unexpected argument b'«{value}»' in frame",
    "redis.exceptions.ResponseError: unknown command 'SETX', with args beginning with: 'provider' '«{value}»'",
    "found `«{value}»` in the message of {user}, removed",
    "got <«{value}»>, expected none",
    "{time} {level} {logger}: «{value}»",
)

KEYED: Final = (
    "{time} {level} {logger} {snake}=«{value}»",
    'ts={moment} level=debug msg="settings loaded" {snake}=«{value}» workers=4',
    'ts={moment} level=debug msg=login user={user} {snake}="«{value}»" ok=true',
    "{time} {level} {logger}: {snake}: «{value}»",
    '{"level": "info", "event": "configured", "{snake}": "«{value}»", "region": "eu"}',
    '{"time":"{moment}","settings":{"{camel}":"«{value}»","debug":false}}',
    '{"log": "{\\"user\\": \\"{user}\\", \\"{snake}\\": \\"«{value}»\\"}", "stream": "stdout"}',
    "{level}:{logger}:{'user': '{user}', '{snake}': '«{value}»', 'active': True}",
    "{time} {level} {logger} Settings(host='{host}', {snake}='«{value}»', pool_size=10)",
    "{time} {level} {logger} host='{host}' {snake}='«{value}»' pool_size=10",
    "Headers({'host': '{site}', '{kebab}': '«{value}»', 'accept': '*/*'})",
    "[(b'host', b'{site}'), (b'{kebab}', b'«{value}»'), (b'accept', b'*/*')]",
    "> {header}: «{value}»",
    "{time} DEBUG {logger} headers: {'Host': '{site}', '{header}': '«{value}»'}",
    "curl -sS -H '{header}: «{value}»' https://{site}/v1/items",
    "curl -X POST https://{site}/connect -d 'user={user}&{snake}=«{quoted}»&grant=1'",
    '{ip} - - [{common_time}] "GET /callback?{snake}=«{quoted}»&page=2 HTTP/1.1" 302 {number}',
    'INFO:     {ip}:{number} - "POST /connect?{camel}=«{quoted}» HTTP/1.1" 200 OK',
    'HTTP Request: POST https://api.{site}/v1/x?page=1&{snake}=«{quoted}» "HTTP/1.1 200 OK"',
    "INSERT INTO settings (id, {snake}, region) VALUES ({number}, '«{value}»', 'eu')",
    "UPDATE settings SET {snake} = '«{value}»' WHERE id = {number}",
    '  File "/srv/app/settings.py", line {number}, in <module>\n    {env} = "«{value}»"',
    '  File "/srv/app/main.py", line {number}, in connect\n    client = Client(region="eu", {snake}="«{value}»")',
    "TypeError: connect() got unexpected values {'{snake}': '«{value}»'}",
    "  Field required [type=missing, input_value={'user': '{user}', '{snake}': '«{value}»'}, input_type=dict]",
    "{snake}\n  Value error, too short [type=value_error, input_value='«{value}»', input_type=str]",
    "{snake}: «{value}»\nregion: eu",
    'services:\n  app:\n    environment:\n      {env}: "«{value}»"',
    "{env}=«{value}»",
    "export {env}='«{value}»'",
    "environ({'PATH': '/usr/bin', '{env}': '«{value}»', 'LANG': 'C'})",
    "docker run --rm -e {env}=«{value}» -p 8000:8000 app:1.4",
    "  {number}  deploy --{kebab} «{value}» --region eu",
    "+ deploy --{kebab}=«{value}» --region eu",
    "<settings><{camel}>«{value}»</{camel}></settings>",
    'Started POST "/connect" Parameters: {"user"=>"{user}", "{snake}"=>"«{value}»"}',
    "{time} {level} {logger} app.{snake} = «{value}»",
)


def bare(index: int, value: str, random: Random) -> str:
    """Return the place of that number with a value in it."""
    return fill(BARE[index % len(BARE)], random, value=value, quoted=quote(value, safe=""))


def keyed(index: int, key: str, value: str, random: Random) -> str:
    """Return the place of that number with a key, given in snake case, and its value in it."""
    return fill(KEYED[index % len(KEYED)], random, value=value, quoted=quote(value, safe=""), **spellings(key))


def spellings(key: str) -> dict[str, str]:
    """Return a key of snake case in every spelling."""
    words = key.split("_")
    return {
        "snake": key,
        "env": key.upper(),
        "camel": words[0] + "".join(word.capitalize() for word in words[1:]),
        "kebab": key.replace("_", "-"),
        "header": re.sub(r"[a-z0-9]+", lambda word: word[0].capitalize(), key.replace("_", "-")),
    }
