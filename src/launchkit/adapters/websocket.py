"""A WebSocket handshake through the request hooks that cover handshakes; what comes after it is the app's alone.

A handshake is refused before the app hears of it: with the hook's whole answer where the server takes one
(https://asgi.readthedocs.io/en/latest/extensions.html#websocket-denial-response), else by closing with 1008, which
servers turn into a 403.
"""

from __future__ import annotations

from typing import Final

from launchkit.adapters.scope import Receive, Scope, ScopeExchange, Send
from launchkit.pipeline.effects import Body
from launchkit.pipeline.exchange import EarlyResponse
from launchkit.pipeline.pipeline import Pipeline

POLICY_VIOLATION: Final = 1008
"""The close code for an endpoint that may not be used like this (RFC 6455 section 7.4.1)."""


class Handshake(ScopeExchange):
    """The request of a handshake, as features see it: a GET by http or https."""

    __slots__ = ()

    def __init__(self, pipeline: Pipeline, scope: Scope) -> None:
        self.method = "GET"
        self.path = scope["path"]
        self.mount = scope.get("root_path", "")
        self._plan = pipeline.planner.plan_handshake(self.path, self.mount)
        self._hooks = iter(self._plan.on_request)
        self._pipeline = pipeline
        self._scope = scope
        self._client = scope.get("client")
        self._headers = None
        self.scheme = "https" if scope.get("scheme") == "wss" else "http"
        self.request_id = self.outer_request_id = ""
        self.started = self.ended = 0.0
        self.status = 0
        self.body_hooks = ()
        self.may_be_replaced = False
        self.route = self.error = self.notes = self.cache = self.replacement = None

    async def refusal(self) -> EarlyResponse | None:
        """Run the hooks; return the answer of the one that refuses."""
        early = self.enter()
        if early is not None and not isinstance(early, EarlyResponse):
            return await self.ask(early)
        return early

    @property
    def body_refusal(self) -> None:
        """None: a handshake has no body."""

    async def aread(self, limit: int) -> Body:
        """Return nothing: a handshake has no body."""
        return Body(b"")

    def limit_body(self, limit: int, too_large: EarlyResponse) -> None:
        """Do nothing: a handshake has no body."""


async def deny(scope: Scope, receive: Receive, send: Send, answer: EarlyResponse) -> None:
    """Refuse a handshake."""
    await receive()  # websocket.connect, before which nothing may be sent
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        return
    headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
    await send({"type": "websocket.http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": answer.body})
