"""What is copied of responses while they pass: exactly what was sent, and together no more than there is room for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cache_driver import COLOURS, CachedSite, Gate, Said, says, until

from launchkit.settings import CacheRule

MakeSite = Callable[..., CachedSite]

SIZE = 20_000
"""Bytes of a cache, of which half are for copies: two of `PAGE` have room, three have not."""
PAGE = b"x" * 4_000


# --- a buffer that is filled again --------------------------------------------------------------------------------


class Refilling(CachedSite):
    """An app that sends each chunk from the same buffer, as one that reads a file into it does."""

    kind: Callable[[bytearray], Any] = memoryview

    def _filled(self) -> Iterator[Any]:
        buffer = bytearray(4)
        for chunk in (b"one;", b"two;", b"end;"):
            buffer[:] = chunk
            yield self.kind(buffer)

    async def _asgi(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for chunk in self._filled():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body"})

    def _wsgi(self, environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return self._filled()


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("kind", [memoryview, lambda buffer: buffer], ids=["memoryview", "bytearray"])
def test_a_chunk_is_stored_as_it_was_sent(colour: str, kind: Callable[[bytearray], Any]) -> None:
    """Servers write it out at once, so that an app may use its buffer again."""
    shop = Refilling(colour=colour)
    shop.kind = kind
    shop.get()
    answer = shop.get()
    assert (answer.is_hit, answer.body) == (True, b"one;two;end;")
    assert type(answer.body) is bytes
    shop.close()


# --- too large ------------------------------------------------------------------------------------------------------

SMALL = CacheRule(paths="/items/*", max_body=10)


def test_what_announces_too_much_is_not_copied_at_all(site: MakeSite) -> None:
    """Its Content-Length says enough, before the first chunk."""
    shop = site(SMALL, app=says(b"x" * 11, ("content-length", "11")))
    answer = shop.get()
    assert (answer.body, answer.is_stored, answer.detail) == (b"x" * 11, False, "too-large")
    shop.app = says(b"x" * 10, ("content-length", "10"))
    assert shop.get().is_stored


@pytest.mark.parametrize(
    ("headers", "long"), [([("content-length", "11")], 3_600), ([], 60)], ids=["announced", "found out"]
)
def test_nobody_waits_for_what_is_too_large(site: MakeSite, headers: list[tuple[str, str]], long: int) -> None:
    """For an hour, if it says so itself: few such responses cease to be. Else there may only have been no room."""
    shop = site(SMALL, app=says(b"x" * 11, *headers))
    shop.get()
    for seconds, together in ((long - 1, 2), (1, 1)):
        shop.clock.advance(seconds)
        before, gate = len(shop.calls), Gate()
        shop.app = says(b"small", ("cache-control", "no-store"), status=503, before=gate)
        visits = [shop.begin() for _ in range(2)]
        until(lambda: len(shop.calls) + shop.followers == before + 2)  # noqa: B023  # called at once
        reached = len(shop.calls) - before
        gate.open()
        for visit in visits:
            visit.end()
        assert reached == together


# --- all together ---------------------------------------------------------------------------------------------------


class Meeting(Gate):
    """A gate that knows who waits at it."""

    def __init__(self) -> None:
        super().__init__()
        self.present: list[None] = []

    def wait(self) -> None:
        self.present.append(None)
        super().wait()

    async def await_opening(self) -> None:
        self.present.append(None)
        await super().await_opening()


def under_way(shop: CachedSite, count: int) -> int:
    """Let responses be under way at the same time, and return how many of them are stored in the end."""
    meeting, before, calls = Meeting(), shop.figures.stored, len(shop.calls)
    shop.app = says([PAGE, meeting, b"end"])
    visits = [shop.begin(f"/items/{calls}-{number}") for number in range(count)]
    until(lambda: len(meeting.present) == count)
    meeting.open()
    for visit in visits:
        assert visit.end().body == PAGE + b"end"
    return shop.figures.stored - before


def test_what_is_under_way_takes_no_more_than_its_share(site: MakeSite) -> None:
    """Slow readers of many large pages do not fill memory: what finds no room passes, and is not stored."""
    shop = site(settings={"size": SIZE})
    for _ in range(3):  # all that was taken is given back
        assert under_way(shop, 5) == 2
    assert under_way(shop, 2) == 2


def broken(shop: CachedSite) -> None:
    shop.app = says([PAGE, ValueError("broken")])
    assert shop.get().body == PAGE


def aborted(shop: CachedSite) -> None:
    shop.app = says([PAGE, b"more", b"end"])
    assert shop.get(disconnect_after=1).body == PAGE


def cut_short(shop: CachedSite) -> None:
    shop.app = says([PAGE], ("content-length", "9999"))
    assert shop.get().body == PAGE


def too_large(shop: CachedSite) -> None:
    shop.app = says([PAGE, b"x" * 2_000, b"end"])
    assert len(shop.get().body) == 6_003


def invalidated(shop: CachedSite) -> None:
    def app(_: object) -> Said:
        shop.cache.invalidate()
        return says(PAGE)

    shop.app = app
    assert shop.get().body == PAGE


def whole(shop: CachedSite) -> None:
    shop.app = says(PAGE)
    shop.cache.invalidate()
    assert shop.get().is_stored


@pytest.mark.parametrize("ending", [broken, aborted, cut_short, too_large, invalidated, whole])
def test_however_a_response_ends_its_room_is_given_back(site: MakeSite, ending: Callable[[CachedSite], None]) -> None:
    """After any number of them there is as much room as before."""
    shop = site(CacheRule(paths="/items/*", max_body=5_000), settings={"size": SIZE})
    for _ in range(4):
        ending(shop)
    assert under_way(shop, 3) == 2


@pytest.mark.parametrize("colour", ["asgi", "asgi waiting"])
def test_a_response_that_is_cancelled_gives_its_room_back(colour: str) -> None:
    """An ASGI server cancels the task of a client that is gone."""
    shop = CachedSite(colour=colour, settings={"size": SIZE})
    for _ in range(4):
        meeting = Meeting()
        shop.app = says([PAGE, meeting, b"never"])
        visit = shop.begin()
        until(lambda: meeting.present)  # noqa: B023  # called at once
        visit.cancel()
        until(lambda: not len(shop.flights))
    assert under_way(shop, 3) == 2
    shop.close()


@pytest.mark.parametrize("colour", ["wsgi", "wsgi waiting"])
@pytest.mark.parametrize("status", ["200 OK", "503 Down"])
def test_a_wsgi_app_that_starts_anew_gives_its_room_back(colour: str, status: str) -> None:
    """PEP 3333: the server raises what went wrong if the app has written already; what was copied is forgotten."""

    class Hesitating(CachedSite):
        def _wsgi(self, environ: Any, start_response: Any) -> Any:
            if environ["PATH_INFO"] != "/items/again":
                return super()._wsgi(environ, start_response)
            start_response("200 OK", [])(PAGE)
            start_response(status, [], (ValueError, ValueError("broken"), None))
            raise AssertionError("no server lets an app go on here")

    shop = Hesitating(colour=colour, settings={"size": SIZE})
    for _ in range(4):
        answer = shop.get("/items/again")
        assert (answer.body, type(answer.error)) == (PAGE, ValueError)
    assert under_way(shop, 3) == 2
