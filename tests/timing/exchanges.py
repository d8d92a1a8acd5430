"""A request that only exists in memory."""

from __future__ import annotations

from collections.abc import Iterable

from launchkit.pipeline.exchange import Exchange, Header


class MemoryExchange(Exchange):
    """An exchange whose every attribute is given."""

    def __init__(
        self,
        method: str = "GET",
        route: str | None = "/items/{id}",
        status: int = 200,
        error: BaseException | None = None,
        started: float = 1000.0,
        seconds: float = 0.1,
    ) -> None:
        self.method = method
        self.path = "/"
        self.route = route
        self.status = status
        self.error = error
        self.started = started
        self.ended = started + seconds
        self.notes = None

    @property
    def query(self) -> bytes:
        return b""

    @property
    def target(self) -> bytes:
        return b"/"

    def header(self, name: bytes) -> bytes | None:
        return None

    def header_values(self, name: bytes) -> list[bytes]:
        return []

    def request_headers(self) -> Iterable[Header]:
        return []

    def hide_request_headers(self, names: frozenset[bytes]) -> None:
        return None
