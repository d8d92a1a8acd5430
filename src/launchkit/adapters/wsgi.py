"""WSGI (PEP 3333) to the pipeline and back.

The rules:

- The response iterable is wrapped by a class with `close()`, never by a generator: a generator that was never started
  would skip its `finally`. The wrapper has a length where the iterable has one, since servers derive a Content-Length
  from that. An iterable made by `wsgi.file_wrapper` is returned as it is, because servers know it by identity; its
  `close` is chained instead.
- The exchange ends when the iterable is exhausted or closed.
- Where the app raised before it answered, the kit writes the 500 with the `write` callable and re-raises.
- Response headers are shown to hooks as lower-case bytes and passed on as the app wrote them, with what hooks changed
  or appended.
- A request body that goes over its limit while the app reads it raises OSError there, as a broken connection does, and
  unless the app had started its response by then it is a 413, whatever the app answers or raises.
"""

from __future__ import annotations

import http
import io
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Final
from urllib.parse import quote

from launchkit.adapters.host import MARK, NO_LENGTH, Host, announced_length
from launchkit.adapters.wsgi_input import LimitedInput, RejoinedInput, read_up_to
from launchkit.adapters.wsgi_response import RefusableResponse, Response, SizedResponse
from launchkit.pipeline.effects import Body, Waiting
from launchkit.pipeline.exchange import EarlyResponse, Exchange, Header
from launchkit.pipeline.interceptor import BodyHook, RequestHook, ResponseHook
from launchkit.pipeline.perform import perform
from launchkit.pipeline.pipeline import Pipeline, owner_of

Environ = dict[str, Any]
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]
Write = Callable[[bytes], object]
StartResponse = Callable[..., Write]
App = Callable[[Environ, StartResponse], Iterable[bytes]]

SERVER_ERROR: Final = EarlyResponse(500, b"Internal Server Error", ((b"content-type", b"text/plain; charset=utf-8"),))
IDENTITIES: Final = ("REMOTE_USER", "REMOTE_IDENT", "AUTH_TYPE", "SSL_CLIENT_S_DN", "SSL_CLIENT_CERT")
"""What servers put into the environ for an authenticated user (RFC 3875 section 4.1, Apache's mod_ssl)."""

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
            body = exchange.answer(early) if early is not None else self.app(environ, exchange.start_response)
            return exchange.wrap(body)
        except BaseException as error:
            refusal = exchange.body_refusal
            if refusal is not None and isinstance(error, Exception):
                return exchange.wrap(exchange.answer(refusal) if exchange.status == 0 else ())
            exchange.fail(error)
            raise


class WsgiExchange(Exchange):
    """One HTTP request under WSGI."""

    __slots__ = (
        "_address",
        "_answering",
        "_body_left",
        "_environ",
        "_file_body",
        "_finished",
        "_hooks",
        "_input",
        "_own_headers",
        "_pipeline",
        "_plan",
        "_response_hooks",
        "_saw_last",
        "_start_response",
    )

    def __init__(self, pipeline: Pipeline, environ: Environ, start_response: StartResponse) -> None:
        self.started = pipeline.now()
        self.method = method = environ["REQUEST_METHOD"]
        mount = _decode(environ.get("SCRIPT_NAME", ""))
        self.path = path = mount + _decode(environ.get("PATH_INFO", ""))
        self._plan = plan = pipeline.planner.plan(method, path, mount)
        self._hooks: Iterator[RequestHook] = iter(plan.on_request)
        self._response_hooks: tuple[ResponseHook, ...] = plan.on_response_start
        self._pipeline = pipeline
        self._environ = environ
        self._address: str = environ.get("REMOTE_ADDR", "")
        self._start_response = start_response
        self._answering = self._finished = self._saw_last = False
        self._body_left: int | None = None
        self._file_body: object = None
        self._input: LimitedInput | None = None
        self.scheme = environ.get("wsgi.url_scheme", "http")
        self.request_id = ""
        self.status = 0
        self.ended = 0.0
        self.route = self.error = self.notes = None

    # --- what features see -----------------------------------------------------------------------------------------

    @property
    def peer(self) -> str | None:  # type: ignore[override]  # read when asked for
        """The address at the other end of the connection."""
        return self._address or None

    @property
    def is_identified(self) -> bool:
        """Whether the server has authenticated the user: by password, Kerberos or a client's certificate."""
        return any(self._environ.get(name) for name in IDENTITIES)

    @property
    def query(self) -> bytes:
        """The query string as received."""
        query: str = self._environ.get("QUERY_STRING", "")
        return _encode(query)

    @property
    def target(self) -> bytes:
        """The path as received, where the server tells; else encoded anew."""
        raw: str | None = self._environ.get("RAW_URI") or self._environ.get("REQUEST_URI")
        if raw is not None and raw.startswith("/"):
            return _encode(raw.partition("?")[0])
        return quote(self.path, safe="/:@!$&'()*+,;=~").encode("ascii")

    def header(self, name: bytes) -> bytes | None:
        """Return one request header; servers join what was sent several times."""
        value: str | None = self._environ.get(_environ_key(name))
        return None if value is None else _encode(value)

    def header_values(self, name: bytes) -> list[bytes]:
        """Return the joined value of a request header, if there is one."""
        value = self.header(name)
        return [] if value is None else [value]

    def request_headers(self) -> Iterable[Header]:
        """Return all request headers."""
        for key, value in self._environ.items():
            if key.startswith("HTTP_"):
                yield _encode(key[5:].replace("_", "-").lower()), _encode(value)
            elif key in ("CONTENT_TYPE", "CONTENT_LENGTH") and value:
                yield _encode(key.replace("_", "-").lower()), _encode(value)

    def headers_named(self, names: frozenset[bytes]) -> tuple[Header, ...]:
        """Look the names up, of which there are fewer than of what an environ holds."""
        get = self._environ.get
        return tuple([(name, _encode(value)) for name in names if (value := get(_environ_key(name))) is not None])

    def hide_request_headers(self, names: frozenset[bytes]) -> None:
        """Take headers out of the environ that the app is given."""
        for name in names:
            self._environ.pop(_environ_key(name), None)

    def present_to_app(self, client: str | None, scheme: str, host: bytes | None) -> None:
        """Change the environ that the app is given."""
        environ = self._environ
        if client is not None:
            environ["REMOTE_ADDR"] = client
        if host is not None:
            environ["HTTP_HOST"] = host.decode("latin-1")
        environ["wsgi.url_scheme"] = scheme
        environ.pop("HTTPS", None)
        if scheme == "https":
            environ["HTTPS"] = "on"

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
        if self._input is not None:
            refusal = self.body_refusal
            if refusal is not None:
                self._start(*_head_of(refusal), exc_info)
                return _write_nothing
            self._input = None  # the app has begun in time: nothing can take its response back
        return self._start(status, headers, exc_info)

    def _start(self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None) -> Write:
        self.status = int(status[:3]) if status[:3].isdecimal() else 0
        self._own_headers = headers = list(headers)
        self.response_headers = [(_encode(key.lower()), _encode(str(value))) for key, value in headers]
        self._response_names = None
        if self.route is None:
            self.route = self._route()
        hooks = iter(self._response_hooks)
        while (asking := self._pipeline.start_response(self, hooks)) is not None:
            self._perform(*asking)
        added = self.response_headers[len(headers) :]
        length = self.response_header(b"content-length")
        self._body_left = int(length) if length is not None and length.isdigit() else None
        passed_on = headers + [(key.decode("latin-1"), value.decode("latin-1")) for key, value in added]
        write = (
            self._start_response(status, passed_on, exc_info) if exc_info else self._start_response(status, passed_on)
        )
        return self._watched_write(write) if self._plan.on_body else write

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
        return _decode(self._environ.get("SCRIPT_NAME", "")) + rule

    def _perform(self, hook: ResponseHook | BodyHook, waiting: Waiting[None]) -> None:
        try:
            perform(waiting, self._pipeline.backends, self)
        except Exception as error:  # noqa: BLE001  # the fence
            self._pipeline.failures.report(owner_of(hook).name, error)

    def answer(self, early: EarlyResponse) -> Iterable[bytes]:
        """Start a response of the kit's own and return its body."""
        self.route = early.route
        self._start_answer(early)
        return [b"" if self.method == "HEAD" else early.body]

    def _start_answer(self, early: EarlyResponse) -> Write:
        self._answering = True
        return self.start_response(*_head_of(early))

    def refuse(self, too_large: EarlyResponse) -> bytes:
        """Start the refusal, if the app has not called for a response, and return its body."""
        self.error = None
        if self.status == 0:
            self._start_answer(too_large)
        self.finish()
        return too_large.body

    def wrap(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """Return the response iterable for the server."""
        if self._input is not None:
            return RefusableResponse(self, body)
        wrapper = self._environ.get("wsgi.file_wrapper")
        is_file = body is self._file_body or (isinstance(wrapper, type) and isinstance(body, wrapper))
        if is_file and not self._plan.on_body:
            return self._chain_close(body)
        if self._body_left is None and isinstance(body, (list, tuple)):
            self._body_left = sum(len(chunk) for chunk in body)
        return SizedResponse(self, body) if hasattr(body, "__len__") else Response(self, body)

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
        if self._saw_last or self._answering or not self._plan.on_body:
            return
        last = self._saw_last = exhausted or self._body_left == 0
        hooks = iter(self._plan.on_body)
        while (asking := self._pipeline.watch_body(self, hooks, chunk, last)) is not None:
            self._perform(*asking)

    def fail(self, error: BaseException) -> None:
        """The app raised before it returned its body."""
        self.error = error
        debugged = "werkzeug.debug.preserve_context" in self._environ  # its page with the traceback is the answer
        if self.status == 0 and isinstance(error, Exception) and not debugged:
            try:
                self._start_answer(SERVER_ERROR)(SERVER_ERROR.body)
            except Exception as further:  # noqa: BLE001  # the app's error is the one to show
                self._pipeline.failures.report("sending a 500", further)
        self.leave()

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


def _head_of(early: EarlyResponse) -> tuple[str, list[tuple[str, str]]]:
    headers = [(key.decode("latin-1"), value.decode("latin-1")) for key, value in early.headers]
    if early.status not in NO_LENGTH:
        headers.append(("content-length", str(len(early.body))))
    return REASONS.get(early.status, f"{early.status} Unknown"), headers


def _encode(text: str) -> bytes:
    """Return the bytes that a PEP 3333 string holds; what cannot be one is for the server to refuse, not for us."""
    return text.encode("latin-1", "replace")


def _decode(text: str) -> str:
    """Return a PEP 3333 string, which holds bytes, as the text that the bytes encode."""
    return text if text.isascii() else _encode(text).decode("utf-8", "replace")


_ENVIRON_KEYS: dict[bytes, str] = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}


def _environ_key(name: bytes) -> str:
    key = _ENVIRON_KEYS.get(name)
    if key is None:
        key = _ENVIRON_KEYS[name] = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
    return key
