"""Responses in Redis behind memory: what one machine stores the others find, what one invalidates none gives."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.read_cache.redis_machines import LIFE, PATIENCE, Machine, eventually, key_of, names_of
from tests.stores.valkey_server import ValkeyServer, _valkey, _valkey_process
from tests.support.exchanges import WrittenExchange

from launchkit.pipeline.effects import StoreDown
from launchkit.read_cache.outbox import Outbox
from launchkit.read_cache.redis import MAX_VARY_NAMES
from launchkit.read_cache.subscription import Subscription
from launchkit.read_cache.variants import MAX_VARIANTS
from launchkit.stores.redis import RedisConnections

__all__ = ["_valkey", "_valkey_process"]  # fixtures

pytestmark = [pytest.mark.real_server, pytest.mark.real_time]

MakeMachine = Callable[..., Machine]


@pytest.fixture(name="machine")
def _machine(valkey: ValkeyServer) -> Iterator[MakeMachine]:
    """Make machines that share a server."""
    made: list[Machine] = []

    def make(colour: str = "sync", **options: object) -> Machine:
        made.append(Machine(valkey.url, colour, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(params=["sync", "async"])
def coloured(request: pytest.FixtureRequest, machine: MakeMachine) -> MakeMachine:
    """Make machines that share a server: a test that asks for this runs in both colours."""
    return partial(machine, request.param)


def url_keys(valkey: ValkeyServer) -> list[bytes]:
    with valkey.client() as client:
        return [key for key in client.keys("launchkit:*") if not key.endswith(b":book")]


# --- two tiers -----------------------------------------------------------------------------------------------------


def test_what_one_machine_stores_another_finds(coloured: MakeMachine) -> None:
    """All of the response, and once it was found, without asking Redis again."""
    one, other = coloured().listening(), coloured().listening()
    response = one.response(b"page", stale=9.0, is_public=True, route="/items/{id}")
    one.keep("/items/1", response, one.fetch("/items/1").moment)
    assert other.in_memory("/items/1") is None
    assert other.fetch("/items/1").response == response
    assert other.in_memory("/items/1") == b"page"


def test_a_fresh_response_in_memory_asks_nobody(coloured: MakeMachine, valkey: ValkeyServer) -> None:
    """A hit costs no round trip, and a response that was just stored is one at once."""
    one = coloured().listening()
    moment = one.fetch("/a").moment
    assert one.store.store_now(key_of("/a"), one.response(b"page"), names_of("/a"), moment)
    assert one.in_memory("/a") == b"page"
    one.settle()
    with valkey.client() as client:
        client.flushall()
    assert one.body("/a") == b"page"


def test_a_look_up_takes_one_round_trip(coloured: MakeMachine, valkey: ValkeyServer) -> None:
    """One script, whether or not there is something, and whatever it varies by."""
    one, other = coloured().listening(), coloured().listening()
    language = ((b"accept-language", b"de"),)
    varied = {"vary": (b"accept-language",), "varied": (b"de",)}
    one.keep("/varied", one.response(b"hallo", **varied), one.fetch("/varied").moment)
    other.fetch("/varied", language)
    with valkey.client() as client:
        before = client.info("commandstats")["cmdstat_evalsha"]["calls"]
        assert other.body("/varied", language) == b"hallo"
        assert other.body("/nothing", language) is None
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == before + 2


def test_a_stale_response_in_memory_asks_redis_for_a_fresh_one(coloured: MakeMachine) -> None:
    """Another machine may have fetched it anew; if none has, the stale one still counts."""
    one, other = coloured().listening(), coloured().listening()
    for machine in (one, other):
        moment = machine.fetch("/a").moment
        machine.memory.store_now(key_of("/a"), machine.response(b"old", 5.0, 50.0), names_of("/a"), moment[0])
        machine.clock.advance(10)
    assert one.in_memory("/a") is None
    found = one.fetch("/a")
    assert found.response.body == b"old"
    assert found.moment[1] is not None
    other.put("/a", b"new")
    assert one.body("/a") == b"new"
    assert one.in_memory("/a") == b"new"


def test_what_redis_has_does_not_replace_what_is_fresh_for_longer(coloured: MakeMachine) -> None:
    """A record that was refused left an older one in Redis."""
    one = coloured().listening()
    one.keep("/a", one.response(b"old", 5.0, LIFE), one.fetch("/a").moment)
    one.memory.store_now(key_of("/a"), one.response(b"new", 9.0, LIFE), names_of("/a"), one.marks.moment())
    one.clock.advance(10)
    assert one.ask("/a").response.body == b"new"


def test_a_record_past_its_use_is_a_miss(coloured: MakeMachine) -> None:
    """However long the server keeps it: variants of a URL expire together."""
    one, other = coloured().listening(), coloured().listening()
    one.keep("/a", one.response(b"page", 5.0, 5.0), one.fetch("/a").moment)
    other.clock.advance(9)
    assert other.body("/a") == b"page"
    other.memory.clear()
    other.clock.advance(1)
    assert other.body("/a") is None


def test_a_record_expires_on_the_server(machine: MakeMachine, valkey: ValkeyServer) -> None:
    """With the last of its variants to be of use; one that is of no use any more is not kept."""
    one = machine().listening()
    moment = one.fetch("/a").moment
    varied = {"vary": (b"accept",)}
    one.keep(
        "/a", one.response(b"page", 5.0, 7.0, varied=(b"a",), error_until=one.clock.monotonic() + 50, **varied), moment
    )
    one.keep("/a", one.response(b"page", 5.0, 7.0, varied=(b"b",), **varied), moment)
    one.keep("/b", one.response(b"page", 0.0), one.fetch("/b").moment)
    (key,) = url_keys(valkey)
    with valkey.client() as client:
        assert 40_000 < client.pttl(key) <= 50_000


def test_only_a_look_up_in_redis_lets_a_response_go_there(machine: MakeMachine, valkey: ValkeyServer) -> None:
    """Without its sequence nobody could say whether something was invalidated since."""
    one = machine().listening()
    one.keep("/a", one.response(b"page"), one.store.moment())
    assert one.in_memory("/a") == b"page"
    one.keep("/a", one.response(b"page"), one.fetch("/a").moment)
    assert url_keys(valkey) == []


def test_no_two_urls_share_a_key() -> None:
    """The parts of a key are told apart before they are hashed, whatever characters they hold."""
    from launchkit.read_cache.redis import _digest_of_key

    keys = [
        ("https", b"a", "", b"/b", b"c"),
        ("https", b"a", "", b"/bc", b""),
        ("https", b"a/b", "", b"", b"c"),
        ("http", b"sa", "", b"/b", b"c"),
        ("https", b"a", "/b", b"", b"c"),
        ("https", b"a", "/b\udc80", b"", b"c"),
    ]
    assert len(set(map(_digest_of_key, keys))) == len(keys)


def test_apps_of_different_namespaces_share_nothing(machine: MakeMachine) -> None:
    """Neither responses nor invalidations."""
    one, other = machine(namespace="a:b").listening(), machine(namespace="a").listening()
    one.put("/", b"page")
    assert other.body("/") is None
    other.invalidate("all:")
    one.memory.clear()
    assert one.body("/") == b"page"


# --- variants ------------------------------------------------------------------------------------------------------


def put_variant(machine: Machine, language: bytes | None, vary: bytes = b"accept-language") -> None:
    moment = machine.fetch("/v", [(vary, language)] if language else []).moment
    body = b"none" if language is None else b"in " + language
    machine.keep("/v", machine.response(body, vary=(vary,), varied=(language,)), moment)


def test_each_variant_answers_the_requests_it_was_selected_by(coloured: MakeMachine) -> None:
    """RFC 9111 section 4.1: the values of all headers in Vary match, or both are missing."""
    one, other = coloured().listening(), coloured().listening()
    for language in (b"de", b"fr", None):
        put_variant(one, language)
    other.body("/v")  # learns what responses here vary by
    for language in (b"de", b"fr"):
        assert other.body("/v", [(b"accept-language", language)]) == b"in " + language
    assert other.body("/v") == b"none"
    assert other.body("/v", [(b"accept-language", b"it")]) is None
    assert other.body("/v", [(b"accept-language", b"")]) is None


def test_a_new_vary_replaces_the_variants_of_the_old_one(machine: MakeMachine) -> None:
    """A URL varies by one list of names at a time, the newest."""
    one = machine().forgetful()
    put_variant(one, b"de")
    put_variant(one, b"br", b"accept-encoding")
    both = [(b"accept-language", b"de"), (b"accept-encoding", b"br")]
    assert one.body("/v", both) == b"in br"
    assert one.body("/v", both[:1]) is None


def test_variants_of_a_url_are_bounded(machine: MakeMachine, valkey: ValkeyServer) -> None:
    """What does not fit begins the URL anew; one that is stored again takes no more room."""
    one = machine().forgetful()
    languages = [b"%d" % number for number in range(MAX_VARIANTS)]
    for language in languages:
        put_variant(one, language)
    put_variant(one, languages[0])
    (key,) = url_keys(valkey)
    with valkey.client() as client:
        assert client.hlen(key) == MAX_VARIANTS + 1
        put_variant(one, b"one too many")
        assert client.hlen(key) == 2


def test_names_that_responses_vary_by_are_bounded(machine: MakeMachine) -> None:
    """What varies by more than can be remembered is a miss in Redis."""
    one = machine().forgetful()
    for number in range(MAX_VARY_NAMES + 1):
        put_variant(one, b"x", b"name-%d" % number)
    assert len(one.store._vary_names) == MAX_VARY_NAMES
    assert one.body("/v", [(b"name-%d" % MAX_VARY_NAMES, b"x")]) is None
    put_variant(one, b"x", b"name-0")
    assert one.body("/v", [(b"name-0", b"x")]) == b"in x"


def test_header_values_do_not_reach_the_server(machine: MakeMachine, valkey: ValkeyServer) -> None:
    """Its slow log and its monitor would show them."""
    one = machine().forgetful()
    put_variant(one, b"xx-secret")
    with valkey.client() as client:
        client.config_set("slowlog-log-slower-than", 0)
        one.fetch("/v", [(b"accept-language", b"xx-secret"), (b"cookie", b"xx-secret")])
        client.config_set("slowlog-log-slower-than", 10_000)
        lines = client.slowlog_get(100)
    assert any(b"EVALSHA" in line["command"] for line in lines)
    assert not any(b"xx-secret" in line["command"] for line in lines)


# --- invalidation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["path:/items/1", "below:/items", "below:/", "tag:products", "all:"])
def test_what_one_machine_invalidates_no_machine_gives(coloured: MakeMachine, name: str) -> None:
    """By path, by the paths above it, by tag, or everything: in Redis at once, in memory as soon as it is told."""
    one, other = coloured().listening(), coloured().listening()
    names = ("all:", "path:/items/1", "below:/", "below:/items", "below:/items/1", "tag:products")
    moment = one.fetch("/items/1").moment
    one.store.store_now(key_of("/items/1"), one.response(b"page"), names, moment)
    one.settle()
    assert other.body("/items/1") == b"page"
    other.invalidate(name)
    assert other.body("/items/1") is None
    eventually(lambda: one.in_memory("/items/1") is None)
    assert one.body("/items/1") is None


def test_other_names_stay(coloured: MakeMachine) -> None:
    """Invalidating one thing invalidates that."""
    one, other = coloured().listening(), coloured().listening()
    one.put("/items/1", b"page", "products")
    assert other.body("/items/1") == b"page"
    other.invalidate("path:/items/2", "below:/item", "tag:product")
    other.put("/told", b"")
    other.invalidate("path:/told")
    assert other.body("/items/1") == b"page"
    eventually(lambda: not one.marks.is_current([one.marks.index("path:/told")], 0))
    assert one.body("/items/1") == b"page"


def test_what_was_looked_up_before_an_invalidation_is_not_stored_after_it(coloured: MakeMachine) -> None:
    """A slow GET on one machine, a POST on another: neither Redis nor memory takes the old body in."""
    one, other = coloured().listening(), coloured().listening()
    found = one.fetch("/a")
    other.invalidate("path:/a")
    eventually(lambda: not one.marks.is_current([one.marks.index("path:/a")], found.moment[0]))
    one.keep("/a", one.response(b"old"), found.moment)
    assert one.body("/a") is None
    assert other.body("/a") is None


def test_a_machine_that_has_not_heard_of_it_keeps_it_from_no_other(coloured: MakeMachine) -> None:
    """Redis alone refuses a record that was looked up before an invalidation, also in place of a newer one."""
    slow, other = coloured().forgetful(), coloured().forgetful()
    found = slow.fetch("/a")
    other.invalidate("tag:x")
    slow.keep("/a", slow.response(b"old"), found.moment, "x")
    assert other.body("/a") is None
    other.keep("/a", other.response(b"new"), other.fetch("/a").moment, "x")
    slow.keep("/a", slow.response(b"old"), found.moment, "x")
    assert other.body("/a") == b"new"


steps = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from(["look up", "look up", "store", "path:", "below:", "tag:", "all:"])),
    min_size=3,
    max_size=14,
)
numbers = count()


class Race:
    """Slow GETs and POSTs of one resource on two machines; every hit has to be what the app would say now."""

    def __init__(self, machines: tuple[Machine, Machine]) -> None:
        self.machines = machines
        self.path = f"/race/{next(numbers)}"
        self.value = 0
        self.under_way: list[tuple[Machine, bytes, object]] = []

    def take(self, which: int, action: str) -> None:
        machine = self.machines[which]
        if action == "look up":
            response, moment = machine.fetch(self.path)
            assert response is None or response.body == b"%d" % self.value
            if response is None:
                self.under_way.append((machine, b"%d" % self.value, moment))
        elif action == "store":
            if self.under_way:
                slow, body, moment = self.under_way.pop(0)
                slow.keep(self.path, slow.response(body), moment, self.path)
        else:
            self.post(machine, self.machines[1 - which], action)

    def post(self, machine: Machine, other: Machine, kind: str) -> None:
        self.value += 1
        name = "all:" if kind == "all:" else kind + self.path
        before = other.marks.moment()
        machine.invalidate(name)
        eventually(lambda: not other.marks.is_current([other.marks.index(name)], before))


@pytest.fixture(name="racers")
def _racers(machine: MakeMachine) -> tuple[Machine, Machine]:
    return machine("sync").listening(), machine("async").listening()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_no_order_of_events_brings_an_old_body_back(
    racers: tuple[Machine, Machine], steps: list[tuple[int, str]]
) -> None:
    """Once an invalidation has come about, no look-up anywhere finds what was there before."""
    race = Race(racers)
    for which, action in [*steps, (0, "store"), (0, "store"), (0, "look up"), (1, "look up")]:
        race.take(which, action)


def test_an_invalidation_that_nobody_waits_for_holds_here_at_once_and_elsewhere_soon(coloured: MakeMachine) -> None:
    """This process takes no record of these names from Redis until Redis has confirmed."""
    one, other = coloured().listening(), coloured().listening()
    one.put("/a", b"page")
    assert other.body("/a") == b"page"
    one.store._outbox._invalidate = told = Refusing(one.store._outbox._invalidate)
    one.store.invalidate_soon(("path:/a",))
    assert one.body("/a") is None
    eventually(lambda: told.refused)
    assert one.body("/a") is None
    assert other.body("/a") == b"page"
    told.is_open = True
    eventually(lambda: other.body("/a") is None)
    one.settle()
    assert one.body("/a") is None


class Refusing:
    """What sends invalidations, as it is while the server is away."""

    def __init__(self, send: Callable[[tuple[str, ...]], None]) -> None:
        self.send = send
        self.refused = 0
        self.is_open = False

    def __call__(self, names: tuple[str, ...]) -> None:
        if not self.is_open:
            self.refused += 1
            raise StoreDown("Redis")
        self.send(names)


def test_invalidating_takes_waiting(machine: MakeMachine) -> None:
    """Whoever may wait does, so that a response to a POST says that the change is known everywhere."""
    assert machine().store.invalidate_now(("all:",)) is False


def test_a_process_does_not_listen_to_itself(machine: MakeMachine) -> None:
    """What it stored after its own invalidation stays, whenever its message comes back."""
    one, other = machine().listening(), machine().listening()
    one.invalidate("path:/a")
    one.put("/a", b"page")
    one.invalidate("path:/b")
    one.store._subscription._hear(one.store._subscription.message(("path:/a",)).encode())
    assert one.in_memory("/a") == b"page"
    other.store._subscription._hear(one.store._subscription.message(("path:/a",)).encode())
    assert not other.marks.is_current([other.marks.index("path:/a")], 0)


@pytest.mark.parametrize(
    "message", [b"\xff", b"{", b"[", b"{}", b"[]", b'["sender"]', b'["sender", 1]', b'"all:"', b"[" * 20_000]
)
def test_a_message_that_is_not_understood_means_everything(
    machine: MakeMachine, valkey: ValkeyServer, message: bytes
) -> None:
    """A later version may say more than this one understands."""
    one = machine().listening()
    one.put("/a", b"page")
    with valkey.client() as client:
        assert client.publish(one.store._subscription.channel, message) == 1
    eventually(lambda: one.in_memory("/a") is None)


# --- being heard ---------------------------------------------------------------------------------------------------


def test_before_it_listens_a_process_caches_nothing(coloured: MakeMachine, valkey: ValkeyServer) -> None:
    """A miss at once, without asking Redis; nothing is kept that could not be taken back."""
    one, other = coloured(), coloured().listening()
    other.put("/a", b"page")
    one.store._subscription.start = lambda: None
    with valkey.client() as client:
        before = client.info("stats")["total_connections_received"]
        assert one.ask("/a").response is None
        assert one.store.fetch_now(key_of("/a"), WrittenExchange()).response is None
        one.put("/b", b"page")
        assert client.info("stats")["total_connections_received"] == before
    assert len(one.memory._entries) == 0
    one.store._subscription.is_confirmed = True
    assert one.body("/a") == b"page"
    assert one.in_memory("/a") == b"page"
    one.store._subscription.is_confirmed = False
    assert one.body("/a") is None


def test_what_was_looked_up_before_it_listened_is_not_kept_in_memory(machine: MakeMachine) -> None:
    """What was invalidated in between may not have been heard; Redis knows, memory would not."""
    one = machine()
    found = one.fetch("/a")
    eventually(lambda: one.store.is_listening)
    one.store.store_now(key_of("/a"), one.response(b"page"), names_of("/a"), found.moment)
    assert one.in_memory("/a") is None


def test_a_lost_subscription_comes_back_and_forgets_what_was_in_memory(
    machine: MakeMachine, valkey: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What others invalidated in the meantime was not heard. That the connection was lost is nobody's business."""
    one = machine().listening()
    moment = one.fetch("/a").moment
    one.memory.store_now(key_of("/a"), one.response(b"page"), names_of("/a"), moment[0])
    assert one.in_memory("/a") == b"page"
    with valkey.client() as client:
        client.client_kill_filter(_type="pubsub")
    eventually(lambda: one.in_memory("/a") is None)
    eventually(lambda: one.store.is_listening)
    assert one.in_memory("/a") is None
    assert caplog.records == []


def test_silence_is_no_loss_as_long_as_the_server_answers(
    machine: MakeMachine, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PING tells the one from the other."""
    monkeypatch.setattr(Subscription, "HEARTBEAT", 0.02)
    one = machine().listening()
    one.put("/a", b"page")
    with valkey.client() as client:
        eventually(lambda: client.info("commandstats").get("cmdstat_ping", {}).get("calls", 0) > 5)
    assert one.in_memory("/a") == b"page"


def test_a_refused_subscription_is_told_once_and_tried_again(
    machine: MakeMachine, valkey: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that answers but lets nobody listen is none that can be cached in."""
    with valkey.client() as client:
        client.acl_setuser("default", enabled=True, nopass=True, keys="*", commands=["+@all", "-subscribe"])
        try:
            one = machine()
            one.put("/a", b"page")
            eventually(lambda: one.store._subscription._pause > 0.3)
            assert one.body("/a") is None
            assert not one.store.is_listening
            (line,) = caplog.records
            assert "cannot listen for what others invalidate (NoPermissionError)" in line.getMessage()
        finally:
            client.acl_setuser("default", enabled=True, nopass=True, keys="*", commands=["+@all"])
    eventually(lambda: one.store.is_listening)


def test_after_close_a_look_up_listens_again(machine: MakeMachine, valkey: ValkeyServer) -> None:
    """Closing ends the threads and the connections; a kit that is started again goes on."""
    of_others = set(threading.enumerate())
    one = machine().listening()
    one.put("/a", b"page")
    one.store.close()
    for thread in set(threading.enumerate()) - of_others:
        if thread.name.startswith("launchkit-cache"):
            thread.join(20)  # a busy machine may take longer than `close` waits
            assert not thread.is_alive()
    assert not one.store.is_listening
    assert one.listening().body("/a") == b"page"
    one.put("/b", b"page")
    assert len(url_keys(valkey)) == 2


def test_a_listener_that_is_stopped_while_it_connects_says_nothing(machine: MakeMachine) -> None:
    """Nor does it while another one listens already."""
    subscription = machine().store._subscription
    stopped = threading.Event()
    stopped.set()
    subscription._listen(stopped)
    subscription._confirm(stopped)
    assert not subscription.is_confirmed


def test_closing_what_never_began_is_nothing(machine: MakeMachine) -> None:
    """Nothing was opened, no thread was started."""
    before = threading.active_count()
    one = machine()
    one.store.close()
    one.store.close()
    assert threading.active_count() == before


# --- in the background ---------------------------------------------------------------------------------------------


def test_closing_sends_what_waits(machine: MakeMachine) -> None:
    """A process that ends in good order leaves to the others what it has learned."""
    one, other = machine().listening(), machine().listening()
    for number in range(20):
        one.store.store_now(key_of(f"/{number}"), one.response(b"page"), ("all:",), one.fetch(f"/{number}").moment)
    one.store.close()
    assert [other.body(f"/{number}") for number in range(20)] == [b"page"] * 20


def test_records_that_find_no_room_are_dropped_and_counted() -> None:
    """What waits is bounded by bytes, those being sent included."""
    started, may_end = threading.Event(), threading.Event()
    outbox = Outbox(lambda names: None, size=100)
    sent: list[int] = []

    def slow() -> None:
        started.set()
        may_end.wait(PATIENCE)

    outbox.put(60, slow)
    started.wait(PATIENCE)
    outbox.put(50, lambda: sent.append(50))
    outbox.put(40, lambda: sent.append(40))
    outbox.put(1, lambda: sent.append(1))
    may_end.set()
    outbox.close()
    assert (sent, outbox.dropped, outbox._bytes) == ([40], 2, 0)


def test_a_record_that_cannot_be_sent_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """An outage is nothing new, anything else is logged with its traceback; the thread goes on."""
    outbox = Outbox(lambda names: None)
    sent: list[int] = []

    def fail(error: Exception) -> None:
        raise error

    outbox.put(1, partial(fail, StoreDown("Redis")))
    outbox.put(1, partial(fail, ValueError("odd")))
    outbox.put(1, lambda: sent.append(1))
    outbox.close()
    assert (sent, outbox.dropped) == ([1], 2)
    assert [record.exc_info[0] for record in caplog.records] == [ValueError]


def test_very_many_names_become_everything() -> None:
    """What is owed is bounded and nothing of it is forgotten."""
    told = Refusing(lambda names: None)
    outbox = Outbox(told)
    outbox.RETRY_SECONDS = 0.01
    for number in range(Outbox.MOST_NAMES):
        outbox.owe((f"path:/{number}",))
    assert len(outbox.unconfirmed()) == Outbox.MOST_NAMES
    outbox.owe(("path:/another",))
    eventually(lambda: outbox.unconfirmed() == {"all:"})
    told.is_open = True
    eventually(lambda: not outbox.unconfirmed())
    outbox.close()


def test_what_could_not_be_sent_before_closing_is_not_forgotten() -> None:
    """It is sent with whatever comes next."""
    sent: list[tuple[str, ...]] = []
    told = Refusing(sent.append)
    outbox = Outbox(told)
    outbox.owe(("path:/a",))
    eventually(lambda: told.refused)
    outbox.close()
    assert outbox.unconfirmed() == {"path:/a"}
    told.is_open = True
    outbox.owe(("path:/b",))
    eventually(lambda: not outbox.unconfirmed())
    assert {name for names in sent for name in names} == {"path:/a", "path:/b"}
    outbox.close()


def test_an_invalidation_that_fails_in_its_callers_hands_is_owed() -> None:
    """Whether the server was away or the caller was cancelled; while it is under way it is known as well."""
    told = Refusing(lambda names: None)
    outbox = Outbox(told)
    with suppress(asyncio.CancelledError), outbox.sending(("path:/a",)):
        assert outbox.unconfirmed() == {"path:/a"}
        raise asyncio.CancelledError
    eventually(lambda: told.refused)
    assert outbox.unconfirmed() == {"path:/a"}
    with outbox.sending(("path:/b",)):
        assert outbox.unconfirmed() == {"path:/a", "path:/b"}
    assert outbox.unconfirmed() == {"path:/a"}
    outbox.close()


# --- processes and coroutines --------------------------------------------------------------------------------------

WORKER = """
import sys
from tests.read_cache.redis_machines import Machine
one = Machine(sys.argv[1]).listening()
for line in sys.stdin:
    verb, path, *rest = line.split()
    if verb == "put":
        one.put(path, rest[0].encode())
    elif verb == "invalidate":
        one.invalidate(path)
    print(one.body(path), flush=True)
one.close()
"""


class Worker:
    """A process of its own with a cache."""

    def __init__(self, url: str) -> None:
        root = str(Path(__file__).parents[2])
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": root},
        )

    def tell(self, *words: str) -> str:
        """Return what the worker finds at the path after doing what it is told."""
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def close(self) -> int:
        self.process.communicate(timeout=PATIENCE)
        return self.process.returncode


def test_processes_share_responses_and_invalidations(valkey: ValkeyServer) -> None:
    """What holds for two stores in one process holds for two processes."""
    one, other = Worker(valkey.url), Worker(valkey.url)
    try:
        assert one.tell("put", "/a", "page") == "b'page'"
        assert other.tell("get", "/a") == "b'page'"
        assert other.tell("invalidate", "path:/a") == "None"
        eventually(lambda: one.tell("get", "/a") == "None")
        assert other.tell("get", "/a") == "None"
    finally:
        assert [one.close(), other.close()] == [0, 0]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # it warns of fork beside threads
def test_a_forked_process_listens_and_writes_for_itself(machine: MakeMachine, valkey: ValkeyServer) -> None:
    """The child does not answer from memory what it could not take back, and the parent hears what the child does."""
    one = machine().listening()
    one.put("/a", b"page")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            found = [one.in_memory("/a"), one.body("/a"), one.listening().in_memory("/a"), one.body("/a")]
            one.put("/b", b"child's")
            one.invalidate("path:/a")
            os.write(writing, repr([*found, one.body("/a")]).encode())
            one.store.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 1000) == repr([None, None, None, b"page", None]).encode()
    os.close(reading)
    os.close(writing)
    eventually(lambda: one.in_memory("/a") is None)
    assert one.body("/a") is None
    assert one.body("/b") == b"child's"


def test_the_child_of_a_fork_owes_what_its_parent_owed(machine: MakeMachine) -> None:
    """Neither may take from Redis what it has seen invalidated; the records that waited are left to the parent."""
    outbox = Outbox(lambda names: None)
    with outbox.sending(("path:/a",)):
        outbox._records.append((1, lambda: None))
        outbox.begin_process()
        assert outbox.unconfirmed() == {"path:/a"}
        assert not outbox._records
        outbox._under_way.append(frozenset({"path:/a"}))
    outbox._owed = frozenset()


def test_a_request_that_gives_up_takes_nobody_elses_reply(valkey: ValkeyServer) -> None:
    """Whoever waits on gets the response of the URL that was asked for."""
    one = Machine(valkey.url, "async").forgetful()
    for number in range(20):
        one.put(f"/{number}", b"%d" % number)

    async def ask(number: int) -> bytes | None:
        found = await one.store.afetch(key_of(f"/{number}"), WrittenExchange("GET", f"/{number}"))
        return None if found.response is None else found.response.body

    async def use() -> list[bytes | None]:
        tasks = [asyncio.create_task(ask(number)) for number in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        later = [asyncio.create_task(ask(number)) for number in range(20)]
        await asyncio.wait(tasks)
        assert [task.cancelled() for task in tasks[::3]] == [True] * 7
        return [await task for task in tasks if not task.cancelled()] + [await task for task in later]

    expected = [b"%d" % number for number in range(20) if number % 3] + [b"%d" % number for number in range(20)]
    assert one.runner.run(use()) == expected
    one.close()


def test_a_cancelled_invalidation_comes_about_all_the_same(valkey: ValkeyServer) -> None:
    """The change has been made; that the client did not wait for the answer does not undo it."""
    one, other = Machine(valkey.url, "async").listening(), Machine(valkey.url).listening()
    one.put("/a", b"page")
    assert other.body("/a") == b"page"

    async def use() -> None:
        task = asyncio.create_task(one.store.ainvalidate(("path:/a",)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    one.runner.run(use())
    assert one.body("/a") is None
    eventually(lambda: other.body("/a") is None)
    one.close()
    other.close()


def test_nothing_is_opened_before_the_first_look_up(valkey: ValkeyServer) -> None:
    """Making a store opens no connection and starts no thread."""
    with valkey.client() as client:
        before = client.info("stats")["total_connections_received"], threading.active_count()
        one = Machine(valkey.url)
        assert (client.info("stats")["total_connections_received"], threading.active_count()) == before
    one.close()


def test_the_budget_is_short() -> None:
    """A look-up is only worth a fraction of what running the app costs."""
    from launchkit.read_cache.redis import TieredResponses

    assert 0.05 <= TieredResponses.BUDGET <= 0.1 < RedisConnections.BUDGET
