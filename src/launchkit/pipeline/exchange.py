"""One request and its response, as the features see them.

An exchange is made by an adapter for every request and thrown away with it: it is the only place where anything about a
single request may be kept. Header names are lower-case bytes and header values are bytes, as in the ASGI specification,
whatever the server speaks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from launchkit.pipeline.effects import Steps

Header = tuple[bytes, bytes]
T = TypeVar("T")

BodyHook = Callable[["Exchange", bytes, bool], "Steps[None] | None"]


@dataclass(slots=True)
class EarlyResponse:
    """A complete response that a feature gives in place of the app's.

    It leaves through the response hooks of every interceptor that the request has entered, so that it too carries the
    request id and the security headers. `route` is the label under which it is timed: the pattern of the rule that
    answered, never the raw path. `names` are those of the headers and `content-length`, in lower case, if they are
    known already.
    """

    status: int
    body: bytes = b""
    headers: tuple[Header, ...] = ()
    route: str | None = None
    names: frozenset[bytes] | None = None


class Note(Generic[T]):
    """A typed place on an exchange where one feature leaves something for its own later hook."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def get(self, exchange: Exchange) -> T | None:
        """Return what was left under this note, or None."""
        notes = exchange.notes
        return None if notes is None else notes.get(self)  # type: ignore[return-value]  # put() is the only writer

    def put(self, exchange: Exchange, value: T) -> None:
        """Leave `value` for a later hook of the same request."""
        if exchange.notes is None:
            exchange.notes = {}
        exchange.notes[self] = value


class RequestHeaders(Protocol):
    """Request headers, by name."""

    def header_values(self, name: bytes) -> list[bytes]:
        """Return every value of one header, in the order received."""
        ...


class ListedHeaders:
    """Request headers as a list, which nobody changes any more."""

    __slots__ = ("_headers",)

    def __init__(self, headers: Iterable[Header]) -> None:
        self._headers = headers

    def header_values(self, name: bytes) -> list[bytes]:
        """Return every value of one header, in the order received."""
        return [value for key, value in self._headers if key == name]


class Exchange(ABC):
    """One request and its response. Adapters subclass it; features read it.

    Times are seconds of the kit's monotonic clock. `path` is decoded and includes `mount`, the prefix under which the
    app is served. `status` is 0 until a response has started; `ended` is 0.0 until its last byte was handed to the
    server. `cache` says whether the read cache gave the response (`hit`) or let the app give it (`miss`), and is None
    where it had no part in it.
    """

    __slots__ = (
        "_response_names",
        "body_hooks",
        "cache",
        "ended",
        "error",
        "may_be_replaced",
        "method",
        "mount",
        "notes",
        "outer_request_id",
        "path",
        "peer",
        "replacement",
        "request_id",
        "response_headers",
        "route",
        "scheme",
        "started",
        "status",
    )

    method: str
    mount: str
    path: str
    scheme: str
    peer: str | None
    request_id: str
    outer_request_id: str
    started: float
    ended: float
    status: int
    response_headers: list[Header]
    route: str | None
    error: BaseException | None
    notes: dict[object, object] | None
    cache: Literal["hit", "miss"] | None
    body_hooks: tuple[BodyHook, ...]
    may_be_replaced: bool
    replacement: EarlyResponse | None
    _response_names: set[bytes] | None

    @property
    @abstractmethod
    def is_identified(self) -> bool:
        """Whether a layer outside of the kit has told the app who is asking, in other ways than by a header."""

    @property
    @abstractmethod
    def query(self) -> bytes:
        """The query string as received, without the question mark."""

    @property
    @abstractmethod
    def target(self) -> bytes:
        """The path as received: still percent-encoded where the server tells, mount prefix included."""

    @abstractmethod
    def header(self, name: bytes) -> bytes | None:
        """Return one request header. Where it was sent several times, the last or the joined value."""

    @abstractmethod
    def header_values(self, name: bytes) -> list[bytes]:
        """Return every value of one request header, in the order received."""

    @abstractmethod
    def request_headers(self) -> Iterable[Header]:
        """Return all request headers."""

    def headers_named(self, names: frozenset[bytes]) -> tuple[Header, ...]:
        """Return every request header that has one of these names, in the order received."""
        return tuple([header for header in self.request_headers() if header[0] in names])

    def request_headers_besides(self, names: frozenset[bytes]) -> Iterable[Header]:
        """Return the request headers that have none of these names."""
        return [header for header in self.request_headers() if header[0] not in names]

    def headers_as_received(self) -> RequestHeaders:
        """Return the request headers as they are now, whatever becomes of them on the way through the app."""
        return ListedHeaders(tuple(self.request_headers()))

    @property
    def resource(self) -> tuple[str, bytes, bytes]:
        """The scheme that the app is shown, which a trusted proxy may have told, with `target` and `query`."""
        return self.scheme, self.target, self.query

    @abstractmethod
    def hide_request_headers(self, names: frozenset[bytes]) -> None:
        """Take headers out of the request before the app sees it."""

    @abstractmethod
    def set_request_headers(self, headers: Iterable[Header]) -> None:
        """Give the app these request headers in place of any of the same names, which are in lower case."""

    @abstractmethod
    def present_to_app(self, client: str | None, scheme: str, host: bytes | None) -> None:
        """Show the app another client's address, `http` or `https`, and Host; None leaves what the server said.

        `peer` and `scheme` go on telling what the server said.
        """

    @abstractmethod
    def limit_body(self, limit: int, too_large: EarlyResponse) -> None:
        """Let no more than `limit` bytes of the request body through, however it arrives.

        Whoever reads on finds the client gone, and unless the response has started by then it is `too_large`, whatever
        the app makes of that.
        """

    def watch_body(self, hook: BodyHook) -> None:
        """Show `hook` every chunk of the response body, for `on_response_start`. A body nobody watches is not touched.

        A hook is called with the exchange, a chunk, and whether that is the last one, which is true exactly once.
        """
        self.body_hooks = (*self.body_hooks, hook)

    def replace_response(self, response: EarlyResponse) -> None:
        """Give `response` instead of the app's, for `on_response_start`; whatever the app sends then goes nowhere.

        Only where `may_be_replaced` was set before the app was called, and by the innermost interceptor: the hooks of
        those further out see the new response.
        """
        self.replacement = response
        self.status = response.status
        self.response_headers = list(response.headers)
        self._response_names = None

    def response_header(self, name: bytes) -> bytes | None:
        """Return the first value of a response header; valid from `on_response_start` on."""
        for key, value in self.response_headers:
            if key.lower() == name:
                return value
        return None

    @property
    def response_names(self) -> set[bytes]:
        """The names of the response headers, in lower case; valid from `on_response_start` on."""
        names = self._response_names
        if names is None:
            names = self._response_names = {name.lower() for name, _ in self.response_headers}
        return names

    def replace_response_header(self, name: bytes, value: bytes) -> None:
        """Give the first response header of that name, which must be there, another value."""
        headers = self.response_headers
        index = next(index for index, header in enumerate(headers) if header[0].lower() == name)
        headers[index] = (headers[index][0], value)

    def default_response_headers(self, headers: Iterable[Header]) -> None:
        """Append the headers, named in lower case, that the response does not have: the app's own always win."""
        response = self.response_headers
        names = self.response_names
        for header in headers:
            name = header[0]
            if name not in names:
                names.add(name)
                response.append(header)
