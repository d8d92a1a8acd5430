"""An app with limits on Redis: what its users see on two machines, and when the server goes away."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from tests.stores.valkey_server import ValkeyServer
from tests.support.clients import Reply
from tests.support.targets import Target

from launchkit.stores.redis import RedisConnections

pytestmark = [pytest.mark.real_server, pytest.mark.real_time]

Machine = Callable[..., Target]
WRONG = b'{"password": "wrong"}'
RIGHT = b'{"password": "right"}'


@pytest.fixture(name="connected")
def _connected(make: Callable[..., Target]) -> Iterator[Machine]:
    """Build an app with its limits on Redis, and close its connections in the end."""
    made: list[Target] = []

    def build(name: str, url: str, limit: str = "3/minute", **rule: str) -> Target:
        rules = {"login": {"paths": "/login", "limit": limit, **rule}}
        target = make(name, redis_url=url, rate_limit={"rules": rules})
        made.append(target)
        return target

    yield build
    for target in made:
        connections = target.kit._redis
        if target.is_async:
            target.client.runner.run(connections.aclose())
        connections.close()


@pytest.fixture(params=["asgi", "wsgi"])
def machine(request: pytest.FixtureRequest, connected: Machine, valkey: ValkeyServer) -> Machine:
    """Build a machine that runs the app, with a limit on its login, counted on the server."""
    return partial(connected, request.param, valkey.url)


def login(target: Target, body: bytes = WRONG) -> Reply:
    return target.request("POST", "/login", [("content-type", "application/json")], body)


def statuses(target: Target, count: int, body: bytes = WRONG) -> list[int]:
    return [login(target, body).status for _ in range(count)]


def test_a_limit_holds_across_machines(machine: Machine) -> None:
    """Two machines share one count: what one has let through, the other does not."""
    one, other = machine(), machine()
    assert statuses(one, 2) == [401, 401]
    assert statuses(other, 2) == [401, 429]
    assert statuses(one, 1) == [429]
    assert other.world.calls == 1


def test_successes_are_given_back_on_the_server(machine: Machine) -> None:
    """Where failures count, a good login on one machine costs nothing on another."""
    one, other = machine(count="failures"), machine(count="failures")
    assert statuses(one, 5, RIGHT) == [200] * 5
    assert statuses(other, 4) == [401, 401, 401, 429]


def test_when_the_server_dies_limits_go_on_in_each_process(
    machine: Machine, valkey: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    """By default every process counts for itself: no request fails, the limit holds, and one line says so."""
    one, other = machine(), machine()
    assert statuses(one, 1) == [401]
    valkey.kill()
    assert statuses(one, 5) == [401, 401, 401, 429, 429]
    assert statuses(other, 4) == [401, 401, 401, 429]
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(lines) == 2  # one for each machine
    assert all(line.startswith("Redis is down") for line in lines)


def test_a_closed_rule_answers_503_while_the_server_is_away(machine: Machine, valkey: ValkeyServer) -> None:
    """Where the limit matters more, nobody passes uncounted; other paths are untouched."""
    target = machine(on_outage="closed")
    valkey.kill()
    reply = login(target)
    assert reply.status == 503
    assert reply.header("retry-after") == "5"
    assert target.request("GET", "/hello").status == 200
    assert target.world.calls == 0


def test_an_open_rule_lets_everything_pass_while_the_server_is_away(machine: Machine, valkey: ValkeyServer) -> None:
    """Where the app matters more, everybody passes."""
    target = machine(on_outage="open")
    valkey.kill()
    assert statuses(target, 6) == [401] * 6


def test_a_frozen_server_costs_one_budget_and_not_one_for_each_request(machine: Machine, valkey: ValkeyServer) -> None:
    """The first request waits for its budget; those after it wait for nothing."""
    target = machine("100/minute")
    assert statuses(target, 1) == [401]
    valkey.freeze()
    started = time.monotonic()
    assert statuses(target, 20) == [401] * 20
    assert time.monotonic() - started < RedisConnections.BUDGET * 4


def test_limits_are_shared_again_when_the_server_is_back(machine: Machine, valkey: ValkeyServer) -> None:
    """Recovery needs nobody: after a second the server is asked again."""
    one, other = machine(), machine()
    valkey.kill()
    assert statuses(one, 1) == statuses(other, 1) == [401]
    valkey.start()
    for target in (one, other):
        target.world.clock.advance(1)
    assert statuses(one, 2) == [401, 401]
    assert statuses(other, 2) == [401, 429]


def test_a_charge_made_before_the_outage_is_no_error_after_it(machine: Machine, valkey: ValkeyServer) -> None:
    """A login that succeeds while the server dies is a success all the same."""
    target = machine(count="failures")
    assert statuses(target, 1, RIGHT) == [200]
    calls = target.kit.rate_limit.counts["rules.login", "allowed"]
    valkey.kill()
    assert statuses(target, 5, RIGHT) == [200] * 5
    assert target.kit.rate_limit.counts["rules.login", "allowed"] == calls + 5


def test_the_servers_password_is_in_no_log(
    connected: Machine, valkey: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that refuses the password is down like any other, and the password stays secret."""
    password = secrets.token_urlsafe(16)
    url = valkey.url.replace("redis://", f"redis://somebody:{password}@")
    target = connected("asgi", url)
    assert statuses(target, 4) == [401, 401, 401, 429]
    assert password not in caplog.text
    assert any("Redis is down" in record.getMessage() for record in caplog.records)
