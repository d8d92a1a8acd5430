"""Carry effects out: one function per colour, and the only place in the request path that does I/O.

Whatever a backend raises is thrown into the hook that asked, so that what happens next is that feature's policy. A
dropped `await` here would not be found by the type checkers, because answers pass through `Steps`' Any: the conformance
suite performs every effect in both colours.
"""

from __future__ import annotations

from typing import TypeVar, assert_never

from launchkit.pipeline.effects import (
    AsyncBodyReader,
    Backends,
    BodyReader,
    Effect,
    Enqueue,
    Fetch,
    Hit,
    Probe,
    ReadBody,
    Refund,
    Steps,
    Store,
)

T = TypeVar("T")


async def aperform(steps: Steps[T], backends: Backends, reader: AsyncBodyReader) -> T:
    """Run a hook's steps to their end on the event loop and return what the hook returned."""
    try:
        effect = next(steps)
        while True:
            try:
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


def perform(steps: Steps[T], backends: Backends, reader: BodyReader) -> T:
    """Run a hook's steps to their end in this thread and return what the hook returned."""
    try:
        effect = next(steps)
        while True:
            try:
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


async def _acarry_out(effect: Effect, backends: Backends, reader: AsyncBodyReader) -> object:
    match effect:
        case Hit(charges, local):
            return await (backends.local_limiter if local else backends.limiter).ahit(charges)
        case Refund(token, local):
            await (backends.local_limiter if local else backends.limiter).arefund(token)
        case Fetch(key):
            return await backends.responses.afetch(key)
        case Store(key, response):
            await backends.responses.astore(key, response)
        case ReadBody(limit):
            return await reader.aread(limit)
        case Enqueue(delivery):
            return await backends.inbox.aput(delivery)
        case Probe():
            await backends.prober.aprobe()
        case _:
            assert_never(effect)
    return None


def _carry_out(effect: Effect, backends: Backends, reader: BodyReader) -> object:
    match effect:
        case Hit(charges, local):
            return (backends.local_limiter if local else backends.limiter).hit(charges)
        case Refund(token, local):
            (backends.local_limiter if local else backends.limiter).refund(token)
        case Fetch(key):
            return backends.responses.fetch(key)
        case Store(key, response):
            backends.responses.store(key, response)
        case ReadBody(limit):
            return reader.read(limit)
        case Enqueue(delivery):
            return backends.inbox.put(delivery)
        case Probe():
            backends.prober.probe()
        case _:
            assert_never(effect)
    return None
