"""Responses pass through unchanged but for what the kit adds, on every framework."""

from __future__ import annotations

import pytest

from tests.support.targets import Boom, Target

SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "strict-origin-when-cross-origin",
}


def has_kit_headers(reply: object, *, security: bool = True) -> bool:
    names = {name.lower() for name, _ in reply.headers}  # type: ignore[attr-defined]
    return "x-request-id" in names and (not security or names >= set(SECURITY))


def test_response_keeps_its_status_headers_and_body(target: Target) -> None:
    """What the app answers reaches the client."""
    reply = target.request("GET", "/hello")
    assert (reply.status, reply.body, reply.header("x-app")) == (200, b"hello", "yes")


@pytest.mark.parametrize("path", ["/hello", "/items/7", "/stream", "/nowhere", "/moved", "/boom", "/health/live"])
def test_every_kind_of_response_carries_the_kits_headers(target: Target, path: str) -> None:
    """Success, stream, 404, redirect, 500 and the kit's own answers: all carry request id and security headers."""
    assert has_kit_headers(target.request("GET", path))


def test_security_headers_have_their_defaults(target: Target) -> None:
    """The defaults are those of the documentation."""
    reply = target.request("GET", "/hello")
    assert {name: reply.header(name) for name in SECURITY} == SECURITY


def test_a_header_that_the_app_has_set_is_not_added_again(target: Target) -> None:
    """The app's own values win, and stand once."""
    reply = target.request("GET", "/cookies")
    assert reply.header_values("x-request-id") == ["the-apps-own"]
    assert reply.header_values("x-frame-options") == ["DENY"]


def test_repeated_headers_stay_apart(target: Target) -> None:
    """Two Set-Cookie headers are two (RFC 6265 section 3)."""
    cookies = target.request("GET", "/cookies").header_values("set-cookie")
    assert [cookie[:3] for cookie in cookies] == ["a=1", "b=2"]


def test_head_has_headers_and_no_body(target: Target) -> None:
    """HEAD passes like any other method."""
    reply = target.request("HEAD", "/hello")
    assert (reply.status, reply.body) == (200, b"")
    assert reply.header("content-length") == "5"
    assert has_kit_headers(reply)


def test_an_early_answer_to_head_has_no_body(target: Target) -> None:
    """The kit's own answers keep to RFC 9110 section 9.3.2 too."""
    reply = target.request("HEAD", "/health/live")
    assert (reply.status, reply.body) == (200, b"")
    assert int(reply.header("content-length") or 0) > 0
    assert not any(message.get("body") for message in reply.messages)


def test_a_stream_is_not_held_back(target: Target) -> None:
    """Each chunk has reached the client before the app makes the next."""
    reply = target.request("GET", "/stream")
    assert reply.body == b"chunk 0;chunk 1;chunk 2;"
    assert target.world.seen == [1, 2, 3]


def test_a_request_body_reaches_the_app(target: Target) -> None:
    """Bodies pass in full, in as many parts as they come."""
    parts = [b"a" * 70_000, b"", b"b" * 30_000]
    assert target.request("POST", "/echo", body=parts).body == b"".join(parts)


def test_an_exception_before_the_response_gives_a_500_and_is_raised_again(target: Target) -> None:
    """The client gets an answer, and the server gets the traceback."""
    reply = target.request("GET", "/boom")
    assert reply.status == 500
    if target.name != "flask":  # Flask answers for itself and raises only when it is testing
        assert isinstance(reply.error, Boom)


def test_an_exception_after_the_response_started_is_raised_again(target: Target) -> None:
    """What was sent stays sent; nothing is put behind it."""
    reply = target.request("GET", "/boom-late")
    assert reply.body == b"begun;"
    assert isinstance(reply.error, Boom)


def test_an_unknown_method_passes(target: Target) -> None:
    """What the app does with a method it does not know is the app's affair."""
    reply = target.request("BREW", "/hello")
    assert reply.status in (200, 405)
    assert has_kit_headers(reply)


@pytest.mark.parametrize("path", ["/%ff%fe", "/a%00b", "/%2e%2e/x", "/" + "x" * 9_000, "/%F0%9F%8D%95"])
def test_odd_paths_pass(target: Target, path: str) -> None:
    """A path that is no UTF-8, or absurdly long, is the app's to refuse."""
    reply = target.request("GET", path)
    assert reply.status == 404
    assert reply.error is None


@pytest.mark.parametrize(
    "headers",
    [
        [("x-request-id", "\xff\xfe"), ("cookie", "\xff")],
        [("x-request-id", "a"), ("x-request-id", "b")],
        [("x-forwarded-for", "<script>, , 300.1.1.1")],
        [("x-huge", "y" * 100_000)],
        [("content-length", "-1")],
        [("authorization", "\xe9\xe9")],
    ],
)
def test_odd_headers_pass(target: Target, headers: list[tuple[str, str]]) -> None:
    """Malformed, repeated and oversized headers never give an error of the kit's."""
    reply = target.request("GET", "/hello", headers)
    assert (reply.status, reply.error) == (200, None)


def test_nothing_of_the_kits_fails(target: Target) -> None:
    """All of the above happens without an error inside the kit."""
    for path in ("/hello", "/stream", "/counted", "/health/ready", "/metrics", "/boom"):
        target.request("GET", path)
    target.request("POST", "/login", body=b"{}")
    assert dict(target.kit._failures.counts) == {}


@pytest.mark.parametrize(("method", "path"), [("GET", "/health/live"), ("HEAD", "/health/live"), ("GET", "/boom")])
def test_a_complete_answer_has_one_length(target: Target, method: str, path: str) -> None:
    """Content-Length once, of the whole body, also where HEAD asks for no more (RFC 9110 section 8.6)."""
    reply = target.request(method, path)
    (length,) = reply.header_values("content-length")
    assert int(length) == len(target.request("GET", path).body)
