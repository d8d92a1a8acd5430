"""The kit that a command works with: the one of an app, or one made of the environment's settings alone."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from launchkit.command.failure import MISUSED, Failed
from launchkit.errors import CheckFailed
from launchkit.kit import LaunchKit


class NotImported(Failed):
    """There is no kit to be had under that name; the message says why."""

    def __init__(self, message: str) -> None:
        super().__init__(message, MISUSED)


def find_kit(name: str) -> LaunchKit:
    """Import `module:name` and return the kit that it is, or that is installed in it, or that is in its module.

    Raises:
        NotImported: if there is none.
        CheckFailed: if the kit refuses to be made in this place.
    """
    module_name, _, attributes = name.partition(":")
    if not module_name or not attributes:
        raise NotImported(f"{name!r} should be a module and a name in it, like main:app")
    working_directory = str(Path.cwd())
    if working_directory not in sys.path:
        sys.path.insert(0, working_directory)
    try:
        found: object = importlib.import_module(module_name)
        module = found
        for attribute in attributes.split("."):
            found = getattr(found, attribute)
    except CheckFailed:
        raise
    except (Exception, SystemExit) as error:
        raise NotImported(f"{name} cannot be imported: {type(error).__name__}: {error}") from error
    kit = _kit_of(found) or next(filter(None, map(_kit_of, vars(module).values())), None)
    if kit is None:
        raise NotImported(f"{name} has no LaunchKit installed: call kit.install(app), or name the kit itself")
    return kit


def _kit_of(found: object) -> LaunchKit | None:
    """Return what is a kit, or is installed in a Starlette or Flask app."""
    try:
        extensions = getattr(found, "extensions", None)
        installed = extensions.get("launchkit") if isinstance(extensions, dict) else None
        candidates = (found, getattr(getattr(found, "state", None), "launchkit", None), installed)
        return next((one for one in candidates if isinstance(one, LaunchKit)), None)
    except Exception:  # noqa: BLE001  # a module's names may be proxies of a request, which raise outside of one
        return None
