"""Carry effects out: one function per colour, and the only place in the request path that does I/O.

What takes no waiting is done before, by `perform_now`, whatever the colour: counts in memory need no coroutine.

Whatever a backend raises is thrown into the hook that asked, so that what happens next is that feature's policy. A
dropped `await` here would not be found by the type checkers, because answers pass through `Steps`' Any: the conformance
suite performs every effect in both colours.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final, TypeVar, assert_never

from launchkit.pipeline.effects import (
    AsyncBodyReader,
    Backends,
    BodyReader,
    Effect,
    Enqueue,
    Fetch,
    Follow,
    Hit,
    InstantResponseStore,
    Invalidate,
    Probe,
    ReadBody,
    Refund,
    Steps,
    Store,
    Waiting,
)

T = TypeVar("T")


def perform_now(steps: Steps[T], backends: Backends) -> T | Waiting[T]:
    """Run a hook's steps as far as they go without waiting: to their end, or to an effect that takes it."""
    try:
        effect = next(steps)
        while True:
            try:
                answer = _answer_now(effect, backends)
            except Exception as error:  # noqa: BLE001  # policy is the hook's, whatever broke
                effect = steps.throw(error)
            else:
                if answer is _LATER:
                    break
                effect = steps.send(answer)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # the generator's own return value
    except BaseException:
        steps.close()
        raise
    return Waiting(steps, effect)


_LATER: Final = object()


def _answer_now(effect: Effect, backends: Backends) -> object:
    responses = backends.instant_responses
    limiter = backends.instant_limiter
    answer: object = None
    if isinstance(effect, Fetch):
        answer = None if responses is None else responses.fetch_now(effect.key, effect.request)
    elif isinstance(effect, Hit):
        answer = None if limiter is None or effect.local else limiter.hit_now(effect.charges)
    elif responses is not None and isinstance(effect, (Store, Invalidate)):
        return None if _put_now(effect, responses) else _LATER
    elif limiter is not None and isinstance(effect, Refund) and not effect.local:
        return None if limiter.refund_now(effect.token) else _LATER
    return _LATER if answer is None else answer


def _put_now(effect: Store | Invalidate, responses: InstantResponseStore) -> bool:
    if isinstance(effect, Store):
        return responses.store_now(effect.key, effect.response, effect.names, effect.moment)
    return responses.invalidate_now(effect.names)


async def aperform(waiting: Waiting[T], backends: Backends, reader: AsyncBodyReader) -> T:
    """Run a hook's steps to their end on the event loop and return what the hook returned."""
    steps, effect = waiting.steps, waiting.effect
    try:
        while True:
            try:
                answer = _answer_now(effect, backends)
                if answer is _LATER:
                    answer = await _acarry_out(effect, backends, reader)
            except Exception as error:  # noqa: BLE001  # policy is the hook's, whatever broke
                effect = steps.throw(error)
            else:
                effect = steps.send(answer)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # the generator's own return value
    except BaseException:  # cancelled or broken: let the hook's `finally` release what it holds, now
        steps.close()
        raise


def perform(waiting: Waiting[T], backends: Backends, reader: BodyReader) -> T:
    """Run a hook's steps to their end in this thread and return what the hook returned."""
    steps, effect = waiting.steps, waiting.effect
    try:
        while True:
            try:
                answer = _answer_now(effect, backends)
                if answer is _LATER:
                    answer = _carry_out(effect, backends, reader)
            except Exception as error:  # noqa: BLE001  # policy is the hook's, whatever broke
                effect = steps.throw(error)
            else:
                effect = steps.send(answer)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # the generator's own return value
    except BaseException:  # cancelled or broken: let the hook's `finally` release what it holds, now
        steps.close()
        raise


def _acarry_out(effect: Effect, backends: Backends, reader: AsyncBodyReader) -> Awaitable[object]:
    match effect:
        case Hit():
            return (backends.local_limiter if effect.local else backends.limiter).ahit(effect.charges)
        case Refund():
            return (backends.local_limiter if effect.local else backends.limiter).arefund(effect.token)
        case Fetch():
            return backends.responses.afetch(effect.key, effect.request)
        case Store():
            return backends.responses.astore(effect.key, effect.response, effect.names, effect.moment)
        case Invalidate():
            return backends.responses.ainvalidate(effect.names)
        case Follow():
            return effect.flight.await_end(effect.seconds)
        case ReadBody():
            return reader.aread(effect.limit)
        case Enqueue():
            return backends.inbox.aput(effect.delivery)
        case Probe():
            return backends.prober.aprobe()
        case _:
            assert_never(effect)


def _carry_out(effect: Effect, backends: Backends, reader: BodyReader) -> object:
    match effect:
        case Hit():
            return (backends.local_limiter if effect.local else backends.limiter).hit(effect.charges)
        case Refund():
            (backends.local_limiter if effect.local else backends.limiter).refund(effect.token)
        case Fetch():
            return backends.responses.fetch(effect.key, effect.request)
        case Store():
            backends.responses.store(effect.key, effect.response, effect.names, effect.moment)
        case Invalidate():
            backends.responses.invalidate(effect.names)
        case Follow():
            effect.flight.wait(effect.seconds)
        case ReadBody():
            return reader.read(effect.limit)
        case Enqueue():
            return backends.inbox.put(effect.delivery)
        case Probe():
            backends.prober.probe()
        case _:
            assert_never(effect)
    return None
