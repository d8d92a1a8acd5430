"""Of many who want the same thing at once one asks the app; nobody waits in vain, and nobody is taken along."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from functools import wraps

import pytest
from cache_driver import COLOURS, Asked, CachedSite, Field, Gate, Said, Visit, says, until
from tests.support.exchanges import WrittenExchange

from launchkit.pipeline.effects import CacheKey, Fetch, Fetched, Follow, Steps
from launchkit.pipeline.exchange import EarlyResponse, Exchange
from launchkit.pipeline.paths import PathPattern
from launchkit.read_cache.memory import MemoryResponses
from launchkit.read_cache.route import WAIT_SECONDS
from launchkit.settings import CacheRule
from launchkit.stores.marks import Marks

MakeSite = Callable[..., CachedSite]


def led(shop: CachedSite, followers: int, *headers: Field) -> tuple[Visit, list[Visit]]:
    """Begin a request that reaches the app, and others that wait for it."""
    leader = shop.begin("/items/1", *headers)
    until(lambda: len(shop.calls) == 1)
    visits = [shop.begin() for _ in range(followers)]
    until(lambda: shop.followers == followers)
    return leader, visits


@pytest.mark.parametrize(("colour", "crowd"), list(zip(COLOURS, (500, 100, 500, 100), strict=True)))
def test_a_crowd_on_one_miss_calls_the_app_once(colour: str, crowd: int) -> None:
    """500 coroutines, 100 threads: the others wait, look again and are given what was stored."""
    gate = Gate()
    shop = CachedSite(colour=colour, app=says(b"shared", before=gate))
    leader, others = led(shop, crowd - 1)
    gate.open()
    first = leader.end()
    answers = [visit.end() for visit in others]
    shop.close()
    assert (first.body, first.is_stored) == (b"shared", True)
    assert {answer.body for answer in answers} == {b"shared"}
    assert all(answer.is_collapsed and answer.forwarded == "miss" for answer in answers)
    assert (len(shop.calls), shop.figures.misses, shop.figures.collapsed) == (1, 1, crowd - 1)
    assert not shop.failures.counts


def test_a_leader_that_raises_fails_alone(site: MakeSite) -> None:
    """The next of those who wait goes, and the others are given what it gets: two calls in all."""
    gate = Gate()
    shop = site()

    def app(asked: Asked) -> Said:
        return says([gate, ValueError("broken")], before=None) if len(shop.calls) == 1 else says(b"shared")

    shop.app = app
    leader, others = led(shop, 20)
    gate.open()
    assert isinstance(leader.end().error, ValueError)
    assert {visit.end().body for visit in others} == {b"shared"}
    assert (len(shop.calls), len(shop.flights)) == (2, 0)


def test_a_leader_that_answers_500_keeps_nobody_waiting(site: MakeSite) -> None:
    """An error says nothing about whether the next response can be stored: one goes next, the others wait for it."""
    gate = Gate()
    shop = site()
    shop.app = lambda asked: says(b"", status=500, before=gate) if len(shop.calls) == 1 else says(b"shared")
    leader, others = led(shop, 20)
    gate.open()
    assert leader.end().status == 500
    assert {visit.end().body for visit in others} == {b"shared"}
    assert len(shop.calls) == 2


def test_a_leader_whose_client_is_gone_fails_alone(site: MakeSite) -> None:
    """A disconnect in mid-stream: what it was sent is incomplete, and the next one goes."""
    gate = Gate()
    shop = site()
    shop.app = lambda asked: says([gate, b"one;", b"two;"]) if len(shop.calls) == 1 else says(b"shared")
    leader = shop.begin(disconnect_after=1)
    until(lambda: len(shop.calls) == 1)
    others = [shop.begin() for _ in range(20)]
    until(lambda: shop.followers == 20)
    gate.open()
    assert leader.end().body == b"one;"
    assert {visit.end().body for visit in others} == {b"shared"}
    assert (len(shop.calls), len(shop.flights)) == (2, 0)


@pytest.mark.parametrize("colour", ["asgi", "asgi waiting"])
@pytest.mark.parametrize("steps", [[], [b"begun;"]])
def test_a_leader_that_is_cancelled_fails_alone(colour: str, steps: list) -> None:
    """An ASGI server cancels the task of a client that is gone."""
    gate = Gate()
    shop = CachedSite(colour=colour)
    shop.app = lambda asked: says([*steps, gate, b"never"]) if len(shop.calls) == 1 else says(b"shared")
    leader, others = led(shop, 20)
    leader.cancel()
    assert {visit.end().body for visit in others} == {b"shared"}
    assert len(shop.calls) == 2
    gate.open()
    shop.close()
    assert (len(shop.flights), shop.followers) == (0, 0)


@pytest.mark.parametrize("colour", ["asgi", "asgi waiting"])
def test_a_follower_that_is_cancelled_disturbs_nobody(colour: str) -> None:
    """Only it stops waiting."""
    gate = Gate()
    shop = CachedSite(colour=colour, app=says(b"shared", before=gate))
    leader, others = led(shop, 5)
    others[0].cancel()
    until(lambda: shop.followers == 4)
    gate.open()
    assert {visit.end().body for visit in (leader, *others[1:])} == {b"shared"}
    shop.close()
    assert len(shop.calls) == 1


@pytest.mark.parametrize(
    "said", [("set-cookie", "s"), ("cache-control", "private"), ("cache-control", "no-store"), ("vary", "*")]
)
def test_after_what_could_not_be_stored_nobody_queues(site: MakeSite, said: Field) -> None:
    """All who waited run at once, and so do those who come later."""
    gates = [Gate(), Gate(), Gate()]
    shop = site()
    shop.app = lambda asked: says(b"%d" % len(shop.calls), said, before=gates[min(2, (len(shop.calls) + 48) // 50)])
    gates[1].open()
    leader, others = led(shop, 50)
    gates[0].open()
    visits = [leader, *others]
    bodies = {visit.end().body for visit in visits}
    assert len(bodies) == 51
    late = [shop.begin() for _ in range(3)]
    until(lambda: len(shop.calls) == 54)
    assert shop.followers == 0
    gates[2].open()
    assert len({visit.end().body for visit in late} | bodies) == 54


@pytest.mark.parametrize("colour", COLOURS)
def test_nobody_queues_where_the_app_keeps_sessions(colour: str) -> None:
    """Session layers leave word in the request that the kit reads too: nobody has to wait for what is personal."""
    shop = CachedSite(colour=colour, has_sessions=True, app=says(b"", ("set-cookie", "s")))
    shop.get()
    gate = Gate()
    shop.app = says(b"", ("set-cookie", "s"), before=gate)
    visits = [shop.begin() for _ in range(3)]
    try:
        until(lambda: len(shop.calls) == 4, seconds=1)
    finally:
        gate.open()
        for visit in visits:
            visit.end()
        shop.close()


def test_what_can_be_stored_again_is_waited_for_again(site: MakeSite) -> None:
    """That something could not be stored is forgotten with the first thing that could."""
    shop = site(CacheRule(paths="/items/*", ttl=1, stale_while_revalidate=0), app=says(b"", ("set-cookie", "a=b")))
    shop.get()
    shop.app = says(b"stored")
    assert shop.get().is_stored
    shop.clock.advance(2)
    shop.calls.clear()
    gate = Gate()
    shop.app = says(b"shared", before=gate)
    leader, others = led(shop, 2)
    gate.open()
    assert {visit.end().body for visit in (leader, *others)} == {b"shared"}
    assert len(shop.calls) == 1


def test_a_body_that_outgrows_its_limit_releases_those_who_wait(site: MakeSite) -> None:
    """As soon as that is known, while it still streams."""
    gate = Gate()
    shop = site(CacheRule(paths="/items/*", max_body=10))
    first = Gate()
    shop.app = lambda asked: says([first, b"x" * 11, gate, b"end"]) if len(shop.calls) == 1 else says(b"small")
    leader, others = led(shop, 5)
    first.open()
    assert {visit.end().body for visit in others} == {b"small"}
    assert not leader.is_over
    gate.open()
    assert leader.end().body == b"x" * 11 + b"end"


def test_a_body_that_may_not_be_stored_releases_those_who_wait(site: MakeSite) -> None:
    """At the start of the response: nobody waits for a stream."""
    first, gate = Gate(), Gate()
    shop = site()
    shop.app = lambda asked: says([gate, b"data"], ("content-type", "text/event-stream"), before=first)
    leader, others = led(shop, 5)
    first.open()
    until(lambda: len(shop.calls) == 6)
    assert not leader.is_over
    gate.open()
    assert {visit.end().body for visit in (leader, *others)} == {b"data"}


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("HEAD", []),
        ("GET", [("range", "bytes=0-1")]),
        ("GET", [("cookie", "session=x")]),
        ("GET", [("x-host", "other")]),
    ],
)
def test_who_could_not_be_given_it_neither_leads_nor_waits(site: MakeSite, method: str, headers: list[Field]) -> None:
    """HEAD, parts and whoever goes past the cache."""
    gate = Gate()
    shop = site(app=says(b"", before=gate))
    visits = [shop.begin("/items/1", *headers, method=method) for _ in range(3)]
    until(lambda: len(shop.calls) == 3)
    assert len(shop.flights) == 0
    gate.open()
    for visit in visits:
        visit.end()


def test_other_resources_are_not_waited_for(site: MakeSite) -> None:
    """Another path, query, host or scheme is another flight."""
    gate = Gate()
    shop = site(app=says(b"", before=gate))
    visits = [
        shop.begin("/items/1"),
        shop.begin("/items/2"),
        shop.begin("/items/1?a"),
        shop.begin("/items/1", ("host", "other.example")),
        shop.begin("/items/1", scheme="http"),
    ]
    until(lambda: len(shop.calls) == 5)
    gate.open()
    for visit in visits:
        visit.end()


def languages(gate: Gate | None = None) -> Callable[[Asked], Said]:
    def app(asked: Asked) -> Said:
        language = asked.header("accept-language") or ""
        return says(language.encode(), ("vary", "accept-language"), ("etag", '"1"'), before=gate)

    return app


KINDS: list[Field] = [("accept-language", language) for language in ("de", "en", "fr", "it")]


def test_stale_variants_are_fetched_anew_independently(site: MakeSite) -> None:
    """RFC 9111 section 4.1: one variant's turn is not another's."""
    shop = site(CacheRule(paths="/items/*", stale_while_revalidate=0), app=languages())
    for kind in KINDS:
        shop.get("/items/1", kind)
    shop.clock.advance(31)
    gate = Gate()
    shop.app = languages(gate)
    visits = [shop.begin("/items/1", kind) for kind in KINDS]
    until(lambda: len(shop.calls) == 2 * len(KINDS))
    gate.open()
    assert [visit.end().body.decode() for visit in visits] == [value for _, value in KINDS]


@pytest.mark.parametrize("is_known", [False, True])
def test_new_variants_are_fetched_independently_once_they_are_known_to_vary(is_known: bool) -> None:
    """Whoever waited for another language's response, or comes after it, does not queue behind a third one's."""
    gate = Gate()
    shop = CachedSite(app=languages())
    if is_known:
        shop.get("/items/1", KINDS[0])
    shop.app = lambda asked: languages(None if asked.header("accept-language") == "de" else gate)(asked)
    visits = [shop.begin("/items/1", kind) for kind in KINDS]
    try:
        until(lambda: len(shop.calls) == len(KINDS), seconds=1)
    finally:
        gate.open()
        bodies = [visit.end().body.decode() for visit in visits]
        shop.close()
    assert bodies == [value for _, value in KINDS]


@pytest.mark.parametrize("colour", COLOURS[:2])
def test_a_leader_that_finds_its_store_broken_keeps_nobody_waiting(colour: str) -> None:
    """What goes wrong between taking off and the way to the app lands the flight, too."""

    class Breaking(MemoryResponses):
        looked_up = 0

        def fetch_now(self, key: CacheKey, request: Exchange) -> Fetched:
            self.looked_up += 1
            if self.looked_up == 2:
                raise RuntimeError("broken")
            return super().fetch_now(key, request)

    shop = CachedSite(colour=colour)
    shop.cache.use(Breaking(1_000_000, shop.clock, Marks(shop.clock, bytes(16))))
    assert shop.get().body == b"hello"
    assert (len(shop.flights), len(shop.failures.counts)) == (0, 1)
    shop.close()


# --- how long one waits --------------------------------------------------------------------------------------------


class ByHand:
    """A request to a rule's path for which nothing is stored; the test says when it is woken."""

    def __init__(self, shop: CachedSite) -> None:
        route = shop.cache.select("GET", frozenset({PathPattern("/items/*")}))
        assert route is not None
        steps = route.on_request(WrittenExchange("GET", "/items/1", [(b"host", b"example.org")]))
        assert isinstance(steps, Generator)
        self.steps: Steps[EarlyResponse | None] = steps
        self.waits_for = self._go_on(lambda: next(steps))

    def wake(self) -> None:
        self.waits_for = self._go_on(lambda: self.steps.send(None))

    def _go_on(self, step: Callable[[], object]) -> Follow | None:
        """Return what it waits for next, or None when the app is to run."""
        try:
            effect = step()
            while isinstance(effect, Fetch):
                effect = self.steps.send(Fetched(None, 0))
        except StopIteration:
            return None
        assert isinstance(effect, Follow)
        return effect


def on_a_loop(test: Callable[[], None]) -> Callable[[], None]:
    """Run a test where coroutines run: any number of them may wait."""

    async def run() -> None:
        test()

    @wraps(test)
    def running() -> None:
        asyncio.run(run())

    return running


@on_a_loop
def test_a_follower_waits_five_seconds_and_goes_alone() -> None:
    """A leader that hangs keeps nobody for longer; who then goes alone is no leader."""
    shop = CachedSite()
    leader, follower = ByHand(shop), ByHand(shop)
    assert leader.waits_for is None
    assert follower.waits_for is not None
    assert follower.waits_for.seconds == WAIT_SECONDS == 5.0
    shop.clock.advance(5)
    follower.wake()
    assert follower.waits_for is None
    assert len(shop.flights) == 1


@on_a_loop
def test_a_follower_waits_five_seconds_in_all() -> None:
    """Not five for each leader that fails in turn."""
    shop = CachedSite()
    _leader, next_leader, follower = ByHand(shop), ByHand(shop), ByHand(shop)
    shop.clock.advance(3)
    shop.flights.by_key.popitem()[1].end()
    next_leader.wake()
    assert next_leader.waits_for is None
    follower.wake()
    assert follower.waits_for is not None
    assert follower.waits_for.seconds == 2.0


def test_a_thread_that_may_not_wait_goes_at_once() -> None:
    """Threads are scarce: at most half of those that were seen here wait, and this one is alone."""
    shop = CachedSite()
    assert [ByHand(shop).waits_for for _ in range(2)] == [None, None]
    assert len(shop.flights) == 1


@on_a_loop
def test_a_wait_that_ends_before_the_flight_is_not_repeated() -> None:
    """Whoever is woken while the leader is still on its way goes without it."""
    shop = CachedSite()
    _leader, follower = ByHand(shop), ByHand(shop)
    assert follower.waits_for is not None
    follower.wake()
    assert follower.waits_for is None


@on_a_loop
def test_what_was_waited_for_in_vain_is_not_waited_for_again() -> None:
    """A path that takes longer than that is not slowed down by five seconds for every reader."""
    shop = CachedSite()
    _leader, follower = ByHand(shop), ByHand(shop)
    shop.clock.advance(5)
    follower.wake()
    assert ByHand(shop).waits_for is None


@on_a_loop
def test_a_wait_in_vain_does_not_keep_a_stale_response_from_standing_in() -> None:
    """RFC 5861 section 4: an app that is down often hangs before it fails."""
    shop = CachedSite(colour="wsgi", settings={"stale_if_error": 600}, app=says(b"old", ("etag", '"1"')))
    shop.get(scheme="http")
    shop.clock.advance(100)
    _leader, follower = ByHand(shop), ByHand(shop)
    shop.clock.advance(5)
    follower.wake()
    assert follower.waits_for is None
    shop.app = says(b"", status=503)
    assert shop.get(scheme="http").body == b"old"
