"""`launchkit.queues`: what each kind of queue is told to carry, and how."""

from __future__ import annotations

import json
import queue
import socket
import time
from collections.abc import Iterator

import dramatiq
import pytest
from celery import Celery
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker
from tests.stores.valkey_server import ValkeyServer, _valkey, _valkey_process

from launchkit import LaunchKitError, Settings
from launchkit.queues import Queue, celery_queue, dramatiq_queue, handoff
from launchkit.webhooks.delivery import Delivery

__all__ = ["_valkey", "_valkey_process"]

DELIVERY = Delivery("evt_1", "stripe", "invoice.paid", b'{"customer": "Ada"}', {}, 1, 0.0)


def queue_of(kind: str) -> Queue:
    match kind:
        case "handoff":
            return handoff(print)
        case "celery":
            return celery_queue(Celery("app", broker="memory://"))
        case _:
            return dramatiq_queue(StubBroker())


@pytest.mark.parametrize("kind", ["handoff", "celery", "dramatiq"])
def test_settings_take_every_kind(kind: str) -> None:
    """What `launchkit.queues` makes is what `webhooks.queue` asks for."""
    made = queue_of(kind)
    assert Settings(webhooks={"queue": made}).webhooks.queue is made


# --- any callable ----------------------------------------------------------------------------------------------------


def test_handoff_calls_the_function_with_the_delivery() -> None:
    """The app queues what it likes, by the delivery's own idempotency key for instance."""
    box: list[str] = []
    made = handoff(lambda delivery: box.append(delivery.idempotency_key))
    made.bind(lambda ticket: None)
    made.send(DELIVERY, "1.1")
    assert box == ["stripe:evt_1"]


def test_handoff_raises_what_the_function_raises() -> None:
    """Only so can the relay know that the delivery is not on the queue."""
    full: queue.Queue[Delivery] = queue.Queue(maxsize=1)
    made = handoff(full.put_nowait)
    made.send(DELIVERY, "1.1")
    with pytest.raises(queue.Full):
        made.send(DELIVERY, "1.1")


async def _enqueue(delivery: Delivery) -> None:
    raise AssertionError("nobody awaits it")


def test_an_async_function_is_refused_at_once() -> None:
    """Nothing would be queued when it returns."""
    with pytest.raises(LaunchKitError, match="sync function"):
        handoff(_enqueue)


def test_a_function_that_returns_a_coroutine_has_not_queued_anything() -> None:
    """An async call in a lambda is noticed when it is made, and its coroutine is closed."""
    with pytest.raises(LaunchKitError, match="sync function"):
        handoff(lambda delivery: _enqueue(delivery)).send(DELIVERY, "1.1")


# --- Celery ----------------------------------------------------------------------------------------------------------


def celery_app(**settings: object) -> Celery:
    app = Celery("app", broker="memory://", set_as_current=False)
    app.conf.update(settings)
    return app


def test_celery_carries_the_ticket_and_nothing_else() -> None:
    """No payload goes to the broker, and the message goes where it was told to."""
    app = celery_app()
    made = celery_queue(app, queue="hooks")
    made.bind(lambda ticket: None)
    made.send(DELIVERY, "7.3")
    with app.connection_for_read() as connection, connection.SimpleQueue("hooks") as hooks:
        message = hooks.get(block=False)
        message.ack()
    assert (message.headers["task"], message.content_type) == ("launchkit.handle", "application/json")
    assert json.loads(message.body)[:2] == [["7.3"], {}]
    assert (message.headers["expires"], message.headers["ignore_result"]) == (None, True)
    assert b"Ada" not in message.body


def test_celery_runs_the_kit_with_the_ticket() -> None:
    """The task's body is what the kit has bound."""
    box: list[str] = []
    made = celery_queue(celery_app(task_always_eager=True))
    made.bind(box.append)
    made.send(DELIVERY, "7.3")
    assert box == ["7.3"]


def test_celery_tasks_are_acknowledged_early_whatever_the_apps_default_is() -> None:
    """The inbox repeats; a queue that repeats as well would bring back without end what kills its worker."""
    app = celery_app(task_acks_late=True, task_ignore_result=False)
    celery_queue(app)
    task = app.tasks["launchkit.handle"]
    assert (task.acks_late, task.ignore_result, task.max_retries) == (False, True, 0)


def test_a_later_kit_takes_the_queue_over() -> None:
    """One queue may serve the kits of one test after the other."""
    first: list[str] = []
    second: list[str] = []
    made = celery_queue(celery_app(task_always_eager=True))
    for box in (first, second):
        made.bind(box.append)
    made.send(DELIVERY, "7.3")
    assert (first, second) == ([], ["7.3"])


def test_a_second_queue_for_a_celery_app_is_refused() -> None:
    """Celery would go on with the first one's task and say nothing."""
    app = celery_app()
    celery_queue(app)
    with pytest.raises(LaunchKitError, match="already"):
        celery_queue(app)


def test_a_worker_without_the_kit_says_what_is_missing() -> None:
    """The ticket is lost there, and sent again by the inbox; the error is for whoever reads the worker's log."""
    made = celery_queue(celery_app(task_always_eager=True, task_eager_propagates=True))
    with pytest.raises(LaunchKitError, match="import the module that makes the kit"):
        made.send(DELIVERY, "7.3")


# --- Dramatiq --------------------------------------------------------------------------------------------------------


@pytest.fixture(name="stub")
def _stub() -> Iterator[StubBroker]:
    stub = StubBroker()
    stub.emit_after("process_boot")
    yield stub
    stub.close()


def test_dramatiq_runs_the_kit_with_the_ticket(stub: StubBroker) -> None:
    """The actor's body is what the kit has bound."""
    box: list[str] = []
    made = dramatiq_queue(stub, queue_name="hooks")
    made.bind(box.append)
    made.send(DELIVERY, "7.3")
    worker = dramatiq.Worker(stub, worker_timeout=10)
    worker.start()
    stub.join("hooks", timeout=10_000, fail_fast=True)
    worker.stop()
    assert box == ["7.3"]


def test_dramatiq_repeats_nothing_and_limits_nothing(stub: StubBroker) -> None:
    """Both are the inbox's to decide: Dramatiq's own limit of ten minutes is shorter than `handler_timeout`."""
    dramatiq_queue(stub)
    options = stub.get_actor("launchkit.handle").options
    assert options == {"max_retries": 0, "time_limit": float("inf")}


def test_dramatiq_without_middleware_is_given_no_options() -> None:
    """A broker refuses options that none of its middleware knows."""
    bare = StubBroker(middleware=[])
    dramatiq_queue(bare)
    assert bare.get_actor("launchkit.handle").options == {}


def test_dramatiqs_global_broker_is_the_default(stub: StubBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `dramatiq.set_broker` has set is used."""
    monkeypatch.setattr("dramatiq.broker.global_broker", stub)
    dramatiq_queue()
    assert "launchkit.handle" in stub.actors


# --- brokers that forget ---------------------------------------------------------------------------------------------


def queue_on(url: str, kind: str) -> Queue:
    if kind == "celery":
        return celery_queue(Celery("app", broker=url, set_as_current=False))
    return dramatiq_queue(RedisBroker(url=url))


@pytest.mark.real_server
@pytest.mark.real_time
@pytest.mark.parametrize("kind", ["celery", "dramatiq"])
def test_a_redis_that_forgets_is_warned_about(valkey: ValkeyServer, kind: str) -> None:
    """Without append-only file a crash loses what is queued; with it there is nothing to say."""
    made = queue_on(valkey.url, kind)
    (warning,) = made.warnings()
    assert kind.title() in warning
    assert "appendonly yes" in warning
    with valkey.client() as client:
        client.config_set("appendonly", "yes")
        try:
            assert list(made.warnings()) == []
        finally:
            client.config_set("appendonly", "no")


@pytest.mark.real_server
@pytest.mark.real_time
@pytest.mark.parametrize("kind", ["celery", "dramatiq"])
def test_a_redis_that_does_not_answer_is_not_warned_about(valkey: ValkeyServer, kind: str) -> None:
    """Whether it forgets cannot be told, and nothing is raised."""
    made = queue_on(valkey.url, kind)
    valkey.kill()
    assert list(made.warnings()) == []


@pytest.mark.real_server
@pytest.mark.real_time
def test_a_redis_that_is_frozen_is_not_waited_for(valkey: ValkeyServer) -> None:
    """The broker's own client may have no time limit at all."""
    made = dramatiq_queue(RedisBroker(host="127.0.0.1", port=valkey.port, socket_timeout=None))
    valkey.freeze()
    began = time.monotonic()
    assert list(made.warnings()) == []
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("kind", ["handoff", "celery", "dramatiq"])
def test_other_brokers_are_not_asked(kind: str) -> None:
    """Only Redis is known to forget."""
    assert list(queue_of(kind).warnings()) == []


def test_rabbitmq_is_not_even_connected_to() -> None:
    """A broker of another kind would make whoever asks wait for nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        made = celery_queue(Celery("app", broker=f"amqp://127.0.0.1:{server.getsockname()[1]}", set_as_current=False))
        assert list(made.warnings()) == []
        with pytest.raises(BlockingIOError):
            server.accept()
