"""The kit's own threads and its own event loop."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import weakref
from collections.abc import Iterator

import pytest

from launchkit.background import LoopThread, ThreadPool

WAIT = 10
"""Seconds after which a test that hangs fails; nothing waits for them to pass."""

colour: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


@pytest.fixture
def loop_thread() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.stop()


def threads_named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_no_more_threads_than_its_size_ever_work() -> None:
    """Work beyond the size waits its turn, and all of it is done."""
    pool = ThreadPool(3)
    lock = threading.Lock()
    running, most, used = 0, 0, set()
    full = threading.Barrier(3)

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            used.add(threading.get_ident())
        full.wait(WAIT)
        with lock:
            running -= 1

    for future in [pool.submit(work) for _ in range(30)]:
        future.result(WAIT)
    assert most == 3
    assert len(used) == 3


def test_work_after_work_needs_one_thread_at_a_time() -> None:
    """Threads start when they are needed: whoever is idle is used again."""
    before = len(threads_named("launchkit-pool"))
    pool = ThreadPool(50)
    gate = threading.Event()
    assert len(threads_named("launchkit-pool")) == before
    held = [pool.submit(gate.wait) for _ in range(2)]
    gate.set()
    for future in held:
        future.result(WAIT)
    assert len(threads_named("launchkit-pool")) - before <= 2


def test_threads_are_daemons() -> None:
    """A handler that hangs cannot keep the process from ending."""
    assert ThreadPool(1).submit(lambda: threading.current_thread().daemon).result(WAIT)


def test_work_runs_in_a_copy_of_the_callers_context() -> None:
    """What the caller has set is seen, and what the work sets stays with it."""
    pool = ThreadPool(1)

    def work() -> str:
        seen = colour.get()
        colour.set("changed")
        return seen

    def call() -> tuple[str, str]:
        colour.set("red")
        return pool.submit(work).result(WAIT), colour.get()

    assert contextvars.Context().run(call) == ("red", "red")
    assert pool.submit(work).result(WAIT) == "none"


@pytest.mark.parametrize("error", [ValueError("bug"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_whatever_work_raises_is_its_futures(error: BaseException) -> None:
    """The error comes out where the result is asked for; the pool's only thread lives on."""
    pool = ThreadPool(1)

    def work() -> None:
        raise error

    future = pool.submit(work)
    assert future.exception(WAIT) is error
    assert pool.submit(lambda: "alive").result(WAIT) == "alive"


def test_work_that_is_cancelled_before_its_turn_never_runs() -> None:
    """A cancelled future is skipped, and what comes after it runs."""
    pool = ThreadPool(1)
    gate = threading.Event()
    ran: list[str] = []
    first = pool.submit(lambda: gate.wait(WAIT))
    second = pool.submit(lambda: ran.append("second"))
    third = pool.submit(lambda: ran.append("third"))
    assert second.cancel()
    gate.set()
    first.result(WAIT)
    third.result(WAIT)
    assert ran == ["third"]


def test_an_idle_thread_keeps_nothing_alive() -> None:
    """What the last work was given and has returned is its caller's alone."""

    class Large:
        pass

    pool = ThreadPool(1)

    def work(held: Large = Large()) -> Large:  # noqa: B008
        return held

    gone = threading.Event()
    future = pool.submit(work)
    weakref.finalize(future.result(WAIT), gone.set)
    del work, future
    assert gone.wait(WAIT)


def test_many_callers_at_once_lose_no_work() -> None:
    """Every submission from every thread is done exactly once."""
    pool = ThreadPool(4)
    done: list[tuple[int, int]] = []

    def caller(number: int) -> None:
        for future in [pool.submit(lambda item=item: done.append((number, item))) for item in range(100)]:
            future.result(WAIT)

    callers = [threading.Thread(target=caller, args=(number,)) for number in range(8)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join(WAIT)
    assert sorted(done) == [(number, item) for number in range(8) for item in range(100)]


def test_abandoned_work_gives_its_place_up() -> None:
    """Work that hangs in every thread does not stop what comes after it, waiting already or not."""
    pool = ThreadPool(2)
    gate, began = threading.Event(), threading.Barrier(3)
    hanging = [pool.submit(lambda: (began.wait(WAIT), gate.wait(6 * WAIT))) for _ in range(2)]
    began.wait(WAIT)
    waiting = pool.submit(lambda: "waiting")
    pool.abandon(hanging[0])
    assert waiting.result(WAIT) == "waiting"
    pool.abandon(hanging[1])
    assert [pool.submit(lambda: "later").result(WAIT) for _ in range(5)] == ["later"] * 5
    gate.set()
    assert all(future.result(WAIT) for future in hanging)


def test_no_more_threads_than_its_size_work_besides_abandoned_ones() -> None:
    """A thread that was abandoned ends with its work, and its place is another's once: the size stays what it was."""
    pool = ThreadPool(1)
    gate, began = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def hang() -> None:
        threads.append(threading.current_thread())
        began.set()
        gate.wait(WAIT)

    hanging = pool.submit(hang)
    assert began.wait(WAIT)
    for _ in range(3):
        pool.abandon(hanging)
    gate.set()
    hanging.result(WAIT)
    threads[0].join(WAIT)
    assert not threads[0].is_alive()
    running, most = 0, 0

    def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        threads.append(threading.current_thread())
        running -= 1

    for future in [pool.submit(work) for _ in range(200)]:
        future.result(WAIT)
    assert most == 1
    assert len(set(threads)) == 2


def test_abandoned_work_that_has_not_begun_never_will() -> None:
    """Nobody waits for it any more; what comes after it runs."""
    pool = ThreadPool(1)
    gate, ran = threading.Event(), list[str]()
    first = pool.submit(lambda: gate.wait(WAIT))
    second = pool.submit(lambda: ran.append("second"))
    third = pool.submit(lambda: ran.append("third"))
    pool.abandon(second)
    gate.set()
    third.result(WAIT)
    assert (second.cancelled(), first.result(WAIT), ran) == (True, True, ["third"])


def test_abandoning_what_is_done_changes_nothing() -> None:
    """Its thread is at other work or idle, and remains the only one."""
    pool = ThreadPool(1)
    first = pool.submit(threading.get_ident)
    ident = first.result(WAIT)
    assert pool.submit(threading.get_ident).result(WAIT) == ident  # so that the first is put away
    pool.abandon(first)
    assert pool.submit(threading.get_ident).result(WAIT) == ident


async def whereabouts() -> tuple[int, asyncio.AbstractEventLoop]:
    return threading.get_ident(), asyncio.get_running_loop()


def test_coroutines_run_on_one_loop_in_a_daemon_thread(loop_thread: LoopThread) -> None:
    """The loop starts when it is first needed, and serves every caller."""
    before = len(threads_named("launchkit-loop"))
    ident, loop = loop_thread.run(whereabouts()).result(WAIT)
    assert loop_thread.run(whereabouts()).result(WAIT) == (ident, loop)
    assert ident != threading.get_ident()
    (thread,) = [one for one in threads_named("launchkit-loop") if one.ident == ident]
    assert thread.daemon
    assert len(threads_named("launchkit-loop")) == before + 1


def test_an_error_is_the_callers(loop_thread: LoopThread) -> None:
    """What a coroutine raises comes out of its future, and the loop goes on."""

    async def broken() -> None:
        raise ValueError("bug")

    with pytest.raises(ValueError, match="bug"):
        loop_thread.run(broken()).result(WAIT)
    assert loop_thread.run(whereabouts()).result(WAIT)


def test_a_stopped_loop_is_closed_and_a_later_run_starts_a_new_one(loop_thread: LoopThread) -> None:
    """Stopping gives the loop's resources back; running again is possible."""
    ident, loop = loop_thread.run(whereabouts()).result(WAIT)
    loop_thread.stop()
    assert loop.is_closed()
    assert ident not in {thread.ident for thread in threads_named("launchkit-loop")}
    assert loop_thread.run(whereabouts()).result(WAIT)[1] is not loop


def test_stopping_cancels_what_still_runs(loop_thread: LoopThread) -> None:
    """A coroutine that waits for ever is cancelled, and its `finally` runs."""
    seen: list[str] = []
    started = threading.Event()

    async def waiting() -> None:
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            seen.append("released")

    future = loop_thread.run(waiting())
    assert started.wait(WAIT)
    loop_thread.stop()
    assert seen == ["released"]
    assert future.cancelled()


def test_stopping_what_never_ran_does_nothing() -> None:
    """A loop that nobody needed was never there."""
    thread = LoopThread()
    thread.stop()
    thread.stop()
    assert thread.run(whereabouts()).result(WAIT)
    thread.stop()
