"""Sentry's pipeline with its end in memory: for the proof that nothing secret leaves through it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import sentry_sdk
from sentry_sdk.client import BaseClient
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport


class CapturedSentry(Transport):
    """A transport that keeps envelopes as they would leave."""

    def __init__(self) -> None:
        super().__init__()
        self._envelopes: list[Envelope] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        """Keep an envelope."""
        self._envelopes.append(envelope)

    def sent(self, text: str) -> list[str]:
        """Report `text` as a message and as an error, and return all that has been captured."""
        sentry_sdk.set_extra("canary", text)
        sentry_sdk.capture_message(text)
        sentry_sdk.capture_exception(ValueError(text))
        return [envelope.serialize().decode("utf-8", "replace") for envelope in self._envelopes]


@contextlib.contextmanager
def captured_sentry() -> Iterator[CapturedSentry | None]:
    """Give this context a double of Sentry's client that sends nothing, and a scope of its own; None without a client.

    The double has the client's options and integrations, and reports every error. It has none of the client's batches,
    which would send what they are given.
    """
    client = sentry_sdk.get_client()
    if not client.is_active():
        yield None
        return
    transport = CapturedSentry()
    with sentry_sdk.isolation_scope() as scope:
        scope.clear()  # breadcrumbs, and the session, which would count the error
        sentry_sdk.get_current_scope().clear()
        sentry_sdk.get_current_scope().set_client(_double(client, transport))
        yield transport


def _double(client: BaseClient, transport: Transport) -> BaseClient:
    double = object.__new__(type(client))
    vars(double).update(vars(client))
    batches = dict.fromkeys(name for name in vars(client) if name.endswith("_batcher"))
    options = {**client.options, "sample_rate": 1.0, "error_sampler": None}
    vars(double).update(batches, transport=transport, options=options)
    return double
