"""Senders as Stripe is one: each event is sent again until it gets a 2xx, and never after that."""

from __future__ import annotations

import http.client
import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from launchkit.testing import sign

SENDERS = 6
PATIENCE = 10.0
"""Seconds that a sender waits for an answer."""
PAUSE = 0.05
"""Seconds before a sender that got no 2xx tries again."""


def new_secret() -> str:
    return "whsec_" + secrets.token_hex(16)


class Senders:
    """Send events from several threads, as far as they are let.

    Args:
        port: where the app listens.
        secret: what they sign with.
        events: the kind of each event, by its id.
    """

    def __init__(self, port: int, secret: str, events: Mapping[str, str]) -> None:
        self._port = port
        self._secret = secret
        self._events = dict(events)
        self._unsent = iter(list(self._events))
        self._lock = threading.Lock()
        self._places = threading.Semaphore(0)
        self._let = 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._send_all, daemon=True) for _ in range(SENDERS)]
        self.acknowledged: set[str] = set()
        self.answers: Counter[str] = Counter()
        """How often there was which answer: its status, and for those with a 2xx what it says."""
        self.retry_after: set[str | None] = set()
        """What answers with 503 have said."""

    def __enter__(self) -> Senders:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.let(len(self._events) + SENDERS)
        for thread in self._threads:
            thread.join(PATIENCE)

    def let(self, count: int) -> None:
        """Let `count` events in all be sent, if not as many were let before."""
        if count > self._let:
            self._places.release(count - self._let)
            self._let = count

    def are_done(self) -> bool:
        return len(self.acknowledged) == len(self._events)

    def _send_all(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while (event := self._next()) is not None:
            while not self._over.is_set():
                connection = connection or http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
                try:
                    status, answer, retry_after = post(connection, self._secret, event, self._events[event])
                except (OSError, http.client.HTTPException):
                    connection.close()
                    connection, status, answer, retry_after = None, 0, "", ""
                with self._lock:
                    self._note(event, status, answer, retry_after)
                if 200 <= status < 300:
                    break
                time.sleep(PAUSE)
        if connection is not None:
            connection.close()

    def _next(self) -> str | None:
        self._places.acquire()
        with self._lock:
            return None if self._over.is_set() else next(self._unsent, None)

    def _note(self, event: str, status: int, answer: str, retry_after: str | None) -> None:
        if 200 <= status < 300:
            self.acknowledged.add(event)
            self.answers[f"{status} {json.loads(answer)['status']}"] += 1
        else:
            self.answers[str(status) if status else "no answer"] += 1
        if status == 503:
            self.retry_after.add(retry_after)


def post(connection: http.client.HTTPConnection, secret: str, event: str, kind: str) -> tuple[int, str, str | None]:
    """Send an event once, and return the answer's status, body, and `Retry-After`."""
    body = event_body(event, kind)
    headers = sign("stripe", secret, body, now=time.time(), message_id=event)
    connection.request("POST", "/webhooks/stripe", body, {"content-type": "application/json", **headers})
    response = connection.getresponse()
    return response.status, response.read().decode(), response.getheader("retry-after")


def event_body(event: str, kind: str, **more: object) -> bytes:
    """Return an event as Stripe would write it, of about 2 KB."""
    return json.dumps({"id": event, "type": kind, "padding": "x" * 1_900, **more}).encode()


def latencies(port: int, path: str, while_: Callable[[], object]) -> list[float]:
    """Return how many seconds each answer to a GET took, one after the other, as long as `while_` holds."""
    found = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    while while_():
        began = time.monotonic()
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", path)
            connection.getresponse().read()
            found.append(time.monotonic() - began)
            continue
        connection.close()
    connection.close()
    return found


def percentile(values: Iterable[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]
