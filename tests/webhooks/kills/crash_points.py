"""One delivery through receipt, handler and outcome, in a process that kills itself at its n-th step.

The steps are all that SQLite is asked for from the receipt on, each before and after, the app's own database included,
and what happens in between: the answer that leaves, the handler that begins and ends. A process with steps is a fork of
this program, which has imported everything and started nothing. For each n, a process dies at step n, what it has left
is looked at, and another one finishes as a server that is started again would: an hour has passed, the sender sends
again if it got no answer, and everything that is due is handled.

`python crash_points.py folder names...` prints one JSON object a line: see `Outcome`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from launchkit import Delivery, LaunchKit, Settings
from launchkit.testing import sign

SECRET = "whsec_" + os.urandom(16).hex()
EVENT = "evt_1"
BODY = json.dumps({"id": EVENT, "type": "invoice.paid"}).encode()
connect = sqlite3.connect


@dataclass
class Outcome:
    """What came of one process that died at a step, and of the one after it."""

    step: str
    """Where it died; empty if it came to its end before."""
    acknowledged: bool
    """Whether the sender had its answer by then."""
    stored: bool
    """Whether the delivery was in the inbox then."""
    attempts_before: int
    state_before: str
    answer: str
    """To the sender's second try; empty if it needed none."""
    state: str
    """In the end."""
    attempts: int
    seen_attempts: list[int]
    """As the handler was told, in order; it appends to a file, so that each of its runs has an effect."""
    recorded: int
    """How often there is the effect that goes with `delivery.record`."""


class Later:
    """The machine's clock, an hour later."""

    monotonic = staticmethod(time.perf_counter)

    def time(self) -> float:
        return time.time() + 3_600


class Steps:
    """Counts steps from `begin` on, and kills this process at one of them: by its number, or how its name begins."""

    def __init__(self, folder: Path, fatal: int | str) -> None:
        self._folder = folder
        self._fatal = fatal
        self._count = 0
        self._has_begun = False
        self._has_pruned = False
        self.has_kept_house = False
        """Whether the worker has done what it does at its start: it does it again after a minute."""

    def begin(self) -> None:
        self._has_begun = True

    def reach(self, name: str) -> None:
        """Be at a step."""
        if not self._has_begun:
            self._has_pruned |= name.startswith("after DELETE FROM delivery")
            self.has_kept_house |= self._has_pruned and name == "after COMMIT"
            return
        self._count += 1
        if name.startswith(self._fatal) if isinstance(self._fatal, str) else self._count == self._fatal:
            (self._folder / "step").write_text(name)
            os.kill(os.getpid(), signal.SIGKILL)


def watch_sqlite(steps: Steps) -> None:
    """Make every statement two steps, in every connection that is opened from now on."""

    class Cursor(sqlite3.Cursor):
        def execute(self, statement: str, *values: Any) -> Self:
            name = " ".join(statement.split())[:50]
            steps.reach(f"before {name}")
            super().execute(statement, *values)
            steps.reach(f"after {name}")
            return self

    class Connection(sqlite3.Connection):
        def cursor(self, *_: object) -> Cursor:  # type: ignore[override]  # nobody here asks for another
            return super().cursor(Cursor)

        def execute(self, statement: str, *values: Any) -> Cursor:
            return self.cursor().execute(statement, *values)

        def commit(self) -> None:
            steps.reach("before the app's commit")
            super().commit()
            steps.reach("after the app's commit")

    sqlite3.connect = lambda *args, **named: connect(*args, **named, factory=Connection)  # type: ignore[assignment]


def make_kit(folder: Path, steps: Steps, *, later: bool) -> LaunchKit:
    settings = Settings(
        check="warn",
        data_dir=folder,
        rate_limit={"enabled": False},
        webhooks={"sources": {"stripe": {"secrets": [SECRET], "tolerance": 7_200}}},
    )
    kit = LaunchKit(settings, clock=Later() if later else None)

    @kit.webhook("stripe")
    def handle(delivery: Delivery) -> None:
        steps.reach("the handler begins")
        with (folder / "runs").open("a") as runs:
            runs.write(f"{delivery.attempt}\n")
        with closing(sqlite3.connect(folder / "app.sqlite3")) as connection:
            if delivery.record(connection):
                connection.execute("INSERT INTO effect VALUES (?)", (delivery.id,))
            connection.commit()
        steps.reach("the handler ends")

    return kit


async def post(kit: LaunchKit, answered: Callable[[str], None]) -> None:
    """Send the delivery as a server would hand it in."""
    headers = sign("stripe", SECRET, BODY, now=time.time(), message_id=EVENT)
    scope: MutableMapping[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": "/webhooks/stripe",
        "raw_path": b"/webhooks/stripe",
        "query_string": b"",
        "scheme": "http",
        "http_version": "1.1",
        "client": ("203.0.113.7", 5_000),
        "server": ("127.0.0.1", 80),
        "headers": [(b"host", b"127.0.0.1"), *((name.encode(), value.encode()) for name, value in headers.items())],
    }
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and sent[0]["status"] == 200:
            answered(json.loads(message["body"])["status"])

    async def absent(scope: object, receive: object, send: object) -> None:
        raise AssertionError("a webhook reached the app")

    call: Callable[..., Awaitable[None]] = kit.asgi(absent)
    await call(scope, receive, send)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # another process, or thread, makes it so
            await asyncio.sleep(0.001)


async def live(folder: Path, steps: Steps, *, send: bool, later: bool) -> None:
    """Be a process of the app, from its start until the delivery is done."""
    kit = make_kit(folder, steps, later=later)

    def answered(status: str) -> None:
        (folder / "answer").write_text(status)
        steps.reach("the answer has left")

    await kit.astart()
    await until(lambda: steps.has_kept_house)
    steps.begin()
    if send:
        await post(kit, answered)
    await until(lambda: row_of(folder)[0] not in {"pending", ""})
    steps.reach("all is done")
    await kit.astop()


def row_of(folder: Path) -> tuple[str, int]:
    """Return state and attempts of the delivery; no state if it is not stored."""
    try:
        with closing(connect(f"file:{folder}/inbox.sqlite3?mode=ro", uri=True)) as file:
            row = file.execute("SELECT state, attempts FROM delivery").fetchone()
    except sqlite3.OperationalError:  # there is no file, or no table
        row = None
    return row or ("", 0)


def in_a_process(work: Callable[[], None]) -> bool:
    """Do something in a fork; return whether it came to its end."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in {0, -signal.SIGKILL}:
        raise RuntimeError(f"a process ended with {status}")
    return status == 0


def be_a_process(folder: Path, fatal: int | str, *, send: bool, later: bool) -> bool:
    """Live in a fork; return whether it came to its end."""

    def work() -> None:
        steps = Steps(folder, fatal)
        watch_sqlite(steps)
        asyncio.run(live(folder, steps, send=send, later=later))

    return in_a_process(work)


def text_of(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def die_and_finish(folder: Path, fatal: int | str) -> Outcome:
    with closing(connect(folder / "app.sqlite3")) as app, app:
        app.execute("CREATE TABLE effect (id TEXT)")
    be_a_process(folder, fatal, send=True, later=False)
    acknowledged = bool(text_of(folder / "answer"))
    state_before, attempts_before = row_of(folder)
    (folder / "answer").unlink(missing_ok=True)
    if not be_a_process(folder, 0, send=not acknowledged, later=True):
        raise RuntimeError("the second process was killed")
    state, attempts = row_of(folder)
    with closing(connect(folder / "app.sqlite3")) as app:
        ((recorded,),) = app.execute("SELECT COUNT(*) FROM effect")
    return Outcome(
        step=text_of(folder / "step"),
        acknowledged=acknowledged,
        stored=bool(state_before),
        attempts_before=attempts_before,
        state_before=state_before,
        answer=text_of(folder / "answer"),
        state=state,
        attempts=attempts,
        seen_attempts=[int(line) for line in text_of(folder / "runs").split()],
        recorded=recorded,
    )


def main(place: Path, *names: str) -> None:
    """Die at each of the steps with these names, and then at every step there is.

    The number of a step may differ from process to process, because threads take turns as they like.
    """
    for number, fatal in enumerate((*names, *range(1, 1_000))):
        folder = place / str(number)
        folder.mkdir()
        outcome = die_and_finish(folder, fatal)
        sys.stdout.write(json.dumps(asdict(outcome)) + "\n")
        sys.stdout.flush()
        if isinstance(fatal, int) and not outcome.step:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
