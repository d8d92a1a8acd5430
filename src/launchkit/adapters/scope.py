"""What an ASGI scope tells features about a request or a handshake, and the way through the request hooks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from typing import Any, Final
from urllib.parse import quote

from launchkit.pipeline.effects import Body, Waiting
from launchkit.pipeline.exchange import EarlyResponse, Exchange, Header, ListedHeaders, RequestHeaders
from launchkit.pipeline.interceptor import Plan, RequestHook, ResponseHook
from launchkit.pipeline.perform import aperform
from launchkit.pipeline.pipeline import Pipeline

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


_NO_TLS: Final[dict[str, str]] = {}
"""What the extension says (https://asgi.readthedocs.io/en/latest/specs/tls.html) where it is not there."""


class ScopeExchange(Exchange):
    """An exchange whose request is an ASGI scope. Those who subclass it set every slot."""

    __slots__ = ("_client", "_headers", "_hooks", "_pipeline", "_plan", "_response_hooks", "_scope")

    _client: tuple[str, int] | None
    _headers: dict[bytes, bytes] | None
    _hooks: Iterator[RequestHook]
    _pipeline: Pipeline
    _plan: Plan
    _response_hooks: tuple[ResponseHook, ...]
    _scope: Scope

    # --- what features see -----------------------------------------------------------------------------------------

    @property
    def peer(self) -> str | None:  # type: ignore[override]  # read when asked for: most requests never are
        """The address at the other end of the connection."""
        client = self._client
        return client[0] if client else None

    @property
    def is_identified(self) -> bool:
        """Whether middleware knows the user, by session or authentication, or the server by a client's certificate."""
        scope = self._scope
        user = scope.get("user")
        if scope.get("session") or (user is not None and getattr(user, "is_authenticated", True)):
            return True
        extensions = scope.get("extensions")
        return bool(extensions and extensions.get("tls", _NO_TLS).get("client_cert_name"))

    @property
    def resource(self) -> tuple[str, bytes, bytes]:
        """The scheme in the scope that the app is given, the path and the query as received."""
        get = self._scope.get
        raw: bytes | None = get("raw_path")
        return get("scheme", "http"), self.target if raw is None else raw, get("query_string", b"")

    @property
    def query(self) -> bytes:
        """The query string as received."""
        query: bytes = self._scope.get("query_string", b"")
        return query

    @property
    def target(self) -> bytes:
        """The path as received, where the server tells; else encoded anew."""
        raw: bytes | None = self._scope.get("raw_path")
        if raw is not None:
            return raw
        return quote(self.path, safe="/:@!$&'()*+,;=~", errors="surrogatepass").encode("ascii")

    def header(self, name: bytes) -> bytes | None:
        """Return one request header, the last where there are several."""
        headers = self._headers
        if headers is None:
            headers = self._headers = dict(self._scope["headers"])
        return headers.get(name)

    def header_values(self, name: bytes) -> list[bytes]:
        """Return every value of a request header."""
        return [value for key, value in self._scope["headers"] if key == name]

    def request_headers(self) -> Iterable[Header]:
        """Return all request headers."""
        headers: Iterable[Header] = self._scope["headers"]
        return headers

    def headers_as_received(self) -> RequestHeaders:
        """Return the list that the scope holds now: frameworks and the kit put another in its place."""
        return ListedHeaders(self._scope["headers"])

    def hide_request_headers(self, names: frozenset[bytes]) -> None:
        """Take headers out of the scope that the app is given."""
        self._scope["headers"] = [pair for pair in self._scope["headers"] if pair[0] not in names]
        self._headers = None

    def set_request_headers(self, headers: Iterable[Header]) -> None:
        """Change them in the scope that the app is given."""
        given = list(headers)
        self.hide_request_headers(frozenset([name for name, _ in given]))
        self._scope["headers"] += given

    def present_to_app(self, client: str | None, scheme: str, host: bytes | None) -> None:
        """Change the scope that the app is given; the client's port is not known."""
        scope = self._scope
        if client is not None:
            scope["client"] = (client, 0)
        scope["scheme"] = scheme.replace("http", "ws") if scope["type"] == "websocket" else scheme
        if host is not None:
            scope["headers"] = [(b"host", host), *(pair for pair in scope["headers"] if pair[0] != b"host")]
            self._headers = None

    # --- the request hooks -----------------------------------------------------------------------------------------

    def enter(self) -> EarlyResponse | tuple[RequestHook, Waiting[EarlyResponse | None]] | None:
        """Run request hooks until one answers or has to ask the world."""
        entered = self._pipeline.enter(self, self._hooks)
        if entered is None:
            return None
        hook, outcome = entered
        if isinstance(outcome, EarlyResponse):
            self._response_hooks = self._plan.responses_from[hook]
            return outcome
        return hook, outcome

    async def ask(
        self, asking: EarlyResponse | tuple[RequestHook, Waiting[EarlyResponse | None]]
    ) -> EarlyResponse | None:
        """Carry out a hook's steps, then go on with the hooks after it."""
        current: EarlyResponse | tuple[RequestHook, Waiting[EarlyResponse | None]] | None = asking
        while current is not None and not isinstance(current, EarlyResponse):
            hook, waiting = current
            try:
                early = await aperform(waiting, self._pipeline.backends, self)
            except Exception as error:  # noqa: BLE001  # the fence
                early = self._pipeline.broken(hook, self, error)
            early = self.body_refusal or early
            if early is not None:
                self._response_hooks = self._plan.responses_from[hook]
                return early
            current = self.enter()
        return current

    @property
    @abstractmethod
    def body_refusal(self) -> EarlyResponse | None:
        """The answer that is due because a hook has read more of the body than may be."""

    @abstractmethod
    async def aread(self, limit: int) -> Body:
        """Read the request body up to `limit` bytes."""
