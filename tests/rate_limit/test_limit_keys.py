"""Whom a limit counts: keys are equal only where limit and caller are."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rate_limit.limited_site import ADDRESS, FORM, Site, keys, post
from tests.support.exchanges import WrittenExchange

from launchkit.pipeline.exchange import Exchange
from launchkit.rate_limit.keys import UNKNOWN, Discriminator


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def value(by: Any, exchange: WrittenExchange | None = None, address: str | None = ADDRESS) -> str | None:
    return Discriminator(by, digest, lambda name, error: None).value(exchange or post(), address)


def with_headers(*headers: tuple[str, str], target: str = "/a") -> WrittenExchange:
    return post(target, *[(name.encode(), text.encode("latin-1")) for name, text in headers])


def test_a_caller_is_known_by_address() -> None:
    """All clients whose address is unknown share one name."""
    assert value("ip") == ADDRESS
    assert value("ip", address=None) == UNKNOWN


def test_spellings_of_a_path_are_one_path() -> None:
    """What frameworks route to one handler is counted as one."""
    spellings = ["/items/1", "/items/1/", "//items//1", "/items/1\n"]
    assert len({value("path", post(path)) for path in spellings}) == 1
    assert value("path", post("/items/1")) != value("path", post("/items/2"))


def test_a_path_with_a_parameter_is_one_bucket_unless_path_is_asked_for() -> None:
    """Guessing through a path's parameter uses up one count; `path` gives each value its own."""
    rule = {"paths": "/reset/{token}", "limit": "5/minute"}
    for by, buckets in (("ip", 1), ("path", 20), ("ip+path", 20)):
        site = Site({"rules": {"reset": rule | {"by": by}}})
        for number in range(20):
            site.enter(post(f"/reset/{number}"))
        assert len(set(site.charges)) == buckets


def test_a_header_is_taken_as_a_hash() -> None:
    """What a caller writes is neither kept nor as long as they like."""
    key = value("header:x-api-key", with_headers(("x-api-key", "sk_live_1" * 1000)))
    assert key is not None
    assert "sk_live" not in key
    assert len(key) < 100


def test_leaving_a_header_out_gains_nothing() -> None:
    """Without the header the address counts, apart from whoever sends that address as the header."""
    assert value("header:x-api-key") == ADDRESS
    assert value("header:x-api-key", with_headers(("x-api-key", ADDRESS))) != ADDRESS
    assert value("header:x-api-key", with_headers(("x-api-key", ""))) != value("header:x-api-key", address="")
    assert value("header:a+header:b", with_headers(("b", "1"))) != value("header:a+header:b", with_headers(("a", "1")))


def test_a_second_header_of_the_same_name_does_not_make_another_caller() -> None:
    """Frameworks differ in which of two they take: whoever repeats it gets no bucket of the first one's choice."""
    honest = value("header:x-api-key", with_headers(("x-api-key", "k")))
    seen = {
        value("header:x-api-key", with_headers(("x-api-key", "k"), ("x-api-key", str(number)))) for number in range(9)
    }
    assert len(seen | {honest}) <= 2


def test_a_function_says_who_calls() -> None:
    """Its text is hashed; None asks not to count."""
    assert value(lambda exchange: exchange.path, post("/x")) == "=" + digest("/x")
    assert value(lambda exchange: None) is None


@pytest.mark.parametrize("answer", [7, b"bytes", object(), ["a"]])
def test_a_function_that_gives_no_text_counts_by_address(answer: object) -> None:
    """A mistake in the app's function does not switch a limit off, and is reported."""
    reported: list[tuple[str, Exception]] = []
    wrong = Discriminator(lambda exchange: answer, digest, lambda *report: reported.append(report))  # type: ignore[arg-type, return-value]
    assert wrong.value(post(), ADDRESS) == ADDRESS
    assert [name for name, _ in reported] == ["rate_limit"]


def test_a_function_that_raises_counts_by_address() -> None:
    """Whatever it raises."""
    site = Site({"rules": {"a": {"paths": "/a", "limit": "1/minute", "by": [lambda exchange: exchange.nothing]}}})
    assert site.enter(post("/a")) is None
    refused = site.enter(post("/a"))
    assert refused is not None
    assert refused.status == 429
    assert [type(error) for _, error in site.broken] == [AttributeError] * 2


def test_a_function_that_asks_not_to_count_is_not_counted() -> None:
    """Other limits of the same rule still are."""
    site = Site({"rules": {"a": {"paths": "/a", "limit": "1/minute", "by": [lambda exchange: None, "ip"]}}})
    assert site.enter(post("/a")) is None
    assert [ADDRESS in charge.key for charge in site.charges] == [True]


def test_a_compound_key_is_of_all_its_parts() -> None:
    """`ip+header:...` counts each pair; leaving out a header leaves the address twice."""
    by = "ip+header:x-team"
    pairs = {
        value(by, with_headers(*[("x-team", team)] * bool(team)), address)
        for team in ("", "red", "blue")
        for address in ("198.51.100.1", "198.51.100.2")
    }
    assert len(pairs) == 6


@pytest.mark.parametrize(
    ("by", "own", "address", "account"),
    [
        ("ip", True, True, False),
        ("account", False, False, True),
        ("ip+account", False, True, True),
        ("path", True, False, False),
        ("header:x-a+ip", True, True, False),
        (len, False, False, False),
    ],
)
def test_what_a_key_is_made_of_is_known(by: Any, own: bool, address: bool, account: bool) -> None:
    """Whether it needs an account or an address, and whether its state may be told to the client."""
    made = Discriminator(by, digest, lambda name, error: None)
    assert (made.is_own, made.by_address, made.by_account) == (own, address, account)


# --- no two callers, and no two limits, share a bucket ---------------------------------------------------------------

names = st.text(st.sampled_from(":|%/=+,; aA0é") | st.characters(codec="utf-8"), min_size=1, max_size=6)
addresses = st.sampled_from(["203.0.113.7", "203.0.113.70", "2001:db8::/64", "::/64", UNKNOWN])
texts = st.text(st.sampled_from("|=:+a1é "), max_size=4) | addresses
BYS = ("ip", "path", "header:x-a", "header:x-b", "header:x-a+header:x-b", "ip+path", "ip+header:x-a", "path+ip")
callers = st.fixed_dictionaries(
    {"address": addresses, "path": st.sampled_from(["/p", "/p/1", "/p/1|2", "/p/="])},
    optional={"x-a": texts, "x-b": texts},
)


def bucket(name: str, by: str, caller: dict[str, str]) -> str:
    site = Site({"rules": {name: {"paths": "/p/*", "limit": "5/minute", "by": by}}}, address=caller["address"])
    exchange = with_headers(
        *[(header, text) for header, text in caller.items() if header.startswith("x-")], target=caller["path"]
    )
    (key,) = keys(site.begin(exchange).asked)
    return key


def meant(name: str, by: str, caller: dict[str, str]) -> tuple[object, ...]:
    def part(one: str) -> object:
        if one == "ip":
            return caller["address"]
        header = caller.get(one.removeprefix("header:"))
        return caller["path"] if one == "path" else (caller["address"] if header is None else (header,))

    return (name, by, *[part(one) for one in by.split("+")])


@given(
    one=st.tuples(names, st.sampled_from(BYS), callers),
    other=st.tuples(names, st.sampled_from(BYS), callers),
    same_limit=st.booleans(),
)
def test_keys_are_equal_only_where_limit_and_caller_are(
    one: tuple[str, str, dict[str, str]], other: tuple[str, str, dict[str, str]], same_limit: bool
) -> None:
    """Whatever rules are called and callers write."""
    if same_limit:
        other = (one[0], one[1], other[2])
    assert (bucket(*one) == bucket(*other)) is (meant(*one) == meant(*other))


@given(st.text(max_size=8), st.text(max_size=8), st.sampled_from(["account", "ip+account", "header:x-a+account"]))
def test_accounts_are_apart_in_every_kind_of_key(one: str, other: str, by: str) -> None:
    """Different texts of a function's or a caller's making do not meet in one bucket."""
    site = Site({"rules": {"a": {"paths": "/a", "limit": "5/minute", "by": by}}})
    for text in (one, other):
        site.enter(with_headers(("x-a", "|"), target="/a?email=" + text.encode("utf-8").hex() + "x"))
    assert len({charge.key for charge in site.charges}) == len({one, other})


def test_two_rules_with_equal_limits_do_not_share() -> None:
    """A request under both uses up one of each."""
    rule = {"paths": "/a", "limit": "2/minute", "by": "ip, account"}
    site = Site({"rules": {"one": rule, "other": rule}})
    for _ in range(2):
        assert site.enter(post("/a", FORM), b"email=a") is None
    counts = {charge.key: site.charges.count(charge) for charge in site.charges}
    assert list(counts.values()) == [2] * 4


def test_one_name_in_two_parts_of_an_exchange_is_two_callers() -> None:
    """A path that reads like a header does not count as that header."""

    def by_path(exchange: Exchange) -> str:
        return exchange.path

    site = Site({"rules": {"a": {"paths": "/a", "limit": "5/minute", "by": [by_path, "header:x-a"]}}})
    site.enter(with_headers(("x-a", "/a")))
    assert len({charge.key for charge in site.charges}) == 2
