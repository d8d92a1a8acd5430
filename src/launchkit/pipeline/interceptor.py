"""Interceptors, and the plan of which of their hooks run for a method and path.

The rules:

- `on_request` hooks run in order, outermost first, until one returns an `EarlyResponse`.
- `on_response_start` hooks run in the opposite order, and only those of interceptors that the request had entered.
- A hook that has asked for it sees every chunk of the response body; a body nobody watches is never touched.
- `on_complete` hooks run once, at the last byte or when the exchange has failed; they do no I/O.
- `on_exit` hooks run once, when the server gets its call back.
- A hook that an interceptor does not override is not in any plan and costs nothing.
- A hook that raises is reported and left out of this request; `on_failure` says what follows for the request.
- A WebSocket handshake is planned like a GET, with the request hooks of those interceptors only that cover handshakes.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from launchkit.pipeline.effects import Steps
from launchkit.pipeline.exchange import EarlyResponse, Exchange
from launchkit.pipeline.paths import PathPattern, PathTable

RequestHook = Callable[[Exchange], "EarlyResponse | Steps[EarlyResponse | None] | None"]
ResponseHook = Callable[[Exchange], "Steps[None] | None"]
CompleteHook = Callable[[Exchange], None]

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"})
"""The methods of RFC 9110, RFC 5789 and the QUERY draft; every other one is planned and labelled as `_OTHER`."""

_HANDSHAKE: Final = "_HANDSHAKE"
"""What plans for WebSocket handshakes are interned as."""


class Interceptor:
    """What a feature does to a request. One instance serves all requests and keeps nothing about any of them."""

    name: str = "interceptor"

    patterns: tuple[PathPattern, ...] = ()
    """The paths that `select` wants to be told about."""

    covers_handshakes: bool = False
    """Whether `on_request` is also for WebSocket handshakes, which `select` is told of as GET."""

    def select(self, method: str, matched: frozenset[PathPattern]) -> Interceptor | None:
        """Return the interceptor for requests like this, or None. Called once per kind of request, not per request."""
        return self

    def on_request(self, exchange: Exchange) -> EarlyResponse | Steps[EarlyResponse | None] | None:
        """Look at the request; an `EarlyResponse` ends it here."""

    def on_response_start(self, exchange: Exchange) -> Steps[None] | None:
        """Look at `status` and `response_headers`; add what is missing with `default_response_headers`.

        Whoever wants to see the body asks for it here, with `watch_body` and a method of its own.
        """

    def on_complete(self, exchange: Exchange) -> None:
        """Record the exchange: `ended`, `status` and `error` are final."""

    def on_exit(self, exchange: Exchange) -> None:
        """Undo what `on_request` did to the context of the call."""

    def on_failure(self, exchange: Exchange, error: Exception) -> EarlyResponse | None:
        """Decide what follows when `on_request` raised: by default the request goes on without this feature."""


class Plan:
    """The hooks that run for one kind of request."""

    __slots__ = ("on_complete", "on_exit", "on_request", "on_response_start", "responses_from")

    def __init__(self, interceptors: Sequence[Interceptor]) -> None:
        self.on_request: tuple[RequestHook, ...] = tuple(
            one.on_request for one in interceptors if _overrides(one, "on_request")
        )
        self.on_response_start: tuple[ResponseHook, ...] = tuple(
            one.on_response_start for one in reversed(interceptors) if _overrides(one, "on_response_start")
        )
        self.on_complete: tuple[CompleteHook, ...] = tuple(
            one.on_complete for one in reversed(interceptors) if _overrides(one, "on_complete")
        )
        self.on_exit: tuple[CompleteHook, ...] = tuple(
            one.on_exit for one in reversed(interceptors) if _overrides(one, "on_exit")
        )
        self.responses_from: dict[RequestHook, tuple[ResponseHook, ...]] = {
            one.on_request: tuple(
                inner.on_response_start
                for inner in reversed(interceptors[: depth + 1])
                if _overrides(inner, "on_response_start")
            )
            for depth, one in enumerate(interceptors)
            if _overrides(one, "on_request")
        }


def _overrides(interceptor: Interceptor, hook: str) -> bool:
    return getattr(type(interceptor), hook) is not getattr(Interceptor, hook)


class Planner:
    """Finds the plan for a request.

    Plans are interned: one for each method and set of patterns that match together. The table from (method, path) to
    plan only saves the match; it is emptied when full, so that made-up paths cannot fill memory, and a path it does not
    hold costs one look-up in the compiled patterns.
    """

    TABLE_SIZE: Final = 4096
    LONGEST_PATH: Final = 512
    """Characters of a path that is worth remembering; a longer one is matched anew."""

    def __init__(self, interceptors: Sequence[Interceptor]) -> None:
        self._interceptors = tuple(interceptors)
        self._paths = PathTable(pattern for one in self._interceptors for pattern in one.patterns)
        self._by_match: dict[tuple[str, frozenset[PathPattern]], Plan] = {}
        self.table: dict[tuple[str, ...], Plan] = {}

    def plan(self, method: str, path: str, mount: str = "") -> Plan:
        """Return the plan for a request.

        `path` includes `mount`, the prefix under which the app is served; patterns match with and without it, so that
        a rule holds whether it was written as the app or as the browser sees the path.
        """
        key = (method, path) if not mount else (method, path, mount)
        plan = self.table.get(key)
        if plan is None:
            upper = method.upper()  # Werkzeug serves `post` as POST
            plan = self._match(upper if upper in METHODS else "_OTHER", path, mount)
            if len(path) + len(mount) <= self.LONGEST_PATH:
                if len(self.table) >= self.TABLE_SIZE:
                    self.table.clear()
                self.table[key] = plan
        return plan

    def plan_handshake(self, path: str, mount: str = "") -> Plan:
        """Return the plan for a WebSocket handshake. They are few: none is kept in the table."""
        return self._match(_HANDSHAKE, path, mount)

    def _match(self, method: str, path: str, mount: str) -> Plan:
        matched = self._matching(path, mount)
        if "/." in path:  # routers take dots for names, but those that serve files resolve them
            matched |= self._matching(posixpath.normpath(path), mount)
        plan = self._by_match.get((method, matched))
        if plan is None:
            plan = self._by_match[method, matched] = Plan(tuple(self._select(method, matched)))
        return plan

    def _matching(self, path: str, mount: str) -> frozenset[PathPattern]:
        matched = self._paths.match(path)
        if mount:  # which a proxy may have taken off
            inner = path.startswith(mount)
            matched |= self._paths.match(path[len(mount) :] if inner else mount + path)
        return matched

    def _select(self, method: str, matched: frozenset[PathPattern]) -> Iterator[Interceptor]:
        handshake = method == _HANDSHAKE
        for one in self._interceptors:
            if one.covers_handshakes or not handshake:
                chosen = one.select("GET" if handshake else method, matched)
                if chosen is not None:
                    yield chosen
