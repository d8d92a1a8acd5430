"""What other processes invalidate, heard over a channel of Redis, and whether it is heard at all.

The rules:

- What this process has in memory may only be used while every invalidation elsewhere is heard of, and a process that
  cannot listen cannot ask Redis for long either. So until the subscription is confirmed (`is_confirmed`), and after it
  is lost, every look-up is a miss and nothing is stored.
- Just before `is_confirmed` becomes true everything in memory is invalidated. That covers what was missed before, and
  also the requests that looked something up before and want to store afterwards. Before that the caller may look at
  what server it is (`greeting`).
- A connection is lost when it says so, or when for `HEARTBEAT` seconds nothing comes in, and nothing for as long again
  after a PING: memory answers for no longer than that without hearing.
- The connection is one of redis-py's, without its `PubSub`, which would connect anew in silence.
- A message is a JSON list of texts: its sender and the invalidated names. A process skips its own. A message that is
  not understood, as of a later version, means everything.
- One daemon thread listens. It starts with the first look-up, which does not wait for it, and anew in the child of a
  fork. It connects again by itself, at the latest `LONGEST_PAUSE` seconds after it failed to.
"""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import socket
import threading
from collections.abc import Callable
from typing import Final, cast

import redis

from launchkit.pipeline.effects import Names, StoreDown
from launchkit.read_cache.key import EVERYTHING
from launchkit.stores.redis import Command, RedisConnections

logger = logging.getLogger("launchkit")

_LOST: Final = (StoreDown, redis.ConnectionError, redis.TimeoutError, OSError)
"""What an outage looks like: the connections' breaker tells of it."""


class Subscription:
    """Listens for what others invalidate.

    Args:
        connections: to the server; the subscription opens one of its own.
        channel: the channel's name.
        greeting: returns a command that is sent to the server before anything else; its answer has to be no error.
        invalidate: called in the thread with the names that others have invalidated.
    """

    HEARTBEAT: Final = 1.0
    SHORTEST_PAUSE: Final = 0.05
    LONGEST_PAUSE: Final = 1.0
    END_SECONDS: Final = 1.0
    """For which `close` waits for the thread."""

    def __init__(
        self,
        connections: RedisConnections,
        channel: str,
        greeting: Callable[[], Command],
        invalidate: Callable[[Names], None],
    ) -> None:
        self.channel: Final = channel
        self._connections = connections
        self._greeting = greeting
        self._invalidate = invalidate
        self._connection: redis.Connection | None = None
        self._is_refused = False
        self.begin_process()

    def begin_process(self) -> None:
        """Start over in the child of a fork, where there is no thread and a lock may be held by one of the parent's."""
        if self._connection is not None:
            self._connection.disconnect()  # type: ignore[no-untyped-call]  # redis-py's gap; the parent's stays open
            self._connection = None
        self._lock = threading.Lock()
        self._listener: tuple[threading.Event, threading.Thread] | None = None
        self._sender = secrets.token_hex(8)
        self.is_confirmed = False

    def message(self, names: Names) -> str:
        """Return what to publish when this process invalidates names."""
        return json.dumps([self._sender, *names])

    def start(self) -> None:
        """Listen, unless this process does already."""
        if self._listener is None:
            with self._lock:
                if self._listener is None:
                    stopped = threading.Event()
                    thread = threading.Thread(
                        target=self._run, args=(stopped,), name="launchkit-cache-subscription", daemon=True
                    )
                    thread.start()
                    self._listener = stopped, thread

    def close(self) -> None:
        """Stop listening; a later `start` begins anew."""
        with self._lock:
            listener, self._listener = self._listener, None
            self.is_confirmed = False
            if listener is None:
                return
            stopped, thread = listener
            stopped.set()
            _hang_up(self._connection)
        thread.join(self.END_SECONDS)

    def _run(self, stopped: threading.Event) -> None:
        self._pause = self.SHORTEST_PAUSE
        while not stopped.is_set():
            try:
                self._listen(stopped)
            except Exception as error:  # noqa: BLE001  # whatever it is, the thread has to go on
                self._tell(error)
            stopped.wait(self._pause)
            self._pause = min(self._pause * 2, self.LONGEST_PAUSE)

    def _listen(self, stopped: threading.Event) -> None:
        connection = self._connections.open()
        try:
            with self._lock:
                if stopped.is_set():
                    return
                self._connection = connection
            for command in (self._greeting(), ("SUBSCRIBE", self.channel)):
                _send(connection, command)
                _receive(connection, self.HEARTBEAT)
            self._confirm(stopped)
            self._hear_all(connection)
        finally:
            with self._lock:
                if self._connection is connection:
                    self._connection = None
                    self.is_confirmed = False
            connection.disconnect()  # type: ignore[no-untyped-call]  # redis-py's gap

    def _confirm(self, stopped: threading.Event) -> None:
        self._invalidate((EVERYTHING,))
        self._pause = self.SHORTEST_PAUSE
        self._is_refused = False
        with self._lock:
            if not stopped.is_set():
                self.is_confirmed = True

    def _hear_all(self, connection: redis.Connection) -> None:
        """Hear message after message until the connection is lost, which raises."""
        while True:
            if not connection.can_read(timeout=self.HEARTBEAT):
                _send(connection, ("PING",))
            reply = _receive(connection, self.HEARTBEAT)
            if reply[0] == b"message":
                self._hear(reply[2])

    def _hear(self, message: bytes) -> None:
        sender, *names = _texts(message) or ("", EVERYTHING)
        if sender != self._sender:
            self._invalidate(tuple(names))

    def _tell(self, error: Exception) -> None:
        """Log, once, what is no outage: the breaker tells of those."""
        if not isinstance(error, _LOST) and not self._is_refused:
            self._is_refused = True
            logger.error(
                "The read cache cannot listen for what others invalidate (%s): until it can, nothing is cached.",
                type(error).__name__,
            )


def _hang_up(connection: redis.Connection | None) -> None:
    """Wake the thread that waits for this connection: it finds it closed."""
    if connection is not None:
        with contextlib.suppress(OSError, ValueError, AttributeError):  # it may be closed already
            cast("socket.socket", connection._sock).shutdown(socket.SHUT_RDWR)  # noqa: SLF001  # it has no other name


def _send(connection: redis.Connection, command: Command) -> None:
    packed = connection.pack_command(*command)  # type: ignore[no-untyped-call]  # redis-py's gap
    connection.send_packed_command(packed, check_health=False)  # type: ignore[no-untyped-call]  # redis-py's gap


def _receive(connection: redis.Connection, seconds: float) -> list[bytes]:
    if not connection.can_read(timeout=seconds):
        raise TimeoutError
    return cast("list[bytes]", connection.read_response())


def _texts(message: bytes) -> list[str] | None:
    """Return the texts of a message; None if it is none of ours."""
    try:
        texts = json.loads(message)
    except (ValueError, RecursionError):
        return None
    is_ours = isinstance(texts, list) and len(texts) > 1 and all(isinstance(text, str) for text in texts)
    return texts if is_ours else None
