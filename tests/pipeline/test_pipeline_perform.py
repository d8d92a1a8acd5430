"""Effects are carried out in both colours, on the right backend, and whatever happens comes back to the hook."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.support.exchanges import WrittenExchange
from tests.support.performing import acarried_out, carried_out

from launchkit.pipeline.clock import SystemClock
from launchkit.pipeline.effects import (
    Backends,
    Body,
    Charge,
    Effect,
    Enqueue,
    Fetch,
    Fetched,
    Follow,
    Hit,
    Invalidate,
    NewDelivery,
    Probe,
    Quota,
    ReadBody,
    Refund,
    Steps,
    Store,
    StoreDown,
    StoredResponse,
    Verdict,
)
from launchkit.pipeline.perform import perform_now

CHARGES = (Charge("key", Quota(((5, 60.0),))),)
STORED = StoredResponse(200, (), b"body", 0.0, 1.0, 2.0, 3.0)
KEY = ("https", b"shop.example", "", b"/", b"")
REQUEST = WrittenExchange()
FETCHED = Fetched(STORED, "moment")
NAMES = ("path:/", "all:")
DELIVERY = NewDelivery("stripe", "evt_1", "paid", (), b"{}")


class Recorder:
    """A backend of one colour that writes down what it was asked; the other colour does not exist."""

    def __init__(self, name: str, log: list[tuple[object, ...]], answers: dict[str, object], colour: str) -> None:
        self._name, self._log, self._answers, self._colour = name, log, answers, colour

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        if verb.startswith("_"):
            raise AttributeError(verb)
        answers = self._answers

        def call(*arguments: object) -> object:
            self._log.append((self._name, verb, *arguments))
            answer = answers.get(self._name)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        async def acall(*arguments: object) -> object:
            await asyncio.sleep(0)
            return call(*arguments)

        plain = verb.removeprefix("a") if self._colour == "async" else verb
        if (self._colour == "async") is not verb.startswith("a") or plain not in VERBS:
            raise AttributeError(f"no {verb} in this colour")
        return acall if self._colour == "async" else call


VERBS = ("hit", "refund", "fetch", "store", "invalidate", "put", "probe", "read")


class World:
    """Backends of one colour, and the performer that goes with it."""

    def __init__(self, colour: str) -> None:
        self.colour = colour
        self.log: list[tuple[object, ...]] = []
        self.answers: dict[str, object] = {}
        self.backends = Backends(
            *(
                Recorder(name, self.log, self.answers, colour)
                for name in ("limiter", "local", "cache", "inbox", "prober")
            )  # type: ignore[arg-type]
        )
        self.reader: Any = Recorder("reader", self.log, self.answers, colour)

    def perform(self, steps: Steps[Any]) -> Any:
        if self.colour == "sync":
            return carried_out(steps, self.backends, self.reader)
        return asyncio.run(acarried_out(steps, self.backends, self.reader))

    def verb(self, name: str) -> str:
        return name if self.colour == "sync" else f"a{name}"


@pytest.fixture(params=["sync", "async"])
def world(request: pytest.FixtureRequest) -> World:
    return World(request.param)


def asking(*effects: Effect) -> Steps[list[object]]:
    answers: list[object] = []
    for effect in effects:
        answers.append((yield effect))
    return answers


@pytest.mark.parametrize(
    ("effect", "backend", "verb", "arguments", "answer"),
    [
        (Hit(CHARGES), "limiter", "hit", (CHARGES,), Verdict(True, 5, 4, 60.0)),
        (Hit(CHARGES, local=True), "local", "hit", (CHARGES,), Verdict(False, 5, 0, 1.0)),
        (Refund(("token",)), "limiter", "refund", (("token",),), None),
        (Refund(("token",), local=True), "local", "refund", (("token",),), None),
        (Fetch(KEY, REQUEST), "cache", "fetch", (KEY, REQUEST), FETCHED),
        (Store(KEY, STORED, NAMES, 1), "cache", "store", (KEY, STORED, NAMES, 1), None),
        (Invalidate(NAMES), "cache", "invalidate", (NAMES,), None),
        (ReadBody(100), "reader", "read", (100,), Body(b"data")),
        (Enqueue(DELIVERY), "inbox", "put", (DELIVERY,), True),
        (Probe(), "prober", "probe", (), None),
    ],
)
def test_each_effect_is_carried_out_on_its_backend(
    world: World, effect: Effect, backend: str, verb: str, arguments: tuple[object, ...], answer: object
) -> None:
    """One effect is one call of the verb in the server's colour, and its answer is sent into the hook."""
    world.answers[backend] = answer
    assert world.perform(asking(effect)) == [answer]
    assert world.log == [(backend, world.verb(verb), *arguments)]

    def delegating() -> Steps[object]:
        return (yield from effect)

    assert world.perform(delegating()) == answer


def test_another_request_is_waited_for_in_the_servers_colour(world: World) -> None:
    """A flight is no backend: the effect brings it along."""

    class Landing:
        def wait(self, seconds: float) -> None:
            world.log.append(("sync", seconds))

        async def await_end(self, seconds: float) -> None:
            world.log.append(("async", seconds))

    assert world.perform(asking(Follow(Landing(), 5.0))) == [None]
    assert world.log == [(world.colour, 5.0)]


class Instant:
    """A store and limiter that answers at once, or says that it would have to wait."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.log: list[str] = []

    def __getattr__(self, verb: str) -> Callable[..., object]:
        def call(*_: object) -> object:
            self.log.append(verb)
            return self.answer

        return call


INSTANT = {
    "fetch_now": Fetch(KEY, REQUEST),
    "store_now": Store(KEY, STORED, NAMES, 1),
    "invalidate_now": Invalidate(NAMES),
    "hit_now": Hit(CHARGES),
    "refund_now": Refund(("token",)),
}


@pytest.mark.parametrize("verb", INSTANT)
def test_what_takes_no_waiting_is_done_without_it(world: World, verb: str) -> None:
    """And what does is left to the verb that may wait."""
    instant: Any = Instant(True)
    world.backends = replace(world.backends, instant_limiter=instant, instant_responses=instant)
    effect = INSTANT[verb]
    done = [None] if verb in ("store_now", "invalidate_now", "refund_now") else [True]
    assert perform_now(asking(effect), world.backends) == done
    assert (instant.log, world.log) == ([verb], [])
    instant.answer = None if verb in ("fetch_now", "hit_now") else False
    world.answers |= {"cache": "slow", "limiter": "slow"}
    assert world.perform(asking(effect)) == ["slow" if world.colour == "async" else sync_answer(effect)]
    assert [name for _, name, *_ in world.log] == [world.verb(verb.removesuffix("_now"))]


def sync_answer(effect: Effect) -> str | None:
    """What nobody asks an answer of has none in this colour."""
    return "slow" if isinstance(effect, (Fetch, Hit)) else None


def test_a_hook_that_asks_nothing_returns_at_once(world: World) -> None:
    """The value of a hook is what it returns."""
    assert world.perform(asking()) == []
    assert world.log == []


def test_effects_are_carried_out_in_order(world: World) -> None:
    """A hook goes on only when its effect is done."""
    world.perform(asking(Probe(), Fetch(KEY, REQUEST), Hit(CHARGES)))
    assert [name for name, *_ in world.log] == ["prober", "cache", "limiter"]


@pytest.mark.parametrize("error", [StoreDown("Redis"), OSError("broken"), KeyError("key")])
def test_what_a_backend_raises_is_thrown_into_the_hook(world: World, error: Exception) -> None:
    """What happens next is the hook's policy: here it asks something else."""

    def careful() -> Steps[object]:
        try:
            yield Hit(CHARGES)
        except type(error) as caught:
            assert caught is error  # noqa: PT017  # the very same one
            return (yield Hit(CHARGES, local=True))
        return "not thrown"

    world.answers |= {"limiter": error, "local": Verdict(True, 5, 4, 60.0)}
    assert world.perform(careful()) == world.answers["local"]


def test_what_a_hook_does_not_catch_comes_out(world: World) -> None:
    """An error that is nobody's policy is the caller's."""
    world.answers["cache"] = error = StoreDown("Redis")
    with pytest.raises(StoreDown) as caught:
        world.perform(asking(Fetch(KEY, REQUEST)))
    assert caught.value is error


def test_what_a_hook_raises_comes_out(world: World) -> None:
    """A bug before the first effect, or after one, is the caller's."""

    def broken(after: int) -> Steps[None]:
        for _ in range(after):
            yield Probe()
        raise ZeroDivisionError

    for after in (0, 1):
        with pytest.raises(ZeroDivisionError):
            world.perform(broken(after))


class Killed(BaseException):
    """What is no Exception: a cancelled task, a greenlet that is killed, Ctrl-C."""


def test_a_hook_that_is_torn_off_releases_what_it_holds_at_once(world: World) -> None:
    """When its effect is torn off, a hook is closed: its `finally` runs, and it is not asked for a policy."""
    seen: list[str] = []

    def holding() -> Steps[None]:
        try:
            yield Probe()
        except Exception:
            seen.append("asked")
        finally:
            seen.append("released")

    steps = holding()
    world.answers["prober"] = Killed()
    with pytest.raises(Killed):
        world.perform(steps)
    assert seen == ["released"]
    assert steps.gi_frame is None  # type: ignore[attr-defined]


def test_a_cancelled_request_closes_its_hook() -> None:
    """A client that goes away in the middle of an effect leaves nothing held."""
    seen: list[str] = []
    waiting = asyncio.Event()

    class Waiting:
        async def aprobe(self) -> None:
            seen.append("waiting")
            waiting.set()
            await asyncio.Event().wait()

    def holding() -> Steps[None]:
        try:
            yield Probe()
        finally:
            seen.append("released")

    async def request() -> None:
        backends: Any = Backends(None, None, None, None, Waiting())  # type: ignore[arg-type]
        task = asyncio.create_task(acarried_out(holding(), backends, None))  # type: ignore[arg-type]
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == ["waiting", "released"]

    asyncio.run(request())


def test_a_backend_of_the_wrong_colour_fails_at_once() -> None:
    """A sync backend under the event loop is an error, not a loop that is blocked in silence."""
    wrong = World("sync")
    with pytest.raises(AttributeError):
        asyncio.run(acarried_out(asking(Fetch(KEY, REQUEST)), wrong.backends, wrong.reader))
    wrong = World("async")
    with pytest.raises(AttributeError):
        carried_out(asking(Fetch(KEY, REQUEST)), wrong.backends, wrong.reader)


def test_the_machines_clock_moves_forward() -> None:
    """The one clock that is not injected: seconds, and since 1970."""
    clock = SystemClock()
    assert clock.monotonic() <= clock.monotonic()
    assert 1.7e9 < clock.time() < sys.maxsize
