"""Request bodies that are too large, as far as that can be told from the headers."""

from __future__ import annotations

import json

import pytest
from tests.support.exchanges import WrittenExchange

from launchkit.edge.body_limit import BodyLimit
from launchkit.pipeline.exchange import EarlyResponse
from launchkit.pipeline.paths import PathPattern


class Counted(WrittenExchange):
    """Remembers to what its body is limited."""

    limited_to: int | None = None

    def limit_body(self, limit: int, too_large: EarlyResponse) -> None:
        self.limited_to = limit
        self.too_large = too_large


def ask(length: bytes | None, limit: int = 1_000) -> tuple[EarlyResponse | None, Counted]:
    exchange = Counted("POST", headers=[] if length is None else [(b"content-length", length)])
    return BodyLimit(limit).on_request(exchange), exchange


@pytest.mark.parametrize("length", [b"1001", b"5000", b"00002000", b"9" * 5_000])
def test_an_announced_body_that_is_too_large_is_refused_at_once(length: bytes) -> None:
    """413 as problem+json, before a byte of it is read."""
    answer, exchange = ask(length)
    assert answer is not None
    assert (answer.status, json.loads(answer.body)["status"], exchange.limited_to) == (413, 413, None)


@pytest.mark.parametrize("length", [None, b"0", b"1000", b"0" * 5_000 + b"1", b"-1", b"x", b""])
def test_any_other_body_is_counted(length: bytes | None) -> None:
    """What is announced may not be true."""
    answer, exchange = ask(length)
    assert answer is None
    assert (exchange.limited_to, exchange.too_large.status) == (1_000, 413)


def test_webhooks_have_a_limit_of_their_own() -> None:
    """This one is not for them."""
    hook = PathPattern("/webhooks/stripe")
    limit = BodyLimit(1, lambda: (hook,))
    assert limit.select("POST", frozenset({hook})) is None
    assert limit.select("POST", frozenset()) is limit
