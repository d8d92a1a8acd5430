"""WSGI (PEP 3333) to the pipeline and back.

The rules:

- The response iterable is wrapped by a class with `close()`, never by a generator: a generator that was never started
  would skip its `finally`. The wrapper has a length where the iterable has one, since servers derive a Content-Length
  from that. An iterable made by `wsgi.file_wrapper` that nobody watches is returned as it is, because servers know it
  by identity; its `close` is chained instead.
- The exchange ends when the iterable is exhausted or closed.
- Where the app raised before it answered, the kit sends the 500 first and re-raises: with the `write` callable, or as
  the iterable's only chunk where the app raised while it was iterated.
- Where a response is sent in place of the app's, the app is iterated to its end, and what it sends goes nowhere.
- Response headers are shown to hooks as lower-case bytes and passed on as the app wrote them, with what hooks changed
  or appended.
- A request body that goes over its limit while the app reads it raises OSError there, as a broken connection does, and
  unless the app had started its response by then the kit sends a 413 in its place, whatever the app answers or raises.
"""

from __future__ import annotations

import http
import io
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Final

from launchkit.adapters.early import SERVER_ERROR, headers_of
from launchkit.adapters.environ import Environ, EnvironExchange, decode, encode
from launchkit.adapters.host import MARK, Host, announced_length
from launchkit.adapters.wsgi_input import LimitedInput, RejoinedInput, read_up_to
from launchkit.adapters.wsgi_response import Response, SizedResponse, replaceable
from launchkit.pipeline.effects import Body, Waiting
from launchkit.pipeline.exchange import BodyHook, EarlyResponse
from launchkit.pipeline.interceptor import RequestHook, ResponseHook
from launchkit.pipeline.perform import perform
from launchkit.pipeline.pipeline import Pipeline

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]
Write = Callable[[bytes], object]
StartResponse = Callable[..., Write]
App = Callable[[Environ, StartResponse], Iterable[bytes]]

REASONS: Final = {status.value: f"{status.value} {status.phrase}" for status in http.HTTPStatus}


class WsgiAdapter:
    """A WSGI app with the kit around it. The app stays reachable as `.app`."""

    def __init__(self, app: App, host: Host) -> None:
        self.app = app
        self._host = host

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        if MARK in environ:
            return self.app(environ, start_response)
        pipeline = self._host.pipeline or self._host.start()
        environ[MARK] = True
        exchange = WsgiExchange(pipeline, environ, start_response)
        try:
            early = exchange.enter()
            if early is not None:
                return exchange.answer(early)
            return exchange.wrap(self.app(environ, exchange.start_response))
        except BaseException as error:
            if exchange.body_refusal is not None and isinstance(error, Exception):
                return exchange.wrap(())
            exchange.fail(error)
            raise


class WsgiExchange(EnvironExchange):
    """One HTTP request under WSGI."""

    __slots__ = (
        "_body_left",
        "_file_body",
        "_finished",
        "_hooks",
        "_input",
        "_instead",
        "_own_headers",
        "_pipeline",
        "_plan",
        "_response_hooks",
        "_start_response",
        "_write",
    )

    def __init__(self, pipeline: Pipeline, environ: Environ, start_response: StartResponse) -> None:
        self.started = pipeline.now()
        self.method = method = environ["REQUEST_METHOD"]
        self.mount = mount = decode(environ.get("SCRIPT_NAME", ""))
        self.path = path = mount + decode(environ.get("PATH_INFO", ""))
        self._plan = plan = pipeline.planner.plan(method, path, mount)
        self._hooks: Iterator[RequestHook] = iter(plan.on_request)
        self._response_hooks: tuple[ResponseHook, ...] = plan.on_response_start
        self._pipeline = pipeline
        self._environ = environ
        self._address = environ.get("REMOTE_ADDR", "")
        self._start_response = start_response
        self._finished = self.may_be_replaced = False
        self._body_left: int | None = None
        self._file_body: object = None
        self._input: LimitedInput | None = None
        self._instead: EarlyResponse | None = None
        self.scheme = environ.get("wsgi.url_scheme", "http")
        self.request_id = ""
        self.status = 0
        self.ended = 0.0
        self.body_hooks = ()
        self.route = self.error = self.notes = self.cache = self.replacement = None

    _write: Write

    # --- the request -----------------------------------------------------------------------------------------------

    def enter(self) -> EarlyResponse | None:
        """Run the request hooks; an answer is one of the kit's own."""
        self._note_file_bodies()
        while (entered := self._pipeline.enter(self, self._hooks)) is not None:
            hook, outcome = entered
            early = outcome if isinstance(outcome, EarlyResponse) else self._ask(hook, outcome)
            if early is not None:
                self._response_hooks = self._plan.responses_from[hook]
                return early
        return None

    def _ask(self, hook: RequestHook, waiting: Waiting[EarlyResponse | None]) -> EarlyResponse | None:
        try:
            early = perform(waiting, self._pipeline.backends, self)
        except Exception as error:  # noqa: BLE001  # the fence
            early = self._pipeline.broken(hook, self, error)
        return self.body_refusal or early

    def _note_file_bodies(self) -> None:
        """Remember what a `wsgi.file_wrapper` that is no class made: only identity tells it from other iterables."""
        wrapper = self._environ.get("wsgi.file_wrapper")
        if wrapper is None or isinstance(wrapper, type):
            return

        def noting(*arguments: object) -> object:
            self._file_body = wrapper(*arguments)
            return self._file_body

        self._environ["wsgi.file_wrapper"] = noting

    def read(self, limit: int) -> Body:
        """Read the body up to `limit` bytes and put it back in front of what is left."""
        announced = announced_length(self._environ.get("CONTENT_LENGTH") or "")
        if announced is not None and announced > limit:
            return Body(b"", too_large=True)
        stream = self._environ["wsgi.input"]
        ends_itself = self._environ.get("wsgi.input_terminated", False)
        size = announced if announced is not None else limit + 1 if ends_itself else 0
        try:
            data = read_up_to(stream, size)
        except OSError:
            return Body(b"", disconnected=True)
        if announced is not None and len(data) < size:
            return Body(b"", disconnected=True)
        self._environ["wsgi.input"] = io.BufferedReader(RejoinedInput(data, stream))
        return Body(b"", too_large=True) if len(data) > limit else Body(data)

    def limit_body(self, limit: int, too_large: EarlyResponse) -> None:
        """Count what is read of a body whose length is not announced; with one that is the server keeps the client."""
        environ = self._environ
        announced = announced_length(environ.get("CONTENT_LENGTH") or "")
        is_announced = announced is not None and "HTTP_TRANSFER_ENCODING" not in environ
        if environ.get("wsgi.input_terminated", False) and not is_announced:
            self._input = LimitedInput(environ["wsgi.input"], limit, too_large)
            environ["wsgi.input"] = io.BufferedReader(self._input)

    @property
    def body_refusal(self) -> EarlyResponse | None:
        """What the response has to be because more of the body was read than may be."""
        limited = self._input
        return limited.too_large if limited is not None and limited.is_exceeded else None

    # --- the response ----------------------------------------------------------------------------------------------

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None) -> Write:
        """Take the status line and headers on their way to the server."""
        if self._input is not None and not self._is_refused():
            self._input = None  # the app has begun in time: nothing can take its response back
        if self._instead is not None:
            return _write_nothing
        write = self._start(status, headers, exc_info)
        return self._watched_write(write) if self.body_hooks else write

    def _start(self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None) -> Write:
        self.status = int(status[:3]) if status[:3].isdecimal() else 0
        self._own_headers = headers = list(headers)
        self.response_headers = [(encode(key.lower()), encode(str(value))) for key, value in headers]
        self._response_names = None
        if self.route is None:
            self.route = self._route()
        if exc_info:
            self.body_hooks = ()  # of the response that the app has thought better of
        self._run_response_hooks()
        if self.replacement is not None:
            self._start_whole(self.replacement, exc_info)
            return _write_nothing
        added = self.response_headers[len(headers) :]
        length = self.response_header(b"content-length")
        self._body_left = int(length) if length is not None and length.isdigit() else None
        passed_on = headers + [(key.decode("latin-1"), value.decode("latin-1")) for key, value in added]
        return (
            self._start_response(status, passed_on, exc_info) if exc_info else self._start_response(status, passed_on)
        )

    def _run_response_hooks(self) -> None:
        hooks = iter(self._response_hooks)
        while (asking := self._pipeline.start_response(self, hooks)) is not None:
            self._perform(*asking)

    def replace_response_header(self, name: bytes, value: bytes) -> None:
        """Change it in both forms of the headers."""
        index = next(index for index, header in enumerate(self.response_headers) if header[0] == name)
        self.response_headers[index] = (name, value)
        if index < len(self._own_headers):
            self._own_headers[index] = (self._own_headers[index][0], value.decode("latin-1"))

    def _watched_write(self, write: Write) -> Write:
        def watched(data: bytes) -> object:
            self.watch(data)
            return write(data)

        return watched

    def _route(self) -> str | None:
        request = self._environ.get("werkzeug.request")  # Flask takes it away before the app returns
        rule = getattr(getattr(request, "url_rule", None), "rule", None)
        if not isinstance(rule, str):
            return None
        return decode(self._environ.get("SCRIPT_NAME", "")) + rule  # with the prefix that a dispatcher may have moved

    def _perform(self, hook: ResponseHook | BodyHook, waiting: Waiting[None]) -> None:
        try:
            perform(waiting, self._pipeline.backends, self)
        except Exception as error:  # noqa: BLE001  # the fence
            self._pipeline.leave_out(self, hook, error)

    def wrap(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """Return the response iterable for the server."""
        if self._body_left is None and isinstance(body, (list, tuple)):
            self._body_left = sum(len(chunk) for chunk in body)
        if self._instead is not None or self.status == 0:
            return Response(self, body, replaceable(self, body))
        if not self.body_hooks and self._is_file(body):
            return self._chain_close(body)
        if self.may_be_replaced:  # by a second call of start_response
            return Response(self, body, replaceable(self, body))
        kind = SizedResponse if hasattr(body, "__len__") else Response
        return kind(self, body, iter(body))

    def _is_file(self, body: Iterable[bytes]) -> bool:
        wrapper = self._environ.get("wsgi.file_wrapper")
        return body is self._file_body or (isinstance(wrapper, type) and isinstance(body, wrapper))

    def _chain_close(self, body: Iterable[bytes]) -> Iterable[bytes]:
        close = getattr(body, "close", None)

        def close_and_leave() -> None:
            try:
                if close is not None:
                    close()
            finally:
                self.leave()

        try:
            body.close = close_and_leave  # type: ignore[attr-defined]  # a server's object: tried, not known
        except AttributeError:
            self.leave()
        return body

    def watch(self, chunk: bytes, *, exhausted: bool = False) -> None:
        """Show a chunk to the body hooks; the last one by Content-Length, else at exhaustion."""
        if self._body_left is not None:
            self._body_left -= len(chunk)
        if not self.body_hooks:
            return
        hooks = iter(self.body_hooks)
        last = exhausted or self._body_left == 0
        if last:
            self.body_hooks = ()
        while (asking := self._pipeline.watch_body(self, hooks, chunk, last)) is not None:
            self._perform(*asking)

    # --- responses that are not the app's --------------------------------------------------------------------------

    def answer(self, early: EarlyResponse) -> Iterable[bytes]:
        """Start a response of the kit's own and return its body: for this exchange that is the end."""
        self.route = early.route
        self._start_instead(early)
        body = self.hand_over()
        self.leave()
        return [body]

    def _start_instead(self, early: EarlyResponse) -> None:
        self.status = early.status
        self.response_headers = headers_of(early)
        self._response_names = None
        self._own_headers = []
        if self.route is None:
            self.route = self._route()
        self._run_response_hooks()
        self._start_whole(self.replacement or early, None)

    def replace_response(self, response: EarlyResponse) -> None:
        """Let it be timed under the app's route, if that is known."""
        super().replace_response(response)
        self.response_headers = headers_of(response)
        self.route = self.route or response.route

    def _start_whole(self, response: EarlyResponse, exc_info: ExcInfo | None) -> None:
        """Start the response that hooks have seen by now; what the app sends from then on goes nowhere."""
        self.body_hooks = ()
        self._instead = response
        status = REASONS.get(self.status) or f"{self.status} Unknown"
        headers = [(key.decode("latin-1"), value.decode("latin-1")) for key, value in self.response_headers]
        try:
            self._write = (
                self._start_response(status, headers, exc_info) if exc_info else self._start_response(status, headers)
            )
        except BaseException:
            self._instead = self.replacement = None  # too late: the server has sent the app's headers
            raise

    def gives_way(self) -> bool:
        """Whether another response takes the place of the app's, and start a refusal that is due."""
        return self._instead is not None or self._is_refused()

    def _is_refused(self) -> bool:
        refusal = self.body_refusal
        if refusal is not None and self.status == 0:
            self._start_instead(refusal)
        return refusal is not None

    def hand_over(self) -> bytes:
        """Return the body of the response that was started in place of the app's."""
        self.finish()
        return b"" if self.method == "HEAD" or self._instead is None else self._instead.body

    def answers_for(self, error: Exception) -> bool:
        """The app has raised: tell whether a body is to be handed over first, of a 500 where nothing was started."""
        if self._finished:
            return False
        if not self.gives_way():
            self.error = error
            self._start_server_error()
        return self._instead is not None

    def _start_server_error(self) -> None:
        debugged = "werkzeug.debug.preserve_context" in self._environ  # its page with the traceback is the answer
        if self.status == 0 and not debugged:
            try:
                self._start_instead(SERVER_ERROR)
            except Exception as further:  # noqa: BLE001  # the app's error is the one to show
                self._pipeline.failures.report("sending a 500", further)

    def fail(self, error: BaseException) -> None:
        """The app raised before it returned its body."""
        if not isinstance(error, Exception):
            self.error = error
        elif self.answers_for(error):
            try:
                self._write(self.hand_over())
            except Exception as further:  # noqa: BLE001  # the app's error is the one to show
                self._pipeline.failures.report("sending a 500", further)
        self.leave()

    # --- the end -----------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Nothing of the response is still to come."""
        if not self._finished:
            self._finished = True
            self._pipeline.finish(self, self._plan)

    def close(self) -> None:
        """The server has closed the response; before its end only if the client is gone."""
        if not self._finished and self.error is None and self._body_left != 0:
            self.error = ConnectionAbortedError("the response was closed before its end")
        self.leave()

    def leave(self) -> None:
        """The server gets its call back."""
        self.finish()
        self._pipeline.leave(self, self._plan)


def _write_nothing(data: bytes) -> None:
    """Take what an app writes that has been answered for already."""
