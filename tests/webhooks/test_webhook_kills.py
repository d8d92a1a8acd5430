"""Kill -9 under load: 500 signed events, five kills at random moments, and a restart at once each time.

What is proved of each way to run the kit: whatever a sender got a 2xx for has been handled to the end; what was handled
to the end twice was so because its process was killed before it could say that it was done; what is written with
`delivery.record` is there once; and the inbox is whole and says done for all.
"""

from __future__ import annotations

import http.client
import random
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing

import pytest
from kill_senders import PATIENCE, Senders, post
from kill_world import CONCURRENCY, WORKER, Kill, World, _make_world, _secret, gunicorn, uvicorn
from tests.stores.valkey_server import ValkeyServer, _valkey, _valkey_process
from tests.webhooks.postgres_server import PostgresServer, _postgres
from tests.webhooks.postgres_world import clean_database

__all__ = [
    "_make_world",
    "_postgres",
    "_secret",
    "_valkey",
    "_valkey_process",
]  # fixtures are found by their names here

pytestmark = pytest.mark.real_server

EVENTS = 500
KILLS = 5
AHEAD = 60
"""How many events the senders may be ahead of the handlers, so that all kills meet both at work."""
SEED = 20_250_801


def events() -> dict[str, str]:
    """Return what is sent: one half is handled by an async handler, the other by a sync one with a recorded effect."""
    return {f"evt_{number}": ("plain", "recorded")[number % 2] for number in range(EVENTS)}


def moments(chance: random.Random, count: int) -> Sequence[int]:
    """Return when to kill: at that many acknowledgements and completions together, of 2 * EVENTS that there will be."""
    part = 2 * EVENTS // (count + 1)
    return [part * number + chance.randrange(part // 2, part) for number in range(count)]


def run(world: World, secret: str, strikes: Sequence[Callable[[], object]], seed: int) -> Senders:
    """Send everything, strike at random moments under load, and return when all is handled."""
    chance = random.Random(seed)
    with Senders(world.port, secret, events()) as senders:

        def progress() -> int:
            completed = world.completed()
            senders.let(completed + AHEAD)
            return len(senders.acknowledged) + completed

        for moment, strike in zip(moments(chance, len(strikes)), strikes, strict=True):
            world.wait_until(lambda: progress() >= moment)  # noqa: B023  # it is over when the next one comes
            strike()
        world.wait_until(lambda: progress() and senders.are_done())
        world.wait_until(lambda: world.states() == {"done": EVENTS})
    return senders


def judge(world: World, senders: Senders, handling: int) -> None:
    """Assert what is promised. `handling` is how many deliveries a kill may meet."""
    completed, doubled = {line.id for line in world.lines("completed")}, world.doubled()
    lost = senders.acknowledged - completed
    account = (
        f"{len(senders.acknowledged)} acknowledged, {len(lost)} lost, {len(doubled)} completed more than once, "
        f"{len(world.kills)} kills, {sum(senders.answers.values())} answers: {dict(senders.answers)}"
    )
    sys.stdout.write(f"{account}\n")  # `pytest -rP` shows it
    assert len(senders.acknowledged) == EVENTS, account
    assert not lost, account
    assert world.states() == {"done": EVENTS}, account
    assert not world.unexplained(), f"{account}; {world.unexplained()}"
    assert len(doubled) <= handling * len(world.kills), account
    assert world.effects() == {id_: 1 for id_, kind in events().items() if kind == "recorded"}, account
    assert set(senders.answers) <= {"200 accepted", "200 duplicate", "503", "no answer"}, account
    assert senders.retry_after <= {"30"}, account


def assert_whole(world: World) -> None:
    assert world.query("PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("server", [uvicorn, gunicorn])
def test_a_server_that_handles_in_the_app(
    server: Callable[[int], Sequence[str]],
    make_world: Callable[..., World],
    secret: str,
) -> None:
    """One process of uvicorn with FastAPI, and two of gunicorn with Flask, killed as a group."""
    world = make_world()
    world.start("web", server(world.port))
    senders = run(world, secret, [lambda: world.restart("web")] * KILLS, SEED)
    judge(world, senders, 2 * CONCURRENCY if server is gunicorn else CONCURRENCY)
    assert_whole(world)


def test_a_server_and_three_workers(make_world: Callable[..., World], secret: str) -> None:
    """Four processes share the file; at each moment one of them is killed, by chance."""
    world = make_world(in_app=False)
    world.start("web", uvicorn(world.port))
    workers = [f"worker {number}" for number in range(3)]
    for name in workers:
        world.start(name, WORKER)
    strikes = [lambda name=name: world.restart(name) for name in by_chance("web", *workers)]
    senders = run(world, secret, strikes, SEED)
    judge(world, senders, CONCURRENCY)
    assert_whole(world)


def by_chance(*names: str) -> Sequence[str]:
    """Return who is killed each time: everybody once, and the rest by chance."""
    chance = random.Random(SEED)
    killed = [*names, *chance.choices(names, k=KILLS - len(names))]
    chance.shuffle(killed)
    return killed


def test_a_server_and_two_workers_on_postgresql(
    make_world: Callable[..., World], secret: str, postgres: PostgresServer
) -> None:
    """At each moment one of the three is killed, by chance."""
    world = on_postgresql(make_world, postgres)
    strikes = [lambda name=name: world.restart(name) for name in by_chance("web", "worker 0", "worker 1")]
    senders = run(world, secret, strikes, SEED)
    judge(world, senders, CONCURRENCY)


def test_a_postgresql_server_that_is_killed(
    make_world: Callable[..., World], secret: str, postgres: PostgresServer
) -> None:
    """Twice, with all its processes. Who sends meanwhile is to come again; the app's processes live through it."""
    world = on_postgresql(make_world, postgres)
    processes = {name: process.pid for name, process in world.processes.items()}

    def strike() -> None:
        began = time.monotonic()
        postgres.kill()
        with closing(http.client.HTTPConnection("127.0.0.1", world.port, timeout=PATIENCE)) as connection:
            status, _, retry_after = post(connection, secret, "evt_meanwhile", "plain")
        assert (status, retry_after) == (503, "30")
        postgres.start()
        world.kills.append(Kill(began, time.monotonic(), None))

    senders = run(world, secret, [strike] * 2, SEED)
    judge(world, senders, 2 * CONCURRENCY)
    assert {name: process.pid for name, process in world.processes.items()} == processes
    assert all(process.poll() is None for process in world.processes.values())


def on_postgresql(make_world: Callable[..., World], postgres: PostgresServer) -> World:
    world = make_world(in_app=False)
    world.environment["LAUNCHKIT_DATABASE_URL"] = clean_database(postgres)
    world.start("web", uvicorn(world.port))
    for number in range(2):
        world.start(f"worker {number}", WORKER)
    return world


QUEUES = {
    "celery": ("celery", "-A", "kill_app", "worker", "-P", "prefork", "-c", str(CONCURRENCY), "--without-mingle"),
    "dramatiq": ("dramatiq", "kill_app:broker", "--processes", "1", "--threads", str(CONCURRENCY)),
}


@pytest.mark.parametrize("kind", QUEUES)
def test_a_server_that_hands_over_to_a_queue(
    kind: str, make_world: Callable[..., World], secret: str, valkey: ValkeyServer
) -> None:
    """The queue's worker and the server are killed in turn, by chance."""
    world = make_world(handler_timeout=2)
    world.environment |= {"KILL_QUEUE": kind, "KILL_BROKER": valkey.url}
    world.start("web", uvicorn(world.port))
    world.start("worker", QUEUES[kind])
    strikes = [lambda name=name: world.restart(name) for name in by_chance("web", "worker")]
    senders = run(world, secret, strikes, SEED)
    judge(world, senders, CONCURRENCY)
    assert_whole(world)
