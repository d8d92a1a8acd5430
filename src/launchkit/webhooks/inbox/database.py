"""What the inbox asks of a database, so that its rules are written once for all of them.

Statements are written with `?` for values, in the part of SQL that SQLite (3.24 and later) and PostgreSQL share; what
they do not share is a member of the session.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol


class Session(Protocol):
    """One transaction on the inbox."""

    by_due: str
    """Follows the table's name where rows are looked for by `due_at`: a hint at the index, or nothing."""
    by_body: str
    """Follows the table's name where rows are looked for that have a body still."""
    locked: str
    """Ends a SELECT whose rows are changed next, so that nobody else selects them; or nothing."""
    undoes_statements: bool
    """Whether a statement that fails leaves the transaction as it was before it."""
    wrote: bool
    """Whether any statement has changed a row."""

    @property
    def now(self) -> float:
        """The time in seconds since 1970, by the clock that everybody who uses this database goes by."""
        ...

    def execute(self, statement: str, values: Sequence[object] = ()) -> int:
        """Carry a statement out and return how many rows it changed."""
        ...

    def query(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a SELECT."""
        ...

    def insert(self, statement: str, values: Sequence[object]) -> int | None:
        """Carry out an INSERT of one row; return its id, or None if it conflicts with a row that is there."""
        ...

    def insert_all(self, head: str, row: str, rows: Sequence[Sequence[object]]) -> Sequence[int] | None:
        """Insert rows by one statement and return their ids; None, and none of them is there, if any conflicts.

        Args:
            head: the statement up to VALUES.
            row: what stands for one row there.
            rows: their values.
        """
        ...

    def be_alone_with(self, order_key: str) -> None:
        """Have no other transaction look at an order key until this one has ended."""
        ...

    def announce(self, row: int, due_at: float) -> None:
        """Tell whoever carries ids to workers, as part of the transaction, that a row is or will be due.

        Without such a carrier, workers look for what is due themselves.
        """
        ...


class Database(Protocol):
    """One connection to the inbox's database, opened when it is needed, and used by one thread."""

    name: str
    """What to call it in logs; without passwords."""
    errors: tuple[type[Exception], ...]
    """What a session raises when the database cannot be used."""

    def transaction(self) -> AbstractContextManager[Session]:
        """Commit what the block does. Raises one of `errors`; `close` must follow then."""
        ...

    def close(self) -> None:
        """Close the connection, giving up a transaction under way; the next one opens it anew. Never raises."""
        ...
