"""What only WSGI has."""

from __future__ import annotations

import io
import wsgiref.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import pytest
from tests.adapters.pipeline_host import PipelineHost
from tests.adapters.test_hooks import BodyWatching
from tests.support.clients import WsgiClient
from tests.support.targets import Target

from launchkit.adapters.host import announced_length
from launchkit.pipeline.exchange import Exchange
from launchkit.pipeline.interceptor import Interceptor


@pytest.fixture(name="host")
def _host(tmp_path: Path) -> Iterator[PipelineHost]:
    host = PipelineHost("wsgi", [], tmp_path)
    yield host
    host.close()


def call(app: Any, **items: Any) -> tuple[Any, list[Any]]:
    """Call an app as a server would, and return its iterable and what start_response was given."""
    started: list[Any] = []

    def start_response(*args: Any) -> Callable[[bytes], object]:
        started.append(args)
        return lambda data: None

    environ = WsgiClient(app).environ("GET", items.pop("path", "/hello"), [], b"", "203.0.113.7")
    return app(environ | items, start_response), started


class File(wsgiref.util.FileWrapper):
    """A server's own class for files."""


def test_a_file_body_is_returned_as_the_server_made_it(host: PipelineHost, tmp_path: Path) -> None:
    """Servers know it by identity and send the file themselves."""
    host.world.file = str(tmp_path / "a.txt")
    Path(host.world.file).write_bytes(b"content")
    body, _ = call(host.client.app, path="/file", **{"wsgi.file_wrapper": File})
    assert type(body) is File
    assert b"".join(body) == b"content"


def test_a_file_wrapper_that_is_no_class_is_known_by_what_it_made(host: PipelineHost, tmp_path: Path) -> None:
    """Some servers give a function."""
    host.world.file = str(tmp_path / "a.txt")
    Path(host.world.file).write_bytes(b"content")
    made: list[Any] = []

    class Sent:
        """No iterable at all: only its server knows what to do with it."""

        __slots__ = ()

    def wrapper(file: Any, size: int = 8192) -> Any:
        made.append(Sent())
        return made[0]

    body, _ = call(host.client.app, path="/file", **{"wsgi.file_wrapper": wrapper})
    assert body is made[0]


def test_a_file_that_is_watched_is_iterated(tmp_path: Path) -> None:
    """Hooks see it in parts, as the client does, and it is closed."""
    watching = BodyWatching()
    host = PipelineHost("wsgi", [watching], tmp_path)
    host.world.file = str(tmp_path / "a.txt")
    Path(host.world.file).write_bytes(b"content")
    body, _ = call(host.client.app, path="/file", **{"wsgi.file_wrapper": File})
    assert type(body) is not File
    assert b"".join(body) == b"content"
    assert watching.chunks == [(b"content", False), (b"", True)]
    host.close()


def test_a_file_is_timed_until_it_is_closed(make: Callable[..., Target]) -> None:
    """What the server does with it in between counts."""
    target = make("wsgi")
    body, _ = call(target.client.app, path="/file", **{"wsgi.file_wrapper": File})
    target.world.clock.advance(2)
    body.close()
    assert [figures.mean for figures in target.kit.timing.routes()] == [2]


def test_a_body_keeps_its_length(host: PipelineHost) -> None:
    """Servers derive Content-Length from a body of one part."""
    body, _ = call(host.client.app)
    assert len(body) == 1
    stream, _ = call(host.client.app, path="/stream")
    assert not hasattr(stream, "__len__")


def test_headers_keep_the_apps_spelling_and_order(host: PipelineHost) -> None:
    """They pass as the app wrote them."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 Fine", [("X-Mixed-Case", "é"), ("A", "b")])
        return [b""]

    host.client.app.app = app
    _, started = call(host.client.app)
    assert started == [("200 Fine", [("X-Mixed-Case", "é"), ("A", "b")])]


def test_start_response_with_exc_info_replaces_the_first(host: PipelineHost) -> None:
    """PEP 3333: an app may change its mind while nothing was sent."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        try:
            raise ValueError
        except ValueError as error:
            start_response("500 Oops", [], (ValueError, error, None))
        return [b"oops"]

    host.client.app.app = app
    reply = host.request("GET", "/")
    assert (reply.status, reply.body) == (500, b"oops")


def test_the_write_callable_still_writes(make: Callable[..., Target]) -> None:
    """The old way of sending bodies passes, and is not cached as if it were nothing."""
    target = make("wsgi", read_cache={"rules": {"all": {"paths": "/write"}}})
    for _ in range(2):
        assert target.request("GET", "/write").body == b"written;returned"


def test_what_is_written_is_watched(tmp_path: Path) -> None:
    """The old way of sending bodies is shown as the new one is."""
    watching = BodyWatching()
    host = PipelineHost("wsgi", [watching], tmp_path)
    host.request("GET", "/write")
    assert watching.chunks == [(b"written;", False), (b"returned", True)]
    host.close()


def test_a_body_is_watched_where_the_response_starts_late(tmp_path: Path) -> None:
    """A generator calls start_response when its first chunk is asked for."""
    watching = BodyWatching()
    host = PipelineHost("wsgi", [watching], tmp_path)

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("content-length", "6")])
        yield b"one"
        yield b"two"

    host.client.app.app = app
    assert host.request("GET", "/").chunks == [b"one", b"two"]
    assert watching.chunks == [(b"one", False), (b"two", True)]
    host.close()


def test_a_response_that_the_app_has_thought_better_of_is_not_watched(tmp_path: Path) -> None:
    """Whoever watched the first asks again for the second, and sees it once."""
    watching = BodyWatching()
    host = PipelineHost("wsgi", [watching], tmp_path)

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        start_response("500 Oops", [], (ValueError, ValueError(), None))
        return [b"oops"]

    host.client.app.app = app
    assert host.request("GET", "/").body == b"oops"
    assert watching.chunks == [(b"oops", True)]
    host.close()


def test_an_app_that_raises_while_it_is_iterated_is_answered_for(host: PipelineHost) -> None:
    """Where it had not started its response, the client gets the kit's 500 before the server gets the exception."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        raise ValueError
        yield b""

    host.client.app.app = app
    reply = host.request("GET", "/")
    assert (reply.status, reply.chunks, type(reply.error)) == (500, [b"Internal Server Error"], ValueError)
    reply = host.request("HEAD", "/")
    assert (reply.status, reply.chunks, reply.header("content-length")) == (500, [], "21")
    reply = host.request("GET", "/", **{"werkzeug.debug.preserve_context": list.append})
    assert (reply.status, type(reply.error)) == (0, ValueError)


@pytest.mark.parametrize("phase", ["called", "iterated"])
def test_a_500_that_cannot_be_sent_hides_no_error_under_wsgi(host: PipelineHost, phase: str) -> None:
    """The app's exception is the one that the server gets, whatever the server says to the 500."""

    def generate() -> Iterator[bytes]:
        raise ValueError("the app's")
        yield b""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        return generate() if phase == "iterated" else [next(generate())]  # type: ignore[return-value]

    def refuse(*_: object) -> Any:
        raise OSError("gone")

    host.client.app.app = app
    for start_response in (refuse, lambda *_: refuse):
        if phase == "iterated" and start_response is not refuse:
            continue  # nothing is written: the body is a chunk
        environ = host.client.environ("GET", "/", [], b"", None)
        with pytest.raises(ValueError, match="the app's"):
            list(host.client.app(environ, start_response))
    assert host.failures.counts == {"sending a 500": 1 if phase == "iterated" else 2}


def test_what_is_no_error_is_not_answered_for(host: PipelineHost) -> None:
    """A worker that is told to stop has nothing more to say."""

    def app(environ: Any, start_response: Any) -> Any:
        raise SystemExit

    host.client.app.app = app
    with pytest.raises(SystemExit):
        host.request("GET", "/")
    assert host.client.reply.status == 0


def test_closing_is_passed_on_even_when_nothing_was_iterated(host: PipelineHost) -> None:
    """The app's `close` runs once, and what it raises is not lost."""
    closed: list[str] = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"x"])

        def close(self) -> None:
            closed.append("closed")

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return Body()

    host.client.app.app = app
    body, _ = call(host.client.app)
    body.close()
    assert closed == ["closed"]


def test_the_adapter_keeps_to_the_letter_of_wsgi(make: Callable[..., Target]) -> None:
    """The standard library's validator finds nothing, between server and kit or between kit and app."""
    target = make("wsgi")
    target.client.app.app = validator(target.client.app.app)
    checked = validator(target.client.app)
    for path in ("/hello", "/stream", "/health/live", "/items/1"):
        body, _ = call(checked, path=path, SCRIPT_NAME="", RAW_URI=path)
        assert b"".join(body)
        body.close()


def test_a_request_body_can_be_read_in_every_way_after_the_kit_did(tmp_path: Path) -> None:
    """`wsgi.input` has read, readline, readlines and iteration (PEP 3333)."""
    from tests.adapters.test_hooks import BodyReading

    host = PipelineHost("wsgi", [BodyReading(4)], tmp_path)
    seen: list[Any] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        stream = environ["wsgi.input"]
        seen.extend([stream.read(2), stream.readline(), stream.readlines()])
        start_response("200 OK", [])
        return [b""]

    host.client.app.app = app
    body = b"one\ntwo\nthree"
    host.request("POST", "/", body=body)
    host.request(
        "POST", "/", [("transfer-encoding", "chunked")], body, CONTENT_LENGTH="", **{"wsgi.input_terminated": True}
    )
    assert seen == [b"on", b"e\n", [b"two\n", b"three"]] * 2
    host.close()


def test_a_body_without_length_is_empty(tmp_path: Path) -> None:
    """Reading on would wait for a client that has nothing more to say."""
    from tests.adapters.test_hooks import BodyReading

    reading = BodyReading(100)
    host = PipelineHost("wsgi", [reading], tmp_path)
    host.request("GET", "/hello", CONTENT_LENGTH="")
    assert reading.bodies == [(b"", False, False)]
    host.request("POST", "/hello", CONTENT_LENGTH="10", **{"wsgi.input": io.BytesIO(b"half")})
    assert reading.bodies[-1] == (b"", False, True)
    host.close()


def test_the_exchange_tells_what_the_environ_says(tmp_path: Path) -> None:
    """Target, query, peer and headers, and paths that are no ASCII."""
    seen: list[Any] = []

    class Looking(Interceptor):
        def on_request(self, exchange: Exchange) -> None:
            seen.extend([exchange.target, exchange.query, exchange.peer, exchange.path])
            seen.append(exchange.header_values(b"x-two"))
            seen.append(exchange.header_values(b"x-none"))
            seen.append(sorted(exchange.request_headers()))
            exchange.hide_request_headers(frozenset({b"x-two"}))
            seen.append(exchange.header(b"x-two"))

    host = PipelineHost("wsgi", [Looking()], tmp_path)
    headers = [("x-two", "1"), ("x-two", "2"), ("content-type", "text/plain")]
    host.request("GET", "/a%20%C3%A9?c=%20", headers, SCRIPT_NAME="/m")
    expected = [
        (b"content-length", b"0"),
        (b"content-type", b"text/plain"),
        (b"host", b"example.org"),
        (b"x-two", b"1,2"),
    ]
    assert seen == [b"/a%20%C3%A9", b"c=%20", "203.0.113.7", "/m/a é", [b"1,2"], [], expected, None]
    seen.clear()
    host.request("GET", "/a%20%C3%A9", peer=None, RAW_URI="")
    assert seen[:3] == [b"/a%20%C3%A9", b"", None]
    host.close()


def test_an_inner_kit_passes_through_under_wsgi(make: Callable[..., Target]) -> None:
    """Two kits around each other are one: the outer one's."""
    target = make("wsgi")
    reply = WsgiClient(target.kit.wsgi(target.client.app)).request("GET", "/hello")
    assert len(reply.header_values("x-request-id")) == 1
    assert [figures.count for figures in target.kit.timing.routes()] == [1]


def test_what_is_against_the_rules_is_left_to_the_server(host: PipelineHost) -> None:
    """A header outside of Latin-1 or a status without a number passes as the app gave it."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("Fine", [("X-Snowman", "\u2603")])
        return [b""]

    host.client.app.app = app
    _, started = call(host.client.app, PATH_INFO="/\u2603", HTTP_X_SNOWMAN="\u2603")
    assert started == [("Fine", [("X-Snowman", "\u2603")])]


@pytest.mark.parametrize("make_headers", [tuple, iter, lambda pairs: dict(pairs).items()])
def test_headers_may_come_in_any_iterable(host: PipelineHost, make_headers: Callable[[Any], Any]) -> None:
    """PEP 3333 asks for a list; servers take more, and what works without the kit works with it."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", make_headers([("x-app", "yes")]))
        return [b"fine"]

    host.client.app.app = app
    reply = host.request("GET", "/")
    assert (reply.error, reply.header("x-app"), reply.body) == (None, "yes", b"fine")


def test_an_app_is_shown_another_connection(tmp_path: Path) -> None:
    """Address, scheme and host change in its environ, and stay for features what they were."""
    seen: list[Any] = []

    class Showing(Interceptor):
        def on_request(self, exchange: Exchange) -> None:
            exchange.present_to_app("198.51.100.1", "http", b"shop.example")
            exchange.present_to_app(None, "http", None)
            seen.extend([exchange.peer, exchange.scheme, exchange.header(b"host")])
            seen.append(exchange.headers_named(frozenset({b"host", b"x-none"})))

    def app(environ: Any, start_response: Any) -> list[bytes]:
        seen.extend([environ["REMOTE_ADDR"], environ["wsgi.url_scheme"], environ.get("HTTPS"), environ["HTTP_HOST"]])
        start_response("200 OK", [])
        return [b""]

    host = PipelineHost("wsgi", [Showing()], tmp_path)
    host.client.app.app = app
    host.request("GET", "/", HTTPS="on", **{"wsgi.url_scheme": "https"})
    expected = ["203.0.113.7", "https", b"shop.example", ((b"host", b"shop.example"),)]
    assert seen == [*expected, "198.51.100.1", "http", None, "shop.example"]
    host.close()


def test_an_app_is_shown_other_headers_under_wsgi(tmp_path: Path) -> None:
    """In place of those of the same names."""
    seen: list[Any] = []

    class Setting(Interceptor):
        def on_request(self, exchange: Exchange) -> None:
            exchange.set_request_headers(iter([(b"x-two", b"new"), (b"content-type", b"text/\xe9")]))
            seen.extend([exchange.header(b"x-two"), exchange.resource[0]])
            seen.append(list(exchange.request_headers_besides(frozenset({b"host", b"content-length"}))))

    def app(environ: Any, start_response: Any) -> list[bytes]:
        seen.extend([environ["HTTP_X_TWO"], environ["CONTENT_TYPE"]])
        start_response("200 OK", [])
        return [b""]

    host = PipelineHost("wsgi", [Setting()], tmp_path)
    host.client.app.app = app
    host.request("GET", "/", [("x-two", "1"), ("x-two", "2")])
    new = [(b"x-two", b"new"), (b"content-type", b"text/\xe9")]
    assert seen == [b"new", "http", new, "new", "text/\xe9"]
    host.close()


def test_a_header_that_was_added_can_be_replaced(tmp_path: Path) -> None:
    """Like one of the app's, whose spelling stays."""

    class Replacing(Interceptor):
        def on_response_start(self, exchange: Exchange) -> None:
            exchange.default_response_headers(((b"x-added", b"1"),))
            exchange.replace_response_header(b"x-added", b"2")
            exchange.replace_response_header(b"x-app", b"changed")

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X-App", "own"), ("X-Other", "own")])
        return [b""]

    host = PipelineHost("wsgi", [Replacing()], tmp_path)
    host.client.app.app = app
    assert host.request("GET", "/").headers == [("X-App", "changed"), ("X-Other", "own"), ("x-added", "2")]
    host.close()


def test_a_body_that_breaks_off_while_a_feature_reads_it_is_told_to_the_feature(tmp_path: Path) -> None:
    """Servers raise OSError for it."""
    from tests.adapters.test_hooks import BodyReading

    class Broken(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise ConnectionResetError

    reading = BodyReading(100)
    host = PipelineHost("wsgi", [reading], tmp_path)
    host.client.app.app = lambda environ, start_response: start_response("200 OK", []) and [b""]
    host.request("POST", "/hello", CONTENT_LENGTH="10", **{"wsgi.input": Broken()})
    assert reading.bodies == [(b"", False, True)]
    assert host.failures.counts == {}
    host.close()


@pytest.mark.parametrize(
    ("text", "length"), [("12", 12), ("0", 0), ("", None), ("-1", None), ("\xb2", None), ("9" * 5000, None)]
)
def test_a_content_length_is_digits(text: str, length: int | None) -> None:
    """What Python takes for digits beyond ASCII, or for a number too long to read, must not raise on the way in."""
    assert announced_length(text) == length
