"""The writer: one thread, one transaction for all that wait, and an answer only after the commit."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest
from webhook_world import WAIT, done

from launchkit.pipeline.effects import StoreDown
from launchkit.webhooks.inbox.database import Database, Session
from launchkit.webhooks.inbox.jobs import LARGEST_BATCH, Batched
from launchkit.webhooks.inbox.writer import Writer


class Words(Database):
    """A table of different words, which counts what is done to it and fails when it is told to."""

    name = "words"
    errors = (sqlite3.Error,)

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.connection.execute("CREATE TABLE word (text TEXT UNIQUE)")
        self.groups: list[list[str]] = []
        self.statements: list[str] = []
        self.closed = 0
        self.before_commit: Callable[[], None] = lambda: None
        self.fails: str | None = None
        self.fails_from = 0

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        self.fail_if("BEGIN")
        self.connection.execute("BEGIN")
        yield WordSession(self)
        self.before_commit()
        self.fail_if("COMMIT")
        self.connection.execute("COMMIT")
        self.groups.append(self.words())

    def close(self) -> None:
        self.closed += 1
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def fail_if(self, statement: str) -> None:
        if self.fails is not None and statement.startswith(self.fails) and len(self.groups) >= self.fails_from:
            raise sqlite3.OperationalError(f"no {statement} now")

    def words(self) -> list[str]:
        return [word for (word,) in self.connection.execute("SELECT text FROM word ORDER BY rowid")]


class WordSession(Session):
    by_due = locked = ""
    undoes_statements = False
    now = 0.0

    def __init__(self, words: Words) -> None:
        self.wrote = False
        self._words = words

    def execute(self, statement: str, values: Sequence[object] = ()) -> int:
        self._words.fail_if(statement)
        self._words.statements.append(statement)
        changed = self._words.connection.execute(statement, values).rowcount
        self.wrote = self.wrote or changed > 0
        return changed

    def query(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        return self._words.connection.execute(statement, values).fetchall()


def adding(word: str, then: Callable[[], object] = lambda: None) -> Callable[[Session], str]:
    def operation(session: Session) -> str:
        session.execute("INSERT INTO word VALUES (?)", (word,))
        then()
        return word

    return operation


class Add(Batched[str]):
    """Adds a word, together with others if all are new."""

    def __init__(self, word: str) -> None:
        self.word = word

    def __call__(self, session: Session) -> str:
        session.execute("INSERT INTO word VALUES (?)", (self.word,))
        return self.word

    @classmethod
    def together(cls, session: Session, operations: Sequence[Batched[str]]) -> Sequence[str] | None:
        words = [one.word for one in operations if isinstance(one, Add)]
        if "odd" in words:
            raise ZeroDivisionError
        known = {word for (word,) in session.query("SELECT text FROM word")}
        if known.intersection(words) or len(set(words)) < len(words):
            return None
        session.execute(f"INSERT INTO word VALUES {', '.join(['(?)'] * len(words))}", words)
        return [f"together {word}" for word in words]


@pytest.fixture(name="words")
def _words() -> Iterator[Words]:
    words = Words()
    yield words
    words.connection.close()


@pytest.fixture(name="writer")
def _writer(words: Words) -> Iterator[Writer]:
    writer = Writer("words", lambda: words)
    yield writer
    writer.close()


@contextmanager
def held(writer: Writer) -> Iterator[None]:
    """Keep the writer busy, so that what is submitted meanwhile waits for the next group."""
    entered, go = threading.Event(), threading.Event()
    holding = writer.submit(lambda session: entered.set() or go.wait(WAIT))
    assert entered.wait(WAIT)
    yield
    go.set()
    assert done(holding)


def failure(future: Future[Any]) -> BaseException | None:
    return future.exception(WAIT)


# --- groups --------------------------------------------------------------------------------------------------------


def test_making_a_writer_starts_nothing(words: Words) -> None:
    """The thread comes with the first operation, and the database is opened by it."""
    before = threading.active_count()
    Writer("words", lambda: pytest.fail("opened"))
    assert threading.active_count() == before


def test_what_waits_is_committed_as_one_group(writer: Writer, words: Words) -> None:
    """One commit serves everybody who waits."""
    with held(writer):
        futures = [writer.submit(adding(str(number))) for number in range(10)]
    assert [done(future) for future in futures] == [str(number) for number in range(10)]
    assert words.groups == [[], [str(number) for number in range(10)]]


def test_a_group_has_a_largest_size(writer: Writer, words: Words) -> None:
    """However many wait, each group is short enough that its first member need not wait for long."""
    with held(writer):
        futures = [writer.submit(adding(str(number))) for number in range(writer.LARGEST_GROUP + 1)]
    for future in futures:
        done(future)
    assert [len(group) for group in words.groups] == [0, writer.LARGEST_GROUP, writer.LARGEST_GROUP + 1]


def test_nobody_is_answered_before_the_commit(writer: Writer, words: Words) -> None:
    """Neither threads nor tasks: an answer means that it is on the disk."""
    seen: list[bool] = []

    async def main() -> list[str]:
        with held(writer):
            there, here = writer.submit(adding("a")), writer.asubmit(adding("b"))
            words.before_commit = lambda: seen.append(there.done() or here.done())
        return [await asyncio.wrap_future(there), await here]

    assert asyncio.run(main()) == ["a", "b"]
    assert seen == [False, False]


def test_operations_are_carried_out_in_the_order_submitted(writer: Writer, words: Words) -> None:
    """Whatever their kind and colour."""
    with held(writer):
        futures = [
            writer.submit(Add("1")),
            writer.submit(Add("2")),
            writer.submit(adding("3")),
            writer.submit(Add("4")),
        ]
    assert [done(future) for future in futures] == ["together 1", "together 2", "3", "4"]
    assert words.groups[-1] == ["1", "2", "3", "4"]


# --- what fails ----------------------------------------------------------------------------------------------------


def test_an_operation_that_fails_takes_nothing_of_its_group_with_it(writer: Writer, words: Words) -> None:
    """What a failed operation had done is undone, what its neighbours did is kept."""
    with held(writer):
        before = writer.submit(adding("before"))
        bug = writer.submit(adding("bug", lambda: 1 // 0))
        twice = writer.submit(adding("before"))
        after = writer.submit(adding("after"))
    assert (done(before), done(after)) == ("before", "after")
    assert isinstance(failure(bug), ZeroDivisionError)
    assert isinstance(failure(twice), StoreDown)
    assert words.groups[1:] == [["before", "after"]]
    assert words.closed == 0


@pytest.mark.parametrize("statement", ["BEGIN", "COMMIT", "SAVEPOINT", "RELEASE"])
def test_a_transaction_that_fails_fails_everybody_in_it(
    writer: Writer, words: Words, caplog: pytest.LogCaptureFixture, statement: str
) -> None:
    """Also those whose part had succeeded; the connection is closed, and the next group starts afresh."""
    words.fails, words.fails_from = statement, 1
    with held(writer):
        futures = [writer.submit(adding("a")), writer.submit(adding("b", lambda: 1 // 0))]
    errors = [failure(future) for future in futures]
    assert [type(error) for error in errors] == [StoreDown, StoreDown]
    assert (words.words(), words.closed) == ([], 1)
    words.fails = None
    assert done(writer.submit(adding("c"))) == "c"
    assert words.words() == ["c"]
    assert ["is down" in message for message in caplog.messages] == [True, False]


def test_an_operation_that_cannot_be_undone_fails_everybody(writer: Writer, words: Words) -> None:
    """Then the transaction is lost, with all that was in it: nobody is told that it is on the disk."""
    with held(writer):
        good = writer.submit(adding("a"))
        bad = writer.submit(adding("b", lambda: setattr(words, "fails", "ROLLBACK TO") or 1 // 0))
    assert [type(failure(good)), type(failure(bad))] == [ZeroDivisionError, ZeroDivisionError]
    assert words.words() == []
    words.fails = None
    assert done(writer.submit(adding("a"))) == "a"


def test_reading_alone_does_not_end_an_outage(writer: Writer, words: Words) -> None:
    """On a full disk reads go on: only something written does."""
    words.fails = "BEGIN"
    assert isinstance(failure(writer.submit(adding("a"))), StoreDown)
    words.fails = None
    done(writer.submit(lambda session: session.query("SELECT text FROM word")))
    assert writer.outage.down
    done(writer.submit(adding("a")))
    assert not writer.outage.down


# --- together ------------------------------------------------------------------------------------------------------


def test_many_of_a_kind_are_done_by_one_statement(writer: Writer, words: Words) -> None:
    """As many as fit in one; a single one is done alone."""
    with held(writer):
        words.statements.clear()
        futures = [writer.submit(Add(str(number))) for number in range(LARGEST_BATCH + 1)]
    results = [done(future) for future in futures]
    assert results == [*(f"together {number}" for number in range(LARGEST_BATCH)), str(LARGEST_BATCH)]
    assert [statement for statement in words.statements if "INSERT" in statement] == [
        "INSERT INTO word VALUES " + ", ".join(["(?)"] * LARGEST_BATCH),
        "INSERT INTO word VALUES (?)",
    ]


def test_what_cannot_be_done_together_is_done_one_by_one(writer: Writer, words: Words) -> None:
    """So that only the one that is in the way fails."""
    with held(writer):
        futures = [writer.submit(Add(word)) for word in ("a", "b", "a", "c")]
    assert [done(futures[0]), done(futures[1]), done(futures[3])] == ["a", "b", "c"]
    assert isinstance(failure(futures[2]), StoreDown)
    assert words.words() == ["a", "b", "c"]


def test_a_bug_in_a_batch_is_told_to_those_who_wait(writer: Writer, words: Words) -> None:
    """The thread lives on: nobody waits in vain, now or later."""
    with held(writer):
        futures = [writer.submit(Add(word)) for word in ("a", "odd")]
    assert [type(failure(future)) for future in futures] == [ZeroDivisionError, ZeroDivisionError]
    assert (words.words(), done(writer.submit(Add("b")))) == ([], "b")
    assert not writer.outage.down


# --- those who wait ------------------------------------------------------------------------------------------------


def test_what_nobody_waits_for_any_more_is_left_out(writer: Writer, words: Words) -> None:
    """What was given up before its turn is not carried out."""
    with held(writer):
        assert writer.submit(adding("a")).cancel()
        kept = writer.submit(adding("b"))
    assert done(kept) == "b"
    assert words.words() == ["b"]


def test_no_more_than_so_many_wait(writer: Writer, words: Words, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that hangs does not fill the memory: further ones are refused at once, and none that waits is lost."""
    monkeypatch.setattr(Writer, "MOST_WAITING", 3)

    async def refused() -> None:
        future = writer.asubmit(adding("late"))
        assert future.done()
        with pytest.raises(StoreDown, match="3 operations wait"):
            await future

    with held(writer):
        waiting = [writer.submit(adding(word)) for word in "abc"]
        late = writer.submit(adding("late"))
        assert late.done()
        assert isinstance(late.exception(), StoreDown)
        asyncio.run(refused())
    assert [done(future) for future in waiting] == ["a", "b", "c"]
    assert done(writer.submit(adding("d"))) == "d"
    assert words.words() == ["a", "b", "c", "d"]


def test_a_group_of_which_nothing_is_left_is_none(writer: Writer, words: Words) -> None:
    """No transaction for nothing."""
    with held(writer):
        assert writer.submit(adding("a")).cancel()
    writer.close()
    assert words.groups == [[]]


def test_a_task_is_told_on_its_own_loop(writer: Writer) -> None:
    """In the loop's thread, result and error alike."""
    threads: list[threading.Thread] = []

    async def main() -> None:
        good, bad = writer.asubmit(adding("a")), writer.asubmit(adding("b", lambda: 1 // 0))
        for future in (good, bad):
            future.add_done_callback(lambda _: threads.append(threading.current_thread()))
        assert await good == "a"
        with pytest.raises(ZeroDivisionError):
            await bad

    asyncio.run(main())
    assert threads == [threading.current_thread()] * 2


def test_what_no_task_waits_for_any_more_is_left_out(writer: Writer, words: Words) -> None:
    """It was given up before its turn: the sender was asked to come again, and will."""

    async def main() -> str:
        with held(writer):
            given_up = writer.asubmit(adding("a"))
            kept = writer.asubmit(adding("b"))
            given_up.cancel()
        result = await kept
        assert given_up.cancelled()
        return result

    assert asyncio.run(main(), debug=True) == "b"
    assert words.words() == ["b"]


def test_a_task_that_gives_up_in_the_middle_is_told_nothing(
    writer: Writer, words: Words, caplog: pytest.LogCaptureFixture
) -> None:
    """Its operation has begun, and is carried out; nothing is complained about."""
    began, go = threading.Event(), threading.Event()

    async def main() -> None:
        given_up = writer.asubmit(adding("a", lambda: began.set() or go.wait(WAIT)))
        assert await asyncio.to_thread(began.wait, WAIT)
        given_up.cancel()
        go.set()
        assert await writer.asubmit(adding("b")) == "b"
        assert given_up.cancelled()

    asyncio.run(main(), debug=True)
    assert words.words() == ["a", "b"]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_loop_that_is_closed_stops_nobody_else_from_being_told(
    writer: Writer, words: Words, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that was stopped in the middle leaves the others of its group alone."""
    loop = asyncio.new_event_loop()

    async def ask() -> asyncio.Future[str]:
        return writer.asubmit(adding("a"))

    with held(writer):
        nobodys = loop.run_until_complete(ask())
        loop.close()
        kept = writer.submit(adding("b"))
    assert done(kept) == "b"
    assert done(writer.submit(adding("c"))) == "c"
    assert (nobodys.done(), words.words()) == (False, ["a", "b", "c"])
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


# --- its thread ----------------------------------------------------------------------------------------------------


def test_closing_finishes_what_was_asked_for(writer: Writer, words: Words) -> None:
    """However soon it comes: a thread that has only just started still does its work."""
    for number in range(50):
        future = writer.submit(adding(str(number)))
        writer.close()
        assert future.result(0) == str(number)
    assert words.closed == 50


def test_closing_twice_is_as_good_as_once(writer: Writer, words: Words) -> None:
    """And a later operation opens it again."""
    done(writer.submit(adding("a")))
    writer.close()
    writer.close()
    assert (words.closed, done(writer.submit(adding("b")))) == (1, "b")


def test_there_is_one_thread(writer: Writer, words: Words) -> None:
    """For one connection, whatever the number of those who ask."""
    threads = {done(writer.submit(lambda session: threading.current_thread())) for _ in range(20)}
    assert len(threads) == 1
    (thread,) = threads
    assert (thread.name, thread.daemon) == ("launchkit-inbox", True)
