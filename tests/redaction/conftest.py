"""What the tests of redaction may count on: no kit of another test is at work."""

from __future__ import annotations

import gc

import pytest

from launchkit.redaction import hooks, logs, sentry, telemetry
from launchkit.redaction.attributes import Wrapping


@pytest.fixture(autouse=True)
def _nothing_installed() -> None:
    """Take away what kits have installed in this process that are still there, because a module or a cycle has them."""
    gc.collect(0)
    for module in (hooks, logs, sentry, telemetry):
        for wrapping in vars(module).values():
            if isinstance(wrapping, Wrapping) and wrapping._installed:
                wrapping._installed.clear()
                wrapping._newest = None
                wrapping._take_away()
    telemetry._INSTALLED.clear()
