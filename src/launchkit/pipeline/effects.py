"""What a feature may ask of the world, what comes back, and the Protocols of the backends that answer.

A hook that needs I/O is a generator. It writes `verdict = yield from Hit(charges)`; the performer of the server's
colour (see `perform`) carries the effect out on a backend and sends the answer back into the generator. The list of
effects is closed on purpose: it is the complete list of what LaunchKit does to the world during a request.

Every backend has each verb twice, `hit` for threads and `ahit` for the event loop, so that a backend of the wrong
colour fails at once instead of blocking the loop in silence. A backend that cannot answer raises `StoreDown`, which the
performer throws into the generator: whether the request goes on is the feature's policy.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from launchkit.pipeline.exchange import EarlyResponse, Exchange, Header

T = TypeVar("T")


class StoreDown(Exception):
    """A store did not answer within its budget, or refused."""


class StoreFull(StoreDown):
    """A store has no room left for this."""


# --- rate limits ---------------------------------------------------------------------------------------------------


MOST_EXACT: Final = 64
"""Hits in a window up to which each is kept: what a slot of the workers' table has room for."""


@dataclass(slots=True, frozen=True)
class Quota:
    """How much a bucket takes: at most `amount` hits in any `seconds`, for each of `windows`.

    Windows are ordered: each is longer than the one before and takes more. `exact` buckets keep the time of every hit
    (a sliding log). The others have one window and keep two counts, for the current fixed window and the one before,
    which weighs as much as of it still lies within the last `seconds` (a sliding-window counter).
    """

    windows: tuple[tuple[int, float], ...]
    exact: bool = True

    @property
    def longest(self) -> float:
        """Seconds after which a hit no longer matters."""
        return self.windows[-1][1]

    @property
    def most(self) -> int:
        """The hits that a log has to keep."""
        return self.windows[-1][0]


class Charge(NamedTuple):
    """One unit against the bucket under `key`."""

    key: str
    quota: Quota


@dataclass(slots=True)
class Verdict:
    """The answer to a `Hit`.

    When `allowed`: the window with the least remaining, how many more it takes, and the seconds until it takes more
    again. When not: the exhausted window with the longest wait, and that wait. `charge` is the index of the charge that
    the window belongs to, `limit` its amount. `token` has one entry for each charge, in order, for a later `Refund`.
    """

    allowed: bool
    limit: int
    remaining: int
    reset_after: float
    token: tuple[object, ...] = ()
    charge: int = 0


@dataclass(slots=True)
class Hit:
    """Charge every bucket or none. With `local`, count in this process whatever store is configured."""

    charges: tuple[Charge, ...]
    local: bool = False

    def __iter__(self) -> Generator[Hit, Verdict, Verdict]:
        return (yield self)


@dataclass(slots=True)
class Refund:
    """Give back what a `Hit` took: all entries of its token, or some."""

    token: tuple[object, ...]
    local: bool = False

    def __iter__(self) -> Iterator[Refund]:
        return (yield self)


# --- read cache ----------------------------------------------------------------------------------------------------


CacheKey: TypeAlias = tuple[str, bytes, str, bytes, bytes]
"""What tells one stored URL from another: scheme, host, mount prefix and path, path as received, query as received."""

Names: TypeAlias = tuple[str, ...]
"""What a stored response can be invalidated by: its path, the paths above it, its tags. Each says which it is."""


@dataclass(slots=True)
class StoredResponse:
    """A response as the cache keeps it. Times are seconds of the kit's monotonic clock.

    `stored` is when its age was zero. It is fresh before `fresh_until`; before `stale_until` it may be given while one
    request fetches anew, and before `error_until` when that fails (RFC 5861). `varied` are the request header values
    that this variant was selected by, in the order of `vary`. `is_public` says that it may be given to a request that
    says who is asking. `route` is the label of the app's route, where it is known. `given` is the answer that was last
    made of it, and the age in seconds that it tells: most are given many times within a second.
    """

    status: int
    headers: tuple[Header, ...]
    body: bytes
    stored: float
    fresh_until: float
    stale_until: float
    error_until: float
    vary: tuple[bytes, ...] = ()
    varied: tuple[bytes | None, ...] = ()
    is_public: bool = False
    route: str | None = None
    given: tuple[int, EarlyResponse] | None = field(default=None, init=False, compare=False, repr=False)


class Fetched(NamedTuple):
    """The variant that answers a request, or None, and the moment of the look-up in the store's own terms.

    Whoever runs the app after that hands the moment back with `Store`, so that what was invalidated in the meantime is
    not stored. With a response it may be the moment of an earlier look-up, the one that the response came from.
    """

    response: StoredResponse | None
    moment: object


@dataclass(slots=True)
class Fetch:
    """Look up the variant under a cache key that answers this request (RFC 9111 section 4.1)."""

    key: CacheKey
    request: Exchange

    def __iter__(self) -> Generator[Fetch, Fetched, Fetched]:
        return (yield self)


@dataclass(slots=True)
class Store:
    """Keep one variant under a cache key, unless one of its names has been invalidated since `moment`."""

    key: CacheKey
    response: StoredResponse
    names: Names
    moment: object

    def __iter__(self) -> Iterator[Store]:
        return (yield self)


@dataclass(slots=True)
class Invalidate:
    """Let nothing be used again that has one of these names and was looked up before now."""

    names: Names

    def __iter__(self) -> Iterator[Invalidate]:
        return (yield self)


class Flight(Protocol):
    """Another request's run of the app, whose response may be of use."""

    def wait(self, seconds: float) -> None:
        """Return when it has ended, after `seconds` at the latest."""
        ...

    async def await_end(self, seconds: float) -> None:
        """Do `wait` on the event loop."""
        ...


@dataclass(slots=True)
class Follow:
    """Wait until a flight has ended, `seconds` at most."""

    flight: Flight
    seconds: float

    def __iter__(self) -> Iterator[Follow]:
        return (yield self)


# --- the request body ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Body:
    """A request body that was read: at most the asked number of bytes of it."""

    data: bytes
    too_large: bool = False
    disconnected: bool = False


@dataclass(slots=True)
class ReadBody:
    """Read the request body, up to `limit` bytes. The app still receives all of it, byte for byte."""

    limit: int

    def __iter__(self) -> Generator[ReadBody, Body, Body]:
        return (yield self)


# --- webhooks ------------------------------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class NewDelivery:
    """A verified webhook, before it is stored."""

    source: str
    dedupe_key: str
    """Unique within its source."""
    event: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)
    digest: str | None = None
    """The SHA-256 of what was signed, in hex, if `dedupe_key` was not part of it; unique within its source too."""
    order_key: str | None = None
    """Deliveries with the same one are handled one after the other."""
    delay: float = 0.0
    """Seconds before it may be handled."""
    may_use_reserve: bool = False
    """Whether it may take the room that is kept for senders that never send again."""


@dataclass(slots=True)
class Enqueue:
    """Store a delivery durably. The answer comes after the commit: True if it is new, False for a duplicate.

    Raises `StoreFull` when there is no room for it.
    """

    delivery: NewDelivery

    def __iter__(self) -> Generator[Enqueue, bool, bool]:
        return (yield self)


# --- health --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Probe:
    """Run the app's health checks that are due and record their outcome; without answer when that is done."""

    def __iter__(self) -> Iterator[Probe]:
        return (yield self)


Effect = Hit | Refund | Fetch | Store | Invalidate | Follow | ReadBody | Enqueue | Probe

Steps = Generator[Effect, Any, T]
"""A hook in the middle of its work. What is sent in depends on the effect, which `Generator` cannot say: hence Any."""


@dataclass(slots=True)
class Waiting(Generic[T]):
    """Steps that have come to an effect that nothing can answer at once."""

    steps: Steps[T]
    effect: Effect


# --- backends ------------------------------------------------------------------------------------------------------


class Limiter(Protocol):
    """Counts. See `Hit` and `Refund`."""

    def hit(self, charges: tuple[Charge, ...]) -> Verdict:
        """Charge all or none."""
        ...

    async def ahit(self, charges: tuple[Charge, ...]) -> Verdict:
        """Charge all or none, from the event loop."""
        ...

    def refund(self, token: tuple[object, ...]) -> None:
        """Give a reservation back."""
        ...

    async def arefund(self, token: tuple[object, ...]) -> None:
        """Give a reservation back, from the event loop."""
        ...


class InstantLimiter(Limiter, Protocol):
    """A limiter that can mostly answer without waiting, whatever the colour: it has to be asked by neither."""

    def hit_now(self, charges: tuple[Charge, ...]) -> Verdict | None:
        """Charge all or none; None, and nothing is charged, if that takes waiting."""
        ...

    def refund_now(self, token: tuple[object, ...]) -> bool:
        """Give a reservation back; False, and nothing is given back, if that takes waiting."""
        ...


class ResponseStore(Protocol):
    """Keeps responses. See `Fetch`, `Store` and `Invalidate`."""

    def fetch(self, key: CacheKey, request: Exchange) -> Fetched:
        """Return the variant that answers this request."""
        ...

    async def afetch(self, key: CacheKey, request: Exchange) -> Fetched:
        """Return the variant that answers this request, from the event loop."""
        ...

    def store(self, key: CacheKey, response: StoredResponse, names: Names, moment: object) -> None:
        """Keep a variant."""
        ...

    async def astore(self, key: CacheKey, response: StoredResponse, names: Names, moment: object) -> None:
        """Keep a variant, from the event loop."""
        ...

    def invalidate(self, names: Names) -> None:
        """Let nothing of these names be used again."""
        ...

    async def ainvalidate(self, names: Names) -> None:
        """Let nothing of these names be used again, from the event loop."""
        ...


class InstantResponseStore(ResponseStore, Protocol):
    """A store that can mostly answer without waiting, whatever the colour."""

    def fetch_now(self, key: CacheKey, request: Exchange) -> Fetched | None:
        """Do `fetch`; None if that takes waiting."""
        ...

    def store_now(self, key: CacheKey, response: StoredResponse, names: Names, moment: object) -> bool:
        """Do `store`; False, and nothing is kept, if that takes waiting."""
        ...

    def invalidate_now(self, names: Names) -> bool:
        """Do `invalidate`; False, and nothing is invalidated, if that takes waiting."""
        ...

    def invalidate_soon(self, names: Names) -> None:
        """Do `invalidate` without waiting; other machines may hear of it later."""
        ...

    def moment(self) -> object:
        """Return the moment of a look-up that is not made, for `Store`."""
        ...


class Inbox(Protocol):
    """Remembers deliveries. See `Enqueue`."""

    def put(self, delivery: NewDelivery) -> bool:
        """Return after the commit: True if new."""
        ...

    async def aput(self, delivery: NewDelivery) -> bool:
        """Return after the commit, from the event loop: True if new."""
        ...


class Prober(Protocol):
    """Runs health checks. See `Probe`."""

    def probe(self) -> None:
        """Run what is due."""
        ...

    async def aprobe(self) -> None:
        """Run what is due, from the event loop."""
        ...


class BodyReader(Protocol):
    """Reads the body of the request at hand. Each adapter has one of its own colour."""

    def read(self, limit: int) -> Body:
        """Read up to `limit` bytes."""
        ...


class AsyncBodyReader(Protocol):
    """Reads the body of the request at hand, on the event loop."""

    async def aread(self, limit: int) -> Body:
        """Read up to `limit` bytes."""
        ...


@dataclass(slots=True, frozen=True)
class Backends:
    """The backends that the kit supplies, one for each kind of effect."""

    limiter: Limiter
    local_limiter: Limiter
    responses: ResponseStore
    inbox: Inbox
    prober: Prober
    instant_limiter: InstantLimiter | None = None
    """`limiter`, where that is one: what it does at once costs no coroutine."""
    instant_responses: InstantResponseStore | None = None
    """`responses`, where that is one."""
