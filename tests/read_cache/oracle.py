"""One script of requests and answers, played through two caches: LaunchKit's and hishel's.

The rules:

- A script is a list of steps on one URL. Each says what the client sends, how many seconds after the step before, and
  what the origin would answer at that moment. So both origins say the same at a step, whatever was asked before.
- An answer carries the number of its step (`x-made`, and the body), a 304 too (`x-confirmed`). So every reply tells
  whose answer it is, and by which 304 it was last confirmed.
- hishel's state machine runs with its own loop, as a shared cache (RFC 9111), over a list in memory. Like its ASGI
  middleware it is given a Date where the origin sends none (RFC 9110 section 6.6.1).
- Both see the same clock, which stands still within a step.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Any

import pytest
from hishel import (
    BaseStorage,
    CacheMiss,
    CacheOptions,
    Entry,
    FromCache,
    Headers,
    IdleClient,
    Request,
    Response,
    StoreAndUse,
)
from hishel._core import _spec
from hishel._sync_rfc import handle_request_with_rfc
from tests.support.clients import AsgiClient

from launchkit import LaunchKit, Settings
from launchkit.testing import FrozenClock

OPTIONS = CacheOptions(shared=True)
URL = "https://example.org/"
MODIFIED = "Mon, 02 Jan 2006 15:04:05 GMT"
"""The Last-Modified of every answer that has one."""

SAFE = ("GET", "HEAD")
_CONDITIONS = ("if-none-match", "if-modified-since")


def http_date(seconds: float) -> str:
    return formatdate(seconds, usegmt=True)


@dataclass(frozen=True)
class Answer:
    """What the origin says at a step. Times are seconds; None where it says nothing."""

    control: str | None = None
    status: int = 200
    expires: int | str | None = None
    """Seconds from now, or what stands there instead of a date."""
    date: int | None = 0
    """Seconds from now."""
    age: int | None = None
    etag: str | None = None
    modified: bool = False
    vary: str | None = None
    cookie: bool = False

    def fields(self, now: float) -> dict[str, str]:
        """Return the header fields of a whole answer or of a 304."""
        values = {
            "cache-control": self.control,
            "expires": http_date(now + self.expires) if isinstance(self.expires, int) else self.expires,
            "date": None if self.date is None else http_date(now + self.date),
            "age": None if self.age is None else str(self.age),
            "etag": self.etag,
            "last-modified": MODIFIED if self.modified else None,
            "vary": self.vary,
            "set-cookie": "session=1" if self.cookie else None,
        }
        return {name: value for name, value in values.items() if value is not None}

    def is_known_by(self, headers: dict[str, str]) -> bool:
        """Tell whether a request's conditions are answered with 304 (RFC 9110 section 13.2.2)."""
        if self.status != 200:
            return False
        tags = headers.get("if-none-match")
        if tags is not None:
            return tags == "*" or (self.etag is not None and _opaque(self.etag) == _opaque(tags))
        return self.modified and "if-modified-since" in headers


def _opaque(tag: str) -> str:
    return tag.removeprefix("W/")


@dataclass(frozen=True)
class Step:
    """One request. `wait` are the seconds since the one before."""

    answer: Answer
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    wait: int = 0


@dataclass(frozen=True)
class Reply:
    """What a client was given at a step."""

    status: int
    body: bytes
    headers: dict[str, str]
    asked: tuple[dict[str, str], ...]
    """The conditions in each request that reached the origin."""
    outcome: str
    """`stored`: nobody asked the origin. `confirmed`: the origin said 304, and a stored answer was given. `covered`: it
    failed, and a stored answer was given. `origin`: what the origin said was given."""

    @property
    def made(self) -> int | None:
        """The step whose answer this is; None for an origin's own 304."""
        return int(self.headers["x-made"]) if "x-made" in self.headers else None

    @property
    def confirmed(self) -> int | None:
        """The step of the 304 by which it was last confirmed, if it was."""
        return int(self.headers["x-confirmed"]) if "x-confirmed" in self.headers else None

    @property
    def is_from_store(self) -> bool:
        return self.outcome != "origin"


class Origin:
    """Says what the present step of a script has it say."""

    def __init__(self, clock: FrozenClock) -> None:
        self._clock = clock
        self.number = 0
        self.step = Step(Answer())
        self.asked: list[dict[str, str]] = []
        self.statuses: list[int] = []

    def go_to(self, number: int, step: Step) -> None:
        self.number, self.step, self.asked, self.statuses = number, step, [], []

    def say(self, method: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        self.asked.append({name: headers[name] for name in _CONDITIONS if name in headers})
        answer, now = self.step.answer, self._clock.time()
        fields = answer.fields(now)
        if method in SAFE and answer.is_known_by(headers):
            status, fields, body = 304, {**fields, "x-confirmed": str(self.number)}, b""
        else:
            has_body = method != "HEAD" and answer.status != 204
            body = b"answer %d" % self.number if has_body else b""
            status, fields = answer.status, {**fields, "content-type": "text/plain", "x-made": str(self.number)}
        self.statuses.append(status)
        return status, fields, body

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        status, fields, body = self.say(scope["method"], headers)
        encoded = [(name.encode(), value.encode()) for name, value in fields.items()]
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        await send({"type": "http.response.body", "body": body})

    def outcome(self, headers: dict[str, str]) -> str:
        """Tell how a reply with these headers came about."""
        if not self.asked:
            return "stored"
        if headers.get("x-made", str(self.number)) == str(self.number):
            return "origin"
        return "confirmed" if self.statuses[-1] == 304 else "covered"


@dataclass
class Whole(Response):
    """hishel's response with its body beside it, instead of a stream that can be read once."""

    body: bytes = b""


class ListStorage(BaseStorage):
    """What hishel has stored of the one URL, in the order in which it came."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[Entry] = []

    def create_entry(
        self, request: Request, response: Response, key: str, *, ttl: float | None = None, tti: float | None = None
    ) -> Entry:
        entry = Entry(uuid.uuid4(), request, response)
        self.entries.append(entry)
        return entry

    def get_entries(self, key: str) -> list[Entry]:
        return list(self.entries)

    def update_headers(self, id: uuid.UUID, headers: Headers) -> None:  # noqa: A002  # hishel's name
        self.entries = [
            replace(one, response=replace(one.response, headers=headers)) if one.id == id else one
            for one in self.entries
        ]

    def remove_entry(self, id: uuid.UUID) -> None:  # noqa: A002  # hishel's name
        self.entries = [one for one in self.entries if one.id != id]


@dataclass(frozen=True)
class Round:
    """What both caches made of one step."""

    step: Step
    now: float
    ours: Reply
    theirs: Reply
    held: tuple[Entry, ...]
    """What hishel had stored before."""


class Caches:
    """LaunchKit's cache, without rules: what says itself how long it is fresh is stored. And hishel's."""

    def __init__(self) -> None:
        self.clock = FrozenClock()
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(_spec, "time", self.clock)
        self._origin = Origin(self.clock)
        self._client = AsgiClient(LaunchKit(Settings(environment="test"), clock=self.clock).asgi(self._origin.asgi))
        self._path = 0

    def close(self) -> None:
        self._client.close()
        self._patch.undo()

    def play(self, script: Sequence[Step]) -> Iterator[Round]:
        """Play a script step by step, on a path of its own, so that nothing of it is stored yet."""
        self._path += 1
        storage = ListStorage()
        for number, step in enumerate(script):
            self.clock.advance(step.wait)
            held = tuple(storage.entries)
            self._origin.go_to(number, step)
            ours = self._launchkit(step)
            self._origin.go_to(number, step)
            theirs = self._hishel(step, storage)
            yield Round(step, self.clock.time(), ours, theirs, held)

    def _launchkit(self, step: Step) -> Reply:
        got = self._client.request(step.method, f"/items/{self._path}", step.headers)
        assert got.error is None
        return self._reply(got.status, got.body, dict(got.headers))

    def _hishel(self, step: Step, storage: ListStorage) -> Reply:
        response, _ = handle_request_with_rfc(request_of(step), self._ask, storage, URL, OPTIONS)
        assert isinstance(response, Whole)
        body = b"" if step.method == "HEAD" else response.body
        return self._reply(response.status_code, body, dict(response.headers))

    def _ask(self, request: Request) -> Whole:
        status, fields, body = self._origin.say(request.method, dict(request.headers))
        return Whole(status, Headers({"date": http_date(self.clock.time()), **fields}), body=body)

    def _reply(self, status: int, body: bytes, headers: dict[str, str]) -> Reply:
        origin = self._origin
        return Reply(status, body, headers, tuple(origin.asked), origin.outcome(headers))


def request_of(step: Step) -> Request:
    """Return a step's request in hishel's terms."""
    return Request(step.method, URL, Headers(dict(step.headers)))


def would_store(request: Request, response: Response) -> bool:
    """Tell whether hishel would store a response."""
    return isinstance(CacheMiss(options=OPTIONS, request=request).next(response), StoreAndUse)


def would_give(entry: Entry, request: Request) -> bool:
    """Tell whether hishel, had it nothing else, would give what is stored to a request of this moment."""
    return isinstance(IdleClient(OPTIONS).next(request, [entry]), FromCache)
