"""An app whose deliveries are handled by the workers of its own queue, as told by environment variables.

`HANDOFF_KIND` is `celery` or `dramatiq`, `HANDOFF_BROKER` the broker's URL, `HANDOFF_LOG` the file that handlers write
to, `LAUNCHKIT_DATA_DIR` where the inbox is.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from celery import Celery
from dramatiq.brokers.redis import RedisBroker

from launchkit import Delivery, LaunchKit, Settings
from launchkit.queues import Queue, celery_queue, dramatiq_queue

PATIENCE = 3.0
LEASE = 3.0

celery = Celery("handoff", broker=os.environ["HANDOFF_BROKER"])
broker = RedisBroker(url=os.environ["HANDOFF_BROKER"])


def _queue() -> Queue:
    return celery_queue(celery) if os.environ["HANDOFF_KIND"] == "celery" else dramatiq_queue(broker)


kit = LaunchKit(
    Settings(
        check="warn",
        webhooks={"queue": _queue(), "handler_timeout": PATIENCE, "lease": LEASE, "retry_delays": (0.1,) * 20},
    )
)


def log(what: str, delivery: Delivery) -> None:
    """Write one line, which reaches the disk whole whatever happens to this process afterwards."""
    with Path(os.environ["HANDOFF_LOG"]).open("a") as file:
        file.write(f"{what} {delivery.id} {delivery.attempt} {os.getpid()}\n")


@kit.webhook("app", "work")
def on_work(delivery: Delivery) -> None:
    """Be done at once."""
    log("done", delivery)


@kit.webhook("app", "async_work")
async def on_async_work(delivery: Delivery) -> None:
    """Be done at once."""
    log("done", delivery)


@kit.webhook("app", "hangs_at_first")
def on_hanging(delivery: Delivery) -> None:
    """Go on until the process ends; at the second attempt be done at once."""
    log("began", delivery)
    if delivery.attempt == 1:
        threading.Event().wait()
    log("done", delivery)


@kit.webhook("app", "fails_at_first")
def on_failing(delivery: Delivery) -> None:
    """Fail once."""
    if delivery.attempt == 1:
        raise ValueError("not yet")
    log("done", delivery)
