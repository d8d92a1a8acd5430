"""What a WSGI server is given to iterate in place of the app's response: classes with `close`, never generators.

Only within such a class is a generator in use: for an app whose response may still turn out to be another's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launchkit.adapters.wsgi import WsgiExchange


class Response:
    """A response iterable that tells its exchange about chunks, the end and failures."""

    __slots__ = ("_body", "_chunks", "_exchange")

    def __init__(self, exchange: WsgiExchange, body: Iterable[bytes], chunks: Iterator[bytes]) -> None:
        self._exchange = exchange
        self._body = body
        self._chunks = chunks

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


def replaceable(exchange: WsgiExchange, body: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the app's chunks, or the body of the response that is sent in place of the app's, as soon as there is one.

    The app is let run to its end in any case. What it raises is raised, unless it has been refused its request.
    """
    try:
        chunks = iter(body)
        if not exchange.gives_way():
            for chunk in chunks:
                if exchange.gives_way():
                    break
                yield chunk
        if exchange.gives_way():
            yield exchange.hand_over()
            deque(chunks, maxlen=0)
    except Exception as error:
        if exchange.answers_for(error):
            yield exchange.hand_over()
        if exchange.body_refusal is None:
            raise
