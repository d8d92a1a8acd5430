"""What README and docs/ say is true: their code runs, their names exist, and their links lead somewhere.

Every Python block runs in a namespace of its own. One that follows the comment `<!-- continues -->` goes on where the
block before it ended, not counting blocks that follow `<!-- aside -->`. What a page puts into `.env` is there.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import shlex
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import pytest
from flask import Flask
from pydantic import BaseModel
from tests.support.clients import AsgiClient, WsgiClient

from launchkit import LaunchKit, Settings
from launchkit.command import _parser
from launchkit.testing import sign

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])

FENCE = re.compile(
    r"^(?:<!-- (?P<mark>continues|aside) -->\n+)?^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
VARIABLE = re.compile(r"LAUNCHKIT_(?:[A-Z0-9_]|<NAME>)*[A-Z0-9]")
COMMAND = re.compile(r"^(?:[A-Z_]+=\S* )*(?:\S*/)?launchkit ((?:check|redact|webhooks|worker) [^>\n]*)", re.MULTILINE)
MAKE = re.compile(r"\bmake ([a-z-]+)")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    language: str
    code: str
    line: int
    mark: str | None


@dataclass(frozen=True)
class Program:
    """A Python block with all that continue it."""

    blocks: tuple[Block, ...]

    def __str__(self) -> str:
        first = self.blocks[0]
        return f"{first.page.relative_to(ROOT)}:{first.line}"

    def run(self, **names: Any) -> dict[str, Any]:
        """Run it in a namespace of its own, with `names` in it, and return that."""
        namespace: dict[str, Any] = {"__name__": "documentation", **names}
        for block in self.blocks:
            code = "\n" * (block.line - 1) + block.code  # so that tracebacks point into the page
            exec(compile(code, str(block.page), "exec", dont_inherit=True), namespace)
        return namespace


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("code")) + 1
        yield Block(page, match["language"], match["code"], line, match["mark"])


def programs_of(page: Path) -> list[Program]:
    programs: list[list[Block]] = []
    latest: list[Block] = []
    for block in blocks_of(page):
        if block.language != "python":
            continue
        if block.mark == "continues":
            latest.append(block)
            continue
        programs.append([block])
        if block.mark != "aside":
            latest = programs[-1]
    return [Program(tuple(blocks)) for blocks in programs]


PROGRAMS = [program for page in PAGES for program in programs_of(page)]
APPS = [
    program
    for program in PROGRAMS
    if program.blocks[0].page.name in ("README.md", "quickstart_fastapi.md", "quickstart_flask.md")
    and any("@kit.webhook" in block.code for block in program.blocks)
]
"""The apps that are shown as a whole."""


def known_variables(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """Return patterns for the variable of every setting and section; in a table the names are the user's."""
    for name, field in model.model_fields.items():
        variable = prefix + name.upper()
        yield variable
        inner = field.annotation
        if get_origin(inner) in (Union, types.UnionType):  # a section that may be left out
            inner = next(one for one in get_args(inner) if one is not type(None))
        if get_origin(inner) is dict:
            inner = get_args(inner)[1]
            variable += r"__(?:<NAME>|[A-Z0-9]+)"
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from known_variables(inner, variable + "__")


KNOWN = re.compile("|".join(known_variables(Settings, "LAUNCHKIT_")))


def client_for(app: Any) -> AsgiClient | WsgiClient:
    return WsgiClient(app) if isinstance(app, Flask) else AsgiClient(app)


@pytest.fixture(name="run")
def _run(tmp_path: Path) -> Iterator[Callable[..., dict[str, Any]]]:
    """Run a program with its page's `.env`; the kits that it makes, and its log handlers, are gone in the end."""
    kits: list[LaunchKit] = []
    loggers = {name: logging.getLogger(name) for name in ("shop", "my-app")}

    def run(program: Program, **names: Any) -> dict[str, Any]:
        blocks = blocks_of(program.blocks[0].page)
        (tmp_path / ".env").write_text("".join(block.code for block in blocks if block.language == "dotenv"))
        namespace = program.run(**names)
        kits.extend(value for value in namespace.values() if isinstance(value, LaunchKit))
        return namespace

    yield run
    for kit in kits:
        kit.stop()
    for logger in loggers.values():
        logger.handlers.clear()
        logger.setLevel(logging.NOTSET)


@pytest.fixture(name="secret")
def _secret(monkeypatch: pytest.MonkeyPatch) -> str:
    """What the documented apps verify Stripe's deliveries with."""
    secret = f"whsec_{secrets.token_hex(16)}"
    monkeypatch.setenv("LAUNCHKIT_WEBHOOKS__SOURCES__STRIPE__SECRETS", secret)
    return secret


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_python_blocks_run(program: Program, run: Callable[..., dict[str, Any]]) -> None:
    """A block that is shown works as it stands, and an app that it makes answers."""
    app = run(program).get("app")
    if app is not None:
        client = client_for(app)
        assert client.request("GET", "/health/live").status == 200
        client.close()


@pytest.mark.parametrize("program", APPS, ids=str)
def test_documented_apps_limit_logins(program: Program, run: Callable[..., dict[str, Any]]) -> None:
    """Of 25 failed logins from one address the app sees 20."""
    client = client_for(run(program)["app"])
    sent = ("POST", "/login", [("content-type", "application/json")], b'{"password": "guess"}')
    statuses = [client.request(*sent).status for _ in range(25)]
    assert 429 not in statuses[:20]
    assert statuses[20:] == [429] * 5
    client.close()


@pytest.mark.parametrize("program", APPS, ids=str)
def test_documented_apps_handle_webhooks(program: Program, run: Callable[..., dict[str, Any]], secret: str) -> None:
    """A signed one is taken in and handled once, however often it is sent; an unsigned one is refused."""
    said: list[tuple[object, ...]] = []
    handled = threading.Event()

    def hear(*words: object) -> None:
        said.append(words)
        handled.set()

    client = client_for(run(program, print=hear)["app"])
    body = b'{"id": "evt_1", "type": "invoice.paid", "data": {"object": {"customer": "cus_1"}}}'
    headers = list(sign("stripe", secret, body, now=time.time(), message_id="").items())
    answers = [client.request("POST", "/webhooks/stripe", headers, body).body for _ in range(2)]
    assert answers == [b'{"status":"accepted"}', b'{"status":"duplicate"}']
    assert handled.wait(10)
    assert len(said) == 1
    assert client.request("POST", "/webhooks/stripe", [], body).status == 401
    client.close()


@pytest.mark.parametrize("program", APPS, ids=str)
def test_documented_apps_run_their_health_check(program: Program, run: Callable[..., dict[str, Any]]) -> None:
    """The check is asked, and this machine is told about it in development."""
    client = client_for(run(program)["app"])
    reply = client.request("GET", "/health/ready", peer="127.0.0.1")
    assert reply.status == 200
    assert json.loads(reply.body)["checks"]["disk:responseTime"][0]["status"] == "pass"
    client.close()


@pytest.mark.parametrize("program", [app for app in APPS if "quickstart" in str(app)], ids=str)
def test_the_quickstarts_log_as_they_say(
    program: Program, run: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """The line has the request's id and no key."""
    client = client_for(run(program)["app"])
    reply = client.request("GET", "/whoami")
    request_id = reply.header("x-request-id")
    assert json.loads(reply.body) == {"request": request_id}
    assert f"{request_id} my-app called with api_key=[redacted:api-key]\n" in capsys.readouterr().err
    client.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_understood(page: Path) -> None:
    """Every `launchkit ...` in a shell block is a call of the command that it takes."""
    shell = "".join(block.code for block in blocks_of(page) if block.language == "sh").replace("\\\n", " ")
    for words in COMMAND.findall(shell):
        _parser().parse_args(shlex.split(words, comments=True))


def test_commands_that_are_none_are_noticed() -> None:
    """The check above can fail."""
    assert COMMAND.findall(".venv/bin/launchkit webhooks lost\n") == ["webhooks lost"]
    with pytest.raises(SystemExit):
        _parser().parse_args(["webhooks", "lost"])


def test_the_pages_are_there() -> None:
    """The tests below look at all of them; an empty list would make them pass in silence."""
    names = {str(page.relative_to(ROOT)) for page in PAGES}
    assert names >= {
        "README.md",
        "CHANGELOG.md",
        "docs/quickstart_fastapi.md",
        "docs/quickstart_flask.md",
        "docs/settings.md",
        "docs/architecture.md",
        "docs/operations.md",
        "docs/limits.md",
        "docs/edge.md",
        "docs/check.md",
        "docs/redaction.md",
        "docs/webhooks.md",
    }
    assert sum("docs/decisions/" in name for name in names) >= 5
    assert len(APPS) == 4


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_fences_are_known(page: Path) -> None:
    """A block whose language nobody knows would be checked by nobody."""
    languages = {block.language for block in blocks_of(page)}
    assert languages <= {"python", "sh", "text", "dotenv"}
    fences = [line for line in page.read_text().splitlines() if line.startswith("```")]
    assert len(fences) == 2 * len(list(blocks_of(page)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_exist(page: Path) -> None:
    """Every `make ...` in a shell block or in quotes is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    quoted = re.findall(r"`([^`\n]+)`", page.read_text())
    shell = [block.code for block in blocks_of(page) if block.language == "sh"]
    named = {target for text in (*quoted, *shell) for target in MAKE.findall(text)}
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_variables_exist(page: Path) -> None:
    """Every LAUNCHKIT_ variable that is named is a setting."""
    unknown = {name for name in VARIABLE.findall(page.read_text()) if KNOWN.fullmatch(name) is None}
    assert unknown == set()


@pytest.mark.parametrize("name", ["LAUNCHKIT_TOKENS", "LAUNCHKIT_HEALTH__", "LAUNCHKIT_READ_CACHE__RULES__A__B__TTL"])
def test_unknown_variables_are_noticed(name: str) -> None:
    """The check above can fail."""
    assert KNOWN.fullmatch(name) is None
    assert KNOWN.fullmatch("LAUNCHKIT_READ_CACHE__RULES__PLANS__TTL") is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link is the path of something that exists."""
    links = {link.partition("#")[0] for link in LINK.findall(page.read_text()) if "://" not in link}
    assert [link for link in sorted(links) if not (page.parent / link).exists()] == []


def test_the_settings_page_is_up_to_date() -> None:
    """`make docs` would change nothing."""
    made = subprocess.run(
        [sys.executable, str(ROOT / "tools/settings_reference.py")], capture_output=True, text=True, check=True
    )
    assert made.stdout == (ROOT / "docs/settings.md").read_text()


def test_the_settings_page_has_every_setting() -> None:
    """Also those of sections that are named by the user; and it tells no default of a secret."""
    text = (ROOT / "docs/settings.md").read_text()
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    expected = {
        variable.replace(r"(?:<NAME>|[A-Z0-9]+)", "<NAME>") for variable in known_variables(Settings, "LAUNCHKIT_")
    }
    sections = {name for name in expected if any(other.startswith(f"{name}__") for other in expected)}
    assert {row[1].strip("`") for row in rows} == expected - sections
    assert {row[3] for row in rows if "secret" in row[2]} == {"-"}
    assert all(row[4].removesuffix(" |").strip() for row in rows)
