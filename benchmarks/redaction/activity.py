"""What a web app's libraries say at their most talkative, as log lines on standard output.

Run as `python -m benchmarks.redaction.activity FOLDER [ACTIVITY ...]`, in a process of its own, for it turns on every
debug log there is. Nothing leaves the machine; nothing it does has a secret: no passwords, no cookies, no signatures.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

FORMATS: Final = (
    "%(asctime)s %(levelname)s %(name)s: %(message)s",
    "%(levelname)s:%(name)s:%(message)s",
    "[%(asctime)s] [%(process)d] [%(levelname)s] %(message)s",
    'level=%(levelname)s logger=%(name)s line=%(lineno)d msg="%(message)s"',
    "%(pathname)s:%(lineno)d %(funcName)s %(message)s",
)
PAGES: Final = 60

_log = logging.getLogger("app.activity")


def main() -> None:
    """Do every activity, or those that are named; what fails, or is not installed, is a line of log too."""
    folder = Path(sys.argv[1])
    activities: tuple[Callable[[Path], None], ...] = (_servers, _sql, _event_loop, _queues, _failures, _warnings)
    for activity, form in zip(activities, (*FORMATS, FORMATS[0]), strict=True):
        logging.basicConfig(level=logging.DEBUG, format=form, stream=sys.stdout, force=True)
        logging.captureWarnings(capture=True)
        if sys.argv[2:] and activity.__name__.strip("_") not in sys.argv[2:]:
            continue
        try:
            activity(folder)
        except Exception:  # noqa: BLE001  # any failure is a line of log
            _log.exception("cut short")


def _servers(_folder: Path) -> None:
    import httpx
    import urllib3
    import uvicorn
    from fastapi import FastAPI, HTTPException, Query

    app = FastAPI(debug=True)

    @app.get("/items/{number}")
    async def item(number: int, page: int = Query(1, ge=1), sort: str = "created_at") -> dict[str, object]:
        if number % 7 == 0:
            raise HTTPException(404, f"no item {number}")
        if number % 11 == 0:
            raise RuntimeError(f"item {number} cannot be read on page {page}, sorted by {sort}")
        return {"id": number, "page": page, "next_page": page + 1}

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="trace", log_config=None, ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=2) as client:
        for number in range(PAGES):
            try:
                client.get(f"/items/{number}", params={"page": number % 9, "sort": ("name", "created_at")[number % 2]})
            except httpx.HTTPError:
                _log.exception("item %d did not come", number)
    pool = urllib3.PoolManager()
    for number in range(PAGES):
        pool.request("GET", f"http://127.0.0.1:{port}/items/{number % 7 + 12}?page={number}&per_page=20", timeout=2)
    server.should_exit = True
    thread.join(5)


def _sql(folder: Path) -> None:
    from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table, create_engine, select
    from sqlalchemy.exc import SQLAlchemyError

    tables = MetaData()
    users = Table("users", tables, Column("id", Integer, primary_key=True), Column("name", String(40), unique=True))
    orders = Table(
        "orders",
        tables,
        Column("id", Integer, primary_key=True),
        Column("user_id", ForeignKey("users.id")),
        Column("state", String(20), index=True),
        Column("amount", Integer),
    )
    engine = create_engine(f"sqlite:///{folder / 'shop.sqlite3'}", echo="debug", echo_pool="debug")
    tables.create_all(engine)
    for number in range(PAGES):
        try:
            with engine.begin() as connection:
                connection.execute(users.insert().values(id=number, name=f"customer {number % 50}"))
                connection.execute(orders.insert(), [{"user_id": number, "state": "new", "amount": number * 100}])
                joined = select(users, orders).join(orders).where(orders.c.amount > number).limit(number + 1)
                connection.execute(joined).all()
        except SQLAlchemyError:
            _log.exception("customer %d was not stored", number)


def _event_loop(_folder: Path) -> None:
    async def slow(number: int) -> int:
        time.sleep(0.011)  # noqa: ASYNC251  # the loop is to complain
        await asyncio.sleep(0)
        return 1 // (number % 3)

    async def work() -> None:
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 0.01
        await asyncio.gather(*(slow(number) for number in range(PAGES)), return_exceptions=True)
        for number in range(PAGES):
            loop.call_exception_handler({"message": f"task {number} was never awaited", "task": asyncio.current_task()})
        forgotten = asyncio.create_task(slow(0))
        await asyncio.sleep(0.02)
        del forgotten

    asyncio.run(work(), debug=True)


def _queues(folder: Path) -> None:
    import celery  # type: ignore[import-untyped]  # ships no types
    import dramatiq
    import huey  # type: ignore[import-untyped]  # ships no types
    from dramatiq.brokers.stub import StubBroker

    app = celery.Celery("shop", broker="memory://", backend="cache+memory://")
    app.conf.update(task_always_eager=True, task_eager_propagates=False)
    broker = StubBroker()
    queue = huey.SqliteHuey(filename=str(folder / "huey.sqlite3"), immediate=True)

    def resize(number: int) -> int:
        return 100 // (number % 5)

    task: Any = app.task(name="shop.resize")(resize)
    actor = dramatiq.actor(broker=broker, max_retries=0)(resize)
    job: Any = queue.task()(resize)
    worker = dramatiq.Worker(broker, worker_timeout=10, worker_threads=2)
    worker.start()
    for number in range(PAGES):
        _log.info("eager %r", task.apply(args=(number,), throw=False))
        actor.send(number)
        job(number)
    broker.join(actor.queue_name, fail_fast=False)
    worker.stop()


def _failures(folder: Path) -> None:
    from benchmarks.redaction.failures import FAILURES, Order

    for number, fail in enumerate(FAILURES):
        try:
            fail(folder)
        except Exception:  # noqa: BLE001  # that it fails is what it is for
            _log.exception("step %d failed while order %d was open", number, number * 31)
            if number % 5 == 0:
                _log.warning(
                    "state %r", {"order": Order(number), "items": [number] * 3, "folder": folder, "retry": None}
                )


def _warnings(folder: Path) -> None:
    warnings.simplefilter("always")
    for number in range(PAGES):
        warnings.warn(f"Order.total_{number} is deprecated, use Order.amount", DeprecationWarning, stacklevel=2)
        warnings.warn(f"connection pool of size {number} is nearly used up", ResourceWarning, stacklevel=1)
    connection = sqlite3.connect(folder / "plain.sqlite3")
    connection.set_trace_callback(lambda statement: _log.debug("sqlite: %s", statement))
    connection.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, name TEXT, at TEXT)")
    for number in range(PAGES):
        connection.execute("INSERT INTO events (name, at) VALUES (?, datetime('now'))", (f"event {number}",))
    connection.close()


if __name__ == "__main__":
    main()
