"""What a client is told about its limits."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rate_limit.limited_site import HTML, JSON, Site, header_of, post
from tests.support.exchanges import WrittenExchange

from launchkit.pipeline.effects import Verdict
from launchkit.pipeline.exchange import EarlyResponse
from launchkit.rate_limit.answers import limit_field, policy_name, refused_body, too_many_requests, unavailable

ANN = b'{"email": "ann@example.com"}'
BROWSER = (b"accept", b"text/html,application/xhtml+xml,*/*;q=0.8")

Item = tuple[str, dict[str, int]]


def structured_list(field: bytes | str) -> list[Item]:
    """Parse a List of Strings with Integer parameters (RFC 9651 section 4.2.1), and nothing else."""
    text = field.decode("ascii") if isinstance(field, bytes) else field
    found: list[Item] = []
    rest = text
    while True:
        item = re.match(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"((?:; *[a-z*][a-z0-9_.*-]*=-?\d{1,15})*)', rest)
        assert item, f"no list member at {rest!r} in {text!r}"
        pairs = [pair.strip().split("=") for pair in item[2].split(";")[1:]]
        found.append((re.sub(r"\\(.)", r"\1", item[1]), {key: int(value) for key, value in pairs}))
        rest = rest[item.end() :]
        if not rest:
            return found
        comma = re.match(r"[ \t]*,[ \t]*", rest)
        assert comma, f"no comma at {rest!r} in {text!r}"
        rest = rest[comma.end() :]


def response_to(site: Site, exchange: WrittenExchange, body: bytes = b"", status: int = 200) -> WrittenExchange:
    """Return the exchange with the app's answer, or with the limits' own."""
    early = site.enter(exchange, body)
    return exchange.answer(early.status, *early.headers) if early else site.respond(exchange, status, JSON)


def test_a_response_tells_what_is_left() -> None:
    """The policies that apply, and the tightest of them (draft-ietf-httpapi-ratelimit-headers-10)."""
    site = Site({"rules": {"search": {"paths": "/a", "limit": "3/minute; 100/hour"}}})
    for remaining in (2, 1, 0):
        response = response_to(site, post("/a"))
        assert structured_list(response.response_header(b"ratelimit-policy") or b"") == [
            ("search", {"q": 3, "w": 60}),
            ("search", {"q": 100, "w": 3600}),
        ]
        assert structured_list(response.response_header(b"ratelimit") or b"") == [("search", {"r": remaining, "t": 60})]
    refused = response_to(site, post("/a"))
    assert structured_list(refused.response_header(b"ratelimit") or b"") == [("search", {"r": 0, "t": 60})]


def test_a_success_is_told_without_what_it_was_given_back() -> None:
    """What is left is what is left after the refund."""
    site = Site({"rules": {"form": {"paths": "/a", "limit": "3/minute", "count": "failures"}}})
    for status, remaining in ((200, 3), (401, 2), (200, 2), (401, 1)):
        response = response_to(site, post("/a"), status=status)
        assert structured_list(response.response_header(b"ratelimit") or b"")[0][1]["r"] == remaining


def test_what_the_app_says_itself_stands() -> None:
    """The kit never adds a header that the app has set."""
    site = Site({"rules": {"a": {"paths": "/a", "limit": "3/minute"}}})
    exchange = post("/a")
    site.enter(exchange)
    site.respond(exchange, 200, (b"ratelimit", b'"own";r=1'))
    assert [value for name, value in exchange.response_headers if name == b"ratelimit"] == [b'"own";r=1']


@pytest.mark.parametrize("by", ["account", "ip+account", [len], ["account", "ip"]])
def test_nothing_is_told_about_an_accounts_bucket(by: object) -> None:
    """It would say what others do with that account; neither name, nor amount, nor rest of such a limit appears."""
    rule = {"paths": "/a", "limit": "3/17 seconds", "by": by, "count": "failures"}
    site = Site({"rules": {"secret-rule": rule, "open": {"paths": "/a", "limit": "50/minute"}}})
    own = {("open", 50, 60)} | ({("secret-rule", 3, 17)} if "ip" in by else set())  # type: ignore[operator]
    for _ in range(5):
        early = site.enter(post("/a", JSON), ANN)
        response = post("/a").answer(early.status, *early.headers) if early else site.respond(post("/a"), 401, JSON)
        policies = structured_list(response.response_header(b"ratelimit-policy") or b'"open";q=50;w=60')
        assert {(name, item["q"], item["w"]) for name, item in policies} <= own
        if early and "ip" not in by:  # type: ignore[operator]
            assert header_of(early, b"ratelimit") is None
            assert b"secret" not in early.body
            assert "violated-policies" not in json.loads(early.body)


def test_the_login_preset_tells_of_addresses_only() -> None:
    """As the launch defaults have it, let pass and refused."""
    site = Site(login="/login")
    for number in range(7):
        site.address = f"192.0.2.{number}"
        response = response_to(site, post("/login", JSON), ANN, status=401)
        assert b"account" not in b"".join(name + value for name, value in response.response_headers)
        names = [name for name, _ in structured_list(response.response_header(b"ratelimit-policy") or b"")]
        assert names == ["login", "login-failures"]


def test_where_the_address_is_unknown_nothing_is_told() -> None:
    """What is left of a bucket that only observes means nothing to anybody."""
    site = Site(address=None, login="/login")
    response = response_to(site, post("/login", JSON), ANN)
    assert response.response_header(b"ratelimit") is None


@given(
    st.text(st.characters(codec="utf-8") | st.sampled_from('"\\;,=\n\x7f'), min_size=1, max_size=12),
    st.integers(0, 10**9),
    st.floats(0, 1e8),
)
def test_any_name_makes_a_well_formed_field(name: str, remaining: int, reset_after: float) -> None:
    """Whatever a rule is called (RFC 9651 section 3.3.3)."""
    ((told, parameters),) = structured_list(limit_field(policy_name(name), remaining, reset_after))
    assert len(told) == len(name)
    assert parameters["r"] == remaining
    assert reset_after <= parameters["t"] <= reset_after + 1
    assert json.loads(policy_name(name)) == told


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8), st.integers(1, 200), max_size=4))
def test_all_policies_of_a_route_make_a_well_formed_field(rules: dict[str, int]) -> None:
    """However many there are."""
    site = Site({"rules": {name: {"paths": "/a", "limit": f"{amount}/90 seconds"} for name, amount in rules.items()}})
    response = response_to(site, post("/a"))
    field = response.response_header(b"ratelimit-policy")
    told = structured_list(field) if field is not None else []
    assert [item for _, item in told] == [{"q": amount, "w": 90} for amount in rules.values()]


# --- the 429 ---------------------------------------------------------------------------------------------------------


def refusal(reset_after: float, *headers: tuple[bytes, bytes], name: str | None = '"a"') -> EarlyResponse:
    return too_many_requests(post("/a", *headers), Verdict(False, 5, 0, reset_after), name, b'"a";q=5;w=60', "/a")


@pytest.mark.parametrize(("reset_after", "seconds"), [(12.3, 13), (12.0, 12), (0.001, 1), (0.0, 1), (86_399.5, 86_400)])
def test_a_refusal_says_when_to_come_back(reset_after: float, seconds: int) -> None:
    """In whole seconds, at least one, and never before the window opens (RFC 9110 section 10.2.3)."""
    early = refusal(reset_after)
    assert header_of(early, b"retry-after") == b"%d" % seconds
    ((_, told),) = structured_list(header_of(early, b"ratelimit") or b"")
    assert told["r"] == 0
    assert reset_after <= told["t"] <= seconds


def test_a_refusal_is_a_problem() -> None:
    """For programs (RFC 9457), stored by nobody (RFC 6585 section 4), and other for whoever accepts pages."""
    early = refusal(12.3)
    assert (early.status, early.route) == (429, "/a")
    assert dict(early.headers) == {
        b"content-type": b"application/problem+json",
        b"cache-control": b"no-store",
        b"vary": b"accept",
        b"retry-after": b"13",
        b"ratelimit-policy": b'"a";q=5;w=60',
        b"ratelimit": b'"a";r=0;t=13',
    }
    assert json.loads(early.body) == {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Too many requests",
        "status": 429,
        "detail": "Try again in 13 seconds.",
        "violated-policies": ["a"],
    }


def test_a_browser_gets_a_page() -> None:
    """Whole and harmless HTML, as it asks for, with the same headers."""
    early = refusal(700, BROWSER)
    assert header_of(early, b"content-type") == b"text/html; charset=utf-8"
    assert header_of(early, b"cache-control") == b"no-store"
    assert header_of(early, b"retry-after") == b"700"
    page = early.body.decode()
    assert page.startswith("<!doctype html>")
    assert page.count("Too many requests") == 2
    assert "Try again in 12 minutes." in page
    assert "<script" not in page
    assert re.search(r"\{[a-z]+\}", page) is None


@pytest.mark.parametrize("accept", [b"", b"*/*", b"application/json", b"application/problem+json, text/plain"])
def test_a_program_gets_json(accept: bytes) -> None:
    """Unless it names HTML."""
    assert header_of(refusal(1, (b"accept", accept)), b"content-type") == b"application/problem+json"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "1 second"),
        (2, "2 seconds"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (121, "3 minutes"),
        (7140, "119 minutes"),
        (7200, "2 hours"),
        (7201, "3 hours"),
        (86_400, "24 hours"),
    ],
)
def test_a_wait_is_told_in_words(seconds: int, words: str) -> None:
    """Rounded up: whoever waits as long as told is let in."""
    assert json.loads(refusal(seconds).body)["detail"] == f"Try again in {words}."


def test_a_refusal_without_a_name_tells_no_more_than_the_wait() -> None:
    """That much has to be told for anybody to keep to it."""
    early = refusal(5, name=None)
    assert set(dict(early.headers)) == {b"content-type", b"cache-control", b"vary", b"retry-after", b"ratelimit-policy"}
    assert set(json.loads(early.body)) == {"type", "title", "status", "detail"}


@pytest.mark.parametrize("headers", [[], [BROWSER]])
def test_the_other_answers_have_the_same_shape(headers: list[tuple[bytes, bytes]]) -> None:
    """503 where nothing can be counted, 413 and 400 where no account can be looked for."""
    request = post("/a", *headers)
    busy = unavailable(request, "/a")
    large = refused_body(request, 413, "Content Too Large", "At most 5 bytes.", "/a")
    for early in (busy, large):
        assert header_of(early, b"cache-control") == b"no-store"
        assert early.route == "/a"
        if headers:
            assert header_of(early, b"content-type") == HTML[1]
        else:
            problem: dict[str, Any] = json.loads(early.body)
            assert problem["status"] == early.status
    assert (busy.status, header_of(busy, b"retry-after")) == (503, b"5")
    assert (large.status, header_of(large, b"retry-after")) == (413, None)
    assert b"At most 5 bytes." in large.body
