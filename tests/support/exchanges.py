"""An exchange without a server: a request that a test has written down."""

from __future__ import annotations

from collections.abc import Iterable

from launchkit.pipeline.exchange import EarlyResponse, Exchange, Header


class WrittenExchange(Exchange):
    """A request; `target` may have a query, header names are in lower case."""

    def __init__(
        self,
        method: str = "GET",
        target: str = "/",
        headers: Iterable[Header] = (),
        peer: str | None = "203.0.113.7",
        scheme: str = "http",
    ) -> None:
        self.method = method
        self.mount = ""
        self.path, _, self._query = target.partition("?")
        self.headers = list(headers)
        self.peer = peer
        self.scheme = scheme
        self.request_id = self.outer_request_id = ""
        self.started = self.ended = 0.0
        self.status = 0
        self.response_headers = []
        self.body_hooks = ()
        self.may_be_replaced = False
        self.route = self.error = self.notes = self.cache = self.replacement = self._response_names = None

    def answer(self, status: int, *headers: Header) -> WrittenExchange:
        """Start a response as an adapter does."""
        self.status = status
        self.response_headers = list(headers)
        self._response_names = None
        return self

    @property
    def is_identified(self) -> bool:
        return False

    @property
    def query(self) -> bytes:
        return self._query.encode("latin-1", "replace")  # as the adapters do

    @property
    def target(self) -> bytes:
        return self.path.encode()

    def header(self, name: bytes) -> bytes | None:
        return dict(self.headers).get(name)

    def header_values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key == name]

    def request_headers(self) -> Iterable[Header]:
        return list(self.headers)

    def present_to_app(self, client: str | None, scheme: str, host: bytes | None) -> None:
        raise AssertionError("no app is there to be shown anything")

    def limit_body(self, limit: int, too_large: EarlyResponse) -> None:
        raise AssertionError("no body is there to be limited")

    def hide_request_headers(self, names: frozenset[bytes]) -> None:
        self.headers = [pair for pair in self.headers if pair[0] not in names]

    def set_request_headers(self, headers: Iterable[Header]) -> None:
        given = list(headers)
        self.hide_request_headers(frozenset(name for name, _ in given))
        self.headers += given
