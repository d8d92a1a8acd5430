"""WSGI (PEP 3333) to the pipeline and back.

The rules:

- The response iterable is wrapped by a class with `close()`, never by a generator: a generator that was never started
  would skip its `finally`. The wrapper has a length where the iterable has one, since servers derive a Content-Length
  from that. An iterable made by `wsgi.file_wrapper` is returned as it is, because servers know it by identity; its
  `close` is chained instead.
- The exchange ends when the iterable is exhausted or closed.
- Where the app raised before it answered, the kit writes the 500 with the `write` callable and re-raises.
- Response headers are shown to hooks as lower-case bytes and passed on as the app wrote them, with what hooks appended.
"""

from __future__ import annotations

import http
import io
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Final
from urllib.parse import quote

from launchkit.adapters.host import MARK, NO_LENGTH, Host
from launchkit.pipeline.effects import Body, Steps
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
            exchange.fail(error)
            raise


class WsgiExchange(Exchange):
    """One HTTP request under WSGI."""

    __slots__ = (
        "_answering",
        "_body_left",
        "_environ",
        "_file_body",
        "_finished",
        "_hooks",
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
        self._start_response = start_response
        self._answering = self._finished = self._saw_last = False
        self._body_left: int | None = None
        self._file_body: object = None
        self.scheme = environ.get("wsgi.url_scheme", "http")
        self.request_id = ""
        self.status = 0
        self.ended = 0.0
        self.route = self.error = self.notes = None

    # --- what features see -----------------------------------------------------------------------------------------

    @property
    def peer(self) -> str | None:  # type: ignore[override]  # read when asked for
        """The address at the other end of the connection."""
        address: str = self._environ.get("REMOTE_ADDR", "")
        return address or None

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

    def hide_request_headers(self, names: frozenset[bytes]) -> None:
        """Take headers out of the environ that the app is given."""
        for name in names:
            self._environ.pop(_environ_key(name), None)

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

    def _ask(self, hook: RequestHook, steps: Steps[EarlyResponse | None]) -> EarlyResponse | None:
        try:
            return perform(steps, self._pipeline.backends, self)
        except Exception as error:  # noqa: BLE001  # the fence
            return self._pipeline.broken(hook, self, error)

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
        announced: str = self._environ.get("CONTENT_LENGTH") or ""
        if announced.isdigit() and int(announced) > limit:
            return Body(b"", too_large=True)
        stream = self._environ["wsgi.input"]
        if announced.isdigit():
            data = _read_up_to(stream, int(announced))
            if len(data) < int(announced):
                return Body(b"", disconnected=True)
        else:
            ends_itself = self._environ.get("wsgi.input_terminated", False)
            data = _read_up_to(stream, limit + 1) if ends_itself else b""
        self._environ["wsgi.input"] = io.BufferedReader(_Rejoined(data, stream))
        return Body(b"", too_large=True) if len(data) > limit else Body(data)

    # --- the response ----------------------------------------------------------------------------------------------

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None) -> Write:
        """Take the status line and headers on their way to the server."""
        self.status = int(status[:3]) if status[:3].isdecimal() else 0
        headers = list(headers)
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

    def _perform(self, hook: ResponseHook | BodyHook, steps: Steps[None]) -> None:
        try:
            perform(steps, self._pipeline.backends, self)
        except Exception as error:  # noqa: BLE001  # the fence
            self._pipeline.failures.report(owner_of(hook).name, error)

    def answer(self, early: EarlyResponse) -> Iterable[bytes]:
        """Start a response of the kit's own and return its body."""
        self.route = early.route
        self._start_answer(early)
        return [b"" if self.method == "HEAD" else early.body]

    def _start_answer(self, early: EarlyResponse) -> Write:
        self._answering = True
        headers = [(key.decode("latin-1"), value.decode("latin-1")) for key, value in early.headers]
        if early.status not in NO_LENGTH:
            headers.append(("content-length", str(len(early.body))))
        return self.start_response(REASONS.get(early.status, f"{early.status} Unknown"), headers)

    def wrap(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """Return the response iterable for the server."""
        wrapper = self._environ.get("wsgi.file_wrapper")
        is_file = body is self._file_body or (isinstance(wrapper, type) and isinstance(body, wrapper))
        if is_file and not self._plan.on_body:
            return self._chain_close(body)
        if self._body_left is None and isinstance(body, (list, tuple)):
            self._body_left = sum(len(chunk) for chunk in body)
        return _SizedResponse(self, body) if hasattr(body, "__len__") else _Response(self, body)

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


class _Response:
    """A response iterable that tells its exchange about chunks, the end and failures."""

    __slots__ = ("_body", "_chunks", "_exchange")

    def __init__(self, exchange: WsgiExchange, body: Iterable[bytes]) -> None:
        self._exchange = exchange
        self._body = body
        self._chunks = iter(body)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            chunk = next(self._chunks)
        except StopIteration:
            self._exchange.watch(b"", exhausted=True)
            self._exchange.finish()
            raise
        except BaseException as error:
            self._exchange.error = error
            raise
        self._exchange.watch(chunk)
        return chunk

    def close(self) -> None:
        """Close the app's iterable and end the exchange."""
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._exchange.close()


class _SizedResponse(_Response):
    """A response iterable whose number of chunks is known."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]  # made only for iterables with a length


class _Rejoined(io.RawIOBase):
    """What was read of a request body, in front of what was not."""

    def __init__(self, data: bytes, rest: Any) -> None:
        self._data = memoryview(data)
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        source: Any = self._data[: len(buffer)]
        self._data = self._data[len(source) :]
        if not source:
            source = self._rest.read(len(buffer))
        buffer[: len(source)] = source
        return len(source)


def _read_up_to(stream: Any, size: int) -> bytes:
    parts = []
    while size > 0 and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


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
