"""The kit's own threads: a bounded pool for the app's sync code, and one event loop for async code outside of one.

Everything here is a daemon: a handler that hangs cannot keep the process from ending. Under ASGI with lifespan the
server's loop is used and the loop thread never starts; the pool's threads start when they are needed.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Final, TypeVar

T = TypeVar("T")


class ThreadPool:
    """At most `size` daemon threads, besides those whose work was abandoned; work beyond that waits its turn."""

    def __init__(self, size: int) -> None:
        self._size: Final = size
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], None]]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._running: set[Future[Any]] = set()
        self._threads = 0
        self._idle = 0

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Run `function` in a thread, in a copy of the caller's context, and return its future."""
        future: Future[T] = Future()
        context = contextvars.copy_context()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = context.run(function)
            except StopIteration as error:  # asyncio's futures refuse it, and whoever awaits one would wait for ever
                failure = RuntimeError("the function raised StopIteration")
                failure.__cause__ = error
                future.set_exception(failure)
            except BaseException as error:  # noqa: BLE001  # it is the future's now
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._lock:
            if self._idle > 0:
                self._idle -= 1
            elif self._threads < self._size:
                self._start_thread()
            self._work.put((future, run))
        return future

    def abandon(self, future: Future[Any]) -> None:
        """Let nobody wait for this work: what has not begun never will, and what hangs gives its thread's place up.

        The thread itself cannot be stopped: it ends when its work returns, if ever.
        """
        if future.cancel():
            return
        with self._lock:
            if future in self._running:
                self._running.remove(future)
                self._threads -= 1
                if not self._work.empty():
                    self._start_thread()

    def _start_thread(self) -> None:
        self._threads += 1
        threading.Thread(target=self._serve, name="launchkit-pool", daemon=True).start()

    def _serve(self) -> None:
        while True:
            future, work = self._work.get()
            with self._lock:
                self._running.add(future)
            work()
            with self._lock:
                if future not in self._running:  # abandoned: its place is another thread's
                    return
                self._running.remove(future)
                if self._work.empty():
                    self._idle += 1
            del future, work  # what came of it is its caller's to keep


class LoopThread:
    """An event loop in a daemon thread, started when it is first needed."""

    END_SECONDS: Final = 1.0

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: tuple[asyncio.AbstractEventLoop, threading.Thread] | None = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop and return its future."""
        with self._lock:
            if self._running is None:
                self._running = self._start()
            return asyncio.run_coroutine_threadsafe(coroutine, self._running[0])

    def stop(self) -> None:
        """Cancel what still runs and end the loop; a later `run` starts a new one."""
        with self._lock:
            running, self._running = self._running, None
        if running is not None:
            loop, thread = running
            loop.call_soon_threadsafe(loop.stop)
            thread.join(self.END_SECONDS)

    @staticmethod
    def _start() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=_serve_loop, args=(loop,), name="launchkit-loop", daemon=True)
        thread.start()
        return loop, thread


def _serve_loop(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
        loop.run_until_complete(_cancel_all())
    finally:
        loop.close()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
