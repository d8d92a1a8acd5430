"""The fence: whatever a hook raises is reported and stays inside."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from tests.support.exchanges import WrittenExchange

from launchkit.pipeline.effects import Probe, Steps
from launchkit.pipeline.exchange import EarlyResponse, Exchange, Note
from launchkit.pipeline.interceptor import Interceptor, Plan, Planner
from launchkit.pipeline.pipeline import Failures, Pipeline, owner_of
from launchkit.testing import FrozenClock


class Broken(Interceptor):
    """Raises in every hook."""

    name = "broken"

    def __init__(self, error: BaseException, instead: EarlyResponse | BaseException | None = None) -> None:
        self.error = error
        self.instead = instead

    def on_request(self, exchange: Exchange) -> None:
        raise self.error

    def on_response_start(self, exchange: Exchange) -> None:
        raise self.error

    def watch(self, exchange: Exchange, chunk: bytes, last: bool) -> None:
        raise self.error

    def on_complete(self, exchange: Exchange) -> None:
        raise self.error

    def on_exit(self, exchange: Exchange) -> None:
        raise self.error

    def on_failure(self, exchange: Exchange, error: Exception) -> EarlyResponse | None:
        if isinstance(self.instead, BaseException):
            raise self.instead
        return self.instead


class Working(Interceptor):
    """Writes down what it was called for, and asks or answers what it is told to."""

    name = "working"

    def __init__(self, early: EarlyResponse | None = None, *, asks: bool = False) -> None:
        self.calls: list[str] = []
        self.early = early
        self.asks = asks

    def _steps(self) -> Steps[EarlyResponse | None]:
        yield Probe()
        return self.early

    def on_request(self, exchange: Exchange) -> EarlyResponse | Steps[EarlyResponse | None] | None:
        self.calls.append("request")
        return self._steps() if self.asks else self.early

    def on_response_start(self, exchange: Exchange) -> Steps[None] | None:
        self.calls.append("response")
        return self._steps() if self.asks else None  # type: ignore[return-value]

    def watch(self, exchange: Exchange, chunk: bytes, last: bool) -> Steps[None] | None:
        self.calls.append(f"body {chunk!r} {last}")
        return self._steps() if self.asks else None  # type: ignore[return-value]

    def on_complete(self, exchange: Exchange) -> None:
        self.calls.append(f"complete {exchange.ended}")

    def on_exit(self, exchange: Exchange) -> None:
        self.calls.append("exit")


class Site:
    """A pipeline of the given interceptors and one exchange in it."""

    def __init__(self, *interceptors: Interceptor) -> None:
        self.clock = FrozenClock()
        self.failures = Failures()
        nothing = SimpleNamespace(instant_limiter=None, instant_responses=None)
        self.pipeline = Pipeline(Planner(interceptors), nothing, self.failures, self.clock)  # type: ignore[arg-type]
        self.plan: Plan = self.pipeline.planner.plan("GET", "/")
        self.exchange = WrittenExchange().answer(200)
        for interceptor in reversed(interceptors):
            self.exchange.watch_body(interceptor.watch)  # type: ignore[attr-defined]  # both of this file's have one


def test_a_request_goes_on_without_a_broken_hook(caplog: pytest.LogCaptureFixture) -> None:
    """Every kind of hook may break: the others still run, the failure is counted each time and logged once."""
    outer, inner = Working(), Working()
    site = Site(outer, Broken(ValueError("bug")), inner)
    assert site.pipeline.enter(site.exchange, iter(site.plan.on_request)) is None
    assert site.pipeline.start_response(site.exchange, iter(site.plan.on_response_start)) is None
    assert site.pipeline.watch_body(site.exchange, iter(site.exchange.body_hooks), b"x", True) is None
    site.clock.advance(1)
    site.pipeline.finish(site.exchange, site.plan)
    site.pipeline.leave(site.exchange, site.plan)
    assert outer.calls == inner.calls == ["request", "response", "body b'x' True", "complete 1001.0", "exit"]
    assert site.failures.counts == {"broken": 5}
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith("broken failed")
    assert record.exc_info is not None
    assert record.exc_info[0] is ValueError


def test_a_hook_that_broke_sees_no_more_of_the_body() -> None:
    """What it made of the rest would have a gap; others go on."""
    working, broken = Working(), Broken(ValueError("bug"))
    site = Site(working, broken)
    for _ in range(2):
        site.pipeline.watch_body(site.exchange, iter(site.exchange.body_hooks), b"x", False)
    assert working.calls == ["body b'x' False"] * 2
    assert site.failures.counts == {"broken": 1}
    site.pipeline.leave_out(site.exchange, working.watch, ValueError("after an effect"))
    assert site.exchange.body_hooks == ()


@pytest.mark.parametrize("step", ["request", "response", "body", "complete", "exit", "on_failure"])
def test_what_is_no_error_passes_the_fence(step: str) -> None:
    """Being stopped is nobody's bug: it is neither caught nor counted."""
    error = KeyboardInterrupt()
    broken = Broken(ValueError(), error) if step == "on_failure" else Broken(error)
    site = Site(broken)
    pipeline, exchange, plan = site.pipeline, site.exchange, site.plan
    calls: dict[str, Callable[[], object]] = {
        "request": lambda: pipeline.enter(exchange, iter(plan.on_request)),
        "on_failure": lambda: pipeline.enter(exchange, iter(plan.on_request)),
        "response": lambda: pipeline.start_response(exchange, iter(plan.on_response_start)),
        "body": lambda: pipeline.watch_body(exchange, iter(exchange.body_hooks), b"", False),
        "complete": lambda: pipeline.finish(exchange, plan),
        "exit": lambda: pipeline.leave(exchange, plan),
    }
    with pytest.raises(KeyboardInterrupt):
        calls[step]()


def test_an_interceptor_may_answer_for_its_broken_hook() -> None:
    """`on_failure` says what follows; who is further in is not entered."""
    inner = Working()
    instead = EarlyResponse(503)
    site = Site(Broken(ValueError(), instead), inner)
    entered = site.pipeline.enter(site.exchange, iter(site.plan.on_request))
    assert entered == (site.plan.on_request[0], instead)
    assert inner.calls == []


def test_even_on_failure_may_break() -> None:
    """Then the request goes on, and both errors are counted."""
    inner = Working()
    site = Site(Broken(ValueError(), TypeError()), inner)
    assert site.pipeline.enter(site.exchange, iter(site.plan.on_request)) is None
    assert inner.calls == ["request"]
    assert site.failures.counts == {"broken": 2}


def test_an_early_response_ends_the_way_in() -> None:
    """The first hook that answers is the last one that is asked."""
    answering, inner = Working(EarlyResponse(429)), Working()
    site = Site(answering, inner)
    entered = site.pipeline.enter(site.exchange, iter(site.plan.on_request))
    assert entered is not None
    assert entered[0] == answering.on_request
    assert owner_of(entered[0]) is answering
    assert inner.calls == []


def both_ways(site: Site) -> Iterator[Callable[[], object]]:
    requests, responses, bodies = (
        iter(site.plan.on_request),
        iter(site.plan.on_response_start),
        iter(site.exchange.body_hooks),
    )
    yield lambda: site.pipeline.enter(site.exchange, requests)
    yield lambda: site.pipeline.start_response(site.exchange, responses)
    yield lambda: site.pipeline.watch_body(site.exchange, bodies, b"", False)


@pytest.mark.parametrize("way", [0, 1, 2])
def test_a_hook_that_asks_the_world_is_handed_out_and_the_rest_goes_on_later(way: int) -> None:
    """The adapter carries the steps out in its colour, then calls again with the hooks that remain."""
    first, second, quiet = Working(asks=True), Working(asks=True), Working()
    site = Site(first, quiet, second)
    go_on = list(both_ways(site))[way]
    owners = []
    while (asking := go_on()) is not None:
        hook, waiting = asking  # type: ignore[misc]
        owners.append(owner_of(hook))
        assert isinstance(waiting.effect, Probe)
        waiting.steps.close()
    assert owners == ([first, second] if way == 0 else [second, first])
    assert len(quiet.calls) == 1


def test_the_exchange_ends_when_it_is_finished() -> None:
    """`ended` is the time of the last byte, on the kit's clock."""
    site = Site()
    site.clock.advance(2)
    site.pipeline.finish(site.exchange, site.plan)
    assert site.exchange.ended == 1002.0


def test_each_kind_of_failure_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A kind is a feature and a class of error; further ones are only counted."""
    failures = Failures()
    for name, error in (("a", ValueError()), ("a", ValueError()), ("a", TypeError()), ("b", ValueError())):
        failures.report(name, error)
    assert failures.counts == {"a": 3, "b": 1}
    assert len(caplog.records) == 3


def test_broken_logging_does_not_break_a_request() -> None:
    """Reporting never raises, not even where the app's own logging does."""

    def refuse(record: logging.LogRecord) -> bool:
        raise RuntimeError("an app's filter")

    logger = logging.getLogger("launchkit")
    logger.addFilter(refuse)
    failures = Failures()
    try:
        failures.report("a", ValueError())
    finally:
        logger.removeFilter(refuse)
    assert failures.counts == {"a": 1}


def test_notes_are_apart_by_identity() -> None:
    """Two notes of one name do not see each other's values, and an exchange starts without any."""
    exchange = WrittenExchange()
    one, other = Note[int]("same"), Note[int]("same")
    assert one.get(exchange) is None
    one.put(exchange, 1)
    assert (one.get(exchange), other.get(exchange)) == (1, None)
    other.put(exchange, 2)
    one.put(exchange, 3)
    assert (one.get(exchange), other.get(exchange)) == (3, 2)


def test_the_apps_own_response_headers_win() -> None:
    """A default is added once, in the order given, and only where the response does not have it in any case."""
    exchange = WrittenExchange().answer(200, (b"X-App", b"own"))
    exchange.default_response_headers(((b"x-app", b"ours"), (b"x-kit", b"1"), (b"x-kit", b"2")))
    exchange.default_response_headers(((b"x-kit", b"3"), (b"x-more", b"4")))
    assert exchange.response_headers == [(b"X-App", b"own"), (b"x-kit", b"1"), (b"x-more", b"4")]
    assert exchange.response_header(b"x-app") == b"own"
    assert exchange.response_header(b"x-none") is None
