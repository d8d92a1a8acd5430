"""An app that a test writes in one line, with nothing but the read cache around it, behind the real adapters.

A site has a colour (`COLOURS`): ASGI or WSGI, in front of a store that answers at once or of one that takes waiting.
What the app answers is a `Said`, or a function from what it was `Asked` to one. Requests are sent one after another
(`get`, `send`), or begun (`begin`) and left to overlap, with gates for the app to wait at.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Any

from tests.support.clients import AsgiClient, Reply, WsgiClient

from launchkit.adapters.asgi import AsgiAdapter
from launchkit.adapters.wsgi import WsgiAdapter
from launchkit.pipeline.effects import Backends, CacheKey, Fetched, Names, StoreDown, StoredResponse
from launchkit.pipeline.exchange import Exchange
from launchkit.pipeline.interceptor import Planner
from launchkit.pipeline.pipeline import Failures, Pipeline
from launchkit.read_cache.figures import CacheFigures
from launchkit.read_cache.flights import Flights
from launchkit.read_cache.interceptor import ReadCache
from launchkit.read_cache.memory import MemoryResponses
from launchkit.settings import CacheRule, ReadCacheSettings
from launchkit.stores.marks import Marks
from launchkit.testing import FrozenClock

COLOURS = ("asgi", "wsgi", "asgi waiting", "wsgi waiting")
PATIENCE = 4.0
"""Seconds after which something that should happen by itself has not: fewer than those that a request waits for others,
so that no test is helped by the end of that wait."""

Field = tuple[str, str]


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Return as soon as another thread has brought something about; fail if it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "never happened"
        time.sleep(0.001)


class Gate:
    """What an app waits at until the test opens it, in a thread or on an event loop."""

    def __init__(self) -> None:
        self._opened: Future[None] = Future()

    def open(self) -> None:
        self._opened.set_result(None)

    def wait(self) -> None:
        self._opened.result(PATIENCE)

    async def await_opening(self) -> None:
        await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._opened)), PATIENCE)


Step = bytes | Gate | Exception
"""A chunk to send, a gate to wait at, or what to raise."""


@dataclass
class Said:
    """What the app answers; `before` comes before the response starts. With `cut` it never marks the end (ASGI)."""

    steps: list[Step]
    headers: list[Field]
    status: int = 200
    before: Gate | Exception | None = None
    cut: bool = False


def says(body: bytes | list[Step] = b"hello", *headers: Field, status: int = 200, **more: Any) -> Said:
    """Return an answer; a body that is a list is streamed."""
    return Said(body if isinstance(body, list) else [body], list(headers), status, **more)


@dataclass
class Asked:
    """What the app is shown of a request. Header names are in lower case, `path` is decoded."""

    method: str
    path: str
    query: str
    scheme: str
    headers: dict[str, str]
    body: bytes
    user: str

    def header(self, name: str) -> str | None:
        return self.headers.get(name)


App = Said | Callable[[Asked], Said]


@dataclass
class Answer:
    """What the client receives, and what Cache-Status says of it (RFC 9211)."""

    reply: Reply

    @property
    def status(self) -> int:
        return self.reply.status

    @property
    def body(self) -> bytes:
        return self.reply.body

    @property
    def error(self) -> BaseException | None:
        """What came out of the app to the server."""
        return self.reply.error

    def header(self, name: str) -> str | None:
        """Return the only value of a header; fail if there are several."""
        values = self.reply.header_values(name)
        assert len(values) < 2, (name, values)
        return values[0] if values else None

    @cached_property
    def _said(self) -> dict[str, str]:
        lines = [line for line in self.reply.header_values("cache-status") if line.startswith("LaunchKit")]
        assert len(lines) < 2, lines
        parts = [part.strip().partition("=") for part in lines[0].split(";")[1:]] if lines else []
        return {name: value for name, _, value in parts}

    @property
    def is_untouched(self) -> bool:
        """Whether the cache had nothing to say."""
        return not self.reply.header_values("cache-status")

    @property
    def is_hit(self) -> bool:
        return "hit" in self._said

    @property
    def is_collapsed(self) -> bool:
        return "collapsed" in self._said

    @property
    def is_stored(self) -> bool:
        return "stored" in self._said

    @property
    def forwarded(self) -> str | None:
        """Why the app was asked: `miss`, `stale` or `bypass`; None if it was not."""
        return self._said.get("fwd")

    @property
    def detail(self) -> str | None:
        return self._said.get("detail")

    @property
    def ttl(self) -> int:
        return int(self._said["ttl"])

    @property
    def is_unshared(self) -> bool:
        """Whether caches further out are told to keep away."""
        return self.header("cache-control") == "private, no-store"


@dataclass
class Visit:
    """A request under way."""

    _future: Future[Reply]

    @property
    def is_over(self) -> bool:
        return self._future.done()

    def end(self) -> Answer:
        """Return what the client has received in the end."""
        return Answer(self._future.result(PATIENCE))

    def cancel(self) -> None:
        """Cancel the server's task, as ASGI servers do with requests whose client is gone."""
        assert self._future.cancel()


class WaitingStore:
    """A store that takes waiting for everything, as one over a network does."""

    def __init__(self, memory: MemoryResponses) -> None:
        self._memory = memory
        self.moment = memory.moment
        self.invalidate_soon = memory.invalidate_soon

    def fetch_now(self, key: CacheKey, request: Exchange) -> None:
        """Not without waiting."""

    def store_now(self, key: CacheKey, response: StoredResponse, names: Names, moment: object) -> bool:
        return False

    def invalidate_now(self, names: Names) -> bool:
        return False

    def fetch(self, key: CacheKey, request: Exchange) -> Fetched:
        return self._memory.fetch_now(key, request)

    async def afetch(self, key: CacheKey, request: Exchange) -> Fetched:
        await asyncio.sleep(0)
        return self._memory.fetch_now(key, request)

    def store(self, key: CacheKey, response: StoredResponse, names: Names, moment: object) -> None:
        self._memory.store_now(key, response, names, moment)

    async def astore(self, key: CacheKey, response: StoredResponse, names: Names, moment: object) -> None:
        await asyncio.sleep(0)
        self._memory.store_now(key, response, names, moment)

    def invalidate(self, names: Names) -> None:
        self._memory.invalidate_now(names)

    async def ainvalidate(self, names: Names) -> None:
        await asyncio.sleep(0)
        self._memory.invalidate_now(names)


class BrokenStore(WaitingStore):
    """A store that does not answer."""

    def fetch(self, *_: object) -> Any:
        raise StoreDown

    async def afetch(self, *_: object) -> Any:
        raise StoreDown

    store = invalidate = fetch
    astore = ainvalidate = afetch


@dataclass
class CachedSite:
    """An app with the read cache around it. `app` is what it answers, `calls` what it was asked, in order."""

    rules: tuple[CacheRule, ...] = (CacheRule(paths="/items/*"),)
    colour: str = "asgi"
    never: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    consumes: str = ""
    """A header that the app takes out of the request, as authentication layers do."""
    has_sessions: bool = False
    """Whether the app leaves word of a session or user in the request, as such layers do."""
    is_down: bool = False
    """Whether its store does not answer."""
    app: App = field(default_factory=says)
    calls: list[Asked] = field(default_factory=list)
    clock: FrozenClock = field(default_factory=FrozenClock)
    failures: Failures = field(default_factory=Failures)

    def __post_init__(self) -> None:
        named = {f"rule{number}": rule for number, rule in enumerate(self.rules)}
        settings = ReadCacheSettings(rules=named, **self.settings)
        self.memory = MemoryResponses(settings.size, self.clock, Marks(self.clock, bytes(16)))
        kind = BrokenStore if self.is_down else WaitingStore
        store: Any = kind(self.memory) if self.is_down or "waiting" in self.colour else self.memory
        self.cache = ReadCache(settings, self.never, self.clock, store, lambda: None)
        unused: Any = object()
        backends = Backends(
            limiter=unused,
            local_limiter=unused,
            responses=store,
            inbox=unused,
            prober=unused,
            instant_responses=store,
        )
        self.pipeline: Pipeline | None = Pipeline(Planner([self.cache]), backends, self.failures, self.clock)
        self.is_async = self.colour.startswith("asgi")
        self.client: Any = (
            AsgiClient(AsgiAdapter(self._asgi, self)) if self.is_async else WsgiClient(WsgiAdapter(self._wsgi, self))
        )
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> Pipeline:
        assert self.pipeline is not None
        return self.pipeline

    # --- requests ---------------------------------------------------------------------------------------------------

    def get(self, path: str = "/items/1", *headers: Field, **more: Any) -> Answer:
        """Make one whole GET request."""
        return self.send("GET", path, *headers, **more)

    def send(self, method: str, path: str = "/items/1", *headers: Field, **more: Any) -> Answer:
        """Make one whole request; see `_request` for what more may be said of it."""
        if self.is_async:
            return self.begin(path, *headers, method=method, **more).end()
        return Answer(self._request(method, path, headers, **more))

    def begin(self, path: str = "/items/1", *headers: Field, method: str = "GET", **more: Any) -> Visit:
        """Begin a request, in a thread or task of its own."""
        if self.is_async:
            return Visit(asyncio.run_coroutine_threadsafe(self._request(method, path, headers, **more), self.loop))
        future: Future[Reply] = Future()

        def run() -> None:
            try:
                future.set_result(self._request(method, path, headers, **more))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        return Visit(future)

    def _request(
        self,
        method: str,
        path: str,
        headers: tuple[Field, ...],
        *,
        scheme: str = "https",
        mount: str = "",
        user: str = "",
        **more: Any,
    ) -> Any:
        """Return the client's reply; `user` is whom a layer outside of the kit has told the app of."""
        if self.is_async:
            knows = {"user": KnownUser(user)} if user else {}
            return self.client.arequest(method, path, headers, scheme=scheme, root_path=mount, **knows, **more)
        items: dict[str, Any] = {"wsgi.url_scheme": scheme, "SCRIPT_NAME": mount, "REMOTE_USER": user}
        if mount:
            items["PATH_INFO"] = path.partition("?")[0].removeprefix(mount)
        hosts = [value for name, value in headers if name == "host"]
        if hosts:
            items["HTTP_HOST"] = hosts[-1]
        besides = [header for header in headers if header[0] != "host"]
        return self.client.request(method, path, besides, **items, **more)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of an ASGI server, in a thread of its own."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, daemon=True).start()
        return self._loop

    def close(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            until(lambda: self._loop is not None and not self._loop.is_running())
            self._loop.close()

    # --- what the cache has done ------------------------------------------------------------------------------------

    @property
    def figures(self) -> CacheFigures:
        return self.cache.figures()

    @property
    def flights(self) -> Flights:
        return self.cache._shared.flights

    @property
    def followers(self) -> int:
        """How many requests wait for others at this moment."""
        return sum(flight.followers for flight in list(self.flights.by_key.values()))

    # --- the app ----------------------------------------------------------------------------------------------------

    def _answer(self, asked: Asked) -> Said:
        self.calls.append(asked)
        return self.app if isinstance(self.app, Said) else self.app(asked)

    async def _asgi(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        query = scope["query_string"].decode("latin-1")
        body = (await receive())["body"]
        user = scope["user"].name if "user" in scope else ""
        if self.consumes:
            scope["headers"] = [pair for pair in scope["headers"] if pair[0] != self.consumes.encode()]
        if self.has_sessions:
            scope["session"] = {"csrf": "x"}
        said = self._answer(Asked(scope["method"], scope["path"], query, scope["scheme"], headers, body, user))
        if said.before is not None:
            await _apause(said.before)
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in said.headers]
        await send({"type": "http.response.start", "status": said.status, "headers": encoded})
        last = None
        if said.steps and isinstance(said.steps[-1], bytes) and not said.cut:
            last = len(said.steps) - 1
        for number, step in enumerate(said.steps):
            if isinstance(step, bytes):
                await send({"type": "http.response.body", "body": step, "more_body": number != last})
            else:
                await _apause(step)
        if last is None and not said.cut:
            await send({"type": "http.response.body"})

    def _wsgi(self, environ: Any, start_response: Any) -> Any:
        names = {key: key[5:].replace("_", "-").lower() for key in environ if key.startswith("HTTP_")}
        headers = {name: environ[key] for key, name in names.items()}
        path = environ["SCRIPT_NAME"] + environ["PATH_INFO"]
        body = environ["wsgi.input"].read()
        scheme, user, query = environ["wsgi.url_scheme"], environ.get("REMOTE_USER", ""), environ["QUERY_STRING"]
        if self.consumes:
            environ.pop("HTTP_" + self.consumes.upper().replace("-", "_"), None)
        if self.has_sessions:
            environ["REMOTE_USER"] = "x"
        said = self._answer(Asked(environ["REQUEST_METHOD"], path, query, scheme, headers, body, user))
        if said.before is not None:
            _pause(said.before)
        start_response(f"{said.status} {HTTPStatus(said.status).phrase}", list(said.headers))
        return said.steps if all(isinstance(step, bytes) for step in said.steps) else _chunks(said.steps)


@dataclass(frozen=True)
class KnownUser:
    """What authentication middleware outside of the kit leaves in a scope."""

    name: str
    is_authenticated: bool = True


def _chunks(steps: list[Step]) -> Iterator[bytes]:
    for step in steps:
        if isinstance(step, bytes):
            yield step
        else:
            _pause(step)


def _pause(step: Gate | Exception) -> None:
    if isinstance(step, Exception):
        raise step
    step.wait()


async def _apause(step: Gate | Exception) -> None:
    if isinstance(step, Exception):
        raise step
    await step.await_opening()
