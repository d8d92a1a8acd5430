"""Steps carried out as adapters do it: as far as they go at once, and then in one colour."""

from __future__ import annotations

from typing import Any

from launchkit.pipeline.effects import AsyncBodyReader, Backends, BodyReader, Steps, Waiting
from launchkit.pipeline.perform import aperform, perform, perform_now


def carried_out(steps: Steps[Any], backends: Backends, reader: BodyReader | None = None) -> Any:
    """Run steps to their end in this thread."""
    outcome = perform_now(steps, backends)
    return perform(outcome, backends, reader) if isinstance(outcome, Waiting) else outcome  # type: ignore[arg-type]


async def acarried_out(steps: Steps[Any], backends: Backends, reader: AsyncBodyReader | None = None) -> Any:
    """Run steps to their end on the event loop."""
    outcome = perform_now(steps, backends)
    return await aperform(outcome, backends, reader) if isinstance(outcome, Waiting) else outcome  # type: ignore[arg-type]
