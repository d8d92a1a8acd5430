"""The inbox in PostgreSQL: the connection that is written by, its transactions, and how workers learn of a delivery.

The rules:

- Whatever becomes due is announced to pgqueuer in the same transaction: a job of pgqueuer's carries the number of a
  delivery, and its entrypoint is the delivery's source, so that a worker only gets what it has handlers for. One call
  announces all of a transaction, before its commit. Once too often does no harm: the job finds nothing to take.
- Times are the server's, read once a transaction: nobody else's clock is asked.
- Nothing waits for longer than `ANSWER_SECONDS`, also when the server has stopped without closing its connections,
  which no time-out of its own would notice.
- What is acknowledged is on disk: `synchronous_commit` is on, whatever the role's default is.

A pooler between here and the server must not pool by transaction: what is set for the session would be lost.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final, TypeVar

import psycopg
from pgqueuer.adapters.persistence.qb import QueryQueueBuilder
from pgqueuer.db import SyncPsycopgDriver
from pgqueuer.queries import SyncQueries
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.waiting import Ready, Wait

from launchkit.errors import Problem, SettingsError
from launchkit.webhooks.inbox.postgres_layout import QUEUE_NAMES, prepare

T = TypeVar("T")

ANSWER_SECONDS: Final = 3
"""How long the server may take to let us in, or for one statement."""

_OPTIONS: Final[dict[str, str | int]] = {
    "application_name": "launchkit",
    "client_encoding": "utf8",
    "connect_timeout": ANSWER_SECONDS,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_SESSION: Final = f"""
    SET statement_timeout = '{ANSWER_SECONDS}s';
    SET idle_in_transaction_session_timeout = '{3 * ANSWER_SECONDS}s';
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""


def conninfo(url: str) -> str:
    """Return how to connect: an address, and what it leaves open about time-outs.

    Raises:
        SettingsError: if it is none. It is not shown, because it may contain a password.
    """
    return make_conninfo("", **(_OPTIONS | _parts(url)))


def entrypoint(source: str) -> str:
    """Return the name under which pgqueuer has the deliveries of a source."""
    return f"launchkit.webhooks.{source}"


class PostgresSession:
    """One transaction on the database."""

    by_due = by_body = ""
    locked = "FOR UPDATE SKIP LOCKED"
    undoes_statements = False

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]], queue: SyncQueries) -> None:
        self._connection = connection
        self._queue = queue
        self._times: tuple[float, float] | None = None
        self._announced: dict[int, float] = {}
        self.wrote = False

    @property
    def now(self) -> float:
        """The time by the server's clock."""
        return self._clocks()[1]

    def execute(self, statement: str, values: Sequence[object] = ()) -> int:
        """Carry a statement out and return how many rows it changed."""
        changed = self._run(statement, values).rowcount
        self.wrote = self.wrote or changed > 0
        return changed

    def query(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a SELECT."""
        return self._run(statement, values).fetchall()

    def insert(self, statement: str, values: Sequence[object]) -> int | None:
        """Carry out an INSERT of one row; return its id, or None if it conflicts."""
        row = self._run(f"{statement} RETURNING id", values).fetchone()
        if row is None:
            return None
        self.wrote = True
        return int(row[0])

    def insert_all(self, head: str, row: str, rows: Sequence[Sequence[object]]) -> Sequence[int] | None:
        """Insert rows by one statement; return their ids, or None if any conflicts."""
        statement = f"{head} {', '.join([row] * len(rows))} ON CONFLICT DO NOTHING RETURNING id"
        self._connection.execute("SAVEPOINT rows")
        try:
            found = self.query(statement, [value for one in rows for value in one])
        except psycopg.Error:  # one of them cannot be stored, or there was a deadlock: which one will come out alone
            found = []
        if len(found) < len(rows):
            self._connection.execute("ROLLBACK TO SAVEPOINT rows")
            return None
        self.wrote = True
        return sorted(id_ for (id_,) in found)

    def be_alone_with(self, order_key: str) -> None:
        """Have no other transaction look at an order key until this one has ended."""
        self.query("SELECT pg_advisory_xact_lock(hashtext(?), hashtext('launchkit'))", (order_key,))

    def announce(self, row: int, due_at: float) -> None:
        """Have a job made for a row when the transaction ends; of several the last one counts."""
        self._announced[row] = due_at

    def hand_over(self) -> None:
        """Give all that was announced to pgqueuer. Rows that were undone again are left out."""
        if not self._announced:
            return
        found = self.query("SELECT id, source FROM delivery WHERE id = ANY(?)", (list(self._announced),))
        began, _ = self._clocks()
        due = [self._announced[row] for row, _ in found]
        self._queue.enqueue(
            [entrypoint(source) for _, source in found],
            [str(row).encode() for row, _ in found],
            [0] * len(found),
            execute_after=[timedelta(seconds=due_at - began) for due_at in due],  # pgqueuer adds the transaction's time
            # What was due before may have its job already, and has one more at most; a job that is under way when
            # something becomes due would not see it.
            dedupe_key=[str(row) if due_at < began else None for (row, _), due_at in zip(found, due, strict=True)],
            on_conflict="skip",
        )

    def _run(self, statement: str, values: Sequence[object]) -> psycopg.Cursor[tuple[Any, ...]]:
        return self._connection.execute(_translated(statement), tuple(map(_storable, values)))

    def _clocks(self) -> tuple[float, float]:
        """Return when the transaction began, and a time since then."""
        if self._times is None:
            ((began, now),) = self.query(_CLOCKS)
            self._times = began, now
        return self._times


class PostgresDatabase:
    """One connection to the database, opened when it is needed.

    Args:
        url: `postgresql://...`.

    Raises:
        SettingsError: if that is no address.
    """

    errors: tuple[type[Exception], ...] = (psycopg.Error, OSError)

    def __init__(self, url: str) -> None:
        self._conninfo = conninfo(url)
        parts = _parts(url)
        self.name = f"{parts.get('host', 'localhost')}/{parts.get('dbname', '')}"
        self._connection: _Connection | None = None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[PostgresSession]:
        """Commit what the block does. Raises psycopg.Error or OSError; `close` must follow then."""
        connection = self._begun()
        session = PostgresSession(connection, _queue(connection))
        yield session
        session.hand_over()
        connection.execute("COMMIT")

    def close(self) -> None:
        """Close the connection, giving up a transaction under way; the next one opens it anew."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _begun(self) -> _Connection:
        """Return a connection on which a transaction has begun."""
        if self._connection is not None:
            try:
                self._connection.execute(_BEGIN)
            except psycopg.Error:
                if not self._connection.closed:
                    raise
                self.close()  # the server was restarted since, and nobody need know
            else:
                return self._connection
        self._connection = self._open()
        self._connection.execute(_BEGIN)
        return self._connection

    def _open(self) -> _Connection:
        connection = _Connection.connect(self._conninfo, autocommit=True)
        try:
            connection.execute(_SESSION.encode())
            prepare(connection)
        except psycopg.Error:
            connection.close()
            raise
        return connection


class _Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that does not wait for a server that has stopped."""

    def wait(self, gen: Generator[Wait, Ready | int, T], interval: float = 0.5, *others: Any, **named: Any) -> T:
        """Return what a conversation with the server results in. Raises psycopg.OperationalError if it takes long."""
        return super().wait(_in_time(gen), interval, *others, **named)


def _in_time(conversation: Generator[Wait, Ready | int, T]) -> Generator[Wait, Ready | int, T]:
    """Carry a conversation on, and break it off where nothing is heard when its time is over."""
    until = time.monotonic() + ANSWER_SECONDS
    try:
        waiting_for = next(conversation)
        while True:
            ready = yield waiting_for
            if not ready and time.monotonic() >= until:
                raise psycopg.OperationalError(f"no answer within {ANSWER_SECONDS} s")
            waiting_for = conversation.send(ready)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # what a generator returns comes untyped


def _parts(url: str) -> dict[str, Any]:
    try:
        return conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        remedy = "is no address of a PostgreSQL database: postgresql://user:password@host/database"
        raise SettingsError([Problem("LAUNCHKIT_DATABASE_URL", remedy)]) from None


def _queue(connection: _Connection) -> SyncQueries:
    return SyncQueries(SyncPsycopgDriver(connection), QueryQueueBuilder(QUEUE_NAMES))


@lru_cache(256)
def _translated(statement: str) -> bytes:
    """Put psycopg's sign for a value in place of the inbox's."""
    return statement.replace("%", "%%").replace("?", "%s").encode()


def _storable(value: object) -> object:
    """Return a value as PostgreSQL takes it: text without NUL, which an exception's may contain."""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value


_BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
_CLOCKS: Final = """
    SELECT extract(epoch FROM now())::double precision, extract(epoch FROM clock_timestamp())::double precision
"""
