"""Hooks run as their rules say, and what they raise stays inside, in both colours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from tests.adapters.pipeline_host import PipelineHost

from launchkit.pipeline.effects import Charge, Hit, Quota, ReadBody, Steps
from launchkit.pipeline.exchange import EarlyResponse, Exchange
from launchkit.pipeline.interceptor import Interceptor

Make = Callable[[Sequence[Interceptor]], PipelineHost]


@pytest.fixture(name="host_with", params=["asgi", "wsgi"])
def _host_with(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    made: list[PipelineHost] = []

    def make(interceptors: Sequence[Interceptor]) -> PipelineHost:
        made.append(PipelineHost(request.param, interceptors, tmp_path))
        return made[-1]

    yield make
    for host in made:
        host.close()


class Recorder(Interceptor):
    """Writes down which of its hooks ran."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log

    def on_request(self, exchange: Exchange) -> EarlyResponse | None:
        self.log.append(f"{self.name} request")
        return None

    def on_response_start(self, exchange: Exchange) -> None:
        self.log.append(f"{self.name} response {exchange.status}")

    def on_complete(self, exchange: Exchange) -> None:
        self.log.append(f"{self.name} complete")

    def on_exit(self, exchange: Exchange) -> None:
        self.log.append(f"{self.name} exit")


class Answering(Recorder):
    """Answers in place of the app."""

    def on_request(self, exchange: Exchange) -> EarlyResponse | None:
        super().on_request(exchange)
        return EarlyResponse(418, b"short and stout", ((b"x-pot", b"tea"),), "/pot")


class Broken(Interceptor):
    """Raises in the hook it is told to."""

    name = "broken"

    def __init__(self, hook: str, answer: EarlyResponse | None = None) -> None:
        self.hook = hook
        self.answer = answer

    def _break(self, hook: str) -> None:
        if self.hook == hook:
            raise ZeroDivisionError(hook)

    def on_request(self, exchange: Exchange) -> None:
        self._break("on_request")

    def on_response_start(self, exchange: Exchange) -> None:
        exchange.watch_body(self.watch)
        self._break("on_response_start")

    def watch(self, exchange: Exchange, chunk: bytes, last: bool) -> None:
        self._break("watch")

    def on_complete(self, exchange: Exchange) -> None:
        self._break("on_complete")

    def on_exit(self, exchange: Exchange) -> None:
        self._break("on_exit")

    def on_failure(self, exchange: Exchange, error: Exception) -> EarlyResponse | None:
        self._break("on_failure")
        return self.answer


class BrokenSteps(Interceptor):
    """Raises after an effect, in the hook it is told to."""

    name = "broken steps"

    def __init__(self, hook: str) -> None:
        self.hook = hook

    def _steps(self, exchange: Exchange) -> Steps[None]:
        yield from Hit((Charge("key", Quota(((100, 60.0),))),))
        raise ZeroDivisionError

    def on_request(self, exchange: Exchange) -> Steps[EarlyResponse | None] | None:
        return self._steps(exchange) if self.hook == "on_request" else None

    def on_response_start(self, exchange: Exchange) -> Steps[None] | None:
        exchange.watch_body(self.watch)
        return self._steps(exchange) if self.hook == "on_response_start" else None

    def watch(self, exchange: Exchange, chunk: bytes, last: bool) -> Steps[None] | None:
        return self._steps(exchange) if self.hook == "watch" else None


class Asking(Interceptor):
    """Asks the world in every hook that may, and counts the answers."""

    name = "asking"

    def __init__(self) -> None:
        self.allowed = 0

    def _ask(self) -> Steps[None]:
        verdict = yield from Hit((Charge("key", Quota(((100, 60.0),))),))
        self.allowed += verdict.allowed

    def on_request(self, exchange: Exchange) -> Steps[EarlyResponse | None]:
        return self._ask()

    def on_response_start(self, exchange: Exchange) -> Steps[None]:
        exchange.watch_body(self.watch)
        return self._ask()

    def watch(self, exchange: Exchange, chunk: bytes, last: bool) -> Steps[None]:
        return self._ask()


class BodyReading(Interceptor):
    """Reads the body before the app does."""

    name = "reading"

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bodies: list[tuple[bytes, bool, bool]] = []

    def on_request(self, exchange: Exchange) -> Steps[EarlyResponse | None]:
        body = yield from ReadBody(self.limit)
        self.bodies.append((body.data, body.too_large, body.disconnected))
        return None


class BodyWatching(Interceptor):
    """Writes down the chunks it is shown."""

    name = "watching"

    def __init__(self) -> None:
        self.chunks: list[tuple[bytes, bool]] = []

    def on_response_start(self, exchange: Exchange) -> None:
        exchange.watch_body(self.watch)

    def watch(self, exchange: Exchange, chunk: bytes, last: bool) -> None:
        self.chunks.append((chunk, last))


def test_request_hooks_run_inwards_and_response_hooks_outwards(host_with: Make) -> None:
    """The order of interceptors is the order of layers."""
    log: list[str] = []
    host_with([Recorder("outer", log), Recorder("inner", log)]).request("GET", "/hello")
    assert log == [
        "outer request",
        "inner request",
        "inner response 200",
        "outer response 200",
        "inner complete",
        "outer complete",
        "inner exit",
        "outer exit",
    ]


def test_an_early_response_leaves_through_those_it_had_entered(host_with: Make) -> None:
    """Interceptors further in see neither the request nor the response."""
    log: list[str] = []
    host = host_with([Recorder("outer", log), Answering("pot", log), Recorder("inner", log)])
    reply = host.request("GET", "/hello")
    assert (reply.status, reply.body, reply.header("x-pot")) == (418, b"short and stout", "tea")
    assert [line for line in log if "response" in line] == ["pot response 418", "outer response 418"]
    assert "inner request" not in log
    assert host.world.calls == 0


@pytest.mark.parametrize("hook", ["on_request", "on_response_start", "watch", "on_complete", "on_exit"])
def test_a_hook_that_raises_does_not_reach_the_app(
    host_with: Make, hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The request goes on without it; the error is counted each time and logged once."""
    host = host_with([Broken(hook)])
    for _ in range(3):
        reply = host.request("GET", "/hello")
        assert (reply.status, reply.body, reply.error) == (200, b"hello", None)
    assert host.failures.counts["broken"] >= 3
    assert caplog.text.count("ZeroDivisionError: " + hook) == 1


@pytest.mark.parametrize("hook", ["on_request", "on_response_start", "watch"])
def test_steps_that_raise_do_not_reach_the_app(host_with: Make, hook: str) -> None:
    """The same for hooks that were in conversation with the world."""
    host = host_with([BrokenSteps(hook)])
    reply = host.request("GET", "/hello")
    assert (reply.status, reply.body, reply.error) == (200, b"hello", None)
    assert host.failures.counts["broken steps"] >= 1


def test_an_interceptor_may_refuse_when_it_is_broken(host_with: Make) -> None:
    """`on_failure` decides: a signature that could not be checked is not a good one."""
    host = host_with([Broken("on_request", EarlyResponse(503, b"no"))])
    assert host.request("GET", "/hello").status == 503


def test_a_failure_of_the_failure_hook_lets_the_request_go_on(host_with: Make) -> None:
    """There is no third level."""

    class Twice(Broken):
        def on_failure(self, exchange: Exchange, error: Exception) -> EarlyResponse | None:
            raise ZeroDivisionError("again")

    assert host_with([Twice("on_request")]).request("GET", "/hello").status == 200


def test_every_hook_that_may_ask_is_answered(host_with: Make) -> None:
    """Effects are carried out at request, response and body."""
    asking = Asking()
    reply = host_with([asking]).request("GET", "/hello")
    assert reply.body == b"hello"
    assert asking.allowed >= 3


def test_two_that_ask_are_both_answered(host_with: Make) -> None:
    """A hook behind one that asked runs too."""
    first, second = Asking(), Asking()
    assert host_with([first, second]).request("GET", "/stream").body == b"chunk 0;chunk 1;chunk 2;"
    assert first.allowed == second.allowed >= 5


@pytest.mark.parametrize("parts", [[b""], [b"abc"], [b"a" * 10, b"", b"b" * 10]])
def test_a_body_that_was_read_reaches_the_app(host_with: Make, parts: list[bytes]) -> None:
    """Byte for byte, in whatever parts it came."""
    reading = BodyReading(1_000)
    reply = host_with([reading]).request("POST", "/echo", body=parts)
    assert reply.body == b"".join(parts)
    assert reading.bodies == [(b"".join(parts), False, False)]


@pytest.mark.parametrize("headers", [[], [("transfer-encoding", "chunked")]])
def test_a_body_over_the_limit_is_not_read_to_its_end_and_still_reaches_the_app(
    host_with: Make, headers: list[tuple[str, str]]
) -> None:
    """The feature is told that it is too large; the app gets all of it."""
    reading = BodyReading(15)
    parts = [b"a" * 10, b"b" * 10, b"c" * 10]
    reply = host_with([reading]).request("POST", "/echo", headers, parts)
    assert reply.body == b"".join(parts)
    assert reading.bodies == [(b"", True, False)]


def test_two_readers_read_the_same(host_with: Make) -> None:
    """What one has read the next reads again."""
    first, second = BodyReading(100), BodyReading(1_000)
    reply = host_with([first, second]).request("POST", "/echo", body=[b"ab", b"cd"])
    assert reply.body == b"abcd"
    assert first.bodies == second.bodies == [(b"abcd", False, False)]


def test_a_watched_body_is_shown_with_its_last_chunk_once(host_with: Make) -> None:
    """Whoever watches knows when it is complete."""
    watching = BodyWatching()
    host = host_with([watching])
    host.request("GET", "/stream")
    assert b"".join(chunk for chunk, _ in watching.chunks) == b"chunk 0;chunk 1;chunk 2;"
    assert [last for _, last in watching.chunks].count(True) == 1
    assert watching.chunks[-1][1]
    assert host.world.seen == [1, 2, 3]


def test_a_body_that_broke_off_has_no_last_chunk(host_with: Make) -> None:
    """Nobody may take it for complete."""
    watching = BodyWatching()
    reply = host_with([watching]).request("GET", "/boom-late")
    assert reply.error is not None
    assert watching.chunks == [(b"begun;", False)]


def test_kits_own_answers_are_not_watched(host_with: Make) -> None:
    """Only the app's bodies are."""
    watching = BodyWatching()
    log: list[str] = []
    host_with([watching, Answering("pot", log)]).request("GET", "/hello")
    assert watching.chunks == []


def test_a_500_of_the_kits_is_made_only_where_nothing_was_sent(host_with: Make) -> None:
    """It passes through the response hooks, and the exception goes on to the server."""
    log: list[str] = []
    reply = host_with([Recorder("outer", log)]).request("GET", "/boom")
    assert (reply.status, reply.body) == (500, b"Internal Server Error")
    assert "outer response 500" in log
    assert reply.error is not None
