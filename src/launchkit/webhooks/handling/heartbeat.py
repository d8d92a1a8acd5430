"""Keeps the leases of handlers that live, from a thread of its own.

A handler may run for minutes, and an async one may block the event loop for as long: only a thread can tell the inbox
in time that somebody still works on its delivery. The rules:

- Every third of a lease, all leases in hand are extended in one operation; when the store is down, sooner again.
- A lease is extended until its handler's time is over and no longer, so that what hangs loses it.
- Once `remove` has returned nothing extends that lease any more: it may be given back.
- The thread starts with a lease and ends when there are none, so that nothing wakes up while there is nothing to do.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

from launchkit.pipeline.effects import StoreDown
from launchkit.webhooks.delivery import Lease
from launchkit.webhooks.inbox.inbox import Inbox

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Held:
    lease: Lease
    until: float
    on_lost: Callable[[], None]


class Heartbeat:
    """Extends leases until they are removed. For one process: a child of a fork needs its own.

    Args:
        inbox: where the leases are from.
        lease_seconds: how long a lease lasts from each extension on.
        monotonic: a clock in seconds.
        pause: waits for that many seconds.
    """

    BEATS: Final = 3
    """How often a lease is extended before it would end."""
    SOONER: Final = 5
    """By how much sooner the next try comes after one that failed."""

    def __init__(
        self,
        inbox: Inbox,
        lease_seconds: float,
        monotonic: Callable[[], float],
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self.monotonic = monotonic
        self._inbox = inbox
        self._lease_seconds = lease_seconds
        self._interval = lease_seconds / self.BEATS
        self._pause = pause
        self._lock = threading.Lock()
        self._held: dict[tuple[int, int], _Held] = {}
        self._is_running = False

    def add(self, lease: Lease, until: float, on_lost: Callable[[], None]) -> None:
        """Extend a lease from now on.

        Args:
            lease: fresh from a claim.
            until: the monotonic time at which that ends.
            on_lost: called, in the heartbeat's thread, if the lease turns out to be somebody else's. Must not raise.
        """
        with self._lock:
            if not self._is_running:
                threading.Thread(target=self._serve, name="launchkit-heartbeat", daemon=True).start()
                self._is_running = True
            self._held[lease.row, lease.token] = _Held(lease, until, on_lost)

    def remove(self, lease: Lease) -> None:
        """Extend a lease no longer, if that was done."""
        with self._lock:
            self._held.pop((lease.row, lease.token), None)

    def _serve(self) -> None:
        self._pause(self._interval)
        while self._is_needed():
            self._pause(self._interval if self._beat() else self._interval / self.SOONER)

    def _is_needed(self) -> bool:
        """Give up the leases whose time is over, and return whether there are others."""
        with self._lock:
            now = self.monotonic()
            self._held = {key: one for key, one in self._held.items() if now < one.until}
            self._is_running = bool(self._held)
            return self._is_running

    def _beat(self) -> bool:
        """Extend all leases in hand and return whether that was possible."""
        held, extending = self._extend()
        try:
            rows = extending.result(self._interval)
        except (StoreDown, TimeoutError):  # the inbox has logged it
            extending.cancel()
            return False
        except Exception:
            logger.exception("the heartbeat of webhook leases has a bug; it goes on")
            return False
        for one in held:
            if one.lease.row not in rows:
                self.remove(one.lease)
                one.on_lost()
        return True

    def _extend(self) -> tuple[Sequence[_Held], Future[frozenset[int]]]:
        """Ask for an extension of all leases in hand.

        Under the lock: an extension that came after a release would undo it.
        """
        with self._lock:
            held = tuple(self._held.values())
            return held, self._inbox.extend([one.lease for one in held], self._lease_seconds)
