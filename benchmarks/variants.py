"""What is measured in the process: every kind of request that the kit treats differently, and what it is held against.

Each variant is checked before each turn, outside of the timed part, so that a figure can only be of what its name
says. Some say more than others about the worst case:

- The new paths are all different, a million in all rounds together unless time runs out; none comes twice.
- Each login comes from another address, so nothing about addresses is found in a cache.
- Webhooks are accepted one after the other, each with its own commit to SQLite on disk, which a busy server would share
  among many. The inbox's writer thread is included; handlers wait until the measuring is over.
- The cache answers requests that carry an analytics cookie, so that it has to look into the cookie.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.launched import WEBHOOK_PATH, launched, new_secret
from benchmarks.protocols import Answer, Call
from launchkit import LaunchKit
from launchkit.testing import sign

ONE_PATH = "plain, one path"
MANY_PATHS = "plain, a new path each"
NOTHING = "no-op"
BY_HAND = "timer and id by hand"

SMALL, LARGE = 300, 20_000
"""Bytes of the cached responses."""

ATTACKER = "198.51.100.66"


@dataclass(frozen=True)
class Variant:
    """One kind of request through one app.

    `calls` gives that many requests, `is_right` judges an answer to one.
    """

    name: str
    app: Any
    per_round: int
    calls: Callable[[int], Iterable[Call]]
    is_right: Callable[[Answer], bool]


class Variants:
    """The variants of one protocol, with the kit that they share."""

    def __init__(self, protocol: Any, data_dir: Path) -> None:
        self._protocol = protocol
        self._secret = new_secret()
        self._gate = threading.Event()
        self._numbers = itertools.count()
        self._visitors = addresses()
        self.kit: LaunchKit = launched(data_dir, self._secret, lambda _: self._gate.wait())
        self._app = protocol.app(b'{"id": 42, "name": "A thing"}')

    async def start(self) -> list[Variant]:
        """Start the kit, bring it into the state that the variants are about, and return them."""
        await self._protocol.start(self.kit)
        await self._fail_logins()
        return list(self._all())

    async def stop(self) -> None:
        """Let the handlers go and stop the kit."""
        self._gate.set()
        await self._protocol.stop(self.kit)

    async def _fail_logins(self) -> None:
        """Bring one address to the end of what it may fail, which holds for five minutes."""
        refusing = self._protocol.around(self.kit, self._protocol.app(b"{}", 401))
        for _ in range(20):
            await self._protocol.ask(refusing, Call("/login", "POST", visitor=ATTACKER))

    def _all(self) -> Iterator[Variant]:
        plain = repeated(Call("/items/42"))
        around = self._around
        yield Variant(NOTHING, self._protocol.nothing(self._app), 2000, plain, is_plain)
        yield Variant(BY_HAND, self._protocol.by_hand(self._app), 2000, plain, has_id)
        yield Variant(ONE_PATH, around(self._app), 2000, plain, has_id)
        yield Variant(MANY_PATHS, around(self._app), 20_000, self._new_paths, has_id)
        yield Variant("limited, login succeeds", around(self._app), 500, self._logins, has_id)
        yield Variant(
            "limited, refused", around(self._app), 500, repeated(Call("/login", "POST", visitor=ATTACKER)), is_refused
        )
        for size, path in ((SMALL, "/listings"), (LARGE, "/tools/7")):
            app = around(self._protocol.app(b"x" * size))
            yield Variant(f"cache hit, {size} B", app, 500, repeated(Call(path)), is_hit)
        yield Variant("health, live", around(self._app), 1000, repeated(Call("/health/live")), is_healthy)
        yield Variant("webhook accepted", around(self._app), 20, self._deliveries, is_accepted)

    def _around(self, app: Any) -> Any:
        return self._protocol.around(self.kit, app)

    def _new_paths(self, count: int) -> Iterator[Call]:
        return (Call(f"/items/{next(self._numbers)}") for _ in range(count))

    def _logins(self, count: int) -> Iterator[Call]:
        return (Call("/login", "POST", visitor=next(self._visitors)) for _ in range(count))

    def _deliveries(self, count: int) -> Iterator[Call]:
        for _ in range(count):
            event = {"id": f"evt_{next(self._numbers)}", "type": "invoice.paid", "data": {"object": _INVOICE}}
            body = json.dumps(event).encode()
            signature = sign("stripe", self._secret, body, now=time.time(), message_id="")
            headers = (("content-type", "application/json"), *signature.items())
            yield Call(WEBHOOK_PATH, "POST", body, headers)


_INVOICE = {f"field_{number}": "a value of some length" for number in range(40)}


def repeated(call: Call) -> Callable[[int], Iterable[Call]]:
    return lambda count: itertools.repeat(call, count)


def addresses() -> Iterator[str]:
    for number in itertools.count():
        yield f"{11 + (number >> 24)}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def is_plain(answer: Answer) -> bool:
    return answer.status == 200


def has_id(answer: Answer) -> bool:
    return answer.status == 200 and "x-request-id" in answer.headers and "cache-status" not in answer.headers


def is_refused(answer: Answer) -> bool:
    return answer.status == 429


def is_hit(answer: Answer) -> bool:
    return answer.status == 200 and "; hit" in answer.headers.get("cache-status", "")


def is_healthy(answer: Answer) -> bool:
    return answer.status == 200 and answer.headers["content-type"] == "application/health+json"


def is_accepted(answer: Answer) -> bool:
    return answer.status == 200 and answer.headers["content-type"] == "application/json" and answer.size == 21
