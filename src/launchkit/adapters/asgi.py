"""ASGI (https://asgi.readthedocs.io/en/latest/specs/www.html) to the pipeline and back.

The rules:

- One object per request: the exchange is also the `send` that the app is given. `send` is a plain function that returns
  the server's own awaitable, so a stream costs one call a message; it becomes a coroutine only where a hook has to ask
  the world.
- Messages pass unchanged but for added response headers; bodies are never held back.
- The exchange ends with the last body message (with `http.response.trailers` where announced, with
  `http.response.pathsend` where used), so background tasks are not part of it.
- Exceptions are always re-raised. Where the app raised before it answered, the kit sends the 500 first.
- Scopes other than HTTP pass through; lifespan also starts and stops the kit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from typing import Any

from launchkit.adapters.host import MARK, NO_LENGTH, Host
from launchkit.adapters.routes import RouteLabels
from launchkit.pipeline.effects import Body, Steps
from launchkit.pipeline.exchange import EarlyResponse, Exchange, Header
from launchkit.pipeline.interceptor import BodyHook, RequestHook, ResponseHook
from launchkit.pipeline.perform import aperform
from launchkit.pipeline.pipeline import Pipeline, owner_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SERVER_ERROR = EarlyResponse(500, b"Internal Server Error", ((b"content-type", b"text/plain; charset=utf-8"),))


class AsgiAdapter:
    """An ASGI app with the kit around it. The app stays reachable as `.app`."""

    def __init__(self, app: App, host: Host, routes_of: object = None) -> None:
        self.app = app
        self._host = host
        self._labels = RouteLabels(routes_of if routes_of is not None else app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or MARK in scope:
            await self._pass_through(scope, receive, send)
            return
        pipeline = self._host.pipeline or self._host.start()
        scope[MARK] = True
        exchange = AsgiExchange(pipeline, scope, receive, send, self._labels)
        try:
            early = exchange.enter()
            if early is not None and type(early) is not EarlyResponse:
                early = await exchange.ask(early)
            if early is None:
                await self.app(scope, exchange.receive, exchange.send)
            else:
                await exchange.answer(early)
        except BaseException as error:
            await exchange.fail(error)
            raise
        finally:
            exchange.leave()

    async def _pass_through(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan" or MARK in scope:
            await self.app(scope, receive, send)
            return

        async def receive_stopping() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self._host.astop()
            return message

        async def send_starting(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                await self._host.astart()
            await send(message)

        scope[MARK] = True
        await self.app(scope, receive_stopping, send_starting)


class AsgiExchange(Exchange):
    """One HTTP request under ASGI."""

    __slots__ = (
        "_answering",
        "_finished",
        "_headers",
        "_hooks",
        "_labels",
        "_mount",
        "_pipeline",
        "_plan",
        "_read",
        "_receive",
        "_response_hooks",
        "_scope",
        "_send",
        "_trailers",
        "receive",
    )

    def __init__(self, pipeline: Pipeline, scope: Scope, receive: Receive, send: Send, labels: RouteLabels) -> None:
        self.started = pipeline.now()
        self.method = method = scope["method"]
        self.path = path = scope["path"]
        self._mount = mount = scope.get("root_path", "")
        self._plan = plan = pipeline.planner.plan(method, path, mount)
        self._hooks: Iterator[RequestHook] = iter(plan.on_request)
        self._response_hooks: tuple[ResponseHook, ...] = plan.on_response_start
        self._pipeline = pipeline
        self._scope = scope
        self._receive = self.receive = receive
        self._send = send
        self._labels = labels
        self._headers: dict[bytes, bytes] | None = None
        self._read: list[Message] | None = None
        self._answering = self._finished = self._trailers = False
        self.scheme = scope.get("scheme", "http")
        self.request_id = ""
        self.status = 0
        self.ended = 0.0
        self.route = self.error = self.notes = None

    # --- what features see -----------------------------------------------------------------------------------------

    @property
    def peer(self) -> str | None:  # type: ignore[override]  # read when asked for: most requests never are
        """The address at the other end of the connection."""
        client = self._scope.get("client")
        return client[0] if client else None

    @property
    def is_identified(self) -> bool:
        """Whether session or authentication middleware stands outside of the kit and knows the user."""
        user = self._scope.get("user")
        return bool(self._scope.get("session")) or (user is not None and getattr(user, "is_authenticated", True))

    @property
    def query(self) -> bytes:
        """The query string as received."""
        query: bytes = self._scope.get("query_string", b"")
        return query

    @property
    def target(self) -> bytes:
        """The path as received."""
        raw: bytes | None = self._scope.get("raw_path")
        return raw if raw is not None else self.path.encode("utf-8", "surrogatepass")

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

    def hide_request_headers(self, names: frozenset[bytes]) -> None:
        """Take headers out of the scope that the app is given."""
        self._scope["headers"] = [pair for pair in self._scope["headers"] if pair[0] not in names]
        self._headers = None

    # --- the request -----------------------------------------------------------------------------------------------

    def enter(self) -> EarlyResponse | tuple[RequestHook, Steps[EarlyResponse | None]] | None:
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
        self, asking: EarlyResponse | tuple[RequestHook, Steps[EarlyResponse | None]]
    ) -> EarlyResponse | None:
        """Carry out a hook's steps, then go on with the hooks after it."""
        current: EarlyResponse | tuple[RequestHook, Steps[EarlyResponse | None]] | None = asking
        while current is not None and not isinstance(current, EarlyResponse):
            hook, steps = current
            try:
                early = await aperform(steps, self._pipeline.backends, self)
            except Exception as error:  # noqa: BLE001  # the fence
                early = self._pipeline.broken(hook, self, error)
            if early is not None:
                self._response_hooks = self._plan.responses_from[hook]
                return early
            current = self.enter()
        return current

    async def aread(self, limit: int) -> Body:
        """Read the body up to `limit` bytes, keeping the messages for the app."""
        announced = self.header(b"content-length")
        if announced is not None and announced.isdigit() and int(announced) > limit:
            return Body(b"", too_large=True)
        if self._read is None:
            self._read = []
            self.receive = self._replay
        size = 0
        for message in await self._messages(limit):
            if message["type"] == "http.disconnect":
                return Body(b"", disconnected=True)
            size += len(message.get("body", b""))
        if size > limit:
            return Body(b"", too_large=True)
        return Body(b"".join(message.get("body", b"") for message in self._read))

    async def _messages(self, limit: int) -> list[Message]:
        kept = self._read if self._read is not None else []
        size = sum(len(message.get("body", b"")) for message in kept)
        while size <= limit and (not kept or kept[-1].get("more_body", False)):
            message = await self._receive()
            kept.append(message)
            size += len(message.get("body", b""))
        return kept

    async def _replay(self) -> Message:
        if self._read:
            return self._read.pop(0)
        return await self._receive()

    # --- the response ----------------------------------------------------------------------------------------------

    def send(self, message: Message) -> Awaitable[None]:
        """Take one message of the response on its way to the server."""
        kind = message["type"]
        if kind == "http.response.body":
            if self._plan.on_body and not self._answering:
                return self._send_watched(message)
            if not message.get("more_body", False) and not self._trailers:
                self.finish()
        elif kind == "http.response.start":
            return self._start(message)
        elif kind == "http.response.zerocopysend":
            self._answering = True  # a part of the body that hooks cannot see: they are not to take the rest for all
            if not message.get("more_body", False):
                self.finish()
        elif kind == "http.response.pathsend" or (
            kind == "http.response.trailers" and not message.get("more_trailers", False)
        ):
            self.finish()
        return self._send(message)

    def _start(self, message: Message) -> Awaitable[None]:
        self.status = message["status"]
        self.response_headers = list(message.get("headers", ()))
        self._response_names = None
        self._trailers = message.get("trailers", False)
        hooks = iter(self._response_hooks)
        asking = self._pipeline.start_response(self, hooks)
        if asking is not None:
            return self._start_asking(message, hooks, asking)
        return self._send({**message, "headers": self.response_headers})

    async def _start_asking(
        self, message: Message, hooks: Iterator[ResponseHook], asking: tuple[ResponseHook, Steps[None]] | None
    ) -> None:
        while asking is not None:
            await self._perform(*asking)
            asking = self._pipeline.start_response(self, hooks)
        await self._send({**message, "headers": self.response_headers})

    def _send_watched(self, message: Message) -> Awaitable[None]:
        last = not message.get("more_body", False)
        chunk = message.get("body", b"")
        hooks = iter(self._plan.on_body)
        asking = self._pipeline.watch_body(self, hooks, chunk, last)
        if asking is not None:
            return self._send_asking(message, hooks, asking)
        if last and not self._trailers:
            self.finish()
        return self._send(message)

    async def _send_asking(
        self, message: Message, hooks: Iterator[BodyHook], asking: tuple[BodyHook, Steps[None]] | None
    ) -> None:
        last = not message.get("more_body", False)
        while asking is not None:
            await self._perform(*asking)
            asking = self._pipeline.watch_body(self, hooks, message.get("body", b""), last)
        if last and not self._trailers:
            self.finish()
        await self._send(message)

    async def _perform(self, hook: ResponseHook | BodyHook, steps: Steps[None]) -> None:
        try:
            await aperform(steps, self._pipeline.backends, self)
        except Exception as error:  # noqa: BLE001  # the fence
            self._pipeline.failures.report(owner_of(hook).name, error)

    async def answer(self, early: EarlyResponse) -> None:
        """Send a response of the kit's own."""
        self._answering = True
        self.route = early.route
        body = early.body
        headers = list(early.headers)
        if early.status not in NO_LENGTH:
            headers.append((b"content-length", b"%d" % len(body)))
        await self.send({"type": "http.response.start", "status": early.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def fail(self, error: BaseException) -> None:
        """The app, or the way out, raised."""
        if self._finished:
            return
        self.error = error
        if self.status == 0 and isinstance(error, Exception):
            try:
                await self.answer(SERVER_ERROR)
            except Exception as further:  # noqa: BLE001  # the app's error is the one to show
                self._pipeline.failures.report("sending a 500", further)
        self.finish()

    def finish(self) -> None:
        """Nothing of the response is still to come."""
        if not self._finished:
            self._finished = True
            if self.route is None:
                self.route = self._label()
            self._pipeline.finish(self, self._plan)

    def _label(self) -> str | None:
        try:
            return self._labels.label(self._scope, self._mount)
        except Exception as error:  # noqa: BLE001  # what frameworks leave in a scope is not ours to vouch for
            self._pipeline.failures.report("finding a route label", error)
            return None

    def leave(self) -> None:
        """The app has returned; before the last byte only if the client is gone."""
        if not self._finished and self.error is None:
            self.error = ConnectionAbortedError("the app returned before the end of its response")
        self.finish()
        self._pipeline.leave(self, self._plan)
