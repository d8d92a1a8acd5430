"""One pass of a request through its plan: the part that both colours share.

Here is the fence: whatever a hook raises is reported and stays inside. A request whose hook broke goes on without that
hook, unless the interceptor's `on_failure` says otherwise.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Iterator

from launchkit.pipeline.clock import Clock
from launchkit.pipeline.effects import Backends, Waiting
from launchkit.pipeline.exchange import BodyHook, EarlyResponse, Exchange
from launchkit.pipeline.interceptor import (
    CompleteHook,
    Interceptor,
    Plan,
    Planner,
    RequestHook,
    ResponseHook,
)
from launchkit.pipeline.perform import perform_now

logger = logging.getLogger("launchkit")


class Failures:
    """Counts what broke inside LaunchKit, and logs each kind once with its traceback."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logged: set[tuple[str, type[BaseException]]] = set()
        self.counts: Counter[str] = Counter()

    def report(self, name: str, error: Exception) -> None:
        """Take note of an error inside the feature `name`. Never raises."""
        kind = (name, type(error))
        with self._lock:
            self.counts[name] += 1
            first = kind not in self._logged
            self._logged.add(kind)
        if first:
            with contextlib.suppress(Exception):  # an app's logging may be what is broken
                logger.error(
                    "%s failed; requests go on without it, or are refused where it guards something. Further errors of "
                    "this kind are only counted.",
                    name,
                    exc_info=error,
                )


class Pipeline:
    """What the adapters need of a kit, compiled."""

    __slots__ = ("backends", "failures", "now", "planner")

    def __init__(self, planner: Planner, backends: Backends, failures: Failures, clock: Clock) -> None:
        self.planner = planner
        self.backends = backends
        self.failures = failures
        self.now = clock.monotonic

    def enter(
        self, exchange: Exchange, hooks: Iterator[RequestHook]
    ) -> tuple[RequestHook, EarlyResponse | Waiting[EarlyResponse | None]] | None:
        """Call the remaining request hooks up to one that answers or has to wait; None when all are done."""
        outcome: EarlyResponse | Waiting[EarlyResponse | None] | None
        for hook in hooks:
            try:
                asked = hook(exchange)
                if asked is None:
                    continue
                outcome = asked if isinstance(asked, EarlyResponse) else perform_now(asked, self.backends)
            except Exception as error:  # noqa: BLE001  # the fence
                outcome = self.broken(hook, exchange, error)
            if outcome is not None:
                return hook, outcome
        return None

    def broken(self, hook: RequestHook, exchange: Exchange, error: Exception) -> EarlyResponse | None:
        """Report a request hook that raised and ask its interceptor what follows."""
        interceptor = owner_of(hook)
        self.failures.report(interceptor.name, error)
        try:
            return interceptor.on_failure(exchange, error)
        except Exception as further:  # noqa: BLE001  # the fence
            self.failures.report(interceptor.name, further)
            return None

    def start_response(
        self, exchange: Exchange, hooks: Iterator[ResponseHook]
    ) -> tuple[ResponseHook, Waiting[None]] | None:
        """Call the remaining response hooks up to one that has to wait; None when all are done."""
        for hook in hooks:
            try:
                steps = hook(exchange)
                waiting = None if steps is None else perform_now(steps, self.backends)
            except Exception as error:  # noqa: BLE001  # the fence
                self.leave_out(exchange, hook, error)
            else:
                if waiting is not None:
                    return hook, waiting
        return None

    def watch_body(
        self, exchange: Exchange, hooks: Iterator[BodyHook], chunk: bytes, last: bool
    ) -> tuple[BodyHook, Waiting[None]] | None:
        """Show a chunk to the remaining body hooks up to one that has to wait; None when all are done."""
        for hook in hooks:
            try:
                steps = hook(exchange, chunk, last)
                waiting = None if steps is None else perform_now(steps, self.backends)
            except Exception as error:  # noqa: BLE001  # the fence
                self.leave_out(exchange, hook, error)
            else:
                if waiting is not None:
                    return hook, waiting
        return None

    def leave_out(self, exchange: Exchange, hook: ResponseHook | BodyHook, error: Exception) -> None:
        """Report a hook that raised. It sees no more of the body: what it made of it would have a gap."""
        self.failures.report(owner_of(hook).name, error)
        exchange.body_hooks = tuple([one for one in exchange.body_hooks if one != hook])

    def finish(self, exchange: Exchange, plan: Plan) -> None:
        """End the exchange: nothing of the response is still to come."""
        exchange.ended = self.now()
        for hook in plan.on_complete:
            try:
                hook(exchange)
            except Exception as error:  # noqa: BLE001  # the fence, which costs nothing where nothing is raised
                self.failures.report(owner_of(hook).name, error)

    def leave(self, exchange: Exchange, plan: Plan) -> None:
        """Give the server its call back."""
        for hook in plan.on_exit:
            try:
                hook(exchange)
            except Exception as error:  # noqa: BLE001  # the fence
                self.failures.report(owner_of(hook).name, error)


def owner_of(hook: RequestHook | ResponseHook | BodyHook | CompleteHook) -> Interceptor:
    """Return the interceptor that a plan took this hook from."""
    return hook.__self__  # type: ignore[union-attr, no-any-return]  # plans hold bound methods only
