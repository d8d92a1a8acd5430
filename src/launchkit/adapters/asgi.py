"""ASGI (https://asgi.readthedocs.io/en/latest/specs/www.html) to the pipeline and back.

The rules:

- One object per request: the exchange is also the `send` that the app is given. `send` is a plain function that returns
  the server's own awaitable, so a stream costs one call a message; it becomes a coroutine only where a hook has to ask
  the world.
- Messages pass unchanged but for added response headers; bodies are never held back, and those that nobody watches are
  not looked at.
- The exchange ends with the last body message (with `http.response.trailers` where announced, with
  `http.response.pathsend` where used), so background tasks are not part of it.
- Exceptions are always re-raised. Where the app raised before it answered, the kit sends the 500 first.
- Where a response is sent in place of the app's, the app goes on to its end, and what it sends goes nowhere.
- A request body that goes over its limit while the app receives it is answered with 413 by the kit; the app finds the
  client gone, and what it raises from then on goes nowhere either.
- A WebSocket handshake goes through the request hooks that cover handshakes, and what follows it passes untouched.
  Other scopes pass through; lifespan also starts and stops the kit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from launchkit.adapters.early import SERVER_ERROR, headers_of
from launchkit.adapters.host import MARK, Host, announced_length
from launchkit.adapters.routes import RouteLabels
from launchkit.adapters.scope import Message, Receive, Scope, ScopeExchange, Send
from launchkit.adapters.websocket import Handshake, deny
from launchkit.errors import StartError
from launchkit.pipeline.effects import Body, Waiting
from launchkit.pipeline.exchange import BodyHook, EarlyResponse
from launchkit.pipeline.interceptor import ResponseHook
from launchkit.pipeline.perform import aperform
from launchkit.pipeline.pipeline import Pipeline

App = Callable[[Scope, Receive, Send], Awaitable[None]]


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
            if not exchange.has_refused or not isinstance(error, Exception):
                raise
        finally:
            exchange.leave()

    async def _pass_through(self, scope: Scope, receive: Receive, send: Send) -> None:
        if MARK in scope:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._connect(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        handshake = Handshake(self._host.pipeline or self._host.start(), scope)
        refusal = await handshake.refusal()
        if refusal is None:
            await self.app(scope, receive, send)
        else:
            await deny(scope, receive, send, refusal)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start with the app and stop with it. A start that the kit refuses is a failed start of the app."""
        refused = False

        async def receive_stopping() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self._host.astop()
            return message

        async def send_starting(message: Message) -> None:
            nonlocal refused
            if refused:
                return  # what the app says about the failure that it was told of
            if message["type"] == "lifespan.startup.complete":
                try:
                    await self._host.astart()
                except StartError as error:
                    refused = True
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    raise
            await send(message)

        scope[MARK] = True
        try:
            await self.app(scope, receive_stopping, send_starting)
        except StartError:
            if not refused:
                raise


class _BodyLimit:
    """Counts what is received of a request body; from the limit on the client is gone."""

    __slots__ = ("_receive", "_room", "has_refused", "is_exceeded", "too_large")

    def __init__(self, receive: Receive, limit: int, too_large: EarlyResponse) -> None:
        self._receive = receive
        self._room = limit
        self.too_large = too_large
        self.is_exceeded = self.has_refused = False

    async def receive(self) -> Message:
        if not self.is_exceeded:
            message = await self._receive()
            self._room -= len(message.get("body", b""))
            if self._room >= 0:
                return message
            self.is_exceeded = True
        return {"type": "http.disconnect"}


async def _drop(message: Message) -> None:
    """Take what an app sends that has been answered for already."""


class AsgiExchange(ScopeExchange):
    """One HTTP request under ASGI."""

    __slots__ = ("_finished", "_labels", "_limit", "_read", "_receive", "_send", "_trailers")

    def __init__(self, pipeline: Pipeline, scope: Scope, receive: Receive, send: Send, labels: RouteLabels) -> None:
        self.started = pipeline.now()
        self.method = method = scope["method"]
        self.path = path = scope["path"]
        self.mount = mount = scope.get("root_path", "")
        self._plan = plan = pipeline.planner.plan(method, path, mount)
        self._hooks = iter(plan.on_request)
        self._response_hooks = plan.on_response_start
        self._pipeline = pipeline
        self._scope = scope
        self._client = scope.get("client")
        self._receive = receive
        self._send = send
        self._labels = labels
        self._headers = self._read = self._limit = None
        self._finished = self._trailers = self.may_be_replaced = False
        self.scheme = scope.get("scheme", "http")
        self.request_id = ""
        self.status = 0
        self.ended = 0.0
        self.body_hooks = ()
        self.route = self.error = self.notes = self.cache = self.replacement = None

    _read: list[Message] | None
    _limit: _BodyLimit | None

    # --- the request -----------------------------------------------------------------------------------------------

    @property
    def receive(self) -> Receive:
        """What the app is to receive from: the server itself, unless the kit has read or counts."""
        return self._receive if self._read is None and self._limit is None else self._next

    def limit_body(self, limit: int, too_large: EarlyResponse) -> None:
        """Count what is received, whoever receives it."""
        self._limit = _BodyLimit(self._receive, limit, too_large)
        self._receive = self._limit.receive

    @property
    def body_refusal(self) -> EarlyResponse | None:
        """The answer that is due because more of the body has been received than may be."""
        limit = self._limit
        return limit.too_large if limit is not None and limit.is_exceeded else None

    async def aread(self, limit: int) -> Body:
        """Read the body up to `limit` bytes, keeping the messages for the app."""
        announced = announced_length((self.header(b"content-length") or b"").decode("latin-1"))
        if announced is not None and announced > limit:
            return Body(b"", too_large=True)
        if self._read is None:
            self._read = []
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

    async def _next(self) -> Message:
        message = self._read.pop(0) if self._read else await self._receive()
        limit = self._limit
        if limit is not None and limit.is_exceeded and self.status == 0:
            await self.answer(limit.too_large)
            limit.has_refused = True
        return message

    # --- the response ----------------------------------------------------------------------------------------------

    def send(self, message: Message) -> Awaitable[None]:
        """Take one message of the response on its way to the server."""
        kind = message["type"]
        if kind == "http.response.body":
            if self.body_hooks:
                return self._send_watched(message)
            if not message.get("more_body", False) and not self._trailers:
                self.finish()
        elif kind == "http.response.start":
            return self._start(message)
        elif kind == "http.response.zerocopysend":
            self.body_hooks = ()  # they cannot see this part of the body, and are not to take the rest for all
            if not message.get("more_body", False):
                self.finish()
        elif kind == "http.response.pathsend" or (
            kind == "http.response.trailers" and not message.get("more_trailers", False)
        ):
            self.finish()
        return self._send(message)

    def _start(self, message: Message) -> Awaitable[None]:
        if self._send is _drop:
            return _drop(message)
        self.status = message["status"]
        self.response_headers = list(message.get("headers", ()))
        self._response_names = None
        self._trailers = message.get("trailers", False)
        hooks = iter(self._response_hooks)
        asking = self._pipeline.start_response(self, hooks)
        if asking is not None:
            return self._start_asking(message, hooks, asking)
        if self.replacement is not None:
            return self._send_whole(self.replacement)
        return self._send({**message, "headers": self.response_headers})

    async def _start_asking(
        self, message: Message, hooks: Iterator[ResponseHook], asking: tuple[ResponseHook, Waiting[None]] | None
    ) -> None:
        while asking is not None:
            await self._perform(*asking)
            asking = self._pipeline.start_response(self, hooks)
        if self.replacement is not None:
            await self._send_whole(self.replacement)
        else:
            await self._send({**message, "headers": self.response_headers})

    def _send_watched(self, message: Message) -> Awaitable[None]:
        last = not message.get("more_body", False)
        hooks = iter(self.body_hooks)
        if last:
            self.body_hooks = ()
        asking = self._pipeline.watch_body(self, hooks, message.get("body", b""), last)
        if asking is not None:
            return self._send_asking(message, hooks, asking)
        if last and not self._trailers:
            self.finish()
        return self._send(message)

    async def _send_asking(
        self, message: Message, hooks: Iterator[BodyHook], asking: tuple[BodyHook, Waiting[None]] | None
    ) -> None:
        last = not message.get("more_body", False)
        while asking is not None:
            await self._perform(*asking)
            asking = self._pipeline.watch_body(self, hooks, message.get("body", b""), last)
        if last and not self._trailers:
            self.finish()
        await self._send(message)

    async def _perform(self, hook: ResponseHook | BodyHook, waiting: Waiting[None]) -> None:
        try:
            await aperform(waiting, self._pipeline.backends, self)
        except Exception as error:  # noqa: BLE001  # the fence
            self._pipeline.leave_out(self, hook, error)

    # --- responses that are not the app's --------------------------------------------------------------------------

    async def answer(self, early: EarlyResponse) -> None:
        """Send a response of the kit's own."""
        self.route = early.route
        self.status = early.status
        self.response_headers = headers_of(early)
        self._response_names = None if early.names is None else set(early.names)
        hooks = iter(self._response_hooks)
        while (asking := self._pipeline.start_response(self, hooks)) is not None:
            await self._perform(*asking)
        await self._send_whole(self.replacement or early)

    def replace_response(self, response: EarlyResponse) -> None:
        """Let it be timed under the app's route, if the request has come so far."""
        super().replace_response(response)
        self.response_headers = headers_of(response)
        self.route = self._label() or response.route

    async def _send_whole(self, response: EarlyResponse) -> None:
        """Send the response that hooks have seen by now; what the app sends from then on goes nowhere."""
        send, self._send = self._send, _drop
        self.body_hooks = ()
        await send({"type": "http.response.start", "status": self.status, "headers": self.response_headers})
        self.finish()
        await send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else response.body})

    @property
    def has_refused(self) -> bool:
        """Whether the kit has refused a body that the app was receiving, and the app has nothing more to say."""
        return self._limit is not None and self._limit.has_refused

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
            return self._labels.label(self._scope, self.mount)
        except Exception as error:  # noqa: BLE001  # what frameworks leave in a scope is not ours to vouch for
            self._pipeline.failures.report("finding a route label", error)
            return None

    def leave(self) -> None:
        """The app has returned; before the last byte only if the client is gone."""
        if not self._finished and self.error is None:
            self.error = ConnectionAbortedError("the app returned before the end of its response")
        self.finish()
        self._pipeline.leave(self, self._plan)
