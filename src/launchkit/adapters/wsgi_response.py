"""What a WSGI server is given to iterate in place of the app's response: classes with `close`, never generators."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launchkit.adapters.wsgi import WsgiExchange


class Response:
    """A response iterable that tells its exchange about chunks, the end and failures."""

    __slots__ = ("_body", "_chunks", "_exchange")

    def __init__(self, exchange: WsgiExchange, body: Iterable[bytes]) -> None:
        self._exchange = exchange
        self._body = body
        self._chunks = iter(body)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            chunk = next(self._chunks)
        except StopIteration:
            self._exchange.watch(b"", exhausted=True)
            self._exchange.finish()
            raise
        except BaseException as error:
            self._exchange.error = error
            raise
        self._exchange.watch(chunk)
        return chunk

    def close(self) -> None:
        """Close the app's iterable and end the exchange."""
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._exchange.close()


class SizedResponse(Response):
    """A response iterable whose number of chunks is known."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]  # made only for iterables with a length


class RefusableResponse(Response):
    """A response iterable that gives way to a refusal, for an app that reads too much of the request."""

    __slots__ = ("_has_refused",)

    def __init__(self, exchange: WsgiExchange, body: Iterable[bytes]) -> None:
        super().__init__(exchange, body)
        self._has_refused = False

    def __next__(self) -> bytes:
        if self._has_refused:
            raise StopIteration
        chunk = b""
        try:
            chunk = super().__next__()
        except Exception:
            if self._exchange.body_refusal is None:
                raise
        refusal = self._exchange.body_refusal
        if refusal is None:
            return chunk
        self._has_refused = True
        return self._exchange.refuse(refusal)
