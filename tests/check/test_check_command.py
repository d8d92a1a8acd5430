"""`launchkit check module:app`, as a deploy runs it."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.servers import ROOT

from launchkit.command import main

FASTAPI = """
from fastapi import FastAPI
from launchkit import LaunchKit, Settings
app = FastAPI()
def login():
    raise AssertionError("a handler has run")
app.post("/login")(login)
inner = kit = LaunchKit(Settings(routes={"login": "/login"}))
kit.install(app)
"""

FLASK = """
from flask import Flask
from launchkit import LaunchKit, Settings
class site:
    app = Flask("site")
def login():
    raise AssertionError("a handler has run")
site.app.post("/login")(login)
LaunchKit(Settings(routes={"login": "/login"})).install(site.app)
"""


def run(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command as it was installed, in a folder."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("launchkit")), *arguments],
        cwd=folder,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("source", "name"), [(FASTAPI, "app"), (FASTAPI, "kit"), (FASTAPI, "login"), (FLASK, "site.app")]
)
def test_an_app_that_is_right_is_proved(tmp_path: Path, source: str, name: str) -> None:
    """Found through the app, as the kit itself, or in the module; exit status 0."""
    (tmp_path / "main.py").write_text(source)
    result = run(tmp_path, "check", f"main:{name}")
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "Proved:"
    assert lines[1].startswith("  POST /login: throttles at request 61 of one address, failure 21 of one address")
    assert re.fullmatch(r"  every channel redacts: \d+ loggers, \d+ handlers?", lines[2])
    assert lines[-2] == "0 errors, 0 warnings, 2 proved (environment: development)"


def test_the_environment_that_was_looked_at_is_told(tmp_path: Path) -> None:
    """Outside of production, with the command that shows what would stop a start there."""
    (tmp_path / "main.py").write_text(FASTAPI)
    hint = "What would stop a production start: LAUNCHKIT_ENVIRONMENT=production launchkit check main:app\n"
    for environment in ("development", "test"):
        told = run(tmp_path, "check", "main:app", LAUNCHKIT_ENVIRONMENT=environment).stdout
        assert told.endswith(f" (environment: {environment})\n{hint}")
    for environ in ({}, {"LAUNCHKIT_TOKEN": "short"}):  # the second refuses to be made
        told = run(tmp_path, "check", "main:app", LAUNCHKIT_ENVIRONMENT="production", **environ).stdout
        assert told.endswith(" (environment: production)\n")
    told = run(tmp_path, "check", "main:app", "--json", LAUNCHKIT_ENVIRONMENT="production").stdout
    assert json.loads(told)["environment"] == "production"


def test_errors_come_first_each_with_its_remedy(tmp_path: Path) -> None:
    """Exit status 1; with LAUNCHKIT_CHECK=warn the same is printed and the status is 0."""
    (tmp_path / "main.py").write_text(FASTAPI.replace('"login": "/login"', '"login": "/logn"'))
    result = run(tmp_path, "check", "main:app")
    assert (result.returncode, result.stderr) == (1, "")
    assert re.sub(r"Proved:\n  every channel redacts: .*\n\n", "", result.stdout) == (
        "Errors:\n"
        "  mistyped-path: Rate limit login names /logn, and the app has no route there for POST.\n"
        "    Correct the path (did you mean /login?), or take it out.\n"
        "\n"
        "Warnings:\n"
        "  missing-limit: POST /login has no limit.\n"
        "    Set LAUNCHKIT_ROUTES__LOGIN=/login.\n"
        "\n"
        "1 error, 1 warning, 1 proved (environment: development)\n"
        "What would stop a production start: LAUNCHKIT_ENVIRONMENT=production launchkit check main:app\n"
    )
    assert run(tmp_path, "check", "main:app", LAUNCHKIT_CHECK="warn").returncode == 0


def test_json_has_everything(tmp_path: Path) -> None:
    """For whoever reads it by machine."""
    (tmp_path / "main.py").write_text(FLASK + "site.app.post('/signup')(login)\n")
    result = run(tmp_path, "check", "main:site.app", "--json")
    report = json.loads(result.stdout)
    assert result.returncode == 0
    assert report["findings"] == [
        {
            "code": "missing-limit",
            "severity": "warning",
            "message": "POST /signup has no limit.",
            "remedy": "Set LAUNCHKIT_ROUTES__SIGNUP=/signup.",
        }
    ]
    assert report["proved"][0].startswith("POST /login: throttles")


def test_a_kit_that_refuses_its_settings_is_reported(tmp_path: Path) -> None:
    """The app cannot be made then, and the findings say why; no value is printed."""
    (tmp_path / "main.py").write_text(FASTAPI)
    weak = secrets.token_hex(4)
    result = run(tmp_path, "check", "main:app", LAUNCHKIT_ENVIRONMENT="production", LAUNCHKIT_TOKEN=weak)
    assert result.returncode == 1
    assert "weak-secret: LAUNCHKIT_TOKEN has fewer than 16 characters." in result.stdout
    assert weak not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("main:app", "main:app cannot be imported: ModuleNotFoundError: No module named 'main'"),
        ("broken:app", "broken:app cannot be imported: ZeroDivisionError: division by zero"),
        ("leaving:app", "leaving:app cannot be imported: SystemExit: 3"),
        ("wrong:app", "wrong:app cannot be imported: SettingsError: 1 setting needs attention:"),
        ("bare:other", "bare:other cannot be imported: AttributeError: module 'bare' has no attribute 'other'"),
        ("bare:app", "bare:app has no LaunchKit installed: call kit.install(app), or name the kit itself"),
        ("bare", "'bare' should be a module and a name in it, like main:app"),
    ],
)
def test_an_app_that_cannot_be_imported_has_a_status_of_its_own(tmp_path: Path, name: str, why: str) -> None:
    """2, with a sentence and no traceback."""
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "leaving.py").write_text("raise SystemExit(3)")
    (tmp_path / "wrong.py").write_text("from launchkit import Settings\nSettings(routs={})")
    (tmp_path / "bare.py").write_text("app = object()")
    result = run(tmp_path, "check", name)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"launchkit: {why}")
    assert "Traceback" not in result.stderr


def test_help_says_that_the_app_is_imported(capsys: pytest.CaptureFixture[str]) -> None:
    """That part is the app's own code and does what it does."""
    with pytest.raises(SystemExit, match="0"):
        main(["check", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "The app is imported for it, from the working directory" in text
    with pytest.raises(SystemExit, match="2"):
        main([])


@pytest.mark.parametrize("name", ["fastapi_app", "flask_app"])
def test_the_examples_come_out_clean(tmp_path: Path, name: str) -> None:
    """In development, as they are."""
    environ = {"PYTHONPATH": str(ROOT / "examples" / name)}
    result = run(tmp_path, "check", "main:app", **environ)
    assert (result.returncode, result.stderr) == (0, "")
    assert "POST /login: throttles" in result.stdout
    assert "\n0 errors, 0 warnings, " in result.stdout


def test_names_that_are_proxies_of_a_request_are_passed_over(tmp_path: Path) -> None:
    """Flask modules import `request` and `current_app`, which raise whatever is asked of them outside of a request."""
    (tmp_path / "proxied.py").write_text(
        "from flask import Flask, current_app, request, session\n"
        "from launchkit import LaunchKit, Settings\n"
        "app = Flask(__name__)\n"
        "kit = LaunchKit(Settings())\n"
        "wrapped = kit.wsgi(app)\n"
    )
    result = run(tmp_path, "check", "proxied:wrapped")
    assert "Traceback" not in result.stderr
    assert (result.returncode, "0 errors" in result.stdout) == (0, True)
