"""LaunchKit: settings in, a wrapped app out. It assembles, starts and stops; the work is done by the features."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from pydantic import SecretStr

from launchkit.adapters.asgi import App as AsgiApp
from launchkit.adapters.asgi import AsgiAdapter
from launchkit.adapters.routes import AppRoute, app_routes
from launchkit.adapters.wsgi import App as WsgiApp
from launchkit.adapters.wsgi import WsgiAdapter
from launchkit.assembly import (
    machine_limiter,
    marks_for,
    personal_paths,
    probe_routes,
    redactor,
    redis_check,
    redis_connections,
    redis_limiter,
    share_marks,
    tiered_responses,
    trusted_proxies,
)
from launchkit.background import LoopThread, ThreadPool
from launchkit.check.selfcheck import SelfCheck
from launchkit.deliveries import Deliveries, Host
from launchkit.edge.access import Access
from launchkit.edge.client import ClientResolver
from launchkit.edge.exempt import Exempt
from launchkit.edge.gates import gates
from launchkit.edge.headers import SecurityHeaders
from launchkit.edge.request_id import RequestId, request_id
from launchkit.edge.whoami import WhoAmI
from launchkit.errors import Finding, InstallError, StartError
from launchkit.health.checks import HealthCheck
from launchkit.health.interceptor import Health
from launchkit.health.monitor import HealthMonitor
from launchkit.metrics import sources as metric_sources
from launchkit.pipeline.clock import Clock, SystemClock
from launchkit.pipeline.effects import Backends, InstantLimiter, Limiter, Steps
from launchkit.pipeline.exchange import EarlyResponse, Exchange
from launchkit.pipeline.interceptor import Interceptor, Planner
from launchkit.pipeline.pipeline import Failures, Pipeline
from launchkit.place import no_secret
from launchkit.rate_limit.interceptor import RateLimit
from launchkit.rate_limit.memory import MemoryLimiter
from launchkit.read_cache.functions import CachedFunction, FunctionCaches
from launchkit.read_cache.interceptor import ReadCache
from launchkit.read_cache.memory import MemoryResponses
from launchkit.redaction.canary import plant
from launchkit.redaction.hooks import install as install_hooks
from launchkit.redaction.logs import install as install_in_logging
from launchkit.redaction.packages import install as install_in_packages
from launchkit.report import startup_lines
from launchkit.secret_key import SecretKey
from launchkit.settings import Settings
from launchkit.timing.endpoint import MetricsEndpoint
from launchkit.timing.interceptor import Timing
from launchkit.timing.series import RouteStatistics
from launchkit.webhooks.backlog import Depth
from launchkit.webhooks.delivery import SUBMITTED
from launchkit.webhooks.handlers import Handler

if TYPE_CHECKING:
    from flask import Flask
    from starlette.applications import Starlette

    from launchkit.read_cache.redis import TieredResponses


T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")
HandlerT = TypeVar("HandlerT", bound=Handler)
CheckT = TypeVar("CheckT", bound=Callable[[], object])
DepthT = TypeVar("DepthT", bound=Callable[[], Depth])

logger = logging.getLogger("launchkit")

_GONE: Final[list[Callable[[], None]]] = []
"""What ends the redaction of kits that are gone: done when another one has taken over, so that none is without."""

HANDLER_THREADS = 8
CHECK_THREADS = 4
"""Threads for the app's sync webhook handlers, at least, and health checks in each process; neither holds up the
other."""

STOP_SECONDS = 7.0
"""How long stopping may take: the worker gives handlers three seconds, then releases their deliveries."""


class LaunchKit:
    """Puts every feature that the settings ask for around an app.

    Creating one touches nothing but logging and error reports, which are redacted from then on. Background work starts
    with the app's lifespan, else with the first request, once in each process.

    Args:
        settings: by default read from the environment.
        clock: the time; tests give one that stands still.

    Raises:
        SettingsError: for mistakes in the environment, all at once.
        StartError: for settings that cannot work in this place.
    """

    def __init__(self, settings: Settings | None = None, *, clock: Clock | None = None) -> None:
        self.settings = settings = Settings() if settings is None else settings
        self._clock: Clock = SystemClock() if clock is None else clock
        self._failures = Failures()
        self._trusted_proxies = trusted_proxies(settings)
        self._client = ClientResolver(self._trusted_proxies, production=settings.environment == "production")
        self._access = Access(settings.token, self._client, development=settings.in_development)
        self._around_handler: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext
        self._app_routes: Callable[[], Iterable[AppRoute]] = tuple
        self.redaction = redactor(settings)
        self._redact_for_good()
        self.timing = Timing(settings.timing, self._clock, probe_routes(settings))
        self.health = HealthMonitor(settings.health, self._clock, self._run_check, self._run_on_loop)
        self._secret_key = SecretKey(settings)
        self.rate_limit = RateLimit(
            settings.rate_limit,
            settings.routes,
            clock=self._clock,
            client_of=self._client,
            is_https=self._client.is_https,
            key_for=self._secret_key.derive,
            report=self._failures.report,
            exempt=lambda: self._deliveries.intakes.patterns,
        )
        self._marks = marks_for(settings, self._clock)
        self._memory = MemoryResponses(settings.read_cache.size, self._clock, self._marks)
        self.cache = ReadCache(
            settings.read_cache, personal_paths(settings), self._clock, self._memory, self._open_responses
        )
        self._function_caches = FunctionCaches(
            self._clock,
            self.cache.flights,
            self._marks,
            enabled=settings.read_cache.enabled,
            invalidate=self.cache.invalidate_names,
        )
        self._deliveries = Deliveries(
            settings,
            self._clock,
            Host(
                self._charge_refused_webhook, self._run_on_loop, lambda: self._around_handler(), self.health.checks.add
            ),
        )
        self.webhooks = self._deliveries.service
        redaction = self.redaction
        self.self_check = SelfCheck(
            settings,
            self.rate_limit.rules,
            self._deliveries.intakes,
            self._deliveries.handlers,
            self._clock,
            plant=None if redaction is None else lambda: plant(redaction),
        )
        self.self_check.refuse_settings()
        self._local_limiter = MemoryLimiter(self._clock, settings.rate_limit.max_keys)
        self._redis = redis_connections(settings, self._clock)
        if self._redis is not None:
            self.health.checks.add(HealthCheck("redis for limits", redis_check(self._redis), required=False))
        self._begin_process()
        self._interceptors()  # tells now what is wrong with settings that only mean something together
        _renew_after_fork(self)

    def _redact_for_good(self) -> None:
        """Redact what leaves this process from now on, also after the stop; if this goes, until another takes over."""
        ends = [install_in_logging(self.redaction, request_id.get)]
        if self.redaction is not None:
            ends.append(install_hooks(self.redaction, prints=self.settings.redaction.prints))
            ends.append(install_in_packages(self.redaction))
        while _GONE:
            _GONE.pop()()
        for end in ends:
            weakref.finalize(self, _GONE.append, end).atexit = False

    def _begin_process(self) -> None:
        """Set what belongs to one process: threads, loops, and what runs on them."""
        self._lock = threading.Lock()
        self._handler_threads = ThreadPool(max(HANDLER_THREADS, self.settings.webhooks.concurrency))
        self._check_threads = ThreadPool(CHECK_THREADS)
        self._loop_thread = LoopThread()
        self._server_loop: asyncio.AbstractEventLoop | None = None
        self._deliveries.begin_process(self._handler_threads)
        self._limiters: tuple[Limiter, InstantLimiter | None] | None = None
        self._memory = MemoryResponses(self.settings.read_cache.size, self._clock, self._marks)
        self._responses: TieredResponses | None = None
        self._opening = threading.Lock()
        self._has_opened_responses = False
        self.cache.use(self._memory)
        self.cache.begin_process()
        self._function_caches.begin_process()
        self._running = False
        self._has_announced = False
        self.pipeline: Pipeline | None = None

    # --- what an app says -------------------------------------------------------------------------------------------

    def install(self, app: Starlette | Flask) -> None:
        """Put the kit around a FastAPI, Starlette or Flask app, outside of everything else.

        Raises:
            InstallError: if a kit is installed already, or the app is of another kind: `asgi` and `wsgi` wrap those.
        """
        kinds = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(app).__mro__}
        if "starlette.Starlette" in kinds:
            from launchkit.adapters import starlette  # the one framework that is there

            starlette.install(app, self)  # type: ignore[arg-type]  # known by its name, so as not to import the others
            self._app_routes = lambda: app_routes(app)
            self.self_check.view = starlette.StarletteView(app)  # type: ignore[arg-type]  # see above
        elif "flask.Flask" in kinds:
            from launchkit.adapters import flask  # see above

            self._around_handler = flask.install(app, self)  # type: ignore[arg-type]  # see above
            self._app_routes = lambda: flask.app_routes(app)  # type: ignore[arg-type]  # see above
            self.self_check.view = flask.FlaskView(app)  # type: ignore[arg-type]  # see above
        else:
            raise InstallError(
                f"{type(app).__name__} is no FastAPI, Starlette or Flask app: use app = kit.asgi(app) or kit.wsgi(app)"
            )

    def asgi(self, app: AsgiApp) -> AsgiAdapter:
        """Return any ASGI app with the kit around it."""
        return AsgiAdapter(app, self)

    def wsgi(self, app: WsgiApp) -> WsgiAdapter:
        """Return any WSGI app with the kit around it."""
        return WsgiAdapter(app, self)

    def redact_value(self, value: str | SecretStr) -> None:
        """Hide a secret that the app has learned, wherever it appears from now on: a customer's key, a session's token.

        It is hidden as it is, and as it is written in URLs, JSON and base64. A value of fewer than eight characters, or
        one like `password`, would take words with it, and is left alone.
        """
        if self.redaction is not None:
            self.redaction.add_value(value if isinstance(value, str) else value.get_secret_value())

    def webhook(
        self, source: str, event: str | None = None, *, order_by: str | None = None
    ) -> Callable[[HandlerT], HandlerT]:
        """Register a function, sync or async, for the deliveries of a source, or for one kind of event.

        It is called with a `Delivery` after the sender has been answered, and again until it returns; see `Retry` and
        `Discard` for what it may raise.

        Args:
            source: a sender's name, or `app` for what `kit.webhooks.submit` stores.
            event: the kind of event; by default every one that has no handler of its own.
            order_by: a dotted path into the JSON body, like `data.object.customer`: deliveries of the source with the
                same value there are handled one after the other, in the order in which they came; while one waits for
                its next attempt, so do those behind it.

        Raises:
            LaunchKitError: if there is a handler for that already.
            SettingsError: if the source is neither in the settings nor a sender known by name.
            StartError: in production, if the source has no secret.
        """
        known = source == SUBMITTED or source in self.settings.webhooks.sources
        if self.settings.environment == "production" and self.settings.webhooks.enabled and not known:
            raise StartError(no_secret(source))

        def register(function: HandlerT) -> HandlerT:
            self._deliveries.add_handler(source, event, function, order_by)
            self._handlers_changed()
            return function

        return register

    def complete(self, key: str) -> bool:
        """Say that a delivery which the app's own queue has carried is done; see `Webhooks.complete`."""
        return self.webhooks.complete(key)

    def health_check(self, name: str, *, required: bool = True) -> Callable[[CheckT], CheckT]:
        """Register a function, sync or async, that raises or returns False when something the app needs is down.

        Args:
            name: what it is called in the details.
            required: whether readiness fails with it; otherwise it only warns.

        Raises:
            LaunchKitError: if there is a check of that name.
        """

        def register(function: CheckT) -> CheckT:
            self.health.checks.add(HealthCheck(name, function, required))
            return function

        return register

    def queue_depth(self, name: str) -> Callable[[DepthT], DepthT]:
        """Register a function that says how much waits in a queue of the app's own, for health and `/metrics`.

        It returns how many wait, and for how many seconds the oldest has, or None if nobody knows. Health warns when
        that is more than `webhooks.alert_age`.

        Raises:
            LaunchKitError: if there is a health check of that name.
        """

        def register(function: DepthT) -> DepthT:
            self._deliveries.add_queue(name, function)
            return function

        return register

    def cached(
        self,
        ttl: float,
        key: str | Callable[..., object] | None = None,
        tags: Sequence[str] = (),
        max_entries: int = 1000,
    ) -> Callable[[Callable[P, R]], CachedFunction[P, R]]:
        """Keep the results of a function, sync or async, for `ttl` seconds: a read cache for parts of pages.

        Concurrent callers with the same arguments share one call. All are given the same object: read it, do not change
        it. `kit.cache.invalidate(tag=...)` and the function's own `invalidate()` end what is kept.

        Args:
            ttl: seconds that a result is used for.
            key: what tells one call from another: None for all arguments; a text that names those that count, with
                attributes if need be, `"{user.id}:{page}"`; or a function of the same arguments that returns a plain
                value, or None for a call that is not to be cached. Needed where a parameter looks like one user's or
                takes more than plain values.
            tags: names by which results can be invalidated together with others.
            max_entries: how many results each process keeps; the least recently used ones are given up first.

        Raises:
            LaunchKitError: for a function whose calls cannot be told apart or whose results cannot be kept.
        """
        return self._function_caches.cached(ttl, key, tags, max_entries)

    def check(self) -> tuple[Finding, ...]:
        """Prove that the protection works, and return what is wrong with it, its place and the app.

        Every limit is driven with synthetic requests on counters of its own until it refuses one. Nothing of the app's
        is run, nothing is sent or stored, and all is over within two seconds. Never raises.
        """
        return self.self_check.run().findings

    # --- starting and stopping ---------------------------------------------------------------------------------------

    def start(self) -> Pipeline:
        """Start in this process, if that has not happened: for a server's post-fork hook, and at the first request.

        Async handlers and checks run on a loop of the kit's own. Never raises.
        """
        return self._start(None)

    async def astart(self) -> None:
        """Start in this process, if that has not happened, with the running loop for async handlers and checks.

        Raises:
            StartError: in production, for what the self-check is certain must not go live, unless `check` is `warn`.
        """
        self.self_check.refuse()
        self._start(asyncio.get_running_loop())

    def _start(self, server_loop: asyncio.AbstractEventLoop | None) -> Pipeline:
        with self._lock:
            pipeline = self.pipeline
            if pipeline is None:
                pipeline = self.pipeline = self._assemble()
                if not self._has_announced:
                    self._has_announced = True
                    self._announce()
            if self._server_loop is not None and self._server_loop.is_closed():  # ended without a shutdown
                self._running = False
                self._deliveries.forget()
            if not self._running:
                self._running = True
                self._server_loop = server_loop
                self._start_background()
        return pipeline

    def _start_background(self) -> None:
        try:
            self.health.start()
            self._deliveries.start()
            atexit.register(self.stop)
        except Exception as error:  # noqa: BLE001  # an app that cannot have a worker is still an app
            self._failures.report("starting", error)

    def _handlers_changed(self) -> None:
        """Take up a handler that came after the start."""
        with self._lock:
            if self.pipeline is not None:
                self.pipeline = self._assemble()
            if self._running:
                self._deliveries.start()

    async def work(self) -> None:
        """Handle deliveries, and nothing else, until cancelled: what `launchkit worker` does.

        Raises:
            LaunchKitError: if no source that has a secret has a handler.
        """
        self._server_loop = asyncio.get_running_loop()
        try:
            await self._deliveries.work()
        finally:
            await asyncio.to_thread(self._close)

    def stop(self) -> None:
        """Stop the background work of this process; deliveries under way are given back. Never raises.

        Not for use on the event loop that the kit was started on: `astop` is.
        """
        stopping = self._stop_deliveries()
        if stopping is not None:
            with contextlib.suppress(Exception):
                stopping.result(STOP_SECONDS)
        self._close()

    async def astop(self) -> None:
        """Stop from the event loop; see `stop`."""
        stopping = self._stop_deliveries()
        if stopping is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(STOP_SECONDS):
                    await asyncio.wrap_future(stopping)
        if self._redis is not None:
            with contextlib.suppress(Exception):
                await self._redis.aclose()
        if self._responses is not None:
            with contextlib.suppress(Exception):
                await self._responses.aclose()
        await asyncio.to_thread(self._close)

    def _stop_deliveries(self) -> Future[None] | None:
        with self._lock:
            atexit.unregister(self.stop)
            self._running = False
            self.pipeline = None  # the next request starts all of it again
        if self._server_loop is not None and self._server_loop.is_closed():
            self._deliveries.forget()
        return self._deliveries.stop()

    def _close(self) -> None:
        self._loop_thread.stop()  # first: what ends there may give a lease back
        self._server_loop = None
        with contextlib.suppress(Exception):
            self._deliveries.close()
        if self._redis is not None:
            with contextlib.suppress(Exception):
                self._redis.close()
        if self._responses is not None:
            with contextlib.suppress(Exception):
                self._responses.close()

    def _run_check(self, function: Callable[[], T]) -> Future[T]:
        return self._check_threads.submit(function)

    def _run_on_loop(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        loop = self._server_loop
        if loop is not None and not loop.is_closed():
            return asyncio.run_coroutine_threadsafe(coroutine, loop)
        return self._loop_thread.run(coroutine)

    # --- assembling ---------------------------------------------------------------------------------------------------

    def _assemble(self) -> Pipeline:
        if self._limiters is None:
            self._limiters = self._open_limiters()
            self.rate_limit.prepare()
            self._open_responses()
        limiter, instant_limiter = self._limiters
        responses = self._responses or self._memory
        backends = Backends(
            limiter=limiter,
            local_limiter=self._local_limiter,
            responses=responses,
            inbox=self._deliveries.inbox,
            prober=self.health,
            instant_limiter=instant_limiter,
            instant_responses=responses,
        )
        return Pipeline(Planner(self._interceptors()), backends, self._failures, self._clock)

    def _open_responses(self) -> None:
        """Open what processes share of the cache, once in this one: at the start, or for an earlier invalidation."""
        with self._opening:
            if self._has_opened_responses or not self.settings.read_cache.enabled:
                return
            self._has_opened_responses = True
            share_marks(self._marks)
            self._responses = tiered_responses(
                self.settings, self._memory, self._marks, self._clock, self._secret_key.derive
            )
            self.cache.use(self._responses or self._memory)
            if self._responses is not None and len(self._function_caches) > 0:  # pages make it start when they need it
                self._responses.start()

    def _open_limiters(self) -> tuple[Limiter, InstantLimiter | None]:
        if self._redis is not None:
            return redis_limiter(self._redis, self._secret_key.derive), None
        shared = machine_limiter(self.settings, self._clock, self.rate_limit.rules) or self._local_limiter
        return shared, shared

    def _interceptors(self) -> list[Interceptor]:
        """Return what a request goes through, outermost first."""
        settings = self.settings
        extra = metric_sources(self.rate_limit, self.cache, self._memory, self._deliveries, self._failures)
        release = settings.release
        chain: list[tuple[bool, Interceptor]] = [
            (settings.timing.enabled, self.timing),
            (True, RequestId()),
            (
                settings.edge.enabled,
                SecurityHeaders(settings.edge, self._client, production=settings.environment == "production"),
            ),
            (settings.timing.enabled, MetricsEndpoint(settings.timing, self.timing, self._access, extra)),
            (settings.health.enabled, Health(settings.health, self.health, self._access, release, self._details)),
            (settings.edge.enabled, WhoAmI(self._client, self._access)),
            *((settings.edge.enabled, gate) for gate in self._gates()),
            (settings.rate_limit.enabled, self.rate_limit),
            (True, self._deliveries.intakes),
            (settings.read_cache.enabled, self.cache),
        ]
        return [interceptor for enabled, interceptor in chain if enabled]

    def _gates(self) -> Iterator[Interceptor]:
        health = self.settings.health
        probes = (health.path, health.live_path, health.ready_path)
        return gates(
            self.settings.edge,
            self._client,
            Exempt(probes, lambda: self._deliveries.intakes.patterns),
            production=self.settings.environment == "production",
            trusts_proxies=bool(self._trusted_proxies),
        )

    def _details(self) -> dict[str, object]:
        """Return the figures that health shows."""
        details: dict[str, object] = {
            "p95_seconds": {_label_of(figures): figures.p95 for figures in self.timing.routes()[:20]}
        }
        webhooks = self._deliveries.details()
        if webhooks:
            details["webhooks"] = webhooks
        return details

    def _announce(self) -> None:
        try:
            lines = startup_lines(
                self.settings, self.rate_limit.rules, self._deliveries.intakes, self._app_routes(), self._counted_in()
            )
            sys.stderr.write("\n".join(lines) + "\n")
            self.self_check.log()
        except Exception as error:  # noqa: BLE001  # routes of an unknown shape, or no stderr, must not stop an app
            self._failures.report("start-up report", error)

    def _counted_in(self) -> str:
        if self._redis is not None:
            return "Redis"
        is_shared = self._limiters is not None and self._limiters[0] is not self._local_limiter
        return "this machine" if is_shared else "each process"

    def _charge_refused_webhook(self, exchange: Exchange) -> Steps[EarlyResponse | None]:
        if self.settings.rate_limit.enabled:
            return (yield from self.rate_limit.charge_refused_webhook(exchange))
        return None


def _label_of(figures: RouteStatistics) -> str:
    cache = "" if figures.cache is None else f" (cache {figures.cache})"
    return f"{figures.method} {figures.route}{cache}"


def _renew_after_fork(kit: LaunchKit) -> None:
    begin = weakref.WeakMethod(kit._begin_process)  # noqa: SLF001  # the kit's own

    def renew() -> None:
        method = begin()
        if method is not None:
            method()

    os.register_at_fork(after_in_child=renew)
