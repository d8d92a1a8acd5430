"""Limits behave alike whatever they are counted in, on every framework; and the app goes on when the store does not."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any

import pytest

from tests.stores.valkey_server import ValkeyServer
from tests.support.targets import NAMES, Target

JSON = ("content-type", "application/json")


@pytest.fixture(
    name="counting",
    params=["memory", "machine", pytest.param("redis", marks=pytest.mark.real_server)],
)
def _counting(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings for each store."""
    if request.param == "redis":
        valkey: ValkeyServer = request.getfixturevalue("valkey")
        request.getfixturevalue("patient_redis")
        return {"redis_url": valkey.url, "secret_key": secrets.token_urlsafe(32)}
    return {"rate_limit": {"store": request.param}}


def log_in(target: Target, number: int, password: str = "wrong", account: str = "ann@example.com") -> int:
    body = json.dumps({"email": account, "password": password}).encode()
    return target.request("POST", "/login", [JSON], body, peer=f"198.51.100.{number}").status


@pytest.mark.parametrize("name", NAMES)
def test_addresses_and_accounts_are_counted_in_every_store(
    make: Callable[..., Target], name: str, counting: dict[str, Any]
) -> None:
    """Five failures for an account, twenty for an address, successes given back, refusals free."""
    target = make(name, routes={"login": "/login"}, **counting)
    assert {log_in(target, number, "right") for number in range(10)} == {200}
    assert [log_in(target, number) for number in range(8)] == [401] * 5 + [429] * 3
    one_address = [log_in(target, 99, account=f"user{number}") for number in range(22)]
    assert one_address == [401] * 20 + [429] * 2


@pytest.mark.real_server
@pytest.mark.usefixtures("patient_redis")
@pytest.mark.parametrize("name", NAMES)
def test_a_store_that_goes_away_is_no_outage_of_the_app(
    make: Callable[..., Target], name: str, valkey: ValkeyServer
) -> None:
    """Without its server the process counts for itself, a rule that must not is closed, and health says so."""
    rules = {
        "local": {"paths": "/login", "limit": "3/minute"},
        "closed": {"paths": "/counted", "methods": "GET", "limit": "100/minute", "on_outage": "closed"},
    }
    target = make(
        name, redis_url=valkey.url, secret_key=secrets.token_urlsafe(32), rate_limit={"rules": rules}, token="t" * 32
    )
    assert [log_in(target, 1) for _ in range(4)] == [401] * 3 + [429]
    assert target.request("GET", "/counted", peer="198.51.100.1").status == 200
    valkey.kill()
    assert [log_in(target, 1) for _ in range(4)] == [401] * 3 + [429]
    assert target.request("GET", "/counted", peer="198.51.100.1").status == 503
    health = target.request("GET", "/health", [("authorization", "Bearer " + "t" * 32)])
    assert health.status == 200
    (check,) = json.loads(health.body)["checks"]["redis for limits:responseTime"]
    assert check["status"] == "warn"
