"""The queue that an app already has, as the place where its webhook handlers run: `webhooks={"queue": ...}`.

Every process that imports the module of the kit, the queue's workers too, knows the kit's handlers. What the queue
carries is a ticket, a few characters that stand for one attempt on one delivery; the delivery itself stays in the
inbox, and the inbox alone decides what happens next. So a queue is asked for nothing but to carry:

- It repeats nothing: a handler that fails is tried again by the inbox, by its schedule, and so is a delivery whose
  message or worker was lost. A queue's own retries would only bring tickets that are void by then.
- It gives no message a date of expiry: a void ticket costs one look at the inbox, while a message that expires where
  clocks differ or a queue is long would be an attempt lost.
- It sets no time limit where it need not: LaunchKit ends an attempt after `handler_timeout` itself, and writes it down.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakSet

from launchkit.errors import LaunchKitError
from launchkit.webhooks.delivery import Delivery
from launchkit.webhooks.queue import Queue

if TYPE_CHECKING:
    from dramatiq import Broker

__all__ = ["CeleryApp", "Queue", "celery_queue", "dramatiq_queue", "handoff"]

TASK: Final = "launchkit.handle"
"""The name of the task, or actor, that handles a delivery."""
ASK_SECONDS: Final = 1.0
"""How long Redis has to connect, and to answer how it keeps its data."""


class CeleryApp(Protocol):
    """What is used of a `celery.Celery`, with its own signatures, which have no types."""

    def task(self, *args: Any, **opts: Any) -> Any:
        """Return a decorator that makes a function a task."""
        ...

    def connection_for_write(self, url: None = None, **kwargs: Any) -> Any:
        """Return a connection to the broker."""
        ...


def handoff(function: Callable[[Delivery], object]) -> Queue:
    """Return a queue of any kind: whatever `function` puts a delivery on.

    It is called for each attempt, in a thread, with the delivery. Once it has returned, the other side has
    `handler_timeout` seconds to do the work and to call `kit.complete(delivery.idempotency_key)`; otherwise it is
    called again, until the attempts are used up. The other side can get the same delivery twice.

    Args:
        function: sync; raises if the delivery could not be queued.

    Raises:
        LaunchKitError: if the function is async.
    """
    if inspect.iscoroutinefunction(function):
        raise LaunchKitError(_ASYNC)
    return _Handoff(function)


def celery_queue(app: CeleryApp, *, queue: str | None = None) -> Queue:
    """Return Celery as a queue: its workers run the kit's handlers, in the task `launchkit.handle`.

    The workers have to import the module that makes the kit, for example by the app's `include`.

    Args:
        app: the Celery app.
        queue: the name of a queue that no other app's workers serve; by default where the app routes the task.

    Raises:
        LaunchKitError: if there is a queue for this app already.
    """
    return _CeleryQueue(app, queue)


def dramatiq_queue(broker: Broker | None = None, *, queue_name: str = "default") -> Queue:
    """Return Dramatiq as a queue: its workers run the kit's handlers, in the actor `launchkit.handle`.

    The workers have to import the module that makes the kit.

    Args:
        broker: by default the one of `dramatiq.set_broker`, which has to come first.
        queue_name: the name of a queue that no other app's workers serve.

    Raises:
        ValueError: if there is a queue for this broker already.
    """
    return _DramatiqQueue(broker, queue_name)


class _Handoff:
    """Whoever works on the other side says itself that it is done, so `run` is not needed."""

    runs_tickets = False

    def __init__(self, function: Callable[[Delivery], object]) -> None:
        self._function = function

    def send(self, delivery: Delivery, ticket: str) -> object:
        result = self._function(delivery)
        if inspect.iscoroutine(result):
            result.close()
            raise LaunchKitError(_ASYNC)
        return result

    def bind(self, run: Callable[[str], None]) -> None:
        """Forget it."""

    def warnings(self) -> Sequence[str]:
        return ()


class _CeleryQueue:
    runs_tickets = True

    def __init__(self, app: CeleryApp, queue: str | None) -> None:
        if app in _celery_apps:  # Celery would silently go on with the task of the first one
            raise LaunchKitError("this Celery app has a celery_queue already: make it once and give it to every kit")
        _celery_apps.add(app)
        self._app = app
        self._queue = queue
        self._run: Callable[[str], None] = _unbound

        def handle(ticket: str) -> None:
            self._run(ticket)

        # Acknowledged when a worker takes it, whatever the app's default: what a broker brings back, because a worker
        # died or a handler outlived the visibility time-out, would only be passed over. And for this app alone: Celery
        # would make it a task of every other app in the process.
        options = {"serializer": "json", "acks_late": False, "ignore_result": True, "max_retries": 0, "shared": False}
        self._task = app.task(name=TASK, **options)(handle)

    def send(self, delivery: Delivery, ticket: str) -> object:
        return self._task.apply_async((ticket,), queue=self._queue)

    def bind(self, run: Callable[[str], None]) -> None:
        self._run = run

    def warnings(self) -> Sequence[str]:
        return _without_append_only_file("Celery", self._ask_redis)

    def _ask_redis(self) -> Mapping[str, object] | None:
        limits = {"socket_timeout": ASK_SECONDS, "socket_connect_timeout": ASK_SECONDS}
        with self._app.connection_for_write(transport_options=limits) as connection:
            if connection.transport.driver_type != "redis":
                return None
            found: Mapping[str, object] = connection.channel().client.info("persistence")
            return found


class _DramatiqQueue:
    runs_tickets = True

    def __init__(self, broker: Broker | None, queue_name: str) -> None:
        import dramatiq  # only for those who use it

        self._broker = dramatiq.get_broker() if broker is None else broker
        self._run: Callable[[str], None] = _unbound

        def handle(ticket: str) -> None:
            self._run(ticket)

        options = {"max_retries": 0, "time_limit": float("inf"), "store_results": False}
        known: dict[str, Any] = {name: value for name, value in options.items() if name in self._broker.actor_options}
        self._actor = dramatiq.actor(actor_name=TASK, queue_name=queue_name, broker=self._broker, **known)(handle)

    def send(self, delivery: Delivery, ticket: str) -> object:
        return self._actor.send(ticket)

    def bind(self, run: Callable[[str], None]) -> None:
        self._run = run

    def warnings(self) -> Sequence[str]:
        return _without_append_only_file("Dramatiq", self._ask_redis)

    def _ask_redis(self) -> Mapping[str, object] | None:
        client = getattr(self._broker, "client", None)
        if client is None:
            return None
        import redis  # there, because the broker uses it

        theirs, limits = client.connection_pool, {"socket_timeout": ASK_SECONDS, "retry": None}
        pool = redis.ConnectionPool(theirs.connection_class, **{**theirs.connection_kwargs, **limits})
        with redis.Redis.from_pool(pool) as ours:
            found: Mapping[str, object] = ours.info("persistence")
            return found


def _unbound(_ticket: str) -> None:
    raise LaunchKitError("this worker has a queue and no kit: import the module that makes the kit with it")


def _without_append_only_file(name: str, ask_redis: Callable[[], Mapping[str, object] | None]) -> Sequence[str]:
    """Return a warning if a queue is kept in a Redis, or Valkey, that forgets it when it crashes."""
    with contextlib.suppress(Exception):  # it is down, or does not say
        persistence = ask_redis()
        if persistence is not None and persistence["aof_enabled"] == 0:
            return (_LOSES.format(name=name),)
    return ()


_celery_apps: WeakSet[CeleryApp] = WeakSet()
_ASYNC: Final = "handoff takes a sync function that has queued the delivery when it returns; this one is async"
_LOSES: Final = (
    "The Redis behind {name} has no append-only file: what is queued when it crashes is lost, and LaunchKit sends "
    "those webhook deliveries again only after `handler_timeout`. Set `appendonly yes` in its configuration."
)
