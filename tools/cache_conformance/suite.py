"""The conformance suite http-tests/cache-tests (https://cache-tests.fyi): where it is, its origin and its client.

Both are Node programs that take their settings from `npm_config_...` variables, as `npm run` would set them. The suite
came in two layouts: its programs at the top (the npm package), later in the folder `test-engine`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

PACKAGE = "http-cache-tests@0.4.5"
CACHE = Path(__file__).parents[2] / ".venv" / "http-cache-tests"
START_SECONDS = 20
CLIENT_SECONDS = 900
"""The suite takes about a minute, most of it pauses of three seconds."""

PRELOAD = """
import net from "node:net"
const listen = net.Server.prototype.listen
net.Server.prototype.listen = function (port, ...more) { return listen.call(this, port, "127.0.0.1", ...more) }
process.stdin.on("close", () => process.exit()).resume()
"""
"""Run before the origin: it binds to loopback only, and ends with the process that holds its standard input."""

CATALOGUE = """
import suites from "./tests/index.mjs"
console.log(JSON.stringify(suites.flatMap(suite => suite.tests.map(
  ({ id, name, kind, depends_on, browser_only }) => ({ suite: suite.id, id, name, kind, depends_on, browser_only })))))
"""


class SuiteError(Exception):
    """The suite is not there, or does not run."""


@dataclass(frozen=True)
class Test:
    """One test: what it is about, how much it matters, and which tests have to pass for it to mean anything."""

    suite: str
    id: str
    name: str
    kind: str
    depends_on: tuple[str, ...]


@dataclass(frozen=True)
class Origin:
    """The running origin server."""

    port: int
    log: Path


def find(folder: Path | None) -> Path:
    """Return the suite's folder; without one, install the npm package once and return that.

    Raises:
        SuiteError: there is no Node, no suite in the folder, or no npm to install it with.
    """
    if shutil.which("node") is None:
        raise SuiteError("the suite runs on Node: install node (20 or later)")
    suite = folder if folder is not None else _installed()
    if not (suite / "tests" / "index.mjs").is_file():
        raise SuiteError(f"{suite} has no tests/index.mjs: --suite takes a folder of http-tests/cache-tests")
    return suite.resolve()


def _installed() -> Path:
    suite = CACHE / "node_modules" / "http-cache-tests"
    if suite.is_dir():
        return suite
    npm = shutil.which("npm")
    if npm is None:
        raise SuiteError("npm, which installs the suite, is not there: install it, or name a folder with --suite")
    options = ["--prefix", str(CACHE), "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    CACHE.mkdir(parents=True, exist_ok=True)
    if subprocess.run([npm, "install", *options, PACKAGE], check=False).returncode:
        raise SuiteError(f"npm could not install {PACKAGE}")
    return suite


def catalogue(suite: Path) -> list[Test]:
    """Return every test that is meant for proxies, in the suite's order."""
    found = json.loads(_node(suite, ["--input-type=module", "--eval", CATALOGUE], {}))
    return [_test(one) for one in found if not one.get("browser_only")]


def _test(one: dict[str, Any]) -> Test:
    return Test(one["suite"], one["id"], one["name"], one.get("kind", "required"), tuple(one.get("depends_on", ())))


@contextlib.contextmanager
def origin(suite: Path, folder: Path) -> Iterator[Origin]:
    """Run the origin server on a free port of loopback, logging into a folder; end it in any case.

    Raises:
        SuiteError: it does not start.
    """
    log = folder / "origin.log"
    settings = {"npm_config_protocol": "http", "npm_config_port": "0", "npm_config_pidfile": os.devnull}
    command = ["node", "--import", "data:text/javascript," + quote(PRELOAD), str(_engine(suite) / "server/server.mjs")]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=suite, env=os.environ | settings, stdin=subprocess.PIPE, stdout=output, stderr=output
        )
    try:
        yield Origin(_port(process, log), log)
    finally:
        process.kill()
        process.communicate()


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r"Listening on http://127\.0\.0\.1:(\d+)/", log.read_text()):
            return int(found[1])
        time.sleep(0.05)
    raise SuiteError(f"the suite's origin server does not start: {log.read_text().strip()}")


def run(suite: Path, base: str) -> dict[str, Any]:
    """Run all tests against a proxy; return for each id True, or what was wrong and in which words.

    Raises:
        SuiteError: the client does not say what came of them.
    """
    output = _client(suite, base, "")
    return json.loads(output[output.index("\n{\n") :] if not output.startswith("{\n") else output)


def show(suite: Path, base: str, test: str) -> str:
    """Run one test against a proxy; return the client's account of it.

    Raises:
        SuiteError: there is no such test.
    """
    if test not in {one.id for one in catalogue(suite)}:
        raise SuiteError(f"the suite has no test for proxies that is called {test}")
    return _client(suite, base, test)


def _client(suite: Path, base: str, test: str) -> str:
    settings = {"npm_config_base": base, "npm_package_config_id": test}  # which may be empty, but has to be set
    return _node(suite, ["--no-warnings", str(_engine(suite) / "cli.mjs")], settings)


def _engine(suite: Path) -> Path:
    later = suite / "test-engine"
    return later if later.is_dir() else suite


def _node(suite: Path, arguments: list[str], settings: dict[str, str]) -> str:
    done = subprocess.run(
        ["node", *arguments],
        check=False,
        cwd=suite,
        env=os.environ | settings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=CLIENT_SECONDS,
    )
    if done.returncode or not done.stdout:
        raise SuiteError(f"the suite's client failed: {done.stderr.strip()}")
    return done.stdout
