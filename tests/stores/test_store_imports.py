"""What is imported, and when: packages that only some apps need are imported only for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from launchkit import LaunchKit, Settings, StartError

PREAMBLE = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

def loaded(*names):
    return sorted(name for name in names if name in sys.modules)
"""

IMPORT = """
import launchkit
print(loaded("redis", "sentry_sdk", "opentelemetry", "flask", "starlette", "fastapi", "werkzeug"))
"""

MINIMAL = """
HIDDEN = ("redis", "flask", "fastapi", "sentry_sdk", "opentelemetry", "werkzeug")
sys.meta_path.insert(0, Missing())
from launchkit import LaunchKit, Settings
kit = LaunchKit(Settings(environment="test"))
kit.asgi(None), kit.wsgi(None)
print(loaded(*HIDDEN))
"""

WITHOUT_REDIS = """
HIDDEN = ("redis",)
sys.meta_path.insert(0, Missing())
from launchkit import LaunchKit, Settings, StartError
try:
    LaunchKit(Settings(environment="test", redis_url="redis://localhost"))
except StartError as error:
    print(error)
"""


def run(program: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + program], capture_output=True, text=True, cwd=folder, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_launchkit_imports_no_framework_and_no_client(tmp_path: Path) -> None:
    """`import launchkit` brings in neither a web framework nor Redis, Sentry or OpenTelemetry."""
    assert run(IMPORT, tmp_path) == "[]"


def test_a_kit_works_where_nothing_optional_is_installed(tmp_path: Path) -> None:
    """Without the packages that settings may ask for, a kit can be made and put around an app."""
    assert run(MINIMAL, tmp_path) == "[]"


def test_redis_settings_without_the_redis_package_say_what_to_install(tmp_path: Path) -> None:
    """A missing package is an error at start, with its remedy."""
    assert run(WITHOUT_REDIS, tmp_path) == (
        "redis_url is set but the redis package is missing: install launchkit[redis]"
    )


@pytest.mark.parametrize("url", ["localhost:6379", "http://user:never-to-be-shown@localhost", "redis://localhost:port"])
def test_a_redis_url_that_is_none_is_refused_at_start(url: str) -> None:
    """The message says what the URL should be like and does not show what it is."""
    with pytest.raises(StartError, match="LAUNCHKIT_REDIS_URL should be like redis://host:6379/0") as caught:
        LaunchKit(Settings(redis_url=url))
    assert url not in str(caught.value)
    assert caught.value.__cause__ is None
