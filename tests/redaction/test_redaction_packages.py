"""Redaction reaches packages whenever the app imports them, and is no reason to import them."""

from __future__ import annotations

import importlib
import logging
import secrets
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

from launchkit.redaction.packages import when_imported

UNUSED = """
import sys
from launchkit.redaction.engine import Redactor
from launchkit.redaction.packages import install
from launchkit.settings import RedactionSettings
finders = list(sys.meta_path)
remove = install(Redactor(RedactionSettings(), mask_emails=False))
assert not {"sentry_sdk", "opentelemetry"} & set(sys.modules), "imported for nothing"
remove()
assert sys.meta_path == finders
import sentry_sdk.envelope
assert sentry_sdk.envelope.Item.__init__.__module__ == "sentry_sdk.envelope"
assert not hasattr(sentry_sdk.envelope.Item.__init__, "__wrapped__")
"""

LATE = """
import sys
from launchkit.redaction.engine import Redactor
from launchkit.redaction.packages import install
from launchkit.settings import RedactionSettings
remove = install(Redactor(RedactionSettings(), mask_emails=False))
import sentry_sdk.envelope
import opentelemetry.sdk.{first}
assert hasattr(sentry_sdk.envelope.Item.__init__, "__wrapped__")
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
assert hasattr(BatchSpanProcessor.on_end, "__wrapped__")
assert hasattr(BatchLogRecordProcessor.on_emit, "__wrapped__")
remove()
assert not hasattr(BatchSpanProcessor.on_end, "__wrapped__")
assert not hasattr(sentry_sdk.envelope.Item.__init__, "__wrapped__")
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a module that can be imported and has not been."""
    name = f"awaited_{secrets.token_hex(6)}"
    (tmp_path / f"{name}.py").write_text("READY = True\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


class Acts:
    """Counts what is done and undone, and looks whether the module was ready."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.done: list[bool] = []
        self.undone = 0

    def __call__(self) -> Callable[[], None]:
        self.done.append(sys.modules[self.module].READY)
        return self.undo

    def undo(self) -> None:
        self.undone += 1


def run(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_packages_that_are_not_used_are_not_imported() -> None:
    """An app without Sentry and OpenTelemetry does not pay for their import, and an end leaves nothing behind."""
    run(UNUSED)


@pytest.mark.parametrize("first", ["trace.export", "_logs.export"])
def test_packages_imported_later_are_reached(first: str) -> None:
    """Whichever part of OpenTelemetry comes first, all of it is redacted from then on, and no longer at the end."""
    run(LATE.format(first=first))


def test_it_acts_when_the_module_has_been_executed(module: str) -> None:
    """The module's names are there, and the importing code has not gone on; a second import changes nothing."""
    acts = Acts(module)
    finders = list(sys.meta_path)
    end = when_imported(frozenset({module, "another"}), acts)
    assert acts.done == []
    imported = importlib.import_module(module)
    importlib.reload(imported)
    assert acts.done == [True]
    assert sys.meta_path == finders
    assert imported.__file__ is not None
    end()
    end()
    assert acts.undone == 2


def test_it_acts_at_once_where_the_module_is_there(module: str) -> None:
    """For an app that has imported the package before it makes its kit."""
    importlib.import_module(module)
    acts = Acts(module)
    when_imported(frozenset({module}), acts)
    assert acts.done == [True]


def test_nothing_is_done_after_the_end(module: str) -> None:
    """A kit that has gone does not come back with an import."""
    acts = Acts(module)
    when_imported(frozenset({module}), acts)()
    importlib.import_module(module)
    assert acts.done == []


def test_an_end_while_it_acts_is_honoured(module: str) -> None:
    """What was under way is undone as soon as it is done."""
    acts = Acts(module)
    ends: list[Callable[[], None]] = []

    def act() -> Callable[[], None]:
        ends[0]()
        return acts()

    ends.append(when_imported(frozenset({module}), act))
    importlib.import_module(module)
    assert acts.undone == 1


def test_a_mistake_costs_neither_the_import_nor_the_app(module: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, because nothing is redacted there then."""

    def act() -> Callable[[], None]:
        raise RuntimeError("no such class")

    end = when_imported(frozenset({module}), act)
    with caplog.at_level(logging.ERROR, "launchkit"):
        assert importlib.import_module(module).READY
    end()
    assert module in caplog.text


def test_a_loader_that_cannot_be_listened_to_costs_no_import(module: str, caplog: pytest.LogCaptureFixture) -> None:
    """The import goes on, and the log says what to do."""

    class Rigid:
        __slots__ = ()

        def create_module(self, spec: ModuleSpec) -> None: ...

        def exec_module(self, module: ModuleType) -> None:
            vars(module)["READY"] = True

    class Finder:
        def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
            return ModuleSpec(name, Rigid()) if name == module else None  # type: ignore[arg-type]  # a loader in all but name

    sys.meta_path.insert(0, finder := Finder())  # type: ignore[arg-type]  # a finder in all but name
    end = when_imported(frozenset({module}), Acts(module))
    imported = importlib.import_module(module)
    end()
    sys.meta_path.remove(finder)  # type: ignore[arg-type]  # see above
    assert imported.READY
    assert f"import {module} before" in caplog.text


def test_a_module_that_is_missing_stays_missing(module: str) -> None:
    """The error is the one that the app would have had without us."""
    end = when_imported(frozenset({f"{module}_not"}), Acts(module))
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"{module}_not")
    end()
