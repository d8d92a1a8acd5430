"""What is still to be sent to Redis, and the thread that sends it: no request waits for it, no event loop blocks.

The rules:

- Records are worth little: those that find no room, or no server, are dropped and counted.
- Invalidations are worth everything: what Redis has not confirmed stays known here for as long as the process lives, is
  tried again until it is confirmed, and tells the cache which of Redis's answers do not count yet. When there are very
  many names, they become the one name of everything.
- One daemon thread sends, invalidations first. It starts with the first thing to send and starts anew in the child of a
  fork, which leaves the parent's records to the parent.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from launchkit.pipeline.effects import Names, StoreDown
from launchkit.read_cache.key import EVERYTHING

logger = logging.getLogger("launchkit")


class Outbox:
    """Safe from any thread.

    Args:
        invalidate: what sends names; it raises `StoreDown` unless they are confirmed.
        size: bytes of records that wait at most.
    """

    SIZE: Final = 32_000_000
    MOST_NAMES: Final = 1_000
    RETRY_SECONDS: Final = 0.5
    """Between two attempts to send invalidations."""
    END_SECONDS: Final = 1.0
    """For which `close` waits until everything is sent."""

    def __init__(self, invalidate: Callable[[Names], None], size: int = SIZE) -> None:
        self._invalidate = invalidate
        self._size = size
        self._owed: frozenset[str] = frozenset()
        self._under_way: list[frozenset[str]] = []
        self.dropped = 0
        self.begin_process()

    def begin_process(self) -> None:
        """Start over in the child of a fork, where there is no thread and a lock may be held by one of the parent's."""
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._records: deque[tuple[int, Callable[[], None]]] = deque()
        self._bytes = 0
        self._owed = self._owed.union(*self._under_way)
        self._under_way = []

    def put(self, size: int, send: Callable[[], None]) -> None:
        """Have a record of so many bytes sent; `send` raises `StoreDown` if Redis does not take it."""
        with self._changed:
            if self._bytes + size > self._size:
                self.dropped += 1
                return
            self._bytes += size
            self._records.append((size, send))
            self._wake()

    def owe(self, names: Names) -> None:
        """Have names invalidated."""
        with self._changed:
            owed = self._owed.union(names)
            self._owed = owed if len(owed) <= self.MOST_NAMES else frozenset({EVERYTHING})
            self._wake()

    @contextmanager
    def sending(self, names: Names) -> Iterator[None]:
        """Know names as unconfirmed while the caller sends them; if that fails, they are owed."""
        sent = frozenset(names)
        with self._changed:
            self._under_way.append(sent)
        try:
            yield
        except BaseException:  # a cancelled task's too
            self.owe(names)
            raise
        finally:
            with self._changed:
                self._under_way.remove(sent)

    def unconfirmed(self) -> frozenset[str]:
        """Return the names whose invalidation Redis may not know of yet."""
        with self._changed:
            return self._owed.union(*self._under_way) if self._under_way else self._owed

    def close(self) -> None:
        """Send what can be sent now and end the thread; a later `put` or `owe` starts another."""
        with self._changed:
            thread, self._thread = self._thread, None
            self._changed.notify_all()
        if thread is not None:
            thread.join(self.END_SECONDS)

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="launchkit-cache-outbox", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # no more threads, or the interpreter is ending: whoever comes next tries again
                self._thread = None
        self._changed.notify_all()

    def _serve(self) -> None:
        while self._wait_for_work():
            names = self._owed
            if not names:
                self._send_record()
            elif not self._send(names) and self._is_closed_within(self.RETRY_SECONDS):
                return

    def _wait_for_work(self) -> bool:
        """Return when there is something to send; False when there is nothing and `close` was called."""
        with self._changed:
            self._changed.wait_for(lambda: self._owed or self._records or self._is_closed())
            return bool(self._owed or self._records)

    def _is_closed(self) -> bool:
        return self._thread is not threading.current_thread()

    def _is_closed_within(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(self._is_closed, seconds)

    def _send(self, names: frozenset[str]) -> bool:
        try:
            with self.sending(tuple(names)):
                with self._changed:
                    self._owed -= names  # before they are sent: a name that is owed again from now on stays so
                self._invalidate(tuple(names))
        except StoreDown:
            return False
        return True

    def _send_record(self) -> None:
        with self._changed:
            if not self._records:  # the thread after this one was faster
                return
            size, send = self._records.popleft()
        try:
            send()
        except StoreDown:
            self.dropped += 1
        except Exception:
            self.dropped += 1
            logger.exception("The read cache could not send a response to Redis.")
        finally:
            with self._changed:
                self._bytes -= size
