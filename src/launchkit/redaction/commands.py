"""Secrets on command lines: values of long flags whose names give them away, and short flags of known programs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from launchkit.redaction.found import Found
from launchkit.redaction.keys import Kind
from launchkit.redaction.shapes import UNQUOTED, Shape, is_argument, is_no_word, is_value, shape
from launchkit.redaction.values import secret_spans

_FLAG: Final = re.compile(
    r"""-(?<![\w-].)-?(?P<name>[A-Za-z][\w.-]{0,62}\w)(?:[ \t]{1,2}(?![ \t])|[\\"']{0,3}(?P<comma>,)[ \t]*)
    (?:\\{0,3}"(?P<double>[^"\\\n]++)|\\{0,3}'(?P<single>[^'\\\n]++)|(?P<bare>(?![-"'\\])[^\s"'\\,\]]++))""",
    re.VERBOSE,
)
_NO_VALUE: Final = re.compile(r"-.*|[A-Z_]+\]?", re.DOTALL)
"""What follows a flag that takes no value, or stands for one in a help text."""
_ARGUMENT: Final = (
    r"(?:\\?\"(?P<secret_double>[^\"\\\n]{1,200}+)|'(?P<secret_single>[^'\n]{1,200}+)"
    r"|(?P<secret>(?![-\"'\\])[^\s\"'\\]{1,200}+))"
)
_ARGUMENTS: Final = r"(?:[ \t]{1,4}[^\s|]{1,100}){0,12}?[ \t]{1,4}"


def find_flags(text: str, kind_of: Callable[[str], Kind | None]) -> Iterator[Found]:
    """Find the values of flags as in `--api-key X` and `['--password', 'X']`; those with `=` are assignments."""
    for match in _FLAG.finditer(text):
        kind = kind_of(match["name"])
        group = match.lastgroup or "bare"
        if kind is None or match["name"].startswith("no-") or _NO_VALUE.fullmatch(match[group]):
            continue
        if match["comma"] and not text.endswith(("'", '"'), 0, match.start()):
            continue  # the end of a sentence, and not an item of a list
        if kind.certain and not (is_value if match[0].startswith("--") else is_no_word)(match[group]):
            continue
        for start, end in secret_spans(kind, match[group]):
            offset = match.start(group)
            yield Found(offset + start, offset + end, kind.rule, f"value of the flag {match['name']!r}")


def _password(words: str, expression: str, reason: str) -> Shape:
    return shape("password", words, expression, reason, is_argument)


SHAPES: Final[tuple[Shape, ...]] = (
    _password(
        "curl wget auth etcdctl",
        r"(?:^|\s|[\"'])(?:-[a-zA-Z]{0,6}u|--user|-U|--proxy-user|--(?:basic[-_])?auth)(?:[ =]|[\"'], ?)?[\"']?"
        r"(?:(?P<secret_user>[\w-]{20,100}+):(?=[\s\"'])|[^\s:\"'/]{0,100}:(?P<secret>[^\s\"']{1,200}+))",
        "password of a user on a command line",
    ),
    _password(
        "mysql mysqldump mysqladmin mysqlimport mysqlsh mariadb",
        rf"(?:mysql|mariadb)\w{{0,12}}\b{_ARGUMENTS}-p{_ARGUMENT}",
        "password after -p",
    ),
    _password(
        "sshpass docker podman mongo mongosh mongodump mongorestore az oc shell registry cqlsh crackmapexec netexec "
        "rabbitmqadmin",
        r"(?:sshpass|(?:docker|podman|registry|az|oc) login|mongo\w{0,10}|cypher-shell|cqlsh|crackmapexec|netexec"
        r"|rabbitmqadmin)\b"
        rf"{_ARGUMENTS}-p[ \t]*{_ARGUMENT}",
        "password after -p",
    ),
    _password(
        "sqlcmd bcp zip unzip mosquitto ipmitool",
        rf"\b(?:sqlcmd|bcp|(?:un)?zip|ipmitool|mosquitto_\w{{3}})\b{_ARGUMENTS}-P[ \t]*{_ARGUMENT}",
        "password after -P",
    ),
    _password("7z 7za", r"\b7za? [^\n|]{0,100}?-p(?P<secret>[^\s\"'-][^\s\"']{1,100}+)", "password after -p"),
    _password(
        "plink pscp psftp putty", rf"(?:plink|pscp|psftp|putty)\b{_ARGUMENTS}-pw[ \t]+{_ARGUMENT}", "password after -pw"
    ),
    _password("snmpwalk snmpget snmpset snmpbulkwalk snmptrap", rf"[ \t]-[AX][ \t]+{_ARGUMENT}", "passphrase of SNMP"),
    _password(
        "xfreerdp wmic psexec schtasks",
        r"[ \t]/(?:p|rp|password):(?P<secret>[^\s\"']{1,200}+)",
        "password after a short flag",
    ),
    _password("stdin", rf"--password-stdin[^\n|]{{0,100}}<<<[ \t]?{_ARGUMENT}", "password given to a command"),
    _password(
        "setuser",
        rf"(?i:setuser)\"? [^\n]{{0,200}}?[ \"]>(?P<secret>{UNQUOTED}{{1,200}}+)",
        "password of a user of Redis",
    ),
    _password("bw", r"\bbw (?:unlock|login \S{1,100}) (?P<secret>[^\s\"'-][^\s\"']{1,200}+)", "password of a vault"),
    _password(
        "gh",
        rf"\bgh secret set{_ARGUMENTS}(?:--body|-b)[ =]{_ARGUMENT}",
        "value of a secret",
    ),
    _password(
        "config configure",
        rf"config(?:ure)?[ \t]+set[ \t]+[\w./:-]{{0,100}}(?i:password|secret|token|key)[ \t]+{_ARGUMENT}",
        "setting of a program",
    ),
    _password("npm", rf"npm config set \S{{1,200}}:_(?:authToken|auth|password)[ =]{_ARGUMENT}", "token of a registry"),
    _password(
        "gx ux",
        rf"\bset -\w{{1,4}} \w{{0,60}}(?:TOKEN|SECRET|PASS|PASSWORD|PASSWD|PWD|KEY) {_ARGUMENT}",
        "variable of a shell",
    ),
    shape(
        "password",
        "enable username community tacacs radius",
        rf"(?:\benable|\busername \S{{1,64}}(?: privilege \d{{1,2}})?) (?:password|secret) (?:\d )?"
        rf"(?P<secret>{UNQUOTED}{{4,200}}+)"
        rf"|\bsnmp-server community (?P<secret_community>{UNQUOTED}{{4,100}}+)"
        rf"|(?:tacacs|radius)-server (?:host \S{{1,100}} )?key (?:\d )?(?P<secret_key>{UNQUOTED}{{4,100}}+)",
        "password in a network device's configuration",
        is_no_word,
    ),
    shape(
        "password",
        "setenv env fastcgi requestheader proxy",
        r"(?:[Ss]et[Ee]nv|ENV|fastcgi_param|RequestHeader set|proxy_set_header)[ \t]+"
        r"[\w-]{0,60}(?i:password|passwd|secret|token|api[_-]?key)[ \t]+[\"']?(?P<secret>[^\s\"';$]{3,200}+)",
        "value of a directive",
        is_value,
    ),
    shape(
        "cookie",
        "curl",
        r"\bcurl [^\n]{0,400}?(?:-b|--cookie)[ =][\"'][^=\s\"']{1,100}=(?P<secret>[^\"'\n]{1,2000}+)",
        "cookies on a command line",
    ),
    _password(
        "cli ldapsearch ldapmodify ldapadd ldapdelete ldapwhoami",
        rf"(?:(?:redis|valkey)-cli\b{_ARGUMENTS}-a|ldap\w{{2,10}}\b{_ARGUMENTS}-w)[ \t]+{_ARGUMENT}",
        "password after a short flag",
    ),
    _password(
        "htpasswd",
        rf"htpasswd[ \t]+-\w{{0,6}}b\w{{0,6}}[ \t]+\S{{1,200}}[ \t]+\S{{1,100}}[ \t]+{_ARGUMENT}",
        "password of htpasswd",
    ),
    _password(
        "passin passout openssl",
        r"-pass(?:in|out)?[ \t=]+pass:(?P<secret>[^\s\"']{1,200}+)"
        r"|openssl enc [^\n|]{0,200}?-k (?P<secret_key>[^\s\"']{1,200}+)",
        "password of openssl",
    ),
    _password(
        "net",
        r"net (?:use [^\n]{0,200}?/user:|user )\S{1,100} (?P<secret>[^\s\"'/][^\s\"']{1,200}+)",
        "password of net use",
    ),
    _password(
        "smbclient sqlplus lftp",
        r"(?:smbclient [^\n]{0,200}?-U [^\s%]{1,100}%|sqlplus (?:-\w+ ){0,4}[^\s/]{1,64}/"
        r"|lftp [^\n]{0,100}?-u [^\s,]{1,100},)"
        r"(?P<secret>[^\s\"'@]{1,200}+)",
        "password of a user on a command line",
    ),
    _password(
        "chpasswd sudo stdin kinit gh",
        r"\b(?:echo|printf)[ \t]+(?:-n[ \t]+|[\"']%s(?:\\n)?[\"'][ \t]+)?[\"']?(?:[\w.-]{1,32}:)?"
        r"(?P<secret>[^\s\"'|]{1,200}+)[\"']?[ \t]*\|[ \t]*(?:[^\s|]{1,50}[ \t]+){0,8}?"
        r"(?:chpasswd|kinit|sudo[ \t]+-S|--password-stdin|--stdin|--with-token)",
        "password piped into a command",
    ),
    _password(
        "rabbitmqctl",
        rf"rabbitmqctl[ \t]+(?:add_user|change_password|authenticate_user)[ \t]+\S{{1,100}}[ \t]+{_ARGUMENT}",
        "password of rabbitmqctl",
    ),
    shape(
        "token",
        "snyk codecov",
        r"(?:snyk auth|codecov (?:\S{1,40} ){0,4}?-t) (?P<secret>[\w.-]{16,}+)",
        "token on a command line",
    ),
    shape(
        "token",
        "mask output",
        rf"::(?:add-mask|set-output name=\w*(?i:password|token|secret|key)\w*)::(?P<secret>{UNQUOTED}{{4,}}+)",
        "output of a workflow",
    ),
    _password(
        "pass auth",
        r"(?m:(?:^|[>:'\"] ?['\"]?)(?:PASS |AUTH (?:PLAIN |LOGIN )|AUTH\" (?:\"\w{1,40}\" )?\"|AUTH (?:[\w.-]{1,40} )?)"
        r"(?P<secret>[^\s\"'\\/:.]{4,200}+)(?=[\"']?(?:\\r|\\n|[\"']|\r?$)))",
        "password in a dialog with a server",
    ),
    _password(
        "login",
        rf"\b[A-Za-z]?\d{{1,6}} LOGIN \S{{1,100}} \"?(?P<secret>{UNQUOTED}{{1,200}}+)",
        "password in a dialog with a server",
    ),
    _password(
        "requirepass masterauth",
        rf"\b(?:requirepass|masterauth) \"?(?P<secret>{UNQUOTED}{{1,200}}+)",
        "password in a configuration",
    ),
)
"""Programs and protocols in which one letter, or a place, means another thing with each."""
